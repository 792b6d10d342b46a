
/*
 * A call that waits in the line, in a phase or in a pause of its upstream.  A
 * timer and the wake-ups of other workers look at the line for all calls of
 * this worker.
 */

#include "sessions/waiter.h"

#include "core/counts.h"
#include "core/timeout.h"
#include "sessions/paused.h"


/* milliseconds between two looks at the line, beside those of wake-ups; calls
 * that do not look for MS_LINE_LOST lose their place */
#define MS_WAITER_LOOK  100


static void ms_waiter_go_on(ngx_event_t *ev);
static void ms_waiter_end_pause(ms_waiter_t *w);
static void ms_waiter_unlist(ms_waiter_t *w);


/* the calls of this worker that wait */

static ngx_queue_t  ms_waiters;
static ngx_event_t  ms_waiter_timer;


void
ms_waiter_init(ngx_cycle_t *cycle)
{
    ngx_queue_init(&ms_waiters);

    /* not cancelable: a worker that exits serves those who wait */

    ms_waiter_timer.handler = ms_waiter_look;
    ms_waiter_timer.data = &ms_waiter_timer;
    ms_waiter_timer.log = cycle->log;
}


void
ms_waiter_begin(ms_waiter_t *w, ngx_http_request_t *r, ms_zone_t *zone,
    ngx_msec_t timeout)
{
    w->request = r;
    w->zone = zone;
    w->since = ngx_current_msec;
    w->timeout = timeout;
    w->turn.data = w;
    w->turn.handler = ms_waiter_go_on;
    w->turn.log = r->connection->log;
}


ngx_uint_t
ms_waiter_waits(ms_waiter_t *w)
{
    ms_turn_t   turn;
    ngx_log_t  *log;

    log = w->request->connection->log;
    turn = ms_zone_line_look(w->zone, &w->ticket, log);
    w->looked = turn;

    if (turn == MS_TURN_COMES || turn == MS_TURN_ASKS) {
        return 0;
    }

    if (ngx_current_msec - w->since >= w->timeout) {
        ms_zone_line_leave(w->zone, &w->ticket, log);
        return 0;
    }

    /* this worker was too slow, or the line is a new one */

    return turn == MS_TURN_WAITS
           || ms_zone_line_enter(w->zone, &w->key, &w->terms, w->lost,
                                 &w->ticket, log)
              == NGX_AGAIN;
}


void
ms_waiter_waited(ms_waiter_t *w)
{
    ngx_msec_t  time;

    ms_waiter_unlist(w);

    time = ngx_current_msec - w->since;

    w->waited += time;
    w->since = ngx_current_msec;

    if (w->ticket.number) {
        ms_counts_time(&w->zone->counts->queued, &ms_times_default, time);
    }
}


ngx_int_t
ms_waiter_wait(ms_waiter_t *w)
{
    ngx_http_request_t  *r;

    r = w->request;

    if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* notices a client that goes away */

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    ms_waiter_pause(w);

    return NGX_AGAIN;
}


void
ms_waiter_pause(ms_waiter_t *w)
{
    w->queued = 1;

    if (!w->waits) {
        w->waits = 1;
        ngx_queue_insert_tail(&ms_waiters, &w->queue);
    }

    if (!ms_waiter_timer.timer_set) {
        ngx_add_timer(&ms_waiter_timer, MS_WAITER_LOOK);
    }
}


/*
 * By the timer, and when another worker has freed an instance.  Calls go on in
 * events of their own: one that ends may end others, too.
 */

void
ms_waiter_look(ngx_event_t *ev)
{
    ngx_queue_t  *q;
    ms_waiter_t  *w;

    for (q = ngx_queue_head(&ms_waiters);
         q != ngx_queue_sentinel(&ms_waiters);
         q = ngx_queue_next(q))
    {
        w = ngx_queue_data(q, ms_waiter_t, queue);

        if (w->asks) {

            /* it goes on when the store has answered, and keeps its place */

            (void) ms_zone_line_look(w->zone, &w->ticket, ngx_cycle->log);
            continue;
        }

        /* the deadline of a call that has an upstream ends it anyway */

        if (!w->turn.posted
            && (!ms_waiter_waits(w)
                || (!w->lost && ms_timeout_left(w->request) == 0)))
        {
            ngx_post_event(&w->turn, &ngx_posted_events);
        }
    }

    if (!ngx_queue_empty(&ms_waiters) && !ms_waiter_timer.timer_set) {
        ngx_add_timer(&ms_waiter_timer, MS_WAITER_LOOK);
    }
}


static void
ms_waiter_go_on(ngx_event_t *ev)
{
    ngx_connection_t    *c;
    ms_waiter_t         *w;
    ngx_http_request_t  *r;

    w = ev->data;
    r = w->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    if (w->lost) {
        ms_waiter_end_pause(w);
        return;
    }

    ms_waiter_unlist(w);

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);
    ngx_http_run_posted_requests(c);
}


static void
ms_waiter_end_pause(ms_waiter_t *w)
{
    ms_call_t  *call;

    /* the pause may have ended by itself meanwhile, or is one for the store */

    if (!w->waits || w->asks) {
        return;
    }

    /* it has waited in vain: ms_queue_state() finds no place */

    if (w->ticket.number == 0) {
        ms_waiter_waited(w);
    }

    call = ms_call_get(w->request);

    if (call) {
        ms_paused_end(call);
    }
}


static void
ms_waiter_unlist(ms_waiter_t *w)
{
    if (w->waits) {
        w->waits = 0;
        ngx_queue_remove(&w->queue);
    }
}


void
ms_waiter_end(void *data)
{
    ms_waiter_t  *w = data;

    ms_waiter_unlist(w);

    if (w->turn.posted) {
        ngx_delete_posted_event(&w->turn);
    }

    if (w->ticket.number) {
        ms_zone_line_leave(w->zone, &w->ticket, ngx_cycle->log);
    }
}
