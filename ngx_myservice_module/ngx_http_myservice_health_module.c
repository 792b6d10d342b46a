
/*
 * Active health checks: the directive, and what calls do until the first round
 * has ended.  The checks are in ngx_http_myservice_health.c.
 */

#include "ngx_http_myservice_compat.h"
#include "ngx_http_myservice_health.h"
#include "ngx_http_myservice_wait.h"


/* for how much longer than one check a call waits for the first round */
#define NGX_HTTP_MYSERVICE_HEALTH_GRACE   500


typedef struct {
    ngx_array_t                       checks;   /* ngx_http_myservice_health
                                                   _srv_conf_t * */
} ngx_http_myservice_health_main_conf_t;


static ngx_int_t ngx_http_myservice_health_wait(ngx_http_request_t *r);

static ngx_int_t ngx_http_myservice_health_init_process(ngx_cycle_t *cycle);
static void ngx_http_myservice_health_exit_process(ngx_cycle_t *cycle);
static void *ngx_http_myservice_health_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_myservice_health_create_srv_conf(ngx_conf_t *cf);
static char *ngx_http_myservice_health_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
#if (NGX_HTTP_SSL)
static char *ngx_http_myservice_health_tls_name(ngx_conf_t *cf,
    ngx_http_myservice_health_srv_conf_t *conf);
#endif
static char *ngx_http_myservice_health(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_myservice_health_parameter(ngx_conf_t *cf,
    ngx_http_myservice_health_srv_conf_t *conf, ngx_str_t *value);
static char *ngx_http_myservice_health_time(ngx_conf_t *cf, ngx_str_t *value,
    size_t prefix, ngx_msec_t *ms);
static char *ngx_http_myservice_health_number(ngx_conf_t *cf,
    ngx_str_t *value, size_t prefix, ngx_uint_t *number);
static ngx_int_t ngx_http_myservice_health_init(ngx_conf_t *cf);


static ngx_command_t  ngx_http_myservice_health_commands[] = {

    { ngx_string("myservice_health"),
      NGX_HTTP_UPS_CONF|NGX_CONF_ANY,
      ngx_http_myservice_health,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_myservice_health_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_myservice_health_init,        /* postconfiguration */

    ngx_http_myservice_health_create_main_conf,
                                           /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_http_myservice_health_create_srv_conf,
                                           /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    ngx_http_myservice_health_merge_loc_conf
                                           /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_health_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_health_module_ctx, /* module context */
    ngx_http_myservice_health_commands,    /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_myservice_health_init_process, /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_myservice_health_exit_process, /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/* the first member of the private ngx_http_grpc_loc_conf_t */

extern ngx_module_t  ngx_http_grpc_module;


/* of this worker */

static ngx_array_t  *ngx_http_myservice_health_checks;


/*
 * After a cold start nobody knows who is whose: a call waits until each
 * instance has told, or had the time to.
 */

static ngx_int_t
ngx_http_myservice_health_wait(ngx_http_request_t *r)
{
    ngx_msec_t                             ms;
    ngx_http_myservice_zone_t             *zone;
    ngx_http_myservice_lookup_t           *lookup;
    ngx_http_myservice_zone_stats_t        stats;
    ngx_http_upstream_srv_conf_t          *us;
    ngx_http_myservice_health_srv_conf_t  *conf;

    us = ngx_http_myservice_wait_upstream(r);

    if (us == NULL) {
        return NGX_DECLINED;
    }

    conf = ngx_http_conf_upstream_srv_conf(us,
                                           ngx_http_myservice_health_module);

    if (!conf->enabled
        || ngx_http_myservice_zone_watch(conf->sessions->zone)->settled)
    {
        return NGX_DECLINED;
    }

    /* not before there were members to check */

    zone = conf->sessions->zone;
    lookup = ngx_http_myservice_zone_lookup(zone);
    ms = ngx_http_myservice_wait_age(r);

    if (lookup->settled) {
        ms = ngx_min(ms, ngx_current_msec - lookup->since);

        ngx_http_myservice_zone_stats(zone, &stats, r->connection->log);

        if (stats.states[MS_INSTANCE_UNUSED] == stats.capacity) {

            /* it is known that there is nobody to wait for */

            return NGX_DECLINED;
        }
    }

    if (ms > conf->probe.timeout + NGX_HTTP_MYSERVICE_HEALTH_GRACE) {
        return NGX_DECLINED;
    }

    return ngx_http_myservice_wait(r);
}


static ngx_int_t
ngx_http_myservice_health_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                               i;
    ngx_http_myservice_health_t             *health;
    ngx_http_myservice_health_main_conf_t   *hmcf;
    ngx_http_myservice_health_srv_conf_t   **conf;

    ngx_http_myservice_health_checks = NULL;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    hmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                           ngx_http_myservice_health_module);

    if (hmcf == NULL || hmcf->checks.nelts == 0) {
        return NGX_OK;
    }

    conf = hmcf->checks.elts;

    ngx_http_myservice_health_checks = ngx_array_create(cycle->pool,
                                    hmcf->checks.nelts,
                                    sizeof(ngx_http_myservice_health_t));
    if (ngx_http_myservice_health_checks == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < hmcf->checks.nelts; i++) {

        /* there is room for all: they do not move */

        health = ngx_array_push(ngx_http_myservice_health_checks);
        ngx_http_myservice_health_start(health, conf[i], cycle->log);
    }

    return NGX_OK;
}


static void
ngx_http_myservice_health_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                    i;
    ngx_http_myservice_health_t  *health;

    if (ngx_http_myservice_health_checks == NULL) {
        return;
    }

    health = ngx_http_myservice_health_checks->elts;

    for (i = 0; i < ngx_http_myservice_health_checks->nelts; i++) {
        ngx_http_myservice_health_give_up(&health[i]);
    }
}


