/* The program itself: its answers word for word, its life and its end. */

#include <check.h>
#include <fcntl.h>
#include <jwt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "health.pb-c.h"
#include "instance.h"
#include "rpc/server.h"
#include "rpc/t/lasted.h"


#define SECRET        "0123456789abcdef0123456789abcdef"
#define OTHER_SECRET  "0123456789abcdef0123456789abcdeF"

#define HEALTH(status)                                                        \
    GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##status


typedef struct {
    const char        *authorization;
    const char        *session;
    grpc_status_code   code;
    const char        *message;
} auth_case_t;


static void assert_message(ProtobufCMessage *message, int32_t index,
    const char *session);
static char *make_token(const char *secret, const char *session, long life);
static char *make_key_file(void);


static instance_t         instance;
static const char *const  plain[] = { "--name", "pod-1", NULL };


START_TEST(test_echo)
{
    int       i;
    answer_t  answer;

    instance_start(&instance, plain);

    for (i = 0; i < 3; i++) {
        answer = call_echo(&instance, NULL, "s1");
        assert_served(answer, "s1");
    }

    ck_assert_int_eq(instance_stop(&instance), 0);
}
END_TEST


START_TEST(test_refusals)
{
    char            id[258];
    rpc_metadata_t  two[] = { { "session-id", "s1" }, { "session-id", "s1" } };

    instance_start(&instance, plain);

    assert_answer(call_echo(&instance, NULL, NULL), 3,
                  "session-id header is required");
    assert_answer(call_echo(&instance, NULL, ""), 3,
                  "session-id header is required");
    assert_answer(call_shutdown(&instance, NULL, NULL), 3,
                  "session-id header is required");
    assert_answer(call_echo(&instance, NULL, "two words"), 3,
                  "invalid session-id");

    memset(id, 'x', 257);
    id[257] = '\0';
    assert_answer(call_echo(&instance, NULL, id), 3, "invalid session-id");

    assert_answer(call_method(&instance, "MyServiceEcho", two, 2), 3,
                  "more than one session-id header");
    assert_answer(call_shutdown(&instance, NULL, "s1"), 7,
                  "Server session is not set");

    /* none of them has set the session */

    id[256] = '\0';
    assert_served(call_echo(&instance, NULL, id), id);

    ck_assert_int_eq(instance_stop(&instance), 0);
}
END_TEST


/* The refusal of another session names the owner in a trailer, too. */

static void
assert_owned(answer_t answer, int code, const char *message,
    const char *owner)
{
    assert_answer(answer, code, message);
    ck_assert_str_eq(answer.refused, owner);
    ck_assert_str_eq(answer.leaving, "");
}


START_TEST(test_conflict)
{
    answer_t       answer;
    rpc_stream_t  *stream;

    instance_start(&instance, plain);

    answer = call_shutdown(&instance, NULL, "s2");
    assert_answer(answer, 7, "Server session is not set");
    ck_assert_str_eq(answer.refused, "");

    assert_served(call_echo(&instance, NULL, "s1"), "s1");

    assert_owned(call_echo(&instance, NULL, "s2"), 13,
                 "Session conflict: was=s1, now=s2", "s1");
    assert_owned(call_shutdown(&instance, NULL, "s2"), 7,
                 "Client session mismatch: client=s2, server=s1", "s1");

    stream = call_subscribe(&instance, NULL, "s2", PATIENCE);
    ck_assert_ptr_null(rpc_stream_next(stream));
    assert_owned(stream_end(stream), 13, "Session conflict: was=s1, now=s2",
                 "s1");

    stream = call_subscribe(&instance, NULL, NULL, PATIENCE);
    ck_assert_ptr_null(rpc_stream_next(stream));
    assert_answer(stream_end(stream), 3, "session-id header is required");

    assert_served(call_echo(&instance, NULL, "s1"), "s1");

    ck_assert_int_eq(instance_stop(&instance), 0);
}
END_TEST


