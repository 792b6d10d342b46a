
/*
 * Calls of a worker share connections to an instance, beneath an unmodified
 * "grpc_pass": the directive.
 *
 *   mux_call     the layer around the balancer of an upstream
 *   mux_conn     a shared connection; mux_demux, mux_write, mux_tls: what comes
 *                on it, what it is about to write, its handshake
 *   mux_stream   what a call gets in the place of a connection; mux_receive,
 *                mux_send: its recv() and send_chain()
 *   mux_peer     instances, and which connections they have
 */

#include "core/compat.h"
#include "core/values.h"
#include "http2/multiplex.h"
#include "http2/mux_call.h"


/* bytes of a window */
#define MS_MULTIPLEX_WINDOW_MIN  65535
#define MS_MULTIPLEX_WINDOW_MAX  (16 * 1024 * 1024)

#define MS_MULTIPLEX_STREAMS     65535
#define MS_MULTIPLEX_IDLE        65535


typedef struct {
    ngx_flag_t     enable;
    ms_mux_conf_t  mux;
} ms_multiplex_srv_conf_t;


static ngx_int_t ms_multiplex_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static void *ms_multiplex_create_srv_conf(ngx_conf_t *cf);
static char *ms_multiplex(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ms_multiplex_window(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf);
static ngx_int_t ms_multiplex_init(ngx_conf_t *cf);
static char *ms_multiplex_events(ngx_cycle_t *cycle, void *conf);
static ngx_uint_t ms_multiplex_keepalive(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);


static ngx_command_t  ms_multiplex_commands[] = {

    { ngx_string("myservice_multiplex"),
      NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      ms_multiplex,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static const ms_value_t  ms_multiplex_parameters[] = {

    { ngx_string("streams="), ms_value_number,
      offsetof(ms_multiplex_srv_conf_t, mux.streams),
      1, MS_MULTIPLEX_STREAMS, NULL, 0 },

    { ngx_string("requests="), ms_value_number,
      offsetof(ms_multiplex_srv_conf_t, mux.requests),
      1, MS_MUX_REQUESTS_MAX, NULL, 0 },

    { ngx_string("window="), ms_multiplex_window, 0, 0, 0, NULL, 0 },

    { ngx_string("idle="), ms_value_number,
      offsetof(ms_multiplex_srv_conf_t, mux.idle),
      1, MS_MULTIPLEX_IDLE, NULL, 0 },

    { ngx_string("timeout="), ms_value_time,
      offsetof(ms_multiplex_srv_conf_t, mux.timeout),
      1000, 86400000, NULL, 0 },

      ms_null_value
};


/* "events" may stand behind "http": its method is known when all is read */

static ngx_core_module_t  ngx_http_myservice_multiplex_events_module_ctx = {
    ngx_string("multiplex_events"),
    NULL,
    ms_multiplex_events
};


ngx_module_t  ngx_http_myservice_multiplex_events_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_multiplex_events_module_ctx, /* module context */
    NULL,                                  /* module directives */
    NGX_CORE_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_module_t  ngx_http_myservice_multiplex_module_ctx = {
    NULL,                                  /* preconfiguration */
    ms_multiplex_init,                     /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ms_multiplex_create_srv_conf,
                                           /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_multiplex_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_multiplex_module_ctx,
                                           /* module context */
    ms_multiplex_commands,                 /* module directives */
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


void
ms_multiplex_at_end(ngx_http_upstream_srv_conf_t *us, ms_mux_end_pt handler,
    void *data)
{
    ms_multiplex_srv_conf_t  *conf;

    conf = ngx_http_conf_upstream_srv_conf(us,
                                          ngx_http_myservice_multiplex_module);

    conf->mux.at_end = handler;
    conf->mux.at_end_data = data;
}


static ngx_int_t
ms_multiplex_init_peer(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us)
{
    ms_multiplex_srv_conf_t  *conf;

    conf = ngx_http_conf_upstream_srv_conf(us,
                                          ngx_http_myservice_multiplex_module);

    return ms_mux_call_init(r, us, &conf->mux);
}


static void *
ms_multiplex_create_srv_conf(ngx_conf_t *cf)
{
    ms_multiplex_srv_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ms_multiplex_srv_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->enable = NGX_CONF_UNSET;

    conf->mux.streams = 100;
    conf->mux.requests = MS_MUX_REQUESTS_MAX;
    conf->mux.window = MS_MULTIPLEX_WINDOW_MIN;
    conf->mux.window_max = 1024 * 1024;
    conf->mux.idle = 64;
    conf->mux.timeout = 60000;

    return conf;
}


static char *
ms_multiplex(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_multiplex_srv_conf_t  *mcf = conf;

    ngx_str_t  *value;

    if (mcf->enable != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "on") == 0) {
        mcf->enable = 1;

    } else if (ngx_strcmp(value[1].data, "off") == 0) {
        mcf->enable = 0;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"myservice_multiplex\": invalid value \"%V\", "
                           "expected \"on\" or \"off\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    return ms_values_parse(cf, ms_multiplex_parameters, 2, mcf);
}


/* "64k-1m", or "64k" for one that does not grow */

static char *
ms_multiplex_window(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf)
{
    ms_multiplex_srv_conf_t  *mcf = conf;

    u_char     *p;
    ssize_t     first, last;
    ngx_str_t   text;

    text = *value;
    p = ngx_strlchr(text.data, text.data + text.len, '-');

    if (p) {
        text.len = p - text.data;
    }

    first = ngx_parse_size(&text);
    last = first;

    if (p) {
        text.data = p + 1;
        text.len = value->data + value->len - text.data;
        last = ngx_parse_size(&text);
    }

    if (first < MS_MULTIPLEX_WINDOW_MIN || last < first
        || last > MS_MULTIPLEX_WINDOW_MAX)
    {
        return ms_value_invalid(cf, parameter, value,
                                "a size, or two as in \"64k-1m\", of 64k to "
                                "16m");
    }

    mcf->mux.window = first;
    mcf->mux.window_max = last;

    return NGX_CONF_OK;
}


/*
 * Only now all methods and "keepalive", which is on by default since 1.29.7,
 * have made their init functions: this one is around them.
 */

static ngx_int_t
ms_multiplex_init(ngx_conf_t *cf)
{
    ngx_uint_t                       i;
    ms_mux_idle_t                   *idles;
    ngx_http_upstream_srv_conf_t   **us;
    ngx_http_upstream_main_conf_t   *umcf;
    ms_multiplex_srv_conf_t         *conf;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    us = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (us[i]->srv_conf == NULL) {
            continue;
        }

        conf = ngx_http_conf_upstream_srv_conf(us[i],
                                          ngx_http_myservice_multiplex_module);

        if (conf->enable != 1) {
            continue;
        }

        if (ms_multiplex_keepalive(cf, us[i])) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "upstream \"%V\" in %s:%ui has "
                          "\"myservice_multiplex\" and \"keepalive\": remove "
                          "\"keepalive\", connections stay open without it",
                          &us[i]->host, us[i]->file_name, us[i]->line);
            return NGX_ERROR;
        }

        idles = ngx_pcalloc(cf->pool, sizeof(ms_mux_idle_t));
        if (idles == NULL) {
            return NGX_ERROR;
        }

        ngx_queue_init(&idles->queue);

        conf->mux.idles = idles;
        conf->mux.init_peer = us[i]->peer.init;
        us[i]->peer.init = ms_multiplex_init_peer;
    }

    return NGX_OK;
}


static char *
ms_multiplex_events(ngx_cycle_t *cycle, void *conf)
{
    ngx_uint_t                       i;
    ngx_event_conf_t                *ecf;
    ms_multiplex_srv_conf_t         *mcf;
    ngx_http_upstream_srv_conf_t   **us;
    ngx_http_upstream_main_conf_t   *umcf;

    umcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_upstream_module);

    if (umcf == NULL
        || ngx_get_conf(cycle->conf_ctx, ngx_events_module) == NULL)
    {
        return NGX_CONF_OK;
    }

    ecf = ngx_event_get_conf(cycle->conf_ctx, ngx_event_core_module);

    if (ngx_strcmp(ecf->name, "select") != 0
        && ngx_strcmp(ecf->name, "poll") != 0)
    {
        return NGX_CONF_OK;
    }

    us = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (us[i]->srv_conf == NULL) {
            continue;
        }

        mcf = ngx_http_conf_upstream_srv_conf(us[i],
                                          ngx_http_myservice_multiplex_module);

        if (mcf->enable == 1) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "\"myservice_multiplex\" in upstream \"%V\" does "
                          "not work with \"use %s\": write \"use epoll\" or "
                          "remove the directive", &us[i]->host, ecf->name);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_uint_t
ms_multiplex_keepalive(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us)
{
#if (MS_KEEPALIVE_WRAPS)

    void          *conf;
    ngx_uint_t     i;
    ngx_module_t  *module;

    for (i = 0; cf->cycle->modules[i]; i++) {
        module = cf->cycle->modules[i];

        if (ngx_strcmp(module->name, "ngx_http_upstream_keepalive_module")
            == 0)
        {
            conf = ngx_http_conf_upstream_srv_conf(us, (*module));

            return conf && ms_keepalive_max(conf);
        }
    }

#endif

    return 0;
}
