
/*
 * Active health: the directive, and calls that wait until the first round of
 * probes has ended.  health/rounds.c says when which member is probed.
 */

#include "health/health.h"

#include "answers/wait.h"
#include "core/compat.h"
#include "core/values.h"


/* how much longer than one probe takes a call waits for the first round */
#define MS_HEALTH_GRACE   500


typedef struct {
    ngx_array_t  upstreams;                     /* ms_health_srv_conf_t * */
} ms_health_main_conf_t;


static ngx_int_t ms_health_wait(ngx_http_request_t *r);

static ngx_int_t ms_health_init_process(ngx_cycle_t *cycle);
static void ms_health_exit_process(ngx_cycle_t *cycle);
static void *ms_health_create_main_conf(ngx_conf_t *cf);
static void *ms_health_create_srv_conf(ngx_conf_t *cf);
static char *ms_health_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
#if (NGX_HTTP_SSL)
static char *ms_health_tls_name(ngx_conf_t *cf, ms_health_srv_conf_t *conf);
#endif
static char *ms_health(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ms_health_service(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf);
static ngx_int_t ms_health_init(ngx_conf_t *cf);


static ngx_command_t  ms_health_commands[] = {

    { ngx_string("myservice_health"),
      NGX_HTTP_UPS_CONF|NGX_CONF_ANY,
      ms_health,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static const char  *ms_health_inflight[] = { "end", "keep", NULL };

static const ms_value_t  ms_health_parameters[] = {

    { ngx_string("interval="), ms_value_time,
      offsetof(ms_health_srv_conf_t, interval), 100, 86400000, NULL, 0 },

    { ngx_string("timeout="), ms_value_time,
      offsetof(ms_health_srv_conf_t, probe.timeout), 100, 86400000, NULL, 0 },

    { ngx_string("fails="), ms_value_number,
      offsetof(ms_health_srv_conf_t, fails), 1, 100, NULL, 0 },

    { ngx_string("passes="), ms_value_number,
      offsetof(ms_health_srv_conf_t, passes), 1, 100, NULL, 0 },

    { ngx_string("service="), ms_health_service, 0, 0, 0, NULL, 0 },

    { ngx_string("inflight="), ms_value_word,
      offsetof(ms_health_srv_conf_t, keep), 0, 0, ms_health_inflight, 0 },

    { ngx_string("mandatory"), ms_value_flag,
      offsetof(ms_health_srv_conf_t, mandatory), 0, 0, NULL, 0 },

      ms_null_value
};


static ngx_http_module_t  ngx_http_myservice_health_module_ctx = {
    NULL,                                  /* preconfiguration */
    ms_health_init,                        /* postconfiguration */

    ms_health_create_main_conf,
                                           /* create main configuration */
    NULL,                                  /* init main configuration */

    ms_health_create_srv_conf,
                                           /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    ms_health_merge_loc_conf
                                           /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_health_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_health_module_ctx, /* module context */
    ms_health_commands,                    /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ms_health_init_process,                 /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ms_health_exit_process,                 /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/* the first member of the private ngx_http_grpc_loc_conf_t */

extern ngx_module_t  ngx_http_grpc_module;


/* of this worker */

static ngx_array_t  *ms_healths;


/*
 * After a cold start the gateway does not know which instance serves which
 * session: a call waits until each instance has reported, or had the time to.
 */

static ngx_int_t
ms_health_wait(ngx_http_request_t *r)
{
    ngx_msec_t                     ms;
    ms_zone_t                     *zone;
    ms_lookup_t                   *lookup;
    ms_zone_stats_t                stats;
    ngx_http_upstream_srv_conf_t  *us;
    ms_health_srv_conf_t          *conf;

    us = ms_wait_upstream(r);

    if (us == NULL) {
        return NGX_DECLINED;
    }

    conf = ngx_http_conf_upstream_srv_conf(us,
                                           ngx_http_myservice_health_module);

    if (!conf->enabled || conf->sessions->zone->sh->rounds.completed) {
        return NGX_DECLINED;
    }

    /* the time counts from when the members are known */

    zone = conf->sessions->zone;
    lookup = &zone->sh->lookup;
    ms = ms_wait_age(r);

    if (lookup->ready) {
        ms = ngx_min(ms, ngx_current_msec - lookup->ready_since);

        ms_zone_stats(zone, &stats, r->connection->log);

        if (stats.states[MS_INSTANCE_UNUSED] == stats.capacity) {

            /* the names are resolved, and there is no member to probe */

            return NGX_DECLINED;
        }
    }

    if (ms > conf->probe.timeout + MS_HEALTH_GRACE) {
        return NGX_DECLINED;
    }

    return ms_wait(r, MS_WAIT_PROBES);
}


static ngx_int_t
ms_health_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t              i;
    ms_health_t            *health;
    ms_health_main_conf_t  *hmcf;
    ms_health_srv_conf_t  **conf;

    ms_healths = NULL;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    hmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                           ngx_http_myservice_health_module);

    if (hmcf == NULL || hmcf->upstreams.nelts == 0) {
        return NGX_OK;
    }

    conf = hmcf->upstreams.elts;

    ms_healths = ngx_array_create(cycle->pool, hmcf->upstreams.nelts,
                                        sizeof(ms_health_t));
    if (ms_healths == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < hmcf->upstreams.nelts; i++) {

        /* the array has room for all: its elements do not move */

        health = ngx_array_push(ms_healths);
        ms_health_start(health, conf[i], cycle->log);
    }

    return NGX_OK;
}


static void
ms_health_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t    i;
    ms_health_t  *health;

    if (ms_healths == NULL) {
        return;
    }

    health = ms_healths->elts;

    for (i = 0; i < ms_healths->nelts; i++) {
        ms_duty_leave(&health[i].duty);
    }
}


static void *
ms_health_create_main_conf(ngx_conf_t *cf)
{
    ms_health_main_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ms_health_main_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&conf->upstreams, cf->pool, 4,
                       sizeof(ms_health_srv_conf_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return conf;
}


static void *
ms_health_create_srv_conf(ngx_conf_t *cf)
{
    ms_health_srv_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ms_health_srv_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->probe.service = { 0, NULL };
     *     conf->keep = 0;
     *     conf->mandatory = 0;
     *     conf->enabled = 0;
     *     conf->upstream = NULL;
     *     conf->sessions = NULL;
     */

    conf->probe.timeout = 2000;
    conf->probe.handler = ms_health_probed;
    conf->interval = 5000;
    conf->fails = 2;
    conf->passes = 1;

    return conf;
}


/*
 * The grpc module was merged before this one: probes use the TLS of the first
 * location that passes to the upstream with it.
 */

static char *
ms_health_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
#if (NGX_HTTP_SSL)

    ngx_http_upstream_conf_t  *ucf;
    ms_compat_loc_conf_t      *glcf;
    ms_health_srv_conf_t      *conf;

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
        return ms_health_tls_name(cf, conf);
    }

#endif

    return NGX_CONF_OK;
}


