
#include "ngx_http_myservice_attempt.h"

#include "ngx_http_myservice_deadline.h"
#include "ngx_http_myservice_lease.h"
#include "ngx_http_myservice_module.h"


/* a bound for the attempts on stale connections, which do not count */
#define NGX_HTTP_MYSERVICE_ATTEMPTS   64


/* why an attempt failed */

typedef enum {
    NGX_HTTP_MYSERVICE_NOT_SENT = 0,    /* could not connect */
    NGX_HTTP_MYSERVICE_CONFLICT,        /* serves another session */
    NGX_HTTP_MYSERVICE_LEAVING,         /* takes no calls any more */
    NGX_HTTP_MYSERVICE_UNPROCESSED,     /* provably: may be sent again */
    NGX_HTTP_MYSERVICE_RESET,           /* RST_STREAM or CANCELLED: alive,
                                           may have run */
    NGX_HTTP_MYSERVICE_TIMED_OUT,       /* said nothing for too long */
    NGX_HTTP_MYSERVICE_SILENT,          /* the same, and may run elsewhere */
    NGX_HTTP_MYSERVICE_DIED             /* may have run */
} ngx_http_myservice_failure_e;


static ngx_uint_t ngx_http_myservice_attempt_known(
    ngx_http_myservice_call_t *call, uint32_t instance);
static ngx_int_t ngx_http_myservice_attempt_refuse(
    ngx_http_myservice_call_t *call);
static void ngx_http_myservice_attempt_last(ngx_peer_connection_t *pc);
static ngx_http_myservice_failure_e ngx_http_myservice_attempt_failure(
    ngx_http_myservice_call_t *call, ngx_peer_connection_t *pc);
static ngx_uint_t ngx_http_myservice_attempt_again(
    ngx_http_myservice_call_t *call, ngx_http_myservice_failure_e failure,
    ngx_uint_t cached);


static ngx_str_t  ngx_http_myservice_busy =
    ngx_string("all instances are busy");
static ngx_str_t  ngx_http_myservice_no_instances =
    ngx_string("no available instances");
static ngx_str_t  ngx_http_myservice_unavailable =
    ngx_string("backend service unavailable");


ngx_int_t
ngx_http_myservice_attempt_get_peer(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_myservice_call_t  *call = data;

    ngx_uint_t                   i;
    ngx_http_myservice_grant_t  *grant;

    /* the status is set */

    if (call->aborted) {
        return NGX_ERROR;
    }

    grant = &call->grant;

    if (call->same
        && ngx_http_myservice_zone_touch(call->conf->zone, &grant->lease,
                                         pc->log)
           == NGX_OK)
    {
        goto granted;
    }

    /*
     * when no member is up the pool offers those that are down; the ones that
     * have just failed this call need not be asked again
     */

    for (i = 0; /* void */; i++) {
        call->decision = ngx_http_myservice_zone_claim(call->conf->zone,
                                                       &call->key,
                                                       &call->terms,
                                                       &call->seek, grant,
                                                       pc->log);

        if (call->decision >= MS_CLAIM_BUSY) {
            grant->lease.lease = 0;
            return ngx_http_myservice_attempt_refuse(call);
        }

        if (!ngx_http_myservice_attempt_known(call, grant->lease.instance)) {
            break;
        }

        ngx_http_myservice_zone_settle(call->conf->zone, &grant->lease,
                                       ms_pool_fail, pc->log);

        if (i == call->nfailed) {

            /* other workers bring them back as fast as they are given up */

            call->decision = MS_CLAIM_UNAVAILABLE;
            grant->lease.lease = 0;
            return ngx_http_myservice_attempt_refuse(call);
        }
    }

granted:

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, pc->log, 0,
                   "myservice instance \"%V\" decision:%d lease:%uL same:%d",
                   &grant->name, call->decision, grant->lease.lease,
                   call->same);

    call->touched = ngx_current_msec;
    call->attempts++;

    call->same = 0;
    call->conflict = 0;
    call->leaving = 0;
    call->refused = 0;
    call->reset = 0;
    call->silent = 0;
    call->forwarded = 0;
    call->dropped = 0;
    ngx_memzero(&call->frames, sizeof(ms_frames_t));

    pc->sockaddr = &grant->sockaddr.sockaddr;
    pc->socklen = grant->socklen;
    pc->name = &grant->name;

    pc->cached = 0;
    pc->connection = NULL;

    return ngx_http_myservice_deadline_attempt(call, call->begin_limit);
}


