/*
 * What differs between the nginx versions this module is built for: 1.22.1
 * (Debian 12), 1.26.3 (Debian 13) and mainline.
 */

#ifndef NGX_HTTP_MYSERVICE_COMPAT_H
#define NGX_HTTP_MYSERVICE_COMPAT_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <nginx.h>


/*
 * The first members of the private ngx_http_grpc_ctx_t, the same in 1.22.1
 * and 1.31.5.  Before 1.29.7 reinit_request() of the grpc module leaves the
 * output chains of the failed attempt in place, and the next peer would get
 * its frames.
 */

typedef struct {
    int               state;              /* 0: at the start of a frame */
    ngx_uint_t        frame_state;
    ngx_uint_t        fragment_state;

    ngx_chain_t      *in;
    ngx_chain_t      *out;
    ngx_chain_t      *free;
    ngx_chain_t      *busy;
} ngx_http_myservice_grpc_ctx_t;

#if (nginx_version < 1029007)
#define NGX_HTTP_MYSERVICE_RESET_GRPC_CHAINS  1
#else
#define NGX_HTTP_MYSERVICE_RESET_GRPC_CHAINS  0
#endif


/*
 * The first members of the private ngx_http_grpc_loc_conf_t, the same in
 * 1.22.1, 1.26.3 and 1.31.5.  Only "ssl" tells grpcs:// from grpc://: since
 * 1.23.1 locations of both kinds share one upstream.ssl.
 */

typedef struct {
    ngx_http_upstream_conf_t   upstream;

    struct {
        ngx_array_t           *flushes;
        ngx_array_t           *lengths;
        ngx_array_t           *values;
        ngx_hash_t             hash;
    } headers;

    ngx_array_t               *headers_source;
    ngx_str_t                  host;
    ngx_uint_t                 host_set;
    ngx_array_t               *grpc_lengths;
    ngx_array_t               *grpc_values;

#if (NGX_HTTP_SSL)
    ngx_uint_t                 ssl;
#endif
} ngx_http_myservice_grpc_loc_conf_t;


/* which addresses a resolver asks for */

#if (nginx_version >= 1023001)
#define ngx_http_myservice_copy_ipv4(to, from)  (to)->ipv4 = (from)->ipv4
#else
#define ngx_http_myservice_copy_ipv4(to, from)  (void) (from)
#endif

#if (NGX_HAVE_INET6)
#define ngx_http_myservice_copy_ipv6(to, from)  (to)->ipv6 = (from)->ipv6
#else
#define ngx_http_myservice_copy_ipv6(to, from)  (void) (from)
#endif

#define ngx_http_myservice_copy_families(to, from)                            \
    ngx_http_myservice_copy_ipv4(to, from);                                   \
    ngx_http_myservice_copy_ipv6(to, from)


#endif /* NGX_HTTP_MYSERVICE_COMPAT_H */
