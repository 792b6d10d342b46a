
/*
 * The status of an upstream's gRPC answer.  It belongs into the trailers, or
 * into a header that is the whole answer (Trailers-Only); wherever the
 * upstream gives it, it is what the client gets.  What HTTP says beside it
 * ("content-length", another :status than 200) must not end or change the
 * answer.
 */

#include "answers/outcome.h"

#include "core/grpc.h"
#include "core/header.h"


static void ms_outcome_fields(ngx_http_request_t *r, ngx_uint_t status);
static ngx_uint_t ms_outcome_unwanted(ngx_table_elt_t *h, ngx_uint_t status);


/* the first member of the private ngx_http_grpc_loc_conf_t */

extern ngx_module_t  ngx_http_grpc_module;


static ngx_str_t  ms_outcome_names[] = {
    ngx_string("grpc-status"),
    ngx_string("grpc-message"),
    ngx_string("grpc-status-details-bin"),
    ngx_null_string
};


ngx_uint_t
ms_outcome_answered(ngx_http_upstream_t *u)
{
    return ms_header_find(&u->headers_in.trailers,
                          "grpc-status",
                          sizeof("grpc-status") - 1)
           != NULL;
}


ngx_int_t
ms_outcome_header(ngx_http_request_t *r)
{
    ngx_uint_t            grpc, status, whole;
    ngx_http_upstream_t  *u;
    ms_answer_ctx_t      *ctx;

    u = r->upstream;

    if (u == NULL || u->cleanup == NULL || r->err_status
        || r->headers_out.status != u->headers_in.status_n
        || u->conf != ngx_http_get_module_loc_conf(r, ngx_http_grpc_module))
    {
        /* an answer of nginx, or of another kind of upstream */

        return NGX_OK;
    }

    ctx = ms_answer_create_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    /*
     * with a "content-length" nginx does not know yet whether a body follows
     */

    whole = u->headers_in.content_length_n == 0
            && u->headers_in.content_length == NULL;

    grpc = ms_grpc_type(u->headers_in.content_type);

    status = ms_header_find(&u->headers_in.headers,
                            "grpc-status",
                            sizeof("grpc-status") - 1)
             != NULL;

    if (!status && r->headers_out.status != NGX_HTTP_OK
        && (whole || (!grpc && r->headers_out.content_type.len)))
    {
        return NGX_DECLINED;
    }

    ctx->http = u->headers_in.status_n;
    ctx->whole = whole;
    ctx->incomplete = status || ctx->http != NGX_HTTP_OK;
    ctx->discard = !grpc && (status || ctx->http != NGX_HTTP_OK);

    if (ctx->discard) {
        ngx_str_set(&r->headers_out.content_type, "application/grpc");
        r->headers_out.content_type_len = r->headers_out.content_type.len;
        r->headers_out.content_type_lowcase = NULL;
        ngx_str_null(&r->headers_out.charset);
    }

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.status_line.len = 0;

    ms_outcome_fields(r, status && !whole);

    if (!whole) {
        ngx_http_clear_content_length(r);
    }

    /* what the grpc module would compare with the length of the body */

    u->headers_in.content_length_n = -1;
    u->headers_in.status_n = NGX_HTTP_OK;

    r->allow_ranges = 0;

#if (NGX_HTTP_GZIP)
    r->gzip_tested = 1;
    r->gzip_ok = 0;
#endif

    return NGX_OK;
}


/* removes fields that a client must not get in the header */

static void
ms_outcome_fields(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &r->headers_out.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (ms_outcome_unwanted(&h[i], status)) {
                h[i].hash = 0;
            }
        }
    }
}


/*
 * Fields that HTTP/2 does not allow (RFC 9113 section 8.2.2), on which clients
 * reset the stream, and "content-length"; with "status" also what comes in the
 * trailers.
 */

