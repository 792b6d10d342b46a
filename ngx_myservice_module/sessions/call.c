
/*
 * A call from its first byte to its end: claims through its attempts, follows
 * the upstream request, and closes the lease.
 */

#include "sessions/call.h"

#include "answers/broken_stream.h"
#include "answers/errors.h"
#include "answers/outcome.h"
#include "core/compat.h"
#include "core/context.h"
#include "core/grpc.h"
#include "core/log.h"
#include "core/methods.h"
#include "core/texts.h"
#include "sessions/answer.h"
#include "sessions/attempt.h"
#include "sessions/calls.h"
#include "sessions/connection.h"
#include "sessions/deadline.h"
#include "sessions/fallback.h"
#include "sessions/inflight.h"
#include "sessions/lease.h"
#include "sessions/limit.h"
#include "sessions/loss.h"
#include "sessions/receive.h"
#include "sessions/stored.h"
#include "sessions/terms.h"


/* what other fields than the epoch of the lease may take of a table */
#define MS_CALL_LASTING                                                       \
    (MS_HPACK_SHARE - ms_hpack_size(sizeof("session-epoch") - 1,              \
                                    NGX_INT64_LEN))


static void ms_call_cleanup(void *data);
static ngx_int_t ms_call_begin(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static void ms_call_seek(ms_call_t *call);
static void ms_call_location(ms_call_t *call);
static ngx_int_t ms_call_supported(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ms_call_session(ms_call_t *c);
static ngx_int_t ms_call_fields(ms_call_t *call);
static void ms_call_message(ms_call_t *call, ngx_chain_t *in);
static void ms_call_wrap(ms_call_t *call, ngx_http_upstream_t *u);

static void ms_call_finalize_request(ngx_http_request_t *r, ngx_int_t rc);
static void ms_call_answer(ms_call_t *call, ngx_int_t rc);

#if (NGX_HTTP_SSL)
static ngx_int_t ms_call_set_session(ngx_peer_connection_t *pc, void *data);
static void ms_call_save_session(ngx_peer_connection_t *pc, void *data);
#endif


static ngx_str_t  ms_internal = ngx_string("internal error");


/* the first member of the private ngx_http_grpc_loc_conf_t */

extern ngx_module_t  ngx_http_grpc_module;


static void
ms_call_cleanup(void *data)
{
    ms_call_t *call = data;

    ms_deadline_stop(call);
    ms_call_leave(call);
}


static ms_call_t *
ms_call_create(ngx_http_request_t *r)
{
    ms_call_t               *call;
    ms_sessions_loc_conf_t  *slcf;

    call = ms_call_get(r);

    if (call) {
        return call;
    }

    call = ms_context_make(r, &ngx_http_myservice_sessions_module,
                           sizeof(ms_call_t), ms_call_cleanup);
    if (call == NULL) {
        return NULL;
    }

    call->request = r;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_sessions_module);

    ms_replay_init(&call->replay, slcf->replay_buffer);

    return call;
}


/*
 * The first bytes of a body come before the upstream is initialized.  A body
 * that is there as a whole is sent "buffered", and nginx keeps it itself.
 */

ngx_int_t
ms_call_body(ngx_http_request_t *r, ngx_chain_t *in)
{
    ms_call_t               *call;
    ms_sessions_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_sessions_module);

    if (in == NULL || !r->request_body_no_buffering || r != r->main) {
        return NGX_OK;
    }

    if (slcf->balancer == NULL) {

        /* an "error_page" may have moved the call away from a balancer */

        call = r->internal ? ms_call_get(r) : NULL;

        if (call == NULL) {
            return NGX_OK;
        }

    } else {
        call = ms_call_create(r);
        if (call == NULL) {
            return NGX_ERROR;
        }
    }

    if (ms_replay_copy(r, &call->replay, in) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!call->message) {
        ms_call_message(call, in);
    }

    return NGX_OK;
}


/* until the first message, or the end of the body, has arrived */

