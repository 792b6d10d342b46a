/*
 * The layer around the balancer of an upstream with "myservice_multiplex", and
 * what a balancer asks about the connection of an attempt.
 */

#ifndef MS_HTTP2_MUX_CALL_H
#define MS_HTTP2_MUX_CALL_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http2/mux.h"


extern ngx_module_t  ngx_http_myservice_multiplex_module;


/* as peer.init() of the balancer, which it calls */
ngx_int_t ms_mux_call_init(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us, ms_mux_conf_t *conf);


/* in peer.free(): why the attempt has lost its connection */
ms_mux_failure_e ms_mux_call_failure(ngx_http_request_t *r);

/*
 * In peer.get(), which then returns NGX_OK: the attempt gets a connection made
 * after the one that has failed it.  0 if the call is not multiplexed.
 */
ngx_uint_t ms_mux_call_fresh(ngx_http_request_t *r);

/*
 * In peer.get(): fields that are the same for all calls of a session, of
 * MS_HPACK_SHARE bytes at most, are sent behind the grpc module's.  They are
 * borrowed until the call ends.  0 if the call is not multiplexed.
 */
ngx_uint_t ms_mux_call_fields(ngx_http_request_t *r,
    const ms_fields_t *fields);

/* whether the attempt has a stream of a connection that has had others */
ngx_uint_t ms_mux_call_shared(ngx_http_request_t *r);

/* whether the bytes that were received last are not the instance's */
ngx_uint_t ms_mux_call_own(ngx_http_request_t *r);


#endif /* MS_HTTP2_MUX_CALL_H */
