
#include "ngx_http_myservice_answer.h"

#include "percent.h"

#include "ngx_http_myservice_attempt.h"
#include "ngx_http_myservice_compat.h"
#include "ngx_http_myservice_lease.h"
#include "ngx_http_myservice_module.h"


static ngx_int_t ngx_http_myservice_answer_parse(
    ngx_http_myservice_call_t *call, ngx_http_upstream_t *u, uint32_t id);
static ngx_int_t ngx_http_myservice_answer_cached_header(
    ngx_http_myservice_call_t *call, ngx_http_upstream_t *u, uint32_t id);
static ngx_uint_t ngx_http_myservice_answer_refused(
    ngx_http_myservice_call_t *call, ngx_list_t *headers);
static ngx_int_t ngx_http_myservice_answer_conflict(
    ngx_http_myservice_call_t *call, ngx_str_t *message);


/* said by an instance */
static ngx_str_t  ngx_http_myservice_leaving =
    ngx_string("instance is shutting down");


ngx_int_t
ngx_http_myservice_answer_process_header(ngx_http_request_t *r)
{
    uint32_t                        id;
    ngx_int_t                       rc;
    ngx_http_upstream_t            *u;
    ngx_http_myservice_call_t      *call;
    ngx_http_myservice_grpc_ctx_t  *grpc;

    u = r->upstream;
    call = ngx_http_myservice_call_get(r);
    grpc = call->input_filter_ctx;

    id = (uint32_t) (2 * u->peer.connection->requests - 1);

    if (u->peer.cached && grpc->state == 0) {
        rc = ngx_http_myservice_answer_cached_header(call, u, id);

    } else {
        rc = ngx_http_myservice_answer_parse(call, u, id);
    }

    if (rc == NGX_AGAIN || rc == NGX_HTTP_UPSTREAM_INVALID_HEADER) {
        call->refused = (call->frames.found & MS_FRAMES_REFUSED) ? 1 : 0;
        call->reset = (call->frames.found & MS_FRAMES_RESET) ? 1 : 0;
        return rc;
    }

    if (rc == NGX_OK
        && ngx_http_myservice_answer_refused(call, &u->headers_in.headers))
    {
        return NGX_HTTP_UPSTREAM_INVALID_HEADER;
    }

    return rc;
}


/* until it has the header, the grpc module takes all it is given */

static ngx_int_t
ngx_http_myservice_answer_parse(ngx_http_myservice_call_t *call,
    ngx_http_upstream_t *u, uint32_t id)
{
    (void) ms_frames_scan(&call->frames, u->buffer.pos, u->buffer.last, id);

    return call->process_header(call->request);
}


/* what came late for earlier calls of the connection is not for this one */

static ngx_int_t
ngx_http_myservice_answer_cached_header(ngx_http_myservice_call_t *call,
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

    rc = ngx_http_myservice_answer_parse(call, u, id);

    u->buffer.last = ngx_cpymem(u->buffer.last, unfinished, tail);

    return rc;
}


/*
 * Statuses by which an instance says that it has not processed the call, or, as
 * the gRPC core does for calls that come while it stops, that it has not
 * finished it: CANCELLED, although nobody has cancelled.
 */

static ngx_uint_t
ngx_http_myservice_answer_refused(ngx_http_myservice_call_t *call,
    ngx_list_t *headers)
{
    ngx_int_t         code;
    ngx_str_t         message;
    ngx_table_elt_t  *h;

    h = ngx_http_myservice_find_header(headers, "grpc-status",
                                       sizeof("grpc-status") - 1);
    if (h == NULL) {
        return 0;
    }

    code = ngx_atoi(h->value.data, h->value.len);

    h = ngx_http_myservice_find_header(headers, "grpc-message",
                                       sizeof("grpc-message") - 1);

    ngx_str_null(&message);

    if (h) {
        message = h->value;
    }

    switch (code) {

    case NGX_HTTP_MYSERVICE_INTERNAL:

        if (call->forwarded) {
            return 0;
        }

        return ngx_http_myservice_answer_conflict(call, &message) == NGX_OK;

    case NGX_HTTP_MYSERVICE_UNAVAILABLE:

        if (message.len != ngx_http_myservice_leaving.len
            || ngx_strncmp(message.data, ngx_http_myservice_leaving.data,
                           message.len)
               != 0)
        {
            return 0;
        }

        ngx_log_error(NGX_LOG_NOTICE, call->request->connection->log, 0,
                      "instance \"%V\" is shutting down",
                      &call->grant.name);

        ngx_http_myservice_attempt_leave(call);
        call->leaving = 1;

        return 1;

    case NGX_HTTP_MYSERVICE_CANCELLED:

        if (call->fresh_again || call->request->header_sent
            || !ngx_http_myservice_method_listed(call->loc_conf->retry,
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
 * "Session conflict: was={old}, now={new}": the instance has an owner that we
 * do not know of, because it has survived our restart or because there is a
 * second gateway.  Session ids have no spaces.
 */

static ngx_int_t
ngx_http_myservice_answer_conflict(ngx_http_myservice_call_t *call,
    ngx_str_t *message)
{
    size_t            len;
    u_char           *p;
    ngx_str_t         owner;
    ms_pool_terms_t   terms;

    static ngx_str_t  was = ngx_string("Session conflict: was=");

    if (message->len < was.len
        || ngx_strncmp(message->data, was.data, was.len) != 0)
    {
        return NGX_DECLINED;
    }

    p = ngx_pnalloc(call->request->pool, message->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    len = ms_percent_decode(p, message->data, message->len);

    owner.data = p + was.len;
    p = ngx_strnstr(owner.data, ", now=", len - was.len);
    owner.len = p ? (size_t) (p - owner.data) : 0;

    ngx_http_myservice_lease_learned(call->conf, &terms);
    ngx_http_myservice_zone_conflict(call->conf->zone, &call->grant.lease,
                                     &owner, &terms,
                                     call->request->connection->log);

    call->grant.lease.lease = 0;
    call->conflict = 1;

    ngx_log_error(NGX_LOG_WARN, call->request->connection->log, 0,
                  "instance \"%V\" serves another session",
                  &call->grant.name);

    return NGX_OK;
}


ngx_int_t
ngx_http_myservice_answer_input_filter_init(void *data)
{
    ngx_http_myservice_call_t  *call = data;

    return call->input_filter_init(call->input_filter_ctx);
}


ngx_int_t
ngx_http_myservice_answer_input_filter(void *data, ssize_t bytes)
{
    ngx_http_myservice_call_t  *call = data;

    ngx_int_t             rc;
    ngx_http_upstream_t  *u;

    rc = call->input_filter(call->input_filter_ctx, bytes);

    u = call->request->upstream;

    if (u->out_bufs) {
        call->forwarded = 1;
    }

    if (rc != NGX_ERROR && u->headers_in.trailers.part.nelts
        && (call->resumable || !call->forwarded)
        && ngx_http_myservice_answer_refused(call, &u->headers_in.trailers))
    {
        /*
         * The client has the header: the answer starts again behind it, or
         * behind the messages.  NGX_AGAIN says that all is parsed and a
         * SETTINGS ack is unsent.
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
