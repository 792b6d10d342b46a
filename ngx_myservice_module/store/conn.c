
/*
 * A connection to a store.  nginx has the socket, TLS and timers, hiredis only
 * parses the answers.
 */

#include "store/conn.h"

#include "store/report.h"
#include "store/shake.h"


/* milliseconds */
#define MS_STORE_BACKOFF_MIN  20
#define MS_STORE_BACKOFF_MAX  2000
#define MS_STORE_HANDSHAKE    1000
#define MS_STORE_TICK         250
#define MS_STORE_LASTS        4000      /* renewals and changes are asked for
                                           more often */
#define MS_STORE_IDLE         1000      /* a connection that is so long silent
                                           is asked whether it lives */

#define MS_STORE_READ         65536

static void ms_store_conn_connect(ms_store_conn_t *sc);
static void ms_store_conn_read(ngx_event_t *rev);
static void ms_store_conn_write(ngx_event_t *wev);
static void ms_store_conn_flush(ngx_event_t *ev);
static void ms_store_conn_timer(ngx_event_t *ev);
static void ms_store_conn_tick(ngx_event_t *ev);
static void ms_store_conn_lost(ms_store_conn_t *sc, const char *why);
static ngx_uint_t ms_store_conn_vain(ms_store_conn_t *sc);
static void ms_store_conn_again(ms_store_conn_t *sc, ngx_uint_t was);
static ngx_msec_t ms_store_conn_pause(ngx_msec_t delay);
static void ms_store_conn_pong(void *owner, redisReply *reply, void *data);
static void ms_store_conn_shaken(ms_store_conn_t *sc, const char *why);
static void ms_store_conn_verb(ms_store_conn_t *sc, ngx_uint_t keys,
    const char *verb, unsigned args);


static u_char  ms_store_buf[MS_STORE_READ];

void
ms_store_conn_start(ms_store_conn_t *sc)
{
    sc->flush.handler = ms_store_conn_flush;
    sc->flush.data = sc;
    sc->flush.log = ngx_cycle->log;

    /* the debug log of a timer reads a connection's descriptor */

    sc->timer.handler = ms_store_conn_timer;
    sc->timer.data = &sc->timer;
    sc->timer.log = ngx_cycle->log;
    sc->timer.cancelable = 1;

    sc->tick.handler = ms_store_conn_tick;
    sc->tick.data = &sc->tick;
    sc->tick.log = ngx_cycle->log;
    sc->tick.cancelable = 1;

    sc->stopped = 0;
    sc->tries = 0;
    sc->vain = 0;
    sc->addr = 0;

    if (sc->c == NULL && !sc->timer.timer_set) {
        ms_store_conn_connect(sc);
    }
}


void
ms_store_conn_stop(ms_store_conn_t *sc)
{
    sc->stopped = 1;

    ms_store_conn_close(sc, NULL);

    if (sc->timer.timer_set) {
        ngx_del_timer(&sc->timer);
    }
}


static void
ms_store_conn_connect(ms_store_conn_t *sc)
{
    int                    one;
    ngx_int_t              rc;
    ngx_addr_t            *addr;
    ngx_connection_t      *c;
    ngx_peer_connection_t  pc;

    if (sc->store->naddrs == 0) {

        /* until its name is found */

        return;
    }

    addr = sc->store->addrs[sc->addr];

    sc->peer_len = addr->socklen;
    ngx_memcpy(&sc->peer, addr->sockaddr, addr->socklen);
    (void) ngx_snprintf(sc->name, sizeof(sc->name), "%V%Z", &addr->name);

    ngx_memzero(&pc, sizeof(ngx_peer_connection_t));

    pc.sockaddr = addr->sockaddr;
    pc.socklen = addr->socklen;
    pc.name = &addr->name;
    pc.get = ngx_event_get_peer;
    pc.log = ms_store_report_log(sc);
    pc.log_error = NGX_ERROR_INFO;

    rc = ngx_event_connect_peer(&pc);

    if (rc != NGX_OK && rc != NGX_AGAIN) {

        if (pc.connection) {
            ngx_close_connection(pc.connection);
        }

        ms_store_report_failed(sc, "connect() failed");
        ms_store_conn_again(sc, 0);
        return;
    }

    c = pc.connection;
    c->data = sc;
    c->read->handler = ms_store_conn_read;
    c->write->handler = ms_store_conn_write;

    sc->c = c;
    sc->read = ms_store_conn_read;
    sc->write = ms_store_conn_write;
    sc->shaken = ms_store_conn_shaken;
    sc->connecting = 1;
    sc->heard = ngx_current_msec;

    if (ms_resp_open(&sc->resp, sc) != 0) {
        ms_store_conn_close(sc, "no memory");
        return;
    }

    one = 1;

    if (addr->sockaddr->sa_family != AF_UNIX
        && setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(int))
           == -1)
    {
        ngx_log_error(NGX_LOG_INFO, c->log, ngx_socket_errno,
                      "setsockopt(TCP_NODELAY) failed");
    }

    ngx_add_timer(&sc->timer, MS_STORE_HANDSHAKE);

    if (rc == NGX_OK) {
        ms_store_shake(sc);
    }
}


