#include "rpc/call.h"

#include <stdlib.h>
#include <string.h>

#include <grpc/support/alloc.h>

#include "rpc/message.h"


#define CALL_FREE_MAX      256

/* a message of four megabytes may unpack to this much */
#define CALL_ARENA_FACTOR  16


static rpc_call_t *call_get(rpc_server_t *server);
static void call_reset(rpc_call_t *call);
static void call_put(rpc_call_t *call);
static void call_unref(rpc_call_t *call);
static void call_set_state(rpc_call_t *call, rpc_call_state_t state);
static void call_batch(rpc_call_t *call, const grpc_op *ops, size_t n,
    rpc_tag_t *tag);
static void call_run(rpc_callback_t *callback, rpc_call_t *call);

static void call_request_event(void *data, bool ok);
static void call_dispatch(rpc_call_t *call);
static const ProtobufCMessage *call_unpack(rpc_call_t *call);
static void call_arm_close(rpc_call_t *call);
static void call_close_event(void *data, bool ok);
static void call_send_event(void *data, bool ok);
static void call_final_event(void *data, bool ok);
static void call_answer_event(void *data, bool ok);
static void call_timer_event(void *data);

static void call_answer(rpc_call_t *call, grpc_byte_buffer *message,
    grpc_status_code code, const char *text);
static void call_final(rpc_call_t *call, grpc_byte_buffer *message,
    grpc_status_code code, const char *text);
static size_t call_initial_op(rpc_call_t *call, grpc_op *op);
static size_t call_message_op(grpc_byte_buffer *message, grpc_op *op);
static size_t call_close_op(rpc_call_t *call, grpc_op *op);

static int call_metadata_add(rpc_call_metadata_t *metadata, const char *key,
    const char *value);
static void call_metadata_clear(rpc_call_metadata_t *metadata);


