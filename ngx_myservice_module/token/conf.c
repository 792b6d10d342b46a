
/*
 * What a location demands of tokens: its directives, and the policy that
 * locations with the same demands share.
 */

#include "core/metadata.h"
#include "core/values.h"
#include "token/conf.h"
#include "token/revocations.h"
#include "token/revocations_file.h"


#define MS_JWT_CACHE      1024
#define MS_JWT_CACHE_MAX  1048576

#define MS_JWT_INTERVAL  300000                     /* milliseconds */
#define MS_JWT_TIMEOUT   10000

#define MS_JWT_KEEP      86400                      /* seconds */


static char *ms_jwt_complete(ngx_conf_t *cf, ms_jwt_loc_conf_t *conf);
static ms_jwt_policy_t *ms_jwt_policy(ngx_conf_t *cf, ms_jwt_loc_conf_t *conf,
    ms_keyring_t *keyring);
static ngx_uint_t ms_jwt_same(const char *a, const char *b);
static char *ms_jwt_revocations_zone(ngx_conf_t *cf,
    const ms_value_t *parameter, ngx_str_t *value, void *conf);
static char *ms_jwt_revocations_file(ngx_conf_t *cf,
    const ms_value_t *parameter, ngx_str_t *value, void *conf);
static ms_key_source_t *ms_jwt_add_source(ngx_conf_t *cf,
    ms_jwt_loc_conf_t *jlcf, ms_key_source_e type, ngx_str_t *name);


static const ms_value_t  ms_jwt_keys_uri_parameters[] = {

    { ngx_string("interval="), ms_value_time,
      offsetof(ms_key_source_t, interval), 100, 86400000, NULL, 0 },

    { ngx_string("timeout="), ms_value_time,
      offsetof(ms_key_source_t, timeout), 100, 86400000, NULL, 0 },

      ms_null_value
};


static const ms_value_t  ms_jwt_cache_value[] = {

    { ngx_null_string, ms_value_number,
      offsetof(ms_jwt_loc_conf_t, cache), 1, MS_JWT_CACHE_MAX, NULL,
      MS_VALUE_OFF },

      ms_null_value
};


static const ms_value_t  ms_jwt_key_check_value[] = {

    { ngx_null_string, ms_value_time,
      offsetof(ms_jwt_main_conf_t, key_check), 100, 86400000, NULL,
      MS_VALUE_OFF },

      ms_null_value
};


static const ms_value_t  ms_jwt_revocations_parameters[] = {

    { ngx_string("zone="), ms_jwt_revocations_zone, 0, 0, 0, NULL, 0 },

    { ngx_string("file="), ms_jwt_revocations_file, 0, 0, 0, NULL, 0 },

    { ngx_string("keep="), ms_value_time,
      offsetof(ms_jwt_main_conf_t, revocations_keep), 1000,
      MS_REVOCATION_MAX * (ngx_int_t) 1000, NULL, MS_VALUE_SEC },

      ms_null_value
};


void *
ms_jwt_create_loc_conf(ngx_conf_t *cf)
{
    ms_jwt_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ms_jwt_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->session_claim = { 0, NULL };
     *     conf->subject = { 0, NULL };
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
ms_jwt_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ms_jwt_loc_conf_t  *prev = parent;
    ms_jwt_loc_conf_t  *conf = child;

    ngx_conf_merge_value(conf->enable, prev->enable, 0);
    ngx_conf_merge_value(conf->forward, prev->forward, 1);
    ngx_conf_merge_ptr_value(conf->sources, prev->sources, NULL);
    ngx_conf_merge_value(conf->leeway, prev->leeway, 0);
    ngx_conf_merge_str_value(conf->session_claim, prev->session_claim,
                             "session_id");
    ngx_conf_merge_str_value(conf->subject, prev->subject, "sub");
    ngx_conf_merge_str_value(conf->issuer, prev->issuer, "");
    ngx_conf_merge_str_value(conf->audience, prev->audience, "");
    ngx_conf_merge_ptr_value(conf->require, prev->require, NULL);
    ngx_conf_merge_value(conf->cache, prev->cache, MS_JWT_CACHE);

    if (conf->algorithms == 0) {
        conf->algorithms = prev->algorithms;
    }

    return ms_jwt_complete(cf, conf);
}


