
/*
 * A stream of a shared connection, in the place of a connection.
 *
 * nginx's upstream module reads and writes it by its recv() and send_chain(),
 * arms timers on its events, and never finds it in an event set: "active"
 * keeps ngx_handle_read_event() and ngx_handle_write_event() from adding it.
 */

#include "http2/mux_stream.h"
#include "http2/mux_receive.h"
#include "http2/mux_send.h"
#include "http2/mux_write.h"


/* streams of a worker that wait to be used again */
#define MS_MUX_STREAMS_MAX  256

/* has what the grpc module keeps of a connection */
#define MS_MUX_POOL         160


static ms_mux_stream_t *ms_mux_stream_alloc(ngx_log_t *log);
static void ms_mux_stream_free(ms_mux_stream_t *s);
static void ms_mux_stream_detach(ms_mux_stream_t *s);


/* of this worker */

static ms_mux_stream_t  *ms_mux_streams;
static ngx_uint_t        ms_mux_nstreams;


ms_mux_stream_t *
ms_mux_stream_create(ms_mux_conn_t *mc, ngx_log_t *log)
{
    ms_mux_stream_t   *s;
    ngx_connection_t  *c;

    s = ms_mux_stream_alloc(log);
    if (s == NULL) {
        return NULL;
    }

    c = &s->c;

    c->read = &s->rev;
    c->write = &s->wev;
    c->fd = mc->c->fd;
    c->log = log;
    c->type = SOCK_STREAM;
    c->number = mc->c->number;
    c->start_time = ngx_current_msec;
    c->recv = ms_mux_receive;
    c->send_chain = ms_mux_send_chain;
    c->tcp_nodelay = NGX_TCP_NODELAY_DISABLED;
    c->tcp_nopush = NGX_TCP_NOPUSH_DISABLED;
    c->log_error = NGX_ERROR_ERR;

    s->rev.data = c;
    s->rev.active = 1;
    s->rev.index = NGX_INVALID_INDEX;
    s->rev.log = log;

    s->wev.data = c;
    s->wev.write = 1;
    s->wev.active = 1;
    s->wev.ready = mc->ready;
    s->wev.index = NGX_INVALID_INDEX;
    s->wev.log = log;

    s->conn = mc;
    s->number = mc->number;
    s->belief = MS_MUX_WINDOW_INIT;
    s->limit = mc->conf->window;
    s->first = s->limit;
    s->acked = ngx_current_msec;
    s->reused = mc->reused;

    ngx_queue_insert_tail(&mc->streams, &s->queue);
    mc->nstreams++;

    return s;
}


static ms_mux_stream_t *
ms_mux_stream_alloc(ngx_log_t *log)
{
    ngx_pool_t       *pool;
    ms_mux_stream_t  *s;

    s = ms_mux_streams;

    if (s) {
        ms_mux_streams = s->next;
        ms_mux_nstreams--;
        pool = s->c.pool;

    } else {
        s = ngx_alloc(sizeof(ms_mux_stream_t), log);
        if (s == NULL) {
            return NULL;
        }

        /* the grpc module puts a cleanup with its own data there */

        pool = ngx_create_pool(MS_MUX_POOL, log);
        if (pool == NULL) {
            ngx_free(s);
            return NULL;
        }
    }

    ngx_memzero(s, sizeof(ms_mux_stream_t));

    s->c.pool = pool;

    return s;
}


void
ms_mux_stream_close(ms_mux_stream_t *s)
{
    ms_mux_conn_t       *mc;
    ngx_pool_cleanup_t  *cln;

    mc = s->conn;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, s->c.log, 0,
                   "myservice multiplex: close stream %uD in:%d out:%d",
                   s->id, s->in_closed, s->out_closed);

    if (mc) {
        if (s->id && !(s->in_closed && s->out_closed)) {
            ms_mux_control_u32(mc, MS_FRAME_RST_STREAM, s->id, MS_MUX_CANCEL);
        }

        ms_mux_stream_detach(s);

        /* what waits may have its turn; a connection without calls is idle */

        if (mc->nstreams == 0 || !ngx_queue_empty(&mc->blocked)) {
            ms_mux_flush_soon(mc);
        }
    }

    if (s->rev.timer_set) {
        ngx_del_timer(&s->rev);
    }

    if (s->wev.timer_set) {
        ngx_del_timer(&s->wev);
    }

    if (s->rev.posted) {
        ngx_delete_posted_event(&s->rev);
    }

    if (s->wev.posted) {
        ngx_delete_posted_event(&s->wev);
    }

    if (s->begin.posted) {
        ngx_delete_posted_event(&s->begin);
    }

    ms_mux_receive_free(s);

    for (cln = s->c.pool->cleanup; cln; cln = cln->next) {
        if (cln->handler) {
            cln->handler(cln->data);
        }
    }

    s->c.pool->cleanup = NULL;
    s->c.pool->log = ngx_cycle->log;

    ms_mux_stream_free(s);
}


static void
ms_mux_stream_free(ms_mux_stream_t *s)
{
#if !(NGX_DEBUG_PALLOC)

    if (ms_mux_nstreams < MS_MUX_STREAMS_MAX) {
        ngx_reset_pool(s->c.pool);

        s->next = ms_mux_streams;
        ms_mux_streams = s;
        ms_mux_nstreams++;
        return;
    }

#endif

    ngx_destroy_pool(s->c.pool);
    ngx_free(s);
}


