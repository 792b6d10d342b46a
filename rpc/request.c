/*
 * What a call reads: its first message, for which it waits a limited time, and
 * the others of a stream of requests.
 */

#include "rpc/call.h"

#include <string.h>

#include <grpc/support/time.h>

#include "rpc/message.h"


/* the core may end a call so many ms before its deadline */
#define REQUEST_TIMER_ERROR   5


static void request_late(rpc_call_t *call, void *data);
static void request_receive(rpc_call_t *call);
static void request_first(rpc_call_t *call);
static void request_dispatch(rpc_call_t *call);
static bool request_overdue(const rpc_call_t *call);
static void request_read(rpc_call_t *call);
static const ProtobufCMessage *request_unpack(rpc_call_t *call,
    rpc_arena_t *arena);


static const struct {
    grpc_status_code   code;
    const char        *text;
} request_errors[] = {
    [RPC_MESSAGE_OK] = { GRPC_STATUS_OK, NULL },
    [RPC_MESSAGE_MALFORMED] = { GRPC_STATUS_INTERNAL,
        "failed to parse request message" },
    [RPC_MESSAGE_UTF8] = { GRPC_STATUS_INTERNAL,
        "request message has a string that is not UTF-8" },
    [RPC_MESSAGE_NUL] = { GRPC_STATUS_INVALID_ARGUMENT,
        "request message has a string with a NUL character" },
    [RPC_MESSAGE_DEEP] = { GRPC_STATUS_INTERNAL,
        "request message is nested too deep" },
    [RPC_MESSAGE_COMPRESSED] = { GRPC_STATUS_UNIMPLEMENTED,
        "compressed requests are not supported" },
    [RPC_MESSAGE_MEMORY] = { GRPC_STATUS_RESOURCE_EXHAUSTED,
        "request message needs too much memory" }
};


void
rpc_request_begin(rpc_call_t *call)
{
    const rpc_server_options_t  *options;

    options = &call->server->options;

    if (++call->server->open[RPC_CALL_KIND(call)] > options->max_calls) {
        rpc_call_fail(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "too many calls");
        return;
    }

    if (call->method->kind == RPC_METHOD_BIDI) {
        rpc_call_arm_close(call);
    }

    rpc_call_timer(call, options->request_timeout, request_late, NULL);
    request_receive(call);
}


static void
request_late(rpc_call_t *call, void *data)
{
    (void) data;

    rpc_call_fail(call, GRPC_STATUS_DEADLINE_EXCEEDED,
                  "request message did not come in time");
}


static void
request_receive(rpc_call_t *call)
{
    grpc_op  op;

    memset(&op, 0, sizeof(op));
    op.op = GRPC_OP_RECV_MESSAGE;
    op.data.recv_message.recv_message = &call->payload;

    call->reading = 1;
    call->refs++;
    rpc_call_batch(call, &op, 1, &call->read_tag);
}


void
rpc_request_read_event(void *data, bool ok)
{
    rpc_call_t  *call = data;

    (void) ok;

    call->reading = 0;

    if (!call->begun && call->state == RPC_CALL_RUNNING) {
        request_first(call);
    }

    if (call->method->kind != RPC_METHOD_BIDI) {
        if (call->state == RPC_CALL_RUNNING) {
            request_dispatch(call);
        }

    } else if (call->payload == NULL) {

        /*
         * A cancel looks like this, too.  After one round through the queue
         * the event of a cancel has come.
         */

        call->half_closed = 1;
        rpc_call_batch(call, NULL, 0, &call->half_tag);
        return;

    } else if (call->state == RPC_CALL_RUNNING) {
        request_read(call);
    }

    rpc_call_unref(call);
}


static void
request_first(rpc_call_t *call)
{
    call->begun = 1;
    atomic_fetch_add(&call->server->active, 1);
    rpc_timers_clear(&call->server->timers, &call->timer);
}


static void
request_dispatch(rpc_call_t *call)
{
    const rpc_method_t      *method;
    const ProtobufCMessage  *request;

    method = call->method;
    request = request_unpack(call, &call->arena);

    if (request == NULL) {
        return;
    }

    if (method->kind == RPC_METHOD_STREAM) {
        rpc_call_arm_close(call);
    }

    method->handler(call, request, method->data);

    if (method->kind == RPC_METHOD_UNARY && !call->deferred
        && call->state == RPC_CALL_RUNNING)
    {
        rpc_call_fail(call, GRPC_STATUS_INTERNAL, "method gave no answer");
    }
}


void
rpc_request_half_event(void *data, bool ok)
{
    rpc_call_t  *call = data;

    (void) ok;

    /* other threads of the core cancel calls at a stop and at a deadline: the
     * event of that may come later than this one */

    if (call->state == RPC_CALL_RUNNING
        && !atomic_load(&call->server->cancelling) && !request_overdue(call))
    {
        call->method->handler(call, NULL, call->method->data);
    }

    rpc_call_unref(call);
}


static bool
request_overdue(const rpc_call_t *call)
{
    gpr_timespec  deadline;

    deadline = gpr_convert_clock_type(call->deadline, GPR_CLOCK_MONOTONIC);
    deadline = gpr_time_sub(deadline, gpr_time_from_millis(REQUEST_TIMER_ERROR,
                                                           GPR_TIMESPAN));

    return gpr_time_cmp(gpr_now(GPR_CLOCK_MONOTONIC), deadline) >= 0;
}


static void
request_read(rpc_call_t *call)
{
    const rpc_method_t      *method;
    const ProtobufCMessage  *request;

    method = call->method;

    /* a long stream must not need more memory than its longest message */

    if (call->requests == NULL) {
        call->requests = rpc_arena_alloc(&call->arena, sizeof(rpc_arena_t));

        if (call->requests == NULL) {
            rpc_call_fail(call, GRPC_STATUS_RESOURCE_EXHAUSTED,
                          "out of memory");
            return;
        }

        rpc_arena_init(call->requests, call->arena.limit);
    }

    rpc_arena_reset(call->requests);
    request = request_unpack(call, call->requests);

    if (request != NULL) {
        method->handler(call, request, method->data);
    }
}


/* NULL: the call was failed. */

static const ProtobufCMessage *
request_unpack(rpc_call_t *call, rpc_arena_t *arena)
{
    ProtobufCMessage     *request;
    ProtobufCAllocator    allocator;
    rpc_message_error_t   error;

    if (call->payload == NULL) {
        rpc_call_fail(call, GRPC_STATUS_INTERNAL, "missing request message");
        return NULL;
    }

    allocator = rpc_arena_allocator(arena);
    request = rpc_message_unpack(call->payload, call->method->request,
                                 &allocator, &error);

    grpc_byte_buffer_destroy(call->payload);
    call->payload = NULL;

    if (request == NULL) {
        if (arena->full) {
            error = RPC_MESSAGE_MEMORY;
        }

        rpc_call_fail(call, request_errors[error].code,
                      request_errors[error].text);
    }

    return request;
}


int
rpc_call_next(rpc_call_t *call)
{
    if (call->reading || call->half_closed || call->state != RPC_CALL_RUNNING
        || call->method->kind != RPC_METHOD_BIDI)
    {
        return -1;
    }

    request_receive(call);

    return 0;
}
