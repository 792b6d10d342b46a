
/*
 * Access control: the request carries a session id and a token that was issued
 * for that session. This file has the directives and the variables.
 */

#include "core/metadata.h"
#include "core/revoked.h"
#include "core/values.h"
#include "core/variable.h"
#include "token/access.h"
#include "token/claims.h"
#include "token/conf.h"
#include "token/context.h"
#include "token/internal_request.h"
#include "token/jwks.h"
#include "token/key_check.h"
#include "token/keyring.h"
#include "token/reasons.h"
#include "token/revocations.h"
#include "token/revocations_keeper.h"
#include "token/revocations_shared.h"
#include "token/stats.h"


#define MS_JWT_CHECK      5000

#define MS_JWT_CLAIM      "myservice_jwt_claim_"


static ngx_int_t ms_jwt_status_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ms_jwt_expires_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ms_jwt_role_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ms_jwt_claim_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ms_jwt_claim_value(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, ngx_uint_t n);

static ngx_int_t ms_jwt_preconfiguration(ngx_conf_t *cf);
static void *ms_jwt_create_main_conf(ngx_conf_t *cf);
static char *ms_jwt_init_main_conf(ngx_conf_t *cf, void *conf);
static ngx_int_t ms_jwt_collect_claims(ngx_conf_t *cf,
    ms_jwt_main_conf_t *jmcf);
static ngx_int_t ms_jwt_init(ngx_conf_t *cf);
static ngx_int_t ms_jwt_init_process(ngx_cycle_t *cycle);
static void ms_jwt_exit_process(ngx_cycle_t *cycle);


static ms_value_t  ms_jwt_leeway =
    { ngx_null_string, ms_value_time, 0, 0, 86400000, NULL, MS_VALUE_SEC };


