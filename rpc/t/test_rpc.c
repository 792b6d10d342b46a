/*
 * Server and client over 127.0.0.1.  The handlers do what the value of the
 * request says.
 */

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>
#include <grpc/grpc.h>

#include "rpc/message.h"
#include "rpc/t/fixture.h"


#define FAR  60000              /* ms: never within a test */

/* What the handlers saw. */
typedef struct {
    _Atomic int    opened;
    _Atomic int    cancelled;
    _Atomic int    done;
    _Atomic int    fired;
    _Atomic int    release;         /* worker threads wait for it */
    rpc_server_t  *server;
} probe_t;

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


static void echo(rpc_call_t *call, const ProtobufCMessage *message,
    void *data);
static void subscribe(rpc_call_t *call, const ProtobufCMessage *message,
    void *data);
static void login(rpc_call_t *call, const ProtobufCMessage *message,
    void *data);
static void tick(rpc_call_t *call, void *data);
static void tick_sent(rpc_call_t *call, void *data);
static void count(rpc_call_t *call, void *data);


static probe_t    probe;
static fixture_t  f;


static void
start(void)
{
    fixture_methods_t  methods = { echo, subscribe, login, &probe, { 0 } };

    memset(&probe, 0, sizeof(probe));
    fixture_start(&f, &methods);
    probe.server = f.server;
}


static void
stop(void)
{
    ck_assert_int_eq(fixture_stop(&f, 5000), 0);
}


/* So that the time of a connect is not the test's. */

