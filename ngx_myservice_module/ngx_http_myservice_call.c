
#include "ngx_http_myservice_call.h"

#include "jwt/token.h"

#include "ngx_http_myservice_answer.h"
#include "ngx_http_myservice_attempt.h"
#include "ngx_http_myservice_deadline.h"
#include "ngx_http_myservice_fallback.h"
#include "ngx_http_myservice_lease.h"
#include "ngx_http_myservice_module.h"


/* how often the calls in flight look whether their leases want renewal */
#define NGX_HTTP_MYSERVICE_RENEW      250


static void ngx_http_myservice_call_mark(void *data);
static ngx_int_t ngx_http_myservice_call_begin(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static void ngx_http_myservice_call_location(ngx_http_myservice_call_t *call);
static ngx_int_t ngx_http_myservice_call_supported(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_http_myservice_call_session(ngx_http_myservice_call_t *c);
static void ngx_http_myservice_call_wrap(ngx_http_myservice_call_t *call,
    ngx_http_upstream_t *u);

static void ngx_http_myservice_call_finalize_request(ngx_http_request_t *r,
    ngx_int_t rc);
static void ngx_http_myservice_call_settle(ngx_http_myservice_call_t *call,
    ngx_int_t rc);
static void ngx_http_myservice_call_answer(ngx_http_myservice_call_t *call,
    ngx_int_t rc);

static void ngx_http_myservice_call_track(ngx_http_myservice_call_t *call);
static void ngx_http_myservice_call_renew(ngx_event_t *ev);
static ngx_uint_t ngx_http_myservice_call_over(
    ngx_http_myservice_call_t *call);
static void ngx_http_myservice_call_end(ngx_http_myservice_call_t *call);

#if (NGX_HTTP_SSL)
static ngx_int_t ngx_http_myservice_call_set_session(
    ngx_peer_connection_t *pc, void *data);
static void ngx_http_myservice_call_save_session(ngx_peer_connection_t *pc,
    void *data);
#endif


static ngx_str_t  ngx_http_myservice_unavailable =
    ngx_string("backend service unavailable");
static ngx_str_t  ngx_http_myservice_token_expired =
    ngx_string("token expired");
static ngx_str_t  ngx_http_myservice_session_expired =
    ngx_string("session expired");
static ngx_str_t  ngx_http_myservice_internal =
    ngx_string("internal error");


/* the first member of the private ngx_http_grpc_loc_conf_t */

extern ngx_module_t  ngx_http_grpc_module;


/* of this worker */

static ngx_queue_t  ngx_http_myservice_calls;
static ngx_event_t  ngx_http_myservice_renew_event;


/* see ngx_http_myservice_find_ctx() */

static void
ngx_http_myservice_call_mark(void *data)
{
    ngx_http_myservice_call_t *call = data;

    ngx_http_myservice_deadline_stop(call);
}


ngx_http_myservice_call_t *
ngx_http_myservice_call_get(ngx_http_request_t *r)
{
    return ngx_http_myservice_find_ctx(r,
                                       &ngx_http_myservice_sessions_module,
                                       ngx_http_myservice_call_mark);
}


static ngx_http_myservice_call_t *
ngx_http_myservice_call_create(ngx_http_request_t *r)
{
    ngx_http_myservice_call_t               *call;
    ngx_http_myservice_sessions_loc_conf_t  *slcf;

    call = ngx_http_myservice_call_get(r);

    if (call) {
        return call;
    }

    call = ngx_http_myservice_make_ctx(r,
                                       &ngx_http_myservice_sessions_module,
                                       ngx_http_myservice_call_mark,
                                       sizeof(ngx_http_myservice_call_t));
    if (call == NULL) {
        return NULL;
    }

    call->request = r;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_sessions_module);

    ngx_http_myservice_replay_init(&call->replay, slcf->replay_buffer);

    return call;
}


/*
 * The first bytes of a body come before the upstream is initialized.  A body
 * that is there as a whole is sent "buffered", and nginx keeps it itself.
 */

ngx_int_t
ngx_http_myservice_call_body(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_http_myservice_call_t               *call;
    ngx_http_myservice_sessions_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_sessions_module);

    if (in == NULL || !r->request_body_no_buffering || r != r->main) {
        return NGX_OK;
    }

    if (slcf->balancer == NULL) {

        /* an "error_page" may have taken the call from a balancer */

        call = r->internal ? ngx_http_myservice_call_get(r) : NULL;

        if (call == NULL) {
            return NGX_OK;
        }

    } else {
        call = ngx_http_myservice_call_create(r);
        if (call == NULL) {
            return NGX_ERROR;
        }
    }

    return ngx_http_myservice_replay_copy(r, &call->replay, in);
}


