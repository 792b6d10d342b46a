/*
 * The runner: signals, quit, drain.
 */

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <check.h>
#include <grpc/grpc.h>
#include <grpc/support/log.h>

#include "my_service.pb-c.h"

#include "rpc/log.h"
#include "rpc/run.h"
#include "rpc/t/fixture.h"
#include "rpc/t/lasted.h"


static rpc_run_t     *run;
static rpc_server_t  *server;
static rpc_health_t  *health;
static _Atomic int    ready;
static _Atomic int    drained;
static int            code;
static _Atomic int    broken;           /* getpeername() fails */
static int64_t        work;             /* ms from "leave" to the end */
static bool           early;            /* the listener dies at its start */


/* These two stand before those of the libraries. */

int
getpeername(int fd, __SOCKADDR_ARG addr, socklen_t *len)
{
    if (broken) {
        errno = ENOBUFS;
        return -1;
    }

    return (int) syscall(SYS_getpeername, fd, addr.__sockaddr__, len);
}


void
grpc_server_start(grpc_server *core)
{
    void  (*next)(grpc_server *core);

    *(void **) &next = dlsym(RTLD_NEXT, "grpc_server_start");
    next(core);

    if (early) {
        gpr_log("./src/core/lib/iomgr/tcp_server_posix.cc", 1,
                GPR_LOG_SEVERITY_ERROR, "Failed accept4: early");
    }
}


static void
start(void)
{
    const ProtobufCServiceDescriptor  *api;

    log_open("test_run", LOG_LEVEL_ERROR);

    run = rpc_run_create();
    ck_assert_ptr_nonnull(run);
    server = rpc_server_create(NULL);
    ck_assert_ptr_nonnull(server);

    api = &my_service__my_service_api__descriptor;
    health = rpc_health_create(server, api->name, NULL, NULL);
    ck_assert_ptr_nonnull(health);
}


static void
stop(void)
{
    rpc_server_free(server);
    rpc_health_free(health);
    rpc_run_free(run);
}


static void
drain(void *data)
{
    (void) data;

    atomic_store(&drained, 1);
}


static void
tell_ready(void *data)
{
    (void) data;

    atomic_store(&ready, 1);
}


static void *
kill_thread(void *data)
{
    fixture_wait(&ready, 1);
    kill(getpid(), *(int *) data);

    return NULL;
}


START_TEST(signals)
{
    int                numbers[] = { SIGTERM, SIGINT };
    pthread_t          thread;
    rpc_run_options_t  options;

    start();

    memset(&options, 0, sizeof(options));
    options.listen = "127.0.0.1:0";
    options.health = health;
    options.grace = 5000;
    options.drain = drain;

    ck_assert_int_eq(pthread_create(&thread, NULL, kill_thread, &numbers[_i]),
                     0);

    /* runs as soon as the server's thread does */
    ck_assert_int_eq(rpc_server_post(server, tell_ready, NULL), 0);

    ck_assert_int_eq(rpc_run(run, server, &options), 0);
    ck_assert_int_eq(drained, 1);
    ck_assert(rpc_run_signalled(run));

    pthread_join(thread, NULL);
    stop();
}
END_TEST


static int
manager_listen(const char *path)
{
    int                 fd;
    socklen_t           size;
    struct sockaddr_un  address;

    memset(&address, 0, sizeof(address));
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, path);
    size = (socklen_t) (offsetof(struct sockaddr_un, sun_path)
                        + strlen(path));

    if (path[0] == '@') {
        address.sun_path[0] = '\0';
    }

    /* of a test that has failed */
    (void) unlink(path);

    fd = socket(AF_UNIX, SOCK_DGRAM|SOCK_NONBLOCK, 0);
    ck_assert_int_ne(fd, -1);
    ck_assert_int_eq(bind(fd, (struct sockaddr *) &address, size), 0);

    return fd;
}


static void
manager_expect(int fd, const char *state)
{
    char     text[64];
    ssize_t  n;

    n = recv(fd, text, sizeof(text) - 1, 0);
    ck_assert_int_gt(n, 0);
    text[n] = '\0';
    ck_assert_str_eq(text, state);
}


