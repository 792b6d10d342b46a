
/*
 * Calls that ask the store.  A bound session's call does not: not if the store
 * has confirmed the lease, and not while it is in trouble.
 */

#include "sessions/stored.h"

#include "answers/errors.h"
#include "answers/wait.h"
#include "core/context.h"
#include "core/log.h"
#include "core/metadata.h"
#include "core/texts.h"
#include "store/claim.h"
#include "store/conn.h"
#include "store/give_back.h"
#include "store/leases.h"
#include "store/moves.h"
#include "store/released.h"
#include "zone/firsts.h"
#include "sessions/paused.h"
#include "sessions/refusal.h"
#include "sessions/stored_ask.h"


/* questions until a call has an instance */
#define MS_STORED_ASKS   8

/* ms by which a call waits longer than the question, which ends first */
#define MS_STORED_SLACK  1000

/* ms in which an instance that was released gets no session: it shuts down */
#define MS_STORED_REST   2000


static ngx_int_t ms_stored_ask_phase(ms_store_t *store, ms_stored_t *st,
    ngx_uint_t looks);
static void ms_stored_wake_phase(ngx_event_t *ev);
static void ms_stored_wake_attempt(ngx_event_t *ev);
static ngx_int_t ms_stored_take(ms_store_t *store, ms_stored_t *st,
    ms_call_t *call, ngx_log_t *log);
static ngx_uint_t ms_stored_has(ms_store_t *store, ms_call_t *call);
static ngx_uint_t ms_stored_stays(ms_store_t *store, ms_stored_t *st,
    ms_call_t *call);
static ngx_int_t ms_stored_given(ms_store_t *store, ms_stored_t *st,
    ms_call_t *call, ngx_log_t *log);
static void ms_stored_claim_at(ms_stored_t *st, ms_call_t *call,
    ngx_addr_t *guest, ngx_log_t *log);
static void ms_stored_guest(ms_store_t *store, ms_stored_t *st,
    ms_call_t *call, ngx_log_t *log);
static ngx_int_t ms_stored_unavailable(ms_store_t *store, ms_stored_t *st,
    ms_call_t *call, ngx_log_t *log);



ngx_int_t
ms_stored_handler(ngx_http_request_t *r)
{
    ngx_str_t                      session;
    ms_store_t                    *store;
    ms_stored_t                   *st;
    ms_sessions_srv_conf_t        *conf;
    ngx_http_upstream_srv_conf_t  *us;

    us = ms_wait_upstream(r);
    store = us ? ms_store_of(us) : NULL;

    if (store == NULL) {
        return NGX_DECLINED;
    }

    st = ms_stored_make(r);
    if (st == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (st->state == MS_STORED_WAITS) {

        if (st->waiter.group) {
            return NGX_AGAIN;
        }

        st->state = MS_STORED_ANSWERED;
        return NGX_DECLINED;
    }

    conf = ngx_http_conf_upstream_srv_conf(us,
                                         ngx_http_myservice_sessions_module);

    if (ms_call_key(r, conf, &session) != NGX_OK) {

        /* the balancer refuses it */

        return NGX_DECLINED;
    }

    ms_zone_key(conf->zone, &session, &st->key);

    /* who comes now may not overtake those who wait */

    return ms_stored_ask_phase(store, st,
                               conf->zone->line
                               && ms_line_used(conf->zone->line));
}


static ngx_int_t
ms_stored_ask_phase(ms_store_t *store, ms_stored_t *st, ngx_uint_t looks)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = st->request;

    st->asks = 0;
    st->waiter.looks = looks;
    st->waiter.wake.handler = ms_stored_wake_phase;

    rc = ms_stored_ask(store, st, &st->key, NULL);

    if (rc != NGX_AGAIN) {
        return NGX_DECLINED;
    }

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_AGAIN;
}


