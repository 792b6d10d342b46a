
/*
 * The gateway's own health (grpc.health.v1.Health), answered here: SERVING
 * while at least one instance of an upstream with sessions is up.
 * https://github.com/grpc/grpc/blob/master/doc/health-checking.md
 */

#include "ngx_http_myservice_module.h"
#include "ngx_http_myservice_sessions.h"

#include "health_message.h"


/* larger requests are refused while they come in */
#define NGX_HTTP_MYSERVICE_GATEWAY_BODY  1024

/* how often a Watch looks, in milliseconds */
#define NGX_HTTP_MYSERVICE_GATEWAY_TICK  1000


typedef struct {
    ngx_str_t                    upstream;
    ngx_array_t                 *services;      /* ngx_str_t */
    ngx_http_myservice_zone_t   *zone;
} ngx_http_myservice_gateway_loc_conf_t;


/* of a Watch */

typedef struct {
    ngx_event_t                  timer;
    ngx_chain_t                 *free;
    ngx_chain_t                 *busy;
    ms_health_status_t           sent;
    unsigned                     known:1;       /* the service */
} ngx_http_myservice_gateway_ctx_t;


typedef struct {
    ngx_uint_t                   code;
    ngx_str_t                    message;
} ngx_http_myservice_gateway_error_t;


static ngx_int_t ngx_http_myservice_gateway_handler(ngx_http_request_t *r);
static ngx_uint_t ngx_http_myservice_gateway_is(ngx_http_request_t *r,
    ngx_str_t *uri);
static void ngx_http_myservice_gateway_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_myservice_gateway_read(ngx_http_request_t *r,
    ngx_str_t *service);
static void ngx_http_myservice_gateway_refuse(ngx_http_request_t *r,
    ngx_uint_t code, ngx_str_t *message);
static ngx_uint_t ngx_http_myservice_gateway_known(ngx_http_request_t *r,
    ngx_str_t *service);