static ngx_uint_t
ngx_http_myservice_attempt_known(ngx_http_myservice_call_t *call,
    uint32_t instance)
{
    ngx_uint_t  i;

    for (i = 0; i < call->nfailed; i++) {

        if (call->failed[i] == instance) {
            return 1;
        }
    }

    return 0;
}


/*
 * NGX_BUSY would be natural, but for that nginx logs "no live upstreams" as an
 * error, and a full house is none
 */

static ngx_int_t
ngx_http_myservice_attempt_refuse(ngx_http_myservice_call_t *call)
{
    ngx_str_t   *message;
    ngx_uint_t   code;

    switch (call->decision) {

    case MS_CLAIM_UNAVAILABLE:
        code = NGX_HTTP_MYSERVICE_UNAVAILABLE;
        message = &ngx_http_myservice_unavailable;
        break;

    case MS_CLAIM_EMPTY:
        code = NGX_HTTP_MYSERVICE_RESOURCE_EXHAUSTED;
        message = &ngx_http_myservice_no_instances;
        break;

    default:
        code = NGX_HTTP_MYSERVICE_RESOURCE_EXHAUSTED;
        message = &ngx_http_myservice_busy;
    }

    ngx_log_error(NGX_LOG_INFO, call->request->connection->log, 0,
                  "no instance for the session: %V", message);

    (void) ngx_http_myservice_set_status(call->request, code, message);

    return NGX_ERROR;
}


void
ngx_http_myservice_attempt_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_myservice_call_t  *call = data;

    ngx_uint_t                     again;
    ngx_http_request_t            *r;
    ngx_http_upstream_t           *u;
    ngx_http_myservice_failure_e   failure;

    r = call->request;
    u = r->upstream;

    if (call->aborted) {
        pc->tries = 0;
    }

    if (!(state & NGX_PEER_FAILED) || call->aborted || r->connection->error
        || (call->grant.lease.lease == 0 && !call->conflict
            && !call->leaving))
    {
        /* finalize_request() has settled the lease, or will */
        return;
    }

    if (u->header_sent) {

        /* writing failed; finalize_request() will settle the lease */

        ngx_http_myservice_attempt_last(pc);
        return;
    }

    failure = ngx_http_myservice_attempt_failure(call, pc);
    again = ngx_http_myservice_attempt_again(call, failure, pc->cached);

    ngx_log_debug5(NGX_LOG_DEBUG_HTTP, pc->log, 0,
                   "myservice attempt failed: %d again:%ui same:%d cached:%d "
                   "tries:%ui",
                   failure, again, call->same, pc->cached, pc->tries);

    if (again && u->request_sent
        && ngx_http_myservice_replay_rewind(r, &call->replay, call->header,
                                            call->reinit_request,
                                            call->input_filter_ctx)
           != NGX_OK)
    {
        again = 0;
        call->same = 0;
    }

    if (!again) {
        ngx_http_myservice_attempt_last(pc);

        if (failure == NGX_HTTP_MYSERVICE_TIMED_OUT
            || failure == NGX_HTTP_MYSERVICE_SILENT)
        {
            (void) ngx_http_myservice_set_status(r,
                                      NGX_HTTP_MYSERVICE_DEADLINE_EXCEEDED,
                                      &ngx_http_myservice_deadline_exceeded);

        } else if (failure == NGX_HTTP_MYSERVICE_CONFLICT) {
            (void) ngx_http_myservice_set_status(r,
                                      NGX_HTTP_MYSERVICE_RESOURCE_EXHAUSTED,
                                      &ngx_http_myservice_busy);
        }

        return;
    }

    /*
     * a stale connection does not count, there may be many of them; nor does
     * an instance that is taken, as the next one may be free
     */

    if (pc->tries && failure != NGX_HTTP_MYSERVICE_CONFLICT
        && !(call->same && pc->cached))
    {
        pc->tries--;
    }
}


