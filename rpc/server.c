/*
 * The server: registration, its thread, stop.  The thread takes events from one
 * completion queue and runs timers between them; rpc/call.c handles the events.
 */

#include "rpc/server.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "rpc/call.h"
#include "rpc/core.h"


#define SERVER_MAX_MESSAGE       (4 * 1024 * 1024)
#define SERVER_MAX_METADATA      (16 * 1024)
#define SERVER_MAX_CALLS         4096
#define SERVER_MAX_STREAMS       1024
#define SERVER_IDLE              (5 * 60 * 1000)
#define SERVER_REQUEST           (30 * 1000)
#define SERVER_SOCKET_MODE       0666
#define SERVER_OUTSTANDING       64

/* accepted calls that wait: of streams, and of methods that do not exist */
#define SERVER_OUTSTANDING_COLD  4

/* a connection that sends no HTTP/2 preface is closed after so long */
#define SERVER_HANDSHAKE         20000

/*
 * The core closes a connection without calls when its peer has answered the
 * PING of the GOAWAY, but not every peer reads while it is idle.  After this
 * time, in ms, such connections are closed without the answer.
 */
#define SERVER_LINGER            500
#define SERVER_LINGER_STEP       20


static void server_options(rpc_server_options_t *options,
    const rpc_server_options_t *given);
static void server_default(int64_t *value, int64_t deflt);
static grpc_server *server_core(const rpc_server_options_t *options);
static grpc_arg server_arg(const char *key, int64_t value);
static int server_wake_create(rpc_server_t *server);
static int server_sync_create(rpc_server_t *server);
static int server_method(rpc_server_t *server,
    const ProtobufCServiceDescriptor *service, const char *name,
    rpc_handler_pt handler, void *data, rpc_method_kind_t kind);
static int server_thread_create(rpc_server_t *server);
static void *server_thread(void *data);
static bool server_step(rpc_server_t *server);
static gpr_timespec server_deadline(rpc_server_t *server);
static bool server_drain(rpc_server_t *server, int64_t grace);
static bool server_wait_drained(rpc_server_t *server, int64_t ms);
static void server_shutdown_event(void *data, bool ok);


rpc_server_t *
rpc_server_create(const rpc_server_options_t *options)
{
    rpc_server_t  *server;

    server = calloc(1, sizeof(rpc_server_t));
    if (server == NULL) {
        return NULL;
    }

    if (server_sync_create(server) != 0) {
        free(server);
        return NULL;
    }

    server_options(&server->options, options);
    server->last = &server->posts;
    server->shutdown_tag = (rpc_tag_t) { server_shutdown_event, server };
    server->wake_tag = (rpc_tag_t) { rpc_post_event, server };

    rpc_core_init();

    server->core = server_core(&server->options);
    server->queue = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(server->core, server->queue, NULL);

    if (server_wake_create(server) != 0) {
        rpc_server_free(server);
        return NULL;
    }

    return server;
}


static void
server_options(rpc_server_options_t *options,
    const rpc_server_options_t *given)
{
    if (given != NULL) {
        *options = *given;
    }

    server_default(&options->max_message, SERVER_MAX_MESSAGE);
    server_default(&options->max_metadata, SERVER_MAX_METADATA);
    server_default(&options->max_calls, SERVER_MAX_CALLS);
    server_default(&options->max_streams, SERVER_MAX_STREAMS);
    server_default(&options->idle_timeout, SERVER_IDLE);
    server_default(&options->request_timeout, SERVER_REQUEST);
    server_default(&options->socket_mode, SERVER_SOCKET_MODE);

    if (options->outstanding <= 0) {
        options->outstanding = SERVER_OUTSTANDING;
    }
}


static void
server_default(int64_t *value, int64_t deflt)
{
    if (*value <= 0) {
        *value = deflt;
    }
}


static grpc_server *
server_core(const rpc_server_options_t *options)
{
    grpc_arg           args[] = {

        /* otherwise two servers could share a port, and split its calls */
        server_arg(GRPC_ARG_ALLOW_REUSEPORT, 0),

        server_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, options->max_message),
        server_arg(GRPC_ARG_MAX_METADATA_SIZE, options->max_metadata),
        server_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, options->max_streams),
        server_arg(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, SERVER_HANDSHAKE),
        server_arg(GRPC_ARG_MAX_CONNECTION_IDLE_MS, options->idle_timeout),

        /* nginx closes an idle connection when it receives anything on it */
        server_arg(GRPC_ARG_HTTP2_BDP_PROBE, 0),
        server_arg(GRPC_ARG_KEEPALIVE_TIME_MS, INT_MAX),

        /* the core inflates before it looks at the size */
        server_arg(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
        server_arg(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1)
    };
    grpc_channel_args  list;

    list.num_args = sizeof(args) / sizeof(args[0]);
    list.args = args;

    return grpc_server_create(&list, NULL);
}


