
/* Whether a call waits, and for how long. */

#include "sessions/pause.h"

#include "sessions/inflight.h"


static ngx_uint_t ms_pause_late(ms_call_t *call, ngx_connection_t *c);
static ngx_msec_t ms_pause_next(ms_call_t *call, ngx_uint_t limited);


/* milliseconds; after refused connects at most within "grpc_connect_timeout" */
static ngx_msec_t  ms_pauses[] = { 50, 200, 800 };


ngx_uint_t
ms_pause_due(ms_call_t *call, ngx_peer_connection_t *pc)
{
    ngx_uint_t  crowded;
    ngx_msec_t  delay;

    crowded = ms_pause_crowded(call, pc);
    delay = ms_pause_next(call, !crowded);

    if (delay == 0
        || (!crowded
            && ((pc->connection && pc->connection->write->timedout)
                || !ms_inflight_others(call))))
    {
        return 0;
    }

    call->pauses++;
    call->pause = delay;

    return 1;
}


ngx_uint_t
ms_pause_crowded(ms_call_t *call, ngx_peer_connection_t *pc)
{
    return pc->connection && pc->connection->write->timedout
           && (ms_pause_late(call, pc->connection)
               || ms_zone_byte_since(call->conf->zone, &call->grant.lease,
                                     call->request->upstream->start_time));
}


/*
 * Timers expire after one list of events ("epoll_events"), so a worker with
 * very many new connections times out some that are there.  With TLS the timer
 * is the one of the handshake, too, in which an instance may hang.
 */

static ngx_uint_t
ms_pause_late(ms_call_t *call, ngx_connection_t *c)
{
    socklen_t       len;
    ngx_sockaddr_t  sa;

    len = sizeof(ngx_sockaddr_t);

    return !call->request->upstream->ssl
           && getpeername(c->fd, &sa.sockaddr, &len) == 0;
}


/*
 * An instance refused the call because it serves another session. Instances
 * with a tentative lease may do the same to their callers, and one of them may
 * serve this call's session: the call waits.
 */

ngx_uint_t
ms_pause_conflict(ms_call_t *call)
{
    ngx_msec_t       delay;
    ms_zone_stats_t  stats;

    if (!call->conflict || call->decision != MS_CLAIM_BUSY) {
        return 0;
    }

    delay = ms_pause_next(call, 1);

    if (delay == 0) {
        return 0;
    }

    ms_zone_stats(call->conf->zone, &stats, call->request->connection->log);

    if (stats.states[MS_INSTANCE_TENTATIVE] == 0) {
        return 0;
    }

    call->pauses++;
    call->pause = delay;

    return 1;
}


/* 0: the call has waited long enough */

static ngx_msec_t
ms_pause_next(ms_call_t *call, ngx_uint_t limited)
{
    ngx_msec_t            delay;
    ngx_http_upstream_t  *u;

    u = call->request->upstream;

    if (call->pauses == 0) {
        call->paused = u->start_time;
    }

    if (call->pauses == sizeof(ms_pauses) / sizeof(ngx_msec_t))
    {
        return 0;
    }

    delay = ms_pauses[call->pauses];

    if (limited
        && ngx_current_msec - call->paused + delay > u->conf->connect_timeout)
    {
        return 0;
    }

    return delay;
}
