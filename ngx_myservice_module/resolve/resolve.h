/*
 * Names of an upstream that are resolved while nginx runs.  One worker asks
 * for all, zone/duty.h: a name server may give each client other addresses,
 * and with an answer for each worker, members would come and go.
 */

#ifndef MS_RESOLVE_RESOLVE_H
#define MS_RESOLVE_RESOLVE_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "sessions/sessions.h"
#include "zone/duty.h"


typedef struct {
    ms_name_t        name;
    ngx_str_t        host;
    ngx_str_t        service;                   /* SRV if not empty */
    in_port_t        port;
    time_t           valid;                     /* 0: the resolver's */
    ngx_resolver_t  *resolver;
} ms_resolve_name_t;


typedef struct {
    ms_resolve_name_t             *names[MS_NAMES];
                                                /* as zone->names */
    ngx_resolver_t                *resolver;
    ngx_msec_t                     timeout;

    ngx_http_upstream_srv_conf_t  *upstream;
    ms_sessions_srv_conf_t        *sessions;
} ms_resolve_srv_conf_t;


typedef struct ms_resolve_s  ms_resolve_t;

typedef struct {
    ngx_event_t          timer;                 /* the first member */
    ms_resolve_t        *resolve;
    ngx_uint_t           n;                     /* of the name */
    ngx_resolver_ctx_t  *ctx;                   /* while a lookup runs */
    ngx_msec_t           since;                 /* the lookup runs */
    ngx_uint_t           failed;                /* in a row */
} ms_resolve_lookup_t;


/* the names of an upstream, of a worker */

struct ms_resolve_s {
    ms_duty_t               duty;               /* the first member */
    ms_resolve_srv_conf_t  *conf;
    ms_resolve_lookup_t     lookups[MS_NAMES];
};


/* from the arguments of the directive; "name" is zeroed before */
char *ms_resolve_parse(ngx_conf_t *cf, ms_resolve_name_t *name);

/* in a worker, once; "resolve" must not move */
void ms_resolve_start(ms_resolve_t *resolve, ms_resolve_srv_conf_t *conf,
    ngx_log_t *log);


#endif /* MS_RESOLVE_RESOLVE_H */
