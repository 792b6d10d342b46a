/*
 * A call that waits in the line of its upstream, and those of this worker that
 * wait.
 */

#ifndef MS_SESSIONS_WAITER_H
#define MS_SESSIONS_WAITER_H


#include "zone/line.h"
#include "zone/zone.h"

#include <ngx_http.h>


typedef struct {
    ngx_http_request_t  *request;
    ms_zone_t           *zone;
    ms_pool_key_t        key;
    ms_pool_terms_t      terms;
    ms_ticket_t          ticket;        /* number 0: no place */
    ngx_msec_t           since;
    ngx_msec_t           timeout;
    ngx_msec_t           waited;        /* until "since", of earlier waits */
    ngx_queue_t          queue;         /* of this worker */
    ngx_event_t          turn;
    ms_turn_t            looked;        /* what the last look has found */
    unsigned             waits:1;
    unsigned             queued:1;      /* it had to wait */
    unsigned             done:1;        /* the phase is over */
    unsigned             asks:1;        /* the store, as its turn has come */
    unsigned             stored:1;      /* what the store has answered is its
                                           instance, or its end */
    unsigned             lost:1;        /* in a pause, as the session has lost
                                           its instance */
} ms_waiter_t;


/* in each process, before anything else */
void ms_waiter_init(ngx_cycle_t *cycle);

/* "w" is all zero; "timeout" in milliseconds */
void ms_waiter_begin(ms_waiter_t *w, ngx_http_request_t *r, ms_zone_t *zone,
    ngx_msec_t timeout);

/* 0: its turn has come, or it has no place any more ("ticket.number" 0, or the
 * line is full) */
ngx_uint_t ms_waiter_waits(ms_waiter_t *w);

/* From a phase handler, which returns this: the phases of the request are run
 * again when it waits no more, or its deadline has passed. */
ngx_int_t ms_waiter_wait(ms_waiter_t *w);

/* The same for a call in a pause, which ends then. */
void ms_waiter_pause(ms_waiter_t *w);

/* the wait is over; it is counted if it was not in vain */
void ms_waiter_waited(ms_waiter_t *w);

/* Looks whether the turn of a call of this worker has come. */
void ms_waiter_look(ngx_event_t *ev);

/* the request ends: its client has left, or it was answered */
void ms_waiter_end(void *data);


#endif /* MS_SESSIONS_WAITER_H */
