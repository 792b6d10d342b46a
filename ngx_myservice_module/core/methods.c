
/*
 * Lists of gRPC methods in directives, and whether a call is in one.
 */

#include "core/methods.h"


static ngx_int_t ms_method(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *method);


char *
ms_methods_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    ngx_str_t    *value, *method;
    ngx_uint_t    i;
    ngx_array_t **methods;

    methods = (ngx_array_t **) (p + cmd->offset);

    if (*methods != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    *methods = ngx_array_create(cf->pool, cf->args->nelts,
                                sizeof(ngx_str_t));
    if (*methods == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        return NGX_CONF_OK;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        method = ngx_array_push(*methods);
        if (method == NULL) {
            return NGX_CONF_ERROR;
        }

        if (ms_method(cf, &value[i], method) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ms_method(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *method)
{
    u_char      ch, *p;
    ngx_uint_t  i, slash;

    slash = 0;

    for (i = 0; i < value->len; i++) {
        ch = value->data[i];

        if (ch == '/' && i + 1 < value->len) {
            slash++;
            continue;
        }

        if (ch != '_' && ch != '.' && (ch < '0' || ch > '9')
            && ((ch | 0x20) < 'a' || (ch | 0x20) > 'z'))
        {
            break;
        }
    }

    if (value->len == 0 || i < value->len
        || slash > (ngx_uint_t) (value->data[0] == '/' ? 2 : 1)
        || (value->data[0] == '/' && slash != 2))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid method \"%V\", expected "
                           "\"/package.Service/Method\" or \"Method\"",
                           value);
        return NGX_ERROR;
    }

    *method = *value;

    if (slash == 0 || value->data[0] == '/') {
        return NGX_OK;
    }

    p = ngx_pnalloc(cf->pool, value->len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p[0] = '/';
    ngx_memcpy(&p[1], value->data, value->len);

    method->data = p;
    method->len++;

    return NGX_OK;
}


ngx_uint_t
ms_methods_listed(ngx_array_t *methods, ngx_str_t *uri)
{
    size_t       len;
    u_char      *p;
    ngx_str_t   *method;
    ngx_uint_t   i;

    if (methods == NULL) {
        return 0;
    }

    method = methods->elts;

    for (i = 0; i < methods->nelts; i++) {
        len = method[i].len;

        if (uri->len < len) {
            continue;
        }

        p = uri->data + uri->len - len;

        if (ngx_memcmp(p, method[i].data, len) != 0) {
            continue;
        }

        if (uri->len == len) {
            return 1;
        }

        if (method[i].data[0] != '/' && p[-1] == '/') {
            return 1;
        }
    }

    return 0;
}
