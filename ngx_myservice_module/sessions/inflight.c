
/*
 * Looks at the leases of a worker's calls in flight: renews them, and ends or
 * moves calls whose lease has ended.
 */

#include "sessions/inflight.h"

#include "core/grpc.h"
#include "core/log.h"
#include "core/revoked.h"
#include "core/texts.h"
#include "sessions/lease.h"
#include "sessions/loss.h"
#include "sessions/deadline.h"
#include "sessions/terms.h"


/*
 * How often a worker looks at the leases of its calls.  A call is never beside
 * another session on one instance for longer than a quarter of a second,
 * however its lease has ended, and whichever worker has ended it.
 *
 * What makes this cheap with thousands of streams: a look is two loads from
 * shared memory (ms_pool_lease_state()).  The lock of the zone is taken only
 * for a lease that is to be renewed, a few times in its "ttl", and for one that
 * has ended.
 */
#define MS_INFLIGHT_LOOK  200


static void ms_inflight_handler(ngx_event_t *ev);
static ngx_uint_t ms_inflight_exiting(void);
static void ms_inflight_exit(ms_call_t *call);
static void ms_inflight_look(ms_call_t *call, ngx_log_t *log);
static void ms_inflight_renew(ms_call_t *call, ngx_log_t *log);
static ngx_uint_t ms_inflight_alive(ms_call_t *call);
static ngx_uint_t ms_inflight_over(ms_call_t *call);
static void ms_inflight_moved(ms_call_t *call);
static void ms_inflight_dead(ms_call_t *call);
static void ms_inflight_expired(ms_call_t *call);
static void ms_inflight_revoked(ms_call_t *call);


static ngx_str_t  ms_moved = ngx_string("session moved");
static ngx_str_t  ms_token_expired = ngx_string("token expired");
static ngx_str_t  ms_token_revoked = ngx_string("token revoked");
static ngx_str_t  ms_session_expired = ngx_string("session expired");
static ngx_str_t  ms_exiting =
    ngx_string("gateway is shutting down at worker_shutdown_timeout");


/* calls of this worker */

static ngx_queue_t  ms_inflight_calls;
static ngx_queue_t  ms_inflight_end;
static ngx_event_t  ms_inflight_event;


/* if the worker dies, only renewals stop */

void
ms_inflight_add(ms_call_t *call)
{
    ngx_event_t  *ev;

    ev = &ms_inflight_event;

    if (ev->handler == NULL) {
        ngx_queue_init(&ms_inflight_calls);

        ev->handler = ms_inflight_handler;
        ev->log = ngx_cycle->log;
        ev->cancelable = 1;

        /* the log of a timer's debug messages wants a connection's place */
        ev->data = ev;
    }

    ngx_queue_insert_tail(&ms_inflight_calls, &call->queue);

    if (!ev->timer_set) {
        ngx_add_timer(ev, MS_INFLIGHT_LOOK);
    }
}


void
ms_inflight_remove(ms_call_t *call)
{
    ngx_queue_remove(&call->queue);
}


/* each call once: ending one call may end others and begin new ones */

static void
ms_inflight_handler(ngx_event_t *ev)
{
    ngx_uint_t    exiting;
    ngx_queue_t  *q, *calls, *end;
    ms_call_t    *call;

    exiting = ms_inflight_exiting();

    calls = &ms_inflight_calls;
    end = &ms_inflight_end;

    ngx_queue_insert_tail(calls, end);

    for ( ;; ) {
        q = ngx_queue_head(calls);
        ngx_queue_remove(q);

        if (q == end) {
            break;
        }

        ngx_queue_insert_tail(calls, q);

        call = ngx_queue_data(q, ms_call_t, queue);

        if (exiting && !call->aborted) {
            ms_inflight_exit(call);

        } else {
            ms_inflight_look(call, ev->log);
        }
    }

    if (!ngx_queue_empty(calls)) {
        ngx_add_timer(ev, MS_INFLIGHT_LOOK);
    }
}


/*
 * Whether nginx is about to close all connections, in the last two looks before
 * that: there is time to write statuses.
 */

static ngx_uint_t
ms_inflight_exiting(void)
{
    ngx_core_conf_t  *ccf;

    static ngx_msec_t  since;

    if (!ngx_exiting) {
        return 0;
    }

    if (since == 0) {
        since = ngx_current_msec;
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                           ngx_core_module);

    return ccf->shutdown_timeout
           && ngx_current_msec - since
              + 3 * MS_INFLIGHT_LOOK >= ccf->shutdown_timeout;
}


static void
ms_inflight_exit(ms_call_t *call)
{
    ngx_connection_t  *c;

    c = call->request->connection;

    ngx_http_set_log_request(c->log, call->request);

    ms_log_error(NGX_LOG_INFO, c->log, 0, "call ends: %V", &ms_exiting);

    ms_deadline_abort(call, MS_GRPC_UNAVAILABLE, &ms_exiting);
}


