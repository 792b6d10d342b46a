
/* Decides why an attempt failed, from what nginx and the instance left. */

#include "sessions/failure.h"

#include "core/local.h"
#include "http2/mux_call.h"


ms_failure_e
ms_failure(ms_call_t *call, ngx_peer_connection_t *pc, ngx_err_t err)
{
    ngx_connection_t     *c;
    ms_mux_failure_e      lost;
    ngx_http_upstream_t  *u;

    u = call->request->upstream;
    c = pc->connection;

    if (call->gone) {
        return MS_FAILURE_GONE;
    }

    if (call->overdue) {
        return MS_FAILURE_OVERDUE;
    }

    lost = ms_mux_call_failure(call->request);

    if (lost == MS_MUX_LOCAL) {
        return MS_FAILURE_LOCAL;
    }

    if (!u->request_sent || c == NULL) {

        if (c == NULL
            && (ms_local_lack(err, pc->sockaddr->sa_family)
                || ms_local_route(err)))
        {
            return MS_FAILURE_LOCAL;
        }

        /* a kept-alive connection may have been reset meanwhile */

        return lost == MS_MUX_NOT_SENT || (pc->cached && c)
               ? MS_FAILURE_UNPROCESSED
               : MS_FAILURE_NOT_SENT;
    }

    if (call->conflict) {
        return MS_FAILURE_CONFLICT;
    }

    if (call->leaving) {
        return MS_FAILURE_LEAVING;
    }

    if (call->refused || lost == MS_MUX_REFUSED || lost == MS_MUX_NOT_SENT) {
        return MS_FAILURE_UNPROCESSED;
    }

    if (call->fault) {
        return MS_FAILURE_FAULTY;
    }

    if (call->reset) {
        return MS_FAILURE_RESET;
    }

    if (c->read->timedout || c->write->timedout) {
        return MS_FAILURE_TIMED_OUT;
    }

    /*
     * no byte of the request was written, or only bytes that TLS cannot
     * decrypt; a multiplexed connection knows better
     */

    if (c->sent == 0 && lost == MS_MUX_NONE) {
        return MS_FAILURE_UNPROCESSED;
    }

    return MS_FAILURE_DIED;
}