static void *
ngx_http_myservice_health_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_myservice_health_main_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool,
                       sizeof(ngx_http_myservice_health_main_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&conf->checks, cf->pool, 4,
                       sizeof(ngx_http_myservice_health_srv_conf_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return conf;
}


static void *
ngx_http_myservice_health_create_srv_conf(ngx_conf_t *cf)
{
    ngx_http_myservice_health_srv_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool,
                       sizeof(ngx_http_myservice_health_srv_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->probe.service = { 0, NULL };
     *     conf->enabled = 0;
     *     conf->upstream = NULL;
     *     conf->sessions = NULL;
     */

    conf->probe.timeout = 2000;
    conf->probe.handler = ngx_http_myservice_health_checked;
    conf->interval = 5000;
    conf->fails = 2;
    conf->passes = 1;

    return conf;
}


/*
 * The grpc module was merged before this one: checks use the TLS of the first
 * location that passes to the upstream with it.
 */

static char *
ngx_http_myservice_health_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
#if (NGX_HTTP_SSL)

    ngx_http_upstream_conf_t              *ucf;
    ngx_http_myservice_grpc_loc_conf_t    *glcf;
    ngx_http_myservice_health_srv_conf_t  *conf;

    glcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_grpc_module);

    if (glcf == NULL || !glcf->ssl) {
        return NGX_CONF_OK;
    }

    ucf = &glcf->upstream;

    if (ucf->upstream == NULL || ucf->upstream->srv_conf == NULL
        || ucf->ssl == NULL || ucf->ssl->ctx == NULL)
    {
        return NGX_CONF_OK;
    }

    conf = ngx_http_conf_upstream_srv_conf(ucf->upstream,
                                           ngx_http_myservice_health_module);

    if (conf->enabled && conf->probe.tls == NULL) {
        conf->probe.tls = ucf;
        return ngx_http_myservice_health_tls_name(cf, conf);
    }

#endif

    return NGX_CONF_OK;
}


#if (NGX_HTTP_SSL)

/* as in ngx_http_upstream_ssl_name(), but without a request */

static char *
ngx_http_myservice_health_tls_name(ngx_conf_t *cf,
    ngx_http_myservice_health_srv_conf_t *conf)
{
    u_char                    *p;
    ngx_str_t                  name;
    ngx_http_complex_value_t  *value;

    name = conf->upstream->host;
    value = conf->probe.tls->ssl_name;

    if (value) {

        if (value->lengths) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"grpc_ssl_name\" with variables cannot be "
                               "used with \"myservice_health\" of upstream "
                               "\"%V\"", &conf->upstream->host);
            return NGX_CONF_ERROR;
        }

        name = value->value;
    }

    if (name.len && *name.data != '[') {
        p = ngx_strlchr(name.data, name.data + name.len, ':');

        if (p) {
            name.len = p - name.data;
        }
    }

    p = ngx_pnalloc(cf->pool, name.len + 1);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    (void) ngx_cpystrn(p, name.data, name.len + 1);

    conf->probe.tls_name.data = p;
    conf->probe.tls_name.len = name.len;

    return NGX_CONF_OK;
}

