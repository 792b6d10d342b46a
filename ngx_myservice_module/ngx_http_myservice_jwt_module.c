
/*
 * Access control: the request carries a session id and a token that was
 * issued for that session.  Verification is jwt/; here are the directives,
 * the order of the checks and the worker's cache of verified tokens.
 */

#include "ngx_http_myservice_module.h"

#include "jwt/cache.h"
#include "jwt/keys.h"
#include "jwt/token.h"


#define NGX_HTTP_MYSERVICE_JWT_CACHE      1024
#define NGX_HTTP_MYSERVICE_JWT_CACHE_MAX  1048576


/* what a cached decision depends on, shared by the locations that agree */

typedef struct {
    ms_keys_t                  *keys;
    ms_token_rules_t            rules;
    ngx_uint_t                  entries;
    ms_cache_t                 *cache;         /* of this worker */
} ngx_http_myservice_jwt_policy_t;


typedef struct {
    ngx_array_t                 policies;
                                     /* ngx_http_myservice_jwt_policy_t * */
} ngx_http_myservice_jwt_main_conf_t;


typedef struct {
    ngx_flag_t                          enable;
    ms_keys_t                          *keys;
    time_t                              leeway;
    ngx_str_t                           session_claim;
    ngx_int_t                           cache;
    ngx_http_myservice_jwt_policy_t    *policy;
} ngx_http_myservice_jwt_loc_conf_t;


typedef struct {
    const char                 *status;
} ngx_http_myservice_jwt_ctx_t;


static ngx_int_t ngx_http_myservice_jwt_handler(ngx_http_request_t *r);
static ms_token_reason_t ngx_http_myservice_jwt_verify(ngx_http_request_t *r,
    ngx_http_myservice_jwt_policy_t *policy, ngx_str_t *session,
    ngx_uint_t *match);
static ngx_int_t ngx_http_myservice_jwt_deny(ngx_http_request_t *r,
    const char *status, ngx_uint_t code, const char *message);

static ngx_int_t ngx_http_myservice_jwt_status_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);

static ngx_int_t ngx_http_myservice_jwt_preconfiguration(ngx_conf_t *cf);
static void *ngx_http_myservice_jwt_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_myservice_jwt_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_myservice_jwt_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static ngx_http_myservice_jwt_policy_t *ngx_http_myservice_jwt_policy(
    ngx_conf_t *cf, ngx_http_myservice_jwt_loc_conf_t *conf);
