
/*
 * Variables of the modules.
 */

#include "core/variable.h"


ngx_int_t
ms_variables_add(ngx_conf_t *cf, ngx_http_variable_t *variables)
{
    ngx_http_variable_t  *var, *v;

    for (v = variables; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


ngx_int_t
ms_variable_set(ngx_http_variable_value_t *v, ngx_str_t *value)
{
    if (value == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = value->data;
    v->len = value->len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
