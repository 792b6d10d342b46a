
/*
 * Calls that wait in a phase: for keys, for the first round of probes, for
 * names, for their first message.
 */

#include "answers/wait.h"

#include "answers/context.h"
#include "answers/errors.h"
#include "core/grpc.h"
#include "core/texts.h"
#include "core/timeout.h"


/* milliseconds between two looks of a waiting call: short at first */
#define MS_WAIT_MIN   5
#define MS_WAIT_MAX   50
#define MS_WAIT_PART  16


static ngx_int_t ms_wait_count(ngx_http_request_t *r, ms_wait_e what);
static void ms_wait_wake(ngx_http_request_t *r);


/* the first member of the private ngx_http_grpc_loc_conf_t */

extern ngx_module_t  ngx_http_grpc_module;


ngx_http_upstream_srv_conf_t *
ms_wait_upstream(ngx_http_request_t *r)
{
    ngx_http_upstream_conf_t  *ucf;

    ucf = ngx_http_get_module_loc_conf(r, ngx_http_grpc_module);

    if (r != r->main || ucf->upstream == NULL
        || ucf->upstream->srv_conf == NULL)
    {
        return NULL;
    }

    return ucf->upstream;
}


ngx_msec_t
ms_wait_age(ngx_http_request_t *r)
{
    ngx_time_t      *tp;
    ngx_msec_int_t   ms;

    tp = ngx_timeofday();
    ms = (ngx_msec_int_t) ((tp->sec - r->start_sec) * 1000
                           + (tp->msec - r->start_msec));

    return (ngx_msec_t) ngx_max(ms, 0);
}


ngx_int_t
ms_wait(ngx_http_request_t *r, ms_wait_e what)
{
    ngx_msec_t  delay;

    if (ms_timeout_left(r) == 0) {
        return ms_errors_refuse(r, MS_GRPC_DEADLINE_EXCEEDED,
                                &ms_text_deadline_exceeded);
    }

    if (ms_wait_count(r, what) != NGX_OK
        || ngx_handle_read_event(r->connection->read, 0) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    delay = ms_wait_age(r) / MS_WAIT_PART;
    delay = ngx_max(delay, MS_WAIT_MIN);
    delay = ngx_min(delay, MS_WAIT_MAX);

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ms_wait_wake;

    r->connection->write->delayed = 1;
    ngx_add_timer(r->connection->write, delay);

    return NGX_AGAIN;
}


/* a call once, however often it looks */

static ngx_int_t
ms_wait_count(ngx_http_request_t *r, ms_wait_e what)
{
    ms_answer_ctx_t  *ctx;

    ctx = ms_answer_create_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    if (!(ctx->waited & 1 << what)) {
        ctx->waited |= 1 << what;
        ms_counts_add(&ms_gateway_counts->waits[what], 1);
    }

    return NGX_OK;
}


static void
ms_wait_wake(ngx_http_request_t *r)
{
    ngx_event_t  *wev;

    wev = r->connection->write;

    if (wev->delayed) {

        if (ngx_handle_write_event(wev, 0) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        }

        return;
    }

    if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);
}
