
/*
 * gRPC over HTTP/2 as nginx sees it: content types, and statuses beside those
 * of HTTP.
 */

#include "core/grpc.h"

#include "core/header.h"
#include "wire/percent.h"


typedef struct {
    ngx_uint_t        status;
    ngx_uint_t        code;
    ngx_str_t         message;
} ms_http_status_t;


/*
 * https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md,
 * and 413: a message over a limit is RESOURCE_EXHAUSTED in gRPC
 */

static ms_http_status_t  ms_http_statuses[] = {

    { NGX_HTTP_BAD_REQUEST, MS_GRPC_INTERNAL,
      ngx_string("bad request") },
    { NGX_HTTP_UNAUTHORIZED, MS_GRPC_UNAUTHENTICATED,
      ngx_string("unauthenticated") },
    { NGX_HTTP_FORBIDDEN, MS_GRPC_PERMISSION_DENIED,
      ngx_string("forbidden") },
    { NGX_HTTP_NOT_FOUND, MS_GRPC_UNIMPLEMENTED,
      ngx_string("method not routed") },
    { NGX_HTTP_REQUEST_ENTITY_TOO_LARGE, MS_GRPC_RESOURCE_EXHAUSTED,
      ngx_string("request message is too large") },
    { NGX_HTTP_TOO_MANY_REQUESTS, MS_GRPC_UNAVAILABLE,
      ngx_string("too many requests") },
    { NGX_HTTP_BAD_GATEWAY, MS_GRPC_UNAVAILABLE,
      ngx_string("service unavailable") },
    { NGX_HTTP_SERVICE_UNAVAILABLE, MS_GRPC_UNAVAILABLE,
      ngx_string("service unavailable") },
    { NGX_HTTP_GATEWAY_TIME_OUT, MS_GRPC_UNAVAILABLE,
      ngx_string("service unavailable") },

    { 0, MS_GRPC_UNKNOWN, ngx_string("unexpected http status") }
};


ngx_uint_t
ms_grpc_is(ngx_http_request_t *r)
{
    return r->http_version >= NGX_HTTP_VERSION_20
           && ms_grpc_type(r->headers_in.content_type);
}


ngx_uint_t
ms_grpc_type(ngx_table_elt_t *h)
{
    u_char  *p;

    static const size_t  len = sizeof("application/grpc") - 1;

    if (h == NULL || h->value.len < len
        || (ngx_memcmp(h->value.data, "application/grpc", len) != 0
            && ngx_strncasecmp(h->value.data, (u_char *) "application/grpc",
                               len)
               != 0))
    {
        return 0;
    }

    p = h->value.data + len;

    return h->value.len == len || *p == '+' || *p == ';';
}


ngx_int_t
ms_grpc_send_header(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    r->headers_out.status = NGX_HTTP_OK;
    ngx_str_set(&r->headers_out.content_type, "application/grpc");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;
    ngx_http_clear_content_length(r);

    r->expect_trailers = 1;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc == NGX_OK ? NGX_ERROR : rc;
    }

    return NGX_OK;
}


ngx_int_t
ms_grpc_add_status(ngx_http_request_t *r, ngx_list_t *headers, ngx_uint_t code,
    ngx_str_t *message)
{
    ngx_str_t  value;

    value.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN + 3 * message->len);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%ui", code) - value.data;

    if (ms_header_add(headers, "grpc-status", &value) != NGX_OK) {
        return NGX_ERROR;
    }

    if (message->len == 0) {
        return NGX_OK;
    }

    value.data += value.len;
    value.len = ms_percent_encode(value.data, message->data, message->len);

    return ms_header_add(headers, "grpc-message", &value);
}


ngx_table_elt_t *
ms_grpc_upstream_status(ngx_http_upstream_t *u, const char *name, size_t len)
{
    ngx_table_elt_t  *h;

    h = ms_header_find(&u->headers_in.trailers, name, len);

    if (h == NULL) {
        h = ms_header_find(&u->headers_in.headers, name, len);
    }

    return h;
}


ngx_uint_t
ms_grpc_from_http(ngx_uint_t status, ngx_str_t *message)
{
    ms_http_status_t  *s;

    s = ms_http_statuses;

    while (s->status && s->status != status) {
        s++;
    }

    *message = s->message;

    return s->code;
}


ngx_uint_t
ms_grpc_to_http(ngx_uint_t code)
{
    switch (code) {

    case MS_GRPC_INVALID_ARGUMENT:
        return NGX_HTTP_BAD_REQUEST;

    case MS_GRPC_UNAUTHENTICATED:
        return NGX_HTTP_UNAUTHORIZED;

    case MS_GRPC_PERMISSION_DENIED:
        return NGX_HTTP_FORBIDDEN;

    case MS_GRPC_INTERNAL:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;

    default:
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }
}
