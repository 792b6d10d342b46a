/*
 * The time that a client gives its call: "grpc-timeout".
 */

#ifndef MS_CORE_TIMEOUT_H
#define MS_CORE_TIMEOUT_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * Milliseconds left of the client's deadline, by the clock of the event loop.
 * NGX_ERROR without a deadline or with a malformed one.
 */
ngx_msec_int_t ms_timeout_left(ngx_http_request_t *r);


#endif /* MS_CORE_TIMEOUT_H */
