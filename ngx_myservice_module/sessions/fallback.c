
/*
 * Reads the rest of a body before the location of an "error_page" takes the
 * call.
 */

#include "sessions/fallback.h"

#include "answers/errors.h"


static ngx_int_t ms_fallback_handler(ngx_http_request_t *r);
static void ms_fallback_reader(ngx_http_request_t *r);
static ngx_int_t ms_fallback_read(ngx_http_request_t *r, ms_call_t *call);


ngx_uint_t
ms_fallback_possible(ms_call_t *call)
{
    ngx_http_request_t  *r;

    r = call->request;

    if (call->aborted || r->upstream->request_sent) {
        return 0;
    }

    if (r->reading_body) {
        return r->stream && !call->replay.over;
    }

    return ms_call_replay(call) == NGX_OK;
}


/* the first phase of a named location in which a request can wait */

static ngx_int_t
ms_fallback_handler(ngx_http_request_t *r)
{
    ngx_int_t   rc;
    ms_call_t  *call;

    if (!r->internal || !r->reading_body || r != r->main) {
        return NGX_DECLINED;
    }

    call = ms_call_get(r);

    if (call == NULL || !ms_errors_refused(r)) {
        return NGX_DECLINED;
    }

    rc = ms_fallback_read(r, call);

    if (rc == NGX_AGAIN) {
        r->read_event_handler = ms_fallback_reader;
        r->write_event_handler = ngx_http_request_empty_handler;
    }

    return rc == NGX_OK ? NGX_DECLINED : rc;
}


static void
ms_fallback_reader(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    rc = ms_fallback_read(r, ms_call_get(r));

    if (rc == NGX_AGAIN) {
        return;
    }

    r->read_event_handler = ngx_http_block_reading;

    if (rc != NGX_OK) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    r->write_event_handler = ngx_http_core_run_phases;
    ngx_http_core_run_phases(r);
}


/* a filter keeps what is read, to send it again */

static ngx_int_t
ms_fallback_read(ngx_http_request_t *r, ms_call_t *call)
{
    ngx_int_t     rc;
    ngx_uint_t    taken;
    ngx_chain_t  *cl, *ln;

    do {
        rc = ngx_http_read_unbuffered_request_body(r);

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            return rc;
        }

        if (rc == NGX_OK) {
            return ms_call_replay(call) == NGX_OK
                   ? NGX_OK : NGX_HTTP_BAD_GATEWAY;
        }

        /* the buffer is free again when all of it was taken */

        taken = 0;

        for (cl = r->request_body->bufs; cl; cl = ln) {
            ln = cl->next;
            cl->buf->pos = cl->buf->last;
            ngx_free_chain(r->pool, cl);
            taken = 1;
        }

        r->request_body->bufs = NULL;

    } while (taken);

    return NGX_AGAIN;
}


ngx_int_t
ms_fallback_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PREACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ms_fallback_handler;

    return NGX_OK;
}
