/* The log of the core in ours. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <check.h>
#include <grpc/grpc.h>
#include <grpc/support/log.h>

#include "rpc/core.h"
#include "rpc/log.h"


/* as the core is built */
#define LISTENER  "./src/core/lib/iomgr/tcp_server_posix.cc"


/* Lines of standard error that have "text", from when capture() was called. */

static FILE  *captured;


static void
capture(void)
{
    captured = tmpfile();
    ck_assert_ptr_nonnull(captured);
    ck_assert_int_eq(dup2(fileno(captured), STDERR_FILENO), STDERR_FILENO);
}


static int
count(const char *text)
{
    int   n;
    char  line[1024];

    n = 0;
    rewind(captured);

    while (fgets(line, sizeof(line), captured) != NULL) {
        n += strstr(line, text) != NULL;
    }

    return n;
}


/* Errors always, but a flood of them is bounded. */

START_TEST(core_errors)
{
    int        i, event;
    eventfd_t  times;

    unsetenv("GRPC_VERBOSITY");
    capture();
    log_open("test_core", LOG_LEVEL_ERROR);
    rpc_core_init();

    gpr_log(GPR_ERROR, "before");
    ck_assert_int_eq(count("before"), 0);

    event = eventfd(0, EFD_NONBLOCK);
    ck_assert_int_ne(event, -1);
    rpc_core_log(event);
    ck_assert(!rpc_core_accept_failed());

    /* clients choose server names */
    gpr_log(GPR_ERROR, "No match found for server name: %s.",
            "Failed accept4: x");
    gpr_log(GPR_ERROR, "Failed accept4: x");
    gpr_log(LISTENER, 1, GPR_LOG_SEVERITY_ERROR, "x Failed accept4: x");
    gpr_log(LISTENER, 1, GPR_LOG_SEVERITY_INFO, "Failed accept4: x");
    ck_assert(!rpc_core_accept_failed());
    ck_assert_int_eq(eventfd_read(event, &times), -1);

    gpr_log(LISTENER, 1, GPR_LOG_SEVERITY_ERROR, "Failed accept4: %s",
            "Too many open files");
    ck_assert_int_eq(count(" error test_core: grpc: Failed accept4: Too"), 1);
    ck_assert(rpc_core_accept_failed());
    ck_assert_int_eq(eventfd_read(event, &times), 0);

    for (i = 0; i < 1000; i++) {
        gpr_log(GPR_INFO, "number %d", i);
        gpr_log(GPR_ERROR, "number %d", i);
    }

    ck_assert_int_eq(count("number "), 6);

    grpc_shutdown();
}
END_TEST


/* All that the listener says when it gives up. */

START_TEST(core_deaths)
{
    int  event;

    static const char  *lines[] = {
        "Failed accept4: x", "Failed getsockname: x", "Invalid address: x"
    };

    unsetenv("GRPC_VERBOSITY");
    rpc_core_init();

    event = eventfd(0, EFD_NONBLOCK);
    ck_assert_int_ne(event, -1);
    rpc_core_log(event);

    gpr_log(GPR_ERROR, "%s", lines[_i]);
    gpr_log(LISTENER, 1, GPR_LOG_SEVERITY_ERROR, "x %s", lines[_i]);
    ck_assert(!rpc_core_accept_failed());

    gpr_log(LISTENER, 1, GPR_LOG_SEVERITY_ERROR, "%s", lines[_i]);
    ck_assert(rpc_core_accept_failed());

    grpc_shutdown();
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tc;
    SRunner  *runner;

    suite = suite_create("core");
    tc = tcase_create("core");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, core_errors);
    tcase_add_loop_test(tc, core_deaths, 0, 3);
    suite_add_tcase(suite, tc);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
