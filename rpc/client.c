/*
 * The blocking client.  Every call is a stream with a completion queue of its
 * own; a unary call reads one message of it.
 */

#include "rpc/client.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc.h>
#include <grpc/support/alloc.h>
#include <grpc/support/string_util.h>
#include <grpc/support/time.h>

#include "rpc/core.h"
#include "rpc/message.h"


/* the pause after a failed connect, in ms */
#define CLIENT_BACKOFF          50
#define CLIENT_BACKOFF_MAX      500

/* the core takes its "minimum back-off" as the time limit of a connect */
#define CLIENT_CONNECT_TIMEOUT  5000


struct rpc_client_s {
    grpc_channel  *channel;
};

struct rpc_stream_s {
    grpc_completion_queue             *queue;
    grpc_call                         *call;
    const ProtobufCMessageDescriptor  *response;
    grpc_byte_buffer                  *message;
    grpc_metadata_array                initial;
    grpc_metadata_array                trailing;
    grpc_status_code                   code;
    grpc_slice                         details;
    rpc_message_error_t                error;
    bool                               ended;
};

/* Request metadata as the core wants it. */
typedef struct {
    grpc_metadata  *elts;
    size_t          n;
} client_metadata_t;


static rpc_client_t *client_create(const char *target,
    grpc_channel_credentials *credentials, const char *server_name,
    const char *config);
static grpc_arg client_arg(const char *key, int value);
static grpc_arg client_text_arg(const char *key, const char *value);
static gpr_timespec client_deadline(int64_t timeout);
static grpc_call *client_call(rpc_client_t *client,
    grpc_completion_queue *queue, const char *path, int64_t timeout);
static int client_metadata_create(client_metadata_t *list,
    const rpc_metadata_t *metadata, size_t n);
static void client_metadata_free(client_metadata_t *list);
static void client_batch(grpc_call *call, const grpc_op *ops, size_t n,
    void *tag);
static bool client_pluck(grpc_completion_queue *queue, void *tag);
static void client_queue_free(grpc_completion_queue *queue);
static void result_fail(rpc_result_t *result, grpc_status_code code,
    const char *message);
static const char *result_unpack_error(rpc_message_error_t error);
static void stream_start(rpc_stream_t *stream,
    const client_metadata_t *metadata, const ProtobufCMessage *request);


rpc_client_t *
rpc_client_create(const char *target, grpc_channel_credentials *credentials)
{
    rpc_core_init();

    if (credentials == NULL) {
        credentials = grpc_insecure_credentials_create();
    }

    return client_create(target, credentials, NULL, NULL);
}


rpc_client_t *
rpc_client_create_tls(const char *target, const rpc_tls_t *tls,
    const char *server_name)
{
    rpc_core_init();

    return client_create(target, rpc_tls_client(tls), server_name, NULL);
}


rpc_client_t *
rpc_client_create_config(const char *target, const rpc_tls_t *tls,
    const char *server_name, const char *config)
{
    rpc_core_init();

    return client_create(target,
                         tls != NULL ? rpc_tls_client(tls)
                                     : grpc_insecure_credentials_create(),
                         server_name, config);
}


/* Takes "credentials", and over from rpc_core_init(). */

static rpc_client_t *
client_create(const char *target, grpc_channel_credentials *credentials,
    const char *server_name, const char *config)
{
    rpc_client_t       *client;
    grpc_arg            args[] = {
        client_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
        client_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
        client_arg(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
        client_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, CLIENT_BACKOFF),
        client_arg(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CLIENT_CONNECT_TIMEOUT),
        client_arg(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, CLIENT_BACKOFF_MAX),
        { 0 }, { 0 }
    };
    grpc_channel_args   list;

    list.num_args = sizeof(args) / sizeof(args[0]) - 2;
    list.args = args;

    if (server_name != NULL) {
        args[list.num_args++] =
            client_text_arg(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, server_name);
    }

    if (config != NULL) {
        args[list.num_args++] = client_text_arg(GRPC_ARG_SERVICE_CONFIG,
                                                config);
    }

    client = malloc(sizeof(rpc_client_t));

    if (client != NULL) {
        client->channel = grpc_channel_create(target, credentials, &list);
    }

    grpc_channel_credentials_release(credentials);

    if (client == NULL) {
        grpc_shutdown();
    }

    return client;
}


