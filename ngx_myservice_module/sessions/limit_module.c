
/*
 * "myservice_limit": how many sessions one user may have, and wait for, at a
 * time.  The pool counts (pool/claim.c), with a store its script does; here is
 * who the user of a call is.
 */

#include "sessions/limit.h"

#include "core/values.h"
#include "store/store.h"


#define MS_LIMIT_MAX  1000000


typedef struct {
    ngx_http_complex_value_t  *key;     /* NULL: no limit */
    ngx_uint_t                 max;
} ms_limit_srv_conf_t;


static void *ms_limit_create_srv_conf(ngx_conf_t *cf);
static char *ms_limit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_int_t ms_limit_init(ngx_conf_t *cf);


static ngx_command_t  ms_limit_commands[] = {

    { ngx_string("myservice_limit"),
      NGX_HTTP_UPS_CONF|NGX_CONF_TAKE2,
      ms_limit,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static const ms_value_t  ms_limit_parameters[] = {

    { ngx_string("max="), ms_value_number,
      offsetof(ms_limit_srv_conf_t, max), 1, MS_LIMIT_MAX, NULL, 0 },

      ms_null_value
};


static ngx_http_module_t  ngx_http_myservice_limit_module_ctx = {
    NULL,                                  /* preconfiguration */
    ms_limit_init,                         /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ms_limit_create_srv_conf,              /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_limit_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_limit_module_ctx,  /* module context */
    ms_limit_commands,                     /* module directives */
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


ngx_int_t
ms_limit_terms(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us,
    ms_pool_terms_t *terms)
{
    ngx_str_t             user;
    ms_limit_srv_conf_t  *conf;

    conf = ngx_http_conf_upstream_srv_conf(us,
                                           ngx_http_myservice_limit_module);

    if (conf->key == NULL) {
        return NGX_OK;
    }

    if (ngx_http_complex_value(r, conf->key, &user) != NGX_OK) {
        return NGX_ERROR;
    }

    if (user.len) {
        terms->user = ms_pool_user(user.data, user.len);
        terms->sessions = (uint32_t) conf->max;
    }

    return NGX_OK;
}


static void *
ms_limit_create_srv_conf(ngx_conf_t *cf)
{
    /* key NULL */

    return ngx_pcalloc(cf->pool, sizeof(ms_limit_srv_conf_t));
}


static char *
ms_limit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_limit_srv_conf_t  *lcf = conf;

    ngx_str_t                         *value;
    ngx_http_compile_complex_value_t   ccv;

    if (lcf->key) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_script_variables_count(&value[1]) == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\": invalid key \"%V\", expected a text "
                           "with a variable, which tells users apart", value,
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    lcf->key = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (lcf->key == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[1];
    ccv.complex_value = lcf->key;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return ms_values_parse(cf, ms_limit_parameters, 2, lcf);
}


static ngx_int_t
ms_limit_init(ngx_conf_t *cf)
{
    ngx_uint_t                      i;
    ms_store_t                     *store;
    ms_limit_srv_conf_t            *conf;
    ms_sessions_srv_conf_t         *scf;
    ngx_http_upstream_srv_conf_t  **us;
    ngx_http_upstream_main_conf_t  *umcf;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    us = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (us[i]->srv_conf == NULL) {
            continue;
        }

        conf = ngx_http_conf_upstream_srv_conf(us[i],
                                           ngx_http_myservice_limit_module);

        if (conf->key == NULL) {
            continue;
        }

        scf = ngx_http_conf_upstream_srv_conf(us[i],
                                         ngx_http_myservice_sessions_module);

        if (scf->zone == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"myservice_limit\" in upstream \"%V\" has no "
                          "effect without \"myservice_sessions\"",
                          &us[i]->host);
            return NGX_ERROR;
        }

        store = ms_store_of(us[i]);

        if (store) {
            store->limits = 1;
        }
    }

    return NGX_OK;
}
