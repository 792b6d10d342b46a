/*
 * What differs between the nginx versions this module is built for: 1.22.1
 * (Debian 12), 1.26.3 (Debian 13) and mainline; freenginx, and Angie, which
 * has a header of its own.
 */

#ifndef MS_CORE_COMPAT_H
#define MS_CORE_COMPAT_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <nginx.h>

#if defined(__has_include)
#if __has_include(<angie.h>)
#include <angie.h>
#endif
#endif


/*
 * The first members of the private ngx_http_grpc_ctx_t, the same in 1.22.1
 * and 1.31.5.  Before 1.29.7, and in freenginx, reinit_request() of the grpc
 * module leaves the output chains of the failed attempt in place, and the next
 * peer would get its frames.
 */

typedef struct {
    int               state;              /* 0: at the start of a frame */
    ngx_uint_t        frame_state;
    ngx_uint_t        fragment_state;

    ngx_chain_t      *in;
    ngx_chain_t      *out;
    ngx_chain_t      *free;
    ngx_chain_t      *busy;

    void             *connection;
    ngx_uint_t        id;
    ngx_uint_t        pings;
    ngx_uint_t        settings;
    off_t             length;
    ssize_t           send_window;
    size_t            recv_window;
    size_t            rest;
    ngx_uint_t        stream_id;          /* of the frame at hand */
    u_char            type;
    u_char            flags;
    u_char            padding;
    ngx_uint_t        error;
    ngx_uint_t        window_update;
    ngx_uint_t        setting_id;
    ngx_uint_t        setting_value;
    u_char            ping_data[8];
    ngx_uint_t        index;
    ngx_str_t         name;               /* of the field at hand */
    ngx_str_t         value;
} ms_compat_ctx_t;


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
} ms_compat_loc_conf_t;


/*
 * "keepalive" in an upstream: before 1.29.7 it is there only if it is written,
 * and the first member of its private configuration is its number.
 */

#if (nginx_version < 1029007 || defined freenginx)
#define MS_KEEPALIVE_WRAPS  1
#define ms_keepalive_max(conf)  (*(ngx_uint_t *) (conf))
#else
#define MS_KEEPALIVE_WRAPS  0
#endif


/* which addresses a resolver asks for */

#if (nginx_version >= 1023001)
#define ms_copy_ipv4(to, from)  (to)->ipv4 = (from)->ipv4
#else
#define ms_copy_ipv4(to, from)  (void) (from)
#endif

#if (NGX_HAVE_INET6)
#define ms_copy_ipv6(to, from)  (to)->ipv6 = (from)->ipv6
#else
#define ms_copy_ipv6(to, from)  (void) (from)
#endif

#define ms_copy_families(to, from)                                            \
    ms_copy_ipv4(to, from);                                                   \
    ms_copy_ipv6(to, from)


/* a server with "resolve", since 1.27.3 */

#if (NGX_HTTP_UPSTREAM_ZONE && defined NGX_HTTP_UPSTREAM_MODIFY)
#define ms_server_resolve(server)  ((server)->host.len != 0)
#else
#define ms_server_resolve(server)  0
#endif


#ifdef ANGIE_VERSION

#define ms_log_request(log, ctx, buf, len)                                    \
    (ctx)->request->log_handler(log, buf, (buf) + (len), ctx)

/* its keepalive and log look for the request there */

#define ms_peer_ctx(u, r)  (u)->peer.ctx = (r)

#define ms_resolver_first(resolver)                                           \
    (resolver)->connections

#define ms_resolver_next(resolver, rec)  (rec)->next

#else

#define ms_log_request(log, ctx, buf, len)                                    \
    (ctx)->request->log_handler((ctx)->request, (ctx)->current_request, buf,  \
                                len)

#define ms_peer_ctx(u, r)

/* the servers of a resolver; NULL after the last one */

#define ms_resolver_first(resolver)                                           \
    ((resolver)->connections.nelts                                            \
     ? (ngx_resolver_connection_t *) (resolver)->connections.elts : NULL)

#define ms_resolver_next(resolver, rec)                                       \
    ((rec) + 1 < (ngx_resolver_connection_t *) (resolver)->connections.elts   \
                 + (resolver)->connections.nelts                              \
     ? (rec) + 1 : NULL)

#endif


#endif /* MS_CORE_COMPAT_H */
