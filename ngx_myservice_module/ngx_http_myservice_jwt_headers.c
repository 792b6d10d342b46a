
/*
 * The metadata of a call that passed, on its way to the instance.  grpc_pass
 * takes it from r->headers_in.headers.  Names that begin with "x-myservice-"
 * are the gateway's alone.
 *
 * Other parts of nginx point at elements of that list: elements are renamed
 * or copied into a new list, but never moved.
 */

#include "ngx_http_myservice_jwt.h"


#define NGX_HTTP_MYSERVICE_JWT_PREFIX  "x-myservice-"


static ngx_uint_t ngx_http_myservice_jwt_reserved(ngx_str_t *name);
static ngx_int_t ngx_http_myservice_jwt_drop(ngx_http_request_t *r,
    ngx_uint_t token);


static ngx_str_t  ngx_http_myservice_jwt_role =
    ngx_string(NGX_HTTP_MYSERVICE_JWT_PREFIX "role");


ngx_int_t
ngx_http_myservice_jwt_clean_headers(ngx_http_request_t *r,
    ngx_http_myservice_jwt_ctx_t *ctx)
{
    ngx_uint_t        i, reserved;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    static const size_t  len = sizeof("authorization") - 1;

    if (ctx->cleaned) {
        return NGX_OK;
    }

    reserved = 0;

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len == len
                && ngx_memcmp(h[i].lowcase_key, "authorization", len) == 0)
            {
                ctx->tokens++;
            }

            reserved |= ngx_http_myservice_jwt_reserved(&h[i].key);
        }
    }

    if (reserved && ngx_http_myservice_jwt_drop(r, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    if (r->headers_in.authorization) {
        ctx->token = r->headers_in.authorization->value;
    }

    ctx->cleaned = 1;

    return NGX_OK;
}


/* frameworks of CGI's kind do not tell "_" from "-" */

static ngx_uint_t
ngx_http_myservice_jwt_reserved(ngx_str_t *name)
{
    u_char      ch;
    ngx_uint_t  i;

    static const u_char  prefix[] = NGX_HTTP_MYSERVICE_JWT_PREFIX;

    if (name->len < sizeof(prefix) - 1) {
        return 0;
    }

    for (i = 0; i < sizeof(prefix) - 1; i++) {
        ch = ngx_tolower(name->data[i]);

        if (ch != prefix[i] && !(ch == '_' && prefix[i] == '-')) {
            return 0;
        }
    }

    return 1;
}


/* a new list without the gateway's own names, and without the token */

static ngx_int_t
ngx_http_myservice_jwt_drop(ngx_http_request_t *r, ngx_uint_t token)
{
    ngx_list_t        list;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h, *copy, *authorization;

    if (ngx_list_init(&list, r->pool, 20, sizeof(ngx_table_elt_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    authorization = r->headers_in.authorization;
    r->headers_in.authorization = NULL;

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (ngx_http_myservice_jwt_reserved(&h[i].key)
                || (token && &h[i] == authorization))
            {
                continue;
            }

            copy = ngx_list_push(&list);
            if (copy == NULL) {
                return NGX_ERROR;
            }

            *copy = h[i];

            if (&h[i] == authorization) {
                r->headers_in.authorization = copy;
            }
        }
    }

    r->headers_in.headers = list;

    /* a list that still has its first part points into itself */

    if (list.last == &list.part) {
        r->headers_in.headers.last = &r->headers_in.headers.part;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_myservice_jwt_forward(ngx_http_request_t *r,
    ngx_http_myservice_jwt_ctx_t *ctx, ngx_flag_t token)
{
    ngx_table_elt_t    *h;
    static ngx_uint_t   hash;

    if (ctx->forwarded) {

        /* an internal redirect led to a location that is stricter */

        if (token || r->headers_in.authorization == NULL) {
            return NGX_OK;
        }

        if (ngx_http_myservice_jwt_drop(r, 1) != NGX_OK) {
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
        hash = ngx_hash_key(ngx_http_myservice_jwt_role.data,
                            ngx_http_myservice_jwt_role.len);
    }

    h->hash = hash;
    h->key = ngx_http_myservice_jwt_role;
    h->lowcase_key = h->key.data;

    if (ngx_http_myservice_jwt_claim(ctx->claims, NGX_HTTP_MYSERVICE_JWT_ROLE,
                                     &h->value)
        != NGX_OK)
    {
        ngx_str_set(&h->value, "");
    }

    ctx->forwarded = 1;

    return NGX_OK;
}
