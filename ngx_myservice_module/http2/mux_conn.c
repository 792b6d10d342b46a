
/*
 * A connection to an instance that the calls of a worker share.
 *
 * It is read in its read handler, up to a limit in a turn of the event loop,
 * and written in its write handler, which is posted by who puts something.
 * Only these two handlers close it, and never while a call runs inside them.
 */

#include "http2/mux_conn.h"
#include "http2/mux_demux.h"
#include "http2/mux_peer.h"
#include "http2/mux_send.h"
#include "http2/mux_stream.h"
#include "http2/mux_tls.h"
#include "http2/mux_write.h"


/* bytes of a read, and reads in a turn */
#define MS_MUX_READ        (128 * 1024)
#define MS_MUX_READS       16

/* milliseconds without a byte that make a connection suspicious, and for the
 * answer to a PING */
#define MS_MUX_QUIET       1000

/* between two frames of a stream; a peer punishes more of them */
#define MS_MUX_PINGS_MAX   2


static void ms_mux_conn_init(ms_mux_conn_t *mc, ngx_connection_t *c,
    ms_mux_conf_t *conf);
static ngx_int_t ms_mux_conn_begin(ms_mux_conn_t *mc);
static void ms_mux_conn_ping_handler(ngx_event_t *ev);
static void ms_mux_conn_read_handler(ngx_event_t *rev);
static void ms_mux_conn_flush_handler(ngx_event_t *ev);
static void ms_mux_conn_write_handler(ngx_event_t *wev);
static ngx_int_t ms_mux_conn_test(ms_mux_conn_t *mc);
static void ms_mux_conn_tls_handler(ngx_connection_t *c);
static ngx_int_t ms_mux_conn_ready(ms_mux_conn_t *mc);
static ngx_int_t ms_mux_conn_look(ms_mux_conn_t *mc);
static ngx_int_t ms_mux_conn_read(ms_mux_conn_t *mc);
static ngx_int_t ms_mux_conn_took(ms_mux_conn_t *mc, u_char *p, size_t n);
static void ms_mux_conn_ended(ms_mux_conn_t *mc);
static ngx_int_t ms_mux_conn_settle(ms_mux_conn_t *mc);
static void ms_mux_conn_idle(ms_mux_conn_t *mc);
static void ms_mux_conn_busy(ms_mux_conn_t *mc);
static void ms_mux_conn_close(ms_mux_conn_t *mc, ngx_uint_t error);
static void ms_mux_conn_free(ms_mux_conn_t *mc);


/* of this worker */

static uint64_t  ms_mux_number;
static u_char    ms_mux_buffer[MS_MUX_CARRY + MS_MUX_READ];


ngx_int_t
ms_mux_conn_create(ms_mux_conn_t **mcp, ms_mux_peer_t *peer,
    ms_mux_conf_t *conf, ngx_peer_connection_t *pc)
{
    ngx_err_t               err;
    ngx_int_t               rc;
    ms_mux_conn_t          *mc;
    ngx_peer_connection_t   real;

    mc = ngx_calloc(sizeof(ms_mux_conn_t), pc->log);
    if (mc == NULL) {
        return NGX_ERROR;
    }

    real = *pc;
    real.connection = NULL;
    real.sockaddr = &peer->key.sockaddr.sockaddr;
    real.name = &peer->name;
    real.get = ngx_event_get_peer;

    rc = ngx_event_connect_peer(&real);

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        err = ngx_errno;
        ngx_free(mc);
        ngx_set_errno(err);
        return rc;
    }

    mc->connected = rc == NGX_OK;

    ms_mux_conn_init(mc, real.connection, conf);
    ms_mux_peer_add(peer, mc);

    if (ms_mux_conn_begin(mc) != NGX_OK) {
        ms_mux_peer_remove(mc);
        ms_mux_conn_free(mc);
        return NGX_ERROR;
    }

    *mcp = mc;

    return NGX_OK;
}


static void
ms_mux_conn_init(ms_mux_conn_t *mc, ngx_connection_t *c, ms_mux_conf_t *conf)
{
    mc->c = c;
    mc->conf = conf;
    mc->number = ++ms_mux_number;
    mc->next_id = 1;
    mc->window = MS_MUX_WINDOW_INIT;
    mc->init_window = MS_MUX_WINDOW_INIT;
    mc->seen = ngx_current_msec;

    ms_hpack_init(&mc->table);

    ngx_queue_init(&mc->streams);
    ngx_queue_init(&mc->blocked);
    ngx_queue_init(&mc->held);

    mc->flush.handler = ms_mux_conn_flush_handler;
    mc->flush.data = c;

    mc->ping.handler = ms_mux_conn_ping_handler;
    mc->ping.data = c;
    mc->ping.cancelable = 1;

    /* an end that no call sees is nobody's fault */

    c->log_error = NGX_ERROR_INFO;
    c->log = ngx_cycle->log;
    c->read->log = c->log;
    c->write->log = c->log;
    mc->flush.log = c->log;
    mc->ping.log = c->log;

    c->data = mc;
    c->read->handler = ms_mux_conn_read_handler;
    c->write->handler = ms_mux_conn_write_handler;
    c->read->cancelable = 1;
    c->sendfile = 0;
}


