/*
 * A call through the session balancer, from its first byte to its end.
 */

#ifndef MS_SESSIONS_CALL_H
#define MS_SESSIONS_CALL_H


#include "sessions/call_context.h"


/* peer.init of the balancer */
ngx_int_t ms_call_init(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);

/* the call is no longer counted among its session's calls in flight */
void ms_call_leave(ms_call_t *call);

/* from a request body filter: keeps a copy of what passes */
ngx_int_t ms_call_body(ngx_http_request_t *r, ngx_chain_t *in);


#endif /* MS_SESSIONS_CALL_H */
