/*
 * The access phase: is the token of the call good, and of its session?
 */

#ifndef MS_TOKEN_ACCESS_H
#define MS_TOKEN_ACCESS_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


ngx_int_t ms_jwt_handler(ngx_http_request_t *r);

/* whether the token that the handler accepted was revoked since */
ngx_uint_t ms_jwt_revoked(ngx_http_request_t *r);


#endif /* MS_TOKEN_ACCESS_H */