static void
ngx_http_myservice_attempt_last(ngx_peer_connection_t *pc)
{
    /* nginx adds one when a kept-alive connection fails */

    pc->tries = 0;
    pc->cached = 0;
}


static ngx_http_myservice_failure_e
ngx_http_myservice_attempt_failure(ngx_http_myservice_call_t *call,
    ngx_peer_connection_t *pc)
{
    ngx_connection_t     *c;
    ngx_http_upstream_t  *u;

    u = call->request->upstream;
    c = pc->connection;

    if (call->silent) {
        return NGX_HTTP_MYSERVICE_SILENT;
    }

    if (!u->request_sent || c == NULL) {

        /* a kept-alive connection may have been reset meanwhile */

        return (pc->cached && c) ? NGX_HTTP_MYSERVICE_UNPROCESSED
                                 : NGX_HTTP_MYSERVICE_NOT_SENT;
    }

    if (call->conflict) {
        return NGX_HTTP_MYSERVICE_CONFLICT;
    }

    if (call->leaving) {
        return NGX_HTTP_MYSERVICE_LEAVING;
    }

    if (call->refused
        || (pc->cached && u->state->bytes_received == call->dropped
            && !c->read->timedout && !c->write->timedout))
    {
        return NGX_HTTP_MYSERVICE_UNPROCESSED;
    }

    if (call->reset) {
        return NGX_HTTP_MYSERVICE_RESET;
    }

    if (c->read->timedout || c->write->timedout) {
        return NGX_HTTP_MYSERVICE_TIMED_OUT;
    }

    return NGX_HTTP_MYSERVICE_DIED;
}


/*
 * What a failed attempt means for the lease, and whether the request may be
 * sent again.  A stale or closing connection says nothing about the
 * instance: it is asked again on another connection, and has failed only if
 * that is of no use either.
 */

static ngx_uint_t
ngx_http_myservice_attempt_again(ngx_http_myservice_call_t *call,
    ngx_http_myservice_failure_e failure, ngx_uint_t cached)
{
    ngx_uint_t  listed;

    if (call->attempts >= NGX_HTTP_MYSERVICE_ATTEMPTS) {
        return 0;
    }

    listed = ngx_http_myservice_method_listed(call->loc_conf->retry,
                                              &call->request->uri);

    switch (failure) {

    case NGX_HTTP_MYSERVICE_CONFLICT:
    case NGX_HTTP_MYSERVICE_LEAVING:

        /* process_header() has told the pool */

        return 1;

    case NGX_HTTP_MYSERVICE_NOT_SENT:

        ngx_http_myservice_attempt_failed(call);
        return 1;

    case NGX_HTTP_MYSERVICE_UNPROCESSED:

        if (cached || !call->fresh_again) {
            call->fresh_again = !cached;
            call->same = 1;
            return 1;
        }

        ngx_http_myservice_attempt_failed(call);
        return 1;

    case NGX_HTTP_MYSERVICE_RESET:

        if (listed && !call->fresh_again) {
            call->fresh_again = 1;
            call->same = 1;
            return 1;
        }

        return 0;

    case NGX_HTTP_MYSERVICE_TIMED_OUT:

        return 0;

    case NGX_HTTP_MYSERVICE_SILENT:

        /* there is such a limit only for listed methods */

        ngx_http_myservice_attempt_failed(call);
        return 1;

    default: /* NGX_HTTP_MYSERVICE_DIED */

        ngx_http_myservice_attempt_failed(call);
        return listed;
    }
}


void
ngx_http_myservice_attempt_failed(ngx_http_myservice_call_t *call)
{
    ngx_http_myservice_attempt_leave(call);

    ngx_log_error(NGX_LOG_WARN, call->request->connection->log, 0,
                  "instance \"%V\" failed", &call->grant.name);
}


void
ngx_http_myservice_attempt_leave(ngx_http_myservice_call_t *call)
{
    ngx_http_myservice_zone_settle(call->conf->zone, &call->grant.lease,
                                   ms_pool_fail,
                                   call->request->connection->log);

    if (call->nfailed < NGX_HTTP_MYSERVICE_CALL_FAILED) {
        call->failed[call->nfailed++] = call->grant.lease.instance;
    }

    call->grant.lease.lease = 0;
}
