
/*
 * What the end of a call, or of an attempt, means for the lease that it holds.
 */

#include "sessions/lease.h"

#include "core/grpc.h"
#include "core/log.h"
#include "core/methods.h"
#include "sessions/deadline.h"
#include "sessions/stored.h"


static ngx_uint_t ms_lease_died(ms_call_t *call, ngx_int_t rc);
static ngx_uint_t ms_lease_unanswered(ms_call_t *call, ngx_int_t rc);


void
ms_lease_close(ms_call_t *call, ngx_int_t rc)
{
    ngx_log_t            *log;
    ms_lease_t           *lease;
    ngx_table_elt_t      *h;
    ngx_http_upstream_t  *u;
    ms_lease_pt           ending;

    u = call->request->upstream;
    log = call->request->connection->log;
    lease = &call->grant.lease;

    if (rc == NGX_OK && call->grpc) {
        h = ms_grpc_upstream_status(u, "grpc-status",
                                    sizeof("grpc-status") - 1);

        if (h && h->value.len == 1 && h->value.data[0] == '0') {

            if (ms_methods_listed(call->conf->release, &call->request->uri)) {
                ending = ms_pool_release;
                goto ending;
            }

            if (lease->tentative) {
                ms_lease_confirmed(call);
                ending = ms_pool_confirm;
                goto ending;
            }
        }
    }

    if (lease->tentative) {
        ending = ms_lease_unanswered(call, rc)
                 || ms_lease_died(call, rc)
                 ? ms_pool_suspect : ms_pool_give_back;
        goto ending;
    }

    if (ngx_current_msec - call->touched > call->conf->grace / 2) {
        (void) ms_zone_touch(call->conf->zone, lease, log);
    }

    return;

ending:

    ms_zone_update(call->conf->zone, lease, ending, log);
    ms_stored_ended(call, ending, log);
}


/* whether the connection ended before the answer */

static ngx_uint_t
ms_lease_died(ms_call_t *call, ngx_int_t rc)
{
    return rc == NGX_HTTP_BAD_GATEWAY && call->fault == NULL && !call->reset
           && !call->conflict && !call->aborted;
}


/* whether the call's time passed without a byte of an answer */

static ngx_uint_t
ms_lease_unanswered(ms_call_t *call, ngx_int_t rc)
{
    if (call->request->upstream->header_sent
        || (rc != NGX_HTTP_GATEWAY_TIME_OUT
            && !ms_deadline_passed(call)))
    {
        return 0;
    }

    ms_log_error(NGX_LOG_INFO, call->request->connection->log, 0,
                 "answer is late: it was the session's first call, "
                 "instance=\"%V\"", &call->grant.name);

    return 1;
}


/* nginx's own clock stands still while a worker waits for the lock */

void
ms_lease_assigned(ms_call_t *call)
{
    ngx_msec_int_t       ms;
    struct timespec      now;
    ngx_http_request_t  *r;

    r = call->request;

    (void) clock_gettime(CLOCK_REALTIME, &now);

    ms = (ngx_msec_int_t) (now.tv_sec - r->start_sec) * 1000
         + now.tv_nsec / 1000000 - (ngx_msec_int_t) r->start_msec;

    call->assigned = (ngx_msec_t) ngx_max(ms, 0) + 1;
}


void
ms_lease_confirmed(ms_call_t *call)
{
    if (call->assigned) {
        ms_counts_time(&call->conf->zone->counts->assignment,
                       &ms_times_default, call->assigned - 1);
        call->assigned = 0;
    }
}


void
ms_lease_look(ms_call_t *call)
{
    ms_lease_t  *lease;

    lease = &call->grant.lease;

    if (lease->tentative && ms_zone_confirmed(call->conf->zone, lease)) {
        lease->tentative = 0;
        ms_lease_confirmed(call);
    }
}


void
ms_lease_fail(ms_call_t *call)
{
    ms_lease_drop(call, ms_pool_fail);
}


void
ms_lease_drop(ms_call_t *call, ms_lease_pt ending)
{
    ms_zone_update(call->conf->zone, &call->grant.lease,
                   ending, call->request->connection->log);

    if (call->nfailed < MS_CALL_FAILED) {
        call->failed[call->nfailed] = call->grant.lease.instance;

        if (ending == ms_pool_suspect) {
            call->suspects |= 1 << call->nfailed;
        }

        call->nfailed++;
    }

    call->grant.lease.lease = 0;
}
