
/*
 * myservice_metrics: the directive, and what is counted at the end of a call.
 */

#include "operator/metrics.h"

#include "answers/errors.h"
#include "sessions/call_context.h"


static ngx_int_t ms_metrics_log_handler(ngx_http_request_t *r);

static void *ms_metrics_create_main_conf(ngx_conf_t *cf);
static void *ms_metrics_create_srv_conf(ngx_conf_t *cf);
static char *ms_metrics(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_int_t ms_metrics_init(ngx_conf_t *cf);
static ngx_shm_zone_t *ms_metrics_upstream_zone(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ms_metrics_attach(ngx_cycle_t *cycle);


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
    ms_metrics_attach,                     /* init module */
    ms_metrics_attach,                     /* init process */
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
    ngx_int_t                   status;
    ms_call_t                  *call;
    ms_counts_t                *counts;
    ms_sessions_srv_conf_t     *balancer;
    ms_sessions_loc_conf_t     *slcf;
    ngx_http_upstream_state_t  *state;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_sessions_module);
    balancer = slcf->balancer;

    if (balancer == NULL) {

        /* an error page came after it */

        call = ms_call_get(r);
        balancer = call ? call->conf : NULL;

        if (balancer == NULL) {
            return NGX_OK;
        }
    }

    status = ms_errors_status(r);

    if (status < 0) {
        return NGX_OK;
    }

    counts = balancer->zone->counts;

    ms_counts_add(&counts->calls[ngx_min(status, MS_COUNTS_OTHER)], 1);

    state = r->upstream ? r->upstream->state : NULL;

    if (state && state->header_time != (ngx_msec_t) -1) {
        ms_counts_time(&counts->first_byte, &ms_times_default,
                       state->header_time);
    }

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

    static ngx_str_t  name = ngx_string("ms_metrics");

    mmcf = ngx_http_conf_get_module_main_conf(cf,
                                          ngx_http_myservice_metrics_module);

    if (!mmcf->on) {
        return NGX_OK;
    }

    mmcf->counts = ms_counts_zone(cf, &name, sizeof(ms_gateway_counts_t));
    if (mmcf->counts == NULL) {
        return NGX_ERROR;
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

        mscf->counts = ms_metrics_upstream_zone(cf, us[i]);
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


static ngx_shm_zone_t *
ms_metrics_upstream_zone(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us)
{
    ngx_str_t  name;

    name.len = sizeof("ms_metrics ") - 1 + us->host.len;
    name.data = ngx_pnalloc(cf->pool, name.len + 1);
    if (name.data == NULL) {
        return NULL;
    }

    ngx_sprintf(name.data, "ms_metrics %V%Z", &us->host);

    return ms_counts_zone(cf, &name, sizeof(ms_counts_t));
}


/*
 * The slots of this process.  With "master_process off" nginx calls only the
 * former of both at a reload.
 */

static ngx_int_t
ms_metrics_attach(ngx_cycle_t *cycle)
{
    ngx_uint_t                      i;
    ms_metrics_srv_conf_t          *mscf;
    ms_metrics_main_conf_t         *mmcf;
    ms_sessions_srv_conf_t         *scf;
    ngx_http_upstream_srv_conf_t  **us;
    ngx_http_upstream_main_conf_t  *umcf;

    mmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                          ngx_http_myservice_metrics_module);

    if (mmcf == NULL || !mmcf->on) {
        ms_gateway_counts = &ms_gateway_counts_unread;
        return NGX_OK;
    }

    ms_gateway_counts = ms_counts_slot(mmcf->counts,
                                       sizeof(ms_gateway_counts_t));

    umcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_upstream_module);
    us = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (us[i]->srv_conf == NULL) {
            continue;
        }

        mscf = ngx_http_conf_upstream_srv_conf(us[i],
                                          ngx_http_myservice_metrics_module);

        if (mscf->counts) {
            scf = ngx_http_conf_upstream_srv_conf(us[i],
                                         ngx_http_myservice_sessions_module);
            scf->zone->counts = ms_counts_slot(mscf->counts,
                                               sizeof(ms_counts_t));
        }
    }

    return NGX_OK;
}
