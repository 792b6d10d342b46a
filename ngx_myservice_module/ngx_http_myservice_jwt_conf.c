
/*
 * What a location demands of tokens: its directives, and the policy that
 * locations with the same demands share.
 */

#include "ngx_http_myservice_jwt.h"


#define NGX_HTTP_MYSERVICE_JWT_CACHE      1024
#define NGX_HTTP_MYSERVICE_JWT_CACHE_MAX  1048576

#define NGX_HTTP_MYSERVICE_JWT_INTERVAL   300000    /* milliseconds */
#define NGX_HTTP_MYSERVICE_JWT_TIMEOUT    10000


static char *ngx_http_myservice_jwt_complete(ngx_conf_t *cf,
    ngx_http_myservice_jwt_loc_conf_t *conf);
static ngx_http_myservice_jwt_policy_t *ngx_http_myservice_jwt_policy(
    ngx_conf_t *cf, ngx_http_myservice_jwt_loc_conf_t *conf,
    ngx_http_myservice_jwt_keyring_t *keyring);
static ngx_uint_t ngx_http_myservice_jwt_same(const char *a, const char *b);
static ngx_http_myservice_jwt_source_t *ngx_http_myservice_jwt_add_source(
    ngx_conf_t *cf, ngx_http_myservice_jwt_loc_conf_t *jlcf,
    ngx_http_myservice_jwt_source_e type, ngx_str_t *name);
static ngx_int_t ngx_http_myservice_jwt_time(ngx_conf_t *cf, ngx_str_t *value,
    const char *name, ngx_msec_t *ms);


void *
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
     *     conf->issuer = { 0, NULL };
     *     conf->audience = { 0, NULL };
     *     conf->algorithms = 0;
     *     conf->policy = NULL;
     */

    conf->enable = NGX_CONF_UNSET;
    conf->forward = NGX_CONF_UNSET;
    conf->sources = NGX_CONF_UNSET_PTR;
    conf->leeway = NGX_CONF_UNSET;
    conf->require = NGX_CONF_UNSET_PTR;
    conf->cache = NGX_CONF_UNSET;

    return conf;
}


char *
ngx_http_myservice_jwt_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_myservice_jwt_loc_conf_t  *prev = parent;
    ngx_http_myservice_jwt_loc_conf_t  *conf = child;

    ngx_conf_merge_value(conf->enable, prev->enable, 0);
    ngx_conf_merge_value(conf->forward, prev->forward, 1);
    ngx_conf_merge_ptr_value(conf->sources, prev->sources, NULL);
    ngx_conf_merge_value(conf->leeway, prev->leeway, 0);
    ngx_conf_merge_str_value(conf->session_claim, prev->session_claim,
                             "session_id");
    ngx_conf_merge_str_value(conf->issuer, prev->issuer, "");
    ngx_conf_merge_str_value(conf->audience, prev->audience, "");
    ngx_conf_merge_ptr_value(conf->require, prev->require, NULL);
    ngx_conf_merge_value(conf->cache, prev->cache,
                         NGX_HTTP_MYSERVICE_JWT_CACHE);

    if (conf->algorithms == 0) {
        conf->algorithms = prev->algorithms;
    }

    return ngx_http_myservice_jwt_complete(cf, conf);
}


static char *
ngx_http_myservice_jwt_complete(ngx_conf_t *cf,
    ngx_http_myservice_jwt_loc_conf_t *conf)
{
    ngx_http_myservice_jwt_keyring_t  *keyring;

    if (conf->session_claim.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"myservice_jwt_session_claim\" is empty");
        return NGX_CONF_ERROR;
    }

    if (conf->sources == NULL) {

        if (!conf->enable) {
            return NGX_CONF_OK;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"myservice_jwt\" is on but there is no key, set "
                           "\"myservice_jwt_key_file\", "
                           "\"myservice_jwt_secret_file\" or "
                           "\"myservice_jwt_keys_uri\"");
        return NGX_CONF_ERROR;
    }

    /* bad keys are refused, used or not */

    keyring = ngx_http_myservice_jwt_keyring(cf, conf->sources,
                                             conf->algorithms);
    if (keyring == NULL) {
        return NGX_CONF_ERROR;
    }

    if (!conf->enable) {
        return NGX_CONF_OK;
    }

    conf->policy = ngx_http_myservice_jwt_policy(cf, conf, keyring);

    return conf->policy ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static ngx_http_myservice_jwt_policy_t *
