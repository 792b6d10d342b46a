/* Unary calls over 127.0.0.1, and requests that are refused. */

#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>
#include <grpc/grpc.h>

#include "rpc/message.h"
#include "rpc/t/service.h"


START_TEST(unary)
{
    rpc_result_t              result;
    MyService__EchoResponse  *response;

    service_start();

    response = fixture_echo(&service, "h\xc3\xa4llo", 5000, &result);
    ck_assert_int_eq(result.code, GRPC_STATUS_OK);
    ck_assert_str_eq(result.message, "");
    ck_assert_str_eq(response->client_value, "h\xc3\xa4llo");
    fixture_response_free(response);
    rpc_result_free(&result);

    fixture_wait(&service_probe.done, 1);
    service_stop();
}
END_TEST


START_TEST(error_status)
{
    char          *value;
    rpc_result_t   result;

    service_start();

    ck_assert_ptr_null(fixture_echo(&service, "fail", 5000, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_INVALID_ARGUMENT);
    ck_assert_str_eq(result.message, "100% \xc3\xa9t\xc3\xa9\nnext");
    ck_assert_uint_eq(result.initial.count, 0);     /* Trailers-Only */

    value = rpc_metadata_find(&result.trailing, "x-why");
    ck_assert_str_eq(value, "bad");
    free(value);
    rpc_result_free(&result);

    service_stop();
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

    service_start();

    request.value = "metadata";
    response = (MyService__EchoResponse *)
        rpc_client_unary(service.client, FIXTURE_ECHO, md, 2, 5000,
                         &request.base,
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

    service_stop();
}
END_TEST


START_TEST(illegal_metadata)
{
    rpc_result_t            result;
    const rpc_metadata_t    md = { "session-id", "a\nb" };
    MyService__EchoRequest  request = MY_SERVICE__ECHO_REQUEST__INIT;

    service_start();

    ck_assert_ptr_null(rpc_client_unary(service.client, FIXTURE_ECHO,
                           &md, 1, 5000, &request.base,
                           &my_service__echo_response__descriptor, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_INTERNAL);
    rpc_result_free(&result);

    ck_assert_ptr_null(rpc_client_stream(service.client, FIXTURE_SUBSCRIBE,
                           &md, 1, 5000, &request.base,
                           &my_service__echo_response__descriptor));

    service_stop();
}
END_TEST


START_TEST(handler_mistakes)
{
    rpc_result_t  result;

    service_start();

    ck_assert_ptr_null(fixture_echo(&service, "forget", 5000, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_INTERNAL);
    ck_assert_str_eq(result.message, "method gave no answer");
    rpc_result_free(&result);

    ck_assert_ptr_null(fixture_echo(&service, "bad response", 5000, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_INTERNAL);
    rpc_result_free(&result);

    service_stop();
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

    service_start();

    for (i = 0; i < 40; i++) {
        ck_assert_ptr_null(rpc_client_unary(service.client, paths[i % 4],
                               NULL, 0, 5000, &request.base,
                               &my_service__echo_response__descriptor,
                               &result));
        ck_assert_int_eq(result.code, GRPC_STATUS_UNIMPLEMENTED);
        rpc_result_free(&result);
    }

    service_stop();
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
        rpc_client_unary(service.client, FIXTURE_ECHO, NULL, 0, 5000,
                         &request.base,
                         &my_service__echo_response__descriptor, &result);

    code = result.code;
    fixture_response_free(response);
    rpc_result_free(&result);

    return code;
}


START_TEST(bad_request)
{
    rpc_result_t  result;

    service_start();

    /* the positive control: a good string by the same way */
    ck_assert_int_eq(raw_request(2, "\2ok", 3), GRPC_STATUS_OK);

    ck_assert_int_eq(raw_request(2, "\3a\0b", 4),
                     GRPC_STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(raw_request(2, "\3a\xff" "b", 4), GRPC_STATUS_INTERNAL);
    ck_assert_int_eq(raw_request(2, "\4abc", 4), GRPC_STATUS_INTERNAL);
    ck_assert_int_eq(raw_request(0, "\x80", 1), GRPC_STATUS_INTERNAL);
    ck_assert_int_eq(raw_request(0, "\1", 1), GRPC_STATUS_INTERNAL);
    ck_assert_int_eq(raw_request(3, "", 0), GRPC_STATUS_INTERNAL);

    ck_assert_ptr_null(fixture_echo(&service, "\xed\xa0\x80", 5000, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_INTERNAL);
    rpc_result_free(&result);

    service_stop();
}
END_TEST


START_TEST(oversize)
{
    char                     *value;
    rpc_result_t              result;
    fixture_methods_t         methods = { .echo = service_echo };
    MyService__EchoResponse  *response;

    methods.options.max_message = 10000;
    fixture_start(&service, &methods);

    value = malloc(20001);
    memset(value, 'x', 20000);
    value[20000] = '\0';

    ck_assert_ptr_null(fixture_echo(&service, value, 5000, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_RESOURCE_EXHAUSTED);
    rpc_result_free(&result);

    value[9990] = '\0';
    response = fixture_echo(&service, value, 5000, &result);
    ck_assert_int_eq(result.code, GRPC_STATUS_OK);
    ck_assert_str_eq(response->client_value, value);
    fixture_response_free(response);
    rpc_result_free(&result);
    free(value);

    service_stop();
}
END_TEST


START_TEST(oversize_metadata)
{
    char                    *value;
    rpc_result_t             result;
    rpc_metadata_t           md;
    fixture_methods_t        methods = { .echo = service_echo };
    MyService__EchoRequest   request = MY_SERVICE__ECHO_REQUEST__INIT;

    methods.options.max_metadata = 4096;
    fixture_start(&service, &methods);

    value = malloc(8001);
    memset(value, 'x', 8000);
    value[8000] = '\0';
    md.key = "x-long";
    md.value = value;

    ck_assert_ptr_null(rpc_client_unary(service.client, FIXTURE_ECHO,
                           &md, 1, 5000, &request.base,
                           &my_service__echo_response__descriptor, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_RESOURCE_EXHAUSTED);
    rpc_result_free(&result);
    free(value);

    service_stop();
}
END_TEST


/* A message of many empty unknown fields needs far more memory unpacked. */

START_TEST(amplification)
{
    size_t                         i, n;
    rpc_result_t                   result;
    fixture_methods_t              methods = { .echo = service_echo };
    MyService__EchoRequest         request = MY_SERVICE__ECHO_REQUEST__INIT;
    ProtobufCMessageUnknownField  *fields;

    methods.options.max_message = 100000;
    fixture_start(&service, &methods);

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

    ck_assert_ptr_null(rpc_client_unary(service.client, FIXTURE_ECHO,
                           NULL, 0, 5000, &request.base,
                           &my_service__echo_response__descriptor, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_RESOURCE_EXHAUSTED);
    ck_assert_str_eq(result.message,
                     "request message needs too much memory");
    rpc_result_free(&result);
    free(fields);

    service_stop();
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

    service_start();

    arg.type = GRPC_ARG_INTEGER;
    arg.key = GRPC_COMPRESSION_CHANNEL_DEFAULT_ALGORITHM;
    arg.value.integer = GRPC_COMPRESS_GZIP;
    args.num_args = 1;
    args.args = &arg;

    snprintf(target, sizeof(target), "127.0.0.1:%d", service.port);
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

    service_stop();
}
END_TEST


/* tests: streams */


static void *
parallel_thread(void *data)
{
    int                       i;
    char                      value[32];
    rpc_result_t              result;
    MyService__EchoResponse  *response;

    for (i = 0; i < 25; i++) {
        snprintf(value, sizeof(value), "%d %d", *(int *) data, i);
        response = fixture_echo(&service, value, 30000, &result);

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

    service_start();

    for (i = 0; i < 8; i++) {
        numbers[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, parallel_thread,
                                        &numbers[i]), 0);
    }

    for (i = 0; i < 8; i++) {
        pthread_join(threads[i], &failed);
        ck_assert_ptr_null(failed);
    }

    service_stop();
    ck_assert_int_eq(service_probe.done, 200);
}
END_TEST


int
main(void)
{
    int       failed;
    TCase    *tc;
    Suite    *suite;
    SRunner  *runner;

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

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
