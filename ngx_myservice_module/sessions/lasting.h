/*
 * Fields for the instance that are the same for all calls of a session: the
 * token, what a client's library says of itself, the names of session and user.
 * The grpc module does not encode them for each call: the gateway writes them,
 * and http2/mux_head.c puts them into the table of a shared connection.
 */

#ifndef MS_SESSIONS_LASTING_H
#define MS_SESSIONS_LASTING_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "wire/header_block.h"
#include "wire/hpack.h"


/* Where a field goes: to the lasting ones, as long as they may take more of a
 * table, else to those of the call. */
typedef struct {
    ms_fields_t               *lasting;
    ms_fields_t               *fields;
    size_t                     left;
} ms_lasting_t;


/* bytes of a name, and one more */
#define MS_LASTING_LEN  21

/* which fields of clients these are in a location; bits, 0: none */
typedef struct {
    ngx_uint_t                 names;
    ngx_uint_t                 lens[MS_LASTING_LEN];  /* those of a length */
} ms_lasting_conf_t;


/* What the grpc module of a location shall drop for this: its names, ending
 * with an empty one. */
extern ngx_str_t  ms_lasting_names[];

/* Takes one of these names. */
void ms_lasting_take(ms_lasting_conf_t *conf, ngx_uint_t name);

/* Adds to the sizes what ms_lasting_client() may put, before it does. */
void ms_lasting_room(ngx_http_request_t *r, ms_lasting_t *to);

void ms_lasting_put(ms_lasting_t *to, ngx_str_t *name, const u_char *value,
    size_t len);

/* The fields of the client and of token/forward.c. */
void ms_lasting_client(ngx_http_request_t *r, ms_lasting_conf_t *conf,
    ms_lasting_t *to);


#endif /* MS_SESSIONS_LASTING_H */