static ms_health_status_t ngx_http_myservice_gateway_status(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_myservice_gateway_header(ngx_http_request_t *r);
static ngx_int_t ngx_http_myservice_gateway_check(ngx_http_request_t *r);

static ngx_int_t ngx_http_myservice_gateway_watch(ngx_http_request_t *r,
    ngx_uint_t known);
static void ngx_http_myservice_gateway_tick(ngx_event_t *ev);
static void ngx_http_myservice_gateway_update(ngx_http_request_t *r);
static ngx_chain_t *ngx_http_myservice_gateway_message(ngx_http_request_t *r,
    ngx_http_myservice_gateway_ctx_t *ctx, ms_health_status_t status);
static void ngx_http_myservice_gateway_send(ngx_http_request_t *r,
    ngx_chain_t *out);
static void ngx_http_myservice_gateway_writer(ngx_http_request_t *r);
static void ngx_http_myservice_gateway_end(ngx_http_request_t *r);
static void ngx_http_myservice_gateway_cleanup(void *data);

static void *ngx_http_myservice_gateway_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_myservice_gateway_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static ngx_http_myservice_zone_t *ngx_http_myservice_gateway_zone(
    ngx_conf_t *cf, ngx_str_t *upstream);
static char *ngx_http_myservice_gateway_health(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);


static ngx_command_t  ngx_http_myservice_gateway_commands[] = {

    { ngx_string("myservice_gateway_health"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_myservice_gateway_health,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_myservice_gateway_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_myservice_gateway_create_loc_conf,
                                           /* create location configuration */
    ngx_http_myservice_gateway_merge_loc_conf
                                           /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_gateway_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_gateway_module_ctx, /* module context */
    ngx_http_myservice_gateway_commands,   /* module directives */
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


static ngx_str_t  ngx_http_myservice_gateway_check_uri =
    ngx_string("/grpc.health.v1.Health/Check");
static ngx_str_t  ngx_http_myservice_gateway_watch_uri =
    ngx_string("/grpc.health.v1.Health/Watch");

static ngx_str_t  ngx_http_myservice_gateway_unknown =
    ngx_string("unknown service");
static ngx_str_t  ngx_http_myservice_gateway_exiting =
    ngx_string("gateway is shutting down");


/* by ms_health_request_t */

static ngx_http_myservice_gateway_error_t
    ngx_http_myservice_gateway_errors[] =
{
    { NGX_HTTP_MYSERVICE_OK, ngx_null_string },
    { NGX_HTTP_MYSERVICE_INTERNAL, ngx_string("missing request message") },
    { NGX_HTTP_MYSERVICE_UNIMPLEMENTED,
      ngx_string("compressed requests are not supported") },
    { NGX_HTTP_MYSERVICE_INTERNAL,
      ngx_string("failed to parse request message") }
};


static ngx_int_t
ngx_http_myservice_gateway_handler(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    if (r->method != NGX_HTTP_POST) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    if (r != r->main || !ngx_http_myservice_is_grpc(r)) {
        return NGX_HTTP_UNSUPPORTED_MEDIA_TYPE;
    }

    if (!ngx_http_myservice_gateway_is(r,
                                       &ngx_http_myservice_gateway_check_uri)
        && !ngx_http_myservice_gateway_is(r,
                                       &ngx_http_myservice_gateway_watch_uri))
    {
        return NGX_HTTP_NOT_FOUND;
    }

    r->request_body_in_file_only = 0;

    rc = ngx_http_read_client_request_body(r, ngx_http_myservice_gateway_body);

    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}


static ngx_uint_t
ngx_http_myservice_gateway_is(ngx_http_request_t *r, ngx_str_t *uri)
{
    return r->uri.len == uri->len
           && ngx_memcmp(r->uri.data, uri->data, uri->len) == 0;
}


static void
ngx_http_myservice_gateway_body(ngx_http_request_t *r)
{
    ngx_int_t                            rc;
    ngx_str_t                            service;
    ngx_uint_t                           known;
    ngx_http_myservice_gateway_error_t  *error;

    rc = ngx_http_myservice_gateway_read(r, &service);

    if (rc == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    if (rc != MS_HEALTH_REQUEST_OK) {
        error = &ngx_http_myservice_gateway_errors[rc];
        ngx_http_myservice_gateway_refuse(r, error->code, &error->message);
        return;
    }

    known = ngx_http_myservice_gateway_known(r, &service);

    if (ngx_http_myservice_gateway_is(r,
                                      &ngx_http_myservice_gateway_watch_uri))
    {
        rc = ngx_http_myservice_gateway_watch(r, known);

        if (rc != NGX_DONE) {
            ngx_http_finalize_request(r, rc);
        }

        return;
    }

    if (!known) {
        ngx_http_myservice_gateway_refuse(r, NGX_HTTP_MYSERVICE_NOT_FOUND,
                                         &ngx_http_myservice_gateway_unknown);
        return;
    }

    ngx_http_finalize_request(r, ngx_http_myservice_gateway_check(r));
}


/* NGX_ERROR or ms_health_request_t */

static ngx_int_t
ngx_http_myservice_gateway_read(ngx_http_request_t *r, ngx_str_t *service)
{
    size_t                len;
    u_char               *p;
    ngx_chain_t          *cl;
    const uint8_t        *name;
    ms_health_request_t   result;

    len = 0;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {

        if (cl->buf->in_file) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "request to \"myservice_gateway_health\" is in a "
                          "file");
            return NGX_ERROR;
        }

        len += cl->buf->last - cl->buf->pos;
    }

    p = ngx_pnalloc(r->pool, len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    len = 0;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        ngx_memcpy(&p[len], cl->buf->pos, cl->buf->last - cl->buf->pos);
        len += cl->buf->last - cl->buf->pos;
    }

    result = ms_health_request_parse(p, len, &name, &service->len);

    if (result == MS_HEALTH_REQUEST_OK) {
        service->data = (u_char *) name;
    }

    return result;
}


static void
ngx_http_myservice_gateway_refuse(ngx_http_request_t *r, ngx_uint_t code,
    ngx_str_t *message)
{
    ngx_int_t  rc;

    rc = ngx_http_myservice_refuse(r, code, message);

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }
}


static ngx_uint_t
ngx_http_myservice_gateway_known(ngx_http_request_t *r, ngx_str_t *service)
{
    ngx_str_t                              *name;
    ngx_uint_t                              i;
    ngx_http_myservice_gateway_loc_conf_t  *glcf;

    if (service->len == 0) {
        return 1;
    }

    glcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_gateway_module);
    name = glcf->services->elts;

    for (i = 0; i < glcf->services->nelts; i++) {

        if (name[i].len == service->len
            && ngx_memcmp(name[i].data, service->data, service->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ms_health_status_t
ngx_http_myservice_gateway_status(ngx_http_request_t *r)
{
    uint32_t                                n;
    ngx_http_myservice_zone_stats_t         stats;
    ngx_http_myservice_gateway_loc_conf_t  *glcf;

    glcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_gateway_module);

    ngx_http_myservice_zone_stats(glcf->zone, &stats, r->connection->log);

    n = stats.states[MS_INSTANCE_FREE] + stats.states[MS_INSTANCE_TENTATIVE]
        + stats.states[MS_INSTANCE_LEASED]
        + stats.states[MS_INSTANCE_DRAINING];

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "myservice gateway health: %uD instances of \"%V\" are up",
                   n, &glcf->upstream);

    return n ? MS_HEALTH_SERVING : MS_HEALTH_NOT_SERVING;
}


static ngx_int_t
ngx_http_myservice_gateway_header(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    r->headers_out.status = NGX_HTTP_OK;
    ngx_str_set(&r->headers_out.content_type, "application/grpc");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;
    ngx_http_clear_content_length(r);

    r->expect_trailers = 1;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc == NGX_OK ? NGX_ERROR : rc;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_myservice_gateway_check(ngx_http_request_t *r)
{
    ngx_int_t    rc;
    ngx_buf_t   *b;
    ngx_str_t    message;
    ngx_chain_t  out;

    b = ngx_create_temp_buf(r->pool, MS_HEALTH_RESPONSE_MAX);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last += ms_health_response_write(b->last,
                                        ngx_http_myservice_gateway_status(r));
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    ngx_str_null(&message);

    if (ngx_http_myservice_add_status(r, &r->headers_out.trailers,
                                      NGX_HTTP_MYSERVICE_OK, &message)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_myservice_gateway_header(r);

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_output_filter(r, &out);
}


/* NGX_DONE: the request goes on until the client cancels it */

static ngx_int_t
ngx_http_myservice_gateway_watch(ngx_http_request_t *r, ngx_uint_t known)
{
    ngx_int_t                          rc;
    ngx_pool_cleanup_t                *cln;
    ngx_http_myservice_gateway_ctx_t  *ctx;

    cln = ngx_pool_cleanup_add(r->pool,
                               sizeof(ngx_http_myservice_gateway_ctx_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_http_myservice_gateway_ctx_t));

    ctx->timer.handler = ngx_http_myservice_gateway_tick;
    ctx->timer.data = r->connection;
    ctx->timer.log = r->connection->log;
    ctx->known = known;

    cln->handler = ngx_http_myservice_gateway_cleanup;
    ngx_http_set_ctx(r, ctx, ngx_http_myservice_gateway_module);

    rc = ngx_http_myservice_gateway_header(r);

    if (rc != NGX_OK) {
        return rc;
    }

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_myservice_gateway_writer;

    ngx_add_timer(&ctx->timer, NGX_HTTP_MYSERVICE_GATEWAY_TICK);

    ngx_http_myservice_gateway_update(r);

    return NGX_DONE;
}


static void
ngx_http_myservice_gateway_tick(ngx_event_t *ev)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = ev->data;
    r = c->data;

    ngx_http_set_log_request(c->log, r);

    if (ngx_exiting || ngx_terminate) {
        ngx_http_myservice_gateway_end(r);

    } else {
        ngx_add_timer(ev, NGX_HTTP_MYSERVICE_GATEWAY_TICK);
        ngx_http_myservice_gateway_update(r);
    }

    ngx_http_run_posted_requests(c);
}


/* a client that does not read gets the newest status when it does */

static void
ngx_http_myservice_gateway_update(ngx_http_request_t *r)
{
    ngx_chain_t                       *out;
    ms_health_status_t                 status;
    ngx_http_myservice_gateway_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_myservice_gateway_module);

    status = ctx->known ? ngx_http_myservice_gateway_status(r)
                        : MS_HEALTH_SERVICE_UNKNOWN;

    if (status == ctx->sent || ctx->busy) {
        return;
    }

    out = ngx_http_myservice_gateway_message(r, ctx, status);

    if (out == NULL) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    ctx->sent = status;
    ngx_http_myservice_gateway_send(r, out);
}


static ngx_chain_t *
ngx_http_myservice_gateway_message(ngx_http_request_t *r,
    ngx_http_myservice_gateway_ctx_t *ctx, ms_health_status_t status)
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
ngx_http_myservice_gateway_send(ngx_http_request_t *r, ngx_chain_t *out)
{
    ngx_event_t                       *wev;
    ngx_http_core_loc_conf_t          *clcf;
    ngx_http_myservice_gateway_ctx_t  *ctx;

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
ngx_http_myservice_gateway_writer(ngx_http_request_t *r)
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

    ngx_http_myservice_gateway_send(r, NULL);
}


/* else the Watch would keep the old worker after a reload */

static void
ngx_http_myservice_gateway_end(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    rc = ngx_http_myservice_set_status(r, NGX_HTTP_MYSERVICE_UNAVAILABLE,
                                       &ngx_http_myservice_gateway_exiting);

    if (rc == NGX_OK) {
        rc = ngx_http_myservice_end_stream(r);
    }

    ngx_http_finalize_request(r, rc);
}


static void
ngx_http_myservice_gateway_cleanup(void *data)
{
    ngx_http_myservice_gateway_ctx_t  *ctx = data;

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }
}


static void *
ngx_http_myservice_gateway_create_loc_conf(ngx_conf_t *cf)
{
    /*
     * set by ngx_pcalloc():
     *
     *     conf->upstream = { 0, NULL };
     *     conf->services = NULL;
     *     conf->zone = NULL;
     */

    return ngx_pcalloc(cf->pool,
                       sizeof(ngx_http_myservice_gateway_loc_conf_t));
}


/* not inherited, as the content handler is not; all upstreams are known now */

static char *
ngx_http_myservice_gateway_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_myservice_gateway_loc_conf_t  *conf = child;

    ngx_http_core_loc_conf_t  *clcf;

    if (conf->upstream.len == 0) {
        return NGX_CONF_OK;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler != ngx_http_myservice_gateway_handler) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"myservice_gateway_health\" and another content "
                      "handler in location \"%V\"", &clcf->name);
        return NGX_CONF_ERROR;
    }

    conf->zone = ngx_http_myservice_gateway_zone(cf, &conf->upstream);

    if (conf->zone == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"myservice_gateway_health\" names \"%V\", which is no "
                      "upstream with \"myservice_sessions\"",
                      &conf->upstream);
        return NGX_CONF_ERROR;
    }

    /* the core was merged before this module */

    clcf->client_max_body_size = NGX_HTTP_MYSERVICE_GATEWAY_BODY;

    if (clcf->client_body_buffer_size < 2 * NGX_HTTP_MYSERVICE_GATEWAY_BODY) {
        clcf->client_body_buffer_size = 2 * NGX_HTTP_MYSERVICE_GATEWAY_BODY;
    }

    return NGX_CONF_OK;
}