static grpc_arg
server_arg(const char *key, int64_t value)
{
    grpc_arg  arg;

    arg.type = GRPC_ARG_INTEGER;
    arg.key = (char *) key;
    arg.value.integer = value < INT_MAX ? (int) value : INT_MAX;

    return arg;
}


static int
server_wake_create(rpc_server_t *server)
{
    server->lame = grpc_lame_client_channel_create("wake",
                                                   GRPC_STATUS_UNAVAILABLE,
                                                   "wake");
    if (server->lame == NULL) {
        return -1;
    }

    server->wake = grpc_channel_create_call(server->lame, NULL, 0,
                       server->queue, grpc_slice_from_static_string("/wake"),
                       NULL, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);

    return server->wake != NULL ? 0 : -1;
}


static int
server_sync_create(rpc_server_t *server)
{
    if (pthread_cond_init(&server->cond, NULL) != 0) {
        return -1;
    }

    if (pthread_mutex_init(&server->mutex, NULL) != 0) {
        pthread_cond_destroy(&server->cond);
        return -1;
    }

    return 0;
}


int
rpc_server_unary(rpc_server_t *server,
    const ProtobufCServiceDescriptor *service, const char *method,
    rpc_handler_pt handler, void *data)
{
    return server_method(server, service, method, handler, data,
                         RPC_METHOD_UNARY);
}


int
rpc_server_stream(rpc_server_t *server,
    const ProtobufCServiceDescriptor *service, const char *method,
    rpc_handler_pt handler, void *data)
{
    return server_method(server, service, method, handler, data,
                         RPC_METHOD_STREAM);
}


int
rpc_server_bidi(rpc_server_t *server,
    const ProtobufCServiceDescriptor *service, const char *method,
    rpc_handler_pt handler, void *data)
{
    return server_method(server, service, method, handler, data,
                         RPC_METHOD_BIDI);
}


static int
server_method(rpc_server_t *server,
    const ProtobufCServiceDescriptor *service, const char *name,
    rpc_handler_pt handler, void *data, rpc_method_kind_t kind)
{
    rpc_method_t                     *method;
    const ProtobufCMethodDescriptor  *descriptor;

    descriptor = protobuf_c_service_descriptor_get_method_by_name(service,
                                                                  name);

    if (descriptor == NULL || server->started || server->stopped) {
        return -1;
    }

    method = calloc(1, sizeof(rpc_method_t));
    if (method == NULL) {
        return -1;
    }

    method->request = descriptor->input;
    method->handler = handler;
    method->data = data;
    method->kind = kind;

    if (asprintf(&method->path, "/%s/%s", service->name, name) == -1) {
        free(method);
        return -1;
    }

    /* the core itself would wait for the first message without a limit */

    method->registered = grpc_server_register_method(server->core,
                             method->path, NULL, GRPC_SRM_PAYLOAD_NONE, 0);

    if (method->registered == NULL) {
        free(method->path);
        free(method);
        return -1;
    }

    method->next = server->methods;
    server->methods = method;

    return 0;
}


int
rpc_server_start(rpc_server_t *server)
{
    int            i, n;
    rpc_method_t  *method;

    if (server->started || server->stopped) {
        return -1;
    }

    server->started = 1;
    grpc_server_start(server->core);

    for (method = server->methods; method != NULL; method = method->next) {
        n = method->kind == RPC_METHOD_UNARY ? server->options.outstanding
                                             : SERVER_OUTSTANDING_COLD;

        for (i = 0; i < n; i++) {
            rpc_call_arm(server, method);
        }
    }

    /* without these, calls of unknown methods would hang */

    for (i = 0; i < SERVER_OUTSTANDING_COLD; i++) {
        rpc_call_arm(server, NULL);
    }

    if (server_thread_create(server) != 0) {
        return -1;
    }

    server->threaded = 1;

    return 0;
}


/* The thread blocks all signals: the main thread takes them. */

static int
server_thread_create(rpc_server_t *server)
{
    int       rc;
    sigset_t  all, old;

    sigfillset(&all);

    if (pthread_sigmask(SIG_SETMASK, &all, &old) != 0) {
        return -1;
    }

    rc = pthread_create(&server->thread, NULL, server_thread, server);

    if (pthread_sigmask(SIG_SETMASK, &old, NULL) != 0) {
        abort();
    }

    return rc == 0 ? 0 : -1;
}


static void *
server_thread(void *data)
{
    rpc_server_t  *server = data;

    while (server_step(server)) { /* void */ }

    return NULL;
}


/* One event; false when the queue is shut down and empty. */

