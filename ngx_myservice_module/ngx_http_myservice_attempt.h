/*
 * One attempt of a call: which instance it goes to, and what its failure
 * means.  These are callbacks of nginx's upstream; the request's own life is in
 * ngx_http_myservice_call.c.
 */

#ifndef NGX_HTTP_MYSERVICE_ATTEMPT_H
#define NGX_HTTP_MYSERVICE_ATTEMPT_H


#include "ngx_http_myservice_call.h"


ngx_int_t ngx_http_myservice_attempt_get_peer(ngx_peer_connection_t *pc,
    void *data);
void ngx_http_myservice_attempt_free_peer(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t state);

/* the instance is down, its session moves, and the call holds nothing */
void ngx_http_myservice_attempt_leave(ngx_http_myservice_call_t *call);

/* the same, and it is logged as a failure */
void ngx_http_myservice_attempt_failed(ngx_http_myservice_call_t *call);


#endif /* NGX_HTTP_MYSERVICE_ATTEMPT_H */
