/*
 * Lists of gRPC methods in directives: "myservice_retry Echo /a.B/C".
 */

#ifndef MS_CORE_METHODS_H
#define MS_CORE_METHODS_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * A directive's list of methods: "/package.Service/Method", the same without
 * the first slash, or the bare "Method" of any service.
 */
char *ms_methods_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_uint_t ms_methods_listed(ngx_array_t *methods, ngx_str_t *uri);


#endif /* MS_CORE_METHODS_H */