static grpc_arg
client_arg(const char *key, int value)
{
    grpc_arg  arg;

    arg.type = GRPC_ARG_INTEGER;
    arg.key = (char *) key;
    arg.value.integer = value;

    return arg;
}


/* "value" is borrowed until the channel is made. */

static grpc_arg
client_text_arg(const char *key, const char *value)
{
    grpc_arg  arg;

    arg.type = GRPC_ARG_STRING;
    arg.key = (char *) key;
    arg.value.string = (char *) value;

    return arg;
}


void
rpc_client_free(rpc_client_t *client)
{
    if (client == NULL) {
        return;
    }

    grpc_channel_destroy(client->channel);
    free(client);
    grpc_shutdown();
}


int
rpc_client_await(rpc_client_t *client, int64_t timeout)
{
    bool                      changed;
    gpr_timespec              deadline;
    grpc_completion_queue    *queue;
    grpc_connectivity_state   state;

    changed = true;
    deadline = client_deadline(timeout);
    queue = grpc_completion_queue_create_for_pluck(NULL);

    for ( ;; ) {
        state = grpc_channel_check_connectivity_state(client->channel, 1);

        if (state == GRPC_CHANNEL_READY || !changed) {
            break;
        }

        grpc_channel_watch_connectivity_state(client->channel, state, deadline,
                                              queue, &state);
        changed = client_pluck(queue, &state);
    }

    client_queue_free(queue);

    return state == GRPC_CHANNEL_READY ? 0 : -1;
}


ProtobufCMessage *
rpc_client_unary(rpc_client_t *client, const char *path,
    const rpc_metadata_t *metadata, size_t n, int64_t timeout,
    const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *response, rpc_result_t *result)
{
    rpc_stream_t      *stream;
    ProtobufCMessage  *message;

    stream = rpc_client_stream(client, path, metadata, n, timeout, request,
                               response);

    if (stream == NULL) {
        memset(result, 0, sizeof(*result));
        result_fail(result, GRPC_STATUS_INTERNAL, "illegal request metadata");
        return NULL;
    }

    message = rpc_stream_next(stream);

    /* the status comes by itself, after the one message */
    stream->ended = true;
    rpc_stream_finish(stream, result);

    if (result->code == GRPC_STATUS_OK && message == NULL) {
        result_fail(result, GRPC_STATUS_INTERNAL, "no response message");
    }

    if (result->code != GRPC_STATUS_OK && message != NULL) {
        protobuf_c_message_free_unpacked(message, NULL);
        message = NULL;
    }

    return message;
}


rpc_stream_t *
rpc_client_stream(rpc_client_t *client, const char *path,
    const rpc_metadata_t *metadata, size_t n, int64_t timeout,
    const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *response)
{
    rpc_stream_t       *stream;
    client_metadata_t   list;

    if (client_metadata_create(&list, metadata, n) != 0) {
        return NULL;
    }

    stream = calloc(1, sizeof(rpc_stream_t));
    if (stream == NULL) {
        client_metadata_free(&list);
        return NULL;
    }

    stream->response = response;
    stream->details = grpc_empty_slice();
    grpc_metadata_array_init(&stream->initial);
    grpc_metadata_array_init(&stream->trailing);

    stream->queue = grpc_completion_queue_create_for_pluck(NULL);
    stream->call = client_call(client, stream->queue, path, timeout);

    stream_start(stream, &list, request);
    client_metadata_free(&list);

    return stream;
}


rpc_stream_t *
rpc_client_bidi(rpc_client_t *client, const char *path,
    const rpc_metadata_t *metadata, size_t n, int64_t timeout,
    const ProtobufCMessageDescriptor *response)
{
    return rpc_client_stream(client, path, metadata, n, timeout, NULL,
                             response);
}