static char *ngx_http_myservice_jwt_secret_file(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_myservice_jwt_cache(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static void ngx_http_myservice_jwt_free_keys(void *data);
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

    { ngx_string("myservice_jwt_secret_file"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_myservice_jwt_secret_file,
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

    { ngx_string("myservice_jwt_cache"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_myservice_jwt_cache,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_myservice_jwt_module_ctx = {
    ngx_http_myservice_jwt_preconfiguration, /* preconfiguration */
    ngx_http_myservice_jwt_init,           /* postconfiguration */

    ngx_http_myservice_jwt_create_main_conf, /* create main configuration */
    NULL,                                  /* init main configuration */

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

      ngx_http_null_variable
};


/*
 * The order of the answers: no session id, a bad token, a bad session id, an
 * expired token, a token of another session.
 */

static ngx_int_t
ngx_http_myservice_jwt_handler(ngx_http_request_t *r)
{
    ngx_int_t                           rc;
    ngx_str_t                           session;
    ngx_uint_t                          match;
    ms_token_reason_t                   reason;
    ngx_http_myservice_jwt_loc_conf_t  *jlcf;

    jlcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_jwt_module);

    if (!jlcf->enable) {
        return NGX_DECLINED;
    }

    rc = ngx_http_myservice_session_id(r, &session);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_myservice_jwt_deny(r, "SESSION_MISSING",
                           NGX_HTTP_MYSERVICE_UNAUTHENTICATED,
                           (char *) ngx_http_myservice_missing_session.data);
    }

    reason = ngx_http_myservice_jwt_verify(r, jlcf->policy, &session, &match);

    if (reason == MS_TOKEN_INTERNAL) {
        ngx_log_error(NGX_LOG_CRIT, r->connection->log, 0,
                      "token verification failed for lack of resources");
        return ngx_http_myservice_jwt_deny(r, ms_token_reasons[reason].name,
                                           NGX_HTTP_MYSERVICE_INTERNAL,
                                           "internal error");
    }

    if (reason != MS_TOKEN_OK && reason != MS_TOKEN_EXPIRED) {
        return ngx_http_myservice_jwt_deny(r, ms_token_reasons[reason].name,
                                           NGX_HTTP_MYSERVICE_UNAUTHENTICATED,
                                           ms_token_reasons[reason].message);
    }

    if (rc == NGX_ABORT) {
        return ngx_http_myservice_jwt_deny(r, "SESSION_INVALID",
                           NGX_HTTP_MYSERVICE_INVALID_ARGUMENT,
                           (char *) ngx_http_myservice_invalid_session.data);
    }

    if (reason == MS_TOKEN_EXPIRED) {
        return ngx_http_myservice_jwt_deny(r, ms_token_reasons[reason].name,
                                           NGX_HTTP_MYSERVICE_UNAUTHENTICATED,
                                           ms_token_reasons[reason].message);
    }

    if (!match) {
        return ngx_http_myservice_jwt_deny(r, "SESSION_MISMATCH",
                                           NGX_HTTP_MYSERVICE_UNAUTHENTICATED,
                                           "session-id mismatch");
    }

    return NGX_OK;
}


static ms_token_reason_t
ngx_http_myservice_jwt_verify(ngx_http_request_t *r,
    ngx_http_myservice_jwt_policy_t *policy, ngx_str_t *session,
    ngx_uint_t *match)
{
    size_t             len;
    time_t             now;
    ms_token_t         token;
    const char        *text;
    ms_cache_key_t     key;
    ngx_table_elt_t   *h;
    ms_cache_value_t   value;
    ms_token_reason_t  reason;

    *match = 0;
    h = r->headers_in.authorization;

    if (h == NULL) {
        return MS_TOKEN_MISSING;
    }

    text = (char *) h->value.data;
    len = h->value.len;
    now = ngx_time();

    ms_token_strip(&text, &len);

    if (len == 0) {
        return MS_TOKEN_MISSING;
    }

    if (len > MS_TOKEN_MAX) {
        return MS_TOKEN_TOO_LONG;
    }

    if (policy->cache) {

        if (ms_cache_key(policy->cache, text, len, &key) != 0) {
            return MS_TOKEN_INTERNAL;
        }

        if (ms_cache_find(policy->cache, &key, now, &value)) {
            *match = value.session_len == session->len
                     && ngx_memcmp(value.session, session->data, session->len)
                        == 0;
            return MS_TOKEN_OK;
        }
    }

    reason = ms_token_verify(policy->keys, text, len, &policy->rules, now,
                             &token);

    if (reason != MS_TOKEN_OK) {
        return reason;
    }

    *match = token.session_len == session->len
             && ngx_memcmp(token.session, session->data, session->len) == 0;

    if (policy->cache) {
        ngx_memzero(&value, sizeof(ms_cache_value_t));

        value.session = token.session;
        value.session_len = token.session_len;
        value.role = "";
        value.expires = token.expires;

        ms_cache_put(policy->cache, &key, now, &value);
    }

    ms_token_free(&token);

    return MS_TOKEN_OK;
}


/* "status" and "message" are static */

static ngx_int_t
ngx_http_myservice_jwt_deny(ngx_http_request_t *r, const char *status,
    ngx_uint_t code, const char *message)
{
    ngx_str_t                      text;
    ngx_http_myservice_jwt_ctx_t  *ctx;

    ctx = ngx_palloc(r->pool, sizeof(ngx_http_myservice_jwt_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->status = status;
    ngx_http_set_ctx(r, ctx, ngx_http_myservice_jwt_module);

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "access denied: %s", status);

    text.data = (u_char *) message;
    text.len = ngx_strlen(message);

    return ngx_http_myservice_refuse(r, code, &text);
}


/* a call that is refused behind the token check has an upstream */

static ngx_int_t
ngx_http_myservice_jwt_status_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                           status;
    ngx_http_myservice_jwt_ctx_t       *ctx;
    ngx_http_myservice_jwt_loc_conf_t  *jlcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_myservice_jwt_module);
    jlcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_jwt_module);

    if (ctx) {
        status.data = (u_char *) ctx->status;
        status.len = ngx_strlen(ctx->status);

        return ngx_http_myservice_variable(v, &status);
    }

    if (!jlcf->enable || (ngx_http_myservice_refused(r) && !r->upstream)) {
        return ngx_http_myservice_variable(v, NULL);
    }

    ngx_str_set(&status, "OK");

    return ngx_http_myservice_variable(v, &status);
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
    ngx_http_myservice_jwt_main_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_myservice_jwt_main_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&conf->policies, cf->pool, 4,
                       sizeof(ngx_http_myservice_jwt_policy_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return conf;
}


static void *
ngx_http_myservice_jwt_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_myservice_jwt_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_myservice_jwt_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->session_claim = { 0, NULL };
     *     conf->policy = NULL;
     */

    conf->enable = NGX_CONF_UNSET;
    conf->keys = NGX_CONF_UNSET_PTR;
    conf->leeway = NGX_CONF_UNSET;
    conf->cache = NGX_CONF_UNSET;

    return conf;
}


static char *
ngx_http_myservice_jwt_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_myservice_jwt_loc_conf_t  *prev = parent;
    ngx_http_myservice_jwt_loc_conf_t  *conf = child;

    ngx_conf_merge_value(conf->enable, prev->enable, 0);
    ngx_conf_merge_ptr_value(conf->keys, prev->keys, NULL);
    ngx_conf_merge_value(conf->leeway, prev->leeway, 0);
    ngx_conf_merge_str_value(conf->session_claim, prev->session_claim,
                             "session_id");
    ngx_conf_merge_value(conf->cache, prev->cache,
                         NGX_HTTP_MYSERVICE_JWT_CACHE);

    if (!conf->enable) {
        return NGX_CONF_OK;
    }

    if (conf->keys == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"myservice_jwt\" is on but there is no key, "
                           "set \"myservice_jwt_secret_file\"");
        return NGX_CONF_ERROR;
    }

    if (conf->session_claim.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"myservice_jwt_session_claim\" is empty");
        return NGX_CONF_ERROR;
    }

    conf->policy = ngx_http_myservice_jwt_policy(cf, conf);
    if (conf->policy == NULL) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_http_myservice_jwt_policy_t *