static void
ms_inflight_look(ms_call_t *call, ngx_log_t *log)
{
    ms_lease_t  *lease;

    lease = &call->grant.lease;

    if (call->aborted) {
        return;
    }

    if (ms_revoked(call->request)) {
        ms_inflight_revoked(call);
        return;
    }

    if (lease->lease == 0) {
        return;
    }

    switch (ms_zone_lease_state(call->conf->zone, lease, log)) {

    case MS_LEASE_ENDED:
        ms_inflight_moved(call);
        return;

    case MS_LEASE_RELEASED:

        /* the instance itself ends the calls beside a release */

        if (ms_inflight_over(call)) {
            ms_inflight_expired(call);
        }

        return;

    case MS_LEASE_DEAD:
        ms_inflight_dead(call);
        return;

    default:
        ms_inflight_renew(call, log);
    }
}


ngx_uint_t
ms_inflight_others(ms_call_t *call)
{
    ngx_msec_t    within;
    ngx_queue_t  *q;
    ms_call_t    *other;

    for (q = ngx_queue_head(&ms_inflight_calls);
         q != ngx_queue_sentinel(&ms_inflight_calls);
         q = ngx_queue_next(q))
    {
        if (q == &ms_inflight_end) {
            continue;
        }

        other = ngx_queue_data(q, ms_call_t, queue);

        if (other != call
            && other->grant.lease.lease == call->grant.lease.lease
            && other->conf->zone == call->conf->zone
            && ms_inflight_alive(other))
        {
            return 1;
        }
    }

    /* those that still run have said so since the first refused connect */

    within = call->pauses ? ngx_current_msec - call->paused : 0;

    if (within <= MS_INFLIGHT_LOOK) {
        within = MS_POOL_CALL_WITHIN;
    }

    return ms_zone_call_within(call->conf->zone, &call->grant.lease, within);
}


/* its connection may have ended, and its turn is still to come */

static ngx_uint_t
ms_inflight_alive(ms_call_t *call)
{
    u_char                buf[1];
    ssize_t               n;
    ngx_http_upstream_t  *u;

    u = call->request->upstream;

    if (u == NULL || !u->request_sent || u->peer.connection == NULL) {
        return 0;
    }

    n = recv(u->peer.connection->fd, buf, 1, MSG_PEEK);

    return n > 0 || (n == -1 && ngx_socket_errno == NGX_EAGAIN);
}


static void
ms_inflight_renew(ms_call_t *call, ngx_log_t *log)
{
    ngx_msec_t   every;
    ms_lease_t  *lease;

    lease = &call->grant.lease;
    every = call->conf->ttl / 4;

    ms_lease_look(call);

    if (call->request->upstream->request_sent) {
        ms_zone_call_seen(call->conf->zone, lease, 0);
    }

    if (lease->tentative) {
        every = ngx_min(every, MS_POOL_TENTATIVE / 8);
    }

    if (ngx_current_msec - call->touched < every && !ms_inflight_over(call)) {
        return;
    }

    /* it may have been given another end by a call with a newer token */

    if (ms_zone_touch(call->conf->zone, lease, log) != NGX_OK) {
        ms_inflight_moved(call);
        return;
    }

    call->touched = ngx_current_msec;

    if (ms_inflight_over(call)) {
        ms_inflight_expired(call);
    }
}


/* whether its lease has come to the hard end */

static ngx_uint_t
ms_inflight_over(ms_call_t *call)
{
    return ngx_current_msec + MS_TERMS_GRACE >= call->grant.lease.ends;
}


/* the call no longer has a lease */

static void
ms_inflight_moved(ms_call_t *call)
{
    if (ms_inflight_over(call)) {
        ms_inflight_expired(call);
        return;
    }

    ms_loss_ran(call);
    call->grant.lease.lease = 0;

    if (!ms_loss_abort(call)) {
        ms_deadline_leave(call, &ms_moved);
    }
}


static void
ms_inflight_dead(ms_call_t *call)
{
    ms_loss_ran(call);
    ms_lease_fail(call);

    if (!ms_loss_abort(call)) {
        ms_deadline_leave(call, &ms_text_unavailable);
    }
}


static void
ms_inflight_expired(ms_call_t *call)
{
    ngx_connection_t  *c;

    c = call->request->connection;

    ngx_http_set_log_request(c->log, call->request);

    ms_log_error(NGX_LOG_INFO, c->log, 0,
                 "the lease has ended during a call");

    if (call->terms.ends
        && call->terms.ends <= ngx_current_msec
                               + MS_TERMS_GRACE)
    {
        ms_deadline_abort(call, MS_GRPC_UNAUTHENTICATED, &ms_token_expired);
        return;
    }

    ms_deadline_abort(call, MS_GRPC_UNAVAILABLE, &ms_session_expired);
}


static void
ms_inflight_revoked(ms_call_t *call)
{
    ngx_connection_t  *c;

    c = call->request->connection;

    ngx_http_set_log_request(c->log, call->request);

    ms_log_error(NGX_LOG_INFO, c->log, 0, "call ends: %V", &ms_token_revoked);

    ms_deadline_abort(call, MS_GRPC_UNAUTHENTICATED, &ms_token_revoked);
}
