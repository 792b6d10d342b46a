
#include "ngx_http_myservice_call.h"

#include "frames.h"
#include "jwt/token.h"
#include "percent.h"

#include "ngx_http_myservice_compat.h"
#include "ngx_http_myservice_module.h"


/* how often the calls in flight look whether their leases want renewal */
#define NGX_HTTP_MYSERVICE_RENEW      250

/* a bound for attempts that nginx does not count, see call_free_peer() */
#define NGX_HTTP_MYSERVICE_ATTEMPTS   64


/* why an attempt failed */

typedef enum {
    NGX_HTTP_MYSERVICE_NOT_SENT = 0,    /* could not connect */
    NGX_HTTP_MYSERVICE_CONFLICT,        /* serves another session */
    NGX_HTTP_MYSERVICE_UNPROCESSED,     /* provably: may be sent again */
    NGX_HTTP_MYSERVICE_RESET,           /* RST_STREAM: alive, may have run */
    NGX_HTTP_MYSERVICE_TIMED_OUT,       /* said nothing for too long */
    NGX_HTTP_MYSERVICE_DIED             /* may have run */
} ngx_http_myservice_failure_e;


static void ngx_http_myservice_call_mark(void *data);
static ngx_int_t ngx_http_myservice_call_session(ngx_http_myservice_call_t *c);
static void ngx_http_myservice_call_wrap(ngx_http_myservice_call_t *call,
    ngx_http_upstream_t *u);

static ngx_int_t ngx_http_myservice_call_get_peer(ngx_peer_connection_t *pc,
    void *data);
static ngx_int_t ngx_http_myservice_call_refuse(
    ngx_http_myservice_call_t *call);
static void ngx_http_myservice_call_free_peer(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t state);
static ngx_http_myservice_failure_e ngx_http_myservice_call_failure(
    ngx_http_myservice_call_t *call, ngx_peer_connection_t *pc);
static ngx_uint_t ngx_http_myservice_call_again(
    ngx_http_myservice_call_t *call, ngx_http_myservice_failure_e failure,
    ngx_uint_t cached);
static void ngx_http_myservice_call_failed(ngx_http_myservice_call_t *call);