/* what is written first */

static ngx_int_t
ms_mux_conn_begin(ms_mux_conn_t *mc)
{
    uint8_t  preface[MS_MUX_PREFACE_MAX];
    size_t   len;

    if (ms_mux_reserve(mc, MS_MUX_PREFACE_MAX) != NGX_OK) {
        return NGX_ERROR;
    }

    len = ms_mux_preface(preface, (uint32_t) mc->conf->window) - preface;
    ms_mux_put(mc, preface, len);

    if (!mc->connected) {
        return NGX_OK;
    }

    /* a unix socket: as if it were writable later */

    mc->connected = 0;
    ms_mux_flush_soon(mc);

    return NGX_OK;
}


void
ms_mux_conn_use(ms_mux_conn_t *mc)
{
    ms_mux_conn_busy(mc);
    mc->nrequests++;

    if (mc->nstreams) {
        return;
    }

    mc->busy_read = mc->nread;
    mc->reused = mc->next_id > 1;
    mc->look = mc->reused;
}


void
ms_mux_conn_suspect(ms_mux_conn_t *mc, ngx_msec_t since)
{
    uint8_t     data[8];
    ngx_msec_t  quiet;

    if (!mc->ready) {

        /* connect() or the handshake hangs; since "seen" */

        if (ngx_current_msec - mc->seen >= MS_MUX_QUIET) {
            mc->draining = 1;
        }

        return;
    }

    /* calls may be short, one after the other */

    quiet = (ngx_msec_int_t) (since - mc->seen) > 0 ? mc->asked : mc->seen;
    quiet = ngx_current_msec - quiet;

    if (quiet < MS_MUX_QUIET || mc->ping.timer_set || mc->hung
        || mc->draining)
    {
        return;
    }

    if (mc->pings == MS_MUX_PINGS_MAX) {

        /* it can not be asked once more */

        mc->draining = 1;
        ms_mux_flush_soon(mc);
        return;
    }

    mc->pings++;

    ngx_memzero(data, sizeof(data));
    ms_mux_control(mc, MS_FRAME_PING, 0, 0, data, sizeof(data));

    ngx_add_timer(&mc->ping, MS_MUX_QUIET);
}


static void
ms_mux_conn_ping_handler(ngx_event_t *ev)
{
    ms_mux_conn_t     *mc;
    ngx_connection_t  *c;

    c = ev->data;
    mc = c->data;

    ngx_log_error(NGX_LOG_WARN, c->log, 0,
                  "instance does not answer PING: new calls get another "
                  "connection, instance=\"%V\"", &mc->peer->name);

    mc->hung = 1;
    ms_mux_flush_soon(mc);
}


static void
ms_mux_conn_read_handler(ngx_event_t *rev)
{
    ngx_msec_t         spent;
    ms_mux_conn_t     *mc;
    ngx_connection_t  *c;

    c = rev->data;
    mc = c->data;

    if (c->close && mc->nstreams == 0) {
        ms_mux_conn_close(mc, 0);
        return;
    }

    if (rev->timedout) {
        rev->timedout = 0;

        if (mc->is_idle) {
            spent = ngx_current_msec - mc->idle_since;

            if (spent >= mc->conf->timeout) {
                ms_mux_conn_close(mc, 0);
                return;
            }

            ngx_add_timer(rev, mc->conf->timeout - spent);
        }

        return;
    }

    /* before that the write event says what has become of connect() */

    if (mc->ready && ms_mux_conn_read(mc) == NGX_OK) {
        (void) ms_mux_conn_settle(mc);
    }
}


static void
ms_mux_conn_flush_handler(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    ms_mux_conn_write_handler(c->write);
}