ngx_int_t
ms_stored_again_phase(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us)
{
    ms_stored_t  *st;

    st = ms_context_find(r, &ngx_http_myservice_store_module);
    st->placed = 1;

    return ms_stored_ask_phase(ms_store_of(us), st, 0);
}


ngx_int_t
ms_stored_answer(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us)
{
    ms_stored_t  *st;

    st = ms_context_find(r, &ngx_http_myservice_store_module);

    if (st && st->state == MS_STORED_WAITS) {

        if (st->waiter.group) {
            return NGX_AGAIN;
        }

        st->state = MS_STORED_ANSWERED;
    }

    if (st == NULL || st->state != MS_STORED_ANSWERED) {
        return NGX_OK;
    }

    return st->waiter.rc == NGX_BUSY ? NGX_BUSY
           : st->waiter.rc == NGX_ERROR && ms_store_of(us)->local ? NGX_ERROR
           : NGX_OK;
}


ms_pool_key_t *
ms_stored_key(ngx_http_request_t *r, ngx_str_t *session)
{
    ms_stored_t  *st;

    st = ms_context_find(r, &ngx_http_myservice_store_module);

    return st && st->key.session == session->data
           && st->key.len == session->len
           ? &st->key : NULL;
}


static void
ms_stored_wake_phase(ngx_event_t *ev)
{
    ms_stored_t         *st;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    st = ev->data;
    r = st->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);
    ngx_http_run_posted_requests(c);
}


/* ends the pause of the attempt, which asks for an instance again */

static void
ms_stored_wake_attempt(ngx_event_t *ev)
{
    ms_call_t    *call;
    ms_stored_t  *st;

    st = ev->data;
    call = ms_call_get(st->request);

    if (call) {
        ms_paused_end(call);
    }
}


ngx_int_t
ms_stored_claim(ms_call_t *call, ngx_log_t *log)
{
    ngx_int_t     rc;
    ms_store_t   *store;
    ms_stored_t  *st;

    store = ms_store_of(call->conf->zone->upstream);

    if (store == NULL) {
        return NGX_DECLINED;
    }

    st = ms_stored_make(call->request);
    if (st == NULL) {
        return NGX_ERROR;
    }

    st->local = 0;
    call->seek.stored = 1;

    if (st->state == MS_STORED_WAITS) {

        /* the pause is over; without an answer in time the worker was busy */

        if (st->waiter.group) {
            ms_store_forget(&st->waiter);
            st->waiter.rc = NGX_ERROR;
        }

        st->state = MS_STORED_ANSWERED;
    }

    for ( ;; ) {

        if (st->state == MS_STORED_LOCAL) {
            st->state = MS_STORED_UNKNOWN;
            return NGX_DECLINED;
        }

        if (st->state == MS_STORED_ANSWERED) {
            st->state = MS_STORED_UNKNOWN;
            rc = ms_stored_take(store, st, call, log);

            if (rc != NGX_AGAIN) {
                return rc;
            }
        }

        if (st->state == MS_STORED_TORN || st->asks >= MS_STORED_ASKS) {
            st->state = MS_STORED_UNKNOWN;
            call->grant.lease.lease = 0;
            call->decision = MS_CLAIM_UNAVAILABLE;
            return ms_refusal_answer(call);
        }

        st->waiter.looks = 0;
        st->waiter.wake.handler = ms_stored_wake_attempt;

        if (ms_stored_ask(store, st, &call->key, call) == NGX_AGAIN) {
            call->grant.lease.lease = 0;
            call->pause = store->timeout + MS_STORED_SLACK;
            return NGX_AGAIN;
        }
    }
}


/* NGX_AGAIN: the answer is of no use, the store is asked again */

