
/*
 * Fewer writes for HTTP/2.  A unary call costs nginx five writev(): header and
 * body to the instance, header, message and trailers to the client.  Here it
 * is two.
 *
 *   clients    a layer below HTTP/2 that holds small writes until the events
 *              at hand are processed, as nginx's TLS does with its buffer
 *   instances  a request waits for as long to see the body that came with
 *              its header, and both are sent at once
 *
 * Nothing is held while the worker waits for events, but for sockets that are
 * full: who holds something has posted the connection's write event.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "core/counts.h"


/* a few messages of 16 KB: to copy one costs less than to write it alone */
#define MS_COALESCE_SIZE   65536

/* buffers of a worker, in use or free: 4m; if one more is wanted, the oldest is
 * written */
#define MS_COALESCE_MAX    64

/* in c->buffered, with NGX_SSL_BUFFERED and NGX_HTTP_V2_BUFFERED */
#define MS_COALESCE_BUFFERED  0x08


typedef struct {
    ngx_flag_t                      enable;
} ms_coalesce_srv_conf_t;


#if (NGX_HTTP_V2)

/* of a client's connection, in its pool */

typedef struct {
    ngx_buf_t                       buf;         /* no memory if empty */
    ngx_queue_t                     queue;       /* of those with memory that
                                                    may be written */
    ngx_connection_t               *connection;
    ngx_send_chain_pt               send_chain;  /* of the layer below */
} ms_coalesce_t;


static ngx_int_t ms_coalesce_handler(ngx_http_request_t *r);
static void ms_coalesce_install(ngx_connection_t *c);
static ngx_int_t ms_coalesce_header_filter(ngx_http_request_t *r);
static void ms_coalesce_cleanup(void *data);
static ms_coalesce_t *ms_coalesce_get(ngx_connection_t *c);

static ngx_chain_t *ms_coalesce_send_chain(ngx_connection_t *c,
    ngx_chain_t *in, off_t limit);
static ngx_uint_t ms_coalesce_may_hold(ngx_connection_t *c,
    ms_coalesce_t *held, ngx_chain_t *in);
static void ms_coalesce_hold(ngx_connection_t *c, ms_coalesce_t *held,
    ngx_chain_t *in);
static ngx_chain_t *ms_coalesce_send(ngx_connection_t *c, ms_coalesce_t *held,
    ngx_chain_t *in, off_t limit);

static ngx_int_t ms_coalesce_alloc(ms_coalesce_t *held);
static void ms_coalesce_write(ms_coalesce_t *held);
static void ms_coalesce_free(ms_coalesce_t *held);

#endif

static void *ms_coalesce_create_srv_conf(ngx_conf_t *cf);
static char *ms_coalesce_merge_srv_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ms_coalesce_init(ngx_conf_t *cf);


