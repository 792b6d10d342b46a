
/*
 * One attempt of a call: claims an instance for it, and decides what its end
 * means, for the lease and for what is sent again.
 */

#include "sessions/attempt.h"

#include "answers/errors.h"
#include "answers/wait.h"
#include "core/grpc.h"
#include "core/log.h"
#include "core/texts.h"
#include "http2/mux_call.h"
#include "sessions/calls.h"
#include "sessions/connection.h"
#include "sessions/deadline.h"
#include "sessions/failure.h"
#include "sessions/lease.h"
#include "sessions/loss.h"
#include "sessions/pause.h"
#include "sessions/paused.h"
#include "sessions/queue.h"
#include "sessions/refusal.h"
#include "sessions/stored.h"
#include "sessions/terms.h"
#include "wire/decimal.h"


/* a limit for all attempts of a call, those on stale connections included */
#define MS_ATTEMPTS   64

/* how often a call is repeated at an instance that closes new connections:
 * a dying instance may still accept a few */
#define MS_REPEATS    2


static ms_lease_pt ms_attempt_known(ms_call_t *call, uint32_t instance);
static ngx_int_t ms_attempt_refuse(ms_call_t *call);
static ngx_int_t ms_attempt_start(ms_call_t *call);
static ngx_int_t ms_attempt_fields(ms_call_t *call);
static ngx_int_t ms_attempt_keep_name(ms_call_t *call);
static void ms_attempt_last(ngx_peer_connection_t *pc);
static ngx_int_t ms_attempt_rewind(ms_call_t *call);
static ngx_uint_t ms_attempt_again(ms_call_t *call, ms_failure_e failure,
    ngx_uint_t cached);
static ngx_uint_t ms_attempt_repeatable(ms_call_t *call, ms_failure_e failure);
static ngx_uint_t ms_attempt_repeat(ms_call_t *call, ngx_uint_t cached);
static ngx_uint_t ms_attempt_elsewhere(ms_call_t *call);
static void ms_attempt_failed(ms_call_t *call);


