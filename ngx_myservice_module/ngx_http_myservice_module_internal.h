/*
 * What is known of a request's answer, for the files of this module.
 */

#ifndef NGX_HTTP_MYSERVICE_MODULE_INTERNAL_H
#define NGX_HTTP_MYSERVICE_MODULE_INTERNAL_H


#include "ngx_http_myservice_module.h"


typedef struct {
    ngx_uint_t                  code;
    ngx_str_t                   message;

    ngx_str_t                   session;
    ngx_int_t                   session_rc;

    ngx_int_t                 (*input_filter_init)(void *data);
    ngx_int_t                 (*input_filter)(void *data, ssize_t bytes);
    void                       *input_filter_ctx;
    ngx_http_upstream_t        *upstream;

    ngx_table_elt_t            *timeout;
    unsigned                    session_known:1;
    unsigned                    final:1;        /* "code" is */
} ngx_http_myservice_ctx_t;


#define ngx_http_myservice_get_ctx(r)                                         \
    (ngx_http_myservice_ctx_t *)                                              \
        ngx_http_myservice_find_ctx(r, &ngx_http_myservice_module,            \
                                    ngx_http_myservice_mark)

#define ngx_http_myservice_create_ctx(r)                                      \
    (ngx_http_myservice_ctx_t *)                                              \
        ngx_http_myservice_make_ctx(r, &ngx_http_myservice_module,            \
                                    ngx_http_myservice_mark,                  \
                                    sizeof(ngx_http_myservice_ctx_t))


/* see ngx_http_myservice_find_ctx() */
void ngx_http_myservice_mark(void *data);


#endif /* NGX_HTTP_MYSERVICE_MODULE_INTERNAL_H */
