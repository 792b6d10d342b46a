
/*
 * Reads what an instance's answer says to the gateway, before the client gets
 * the answer.
 */

#include "sessions/answer.h"

#include "answers/errors.h"
#include "core/compat.h"
#include "core/grpc.h"
#include "core/header.h"
#include "core/log.h"
#include "core/methods.h"
#include "jwt/token.h"
#include "sessions/lease.h"
#include "sessions/loss.h"
#include "sessions/receive.h"
#include "sessions/terms.h"
#include "store/released.h"
#include "store/renew.h"
#include "wire/frame.h"
#include "wire/percent.h"
#include "zone/epoch.h"


static void ms_answer_failed(ms_call_t *call, ngx_int_t rc);
static void ms_answer_faulty(ms_call_t *call, ngx_list_t *headers,
    ngx_str_t *fault);
static ngx_uint_t ms_answer_too_big(ms_call_t *call, ngx_list_t *headers);
static ngx_uint_t ms_answer_refused(ms_call_t *call, ngx_list_t *headers);
static ngx_uint_t ms_answer_serves(ms_call_t *call, ngx_list_t *headers,
    ngx_int_t code, ngx_str_t *message);
static ngx_uint_t ms_answer_own(ms_call_t *call, ngx_str_t *owner);
static uint64_t ms_answer_epoch(ngx_list_t *headers);
static void ms_answer_outdated(ms_call_t *call, ngx_uint_t serves,
    uint64_t epoch);
static ngx_uint_t ms_answer_above(ms_call_t *call, ms_pool_terms_t *terms,
    ngx_log_t *log);
static ngx_uint_t ms_answer_leaving(ngx_list_t *headers, ngx_str_t *message);
static ngx_int_t ms_answer_owner(ms_call_t *call, ngx_list_t *headers,
    ngx_int_t code, ngx_str_t *message, ngx_str_t *owner);
static void ms_answer_conflict(ms_call_t *call, ngx_str_t *owner,
    uint64_t epoch);
static void ms_answer_broken(ms_call_t *call);


static ngx_str_t  ms_malformed =
    ngx_string("malformed answer of the instance");
static ngx_str_t  ms_too_big =
    ngx_string("header of the instance's answer is too big for "
               "grpc_buffer_size");

/* what an instance may say in grpc-message */
static ngx_str_t  ms_leaving = ngx_string("instance is shutting down");


ngx_int_t
ms_answer_process_header(ngx_http_request_t *r)
{
    ngx_int_t             rc;
    ngx_http_upstream_t  *u;
    ms_call_t            *call;
    ms_compat_ctx_t      *grpc;

    u = r->upstream;
    call = ms_call_get(r);

    rc = ms_receive_header(call);

    if (rc == NGX_AGAIN || rc == NGX_HTTP_UPSTREAM_INVALID_HEADER) {
        call->refused = (call->frames.found & MS_FRAMES_REFUSED) ? 1 : 0;
        call->reset = (call->frames.found & MS_FRAMES_RESET) ? 1 : 0;

        if (!call->refused && !call->reset) {
            ms_answer_failed(call, rc);
        }

        return rc;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    grpc = call->input_filter_ctx;

    if (u->headers_in.status_n == 0 || grpc->stream_id == 0) {

        /* a header block without a field, or of the connection */

        ms_answer_failed(call, NGX_HTTP_UPSTREAM_INVALID_HEADER);
        return NGX_HTTP_UPSTREAM_INVALID_HEADER;
    }

    /* any other answer says nothing of the session */

    call->grpc = u->headers_in.status_n == NGX_HTTP_OK
                 && ms_grpc_type(u->headers_in.content_type);

    if (call->grpc && ms_answer_refused(call, &u->headers_in.headers)) {
        return NGX_HTTP_UPSTREAM_INVALID_HEADER;
    }

    return NGX_OK;
}


/* nginx gives up the attempt after this, unless it waits for more bytes */

static void
ms_answer_failed(ms_call_t *call, ngx_int_t rc)
{
    ngx_list_t           *headers;
    ngx_http_upstream_t  *u;

    u = call->request->upstream;
    headers = &u->headers_in.headers;

    if (rc != NGX_AGAIN) {
        ms_answer_faulty(call, headers,
                         ms_answer_too_big(call, headers)
                         ? &ms_too_big
                         : &ms_malformed);

    } else if (u->buffer.last == u->buffer.end) {
        ms_answer_faulty(call, headers, &ms_too_big);
    }
}


/*
 * The instance has answered, so the call is not repeated. The client gets the
 * instance's own status if the fields so far have one.
 */

static void
ms_answer_faulty(ms_call_t *call, ngx_list_t *headers, ngx_str_t *fault)
{
    u_char           *p;
    ngx_int_t         code;
    ngx_str_t         message;
    ngx_table_elt_t  *h;

    call->fault = fault;

    ms_log_error(NGX_LOG_ERR, call->request->connection->log, 0,
                 "answer cannot be passed on: %V, instance=\"%V\"", fault,
                 &call->grant.name);

    h = ms_header_find(headers, "grpc-status", sizeof("grpc-status") - 1);

    code = h ? ngx_atoi(h->value.data, h->value.len) : NGX_ERROR;

    /* an incomplete answer is no success */

    if (code <= 0) {
        (void) ms_errors_set(call->request, MS_GRPC_INTERNAL, fault);
        return;
    }

    h = ms_header_find(headers, "grpc-message", sizeof("grpc-message") - 1);

    ngx_str_null(&message);

    if (h) {
        p = ngx_pnalloc(call->request->pool, h->value.len);

        if (p) {
            message.data = p;
            message.len = ms_percent_decode(p, h->value.data, h->value.len);
        }
    }

    (void) ms_errors_set(call->request, code, &message);
}


/* since 1.31.0 the grpc module counts the fields, and says no more than that
 * they are invalid */

static ngx_uint_t
ms_answer_too_big(ms_call_t *call, ngx_list_t *headers)
{
    size_t            size;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;
    ms_compat_ctx_t  *grpc;

    grpc = call->input_filter_ctx;
    size = grpc->name.len + grpc->value.len;

    for (part = &headers->part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            size += h[i].key.len + h[i].value.len;
        }
    }

    return size > call->request->upstream->conf->buffer_size;
}


