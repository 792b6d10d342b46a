
/* What the grpc module of a call receives of a shared connection. */

#include "http2/mux_receive.h"
#include "http2/mux_write.h"


/* the least that is allocated for bytes that a call has not read */
#define MS_MUX_BUF_MIN      1024

/* frames beside DATA are in no window: what they may add to what a call has
 * not read, and how small the frames of DATA may be */
#define MS_MUX_BUF_MAX(window)  (3 * (window) + 128 * 1024)

/* a stream that gets half a window in as many milliseconds gets a larger one,
 * but for all streams of a worker no more than the budget */
#define MS_MUX_GROW_MSEC    100
#define MS_MUX_GROW_BUDGET  (64 * 1024 * 1024)

/* what the grpc module is told when it has used up a window */
#define MS_MUX_BELIEF_MORE  0x40000000
#define MS_MUX_UPDATE_SIZE  (2 * (MS_FRAME_HEADER + 4))


static ssize_t ms_mux_receive_end(ms_mux_stream_t *s);
static u_char *ms_mux_receive_copy(ms_mux_stream_t *s, u_char *p, size_t size);
static u_char *ms_mux_receive_update(ms_mux_stream_t *s, u_char *p);
static void ms_mux_receive_acknowledge(ms_mux_stream_t *s, size_t left);
static size_t ms_mux_receive_grow(ms_mux_stream_t *s);
static void ms_mux_receive_drained(ms_mux_stream_t *s);


/* of this worker */

static size_t  ms_mux_grown;            /* windows beyond their first size */


ssize_t
ms_mux_receive(ngx_connection_t *c, u_char *buf, size_t size)
{
    u_char           *p;
    size_t            left;
    ms_mux_conn_t    *mc;
    ms_mux_stream_t  *s;

    s = (ms_mux_stream_t *) c;
    mc = s->conn;

    p = ms_mux_receive_copy(s, buf, size);
    left = (s->last - s->pos) + (s->held_last - s->held)
           + (s->span_last - s->span);

    s->own = 0;

    if (s->update && mc && !s->in_closed && left == 0
        && size - (p - buf) >= MS_MUX_UPDATE_SIZE
        && !(mc->in.rest && mc->in.stream == s->id) && mc->in.block != s->id)
    {
        s->own = p == buf;
        p = ms_mux_receive_update(s, p);
    }

    if (p == buf) {
        return ms_mux_receive_end(s);
    }

    if (left == 0 && !s->eof && !s->error) {
        c->read->ready = 0;
    }

    if (mc && !s->in_closed) {
        ms_mux_receive_acknowledge(s, left);
    }

    return p - buf;
}


static ssize_t
ms_mux_receive_end(ms_mux_stream_t *s)
{
    ngx_event_t  *rev;

    rev = &s->rev;
    rev->ready = 0;

    if (s->error) {

        if (s->failure == MS_MUX_NOT_CONNECTED) {
            s->c.log->action = "connecting to upstream";
        }

        if (s->err) {
            (void) ngx_connection_error(&s->c, s->err,
                                        s->failure == MS_MUX_NOT_CONNECTED
                                        ? "connect() failed"
                                        : "recv() failed");

        } else if (s->failure == MS_MUX_NOT_CONNECTED
                   || s->failure == MS_MUX_DIED)
        {
            ngx_log_error(NGX_LOG_ERR, s->c.log, 0,
                          "the connection to the instance has failed");
        }

        s->err = 0;
        rev->error = 1;

        return NGX_ERROR;
    }

    if (s->eof) {
        rev->eof = 1;
        return 0;
    }

    return NGX_AGAIN;
}


static u_char *
ms_mux_receive_copy(ms_mux_stream_t *s, u_char *p, size_t size)
{
    size_t  n;

    if (s->pos < s->last) {
        n = ngx_min(size, (size_t) (s->last - s->pos));
        p = ngx_cpymem(p, s->pos, n);
        s->pos += n;
        size -= n;

        if (s->pos == s->last) {
            ms_mux_receive_drained(s);
        }
    }

    if (size && s->held < s->held_last) {
        n = ngx_min(size, (size_t) (s->held_last - s->held));
        p = ngx_cpymem(p, s->held, n);
        s->held += n;
        size -= n;
    }

    if (size && s->span < s->span_last) {
        n = ngx_min(size, (size_t) (s->span_last - s->span));
        p = ngx_cpymem(p, s->span, n);
        s->span += n;
    }

    return p;
}


