/*
 * gRPC over HTTP/2 as nginx sees it: small helpers without state.
 */

#ifndef NGX_HTTP_MYSERVICE_GRPC_H
#define NGX_HTTP_MYSERVICE_GRPC_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* https://github.com/grpc/grpc/blob/master/doc/statuscodes.md */

#define NGX_HTTP_MYSERVICE_OK                   0
#define NGX_HTTP_MYSERVICE_CANCELLED            1
#define NGX_HTTP_MYSERVICE_UNKNOWN              2
#define NGX_HTTP_MYSERVICE_INVALID_ARGUMENT     3
#define NGX_HTTP_MYSERVICE_DEADLINE_EXCEEDED    4
#define NGX_HTTP_MYSERVICE_NOT_FOUND            5
#define NGX_HTTP_MYSERVICE_PERMISSION_DENIED    7
#define NGX_HTTP_MYSERVICE_RESOURCE_EXHAUSTED   8
#define NGX_HTTP_MYSERVICE_UNIMPLEMENTED        12
#define NGX_HTTP_MYSERVICE_INTERNAL             13
#define NGX_HTTP_MYSERVICE_UNAVAILABLE          14
#define NGX_HTTP_MYSERVICE_UNAUTHENTICATED      16


/* an HTTP/2 request with content-type "application/grpc", also with "+proto"
 * and the like, but not "application/grpc-web" */
ngx_uint_t ngx_http_myservice_is_grpc(ngx_http_request_t *r);

/* first header of that name (lower case), NULL if none */
ngx_table_elt_t *ngx_http_myservice_find_header(ngx_list_t *headers,
    const char *name, size_t len);

/* "key" is a static string; "value" is borrowed from r->pool */
ngx_int_t ngx_http_myservice_add_header(ngx_list_t *headers, const char *key,
    ngx_str_t *value);

/* the header of an answer of our own; NGX_OK if a body may follow */
ngx_int_t ngx_http_myservice_send_header(ngx_http_request_t *r);

/* adds grpc-status and, percent-encoded, grpc-message */
ngx_int_t ngx_http_myservice_add_status(ngx_http_request_t *r,
    ngx_list_t *headers, ngx_uint_t code, ngx_str_t *message);

/* grpc-status of an upstream's answer: trailers, else headers; NULL if none */
ngx_table_elt_t *ngx_http_myservice_upstream_status(ngx_http_upstream_t *u,
    const char *name, size_t len);

/*
 * A module's context of the request; a subrequest has not that of its main
 * request.  r->ctx is zeroed by internal redirects, so a pool cleanup
 * remembers it, marked by its handler.  The second function makes a zeroed one
 * of "size" bytes if there is none; NULL if out of memory.
 */
void *ngx_http_myservice_find_ctx(ngx_http_request_t *r,
    ngx_module_t *module, ngx_pool_cleanup_pt mark);
void *ngx_http_myservice_make_ctx(ngx_http_request_t *r,
    ngx_module_t *module, ngx_pool_cleanup_pt mark, size_t size);

/* a list that ends with ngx_http_null_variable */
ngx_int_t ngx_http_myservice_add_variables(ngx_conf_t *cf,
    ngx_http_variable_t *variables);

/* "value" may be NULL: not found */
ngx_int_t ngx_http_myservice_variable(ngx_http_variable_value_t *v,
    ngx_str_t *value);

/* the gRPC status of an HTTP status and back */
ngx_uint_t ngx_http_myservice_from_http(ngx_uint_t status, ngx_str_t *message);
ngx_uint_t ngx_http_myservice_to_http(ngx_uint_t code);

/*
 * A directive's list of methods: "/package.Service/Method", the same without
 * the first slash, or the bare "Method" of any service.
 */
char *ngx_http_myservice_methods_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_uint_t ngx_http_myservice_method_listed(ngx_array_t *methods,
    ngx_str_t *uri);


#endif /* NGX_HTTP_MYSERVICE_GRPC_H */
