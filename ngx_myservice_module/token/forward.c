
/*
 * The metadata about the token for the instance, for calls that passed the
 * check. grpc_pass sends it from r->headers_in.headers.
 */

#include "token/forward.h"

#include "core/metadata.h"
#include "token/claims.h"


static ngx_str_t  ms_jwt_role = ngx_string("x-myservice-role");


ngx_int_t
ms_jwt_clean_headers(ngx_http_request_t *r, ms_jwt_ctx_t *ctx)
{
    if (ctx->cleaned) {
        return NGX_OK;
    }

    if (ms_metadata_clean(r, &ctx->tokens) != NGX_OK) {
        return NGX_ERROR;
    }

    if (r->headers_in.authorization) {
        ctx->token = r->headers_in.authorization->value;
    }

    ctx->cleaned = 1;

    return NGX_OK;
}


ngx_int_t
ms_jwt_forward(ngx_http_request_t *r, ms_jwt_ctx_t *ctx, ngx_flag_t token)
{
    ngx_table_elt_t    *h;
    static ngx_uint_t   hash;

    if (ctx->forwarded) {

        /* an internal redirect led to a location that is stricter */

        if (token || r->headers_in.authorization == NULL) {
            return NGX_OK;
        }

        if (ms_metadata_drop(r, r->headers_in.authorization) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (token || r->headers_in.authorization == NULL) {
        h = ngx_list_push(&r->headers_in.headers);
        if (h == NULL) {
            return NGX_ERROR;
        }

    } else {

        /* the token's place; its text stays in ctx->token */

        h = r->headers_in.authorization;
        r->headers_in.authorization = NULL;
    }

    /* there is h->next since 1.23.0 */

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    if (hash == 0) {
        hash = ngx_hash_key(ms_jwt_role.data, ms_jwt_role.len);
    }

    h->hash = hash;
    h->key = ms_jwt_role;
    h->lowcase_key = h->key.data;

    if (ms_jwt_claim(ctx->claims, MS_JWT_ROLE, &h->value) != NGX_OK) {
        ngx_str_set(&h->value, "");
    }

    ctx->forwarded = 1;

    return NGX_OK;
}