/* Without a request only the metadata goes. */

static void
stream_start(rpc_stream_t *stream, const client_metadata_t *metadata,
    const ProtobufCMessage *request)
{
    size_t             n;
    grpc_op            status, ops[4];
    grpc_byte_buffer  *message;

    /* in a batch of its own: it completes when the call ends */

    memset(&status, 0, sizeof(status));
    status.op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    status.data.recv_status_on_client.trailing_metadata = &stream->trailing;
    status.data.recv_status_on_client.status = &stream->code;
    status.data.recv_status_on_client.status_details = &stream->details;
    client_batch(stream->call, &status, 1, &stream->code);

    message = request != NULL ? rpc_message_pack(request) : NULL;
    memset(ops, 0, sizeof(ops));

    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[0].data.send_initial_metadata.count = metadata->n;
    ops[0].data.send_initial_metadata.metadata = metadata->elts;

    ops[1].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[1].data.recv_initial_metadata.recv_initial_metadata = &stream->initial;
    n = 2;

    if (message != NULL) {
        ops[n].op = GRPC_OP_SEND_MESSAGE;
        ops[n++].data.send_message.send_message = message;
        ops[n++].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    }

    client_batch(stream->call, ops, n, &stream->initial);

    grpc_byte_buffer_destroy(message);
}


int
rpc_stream_send(rpc_stream_t *stream, const ProtobufCMessage *request)
{
    bool               ok;
    grpc_op            op;
    grpc_byte_buffer  *message;

    message = rpc_message_pack(request);

    memset(&op, 0, sizeof(op));
    op.op = GRPC_OP_SEND_MESSAGE;
    op.data.send_message.send_message = message;

    client_batch(stream->call, &op, 1, &op);
    ok = client_pluck(stream->queue, &op);
    grpc_byte_buffer_destroy(message);

    return ok ? 0 : -1;
}


void
rpc_stream_close(rpc_stream_t *stream)
{
    grpc_op  op;

    memset(&op, 0, sizeof(op));
    op.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;

    client_batch(stream->call, &op, 1, &op);
    (void) client_pluck(stream->queue, &op);
}


ProtobufCMessage *
rpc_stream_next(rpc_stream_t *stream)
{
    grpc_op            op;
    ProtobufCMessage  *message;

    if (stream->ended) {
        return NULL;
    }

    memset(&op, 0, sizeof(op));
    op.op = GRPC_OP_RECV_MESSAGE;
    op.data.recv_message.recv_message = &stream->message;

    client_batch(stream->call, &op, 1, &stream->message);
    (void) client_pluck(stream->queue, &stream->message);

    if (stream->message == NULL) {
        stream->ended = true;
        return NULL;
    }

    message = rpc_message_unpack(stream->message, stream->response, NULL,
                                 &stream->error);

    grpc_byte_buffer_destroy(stream->message);
    stream->message = NULL;

    if (message == NULL) {
        stream->ended = true;
        rpc_stream_cancel(stream);
    }

    return message;
}


void
rpc_stream_cancel(rpc_stream_t *stream)
{
    (void) grpc_call_cancel(stream->call, NULL);
}


void
rpc_stream_finish(rpc_stream_t *stream, rpc_result_t *result)
{
    if (!stream->ended) {
        rpc_stream_cancel(stream);
    }

    (void) client_pluck(stream->queue, &stream->initial);
    (void) client_pluck(stream->queue, &stream->code);
    client_queue_free(stream->queue);

    result->code = stream->code;
    result->message = grpc_slice_to_c_string(stream->details);
    result->initial = stream->initial;
    result->trailing = stream->trailing;
    result->call = stream->call;

    if (stream->error != RPC_MESSAGE_OK) {
        result_fail(result, GRPC_STATUS_INTERNAL,
                    result_unpack_error(stream->error));
    }

    grpc_slice_unref(stream->details);
    free(stream);
}


