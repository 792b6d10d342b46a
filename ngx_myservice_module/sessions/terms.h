/*
 * How long a lease lives, and what the gateway says of that to the instance.
 */

#ifndef MS_SESSIONS_TERMS_H
#define MS_SESSIONS_TERMS_H


#include "sessions/sessions.h"
#include "wire/header_block.h"


/*
 * A lease ends that long after its hard end ("expires", "lifetime"): calls in
 * flight are ended in between, so that the instance has forgotten the session
 * before another one comes.  Milliseconds.
 */
#define MS_TERMS_GRACE  1000

#define MS_TERMS_ROOM   64


/*
 * The terms of a call's session. NGX_ERROR if "expires" has no valid value,
 * which is logged.
 */
ngx_int_t ms_terms_terms(ngx_http_request_t *r, ms_sessions_srv_conf_t *conf,
    ms_pool_terms_t *terms);

/* The fields about the session and its terms for the instance, encoded.  An
 * attempt may add MS_TERMS_ROOM bytes of its own. */
ngx_int_t ms_terms_fields(ngx_pool_t *pool, ms_sessions_srv_conf_t *conf,
    ms_pool_key_t *key, ms_pool_terms_t *terms, ms_fields_t *fields);

/* The terms of a session that an instance reports; its token is not known.
 * Under a lock only after ms_upgrading(). */
void ms_terms_learned(ms_sessions_srv_conf_t *conf, ms_pool_terms_t *terms);

/* handlers of $myservice_session_ttl and $myservice_session_ends */
ngx_int_t ms_terms_ttl_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
ngx_int_t ms_terms_ends_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


#endif /* MS_SESSIONS_TERMS_H */
