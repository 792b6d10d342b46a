
/*
 * A connection to a store.  nginx has the socket, TLS and timers, hiredis only
 * parses the answers.  A hand-shake of several questions finds out whether the
 * server may write: AUTH, SELECT, HELLO for its role, and the script.
 */

#include "store/conn.h"

#include "core/log.h"

#include <ngx_http_myservice_store.h>


/* milliseconds */
#define MS_STORE_BACKOFF_MIN  20
#define MS_STORE_BACKOFF_MAX  2000
#define MS_STORE_HANDSHAKE    1000
#define MS_STORE_TICK         250
#define MS_STORE_IDLE         1000      /* a connection that is so long silent
                                           is asked whether it lives */

#define MS_STORE_READ         65536

/* 6.2 */
#define MS_STORE_MAJOR        6
#define MS_STORE_MINOR        2


static void ms_store_conn_connect(ms_store_conn_t *sc);
static void ms_store_conn_read(ngx_event_t *rev);
static void ms_store_conn_write(ngx_event_t *wev);
static void ms_store_conn_flush(ngx_event_t *ev);
static void ms_store_conn_timer(ngx_event_t *ev);
static void ms_store_conn_tick(ngx_event_t *ev);
static void ms_store_conn_again(ms_store_conn_t *sc);
static void ms_store_conn_connected(ms_store_conn_t *sc);
#if (NGX_HTTP_SSL)
static ngx_int_t ms_store_conn_tls(ms_store_conn_t *sc);
static void ms_store_conn_tls_done(ngx_connection_t *c);
#endif
static void ms_store_conn_hello(ms_store_conn_t *sc);
static ngx_int_t ms_store_conn_step(ms_store_conn_t *sc, ms_resp_pt handler);
static void ms_store_conn_ok(void *owner, redisReply *reply, void *data);
static void ms_store_conn_role(void *owner, redisReply *reply, void *data);
static const char *ms_store_conn_fits(redisReply *reply);
static void ms_store_conn_script(void *owner, redisReply *reply, void *data);
static void ms_store_conn_pong(void *owner, redisReply *reply, void *data);
static void ms_store_conn_stepped(ms_store_conn_t *sc);
static void ms_store_conn_log(ms_store_conn_t *sc, ngx_uint_t connected,
    const char *why);


static u_char  ms_store_buf[MS_STORE_READ];

static u_char  ms_store_script[] = { NGX_HTTP_MYSERVICE_STORE_SCRIPT };


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
    sc->addr = ngx_pid % sc->store->naddrs;

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

    addr = &sc->store->addrs[sc->addr];

    ngx_memzero(&pc, sizeof(ngx_peer_connection_t));

    pc.sockaddr = addr->sockaddr;
    pc.socklen = addr->socklen;
    pc.name = &addr->name;
    pc.get = ngx_event_get_peer;
    pc.log = ngx_cycle->log;
    pc.log_error = NGX_ERROR_INFO;

    rc = ngx_event_connect_peer(&pc);

    if (rc != NGX_OK && rc != NGX_AGAIN) {

        if (pc.connection) {
            ngx_close_connection(pc.connection);
        }

        if (sc->tries + 1 >= sc->store->naddrs) {
            ms_store_conn_log(sc, 0, "connect() failed");
        }

        ms_store_conn_again(sc);
        return;
    }

    c = pc.connection;
    c->data = sc;
    c->log = ngx_cycle->log;
    c->read->log = c->log;
    c->write->log = c->log;
    c->read->handler = ms_store_conn_read;
    c->write->handler = ms_store_conn_write;

    sc->c = c;
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
        ms_store_conn_connected(sc);
    }
}


static void
ms_store_conn_again(ms_store_conn_t *sc)
{
    ngx_msec_t  delay;

    if (sc->stopped || ngx_terminate || ngx_quit || ngx_exiting) {

        /* a worker that exits goes on with what it knows */

        return;
    }

    /* the next address at once, a pause after each round: jitter is half */

    sc->tries++;
    sc->addr = (sc->addr + 1) % sc->store->naddrs;

    if (sc->tries % sc->store->naddrs) {
        ngx_add_timer(&sc->timer, 1);
        return;
    }

    delay = sc->tries / sc->store->naddrs;
    delay = MS_STORE_BACKOFF_MIN << ngx_min(delay, 7);
    delay = ngx_min(delay, MS_STORE_BACKOFF_MAX);

    ngx_add_timer(&sc->timer, delay / 2 + ngx_random() % (delay / 2 + 1));
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

    /* that one address of several is no master is not worth a line */

    if (why && (was || sc->tries + 1 >= sc->store->naddrs)) {
        ms_store_conn_log(sc, 0, why);
    }

    /* handlers of those who wait may ask whether there is a connection */

    ms_resp_close(&sc->resp);

    ms_store_conn_again(sc);
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

    ms_store_conn_connected(sc);
}