ngx_int_t
ms_attempt_get_peer(ngx_peer_connection_t *pc, void *data)
{
    ms_call_t  *call = data;

    ngx_int_t    rc;
    ngx_uint_t   i, placed;
    ms_grant_t  *grant;
    ms_lease_pt  known;

    /* the client's status is already set */

    if (call->aborted) {
        return NGX_ERROR;
    }

    grant = &call->grant;

    if (call->pause) {
        call->begin_limited = 0;
        return ms_paused_begin(call, pc);
    }

    if (call->request->upstream_states->nelts > 1
        && ms_attempt_keep_name(call) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (call->reuse_instance
        && ms_zone_touch(call->conf->zone, &grant->lease,
                         pc->log)
           == NGX_OK)
    {
        goto granted;
    }

    call->repeats = 0;

    /*
     * when no member is up the pool offers those that are down; the ones that
     * have just failed this call need not be asked again
     */

    call->seek.queued = 0;
    placed = 0;

    switch (ms_queue_state(call->request)) {

    case MS_QUEUE_WAITS:
        call->pause = MS_QUEUE_PAUSE;
        call->begin_limited = 0;
        return ms_paused_begin(call, pc);

    case MS_QUEUE_TURN:
        call->seek.waited = 1;
        /* fall through */

    case MS_QUEUE_AT_ONCE:
        call->seek.queued = 1;
        placed = 1;
        break;

    case MS_QUEUE_ASKS:
        placed = 1;
        /* fall through */

    case MS_QUEUE_STORED:
        call->seek.waited = 1;
        break;

    default: /* MS_QUEUE_NONE */
        break;
    }

    call->seek.crowded = ms_calls_crowds(call) & 1;

    for (i = 0; /* void */; i++) {
        rc = ms_stored_claim(call, pc->log);

        if (rc == NGX_OK) {

            if (placed) {
                ms_queue_leave(call->request);
            }

            break;
        }

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc == NGX_AGAIN) {
            call->begin_limited = 0;
            return ms_paused_begin(call, pc);
        }

        if (rc == NGX_BUSY) {
            grant->lease.lease = 0;

            if (ms_queue_lost(call, 1)) {
                call->pause = MS_QUEUE_PAUSE;
                call->begin_limited = 0;
                return ms_paused_begin(call, pc);
            }

            return ms_attempt_refuse(call);
        }

        call->decision = ms_zone_claim(call->conf->zone, &call->key,
                                       &call->terms, &call->seek, grant,
                                       pc->log);

        if (placed) {
            placed = 0;
            call->seek.queued = 0;
            ms_queue_leave(call->request);
        }

        if (call->decision < MS_CLAIM_BUSY && ms_stored_again(call, pc->log))
        {
            continue;
        }

        if (call->decision >= MS_CLAIM_BUSY) {
            grant->lease.lease = 0;

            if (ms_pause_conflict(call)) {
                call->begin_limited = 0;
                return ms_paused_begin(call, pc);
            }

            if (ms_queue_lost(call, 0)) {
                call->pause = MS_QUEUE_PAUSE;
                call->begin_limited = 0;
                return ms_paused_begin(call, pc);
            }

            return ms_attempt_refuse(call);
        }

        known = ms_attempt_known(call, grant->lease.instance);

        if (known == NULL) {
            break;
        }

        ms_zone_update(call->conf->zone, &grant->lease, known, pc->log);

        if (known == ms_pool_suspect || i == call->nfailed) {

            /* no other instance is free, or other workers return instances
             * as fast as this call gives them up */

            call->decision = MS_CLAIM_UNAVAILABLE;
            grant->lease.lease = 0;
            return ms_attempt_refuse(call);
        }
    }

    ms_calls_first(call);

    call->pauses = 0;
    call->moved = call->ran || grant->lease.moved;

    if (call->decision != MS_CLAIM_HIT) {
        ms_lease_assigned(call);
    }

granted:

    if (ms_attempt_start(call) != NGX_OK
        || ms_attempt_fields(call) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, pc->log, 0,
                   "myservice instance \"%V\" decision:%d lease:%uL same:%d",
                   &grant->name, call->decision, grant->lease.lease,
                   call->reuse_instance);

    if (call->asked++ == 0) {
        call->waited = ms_wait_age(call->request);
    }

    call->touched = ngx_current_msec;
    call->attempts++;

    call->reuse_instance = 0;
    call->conflict = 0;
    call->leaving = 0;
    call->refused = 0;
    call->reset = 0;
    call->overdue = 0;
    call->looked = 0;
    call->stale = 0;
    call->fault = NULL;
    call->gone = NULL;
    call->forwarded = 0;
    ngx_memzero(&call->frames, sizeof(ms_frames_t));

    pc->sockaddr = &grant->sockaddr.sockaddr;
    pc->socklen = grant->socklen;
    pc->name = &grant->name;

    pc->cached = 0;
    pc->connection = NULL;

    /* nginx sets no errno between connect() and free_peer() */

    ngx_set_errno(0);

    rc = ms_deadline_attempt(call, call->begin_limit);

    if (rc != NGX_OK || !call->fresh) {
        return rc;
    }

    call->fresh = 0;

    return ms_mux_call_fresh(call->request) ? NGX_OK : ms_connection_new(pc);
}


/*
 * Until a call of the session has succeeded on the instance, each says whether
 * the session may have been at another one before.
 */

static ngx_int_t
ms_attempt_start(ms_call_t *call)
{
    ngx_str_t   *value;

    static ngx_str_t  start = ngx_string("session-start");
    static ngx_str_t  new = ngx_string("new");
    static ngx_str_t  moved = ngx_string("moved");

    value = call->moved ? &moved : &new;

    ms_fields_drop(&call->fields);

    return !call->grant.lease.tentative
           || ms_fields_add(&call->fields, start.data, start.len, value->data,
                            value->len)
              == 0
           ? NGX_OK : NGX_ERROR;
}


/*
 * For this attempt, and for all of them.  The epoch is the same for all calls
 * of a lease: on a shared connection it is one of the lasting fields.
 */

