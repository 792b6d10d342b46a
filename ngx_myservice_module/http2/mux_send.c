
/*
 * What the grpc module of a call sends on a shared connection.
 *
 * It always uses stream 1.  What it sends is taken frame by frame: a header
 * block as a whole, so that blocks of other calls do not get between its
 * frames, with an id that is given when it is queued, so that ids ascend; DATA
 * as far as the windows allow, in frames of its own making.  What is not taken
 * stays with the caller, as when a socket is full.
 */

#include "http2/mux_send.h"
#include "http2/mux_head.h"
#include "http2/mux_write.h"


/* what the grpc module takes for its window: it learns of more below this */
#define MS_MUX_BELIEF_LOW  32768


static ngx_int_t ms_mux_send_take(ms_mux_stream_t *s, ngx_buf_t *b,
    ngx_uint_t *frames);
static ngx_int_t ms_mux_send_head(ms_mux_stream_t *s, ngx_buf_t *b);
static ngx_int_t ms_mux_send_payload(ms_mux_stream_t *s, u_char *p,
    size_t *n, ngx_uint_t *frames);
static ngx_int_t ms_mux_send_data(ms_mux_stream_t *s, u_char *p, size_t *n,
    ngx_uint_t *frames);


ngx_chain_t *
ms_mux_send_chain(ngx_connection_t *c, ngx_chain_t *in, off_t limit)
{
    ngx_int_t         rc;
    ngx_uint_t        frames;
    ms_mux_stream_t  *s;

    s = (ms_mux_stream_t *) c;

    if (s->conn == NULL) {
        c->write->error = 1;
        return NGX_CHAIN_ERROR;
    }

    frames = 0;

    for ( /* void */ ; in; in = in->next) {

        if (ngx_buf_special(in->buf)) {
            continue;
        }

        rc = ms_mux_send_take(s, in->buf, &frames);

        if (rc == NGX_ERROR) {
            c->write->error = 1;
            return NGX_CHAIN_ERROR;
        }

        if (rc == NGX_AGAIN) {
            c->write->ready = 0;
            break;
        }
    }

    ms_mux_flush_soon(s->conn);

    return in;
}


/* NGX_AGAIN: a window or the output is full */

static ngx_int_t
ms_mux_send_take(ms_mux_stream_t *s, ngx_buf_t *b, ngx_uint_t *frames)
{
    size_t          n;
    u_char         *start;
    ngx_int_t       rc;
    const uint8_t  *p;

    rc = NGX_OK;
    start = b->pos;

    while (rc == NGX_OK && b->pos < b->last) {

        if (s->out_closed) {

            /* by the instance: nobody wants the rest */

            b->pos = b->last;
            break;
        }

        p = b->pos;

        switch (ms_mux_out_next(&s->out, &p, b->last)) {

        case MS_MUX_OUT_MORE:
            b->pos = b->last;
            break;

        case MS_MUX_OUT_HEAD:
            b->pos += p - b->pos;
            rc = ms_mux_send_head(s, b);
            break;

        case MS_MUX_OUT_PAYLOAD:
            b->pos += p - b->pos;
            n = b->last - b->pos;
            rc = ms_mux_send_payload(s, b->pos, &n, frames);
            b->pos += n;
            break;

        default: /* MS_MUX_OUT_BAD */
            rc = NGX_ERROR;
            ngx_log_error(NGX_LOG_ALERT, s->c.log, 0,
                          "the grpc module sends what \"myservice_multiplex\" "
                          "does not know");
        }
    }

    s->c.sent += b->pos - start;

    return rc;
}


/* behind the header of a frame */

