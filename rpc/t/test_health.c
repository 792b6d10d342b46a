/* grpc.health.v1.Health of a service: Check, Watch, List, shutdown. */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <check.h>

#include "health.pb-c.h"

#include "rpc/client.h"
#include "rpc/health.h"
#include "rpc/t/fixture.h"


#define SERVICE  "my_service.MyServiceAPI"

#define STATUS(name)                                                          \
    GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name


static rpc_server_t  *server;
static rpc_client_t  *client;
static rpc_health_t  *health;
static _Atomic int    posted;


static void
annotate(rpc_call_t *call, void *data)
{
    ck_assert_int_eq(rpc_call_add_initial(call, "session-id", data), 0);
}


static void
start(void)
{
    int   port;
    char  target[64];

    server = rpc_server_create(NULL);
    ck_assert_ptr_nonnull(server);
    health = rpc_health_create(server, SERVICE, annotate, "owner");
    ck_assert_ptr_nonnull(health);

    port = rpc_server_listen(server, "127.0.0.1:0", NULL);
    ck_assert_int_gt(port, 0);
    ck_assert_int_eq(rpc_server_start(server), 0);

    snprintf(target, sizeof(target), "127.0.0.1:%d", port);
    client = rpc_client_create(target, NULL);
    ck_assert_ptr_nonnull(client);
}


static void
stop(void)
{
    ck_assert_int_eq(rpc_server_stop(server, 10000), 0);
    rpc_client_free(client);
    rpc_health_free(health);
    rpc_server_free(server);
}


static void
set(void *data)
{
    rpc_health_set(health, data != NULL);
    atomic_fetch_add(&posted, 1);
}


static void
drain(void *data)
{
    (void) data;

    rpc_health_drain(health);
    atomic_fetch_add(&posted, 1);
}


static void
post(void (*fn)(void *data), void *data)
{
    int  n;

    n = atomic_load(&posted);
    ck_assert_int_eq(rpc_server_post(server, fn, data), 0);
    fixture_wait(&posted, n + 1);
}


/* The status as a number, or minus the code of the call. */

static int
check(const char *service)
{
    int                                      status;
    char                                    *owner;
    rpc_result_t                             result;
    Grpc__Health__V1__HealthCheckRequest     request;
    Grpc__Health__V1__HealthCheckResponse   *response;

    grpc__health__v1__health_check_request__init(&request);
    request.service = (char *) service;

    response = (Grpc__Health__V1__HealthCheckResponse *)
        rpc_client_unary(client, "/grpc.health.v1.Health/Check", NULL, 0, 5000,
            &request.base, &grpc__health__v1__health_check_response__descriptor,
            &result);

    if (response == NULL) {
        status = -(int) result.code;

    } else {
        status = response->status;
        owner = rpc_metadata_find(&result.initial, "session-id");
        ck_assert_str_eq(owner, "owner");
        free(owner);
    }

    grpc__health__v1__health_check_response__free_unpacked(response, NULL);
    rpc_result_free(&result);

    return status;
}


static rpc_stream_t *
watch(const char *service)
{
    rpc_stream_t                          *stream;
    Grpc__Health__V1__HealthCheckRequest   request;

    grpc__health__v1__health_check_request__init(&request);
    request.service = (char *) service;

    stream = rpc_client_stream(client, "/grpc.health.v1.Health/Watch", NULL, 0,
                 -1, &request.base,
                 &grpc__health__v1__health_check_response__descriptor);
    ck_assert_ptr_nonnull(stream);

    return stream;
}


static int
next(rpc_stream_t *stream)
{
    int                status;
    ProtobufCMessage  *message;

    message = rpc_stream_next(stream);

    if (message == NULL) {
        return -1;
    }

    status = ((Grpc__Health__V1__HealthCheckResponse *) message)->status;
    protobuf_c_message_free_unpacked(message, NULL);

    return status;
}


static int
finish(rpc_stream_t *stream)
{
    int           code;
    rpc_result_t  result;

    rpc_stream_finish(stream, &result);
    code = (int) result.code;
    rpc_result_free(&result);

    return code;
}


