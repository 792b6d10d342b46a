/* What one client, or all of them, can hold of a server. */

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "rpc/t/lasted.h"
#include "rpc/t/service.h"


#define PATIENCE  60000                 /* ms */


/* The end of a call; "s" may be of any kind. */

static grpc_status_code
finish(rpc_stream_t *s, char *message, size_t size)
{
    rpc_result_t       result;
    grpc_status_code   code;
    ProtobufCMessage  *response;

    while ((response = rpc_stream_next(s)) != NULL) {
        protobuf_c_message_free_unpacked(response, NULL);
    }

    rpc_stream_finish(s, &result);
    snprintf(message, size, "%s", result.message);
    code = result.code;
    rpc_result_free(&result);

    return code;
}


static rpc_stream_t *
headers_only(const char *path)
{
    rpc_stream_t  *s;

    s = rpc_client_bidi(service.client, path, NULL, 0, PATIENCE,
                        &my_service__echo_response__descriptor);
    ck_assert_ptr_nonnull(s);

    return s;
}


/* Streams are refused above the limit, and one that ends makes room. */

START_TEST(max_calls)
{
    int                   i;
    char                  message[128];
    int64_t               end;
    rpc_result_t          result;
    rpc_stream_t         *s[4], *more;
    rpc_server_options_t  options = { .max_calls = 4 };

    service_start_with(&options);

    for (i = 0; i < 4; i++) {
        s[i] = fixture_subscribe(&service, "0 0", -1);
    }

    fixture_wait(&service_probe.opened, 4);

    more = fixture_subscribe(&service, "0 0", PATIENCE);
    ck_assert_int_eq(finish(more, message, sizeof(message)),
                     GRPC_STATUS_RESOURCE_EXHAUSTED);
    ck_assert_str_eq(message, "too many calls");

    /* health checks are such calls */

    fixture_response_free(fixture_echo(&service, "x", PATIENCE, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_OK);
    rpc_result_free(&result);

    rpc_stream_finish(s[0], &result);
    rpc_result_free(&result);

    for (end = rpc_now() + PATIENCE; service_probe.opened < 5; usleep(1000)) {
        ck_assert_int_lt(rpc_now(), end);
        s[0] = fixture_subscribe(&service, "1 0", PATIENCE);
        (void) finish(s[0], message, sizeof(message));
    }

    for (i = 1; i < 4; i++) {
        rpc_stream_finish(s[i], &result);
        rpc_result_free(&result);
    }

    service_stop();
}
END_TEST


/* Headers without a message, of every kind of method, and what comes then. */

START_TEST(request_timeout)
{
    char                  message[128];
    int64_t               began;
    rpc_result_t          result;
    rpc_stream_t         *s;
    rpc_server_options_t  options = { .request_timeout = 300 };

    static const char  *paths[] = {
        FIXTURE_ECHO, FIXTURE_SUBSCRIBE, FIXTURE_LOGIN
    };

    service_start_with(&options);
    service_connect();

    began = rpc_now();
    s = headers_only(paths[_i]);
    ck_assert_int_eq(finish(s, message, sizeof(message)),
                     GRPC_STATUS_DEADLINE_EXCEEDED);
    ck_assert_str_eq(message, "request message did not come in time");
    lasted(began, 300);
    ck_assert_int_eq(service_probe.opened, 0);

    /* not for what comes later */

    s = fixture_subscribe(&service, "400 1", PATIENCE);
    ck_assert_int_eq(finish(s, message, sizeof(message)), GRPC_STATUS_OK);

    fixture_response_free(fixture_echo(&service, "x", PATIENCE, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_OK);
    rpc_result_free(&result);

    service_stop();
}
END_TEST


/* Calls whose message is awaited do not hold a stop. */

START_TEST(request_at_stop)
{
    int                    i;
    char                   message[128];
    int64_t                began;
    rpc_stream_t          *s[20];
    rpc_server_options_t   options = { 0 };

    service_start_with(&options);
    service_connect();

    for (i = 0; i < 20; i++) {
        s[i] = headers_only(i % 2 ? FIXTURE_ECHO : FIXTURE_SUBSCRIBE);
    }

    began = rpc_now();
    ck_assert_int_eq(rpc_server_stop(service.server, PATIENCE), 0);
    ck_assert_int_lt(rpc_now() - began, PATIENCE / 2);

    for (i = 0; i < 20; i++) {
        ck_assert_int_ne(finish(s[i], message, sizeof(message)),
                         GRPC_STATUS_OK);
    }

    fixture_stop(&service, 0);
}
END_TEST


START_TEST(idle_timeout)
{
    int                   fd;
    char                  buffer[512];
    int64_t               began;
    struct pollfd         pfd;
    struct sockaddr_in    sin;
    rpc_server_options_t  options = { .idle_timeout = 1000 };
    const char            preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                      "\0\0\0\4\0\0\0\0\0";

    service_start_with(&options);

    fd = socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0);
    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((uint16_t) service.port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    began = rpc_now();
    ck_assert_int_eq(connect(fd, (struct sockaddr *) &sin, sizeof(sin)), 0);
    ck_assert_int_eq(write(fd, preface, sizeof(preface) - 1),
                     (int) sizeof(preface) - 1);

    do {
        pfd = (struct pollfd) { .fd = fd, .events = POLLIN };
        ck_assert_int_eq(poll(&pfd, 1, PATIENCE), 1);
    } while (read(fd, buffer, sizeof(buffer)) > 0);

    lasted(began, 1000);

    close(fd);
    service_stop();
}
END_TEST


/* Whatever the umask, and without a moment in which it is another. */

START_TEST(socket_mode)
{
    size_t                 i;
    char                   path[64], address[80];
    mode_t                 old;
    struct stat            info;
    rpc_server_t          *server;
    rpc_server_options_t   options = { 0 };

    static const struct {
        int64_t  given;
        mode_t   umask;
        mode_t   mode;
    } cases[] = {
        { 0, 022, 0666 },
        { 0, 077, 0666 },
        { 0660, 0, 0660 },
        { 0600, 027, 0600 },
        { 0777, 0777, 0777 }
    };

    strcpy(path, "/tmp/test_limits.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
    snprintf(address, sizeof(address), "unix:%s/socket", path);

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        options.socket_mode = cases[i].given;
        server = rpc_server_create(&options);

        old = umask(cases[i].umask);
        ck_assert_int_eq(rpc_server_listen(server, address, NULL), 1);
        ck_assert_int_eq(umask(old), cases[i].umask);

        ck_assert_int_eq(stat(address + strlen("unix:"), &info), 0);
        ck_assert_int_eq(info.st_mode & 0777, cases[i].mode);

        rpc_server_free(server);
    }

    unlink(address + strlen("unix:"));
    rmdir(path);
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tc;
    SRunner  *runner;

    suite = suite_create("limits");
    tc = tcase_create("limits");
    tcase_set_timeout(tc, 90);
    tcase_add_test(tc, max_calls);
    tcase_add_loop_test(tc, request_timeout, 0, 3);
    tcase_add_test(tc, request_at_stop);
    tcase_add_test(tc, idle_timeout);
    tcase_add_test(tc, socket_mode);
    suite_add_tcase(suite, tc);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