static ngx_int_t
ms_mux_send_head(ms_mux_stream_t *s, ngx_buf_t *b)
{
    uint8_t         head[MS_FRAME_HEADER];
    ms_mux_out_t   *out;
    ms_mux_conn_t  *mc;

    mc = s->conn;
    out = &s->out;

    if (s->id == 0) {

        /* without memory the grpc module may lose its header */

        return out->type == MS_FRAME_HEADERS ? ms_mux_head(s, b) : NGX_ERROR;
    }

    if (out->type == MS_FRAME_HEADERS) {
        return NGX_ERROR;
    }

    if (out->type == MS_FRAME_DATA && out->rest) {

        /* its frames are made of what may be sent */

        return NGX_OK;
    }

    if (ms_mux_reserve(mc, MS_FRAME_HEADER + out->rest) != NGX_OK) {
        return NGX_ERROR;
    }

    (void) ms_frame_put_header(head, out->rest, out->type, out->flags, s->id);
    ms_mux_put(mc, head, MS_FRAME_HEADER);

    if (out->type == MS_FRAME_DATA && (out->flags & MS_FLAG_END_STREAM)) {
        s->out_closed = 1;
    }

    return NGX_OK;
}


/* says in "n" how much of it was taken */

static ngx_int_t
ms_mux_send_payload(ms_mux_stream_t *s, u_char *p, size_t *n,
    ngx_uint_t *frames)
{
    ms_mux_out_t  *out;

    out = &s->out;
    *n = ngx_min(*n, out->rest);

    if (out->type == MS_FRAME_DATA) {
        return ms_mux_send_data(s, p, n, frames);
    }

    ms_mux_put(s->conn, p, *n);
    ms_mux_out_took(out, *n);

    return NGX_OK;
}


static ngx_int_t
ms_mux_send_data(ms_mux_stream_t *s, u_char *p, size_t *n,
    ngx_uint_t *frames)
{
    size_t          len;
    uint8_t         head[MS_FRAME_HEADER];
    ngx_uint_t      last;
    ms_mux_out_t   *out;
    ms_mux_conn_t  *mc;

    mc = s->conn;
    out = &s->out;
    len = *n;
    *n = 0;

    if (ms_mux_stream_window(s) <= 0) {
        return NGX_AGAIN;
    }

    /* one frame for each call in turn, if others wait */

    if (!ms_mux_room(mc) || (*frames && !ngx_queue_empty(&mc->blocked))) {

        if (!s->blocked) {
            s->blocked = 1;
            ngx_queue_insert_tail(&mc->blocked, &s->waiting);
        }

        return NGX_AGAIN;
    }

    len = ngx_min(len, (size_t) ms_mux_stream_window(s));
    len = ngx_min(len, (size_t) mc->window);
    last = len == out->rest && (out->flags & MS_FLAG_END_STREAM);

    if (ms_mux_reserve(mc, MS_FRAME_HEADER + len) != NGX_OK) {
        return NGX_ERROR;
    }

    (void) ms_frame_put_header(head, len, MS_FRAME_DATA,
                               last ? MS_FLAG_END_STREAM : 0, s->id);
    ms_mux_put(mc, head, MS_FRAME_HEADER);
    ms_mux_put(mc, p, len);

    ms_mux_out_took(out, len);

    (*frames)++;
    *n = len;

    s->window -= len;
    mc->window -= len;
    s->belief -= len;

    if (last) {
        s->out_closed = 1;

    } else if (s->belief < MS_MUX_BELIEF_LOW && !s->update) {
        s->update = 1;
        ms_mux_wake_read(s);
    }

    return NGX_OK;
}


void
ms_mux_send_unblock(ms_mux_conn_t *mc)
{
    int64_t           room;
    ngx_queue_t      *q, *next;
    ms_mux_stream_t  *s;

    if (!ms_mux_room(mc) || ngx_queue_empty(&mc->blocked)) {
        return;
    }

    room = ngx_min(mc->window, (int64_t) (MS_MUX_OUT_DATA - mc->out_size));

    for (q = ngx_queue_head(&mc->blocked);
         room > 0 && q != ngx_queue_sentinel(&mc->blocked);
         q = next)
    {
        next = ngx_queue_next(q);
        ngx_queue_remove(q);

        s = ngx_queue_data(q, ms_mux_stream_t, waiting);
        s->blocked = 0;
        ms_mux_wake_write(s);

        room -= MS_FRAME_MAX;
    }

    /* behind these: they may leave some of it */

    ms_mux_flush_soon(mc);
}
