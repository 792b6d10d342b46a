
/*
 * The parameters of myservice_resolve.
 */

#include "ngx_http_myservice_resolve.h"


#define NGX_HTTP_MYSERVICE_RESOLVE_HOST   253
#define NGX_HTTP_MYSERVICE_RESOLVE_LABEL  63


static char *ngx_http_myservice_resolve_parameter(ngx_conf_t *cf,
    ngx_http_myservice_resolve_name_t *name, ngx_str_t *value);
static char *ngx_http_myservice_resolve_time(ngx_conf_t *cf,
    ngx_str_t *value, size_t prefix, time_t min, time_t *time);
static char *ngx_http_myservice_resolve_address(ngx_conf_t *cf,
    ngx_http_myservice_resolve_name_t *name, ngx_str_t *value);
static ngx_uint_t ngx_http_myservice_resolve_valid_host(ngx_str_t *host);
static char *ngx_http_myservice_resolve_identify(ngx_conf_t *cf,
    ngx_http_myservice_resolve_name_t *name);


char *
ngx_http_myservice_resolve_parse(ngx_conf_t *cf,
    ngx_http_myservice_resolve_name_t *name)
{
    char        *rv;
    ngx_str_t   *value;
    ngx_uint_t   i;

    name->name.fail_timeout = 10;

    value = cf->args->elts;

    for (i = 2; i < cf->args->nelts; i++) {
        rv = ngx_http_myservice_resolve_parameter(cf, name, &value[i]);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    rv = ngx_http_myservice_resolve_address(cf, name, &value[1]);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ngx_http_myservice_resolve_identify(cf, name);
}


static char *
ngx_http_myservice_resolve_parameter(ngx_conf_t *cf,
    ngx_http_myservice_resolve_name_t *name, ngx_str_t *value)
{
    if (ngx_strncmp(value->data, "valid=", 6) == 0) {
        return ngx_http_myservice_resolve_time(cf, value, 6, 1, &name->valid);
    }

    if (ngx_strncmp(value->data, "fail_timeout=", 13) == 0) {
        return ngx_http_myservice_resolve_time(cf, value, 13, 0,
                                               &name->name.fail_timeout);
    }

    if (ngx_strcmp(value->data, "removed=drain") == 0) {
        name->name.drop = 0;
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value->data, "removed=drop") == 0) {
        name->name.drop = 1;
        return NGX_CONF_OK;
    }

    if (ngx_strncmp(value->data, "removed=", 8) == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\", expected \"drain\" or \"drop\"",
                           value);
        return NGX_CONF_ERROR;
    }

    if (ngx_strncmp(value->data, "service=", 8) == 0) {
        name->service.data = value->data + 8;
        name->service.len = value->len - 8;

        if (!ngx_http_myservice_resolve_valid_host(&name->service)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid service name in \"%V\"", value);
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                       value);

    return NGX_CONF_ERROR;
}


static char *
ngx_http_myservice_resolve_time(ngx_conf_t *cf, ngx_str_t *value,
    size_t prefix, time_t min, time_t *time)
{
    ngx_str_t  s;

    s.data = value->data + prefix;
    s.len = value->len - prefix;

    *time = ngx_parse_time(&s, 1);

    if (*time == (time_t) NGX_ERROR || *time < min || *time > 86400) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\", expected a time of %Ts to 1d",
                           value, min);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_myservice_resolve_address(ngx_conf_t *cf,
    ngx_http_myservice_resolve_name_t *name, ngx_str_t *value)
{
    u_char     *p, *last;
    ngx_int_t   port;

    last = value->data + value->len;
    p = ngx_strlchr(value->data, last, ':');

    name->host.data = value->data;
    name->host.len = (p ? p : last) - value->data;

    if (!ngx_http_myservice_resolve_valid_host(&name->host)
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
ngx_http_myservice_resolve_valid_host(ngx_str_t *host)
{
    u_char      ch;
    size_t      i, label;

    if (host->len && host->data[host->len - 1] == '.') {
        host->len--;
    }

    if (host->len == 0 || host->len > NGX_HTTP_MYSERVICE_RESOLVE_HOST) {
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
            || ++label > NGX_HTTP_MYSERVICE_RESOLVE_LABEL)
        {
            return 0;
        }
    }

    return label != 0;
}


/* what it is called, and what tells that it is the same after a reload */

static char *
ngx_http_myservice_resolve_identify(ngx_conf_t *cf,
    ngx_http_myservice_resolve_name_t *name)
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