static const struct {
    grpc_status_code   code;
    const char        *text;
} call_unpack_errors[] = {
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


/* life of a call */


void
rpc_call_arm(rpc_server_t *server, const rpc_method_t *method)
{
    rpc_call_t       *call;
    grpc_call_error   rc;

    call = call_get(server);
    call->method = method;
    call_set_state(call, RPC_CALL_ARMED);

    if (method != NULL) {
        rc = grpc_server_request_registered_call(server->core,
                 method->registered, &call->core, &call->deadline,
                 &call->metadata, &call->payload, server->queue,
                 server->queue, &call->request_tag);

    } else {
        rc = grpc_server_request_call(server->core, &call->core,
                 &call->details, &call->metadata, server->queue,
                 server->queue, &call->request_tag);
    }

    if (rc != GRPC_CALL_OK) {
        call->core = NULL;
        call_put(call);
    }
}


static rpc_call_t *
call_get(rpc_server_t *server)
{
    rpc_call_t  *call;

    call = server->free;

    if (call != NULL) {
        server->free = call->next;
        server->nfree--;
        return call;
    }

    call = malloc(sizeof(rpc_call_t));
    if (call == NULL) {
        abort();        /* as the core does */
    }

    memset(call, 0, offsetof(rpc_call_t, arena));

    call->server = server;
    grpc_call_details_init(&call->details);
    grpc_metadata_array_init(&call->metadata);
    rpc_arena_init(&call->arena, CALL_ARENA_FACTOR
                                 * (size_t) server->options.max_message);
    call_reset(call);

    return call;
}


/* Everything that is not kept from one call to the next. */

static void
call_reset(rpc_call_t *call)
{
    rpc_server_t         *server;
    grpc_call_details     details;
    grpc_metadata_array   metadata;

    server = call->server;
    details = call->details;
    metadata = call->metadata;

    memset(call, 0, offsetof(rpc_call_t, arena));

    call->server = server;
    call->details = details;
    call->metadata = metadata;
    call->metadata.count = 0;

    call->request_tag = (rpc_tag_t) { call_request_event, call };
    call->close_tag = (rpc_tag_t) { call_close_event, call };
    call->send_tag = (rpc_tag_t) { call_send_event, call };
    call->final_tag = (rpc_tag_t) { call_final_event, call };
    call->answer_tag = (rpc_tag_t) { call_answer_event, call };

    call->timer.fire = call_timer_event;
    call->timer.data = call;

    atomic_init(&call->cancelled, false);
    atomic_flag_clear(&call->answered);
}


static void
call_put(rpc_call_t *call)
{
    rpc_server_t  *server;

    server = call->server;
    call_set_state(call, RPC_CALL_FREE);

    if (call->core != NULL) {

        /* the core owns the request's metadata, but not these */

        if (call->method == NULL) {
            grpc_call_details_destroy(&call->details);
            grpc_call_details_init(&call->details);
        }

        grpc_call_unref(call->core);
    }

    grpc_byte_buffer_destroy(call->payload);
    grpc_byte_buffer_destroy(call->answer);
    call_metadata_clear(&call->initial);
    call_metadata_clear(&call->trailing);
    rpc_arena_reset(&call->arena);
    call_reset(call);

    if (server->nfree == CALL_FREE_MAX) {
        grpc_metadata_array_destroy(&call->metadata);
        free(call);
        return;
    }

    call->next = server->free;
    server->free = call;
    server->nfree++;
}


void
rpc_call_free_list(rpc_server_t *server)
{
    rpc_call_t  *call, *next;

    for (call = server->free; call != NULL; call = next) {
        next = call->next;
        grpc_metadata_array_destroy(&call->metadata);
        free(call);
    }

    server->free = NULL;
    server->nfree = 0;
}


static void
call_unref(rpc_call_t *call)
{
    if (--call->refs > 0) {
        return;
    }

    rpc_timers_clear(&call->server->timers, &call->timer);
    call_run(&call->done, call);
    call_put(call);
}


static void
call_set_state(rpc_call_t *call, rpc_call_state_t state)
{
    bool  legal;

    legal = false;

    switch (call->state) {

    case RPC_CALL_FREE:
        legal = (state == RPC_CALL_ARMED);
        break;

    case RPC_CALL_ARMED:
        legal = (state == RPC_CALL_RUNNING || state == RPC_CALL_FREE);
        break;

    case RPC_CALL_RUNNING:
        legal = (state == RPC_CALL_ENDING || state == RPC_CALL_CANCELLED);
        break;

    case RPC_CALL_ENDING:
    case RPC_CALL_CANCELLED:
        legal = (state == RPC_CALL_FREE);
        break;
    }

    if (!legal) {
        abort();
    }

    call->state = state;
}


static void
call_batch(rpc_call_t *call, const grpc_op *ops, size_t n, rpc_tag_t *tag)
{
    if (grpc_call_start_batch(call->core, ops, n, tag, NULL) != GRPC_CALL_OK) {
        abort();        /* the ops of this file are always legal */
    }
}


static void
call_run(rpc_callback_t *callback, rpc_call_t *call)
{
    if (callback->handler != NULL) {
        callback->handler(call, callback->data);
    }
}


/* events */


static void
call_request_event(void *data, bool ok)
{
    rpc_call_t    *call = data;
    rpc_server_t  *server;

    server = call->server;

    if (!ok) {          /* the server stops */
        call->core = NULL;
        call_put(call);
        return;
    }

    if (!atomic_load_explicit(&server->stopping, memory_order_relaxed)) {
        rpc_call_arm(server, call->method);
    }

    call_set_state(call, RPC_CALL_RUNNING);
    call->refs = 1;

    if (call->method == NULL) {
        rpc_call_fail(call, GRPC_STATUS_UNIMPLEMENTED, "unknown method");

    } else {
        call_dispatch(call);
    }

    call_unref(call);
}


static void
call_dispatch(rpc_call_t *call)
{
    const rpc_method_t      *method;
    const ProtobufCMessage  *request;

    method = call->method;
    request = call_unpack(call);

    if (request == NULL) {
        return;
    }

    if (method->stream) {
        call_arm_close(call);
    }

    method->handler(call, request, method->data);

    if (!method->stream && !call->deferred
        && call->state == RPC_CALL_RUNNING)
    {
        rpc_call_fail(call, GRPC_STATUS_INTERNAL, "method gave no answer");
    }
}


/* NULL: the call was failed. */

static const ProtobufCMessage *
call_unpack(rpc_call_t *call)
{
    ProtobufCMessage     *request;
    ProtobufCAllocator    allocator;
    rpc_message_error_t   error;

    if (call->payload == NULL) {
        rpc_call_fail(call, GRPC_STATUS_INTERNAL, "missing request message");
        return NULL;
    }

    allocator = rpc_arena_allocator(&call->arena);
    request = rpc_message_unpack(call->payload, call->method->request,
                                 &allocator, &error);

    grpc_byte_buffer_destroy(call->payload);
    call->payload = NULL;

    if (request == NULL) {
        if (call->arena.full) {
            error = RPC_MESSAGE_MEMORY;
        }

        rpc_call_fail(call, call_unpack_errors[error].code,
                      call_unpack_errors[error].text);
    }

    return request;
}


static void
call_arm_close(rpc_call_t *call)
{
    grpc_op  op;

    if (call_close_op(call, &op) == 0) {
        return;
    }

    call->refs++;
    call_batch(call, &op, 1, &call->close_tag);
}


static void
call_close_event(void *data, bool ok)
{
    rpc_call_t  *call = data;

    (void) ok;

    if (call->close) {
        atomic_store(&call->cancelled, true);

        if (call->state == RPC_CALL_RUNNING) {
            call_set_state(call, RPC_CALL_CANCELLED);
            rpc_timers_clear(&call->server->timers, &call->timer);
            call_run(&call->cancel, call);
        }
    }

    call_unref(call);
}


static void
call_send_event(void *data, bool ok)
{
    rpc_call_t  *call = data;

    call->in_flight = 0;

    if (ok && call->state == RPC_CALL_RUNNING) {
        call_run(&call->sent, call);
    }

    call_unref(call);
}


static void
call_final_event(void *data, bool ok)
{
    rpc_call_t  *call = data;

    if (!ok || call->close) {
        atomic_store(&call->cancelled, true);
    }

    call_unref(call);
}


/* The answer of a deferred call has come to the server's thread. */

static void
call_answer_event(void *data, bool ok)
{
    rpc_call_t        *call = data;
    grpc_byte_buffer  *answer;

    (void) ok;

    answer = call->answer;
    call->answer = NULL;

    call_final(call, answer, call->code, call->message);
    call_unref(call);
}


static void
call_timer_event(void *data)
{
    rpc_call_t      *call = data;
    rpc_callback_t   fire;

    fire = call->fire;

    call->refs++;
    call_run(&fire, call);
    call_unref(call);
}


/* sending */


void
rpc_call_reply(rpc_call_t *call, const ProtobufCMessage *response)
{
    if (!rpc_message_utf8(response)) {
        rpc_call_fail(call, GRPC_STATUS_INTERNAL,
                      "response message has a string that is not UTF-8");
        return;
    }

    call_answer(call, rpc_message_pack(response), GRPC_STATUS_OK, NULL);
}


void
rpc_call_fail(rpc_call_t *call, grpc_status_code code, const char *message)
{
    call_answer(call, NULL, code, message);
}


void
rpc_call_defer(rpc_call_t *call)
{
    call->deferred = 1;
    call->refs++;           /* goes with the answer */
    call_arm_close(call);
}


static void
call_answer(rpc_call_t *call, grpc_byte_buffer *message,
    grpc_status_code code, const char *text)
{
    size_t  len;

    if (!call->deferred) {
        call_final(call, message, code, text);
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

    call_batch(call, NULL, 0, &call->answer_tag);
}


/* Takes "message". */

static void
call_final(rpc_call_t *call, grpc_byte_buffer *message,
    grpc_status_code code, const char *text)
{
    size_t      n;
    grpc_op     ops[4], *op;
    grpc_slice  details;

    if (call->state != RPC_CALL_RUNNING) {
        grpc_byte_buffer_destroy(message);
        return;
    }

    call_set_state(call, RPC_CALL_ENDING);
    rpc_timers_clear(&call->server->timers, &call->timer);

    details = grpc_slice_from_copied_string(text != NULL ? text : "");

    n = call_initial_op(call, ops);

    if (message != NULL) {
        n += call_message_op(message, &ops[n]);
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

    n += call_close_op(call, &ops[n]);

    call->refs++;
    call_batch(call, ops, n, &call->final_tag);

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

    n = call_initial_op(call, ops);
    n += call_message_op(buffer, &ops[n]);

    call->in_flight = 1;
    call->sent = (rpc_callback_t) { sent, data };
    call->refs++;
    call_batch(call, ops, n, &call->send_tag);

    grpc_byte_buffer_destroy(buffer);

    return 0;
}


/* Each returns how many ops it has written: 0 or 1. */

static size_t
call_initial_op(rpc_call_t *call, grpc_op *op)
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
call_message_op(grpc_byte_buffer *message, grpc_op *op)
{
    memset(op, 0, sizeof(*op));
    op->op = GRPC_OP_SEND_MESSAGE;
    op->data.send_message.send_message = message;

    return 1;
}


static size_t
call_close_op(rpc_call_t *call, grpc_op *op)
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


/* what a handler may ask and set */


const char *
rpc_call_metadata(const rpc_call_t *call, const char *key, size_t *len)
{
    size_t                i;
    const grpc_metadata  *md;

    for (i = 0; i < call->metadata.count; i++) {
        md = &call->metadata.metadata[i];

        if (grpc_slice_str_cmp(md->key, key) == 0) {
            *len = GRPC_SLICE_LENGTH(md->value);
            return (const char *) GRPC_SLICE_START_PTR(md->value);
        }
    }

    *len = 0;

    return NULL;
}


size_t
rpc_call_metadata_count(const rpc_call_t *call, const char *key)
{
    size_t  i, n;

    n = 0;

    for (i = 0; i < call->metadata.count; i++) {
        if (grpc_slice_str_cmp(call->metadata.metadata[i].key, key) == 0) {
            n++;
        }
    }

    return n;
}


const char *
rpc_call_peer(rpc_call_t *call)
{
    char    *peer, *copy;
    size_t   len;

    peer = grpc_call_get_peer(call->core);
    len = strlen(peer) + 1;
    copy = rpc_arena_alloc(&call->arena, len);

    if (copy != NULL) {
        memcpy(copy, peer, len);
    }

    gpr_free(peer);

    return copy != NULL ? copy : "unknown";
}


void *
rpc_call_alloc(rpc_call_t *call, size_t size)
{
    return rpc_arena_alloc(&call->arena, size);
}


int
rpc_call_add_initial(rpc_call_t *call, const char *key, const char *value)
{
    if (call->initial_sent) {
        return -1;
    }

    return call_metadata_add(&call->initial, key, value);
}


int
rpc_call_add_trailing(rpc_call_t *call, const char *key, const char *value)
{
    /* the state of a deferred call is not for other threads to read */

    if (!call->deferred && call->state != RPC_CALL_RUNNING) {
        return -1;
    }

    return call_metadata_add(&call->trailing, key, value);
}


static int
call_metadata_add(rpc_call_metadata_t *metadata, const char *key,
    const char *value)
{
    grpc_slice      k, v;
    grpc_metadata  *md;

    if (metadata->n == RPC_METADATA_MAX) {
        return -1;
    }

    k = grpc_slice_from_copied_string(key);
    v = grpc_slice_from_copied_string(value);

    if (!grpc_header_key_is_legal(k)
        || (!grpc_is_binary_header(k)
            && !grpc_header_nonbin_value_is_legal(v)))
    {
        grpc_slice_unref(k);
        grpc_slice_unref(v);
        return -1;
    }

    md = &metadata->elts[metadata->n++];
    memset(md, 0, sizeof(*md));
    md->key = k;
    md->value = v;

    return 0;
}


static void
call_metadata_clear(rpc_call_metadata_t *metadata)
{
    while (metadata->n > 0) {
        metadata->n--;
        grpc_slice_unref(metadata->elts[metadata->n].key);
        grpc_slice_unref(metadata->elts[metadata->n].value);
    }
}


void
rpc_call_on_done(rpc_call_t *call, rpc_event_pt done, void *data)
{
    call->done = (rpc_callback_t) { done, data };
}


void
rpc_call_on_cancel(rpc_call_t *call, rpc_event_pt cancel, void *data)
{
    call->cancel = (rpc_callback_t) { cancel, data };
}


bool
rpc_call_cancelled(const rpc_call_t *call)
{
    return atomic_load(&call->cancelled);
}


void
rpc_call_timer(rpc_call_t *call, int64_t delay, rpc_event_pt fire, void *data)
{
    if (delay < 0 || call->state != RPC_CALL_RUNNING) {
        rpc_timers_clear(&call->server->timers, &call->timer);
        return;
    }

    call->fire = (rpc_callback_t) { fire, data };
    rpc_timer_set(call->server, &call->timer, delay);
}
