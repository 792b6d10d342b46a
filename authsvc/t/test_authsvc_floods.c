/* What "authsvc serve" does when calls nobody authorized use it up. */

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <grpc/status.h>

#include "authsvc/t/login.h"
#include "authsvc/t/server.h"
#include "authsvc/t/suite.h"
#include "rpc/client.h"
#include "rpc/t/flood.h"


#define DESCRIPTORS  1024
#define CALLS        1050


static const char *const  paths[] = {
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/my_service.MyServiceAPI/Login"
};

static int  fds[CALLS];


/* On a busy machine a second may pass between a connection and its call: that
 * is idle for too long then, and a client tries again. */
static void
assert_login(void)
{
    int            i, code;
    rpc_client_t  *client;

    code = GRPC_STATUS_UNAVAILABLE;

    for (i = 0; i < 10 && code == GRPC_STATUS_UNAVAILABLE; i++) {
        client = rpc_client_create(server_target, NULL);
        code = login_code(client, NULL, "TestUser", "TestPassword", NULL);
        rpc_client_free(client);
    }

    ck_assert_int_eq(code, GRPC_STATUS_OK);
}


static bool
room(void)
{
    struct rlimit  limit;

    return getrlimit(RLIMIT_NOFILE, &limit) == 0
           && limit.rlim_max > 2 * CALLS;
}


/* Login goes on meanwhile, and the calls are ended. */

START_TEST(test_ended)
{
    size_t  n;

    n = room() ? CALLS : 200;

    server_start("--request-timeout", "1s", "--idle-timeout", "1s");
    flood_open(server_target, paths[_i], fds, n);
    assert_login();
    flood_wait(fds, n);
    assert_login();
    flood_close(fds, n);
    server_stop();
}
END_TEST


/* Without descriptors it ends, to be started again. */

START_TEST(test_used_up)
{
    char           line[128];
    struct rlimit  limit = { DESCRIPTORS, DESCRIPTORS };

    if (!room()) {
        return;
    }

    server_start(NULL, NULL, NULL, NULL);
    ck_assert_int_eq(prlimit(server_process.pid, RLIMIT_NOFILE, &limit, NULL),
                     0);

    flood_open(server_target, paths[_i], fds, CALLS);
    snprintf(line, sizeof(line), "listener %s is dead", server_target);
    ck_assert_ptr_nonnull(process_expect(&server_process, line));
    ck_assert_int_eq(process_finish(&server_process, 0), 1);
    flood_close(fds, CALLS);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("authsvc floods");
    tcase = tcase_create("floods");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, server_setup, server_teardown);
    tcase_add_loop_test(tcase, test_ended, 0, 2);
    tcase_add_loop_test(tcase, test_used_up, 0, 2);
    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