#if (NGX_HTTP_SSL)

/* as in ngx_http_upstream_ssl_name(), but without a request */

static char *
ms_health_tls_name(ngx_conf_t *cf, ms_health_srv_conf_t *conf)
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
ms_health(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_health_srv_conf_t *hscf = conf;

    char                   *rv;
    ms_health_main_conf_t  *hmcf;
    ms_health_srv_conf_t  **upstream;

    if (hscf->enabled) {
        return "is duplicate";
    }

    hscf->sessions = ngx_http_conf_get_module_srv_conf(cf,
                                         ngx_http_myservice_sessions_module);

    if (hscf->sessions->zone == NULL) {
        return "must stand after \"myservice_sessions\"";
    }

    rv = ms_values_parse(cf, ms_health_parameters, 1, hscf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    hmcf = ngx_http_conf_get_module_main_conf(cf,
                                           ngx_http_myservice_health_module);

    upstream = ngx_array_push(&hmcf->upstreams);
    if (upstream == NULL) {
        return NGX_CONF_ERROR;
    }

    *upstream = hscf;

    hscf->upstream = ngx_http_conf_get_module_srv_conf(cf,
                                                   ngx_http_upstream_module);
    hscf->sessions->zone->health = 1;
    hscf->sessions->zone->mandatory = hscf->mandatory;
    hscf->sessions->zone->keep = hscf->keep;
    hscf->enabled = 1;

    return NGX_CONF_OK;
}


static char *
ms_health_service(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf)
{
    ms_health_srv_conf_t *hscf = conf;

    if (value->len > MS_EXCHANGE_SERVICE_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V%V\" is longer than %d bytes",
                           &parameter->name, value, MS_EXCHANGE_SERVICE_MAX);
        return NGX_CONF_ERROR;
    }

    hscf->probe.service = *value;

    return NGX_CONF_OK;
}


static ngx_int_t
ms_health_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;
    ms_health_main_conf_t      *hmcf;

    hmcf = ngx_http_conf_get_module_main_conf(cf,
                                           ngx_http_myservice_health_module);

    if (hmcf->upstreams.nelts == 0) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ms_health_wait;

    return NGX_OK;
}