ngx_http_myservice_jwt_policy(ngx_conf_t *cf,
    ngx_http_myservice_jwt_loc_conf_t *conf)
{
    ngx_uint_t                            i;
    ngx_http_myservice_jwt_policy_t      *policy, **policies;
    ngx_http_myservice_jwt_main_conf_t   *jmcf;

    jmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_myservice_jwt_module);

    policies = jmcf->policies.elts;

    for (i = 0; i < jmcf->policies.nelts; i++) {
        policy = policies[i];

        if (policy->keys == conf->keys
            && policy->rules.leeway == conf->leeway
            && policy->entries == (ngx_uint_t) conf->cache
            && ngx_strcmp(policy->rules.session_claim,
                          conf->session_claim.data) == 0)
        {
            return policy;
        }
    }

    policy = ngx_pcalloc(cf->pool, sizeof(ngx_http_myservice_jwt_policy_t));
    if (policy == NULL) {
        return NULL;
    }

    policy->keys = conf->keys;
    policy->entries = conf->cache;
    policy->rules.leeway = conf->leeway;
    policy->rules.session_claim = (char *) conf->session_claim.data;

    policies = ngx_array_push(&jmcf->policies);
    if (policies == NULL) {
        return NULL;
    }

    *policies = policy;

    return policy;
}


static char *
ngx_http_myservice_jwt_secret_file(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_myservice_jwt_loc_conf_t  *jlcf = conf;

    char                 error[NGX_MAX_ERROR_STR];
    ngx_str_t           *value, path;
    ngx_pool_cleanup_t  *cln;

    if (jlcf->keys != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;
    path = value[1];

    if (ngx_conf_full_name(cf->cycle, &path, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    jlcf->keys = ms_keys_from_secret_file((char *) path.data, error,
                                          sizeof(error));
    if (jlcf->keys == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s", error);
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_http_myservice_jwt_free_keys;
    cln->data = jlcf->keys;

    return NGX_CONF_OK;
}


static char *
ngx_http_myservice_jwt_cache(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_myservice_jwt_loc_conf_t  *jlcf = conf;

    ngx_str_t  *value;

    if (jlcf->cache != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        jlcf->cache = 0;
        return NGX_CONF_OK;
    }

    jlcf->cache = ngx_atoi(value[1].data, value[1].len);

    if (jlcf->cache < 1 || jlcf->cache > NGX_HTTP_MYSERVICE_JWT_CACHE_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\", expected \"off\" or the "
                           "number of tokens, 1-%d", &value[1],
                           NGX_HTTP_MYSERVICE_JWT_CACHE_MAX);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static void
ngx_http_myservice_jwt_free_keys(void *data)
{
    ms_keys_free(data);
}


static ngx_int_t
ngx_http_myservice_jwt_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_ACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_myservice_jwt_handler;

    return NGX_OK;
}


static ngx_int_t
ngx_http_myservice_jwt_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                            i;
    ngx_http_myservice_jwt_policy_t     **policies;
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

    policies = jmcf->policies.elts;

    for (i = 0; i < jmcf->policies.nelts; i++) {

        if (policies[i]->entries == 0) {
            continue;
        }

        policies[i]->cache = ms_cache_create(policies[i]->entries);

        if (policies[i]->cache == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "could not allocate a token cache of %ui entries",
                          policies[i]->entries);
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

    policies = jmcf->policies.elts;

    for (i = 0; i < jmcf->policies.nelts; i++) {

        if (policies[i]->cache) {
            ms_cache_free(policies[i]->cache);
            policies[i]->cache = NULL;
        }
    }
}