#endif


static char *
ngx_http_myservice_health(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_myservice_health_srv_conf_t *hscf = conf;

    char                                    *rv;
    ngx_str_t                               *value;
    ngx_uint_t                               i;
    ngx_http_myservice_health_main_conf_t   *hmcf;
    ngx_http_myservice_health_srv_conf_t   **check;

    if (hscf->enabled) {
        return "is duplicate";
    }

    hscf->sessions = ngx_http_conf_get_module_srv_conf(cf,
                                         ngx_http_myservice_sessions_module);

    if (hscf->sessions->zone == NULL) {
        return "must stand after \"myservice_sessions\"";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        rv = ngx_http_myservice_health_parameter(cf, hscf, &value[i]);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    hmcf = ngx_http_conf_get_module_main_conf(cf,
                                           ngx_http_myservice_health_module);

    check = ngx_array_push(&hmcf->checks);
    if (check == NULL) {
        return NGX_CONF_ERROR;
    }

    *check = hscf;

    hscf->upstream = ngx_http_conf_get_module_srv_conf(cf,
                                                   ngx_http_upstream_module);
    hscf->sessions->zone->health = 1;
    hscf->enabled = 1;

    return NGX_CONF_OK;
}


static char *
ngx_http_myservice_health_parameter(ngx_conf_t *cf,
    ngx_http_myservice_health_srv_conf_t *conf, ngx_str_t *value)
{
    if (ngx_strncmp(value->data, "interval=", 9) == 0) {
        return ngx_http_myservice_health_time(cf, value, 9, &conf->interval);
    }

    if (ngx_strncmp(value->data, "timeout=", 8) == 0) {
        return ngx_http_myservice_health_time(cf, value, 8,
                                              &conf->probe.timeout);
    }

    if (ngx_strncmp(value->data, "fails=", 6) == 0) {
        return ngx_http_myservice_health_number(cf, value, 6, &conf->fails);
    }

    if (ngx_strncmp(value->data, "passes=", 7) == 0) {
        return ngx_http_myservice_health_number(cf, value, 7, &conf->passes);
    }

    if (ngx_strncmp(value->data, "service=", 8) == 0) {
        conf->probe.service.data = value->data + 8;
        conf->probe.service.len = value->len - 8;

        if (conf->probe.service.len > NGX_HTTP_MYSERVICE_CHECK_SERVICE_MAX) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" is longer than %d bytes", value,
                               NGX_HTTP_MYSERVICE_CHECK_SERVICE_MAX);
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value->data, "mandatory") == 0) {
        conf->sessions->zone->mandatory = 1;
        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                       value);

    return NGX_CONF_ERROR;
}


static char *
ngx_http_myservice_health_time(ngx_conf_t *cf, ngx_str_t *value,
    size_t prefix, ngx_msec_t *ms)
{
    ngx_str_t  s;

    s.data = value->data + prefix;
    s.len = value->len - prefix;

    *ms = ngx_parse_time(&s, 0);

    if (*ms == (ngx_msec_t) NGX_ERROR || *ms < 100 || *ms > 86400000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\", expected a time of 100ms to 1d",
                           value);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_myservice_health_number(ngx_conf_t *cf, ngx_str_t *value,
    size_t prefix, ngx_uint_t *number)
{
    ngx_int_t  n;

    n = ngx_atoi(value->data + prefix, value->len - prefix);

    if (n < 1 || n > 100) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\", expected 1-100", value);
        return NGX_CONF_ERROR;
    }

    *number = n;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_myservice_health_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt                    *h;
    ngx_http_core_main_conf_t              *cmcf;
    ngx_http_myservice_health_main_conf_t  *hmcf;

    hmcf = ngx_http_conf_get_module_main_conf(cf,
                                           ngx_http_myservice_health_module);

    if (hmcf->checks.nelts == 0) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_myservice_health_wait;

    return NGX_OK;
}