static void
ms_store_conn_again(ms_store_conn_t *sc, ngx_uint_t was)
{
    ngx_msec_t  delay;

    if (sc->stopped || ngx_terminate) {
        return;
    }

    if (was) {

        /* all workers of all gateways take the first that is the store, and of
         * use; calls wait for this round */

        sc->addr = sc->vain ? (sc->addr + 1) % sc->store->naddrs : 0;
        delay = sc->vain ? sc->vain - 1 : 0;

    } else {

        /* the next address at once, a pause after each round */

        sc->tries++;
        sc->addr = (sc->addr + 1) % sc->store->naddrs;

        if (sc->tries % sc->store->naddrs) {
            ngx_add_timer(&sc->timer, 1);
            return;
        }

        delay = sc->tries / sc->store->naddrs;
    }

    delay = MS_STORE_BACKOFF_MIN << ngx_min(delay, 7);
    delay = ngx_min(delay, MS_STORE_BACKOFF_MAX);

    ngx_add_timer(&sc->timer, ms_store_conn_pause(delay));
}


/* half of it is jitter */

static ngx_msec_t
ms_store_conn_pause(ngx_msec_t delay)
{
    return delay / 2 + ngx_random() % (delay / 2 + 1);
}


static void
ms_store_conn_timer(ngx_event_t *ev)
{
    ms_store_conn_t  *sc;

    sc = (ms_store_conn_t *) ((u_char *) ev
                              - offsetof(ms_store_conn_t, timer));

    if (sc->c) {
        ms_store_conn_close(sc, sc->connecting ? "connect timed out"
                                               : "hand-shake timed out");
        return;
    }

    if (!sc->stopped) {
        ms_store_conn_connect(sc);
    }
}


void
ms_store_conn_close(ms_store_conn_t *sc, const char *why)
{
    ngx_uint_t         was;
    ngx_pool_t        *pool;
    ngx_connection_t  *c;

    c = sc->c;

    if (c == NULL) {
        return;
    }

    was = sc->ready;

    if (why) {
        ms_store_report_failed(sc, why);
    }

    if (was) {
        sc->vain = ms_store_conn_vain(sc) ? sc->vain + 1 : 0;
    }

    sc->c = NULL;
    sc->ready = 0;
    sc->connecting = 0;
    sc->suspect = 0;

    if (sc->timer.timer_set) {
        ngx_del_timer(&sc->timer);
    }

    if (sc->tick.timer_set) {
        ngx_del_timer(&sc->tick);
    }

    if (sc->flush.posted) {
        ngx_delete_posted_event(&sc->flush);
    }

#if (NGX_HTTP_SSL)

    if (c->ssl) {
        c->ssl->no_wait_shutdown = 1;
        c->ssl->no_send_shutdown = 1;
        (void) ngx_ssl_shutdown(c);
    }

#endif

    pool = c->pool;
    ngx_close_connection(c);

    if (pool) {
        ngx_destroy_pool(pool);
    }

    /* handlers of those who wait may ask whether there is a connection */

    ms_resp_close(&sc->resp);

    ms_store_conn_again(sc, was);
}


/* the server has ended it, and not by what it answered */

static void
ms_store_conn_lost(ms_store_conn_t *sc, const char *why)
{
    sc->lost = sc->useful;
    ms_store_conn_close(sc, why);
}


/* A server that lets the gateway in, and then answers with errors, or ends each
 * connection, is not asked at once again. */

static ngx_uint_t
ms_store_conn_vain(ms_store_conn_t *sc)
{
    return !sc->lost && ngx_current_msec - sc->since < MS_STORE_LASTS;
}