static void
ms_mux_conn_write_handler(ngx_event_t *wev)
{
    ms_mux_conn_t     *mc;
    ngx_connection_t  *c;

    c = wev->data;
    mc = c->data;

    if (!mc->connected && wev->ready && ms_mux_conn_test(mc) != NGX_OK) {
        return;
    }

    if (mc->ready && !mc->broken) {

        /* before the first call after a pause is written: it could not be told
         * any more from a call that has run */

        if (mc->look && ms_mux_conn_look(mc) != NGX_OK) {
            return;
        }

        if (ms_mux_flush(mc) != NGX_OK) {
            ms_mux_conn_close(mc, 1);
            return;
        }

        ms_mux_send_unblock(mc);
    }

    if (ms_mux_conn_settle(mc) != NGX_OK) {
        return;
    }

    if (ngx_handle_write_event(wev, 0) != NGX_OK) {
        ms_mux_conn_close(mc, 1);
    }
}


/* NGX_OK: goes on; NGX_DONE: the connection is closed */

static ngx_int_t
ms_mux_conn_test(ms_mux_conn_t *mc)
{
    int        err;
    socklen_t  len;

    err = 0;
    len = sizeof(int);

    if (getsockopt(mc->c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len)
        == -1)
    {
        err = ngx_socket_errno;
    }

    if (err) {
        mc->err = err;
        ms_mux_conn_close(mc, 1);
        return NGX_DONE;
    }

    mc->connected = 1;

    if (mc->c->type == SOCK_STREAM
        && mc->peer->key.sockaddr.sockaddr.sa_family != AF_UNIX)
    {
        /* a broken connection is noticed when it is used */

        (void) ngx_tcp_nodelay(mc->c);
    }

    switch (ms_mux_tls_start(mc, ms_mux_conn_tls_handler)) {

    case NGX_OK:
        return ms_mux_conn_ready(mc);

    case NGX_AGAIN:
        return NGX_OK;

    default:
        ms_mux_conn_close(mc, 1);
        return NGX_DONE;
    }
}


static void
ms_mux_conn_tls_handler(ngx_connection_t *c)
{
    ms_mux_conn_t  *mc;

    mc = c->data;

    c->read->handler = ms_mux_conn_read_handler;
    c->write->handler = ms_mux_conn_write_handler;

    if (ms_mux_tls_finish(mc) != NGX_OK) {
        ms_mux_conn_close(mc, 1);
        return;
    }

    (void) ms_mux_conn_ready(mc);
}


static ngx_int_t
ms_mux_conn_ready(ms_mux_conn_t *mc)
{
    ngx_queue_t  *q;

    mc->ready = 1;
    mc->seen = ngx_current_msec;

    for (q = ngx_queue_head(&mc->streams);
         q != ngx_queue_sentinel(&mc->streams);
         q = ngx_queue_next(q))
    {
        ms_mux_stream_ready(ngx_queue_data(q, ms_mux_stream_t, queue));
    }

    ms_mux_flush_soon(mc);

    if (ngx_handle_read_event(mc->c->read, 0) != NGX_OK) {
        ms_mux_conn_close(mc, 1);
        return NGX_DONE;
    }

    if (mc->c->read->ready) {

        /* what came before nobody has read */

        ngx_post_event(mc->c->read, &ngx_posted_events);
    }

    return NGX_OK;
}


/* nginx does not ask the socket again before an event says so */

static ngx_int_t
ms_mux_conn_look(ms_mux_conn_t *mc)
{
    u_char        buf[1];
    ngx_uint_t    i;
    ngx_event_t  *rev;

    mc->look = 0;
    rev = mc->c->read;

    for (i = 0; i < MS_MUX_READS; i++) {

        if (recv(mc->c->fd, buf, 1, MSG_PEEK) == -1
            && ngx_socket_errno == NGX_EAGAIN)
        {
            break;
        }

        rev->ready = 1;
        rev->available = -1;

        if (ms_mux_conn_read(mc) != NGX_OK) {
            return NGX_DONE;
        }
    }

    return NGX_OK;
}


/* NGX_DONE: the connection is closed */

static ngx_int_t
ms_mux_conn_read(ms_mux_conn_t *mc)
{
    u_char            *p;
    ssize_t            n;
    ngx_uint_t         i;
    ngx_event_t       *rev;
    ngx_connection_t  *c;

    c = mc->c;
    rev = c->read;

    for (i = 0; rev->ready || i == 0; i++) {

        if (i == MS_MUX_READS) {

            /* others have their turn */

            ngx_post_event(rev, &ngx_posted_next_events);
            break;
        }

        p = ms_mux_buffer + MS_MUX_CARRY;

        n = c->recv(c, p, MS_MUX_READ);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == 0 || n == NGX_ERROR) {
            mc->err = n ? ngx_socket_errno : 0;
            ms_mux_conn_ended(mc);
            ms_mux_conn_close(mc, n != 0);
            return NGX_DONE;
        }

        if (ms_mux_conn_took(mc, p, n) != NGX_OK || mc->broken) {
            ms_mux_conn_close(mc, 1);
            return NGX_DONE;
        }
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ms_mux_conn_close(mc, 1);
        return NGX_DONE;
    }

    return NGX_OK;
}


