/*
 * What the gateway knows of the answer to a request, for the files of this
 * room.
 */

#ifndef MS_ANSWERS_CONTEXT_H
#define MS_ANSWERS_CONTEXT_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "core/context.h"


typedef struct {
    ngx_uint_t             code;        /* of gRPC; 0: nothing is refused */
    ngx_str_t              message;
    ngx_str_t              details;     /* google.rpc.Status; empty: none */
    ngx_str_t              pushback;    /* empty: none */

    ngx_int_t            (*input_filter_init)(void *data);
    ngx_int_t            (*input_filter)(void *data, ssize_t bytes);
    void                  *input_filter_ctx;
    ngx_http_upstream_t   *upstream;

    unsigned               final:1;     /* "code" is */
    unsigned               identity:1;  /* the answer allows no compression */

    ngx_uint_t             waited;      /* bits: ms_wait_e */

    ngx_table_elt_t       *status;      /* found by ms_errors_answered() */

    /* of the upstream's answer */
    ngx_uint_t             http;        /* :status, 0: none */
    unsigned               whole:1;     /* Trailers-Only */
    unsigned               incomplete:1;  /* the trailers may lack a status */
    unsigned               discard:1;   /* a body that is not gRPC */
    unsigned               ended:1;     /* further bytes are not read */
} ms_answer_ctx_t;


#define ms_answer_get_ctx(r)                                                  \
    (ms_answer_ctx_t *) ms_context_find(r, &ngx_http_myservice_module)

#define ms_answer_create_ctx(r)                                               \
    (ms_answer_ctx_t *) ms_context_make(r, &ngx_http_myservice_module,        \
                                        sizeof(ms_answer_ctx_t), NULL)


extern ngx_module_t  ngx_http_myservice_module;


#endif /* MS_ANSWERS_CONTEXT_H */
