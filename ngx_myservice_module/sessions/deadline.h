/*
 * The time limits of a call: the client's "grpc-timeout" for all of it, and
 * "myservice_retry_timeout" for an attempt to begin its answer.  One timer,
 * which runs while there is an upstream request.
 */

#ifndef MS_SESSIONS_DEADLINE_H
#define MS_SESSIONS_DEADLINE_H


#include "sessions/call_context.h"


/*
 * From peer.init(): starts the timer if the client has set a deadline.
 * NGX_DECLINED if it has passed, NGX_ERROR if out of memory.
 */
ngx_int_t ms_deadline_start(ms_call_t *call);

/* an attempt begins: its answer must begin within "ms", 0: no limit */
ngx_int_t ms_deadline_attempt(ms_call_t *call, ngx_msec_t ms);

/*
 * Whether the client's time is over.  Its own timer runs a little ahead of
 * ours, so that its cancel comes first: the last eighth of the time counts.
 */
ngx_uint_t ms_deadline_passed(ms_call_t *call);

void ms_deadline_stop(ms_call_t *call);

/*
 * Ends a call in flight with a status of ours, from a timer: the instance sees
 * a cancel.  The request may be gone afterwards.
 */
void ms_deadline_abort(ms_call_t *call, ngx_uint_t code, ngx_str_t *message);

/*
 * Ends an attempt whose instance no longer belongs to the session. A request
 * that may be sent again goes to another instance, any other ends with
 * UNAVAILABLE.
 */
void ms_deadline_leave(ms_call_t *call, ngx_str_t *message);

/* Ends any call to a gRPC upstream; its status is already set. */
void ms_deadline_interrupt(ngx_http_request_t *r);


#endif /* MS_SESSIONS_DEADLINE_H */
