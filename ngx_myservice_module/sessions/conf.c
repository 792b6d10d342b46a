
/*
 * The parameters of myservice_sessions.
 */

#include "core/values.h"
#include "sessions/sessions.h"
#include "zone/init.h"


#define MS_TTL_MIN   1000
#define MS_ZONE_MIN  (8 * ngx_pagesize)


static char *ms_sessions_value(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_complex_value_t **complex);
static char *ms_sessions_expires(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf);
static char *ms_sessions_zone(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf);


static const char  *ms_sessions_learn[] = { "start", "always", NULL };

static const ms_value_t  ms_sessions_parameters[] = {

    { ngx_string("zone="), ms_sessions_zone, 0, 0, 0, NULL, 0 },

    { ngx_string("tries="), ms_value_number,
      offsetof(ms_sessions_srv_conf_t, tries), 1, 64, NULL, 0 },

    { ngx_string("learn="), ms_value_word,
      offsetof(ms_sessions_srv_conf_t, learn_always), 0, 0,
      ms_sessions_learn, 0 },

    { ngx_string("ttl="), ms_value_time,
      offsetof(ms_sessions_srv_conf_t, ttl), MS_TTL_MIN, 0, NULL, 0 },

    { ngx_string("grace="), ms_value_time,
      offsetof(ms_sessions_srv_conf_t, grace), MS_TTL_MIN, 0, NULL, 0 },

    { ngx_string("lifetime="), ms_value_time,
      offsetof(ms_sessions_srv_conf_t, lifetime), MS_TTL_MIN, 0, NULL, 0 },

    { ngx_string("drain="), ms_value_time,
      offsetof(ms_sessions_srv_conf_t, drain), MS_TTL_MIN, 0, NULL, 0 },

    { ngx_string("expires="), ms_sessions_expires, 0, 0, 0, NULL, 0 },

      ms_null_value
};


char *
ms_sessions_parse(ngx_conf_t *cf, ms_sessions_srv_conf_t *scf)
{
    char       *rv;
    ngx_str_t  *value;

    value = cf->args->elts;

    /* the usual key needs no evaluation */

    rv = ngx_strcmp(value[1].data, "$myservice_session") == 0
         || ngx_strcmp(value[1].data, "${myservice_session}") == 0
         ? NGX_CONF_OK
         : ms_sessions_value(cf, &value[1], &scf->key);

    if (rv == NGX_CONF_OK) {
        rv = ms_values_parse(cf, ms_sessions_parameters, 2, scf);
    }

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (scf->zone == NULL) {
        return "has no \"zone=name:size\" parameter";
    }

    scf->zone->drain = scf->drain;

    ngx_conf_init_msec_value(scf->grace, scf->ttl / 8);

    scf->ttl_text.data = ngx_pnalloc(cf->pool, NGX_INT64_LEN);
    if (scf->ttl_text.data == NULL) {
        return NGX_CONF_ERROR;
    }

    scf->ttl_text.len = ngx_sprintf(scf->ttl_text.data, "%M", scf->ttl)
                        - scf->ttl_text.data;

    return NGX_CONF_OK;
}


static char *
ms_sessions_value(ngx_conf_t *cf, ngx_str_t *value,
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
ms_sessions_expires(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf)
{
    ms_sessions_srv_conf_t *scf = conf;

    if (value->len == 0) {
        return ms_value_invalid(cf, parameter, value, "a value");
    }

    return ms_sessions_value(cf, value, &scf->expires);
}


static char *
ms_sessions_zone(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf)
{
    ms_sessions_srv_conf_t *scf = conf;

    u_char     *p;
    ssize_t     size;
    ngx_str_t   name, s;

    p = (u_char *) ngx_strchr(value->data, ':');

    if (p == NULL || p == value->data) {
        return ms_value_invalid(cf, parameter, value, "\"zone=name:size\"");
    }

    name.data = value->data;
    name.len = p - name.data;

    s.data = p + 1;
    s.len = value->data + value->len - s.data;

    size = ngx_parse_size(&s);

    if (size == NGX_ERROR || size < (ssize_t) MS_ZONE_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size in \"%V%V\", expected at least %uzk",
                           &parameter->name, value, MS_ZONE_MIN / 1024);
        return NGX_CONF_ERROR;
    }

    scf->zone = ms_zone_add(cf, &name, size,
                            &ngx_http_myservice_sessions_module);

    return scf->zone ? NGX_CONF_OK : NGX_CONF_ERROR;
}
