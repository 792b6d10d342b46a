
/*
 * The gateway's own health (grpc.health.v1.Health), answered here: SERVING
 * while at least one instance of an upstream with sessions is up.
 * https://github.com/grpc/grpc/blob/master/doc/health-checking.md
 */

#include "answers/errors.h"
#include "core/grpc.h"
#include "core/log.h"
#include "operator/watch.h"
#include "sessions/sessions.h"
#include "wire/health_message.h"


/* larger requests are refused while they come in */
#define MS_GATEWAY_BODY  1024


typedef struct {
    ngx_str_t     upstream;
    ngx_array_t  *services;                     /* ngx_str_t */
    ms_zone_t    *zone;
} ms_gateway_loc_conf_t;


typedef struct {
    ngx_uint_t                   code;
    ngx_str_t                    message;
} ms_gateway_error_t;


static ngx_int_t ms_gateway_handler(ngx_http_request_t *r);
static ngx_uint_t ms_gateway_is(ngx_http_request_t *r, ngx_str_t *uri);
static void ms_gateway_body(ngx_http_request_t *r);
static void ms_gateway_watch(ngx_http_request_t *r, ngx_uint_t known);
static ngx_int_t ms_gateway_read(ngx_http_request_t *r, ngx_str_t *service);
static void ms_gateway_refuse(ngx_http_request_t *r, ngx_uint_t code,
    ngx_str_t *message);
static ngx_uint_t ms_gateway_known(ngx_http_request_t *r, ngx_str_t *service);
static ms_health_status_t ms_gateway_status(ngx_http_request_t *r);
static ngx_int_t ms_gateway_check(ngx_http_request_t *r);

static ms_health_status_t ms_gateway_no_service(ngx_http_request_t *r);