static ngx_int_t
ms_stored_take(ms_store_t *store, ms_stored_t *st, ms_call_t *call,
    ngx_log_t *log)
{
    switch (st->waiter.rc) {

    case NGX_OK:
        return ms_stored_given(store, st, call, log);

    case NGX_BUSY:
        st->asks = 0;

        if (ms_store_stay(store, &call->key, 0)
            || ms_stored_stays(store, st, call))
        {
            return NGX_DECLINED;
        }

        call->decision = ms_zone_refusal(call->conf->zone, &call->key,
                                         &call->terms, log);
        return NGX_BUSY;

    case NGX_DECLINED:
        call->decision = MS_CLAIM_DENIED;
        return NGX_BUSY;

    case NGX_ABORT:

        /* the store has not been told yet of what the session has */

        if (ms_stored_has(store, call)) {
            return NGX_DECLINED;
        }

        call->decision = MS_CLAIM_TOO_MANY;
        return NGX_BUSY;

    case NGX_DONE:

        /* those that were asked about meanwhile may have had a lease */

        if (!ms_stored_crowded(store, st, &call->key)) {
            return NGX_AGAIN;
        }

        call->decision = MS_CLAIM_LIMITED;
        return NGX_BUSY;

    default:
        return ms_stored_unavailable(store, st, call, log);
    }
}


/* the session has an instance that is up here, and its call goes there */

static ngx_uint_t
ms_stored_has(ms_store_t *store, ms_call_t *call)
{
    ms_store_lease_t  own;

    return ms_store_lease(store, &call->key, &own) == NGX_OK && !own.away
           && !ms_stored_failed(call, own.instance);
}


/* once for each call: a session with nowhere to go tries its own instance, as
 * without a store, though that is down */

static ngx_uint_t
ms_stored_stays(ms_store_t *store, ms_stored_t *st, ms_call_t *call)
{
    ms_store_lease_t  own;

    if (st->stayed
        || ms_store_lease(store, &call->key, &own) != NGX_OK
        || !own.away || ms_stored_failed(call, own.instance))
    {
        return 0;
    }

    st->stayed = 1;

    return 1;
}


static ngx_int_t
ms_stored_given(ms_store_t *store, ms_stored_t *st, ms_call_t *call,
    ngx_log_t *log)
{
    ms_grant_t         *grant;
    ms_store_waiter_t  *waiter;

    grant = &call->grant;
    waiter = &st->waiter;

    ms_store_take(waiter);
    ms_stored_claim_at(st, call, NULL, log);

    if (call->decision == MS_CLAIM_EMPTY && waiter->given <= MS_GIVEN_SHARED) {
        ms_stored_guest(store, st, call, log);
    }

    if (st->against && waiter->given == MS_GIVEN_MOVED
        && (call->decision == MS_CLAIM_MOVED
            || call->decision == MS_CLAIM_LOST))
    {
        ms_store_moved(store, &call->key);
    }

    ms_store_forget(waiter);

    if (grant->lease.lease) {
        ms_store_mark(store, grant->lease.instance, grant->lease.lease,
                      waiter->asked, MS_STORE_CLAIMED);
    }

    if (call->decision < MS_CLAIM_BUSY) {

        if (!ms_stored_failed(call, grant->lease.instance)) {
            st->asks = 0;
            ms_zone_decided(call->conf->zone, call->decision, 1, log);
            return NGX_OK;
        }

        if (grant->lease.tentative) {
            ms_zone_update(call->conf->zone, &grant->lease,
                           ms_pool_give_back, log);
        }

        grant->lease.lease = 0;
        return NGX_AGAIN;
    }

    if (call->decision == MS_CLAIM_UNAVAILABLE && grant->lease.lease) {

        /* it is down here: the session moves, by the store */

        grant->lease.lease = 0;
        return NGX_AGAIN;
    }

    if (call->decision == MS_CLAIM_EMPTY) {
        ms_zone_decided(call->conf->zone, call->decision, 1, log);
        (void) ms_errors_set(call->request, MS_GRPC_UNAVAILABLE,
                             &ms_text_unavailable);
        return NGX_ERROR;
    }

    return NGX_BUSY;
}


