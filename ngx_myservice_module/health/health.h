/*
 * Health of the instances of an upstream with sessions.  One worker at a time
 * probes them for all workers, zone/duty.h.
 *
 * Each probe has a connection of its own.  That shows what a new call needs,
 * that the instance accepts connections; and no connection stays open between
 * probes, which would cost a descriptor per instance and delay a reload.
 */

#ifndef MS_HEALTH_HEALTH_H
#define MS_HEALTH_HEALTH_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "health/probe.h"
#include "sessions/sessions.h"
#include "zone/duty.h"


typedef struct {
    ms_probe_conf_t                probe;
    ngx_msec_t                     interval;
    ngx_uint_t                     fails;
    ngx_uint_t                     passes;
    ngx_uint_t                     keep;
    ngx_uint_t                     mandatory;
    ngx_flag_t                     enabled;

    ngx_http_upstream_srv_conf_t  *upstream;
    ms_sessions_srv_conf_t        *sessions;
} ms_health_srv_conf_t;


/* the probes of an upstream, of a worker */

typedef struct {
    ms_duty_t              duty;                /* the first member */
    ngx_event_t            next;
    ms_health_srv_conf_t  *conf;

    /* while this worker has the duty */
    ngx_pool_t            *pool;
    ngx_queue_t            targets;
    ngx_queue_t            waiting;
    uint32_t               ntargets;
    ngx_uint_t             running;
    ngx_uint_t             unknown;             /* not probed yet */
    ngx_uint_t             joined;              /* members seen so far */
} ms_health_t;


/* in a worker, once; "health" must not move */
void ms_health_start(ms_health_t *health, ms_health_srv_conf_t *conf,
    ngx_log_t *log);

/* the handler of probes */
void ms_health_probed(ms_probe_t *probe);


#endif /* MS_HEALTH_HEALTH_H */