char *
rpc_metadata_find(const grpc_metadata_array *array, const char *key)
{
    char                 *copy;
    size_t                i, len;
    const grpc_metadata  *md;

    for (i = 0; i < array->count; i++) {
        md = &array->metadata[i];

        if (grpc_slice_str_cmp(md->key, key) != 0) {
            continue;
        }

        len = GRPC_SLICE_LENGTH(md->value);
        copy = malloc(len + 1);

        if (copy != NULL) {
            memcpy(copy, GRPC_SLICE_START_PTR(md->value), len);
            copy[len] = '\0';
        }

        return copy;
    }

    return NULL;
}


void
rpc_result_free(rpc_result_t *result)
{
    gpr_free(result->message);
    grpc_metadata_array_destroy(&result->initial);
    grpc_metadata_array_destroy(&result->trailing);

    if (result->call != NULL) {
        grpc_call_unref(result->call);
    }

    memset(result, 0, sizeof(*result));
}


static void
result_fail(rpc_result_t *result, grpc_status_code code, const char *message)
{
    gpr_free(result->message);
    result->code = code;
    result->message = gpr_strdup(message);
}


static const char *
result_unpack_error(rpc_message_error_t error)
{
    switch (error) {

    case RPC_MESSAGE_UTF8:
        return "response message has a string that is not UTF-8";

    case RPC_MESSAGE_NUL:
        return "response message has a string with a NUL character";

    case RPC_MESSAGE_DEEP:
        return "response message is nested too deep";

    case RPC_MESSAGE_COMPRESSED:
        return "response message is compressed";

    default:
        return "failed to parse response message";
    }
}


static gpr_timespec
client_deadline(int64_t timeout)
{
    if (timeout < 0) {
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    }

    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_millis(timeout, GPR_TIMESPAN));
}


static grpc_call *
client_call(rpc_client_t *client, grpc_completion_queue *queue,
    const char *path, int64_t timeout)
{
    grpc_call   *call;
    grpc_slice   method;

    method = grpc_slice_from_copied_string(path);
    call = grpc_channel_create_call(client->channel, NULL, 0, queue, method,
                                    NULL, client_deadline(timeout), NULL);
    grpc_slice_unref(method);

    return call;
}


static int
client_metadata_create(client_metadata_t *list,
    const rpc_metadata_t *metadata, size_t n)
{
    grpc_metadata  *md;

    list->n = 0;
    list->elts = calloc(n > 0 ? n : 1, sizeof(grpc_metadata));

    if (list->elts == NULL) {
        return -1;
    }

    while (list->n < n) {
        md = &list->elts[list->n];
        md->key = grpc_slice_from_copied_string(metadata[list->n].key);
        md->value = grpc_slice_from_copied_string(metadata[list->n].value);
        list->n++;

        if (!grpc_header_key_is_legal(md->key)
            || (!grpc_is_binary_header(md->key)
                && !grpc_header_nonbin_value_is_legal(md->value)))
        {
            client_metadata_free(list);
            return -1;
        }
    }

    return 0;
}


static void
client_metadata_free(client_metadata_t *list)
{
    while (list->n > 0) {
        list->n--;
        grpc_slice_unref(list->elts[list->n].key);
        grpc_slice_unref(list->elts[list->n].value);
    }

    free(list->elts);
}


static void
client_batch(grpc_call *call, const grpc_op *ops, size_t n, void *tag)
{
    if (grpc_call_start_batch(call, ops, n, tag, NULL) != GRPC_CALL_OK) {
        abort();        /* the ops of this file are always legal */
    }
}


/* False: the batch failed. */

static bool
client_pluck(grpc_completion_queue *queue, void *tag)
{
    grpc_event  event;

    event = grpc_completion_queue_pluck(queue, tag,
                                        gpr_inf_future(GPR_CLOCK_MONOTONIC),
                                        NULL);

    return event.type == GRPC_OP_COMPLETE && event.success != 0;
}


static void
client_queue_free(grpc_completion_queue *queue)
{
    grpc_completion_queue_shutdown(queue);
    (void) client_pluck(queue, NULL);
    grpc_completion_queue_destroy(queue);
}
