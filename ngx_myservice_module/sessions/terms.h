/*
 * How long a lease lives, and what the gateway says of that to the instance.
 */

#ifndef MS_SESSIONS_TERMS_H
#define MS_SESSIONS_TERMS_H


#include "sessions/lasting.h"
#include "sessions/sessions.h"
#include "wire/header_block.h"


/*
 * A lease ends that long after its hard end ("expires", "lifetime"): calls in
 * flight are ended in between, so that the instance has forgotten the session
 * before another one comes.  Milliseconds.
 */
#define MS_TERMS_GRACE  1000

/* bytes that an attempt may add to the fields of a call */
#define MS_TERMS_ROOM   96


/*
 * The terms of a call's session. NGX_ERROR if "expires" has no valid value,
 * which is logged.
 */
ngx_int_t ms_terms_terms(ngx_http_request_t *r, ms_sessions_srv_conf_t *conf,
    ms_pool_terms_t *terms);

/* bytes of the fields about a session and its terms, encoded */
size_t ms_terms_size(ms_pool_key_t *key);

/* Writes them for the instance. */
void ms_terms_fields(ms_sessions_srv_conf_t *conf, ms_pool_key_t *key,
    ms_pool_terms_t *terms, ms_lasting_t *to);

/* The terms of a session that an instance reports; its token is not known.
 * Under a lock only after ms_upgrading(). */
void ms_terms_learned(ms_sessions_srv_conf_t *conf, ms_pool_terms_t *terms);

/* handlers of $myservice_session_ttl and $myservice_session_ends */
ngx_int_t ms_terms_ttl_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
ngx_int_t ms_terms_ends_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


#endif /* MS_SESSIONS_TERMS_H */
