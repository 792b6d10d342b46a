
/* TLS of a shared connection, as nginx's upstream module does it. */

#include "http2/mux_tls.h"


#if (NGX_HTTP_SSL)

/* milliseconds; the calls that wait have limits of their own */
#define MS_MUX_HANDSHAKE  60000

/* handshakes in a row that fail at a session: the peer wants none */
#define MS_MUX_REFUSALS   3


static ngx_int_t ms_mux_tls_setup(ms_mux_conn_t *mc);
static ngx_int_t ms_mux_tls_verify(ms_mux_conn_t *mc);
static void ms_mux_tls_forget(ms_mux_peer_t *peer);
static void ms_mux_tls_save(ngx_connection_t *c);


/* all that nginx asks of it is whether the handshake is done */

static ngx_ssl_connection_t  ms_mux_tls_done;


ngx_int_t
ms_mux_tls_start(ms_mux_conn_t *mc, void (*handler)(ngx_connection_t *c))
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    if (mc->peer->key.ssl == NULL) {
        return NGX_OK;
    }

    c = mc->c;

    if (ms_mux_tls_setup(mc) != NGX_OK) {
        mc->local = 1;
        return NGX_ERROR;
    }

    rc = ngx_ssl_handshake(c);

    if (rc == NGX_AGAIN) {
        c->ssl->handler = handler;
        c->write->cancelable = 1;
        ngx_add_timer(c->write, MS_MUX_HANDSHAKE);
        return NGX_AGAIN;
    }

    return ms_mux_tls_finish(mc);
}


static ngx_int_t
ms_mux_tls_setup(ms_mux_conn_t *mc)
{
    ms_mux_key_t      *key;
    ngx_connection_t  *c;

    c = mc->c;
    key = &mc->peer->key;

    c->pool = ngx_create_pool(256, c->log);
    if (c->pool == NULL) {
        return NGX_ERROR;
    }

    if (ngx_ssl_create_connection(key->ssl, c, NGX_SSL_CLIENT) != NGX_OK) {
        return NGX_ERROR;
    }

#ifdef TLSEXT_TYPE_application_layer_protocol_negotiation

    if (SSL_set_alpn_protos(c->ssl->connection, (u_char *) "\x02h2", 3) != 0) {
        return NGX_ERROR;
    }

#endif

#ifdef SSL_CTRL_SET_TLSEXT_HOSTNAME

    /* RFC 6066: no addresses */

    if ((key->options & MS_MUX_SERVER_NAME)
        && key->name.len && *key->name.data != '['
        && ngx_inet_addr(key->name.data, key->name.len) == INADDR_NONE
        && SSL_set_tlsext_host_name(c->ssl->connection,
                                    (char *) key->name.data)
           == 0)
    {
        ngx_log_error(NGX_LOG_ERR, c->log, 0,
                      "TLS cannot ask for the name \"%V\", instance=\"%V\"",
                      &key->name, &mc->peer->name);
        ERR_clear_error();
        return NGX_ERROR;
    }

#endif

    if ((key->options & MS_MUX_REUSE)
        && mc->peer->refusals < MS_MUX_REFUSALS)
    {
        c->ssl->save_session = ms_mux_tls_save;

        if (mc->peer->session) {

            if (ngx_ssl_set_session(c, mc->peer->session) != NGX_OK) {
                return NGX_ERROR;
            }

            mc->resumes = 1;
        }
    }

    return NGX_OK;
}


static void
ms_mux_tls_save(ngx_connection_t *c)
{
    ms_mux_conn_t      *mc;
    ngx_ssl_session_t  *session;

    mc = c->data;

    session = ngx_ssl_get_session(c);
    if (session == NULL) {
        return;
    }

    ms_mux_tls_forget(mc->peer);

    mc->peer->session = session;
}


static void
ms_mux_tls_forget(ms_mux_peer_t *peer)
{
    if (peer->session) {
        ngx_ssl_free_session(peer->session);
        peer->session = NULL;
    }
}


ngx_int_t
ms_mux_tls_finish(ms_mux_conn_t *mc)
{
    ngx_connection_t  *c;

    c = mc->c;

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    if (c->ssl->handshaked) {

        if (mc->resumes) {
            mc->peer->refusals = 0;
        }

        return mc->peer->key.verify ? ms_mux_tls_verify(mc) : NGX_OK;
    }

    if (c->read->timedout || c->write->timedout) {
        mc->err = NGX_ETIMEDOUT;
    }

    if (mc->resumes) {

        /* it may be a server that does that, or one that stops: calls try
         * again without one */

        ms_mux_tls_forget(mc->peer);
        mc->peer->refusals++;
    }

    return NGX_ERROR;
}


static ngx_int_t
ms_mux_tls_verify(ms_mux_conn_t *mc)
{
    long               rc;
    ms_mux_key_t      *key;
    ngx_connection_t  *c;

    c = mc->c;
    key = &mc->peer->key;

    rc = SSL_get_verify_result(c->ssl->connection);

    if (rc != X509_V_OK) {
        ngx_log_error(NGX_LOG_ERR, c->log, 0,
                      "TLS certificate verify error: (%l:%s), "
                      "instance=\"%V\"", rc,
                      X509_verify_cert_error_string(rc), &mc->peer->name);
        return NGX_ERROR;
    }

    if (ngx_ssl_check_host(c, &key->name) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, c->log, 0,
                      "TLS certificate does not match \"%V\", "
                      "instance=\"%V\"", &key->name, &mc->peer->name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ms_mux_tls_close(ms_mux_conn_t *mc)
{
    ngx_connection_t  *c;

    c = mc->c;

    if (c->ssl == NULL) {
        return;
    }

    /* nobody waits for the instance to say that it closes, too; and what does
     * not fit into the socket is not said */

    c->ssl->no_wait_shutdown = 1;

    if (!mc->ready || !c->write->ready || mc->out_size || c->error) {
        c->ssl->no_send_shutdown = 1;
    }

    if (ngx_ssl_shutdown(c) == NGX_AGAIN) {
        c->timedout = 1;
        (void) ngx_ssl_shutdown(c);
    }
}


void
ms_mux_tls_pretend(ngx_connection_t *c)
{
    ms_mux_tls_done.handshaked = 1;
    c->ssl = &ms_mux_tls_done;
}

#else

ngx_int_t
ms_mux_tls_start(ms_mux_conn_t *mc, void (*handler)(ngx_connection_t *c))
{
    return NGX_OK;
}


ngx_int_t
ms_mux_tls_finish(ms_mux_conn_t *mc)
{
    return NGX_OK;
}


void
ms_mux_tls_close(ms_mux_conn_t *mc)
{
}


void
ms_mux_tls_pretend(ngx_connection_t *c)
{
}

#endif