static void
ms_store_conn_write(ngx_event_t *wev)
{
    int                err;
    socklen_t          len;
    ngx_connection_t  *c;
    ms_store_conn_t   *sc;

    c = wev->data;
    sc = c->data;

    if (c->close) {
        ms_store_conn_stop(sc);
        return;
    }

    if (!sc->connecting) {
        ms_store_conn_flush(&sc->flush);
        return;
    }

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err) {
        ms_store_conn_close(sc, strerror(err));
        return;
    }

    ms_store_shake(sc);
}


/* the hand-shake is over; "why" is NULL, or why it has failed */

static void
ms_store_conn_shaken(ms_store_conn_t *sc, const char *why)
{
    if (why) {
        ms_store_conn_close(sc, why);
        return;
    }

    ngx_del_timer(&sc->timer);
    ngx_add_timer(&sc->tick, MS_STORE_TICK);

    sc->ready = 1;
    sc->useful = 0;
    sc->lost = 0;
    sc->since = ngx_current_msec;
    sc->tries = 0;

    (void) ngx_atomic_fetch_add(&sc->store->sh->counts.connects, 1);

    /* after vain ones it has to last */

    if (sc->vain == 0) {
        ms_store_report_up(sc);
    }

    sc->up(sc);
}


static void
ms_store_conn_flush(ngx_event_t *ev)
{
    ssize_t           n;
    ms_resp_t        *resp;
    ms_store_conn_t  *sc;

    sc = ev->data;
    resp = &sc->resp;

    if (sc->c == NULL || sc->connecting) {
        return;
    }

    while (resp->sent < resp->len) {
        n = sc->c->send(sc->c, resp->out + resp->sent,
                        resp->len - resp->sent);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {

            /* it may have said why */

            ms_store_conn_read(sc->c->read);
            ms_store_conn_lost(sc, ms_store_report_closed(sc));
            return;
        }

        ms_resp_wrote(resp, n);
    }

    if (ngx_handle_write_event(sc->c->write, 0) != NGX_OK) {
        ms_store_conn_close(sc, "no event");
    }
}


static void
ms_store_conn_read(ngx_event_t *rev)
{
    ssize_t            n;
    const char        *why;
    ngx_connection_t  *c;
    ms_store_conn_t   *sc;

    c = rev->data;
    sc = c->data;

    if (c->close) {
        ms_store_conn_stop(sc);
        return;
    }

    if (sc->connecting) {
        return;
    }

    for ( ;; ) {
        n = c->recv(c, ms_store_buf, MS_STORE_READ);

        if (n == NGX_AGAIN) {
            if (ngx_handle_read_event(rev, 0) != NGX_OK) {
                ms_store_conn_close(sc, "no event");
            }

            return;
        }

        if (n <= 0) {
            ms_store_conn_lost(sc, ms_store_report_closed(sc));
            return;
        }

        sc->heard = ngx_current_msec;
        sc->suspect = 0;

        switch (ms_resp_feed(&sc->resp, ms_store_buf, n)) {

        case MS_RESP_OK:
            continue;

        case MS_RESP_CLOSED:
            return;

        case MS_RESP_NO_MEMORY:
            why = "no memory";
            break;

        case MS_RESP_UNASKED:
            why = "it answers what was not asked";
            break;

        default:
            why = "it does not speak the Redis protocol";
        }

        ms_store_conn_close(sc, why);
        return;
    }
}


/* a server that is silent is asked; one that stays so is left */

static void
ms_store_conn_tick(ngx_event_t *ev)
{
    ms_resp_t        *resp;
    ngx_msec_t        silent;
    ms_store_conn_t  *sc;

    sc = (ms_store_conn_t *) ((u_char *) ev - offsetof(ms_store_conn_t, tick));
    resp = &sc->resp;
    silent = ngx_current_msec - sc->heard;

    if (resp->asked && silent > sc->silence) {
        ms_store_conn_lost(sc, "it does not answer");
        return;
    }

    if (sc->vain && !ms_store_conn_vain(sc)) {
        sc->vain = 0;
        ms_store_report_up(sc);
    }

    ngx_add_timer(ev, MS_STORE_TICK);

    if (!sc->pings || (!sc->suspect && silent < MS_STORE_IDLE)) {
        return;
    }

    if (resp->asked == 0) {
        sc->heard = ngx_current_msec;
    }

    ms_resp_begin(resp, 1);
    ms_resp_word(resp, "PING");

    if (ms_resp_ask(resp, ms_store_conn_pong, NULL) == 0 && !sc->flush.posted)
    {
        ngx_post_event(&sc->flush, &ngx_posted_events);
    }
}