static ngx_uint_t
ms_outcome_unwanted(ngx_table_elt_t *h, ngx_uint_t status)
{
    char       *name;
    ngx_str_t  *s;

    switch (h->key.len) {

    case 2:
        name = "te";
        break;

    case 7:
        name = "upgrade";
        break;

    case 10:
        name = h->key.data[0] == 'k' ? "keep-alive" : "connection";
        break;

    case 14:
        name = "content-length";
        break;

    case 16:
        name = "proxy-connection";
        break;

    case 17:
        name = "transfer-encoding";
        break;

    default:
        name = NULL;
    }

    if (name && ngx_strncasecmp(h->key.data, (u_char *) name, h->key.len) == 0)
    {
        return 1;
    }

    for (s = ms_outcome_names; status && s->len; s++) {

        if (h->key.len == s->len
            && ngx_strncasecmp(h->key.data, s->data, s->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ms_outcome_end(ngx_http_request_t *r, ms_answer_ctx_t *ctx)
{
    ngx_str_t        *s;
    ngx_list_t       *trailers;
    ngx_table_elt_t  *h;

    ctx->incomplete = 0;

    trailers = &r->headers_out.trailers;

    if (ms_header_find(trailers, "grpc-status",
                       sizeof("grpc-status") - 1)
        || (ctx->whole && !r->expect_trailers))
    {
        return NGX_OK;
    }

    for (s = ms_outcome_names; s->len; s++) {

        h = ms_header_find(&r->upstream->headers_in.headers,
                           (char *) s->data, s->len);
        if (h == NULL) {

            if (s == ms_outcome_names) {
                break;
            }

            continue;
        }

        if (ms_header_add(trailers, (char *) s->data, &h->value) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (s->len == 0) {
        return NGX_OK;
    }

    ctx->code = ms_grpc_from_http(ctx->http, &ctx->message);

    return ms_grpc_add_status(r, trailers, ctx->code, &ctx->message);
}


/* as ngx_http_upstream_process_trailers() does for an answer that went well */

ngx_int_t
ms_outcome_trailers(ngx_http_request_t *r)
{
    ngx_uint_t            i;
    ngx_list_part_t      *part;
    ngx_table_elt_t      *h, *ho;
    ngx_http_upstream_t  *u;

    u = r->upstream;

    for (part = &u->headers_in.trailers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (ngx_hash_find(&u->conf->hide_headers_hash, h[i].hash,
                              h[i].lowcase_key, h[i].key.len))
            {
                continue;
            }

            ho = ngx_list_push(&r->headers_out.trailers);
            if (ho == NULL) {
                return NGX_ERROR;
            }

            *ho = h[i];
        }
    }

    return NGX_OK;
}


ngx_int_t
ms_outcome_move(ngx_http_request_t *r)
{
    ngx_uint_t            i;
    ngx_list_part_t      *part;
    ngx_table_elt_t      *h, *ho;
    ngx_http_upstream_t  *u;
    ms_answer_ctx_t      *ctx;

    u = r->upstream;
    ctx = ms_answer_get_ctx(r);

    if (ctx == NULL || !ctx->whole) {
        return NGX_DECLINED;
    }

    ctx->whole = 0;

    for (part = &u->headers_in.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (&h[i] == u->headers_in.content_type
                || ms_outcome_unwanted(&h[i], 0))
            {
                continue;
            }

            ho = ngx_list_push(&u->headers_in.trailers);
            if (ho == NULL) {
                return NGX_ERROR;
            }

            *ho = h[i];
        }
    }

    return NGX_OK;
}


void
ms_outcome_form(ngx_http_request_t *r, ms_outcome_form_t *form)
{
    u_char           *p;
    ngx_table_elt_t  *h;

    static const size_t  len = sizeof("application/grpc") - 1;

    ngx_memzero(form, sizeof(ms_outcome_form_t));

    h = r->upstream->headers_in.content_type;

    if (h && ms_grpc_type(h) && h->value.len > len
        && h->value.data[len] == '+')
    {
        form->type.data = h->value.data + len + 1;
        form->type.len = h->value.len - len - 1;

        p = ngx_strlchr(form->type.data, form->type.data + form->type.len,
                        ';');
        if (p) {
            form->type.len = p - form->type.data;
        }

        if (form->type.len == sizeof("proto") - 1
            && ngx_strncasecmp(form->type.data, (u_char *) "proto",
                               sizeof("proto") - 1)
               == 0)
        {
            form->type.len = 0;
        }
    }

    h = ms_header_find(&r->upstream->headers_in.headers,
                       "grpc-encoding",
                       sizeof("grpc-encoding") - 1);

    if (h && (h->value.len != sizeof("identity") - 1
              || ngx_strncasecmp(h->value.data, (u_char *) "identity",
                                 sizeof("identity") - 1)
                 != 0))
    {
        form->encoding = h->value;
    }
}
