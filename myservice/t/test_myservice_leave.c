/*
 * How an instance leaves at SIGTERM: it serves its session on, until that ends
 * or the grace is over, and takes no other one.
 */

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "health.pb-c.h"
#include "instance.h"
#include "rpc/server.h"
#include "rpc/t/lasted.h"


#define SERVING                                                               \
    GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING


static instance_t  instance;


static void
start(const char *grace, const char *ttl)
{
    const char  *args[] = {
        "--name", "pod-1", "--session-grace", grace, "--session-ttl", ttl, NULL
    };

    instance_start(&instance, args);
}


static void
leave(void)
{
    kill(instance.pid, SIGTERM);
    instance_log_wait(&instance, "the last one, served until it ends");
}


static void
assert_draining(void)
{
    answer_t                                answer;
    Grpc__Health__V1__HealthCheckResponse  *response;

    answer = call_health(&instance);
    response = (Grpc__Health__V1__HealthCheckResponse *) answer.response;

    assert_answer(answer, 0, "");
    ck_assert_str_eq(answer.drain, "1");
    ck_assert_str_eq(answer.owner, "s1");
    ck_assert_int_eq(response->status, SERVING);
}


START_TEST(test_serves_its_session)
{
    answer_t  answer;

    start("1h", "30m");
    assert_served(call_echo(&instance, NULL, "s1"), "s1");
    leave();

    assert_draining();
    assert_served(call_echo(&instance, NULL, "s1"), "s1");

    answer = call_echo(&instance, NULL, "s2");
    assert_answer(answer, 13, "Session conflict: was=s1, now=s2");
    ck_assert_str_eq(answer.refused, "s1");

    /* a signal for its files does not disturb it */
    kill(instance.pid, SIGHUP);
    instance_log_wait(&instance, "SIGHUP is ignored");
    assert_draining();

    assert_answer(call_shutdown(&instance, NULL, "s1"), 0, "");
    ck_assert_int_eq(instance_wait(&instance), 0);
}
END_TEST


static void
await_another(const char *id)
{
    int64_t   deadline;
    answer_t  answer;

    deadline = rpc_now() + PATIENCE;

    do {
        ck_assert_int_lt(rpc_now(), deadline);
        answer = call_health(&instance);
    } while (answer.code != 0 || strcmp(answer.id, id) == 0);
}


/* The process is the same, the instance is another one; SIGTERM ends it. */

START_TEST(test_stays_after_shutdown)
{
    int          i;
    char         id[64], path[64];
    const char  *args[] = {
        "--name", "pod-1", "--after-shutdown", "stay", "--listen", path, NULL
    };

    /* where it is found again */
    snprintf(path, sizeof(path), "unix:/tmp/test_myservice_leave.%d.sock",
             (int) getpid());
    instance_start(&instance, args);

    for (i = 0; i < 2; i++) {
        strcpy(id, call_health(&instance).id);
        assert_served(call_echo(&instance, NULL, "s1"), "s1");
        assert_answer(call_shutdown(&instance, NULL, "s1"), 0, "");
        await_another(id);
        ck_assert_int_eq(waitpid(instance.pid, NULL, WNOHANG), 0);
        assert_answer(call_shutdown(&instance, NULL, "s1"), 7,
                      "Server session is not set");
    }

    ck_assert_int_eq(instance_stop(&instance), 0);
}
END_TEST


START_TEST(test_free)
{
    start("1h", "30m");
    ck_assert_int_eq(instance_stop(&instance), 0);
}
END_TEST


START_TEST(test_session_expires)
{
    start("1h", "300ms");
    assert_served(call_echo(&instance, NULL, "s1"), "s1");
    leave();
    ck_assert_int_eq(instance_wait(&instance), 0);
}
END_TEST


START_TEST(test_session_moved)
{
    rpc_metadata_t  moved[] = { { "session-elsewhere", "s1" } };

    start("1h", "30m");
    assert_served(call_echo(&instance, NULL, "s1"), "s1");
    leave();
    assert_answer(call_check(&instance, moved, 1), 0, "");
    ck_assert_int_eq(instance_wait(&instance), 0);
}
END_TEST


START_TEST(test_grace_is_over)
{
    int64_t            began;
    answer_t           answer;
    rpc_stream_t      *stream;
    ProtobufCMessage  *message;

    start("400ms", "30m");
    stream = call_subscribe(&instance, NULL, "s1", PATIENCE);

    /* the client connects while it reads */
    message = rpc_stream_next(stream);
    ck_assert_ptr_nonnull(message);
    protobuf_c_message_free_unpacked(message, NULL);
    began = rpc_now();
    leave();

    while ((message = rpc_stream_next(stream)) != NULL) {
        protobuf_c_message_free_unpacked(message, NULL);
    }

    answer = stream_end(stream);
    assert_answer(answer, 14, "instance is shutting down");
    ck_assert_str_eq(answer.leaving, "1");
    lasted(began, 400);
    ck_assert_int_eq(instance_wait(&instance), 0);
}
END_TEST


START_TEST(test_second_signal)
{
    int64_t  began;

    start("1h", "30m");
    assert_served(call_echo(&instance, NULL, "s1"), "s1");
    leave();
    ck_assert_int_eq(waitpid(instance.pid, NULL, WNOHANG), 0);

    began = rpc_now();
    kill(instance.pid, SIGTERM);
    ck_assert_int_eq(instance_wait(&instance), 0);
    lasted_within(began, 1000);
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("myservice leave");
    tcase = tcase_create("program");
    tcase_set_timeout(tcase, 60);

    tcase_add_test(tcase, test_serves_its_session);
    tcase_add_test(tcase, test_stays_after_shutdown);
    tcase_add_test(tcase, test_free);
    tcase_add_test(tcase, test_session_expires);
    tcase_add_test(tcase, test_session_moved);
    tcase_add_test(tcase, test_grace_is_over);
    tcase_add_test(tcase, test_second_signal);

    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
