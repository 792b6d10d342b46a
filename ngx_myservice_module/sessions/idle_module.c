
/*
 * Calls whose client does nothing.  nginx ends them with a bare RST_STREAM of
 * PROTOCOL_ERROR, past all filters.
 *
 *   client_body_timeout  ends the call here, just before, with a status
 *   send_timeout         the client reads no status: it gets CANCEL, and the
 *                        log tells the rest
 */

#include "answers/errors.h"
#include "core/context.h"
#include "core/grpc.h"
#include "core/log.h"
#include "sessions/call_context.h"
#include "sessions/deadline.h"


/* timers that come due in the same turn of the loop run in their order */
#define MS_IDLE_AHEAD  5

/* RFC 9113 sections 6.4, 7 */
#define MS_IDLE_RST_SIZE  4
#define MS_IDLE_CANCEL    0x8


typedef struct {
    ngx_event_t                 timer;     /* client_body_timeout */
    ngx_msec_t                  since;     /* the client reads nothing */
    off_t                       sent;      /* until then */
    unsigned                    blocked:1;
} ms_idle_ctx_t;


static void ms_idle_cleanup(void *data);
static ngx_int_t ms_idle_handler(ngx_http_request_t *r);
static void ms_idle_timer(ngx_event_t *ev);
#if (NGX_HTTP_V2)
static void ms_idle_end(ngx_http_request_t *r, ms_call_t *call);
static void ms_idle_event(ngx_event_t *ev);
static ngx_uint_t ms_idle_covers(ngx_http_request_t *r);
static ngx_int_t ms_idle_body_filter(ngx_http_request_t *r, ngx_chain_t *in);
static ngx_int_t ms_idle_cancel(ngx_http_v2_stream_t *stream);
static ngx_int_t ms_idle_sent(ngx_http_v2_connection_t *h2c,
    ngx_http_v2_out_frame_t *frame);
#endif
static ngx_int_t ms_idle_init(ngx_conf_t *cf);


static ngx_str_t  ms_idle =
    ngx_string("the client sent nothing for client_body_timeout");

#if (NGX_HTTP_V2)

static ngx_str_t  ms_idle_unread =
    ngx_string("the client read nothing for send_timeout");

/* ngx_http_request_handler() */
static ngx_event_handler_pt  ms_idle_next;

static ngx_http_output_body_filter_pt  ngx_http_next_body_filter;

#endif


static ngx_http_module_t  ngx_http_myservice_idle_module_ctx = {
    NULL,                                  /* preconfiguration */
    ms_idle_init,                          /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_idle_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_idle_module_ctx,   /* module context */
    NULL,                                  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ms_idle_handler(ngx_http_request_t *r)
{
#if (NGX_HTTP_V2)

    ngx_event_t               *ev;
    ngx_connection_t          *c;
    ngx_http_core_loc_conf_t  *clcf;
    ms_idle_ctx_t             *ctx;

    if (r != r->main || r->stream == NULL) {
        return NGX_DECLINED;
    }

    c = r->connection;

    if (c->write->handler != ms_idle_event) {
        ms_idle_next = c->write->handler;
        c->write->handler = ms_idle_event;
        c->read->handler = ms_idle_event;
    }

    /* nginx has no further limit for a request that has arrived completely */

    if (r->stream->in_closed
        || !ms_grpc_is(r)
        || ms_context_find(r, &ngx_http_myservice_idle_module))
    {
        return NGX_DECLINED;
    }

    ctx = ms_context_make(r, &ngx_http_myservice_idle_module,
                          sizeof(ms_idle_ctx_t), ms_idle_cleanup);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ev = &ctx->timer;
    ev->handler = ms_idle_timer;
    ev->data = r;
    ev->log = c->log;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    ngx_add_timer(ev, ngx_max(clcf->client_body_timeout,
                              MS_IDLE_AHEAD)
                      - MS_IDLE_AHEAD);

#endif

    return NGX_DECLINED;
}


static void
ms_idle_cleanup(void *data)
{
    ms_idle_ctx_t *ctx = data;

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }
}


static void
ms_idle_timer(ngx_event_t *ev)
{
#if (NGX_HTTP_V2)

    ngx_event_t               *rev;
    ngx_msec_int_t             left;
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;
    ms_call_t                 *call;

    r = ev->data;
    c = r->connection;
    rev = c->read;

    if (r->stream == NULL || r->stream->in_closed) {
        return;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    left = clcf->client_body_timeout;

    /* nginx does not count the time in which the client may not send */

    if (rev->timer_set && r->request_body && r->stream->recv_window) {
        left = (ngx_msec_int_t) (rev->timer.key - ngx_current_msec);
    }

    if (left > MS_IDLE_AHEAD) {
        ngx_add_timer(ev, left - MS_IDLE_AHEAD);
        return;
    }

    call = ms_call_get(r);

    if (call == NULL && !ms_errors_enabled(r)) {
        return;
    }

    ngx_http_set_log_request(c->log, r);

    ms_log_error(NGX_LOG_INFO, c->log, 0, "call ends: %V", &ms_idle);

    ms_idle_end(r, call);

#endif
}


#if (NGX_HTTP_V2)

static void
ms_idle_end(ngx_http_request_t *r, ms_call_t *call)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    if (r->upstream == NULL || r->upstream->cleanup == NULL) {

        /* the gateway waits for the client's body */

        c = r->connection;
        rc = ms_errors_refuse(r, MS_GRPC_UNAVAILABLE, &ms_idle);
        if (rc != NGX_DONE) {
            ngx_http_finalize_request(r, rc);
        }

        ngx_http_run_posted_requests(c);
        return;
    }

    if (call) {
        ms_deadline_abort(call, MS_GRPC_UNAVAILABLE, &ms_idle);
        return;
    }

    if (ms_errors_set(r, MS_GRPC_UNAVAILABLE, &ms_idle) == NGX_OK) {
        ms_deadline_interrupt(r);
    }
}