static ngx_http_myservice_zone_t *
ngx_http_myservice_gateway_zone(ngx_conf_t *cf, ngx_str_t *upstream)
{
    ngx_uint_t                               i;
    ngx_http_upstream_srv_conf_t           **us;
    ngx_http_upstream_main_conf_t           *umcf;
    ngx_http_myservice_sessions_srv_conf_t  *scf;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    us = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (us[i]->srv_conf == NULL || us[i]->host.len != upstream->len
            || ngx_strncasecmp(us[i]->host.data, upstream->data,
                               upstream->len)
               != 0)
        {
            continue;
        }

        scf = ngx_http_conf_upstream_srv_conf(us[i],
                                         ngx_http_myservice_sessions_module);

        if (scf->zone) {
            return scf->zone;
        }
    }

    return NULL;
}


static char *
ngx_http_myservice_gateway_health(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_myservice_gateway_loc_conf_t  *glcf = conf;

    ngx_str_t                 *value, *service;
    ngx_uint_t                 i;
    ngx_http_core_loc_conf_t  *clcf;

    if (glcf->upstream.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        return "has an empty upstream";
    }

    glcf->upstream = value[1];

    glcf->services = ngx_array_create(cf->pool, cf->args->nelts,
                                      sizeof(ngx_str_t));
    if (glcf->services == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {

        service = ngx_array_push(glcf->services);
        if (service == NULL) {
            return NGX_CONF_ERROR;
        }

        *service = value[i];
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return "cannot be combined with another content handler";
    }

    clcf->handler = ngx_http_myservice_gateway_handler;

    return NGX_CONF_OK;
}