START_TEST(test_shutdown)
{
    int                            i;
    answer_t                       answer;
    MyService__ShutdownResponse   *response;

    for (i = 0; i < 50; i++) {
        instance_start(&instance, plain);

        assert_served(call_echo(&instance, NULL, "s1"), "s1");

        answer = call_shutdown(&instance, NULL, "s1");
        assert_answer(answer, 0, "");

        response = (MyService__ShutdownResponse *) answer.response;
        ck_assert_str_eq(response->pod_name, "pod-1");
        ck_assert_str_eq(response->server_session_id, "s1");
        ck_assert_str_eq(response->client_session_id, "s1");
        ck_assert_str_eq(response->server_method, "MyServiceShutdown");
        ck_assert_int_eq(response->index, 0);

        ck_assert_int_eq(instance_wait(&instance), 0);
    }
}
END_TEST


START_TEST(test_subscribe)
{
    int32_t            i;
    int64_t            start;
    rpc_stream_t      *stream;
    const char *const  args[] = {
        "--name", "pod-1", "--subscribe-interval", "50ms", NULL
    };

    instance_start(&instance, args);
    start = rpc_now();

    /* sets the session as Echo does */
    stream = call_subscribe(&instance, NULL, "s1", PATIENCE);

    for (i = 0; i < 5; i++) {
        assert_message(rpc_stream_next(stream), i, "s1");
    }

    lasted(start, 4 * 50);

    assert_answer(call_echo(&instance, NULL, "s2"), 13,
                  "Session conflict: was=s1, now=s2");
    assert_served(call_echo(&instance, NULL, "s1"), "s1");

    /* a cancel ends it on the instance */

    assert_answer(stream_end(stream), 1, "CANCELLED");
    instance_log_wait(&instance, "stream ended after");

    ck_assert_int_eq(instance_stop(&instance), 0);
}
END_TEST


START_TEST(test_two_streams)
{
    int            i;
    rpc_stream_t  *first, *second;

    instance_start(&instance, plain);

    first = call_subscribe(&instance, NULL, "s1", PATIENCE);
    second = call_subscribe(&instance, NULL, "s1", PATIENCE);
    assert_message(rpc_stream_next(first), 0, "s1");
    assert_message(rpc_stream_next(second), 0, "s1");

    for (i = 0; i < 20; i++) {
        assert_served(call_echo(&instance, NULL, "s1"), "s1");
    }

    ck_assert_str_eq(call_health(&instance).owner, "s1");

    /* Shutdown is answered; the streams end as it says */

    assert_answer(call_shutdown(&instance, NULL, "s1"), 0, "");
    ck_assert_ptr_null(rpc_stream_next(first));
    ck_assert_ptr_null(rpc_stream_next(second));
    assert_answer(stream_end(first), 14, "instance is shutting down");
    assert_answer(stream_end(second), 14, "instance is shutting down");

    ck_assert_int_eq(instance_wait(&instance), 0);
}
END_TEST


/* Polls until session "s2" gets in. */

static void
wait_free(int64_t at_least, int64_t start)
{
    answer_t  answer;

    do {
        answer = call_echo(&instance, NULL, "s2");

        if (answer.code == GRPC_STATUS_OK) {
            assert_served(answer, "s2");
            break;
        }

        assert_answer(answer, 13, "Session conflict: was=s1, now=s2");
        (void) poll(NULL, 0, 5);

    } while (rpc_now() - start < PATIENCE);

    ck_assert_int_eq(answer.code, GRPC_STATUS_OK);
    lasted(start, at_least);
}


