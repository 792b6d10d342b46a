/*
 * grpc.health.v1.Health/Watch of the gateway: the status at once, then each
 * change of it, until the client cancels or the worker exits.
 */

#ifndef NGX_HTTP_MYSERVICE_WATCH_H
#define NGX_HTTP_MYSERVICE_WATCH_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "health_message.h"


typedef ms_health_status_t (*ngx_http_myservice_watch_status_pt)(
    ngx_http_request_t *r);


/* NGX_DONE: the request goes on; else the caller finalizes it.  The context
 * is that of the gateway module. */
ngx_int_t ngx_http_myservice_watch(ngx_http_request_t *r,
    ngx_http_myservice_watch_status_pt status);


extern ngx_module_t  ngx_http_myservice_gateway_module;


#endif /* NGX_HTTP_MYSERVICE_WATCH_H */