static ngx_command_t  ms_coalesce_commands[] = {

    { ngx_string("myservice_coalesce"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ms_coalesce_srv_conf_t, enable),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_myservice_coalesce_module_ctx = {
    NULL,                                  /* preconfiguration */
    ms_coalesce_init,                      /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ms_coalesce_create_srv_conf,
                                           /* create server configuration */
    ms_coalesce_merge_srv_conf,
                                           /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_coalesce_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_coalesce_module_ctx,
                                           /* module context */
    ms_coalesce_commands,                  /* module directives */
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


#if (NGX_HTTP_V2)

/* of this worker; the first bytes of a free buffer point to the next one */

static u_char      *ms_coalesce_free_list;
static ngx_queue_t  ms_coalesce_queue = {       /* the oldest first */
    &ms_coalesce_queue, &ms_coalesce_queue
};
static ngx_uint_t   ms_coalesce_nheld;

static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


/*
 * Runs once per request, or twice: HEADERS are processed before the DATA that
 * the same read may have brought.  DATA of a request without a body reader
 * is kept by HTTP/2 (http2_body_preread_size).
 */

static ngx_int_t
ms_coalesce_handler(ngx_http_request_t *r)
{
    ms_coalesce_srv_conf_t  *cscf;

    if (r->stream == NULL || r != r->main) {
        return NGX_DECLINED;
    }

    if (ngx_http_get_module_ctx(r, ngx_http_myservice_coalesce_module)) {

        /* reset meanwhile: no need to bother an instance */

        return r->connection->error ? NGX_HTTP_CLIENT_CLOSED_REQUEST
                                    : NGX_DECLINED;
    }

    cscf = ngx_http_get_module_srv_conf(r, ngx_http_myservice_coalesce_module);

    if (!cscf->enable) {
        return NGX_DECLINED;
    }

    ms_coalesce_install(r->stream->connection->connection);

    if (r->stream->in_closed || r->request_body) {
        return NGX_DECLINED;
    }

    /* any pointer will do */

    ngx_http_set_ctx(r, cscf, ngx_http_myservice_coalesce_module);

    /* its handler is ngx_http_core_run_phases() */

    ngx_post_event(r->connection->write, &ngx_posted_events);

    return NGX_AGAIN;
}


/* without memory the connection goes on without this layer */

static void
ms_coalesce_install(ngx_connection_t *c)
{
    ngx_pool_cleanup_t  *cln;
    ms_coalesce_t       *held;

    if (c->send_chain == ms_coalesce_send_chain) {
        return;
    }

    cln = ngx_pool_cleanup_add(c->pool, sizeof(ms_coalesce_t));
    if (cln == NULL) {
        return;
    }

    held = cln->data;

    ngx_memzero(held, sizeof(ms_coalesce_t));
    held->connection = c;
    held->send_chain = c->send_chain;

    cln->handler = ms_coalesce_cleanup;
    c->send_chain = ms_coalesce_send_chain;
}


/*
 * nginx sets TCP_NODELAY for a request whose body it sends while that comes in,
 * but not for one that has all of it.  The second request on a connection would
 * wait for the instance to acknowledge what nginx wrote on its own account
 * before it, which takes an instance up to 40 ms.
 */

static ngx_int_t
ms_coalesce_header_filter(ngx_http_request_t *r)
{
    ngx_connection_t          *c;
    ngx_http_core_loc_conf_t  *clcf;
    ms_coalesce_srv_conf_t    *cscf;

    c = r->upstream ? r->upstream->peer.connection : NULL;

    if (r == r->main && c && c->tcp_nodelay == NGX_TCP_NODELAY_UNSET) {

        cscf = ngx_http_get_module_srv_conf(r,
                                           ngx_http_myservice_coalesce_module);
        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

        if (cscf->enable && clcf->tcp_nodelay) {

            /* a broken connection is noticed when it is used */

            (void) ngx_tcp_nodelay(c);
        }
    }

    return ngx_http_next_header_filter(r);
}


static void
ms_coalesce_cleanup(void *data)
{
    ms_coalesce_t  *held = data;

    ms_coalesce_free(held);
}


/* a connection has a handful of cleanups */

static ms_coalesce_t *
ms_coalesce_get(ngx_connection_t *c)
{
    ngx_pool_cleanup_t  *cln;

    cln = c->pool->cleanup;

    while (cln->handler != ms_coalesce_cleanup) {
        cln = cln->next;
    }

    return cln->data;
}


/*
 * As for every send_chain(): returns what was not taken of "in".  Without
 * "in" what is held goes out; HTTP/2 calls so while c->buffered is set.
 */

static ngx_chain_t *
ms_coalesce_send_chain(ngx_connection_t *c, ngx_chain_t *in, off_t limit)
{
    ms_coalesce_t  *held;

    held = ms_coalesce_get(c);

    if (in && ms_coalesce_may_hold(c, held, in)) {
        ms_coalesce_hold(c, held, in);
        return NULL;
    }

    return ms_coalesce_send(c, held, in, limit);
}


/*
 * Not when the connection is going to be closed, for nothing looks after the
 * buffer then; not behind what the posted event has failed to send, or is
 * about to; and not when the last frame of the only call, or a control frame
 * beside it, leaves nothing to wait for.
 */

static ngx_uint_t
ms_coalesce_may_hold(ngx_connection_t *c, ms_coalesce_t *held, ngx_chain_t *in)
{
    size_t                     size, room;
    ngx_buf_t                 *b;
    ngx_uint_t                 last;
    ngx_http_v2_connection_t  *h2c;

    b = &held->buf;
    h2c = c->data;

    if (h2c->goaway || c->close || c->error || !c->write->ready
        || (b->start && !c->write->posted))
    {
        return 0;
    }

    size = 0;
    last = 0;
    room = b->start ? (size_t) (b->end - b->last) : MS_COALESCE_SIZE;

    for ( /* void */ ; in; in = in->next) {

        if (in->buf->in_file) {
            return 0;
        }

        size += in->buf->last - in->buf->pos;

        if (size > room) {
            return 0;
        }

        last = in->buf->last_buf;
    }

    if (last && h2c->processing <= 1) {
        return 0;
    }

    return b->start || ms_coalesce_alloc(held) == NGX_OK;
}


static void
ms_coalesce_hold(ngx_connection_t *c, ms_coalesce_t *held, ngx_chain_t *in)
{
    ngx_buf_t  *b;

    b = &held->buf;

    if (b->pos != b->last) {
        ms_counts_add(&ms_gateway_counts->coalesced, 1);
    }

    for ( /* void */ ; in; in = in->next) {

        if (ngx_buf_special(in->buf)) {
            continue;
        }

        b->last = ngx_cpymem(b->last, in->buf->pos,
                             in->buf->last - in->buf->pos);
        in->buf->pos = in->buf->last;
    }

    if (b->pos == b->last) {
        ms_coalesce_free(held);
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "myservice coalesce: %uz bytes held", b->last - b->pos);

    c->buffered |= MS_COALESCE_BUFFERED;

    if (!c->write->posted) {
        ngx_post_event(c->write, &ngx_posted_events);
    }
}


static ngx_chain_t *
ms_coalesce_send(ngx_connection_t *c, ms_coalesce_t *held, ngx_chain_t *in,
    off_t limit)
{
    ngx_chain_t  *cl, head;

    if (held->buf.start == NULL) {
        return held->send_chain(c, in, limit);
    }

    if (in) {
        ms_counts_add(&ms_gateway_counts->coalesced, 1);
    }

    head.buf = &held->buf;
    head.next = in;

    cl = held->send_chain(c, &head, limit);

    if (cl == NGX_CHAIN_ERROR || cl == &head) {

        /* no other connection has to try it again */

        ngx_queue_remove(&held->queue);
        ngx_queue_init(&held->queue);

        /* the socket is full; HTTP/2 comes back when it is writable */

        return cl == &head ? in : cl;
    }

    ms_coalesce_free(held);
    c->buffered &= ~MS_COALESCE_BUFFERED;

    return cl;
}


/*
 * A thousand clients that are answered in one turn shall not take a buffer
 * each: these lie between what the calls keep, and their memory with them.
 * The posted event of the oldest finds it written, or what has become of it.
 */

static ngx_int_t
ms_coalesce_alloc(ms_coalesce_t *held)
{
    u_char         *p;
    ngx_buf_t      *b;
    ms_coalesce_t  *oldest;

    if (ms_coalesce_nheld == MS_COALESCE_MAX) {

        if (!ngx_queue_empty(&ms_coalesce_queue)) {
            oldest = ngx_queue_data(ngx_queue_head(&ms_coalesce_queue),
                                    ms_coalesce_t, queue);
            ms_coalesce_write(oldest);
        }

        if (ms_coalesce_nheld == MS_COALESCE_MAX) {
            return NGX_DECLINED;
        }
    }

    p = ms_coalesce_free_list;

    if (p) {
        ms_coalesce_free_list = *(u_char **) p;

    } else {
        p = ngx_alloc(MS_COALESCE_SIZE, held->connection->log);
        if (p == NULL) {
            return NGX_ERROR;
        }
    }

    b = &held->buf;

    b->start = p;
    b->pos = p;
    b->last = p;
    b->end = p + MS_COALESCE_SIZE;

    b->temporary = 1;

    /* TLS shall not hold it once more */

    b->flush = 1;

    ngx_queue_insert_tail(&ms_coalesce_queue, &held->queue);
    ms_coalesce_nheld++;

    return NGX_OK;
}


/*
 * What another connection holds.  Its posted event finds an error again, but
 * nothing that watches a socket: HTTP/2 does not write to one that is full, and
 * trusts that whoever found it full waits for it.
 */

static void
ms_coalesce_write(ms_coalesce_t *held)
{
    ngx_event_t               *wev;
    ngx_connection_t          *c;
    ngx_http_v2_connection_t  *h2c;
    ngx_http_core_loc_conf_t  *clcf;

    c = held->connection;
    wev = c->write;
    h2c = c->data;

    (void) ms_coalesce_send(c, held, NULL, 0);

    if (wev->ready) {
        return;
    }

    clcf = ngx_http_get_module_loc_conf(h2c->http_connection->conf_ctx,
                                        ngx_http_core_module);

    if (ngx_handle_write_event(wev, clcf->send_lowat) != NGX_OK) {
        c->error = 1;
        return;
    }

    ngx_add_timer(wev, clcf->send_timeout);
}


static void
ms_coalesce_free(ms_coalesce_t *held)
{
    ngx_buf_t  *b;

    b = &held->buf;

    if (b->start == NULL) {
        return;
    }

    ngx_queue_remove(&held->queue);
    ms_coalesce_nheld--;

#if (NGX_DEBUG_PALLOC)

    ngx_free(b->start);

#else

    /* there are never more than MS_COALESCE_MAX of them */

    *(u_char **) b->start = ms_coalesce_free_list;
    ms_coalesce_free_list = b->start;

#endif

    ngx_memzero(b, sizeof(ngx_buf_t));
}

#endif


static void *
ms_coalesce_create_srv_conf(ngx_conf_t *cf)
{
    ms_coalesce_srv_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ms_coalesce_srv_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->enable = NGX_CONF_UNSET;

    return conf;
}


static char *
ms_coalesce_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ms_coalesce_srv_conf_t  *prev = parent;
    ms_coalesce_srv_conf_t  *conf = child;

    ngx_conf_merge_value(conf->enable, prev->enable, 0);

    return NGX_CONF_OK;
}


static ngx_int_t
ms_coalesce_init(ngx_conf_t *cf)
{
#if (NGX_HTTP_V2)

    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PREACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ms_coalesce_handler;

    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ms_coalesce_header_filter;

#endif

    return NGX_OK;
}
