
/*
 * Streams that break in the middle: RST_STREAM and GOAWAY of an upstream end
 * the response like a closed connection, so that body filters see it. A stream
 * that ends after its status is complete.
 */

#include "answers/broken_stream.h"

#include "answers/context.h"
#include "answers/outcome.h"
#include "core/grpc.h"


static ngx_int_t ms_stream_input_filter_init(void *data);
static ngx_int_t ms_stream_input_filter(void *data, ssize_t bytes);


/*
 * nginx finalizes the upstream and sends one special flush buffer before it
 * closes the stream
 */

ngx_uint_t
ms_stream_broken(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_http_upstream_t  *u;

    u = r->upstream;

    return in && in->next == NULL && ngx_buf_special(in->buf)
           && in->buf->flush && !in->buf->last_buf
           && u && u->cleanup == NULL && u->header_sent
           && r == r->main && ms_grpc_is(r);
}


ngx_int_t
ms_stream_guard(ngx_http_request_t *r)
{
    ngx_http_upstream_t  *u;
    ms_answer_ctx_t      *ctx;

    u = r->upstream;

    /* the filter of a buffered answer has a context that is not in "u" */

    if (u == NULL || u->buffering || u->input_filter == NULL
        || u->input_filter == ms_stream_input_filter)
    {
        return NGX_OK;
    }

    ctx = ms_answer_create_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->upstream = u;
    ctx->input_filter_init = u->input_filter_init;
    ctx->input_filter = u->input_filter;
    ctx->input_filter_ctx = u->input_filter_ctx;

    u->input_filter_init = ms_stream_input_filter_init;
    u->input_filter = ms_stream_input_filter;
    u->input_filter_ctx = ctx;

    return NGX_OK;
}


static ngx_int_t
ms_stream_input_filter_init(void *data)
{
    ms_answer_ctx_t  *ctx = data;

    ctx->ended = 0;

    if (ctx->input_filter_init == NULL) {
        return NGX_OK;
    }

    return ctx->input_filter_init(ctx->input_filter_ctx);
}


static ngx_int_t
ms_stream_input_filter(void *data, ssize_t bytes)
{
    ms_answer_ctx_t  *ctx = data;

    ngx_int_t             rc;
    ngx_http_upstream_t  *u;

    u = ctx->upstream;

    if (u->error || ctx->ended) {

        /* let what was received before drain */

        u->buffer.last += bytes;
        return NGX_OK;
    }

    rc = ctx->input_filter(ctx->input_filter_ctx, bytes);

    if (rc == NGX_ERROR) {
        rc = NGX_OK;
        u->keepalive = 0;

        if (u->length == 0 || ms_outcome_answered(u)) {
            u->length = 0;
            ctx->ended = 1;

        } else {
            u->error = 1;
            u->length = 1;
        }
    }

    if (ctx->discard) {
        u->out_bufs = NULL;
    }

    return rc;
}
