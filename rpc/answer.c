/*
 * What a call sends: messages of a stream and the one final batch.
 */

#include "rpc/call.h"

#include <stdlib.h>
#include <string.h>

#include "rpc/message.h"


static void answer_put(rpc_call_t *call, grpc_byte_buffer *message,
    grpc_status_code code, const char *text);
static size_t answer_initial_op(rpc_call_t *call, grpc_op *op);
static size_t answer_message_op(grpc_byte_buffer *message, grpc_op *op);
static size_t answer_close_op(rpc_call_t *call, grpc_op *op);


void
rpc_call_reply(rpc_call_t *call, const ProtobufCMessage *response)
{
    if (!rpc_message_utf8(response)) {
        rpc_call_fail(call, GRPC_STATUS_INTERNAL,
                      "response message has a string that is not UTF-8");
        return;
    }

    answer_put(call, rpc_message_pack(response), GRPC_STATUS_OK, NULL);
}


void
rpc_call_fail(rpc_call_t *call, grpc_status_code code, const char *message)
{
    answer_put(call, NULL, code, message);
}


void
rpc_call_arm_close(rpc_call_t *call)
{
    grpc_op  op;

    if (answer_close_op(call, &op) == 0) {
        return;
    }

    call->refs++;
    rpc_call_batch(call, &op, 1, &call->close_tag);
}


void
rpc_call_defer(rpc_call_t *call)
{
    if (call->deferred || call->state != RPC_CALL_RUNNING) {
        abort();
    }

    call->deferred = 1;
    call->refs++;           /* goes with the answer */
    rpc_call_arm_close(call);
}


static void
answer_put(rpc_call_t *call, grpc_byte_buffer *message,
    grpc_status_code code, const char *text)
{
    size_t  len;

    if (!call->deferred) {
        rpc_call_final(call, message, code, text);
        return;
    }

    /*
     * This may be any thread.  The answer hops to the server's thread, so
     * that it never races with a cancel.  Nothing is touched after the batch.
     */

    if (atomic_flag_test_and_set(&call->answered)) {
        abort();
    }

    call->answer = message;
    call->code = code;

    if (text != NULL) {
        len = strlen(text) + 1;
        call->message = rpc_arena_alloc(&call->arena, len);

        if (call->message != NULL) {
            memcpy(call->message, text, len);
        }
    }

    rpc_call_batch(call, NULL, 0, &call->answer_tag);
}


void
rpc_call_final(rpc_call_t *call, grpc_byte_buffer *message,
    grpc_status_code code, const char *text)
{
    size_t      n;
    grpc_op     ops[4], *op;
    grpc_slice  details;

    if (call->state != RPC_CALL_RUNNING) {
        grpc_byte_buffer_destroy(message);
        return;
    }

    rpc_call_set_state(call, RPC_CALL_ENDING);
    rpc_call_count(call, code);
    rpc_timers_clear(&call->server->timers, &call->timer);

    details = grpc_slice_from_copied_string(text != NULL ? text : "");

    n = answer_initial_op(call, ops);

    if (message != NULL) {
        n += answer_message_op(message, &ops[n]);
    }

    op = &ops[n++];
    memset(op, 0, sizeof(*op));
    op->op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    op->data.send_status_from_server.status = code;
    op->data.send_status_from_server.trailing_metadata_count
        = call->trailing.n;
    op->data.send_status_from_server.trailing_metadata = call->trailing.elts;

    if (!GRPC_SLICE_IS_EMPTY(details)) {
        op->data.send_status_from_server.status_details = &details;
    }

    n += answer_close_op(call, &ops[n]);

    call->refs++;
    rpc_call_batch(call, ops, n, &call->final_tag);

    grpc_slice_unref(details);
    grpc_byte_buffer_destroy(message);
}


int
rpc_call_send(rpc_call_t *call, const ProtobufCMessage *message,
    rpc_event_pt sent, void *data)
{
    size_t             n;
    grpc_op            ops[2];
    grpc_byte_buffer  *buffer;

    if (call->in_flight || call->state != RPC_CALL_RUNNING) {
        return -1;
    }

    if (!rpc_message_utf8(message)) {
        rpc_call_fail(call, GRPC_STATUS_INTERNAL,
                      "response message has a string that is not UTF-8");
        return -1;
    }

    buffer = rpc_message_pack(message);

    n = answer_initial_op(call, ops);
    n += answer_message_op(buffer, &ops[n]);

    call->in_flight = 1;
    call->sent = (rpc_callback_t) { sent, data };
    call->refs++;
    rpc_call_batch(call, ops, n, &call->send_tag);

    grpc_byte_buffer_destroy(buffer);

    return 0;
}


/* Each returns how many ops it has written: 0 or 1. */

static size_t
answer_initial_op(rpc_call_t *call, grpc_op *op)
{
    if (call->initial_sent) {
        return 0;
    }

    call->initial_sent = 1;

    memset(op, 0, sizeof(*op));
    op->op = GRPC_OP_SEND_INITIAL_METADATA;
    op->data.send_initial_metadata.count = call->initial.n;
    op->data.send_initial_metadata.metadata = call->initial.elts;

    return 1;
}


static size_t
answer_message_op(grpc_byte_buffer *message, grpc_op *op)
{
    memset(op, 0, sizeof(*op));
    op->op = GRPC_OP_SEND_MESSAGE;
    op->data.send_message.send_message = message;

    return 1;
}


static size_t
answer_close_op(rpc_call_t *call, grpc_op *op)
{
    if (call->close_armed) {
        return 0;
    }

    call->close_armed = 1;

    memset(op, 0, sizeof(*op));
    op->op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    op->data.recv_close_on_server.cancelled = &call->close;

    return 1;
}
