
/* grpc.health.v1.Health/Watch: a timer per stream, a message per change. */

#include "operator/watch.h"

#include "answers/errors.h"
#include "core/grpc.h"


/* how often a Watch looks, in milliseconds */
#define MS_WATCH_TICK  1000

/* Watches of a connection, and of a worker */
#define MS_WATCH_EACH  16
#define MS_WATCH_ALL   1024


typedef struct {
    ngx_event_t         timer;
    ngx_queue_t         queue;                    /* of this worker's */
    ngx_connection_t   *connection;                   /* of the client */
    ngx_chain_t        *free;
    ngx_chain_t        *busy;
    ms_health_status_t  sent;
    ms_watch_status_pt  status;
} ms_watch_ctx_t;


static ngx_connection_t *ms_watch_connection(ngx_http_request_t *r);
static void ms_watch_tick(ngx_event_t *ev);
static void ms_watch_update(ngx_http_request_t *r);
static ngx_chain_t *ms_watch_message(ngx_http_request_t *r,
    ms_watch_ctx_t *ctx, ms_health_status_t status);
static void ms_watch_send(ngx_http_request_t *r, ngx_chain_t *out);
static void ms_watch_writer(ngx_http_request_t *r);
static void ms_watch_end(ngx_http_request_t *r);
static void ms_watch_cleanup(void *data);


/* of this worker */

static ngx_queue_t  ms_watches;
static ngx_uint_t   ms_watch_n;


static ngx_str_t  ms_watch_exiting = ngx_string("gateway is shutting down");


ngx_uint_t
ms_watch_allowed(ngx_http_request_t *r)
{
    ngx_uint_t         n;
    ngx_queue_t       *q;
    ngx_connection_t  *c;
    ms_watch_ctx_t    *ctx;

    if (ms_watch_n == 0) {
        ngx_queue_init(&ms_watches);
        return 1;
    }

    if (ms_watch_n == MS_WATCH_ALL) {
        return 0;
    }

    n = 0;
    c = ms_watch_connection(r);

    for (q = ngx_queue_head(&ms_watches);
         q != ngx_queue_sentinel(&ms_watches);
         q = ngx_queue_next(q))
    {
        ctx = ngx_queue_data(q, ms_watch_ctx_t, queue);
        n += ctx->connection == c;
    }

    return n < MS_WATCH_EACH;
}


static ngx_connection_t *
ms_watch_connection(ngx_http_request_t *r)
{
#if (NGX_HTTP_V2)

    if (r->stream) {
        return r->stream->connection->connection;
    }

#endif

    return r->connection;
}


ngx_int_t
ms_watch(ngx_http_request_t *r, ms_watch_status_pt status)
{
    ngx_int_t            rc;
    ngx_pool_cleanup_t  *cln;
    ms_watch_ctx_t      *ctx;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ms_watch_ctx_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ms_watch_ctx_t));

    ctx->timer.handler = ms_watch_tick;
    ctx->timer.data = r->connection;
    ctx->timer.log = r->connection->log;
    ctx->status = status;

    ctx->connection = ms_watch_connection(r);

    ngx_queue_insert_tail(&ms_watches, &ctx->queue);
    ms_watch_n++;

    cln->handler = ms_watch_cleanup;
    ngx_http_set_ctx(r, ctx, ngx_http_myservice_gateway_module);

    rc = ms_grpc_send_header(r);

    if (rc != NGX_OK) {
        return rc;
    }

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ms_watch_writer;

    ngx_add_timer(&ctx->timer, MS_WATCH_TICK);

    ms_watch_update(r);

    return NGX_DONE;
}


static void
ms_watch_tick(ngx_event_t *ev)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = ev->data;
    r = c->data;

    ngx_http_set_log_request(c->log, r);

    if (ngx_exiting || ngx_terminate) {
        ms_watch_end(r);

    } else {
        ngx_add_timer(ev, MS_WATCH_TICK);
        ms_watch_update(r);
    }

    ngx_http_run_posted_requests(c);
}


/* a client that does not read gets the newest status when it does */

static void
ms_watch_update(ngx_http_request_t *r)
{
    ngx_chain_t        *out;
    ms_health_status_t  status;
    ms_watch_ctx_t     *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_myservice_gateway_module);

    status = ctx->status(r);

    if (status == ctx->sent || ctx->busy) {
        return;
    }

    out = ms_watch_message(r, ctx, status);

    if (out == NULL) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    ctx->sent = status;
    ms_watch_send(r, out);
}


static ngx_chain_t *
ms_watch_message(ngx_http_request_t *r, ms_watch_ctx_t *ctx,
    ms_health_status_t status)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    cl = ngx_chain_get_free_buf(r->pool, &ctx->free);
    if (cl == NULL) {
        return NULL;
    }

    b = cl->buf;

    if (b->start == NULL) {
        b->start = ngx_pnalloc(r->pool, MS_HEALTH_RESPONSE_MAX);
        if (b->start == NULL) {
            return NULL;
        }

        b->end = b->start + MS_HEALTH_RESPONSE_MAX;
        b->temporary = 1;
        b->flush = 1;
        b->tag = (ngx_buf_tag_t) &ngx_http_myservice_gateway_module;
    }

    b->pos = b->start;
    b->last = b->start + ms_health_response_write(b->start, status);

    return cl;
}


static void
ms_watch_send(ngx_http_request_t *r, ngx_chain_t *out)
{
    ngx_event_t               *wev;
    ngx_http_core_loc_conf_t  *clcf;
    ms_watch_ctx_t            *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_myservice_gateway_module);
    wev = r->connection->write;

    if (ngx_http_output_filter(r, out) == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    ngx_chain_update_chains(r->pool, &ctx->free, &ctx->busy, &out,
                        (ngx_buf_tag_t) &ngx_http_myservice_gateway_module);

    if (r->buffered || r->connection->buffered) {
        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
        ngx_add_timer(wev, clcf->send_timeout);

    } else if (wev->timer_set) {
        ngx_del_timer(wev);
    }
}


static void
ms_watch_writer(ngx_http_request_t *r)
{
    ngx_connection_t  *c;

    c = r->connection;

    if (c->write->timedout) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "client timed out");
        c->timedout = 1;

        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (c->error) {
        ngx_http_finalize_request(r, NGX_HTTP_CLIENT_CLOSED_REQUEST);
        return;
    }

    ms_watch_send(r, NULL);
}


/* a Watch must not keep an old worker alive after a reload */

static void
ms_watch_end(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    rc = ms_errors_set(r, MS_GRPC_UNAVAILABLE, &ms_watch_exiting);

    if (rc == NGX_OK) {
        rc = ms_errors_end_stream(r);
    }

    ngx_http_finalize_request(r, rc);
}


static void
ms_watch_cleanup(void *data)
{
    ms_watch_ctx_t  *ctx = data;

    ngx_queue_remove(&ctx->queue);
    ms_watch_n--;

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }
}