ngx_int_t
ngx_http_myservice_call_replay(ngx_http_myservice_call_t *call)
{
    ngx_http_request_t  *r;

    r = call->request;

    if (r->reading_body || r->request_body == NULL) {
        return NGX_DECLINED;
    }

    if (!r->request_body_no_buffering) {

        /* r->request_body->bufs is intact */

        return NGX_OK;
    }

    return ngx_http_myservice_replay_body(r, &call->replay,
                                          &r->request_body->bufs);
}


ngx_int_t
ngx_http_myservice_call_init(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    if (ngx_http_myservice_call_begin(r, us) == NGX_OK) {
        return NGX_OK;
    }

    /* the fault of the client or of the configuration, wherever it is sent */

    ngx_http_myservice_set_final(r);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_myservice_call_begin(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_int_t                   rc;
    ngx_http_upstream_t        *u;
    ngx_http_myservice_call_t  *call;

    if (ngx_http_myservice_call_supported(r, us) != NGX_OK) {
        (void) ngx_http_myservice_set_status(r, NGX_HTTP_MYSERVICE_INTERNAL,
                                             &ngx_http_myservice_internal);
        return NGX_ERROR;
    }

    call = ngx_http_myservice_call_create(r);
    if (call == NULL) {
        return NGX_ERROR;
    }

    u = r->upstream;

    call->conf = ngx_http_conf_upstream_srv_conf(us,
                                         ngx_http_myservice_sessions_module);

    /* a resumed stream comes here again, and what an "error_page" sends */

    ngx_http_myservice_call_location(call);
    ngx_memzero(&call->seek, sizeof(ms_pool_seek_t));
    call->attempts = 0;
    call->nfailed = 0;
    call->fresh_again = 0;
    call->same = 0;

    if (ngx_http_myservice_call_session(call) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_myservice_lease_terms(r, call->conf, &call->terms)
        != NGX_OK)
    {
        (void) ngx_http_myservice_set_status(r, NGX_HTTP_MYSERVICE_INTERNAL,
                                             &ngx_http_myservice_internal);
        return NGX_ERROR;
    }

    /* create_request() was called already */

    call->header = u->request_bufs->buf;

    rc = ngx_http_myservice_deadline_start(call);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    call->aborted = rc == NGX_DECLINED;

    if (call->aborted
        && ngx_http_myservice_set_status(r,
                                      NGX_HTTP_MYSERVICE_DEADLINE_EXCEEDED,
                                      &ngx_http_myservice_deadline_exceeded)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_myservice_call_wrap(call, u);
    ngx_http_myservice_call_track(call);

    return ngx_http_myservice_guard_stream(r);
}


static void
ngx_http_myservice_call_location(ngx_http_myservice_call_t *call)
{
    ngx_http_request_t                      *r;
    ngx_http_myservice_sessions_loc_conf_t  *slcf;

    r = call->request;
    slcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_sessions_module);

    call->loc_conf = slcf;
    call->begin_limit = 0;

    if (slcf->retry_timeout
        && ngx_http_myservice_method_listed(slcf->retry, &r->uri))
    {
        call->begin_limit = slcf->retry_timeout;
    }
}


/* what "nginx -t" can not see: the names of upstreams may be in variables */

static ngx_int_t
ngx_http_myservice_call_supported(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_upstream_conf_t                *ucf;
    ngx_http_myservice_sessions_loc_conf_t  *slcf;

    ucf = ngx_http_get_module_loc_conf(r, ngx_http_grpc_module);
    slcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_sessions_module);

    if (r->upstream->conf != ucf) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "upstream \"%V\" has \"myservice_sessions\": only "
                      "\"grpc_pass\" can pass to it", &us->host);
        return NGX_DECLINED;
    }

    if (r != r->main) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "upstream \"%V\" has \"myservice_sessions\": "
                      "subrequests, as of \"mirror\" and \"auth_request\", "
                      "can not pass to it", &us->host);
        return NGX_DECLINED;
    }

    if (slcf->balancer
        != ngx_http_conf_upstream_srv_conf(us,
                                         ngx_http_myservice_sessions_module))
    {
        /* the location keeps no body and does not know what it may repeat */

        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "upstream \"%V\" has \"myservice_sessions\": "
                      "\"grpc_pass\" to it can have no variables", &us->host);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_myservice_call_session(ngx_http_myservice_call_t *call)
{
    ngx_int_t  rc;
    ngx_str_t  session;

    if (call->conf->key) {
        rc = ngx_http_complex_value(call->request, call->conf->key, &session);

        if (rc == NGX_OK
            && !ms_session_valid((char *) session.data, session.len))
        {
            rc = session.len ? NGX_ABORT : NGX_DECLINED;
        }

    } else {
        rc = ngx_http_myservice_session_id(call->request, &session);
    }

    switch (rc) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        (void) ngx_http_myservice_set_status(call->request,
                                        NGX_HTTP_MYSERVICE_UNAUTHENTICATED,
                                        &ngx_http_myservice_missing_session);
        return NGX_ERROR;

    case NGX_ABORT:
        (void) ngx_http_myservice_set_status(call->request,
                                        NGX_HTTP_MYSERVICE_INVALID_ARGUMENT,
                                        &ngx_http_myservice_invalid_session);
        return NGX_ERROR;

    default:
        return NGX_ERROR;
    }

    ngx_http_myservice_zone_key(call->conf->zone, &session, &call->key);

    return NGX_OK;
}


