
/*
 * Access control: the request carries a session id and a token that was
 * issued for that session.  Here are the directives and the variables.
 */

#include "ngx_http_myservice_jwt.h"
#include "ngx_http_myservice_module.h"


#define NGX_HTTP_MYSERVICE_JWT_CHECK      5000

#define NGX_HTTP_MYSERVICE_JWT_CLAIM      "myservice_jwt_claim_"


static ngx_int_t ngx_http_myservice_jwt_status_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_myservice_jwt_expires_variable(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_myservice_jwt_role_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_myservice_jwt_claim_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_myservice_jwt_claim_value(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, ngx_uint_t n);

static ngx_int_t ngx_http_myservice_jwt_preconfiguration(ngx_conf_t *cf);
static void *ngx_http_myservice_jwt_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_myservice_jwt_init_main_conf(ngx_conf_t *cf,
    void *conf);
static ngx_int_t ngx_http_myservice_jwt_collect_claims(ngx_conf_t *cf,
    ngx_http_myservice_jwt_main_conf_t *jmcf);
static ngx_int_t ngx_http_myservice_jwt_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_myservice_jwt_init_process(ngx_cycle_t *cycle);
static void ngx_http_myservice_jwt_exit_process(ngx_cycle_t *cycle);


static ngx_command_t  ngx_http_myservice_jwt_commands[] = {

    { ngx_string("myservice_jwt"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_myservice_jwt_loc_conf_t, enable),
      NULL },

    { ngx_string("myservice_jwt_forward"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_myservice_jwt_loc_conf_t, forward),
      NULL },

    { ngx_string("myservice_jwt_secret_file"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_myservice_jwt_files,
      NGX_HTTP_LOC_CONF_OFFSET,
      NGX_HTTP_MYSERVICE_JWT_SECRET,
      NULL },

    { ngx_string("myservice_jwt_key_file"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_myservice_jwt_files,
      NGX_HTTP_LOC_CONF_OFFSET,
      NGX_HTTP_MYSERVICE_JWT_FILE,
      NULL },

    { ngx_string("myservice_jwt_keys_uri"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE123,
      ngx_http_myservice_jwt_keys_uri,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("myservice_jwt_key_check"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_myservice_jwt_key_check,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("myservice_jwt_algorithms"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_myservice_jwt_algorithms,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("myservice_jwt_leeway"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_myservice_jwt_loc_conf_t, leeway),
      NULL },

    { ngx_string("myservice_jwt_session_claim"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_myservice_jwt_loc_conf_t, session_claim),
      NULL },

    { ngx_string("myservice_jwt_issuer"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_myservice_jwt_loc_conf_t, issuer),
      NULL },

    { ngx_string("myservice_jwt_audience"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_myservice_jwt_loc_conf_t, audience),
      NULL },

    { ngx_string("myservice_jwt_require"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_myservice_jwt_require,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("myservice_jwt_cache"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_myservice_jwt_cache_size,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_myservice_jwt_module_ctx = {
    ngx_http_myservice_jwt_preconfiguration, /* preconfiguration */
    ngx_http_myservice_jwt_init,           /* postconfiguration */

    ngx_http_myservice_jwt_create_main_conf, /* create main configuration */
    ngx_http_myservice_jwt_init_main_conf, /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_myservice_jwt_create_loc_conf, /* create location configuration */
    ngx_http_myservice_jwt_merge_loc_conf  /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_jwt_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_jwt_module_ctx,    /* module context */
    ngx_http_myservice_jwt_commands,       /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_myservice_jwt_init_process,   /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_myservice_jwt_exit_process,   /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_variable_t  ngx_http_myservice_jwt_variables[] = {

    { ngx_string("myservice_jwt_status"), NULL,
      ngx_http_myservice_jwt_status_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("myservice_jwt_expires"), NULL,
      ngx_http_myservice_jwt_expires_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("myservice_jwt_role"), NULL,
      ngx_http_myservice_jwt_role_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("myservice_jwt_claim_"), NULL,
      ngx_http_myservice_jwt_claim_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE|NGX_HTTP_VAR_PREFIX, 0 },

      ngx_http_null_variable
};


static ngx_int_t
ngx_http_myservice_jwt_status_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                      status;
    ngx_http_myservice_jwt_ctx_t  *ctx;

    ctx = ngx_http_myservice_jwt_get_ctx(r);

    if (ctx == NULL || ctx->policy == NULL) {
        return ngx_http_myservice_variable(v, NULL);
    }

    status.data = (u_char *) ngx_http_myservice_jwt_answer(ctx->reason).name;
    status.len = ngx_strlen(status.data);

    return ngx_http_myservice_variable(v, &status);
}


static ngx_int_t
ngx_http_myservice_jwt_expires_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                      expires;
    ngx_http_myservice_jwt_ctx_t  *ctx;

    ctx = ngx_http_myservice_jwt_get_ctx(r);

    if (ctx == NULL || ctx->claims == NULL) {
        return ngx_http_myservice_variable(v, NULL);
    }

    expires.data = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (expires.data == NULL) {
        return NGX_ERROR;
    }

    expires.len = ngx_sprintf(expires.data, "%L", ctx->expires)
                  - expires.data;

    return ngx_http_myservice_variable(v, &expires);
}


static ngx_int_t
ngx_http_myservice_jwt_role_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    return ngx_http_myservice_jwt_claim_value(r, v,
                                              NGX_HTTP_MYSERVICE_JWT_ROLE);
}


/* a name that is made at run time, as by ssi, may be of no known claim */

static ngx_int_t
ngx_http_myservice_jwt_claim_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t  *name = (ngx_str_t *) data;

    ngx_str_t                           *claim;
    ngx_uint_t                           i;
    ngx_http_myservice_jwt_main_conf_t  *jmcf;

    static const size_t  prefix = sizeof(NGX_HTTP_MYSERVICE_JWT_CLAIM) - 1;

    jmcf = ngx_http_get_module_main_conf(r, ngx_http_myservice_jwt_module);
    claim = jmcf->claims.elts;

    for (i = 0; i < jmcf->claims.nelts; i++) {
        if (claim[i].len == name->len - prefix
            && ngx_strncmp(claim[i].data, name->data + prefix, claim[i].len)
               == 0)
        {
            return ngx_http_myservice_jwt_claim_value(r, v, i);
        }
    }

    return ngx_http_myservice_variable(v, NULL);
}


static ngx_int_t
ngx_http_myservice_jwt_claim_value(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, ngx_uint_t n)
{
    ngx_str_t                      value;
    ngx_http_myservice_jwt_ctx_t  *ctx;

    ctx = ngx_http_myservice_jwt_get_ctx(r);

    if (ctx == NULL || ctx->claims == NULL
        || ngx_http_myservice_jwt_claim(ctx->claims, n, &value) != NGX_OK)
    {
        return ngx_http_myservice_variable(v, NULL);
    }

    return ngx_http_myservice_variable(v, &value);
}


static ngx_int_t
ngx_http_myservice_jwt_preconfiguration(ngx_conf_t *cf)
{
    return ngx_http_myservice_add_variables(cf,
                                            ngx_http_myservice_jwt_variables);
}


static void *
ngx_http_myservice_jwt_create_main_conf(ngx_conf_t *cf)
{
    ngx_str_t                            role = ngx_string("role");
    ngx_http_myservice_jwt_main_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_myservice_jwt_main_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&conf->policies, cf->pool, 4,
                       sizeof(ngx_http_myservice_jwt_policy_t *))
        != NGX_OK
        || ngx_array_init(&conf->keyrings, cf->pool, 4,
                          sizeof(ngx_http_myservice_jwt_keyring_t *))
           != NGX_OK
        || ngx_array_init(&conf->claims, cf->pool, 4, sizeof(ngx_str_t))
           != NGX_OK)
    {
        return NULL;
    }

    if (ngx_http_myservice_jwt_add_claim(cf, conf, &role)
        != NGX_HTTP_MYSERVICE_JWT_ROLE)
    {
        return NULL;
    }

    conf->key_check = NGX_CONF_UNSET_MSEC;

    return conf;
}


static char *
ngx_http_myservice_jwt_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_myservice_jwt_main_conf_t  *jmcf = conf;

    ngx_conf_init_msec_value(jmcf->key_check, NGX_HTTP_MYSERVICE_JWT_CHECK);

    return NGX_CONF_OK;
}


/* nginx knows the variables that the configuration uses */

static ngx_int_t
ngx_http_myservice_jwt_collect_claims(ngx_conf_t *cf,
    ngx_http_myservice_jwt_main_conf_t *jmcf)
{
    ngx_str_t                   name;
    ngx_uint_t                  i;
    ngx_http_variable_t        *v;
    ngx_http_core_main_conf_t  *cmcf;

    static const size_t  prefix = sizeof(NGX_HTTP_MYSERVICE_JWT_CLAIM) - 1;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    v = cmcf->variables.elts;

    for (i = 0; i < cmcf->variables.nelts; i++) {

        if (v[i].name.len <= prefix
            || ngx_strncmp(v[i].name.data, NGX_HTTP_MYSERVICE_JWT_CLAIM,
                           prefix)
               != 0)
        {
            continue;
        }

        name.data = v[i].name.data + prefix;
        name.len = v[i].name.len - prefix;

        if (ngx_http_myservice_jwt_add_claim(cf, jmcf, &name) == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_myservice_jwt_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt                 *h;
    ngx_http_core_main_conf_t           *cmcf;
    ngx_http_myservice_jwt_main_conf_t  *jmcf;

    jmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_myservice_jwt_module);

    if (ngx_http_myservice_jwt_add_zone(cf, jmcf) != NGX_OK
        || ngx_http_myservice_jwt_collect_claims(cf, jmcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_ACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_myservice_jwt_handler;

    if (jmcf->fetched) {
        ngx_http_myservice_jwt_fetch_filters();
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_myservice_jwt_init_process(ngx_cycle_t *cycle)
{
    size_t                                size;
    ngx_uint_t                            i;
    ngx_http_myservice_jwt_policy_t     **policies;
    ngx_http_myservice_jwt_keyring_t    **keyrings;
    ngx_http_myservice_jwt_main_conf_t   *jmcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    jmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_myservice_jwt_module);
    if (jmcf == NULL) {
        return NGX_OK;
    }

    ngx_http_myservice_jwt_open_stats(jmcf);

    size = ngx_http_myservice_jwt_claims_size(jmcf->claims.nelts);
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

    ngx_http_myservice_jwt_watch_keys(cycle, jmcf);

    keyrings = jmcf->keyrings.elts;

    for (i = 0; i < jmcf->keyrings.nelts; i++) {
        if (keyrings[i]->used
            && ngx_http_myservice_jwt_fetch_init(cycle, keyrings[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_http_myservice_jwt_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                            i;
    ngx_http_myservice_jwt_policy_t     **policies;
    ngx_http_myservice_jwt_main_conf_t   *jmcf;

    jmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_myservice_jwt_module);
    if (jmcf == NULL) {
        return;
    }

    ngx_http_myservice_jwt_fetch_exit();

    policies = jmcf->policies.elts;

    for (i = 0; i < jmcf->policies.nelts; i++) {

        if (policies[i]->cache) {
            ms_cache_free(policies[i]->cache);
            policies[i]->cache = NULL;
        }
    }
}
