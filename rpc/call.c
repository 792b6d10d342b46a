/*
 * Life of a call: armed, filled by the core, handled, ended or cancelled, and
 * used again.
 */

#include "rpc/call.h"

#include <stdlib.h>
#include <string.h>

#include <grpc/support/alloc.h>

#define CALL_FREE_MAX      256

/* the memory of a call, in messages of the largest size */
#define CALL_ARENA_FACTOR  16


static rpc_call_t *call_get(rpc_server_t *server);
static void call_reset(rpc_call_t *call);
static void call_put(rpc_call_t *call);
static void call_idle(rpc_server_t *server);
static void call_run(rpc_callback_t *callback, rpc_call_t *call);

static void call_request_event(void *data, bool ok);
static void call_close_event(void *data, bool ok);
static void call_send_event(void *data, bool ok);
static void call_final_event(void *data, bool ok);
static void call_answer_event(void *data, bool ok);
static void call_timer_event(void *data);


/* life of a call */


void
rpc_call_arm(rpc_server_t *server, rpc_method_t *method)
{
    rpc_call_t       *call;
    grpc_call_error   rc;

    call = call_get(server);
    call->method = method;
    rpc_call_set_state(call, RPC_CALL_ARMED);

    if (method != NULL) {
        rc = grpc_server_request_registered_call(server->core,
                 method->registered, &call->core, &call->deadline,
                 &call->metadata, NULL, server->queue, server->queue,
                 &call->request_tag);

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

    server->calls++;
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
    call->read_tag = (rpc_tag_t) { rpc_request_read_event, call };
    call->half_tag = (rpc_tag_t) { rpc_request_half_event, call };
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
    rpc_call_set_state(call, RPC_CALL_FREE);

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
    rpc_call_metadata_clear(&call->initial);
    rpc_call_metadata_clear(&call->trailing);

    if (call->requests != NULL) {
        rpc_arena_reset(call->requests);
    }

    rpc_arena_reset(&call->arena);
    call_reset(call);

    if (server->nfree == CALL_FREE_MAX) {
        grpc_metadata_array_destroy(&call->metadata);
        free(call);

    } else {
        call->next = server->free;
        server->free = call;
        server->nfree++;
    }

    if (--server->calls == 0) {
        call_idle(server);
    }
}


/* Requests are armed again until the server stops. */

static void
call_idle(rpc_server_t *server)
{
    pthread_mutex_lock(&server->mutex);
    server->idle = true;
    pthread_cond_signal(&server->cond);
    pthread_mutex_unlock(&server->mutex);
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


void
rpc_call_unref(rpc_call_t *call)
{
    if (--call->refs > 0) {
        return;
    }

    rpc_timers_clear(&call->server->timers, &call->timer);
    call_run(&call->done, call);

    if (call->method != NULL) {
        --call->server->open[RPC_CALL_KIND(call)];
    }

    if (call->begun) {
        atomic_fetch_sub(&call->server->active, 1);
    }

    call_put(call);
}


void
rpc_call_set_state(rpc_call_t *call, rpc_call_state_t state)
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


void
rpc_call_count(rpc_call_t *call, grpc_status_code code)
{
    if (call->method != NULL && (unsigned) code < RPC_CODES) {
        call->method->ended[code]++;
    }
}


void
rpc_call_batch(rpc_call_t *call, const grpc_op *ops, size_t n, rpc_tag_t *tag)
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

    rpc_call_set_state(call, RPC_CALL_RUNNING);
    call->refs = 1;

    if (call->method == NULL) {
        rpc_call_fail(call, GRPC_STATUS_UNIMPLEMENTED, "unknown method");

    } else {
        rpc_request_begin(call);
    }

    rpc_call_unref(call);
}


static void
call_close_event(void *data, bool ok)
{
    rpc_call_t  *call = data;

    (void) ok;

    if (call->close) {
        atomic_store(&call->cancelled, true);

        if (call->state == RPC_CALL_RUNNING) {
            rpc_call_set_state(call, RPC_CALL_CANCELLED);
            rpc_call_count(call, GRPC_STATUS_CANCELLED);
            rpc_timers_clear(&call->server->timers, &call->timer);
            call_run(&call->cancel, call);
        }
    }

    rpc_call_unref(call);
}


static void
call_send_event(void *data, bool ok)
{
    rpc_call_t  *call = data;

    call->in_flight = 0;

    if (ok && call->state == RPC_CALL_RUNNING) {
        call_run(&call->sent, call);
    }

    rpc_call_unref(call);
}


static void
call_final_event(void *data, bool ok)
{
    rpc_call_t  *call = data;

    if (!ok || call->close) {
        atomic_store(&call->cancelled, true);
    }

    rpc_call_unref(call);
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

    rpc_call_final(call, answer, call->code, call->message);
    rpc_call_unref(call);
}


static void
call_timer_event(void *data)
{
    rpc_call_t      *call = data;
    rpc_callback_t   fire;

    fire = call->fire;

    call->refs++;
    call_run(&fire, call);
    rpc_call_unref(call);
}


/* what a handler may ask and set */

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


void
rpc_call_set_data(rpc_call_t *call, void *data)
{
    call->data = data;
}


void *
rpc_call_data(const rpc_call_t *call)
{
    return call->data;
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
