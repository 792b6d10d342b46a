
/*
 * The parameters of myservice_sessions.
 */

#include "ngx_http_myservice_sessions.h"


#define NGX_HTTP_MYSERVICE_TTL_MIN   1000
#define NGX_HTTP_MYSERVICE_ZONE_MIN  (8 * ngx_pagesize)


static char *ngx_http_myservice_sessions_value(ngx_conf_t *cf,
    ngx_str_t *value, ngx_http_complex_value_t **complex);
static char *ngx_http_myservice_sessions_parameter(ngx_conf_t *cf,
    ngx_http_myservice_sessions_srv_conf_t *conf, ngx_str_t *value);
static char *ngx_http_myservice_sessions_time(ngx_conf_t *cf,
    ngx_str_t *value, size_t prefix, ngx_msec_t *ms);
static char *ngx_http_myservice_sessions_zone(ngx_conf_t *cf,
    ngx_http_myservice_sessions_srv_conf_t *conf, ngx_str_t *value);


char *
ngx_http_myservice_sessions_parse(ngx_conf_t *cf,
    ngx_http_myservice_sessions_srv_conf_t *scf)
{
    char        *rv;
    ngx_str_t   *value;
    ngx_uint_t   i;

    value = cf->args->elts;

    /* the usual key needs no evaluation */

    rv = ngx_strcmp(value[1].data, "$myservice_session") == 0
         ? NGX_CONF_OK
         : ngx_http_myservice_sessions_value(cf, &value[1], &scf->key);

    for (i = 2; rv == NGX_CONF_OK && i < cf->args->nelts; i++) {
        rv = ngx_http_myservice_sessions_parameter(cf, scf, &value[i]);
    }

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (scf->zone == NULL) {
        return "has no \"zone=name:size\" parameter";
    }

    scf->ttl_text.data = ngx_pnalloc(cf->pool, NGX_INT64_LEN);
    if (scf->ttl_text.data == NULL) {
        return NGX_CONF_ERROR;
    }

    scf->ttl_text.len = ngx_sprintf(scf->ttl_text.data, "%M", scf->ttl)
                        - scf->ttl_text.data;

    return NGX_CONF_OK;
}


static char *
ngx_http_myservice_sessions_value(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_complex_value_t **complex)
{
    ngx_http_compile_complex_value_t  ccv;

    *complex = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (*complex == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = value;
    ccv.complex_value = *complex;

    return ngx_http_compile_complex_value(&ccv) == NGX_OK ? NGX_CONF_OK
                                                          : NGX_CONF_ERROR;
}


static char *
ngx_http_myservice_sessions_parameter(ngx_conf_t *cf,
    ngx_http_myservice_sessions_srv_conf_t *conf, ngx_str_t *value)
{
    ngx_int_t  n;
    ngx_str_t  s;

    if (ngx_strncmp(value->data, "zone=", 5) == 0) {
        return ngx_http_myservice_sessions_zone(cf, conf, value);
    }

    if (ngx_strncmp(value->data, "tries=", 6) == 0) {
        n = ngx_atoi(value->data + 6, value->len - 6);

        if (n < 1 || n > 64) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\", expected 1-64", value);
            return NGX_CONF_ERROR;
        }

        conf->tries = n;

        return NGX_CONF_OK;
    }

    if (ngx_strncmp(value->data, "ttl=", 4) == 0) {
        return ngx_http_myservice_sessions_time(cf, value, 4, &conf->ttl);
    }

    if (ngx_strncmp(value->data, "lifetime=", 9) == 0) {
        return ngx_http_myservice_sessions_time(cf, value, 9,
                                                &conf->lifetime);
    }

    if (ngx_strncmp(value->data, "expires=", 8) == 0) {
        s.data = value->data + 8;
        s.len = value->len - 8;

        if (s.len == 0 || conf->expires) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\", expected one value", value);
            return NGX_CONF_ERROR;
        }

        return ngx_http_myservice_sessions_value(cf, &s, &conf->expires);
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                       value);

    return NGX_CONF_ERROR;
}


static char *
ngx_http_myservice_sessions_time(ngx_conf_t *cf, ngx_str_t *value,
    size_t prefix, ngx_msec_t *ms)
{
    ngx_str_t  s;

    s.data = value->data + prefix;
    s.len = value->len - prefix;

    *ms = ngx_parse_time(&s, 0);

    if (*ms == (ngx_msec_t) NGX_ERROR || *ms < NGX_HTTP_MYSERVICE_TTL_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\", expected a time of at least 1s",
                           value);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_myservice_sessions_zone(ngx_conf_t *cf,
    ngx_http_myservice_sessions_srv_conf_t *conf, ngx_str_t *value)
{
    u_char     *p;
    ssize_t     size;
    ngx_str_t   name, s;

    name.data = value->data + 5;
    p = (u_char *) ngx_strchr(name.data, ':');

    if (p == NULL || p == name.data || conf->zone) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\", expected one \"zone=name:size\"",
                           value);
        return NGX_CONF_ERROR;
    }

    name.len = p - name.data;

    s.data = p + 1;
    s.len = value->data + value->len - s.data;

    size = ngx_parse_size(&s);

    if (size == NGX_ERROR || size < (ssize_t) NGX_HTTP_MYSERVICE_ZONE_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size in \"%V\", expected at least %uzk",
                           value, NGX_HTTP_MYSERVICE_ZONE_MIN / 1024);
        return NGX_CONF_ERROR;
    }

    conf->zone = ngx_http_myservice_zone_add(cf, &name, size,
                                         &ngx_http_myservice_sessions_module);

    return conf->zone ? NGX_CONF_OK : NGX_CONF_ERROR;
}