static void
ms_store_conn_connected(ms_store_conn_t *sc)
{
#if (NGX_HTTP_SSL)

    if (sc->store->ssl) {

        if (ms_store_conn_tls(sc) != NGX_OK) {
            ms_store_conn_close(sc, "TLS could not be set up");
        }

        return;
    }

#endif

    ms_store_conn_hello(sc);
}


#if (NGX_HTTP_SSL)

static ngx_int_t
ms_store_conn_tls(ms_store_conn_t *sc)
{
    ngx_connection_t  *c;

    c = sc->c;

    c->pool = ngx_create_pool(256, c->log);
    if (c->pool == NULL) {
        return NGX_ERROR;
    }

    if (ngx_ssl_create_connection(sc->store->ssl, c, NGX_SSL_CLIENT)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* RFC 6066: no addresses */

    if (ngx_inet_addr(sc->store->host.data, sc->store->host.len)
        == INADDR_NONE
        && sc->store->host.data[0] != '['
        && SSL_set_tlsext_host_name(c->ssl->connection,
                                    (char *) sc->store->host.data)
           == 0)
    {
        return NGX_ERROR;
    }

    c->ssl->handler = ms_store_conn_tls_done;

    if (ngx_ssl_handshake(c) != NGX_AGAIN) {
        ms_store_conn_tls_done(c);
    }

    return NGX_OK;
}


static void
ms_store_conn_tls_done(ngx_connection_t *c)
{
    ms_store_conn_t  *sc;

    sc = c->data;

    if (!c->ssl->handshaked) {
        ms_store_conn_close(sc, "TLS hand-shake failed");
        return;
    }

    if (SSL_get_verify_result(c->ssl->connection) != X509_V_OK) {
        ms_store_conn_close(sc, "the certificate is not of a known issuer");
        return;
    }

    if (ngx_ssl_check_host(c, &sc->store->host) != NGX_OK) {
        ms_store_conn_close(sc, "the certificate has another name");
        return;
    }

    c->read->handler = ms_store_conn_read;
    c->write->handler = ms_store_conn_write;

    ms_store_conn_hello(sc);
}

#endif


/* all at once; each answer is judged */

static void
ms_store_conn_hello(ms_store_conn_t *sc)
{
    ms_resp_t   *resp;
    ngx_int_t    rc;
    ms_store_t  *store;

    store = sc->store;
    resp = &sc->resp;

    sc->connecting = 0;
    sc->steps = 0;
    rc = NGX_OK;

    if (store->password.len) {
        ms_resp_begin(resp, store->user.len ? 3 : 2);
        ms_resp_word(resp, "AUTH");

        if (store->user.len) {
            ms_resp_text(resp, store->user.data, store->user.len);
        }

        ms_resp_text(resp, store->password.data, store->password.len);
        rc = ms_store_conn_step(sc, ms_store_conn_ok);
    }

    if (rc == NGX_OK && store->db) {
        ms_resp_begin(resp, 2);
        ms_resp_word(resp, "SELECT");
        ms_resp_number(resp, store->db);
        rc = ms_store_conn_step(sc, ms_store_conn_ok);
    }

    if (rc == NGX_OK) {
        ms_resp_begin(resp, 2);
        ms_resp_word(resp, "HELLO");
        ms_resp_word(resp, "2");
        rc = ms_store_conn_step(sc, ms_store_conn_role);
    }

    if (rc == NGX_OK) {
        ms_resp_begin(resp, 3);
        ms_resp_word(resp, "SCRIPT");
        ms_resp_word(resp, "LOAD");
        ms_resp_text(resp, ms_store_script, sizeof(ms_store_script));
        rc = ms_store_conn_step(sc, ms_store_conn_script);
    }

    if (rc != NGX_OK) {
        ms_store_conn_close(sc, "no memory");
    }
}


static ngx_int_t
ms_store_conn_step(ms_store_conn_t *sc, ms_resp_pt handler)
{
    if (ms_resp_ask(&sc->resp, handler, NULL) != 0) {
        return NGX_ERROR;
    }

    sc->steps++;

    if (!sc->flush.posted) {
        ngx_post_event(&sc->flush, &ngx_posted_events);
    }

    return NGX_OK;
}


static void
ms_store_conn_ok(void *owner, redisReply *reply, void *data)
{
    ms_store_conn_t *sc = owner;

    if (reply == NULL) {
        return;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        ms_store_conn_close(sc, reply->str);
        return;
    }

    ms_store_conn_stepped(sc);
}


static void
ms_store_conn_role(void *owner, redisReply *reply, void *data)
{
    ms_store_conn_t *sc = owner;

    const char  *why;

    if (reply == NULL) {
        return;
    }

    why = reply->type == REDIS_REPLY_ERROR ? reply->str
                                           : ms_store_conn_fits(reply);

    if (why) {
        ms_store_conn_close(sc, why);
        return;
    }

    ms_store_conn_stepped(sc);
}


/* names and values by turns; NULL, or why the server does not fit */

static const char *
ms_store_conn_fits(redisReply *reply)
{
    int                n, major, minor;
    size_t             i;
    const redisReply  *name, *value;
    const char        *role;

    role = NULL;

    for (i = 0; i + 1 < reply->elements; i += 2) {
        name = ms_resp_element(reply, i);
        value = ms_resp_element(reply, i + 1);

        if (name == NULL || value == NULL) {
            continue;
        }

        if (ngx_strcmp(name->str, "role") == 0) {
            role = value->str;

        } else if (ngx_strcmp(name->str, "mode") == 0
                   && ngx_strcmp(value->str, "cluster") == 0)
        {
            return "it is a cluster, which this release does not support";

        } else if (ngx_strcmp(name->str, "version") == 0) {
            n = sscanf(value->str, "%d.%d", &major, &minor);

            if (n != 2 || major < MS_STORE_MAJOR
                || (major == MS_STORE_MAJOR && minor < MS_STORE_MINOR))
            {
                return "it is older than version 6.2";
            }
        }
    }

    if (role == NULL) {
        return "it does not tell its role";
    }

    return ngx_strcmp(role, "master") == 0 ? NULL : "it is not the master";
}


static void
ms_store_conn_script(void *owner, redisReply *reply, void *data)
{
    ms_store_conn_t *sc = owner;

    if (reply == NULL) {
        return;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        ms_store_conn_close(sc, reply->str);
        return;
    }

    if (reply->type != REDIS_REPLY_STRING || reply->len != 40) {
        ms_store_conn_close(sc, "it does not take the script");
        return;
    }

    ngx_memcpy(sc->sha, reply->str, 40);

    ms_store_conn_stepped(sc);
}


static void
ms_store_conn_stepped(ms_store_conn_t *sc)
{
    if (--sc->steps) {
        return;
    }

    ngx_del_timer(&sc->timer);
    ngx_add_timer(&sc->tick, MS_STORE_TICK);

    sc->ready = 1;
    sc->tries = 0;

    ms_store_conn_log(sc, 1, NULL);

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
            ms_store_conn_close(sc, "the connection was closed");
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
            ms_store_conn_close(sc, "the connection was closed");
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
        ms_store_conn_close(sc, "it does not answer");
        return;
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
    ngx_uint_t   i;
    ms_resp_t   *resp;
    ms_store_t  *store;

    store = sc->store;
    resp = &sc->resp;

    ms_resp_begin(resp, 9 + args);
    ms_resp_word(resp, "EVALSHA");
    ms_resp_text(resp, sc->sha, 40);
    ms_resp_word(resp, "4");

    for (i = 0; i < 4; i++) {
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

    for (i = 0; leave[i]; i++) {
        if (ngx_strncmp(reply->str, leave[i], ngx_strlen(leave[i])) == 0) {
            ms_store_conn_close(sc, reply->str);
            return 1;
        }
    }

    ms_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                 "store answers with an error: %s, store=\"%V\" "
                 "upstream=\"%V\"", reply->str, &sc->store->url,
                 &sc->store->upstream->host);

    return 1;
}


ngx_uint_t
ms_store_conn_usable(ms_store_conn_t *sc)
{
    if (sc->ready) {
        return !sc->suspect;
    }

    /* a round of all addresses is waited for, the next ones are not */

    return !sc->stopped && sc->tries < sc->store->naddrs;
}


/* one line for each change, whichever worker sees it first */

static void
ms_store_conn_log(ms_store_conn_t *sc, ngx_uint_t connected, const char *why)
{
    ms_store_t         *store;
    ngx_atomic_t        was;
    ms_store_shared_t  *sh;

    store = sc->store;
    sh = store->sh;
    was = sh->connected;

    if (connected) {
        if (was != 1 && ngx_atomic_cmp_set(&sh->connected, was, 1)) {
            ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                          "store is connected: address %V, store=\"%V\" "
                          "upstream=\"%V\"",
                          &store->addrs[sc->addr].name, &store->url,
                          &store->upstream->host);
        }

        return;
    }

    if (was != 2 && ngx_atomic_cmp_set(&sh->connected, was, 2)) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "store is gone: %s, address %V, store=\"%V\" "
                      "upstream=\"%V\"", why, &store->addrs[sc->addr].name,
                      &store->url, &store->upstream->host);
    }
}
