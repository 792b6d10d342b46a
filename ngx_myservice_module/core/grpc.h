/*
 * gRPC over HTTP/2 as nginx sees it: small helpers without state.
 */

#ifndef MS_CORE_GRPC_H
#define MS_CORE_GRPC_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* https://github.com/grpc/grpc/blob/master/doc/statuscodes.md */

#define MS_GRPC_OK                  0
#define MS_GRPC_CANCELLED           1
#define MS_GRPC_UNKNOWN             2
#define MS_GRPC_INVALID_ARGUMENT    3
#define MS_GRPC_DEADLINE_EXCEEDED   4
#define MS_GRPC_NOT_FOUND           5
#define MS_GRPC_PERMISSION_DENIED   7
#define MS_GRPC_RESOURCE_EXHAUSTED  8
#define MS_GRPC_ABORTED             10
#define MS_GRPC_UNIMPLEMENTED       12
#define MS_GRPC_INTERNAL            13
#define MS_GRPC_UNAVAILABLE         14
#define MS_GRPC_UNAUTHENTICATED     16


/* an HTTP/2 request with content-type "application/grpc", also with "+proto"
 * and the like, but not "application/grpc-web" */
ngx_uint_t ms_grpc_is(ngx_http_request_t *r);

/* that content-type, which may be NULL */
ngx_uint_t ms_grpc_type(ngx_table_elt_t *h);

/* the header of an answer of our own; NGX_OK if a body may follow */
ngx_int_t ms_grpc_send_header(ngx_http_request_t *r);

/* adds grpc-status and, percent-encoded, grpc-message */
ngx_int_t ms_grpc_add_status(ngx_http_request_t *r, ngx_list_t *headers,
    ngx_uint_t code, ngx_str_t *message);

/* grpc-status of an upstream's answer: trailers, else headers; NULL if none */
ngx_table_elt_t *ms_grpc_upstream_status(ngx_http_upstream_t *u,
    const char *name, size_t len);

/* the gRPC status of an HTTP status and back */
ngx_uint_t ms_grpc_from_http(ngx_uint_t status, ngx_str_t *message);
ngx_uint_t ms_grpc_to_http(ngx_uint_t code);

#endif /* MS_CORE_GRPC_H */