static ngx_uint_t
ms_idle_covers(ngx_http_request_t *r)
{
    return ms_grpc_is(r) && (ms_errors_enabled(r) || ms_call_get(r));
}


static void
ms_idle_event(ngx_event_t *ev)
{
    ngx_uint_t           closed;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = ev->data;
    r = c->data;
    r = r->main;

    /* the connection has the same limit, and tells its streams that it ends */

    closed = r->stream->connection->connection->write->timedout;

    if ((!closed && (!ev->write || !ev->timedout || ev->delayed))
        || !ms_idle_covers(r)
        || ms_errors_set(r, MS_GRPC_CANCELLED,
                         &ms_idle_unread)
           != NGX_OK
        || (!closed && ms_idle_cancel(r->stream) != NGX_OK))
    {
        ms_idle_next(ev);
        return;
    }

    ngx_http_set_log_request(c->log, r);

    ngx_log_error(NGX_LOG_INFO, c->log, 0, "call ends: %V", &ms_idle_unread);

    /*
     * the upstream's cleanup drops its reference and must not free the request
     */

    r->count++;

    /* without c->timedout: the connection of its neighbours stays */

    ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
    ngx_http_run_posted_requests(c);
}


/*
 * nginx waits anew whenever the instance says something, until its buffer is
 * full.
 */

static ngx_int_t
ms_idle_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_int_t                  rc;
    ngx_event_t               *wev;
    ngx_connection_t          *c;
    ngx_http_core_loc_conf_t  *clcf;
    ms_idle_ctx_t             *ctx;

    rc = ngx_http_next_body_filter(r, in);

    if (rc != NGX_AGAIN || r != r->main || r->stream == NULL
        || !ms_idle_covers(r))
    {
        return rc;
    }

    c = r->connection;
    wev = c->write;

    ctx = ms_context_make(r, &ngx_http_myservice_idle_module,
                          sizeof(ms_idle_ctx_t), ms_idle_cleanup);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    if (!ctx->blocked || ctx->sent != c->sent || wev->delayed) {
        ctx->blocked = 1;
        ctx->since = ngx_current_msec;
        ctx->sent = c->sent;
        return NGX_AGAIN;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (ngx_current_msec - ctx->since >= clcf->send_timeout) {
        wev->timedout = 1;
        ngx_post_event(wev, &ngx_posted_events);
    }

    return NGX_AGAIN;
}


/* nginx sends no RST_STREAM after one */

static ngx_int_t
ms_idle_cancel(ngx_http_v2_stream_t *stream)
{
    ngx_buf_t                 *b;
    ngx_chain_t               *cl;
    ngx_http_v2_out_frame_t   *frame;
    ngx_http_v2_connection_t  *h2c;

    if (stream->rst_sent) {
        return NGX_OK;
    }

    h2c = stream->connection;

    frame = ngx_pcalloc(h2c->pool, sizeof(ngx_http_v2_out_frame_t));
    cl = ngx_alloc_chain_link(h2c->pool);
    b = ngx_create_temp_buf(h2c->pool, NGX_HTTP_V2_FRAME_HEADER_SIZE
                                       + MS_IDLE_RST_SIZE);

    if (frame == NULL || cl == NULL || b == NULL) {
        return NGX_ERROR;
    }

    b->last = ngx_http_v2_write_len_and_type(b->last, MS_IDLE_RST_SIZE,
                                             NGX_HTTP_V2_RST_STREAM_FRAME);
    *b->last++ = NGX_HTTP_V2_NO_FLAG;
    b->last = ngx_http_v2_write_sid(b->last, stream->node->id);
    b->last = ngx_http_v2_write_uint32(b->last, MS_IDLE_CANCEL);
    b->last_buf = 1;

    cl->buf = b;
    cl->next = NULL;

    frame->first = cl;
    frame->last = cl;
    frame->handler = ms_idle_sent;
    frame->length = MS_IDLE_RST_SIZE;

    ngx_http_v2_queue_blocked_frame(h2c, frame);
    ngx_post_event(h2c->connection->write, &ngx_posted_events);

    stream->rst_sent = 1;

    return NGX_OK;
}


static ngx_int_t
ms_idle_sent(ngx_http_v2_connection_t *h2c, ngx_http_v2_out_frame_t *frame)
{
    if (frame->first->buf->pos != frame->first->buf->last) {
        return NGX_AGAIN;
    }

    h2c->total_bytes += NGX_HTTP_V2_FRAME_HEADER_SIZE + frame->length;

    return NGX_OK;
}

#endif


static ngx_int_t
ms_idle_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PREACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ms_idle_handler;

#if (NGX_HTTP_V2)

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ms_idle_body_filter;

#endif

    return NGX_OK;
}
