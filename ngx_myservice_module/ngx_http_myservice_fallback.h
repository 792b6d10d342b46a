/*
 * A call that no instance has processed may be answered from elsewhere, by an
 * "error_page" that names a location with a "grpc_pass".  nginx gives such a
 * location no more of the request than was read, so the rest is read before.
 */

#ifndef NGX_HTTP_MYSERVICE_FALLBACK_H
#define NGX_HTTP_MYSERVICE_FALLBACK_H


#include "ngx_http_myservice_call.h"


/* from finalize_request(), before the header was sent: whether it may */
ngx_uint_t ngx_http_myservice_fallback_possible(
    ngx_http_myservice_call_t *call);

ngx_int_t ngx_http_myservice_fallback_init(ngx_conf_t *cf);


#endif /* NGX_HTTP_MYSERVICE_FALLBACK_H */
