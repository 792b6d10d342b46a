
/*
 * What a session is told that gets no instance: a gRPC status, and for
 * programs why, and after which time it may come again.
 */

#include "sessions/refusal.h"

#include "answers/errors.h"
#include "core/grpc.h"
#include "core/log.h"
#include "core/texts.h"


static void ms_refusal_set(ms_call_t *call, ngx_uint_t code,
    ngx_str_t *message, const char *reason, ngx_int_t retry);
static ngx_int_t ms_refusal_pushback(ms_call_t *call);


static ngx_str_t  ms_busy = ngx_string("all instances are busy");
static ngx_str_t  ms_denied = ngx_string("session belongs to another user");
static ngx_str_t  ms_no_instances = ngx_string("no available instances");
static ngx_str_t  ms_too_many = ngx_string("too many sessions");
static ngx_str_t  ms_no_store = ngx_string("session store unavailable");


/*
 * NGX_BUSY would make nginx log "no live upstreams" as an error, but a full
 * pool is not an error
 */

ngx_int_t
ms_refusal_answer(ms_call_t *call)
{
    ms_zone_decided(call->conf->zone, call->decision, 1,
                    call->request->connection->log);

    switch (call->decision) {

    case MS_CLAIM_DENIED:
        ms_refusal_set(call, MS_GRPC_PERMISSION_DENIED, &ms_denied, NULL, 0);
        ms_errors_final(call->request);
        break;

    case MS_CLAIM_UNAVAILABLE:
        ms_refusal_set(call, MS_GRPC_UNAVAILABLE, &ms_text_unavailable, NULL,
                       0);
        break;

    case MS_CLAIM_EMPTY:
        ms_refusal_set(call, MS_GRPC_RESOURCE_EXHAUSTED, &ms_no_instances,
                       "NO_INSTANCES", 0);
        break;

    case MS_CLAIM_TOO_MANY:
        ms_refusal_set(call, MS_GRPC_RESOURCE_EXHAUSTED, &ms_too_many,
                       "TOO_MANY_SESSIONS", 0);
        break;

    case MS_CLAIM_LIMITED:
        ms_refusal_set(call, MS_GRPC_RESOURCE_EXHAUSTED,
                       &ms_text_too_many_calls, NULL, 0);
        break;

    default:
        ms_refusal_busy(call);
    }

    return NGX_ERROR;
}


void
ms_refusal_busy(ms_call_t *call)
{
    ms_refusal_set(call, MS_GRPC_RESOURCE_EXHAUSTED, &ms_busy,
                   "ALL_INSTANCES_BUSY", ms_refusal_pushback(call));
}


void
ms_refusal_store(ms_call_t *call)
{
    ms_refusal_set(call, MS_GRPC_UNAVAILABLE, &ms_no_store,
                   "SESSION_STORE_UNAVAILABLE", ms_refusal_pushback(call));
}


static void
ms_refusal_set(ms_call_t *call, ngx_uint_t code, ngx_str_t *message,
    const char *reason, ngx_int_t retry)
{
    ngx_http_request_t  *r;

    static ms_log_reason_t  reasons[MS_CLAIM_OUTCOMES];

    r = call->request;

    ms_log_reason(&reasons[call->decision], (char *) message->data,
                  NGX_LOG_INFO, r->connection->log, 0,
                  "no instance for the session: %V", message);

    if (ms_errors_set(r, code, message) == NGX_OK && reason) {
        (void) ms_errors_explain(r, reason, "upstream",
                                 &call->conf->zone->upstream->host, retry);
    }
}


/* Clients that were refused together do not come again together: a quarter
 * more or less. */

static ngx_int_t
ms_refusal_pushback(ms_call_t *call)
{
    ngx_msec_t  time;

    time = call->conf->pushback;

    return time - time / 4 + ngx_random() % (time / 2 + 1);
}