static void
ms_stored_claim_at(ms_stored_t *st, ms_call_t *call, ngx_addr_t *guest,
    ngx_log_t *log)
{
    ms_store_waiter_t  *waiter;

    waiter = &st->waiter;

    call->decision = ms_zone_claim_at(call->conf->zone, &call->key,
                                      &call->terms, &waiter->instance, guest,
                                      waiter->given, waiter->epoch,
                                      call->seek.waited, &call->grant, log);
}


/* the instance is no member here: it is one while the session has it */

static void
ms_stored_guest(ms_store_t *store, ms_stored_t *st, ms_call_t *call,
    ngx_log_t *log)
{
    ngx_int_t    rc;
    ngx_str_t   *name;
    ngx_addr_t   addr;

    name = &st->waiter.instance;

    rc = ngx_parse_addr_port(call->request->pool, &addr, name->data,
                             name->len);

    if (rc == NGX_OK && ngx_inet_get_port(addr.sockaddr)) {
        addr.name = *name;
        ms_stored_claim_at(st, call, &addr, log);
    }

    ms_log_error(NGX_LOG_WARN, log, 0,
                 "store names an instance that is no member: another gateway "
                 "gave it to a session, %s, instance=\"%V\" "
                 "upstream=\"%V\" (all gateways need the same members)",
                 call->grant.lease.lease ? "which stays there"
                                         : "which is refused",
                 name, &store->upstream->host);
}


static ngx_int_t
ms_stored_unavailable(ms_store_t *store, ms_stored_t *st, ms_call_t *call,
    ngx_log_t *log)
{
    st->local = store->local;
    call->seek.stored = !st->local;

    if (ms_stored_has(store, call) || st->local
        || (ms_store_stay(store, &call->key, 1) && ms_stored_has(store, call)))
    {
        return NGX_DECLINED;
    }

    call->grant.lease.lease = 0;
    call->decision = MS_CLAIM_UNAVAILABLE;
    ms_zone_decided(call->conf->zone, call->decision, 1, log);

    ms_refusal_store(call);

    return NGX_ERROR;
}


ngx_uint_t
ms_stored_again(ms_call_t *call, ngx_log_t *log)
{
    ms_stored_t  *st;

    if (ms_store_of(call->conf->zone->upstream) == NULL
        || call->decision == MS_CLAIM_HIT
        || call->decision == MS_CLAIM_REBUILT)
    {
        return 0;
    }

    st = ms_stored_make(call->request);

    if (st == NULL || st->local) {
        return 0;
    }

    /* the lease has ended since the call looked for it */

    ms_zone_decided(call->conf->zone, call->decision, -1, log);

    if (call->grant.lease.tentative) {
        ms_zone_update(call->conf->zone, &call->grant.lease,
                       ms_pool_give_back, log);
    }

    call->grant.lease.lease = 0;

    return 1;
}


void
ms_stored_ended(ms_call_t *call, ms_lease_pt ending, ngx_log_t *log)
{
    ms_grant_t  *grant;
    ms_store_t  *store;
    ngx_str_t    session;

    store = ms_store_of(call->conf->zone->upstream);
    grant = &call->grant;

    if (store == NULL || ending == ms_pool_confirm
        || ms_zone_lease_state(call->conf->zone, &grant->lease, log)
           == MS_LEASE_HELD)
    {
        return;
    }

    session.data = (u_char *) call->key.session;
    session.len = call->key.len;

    if (ending == ms_pool_release) {
        ms_store_release(store, &session, &grant->name, grant->lease.epoch,
                         MS_STORED_REST);
        return;
    }

    /* another worker may have asked, and be about to have it */

    if (store->zone->firsts == NULL
        || !ms_zone_firsts_pass(store->zone, &call->key, &grant->lease))
    {
        ms_store_give_back(store, &session, &grant->name, grant->lease.epoch,
                           grant->lease.claimed);
    }
}