static void
ms_call_message(ms_call_t *call, ngx_chain_t *in)
{
    ngx_chain_t  *cl;

    for (cl = in; cl; cl = cl->next) {

        if (cl->buf->last_buf
            || ms_messages_feed(&call->messages, cl->buf->pos,
                                cl->buf->last - cl->buf->pos))
        {
            break;
        }
    }

    if (cl == NULL) {
        return;
    }

    call->message = 1;
    call->seek.message = 1;

    if (call->grant.lease.lease && call->grant.lease.tentative) {
        ms_zone_update(call->conf->zone, &call->grant.lease, ms_pool_message,
                       call->request->connection->log);
    }
}


ngx_int_t
ms_call_init(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us)
{
    if (ms_call_begin(r, us) == NGX_OK) {
        return NGX_OK;
    }

    /*
     * a fault of the client or of the configuration, which no other instance
     * would mend
     */

    ms_errors_final(r);

    return NGX_ERROR;
}


static ngx_int_t
ms_call_begin(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us)
{
    ngx_int_t             rc;
    ms_call_t            *call;
    ngx_http_upstream_t  *u;

    if (ms_call_supported(r, us) != NGX_OK) {
        (void) ms_errors_set(r, MS_GRPC_INTERNAL, &ms_internal);
        return NGX_ERROR;
    }

    call = ms_call_create(r);
    if (call == NULL) {
        return NGX_ERROR;
    }

    u = r->upstream;

    call->conf = ngx_http_conf_upstream_srv_conf(us,
                                         ngx_http_myservice_sessions_module);

    /* a resumed stream and a call behind an "error_page" arrive here again */

    ms_call_location(call);
    call->message |= !r->reading_body;

    ms_call_seek(call);
    call->attempts = 0;
    call->pauses = 0;
    call->pause = 0;
    call->nfailed = 0;
    call->suspects = 0;
    call->reuse_instance = 0;
    call->ran &= call->broken;
    call->outdated &= call->broken;
    call->asks &= call->broken;

    if (!call->conflict) {
        call->denied = 0;
    }

    /* a stream usually breaks together with its connection */

    call->fresh = call->broken;

    if (ms_call_session(call) != NGX_OK) {
        return NGX_ERROR;
    }

    /* create_request() was called already */

    call->header = u->request_bufs->buf;

    if (ms_terms_terms(r, call->conf, &call->terms) != NGX_OK
        || ms_limit_terms(r, us, &call->terms) != NGX_OK
        || ms_call_fields(call) != NGX_OK
        || ms_replay_block(call->header, &call->block)
           != NGX_OK)
    {
        (void) ms_errors_set(r, MS_GRPC_INTERNAL, &ms_internal);
        return NGX_ERROR;
    }

    ms_calls_terms(us, &call->terms);

    rc = ms_deadline_start(call);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    call->aborted = rc == NGX_DECLINED;

    if (call->aborted
        && ms_errors_set(r,
                         MS_GRPC_DEADLINE_EXCEEDED,
                         &ms_text_deadline_exceeded)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* a resumed call is still counted */

    if (!call->broken
        && ms_calls_enter(r, us, &call->key, &call->flight)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ms_call_wrap(call, u);
    ms_inflight_add(call);

    return ms_stream_guard(r);
}


static void
ms_call_seek(ms_call_t *call)
{
    ngx_uint_t       counted;
    ms_pool_seek_t  *seek;

    seek = &call->seek;

    if (call->broken) {

        /* a call that goes on may have run under the lease of before */

        seek->started = 0;
        seek->own = 0;
        seek->moved = 0;

    } else {
        counted = seek->counted;
        ngx_memzero(seek, sizeof(ms_pool_seek_t));
        seek->counted = counted;
    }

    seek->message = call->message;
}


static void
ms_call_location(ms_call_t *call)
{
    ngx_http_request_t      *r;
    ms_sessions_loc_conf_t  *slcf;

    r = call->request;
    slcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_sessions_module);

    call->loc_conf = slcf;
    call->begin_limit = 0;

    if (slcf->retry_timeout && ms_methods_listed(slcf->retry, &r->uri)) {
        call->begin_limit = slcf->retry_timeout;
    }
}


/* what "nginx -t" can not see: the names of upstreams may be in variables */

static ngx_int_t
ms_call_supported(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_upstream_conf_t  *ucf;
    ms_sessions_loc_conf_t    *slcf;

    ucf = ngx_http_get_module_loc_conf(r, ngx_http_grpc_module);
    slcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_sessions_module);

    if (r->upstream->conf != ucf) {
        ms_log_error(NGX_LOG_ERR, r->connection->log, 0,
                     "upstream \"%V\" has \"myservice_sessions\": only "
                     "\"grpc_pass\" can pass to it", &us->host);
        return NGX_DECLINED;
    }

    if (r != r->main) {
        ms_log_error(NGX_LOG_ERR, r->connection->log, 0,
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

        ms_log_error(NGX_LOG_ERR, r->connection->log, 0,
                     "upstream \"%V\" has \"myservice_sessions\": "
                     "\"grpc_pass\" to it can have no variables", &us->host);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ms_call_session(ms_call_t *call)
{
    ngx_str_t       session;
    ms_pool_key_t  *key;

    switch (ms_call_key(call->request, call->conf, &session)) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        (void) ms_errors_set(call->request, MS_GRPC_UNAUTHENTICATED,
                             &ms_text_missing_session);
        return NGX_ERROR;

    case NGX_ABORT:
        (void) ms_errors_set(call->request, MS_GRPC_INVALID_ARGUMENT,
                             &ms_text_invalid_session);
        return NGX_ERROR;

    default:
        return NGX_ERROR;
    }

    key = ms_stored_key(call->request, &session);

    if (key) {
        call->key = *key;

    } else {
        ms_zone_key(call->conf->zone, &session, &call->key);
    }

    return NGX_OK;
}


/* for the instance, without those of an attempt */

static ngx_int_t
ms_call_fields(ms_call_t *call)
{
    size_t               size;
    u_char              *p;
    ms_lasting_t         to;
    ms_lasting_conf_t   *conf;
    ngx_http_request_t  *r;

    r = call->request;
    conf = &call->loc_conf->lasting;

    ngx_memzero(&call->lasting, sizeof(ms_fields_t));
    ngx_memzero(&call->fields, sizeof(ms_fields_t));

    to.lasting = &call->lasting;
    to.fields = &call->fields;
    to.left = MS_CALL_LASTING;

    size = ms_terms_size(&call->key);
    call->lasting.size = size + MS_TERMS_ROOM;
    call->fields.size = size + MS_TERMS_ROOM;

    ms_lasting_room(r, &to);

    p = ngx_pnalloc(r->pool, call->lasting.size + call->fields.size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    call->lasting.data = p;
    call->fields.data = p + call->lasting.size;

    ms_lasting_client(r, conf, &to);
    ms_terms_fields(call->conf, &call->key, &call->terms, &to);
    ms_fields_keep(&call->lasting);
    ms_fields_keep(&call->fields);

    return NGX_OK;
}


static void
ms_call_wrap(ms_call_t *call, ngx_http_upstream_t *u)
{
    call->reinit_request = u->reinit_request;
    call->process_header = u->process_header;
    call->finalize_request = u->finalize_request;
    call->input_filter_init = u->input_filter_init;
    call->input_filter = u->input_filter;
    call->input_filter_ctx = u->input_filter_ctx;

    u->process_header = ms_answer_process_header;
    u->finalize_request = ms_call_finalize_request;
    u->input_filter_init = ms_answer_input_filter_init;
    u->input_filter = ms_answer_input_filter;
    u->input_filter_ctx = call;

    call->output_filter = u->output.output_filter;
    call->output_filter_ctx = u->output.filter_ctx;

    u->output.output_filter = ms_connection_output_filter;
    u->output.filter_ctx = call;

    u->peer.data = call;
    ms_peer_ctx(u, call->request);

    u->peer.get = ms_attempt_get_peer;
    u->peer.free = ms_attempt_free_peer;
    u->peer.tries = call->conf->tries;

#if (NGX_HTTP_SSL)
    u->peer.set_session = ms_call_set_session;
    u->peer.save_session = ms_call_save_session;
#endif
}


/*
 * runs before the trailers are sent, so that the client's next call finds the
 * lease as this call leaves it
 */

static void
ms_call_finalize_request(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_int_t   outcome;
    ms_call_t  *call;

    call = ms_call_get(r);

    ms_deadline_stop(call);
    ms_receive_end(call);

    outcome = rc;

    if (rc >= NGX_HTTP_INTERNAL_SERVER_ERROR
        && ms_outcome_answered(r->upstream))
    {
        /* the connection failed after the whole answer */

        outcome = NGX_OK;
    }

    if (call->grant.lease.lease) {
        if (outcome != NGX_OK) {
            ms_loss_ran(call);
        }

        ms_lease_close(call, outcome);
        call->grant.lease.lease = 0;
    }

    call->broken = r->upstream->header_sent && call->fault == NULL
                   && (outcome == NGX_HTTP_BAD_GATEWAY
                       || (call->gone && outcome != NGX_OK));

    call->ran |= call->broken && !call->conflict && !call->leaving;

    if (call->broken && !call->gone) {

        /* the instance may serve others without waiting for this call */

        ms_zone_call_seen(call->conf->zone, &call->grant.lease, 1);
    }

    ms_inflight_remove(call);
    ms_calls_first_end(call);

    if (!call->broken) {
        ms_call_leave(call);
    }

    ms_call_answer(call, outcome);

    if (!r->upstream->header_sent && ms_errors_refused(r)
        && !ms_fallback_possible(call))
    {
        ms_errors_final(r);
    }

    call->finalize_request(r, rc);
}


void
ms_call_leave(ms_call_t *call)
{
    ms_calls_leave(call->flight);
    call->flight = NULL;
}


/* what nginx's status means here */

static void
ms_call_answer(ms_call_t *call, ngx_int_t rc)
{
    ngx_str_t            message;
    ngx_uint_t           code;
    ngx_http_request_t  *r;

    r = call->request;

    if (rc < NGX_HTTP_SPECIAL_RESPONSE || rc == NGX_HTTP_CLIENT_CLOSED_REQUEST
        || ms_errors_refused(r))
    {
        return;
    }

    if (rc == NGX_HTTP_INTERNAL_SERVER_ERROR && r->upstream->peer.sockaddr
        && r->upstream->peer.connection == NULL)
    {
        /* nginx had no free socket or connection and has logged the reason */

        ms_connection_failed(call, 0);
        return;
    }

    if (rc == NGX_HTTP_INTERNAL_SERVER_ERROR) {
        code = MS_GRPC_INTERNAL;
        message = ms_internal;

    } else if (rc == NGX_HTTP_GATEWAY_TIME_OUT && r->upstream->request_sent) {
        code = MS_GRPC_DEADLINE_EXCEEDED;
        message = ms_text_deadline_exceeded;

    } else if (rc > NGX_HTTP_INTERNAL_SERVER_ERROR) {
        code = MS_GRPC_UNAVAILABLE;
        message = ms_text_unavailable;

    } else {
        (void) ms_errors_set_http(r, rc);
        return;
    }

    (void) ms_errors_set(r, code, &message);
}


#if (NGX_HTTP_SSL)

static ngx_int_t
ms_call_set_session(ngx_peer_connection_t *pc, void *data)
{
    /* TLS sessions are not resumed, as connections are kept alive */

    return NGX_OK;
}


static void
ms_call_save_session(ngx_peer_connection_t *pc, void *data)
{
}

#endif