static void
ms_mux_stream_detach(ms_mux_stream_t *s)
{
    ms_mux_conn_t     *mc;
    ms_mux_stream_t  **p;

    mc = s->conn;
    s->conn = NULL;

    if (s->id) {
        p = &mc->buckets[(s->id >> 1) % MS_MUX_BUCKETS];

        while (*p != s) {
            p = &(*p)->next;
        }

        *p = s->next;
    }

    ngx_queue_remove(&s->queue);
    mc->nstreams--;

    if (s->held) {
        ngx_queue_remove(&s->holding);
        s->held = NULL;
        s->held_last = NULL;
    }

    if (s->blocked) {
        ngx_queue_remove(&s->waiting);
        s->blocked = 0;
    }
}


ms_mux_stream_t *
ms_mux_stream_find(ms_mux_conn_t *mc, uint32_t id)
{
    ms_mux_stream_t  *s;

    for (s = mc->buckets[(id >> 1) % MS_MUX_BUCKETS]; s; s = s->next) {
        if (s->id == id) {
            return s;
        }
    }

    return NULL;
}


void
ms_mux_stream_ready(ms_mux_stream_t *s)
{
    ms_mux_wake_write(s);
}


ngx_int_t
ms_mux_stream_deliver(ms_mux_conn_t *mc, ms_mux_stream_t *s)
{
    uint32_t   id;
    ngx_int_t  rc;

    id = s->id;

    if (s->held) {
        ngx_queue_remove(&s->holding);
        ngx_queue_init(&s->holding);
    }

    s->rev.ready = 1;
    s->rev.handler(&s->rev);

    /* the call may have ended, and its memory be that of another one */

    s = ms_mux_stream_find(mc, id);

    if (s == NULL) {
        return NGX_OK;
    }

    rc = NGX_OK;

    if (s->held < s->held_last) {
        rc = ms_mux_receive_keep(s, s->held, s->held_last - s->held);
    }

    if (rc == NGX_OK && s->span < s->span_last) {
        rc = ms_mux_receive_keep(s, s->span, s->span_last - s->span);
    }

    s->held = NULL;
    s->held_last = NULL;
    s->span = NULL;
    s->span_last = NULL;

    return rc;
}


ngx_int_t
ms_mux_stream_credit(ms_mux_stream_t *s, int64_t n)
{
    s->window += n;

    if (ms_mux_stream_window(s) > MS_MUX_WINDOW_MAX) {
        return NGX_ERROR;
    }

    if (ms_mux_stream_window(s) > 0 && s->id && !s->blocked && !s->wev.ready) {
        ms_mux_wake_write(s);
    }

    return NGX_OK;
}


void
ms_mux_stream_refuse(ms_mux_stream_t *s, uint32_t error)
{
    uint8_t  frame[MS_FRAME_HEADER + 8], *p;

    p = ms_frame_put_header(frame, 8, MS_FRAME_GOAWAY, 0, 0);
    (void) ms_frame_put_u32(ms_frame_put_u32(p, 0), error);

    s->failure = MS_MUX_REFUSED;
    s->in_closed = 1;
    s->out_closed = 1;

    /* in the middle of its answer, or without memory, it just ends */

    if ((s->conn->in.rest && s->conn->in.stream == s->id)
        || ms_mux_receive_keep(s, frame, sizeof(frame)) != NGX_OK)
    {
        s->error = 1;
    }

    ms_mux_wake_read(s);
}


void
ms_mux_stream_spoil(ms_mux_stream_t *s)
{
    uint8_t  frame[MS_FRAME_HEADER];

    if (s->id && !s->in_closed) {
        (void) ms_frame_put_header(frame, 0xffffff, MS_FRAME_DATA, 0, 1);
        (void) ms_mux_receive_keep(s, frame, sizeof(frame));
    }

    ms_mux_stream_lost(s, 0, 0);
}


/*
 * ngx_http_upstream_test_connect() would take the error from the socket, for
 * the first of many calls, or ask a socket that is closed.  It is not called
 * for a request that was sent, and peer.free() says that it was not.
 */

void
ms_mux_stream_lost(ms_mux_stream_t *s, ngx_uint_t error, ngx_err_t err)
{
    ngx_http_upstream_t  *u;

    if (!s->in_closed) {
        s->failure = ms_mux_stream_failure(s);

        if (s->failure == MS_MUX_NONE
            && ms_mux_written(s->conn) <= s->place)
        {
            s->failure = MS_MUX_NOT_SENT;

        } else if (s->failure == MS_MUX_NONE) {
            s->failure = s->reused && s->conn->nread == s->conn->busy_read
                         ? MS_MUX_STALE : MS_MUX_DIED;
        }
    }

    ms_mux_stream_detach(s);

    s->c.fd = (ngx_socket_t) -1;
    s->span = NULL;
    s->span_last = NULL;
    s->err = err;

    u = ((ngx_http_request_t *) s->c.data)->upstream;

    if (!u->request_sent) {
        u->request_sent = 1;
        s->unsent = 1;
        error = 1;

        if (s->wev.posted) {
            ngx_delete_posted_event(&s->wev);
        }

        if (s->begin.posted) {
            ngx_delete_posted_event(&s->begin);
        }
    }

    s->error |= error;
    s->eof = 1;
    s->wev.ready = 1;

    ms_mux_wake_read(s);
}


ms_mux_failure_e
ms_mux_stream_failure(ms_mux_stream_t *s)
{
    ms_mux_conn_t  *mc;

    mc = s->conn;

    if (s->failure || mc == NULL) {
        return s->failure;
    }

    if (!mc->ready) {

        if (mc->local) {
            return MS_MUX_LOCAL;
        }

        /* a handshake may fail because of the session, but not hang */

        return mc->resumes && !s->wev.timedout
               ? MS_MUX_NOT_SENT : MS_MUX_NOT_CONNECTED;
    }

    /* what is queued will be written, unless the connection ends before */

    return s->id == 0 ? MS_MUX_NOT_SENT : MS_MUX_NONE;
}