START_TEST(test_ttl)
{
    int64_t            start;
    const char *const  args[] = {
        "--name", "pod-1", "--session-ttl", "200ms", NULL
    };

    instance_start(&instance, args);

    start = rpc_now();
    assert_served(call_echo(&instance, NULL, "s1"), "s1");
    wait_free(200, start);

    /* by its own timer, without a call */

    instance_log_wait(&instance, "session s2: expired");
    ck_assert_str_eq(call_health(&instance).owner, "");
    assert_answer(call_shutdown(&instance, NULL, "s2"), 7,
                  "Server session is not set");

    ck_assert_int_eq(instance_stop(&instance), 0);
}
END_TEST


START_TEST(test_ttl_stream)
{
    int32_t            i;
    int64_t            start;
    rpc_stream_t      *stream;
    const char *const  args[] = {
        "--name", "pod-1", "--session-ttl", "60ms",
        "--subscribe-interval", "100ms", NULL
    };

    instance_start(&instance, args);

    stream = call_subscribe(&instance, NULL, "s1", PATIENCE);

    for (i = 0; i < 4; i++) {
        assert_message(rpc_stream_next(stream), i, "s1");
    }

    assert_answer(call_echo(&instance, NULL, "s2"), 13,
                  "Session conflict: was=s1, now=s2");

    start = rpc_now();
    assert_answer(stream_end(stream), 1, "CANCELLED");
    wait_free(60, start);

    ck_assert_int_eq(instance_stop(&instance), 0);
}
END_TEST


/* the session ends then, however long it may be idle */
START_TEST(test_ends_told)
{
    int64_t         start;
    rpc_metadata_t  metadata[] = {
        { "session-id", "s1" }, { "session-ends", "300" }
    };

    instance_start(&instance, plain);

    start = rpc_now();
    assert_served(call_method(&instance, "MyServiceEcho", metadata, 2), "s1");
    wait_free(300, start);

    ck_assert_int_eq(instance_stop(&instance), 0);
}
END_TEST


/* a health answer says how long the session lasts from now on */
START_TEST(test_left)
{
    long            left;
    rpc_metadata_t  metadata[] = {
        { "session-id", "s1" }, { "session-ttl", "60000" }
    };

    instance_start(&instance, plain);

    ck_assert_str_eq(call_health(&instance).left, "");
    assert_served(call_method(&instance, "MyServiceEcho", metadata, 2), "s1");

    left = strtol(call_health(&instance).left, NULL, 10);
    ck_assert_int_le(left, 60000);
    ck_assert_int_gt(left, 0);

    ck_assert_int_eq(instance_stop(&instance), 0);
}
END_TEST


START_TEST(test_ttl_told)
{
    size_t           i;
    int64_t          start;
    answer_t         answer;
    rpc_metadata_t   metadata[] = {
        { "session-id", "s1" }, { "session-ttl", "300" }
    };
    rpc_metadata_t   bad[] = {
        { "session-id", "s2" }, { "session-ttl", "" }
    };
    static const char *const  values[] = {
        "", "0", "-1", "1s", " 1", "1 ", "0x1", "1.5",
        "99999999999999999999999999"
    };

    /* the default TTL of 30 minutes */
    instance_start(&instance, plain);

    start = rpc_now();
    answer = call_method(&instance, "MyServiceEcho", metadata, 2);
    assert_served(answer, "s1");
    wait_free(300, start);

    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        bad[1].value = values[i];
        answer = call_method(&instance, "MyServiceEcho", bad, 2);
        assert_served(answer, "s2");
    }

    ck_assert_str_eq(call_health(&instance).owner, "s2");

    ck_assert_int_eq(instance_stop(&instance), 0);
}
END_TEST