/* "p" has room before it for what was left of the read before */

static ngx_int_t
ms_mux_conn_took(ms_mux_conn_t *mc, u_char *p, size_t n)
{
    mc->seen = ngx_current_msec;
    mc->nread += n;
    mc->hung = 0;

    if (mc->ping.timer_set) {
        ngx_del_timer(&mc->ping);
    }

    if (mc->carry) {
        p -= mc->carry_len;
        n += mc->carry_len;
        ngx_memcpy(p, mc->carry, mc->carry_len);
        ngx_free(mc->carry);
        mc->carry = NULL;
    }

    return ms_mux_demux(mc, p, p + n);
}


/* by the instance, which may have died; if not, it just has no use for it */

static void
ms_mux_conn_ended(ms_mux_conn_t *mc)
{
    if (mc->is_idle && mc->conf->at_end) {
        mc->conf->at_end(mc->conf->at_end_data, &mc->peer->name);
    }
}


/* at the end of a turn; NGX_DONE: the connection is closed */

static ngx_int_t
ms_mux_conn_settle(ms_mux_conn_t *mc)
{
    if (mc->broken) {
        ms_mux_conn_close(mc, 1);
        return NGX_DONE;
    }

    if (mc->nstreams) {
        return NGX_OK;
    }

    /* nobody waits for a connection that is not ready */

    if (mc->draining || mc->hung || !mc->ready || ms_mux_conn_spent(mc)
        || ngx_exiting || ngx_terminate || mc->c->close)
    {
        if (mc->draining) {
            ms_mux_conn_ended(mc);
        }

        ms_mux_conn_close(mc, 0);
        return NGX_DONE;
    }

    if (!mc->is_idle) {
        ms_mux_conn_idle(mc);
    }

    return NGX_OK;
}


/* nginx closes idle connections when the worker exits, or needs others */

static void
ms_mux_conn_idle(ms_mux_conn_t *mc)
{
    ngx_queue_t    *q;
    ms_mux_idle_t  *idles;

    idles = mc->conf->idles;

    if (idles->n >= mc->conf->idle && !ngx_queue_empty(&idles->queue)) {
        q = ngx_queue_last(&idles->queue);
        ms_mux_conn_close(ngx_queue_data(q, ms_mux_conn_t, idle), 0);
    }

    mc->is_idle = 1;
    mc->idle_since = ngx_current_msec;

    ngx_queue_insert_head(&idles->queue, &mc->idle);
    idles->n++;

    mc->c->idle = 1;
    ngx_reusable_connection(mc->c, 1);

    if (!mc->c->read->timer_set) {
        ngx_add_timer(mc->c->read, mc->conf->timeout);
    }
}


static void
ms_mux_conn_busy(ms_mux_conn_t *mc)
{
    if (!mc->is_idle) {
        return;
    }

    mc->is_idle = 0;
    ngx_queue_remove(&mc->idle);
    mc->conf->idles->n--;

    mc->c->idle = 0;
    ngx_reusable_connection(mc->c, 0);
}


/* its calls see the end of theirs */

static void
ms_mux_conn_close(ms_mux_conn_t *mc, ngx_uint_t error)
{
    ngx_queue_t  *q;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, mc->c->log, mc->err,
                   "myservice multiplex: close connection to \"%V\", "
                   "calls:%ui error:%ui", &mc->peer->name, mc->nstreams,
                   error);

    while (!ngx_queue_empty(&mc->streams)) {
        q = ngx_queue_head(&mc->streams);
        ms_mux_stream_lost(ngx_queue_data(q, ms_mux_stream_t, queue), error,
                           mc->err);
    }

    ms_mux_conn_busy(mc);
    ms_mux_peer_remove(mc);
    ms_mux_conn_free(mc);
}


static void
ms_mux_conn_free(ms_mux_conn_t *mc)
{
    ngx_pool_t  *pool;

    if (mc->ping.timer_set) {
        ngx_del_timer(&mc->ping);
    }

    if (mc->flush.posted) {
        ngx_delete_posted_event(&mc->flush);
    }

    if (mc->carry) {
        ngx_free(mc->carry);
    }

    ms_mux_tls_close(mc);
    ms_mux_write_free(mc);

    pool = mc->c->pool;

    ngx_close_connection(mc->c);

    if (pool) {
        ngx_destroy_pool(pool);
    }

    ngx_free(mc);
}
