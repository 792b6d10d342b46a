/*
 * How long a lease lives, and what the instance is told of it.
 */

#ifndef NGX_HTTP_MYSERVICE_LEASE_H
#define NGX_HTTP_MYSERVICE_LEASE_H


#include "ngx_http_myservice_sessions.h"


/*
 * A lease ends that long after its hard end ("expires", "lifetime"): calls in
 * flight are ended in between, so that the instance has forgotten the session
 * before another one comes.  Milliseconds.
 */
#define NGX_HTTP_MYSERVICE_LEASE_GRACE  1000


/* of a call's session; NGX_ERROR if "expires" has no valid value, logged */
ngx_int_t ngx_http_myservice_lease_terms(ngx_http_request_t *r,
    ngx_http_myservice_sessions_srv_conf_t *conf, ms_pool_terms_t *terms);

/* of a session that an instance told of: its token is not known */
void ngx_http_myservice_lease_learned(
    ngx_http_myservice_sessions_srv_conf_t *conf, ms_pool_terms_t *terms);

/* handlers of $myservice_session_ttl and $myservice_session_ends */
ngx_int_t ngx_http_myservice_lease_ttl_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
ngx_int_t ngx_http_myservice_lease_ends_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


#endif /* NGX_HTTP_MYSERVICE_LEASE_H */