static void
ngx_http_myservice_call_wrap(ngx_http_myservice_call_t *call,
    ngx_http_upstream_t *u)
{
    call->reinit_request = u->reinit_request;
    call->process_header = u->process_header;
    call->finalize_request = u->finalize_request;
    call->input_filter_init = u->input_filter_init;
    call->input_filter = u->input_filter;
    call->input_filter_ctx = u->input_filter_ctx;

    u->process_header = ngx_http_myservice_answer_process_header;
    u->finalize_request = ngx_http_myservice_call_finalize_request;
    u->input_filter_init = ngx_http_myservice_answer_input_filter_init;
    u->input_filter = ngx_http_myservice_answer_input_filter;
    u->input_filter_ctx = call;

    u->peer.data = call;
    u->peer.get = ngx_http_myservice_attempt_get_peer;
    u->peer.free = ngx_http_myservice_attempt_free_peer;
    u->peer.tries = call->conf->tries;

#if (NGX_HTTP_SSL)
    u->peer.set_session = ngx_http_myservice_call_set_session;
    u->peer.save_session = ngx_http_myservice_call_save_session;
#endif
}


/* runs before the trailers are sent: what it does is seen by the next call */

static void
ngx_http_myservice_call_finalize_request(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_http_myservice_call_t  *call;

    call = ngx_http_myservice_call_get(r);

    ngx_http_myservice_deadline_stop(call);

    if (call->grant.lease.lease) {
        ngx_http_myservice_call_settle(call, rc);
        call->grant.lease.lease = 0;
    }

    call->broken = rc == NGX_HTTP_BAD_GATEWAY && r->upstream->header_sent;

    ngx_queue_remove(&call->queue);

    ngx_http_myservice_call_answer(call, rc);

    if (!r->upstream->header_sent && ngx_http_myservice_refused(r)
        && !ngx_http_myservice_fallback_possible(call))
    {
        ngx_http_myservice_set_final(r);
    }

    call->finalize_request(r, rc);
}


static void
ngx_http_myservice_call_settle(ngx_http_myservice_call_t *call, ngx_int_t rc)
{
    ngx_log_t                    *log;
    ms_lease_t                   *lease;
    ngx_connection_t             *c;
    ngx_table_elt_t              *h;
    ngx_http_upstream_t          *u;
    ngx_http_myservice_lease_pt   settle;

    u = call->request->upstream;
    c = u->peer.connection;
    log = call->request->connection->log;
    lease = &call->grant.lease;

    if (rc == NGX_OK) {
        h = ngx_http_myservice_upstream_status(u, "grpc-status",
                                               sizeof("grpc-status") - 1);

        if (h && h->value.len == 1 && h->value.data[0] == '0') {

            if (ngx_http_myservice_method_listed(call->conf->release,
                                                 &call->request->uri))
            {
                settle = ms_pool_release;
                goto settle;
            }

            if (lease->tentative) {
                settle = ms_pool_confirm;
                goto settle;
            }
        }
    }

    if (rc >= NGX_HTTP_INTERNAL_SERVER_ERROR && u->header_sent && !call->reset
        && c && !c->read->timedout && !c->write->timedout)
    {
        /* it died in the middle of its answer */

        ngx_http_myservice_attempt_failed(call);
        return;
    }

    if (lease->tentative) {
        settle = ms_pool_give_back;
        goto settle;
    }

    if (ngx_current_msec - call->touched > call->conf->ttl / 16) {
        (void) ngx_http_myservice_zone_touch(call->conf->zone, lease, log);
    }

    return;

settle:

    ngx_http_myservice_zone_settle(call->conf->zone, lease, settle, log);
}


/* what nginx's status means here */