static ngx_int_t
ms_attempt_fields(ms_call_t *call)
{
    u_char        text[NGX_INT64_LEN];
    size_t        len;
    ngx_pool_t   *pool;
    ngx_uint_t    shared;
    ms_fields_t  *fields;

    static ngx_str_t  epoch = ngx_string("session-epoch");

    pool = call->request->pool;

    ms_fields_drop(&call->lasting);
    shared = ms_mux_call_fields(call->request, &call->lasting);

    if (call->lasting.len && !shared) {
        if (ms_replay_keep(pool, call->header, &call->block, &call->lasting)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        call->lasting.len = 0;
        ms_fields_keep(&call->lasting);
    }

    fields = shared ? &call->lasting : &call->fields;
    len = ms_decimal_write(text, ms_call_epoch(call)) - text;

    if (ms_fields_add(fields, epoch.data, epoch.len, text, len) != 0) {
        return NGX_ERROR;
    }

    return ms_replay_append(pool, call->header, &call->block, &call->fields);
}


/* the grant's name is about to be replaced, but $upstream_addr lists the
 * instances of all attempts */

static ngx_int_t
ms_attempt_keep_name(ms_call_t *call)
{
    ngx_str_t                  *name;
    ngx_uint_t                  i;
    ngx_pool_t                 *pool;
    ngx_array_t                *states;
    ngx_http_upstream_state_t  *state;

    pool = call->request->pool;
    states = call->request->upstream_states;
    state = states->elts;

    for (i = 0; i < states->nelts; i++) {

        if (state[i].peer != &call->grant.name) {
            continue;
        }

        name = ngx_palloc(pool, sizeof(ngx_str_t));
        if (name == NULL) {
            return NGX_ERROR;
        }

        name->len = call->grant.name.len;
        name->data = ngx_pstrdup(pool, &call->grant.name);
        if (name->data == NULL) {
            return NGX_ERROR;
        }

        state[i].peer = name;
    }

    return NGX_OK;
}


/* how the lease of an instance ends that has already failed this call */

static ms_lease_pt
ms_attempt_known(ms_call_t *call, uint32_t instance)
{
    ngx_uint_t  i;

    for (i = 0; i < call->nfailed; i++) {

        if (call->failed[i] == instance) {
            return call->suspects & 1 << i ? ms_pool_suspect : ms_pool_fail;
        }
    }

    return NULL;
}


static ngx_int_t
ms_attempt_refuse(ms_call_t *call)
{
    if (call->decision == MS_CLAIM_LOST) {
        ms_loss_tell(call);
        return NGX_ERROR;
    }

    return ms_refusal_answer(call);
}


void
ms_attempt_free_peer(ngx_peer_connection_t *pc, void *data, ngx_uint_t state)
{
    ms_call_t  *call = data;

    ngx_err_t             err;
    ngx_uint_t            again;
    ngx_http_request_t   *r;
    ngx_http_upstream_t  *u;
    ms_failure_e          failure;

    err = ngx_errno;
    r = call->request;
    u = r->upstream;

    if (call->aborted) {
        pc->tries = 0;
    }

    if (!(state & NGX_PEER_FAILED) || call->aborted || r->connection->error) {

        /* finalize_request() has settled the lease, or will */

        return;
    }

    if (call->pause) {

        /* this was not an attempt, and $upstream_addr must not list it */

        call->pause = 0;
        call->reuse_instance = call->gone == NULL;
        r->upstream_states->nelts--;
        return;
    }

    if (call->grant.lease.lease == 0 && !call->conflict && !call->leaving
        && !call->gone)
    {
        return;
    }

    if (u->header_sent) {

        /* writing failed; finalize_request() will settle the lease */

        ms_attempt_last(pc);
        return;
    }

    failure = ms_failure(call, pc, err);

    if (u->request_sent && !ms_failure_unprocessed(failure)) {
        call->ran = 1;
        ms_loss_ran(call);
    }

    again = ms_attempt_again(call, failure, pc->cached);

    ngx_log_debug5(NGX_LOG_DEBUG_HTTP, pc->log, 0,
                   "myservice attempt failed: %d again:%ui same:%d cached:%d "
                   "tries:%ui",
                   failure, again, call->reuse_instance, pc->cached, pc->tries);

    /*
     * the last attempt leaves the request to the location of an "error_page"
     */

    if ((again || ms_attempt_repeatable(call, failure))
        && u->request_sent
        && ms_attempt_rewind(call) != NGX_OK)
    {
        again = 0;
        call->reuse_instance = 0;
    }

    if (!again) {
        ms_attempt_last(pc);

        if (failure == MS_FAILURE_TIMED_OUT || failure == MS_FAILURE_OVERDUE) {
            (void) ms_errors_set(r, MS_GRPC_DEADLINE_EXCEEDED,
                                 &ms_text_deadline_exceeded);

        } else if (failure == MS_FAILURE_LOCAL) {

            if (call->grant.lease.tentative) {

                /* this does not make the instance suspect */

                ms_zone_update(call->conf->zone, &call->grant.lease,
                               ms_pool_give_back, pc->log);
                call->grant.lease.lease = 0;
            }

            ms_connection_failed(call, err);

        } else if (failure == MS_FAILURE_GONE) {
            (void) ms_errors_set(r, MS_GRPC_UNAVAILABLE, call->gone);

        } else if (failure == MS_FAILURE_CONFLICT) {
            ms_refusal_busy(call);
        }

        return;
    }

    /*
     * Attempts on stale connections are not counted, as there may be many.
     * Attempts at occupied instances are not counted either, as the next
     * instance may be free.
     */

    if (pc->tries && failure != MS_FAILURE_CONFLICT
        && !(call->reuse_instance && pc->cached) && call->pause == 0)
    {
        pc->tries--;
    }
}


static void
ms_attempt_last(ngx_peer_connection_t *pc)
{
    /* nginx adds one when a kept-alive connection fails */

    pc->tries = 0;
    pc->cached = 0;
}


static ngx_int_t
ms_attempt_rewind(ms_call_t *call)
{
    ngx_http_request_t  *r;

    r = call->request;

    if (call->stale && r->request_body_no_buffering) {
        ms_replay_unsent(r);
        return NGX_OK;
    }

    return ms_replay_rewind(r, &call->replay, call->header,
                            call->reinit_request, call->input_filter_ctx);
}


/*
 * What a failed attempt means for the lease, and whether the request may be
 * sent again. A kept connection that ends says nothing about the instance: the
 * call tries a new connection. An instance that refuses connections is down.
 */

static ngx_uint_t
ms_attempt_again(ms_call_t *call, ms_failure_e failure, ngx_uint_t cached)
{
    if (call->attempts >= MS_ATTEMPTS) {
        return 0;
    }

    switch (failure) {

    case MS_FAILURE_CONFLICT:
    case MS_FAILURE_LEAVING:

        /* process_header() has told the pool */

        return 1;

    case MS_FAILURE_GONE:

        /* the call holds no lease */

        return !call->request->upstream->request_sent
               || ms_attempt_repeatable(call, failure);

    case MS_FAILURE_NOT_SENT:

        if (ms_pause_due(call, &call->request->upstream->peer)) {
            call->reuse_instance = 1;
            call->fresh = 1;
            return 1;
        }

        if (ms_pause_crowded(call, &call->request->upstream->peer)) {
            return 0;
        }

        ms_attempt_failed(call);
        return 1;

    case MS_FAILURE_UNPROCESSED:
    case MS_FAILURE_DIED:

        if (!ms_attempt_repeatable(call, failure)) {
            return ms_loss_asks(call) && ms_attempt_repeat(call, cached);
        }

        return ms_attempt_repeat(call, cached) || ms_attempt_elsewhere(call);

    case MS_FAILURE_RESET:

        return ms_call_listed(call)
               && call->repeats == 0
               && ms_attempt_repeat(call, 0);

    case MS_FAILURE_OVERDUE:

        /* only listed methods have such a limit */

        ms_attempt_failed(call);
        return 1;

    default: /* MS_FAILURE_LOCAL, MS_FAILURE_FAULTY,
                MS_FAILURE_TIMED_OUT */

        return 0;
    }
}


/* whether a request that was sent may be sent again, at any instance */

static ngx_uint_t
ms_attempt_repeatable(ms_call_t *call, ms_failure_e failure)
{
    return failure == MS_FAILURE_UNPROCESSED
           || ((failure == MS_FAILURE_DIED
                || failure == MS_FAILURE_GONE)
               && ms_call_listed(call));
}


/* at the same instance; a failure of a kept connection is not counted */

static ngx_uint_t
ms_attempt_repeat(ms_call_t *call, ngx_uint_t cached)
{
    if (!cached && call->repeats++ >= MS_REPEATS) {
        return 0;
    }

    call->reuse_instance = 1;
    call->fresh = 1;

    return 1;
}


/* The instance closes every connection. A session without a success has no
 * state there, so it may go elsewhere. */

static ngx_uint_t
ms_attempt_elsewhere(ms_call_t *call)
{
    if (!call->grant.lease.tentative) {
        return 0;
    }

    ms_log_error(NGX_LOG_WARN, call->request->connection->log, 0,
                 "instance closes its connections: the session's first call "
                 "goes elsewhere, instance=\"%V\"", &call->grant.name);

    ms_lease_drop(call, ms_pool_suspect);

    return 1;
}


static void
ms_attempt_failed(ms_call_t *call)
{
    static const ngx_str_t  reason = ngx_string("it cannot be reached");

    ms_lease_fail(call);

    ms_events_add(call->conf->zone, MS_EVENT_DOWN, &call->grant.name, NULL,
                  &reason);
    ms_log_error(NGX_LOG_WARN, call->request->connection->log, 0,
                 "instance failed: it cannot be reached, instance=\"%V\"",
                 &call->grant.name);
}
