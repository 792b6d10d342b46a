
/*
 * Finding the struct of a call, and questions about it that change nothing.
 */

#include "sessions/call_context.h"

#include "core/context.h"
#include "core/metadata.h"
#include "core/methods.h"
#include "jwt/token.h"
#include "zone/epoch.h"


ms_call_t *
ms_call_get(ngx_http_request_t *r)
{
    return ms_context_find(r, &ngx_http_myservice_sessions_module);
}


ngx_uint_t
ms_call_listed(ms_call_t *call)
{
    /* a resumed stream was sent before, so its method is listed */

    return call->resumable
           || ms_methods_listed(call->loc_conf->retry,
                                &call->request->uri);
}


ngx_int_t
ms_call_replay(ms_call_t *call)
{
    ngx_int_t                 rc;
    ngx_http_request_t       *r;
    ngx_http_request_body_t  *rb;

    r = call->request;

    if (r->reading_body || r->request_body == NULL) {
        return NGX_DECLINED;
    }

    if (!r->request_body_no_buffering) {

        /* r->request_body->bufs is intact */

        return NGX_OK;
    }

    /*
     * a body as if it was read as a whole: freenginx discards an unbuffered
     * body
     */

    rb = ngx_pcalloc(r->pool, sizeof(ngx_http_request_body_t));
    if (rb == NULL) {
        return NGX_ERROR;
    }

    rc = ms_replay_body(r, &call->replay, &rb->bufs);

    if (rc == NGX_OK) {
        rb->buf = r->request_body->buf;
        rb->received = r->request_body->received;
        r->request_body = rb;
    }

    return rc;
}


/* as ms_metadata_session() */

ngx_int_t
ms_call_key(ngx_http_request_t *r, ms_sessions_srv_conf_t *conf,
    ngx_str_t *session)
{
    if (conf->key == NULL) {
        return ms_metadata_session(r, session);
    }

    if (ngx_http_complex_value(r, conf->key, session) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ms_session_valid((char *) session->data, session->len)) {
        return NGX_OK;
    }

    return session->len ? NGX_ABORT : NGX_DECLINED;
}


ngx_uint_t
ms_call_leased(ngx_http_request_t *r)
{
    ngx_str_t                session;
    ms_pool_key_t            key;
    ms_sessions_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_sessions_module);

    if (ms_call_key(r, slcf->balancer, &session) != NGX_OK) {

        /* the call will be refused */

        return 1;
    }

    ms_zone_key(slcf->balancer->zone, &session, &key);

    return ms_zone_leased(slcf->balancer->zone, &key, r->connection->log);
}


uint64_t
ms_call_epoch(ms_call_t *call)
{
    call->epoch = ms_epoch_sent(call->conf->zone, &call->grant.name,
                                &call->grant.lease);

    if (call->named && call->named_at == call->grant.lease.instance) {
        call->epoch = ngx_max(call->epoch, call->named);
    }

    return call->epoch;
}
