
#include "ngx_http_myservice_probe.h"


/* the client's magic, SETTINGS, HEADERS and DATA of a check fit */
#define NGX_HTTP_MYSERVICE_PROBE_OUT  1024
#define NGX_HTTP_MYSERVICE_PROBE_IN   4096


struct ngx_http_myservice_probe_s {
    ngx_http_myservice_probe_conf_t    *conf;
    void                               *data;
    ngx_http_myservice_check_result_t   result;
    ngx_http_myservice_check_t          check;

    ngx_pool_t                         *pool;
    ngx_log_t                           log;
    ngx_peer_connection_t               peer;
    ngx_sockaddr_t                      sockaddr;
    ngx_buf_t                          *out;

    unsigned                            connected:1;
    unsigned                            ready:1;      /* for the call */
};


static void ngx_http_myservice_probe_read_handler(ngx_event_t *rev);
static void ngx_http_myservice_probe_write_handler(ngx_event_t *wev);
static ngx_int_t ngx_http_myservice_probe_connected(
    ngx_http_myservice_probe_t *probe);
static ngx_int_t ngx_http_myservice_probe_begin(
    ngx_http_myservice_probe_t *probe);
static ngx_int_t ngx_http_myservice_probe_send(
    ngx_http_myservice_probe_t *probe);
static ngx_int_t ngx_http_myservice_probe_receive(
    ngx_http_myservice_probe_t *probe);
static void ngx_http_myservice_probe_finish(
    ngx_http_myservice_probe_t *probe, ngx_int_t rc);
static void ngx_http_myservice_probe_close(
    ngx_http_myservice_probe_t *probe);

#if (NGX_HTTP_SSL)
static ngx_int_t ngx_http_myservice_probe_handshake(
    ngx_http_myservice_probe_t *probe);
static void ngx_http_myservice_probe_handshake_handler(ngx_connection_t *c);
static ngx_int_t ngx_http_myservice_probe_server_name(
    ngx_http_myservice_probe_t *probe);
static ngx_int_t ngx_http_myservice_probe_verify(
    ngx_http_myservice_probe_t *probe);
#endif


ngx_http_myservice_probe_t *
ngx_http_myservice_probe_create(ngx_http_myservice_probe_conf_t *conf,
    void *data)
{
    ngx_pool_t                  *pool;
    ngx_http_myservice_probe_t  *probe;

    pool = ngx_create_pool(sizeof(ngx_http_myservice_probe_t)
                           + NGX_HTTP_MYSERVICE_PROBE_OUT + 1024,
                           ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    probe = ngx_pcalloc(pool, sizeof(ngx_http_myservice_probe_t));
    if (probe == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    probe->out = ngx_create_temp_buf(pool, NGX_HTTP_MYSERVICE_PROBE_OUT);
    if (probe->out == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    probe->pool = pool;
    probe->conf = conf;
    probe->data = data;
    probe->check.result = &probe->result;

    return probe;
}


void
ngx_http_myservice_probe_peer(ngx_http_myservice_probe_t *probe,
    ms_instance_info_t *info)
{
    ngx_http_myservice_check_result_t  *result;

    result = &probe->result;

    ngx_memcpy(result->name_buf, info->name, info->name_len);
    result->name.data = result->name_buf;
    result->name.len = info->name_len;

    ngx_memcpy(&probe->sockaddr, info->addr, info->addr_len);
    probe->peer.socklen = (socklen_t) info->addr_len;
}


void
ngx_http_myservice_probe_start(ngx_http_myservice_probe_t *probe)
{
    ngx_int_t               rc;
    ngx_connection_t       *c;
    ngx_peer_connection_t  *pc;

    /*
     * an instance that is down would be an error in the log with every check;
     * the one line that matters is written by the caller
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

    rc = ngx_event_connect_peer(pc);

    if (rc == NGX_ERROR) {
        ngx_http_myservice_probe_finish(probe, NGX_ABORT);
        return;
    }

    if (pc->connection == NULL) {
        ngx_http_myservice_probe_finish(probe, NGX_ERROR);
        return;
    }

    c = pc->connection;
    c->data = probe;
    c->pool = probe->pool;
    c->idle = 1;
    c->log = &probe->log;
    c->read->log = c->log;
    c->write->log = c->log;
    c->read->handler = ngx_http_myservice_probe_read_handler;
    c->write->handler = ngx_http_myservice_probe_write_handler;
    c->read->cancelable = 1;

    ngx_add_timer(c->read, probe->conf->timeout);

    if (rc == NGX_OK) {
        ngx_http_myservice_probe_write_handler(c->write);
    }
}


void
ngx_http_myservice_probe_cancel(ngx_http_myservice_probe_t *probe)
{
    ngx_http_myservice_probe_close(probe);
    ngx_http_myservice_check_free(&probe->check);
    ngx_destroy_pool(probe->pool);
}


static void
ngx_http_myservice_probe_close(ngx_http_myservice_probe_t *probe)
{
    ngx_connection_t  *c;

    c = probe->peer.connection;

    if (c == NULL) {
        return;
    }

#if (NGX_HTTP_SSL)

    if (c->ssl) {

        /* our close_notify is enough, as in ngx_http_upstream.c */

        c->ssl->no_wait_shutdown = 1;
        (void) ngx_ssl_shutdown(c);
    }

#endif

    ngx_close_connection(c);
    probe->peer.connection = NULL;
}


void *
ngx_http_myservice_probe_data(ngx_http_myservice_probe_t *probe)
{
    return probe->data;
}


ngx_http_myservice_check_result_t *
ngx_http_myservice_probe_result(ngx_http_myservice_probe_t *probe)
{
    return &probe->result;
}


static void
ngx_http_myservice_probe_read_handler(ngx_event_t *rev)
{
    ngx_int_t                    rc;
    ngx_connection_t            *c;
    ngx_http_myservice_probe_t  *probe;

    c = rev->data;
    probe = c->data;

    if (c->close) {
        ngx_http_myservice_probe_finish(probe, NGX_BUSY);
        return;
    }

    if (rev->timedout) {
        ngx_http_myservice_probe_finish(probe, NGX_DECLINED);
        return;
    }

    rc = ngx_http_myservice_probe_connected(probe);

    if (rc == NGX_OK) {
        rc = ngx_http_myservice_probe_receive(probe);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_myservice_probe_send(probe);
    }

    if (rc == NGX_ERROR || rc == NGX_DONE) {
        ngx_http_myservice_probe_finish(probe, rc);
    }
}


static void
ngx_http_myservice_probe_write_handler(ngx_event_t *wev)
{
    ngx_int_t                    rc;
    ngx_connection_t            *c;
    ngx_http_myservice_probe_t  *probe;

    c = wev->data;
    probe = c->data;

    rc = ngx_http_myservice_probe_connected(probe);

    if (rc == NGX_OK) {
        rc = ngx_http_myservice_probe_send(probe);
    }

    if (rc == NGX_ERROR) {
        ngx_http_myservice_probe_finish(probe, rc);
    }
}


/* NGX_AGAIN while TLS is shaking hands, which has its own handlers */

static ngx_int_t
ngx_http_myservice_probe_connected(ngx_http_myservice_probe_t *probe)
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
        return ngx_http_myservice_probe_handshake(probe);
    }

#endif

    return ngx_http_myservice_probe_begin(probe);
}