static char *
ms_jwt_complete(ngx_conf_t *cf, ms_jwt_loc_conf_t *conf)
{
    ms_keyring_t        *keyring;
    ms_jwt_main_conf_t  *jmcf;

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

    jmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_myservice_jwt_module);

    keyring = ms_keyring(cf, &jmcf->keyrings, conf->sources, conf->algorithms);
    if (keyring == NULL) {
        return NGX_CONF_ERROR;
    }

    if (keyring->server) {
        jmcf->fetched = 1;
    }

    if (!conf->enable) {
        return NGX_CONF_OK;
    }

    conf->policy = ms_jwt_policy(cf, conf, keyring);

    return conf->policy ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static ms_jwt_policy_t *
ms_jwt_policy(ngx_conf_t *cf, ms_jwt_loc_conf_t *conf, ms_keyring_t *keyring)
{
    ngx_uint_t             i;
    ms_token_rules_t       rules;
    const char            *subject;
    ms_from_t             *from;
    ms_metadata_loc_conf_t  *mlcf;
    ms_jwt_policy_t       *policy, **policies;
    ms_jwt_main_conf_t    *jmcf;

    jmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_myservice_jwt_module);

    /* merged before this module */

    mlcf = ngx_http_conf_get_module_loc_conf(cf,
                                          ngx_http_myservice_metadata_module);
    mlcf->tokens = 1;
    from = mlcf->from;

    subject = conf->subject.len ? (char *) conf->subject.data : NULL;

    ngx_memzero(&rules, sizeof(ms_token_rules_t));

    rules.leeway = conf->leeway;
    rules.session_claim = from->claim ? (char *) from->name.data
                                      : (char *) conf->session_claim.data;
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
            && policy->from == from
            && ms_jwt_same(policy->subject, subject)
            && policy->entries == (ngx_uint_t) conf->cache
            && policy->rules.leeway == rules.leeway
            && policy->rules.require == rules.require
            && ms_jwt_same(policy->rules.session_claim,
                           rules.session_claim)
            && ms_jwt_same(policy->rules.issuer, rules.issuer)
            && ms_jwt_same(policy->rules.audience,
                           rules.audience))
        {
            return policy;
        }
    }

    policy = ngx_pcalloc(cf->pool, sizeof(ms_jwt_policy_t));
    if (policy == NULL) {
        return NULL;
    }

    keyring->used = 1;
    policy->keyring = keyring;
    policy->from = from;
    policy->subject = subject;
    policy->entries = conf->cache;
    policy->rules = rules;
    jmcf->leeway = ngx_max(jmcf->leeway, conf->leeway);

    policies = ngx_array_push(&jmcf->policies);
    if (policies == NULL) {
        return NULL;
    }

    *policies = policy;

    return policy;
}


static ngx_uint_t
ms_jwt_same(const char *a, const char *b)
{
    return a == b || (a && b && ngx_strcmp(a, b) == 0);
}


