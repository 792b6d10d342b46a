
/*
 * The request of a fetch: a subrequest of a request that no client sent, on a
 * connection without a socket. Our filters take the answer. The main request
 * only waits for the subrequest; an event of its own frees it when nginx is
 * done with both.
 */

#include "token/internal_request.h"

#include "core/compat.h"


#define MS_FETCH_MAX  262144                      /* bytes of a JWK Set */

/* nginx counts the references to a request and closes it at 0; with this
 * many, nginx never closes ours */
#define MS_FETCH_COUNT    1000


static void ms_fetch_connect(ms_fetch_t *fetch);
static ngx_int_t ms_fetch_subrequest(ms_fetch_t *fetch);
static u_char *ms_fetch_log(ngx_log_t *log, u_char *buf, size_t len);
static ngx_chain_t *ms_fetch_send_chain(ngx_connection_t *c, ngx_chain_t *in,
    off_t limit);
static void ms_fetch_read(ngx_event_t *rev);
static void ms_fetch_write(ngx_event_t *wev);
static ngx_int_t ms_fetch_ended(ngx_http_request_t *r, void *data,
    ngx_int_t rc);
static void ms_fetch_wake(ngx_http_request_t *r);
static void ms_fetch_destroyed(void *data);
static void ms_fetch_free(ngx_http_request_t *r);
static ms_fetch_t *ms_fetch_of(ngx_http_request_t *r);
static ngx_int_t ms_fetch_header_filter(ngx_http_request_t *r);
static ngx_int_t ms_fetch_body_filter(ngx_http_request_t *r, ngx_chain_t *in);
static void ms_fetch_append(ms_fetch_t *fetch, u_char *data, size_t len);


ms_fetch_t  *ms_fetches;


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


void
ms_fetch_filters(void)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ms_fetch_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ms_fetch_body_filter;
}


