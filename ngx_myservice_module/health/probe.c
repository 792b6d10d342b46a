
/*
 * One probe: connects, shakes hands for TLS, sends the call and receives its
 * answer, within one timeout.  An error of this machine is no result.
 */

#include "health/probe.h"

#include "core/local.h"


/* mostly enough for the client's magic, SETTINGS, HEADERS and DATA */
#define MS_PROBE_OUT  1024
#define MS_PROBE_IN   4096

/* milliseconds: a timer that is this late means that the worker was stopped */
#define MS_PROBE_LATE 1000


struct ms_probe_s {
    ms_probe_conf_t       *conf;
    void                  *data;
    ms_exchange_result_t   result;
    ms_exchange_t          exchange;

    ngx_pool_t            *pool;
    ngx_log_t              log;
    ngx_peer_connection_t  peer;
    ngx_sockaddr_t         sockaddr;
    ngx_buf_t             *out;

    unsigned               connected:1;
    unsigned               unreachable:1;               /* from here */
    unsigned               ready:1;                   /* for the call */
};


static void ms_probe_read_handler(ngx_event_t *rev);
static void ms_probe_write_handler(ngx_event_t *wev);
static ngx_int_t ms_probe_connected(ms_probe_t *probe);
static ngx_int_t ms_probe_start_exchange(ms_probe_t *probe);
static ngx_int_t ms_probe_send(ms_probe_t *probe);
static ngx_int_t ms_probe_receive(ms_probe_t *probe);
static void ms_probe_finish(ms_probe_t *probe, ngx_int_t rc);
static void ms_probe_close(ms_probe_t *probe);

#if (NGX_HTTP_SSL)
static ngx_int_t ms_probe_handshake(ms_probe_t *probe);
static void ms_probe_handshake_handler(ngx_connection_t *c);
static ngx_int_t ms_probe_server_name(ms_probe_t *probe);
static ngx_int_t ms_probe_verify(ms_probe_t *probe);
#endif


