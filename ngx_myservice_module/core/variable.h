/*
 * Variables of the modules.
 */

#ifndef MS_CORE_VARIABLE_H
#define MS_CORE_VARIABLE_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* a list that ends with ngx_http_null_variable */
ngx_int_t ms_variables_add(ngx_conf_t *cf, ngx_http_variable_t *variables);

/* "value" may be NULL: not found */
ngx_int_t ms_variable_set(ngx_http_variable_value_t *v, ngx_str_t *value);


#endif /* MS_CORE_VARIABLE_H */