ngx_int_t
ms_fetch_open(ms_fetch_t *fetch)
{
    ngx_connection_t    *c;
    ngx_pool_cleanup_t  *cln;
    ngx_http_request_t  *r;

    c = &fetch->connection;

    ms_fetch_connect(fetch);

    c->pool = ngx_create_pool(1024, fetch->log);
    if (c->pool == NULL) {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(c->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    r = ngx_http_create_request(c);
    if (r == NULL) {
        return NGX_ERROR;
    }

    c->data = r;
    fetch->request = r;

    cln->handler = ms_fetch_destroyed;
    cln->data = fetch;

    r->count = MS_FETCH_COUNT;
    r->internal = 1;
    r->write_event_handler = ms_fetch_wake;

    r->method = NGX_HTTP_GET;
    r->method_name = ngx_http_core_get_method;
    r->http_version = NGX_HTTP_VERSION_11;
    ngx_str_set(&r->http_protocol, "HTTP/1.1");
    ngx_str_set(&r->schema, "http");
    r->uri = fetch->store->source->name;
    r->unparsed_uri = r->uri;
    r->request_line = r->uri;
    r->headers_in.server = fetch->keyring->server->server_name;

    /* so that nginx reads no body */

    r->request_body = ngx_pcalloc(r->pool, sizeof(ngx_http_request_body_t));

    if (r->request_body == NULL
        || ngx_list_init(&r->headers_in.headers, r->pool, 1,
                         sizeof(ngx_table_elt_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ms_fetch_subrequest(fetch);
}


/* a connection that is always ready and never in the event loop */

static void
ms_fetch_connect(ms_fetch_t *fetch)
{
    ngx_log_t         *log;
    ngx_connection_t  *c;

    c = &fetch->connection;
    log = &fetch->request_log;

    ngx_memzero(c, sizeof(ngx_connection_t));
    ngx_memzero(&fetch->read, sizeof(ngx_event_t));
    ngx_memzero(&fetch->write, sizeof(ngx_event_t));
    ngx_memzero(&fetch->http, sizeof(ngx_http_connection_t));
    ngx_memzero(&fetch->log_ctx, sizeof(ngx_http_log_ctx_t));

    *log = *fetch->log;
    log->handler = ms_fetch_log;
    log->data = &fetch->log_ctx;
    log->action = NULL;

    fetch->log_ctx.connection = c;
    fetch->http.conf_ctx = fetch->keyring->server->ctx;
    fetch->address.sun_family = AF_UNIX;

    fetch->read.data = c;
    fetch->read.log = log;
    fetch->read.handler = ms_fetch_read;
    fetch->read.active = 1;

    fetch->write.data = c;
    fetch->write.log = log;
    fetch->write.handler = ms_fetch_write;
    fetch->write.write = 1;
    fetch->write.active = 1;
    fetch->write.ready = 1;

    c->fd = (ngx_socket_t) -1;
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    log->connection = c->number;

    c->data = &fetch->http;
    c->log = log;
    c->read = &fetch->read;
    c->write = &fetch->write;
    c->send_chain = ms_fetch_send_chain;

    c->sockaddr = (struct sockaddr *) &fetch->address;
    c->socklen = sizeof(sa_family_t);
    c->local_sockaddr = c->sockaddr;
    c->local_socklen = c->socklen;
    ngx_str_set(&c->addr_text, "unix:");

    c->tcp_nodelay = NGX_TCP_NODELAY_DISABLED;
    c->tcp_nopush = NGX_TCP_NOPUSH_DISABLED;
}


static ngx_int_t
ms_fetch_subrequest(ms_fetch_t *fetch)
{
    u_char                      *p;
    ngx_str_t                    uri, args;
    ngx_http_request_t          *sr;
    ngx_http_post_subrequest_t  *ps;

    uri = fetch->store->source->name;
    ngx_str_null(&args);

    p = ngx_strlchr(uri.data, uri.data + uri.len, '?');

    if (p) {
        args.data = p + 1;
        args.len = uri.data + uri.len - args.data;
        uri.len = p - uri.data;
    }

    ps = ngx_palloc(fetch->request->pool, sizeof(ngx_http_post_subrequest_t));
    if (ps == NULL) {
        return NGX_ERROR;
    }

    ps->handler = ms_fetch_ended;
    ps->data = fetch;

    if (ngx_http_subrequest(fetch->request, &uri, &args, &sr, ps, 0)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    fetch->subrequest = sr;

    return NGX_OK;
}


static u_char *
ms_fetch_log(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char              *p;
    ngx_http_log_ctx_t  *ctx;

    if (log->action) {
        p = ngx_snprintf(buf, len, " while %s", log->action);
        len -= p - buf;
        buf = p;
    }

    p = ngx_snprintf(buf, len, ", fetching keys");
    len -= p - buf;

    ctx = log->data;

    return ctx->request ? ms_log_request(log, ctx, p, len) : p;
}


/* the filters leave nothing to send */

static ngx_chain_t *
ms_fetch_send_chain(ngx_connection_t *c, ngx_chain_t *in, off_t limit)
{
    for ( /* void */ ; in; in = in->next) {
        in->buf->pos = in->buf->last;
        in->buf->file_pos = in->buf->file_last;
    }

    return NULL;
}


static void
ms_fetch_read(ngx_event_t *rev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, rev->log, 0, "myservice fetch read");
}


/* as ngx_http_request_handler(): limit_req delays a request by a timer */

static void
ms_fetch_write(ngx_event_t *wev)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = wev->data;
    r = c->data;

    ngx_http_set_log_request(c->log, r);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, wev->log, 0,
                   "myservice fetch write: \"%V?%V\"", &r->uri, &r->args);

    if (wev->delayed && wev->timedout) {
        wev->delayed = 0;
        wev->timedout = 0;
    }

    r->write_event_handler(r);

    ngx_http_run_posted_requests(c);
}


/* the subrequest has ended; NGX_OK lets nginx wake the main request */

static ngx_int_t
ms_fetch_ended(ngx_http_request_t *r, void *data, ngx_int_t rc)
{
    ms_fetch_t  *fetch = data;

    fetch->rc = rc;
    fetch->status = r->headers_out.status;
    fetch->ended = 1;

    return NGX_OK;
}


static void
ms_fetch_wake(ngx_http_request_t *r)
{
    ms_fetch_t  *fetch;

    fetch = ms_fetch_of(r);

    if (fetch->ended) {
        ngx_post_event(&fetch->done, &ngx_posted_events);
    }
}


/* nginx closed the request itself, for example after a filter failed */

static void
ms_fetch_destroyed(void *data)
{
    ms_fetch_t  *fetch = data;

    fetch->request = NULL;
    fetch->connection.pool = NULL;
    fetch->rc = NGX_ERROR;

    ngx_post_event(&fetch->done, &ngx_posted_events);
}


/* nginx also blocks a request that waits for another request's update of a
 * cache; then only a timer of nginx runs */

ngx_uint_t
ms_fetch_blocked(ms_fetch_t *fetch)
{
    ngx_uint_t  blocked;

    if (fetch->request == NULL) {
        return 0;
    }

    blocked = fetch->request->blocked;

#if (NGX_HTTP_CACHE)
    if (fetch->subrequest->cache && fetch->subrequest->cache->waiting) {
        blocked--;
    }
#endif

    return blocked;
}


ngx_uint_t
ms_fetch_busy(ms_fetch_t *fetch)
{
    return fetch->request && fetch->request->count > MS_FETCH_COUNT;
}


/* as ngx_http_free_request(), which would write to the access log */

static void
ms_fetch_free(ngx_http_request_t *r)
{
    ngx_pool_t          *pool;
    ngx_http_cleanup_t  *cln;

    cln = r->cleanup;
    r->cleanup = NULL;

    for ( /* void */ ; cln; cln = cln->next) {
        if (cln->handler) {
            cln->handler(cln->data);
        }
    }

#if (NGX_STAT_STUB)
    if (r->stat_reading) {
        (void) ngx_atomic_fetch_add(ngx_stat_reading, -1);
    }

    if (r->stat_writing) {
        (void) ngx_atomic_fetch_add(ngx_stat_writing, -1);
    }
#endif

    pool = r->pool;
    r->pool = NULL;
    ngx_destroy_pool(pool);
}


void
ms_fetch_close(ms_fetch_t *fetch)
{
    ngx_pool_t        *pool;
    ngx_connection_t  *c;

    c = &fetch->connection;

    if (fetch->limit.timer_set) {
        ngx_del_timer(&fetch->limit);
    }

    if (fetch->done.timer_set) {
        ngx_del_timer(&fetch->done);
    }

    if (fetch->done.posted) {
        ngx_delete_posted_event(&fetch->done);
    }

    if (fetch->request) {
        ms_fetch_free(fetch->request);
        fetch->request = NULL;
    }

    if (fetch->read.timer_set) {
        ngx_del_timer(&fetch->read);
    }

    if (fetch->write.timer_set) {
        ngx_del_timer(&fetch->write);
    }

    if (fetch->read.posted) {
        ngx_delete_posted_event(&fetch->read);
    }

    if (fetch->write.posted) {
        ngx_delete_posted_event(&fetch->write);
    }

    c->destroyed = 1;

    pool = c->pool;
    c->pool = NULL;

    if (pool) {
        pool->cleanup = NULL;           /* ngx_http_..._fetch_destroyed() */
        ngx_destroy_pool(pool);
    }
}


static ms_fetch_t *
ms_fetch_of(ngx_http_request_t *r)
{
    ms_fetch_t  *fetch;

    for (fetch = ms_fetches; fetch; fetch = fetch->link) {
        if (fetch->request == r->main) {
            return fetch;
        }
    }

    return NULL;
}


static ngx_int_t
ms_fetch_header_filter(ngx_http_request_t *r)
{
    if (ms_fetch_of(r) == NULL) {
        return ngx_http_next_header_filter(r);
    }

    r->header_sent = 1;
    r->filter_need_in_memory = 1;

    return NGX_OK;
}


static ngx_int_t
ms_fetch_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t  *b;
    ms_fetch_t  *fetch;

    fetch = ms_fetch_of(r);

    if (fetch == NULL) {
        return ngx_http_next_body_filter(r, in);
    }

    for ( /* void */ ; in; in = in->next) {
        b = in->buf;

        if (ngx_buf_in_memory(b) && !fetch->failed && !fetch->taken) {
            ms_fetch_append(fetch, b->pos, b->last - b->pos);
        }

        b->pos = b->last;
        b->file_pos = b->file_last;
    }

    return NGX_OK;
}


/* a failed fetch ends now and does not wait for the rest of the answer */

static void
ms_fetch_append(ms_fetch_t *fetch, u_char *data, size_t len)
{
    size_t   size;
    u_char  *p;

    if (len > MS_FETCH_MAX - fetch->len) {
        fetch->failed = "the answer is over 256 kB";
        ngx_post_event(&fetch->done, &ngx_posted_events);
        return;
    }

    if (fetch->len + len > fetch->size) {
        size = ngx_max(2 * fetch->size, fetch->len + len);
        size = ngx_max(size, 4096);

        p = realloc(fetch->text, size);

        if (p == NULL) {
            fetch->failed = "no memory";
            ngx_post_event(&fetch->done, &ngx_posted_events);
            return;
        }

        fetch->text = p;
        fetch->size = size;
    }

    ngx_memcpy(fetch->text + fetch->len, data, len);
    fetch->len += len;
}
