/*
 * The metadata that the instance gets of a token.
 */

#ifndef MS_TOKEN_FORWARD_H
#define MS_TOKEN_FORWARD_H


#include "token/context.h"


/* Finds the token, and drops what only the gateway may send.  Once. */
ngx_int_t ms_jwt_clean_headers(ngx_http_request_t *r, ms_jwt_ctx_t *ctx);

/* Adds the gateway's metadata for the instance; "token" 0 leaves the token
 * out. */
ngx_int_t ms_jwt_forward(ngx_http_request_t *r, ms_jwt_ctx_t *ctx,
    ngx_flag_t token);


#endif /* MS_TOKEN_FORWARD_H */
