
/*
 * The layer around the balancer of an upstream: gives a call a stream of a
 * shared connection (http2/mux_stream.c) in the place of a connection.
 */

#include "http2/mux_call.h"
#include "core/context.h"
#include "http2/mux_conn.h"
#include "http2/mux_peer.h"
#include "http2/mux_stream.h"
#include "http2/mux_tls.h"
#include "http2/mux_write.h"


typedef struct {
    ngx_http_request_t              *request;
    ms_mux_conf_t                   *conf;
    ms_mux_stream_t                 *stream;     /* of the attempt, or NULL */
    ms_mux_failure_e                 failure;    /* of the attempt */
    uint64_t                         failed;     /* number of the connection */
    uint64_t                         after;      /* the next one is newer */
    const ms_fields_t               *fields;     /* of the balancer, or NULL */
    ngx_str_t                        name;       /* for TLS */
    ngx_uint_t                       active;

    /* of the balancer */
    void                            *data;
    ngx_event_get_peer_pt            get;
    ngx_event_free_peer_pt           free;
    ngx_event_notify_peer_pt         notify;
#if (NGX_HTTP_SSL)
    ngx_event_set_peer_session_pt    set_session;
    ngx_event_save_peer_session_pt   save_session;
#endif
} ms_mux_call_t;


static ngx_int_t ms_mux_call_possible(ngx_http_request_t *r,
    ms_mux_call_t *ctx);
static ngx_int_t ms_mux_call_get_peer(ngx_peer_connection_t *pc, void *data);
static ngx_int_t ms_mux_call_attach(ms_mux_call_t *ctx,
    ngx_peer_connection_t *pc, ms_mux_conn_t *mc);
static void ms_mux_call_begin(ngx_event_t *ev);
static void ms_mux_call_key(ms_mux_call_t *ctx, ngx_peer_connection_t *pc,
    ms_mux_key_t *key);
static void ms_mux_call_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);
static void ms_mux_call_failed(ms_mux_call_t *ctx, ngx_peer_connection_t *pc);
static void ms_mux_call_notify(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t type);
#if (NGX_HTTP_SSL)
static ngx_int_t ms_mux_call_name(ngx_http_request_t *r, ngx_str_t *name);
static ngx_int_t ms_mux_call_set_session(ngx_peer_connection_t *pc,
    void *data);
static void ms_mux_call_save_session(ngx_peer_connection_t *pc, void *data);
#endif


/* the first member of the private ngx_http_grpc_loc_conf_t */

extern ngx_module_t  ngx_http_grpc_module;


static ms_mux_call_t *
ms_mux_call_find(ngx_http_request_t *r)
{
    return ms_context_find(r, &ngx_http_myservice_multiplex_module);
}


ms_mux_failure_e
ms_mux_call_failure(ngx_http_request_t *r)
{
    ms_mux_call_t  *ctx;

    ctx = ms_mux_call_find(r);

    return ctx ? ctx->failure : MS_MUX_NONE;
}


ngx_uint_t
ms_mux_call_fresh(ngx_http_request_t *r)
{
    ms_mux_call_t  *ctx;

    ctx = ms_mux_call_find(r);

    if (ctx == NULL || !ctx->active) {
        return 0;
    }

    ctx->after = ctx->failed;

    return 1;
}


ngx_uint_t
ms_mux_call_fields(ngx_http_request_t *r, const ms_fields_t *fields)
{
    ms_mux_call_t  *ctx;

    ctx = ms_mux_call_find(r);

    /* an "error_page" may have led to an upstream without it */

    if (ctx == NULL || !ctx->active || r->upstream->peer.data != ctx) {
        return 0;
    }

    ctx->fields = fields;

    return 1;
}


ngx_uint_t
ms_mux_call_shared(ngx_http_request_t *r)
{
    ms_mux_call_t  *ctx;

    ctx = ms_mux_call_find(r);

    return ctx && ctx->stream && ctx->stream->reused;
}


ngx_uint_t
ms_mux_call_own(ngx_http_request_t *r)
{
    ms_mux_call_t  *ctx;

    ctx = ms_mux_call_find(r);

    return ctx && ctx->stream && ctx->stream->own;
}


