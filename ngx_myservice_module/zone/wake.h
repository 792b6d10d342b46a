/*
 * Workers wake each other: what one has changed in shared memory, another may
 * wait for.  A wake-up is a hint: it may be lost, and may come for nothing, so
 * who waits looks by a timer, too.
 */

#ifndef MS_ZONE_WAKE_H
#define MS_ZONE_WAKE_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


/* workers that can be woken, by their number ($worker_id) */
#define MS_WAKE_WORKERS  64


/* In the master, before workers are made: once, reloads keep what it makes. */
ngx_int_t ms_wake_init(ngx_log_t *log);

/* In a worker: "handler" runs when another one, or this one, wakes it. */
ngx_int_t ms_wake_listen(ngx_cycle_t *cycle, ngx_event_handler_pt handler);
void ms_wake_end(ngx_cycle_t *cycle);

/* bits of workers */
void ms_wake(uint64_t workers);


#endif /* MS_ZONE_WAKE_H */