static void
connect_client(void)
{
    rpc_result_t  result;

    fixture_response_free(fixture_echo(&f, "connect", 30000, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_OK);
    rpc_result_free(&result);
    fixture_wait(&probe.done, 1);
    atomic_store(&probe.done, 0);
}


/* handlers */


static void
echo(rpc_call_t *call, const ProtobufCMessage *message, void *data)
{
    size_t                         len;
    const char                    *value, *md;
    const MyService__EchoRequest  *request;
    MyService__EchoResponse        response = MY_SERVICE__ECHO_RESPONSE__INIT;

    (void) data;

    request = (const MyService__EchoRequest *) message;
    value = request->value;

    rpc_call_on_done(call, count, &probe.done);

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
    ticker->probe = &probe;
    ck_assert_int_eq(sscanf(request->value, "%d %d", &ticker->interval,
                            &ticker->last), 2);

    atomic_fetch_add(&probe.opened, 1);
    rpc_call_on_cancel(call, count, &probe.cancelled);
    rpc_call_on_done(call, count, &probe.done);
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

    atomic_fetch_add(&probe.opened, 1);
    rpc_call_on_cancel(call, count, &probe.cancelled);
    rpc_call_on_done(call, count, &probe.done);

    job = rpc_call_alloc(call, sizeof(job_t));
    job->call = call;
    job->probe = &probe;

    rpc_call_defer(call);
    ck_assert_int_eq(pthread_create(&thread, NULL, work, job), 0);
    pthread_detach(thread);
}


/* tests: unary */


START_TEST(unary)
{
    rpc_result_t              result;
    MyService__EchoResponse  *response;

    start();

    response = fixture_echo(&f, "h\xc3\xa4llo", 5000, &result);
    ck_assert_int_eq(result.code, GRPC_STATUS_OK);
    ck_assert_str_eq(result.message, "");
    ck_assert_str_eq(response->client_value, "h\xc3\xa4llo");
    fixture_response_free(response);
    rpc_result_free(&result);

    fixture_wait(&probe.done, 1);
    stop();
}
END_TEST


START_TEST(error_status)
{
    char          *value;
    rpc_result_t   result;

    start();

    ck_assert_ptr_null(fixture_echo(&f, "fail", 5000, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_INVALID_ARGUMENT);
    ck_assert_str_eq(result.message, "100% \xc3\xa9t\xc3\xa9\nnext");
    ck_assert_uint_eq(result.initial.count, 0);     /* Trailers-Only */

    value = rpc_metadata_find(&result.trailing, "x-why");
    ck_assert_str_eq(value, "bad");
    free(value);
    rpc_result_free(&result);

    stop();
}
END_TEST


START_TEST(metadata)
{
    char                     *value;
    rpc_result_t              result;
    MyService__EchoRequest    request = MY_SERVICE__ECHO_REQUEST__INIT;
    MyService__EchoResponse  *response;
    const rpc_metadata_t      md[] = {
        { "session-id", "first" },
        { "session-id", "second" }
    };

    start();

    request.value = "metadata";
    response = (MyService__EchoResponse *)
        rpc_client_unary(f.client, FIXTURE_ECHO, md, 2, 5000, &request.base,
                         &my_service__echo_response__descriptor, &result);

    ck_assert_int_eq(result.code, GRPC_STATUS_OK);
    ck_assert_str_eq(response->client_session_id, "first");
    ck_assert_int_eq(strncmp(response->server_session_id, "ipv4:127.0.0.1:",
                             15), 0);

    value = rpc_metadata_find(&result.initial, "x-initial");
    ck_assert_str_eq(value, "i");
    free(value);
    value = rpc_metadata_find(&result.trailing, "x-trailing");
    ck_assert_str_eq(value, "t");
    free(value);
    value = rpc_metadata_find(&result.trailing, "x-data-bin");
    ck_assert_str_eq(value, "\n\xff");
    free(value);
    ck_assert_ptr_null(rpc_metadata_find(&result.trailing, "x-value"));

    fixture_response_free(response);
    rpc_result_free(&result);

    stop();
}
END_TEST


START_TEST(illegal_metadata)
{
    rpc_result_t            result;
    const rpc_metadata_t    md = { "session-id", "a\nb" };
    MyService__EchoRequest  request = MY_SERVICE__ECHO_REQUEST__INIT;

    start();

    ck_assert_ptr_null(rpc_client_unary(f.client, FIXTURE_ECHO, &md, 1, 5000,
                           &request.base,
                           &my_service__echo_response__descriptor, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_INTERNAL);
    rpc_result_free(&result);

    ck_assert_ptr_null(rpc_client_stream(f.client, FIXTURE_SUBSCRIBE, &md, 1,
                           5000, &request.base,
                           &my_service__echo_response__descriptor));

    stop();
}
END_TEST


START_TEST(handler_mistakes)
{
    rpc_result_t  result;

    start();

    ck_assert_ptr_null(fixture_echo(&f, "forget", 5000, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_INTERNAL);
    ck_assert_str_eq(result.message, "method gave no answer");
    rpc_result_free(&result);

    ck_assert_ptr_null(fixture_echo(&f, "bad response", 5000, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_INTERNAL);
    rpc_result_free(&result);

    stop();
}
END_TEST


START_TEST(unknown_method)
{
    int                     i;
    rpc_result_t            result;
    const char             *paths[] = {
        "/my_service.MyServiceAPI/MyServiceShutdown",
        "/my_service.MyServiceAPI/",
        "/no.Such/Service",
        "/"
    };
    MyService__EchoRequest  request = MY_SERVICE__ECHO_REQUEST__INIT;

    start();

    for (i = 0; i < 40; i++) {
        ck_assert_ptr_null(rpc_client_unary(f.client, paths[i % 4], NULL, 0,
                               5000, &request.base,
                               &my_service__echo_response__descriptor,
                               &result));
        ck_assert_int_eq(result.code, GRPC_STATUS_UNIMPLEMENTED);
        rpc_result_free(&result);
    }

    stop();
}
END_TEST


/* tests: bad requests */


/* Field 1 of an otherwise empty request is sent as these bytes. */

static grpc_status_code
raw_request(uint8_t type, const void *bytes, size_t len)
{
    rpc_result_t                result;
    grpc_status_code            code;
    MyService__EchoRequest      request = MY_SERVICE__ECHO_REQUEST__INIT;
    MyService__EchoResponse    *response;
    ProtobufCMessageUnknownField  field;

    field.tag = 1;
    field.wire_type = (ProtobufCWireType) type;
    field.len = len;
    field.data = (uint8_t *) bytes;

    request.base.n_unknown_fields = 1;
    request.base.unknown_fields = &field;

    response = (MyService__EchoResponse *)
        rpc_client_unary(f.client, FIXTURE_ECHO, NULL, 0, 5000, &request.base,
                         &my_service__echo_response__descriptor, &result);

    code = result.code;
    fixture_response_free(response);
    rpc_result_free(&result);

    return code;
}


START_TEST(bad_request)
{
    rpc_result_t  result;

    start();

    /* the positive control: a good string by the same way */
    ck_assert_int_eq(raw_request(2, "\2ok", 3), GRPC_STATUS_OK);

    ck_assert_int_eq(raw_request(2, "\3a\0b", 4),
                     GRPC_STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(raw_request(2, "\3a\xff" "b", 4), GRPC_STATUS_INTERNAL);
    ck_assert_int_eq(raw_request(2, "\4abc", 4), GRPC_STATUS_INTERNAL);
    ck_assert_int_eq(raw_request(0, "\x80", 1), GRPC_STATUS_INTERNAL);
    ck_assert_int_eq(raw_request(0, "\1", 1), GRPC_STATUS_INTERNAL);
    ck_assert_int_eq(raw_request(3, "", 0), GRPC_STATUS_INTERNAL);

    ck_assert_ptr_null(fixture_echo(&f, "\xed\xa0\x80", 5000, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_INTERNAL);
    rpc_result_free(&result);

    stop();
}
END_TEST


START_TEST(oversize)
{
    char                     *value;
    rpc_result_t              result;
    fixture_methods_t         methods = { .echo = echo };
    MyService__EchoResponse  *response;

    methods.options.max_message = 10000;
    fixture_start(&f, &methods);

    value = malloc(20001);
    memset(value, 'x', 20000);
    value[20000] = '\0';

    ck_assert_ptr_null(fixture_echo(&f, value, 5000, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_RESOURCE_EXHAUSTED);
    rpc_result_free(&result);

    value[9990] = '\0';
    response = fixture_echo(&f, value, 5000, &result);
    ck_assert_int_eq(result.code, GRPC_STATUS_OK);
    ck_assert_str_eq(response->client_value, value);
    fixture_response_free(response);
    rpc_result_free(&result);
    free(value);

    stop();
}
END_TEST


START_TEST(oversize_metadata)
{
    char                    *value;
    rpc_result_t             result;
    rpc_metadata_t           md;
    fixture_methods_t        methods = { .echo = echo };
    MyService__EchoRequest   request = MY_SERVICE__ECHO_REQUEST__INIT;

    methods.options.max_metadata = 4096;
    fixture_start(&f, &methods);

    value = malloc(8001);
    memset(value, 'x', 8000);
    value[8000] = '\0';
    md.key = "x-long";
    md.value = value;

    ck_assert_ptr_null(rpc_client_unary(f.client, FIXTURE_ECHO, &md, 1, 5000,
                           &request.base,
                           &my_service__echo_response__descriptor, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_RESOURCE_EXHAUSTED);
    rpc_result_free(&result);
    free(value);

    stop();
}
END_TEST


/* A message of many empty unknown fields needs far more memory unpacked. */

START_TEST(amplification)
{
    size_t                         i, n;
    rpc_result_t                   result;
    fixture_methods_t              methods = { .echo = echo };
    MyService__EchoRequest         request = MY_SERVICE__ECHO_REQUEST__INIT;
    ProtobufCMessageUnknownField  *fields;

    methods.options.max_message = 100000;
    fixture_start(&f, &methods);

    n = 45000;
    fields = calloc(n, sizeof(*fields));

    for (i = 0; i < n; i++) {
        fields[i].tag = 2;
        fields[i].wire_type = PROTOBUF_C_WIRE_TYPE_VARINT;
        fields[i].len = 1;
        fields[i].data = (uint8_t *) "";
    }

    request.base.n_unknown_fields = n;
    request.base.unknown_fields = fields;

    ck_assert_ptr_null(rpc_client_unary(f.client, FIXTURE_ECHO, NULL, 0, 5000,
                           &request.base,
                           &my_service__echo_response__descriptor, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_RESOURCE_EXHAUSTED);
    ck_assert_str_eq(result.message,
                     "request message needs too much memory");
    rpc_result_free(&result);
    free(fields);

    stop();
}
END_TEST


/* A client that compresses, straight on the core. */

START_TEST(compressed)
{
    char                      target[64], value[2001];
    grpc_op                   ops[5];
    grpc_arg                  arg;
    grpc_call                *call;
    grpc_slice                details;
    grpc_channel             *channel;
    grpc_status_code          code;
    grpc_byte_buffer         *message;
    grpc_channel_args         args;
    grpc_metadata_array       initial, trailing;
    grpc_completion_queue    *queue;
    grpc_channel_credentials *credentials;
    MyService__EchoRequest    request = MY_SERVICE__ECHO_REQUEST__INIT;

    start();

    arg.type = GRPC_ARG_INTEGER;
    arg.key = GRPC_COMPRESSION_CHANNEL_DEFAULT_ALGORITHM;
    arg.value.integer = GRPC_COMPRESS_GZIP;
    args.num_args = 1;
    args.args = &arg;

    snprintf(target, sizeof(target), "127.0.0.1:%d", f.port);
    credentials = grpc_insecure_credentials_create();
    channel = grpc_channel_create(target, credentials, &args);
    grpc_channel_credentials_release(credentials);
    queue = grpc_completion_queue_create_for_pluck(NULL);
    call = grpc_channel_create_call(channel, NULL, 0, queue,
               grpc_slice_from_static_string(FIXTURE_ECHO), NULL,
               gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                            gpr_time_from_millis(5000, GPR_TIMESPAN)), NULL);

    memset(value, 'x', 2000);
    value[2000] = '\0';
    request.value = value;
    message = rpc_message_pack(&request.base);
    grpc_metadata_array_init(&initial);
    grpc_metadata_array_init(&trailing);
    code = GRPC_STATUS_OK;

    memset(ops, 0, sizeof(ops));
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[1].op = GRPC_OP_SEND_MESSAGE;
    ops[1].data.send_message.send_message = message;
    ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    ops[3].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    ops[3].data.recv_status_on_client.trailing_metadata = &trailing;
    ops[3].data.recv_status_on_client.status = &code;
    ops[3].data.recv_status_on_client.status_details = &details;

    ops[4].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[4].data.recv_initial_metadata.recv_initial_metadata = &initial;

    ck_assert_int_eq(grpc_call_start_batch(call, ops, 5, call, NULL),
                     GRPC_CALL_OK);
    grpc_completion_queue_pluck(queue, call,
                                gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);

    ck_assert_int_eq(code, GRPC_STATUS_UNIMPLEMENTED);

    grpc_slice_unref(details);
    grpc_metadata_array_destroy(&initial);
    grpc_metadata_array_destroy(&trailing);
    grpc_byte_buffer_destroy(message);
    grpc_call_unref(call);
    grpc_completion_queue_shutdown(queue);
    grpc_completion_queue_pluck(queue, NULL,
                                gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_completion_queue_destroy(queue);
    grpc_channel_destroy(channel);

    stop();
}
END_TEST


/* tests: streams */


START_TEST(stream)
{
    int                n;
    char              *value;
    rpc_result_t       result;
    rpc_stream_t      *s;
    ProtobufCMessage  *message;

    start();

    s = fixture_subscribe(&f, "20 3", 5000);

    for (n = 0; (message = rpc_stream_next(s)) != NULL; n++) {
        ck_assert_int_eq(((MyService__EchoResponse *) message)->index, n);
        protobuf_c_message_free_unpacked(message, NULL);
    }

    ck_assert_int_eq(n, 4);
    rpc_stream_finish(s, &result);
    ck_assert_int_eq(result.code, GRPC_STATUS_OK);

    value = rpc_metadata_find(&result.initial, "x-stream");
    ck_assert_str_eq(value, "yes");
    free(value);
    value = rpc_metadata_find(&result.trailing, "x-end");
    ck_assert_str_eq(value, "yes");
    free(value);
    rpc_result_free(&result);

    fixture_wait(&probe.done, 1);
    ck_assert_int_eq(probe.cancelled, 0);
    stop();
}
END_TEST


START_TEST(stream_cancel)
{
    int64_t            began;
    rpc_result_t       result;
    rpc_stream_t      *s;
    ProtobufCMessage  *message;

    start();

    s = fixture_subscribe(&f, "60000 3", -1);
    message = rpc_stream_next(s);
    ck_assert_ptr_nonnull(message);
    protobuf_c_message_free_unpacked(message, NULL);

    began = rpc_now();
    rpc_stream_cancel(s);
    fixture_wait(&probe.done, 1);
    ck_assert_int_lt(rpc_now() - began, 1000);
    ck_assert_int_eq(probe.cancelled, 1);

    ck_assert_ptr_null(rpc_stream_next(s));
    rpc_stream_finish(s, &result);
    ck_assert_int_eq(result.code, GRPC_STATUS_CANCELLED);
    rpc_result_free(&result);

    stop();
}
END_TEST


/* Not one message read: finish() has to cope with what is under way. */

START_TEST(stream_finish_at_once)
{
    int            i;
    rpc_result_t   result;

    start();

    for (i = 0; i < 20; i++) {
        rpc_stream_finish(fixture_subscribe(&f, "1 1000", -1), &result);
        ck_assert_int_eq(result.code, GRPC_STATUS_CANCELLED);
        rpc_result_free(&result);
    }

    stop();
    ck_assert_int_eq(probe.opened, probe.done);
}
END_TEST


START_TEST(deadline)
{
    int64_t            began;
    rpc_result_t       result;
    rpc_stream_t      *s;

    start();
    connect_client();

    began = rpc_now();
    s = fixture_subscribe(&f, "0 0", 300);
    ck_assert_ptr_null(rpc_stream_next(s));
    rpc_stream_finish(s, &result);
    ck_assert_int_eq(result.code, GRPC_STATUS_DEADLINE_EXCEEDED);
    ck_assert_int_ge(rpc_now() - began, 290);
    ck_assert_int_lt(rpc_now() - began, 2000);
    rpc_result_free(&result);

    fixture_wait(&probe.done, 1);
    ck_assert_int_eq(probe.cancelled, 1);
    stop();
}
END_TEST


START_TEST(parallel_streams)
{
    int                i, n;
    rpc_result_t       result;
    rpc_stream_t      *s[200];
    ProtobufCMessage  *message;

    start();

    for (i = 0; i < 200; i++) {
        s[i] = fixture_subscribe(&f, "50 2", 30000);
    }

    fixture_wait(&probe.opened, 200);

    for (i = 0; i < 200; i++) {
        for (n = 0; (message = rpc_stream_next(s[i])) != NULL; n++) {
            protobuf_c_message_free_unpacked(message, NULL);
        }

        ck_assert_int_eq(n, 3);
        rpc_stream_finish(s[i], &result);
        ck_assert_int_eq(result.code, GRPC_STATUS_OK);
        rpc_result_free(&result);
    }

    fixture_wait(&probe.done, 200);
    stop();
}
END_TEST


static void *
parallel_thread(void *data)
{
    int                       i;
    char                      value[32];
    rpc_result_t              result;
    MyService__EchoResponse  *response;

    for (i = 0; i < 25; i++) {
        snprintf(value, sizeof(value), "%d %d", *(int *) data, i);
        response = fixture_echo(&f, value, 30000, &result);

        if (response == NULL || strcmp(response->client_value, value) != 0) {
            return "failed";
        }

        fixture_response_free(response);
        rpc_result_free(&result);
    }

    return NULL;
}


START_TEST(parallel_unary)
{
    int        i, numbers[8];
    void      *failed;
    pthread_t  threads[8];

    start();

    for (i = 0; i < 8; i++) {
        numbers[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, parallel_thread,
                                        &numbers[i]), 0);
    }

    for (i = 0; i < 8; i++) {
        pthread_join(threads[i], &failed);
        ck_assert_ptr_null(failed);
    }

    stop();
    ck_assert_int_eq(probe.done, 200);
}
END_TEST


/* tests: deferred answers */


static grpc_status_code
call_login(int64_t timeout)
{
    rpc_result_t             result;
    grpc_status_code         code;
    ProtobufCMessage        *response;
    MyService__LoginRequest  request = MY_SERVICE__LOGIN_REQUEST__INIT;

    response = rpc_client_unary(f.client, FIXTURE_LOGIN, NULL, 0, timeout,
                                &request.base,
                                &my_service__login_response__descriptor,
                                &result);
    code = result.code;
    my_service__login_response__free_unpacked(
        (MyService__LoginResponse *) response, NULL);
    rpc_result_free(&result);

    return code;
}


START_TEST(deferred)
{
    start();

    atomic_store(&probe.release, 1);
    ck_assert_int_eq(call_login(5000), GRPC_STATUS_OK);
    fixture_wait(&probe.done, 1);
    ck_assert_int_eq(probe.cancelled, 0);

    stop();
}
END_TEST


START_TEST(deferred_deadline)
{
    start();
    connect_client();

    ck_assert_int_eq(call_login(300), GRPC_STATUS_DEADLINE_EXCEEDED);
    fixture_wait(&probe.cancelled, 1);

    /* the call lives until its thread has answered */

    ck_assert_int_eq(probe.done, 0);
    atomic_store(&probe.release, 1);
    fixture_wait(&probe.done, 1);

    stop();
}
END_TEST


/* tests: server */


static void *
login_thread(void *data)
{
    *(grpc_status_code *) data = call_login(30000);

    return NULL;
}


static void *
release_thread(void *data)
{
    (void) data;

    usleep(200000);
    atomic_store(&probe.release, 1);

    return NULL;
}


START_TEST(drain_lets_calls_finish)
{
    pthread_t         thread, release;
    grpc_status_code  code;

    start();

    code = GRPC_STATUS_UNKNOWN;
    ck_assert_int_eq(pthread_create(&thread, NULL, login_thread, &code), 0);
    fixture_wait(&probe.opened, 1);
    ck_assert_int_eq(pthread_create(&release, NULL, release_thread, NULL), 0);

    ck_assert_int_eq(rpc_server_stop(f.server, 10000), 0);
    ck_assert_int_eq(probe.done, 1);

    pthread_join(thread, NULL);
    pthread_join(release, NULL);
    ck_assert_int_eq(code, GRPC_STATUS_OK);

    fixture_stop(&f, 0);
}
END_TEST


START_TEST(grace_cancels)
{
    int64_t        began;
    rpc_result_t   result;
    rpc_stream_t  *s;

    start();

    s = fixture_subscribe(&f, "0 0", -1);
    fixture_wait(&probe.opened, 1);

    began = rpc_now();
    ck_assert_int_eq(rpc_server_stop(f.server, 200), 1);
    ck_assert_int_ge(rpc_now() - began, 190);
    ck_assert_int_lt(rpc_now() - began, 3000);
    ck_assert_int_eq(probe.cancelled, 1);
    ck_assert_int_eq(probe.done, 1);

    ck_assert_ptr_null(rpc_stream_next(s));
    rpc_stream_finish(s, &result);
    ck_assert_int_ne(result.code, GRPC_STATUS_OK);
    rpc_result_free(&result);

    fixture_stop(&f, 0);
}
END_TEST


/* A peer that has nothing to say and never answers the PING of the GOAWAY. */

START_TEST(silent_peer)
{
    int                 fd;
    char                buffer[64];
    int64_t             began;
    struct sockaddr_in  sin;
    const char          preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                    "\0\0\0\4\0\0\0\0\0";

    start();

    fd = socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0);
    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((uint16_t) f.port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    ck_assert_int_eq(connect(fd, (struct sockaddr *) &sin, sizeof(sin)), 0);
    ck_assert_int_eq(write(fd, preface, sizeof(preface) - 1),
                     (int) sizeof(preface) - 1);
    ck_assert_int_gt(read(fd, buffer, sizeof(buffer)), 0);

    began = rpc_now();
    ck_assert_int_eq(rpc_server_stop(f.server, 30000), 0);
    ck_assert_int_lt(rpc_now() - began, 5000);

    close(fd);
    fixture_stop(&f, 0);
}
END_TEST


static void
fire(void *data)
{
    atomic_fetch_add((_Atomic int *) data, 1);
}


static void
set_timers(void *data)
{
    rpc_timer_t  *timers = data;

    timers[0].fire = fire;
    timers[0].data = &probe.fired;
    timers[1] = timers[0];
    timers[2] = timers[0];

    rpc_timer_set(f.server, &timers[0], 10);
    rpc_timer_set(f.server, &timers[1], 5);
    rpc_timer_set(f.server, &timers[2], FAR);
    rpc_timer_set(f.server, &timers[2], 20);        /* moved */
    rpc_timer_clear(f.server, &timers[1]);
}


START_TEST(posts_and_timers)
{
    int           i;
    rpc_timer_t   timers[3];
    _Atomic int   posted;

    start();

    atomic_init(&posted, 0);
    memset(timers, 0, sizeof(timers));

    for (i = 0; i < 1000; i++) {
        ck_assert_int_eq(rpc_server_post(f.server, fire, &posted), 0);
    }

    fixture_wait(&posted, 1000);

    ck_assert_int_eq(rpc_server_post(f.server, set_timers, timers), 0);
    fixture_wait(&probe.fired, 2);

    ck_assert_int_eq(rpc_server_post(f.server, fire, &posted), 0);
    rpc_server_stop(f.server, 1000);
    ck_assert_int_eq(posted, 1001);
    ck_assert_int_eq(probe.fired, 2);
    ck_assert_int_eq(rpc_server_post(f.server, fire, &posted), -1);

    fixture_stop(&f, 0);
}
END_TEST


START_TEST(never_started)
{
    rpc_server_t                     *server;
    const ProtobufCServiceDescriptor *api;

    api = &my_service__my_service_api__descriptor;

    server = rpc_server_create(NULL);
    ck_assert_ptr_nonnull(server);
    ck_assert_int_eq(rpc_server_unary(server, api, "NoSuch", echo, NULL), -1);
    ck_assert_int_eq(rpc_server_unary(server, api, "Login", echo, NULL), 0);
    ck_assert_int_eq(rpc_server_unary(server, api, "Login", echo, NULL), -1);
    ck_assert_int_eq(rpc_server_listen(server, "999.0.0.1:1", NULL), 0);
    ck_assert_int_gt(rpc_server_listen(server, "127.0.0.1:0", NULL), 0);
    rpc_server_free(server);

    server = rpc_server_create(NULL);
    ck_assert_ptr_nonnull(server);
    rpc_server_free(server);
}
END_TEST


START_TEST(port_in_use)
{
    char           address[64];
    rpc_server_t  *server;

    start();

    snprintf(address, sizeof(address), "127.0.0.1:%d", f.port);
    server = rpc_server_create(NULL);
    ck_assert_int_eq(rpc_server_listen(server, address, NULL), 0);
    rpc_server_free(server);

    stop();
}
END_TEST


/* The core would take the path away without a word. */

START_TEST(unix_in_use)
{
    char           path[64], address[80];
    rpc_server_t  *one, *two;

    strcpy(path, "/tmp/test_rpc.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
    snprintf(address, sizeof(address), "unix:%s/socket", path);

    one = rpc_server_create(NULL);
    two = rpc_server_create(NULL);

    ck_assert_int_eq(rpc_server_listen(one, address, NULL), 1);
    ck_assert_int_eq(rpc_server_listen(two, address, NULL), 0);
    rpc_server_free(one);
    ck_assert_int_eq(rpc_server_listen(two, address, NULL), 1);
    rpc_server_free(two);

    unlink(address + strlen("unix:"));
    rmdir(path);
}
END_TEST


START_TEST(server_away)
{
    int                       port;
    char                      address[64];
    rpc_result_t              result;
    rpc_server_t             *server;
    MyService__EchoResponse  *response;

    start();

    /* its port is refused now, and taken by another server soon after */

    port = f.port;
    rpc_server_stop(f.server, 1000);
    ck_assert_ptr_null(fixture_echo(&f, "x", 5000, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_UNAVAILABLE);
    rpc_result_free(&result);

    server = rpc_server_create(NULL);
    ck_assert_int_eq(rpc_server_unary(server,
                         &my_service__my_service_api__descriptor,
                         "MyServiceEcho", echo, NULL), 0);
    snprintf(address, sizeof(address), "127.0.0.1:%d", port);
    ck_assert_int_eq(rpc_server_listen(server, address, NULL), port);
    ck_assert_int_eq(rpc_server_start(server), 0);

    for ( ;; ) {
        response = fixture_echo(&f, "x", 5000, &result);

        if (response != NULL) {
            break;
        }

        ck_assert_int_eq(result.code, GRPC_STATUS_UNAVAILABLE);
        rpc_result_free(&result);
        usleep(10000);
    }

    fixture_response_free(response);
    rpc_result_free(&result);
    rpc_server_free(server);
    fixture_stop(&f, 0);
}
END_TEST


static Suite *
rpc_suite(void)
{
    Suite  *suite;
    TCase  *tc;

    suite = suite_create("rpc");

    tc = tcase_create("unary");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, unary);
    tcase_add_test(tc, error_status);
    tcase_add_test(tc, metadata);
    tcase_add_test(tc, illegal_metadata);
    tcase_add_test(tc, handler_mistakes);
    tcase_add_test(tc, unknown_method);
    tcase_add_test(tc, parallel_unary);
    suite_add_tcase(suite, tc);

    tc = tcase_create("bad requests");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, bad_request);
    tcase_add_test(tc, oversize);
    tcase_add_test(tc, oversize_metadata);
    tcase_add_test(tc, amplification);
    tcase_add_test(tc, compressed);
    suite_add_tcase(suite, tc);

    tc = tcase_create("streams");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, stream);
    tcase_add_test(tc, stream_cancel);
    tcase_add_test(tc, stream_finish_at_once);
    tcase_add_test(tc, deadline);
    tcase_add_test(tc, parallel_streams);
    suite_add_tcase(suite, tc);

    tc = tcase_create("deferred");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, deferred);
    tcase_add_test(tc, deferred_deadline);
    suite_add_tcase(suite, tc);

    tc = tcase_create("server");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, drain_lets_calls_finish);
    tcase_add_test(tc, grace_cancels);
    tcase_add_test(tc, silent_peer);
    tcase_add_test(tc, posts_and_timers);
    tcase_add_test(tc, never_started);
    tcase_add_test(tc, port_in_use);
    tcase_add_test(tc, unix_in_use);
    tcase_add_test(tc, server_away);
    suite_add_tcase(suite, tc);

    return suite;
}


int
main(void)
{
    int       failed;
    SRunner  *runner;

    runner = srunner_create(rpc_suite());
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