ngx_int_t
ms_mux_call_init(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us,
    ms_mux_conf_t *conf)
{
    ngx_int_t             rc;
    ms_mux_call_t        *ctx;
    ngx_http_upstream_t  *u;

    ctx = ms_context_make(r, &ngx_http_myservice_multiplex_module,
                          sizeof(ms_mux_call_t), NULL);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->active = 0;

    if (conf->init_peer(r, us) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ms_mux_call_possible(r, ctx);

    if (rc != NGX_OK) {
        return rc == NGX_DECLINED ? NGX_OK : NGX_ERROR;
    }

    u = r->upstream;

    ctx->request = r;
    ctx->conf = conf;
    ctx->stream = NULL;
    ctx->failure = MS_MUX_NONE;
    ctx->after = 0;
    ctx->fields = NULL;
    ctx->active = 1;

    ctx->data = u->peer.data;
    ctx->get = u->peer.get;
    ctx->free = u->peer.free;
    ctx->notify = u->peer.notify;

    u->peer.data = ctx;
    u->peer.get = ms_mux_call_get_peer;
    u->peer.free = ms_mux_call_free_peer;

    if (ctx->notify) {
        u->peer.notify = ms_mux_call_notify;
    }

#if (NGX_HTTP_SSL)
    ctx->set_session = u->peer.set_session;
    ctx->save_session = u->peer.save_session;
    u->peer.set_session = ms_mux_call_set_session;
    u->peer.save_session = ms_mux_call_save_session;
#endif

    return NGX_OK;
}


/* NGX_DECLINED: the call has a connection of its own, as without this */

static ngx_int_t
ms_mux_call_possible(ngx_http_request_t *r, ms_mux_call_t *ctx)
{
    ngx_http_upstream_conf_t  *ucf;

    ucf = ngx_http_get_module_loc_conf(r, ngx_http_grpc_module);

    if (r->upstream->conf != ucf
        || !(ngx_event_flags & NGX_USE_CLEAR_EVENT))
    {
        return NGX_DECLINED;
    }

#if (NGX_HTTP_SSL)

    if (!r->upstream->ssl) {
        return NGX_OK;
    }

    /* a certificate of each call */

    if (ucf->ssl_certificate && (ucf->ssl_certificate->lengths
                                 || ucf->ssl_certificate_key->lengths))
    {
        return NGX_DECLINED;
    }

    return ms_mux_call_name(r, &ctx->name);

#else

    return NGX_OK;

#endif
}


static ngx_int_t
ms_mux_call_get_peer(ngx_peer_connection_t *pc, void *data)
{
    ms_mux_call_t *ctx = data;

    ngx_int_t         rc;
    ms_mux_key_t      key;
    ms_mux_peer_t    *peer;
    ms_mux_conn_t    *mc;

    ctx->failure = MS_MUX_NONE;
    ctx->after = 0;

    rc = ctx->get(pc, ctx->data);

    if (rc != NGX_OK) {
        return rc;
    }

    ms_mux_call_key(ctx, pc, &key);

    peer = ms_mux_peer(&key, pc->name, pc->log);
    if (peer == NULL) {
        return NGX_ERROR;
    }

    mc = ms_mux_peer_conn(peer, ctx->conf->streams, ctx->after);

    if (mc == NULL) {
        rc = ms_mux_conn_create(&mc, peer, ctx->conf, pc);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, pc->log, 0,
                   "myservice multiplex: connection %uL of \"%V\", calls:%ui",
                   mc->number, &peer->name, mc->nstreams);

    return ms_mux_call_attach(ctx, pc, mc);
}


static ngx_int_t
ms_mux_call_attach(ms_mux_call_t *ctx, ngx_peer_connection_t *pc,
    ms_mux_conn_t *mc)
{
    ms_mux_stream_t  *s;

    ms_mux_conn_use(mc);

    s = ms_mux_stream_create(mc, pc->log);
    if (s == NULL) {
        ms_mux_flush_soon(mc);
        return NGX_ERROR;
    }

    if (mc->peer->key.ssl) {
        ms_mux_tls_pretend(&s->c);
    }

    s->fields = ctx->fields;
    ctx->stream = s;

    pc->connection = &s->c;
    pc->cached = 0;

    if (!mc->ready) {
        return NGX_AGAIN;
    }

    if (ctx->request->request_body_no_buffering) {
        return NGX_DONE;
    }

    s->begin.handler = ms_mux_call_begin;
    s->begin.data = &s->c;
    s->begin.log = pc->log;

    ngx_post_event(&s->begin, &ngx_posted_events);

    return NGX_AGAIN;
}


/*
 * Sends a request that is there as a whole.  nginx would first ask the socket,
 * for every call, whether connect() has failed: with "request_sent" it does
 * not.  It believes that the connection has just been made.
 */

static void
ms_mux_call_begin(ngx_event_t *ev)
{
    ngx_connection_t     *c;
    ngx_http_request_t   *r;
    ngx_http_upstream_t  *u;

    c = ev->data;
    r = c->data;
    u = r->upstream;

    ngx_http_set_log_request(r->connection->log, r);

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    u->request_sent = 1;

    /* as ngx_http_upstream_send_request_body(), which goes on then */

    if (ngx_output_chain(&u->output, u->request_bufs) == NGX_ERROR) {
        ((ms_mux_stream_t *) c)->error = 1;
        c->read->handler(c->read);
        return;
    }

    c->write->handler(c->write);
}


static void
ms_mux_call_key(ms_mux_call_t *ctx, ngx_peer_connection_t *pc,
    ms_mux_key_t *key)
{
    ngx_memzero(key, sizeof(ms_mux_key_t));

    key->socklen = ngx_min(pc->socklen, (socklen_t) sizeof(ngx_sockaddr_t));
    ngx_memcpy(&key->sockaddr, pc->sockaddr, key->socklen);

    if (pc->local) {
        key->local_len = ngx_min(pc->local->socklen,
                                 (socklen_t) sizeof(ngx_sockaddr_t));
        ngx_memcpy(&key->local, pc->local->sockaddr, key->local_len);
    }

    if (pc->so_keepalive) {
        key->options |= MS_MUX_KEEPALIVE;
    }

#if (NGX_HAVE_TRANSPARENT_PROXY)

    if (pc->transparent) {
        key->options |= MS_MUX_TRANSPARENT;
    }

#endif

#if (NGX_HTTP_SSL)

    if (ctx->request->upstream->ssl) {
        ngx_http_upstream_conf_t  *ucf;

        ucf = ctx->request->upstream->conf;

        key->ssl = ucf->ssl;
        key->name = ctx->name;
        key->verify = ucf->ssl_verify ? 1 : 0;
        key->options |= (ucf->ssl_server_name ? MS_MUX_SERVER_NAME : 0)
                        | (ucf->ssl_session_reuse ? MS_MUX_REUSE : 0);
    }

#endif
}


static void
ms_mux_call_free_peer(ngx_peer_connection_t *pc, void *data, ngx_uint_t state)
{
    ms_mux_call_t *ctx = data;

    ms_mux_conn_t        *mc;
    ms_mux_stream_t      *s;
    ngx_http_upstream_t  *u;

    s = ctx->stream;
    u = ctx->request->upstream;

    /* the balancer may have put a connection of its own there */

    if (s == NULL || pc->connection != &s->c) {
        ctx->free(pc, ctx->data, state);
        return;
    }

    if (s->unsent) {
        u->request_sent = 0;
    }

    if (state & NGX_PEER_FAILED) {
        ms_mux_call_failed(ctx, pc);
    }

    /* "keepalive" beneath has nothing to keep */

    u->keepalive = 0;

    ctx->free(pc, ctx->data, state);

    mc = s->conn;

    if (s->failure || (state & NGX_PEER_FAILED)) {
        ctx->failed = s->number;
    }

    if (mc && s->wev.timedout && !mc->ready) {

        /* nobody else shall wait for it */

        mc->draining = 1;
    }

    if (mc && (!mc->ready || (s->id && !s->in_closed))) {
        ms_mux_conn_suspect(mc, s->since);
    }

    ms_mux_stream_close(s);

    ctx->stream = NULL;
    pc->connection = NULL;
}


static void
ms_mux_call_failed(ms_mux_call_t *ctx, ngx_peer_connection_t *pc)
{
    ms_mux_stream_t  *s;

    s = ctx->stream;

    ctx->failure = ms_mux_stream_failure(s);

    switch (ctx->failure) {

    case MS_MUX_LOCAL:

        /* the log says why */

        ngx_set_errno(0);
        break;

    case MS_MUX_NOT_SENT:

        if (s->conn) {

            /* nginx has taken the error from its socket */

            s->conn->draining = 1;
        }

        /* fall through */

    case MS_MUX_REFUSED:
    case MS_MUX_STALE:

        /* as of a kept connection: nginx tries one more */

        pc->cached = s->reused;
        break;

    default:
        break;
    }
}


static void
ms_mux_call_notify(ngx_peer_connection_t *pc, void *data, ngx_uint_t type)
{
    ms_mux_call_t *ctx = data;

    ctx->notify(pc, ctx->data, type);
}


#if (NGX_HTTP_SSL)

/* as ngx_http_upstream_ssl_name() does it */

static ngx_int_t
ms_mux_call_name(ngx_http_request_t *r, ngx_str_t *name)
{
    u_char               *p, *last;
    ngx_http_upstream_t  *u;

    u = r->upstream;

    if (u->conf->ssl_name == NULL) {
        *name = u->ssl_name;

    } else if (ngx_http_complex_value(r, u->conf->ssl_name, name) != NGX_OK) {
        return NGX_ERROR;
    }

    if (name->len == 0) {
        return NGX_OK;
    }

    p = name->data;
    last = p + name->len;

    if (*p == '[') {
        p = ngx_strlchr(p, last, ']');

        if (p == NULL) {
            p = name->data;
        }
    }

    p = ngx_strlchr(p, last, ':');

    if (p) {
        name->len = p - name->data;
    }

    return NGX_OK;
}


static ngx_int_t
ms_mux_call_set_session(ngx_peer_connection_t *pc, void *data)
{
    ms_mux_call_t *ctx = data;

    return ctx->set_session(pc, ctx->data);
}


static void
ms_mux_call_save_session(ngx_peer_connection_t *pc, void *data)
{
    ms_mux_call_t *ctx = data;

    ctx->save_session(pc, ctx->data);
}

#endif
