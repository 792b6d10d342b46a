
/*
 * The parameters of myservice_resolve.
 */

#include "resolve/resolve.h"

#include "core/values.h"


#define MS_RESOLVE_HOST   253
#define MS_RESOLVE_LABEL  63


static char *ms_resolve_service(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf);
static char *ms_resolve_address(ngx_conf_t *cf, ms_resolve_name_t *name,
    ngx_str_t *value);
static ngx_uint_t ms_resolve_valid_host(ngx_str_t *host);
static char *ms_resolve_identify(ngx_conf_t *cf, ms_resolve_name_t *name);


static const char  *ms_resolve_removed[] = { "drain", "drop", NULL };

static const ms_value_t  ms_resolve_parameters[] = {

    { ngx_string("valid="), ms_value_time,
      offsetof(ms_resolve_name_t, valid), 1000, 86400000, NULL,
      MS_VALUE_SEC },

    { ngx_string("fail_timeout="), ms_value_time,
      offsetof(ms_resolve_name_t, name.fail_timeout), 0, 86400000, NULL,
      MS_VALUE_SEC },

    { ngx_string("removed="), ms_value_word,
      offsetof(ms_resolve_name_t, name.drop), 0, 0, ms_resolve_removed, 0 },

    { ngx_string("service="), ms_resolve_service, 0, 0, 0, NULL, 0 },

      ms_null_value
};


char *
ms_resolve_parse(ngx_conf_t *cf, ms_resolve_name_t *name)
{
    char       *rv;
    ngx_str_t  *value;

    name->name.fail_timeout = 10;

    value = cf->args->elts;

    rv = ms_values_parse(cf, ms_resolve_parameters, 2, name);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    rv = ms_resolve_address(cf, name, &value[1]);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ms_resolve_identify(cf, name);
}


static char *
ms_resolve_service(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf)
{
    ms_resolve_name_t *name = conf;

    name->service = *value;

    if (!ms_resolve_valid_host(&name->service)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid service name in \"%V%V\"",
                           &parameter->name, value);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ms_resolve_address(ngx_conf_t *cf, ms_resolve_name_t *name, ngx_str_t *value)
{
    u_char     *p, *last;
    ngx_int_t   port;

    last = value->data + value->len;
    p = ngx_strlchr(value->data, last, ':');

    name->host.data = value->data;
    name->host.len = (p ? p : last) - value->data;

    if (!ms_resolve_valid_host(&name->host)
        || ngx_inet_addr(name->host.data, name->host.len) != INADDR_NONE)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is no name that can be resolved, addresses "
                           "are for \"server\"", value);
        return NGX_CONF_ERROR;
    }

    if (name->service.len) {

        if (p) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" can have no port with \"service=\", "
                               "SRV records have it", value);
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    port = p ? ngx_atoi(p + 1, last - p - 1) : NGX_ERROR;

    if (port < 1 || port > 65535) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid port in \"%V\", expected \"name:port\", "
                           "or a name with \"service=\"", value);
        return NGX_CONF_ERROR;
    }

    name->port = (in_port_t) port;

    return NGX_CONF_OK;
}


/* RFC 1035, with underscores; a dot at the end is left out */

static ngx_uint_t
ms_resolve_valid_host(ngx_str_t *host)
{
    u_char      ch;
    size_t      i, label;

    if (host->len && host->data[host->len - 1] == '.') {
        host->len--;
    }

    if (host->len == 0 || host->len > MS_RESOLVE_HOST) {
        return 0;
    }

    label = 0;

    for (i = 0; i < host->len; i++) {
        ch = ngx_tolower(host->data[i]);
        host->data[i] = ch;

        if (ch == '.') {
            if (label == 0) {
                return 0;
            }

            label = 0;
            continue;
        }

        if (!((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9')
              || ch == '-' || ch == '_')
            || ++label > MS_RESOLVE_LABEL)
        {
            return 0;
        }
    }

    return label != 0;
}


/* the text for log and status, and the id, which is the same after a reload */

static char *
ms_resolve_identify(ngx_conf_t *cf, ms_resolve_name_t *name)
{
    u_char     *p;
    ngx_str_t  *text;

    text = &name->name.text;

    p = ngx_pnalloc(cf->pool, name->host.len + name->service.len
                              + sizeof("_._tcp.:65535"));
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    text->data = p;

    if (name->service.len == 0) {
        p = ngx_sprintf(p, "%V:%ui", &name->host, (ngx_uint_t) name->port);

    } else if (ngx_strlchr(name->service.data,
                           name->service.data + name->service.len, '.'))
    {
        p = ngx_sprintf(p, "%V.%V", &name->service, &name->host);

    } else {
        p = ngx_sprintf(p, "_%V._tcp.%V", &name->service, &name->host);
    }

    text->len = p - text->data;

    name->name.id = (uint64_t) ngx_murmur_hash2(text->data, text->len) << 32
                    | ngx_crc32_short(text->data, text->len);

    if (name->name.id == 0) {
        name->name.id = 1;
    }

    return NGX_CONF_OK;
}