/* Once it listens, and before it drains, by a socket in the file system and by
 * one in the abstract namespace. */

START_TEST(tells_systemd)
{
    int                fd, number = SIGTERM;
    char               path[64];
    pthread_t          thread;
    rpc_run_options_t  options;

    snprintf(path, sizeof(path), "%s/test_run.%d.sock",
             _i == 0 ? "/tmp" : "@", (int) getpid());
    fd = manager_listen(path);
    ck_assert_int_eq(setenv("NOTIFY_SOCKET", path, 1), 0);

    start();

    memset(&options, 0, sizeof(options));
    options.listen = "127.0.0.1:0";

    ck_assert_int_eq(pthread_create(&thread, NULL, kill_thread, &number), 0);
    ck_assert_int_eq(rpc_server_post(server, tell_ready, NULL), 0);
    ck_assert_int_eq(rpc_run(run, server, &options), 0);

    manager_expect(fd, "READY=1");
    manager_expect(fd, "STOPPING=1");
    ck_assert_int_eq(recv(fd, path, 1, 0), -1);

    close(fd);
    (void) unlink(getenv("NOTIFY_SOCKET"));
    pthread_join(thread, NULL);
    stop();
}
END_TEST


/* A manager that is gone, or no socket at all, is no reason to end. */

START_TEST(no_systemd)
{
    int                number = SIGTERM;
    const char        *paths[] = { "/nonexistent/notify", "relative", "" };
    pthread_t          thread;
    rpc_run_options_t  options;

    ck_assert_int_eq(setenv("NOTIFY_SOCKET", paths[_i], 1), 0);

    start();

    memset(&options, 0, sizeof(options));
    options.listen = "127.0.0.1:0";

    ck_assert_int_eq(pthread_create(&thread, NULL, kill_thread, &number), 0);
    ck_assert_int_eq(rpc_server_post(server, tell_ready, NULL), 0);
    ck_assert_int_eq(rpc_run(run, server, &options), 0);

    pthread_join(thread, NULL);
    stop();
}
END_TEST


static void
leave_over(void *data)
{
    ck_assert_int_eq(drained, 0);
    *(bool *) data = true;
    rpc_run_quit(run);
}


static void
leave(void *data)
{
    ck_assert_int_eq(drained, 0);
    rpc_timer_set(server, data, work);
}


/* After a signal the server goes on until it says that it is done, or for as
 * long as it may. */

START_TEST(leaves)
{
    int                number = SIGTERM;
    bool               over = false;
    int64_t            begin;
    pthread_t          thread;
    rpc_timer_t        timer;
    rpc_run_options_t  options;

    start();

    memset(&timer, 0, sizeof(timer));
    timer.fire = leave_over;
    timer.data = &over;

    memset(&options, 0, sizeof(options));
    options.listen = "127.0.0.1:0";
    options.health = health;
    options.grace = 5000;
    options.drain = drain;
    options.leave = leave;
    options.patience = _i == 0 ? 60000 : 100;
    work = _i == 0 ? 300 : 60000;
    options.data = &timer;

    ck_assert_int_eq(pthread_create(&thread, NULL, kill_thread, &number), 0);
    ck_assert_int_eq(rpc_server_post(server, tell_ready, NULL), 0);

    begin = rpc_now();
    ck_assert_int_eq(rpc_run(run, server, &options), 0);
    lasted(begin, _i == 0 ? 300 : 100);
    ck_assert_int_lt(rpc_now() - begin, 30000);
    ck_assert_int_eq(drained, 1);
    ck_assert_int_eq(over, _i == 0);

    pthread_join(thread, NULL);
    stop();
}
END_TEST


static void
echo_done(rpc_call_t *call, void *data)
{
    (void) call;
    (void) data;

    rpc_run_quit(run);
}


static void
echo(rpc_call_t *call, const ProtobufCMessage *message, void *data)
{
    MyService__EchoResponse  response = MY_SERVICE__ECHO_RESPONSE__INIT;

    (void) message;
    (void) data;

    rpc_call_on_done(call, echo_done, NULL);
    rpc_call_reply(call, &response.base);
}