ngx_http_myservice_jwt_policy(ngx_conf_t *cf,
    ngx_http_myservice_jwt_loc_conf_t *conf,
    ngx_http_myservice_jwt_keyring_t *keyring)
{
    ngx_uint_t                            i;
    ms_token_rules_t                      rules;
    ngx_http_myservice_jwt_policy_t      *policy, **policies;
    ngx_http_myservice_jwt_main_conf_t   *jmcf;

    jmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_myservice_jwt_module);

    ngx_memzero(&rules, sizeof(ms_token_rules_t));

    rules.leeway = conf->leeway;
    rules.session_claim = (char *) conf->session_claim.data;
    rules.issuer = conf->issuer.len ? (char *) conf->issuer.data : NULL;
    rules.audience = conf->audience.len ? (char *) conf->audience.data : NULL;

    if (conf->require) {
        rules.require = conf->require->elts;
        rules.nrequire = conf->require->nelts;
    }

    policies = jmcf->policies.elts;

    for (i = 0; i < jmcf->policies.nelts; i++) {
        policy = policies[i];

        if (policy->keyring == keyring
            && policy->entries == (ngx_uint_t) conf->cache
            && policy->rules.leeway == rules.leeway
            && policy->rules.require == rules.require
            && ngx_http_myservice_jwt_same(policy->rules.session_claim,
                                           rules.session_claim)
            && ngx_http_myservice_jwt_same(policy->rules.issuer, rules.issuer)
            && ngx_http_myservice_jwt_same(policy->rules.audience,
                                           rules.audience))
        {
            return policy;
        }
    }

    policy = ngx_pcalloc(cf->pool, sizeof(ngx_http_myservice_jwt_policy_t));
    if (policy == NULL) {
        return NULL;
    }

    keyring->used = 1;
    policy->keyring = keyring;
    policy->entries = conf->cache;
    policy->rules = rules;

    policies = ngx_array_push(&jmcf->policies);
    if (policies == NULL) {
        return NULL;
    }

    *policies = policy;

    return policy;
}


static ngx_uint_t
ngx_http_myservice_jwt_same(const char *a, const char *b)
{
    return a == b || (a && b && ngx_strcmp(a, b) == 0);
}