static ngx_int_t
ngx_http_myservice_probe_begin(ngx_http_myservice_probe_t *probe)
{
    ngx_str_t   authority;

    probe->ready = 1;
    authority = probe->result.name;

    if (probe->conf->tls) {
        authority = probe->conf->tls_name;

    } else if (probe->sockaddr.sockaddr.sa_family == AF_UNIX) {
        ngx_str_set(&authority, "localhost");
    }

    return ngx_http_myservice_check_start(&probe->check, &authority,
                                          &probe->conf->service,
                                          probe->conf->timeout,
                                          probe->conf->tls != NULL);
}


static ngx_int_t
ngx_http_myservice_probe_send(ngx_http_myservice_probe_t *probe)
{
    ssize_t            n;
    ngx_buf_t         *b;
    ngx_connection_t  *c;

    b = probe->out;
    c = probe->peer.connection;

    for ( ;; ) {

        if (ngx_http_myservice_check_output(&probe->check, b) != NGX_OK) {
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
ngx_http_myservice_probe_receive(ngx_http_myservice_probe_t *probe)
{
    u_char             buf[NGX_HTTP_MYSERVICE_PROBE_IN];
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

        rc = ngx_http_myservice_check_input(&probe->check, buf, n);

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
ngx_http_myservice_probe_handshake(ngx_http_myservice_probe_t *probe)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = probe->peer.connection;

    if (ngx_ssl_create_connection(probe->conf->tls->ssl, c,
                                  NGX_SSL_BUFFER|NGX_SSL_CLIENT)
        != NGX_OK
        || ngx_http_myservice_probe_server_name(probe) != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_ssl_handshake(c);

    if (rc == NGX_AGAIN) {
        c->ssl->handler = ngx_http_myservice_probe_handshake_handler;
        return NGX_AGAIN;
    }

    if (rc != NGX_OK || ngx_http_myservice_probe_verify(probe) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_myservice_probe_begin(probe);
}


static void
ngx_http_myservice_probe_handshake_handler(ngx_connection_t *c)
{
    ngx_http_myservice_probe_t  *probe;

    probe = c->data;

    if (c->read->timedout) {
        ngx_http_myservice_probe_finish(probe, NGX_DECLINED);
        return;
    }

    if (!c->ssl->handshaked
        || ngx_http_myservice_probe_verify(probe) != NGX_OK
        || ngx_http_myservice_probe_begin(probe) != NGX_OK)
    {
        ngx_http_myservice_probe_finish(probe, NGX_ERROR);
        return;
    }

    c->read->handler = ngx_http_myservice_probe_read_handler;
    c->write->handler = ngx_http_myservice_probe_write_handler;

    /* what came with the end of the handshake */

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }

    ngx_http_myservice_probe_write_handler(c->write);
}


/* an address is no name */

static ngx_int_t
ngx_http_myservice_probe_server_name(ngx_http_myservice_probe_t *probe)
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
ngx_http_myservice_probe_verify(ngx_http_myservice_probe_t *probe)
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
 * The probe is gone when this returns.  NGX_DONE: the result is there; else
 * what has happened: NGX_ERROR to the connection, NGX_DECLINED time was up,
 * NGX_ABORT there is none, NGX_BUSY the worker is exiting.
 */

static void
ngx_http_myservice_probe_finish(ngx_http_myservice_probe_t *probe,
    ngx_int_t rc)
{
    const char                         *reason;
    ngx_http_myservice_check_result_t  *result;

    result = &probe->result;

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
        reason = probe->ready ? "timed out"
                 : probe->connected ? "timed out in the TLS handshake"
                                    : "timed out while connecting";
        ngx_http_myservice_check_failed(result, reason, 0);
        break;

    default:
        reason = probe->ready ? "connection was closed"
                 : probe->connected ? "TLS handshake failed"
                                    : "connection failed";
        ngx_http_myservice_check_failed(result, reason, 0);
    }

    /* closed first: the handler may start others */

    ngx_http_myservice_probe_close(probe);

    probe->conf->handler(probe);

    ngx_http_myservice_probe_cancel(probe);
}
