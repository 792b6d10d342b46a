/*
 * The time limits of a call: the client's "grpc-timeout" for all of it, and
 * "myservice_retry_timeout" for an attempt to begin its answer.  One timer,
 * which runs while there is an upstream request.
 */

#ifndef NGX_HTTP_MYSERVICE_DEADLINE_H
#define NGX_HTTP_MYSERVICE_DEADLINE_H


#include "ngx_http_myservice_call.h"


/*
 * What is left of the client's deadline at the time of the event loop, in
 * milliseconds; NGX_ERROR without one, or with one that is malformed.
 */
ngx_msec_int_t ngx_http_myservice_deadline_left(ngx_http_request_t *r);

/*
 * From peer.init(): starts the timer if the client has set a deadline.
 * NGX_DECLINED if it has passed, NGX_ERROR if out of memory.
 */
ngx_int_t ngx_http_myservice_deadline_start(ngx_http_myservice_call_t *call);

/* an attempt begins: has "ms" to begin its answer, 0: no limit */
ngx_int_t ngx_http_myservice_deadline_attempt(
    ngx_http_myservice_call_t *call, ngx_msec_t ms);

void ngx_http_myservice_deadline_stop(ngx_http_myservice_call_t *call);

/*
 * Ends a call in flight with a status of ours, from a timer: the instance sees
 * a cancel.  The request may be gone afterwards.
 */
void ngx_http_myservice_deadline_abort(ngx_http_myservice_call_t *call,
    ngx_uint_t code, ngx_str_t *message);


extern ngx_str_t  ngx_http_myservice_deadline_exceeded;


#endif /* NGX_HTTP_MYSERVICE_DEADLINE_H */
