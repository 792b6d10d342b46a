
#include "ngx_http_myservice_attempt.h"

#include "frames.h"
#include "percent.h"

#include "ngx_http_myservice_compat.h"
#include "ngx_http_myservice_module.h"


/* a bound for the attempts on stale connections, which do not count */
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


static ngx_uint_t ngx_http_myservice_attempt_known(
    ngx_http_myservice_call_t *call, uint32_t instance);
static ngx_int_t ngx_http_myservice_attempt_refuse(
    ngx_http_myservice_call_t *call);
static ngx_http_myservice_failure_e ngx_http_myservice_attempt_failure(
    ngx_http_myservice_call_t *call, ngx_peer_connection_t *pc);
static ngx_uint_t ngx_http_myservice_attempt_again(
    ngx_http_myservice_call_t *call, ngx_http_myservice_failure_e failure,
    ngx_uint_t cached);
static ngx_int_t ngx_http_myservice_attempt_cached_header(
    ngx_http_myservice_call_t *call, ngx_http_upstream_t *u, uint32_t id);
static ngx_uint_t ngx_http_myservice_attempt_conflict(
    ngx_http_myservice_call_t *call, ngx_list_t *headers);


static ngx_str_t  ngx_http_myservice_busy =
    ngx_string("all instances are busy");
static ngx_str_t  ngx_http_myservice_no_instances =
    ngx_string("no available instances");
static ngx_str_t  ngx_http_myservice_unavailable =
    ngx_string("backend service unavailable");
static ngx_str_t  ngx_http_myservice_deadline =
    ngx_string("deadline exceeded");


ngx_int_t
ngx_http_myservice_attempt_get_peer(ngx_peer_connection_t *pc, void *data)
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

    /*
     * when no member is up the pool offers those that are down; the ones that
     * have just failed this call need not be asked again
     */

    for ( ;; ) {
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

    if (!(state & NGX_PEER_FAILED) || r->connection->error
        || (call->grant.lease.lease == 0 && !call->conflict))
    {
        /* finalize_request() has settled the lease, or will */
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
        pc->tries = 0;

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
ngx_http_myservice_attempt_failure(ngx_http_myservice_call_t *call,
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

    default: /* NGX_HTTP_MYSERVICE_DIED */

        ngx_http_myservice_attempt_failed(call);
        return listed;
    }
}


void
ngx_http_myservice_attempt_failed(ngx_http_myservice_call_t *call)
{
    ngx_log_t  *log;

    log = call->request->connection->log;

    ngx_http_myservice_zone_settle(call->conf->zone, &call->grant.lease,
                                   ms_pool_fail, log);

    if (call->nfailed < NGX_HTTP_MYSERVICE_CALL_FAILED) {
        call->failed[call->nfailed++] = call->grant.lease.instance;
    }

    call->grant.lease.lease = 0;

    ngx_log_error(NGX_LOG_WARN, log, 0, "instance \"%V\" failed",
                  &call->grant.name);
}


ngx_int_t
ngx_http_myservice_attempt_process_header(ngx_http_request_t *r)
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
        rc = ngx_http_myservice_attempt_cached_header(call, u, id);

    } else {
        rc = call->process_header(r);
    }

    if (rc == NGX_HTTP_UPSTREAM_INVALID_HEADER) {
        call->refused = (frames & MS_FRAMES_REFUSED) ? 1 : 0;
        call->reset = (frames & MS_FRAMES_RESET) ? 1 : 0;
        return rc;
    }

    if (rc == NGX_OK
        && ngx_http_myservice_attempt_conflict(call, &u->headers_in.headers))
    {
        return NGX_HTTP_UPSTREAM_INVALID_HEADER;
    }

    return rc;
}


/* what came late for earlier calls of the connection is not for this one */

static ngx_int_t
ngx_http_myservice_attempt_cached_header(ngx_http_myservice_call_t *call,
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
ngx_http_myservice_attempt_conflict(ngx_http_myservice_call_t *call,
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


ngx_int_t
ngx_http_myservice_attempt_input_filter_init(void *data)
{
    ngx_http_myservice_call_t  *call = data;

    return call->input_filter_init(call->input_filter_ctx);
}


ngx_int_t
ngx_http_myservice_attempt_input_filter(void *data, ssize_t bytes)
{
    ngx_http_myservice_call_t  *call = data;

    ngx_int_t             rc;
    ngx_http_upstream_t  *u;

    rc = call->input_filter(call->input_filter_ctx, bytes);

    u = call->request->upstream;

    if (u->out_bufs) {
        call->forwarded = 1;

    } else if (rc != NGX_ERROR && !call->forwarded
               && u->headers_in.trailers.part.nelts
               && ngx_http_myservice_attempt_conflict(call,
                                                   &u->headers_in.trailers))
    {
        /*
         * The client has the header: the answer starts again behind it.
         * NGX_AGAIN says that all is parsed and a SETTINGS ack is unsent.
         */

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