/*
 * Trailers and statuses by which an instance says that it has not processed the
 * call. The gRPC core answers calls that arrive while it stops with CANCELLED
 * although the client has not cancelled.
 */

static ngx_uint_t
ms_answer_refused(ms_call_t *call, ngx_list_t *headers)
{
    ngx_int_t         code;
    ngx_str_t         message;
    ngx_table_elt_t  *h;

    h = ms_header_find(headers, "grpc-status", sizeof("grpc-status") - 1);
    if (h == NULL) {
        return 0;
    }

    code = ngx_atoi(h->value.data, h->value.len);

    h = ms_header_find(headers, "grpc-message", sizeof("grpc-message") - 1);

    ngx_str_null(&message);

    if (h) {
        message = h->value;
    }

    if (!call->forwarded && code > MS_GRPC_OK
        && ms_answer_serves(call, headers, code, &message))
    {
        return 1;
    }

    switch (code) {

    case MS_GRPC_UNAVAILABLE:

        if (!ms_answer_leaving(headers, &message)) {
            return 0;
        }

        ms_log_error(NGX_LOG_NOTICE, call->request->connection->log, 0,
                     "instance is shutting down: the call goes elsewhere, "
                     "instance=\"%V\"", &call->grant.name);

        if (call->forwarded) {
            ms_loss_ran(call);
        }

        ms_lease_fail(call);
        ms_events_add(call->conf->zone, MS_EVENT_DOWN, &call->grant.name, NULL,
                      &ms_leaving);
        call->leaving = 1;

        return 1;

    case MS_GRPC_CANCELLED:

        if (call->repeats || call->request->header_sent
            || !ms_methods_listed(call->loc_conf->retry,
                                  &call->request->uri))
        {
            return 0;
        }

        call->reset = 1;

        return 1;

    default:

        return 0;
    }
}


/*
 * Whether the instance refuses the call for the session that it serves, or has
 * served: it names another one in "session-owner", or a higher epoch than that
 * of the call in "session-epoch".
 */

static ngx_uint_t
ms_answer_serves(ms_call_t *call, ngx_list_t *headers, ngx_int_t code,
    ngx_str_t *message)
{
    uint64_t    epoch;
    ngx_int_t   rc;
    ngx_str_t   owner;
    ngx_uint_t  own;

    rc = ms_answer_owner(call, headers, code, message, &owner);
    own = rc == NGX_OK && ms_answer_own(call, &owner);
    epoch = ms_answer_epoch(headers);

    if (epoch > call->epoch && (own || rc == NGX_DECLINED)
        && !call->outdated)
    {
        ms_answer_outdated(call, own, epoch);
        return 1;
    }

    if (rc == NGX_OK) {
        epoch = ms_epoch_named(call->conf->zone, &call->grant.name,
                               call->grant.lease.lease, epoch,
                               call->request->connection->log);
        ms_answer_conflict(call, &owner, epoch);
        return 1;
    }

    return 0;
}