START_TEST(test_health)
{
    answer_t                                answer;
    rpc_stream_t                           *watch;
    ProtobufCMessage                       *message;
    Grpc__Health__V1__HealthCheckRequest    request
        = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;

    instance_start(&instance, plain);

    answer = call_health(&instance);
    assert_answer(answer, 0, "");
    ck_assert_str_eq(answer.owner, "");
    ck_assert_str_eq(answer.calls, "0");
    ck_assert_str_eq(answer.drain, "");

    assert_served(call_echo(&instance, NULL, "s1"), "s1");
    answer = call_health(&instance);
    ck_assert_str_eq(answer.owner, "s1");
    ck_assert_str_eq(answer.calls, "0");

    request.service = (char *) "my_service.MyServiceAPI";
    watch = rpc_client_stream(instance.client,
                "/grpc.health.v1.Health/Watch", NULL, 0, PATIENCE,
                &request.base,
                &grpc__health__v1__health_check_response__descriptor);

    message = rpc_stream_next(watch);
    ck_assert_ptr_nonnull(message);
    ck_assert_int_eq(((Grpc__Health__V1__HealthCheckResponse *)
                      message)->status, HEALTH(SERVING));
    protobuf_c_message_free_unpacked(message, NULL);

    assert_answer(call_shutdown(&instance, NULL, "s1"), 0, "");

    message = rpc_stream_next(watch);
    ck_assert_ptr_nonnull(message);
    ck_assert_int_eq(((Grpc__Health__V1__HealthCheckResponse *)
                      message)->status,
                     HEALTH(NOT_SERVING));
    protobuf_c_message_free_unpacked(message, NULL);

    (void) stream_end(watch);
    ck_assert_int_eq(instance_wait(&instance), 0);
}
END_TEST


/* the same as long as the process lives, another one for the next one */
START_TEST(test_instance_id)
{
    char  first[64];

    instance_start(&instance, plain);
    snprintf(first, sizeof(first), "%s", call_health(&instance).id);
    ck_assert_uint_eq(strlen(first), 32);
    ck_assert_str_eq(call_health(&instance).id, first);
    ck_assert_int_eq(instance_stop(&instance), 0);

    instance_start(&instance, plain);
    ck_assert_uint_eq(strlen(call_health(&instance).id), 32);
    ck_assert_str_ne(call_health(&instance).id, first);
    ck_assert_int_eq(instance_stop(&instance), 0);
}
END_TEST


START_TEST(test_sigterm)
{
    answer_t       answer;
    rpc_stream_t  *stream;

    instance_start(&instance, plain);

    stream = call_subscribe(&instance, NULL, "s1", PATIENCE);
    assert_message(rpc_stream_next(stream), 0, "s1");

    kill(instance.pid, SIGTERM);

    ck_assert_ptr_null(rpc_stream_next(stream));
    answer = stream_end(stream);
    assert_answer(answer, 14, "instance is shutting down");
    ck_assert_str_eq(answer.leaving, "1");
    ck_assert_int_eq(instance_wait(&instance), 0);
}
END_TEST


START_TEST(test_jwt)
{
    int          i;
    char        *good, *other, *old, *forged, *key, bearer[1024];
    answer_t     answer;
    const char  *args[] = { "--name", "pod-1", "--jwt-secret-file", NULL,
                             NULL };

    key = make_key_file();
    args[3] = key;
    instance_start(&instance, args);

    good = make_token(SECRET, "s1", 60);
    other = make_token(SECRET, "s2", 60);
    old = make_token(SECRET, "s1", -60);
    forged = make_token(OTHER_SECRET, "s1", 60);
    snprintf(bearer, sizeof(bearer), "Bearer %s", good);

    {
        const auth_case_t  cases[] = {
            { NULL, "s1", 16, "missing or invalid token" },
            { "", "s1", 16, "missing or invalid token" },
            { "garbage", "s1", 16, "missing or invalid token" },
            { forged, "s1", 16, "missing or invalid token" },
            { old, "s1", 16, "token expired" },
            { other, "s1", 16, "session-id mismatch" },
            { good, "s2", 16, "session-id mismatch" },
            { NULL, NULL, 16, "missing or invalid token" },
            { good, NULL, 3, "session-id header is required" },
        };

        for (i = 0; i < (int) (sizeof(cases) / sizeof(cases[0])); i++) {
            assert_answer(call_echo(&instance, cases[i].authorization,
                                    cases[i].session),
                          cases[i].code, cases[i].message);
            assert_answer(call_shutdown(&instance, cases[i].authorization,
                                        cases[i].session),
                          cases[i].code, cases[i].message);
        }
    }

    {
        rpc_metadata_t  two[] = {
            { "authorization", good },
            { "authorization", good },
            { "session-id", "s1" }
        };

        answer = call_method(&instance, "MyServiceEcho", two, 3);
        assert_answer(answer, 16, "missing or invalid token");
    }

    /* none of them has set the session; health needs no token */

    ck_assert_str_eq(call_health(&instance).owner, "");
    assert_served(call_echo(&instance, good, "s1"), "s1");
    assert_served(call_echo(&instance, bearer, "s1"), "s1");
    assert_answer(call_echo(&instance, other, "s2"), 13,
                  "Session conflict: was=s1, now=s2");

    ck_assert_int_eq(instance_stop(&instance), 0);

    free(good);
    free(other);
    free(old);
    free(forged);
    unlink(key);
    free(key);
}
END_TEST


