/*
 * What becomes of an instance when connections use up its descriptors: it
 * serves, or ends with status 1 and says why.
 */

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "instance.h"
#include "rpc/server.h"
#include "rpc/t/flood.h"


#define DESCRIPTORS  64
#define CONNECTIONS  120


static instance_t  instance;
static int         fds[CONNECTIONS];


static const char *const  args[] = {
    "--name", "pod-1", "--idle-timeout", "1s", "--request-timeout", "1s",
    "--subscribe-interval", "100ms", NULL
};


static void
start(rlim_t descriptors)
{
    struct rlimit  limit;

    instance_start(&instance, args);

    if (descriptors != 0) {
        limit.rlim_cur = descriptors;
        limit.rlim_max = descriptors;
        ck_assert_int_eq(prlimit(instance.pid, RLIMIT_NOFILE, &limit, NULL),
                         0);
    }
}


static void
assert_ended(void)
{
    char  line[160];

    snprintf(line, sizeof(line), " error myservice: listener %s is dead",
             instance.address);
    instance_log_wait(&instance, line);
    ck_assert_int_eq(instance_wait(&instance), 1);
    ck_assert_ptr_nonnull(strstr(instance.text, " error myservice: grpc: "));
}


/* Connections, and calls that go no further than their headers. */

START_TEST(test_too_many)
{
    static const char  *paths[] = {
        NULL, "/my_service.MyServiceAPI/MyServiceEcho",
        "/my_service.MyServiceAPI/MyServiceSubscribe",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    };

    start(DESCRIPTORS);
    flood_open(instance.address, paths[_i], fds, CONNECTIONS);
    assert_ended();
    flood_close(fds, CONNECTIONS);
}
END_TEST


/* With descriptors left the listener lives, and the flood is cleared away. */

START_TEST(test_enough)
{
    start(0);

    flood_open(instance.address,
               "/my_service.MyServiceAPI/MyServiceEcho", fds, CONNECTIONS);
    assert_served(call_echo(&instance, NULL, "s1"), "s1");
    flood_wait(fds, CONNECTIONS);
    assert_served(call_echo(&instance, NULL, "s1"), "s1");

    flood_close(fds, CONNECTIONS);
    ck_assert_int_eq(instance_stop(&instance), 0);
    ck_assert_ptr_null(strstr(instance.text, " error "));
}
END_TEST


START_TEST(test_soft_limit)
{
    struct rlimit  old, low, its;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = DESCRIPTORS;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    start(0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);

    ck_assert_int_eq(prlimit(instance.pid, RLIMIT_NOFILE, NULL, &its), 0);
    ck_assert_uint_eq(its.rlim_cur, old.rlim_max);
    ck_assert_int_eq(instance_stop(&instance), 0);
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("myservice floods");
    tcase = tcase_create("floods");
    tcase_set_timeout(tcase, 60);

    tcase_add_loop_test(tcase, test_too_many, 0, 4);
    tcase_add_test(tcase, test_enough);
    tcase_add_test(tcase, test_soft_limit);

    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
