/*
 * "myservice_limit": how many sessions one user may have.
 */

#ifndef MS_SESSIONS_LIMIT_H
#define MS_SESSIONS_LIMIT_H


#include "sessions/sessions.h"


/* Sets user and limit in "terms".  NGX_ERROR: there is no memory. */
ngx_int_t ms_limit_terms(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us, ms_pool_terms_t *terms);


extern ngx_module_t  ngx_http_myservice_limit_module;


#endif /* MS_SESSIONS_LIMIT_H */
