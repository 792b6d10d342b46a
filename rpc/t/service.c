/*
 * The service of the tests: handlers that do what the value of the request
 * says, a server with them, and a client.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>
#include <grpc/grpc.h>

#include "rpc/message.h"
#include "rpc/t/service.h"


/* One stream, in the memory of its call. */
typedef struct {
    MyService__EchoResponse   response;
    probe_t                  *probe;
    int                       last;
    int                       interval;
} ticker_t;

typedef struct {
    rpc_call_t  *call;
    probe_t     *probe;
} job_t;


static void subscribe(rpc_call_t *call, const ProtobufCMessage *message,
    void *data);
static void login(rpc_call_t *call, const ProtobufCMessage *message,
    void *data);
static void tick(rpc_call_t *call, void *data);
static void tick_sent(rpc_call_t *call, void *data);
static void count(rpc_call_t *call, void *data);


probe_t    service_probe;
fixture_t  service;


void
service_start(void)
{
    rpc_server_options_t  options = { 0 };

    service_start_with(&options);
}


void
service_start_with(const rpc_server_options_t *options)
{
    fixture_methods_t  methods = {
        service_echo, subscribe, login, &service_probe, *options
    };

    memset(&service_probe, 0, sizeof(service_probe));
    fixture_start(&service, &methods);
    service_probe.server = service.server;
}


void
service_stop(void)
{
    ck_assert_int_eq(fixture_stop(&service, 5000), 0);
}


void
service_connect(void)
{
    rpc_result_t  result;

    fixture_response_free(fixture_echo(&service, "connect", 30000, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_OK);
    rpc_result_free(&result);
    fixture_wait(&service_probe.done, 1);
    atomic_store(&service_probe.done, 0);
}


/* handlers */


void
service_echo(rpc_call_t *call, const ProtobufCMessage *message, void *data)
{
    size_t                         len;
    const char                    *value, *md;
    const MyService__EchoRequest  *request;
    MyService__EchoResponse        response = MY_SERVICE__ECHO_RESPONSE__INIT;

    (void) data;

    request = (const MyService__EchoRequest *) message;
    value = request->value;

    rpc_call_on_done(call, count, &service_probe.done);

    if (strcmp(value, "fail") == 0) {
        ck_assert_int_eq(rpc_call_add_trailing(call, "x-why", "bad"), 0);
        rpc_call_fail(call, GRPC_STATUS_INVALID_ARGUMENT,
                      "100% \xc3\xa9t\xc3\xa9\nnext");
        return;
    }

    if (strcmp(value, "forget") == 0) {
        return;
    }

    if (strcmp(value, "bad response") == 0) {
        response.pod_name = "\xff";
    }

    if (strcmp(value, "metadata") == 0) {
        ck_assert_int_eq(rpc_call_add_initial(call, "x-initial", "i"), 0);
        ck_assert_int_eq(rpc_call_add_trailing(call, "x-trailing", "t"), 0);
        ck_assert_int_eq(rpc_call_add_trailing(call, "x-data-bin", "\n\xff"),
                         0);
        ck_assert_int_eq(rpc_call_add_trailing(call, "X-Upper", "t"), -1);
        ck_assert_int_eq(rpc_call_add_trailing(call, "x-value", "a\nb"), -1);
        ck_assert_ptr_null(rpc_call_metadata(call, "x-none", &len));
        ck_assert_uint_eq(rpc_call_metadata_count(call, "session-id"), 2);

        md = rpc_call_metadata(call, "session-id", &len);
        ck_assert_ptr_nonnull(md);
        response.client_session_id = rpc_call_alloc(call, len + 1);
        memcpy(response.client_session_id, md, len);
        response.client_session_id[len] = '\0';
        response.server_session_id = (char *) rpc_call_peer(call);
    }

    response.client_value = request->value;
    rpc_call_reply(call, &response.base);
}


/* "INTERVAL LAST" in milliseconds and messages. */

static void
subscribe(rpc_call_t *call, const ProtobufCMessage *message, void *data)
{
    ticker_t                      *ticker;
    const MyService__EchoRequest  *request;

    (void) data;

    request = (const MyService__EchoRequest *) message;

    ticker = rpc_call_alloc(call, sizeof(ticker_t));
    ck_assert_ptr_nonnull(ticker);

    my_service__echo_response__init(&ticker->response);
    ticker->probe = &service_probe;
    ck_assert_int_eq(sscanf(request->value, "%d %d", &ticker->interval,
                            &ticker->last), 2);

    atomic_fetch_add(&service_probe.opened, 1);
    rpc_call_on_cancel(call, count, &service_probe.cancelled);
    rpc_call_on_done(call, count, &service_probe.done);
    rpc_call_add_initial(call, "x-stream", "yes");

    if (ticker->interval == 0) {
        rpc_call_timer(call, FAR, tick, ticker);    /* and sends nothing */
        return;
    }

    tick(call, ticker);
}


static void
tick(rpc_call_t *call, void *data)
{
    ticker_t  *ticker = data;

    ck_assert_int_eq(rpc_call_send(call, &ticker->response.base, tick_sent,
                                   ticker), 0);
    ck_assert_int_eq(rpc_call_send(call, &ticker->response.base, tick_sent,
                                   ticker), -1);
}


static void
tick_sent(rpc_call_t *call, void *data)
{
    ticker_t  *ticker = data;

    if (ticker->response.index == ticker->last) {
        rpc_call_add_trailing(call, "x-end", "yes");
        rpc_call_fail(call, GRPC_STATUS_OK, NULL);
        return;
    }

    ticker->response.index++;
    rpc_call_timer(call, ticker->interval, tick, ticker);
}


static void
count(rpc_call_t *call, void *data)
{
    (void) call;

    atomic_fetch_add((_Atomic int *) data, 1);
}


/* Answers from another thread when it is released. */

static void *
work(void *data)
{
    int                        cancelled;
    job_t                     *job = data;
    rpc_call_t                *call;
    MyService__LoginResponse   response = MY_SERVICE__LOGIN_RESPONSE__INIT;

    call = job->call;

    while (atomic_load(&job->probe->release) == 0) {
        usleep(1000);
    }

    cancelled = rpc_call_cancelled(call);

    if (cancelled) {
        rpc_call_fail(call, GRPC_STATUS_CANCELLED, "too late");
        return NULL;
    }

    response.token = "token";
    ck_assert_int_eq(rpc_call_add_trailing(call, "x-thread", "other"), 0);
    rpc_call_reply(call, &response.base);

    return NULL;
}


static void
login(rpc_call_t *call, const ProtobufCMessage *message, void *data)
{
    job_t      *job;
    pthread_t   thread;

    (void) message;
    (void) data;

    atomic_fetch_add(&service_probe.opened, 1);
    rpc_call_on_cancel(call, count, &service_probe.cancelled);
    rpc_call_on_done(call, count, &service_probe.done);

    job = rpc_call_alloc(call, sizeof(job_t));
    job->call = call;
    job->probe = &service_probe;

    rpc_call_defer(call);
    ck_assert_int_eq(pthread_create(&thread, NULL, work, job), 0);
    pthread_detach(thread);
}


/* tests: unary */
