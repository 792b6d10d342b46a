/*
 * Answers of the gateway as gRPC statuses.  The modules above refuse a call
 * through here; nginx's own errors are translated by the filters.
 */

#ifndef MS_ANSWERS_ERRORS_H
#define MS_ANSWERS_ERRORS_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "core/grpc.h"

/*
 * Refuses a call from a phase handler; the handler returns what this returns.
 * A gRPC client gets a Trailers-Only answer, any other the HTTP status that
 * comes closest.  "message" must live as long as the request.
 */
ngx_int_t ms_errors_refuse(ngx_http_request_t *r, ngx_uint_t code,
    ngx_str_t *message);

/*
 * Sets the gRPC status for the error that nginx is about to answer; MS_GRPC_OK
 * takes it back.
 */
ngx_int_t ms_errors_set(ngx_http_request_t *r, ngx_uint_t code,
    ngx_str_t *message);

/*
 * Sets the gRPC status for an HTTP status of nginx, for 413 with what
 * ms_errors_explain() says: the same message will never fit.
 */
ngx_int_t ms_errors_set_http(ngx_http_request_t *r, ngx_uint_t status);

/*
 * Adds to the status that was set why it is so, for programs: the client finds
 * google.rpc.ErrorInfo in "grpc-status-details-bin", with "key" and "value" as
 * its metadata.  "retry" becomes "grpc-retry-pushback-ms" (gRFC A6): the
 * milliseconds after which the call may come again (with google.rpc.RetryInfo,
 * too), MS_ERRORS_NO_RETRY, or 0 if nothing is said about that.
 */
#define MS_ERRORS_NO_RETRY  -1

ngx_int_t ms_errors_explain(ngx_http_request_t *r, const char *reason,
    const char *key, ngx_str_t *value, ngx_int_t retry);

/*
 * Makes the status that was set final: no "error_page" replaces it.
 * ms_errors_refuse() is final, ms_errors_set() is not.
 */
void ms_errors_final(ngx_http_request_t *r);

/*
 * refuses a compressed message, and announces that only "identity" is accepted
 */
ngx_int_t ms_errors_refuse_compressed(ngx_http_request_t *r,
    ngx_str_t *message);

/* "myservice_grpc_errors" of the location */
ngx_uint_t ms_errors_enabled(ngx_http_request_t *r);

/* whether a refusal was set, and not taken back */
ngx_uint_t ms_errors_refused(ngx_http_request_t *r);

/*
 * The gRPC status that the client of a call got, CANCELLED if it left before it
 * got one; MS_ERRORS_NO_STATUS if an instance sent what is none, NGX_DECLINED
 * if the request is no call.
 */
#define MS_ERRORS_NO_STATUS  NGX_MAX_INT_T_VALUE

ngx_int_t ms_errors_status(ngx_http_request_t *r);

/*
 * Ends a stream whose header was sent with trailers: the status that was set,
 * else UNAVAILABLE.
 */
ngx_int_t ms_errors_end_stream(ngx_http_request_t *r);

extern ngx_module_t  ngx_http_myservice_module;


#endif /* MS_ANSWERS_ERRORS_H */
