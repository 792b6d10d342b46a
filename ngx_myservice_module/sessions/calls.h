/*
 * Limits on the calls of one session, and of a worker.
 */

#ifndef MS_SESSIONS_CALLS_H
#define MS_SESSIONS_CALLS_H


#include "sessions/call_context.h"


/* sets the limits in "terms" */
void ms_calls_terms(ngx_http_upstream_srv_conf_t *us, ms_pool_terms_t *terms);

/*
 * One more call of the session.  NGX_ERROR if it is one too many: the status
 * is set.  "flight" is owed one ms_calls_leave(), NULL if the
 * session's calls have no limit.
 */
ngx_int_t ms_calls_enter(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us, ms_pool_key_t *key,
    ms_flight_t **flight);
void ms_calls_leave(ms_flight_t *flight);

/*
 * The client's connection has as many other sessions that wait for their first
 * success as it may.  ms_calls_first() counts the session of a call that has a
 * tentative lease, until that is confirmed or gone, or until
 * ms_calls_first_end(), which each call is owed.
 */
ngx_uint_t ms_calls_crowds(ms_call_t *call);
void ms_calls_first(ms_call_t *call);
void ms_calls_first_end(ms_call_t *call);

/* The same limits for a session that a store is asked about.  Sets "terms", but
 * for the subject and how long a lease lasts. */
void ms_calls_firsts(ngx_http_request_t *r, ms_zone_t *zone,
    const ms_pool_key_t *key, ms_firsts_terms_t *terms);


extern ngx_module_t  ngx_http_myservice_calls_module;


#endif /* MS_SESSIONS_CALLS_H */
