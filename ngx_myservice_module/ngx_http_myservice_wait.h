/*
 * Calls that wait in a phase until something is known.
 */

#ifndef NGX_HTTP_MYSERVICE_WAIT_H
#define NGX_HTTP_MYSERVICE_WAIT_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* of the location's grpc_pass; NULL if none, or if it is no upstream block */
ngx_http_upstream_srv_conf_t *ngx_http_myservice_wait_upstream(
    ngx_http_request_t *r);

/* milliseconds since the request began */
ngx_msec_t ngx_http_myservice_wait_age(ngx_http_request_t *r);

/*
 * From a phase handler, which returns what this returns: the handler runs
 * again in a moment, unless the client goes away before.  A call whose
 * deadline is over is answered.
 */
ngx_int_t ngx_http_myservice_wait(ngx_http_request_t *r);


#endif /* NGX_HTTP_MYSERVICE_WAIT_H */
