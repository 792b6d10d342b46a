/*
 * Health checks of an upstream with sessions.  One worker at a time does
 * them: it holds a lease in the shared zone, which another one takes over
 * when it dies, exits or stops renewing.
 *
 * Each check has a connection of its own.  It shows what a new call needs,
 * that the instance takes connections, and leaves nothing open: neither a
 * descriptor per instance, nor a connection that a reload had to wait for.
 */

#ifndef NGX_HTTP_MYSERVICE_HEALTH_H
#define NGX_HTTP_MYSERVICE_HEALTH_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_myservice_probe.h"
#include "ngx_http_myservice_sessions.h"


typedef struct {
    ngx_http_myservice_probe_conf_t   probe;
    ngx_msec_t                        interval;
    ngx_uint_t                        fails;
    ngx_uint_t                        passes;
    ngx_flag_t                        enabled;

    ngx_http_upstream_srv_conf_t     *upstream;
    ngx_http_myservice_sessions_srv_conf_t
                                     *sessions;
} ngx_http_myservice_health_srv_conf_t;


/* the checks of an upstream, of a worker */

typedef struct {
    ngx_event_t                       tick;     /* the first member */
    ngx_event_t                       next;
    ngx_http_myservice_health_srv_conf_t
                                     *conf;

    /* while this worker has the lease */
    ngx_pool_t                       *pool;
    ngx_queue_t                       targets;
    ngx_queue_t                       waiting;
    uint32_t                          ntargets;
    ngx_uint_t                        running;
    ngx_uint_t                        unknown;  /* not checked yet */
    ngx_uint_t                        joined;   /* members seen so far */
} ngx_http_myservice_health_t;


/* in a worker, once; "health" must not move */
void ngx_http_myservice_health_start(ngx_http_myservice_health_t *health,
    ngx_http_myservice_health_srv_conf_t *conf, ngx_log_t *log);

/* ends all checks and lets another worker take over */
void ngx_http_myservice_health_give_up(ngx_http_myservice_health_t *health);

/* the handler of probes */
void ngx_http_myservice_health_checked(ngx_http_myservice_probe_t *probe);


#endif /* NGX_HTTP_MYSERVICE_HEALTH_H */