/*
 * Between two frames, not of a header block: the grpc module may send more, to
 * what it takes for the connection and for the stream.  The instance has not
 * sent this.
 */

static u_char *
ms_mux_receive_update(ms_mux_stream_t *s, u_char *p)
{
    ngx_uint_t            i;
    ngx_http_upstream_t  *u;

    for (i = 0; i < 2; i++) {
        p = ms_frame_put_header(p, 4, MS_FRAME_WINDOW_UPDATE, 0, i);
        p = ms_frame_put_u32(p, MS_MUX_BELIEF_MORE);
    }

    s->update = 0;
    s->belief += MS_MUX_BELIEF_MORE;

    u = ((ngx_http_request_t *) s->c.data)->upstream;
    u->state->bytes_received -= MS_MUX_UPDATE_SIZE;

    return p;
}


/* "left" of what came, with the headers of frames, is still unread */

static void
ms_mux_receive_acknowledge(ms_mux_stream_t *s, size_t left)
{
    size_t  done;

    done = s->unacked > left ? s->unacked - left : 0;

    if (done < s->limit / 2) {
        return;
    }

    s->unacked -= done;

    /* what is left of this read is no sign of a slow client */

    if (s->pos == s->last) {
        done += ms_mux_receive_grow(s);
    }

    s->acked = ngx_current_msec;

    ms_mux_control_u32(s->conn, MS_FRAME_WINDOW_UPDATE, s->id,
                       (uint32_t) done);
}


static size_t
ms_mux_receive_grow(ms_mux_stream_t *s)
{
    size_t  n;

    n = s->conn->conf->window_max;
    n = n > s->limit ? ngx_min(s->limit, n - s->limit) : 0;

    if (ngx_current_msec - s->acked > MS_MUX_GROW_MSEC
        || ms_mux_grown + n > MS_MUX_GROW_BUDGET)
    {
        return 0;
    }

    s->limit += n;
    ms_mux_grown += n;

    return n;
}


/* only what a call leaves while its client is slow */

ngx_int_t
ms_mux_receive_keep(ms_mux_stream_t *s, const u_char *p, size_t len)
{
    u_char  *buf;
    size_t   have, size;

    have = s->last - s->pos;

    if (have + len > MS_MUX_BUF_MAX(s->limit)) {
        return NGX_DECLINED;
    }

    if (s->buf && (size_t) (s->buf + s->size - s->last) < len
        && s->size - have >= len)
    {
        ngx_memmove(s->buf, s->pos, have);
        s->pos = s->buf;
        s->last = s->buf + have;
    }

    if (s->buf == NULL || (size_t) (s->buf + s->size - s->last) < len) {

        for (size = MS_MUX_BUF_MIN; size < have + len; size *= 2) {
            /* void */
        }

        buf = ngx_alloc(size, ngx_cycle->log);
        if (buf == NULL) {
            return NGX_ERROR;
        }

        if (have) {
            ngx_memcpy(buf, s->pos, have);
        }

        if (s->buf) {
            ngx_free(s->buf);
        }

        s->buf = buf;
        s->size = size;
        s->pos = buf;
        s->last = buf + have;
    }

    s->last = ngx_cpymem(s->last, p, len);

    return NGX_OK;
}


static void
ms_mux_receive_drained(ms_mux_stream_t *s)
{
    if (s->buf) {
        ngx_free(s->buf);
        s->buf = NULL;
        s->pos = NULL;
        s->last = NULL;
    }
}


void
ms_mux_receive_free(ms_mux_stream_t *s)
{
    ms_mux_receive_drained(s);

    ms_mux_grown -= s->limit - s->first;
    s->limit = s->first;
}