char *
ms_jwt_files(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_jwt_loc_conf_t  *jlcf = conf;

    ngx_str_t   *value, path;
    ngx_uint_t   i;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        path = value[i];

        if (ngx_conf_full_name(cf->cycle, &path, 1) != NGX_OK
            || ms_jwt_add_source(cf, jlcf, cmd->offset, &path)
               == NULL)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ms_key_source_t *
ms_jwt_add_source(ngx_conf_t *cf, ms_jwt_loc_conf_t *jlcf,
    ms_key_source_e type, ngx_str_t *name)
{
    ngx_uint_t        i;
    ms_key_source_t  *source;

    if (jlcf->sources == NGX_CONF_UNSET_PTR) {
        jlcf->sources = ngx_array_create(cf->pool, 2, sizeof(ms_key_source_t));
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
        ngx_memzero(source, sizeof(ms_key_source_t));
        source->type = type;
        source->name = *name;
    }

    return source;
}


char *
ms_jwt_keys_uri(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_jwt_loc_conf_t  *jlcf = conf;

    ngx_str_t        *value;
    ms_key_source_t  *source;

    value = cf->args->elts;

    if (value[1].len == 0 || value[1].data[0] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\", expected the URI of a location of "
                           "this server, \"/...\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    source = ms_jwt_add_source(cf, jlcf, MS_KEY_SOURCE_URI, &value[1]);
    if (source == NULL) {
        return NGX_CONF_ERROR;
    }

    source->interval = MS_JWT_INTERVAL;
    source->timeout = MS_JWT_TIMEOUT;

    return ms_values_parse(cf, ms_jwt_keys_uri_parameters, 2, source);
}


char *
ms_jwt_algorithms(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_jwt_loc_conf_t  *jlcf = conf;

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
ms_jwt_require(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_jwt_loc_conf_t  *jlcf = conf;

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


/* "off", "claim=name" or "name" */

char *
ms_jwt_subject_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_jwt_loc_conf_t  *jlcf = conf;

    ngx_str_t  *value, name;

    if (jlcf->subject.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    name = value[1];

    if (ngx_strncmp(name.data, "claim=", 6) == 0) {
        name.data += 6;
        name.len -= 6;

    } else if (ngx_strcmp(name.data, "off") == 0) {
        ngx_str_set(&jlcf->subject, "");
        return NGX_CONF_OK;
    }

    if (name.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\", expected \"off\" or the name of "
                           "a claim, \"claim=name\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    jlcf->subject = name;

    return NGX_CONF_OK;
}


char *
ms_jwt_cache_size(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_jwt_loc_conf_t  *jlcf = conf;

    if (jlcf->cache != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    return ms_values_parse(cf, ms_jwt_cache_value, 1, jlcf);
}


char *
ms_jwt_key_check(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_jwt_main_conf_t  *jmcf = conf;

    if (jmcf->key_check != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    return ms_values_parse(cf, ms_jwt_key_check_value, 1, jmcf);
}


char *
ms_jwt_revocations(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_jwt_main_conf_t  *jmcf = conf;

    if (jmcf->revocations) {
        return "is duplicate";
    }

    jmcf->revocations_keep = MS_JWT_KEEP;

    if (ms_values_parse(cf, ms_jwt_revocations_parameters, 1, jmcf)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    return jmcf->revocations ? NGX_CONF_OK : "needs \"zone=name:size\"";
}


static char *
ms_jwt_revocations_zone(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf)
{
    ms_jwt_main_conf_t  *jmcf = conf;

    u_char     *p;
    ssize_t     size;
    ngx_str_t   name, text;

    p = ngx_strlchr(value->data, value->data + value->len, ':');
    size = NGX_ERROR;

    if (p) {
        name.data = value->data;
        name.len = p - value->data;
        text.data = p + 1;
        text.len = value->data + value->len - text.data;
        size = ngx_parse_size(&text);
    }

    if (p == NULL || name.len == 0
        || size < (ssize_t) (8 * ngx_pagesize))
    {
        return ms_value_invalid(cf, parameter, value,
                                "a name and a size from 32k on, \"name:1m\"");
    }

    jmcf->revocations = ms_revocations_zone(cf, &name, size,
                                            &jmcf->revocations_file,
                                            ms_revocations_load_file);

    return jmcf->revocations ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static char *
ms_jwt_revocations_file(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf)
{
    ms_jwt_main_conf_t  *jmcf = conf;

    if (value->len == 0) {
        return ms_value_invalid(cf, parameter, value, "a path");
    }

    jmcf->revocations_file = *value;

    return ngx_conf_full_name(cf->cycle, &jmcf->revocations_file, 0) == NGX_OK
           ? NGX_CONF_OK : NGX_CONF_ERROR;
}