static ngx_uint_t
ms_answer_own(ms_call_t *call, ngx_str_t *owner)
{
    return owner->len == call->key.len
           && ngx_memcmp(owner->data, call->key.session, owner->len) == 0;
}


/* 0 if the instance says none */

static uint64_t
ms_answer_epoch(ngx_list_t *headers)
{
    off_t             epoch;
    ngx_table_elt_t  *h;

    h = ms_header_find(headers, "session-epoch", sizeof("session-epoch") - 1);
    epoch = h ? ngx_atoof(h->value.data, h->value.len) : 0;

    return epoch > 0 ? (uint64_t) epoch : 0;
}


/*
 * Another gateway has given the session, or another one, a newer lease on the
 * instance than this call has.  It is sent once more: under the epoch that the
 * session has there by now, or under a lease of its own above that.
 */

static void
ms_answer_outdated(ms_call_t *call, ngx_uint_t serves, uint64_t epoch)
{
    ngx_log_t        *log;
    ms_lease_t       *lease;
    ms_pool_terms_t   terms;

    call->conflict = 1;
    call->outdated = 1;

    log = call->request->connection->log;
    lease = &call->grant.lease;

    ms_terms_learned(call->conf, &terms);
    terms.epoch = ms_epoch_named(call->conf->zone, &call->grant.name,
                                 lease->lease, epoch, log);

    if (terms.epoch == 0) {

        /* all that counts is that there was a later lease */

        terms.epoch = lease->epoch + 1;
        call->named = epoch;
        call->named_at = lease->instance;

    } else {
        ms_log_error(NGX_LOG_WARN, log, 0,
                     "session has a newer lease: another gateway gave it, "
                     "epoch=%uL instance=\"%V\"", epoch, &call->grant.name);

        if (!serves && ms_answer_above(call, &terms, log)) {
            return;
        }
    }

    call->reuse_instance = ms_zone_stale(call->conf->zone, lease, serves,
                                         &terms, log);

    if (!call->reuse_instance) {
        lease->lease = 0;
    }
}


/*
 * The store gets the lease back, and the next attempt claims another above the
 * instance's epoch.  0: there is no store to ask.
 */

static ngx_uint_t
ms_answer_above(ms_call_t *call, ms_pool_terms_t *terms, ngx_log_t *log)
{
    ms_zone_t   *zone;
    ngx_str_t    session;
    ms_grant_t  *grant;
    ms_store_t  *store;

    zone = call->conf->zone;
    grant = &call->grant;
    store = ms_store_of(zone->upstream);

    if (store == NULL || !store->conn.ready || store->conn.suspect) {
        return 0;
    }

    session.data = (u_char *) call->key.session;
    session.len = call->key.len;

    ms_store_release(store, &session, &grant->name, grant->lease.epoch, 0);
    ms_zone_epoch_seen(zone, terms->epoch, log);

    if (grant->lease.tentative) {
        ms_zone_update(zone, &grant->lease, ms_pool_give_back, log);

    } else {
        (void) ms_zone_stale(zone, &grant->lease, 0, terms, log);
    }

    grant->lease.lease = 0;

    return 1;
}


/* "session-leaving: 1", or the text that older instances send */

static ngx_uint_t
ms_answer_leaving(ngx_list_t *headers, ngx_str_t *message)
{
    ngx_table_elt_t  *h;

    h = ms_header_find(headers, "session-leaving",
                       sizeof("session-leaving") - 1);

    if (h) {
        return h->value.len == 1 && h->value.data[0] == '1';
    }

    return message->len == ms_leaving.len
           && ngx_strncmp(message->data, ms_leaving.data, message->len) == 0;
}


/*
 * Whom the instance serves if it refuses the call for that, len 0 for an owner
 * that is not known; NGX_DECLINED if it does not say so.  It says so by the
 * trailer "session-owner", or by INTERNAL with the text "Session conflict:
 * was={old}, now={new}".  Session ids have no spaces.
 */

