
/*
 * A duty has an owner in shared memory: the worker's pid, and the time by
 * which it renews.  A worker takes a duty that has no owner, or the owner of
 * which died or did not renew in time; a worker that hung finds it taken.
 */

#include "zone/duty.h"

#include "zone/lock.h"


/* milliseconds */
#define MS_DUTY_TICK     250
#define MS_DUTY_TIMEOUT  3000


static void ms_duty_tick(ngx_event_t *ev);
static ngx_uint_t ms_duty_take(ms_duty_t *duty);


void
ms_duty_start(ms_duty_t *duty, ngx_log_t *log)
{
    duty->tick.handler = ms_duty_tick;
    duty->tick.data = duty;
    duty->tick.log = log;
    duty->tick.cancelable = 1;

    ngx_add_timer(&duty->tick, 1);
}


static void
ms_duty_tick(ngx_event_t *ev)
{
    ms_duty_t *duty = ev->data;

    ngx_uint_t  taken;

    if (ngx_exiting) {
        ms_duty_leave(duty);
        return;
    }

    ngx_add_timer(ev, MS_DUTY_TICK);

    if (!ms_duty_take(duty)) {
        ms_duty_leave(duty);
        return;
    }

    taken = !duty->held;
    duty->held = 1;

    duty->work(duty->data, taken);
}


static ngx_uint_t
ms_duty_take(ms_duty_t *duty)
{
    ngx_pid_t         pid, dead;
    ngx_uint_t        mine, rebuilt;
    ms_duty_owner_t  *owner;

    owner = duty->owner;

    pid = owner->pid;
    dead = (pid && pid != ngx_pid && kill(pid, 0) == -1
            && ngx_errno == NGX_ESRCH) ? pid : -1;

    (void) ms_zone_lock(duty->zone, &rebuilt);

    mine = owner->pid == ngx_pid || owner->pid == 0 || owner->pid == dead
           || (ngx_msec_int_t) (owner->deadline - ngx_current_msec) < 0;

    if (mine) {
        owner->pid = ngx_pid;
        owner->deadline = ngx_current_msec + MS_DUTY_TIMEOUT;
    }

    ms_zone_unlock(duty->zone, rebuilt, ngx_cycle->log);

    return mine;
}


void
ms_duty_leave(ms_duty_t *duty)
{
    ngx_uint_t  rebuilt;

    if (duty->owner->pid == ngx_pid) {
        (void) ms_zone_lock(duty->zone, &rebuilt);

        if (duty->owner->pid == ngx_pid) {
            duty->owner->pid = 0;
        }

        ms_zone_unlock(duty->zone, rebuilt, ngx_cycle->log);
    }

    if (duty->held) {
        duty->held = 0;
        duty->stop(duty->data);
    }
}
