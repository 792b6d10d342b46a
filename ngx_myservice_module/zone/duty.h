/*
 * What one worker does for all: probes of an upstream, lookups of its names.
 * Each worker has a timer.  One takes the duty and renews it several times a
 * second; the others take over when that worker leaves, dies, or hangs.
 */

#ifndef MS_ZONE_DUTY_H
#define MS_ZONE_DUTY_H


#include "zone/shared.h"


typedef struct ms_duty_s  ms_duty_t;

struct ms_duty_s {
    ngx_event_t       tick;                     /* the first member */
    ms_zone_t        *zone;
    ms_duty_owner_t  *owner;                    /* in shared memory */
    void             *data;
    ngx_uint_t        held;                     /* by this worker */

    /* while this worker has the duty; "taken": it has just got it */
    void            (*work)(void *data, ngx_uint_t taken);

    /* this worker has the duty no more */
    void            (*stop)(void *data);
};


/* in a worker, once; all but the event is set, and "duty" must not move */
void ms_duty_start(ms_duty_t *duty, ngx_log_t *log);

/* lets another worker take over at once */
void ms_duty_leave(ms_duty_t *duty);


#endif /* MS_ZONE_DUTY_H */