char *
ngx_http_myservice_jwt_files(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_myservice_jwt_loc_conf_t  *jlcf = conf;

    ngx_str_t   *value, path;
    ngx_uint_t   i;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        path = value[i];

        if (ngx_conf_full_name(cf->cycle, &path, 1) != NGX_OK
            || ngx_http_myservice_jwt_add_source(cf, jlcf, cmd->offset, &path)
               == NULL)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_http_myservice_jwt_source_t *
ngx_http_myservice_jwt_add_source(ngx_conf_t *cf,
    ngx_http_myservice_jwt_loc_conf_t *jlcf,
    ngx_http_myservice_jwt_source_e type, ngx_str_t *name)
{
    ngx_uint_t                        i;
    ngx_http_myservice_jwt_source_t  *source;

    if (jlcf->sources == NGX_CONF_UNSET_PTR) {
        jlcf->sources = ngx_array_create(cf->pool, 2,
                                     sizeof(ngx_http_myservice_jwt_source_t));
        if (jlcf->sources == NULL) {
            return NULL;
        }
    }

    source = jlcf->sources->elts;

    for (i = 0; i < jlcf->sources->nelts; i++) {
        if (source[i].name.len == name->len
            && ngx_strncmp(source[i].name.data, name->data, name->len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate source of keys \"%V\"", name);
            return NULL;
        }
    }

    source = ngx_array_push(jlcf->sources);

    if (source) {
        ngx_memzero(source, sizeof(ngx_http_myservice_jwt_source_t));
        source->type = type;
        source->name = *name;
    }

    return source;
}


char *
ngx_http_myservice_jwt_keys_uri(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_myservice_jwt_loc_conf_t  *jlcf = conf;

    ngx_str_t                        *value;
    ngx_uint_t                        i;
    ngx_http_myservice_jwt_source_t  *source;

    value = cf->args->elts;

    if (value[1].len == 0 || value[1].data[0] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\", expected the URI of a location of "
                           "this server, \"/...\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    source = ngx_http_myservice_jwt_add_source(cf, jlcf,
                                               NGX_HTTP_MYSERVICE_JWT_URI,
                                               &value[1]);
    if (source == NULL) {
        return NGX_CONF_ERROR;
    }

    source->interval = NGX_HTTP_MYSERVICE_JWT_INTERVAL;
    source->timeout = NGX_HTTP_MYSERVICE_JWT_TIMEOUT;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_http_myservice_jwt_time(cf, &value[i], "interval=",
                                        &source->interval)
            != NGX_OK
            && ngx_http_myservice_jwt_time(cf, &value[i], "timeout=",
                                           &source->timeout)
               != NGX_OK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\", expected "
                               "\"interval=\" or \"timeout=\" with a time of "
                               "100ms to 1d", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* NGX_DECLINED: it is something else, or not such a time */

static ngx_int_t
ngx_http_myservice_jwt_time(ngx_conf_t *cf, ngx_str_t *value,
    const char *name, ngx_msec_t *ms)
{
    size_t      len;
    ngx_str_t   s;
    ngx_msec_t  time;

    len = ngx_strlen(name);

    if (value->len <= len || ngx_strncmp(value->data, name, len) != 0) {
        return NGX_DECLINED;
    }

    s.data = value->data + len;
    s.len = value->len - len;

    time = ngx_parse_time(&s, 0);

    if (time == (ngx_msec_t) NGX_ERROR || time < 100 || time > 86400000) {
        return NGX_DECLINED;
    }

    *ms = time;

    return NGX_OK;
}


char *
ngx_http_myservice_jwt_algorithms(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_myservice_jwt_loc_conf_t  *jlcf = conf;

    int          alg;
    u_char       known[MS_ALGS * 8], *p;
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (jlcf->algorithms) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        alg = ms_alg_find((char *) value[i].data, value[i].len);

        if (alg >= 0) {
            jlcf->algorithms |= MS_ALG_BIT(alg);
            continue;
        }

        p = known;

        for (alg = 0; alg < MS_ALGS; alg++) {
            p = ngx_sprintf(p, " %s", ms_alg_name(alg));
        }

        *p = '\0';

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown algorithm \"%V\", known are%s", &value[i],
                           known);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* "claim" or "claim=value" */

char *
ngx_http_myservice_jwt_require(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_myservice_jwt_loc_conf_t  *jlcf = conf;

    u_char            *p;
    ngx_str_t         *value;
    ngx_uint_t         i;
    ms_token_claim_t  *claim;

    if (jlcf->require == NGX_CONF_UNSET_PTR) {
        jlcf->require = ngx_array_create(cf->pool, cf->args->nelts,
                                         sizeof(ms_token_claim_t));
        if (jlcf->require == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        p = ngx_strlchr(value[i].data, value[i].data + value[i].len, '=');

        if (value[i].len == 0 || p == value[i].data) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\", expected \"claim\" or "
                               "\"claim=value\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        claim = ngx_array_push(jlcf->require);
        if (claim == NULL) {
            return NGX_CONF_ERROR;
        }

        claim->name = (char *) value[i].data;
        claim->value = NULL;

        if (p) {
            *p = '\0';
            claim->value = (char *) p + 1;
        }
    }

    return NGX_CONF_OK;
}


char *
ngx_http_myservice_jwt_cache_size(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
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


char *
ngx_http_myservice_jwt_key_check(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_myservice_jwt_main_conf_t  *jmcf = conf;

    ngx_str_t  *value;

    if (jmcf->key_check != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        jmcf->key_check = 0;
        return NGX_CONF_OK;
    }

    jmcf->key_check = ngx_parse_time(&value[1], 0);

    if (jmcf->key_check == (ngx_msec_t) NGX_ERROR || jmcf->key_check < 100
        || jmcf->key_check > 86400000)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\", expected \"off\" or a time "
                           "of 100ms to 1d", &value[1]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