static void
ms_store_conn_pong(void *owner, redisReply *reply, void *data)
{
    if (reply) {
        (void) ms_store_conn_error(owner, reply);
    }
}


void
ms_store_conn_begin(ms_store_conn_t *sc, const char *verb, unsigned args)
{
    ms_store_conn_verb(sc, MS_STORE_KEYS - 1, verb, args);
}


void
ms_store_conn_begin_all(ms_store_conn_t *sc, const char *verb, unsigned args)
{
    ms_store_conn_verb(sc, MS_STORE_KEYS, verb, args);
}


static void
ms_store_conn_verb(ms_store_conn_t *sc, ngx_uint_t keys, const char *verb,
    unsigned args)
{
    ngx_uint_t   i;
    ms_resp_t   *resp;
    ms_store_t  *store;

    store = sc->store;
    resp = &sc->resp;

    ms_resp_begin(resp, 5 + keys + args);
    ms_resp_word(resp, "EVALSHA");
    ms_resp_text(resp, sc->sha, 40);
    ms_resp_number(resp, keys);

    for (i = 0; i < keys; i++) {
        ms_resp_text(resp, store->keys[i].data, store->keys[i].len);
    }

    ms_resp_word(resp, verb);
    ms_resp_text(resp, store->sh->gateway, MS_STORE_NAME);
}


ngx_int_t
ms_store_conn_ask(ms_store_conn_t *sc, ms_resp_pt handler, void *data)
{
    if (!sc->ready || ms_resp_ask(&sc->resp, handler, data) != 0) {
        return NGX_ERROR;
    }

    if (sc->resp.asked == 1) {

        /* it is silent from now on */

        sc->heard = ngx_current_msec;
    }

    /* one write for all questions of a turn of the event loop */

    if (!sc->flush.posted) {
        ngx_post_event(&sc->flush, &ngx_posted_events);
    }

    return NGX_OK;
}


ngx_uint_t
ms_store_conn_error(ms_store_conn_t *sc, redisReply *reply)
{
    ngx_uint_t  i;

    /* this server cannot answer any more, another may */

    static const char  *leave[] = { "READONLY", "NOSCRIPT", "MASTERDOWN",
                                    "LOADING", "MOVED", "NOAUTH", NULL };

    if (reply->type != REDIS_REPLY_ERROR) {
        return 0;
    }

    (void) ngx_atomic_fetch_add(&sc->store->sh->counts.errors, 1);

    for (i = 0; leave[i]; i++) {
        if (ngx_strncmp(reply->str, leave[i], ngx_strlen(leave[i])) == 0) {
            ms_store_conn_close(sc, reply->str);
            return 1;
        }
    }

    ms_store_report_error(sc, reply->str);

    return 1;
}


ngx_uint_t
ms_store_conn_usable(ms_store_conn_t *sc)
{
    if (sc->ready) {
        return !sc->suspect;
    }

    /* a round of all addresses is waited for, the next ones are not */

    return !sc->stopped && sc->vain <= 1
           && sc->tries < ngx_max(sc->store->naddrs, 1);
}


void
ms_store_conn_moved(ms_store_conn_t *sc)
{
    ngx_uint_t   i;
    ms_store_t  *store;

    if (sc->timer.handler == NULL || sc->stopped) {
        return;
    }

    store = sc->store;

    for (i = 0; sc->c && i < store->naddrs; i++) {

        if (ngx_cmp_sockaddr(&sc->peer.sockaddr, sc->peer_len,
                             store->addrs[i]->sockaddr,
                             store->addrs[i]->socklen, 1)
            == NGX_OK)
        {
            sc->addr = i;
            return;
        }
    }

    ms_store_conn_close(sc, "its name has other addresses");

    /* a round of them begins, and is waited for */

    sc->addr = 0;
    sc->tries = 0;
    sc->vain = 0;

    if (sc->timer.timer_set) {
        ngx_del_timer(&sc->timer);
    }

    ngx_add_timer(&sc->timer, 1);
}


void
ms_store_conn_nowhere(ms_store_conn_t *sc)
{
    sc->tries = 1;
    ngx_memcpy(sc->name, "-", sizeof("-"));
    ms_store_report_failed(sc, "its name has no address");
}
