/*
 * What is probed, and what the result of a probe means for the pool.
 */

#ifndef MS_HEALTH_TARGET_H
#define MS_HEALTH_TARGET_H


#include "health/health.h"


/* a record of the pool, whichever member it holds */

typedef struct {
    ngx_event_t   timer;                        /* the first member */
    ngx_queue_t   queue;                        /* of all */
    ngx_queue_t   turn;                         /* of those that wait */
    ms_health_t  *health;
    ms_probe_t   *probe;
    ngx_msec_t    since;                        /* the probe runs */
    uint32_t      instance;
    uint32_t      hash;                         /* of the member's name */
    uint64_t      epoch;                        /* of its lease when the probe
                                                   began, 0: none */
    ngx_uint_t    failed;                       /* in a row */
    ngx_uint_t    unanswered;
    ngx_uint_t    passed;
    unsigned      probed:1;                     /* once at least */
    unsigned      up:1;                         /* when the probe began */
    unsigned      replaced:1;                   /* holds another member now */
    unsigned      reports_session:1;            /* in its answers */
    unsigned      soon:1;                       /* is probed again soon */
} ms_health_target_t;


/*
 * Sets the instance to probe, and the session that it shall forget.
 * NGX_DECLINED if the record holds no member.
 */
ngx_int_t ms_health_prepare(ms_health_target_t *target, ms_probe_t *probe);

/* whether it is up now */
ngx_uint_t ms_health_apply(ms_health_target_t *target,
    ms_exchange_result_t *result);


#endif /* MS_HEALTH_TARGET_H */
