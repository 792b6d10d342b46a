/*
 * grpc.health.v1.Health/Watch of the gateway: the status at once, then each
 * change of it, until the client cancels or the worker exits.
 */

#ifndef MS_OPERATOR_WATCH_H
#define MS_OPERATOR_WATCH_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "wire/health_message.h"


typedef ms_health_status_t (*ms_watch_status_pt)(ngx_http_request_t *r);


/* whether the client's connection and the worker may have one more Watch */
ngx_uint_t ms_watch_allowed(ngx_http_request_t *r);

/* After ms_watch_allowed(). NGX_DONE: the request goes on; else the caller
 * finalizes it. The context is that of the gateway module. */
ngx_int_t ms_watch(ngx_http_request_t *r, ms_watch_status_pt status);


extern ngx_module_t  ngx_http_myservice_gateway_module;


#endif /* MS_OPERATOR_WATCH_H */