static bool
server_step(rpc_server_t *server)
{
    rpc_tag_t   *tag;
    grpc_event   event;

    if (server->timers.n > 0) {
        rpc_timers_expire(&server->timers, rpc_now());
    }

    event = grpc_completion_queue_next(server->queue, server_deadline(server),
                                       NULL);

    if (event.type == GRPC_OP_COMPLETE) {
        tag = event.tag;
        tag->handler(tag->data, event.success != 0);
    }

    return event.type != GRPC_QUEUE_SHUTDOWN;
}


static gpr_timespec
server_deadline(rpc_server_t *server)
{
    int64_t  next, delay;

    next = rpc_timers_next(&server->timers);

    if (next == INT64_MAX) {
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    }

    delay = next - rpc_now();

    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_millis(delay > 0 ? delay : 0,
                                             GPR_TIMESPAN));
}


int
rpc_server_stop(rpc_server_t *server, int64_t grace)
{
    int  rc;

    if (server->stopped) {
        return 0;
    }

    rc = 0;
    server->stopped = 1;
    atomic_store(&server->stopping, true);

    grpc_server_shutdown_and_notify(server->core, server->queue,
                                    &server->shutdown_tag);

    if (server->threaded) {

        if (!server_drain(server, grace)) {
            rc = atomic_load(&server->active) > 0;
            atomic_store(&server->cancelling, true);
            grpc_server_cancel_all_calls(server->core);
            while (!server_wait_drained(server, 1000)) { /* void */ }
        }

    } else {
        while (!server->drained || server->calls > 0) {
            server_step(server);
        }
    }

    pthread_mutex_lock(&server->mutex);
    server->closed = true;
    pthread_mutex_unlock(&server->mutex);

    grpc_completion_queue_shutdown(server->queue);

    if (server->threaded) {
        pthread_join(server->thread, NULL);

    } else {
        while (server_step(server)) { /* void */ }
    }

    return rc;
}


/* False when calls or connections are left that must be closed by force. */

static bool
server_drain(rpc_server_t *server, int64_t grace)
{
    int64_t  now, end, idle;

    now = rpc_now();
    end = now + grace;
    idle = now;

    while (!server_wait_drained(server, SERVER_LINGER_STEP)) {
        now = rpc_now();

        if (atomic_load(&server->active) > 0) {
            idle = now;
        }

        if (now >= end || now - idle >= SERVER_LINGER) {
            return false;
        }
    }

    return true;
}


/*
 * False after "ms" milliseconds.  The core is done with a call when its
 * connection is gone, but the thread that answers a deferred one, or an event
 * in the queue, may still start a batch: the queue stays open for them.
 */

static bool
server_wait_drained(rpc_server_t *server, int64_t ms)
{
    int              rc;
    bool             drained;
    struct timespec  until;

    rc = 0;
    ms += rpc_now();
    until.tv_sec = ms / 1000;
    until.tv_nsec = (ms % 1000) * 1000000;

    pthread_mutex_lock(&server->mutex);

    while ((!server->drained || !server->idle) && rc != ETIMEDOUT) {
        rc = pthread_cond_clockwait(&server->cond, &server->mutex,
                                    CLOCK_MONOTONIC, &until);
    }

    drained = server->drained && server->idle;

    pthread_mutex_unlock(&server->mutex);

    return drained;
}


static void
server_shutdown_event(void *data, bool ok)
{
    rpc_server_t  *server = data;

    (void) ok;

    pthread_mutex_lock(&server->mutex);
    server->drained = true;
    pthread_cond_signal(&server->cond);
    pthread_mutex_unlock(&server->mutex);
}


void
rpc_server_free(rpc_server_t *server)
{
    rpc_method_t  *method;

    if (server == NULL) {
        return;
    }

    /* the core wants a shutdown even of a server that never started */

    rpc_server_stop(server, 0);

    if (server->wake != NULL) {
        grpc_call_unref(server->wake);
    }

    if (server->lame != NULL) {
        grpc_channel_destroy(server->lame);
    }

    grpc_server_destroy(server->core);
    grpc_completion_queue_destroy(server->queue);

    while (server->methods != NULL) {
        method = server->methods;
        server->methods = method->next;
        free(method->path);
        free(method);
    }

    rpc_call_free_list(server);
    rpc_timers_free(&server->timers);
    pthread_mutex_destroy(&server->mutex);
    pthread_cond_destroy(&server->cond);
    free(server);

    grpc_shutdown();
}


void
rpc_timer_set(rpc_server_t *server, rpc_timer_t *timer, int64_t delay)
{
    rpc_timers_set(&server->timers, timer, rpc_now() + delay);
}


void
rpc_timer_clear(rpc_server_t *server, rpc_timer_t *timer)
{
    rpc_timers_clear(&server->timers, timer);
}


int64_t
rpc_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}