ms_probe_t *
ms_probe_create(ms_probe_conf_t *conf, void *data)
{
    ngx_pool_t  *pool;
    ms_probe_t  *probe;

    pool = ngx_create_pool(sizeof(ms_probe_t)
                           + MS_PROBE_OUT + 1024,
                           ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    probe = ngx_pcalloc(pool, sizeof(ms_probe_t));
    if (probe == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    probe->out = ngx_create_temp_buf(pool, MS_PROBE_OUT);
    if (probe->out == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    probe->pool = pool;
    probe->conf = conf;
    probe->data = data;
    probe->exchange.result = &probe->result;

    return probe;
}


void
ms_probe_peer(ms_probe_t *probe, ms_instance_info_t *info)
{
    ms_exchange_result_t  *result;

    result = &probe->result;

    ngx_memcpy(result->name_buf, info->name, info->name_len);
    result->name.data = result->name_buf;
    result->name.len = info->name_len;

    ngx_memcpy(&probe->sockaddr, info->addr, info->addr_len);
    probe->peer.socklen = (socklen_t) info->addr_len;
}


void
ms_probe_elsewhere(ms_probe_t *probe, ms_instance_info_t *info)
{
    ms_exchange_result_t  *result;

    result = &probe->result;

    ngx_memcpy(result->elsewhere_buf, info->session, info->session_len);
    result->elsewhere.data = result->elsewhere_buf;
    result->elsewhere.len = info->session_len;
}


void
ms_probe_start(ms_probe_t *probe)
{
    ngx_err_t               err;
    ngx_int_t               rc;
    ngx_connection_t       *c;
    ngx_peer_connection_t  *pc;

    /*
     * an instance that is down would be an error in the log with every probe;
     * the caller logs one line when the state changes
     */

    probe->log = *ngx_cycle->log;

    if (!(probe->log.log_level & NGX_LOG_DEBUG_ALL)) {
        probe->log.log_level = ngx_min(probe->log.log_level, NGX_LOG_ALERT);
    }

    pc = &probe->peer;
    pc->sockaddr = &probe->sockaddr.sockaddr;
    pc->name = &probe->result.name;
    pc->get = ngx_event_get_peer;
    pc->log = &probe->log;
    pc->log_error = NGX_ERROR_ERR;

    probe->result.sent = ngx_current_msec;

    ngx_set_errno(0);

    rc = ngx_event_connect_peer(pc);
    err = ngx_errno;

    if (rc == NGX_ERROR) {
        ms_probe_finish(probe, NGX_ABORT);
        return;
    }

    if (pc->connection == NULL) {

        if (ms_local_lack(err, pc->sockaddr->sa_family)) {
            ms_probe_finish(probe, NGX_ABORT);
            return;
        }

        probe->unreachable = ms_local_route(err);

        ms_probe_finish(probe, NGX_ERROR);
        return;
    }

    c = pc->connection;
    c->data = probe;
    c->pool = probe->pool;
    c->idle = 1;
    c->log = &probe->log;
    c->read->log = c->log;
    c->write->log = c->log;
    c->read->handler = ms_probe_read_handler;
    c->write->handler = ms_probe_write_handler;
    c->read->cancelable = 1;

    ngx_add_timer(c->read, probe->conf->timeout);

    if (rc == NGX_OK) {
        ms_probe_write_handler(c->write);
    }
}


void
ms_probe_cancel(ms_probe_t *probe)
{
    ms_probe_close(probe);
    ms_exchange_free(&probe->exchange);
    ngx_destroy_pool(probe->pool);
}


static void
ms_probe_close(ms_probe_t *probe)
{
    ngx_connection_t  *c;

    c = probe->peer.connection;

    if (c == NULL) {
        return;
    }

#if (NGX_HTTP_SSL)

    if (c->ssl) {

        /* sends close_notify and does not wait, as ngx_http_upstream.c */

        c->ssl->no_wait_shutdown = 1;
        (void) ngx_ssl_shutdown(c);
    }

#endif

    ngx_close_connection(c);
    probe->peer.connection = NULL;
}


void *
ms_probe_data(ms_probe_t *probe)
{
    return probe->data;
}


ms_exchange_result_t *
ms_probe_result(ms_probe_t *probe)
{
    return &probe->result;
}


static void
ms_probe_read_handler(ngx_event_t *rev)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;
    ms_probe_t        *probe;

    c = rev->data;
    probe = c->data;

    if (c->close) {
        ms_probe_finish(probe, NGX_BUSY);
        return;
    }

    if (rev->timedout) {
        ms_probe_finish(probe, NGX_DECLINED);
        return;
    }

    rc = ms_probe_connected(probe);

    if (rc == NGX_OK) {
        rc = ms_probe_receive(probe);
    }

    if (rc == NGX_OK) {
        rc = ms_probe_send(probe);
    }

    if (rc == NGX_ERROR || rc == NGX_DONE) {
        ms_probe_finish(probe, rc);
    }
}


static void
ms_probe_write_handler(ngx_event_t *wev)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;
    ms_probe_t        *probe;

    c = wev->data;
    probe = c->data;

    rc = ms_probe_connected(probe);

    if (rc == NGX_OK) {
        rc = ms_probe_send(probe);
    }

    if (rc == NGX_ERROR) {
        ms_probe_finish(probe, rc);
    }
}


/* NGX_AGAIN during the TLS handshake, which has its own handlers */

static ngx_int_t
ms_probe_connected(ms_probe_t *probe)
{
    int        err;
    socklen_t  len;

    if (probe->ready) {
        return NGX_OK;
    }

    err = 0;
    len = sizeof(int);

    if (getsockopt(probe->peer.connection->fd, SOL_SOCKET, SO_ERROR,
                   (void *) &err, &len)
        == -1
        || err)
    {
        return NGX_ERROR;
    }

    probe->connected = 1;

#if (NGX_HTTP_SSL)

    if (probe->conf->tls) {
        return ms_probe_handshake(probe);
    }

#endif

    return ms_probe_start_exchange(probe);
}


static ngx_int_t
ms_probe_start_exchange(ms_probe_t *probe)
{
    ngx_str_t   authority;

    /* this worker was stopped meanwhile, and what it would send is too old */

    if (ngx_current_msec - probe->result.sent >= probe->conf->timeout) {
        return NGX_ERROR;
    }

    probe->ready = 1;
    authority = probe->result.name;

    if (probe->conf->tls) {
        authority = probe->conf->tls_name;

    } else if (probe->sockaddr.sockaddr.sa_family == AF_UNIX) {
        ngx_str_set(&authority, "localhost");
    }

    return ms_exchange_start(&probe->exchange, &authority,
                             &probe->conf->service, probe->conf->timeout,
                             probe->conf->tls != NULL);
}


static ngx_int_t
ms_probe_send(ms_probe_t *probe)
{
    ssize_t            n;
    ngx_buf_t         *b;
    ngx_connection_t  *c;

    b = probe->out;
    c = probe->peer.connection;

    for ( ;; ) {

        if (ms_exchange_output(&probe->exchange, b) != NGX_OK) {
            return NGX_ERROR;
        }

        if (b->pos == b->last) {
            break;
        }

        n = c->send(c, b->pos, b->last - b->pos);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n < 0) {
            return NGX_ERROR;
        }

        b->pos += n;
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* NGX_DONE: the call has ended */

static ngx_int_t
ms_probe_receive(ms_probe_t *probe)
{
    u_char             buf[MS_PROBE_IN];
    ssize_t            n;
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = probe->peer.connection;

    while (c->read->ready) {
        n = c->recv(c, buf, sizeof(buf));

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            return NGX_ERROR;
        }

        rc = ms_exchange_input(&probe->exchange, buf, n);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


#if (NGX_HTTP_SSL)

static ngx_int_t
ms_probe_handshake(ms_probe_t *probe)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = probe->peer.connection;

    if (ngx_ssl_create_connection(probe->conf->tls->ssl, c,
                                  NGX_SSL_BUFFER|NGX_SSL_CLIENT)
        != NGX_OK
        || ms_probe_server_name(probe) != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_ssl_handshake(c);

    if (rc == NGX_AGAIN) {
        c->ssl->handler = ms_probe_handshake_handler;
        return NGX_AGAIN;
    }

    if (rc != NGX_OK || ms_probe_verify(probe) != NGX_OK) {
        return NGX_ERROR;
    }

    return ms_probe_start_exchange(probe);
}


static void
ms_probe_handshake_handler(ngx_connection_t *c)
{
    ms_probe_t  *probe;

    probe = c->data;

    if (c->read->timedout) {
        ms_probe_finish(probe, NGX_DECLINED);
        return;
    }

    if (!c->ssl->handshaked
        || ms_probe_verify(probe) != NGX_OK
        || ms_probe_start_exchange(probe) != NGX_OK)
    {
        ms_probe_finish(probe, NGX_ERROR);
        return;
    }

    c->read->handler = ms_probe_read_handler;
    c->write->handler = ms_probe_write_handler;

    /* what came with the end of the handshake */

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }

    ms_probe_write_handler(c->write);
}


/* no server name for an address */

static ngx_int_t
ms_probe_server_name(ms_probe_t *probe)
{
#ifdef SSL_CTRL_SET_TLSEXT_HOSTNAME

    ngx_str_t  *name;

    name = &probe->conf->tls_name;

    if (!probe->conf->tls->ssl_server_name
        || name->len == 0 || *name->data == '['
        || ngx_inet_addr(name->data, name->len) != INADDR_NONE)
    {
        return NGX_OK;
    }

    if (SSL_set_tlsext_host_name(probe->peer.connection->ssl->connection,
                                 (char *) name->data)
        == 0)
    {
        return NGX_ERROR;
    }

#endif

    return NGX_OK;
}


static ngx_int_t
ms_probe_verify(ms_probe_t *probe)
{
    ngx_connection_t  *c;

    if (!probe->conf->tls->ssl_verify) {
        return NGX_OK;
    }

    c = probe->peer.connection;

    if (SSL_get_verify_result(c->ssl->connection) != X509_V_OK) {
        return NGX_ERROR;
    }

    return ngx_ssl_check_host(c, &probe->conf->tls_name);
}

#endif


/*
 * Runs the handler and frees the probe.  NGX_DONE: the result is complete;
 * NGX_ERROR: the connection failed; NGX_DECLINED: the time is over; NGX_ABORT:
 * this worker could not probe; NGX_BUSY: this worker is exiting.
 */

static void
ms_probe_finish(ms_probe_t *probe, ngx_int_t rc)
{
    const char            *reason;
    ngx_msec_t             spent;
    ms_exchange_result_t  *result;

    result = &probe->result;
    spent = ngx_current_msec - result->sent;

    if (rc == NGX_ERROR && spent >= probe->conf->timeout) {
        rc = NGX_DECLINED;
    }

    /* this machine was stopped: that is no failure of the instance */

    if (rc == NGX_DECLINED && spent >= probe->conf->timeout + MS_PROBE_LATE) {
        rc = NGX_ABORT;
    }

    switch (rc) {

    case NGX_DONE:
        break;

    case NGX_BUSY:
        result->rc = NGX_ABORT;
        break;

    case NGX_ABORT:
        result->rc = NGX_ERROR;
        break;

    case NGX_DECLINED:
        result->timed_out = 1;
        result->unanswered = 1;
        reason = probe->ready ? "timed out"
                 : probe->connected ? "timed out in the TLS handshake"
                                    : "timed out while connecting";
        ms_exchange_failed(result, reason, 0);
        break;

    default:
        result->unanswered = !probe->unreachable;
        reason = probe->ready ? "connection was closed"
                 : probe->connected ? "TLS handshake failed"
                                    : "connection failed";
        ms_exchange_failed(result, reason, 0);
    }

    /* closed first: the handler may start other probes */

    ms_probe_close(probe);

    probe->conf->handler(probe);

    ms_probe_cancel(probe);
}