static void *
echo_thread(void *data)
{
    fixture_t                 f;
    rpc_result_t              result;
    MyService__EchoResponse  *response;

    f.client = rpc_client_create(data, NULL);

    do {
        response = fixture_echo(&f, "x", 5000, &result);
        code = (int) result.code;
        fixture_response_free(response);
        rpc_result_free(&result);
    } while (code == GRPC_STATUS_UNAVAILABLE);

    rpc_client_free(f.client);

    return NULL;
}


/* A call that ends the server gets its answer. */

START_TEST(quit)
{
    int                i;
    char               path[64], address[80];
    pthread_t          thread;
    rpc_run_options_t  options;

    strcpy(path, "/tmp/test_run.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));

    for (i = 0; i < 20; i++) {
        start();

        ck_assert_int_eq(rpc_server_unary(server,
                             &my_service__my_service_api__descriptor,
                             "MyServiceEcho", echo, NULL), 0);

        snprintf(address, sizeof(address), "unix:%s/socket", path);
        memset(&options, 0, sizeof(options));
        options.listen = address;
        options.grace = 5000;

        ck_assert_int_eq(pthread_create(&thread, NULL, echo_thread, address),
                         0);
        ck_assert_int_eq(rpc_run(run, server, &options), 0);
        pthread_join(thread, NULL);
        ck_assert_int_eq(code, GRPC_STATUS_OK);

        stop();
    }

    unlink(address + strlen("unix:"));
    rmdir(path);
}
END_TEST


static void *
connect_thread(void *data)
{
    int                 fd;
    struct sockaddr_un  sun;

    fixture_wait(&ready, 1);
    atomic_store(&broken, 1);

    memset(&sun, 0, sizeof(sun));
    sun.sun_family = AF_UNIX;
    strcpy(sun.sun_path, data);

    fd = socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0);
    ck_assert_int_ne(fd, -1);
    ck_assert_int_eq(connect(fd, (struct sockaddr *) &sun, sizeof(sun)), 0);
    close(fd);

    return NULL;
}


/* The listener gives up after accept(), too. */

START_TEST(dead_after_accept)
{
    char               path[64], address[80];
    pthread_t          thread;
    rpc_run_options_t  options;

    strcpy(path, "/tmp/test_run.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));

    start();

    snprintf(address, sizeof(address), "unix:%s/socket", path);
    memset(&options, 0, sizeof(options));
    options.listen = address;

    ck_assert_int_eq(pthread_create(&thread, NULL, connect_thread,
                                    address + strlen("unix:")), 0);
    ck_assert_int_eq(rpc_server_post(server, tell_ready, NULL), 0);
    ck_assert_int_eq(rpc_run(run, server, &options), -1);
    pthread_join(thread, NULL);

    stop();

    unlink(address + strlen("unix:"));
    rmdir(path);
}
END_TEST


START_TEST(dead_early)
{
    rpc_run_options_t  options;

    start();

    memset(&options, 0, sizeof(options));
    options.listen = "127.0.0.1:0";
    early = true;

    ck_assert_int_eq(rpc_run(run, server, &options), -1);

    stop();
}
END_TEST


START_TEST(cannot_listen)
{
    size_t             i;
    rpc_run_options_t  options;

    static const char  *bad[] = {
        "999.0.0.1:0", "127.0.0.1:99999", "127.0.0.1", "127.0.0.1:",
        "127.0.0.1:-1", "127.0.0.1:5x", ":5101", "unix:"
    };

    start();
    memset(&options, 0, sizeof(options));

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        options.listen = bad[i];
        ck_assert_int_eq(rpc_run(run, server, &options), -1);
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

    suite = suite_create("run");
    tc = tcase_create("run");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, signals, 0, 2);
    tcase_add_loop_test(tc, tells_systemd, 0, 2);
    tcase_add_loop_test(tc, no_systemd, 0, 3);
    tcase_add_loop_test(tc, leaves, 0, 2);
    tcase_add_test(tc, quit);
    tcase_add_test(tc, dead_after_accept);
    tcase_add_test(tc, dead_early);
    tcase_add_test(tc, cannot_listen);
    suite_add_tcase(suite, tc);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
