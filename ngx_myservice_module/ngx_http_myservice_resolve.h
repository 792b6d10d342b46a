/*
 * Names of an upstream that are resolved while nginx runs.  One worker at a
 * time asks: with an answer of its own each, members would come and go where
 * a name server gives every client other addresses.
 */

#ifndef NGX_HTTP_MYSERVICE_RESOLVE_H
#define NGX_HTTP_MYSERVICE_RESOLVE_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_myservice_sessions.h"


typedef struct {
    ngx_http_myservice_name_t         name;
    ngx_str_t                         host;
    ngx_str_t                         service;  /* SRV if not empty */
    in_port_t                         port;
    time_t                            valid;    /* 0: the resolver's */
    ngx_resolver_t                   *resolver;
} ngx_http_myservice_resolve_name_t;


typedef struct {
    ngx_http_myservice_resolve_name_t
                                     *names[NGX_HTTP_MYSERVICE_NAMES];
                                                /* as zone->names */
    ngx_resolver_t                   *resolver;
    ngx_msec_t                        timeout;

    ngx_http_upstream_srv_conf_t     *upstream;
    ngx_http_myservice_sessions_srv_conf_t
                                     *sessions;
} ngx_http_myservice_resolve_srv_conf_t;


typedef struct ngx_http_myservice_resolve_s  ngx_http_myservice_resolve_t;

typedef struct {
    ngx_event_t                       timer;    /* the first member */
    ngx_http_myservice_resolve_t     *resolve;
    ngx_uint_t                        n;        /* of the name */
    ngx_resolver_ctx_t               *ctx;      /* while it is asked for */
    ngx_uint_t                        failed;   /* in a row */
} ngx_http_myservice_resolve_lookup_t;


/* the names of an upstream, of a worker */

struct ngx_http_myservice_resolve_s {
    ngx_event_t                       tick;     /* the first member */
    ngx_http_myservice_resolve_srv_conf_t
                                     *conf;
    ngx_uint_t                        active;   /* this worker asks */
    ngx_http_myservice_resolve_lookup_t
                                      lookups[NGX_HTTP_MYSERVICE_NAMES];
};


/* from the arguments of the directive; "name" is zeroed before */
char *ngx_http_myservice_resolve_parse(ngx_conf_t *cf,
    ngx_http_myservice_resolve_name_t *name);

/* in a worker, once; "resolve" must not move */
void ngx_http_myservice_resolve_start(ngx_http_myservice_resolve_t *resolve,
    ngx_http_myservice_resolve_srv_conf_t *conf, ngx_log_t *log);

/* asks no more and lets another worker take over */
void ngx_http_myservice_resolve_give_up(ngx_http_myservice_resolve_t *resolve);


#endif /* NGX_HTTP_MYSERVICE_RESOLVE_H */
