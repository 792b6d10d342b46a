
/* Cuts frames of earlier calls out of what an instance sends. */

#include "sessions/receive.h"

#include "http2/mux_call.h"


#define ms_receive_stream(u)                                                  \
    ((uint32_t) (2 * (u)->peer.connection->requests - 1))


static void ms_receive_seen(ms_call_t *call);
static ngx_int_t ms_receive_held(ms_call_t *call, ssize_t *bytes, uint32_t id);


ngx_int_t
ms_receive_header(ms_call_t *call)
{
    size_t                n;
    uint32_t              id;
    ngx_int_t             rc;
    ngx_buf_t            *b;
    ms_frames_t          *frames;
    ngx_http_upstream_t  *u;

    ms_receive_seen(call);

    u = call->request->upstream;
    b = &u->buffer;
    frames = &call->frames;
    id = ms_receive_stream(u);

    n = ms_frames_take(frames, b->pos, b->last, id);

    b->last = b->pos + n;

    /* process_header() rewinds a buffer that holds no begin of a header */

    rc = n ? call->process_header(call->request) : NGX_AGAIN;

    if (rc == NGX_OK && id != 1) {

        /* the input filter gets this first, and goes on from there */

        call->taken = b->last - b->pos;

        return NGX_OK;
    }

    b->last = ngx_cpymem(b->last, frames->held, frames->len);
    frames->len = 0;

    if (rc == NGX_OK) {
        frames->rest = 0;
    }

    return rc;
}


ngx_int_t
ms_receive_body(ms_call_t *call, ssize_t bytes)
{
    uint32_t              id;
    ngx_int_t             rc;
    ngx_buf_t            *b;
    ngx_http_upstream_t  *u;

    ms_receive_seen(call);

    u = call->request->upstream;
    id = ms_receive_stream(u);

    if (id == 1) {

        /* the connection had no earlier calls */

        return call->input_filter(call->input_filter_ctx, bytes);
    }

    if (call->taken) {
        call->taken = 0;

        return call->input_filter(call->input_filter_ctx, bytes);
    }

    rc = NGX_AGAIN;

    if (call->frames.len) {
        rc = ms_receive_held(call, &bytes, id);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    b = &u->buffer;
    bytes = ms_frames_take(&call->frames, b->last, b->last + bytes, id);

    return bytes ? call->input_filter(call->input_filter_ctx, bytes) : rc;
}


/* not of what the gateway itself says to the grpc module */

static void
ms_receive_seen(ms_call_t *call)
{
    if (!ms_mux_call_own(call->request)) {
        ms_zone_byte_seen(call->conf->zone, &call->grant.lease);
    }
}


void
ms_receive_end(ms_call_t *call)
{
    if (call->frames.len || call->frames.rest
        || (call->frames.found & MS_FRAMES_STRAY))
    {
        call->request->upstream->keepalive = 0;
    }
}


/*
 * The header of a frame came in two reads: it goes first, in a buffer of its
 * own, as there may be no place for it before the rest.
 */

static ngx_int_t
ms_receive_held(ms_call_t *call, ssize_t *bytes, uint32_t id)
{
    size_t                n;
    u_char                header[MS_FRAME_HEADER];
    ngx_int_t             rc;
    ngx_buf_t             saved;
    ms_frames_t          *frames;
    ngx_http_upstream_t  *u;

    u = call->request->upstream;
    frames = &call->frames;

    n = ngx_min(MS_FRAME_HEADER - frames->len, (size_t) *bytes);

    ngx_memcpy(frames->held + frames->len, u->buffer.last, n);
    frames->len += n;

    u->buffer.last += n;
    *bytes -= n;

    if (frames->len < MS_FRAME_HEADER) {
        return NGX_AGAIN;
    }

    ngx_memcpy(header, frames->held, MS_FRAME_HEADER);
    frames->len = 0;

    if (ms_frames_take(frames, header, header + MS_FRAME_HEADER, id) == 0) {
        return NGX_AGAIN;
    }

    saved = u->buffer;
    u->buffer.last = header;

    rc = call->input_filter(call->input_filter_ctx, MS_FRAME_HEADER);

    u->buffer = saved;

    return rc;
}
