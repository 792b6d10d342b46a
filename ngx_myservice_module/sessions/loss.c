
/* Tells a session that it has lost its instance. */

#include "sessions/loss.h"

#include "answers/errors.h"
#include "core/log.h"
#include "sessions/deadline.h"
#include "sessions/lease.h"


static ngx_str_t  ms_loss_text = ngx_string("session lost its instance");


void
ms_loss_ran(ms_call_t *call)
{
    ms_lease_t  *lease;

    lease = &call->grant.lease;

    if (lease->lease) {
        ms_lease_look(call);
        call->seek.held = lease->lease;
        call->seek.settled |= !lease->tentative;
    }
}


ngx_uint_t
ms_loss_asks(ms_call_t *call)
{
    call->asks = !call->asks && call->conf->tells && call->seek.settled
                 && !call->aborted && !call->reset;

    return call->asks;
}


ngx_uint_t
ms_loss_abort(ms_call_t *call)
{
    ngx_connection_t  *c;

    if (!call->conf->tells || !call->seek.settled) {
        return 0;
    }

    c = call->request->connection;

    ngx_http_set_log_request(c->log, call->request);

    ms_log_error(NGX_LOG_INFO, c->log, 0,
                 "call leaves instance \"%V\": %V", &call->grant.name,
                 &ms_loss_text);

    call->aborted = 1;
    call->decision = MS_CLAIM_LOST;

    ms_loss_tell(call);
    ms_deadline_interrupt(call->request);

    return 1;
}


void
ms_loss_tell(ms_call_t *call)
{
    ms_zone_decided(call->conf->zone, MS_CLAIM_LOST, 1,
                    call->request->connection->log);

    if (ms_errors_set(call->request, MS_GRPC_ABORTED, &ms_loss_text)
        == NGX_OK)
    {
        (void) ms_errors_explain(call->request, "SESSION_LOST", "decision",
                                 ms_sessions_decision(call->decision),
                                 MS_ERRORS_NO_RETRY);
        ms_errors_final(call->request);
    }
}
