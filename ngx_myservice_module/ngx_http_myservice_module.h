/*
 * Answers of the gateway as gRPC statuses.  The modules above refuse a call
 * through here; nginx's own errors are translated by the filters.
 */

#ifndef NGX_HTTP_MYSERVICE_MODULE_H
#define NGX_HTTP_MYSERVICE_MODULE_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_myservice_grpc.h"


/*
 * Refuses a call from a phase handler; the handler returns what this returns.
 * A gRPC client gets a Trailers-Only answer, any other the HTTP status that
 * comes closest.  "message" must live as long as the request.
 */
ngx_int_t ngx_http_myservice_refuse(ngx_http_request_t *r, ngx_uint_t code,
    ngx_str_t *message);

/*
 * Says what the error that nginx is about to answer means in gRPC, or takes
 * that back (code NGX_HTTP_MYSERVICE_OK).
 */
ngx_int_t ngx_http_myservice_set_status(ngx_http_request_t *r,
    ngx_uint_t code, ngx_str_t *message);

/*
 * A gRPC client gets the refusal that was set, whatever there is for nginx's
 * error: no "error_page" is asked, no answer takes its place.  What was
 * refused from a phase handler is final, what was set above is not.
 */
void ngx_http_myservice_set_final(ngx_http_request_t *r);

/* whether a refusal was set, and not taken back */
ngx_uint_t ngx_http_myservice_refused(ngx_http_request_t *r);

/*
 * Ends a stream whose header was sent with trailers: the status that was set,
 * else UNAVAILABLE.
 */
ngx_int_t ngx_http_myservice_end_stream(ngx_http_request_t *r);

/*
 * Before an answer is passed on: lets a stream that the upstream resets end
 * like one whose connection was closed, so that filters see it.
 */
ngx_int_t ngx_http_myservice_guard_stream(ngx_http_request_t *r);

/*
 * Whether a chain is what nginx sends down the body filters when an upstream
 * failed after its header was sent.
 */
ngx_uint_t ngx_http_myservice_broken_stream(ngx_http_request_t *r,
    ngx_chain_t *in);

/*
 * The session id of the request: NGX_OK; NGX_DECLINED if the header is
 * missing or empty; NGX_ABORT if it is too long, sent twice, or has bytes
 * outside of visible ASCII.
 */
ngx_int_t ngx_http_myservice_session_id(ngx_http_request_t *r,
    ngx_str_t *session);

/* the request's "grpc-timeout", NULL if there is none */
ngx_table_elt_t *ngx_http_myservice_timeout(ngx_http_request_t *r);


extern ngx_module_t  ngx_http_myservice_module;

extern ngx_str_t  ngx_http_myservice_missing_session;
extern ngx_str_t  ngx_http_myservice_invalid_session;


#endif /* NGX_HTTP_MYSERVICE_MODULE_H */