static ngx_command_t  ms_jwt_commands[] = {

    { ngx_string("myservice_jwt"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ms_jwt_loc_conf_t, enable),
      NULL },

    { ngx_string("myservice_jwt_forward"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ms_jwt_loc_conf_t, forward),
      NULL },

    { ngx_string("myservice_jwt_secret_file"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ms_jwt_files,
      NGX_HTTP_LOC_CONF_OFFSET,
      MS_KEY_SOURCE_SECRET,
      NULL },

    { ngx_string("myservice_jwt_key_file"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ms_jwt_files,
      NGX_HTTP_LOC_CONF_OFFSET,
      MS_KEY_SOURCE_FILE,
      NULL },

    { ngx_string("myservice_jwt_keys_uri"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE123,
      ms_jwt_keys_uri,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("myservice_jwt_key_check"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ms_jwt_key_check,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("myservice_jwt_algorithms"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ms_jwt_algorithms,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("myservice_jwt_leeway"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ms_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ms_jwt_loc_conf_t, leeway),
      &ms_jwt_leeway },

    { ngx_string("myservice_jwt_session_claim"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ms_jwt_loc_conf_t, session_claim),
      NULL },

    { ngx_string("myservice_session_subject"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ms_jwt_subject_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("myservice_jwt_issuer"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ms_jwt_loc_conf_t, issuer),
      NULL },

    { ngx_string("myservice_jwt_audience"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ms_jwt_loc_conf_t, audience),
      NULL },

    { ngx_string("myservice_jwt_require"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ms_jwt_require,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("myservice_jwt_cache"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ms_jwt_cache_size,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("myservice_jwt_revocations"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE123,
      ms_jwt_revocations,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_myservice_jwt_module_ctx = {
    ms_jwt_preconfiguration,                 /* preconfiguration */
    ms_jwt_init,                           /* postconfiguration */

    ms_jwt_create_main_conf,                 /* create main configuration */
    ms_jwt_init_main_conf,                 /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ms_jwt_create_loc_conf,                 /* create location configuration */
    ms_jwt_merge_loc_conf                  /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_jwt_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_jwt_module_ctx,    /* module context */
    ms_jwt_commands,                       /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ms_jwt_init_process,                   /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ms_jwt_exit_process,                   /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_variable_t  ms_jwt_variables[] = {

    { ngx_string("myservice_jwt_status"), NULL,
      ms_jwt_status_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("myservice_jwt_expires"), NULL,
      ms_jwt_expires_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("myservice_jwt_role"), NULL,
      ms_jwt_role_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("myservice_jwt_claim_"), NULL,
      ms_jwt_claim_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE|NGX_HTTP_VAR_PREFIX, 0 },

      ngx_http_null_variable
};


static ngx_int_t
ms_jwt_status_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t      status;
    ms_jwt_ctx_t  *ctx;

    ctx = ms_jwt_get_ctx(r);

    if (ctx == NULL || ctx->policy == NULL) {
        return ms_variable_set(v, NULL);
    }

    status.data = (u_char *) ms_reason(ctx->reason).name;
    status.len = ngx_strlen(status.data);

    return ms_variable_set(v, &status);
}


static ngx_int_t
ms_jwt_expires_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t      expires;
    ms_jwt_ctx_t  *ctx;

    ctx = ms_jwt_get_ctx(r);

    if (ctx == NULL || ctx->claims == NULL) {
        return ms_variable_set(v, NULL);
    }

    expires.data = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (expires.data == NULL) {
        return NGX_ERROR;
    }

    expires.len = ngx_sprintf(expires.data, "%L", ctx->expires)
                  - expires.data;

    return ms_variable_set(v, &expires);
}


static ngx_int_t
ms_jwt_role_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    return ms_jwt_claim_value(r, v, MS_JWT_ROLE);
}


/* a name made at run time, for example by SSI, may name no known claim */

static ngx_int_t
ms_jwt_claim_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t  *name = (ngx_str_t *) data;

    ngx_str_t           *claim;
    ngx_uint_t           i;
    ms_jwt_main_conf_t  *jmcf;

    static const size_t  prefix = sizeof(MS_JWT_CLAIM) - 1;

    jmcf = ngx_http_get_module_main_conf(r, ngx_http_myservice_jwt_module);
    claim = jmcf->claims.elts;

    for (i = 0; i < jmcf->claims.nelts; i++) {
        if (claim[i].len == name->len - prefix
            && ngx_strncmp(claim[i].data, name->data + prefix, claim[i].len)
               == 0)
        {
            return ms_jwt_claim_value(r, v, i);
        }
    }

    return ms_variable_set(v, NULL);
}


static ngx_int_t
ms_jwt_claim_value(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    ngx_uint_t n)
{
    ngx_str_t      value;
    ms_jwt_ctx_t  *ctx;

    ctx = ms_jwt_get_ctx(r);

    if (ctx == NULL || ctx->claims == NULL
        || ms_jwt_claim(ctx->claims, n, &value) != NGX_OK)
    {
        return ms_variable_set(v, NULL);
    }

    return ms_variable_set(v, &value);
}


static ngx_int_t
ms_jwt_preconfiguration(ngx_conf_t *cf)
{
    return ms_variables_add(cf, ms_jwt_variables);
}


static void *
ms_jwt_create_main_conf(ngx_conf_t *cf)
{
    ngx_str_t            role = ngx_string("role");
    ms_jwt_main_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ms_jwt_main_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&conf->policies, cf->pool, 4,
                       sizeof(ms_jwt_policy_t *))
        != NGX_OK
        || ngx_array_init(&conf->keyrings, cf->pool, 4,
                          sizeof(ms_keyring_t *))
           != NGX_OK
        || ngx_array_init(&conf->claims, cf->pool, 4, sizeof(ngx_str_t))
           != NGX_OK)
    {
        return NULL;
    }

    if (ms_jwt_add_claim(cf, &conf->claims, &role) != MS_JWT_ROLE) {
        return NULL;
    }

    conf->key_check = NGX_CONF_UNSET_MSEC;

    return conf;
}


static char *
ms_jwt_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ms_jwt_main_conf_t  *jmcf = conf;

    ngx_conf_init_msec_value(jmcf->key_check, MS_JWT_CHECK);

    return NGX_CONF_OK;
}


/* nginx knows the variables that the configuration uses */

static ngx_int_t
ms_jwt_collect_claims(ngx_conf_t *cf, ms_jwt_main_conf_t *jmcf)
{
    ngx_str_t                   name;
    ngx_uint_t                  i;
    ngx_http_variable_t        *v;
    ngx_http_core_main_conf_t  *cmcf;

    static const size_t  prefix = sizeof(MS_JWT_CLAIM) - 1;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    v = cmcf->variables.elts;

    for (i = 0; i < cmcf->variables.nelts; i++) {

        if (v[i].name.len <= prefix
            || ngx_strncmp(v[i].name.data, MS_JWT_CLAIM,
                           prefix)
               != 0)
        {
            continue;
        }

        name.data = v[i].name.data + prefix;
        name.len = v[i].name.len - prefix;

        if (ms_jwt_add_claim(cf, &jmcf->claims, &name) == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ms_jwt_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;
    ms_jwt_main_conf_t         *jmcf;

    jmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_myservice_jwt_module);

    jmcf->zone = ms_jwt_add_zone(cf);

    if (jmcf->zone == NULL || ms_jwt_collect_claims(cf, jmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_ACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ms_jwt_handler;

    if (jmcf->fetched) {
        ms_fetch_filters();
    }

    return NGX_OK;
}


static ngx_int_t
ms_jwt_init_process(ngx_cycle_t *cycle)
{
    size_t               size;
    ngx_uint_t           i;
    ms_jwt_policy_t    **policies;
    ms_keyring_t       **keyrings;
    ms_jwt_main_conf_t  *jmcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    jmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_myservice_jwt_module);
    if (jmcf == NULL) {
        return NGX_OK;
    }

    ms_jwt_open_stats(jmcf->zone);

    ms_revocations_open(jmcf->revocations, jmcf->leeway);
    ms_revoked_open(jmcf->revocations ? ms_revocations_shared(ms_jwt_revoked)
                                      : NULL);
    ms_revocations_keep(cycle);

    size = MS_JWT_PACKED + ms_jwt_claims_size(jmcf->claims.nelts);
    policies = jmcf->policies.elts;

    for (i = 0; i < jmcf->policies.nelts; i++) {

        if (policies[i]->entries == 0) {
            continue;
        }

        policies[i]->cache = ms_cache_create(policies[i]->entries, size);

        if (policies[i]->cache == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "could not allocate a token cache of %ui entries",
                          policies[i]->entries);
            return NGX_ERROR;
        }
    }

    ms_key_check_start(cycle);

    keyrings = jmcf->keyrings.elts;

    for (i = 0; i < jmcf->keyrings.nelts; i++) {
        if (keyrings[i]->used && ms_jwks_init(cycle, keyrings[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ms_jwt_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t           i;
    ms_jwt_policy_t    **policies;
    ms_jwt_main_conf_t  *jmcf;

    jmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_myservice_jwt_module);
    if (jmcf == NULL) {
        return;
    }

    ms_jwks_exit();

    policies = jmcf->policies.elts;

    for (i = 0; i < jmcf->policies.nelts; i++) {

        if (policies[i]->cache) {
            ms_cache_free(policies[i]->cache);
            policies[i]->cache = NULL;
        }
    }
}