static ngx_int_t ngx_http_myservice_call_reinit_request(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_myservice_call_process_header(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_myservice_call_cached_header(
    ngx_http_myservice_call_t *call, ngx_http_upstream_t *u, uint32_t id);
static ngx_uint_t ngx_http_myservice_call_conflict(
    ngx_http_myservice_call_t *call, ngx_list_t *headers);
static ngx_int_t ngx_http_myservice_call_input_filter_init(void *data);
static ngx_int_t ngx_http_myservice_call_input_filter(void *data,
    ssize_t bytes);
static void ngx_http_myservice_call_finalize_request(ngx_http_request_t *r,
    ngx_int_t rc);
static void ngx_http_myservice_call_settle(ngx_http_myservice_call_t *call,
    ngx_int_t rc);
static void ngx_http_myservice_call_answer(ngx_http_myservice_call_t *call,
    ngx_int_t rc);

static void ngx_http_myservice_call_track(ngx_http_myservice_call_t *call);
static void ngx_http_myservice_call_renew(ngx_event_t *ev);

#if (NGX_HTTP_SSL)
static ngx_int_t ngx_http_myservice_call_set_session(
    ngx_peer_connection_t *pc, void *data);
static void ngx_http_myservice_call_save_session(ngx_peer_connection_t *pc,
    void *data);
#endif


static ngx_str_t  ngx_http_myservice_busy =
    ngx_string("all instances are busy");
static ngx_str_t  ngx_http_myservice_no_instances =
    ngx_string("no available instances");
static ngx_str_t  ngx_http_myservice_unavailable =
    ngx_string("backend service unavailable");
static ngx_str_t  ngx_http_myservice_deadline =
    ngx_string("deadline exceeded");
static ngx_str_t  ngx_http_myservice_internal =
    ngx_string("internal error");


/* of this worker */

static ngx_queue_t  ngx_http_myservice_calls;
static ngx_event_t  ngx_http_myservice_renew_event;


static void
ngx_http_myservice_call_mark(void *data)
{
    /* see ngx_http_myservice_find_ctx() */
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
    ngx_http_myservice_call_t  *call;

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
    call->loc_conf = ngx_http_get_module_loc_conf(r,
                                         ngx_http_myservice_sessions_module);

    ngx_http_myservice_replay_init(&call->replay,
                                   call->loc_conf->replay_buffer);

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

    if (!slcf->sessions || in == NULL || !r->request_body_no_buffering
        || r != r->main)
    {
        return NGX_OK;
    }

    call = ngx_http_myservice_call_create(r);
    if (call == NULL) {
        return NGX_ERROR;
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
    ngx_http_upstream_t        *u;
    ngx_http_myservice_call_t  *call;

    call = ngx_http_myservice_call_create(r);
    if (call == NULL) {
        return NGX_ERROR;
    }

    u = r->upstream;

    call->conf = ngx_http_conf_upstream_srv_conf(us,
                                         ngx_http_myservice_sessions_module);

    /* a resumed stream comes here again */

    ngx_memzero(&call->seek, sizeof(ms_pool_seek_t));
    call->attempts = 0;
    call->stopped = 0;
    call->fresh_again = 0;
    call->same = 0;

    if (ngx_http_myservice_call_session(call) != NGX_OK) {
        return NGX_ERROR;
    }

    call->terms.ttl = call->conf->ttl;
    call->terms.lifetime = call->conf->lifetime;

    /* create_request() was called already */

    call->header = u->request_bufs->buf;

    ngx_http_myservice_call_wrap(call, u);
    ngx_http_myservice_call_track(call);

    return NGX_OK;
}


static ngx_int_t
ngx_http_myservice_call_session(ngx_http_myservice_call_t *call)
{
    ngx_str_t  session;

    if (ngx_http_complex_value(call->request, call->conf->key, &session)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (session.len == 0) {
        (void) ngx_http_myservice_set_status(call->request,
                                        NGX_HTTP_MYSERVICE_UNAUTHENTICATED,
                                        &ngx_http_myservice_missing_session);
        return NGX_ERROR;
    }

    if (!ms_session_valid((char *) session.data, session.len)) {
        (void) ngx_http_myservice_set_status(call->request,
                                        NGX_HTTP_MYSERVICE_INVALID_ARGUMENT,
                                        &ngx_http_myservice_invalid_session);
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

    u->reinit_request = ngx_http_myservice_call_reinit_request;
    u->process_header = ngx_http_myservice_call_process_header;
    u->finalize_request = ngx_http_myservice_call_finalize_request;
    u->input_filter_init = ngx_http_myservice_call_input_filter_init;
    u->input_filter = ngx_http_myservice_call_input_filter;
    u->input_filter_ctx = call;

    u->peer.data = call;
    u->peer.get = ngx_http_myservice_call_get_peer;
    u->peer.free = ngx_http_myservice_call_free_peer;
    u->peer.tries = call->conf->tries;

#if (NGX_HTTP_SSL)
    u->peer.set_session = ngx_http_myservice_call_set_session;
    u->peer.save_session = ngx_http_myservice_call_save_session;
#endif
}


static ngx_int_t
ngx_http_myservice_call_get_peer(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_myservice_call_t  *call = data;

    ngx_http_myservice_grant_t  *grant;

    grant = &call->grant;

    if (call->same
        && ngx_http_myservice_zone_touch(call->conf->zone, &grant->lease,
                                         pc->log)
           == NGX_OK)
    {
        goto granted;
    }

    call->decision = ngx_http_myservice_zone_claim(call->conf->zone,
                                                   &call->key, &call->terms,
                                                   &call->seek, grant,
                                                   pc->log);

    if (call->decision >= MS_CLAIM_BUSY) {
        grant->lease.lease = 0;
        return ngx_http_myservice_call_refuse(call);
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
    call->refused = 0;
    call->reset = 0;
    call->forwarded = 0;
    call->dropped = 0;

    pc->sockaddr = &grant->sockaddr.sockaddr;
    pc->socklen = grant->socklen;
    pc->name = &grant->name;

    pc->cached = 0;
    pc->connection = NULL;

    return NGX_OK;
}


/*
 * NGX_BUSY would be natural, but for that nginx logs "no live upstreams" as an
 * error, and a full house is none
 */

static ngx_int_t
ngx_http_myservice_call_refuse(ngx_http_myservice_call_t *call)
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


static void
ngx_http_myservice_call_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_myservice_call_t  *call = data;

    ngx_uint_t                     again;
    ngx_http_request_t            *r;
    ngx_http_upstream_t           *u;
    ngx_http_myservice_failure_e   failure;

    r = call->request;
    u = r->upstream;

    if (!(state & NGX_PEER_FAILED) || r->connection->error
        || (call->grant.lease.lease == 0 && !call->conflict))
    {
        /* finalize_request() has settled the lease, or will */
        return;
    }

    failure = ngx_http_myservice_call_failure(call, pc);
    again = ngx_http_myservice_call_again(call, failure, pc->cached);

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
        pc->tries = 0;
        call->stopped = 1;

        if (failure == NGX_HTTP_MYSERVICE_TIMED_OUT) {
            (void) ngx_http_myservice_set_status(r,
                                         NGX_HTTP_MYSERVICE_DEADLINE_EXCEEDED,
                                         &ngx_http_myservice_deadline);
        }

        return;
    }

    /* a stale connection does not count; there may be many of them */

    if (pc->tries && !(call->same && pc->cached)) {
        pc->tries--;
    }
}


static ngx_http_myservice_failure_e
ngx_http_myservice_call_failure(ngx_http_myservice_call_t *call,
    ngx_peer_connection_t *pc)
{
    ngx_connection_t     *c;
    ngx_http_upstream_t  *u;

    u = call->request->upstream;
    c = pc->connection;

    if (!u->request_sent || c == NULL) {
        return NGX_HTTP_MYSERVICE_NOT_SENT;
    }

    if (call->conflict) {
        return NGX_HTTP_MYSERVICE_CONFLICT;
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
ngx_http_myservice_call_again(ngx_http_myservice_call_t *call,
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

        /* process_header() has told the pool */

        return 1;

    case NGX_HTTP_MYSERVICE_NOT_SENT:

        ngx_http_myservice_call_failed(call);
        return 1;

    case NGX_HTTP_MYSERVICE_UNPROCESSED:

        if (cached || !call->fresh_again) {
            call->fresh_again = !cached;
            call->same = 1;
            return 1;
        }

        ngx_http_myservice_call_failed(call);
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

    default: /* NGX_HTTP_MYSERVICE_DIED */

        ngx_http_myservice_call_failed(call);
        return listed;
    }
}


static void
ngx_http_myservice_call_failed(ngx_http_myservice_call_t *call)
{
    ngx_log_t  *log;

    log = call->request->connection->log;

    ngx_http_myservice_zone_settle(call->conf->zone, &call->grant.lease,
                                   ms_pool_fail, log);

    call->grant.lease.lease = 0;

    ngx_log_error(NGX_LOG_WARN, log, 0, "instance \"%V\" failed",
                  &call->grant.name);
}


static ngx_int_t
ngx_http_myservice_call_reinit_request(ngx_http_request_t *r)
{
    ngx_http_myservice_call_t  *call;

    call = ngx_http_myservice_call_get(r);

    return call->reinit_request(r);
}


static ngx_int_t
ngx_http_myservice_call_process_header(ngx_http_request_t *r)
{
    uint32_t                        id;
    unsigned                        frames;
    ngx_int_t                       rc;
    ngx_http_upstream_t            *u;
    ngx_http_myservice_call_t      *call;
    ngx_http_myservice_grpc_ctx_t  *grpc;

    u = r->upstream;
    call = ngx_http_myservice_call_get(r);
    grpc = call->input_filter_ctx;

    id = (uint32_t) (2 * u->peer.connection->requests - 1);
    frames = 0;

    if (grpc->state == 0) {
        frames = ms_frames_scan(u->buffer.pos, u->buffer.last, id);
    }

    if (u->peer.cached && grpc->state == 0) {
        rc = ngx_http_myservice_call_cached_header(call, u, id);

    } else {
        rc = call->process_header(r);
    }

    if (rc == NGX_HTTP_UPSTREAM_INVALID_HEADER) {
        call->refused = (frames & MS_FRAMES_REFUSED) ? 1 : 0;
        call->reset = (frames & MS_FRAMES_RESET) ? 1 : 0;
        return rc;
    }

    if (rc == NGX_OK
        && ngx_http_myservice_call_conflict(call, &u->headers_in.headers))
    {
        return NGX_HTTP_UPSTREAM_INVALID_HEADER;
    }

    return rc;
}


/* what came late for earlier calls of the connection is not for this one */

static ngx_int_t
ngx_http_myservice_call_cached_header(ngx_http_myservice_call_t *call,
    ngx_http_upstream_t *u, uint32_t id)
{
    size_t      tail;
    u_char     *last, unfinished[MS_FRAMES_TAIL];
    ngx_int_t   rc;

    last = u->buffer.last;

    tail = ms_frames_drop_old(u->buffer.pos, &u->buffer.last, id);

    call->dropped += last - u->buffer.last;

    u->buffer.last -= tail;

    if (u->buffer.last == u->buffer.pos) {

        if (tail == 0) {
            u->buffer.pos = u->buffer.start;
            u->buffer.last = u->buffer.start;
        }

        u->buffer.last += tail;

        return NGX_AGAIN;
    }

    /* process_header() may rewind the buffer */

    ngx_memcpy(unfinished, u->buffer.last, tail);

    rc = call->process_header(call->request);

    u->buffer.last = ngx_cpymem(u->buffer.last, unfinished, tail);

    return rc;
}


/*
 * "Session conflict: was={old}, now={new}": the instance has an owner that we
 * do not know of, because it has survived our restart or because there is a
 * second gateway.  Session ids have no spaces.
 */

static ngx_uint_t
ngx_http_myservice_call_conflict(ngx_http_myservice_call_t *call,
    ngx_list_t *headers)
{
    size_t            len;
    u_char           *p;
    ngx_str_t         owner;
    ngx_table_elt_t  *h;

    static ngx_str_t  was = ngx_string("Session conflict: was=");

    h = ngx_http_myservice_find_header(headers, "grpc-status",
                                       sizeof("grpc-status") - 1);

    if (h == NULL || h->value.len != 2
        || ngx_strncmp(h->value.data, "13", 2) != 0)
    {
        return 0;
    }

    h = ngx_http_myservice_find_header(headers, "grpc-message",
                                       sizeof("grpc-message") - 1);

    if (h == NULL || h->value.len < was.len
        || ngx_strncmp(h->value.data, was.data, was.len) != 0)
    {
        return 0;
    }

    p = ngx_pnalloc(call->request->pool, h->value.len);
    if (p == NULL) {
        return 0;
    }

    len = ms_percent_decode(p, h->value.data, h->value.len);

    owner.data = p + was.len;
    p = ngx_strnstr(owner.data, ", now=", len - was.len);
    owner.len = p ? (size_t) (p - owner.data) : 0;

    ngx_http_myservice_zone_conflict(call->conf->zone, &call->grant.lease,
                                     &owner, &call->terms,
                                     call->request->connection->log);

    call->grant.lease.lease = 0;
    call->conflict = 1;

    ngx_log_error(NGX_LOG_WARN, call->request->connection->log, 0,
                  "instance \"%V\" serves another session",
                  &call->grant.name);

    return 1;
}


static ngx_int_t
ngx_http_myservice_call_input_filter_init(void *data)
{
    ngx_http_myservice_call_t  *call = data;

    return call->input_filter_init(call->input_filter_ctx);
}


static ngx_int_t
ngx_http_myservice_call_input_filter(void *data, ssize_t bytes)
{
    ngx_http_myservice_call_t  *call = data;

    ngx_int_t             rc;
    ngx_http_upstream_t  *u;

    rc = call->input_filter(call->input_filter_ctx, bytes);

    u = call->request->upstream;

    if (u->out_bufs) {
        call->forwarded = 1;

    } else if (rc == NGX_OK && !call->forwarded && u->headers_in.trailers.part.nelts
               && ngx_http_myservice_call_conflict(call,
                                                   &u->headers_in.trailers))
    {
        /* the client has the header: the answer starts again behind it */

        u->error = 1;
        u->length = 1;
        u->keepalive = 0;

        return NGX_OK;
    }

    /* the first message of a stream proves that the session is accepted */

    if (call->grant.lease.tentative && call->forwarded) {
        ngx_http_myservice_zone_settle(call->conf->zone, &call->grant.lease,
                                       ms_pool_confirm,
                                       call->request->connection->log);
        call->grant.lease.tentative = 0;
        call->touched = ngx_current_msec;
    }

    if (rc == NGX_ERROR) {
        call->reset = 1;
    }

    return rc;
}


/* runs before the trailers are sent: what it does is seen by the next call */

static void
ngx_http_myservice_call_finalize_request(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_http_myservice_call_t  *call;

    call = ngx_http_myservice_call_get(r);

    if (call->grant.lease.lease) {
        ngx_http_myservice_call_settle(call, rc);
        call->grant.lease.lease = 0;
    }

    call->broken = rc == NGX_HTTP_BAD_GATEWAY && r->upstream->header_sent;

    ngx_queue_remove(&call->queue);

    ngx_http_myservice_call_answer(call, rc);

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

        ngx_http_myservice_call_failed(call);
        return;
    }

    if (lease->tentative) {
        settle = ms_pool_give_back;
        goto settle;
    }

    if (ngx_current_msec - call->touched > call->conf->ttl / 8) {
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
        message = ngx_http_myservice_deadline;

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
    ngx_queue_t                *q;
    ngx_http_myservice_call_t  *call;

    for (q = ngx_queue_head(&ngx_http_myservice_calls);
         q != ngx_queue_sentinel(&ngx_http_myservice_calls);
         q = ngx_queue_next(q))
    {
        call = ngx_queue_data(q, ngx_http_myservice_call_t, queue);

        if (call->grant.lease.lease == 0
            || ngx_current_msec - call->touched < call->conf->ttl / 4)
        {
            continue;
        }

        (void) ngx_http_myservice_zone_touch(call->conf->zone,
                                             &call->grant.lease, ev->log);

        call->touched = ngx_current_msec;
    }

    if (!ngx_queue_empty(&ngx_http_myservice_calls)) {
        ngx_add_timer(ev, NGX_HTTP_MYSERVICE_RENEW);
    }
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