static void *ms_gateway_create_loc_conf(ngx_conf_t *cf);
static char *ms_gateway_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ms_zone_t *ms_gateway_zone(ngx_conf_t *cf, ngx_str_t *upstream);
static char *ms_gateway_health(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


static ngx_command_t  ms_gateway_commands[] = {

    { ngx_string("myservice_gateway_health"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ms_gateway_health,
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

    ms_gateway_create_loc_conf,
                                           /* create location configuration */
    ms_gateway_merge_loc_conf
                                           /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_gateway_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_gateway_module_ctx, /* module context */
    ms_gateway_commands,                   /* module directives */
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


static ngx_str_t  ms_gateway_check_uri =
    ngx_string("/grpc.health.v1.Health/Check");
static ngx_str_t  ms_gateway_watch_uri =
    ngx_string("/grpc.health.v1.Health/Watch");

static ngx_str_t  ms_gateway_watches = ngx_string("too many watches");
static ngx_str_t  ms_gateway_unknown = ngx_string("unknown service");


/* by ms_health_request_t */

static ms_gateway_error_t
    ms_gateway_errors[] =
{
    { MS_GRPC_OK, ngx_null_string },
    { MS_GRPC_INTERNAL, ngx_string("missing request message") },
    { MS_GRPC_UNIMPLEMENTED,
      ngx_string("compressed requests are not supported") },
    { MS_GRPC_INTERNAL,
      ngx_string("failed to parse request message") }
};


static ngx_int_t
ms_gateway_handler(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    if (r->method != NGX_HTTP_POST) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    if (r != r->main || !ms_grpc_is(r)) {
        return NGX_HTTP_UNSUPPORTED_MEDIA_TYPE;
    }

    if (!ms_gateway_is(r,
                       &ms_gateway_check_uri)
        && !ms_gateway_is(r,
                          &ms_gateway_watch_uri))
    {
        return NGX_HTTP_NOT_FOUND;
    }

    r->request_body_in_file_only = 0;

    rc = ngx_http_read_client_request_body(r, ms_gateway_body);

    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}


static ngx_uint_t
ms_gateway_is(ngx_http_request_t *r, ngx_str_t *uri)
{
    return r->uri.len == uri->len
           && ngx_memcmp(r->uri.data, uri->data, uri->len) == 0;
}


static void
ms_gateway_body(ngx_http_request_t *r)
{
    ngx_int_t            rc;
    ngx_str_t            service;
    ngx_uint_t           known;
    ms_gateway_error_t  *error;

    rc = ms_gateway_read(r, &service);

    if (rc == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    if (rc != MS_HEALTH_REQUEST_OK) {
        error = &ms_gateway_errors[rc];
        ms_gateway_refuse(r, error->code, &error->message);
        return;
    }

    known = ms_gateway_known(r, &service);

    if (ms_gateway_is(r, &ms_gateway_watch_uri)) {
        ms_gateway_watch(r, known);
        return;
    }

    if (!known) {
        ms_gateway_refuse(r, MS_GRPC_NOT_FOUND, &ms_gateway_unknown);
        return;
    }

    ngx_http_finalize_request(r, ms_gateway_check(r));
}


/*
 * Refuses a Watch over the limit. Clients read UNIMPLEMENTED as "no health
 * checking", and any other code as a broken server.
 */

static void
ms_gateway_watch(ngx_http_request_t *r, ngx_uint_t known)
{
    ngx_int_t                 rc;
    ngx_http_request_body_t  *rb;

    if (!ms_watch_allowed(r)) {
        ms_log_error(NGX_LOG_INFO, r->connection->log, 0,
                     "too many health watches");

        ms_gateway_refuse(r, MS_GRPC_UNIMPLEMENTED, &ms_gateway_watches);
        return;
    }

    /* a Watch may last for days, and its request is complete */

    rb = r->request_body;
    rb->bufs = NULL;

    if (rb->buf) {
        (void) ngx_pfree(r->pool, rb->buf->start);
        rb->buf = NULL;
    }

    rc = ms_watch(r, known ? ms_gateway_status : ms_gateway_no_service);

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }
}


/* NGX_ERROR or ms_health_request_t */

static ngx_int_t
ms_gateway_read(ngx_http_request_t *r, ngx_str_t *service)
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
                          "request to \"myservice_gateway_health\" was written "
                          "to a file, remove \"client_body_in_file_only\"");
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
ms_gateway_refuse(ngx_http_request_t *r, ngx_uint_t code, ngx_str_t *message)
{
    ngx_int_t  rc;

    /* every other method of the service is implemented */

    rc = code == MS_GRPC_UNIMPLEMENTED
         ? ms_errors_refuse_compressed(r, message)
         : ms_errors_refuse(r, code, message);

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }
}


static ngx_uint_t
ms_gateway_known(ngx_http_request_t *r, ngx_str_t *service)
{
    ngx_str_t              *name;
    ngx_uint_t              i;
    ms_gateway_loc_conf_t  *glcf;

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
ms_gateway_status(ngx_http_request_t *r)
{
    uint32_t                n;
    ms_zone_stats_t         stats;
    ms_gateway_loc_conf_t  *glcf;

    glcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_gateway_module);

    ms_zone_stats(glcf->zone, &stats, r->connection->log);

    n = stats.states[MS_INSTANCE_FREE] + stats.states[MS_INSTANCE_TENTATIVE]
        + stats.states[MS_INSTANCE_LEASED]
        + stats.states[MS_INSTANCE_DRAINING];

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "myservice gateway health: %uD instances of \"%V\" are up",
                   n, &glcf->upstream);

    return n ? MS_HEALTH_SERVING : MS_HEALTH_NOT_SERVING;
}


static ms_health_status_t
ms_gateway_no_service(ngx_http_request_t *r)
{
    return MS_HEALTH_SERVICE_UNKNOWN;
}


static ngx_int_t
ms_gateway_check(ngx_http_request_t *r)
{
    ngx_int_t    rc;
    ngx_buf_t   *b;
    ngx_str_t    message;
    ngx_chain_t  out;

    b = ngx_create_temp_buf(r->pool, MS_HEALTH_RESPONSE_MAX);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last += ms_health_response_write(b->last, ms_gateway_status(r));
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    ngx_str_null(&message);

    if (ms_grpc_add_status(r, &r->headers_out.trailers,
                           MS_GRPC_OK, &message)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ms_grpc_send_header(r);

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_output_filter(r, &out);
}


static void *
ms_gateway_create_loc_conf(ngx_conf_t *cf)
{
    /*
     * set by ngx_pcalloc():
     *
     *     conf->upstream = { 0, NULL };
     *     conf->services = NULL;
     *     conf->zone = NULL;
     */

    return ngx_pcalloc(cf->pool, sizeof(ms_gateway_loc_conf_t));
}


/* not inherited, as the content handler is not; all upstreams are known now */

static char *
ms_gateway_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ms_gateway_loc_conf_t  *conf = child;

    ngx_http_core_loc_conf_t  *clcf;

    if (conf->upstream.len == 0) {
        return NGX_CONF_OK;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler != ms_gateway_handler) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"myservice_gateway_health\" and another content "
                      "handler in location \"%V\"", &clcf->name);
        return NGX_CONF_ERROR;
    }

    conf->zone = ms_gateway_zone(cf, &conf->upstream);

    if (conf->zone == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"myservice_gateway_health\" names \"%V\", which is no "
                      "upstream with \"myservice_sessions\"",
                      &conf->upstream);
        return NGX_CONF_ERROR;
    }

    /* the core was merged before this module */

    clcf->client_max_body_size = MS_GATEWAY_BODY;

    if (clcf->client_body_buffer_size < 2 * MS_GATEWAY_BODY) {
        clcf->client_body_buffer_size = 2 * MS_GATEWAY_BODY;
    }

    return NGX_CONF_OK;
}


static ms_zone_t *
ms_gateway_zone(ngx_conf_t *cf, ngx_str_t *upstream)
{
    ngx_uint_t                      i;
    ngx_http_upstream_srv_conf_t  **us;
    ngx_http_upstream_main_conf_t  *umcf;
    ms_sessions_srv_conf_t         *scf;

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
ms_gateway_health(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_gateway_loc_conf_t  *glcf = conf;

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

    clcf->handler = ms_gateway_handler;

    return NGX_CONF_OK;
}