static void
assert_message(ProtobufCMessage *message, int32_t index, const char *session)
{
    MyService__EchoResponse  *echo;

    ck_assert_ptr_nonnull(message);
    echo = (MyService__EchoResponse *) message;

    ck_assert_int_eq(echo->index, index);
    ck_assert_str_eq(echo->client_value, "hello");
    ck_assert_str_eq(echo->server_value, "my_service");
    ck_assert_str_eq(echo->pod_name, "pod-1");
    ck_assert_str_eq(echo->server_session_id, session);
    ck_assert_str_eq(echo->client_session_id, session);
    ck_assert_str_eq(echo->server_method, "MyServiceSubscribe");

    protobuf_c_message_free_unpacked(message, NULL);
}


/* By libjwt, which is not what myservice verifies with. */

static char *
make_token(const char *secret, const char *session, long life)
{
    char   *token;
    jwt_t  *jwt;

    ck_assert_int_eq(jwt_new(&jwt), 0);
    ck_assert_int_eq(jwt_set_alg(jwt, JWT_ALG_HS256,
                                 (const unsigned char *) secret,
                                 (int) strlen(secret)), 0);
    jwt_add_grant(jwt, "sub", "TestUser");
    jwt_add_grant(jwt, "session_id", session);
    jwt_add_grant_int(jwt, "iat", time(NULL) - 2);
    jwt_add_grant_int(jwt, "exp", time(NULL) + life);

    token = jwt_encode_str(jwt);
    ck_assert_ptr_nonnull(token);
    jwt_free(jwt);

    return token;
}


static char *
make_key_file(void)
{
    int    fd;
    char  *path;

    path = strdup("/tmp/test_myservice.key.XXXXXX");
    ck_assert_ptr_nonnull(path);
    fd = mkstemp(path);
    ck_assert_int_ne(fd, -1);
    ck_assert_int_eq(write(fd, SECRET "\n", sizeof(SECRET)), sizeof(SECRET));
    close(fd);

    return path;
}


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("myservice");
    tcase = tcase_create("program");
    tcase_set_timeout(tcase, 60);

    tcase_add_test(tcase, test_echo);
    tcase_add_test(tcase, test_refusals);
    tcase_add_test(tcase, test_conflict);
    tcase_add_test(tcase, test_shutdown);
    tcase_add_test(tcase, test_subscribe);
    tcase_add_test(tcase, test_two_streams);
    tcase_add_test(tcase, test_ttl);
    tcase_add_test(tcase, test_ttl_stream);
    tcase_add_test(tcase, test_left);
    tcase_add_test(tcase, test_ttl_told);
    tcase_add_test(tcase, test_ends_told);
    tcase_add_test(tcase, test_health);
    tcase_add_test(tcase, test_instance_id);
    tcase_add_test(tcase, test_sigterm);
    tcase_add_test(tcase, test_jwt);

    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
