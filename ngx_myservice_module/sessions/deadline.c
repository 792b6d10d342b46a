
/*
 * The timer of a call: ends it at the client's deadline, or the attempt at
 * the limit for its answer to begin.
 */

#include "sessions/deadline.h"

#include "answers/errors.h"
#include "core/grpc.h"
#include "core/log.h"
#include "core/texts.h"
#include "core/timeout.h"


static ngx_int_t ms_deadline_timer(ms_call_t *call, ngx_msec_t ms);
static void ms_deadline_handler(ngx_event_t *ev);
static ssize_t ms_deadline_recv(ngx_connection_t *c, u_char *buf, size_t size);


ngx_int_t
ms_deadline_start(ms_call_t *call)
{
    ngx_msec_int_t  left;

    left = ms_timeout_left(call->request);

    call->limited = left != NGX_ERROR;
    call->begin_limited = 0;

    if (!call->limited) {
        return NGX_OK;
    }

    if (left == 0) {
        return NGX_DECLINED;
    }

    call->deadline = ngx_current_msec + left;
    call->slack = left / 8;

    return ms_deadline_timer(call, left);
}


ngx_int_t
ms_deadline_attempt(ms_call_t *call, ngx_msec_t ms)
{
    ngx_msec_t  begin;

    begin = ngx_current_msec + ms;

    call->begin_limited = ms != 0
                          && (!call->limited
                              || (ngx_msec_int_t) (call->deadline - begin)
                                 > 0);

    if (!call->begin_limited) {
        return NGX_OK;
    }

    call->begin_deadline = begin;

    return ms_deadline_timer(call, ms);
}


ngx_uint_t
ms_deadline_passed(ms_call_t *call)
{
    return call->limited
           && (ngx_msec_int_t) (call->deadline - ngx_current_msec)
              <= (ngx_msec_int_t) call->slack;
}


static ngx_int_t
ms_deadline_timer(ms_call_t *call, ngx_msec_t ms)
{
    ngx_event_t  *ev;

    ev = call->timer;

    if (ev == NULL) {
        ev = ngx_pcalloc(call->request->pool, sizeof(ngx_event_t));
        if (ev == NULL) {
            return NGX_ERROR;
        }

        ev->handler = ms_deadline_handler;
        ev->data = call;
        ev->log = call->request->connection->log;

        call->timer = ev;
    }

    /* nginx leaves a timer as it is if the new time is near the old one */

    if (ev->timer_set) {
        ngx_del_timer(ev);
    }

    ngx_add_timer(ev, ms);

    return NGX_OK;
}


void
ms_deadline_stop(ms_call_t *call)
{
    if (call->timer && call->timer->timer_set) {
        ngx_del_timer(call->timer);
    }
}


static void
ms_deadline_handler(ngx_event_t *ev)
{
    ms_call_t *call = ev->data;

    ngx_connection_t    *c;
    ngx_msec_int_t       left;
    ngx_http_request_t  *r;

    r = call->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    if (call->limited) {
        left = (ngx_msec_int_t) (call->deadline - ngx_current_msec);

        if (left <= 0) {
            ms_log_error(NGX_LOG_INFO, c->log, 0,
                         "the client's deadline has passed");

            ms_deadline_abort(call, MS_GRPC_DEADLINE_EXCEEDED,
                              &ms_text_deadline_exceeded);
            return;
        }

        ngx_add_timer(ev, left);
    }

    if (!call->begin_limited || r->upstream->header_sent) {
        return;
    }

    left = (ngx_msec_int_t) (call->begin_deadline - ngx_current_msec);

    if (left > 0) {
        ngx_add_timer(ev, left);
        return;
    }

    ms_log_error(NGX_LOG_ERR, c->log, 0,
                 "answer is late: \"myservice_retry_timeout\" is over, "
                 "instance=\"%V\"", &call->grant.name);

    call->begin_limited = 0;
    call->overdue = 1;

    ms_deadline_interrupt(r);
}


void
ms_deadline_abort(ms_call_t *call, ngx_uint_t code, ngx_str_t *message)
{
    call->aborted = 1;

    (void) ms_errors_set(call->request, code, message);

    ms_deadline_interrupt(call->request);
}


void
ms_deadline_leave(ms_call_t *call, ngx_str_t *message)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = call->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ms_log_error(NGX_LOG_INFO, c->log, 0,
                 "call leaves its instance: %V, instance=\"%V\"",
                 message, &call->grant.name);

    call->gone = message;

    if (r->upstream->header_sent) {
        (void) ms_errors_set(r, MS_GRPC_UNAVAILABLE, message);
    }

    ms_deadline_interrupt(call->request);
}


/*
 * Makes nginx find the connection to the instance broken. Before the header
 * nginx then calls peer.free(); after it the stream ends with trailers.
 */

void
ms_deadline_interrupt(ngx_http_request_t *r)
{
    ngx_connection_t     *c;
    ngx_http_upstream_t  *u;

    u = r->upstream;

    if (u == NULL || u->cleanup == NULL || u->peer.connection == NULL) {

        /* get_peer() looks at what was set */

        return;
    }

    c = u->peer.connection;

    /* nginx logs a timeout as the instance's fault, at level error; only
     * after the header can the level be chosen, so the timeout is used only
     * there */

    c->log_error = NGX_ERROR_INFO;

    if (u->header_sent
#if (NGX_HTTP_SSL)
        || (c->ssl && !c->ssl->handshaked)
#endif
       )
    {
        c->read->timedout = 1;

    } else {
        c->recv = ms_deadline_recv;
        c->read->ready = 1;
    }

    c->read->handler(c->read);
}


static ssize_t
ms_deadline_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    return NGX_ERROR;
}
