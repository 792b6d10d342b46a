
/*
 * Streams that break in the middle: RST_STREAM and GOAWAY of an upstream end
 * the response like a closed connection does, so that body filters see it.
 */

#include "ngx_http_myservice_module_internal.h"


static ngx_int_t ngx_http_myservice_input_filter_init(void *data);
static ngx_int_t ngx_http_myservice_input_filter(void *data, ssize_t bytes);


/*
 * nginx finalizes the upstream and sends one special flush buffer before it
 * closes the stream
 */

ngx_uint_t
ngx_http_myservice_broken_stream(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_http_upstream_t  *u;

    u = r->upstream;

    return in && in->next == NULL && ngx_buf_special(in->buf)
           && in->buf->flush && !in->buf->last_buf
           && u && u->cleanup == NULL && u->header_sent
           && r == r->main && ngx_http_myservice_is_grpc(r);
}


ngx_int_t
ngx_http_myservice_guard_stream(ngx_http_request_t *r)
{
    ngx_http_upstream_t       *u;
    ngx_http_myservice_ctx_t  *ctx;

    u = r->upstream;

    /* the filter of a buffered answer has a context that is not in "u" */

    if (u == NULL || u->buffering || u->input_filter == NULL
        || u->input_filter == ngx_http_myservice_input_filter)
    {
        return NGX_OK;
    }

    ctx = ngx_http_myservice_create_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->upstream = u;
    ctx->input_filter_init = u->input_filter_init;
    ctx->input_filter = u->input_filter;
    ctx->input_filter_ctx = u->input_filter_ctx;

    u->input_filter_init = ngx_http_myservice_input_filter_init;
    u->input_filter = ngx_http_myservice_input_filter;
    u->input_filter_ctx = ctx;

    return NGX_OK;
}


static ngx_int_t
ngx_http_myservice_input_filter_init(void *data)
{
    ngx_http_myservice_ctx_t  *ctx = data;

    if (ctx->input_filter_init == NULL) {
        return NGX_OK;
    }

    return ctx->input_filter_init(ctx->input_filter_ctx);
}


static ngx_int_t
ngx_http_myservice_input_filter(void *data, ssize_t bytes)
{
    ngx_http_myservice_ctx_t  *ctx = data;

    ngx_int_t             rc;
    ngx_http_upstream_t  *u;

    u = ctx->upstream;

    if (u->error) {

        /* after a failure: let what was received before drain */

        u->buffer.last += bytes;
        return NGX_OK;
    }

    rc = ctx->input_filter(ctx->input_filter_ctx, bytes);

    if (rc == NGX_ERROR && u->length != 0) {
        u->error = 1;
        u->length = 1;
        u->keepalive = 0;

        return NGX_OK;
    }

    return rc;
}
