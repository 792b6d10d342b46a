
/*
 * Lets a call wait inside nginx's connect, with a socket that never connects.
 */

#include "sessions/pause.h"

#include "sessions/inflight.h"


static ngx_msec_t ms_pause_next(ms_call_t *call, ngx_uint_t limited);
static ssize_t ms_pause_recv(ngx_connection_t *c, u_char *buf, size_t size);


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
           && ms_zone_byte_since(call->conf->zone, &call->grant.lease,
                                 call->request->upstream->start_time);
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


/*
 * nginx can only wait for a connect here. So the call gets a socket that is in
 * no event set, and a timer that lets the connect fail: nginx then calls
 * peer.get() again. Meanwhile nginx notices a client that goes away, as
 * always.
 */

ngx_int_t
ms_pause_begin(ms_call_t *call, ngx_peer_connection_t *pc)
{
    ngx_socket_t       s;
    ngx_connection_t  *c;
    ms_grant_t        *grant;

    grant = &call->grant;

    pc->sockaddr = &grant->sockaddr.sockaddr;
    pc->socklen = grant->socklen;
    pc->name = &grant->name;
    pc->cached = 0;
    pc->connection = NULL;

    /* a call that waits for the store may have had no instance yet */

    s = ngx_socket(grant->socklen ? pc->sockaddr->sa_family : AF_INET,
                   SOCK_STREAM, 0);

    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_ALERT, pc->log, ngx_socket_errno,
                      ngx_socket_n " failed");
        return NGX_ERROR;
    }

    c = ngx_get_connection(s, pc->log);

    if (c == NULL) {
        if (ngx_close_socket(s) == -1) {
            ngx_log_error(NGX_LOG_ALERT, pc->log, ngx_socket_errno,
                          ngx_close_socket_n " failed");
        }

        return NGX_ERROR;
    }

    c->recv = ms_pause_recv;
    c->log_error = pc->log_error;
    c->read->log = pc->log;
    c->write->log = pc->log;
    c->read->ready = 1;

    pc->connection = c;

    /* what "delayed" says is over then, and not timed out */

    c->read->delayed = 1;
    ngx_add_timer(c->read, call->pause);

    return NGX_AGAIN;
}


static ssize_t
ms_pause_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    return NGX_ERROR;
}
