/*
 * What a client's metadata says of its session, and the names in it that only
 * the gateway may use.
 */

#ifndef MS_CORE_METADATA_H
#define MS_CORE_METADATA_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


#define MS_SUBJECT_SIZE  16


/* where the session id of a call comes from */

typedef struct {
    ngx_str_t                   name;
    ngx_uint_t                  claim;          /* 0: of the metadata */
} ms_from_t;


typedef struct {
    ms_from_t  *from;
    ngx_uint_t  tokens;                         /* are verified */
} ms_metadata_loc_conf_t;


/*
 * The session id of the request: NGX_OK; NGX_DECLINED if there is none, or an
 * empty one; NGX_ABORT if it is too long, sent twice, or has bytes outside of
 * visible ASCII.
 */
ngx_int_t ms_metadata_session(ngx_http_request_t *r, ngx_str_t *session);

/* the same for one that a token tells, borrowed from r->pool */
ngx_int_t ms_metadata_set_session(ngx_http_request_t *r, ngx_str_t *session);

/*
 * The user whose session it is, by the token that the location has verified: a
 * hash of MS_SUBJECT_SIZE bytes, borrowed from r->pool; NULL: not known.
 */
void ms_metadata_set_subject(ngx_http_request_t *r, u_char *subject);
u_char *ms_metadata_subject(ngx_http_request_t *r);

/*
 * Drops the client's "x-myservice-..."; once, so that what the gateway adds
 * stays.  "tokens" (not NULL) is set to how many the client sent.
 */
ngx_int_t ms_metadata_clean(ngx_http_request_t *r, ngx_uint_t *tokens);

/*
 * Drops "x-myservice-..." whoever sent it, and the element "one" if it is not
 * NULL.
 */
ngx_int_t ms_metadata_drop(ngx_http_request_t *r, ngx_table_elt_t *one);

/* whether only the gateway may send metadata of that name to an instance */
ngx_uint_t ms_metadata_reserved(ngx_str_t *name);

/* the request's "grpc-timeout", NULL if there is none */
ngx_table_elt_t *ms_metadata_timeout(ngx_http_request_t *r);


extern ngx_module_t  ngx_http_myservice_metadata_module;

/* ends with an empty one; without "x-myservice-..." */
extern ngx_str_t  ms_metadata_reserved_names[];


#endif /* MS_CORE_METADATA_H */
