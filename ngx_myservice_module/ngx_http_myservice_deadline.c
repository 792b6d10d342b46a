
#include "ngx_http_myservice_deadline.h"

#include "ngx_http_myservice_grpc.h"
#include "ngx_http_myservice_module.h"
#include "timeout.h"


/* what is longer is no limit; timers take 31 bits on any platform */
#define NGX_HTTP_MYSERVICE_DEADLINE_MAX  2000000000


static ngx_int_t ngx_http_myservice_deadline_timer(
    ngx_http_myservice_call_t *call, ngx_msec_t ms);
static void ngx_http_myservice_deadline_handler(ngx_event_t *ev);
static void ngx_http_myservice_deadline_interrupt(
    ngx_http_myservice_call_t *call);
static ssize_t ngx_http_myservice_deadline_recv(ngx_connection_t *c,
    u_char *buf, size_t size);


ngx_str_t  ngx_http_myservice_deadline_exceeded =
    ngx_string("deadline exceeded");


ngx_msec_int_t
ngx_http_myservice_deadline_left(ngx_http_request_t *r)
{
    int64_t           timeout, spent;
    ngx_time_t       *tp;
    ngx_table_elt_t  *h;

    h = ngx_http_myservice_timeout(r);

    if (h == NULL) {
        return NGX_ERROR;
    }

    timeout = ms_timeout_parse(h->value.data, h->value.len);

    if (timeout < 0 || timeout > NGX_HTTP_MYSERVICE_DEADLINE_MAX) {
        return NGX_ERROR;
    }

    tp = ngx_timeofday();
    spent = (int64_t) (tp->sec - r->start_sec) * 1000
            + (int64_t) tp->msec - (int64_t) r->start_msec;

    return timeout > spent ? (ngx_msec_int_t) (timeout - ngx_max(spent, 0))
                           : 0;
}


ngx_int_t
ngx_http_myservice_deadline_start(ngx_http_myservice_call_t *call)
{
    ngx_msec_int_t  left;

    left = ngx_http_myservice_deadline_left(call->request);

    call->limited = left != NGX_ERROR;
    call->begin_limited = 0;

    if (!call->limited) {
        return NGX_OK;
    }

    if (left == 0) {
        return NGX_DECLINED;
    }

    call->deadline = ngx_current_msec + left;

    return ngx_http_myservice_deadline_timer(call, left);
}


ngx_int_t
ngx_http_myservice_deadline_attempt(ngx_http_myservice_call_t *call,
    ngx_msec_t ms)
{
    ngx_msec_t  begin;

    begin = ngx_current_msec + ms;
    call->begin_limited = ms != 0;

    if (ms == 0
        || (call->limited && (ngx_msec_int_t) (call->deadline - begin) <= 0))
    {
        return NGX_OK;
    }

    call->begin = begin;

    return ngx_http_myservice_deadline_timer(call, ms);
}


static ngx_int_t
ngx_http_myservice_deadline_timer(ngx_http_myservice_call_t *call,
    ngx_msec_t ms)
{
    ngx_event_t  *ev;

    ev = call->timer;

    if (ev == NULL) {
        ev = ngx_pcalloc(call->request->pool, sizeof(ngx_event_t));
        if (ev == NULL) {
            return NGX_ERROR;
        }

        ev->handler = ngx_http_myservice_deadline_handler;
        ev->data = call;
        ev->log = call->request->connection->log;

        call->timer = ev;
    }

    ngx_add_timer(ev, ms);

    return NGX_OK;
}


void
ngx_http_myservice_deadline_stop(ngx_http_myservice_call_t *call)
{
    if (call->timer && call->timer->timer_set) {
        ngx_del_timer(call->timer);
    }
}


static void
ngx_http_myservice_deadline_handler(ngx_event_t *ev)
{
    ngx_http_myservice_call_t *call = ev->data;

    ngx_connection_t    *c;
    ngx_msec_int_t       left;
    ngx_http_request_t  *r;

    r = call->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    if (call->limited) {
        left = (ngx_msec_int_t) (call->deadline - ngx_current_msec);

        if (left <= 0) {
            ngx_log_error(NGX_LOG_INFO, c->log, 0,
                          "the client's deadline has passed");

            ngx_http_myservice_deadline_abort(call,
                                      NGX_HTTP_MYSERVICE_DEADLINE_EXCEEDED,
                                      &ngx_http_myservice_deadline_exceeded);
            return;
        }

        ngx_add_timer(ev, left);
    }

    if (!call->begin_limited || r->upstream->header_sent) {
        return;
    }

    left = (ngx_msec_int_t) (call->begin - ngx_current_msec);

    if (left > 0) {
        ngx_add_timer(ev, left);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, c->log, 0,
                  "instance \"%V\" did not begin its answer in time",
                  &call->grant.name);

    call->begin_limited = 0;
    call->silent = 1;

    ngx_http_myservice_deadline_interrupt(call);
}


void
ngx_http_myservice_deadline_abort(ngx_http_myservice_call_t *call,
    ngx_uint_t code, ngx_str_t *message)
{
    call->aborted = 1;

    (void) ngx_http_myservice_set_status(call->request, code, message);

    ngx_http_myservice_deadline_interrupt(call);
}


/*
 * Lets nginx find the connection to the instance broken: before the header
 * that leads to peer.free(), behind it the stream ends with trailers.
 */

static void
ngx_http_myservice_deadline_interrupt(ngx_http_myservice_call_t *call)
{
    ngx_connection_t     *c;
    ngx_http_upstream_t  *u;

    u = call->request->upstream;

    if (u == NULL || u->cleanup == NULL || u->peer.connection == NULL) {

        /* get_peer() looks at what was set */

        return;
    }

    c = u->peer.connection;

    /* nginx takes a timeout for the instance's fault and logs it as an error:
     * this is one only behind the header, where the level can be chosen */

    c->log_error = NGX_ERROR_INFO;

    if (u->header_sent
#if (NGX_HTTP_SSL)
        || (c->ssl && !c->ssl->handshaked)
#endif
       )
    {
        c->read->timedout = 1;

    } else {
        c->recv = ngx_http_myservice_deadline_recv;
        c->read->ready = 1;
    }

    c->read->handler(c->read);
}


static ssize_t
ngx_http_myservice_deadline_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    return NGX_ERROR;
}