static void
ngx_http_myservice_call_answer(ngx_http_myservice_call_t *call, ngx_int_t rc)
{
    ngx_str_t            message;
    ngx_uint_t           code;
    ngx_http_request_t  *r;

    r = call->request;

    if (rc < NGX_HTTP_SPECIAL_RESPONSE || rc == NGX_HTTP_CLIENT_CLOSED_REQUEST
        || ngx_http_myservice_refused(r))
    {
        return;
    }

    if (rc == NGX_HTTP_INTERNAL_SERVER_ERROR) {
        code = NGX_HTTP_MYSERVICE_INTERNAL;
        message = ngx_http_myservice_internal;

    } else if (rc == NGX_HTTP_GATEWAY_TIME_OUT && r->upstream->request_sent) {
        code = NGX_HTTP_MYSERVICE_DEADLINE_EXCEEDED;
        message = ngx_http_myservice_deadline_exceeded;

    } else if (rc > NGX_HTTP_INTERNAL_SERVER_ERROR) {
        code = NGX_HTTP_MYSERVICE_UNAVAILABLE;
        message = ngx_http_myservice_unavailable;

    } else {
        code = ngx_http_myservice_from_http(rc, &message);
    }

    (void) ngx_http_myservice_set_status(r, code, &message);
}


/* crash-safe: what dies with the worker is only the renewal */

static void
ngx_http_myservice_call_track(ngx_http_myservice_call_t *call)
{
    ngx_event_t  *ev;

    ev = &ngx_http_myservice_renew_event;

    if (ev->handler == NULL) {
        ngx_queue_init(&ngx_http_myservice_calls);

        ev->handler = ngx_http_myservice_call_renew;
        ev->log = ngx_cycle->log;
        ev->cancelable = 1;

        /* the log of a timer's debug messages wants a connection's place */
        ev->data = ev;
    }

    ngx_queue_insert_tail(&ngx_http_myservice_calls, &call->queue);

    if (!ev->timer_set) {
        ngx_add_timer(ev, NGX_HTTP_MYSERVICE_RENEW);
    }
}


static void
ngx_http_myservice_call_renew(ngx_event_t *ev)
{
    ngx_msec_t                  every;
    ngx_queue_t                *q;
    ngx_http_myservice_call_t  *call;

    q = ngx_queue_head(&ngx_http_myservice_calls);

    while (q != ngx_queue_sentinel(&ngx_http_myservice_calls)) {

        call = ngx_queue_data(q, ngx_http_myservice_call_t, queue);
        q = ngx_queue_next(q);

        every = call->conf->ttl / 4;

        if (call->grant.lease.tentative) {
            every = ngx_min(every, MS_POOL_TENTATIVE / 8);
        }

        if (call->grant.lease.lease == 0 || call->aborted
            || (ngx_current_msec - call->touched < every
                && !ngx_http_myservice_call_over(call)))
        {
            continue;
        }

        (void) ngx_http_myservice_zone_touch(call->conf->zone,
                                             &call->grant.lease, ev->log);

        call->touched = ngx_current_msec;

        /* it may have been given another end by a call with a newer token */

        if (ngx_http_myservice_call_over(call)) {
            ngx_http_myservice_call_end(call);

            /* other calls may have ended with it */

            q = ngx_queue_head(&ngx_http_myservice_calls);
        }
    }

    if (!ngx_queue_empty(&ngx_http_myservice_calls)) {
        ngx_add_timer(ev, NGX_HTTP_MYSERVICE_RENEW);
    }
}


/* whether its lease has come to the hard end */

static ngx_uint_t
ngx_http_myservice_call_over(ngx_http_myservice_call_t *call)
{
    return ngx_current_msec + NGX_HTTP_MYSERVICE_LEASE_GRACE
           >= call->grant.lease.ends;
}


static void
ngx_http_myservice_call_end(ngx_http_myservice_call_t *call)
{
    ngx_connection_t  *c;

    c = call->request->connection;

    ngx_http_set_log_request(c->log, call->request);

    ngx_log_error(NGX_LOG_INFO, c->log, 0,
                  "the lease has ended during a call");

    if (call->terms.ends
        && call->terms.ends <= ngx_current_msec
                               + NGX_HTTP_MYSERVICE_LEASE_GRACE)
    {
        ngx_http_myservice_deadline_abort(call,
                                          NGX_HTTP_MYSERVICE_UNAUTHENTICATED,
                                          &ngx_http_myservice_token_expired);
        return;
    }

    ngx_http_myservice_deadline_abort(call, NGX_HTTP_MYSERVICE_UNAVAILABLE,
                                      &ngx_http_myservice_session_expired);
}


#if (NGX_HTTP_SSL)

static ngx_int_t
ngx_http_myservice_call_set_session(ngx_peer_connection_t *pc, void *data)
{
    /* TLS sessions are not resumed; connections are kept alive instead */

    return NGX_OK;
}


static void
ngx_http_myservice_call_save_session(ngx_peer_connection_t *pc, void *data)
{
}

#endif
