#ifndef MS_SESSIONS_VARIABLES_H
#define MS_SESSIONS_VARIABLES_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* what logs and other directives may know of a call: "$myservice_..." */
ngx_int_t ms_sessions_variables(ngx_conf_t *cf);


#endif /* MS_SESSIONS_VARIABLES_H */
