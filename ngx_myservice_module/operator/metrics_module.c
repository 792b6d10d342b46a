
/*
 * myservice_metrics: the directive, and what is counted at the end of a call.
 */

#include "operator/metrics.h"

#include "answers/errors.h"
#include "sessions/call_context.h"


typedef struct {
    ngx_uint_t               on;                /* some location has it */
} ms_metrics_main_conf_t;


static ngx_int_t ms_metrics_log_handler(ngx_http_request_t *r);

static void *ms_metrics_create_main_conf(ngx_conf_t *cf);
static void *ms_metrics_create_srv_conf(ngx_conf_t *cf);
static char *ms_metrics(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_int_t ms_metrics_init(ngx_conf_t *cf);


static ngx_command_t  ms_metrics_commands[] = {

    { ngx_string("myservice_metrics"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ms_metrics,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_myservice_metrics_module_ctx = {
    NULL,                                  /* preconfiguration */
    ms_metrics_init,                       /* postconfiguration */

    ms_metrics_create_main_conf,           /* create main configuration */
    NULL,                                  /* init main configuration */

    ms_metrics_create_srv_conf,            /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_metrics_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_metrics_module_ctx, /* module context */
    ms_metrics_commands,                   /* module directives */
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


/* A call that was refused before it had an instance counts, too: for the
 * upstream that its location passes to. */

static ngx_int_t
ms_metrics_log_handler(ngx_http_request_t *r)
{
    ms_call_t               *call;
    ngx_uint_t               status;
    ngx_msec_t               first_byte;
    ms_metrics_srv_conf_t   *mscf;
    ms_sessions_srv_conf_t  *balancer;
    ms_sessions_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_sessions_module);
    balancer = slcf->balancer;

    if (balancer == NULL) {

        /* an error page came after it */

        call = ms_call_get(r);
        balancer = call ? call->conf : NULL;
    }

    if (balancer == NULL || ms_errors_status(r, &status) != NGX_OK) {
        return NGX_OK;
    }

    mscf = ngx_http_conf_upstream_srv_conf(balancer->zone->upstream,
                                          ngx_http_myservice_metrics_module);

    first_byte = r->upstream && r->upstream->state
                 ? r->upstream->state->header_time : (ngx_msec_t) -1;

    ms_counts_call(mscf->counts, status, first_byte);

    return NGX_OK;
}


static void *
ms_metrics_create_main_conf(ngx_conf_t *cf)
{
    /* off */

    return ngx_pcalloc(cf->pool, sizeof(ms_metrics_main_conf_t));
}


static void *
ms_metrics_create_srv_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ms_metrics_srv_conf_t));
}


static char *
ms_metrics(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_metrics_main_conf_t  *mmcf = conf;

    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ms_metrics_handler;

    mmcf->on = 1;

    return NGX_CONF_OK;
}


/* nothing is counted, and no memory taken, if no location shows it */

static ngx_int_t
ms_metrics_init(ngx_conf_t *cf)
{
    ngx_uint_t                      i;
    ngx_http_handler_pt            *h;
    ms_metrics_srv_conf_t          *mscf;
    ms_metrics_main_conf_t         *mmcf;
    ms_sessions_srv_conf_t         *scf;
    ngx_http_core_main_conf_t      *cmcf;
    ngx_http_upstream_srv_conf_t  **us;
    ngx_http_upstream_main_conf_t  *umcf;

    mmcf = ngx_http_conf_get_module_main_conf(cf,
                                          ngx_http_myservice_metrics_module);

    if (!mmcf->on) {
        return NGX_OK;
    }

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    us = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (us[i]->srv_conf == NULL) {
            continue;
        }

        scf = ngx_http_conf_upstream_srv_conf(us[i],
                                         ngx_http_myservice_sessions_module);

        if (scf->zone == NULL) {
            continue;
        }

        mscf = ngx_http_conf_upstream_srv_conf(us[i],
                                          ngx_http_myservice_metrics_module);

        mscf->counts = ms_counts_zone(cf, us[i]);
        if (mscf->counts == NULL) {
            return NGX_ERROR;
        }
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ms_metrics_log_handler;

    return NGX_OK;
}