START_TEST(checks)
{
    start();

    ck_assert_int_eq(check(""), STATUS(NOT_SERVING));
    post(set, "");
    ck_assert_int_eq(check(""), STATUS(SERVING));
    ck_assert_int_eq(check(SERVICE), STATUS(SERVING));
    ck_assert_int_eq(check("other.Service"), -GRPC_STATUS_NOT_FOUND);
    post(set, NULL);
    ck_assert_int_eq(check(SERVICE), STATUS(NOT_SERVING));

    stop();
}
END_TEST


START_TEST(watches)
{
    int            i;
    rpc_stream_t  *a, *b, *unknown;

    start();

    a = watch("");
    b = watch(SERVICE);
    unknown = watch("other.Service");

    ck_assert_int_eq(next(a), STATUS(NOT_SERVING));
    ck_assert_int_eq(next(b), STATUS(NOT_SERVING));
    ck_assert_int_eq(next(unknown), STATUS(SERVICE_UNKNOWN));

    for (i = 0; i < 3; i++) {
        post(set, "");
        post(set, "");          /* not a change */
        ck_assert_int_eq(next(a), STATUS(SERVING));
        ck_assert_int_eq(next(b), STATUS(SERVING));
        post(set, NULL);
        ck_assert_int_eq(next(a), STATUS(NOT_SERVING));
        ck_assert_int_eq(next(b), STATUS(NOT_SERVING));
    }

    /* one watcher leaves, the other is still told */

    ck_assert_int_eq(finish(a), GRPC_STATUS_CANCELLED);
    post(set, "");
    ck_assert_int_eq(next(b), STATUS(SERVING));

    /* the last status comes before the end; the stop waits for nobody */

    post(drain, NULL);
    post(set, "");
    ck_assert_int_eq(check(""), STATUS(NOT_SERVING));
    ck_assert_int_eq(next(b), STATUS(NOT_SERVING));
    ck_assert_int_eq(next(b), -1);
    ck_assert_int_eq(finish(b), GRPC_STATUS_UNAVAILABLE);
    ck_assert_int_eq(next(unknown), -1);
    ck_assert_int_eq(finish(unknown), GRPC_STATUS_UNAVAILABLE);

    a = watch("");
    ck_assert_int_eq(next(a), STATUS(NOT_SERVING));
    ck_assert_int_eq(next(a), -1);
    ck_assert_int_eq(finish(a), GRPC_STATUS_UNAVAILABLE);

    stop();
}
END_TEST


/* Changes faster than they are written: the last one counts. */

START_TEST(fast_changes)
{
    int            i, status;
    rpc_stream_t  *stream;

    start();

    stream = watch("");
    ck_assert_int_eq(next(stream), STATUS(NOT_SERVING));

    for (i = 0; i < 1001; i++) {
        ck_assert_int_eq(rpc_server_post(server, set, i % 2 ? NULL : ""), 0);
    }

    fixture_wait(&posted, 1001);
    post(drain, NULL);

    for (i = 0; i >= 0; i = next(stream)) {
        status = i;
    }

    ck_assert_int_eq(status, STATUS(NOT_SERVING));
    ck_assert_int_eq(finish(stream), GRPC_STATUS_UNAVAILABLE);

    stop();
}
END_TEST


START_TEST(too_many)
{
    int            i;
    rpc_stream_t  *streams[257];

    start();

    for (i = 0; i < 257; i++) {
        streams[i] = watch("");

        if (i < 256) {
            ck_assert_int_eq(next(streams[i]), STATUS(NOT_SERVING));
        }
    }

    ck_assert_int_eq(next(streams[256]), -1);
    ck_assert_int_eq(finish(streams[256]), GRPC_STATUS_RESOURCE_EXHAUSTED);

    for (i = 0; i < 256; i++) {
        finish(streams[i]);
    }

    stop();
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tc;
    SRunner  *runner;

    suite = suite_create("health");
    tc = tcase_create("health");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, checks);
    tcase_add_test(tc, watches);
    tcase_add_test(tc, fast_changes);
    tcase_add_test(tc, too_many);
    suite_add_tcase(suite, tc);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