static ngx_int_t
ms_answer_owner(ms_call_t *call, ngx_list_t *headers, ngx_int_t code,
    ngx_str_t *message, ngx_str_t *owner)
{
    size_t            len;
    u_char           *p;
    ngx_table_elt_t  *h;

    static ngx_str_t  was = ngx_string("Session conflict: was=");

    h = ms_header_find(headers, "session-owner", sizeof("session-owner") - 1);

    if (h) {
        *owner = h->value;
        goto named;
    }

    if (code != MS_GRPC_INTERNAL || message->len < was.len
        || ngx_strncmp(message->data, was.data, was.len) != 0)
    {
        return NGX_DECLINED;
    }

    p = ngx_pnalloc(call->request->pool, message->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    len = ms_percent_decode(p, message->data, message->len);

    owner->data = p + was.len;
    p = ngx_strnstr(owner->data, ", now=", len - was.len);
    owner->len = p ? (size_t) (p - owner->data) : 0;

named:

    /* it goes into logs */

    if (!ms_session_valid((char *) owner->data, owner->len)) {
        owner->len = 0;
    }

    return NGX_OK;
}


/*
 * The instance has an owner that we do not know of, because it has survived our
 * restart or because there is a second gateway.
 *
 * An instance is believed once in a call: what it names is its owner from then
 * on, and the call goes elsewhere.  If it names the caller it is asked once
 * more, and then has an owner that is not known.
 */

static void
ms_answer_conflict(ms_call_t *call, ngx_str_t *owner, uint64_t epoch)
{
    ms_pool_terms_t  terms;

    call->conflict = 1;

    if (ms_answer_own(call, owner)) {

        if (call->denied != call->grant.lease.instance + 1) {
            call->denied = call->grant.lease.instance + 1;
            call->reuse_instance = 1;

            ms_log_error(NGX_LOG_WARN, call->request->connection->log, 0,
                         "session conflict: instance refuses its own session, "
                         "the gateway asks once more, instance=\"%V\"",
                         &call->grant.name);

            return;
        }

        owner->len = 0;
    }

    ms_loss_ran(call);
    ms_terms_learned(call->conf, &terms);
    terms.epoch = epoch;
    ms_zone_conflict(call->conf->zone, &call->grant.lease, owner, &terms,
                     call->request->connection->log);

    if (owner->len) {
        ms_store_word(call->conf->zone, &call->grant.name, owner, epoch,
                      call->grant.lease.epoch, NULL);
    }

    call->grant.lease.lease = 0;

    ms_log_error(NGX_LOG_WARN, call->request->connection->log, 0,
                 "session conflict: instance serves another session, "
                 "instance=\"%V\"", &call->grant.name);
}


ngx_int_t
ms_answer_input_filter_init(void *data)
{
    ms_call_t  *call = data;

    return call->input_filter_init(call->input_filter_ctx);
}


ngx_int_t
ms_answer_input_filter(void *data, ssize_t bytes)
{
    ms_call_t  *call = data;

    ngx_int_t             rc;
    ngx_http_upstream_t  *u;

    rc = ms_receive_body(call, bytes);

    u = call->request->upstream;

    if (u->out_bufs) {
        call->forwarded = 1;
    }

    if (call->grpc && u->headers_in.trailers.part.nelts
        && (call->resumable || !call->forwarded)
        && ms_answer_refused(call, &u->headers_in.trailers))
    {
        /*
         * The client has the header: the answer starts again behind it, or
         * behind the messages.  NGX_AGAIN says that all is parsed and a
         * SETTINGS ack is unsent.
         */

        ms_header_find(&u->headers_in.trailers, "grpc-status",
                       sizeof("grpc-status") - 1)->hash = 0;

        u->error = 1;
        u->length = 1;
        u->keepalive = 0;

        return NGX_OK;
    }

    /*
     * the first message of a stream proves that the instance accepts the
     * session
     */

    if (call->grant.lease.tentative && call->forwarded && call->grpc) {
        ms_zone_update(call->conf->zone, &call->grant.lease, ms_pool_confirm,
                       call->request->connection->log);
        call->grant.lease.tentative = 0;
        ms_lease_confirmed(call);
        call->touched = ngx_current_msec;
    }

    if (rc == NGX_ERROR) {
        ms_answer_broken(call);
    }

    return rc;
}


static void
ms_answer_broken(ms_call_t *call)
{
    ngx_uint_t            within;
    ngx_list_t           *trailers;
    ngx_table_elt_t      *h;
    ngx_http_upstream_t  *u;
    ms_compat_ctx_t      *grpc;

    u = call->request->upstream;
    grpc = call->input_filter_ctx;
    trailers = &u->headers_in.trailers;

    h = ms_header_find(trailers, "grpc-status", sizeof("grpc-status") - 1);

    /* the block that has it, not a later frame of another kind */

    within = (grpc->type == MS_FRAME_HEADERS
              || grpc->type == MS_FRAME_CONTINUATION)
             && grpc->state && grpc->frame_state;

    if (u->length == 0 || (h && !within)) {

        /* nginx has the whole answer */

        return;
    }

    if (grpc->state == 0
        && (grpc->type == MS_FRAME_RST_STREAM
            || grpc->type == MS_FRAME_GOAWAY))
    {
        call->reset = 1;
        return;
    }

    ms_answer_faulty(call, trailers,
                     ms_answer_too_big(call, trailers)
                     ? &ms_too_big
                     : &ms_malformed);

    if (h) {
        h->hash = 0;
    }
}
