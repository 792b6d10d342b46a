/* Streams, deferred answers, and the life of a server, over 127.0.0.1. */

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
#include "rpc/t/lasted.h"
#include "rpc/t/service.h"


START_TEST(stream)
{
    int                n;
    char              *value;
    rpc_result_t       result;
    rpc_stream_t      *s;
    ProtobufCMessage  *message;

    service_start();

    s = fixture_subscribe(&service, "20 3", 5000);

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

    fixture_wait(&service_probe.done, 1);
    ck_assert_int_eq(service_probe.cancelled, 0);
    service_stop();
}
END_TEST


START_TEST(stream_cancel)
{
    int64_t            began;
    rpc_result_t       result;
    rpc_stream_t      *s;
    ProtobufCMessage  *message;

    service_start();

    s = fixture_subscribe(&service, "60000 3", -1);
    message = rpc_stream_next(s);
    ck_assert_ptr_nonnull(message);
    protobuf_c_message_free_unpacked(message, NULL);

    began = rpc_now();
    rpc_stream_cancel(s);
    fixture_wait(&service_probe.done, 1);
    lasted_within(began, 1000);
    ck_assert_int_eq(service_probe.cancelled, 1);

    ck_assert_ptr_null(rpc_stream_next(s));
    rpc_stream_finish(s, &result);
    ck_assert_int_eq(result.code, GRPC_STATUS_CANCELLED);
    rpc_result_free(&result);

    service_stop();
}
END_TEST


/* Not one message read: finish() has to cope with what is under way. */

START_TEST(stream_finish_at_once)
{
    int            i;
    rpc_result_t   result;

    service_start();

    for (i = 0; i < 20; i++) {
        rpc_stream_finish(fixture_subscribe(&service, "1 1000", -1), &result);
        ck_assert_int_eq(result.code, GRPC_STATUS_CANCELLED);
        rpc_result_free(&result);
    }

    service_stop();
    ck_assert_int_eq(service_probe.opened, service_probe.done);
}
END_TEST


START_TEST(deadline)
{
    int64_t            began;
    rpc_result_t       result;
    rpc_stream_t      *s;

    service_start();
    service_connect();

    began = rpc_now();
    s = fixture_subscribe(&service, "0 0", 300);
    ck_assert_ptr_null(rpc_stream_next(s));
    rpc_stream_finish(s, &result);
    ck_assert_int_eq(result.code, GRPC_STATUS_DEADLINE_EXCEEDED);
    lasted(began, 300);
    lasted_within(began, 1000);
    rpc_result_free(&result);

    fixture_wait(&service_probe.done, 1);
    ck_assert_int_eq(service_probe.cancelled, 1);
    service_stop();
}
END_TEST


START_TEST(parallel_streams)
{
    int                i, n;
    rpc_result_t       result;
    rpc_stream_t      *s[200];
    ProtobufCMessage  *message;

    service_start();

    for (i = 0; i < 200; i++) {
        s[i] = fixture_subscribe(&service, "50 2", 30000);
    }

    fixture_wait(&service_probe.opened, 200);

    for (i = 0; i < 200; i++) {
        for (n = 0; (message = rpc_stream_next(s[i])) != NULL; n++) {
            protobuf_c_message_free_unpacked(message, NULL);
        }

        ck_assert_int_eq(n, 3);
        rpc_stream_finish(s[i], &result);
        ck_assert_int_eq(result.code, GRPC_STATUS_OK);
        rpc_result_free(&result);
    }

    fixture_wait(&service_probe.done, 200);
    service_stop();
}
END_TEST


static grpc_status_code
call_login(int64_t timeout)
{
    rpc_result_t             result;
    grpc_status_code         code;
    ProtobufCMessage        *response;
    MyService__LoginRequest  request = MY_SERVICE__LOGIN_REQUEST__INIT;

    response = rpc_client_unary(service.client, FIXTURE_LOGIN, NULL, 0, timeout,
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
    service_start();

    atomic_store(&service_probe.release, 1);
    ck_assert_int_eq(call_login(5000), GRPC_STATUS_OK);
    fixture_wait(&service_probe.done, 1);
    ck_assert_int_eq(service_probe.cancelled, 0);

    service_stop();
}
END_TEST


START_TEST(deferred_deadline)
{
    service_start();
    service_connect();

    ck_assert_int_eq(call_login(300), GRPC_STATUS_DEADLINE_EXCEEDED);
    fixture_wait(&service_probe.cancelled, 1);

    /* the call lives until its thread has answered */

    ck_assert_int_eq(service_probe.done, 0);
    atomic_store(&service_probe.release, 1);
    fixture_wait(&service_probe.done, 1);

    service_stop();
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
    atomic_store(&service_probe.release, 1);

    return NULL;
}


START_TEST(drain_lets_calls_finish)
{
    pthread_t         thread, release;
    grpc_status_code  code;

    service_start();

    code = GRPC_STATUS_UNKNOWN;
    ck_assert_int_eq(pthread_create(&thread, NULL, login_thread, &code), 0);
    fixture_wait(&service_probe.opened, 1);
    ck_assert_int_eq(pthread_create(&release, NULL, release_thread, NULL), 0);

    ck_assert_int_eq(rpc_server_stop(service.server, 10000), 0);
    ck_assert_int_eq(service_probe.done, 1);

    pthread_join(thread, NULL);
    pthread_join(release, NULL);
    ck_assert_int_eq(code, GRPC_STATUS_OK);

    fixture_stop(&service, 0);
}
END_TEST


/* The core has nothing left of these calls, but their threads will answer. */

START_TEST(drain_waits_for_answers)
{
    pthread_t  release;

    service_start();
    service_connect();

    ck_assert_int_eq(call_login(300), GRPC_STATUS_DEADLINE_EXCEEDED);
    fixture_wait(&service_probe.cancelled, 1);
    rpc_client_free(service.client);

    ck_assert_int_eq(pthread_create(&release, NULL, release_thread, NULL), 0);
    (void) rpc_server_stop(service.server, _i * 10000);
    ck_assert_int_eq(service_probe.done, 1);

    pthread_join(release, NULL);
    rpc_server_free(service.server);
}
END_TEST


/* The same, but the client is there until the grace cancels its call. */

START_TEST(grace_waits_for_answers)
{
    pthread_t         thread, release;
    grpc_status_code  code;

    service_start();

    code = GRPC_STATUS_UNKNOWN;
    ck_assert_int_eq(pthread_create(&thread, NULL, login_thread, &code), 0);
    fixture_wait(&service_probe.opened, 1);
    ck_assert_int_eq(pthread_create(&release, NULL, release_thread, NULL), 0);

    ck_assert_int_eq(rpc_server_stop(service.server, 0), 1);
    ck_assert_int_eq(service_probe.done, 1);

    pthread_join(thread, NULL);
    pthread_join(release, NULL);
    ck_assert_int_ne(code, GRPC_STATUS_OK);

    fixture_stop(&service, 0);
}
END_TEST


/* Messages that are on their way while the clients go and the server stops. */

START_TEST(drain_of_busy_streams)
{
    int            i;
    char           target[64];
    rpc_client_t  *client;
    rpc_result_t   result;
    rpc_stream_t  *s[50];

    service_start();

    snprintf(target, sizeof(target), "127.0.0.1:%d", service.port);
    client = service.client;
    service.client = rpc_client_create(target, NULL);

    for (i = 0; i < 50; i++) {
        s[i] = fixture_subscribe(&service, "1 100000", -1);
    }

    fixture_wait(&service_probe.opened, 50);

    for (i = 0; i < 50; i++) {
        rpc_stream_finish(s[i], &result);
        rpc_result_free(&result);
    }

    rpc_client_free(service.client);
    service.client = client;

    (void) rpc_server_stop(service.server, 0);
    ck_assert_int_eq(service_probe.done, 50);

    fixture_stop(&service, 0);
}
END_TEST


/* Nobody listens at the other port. */

START_TEST(client_awaits_its_connection)
{
    rpc_client_t  *client;

    service_start();
    ck_assert_int_eq(rpc_client_await(service.client, 60000), 0);

    client = rpc_client_create("127.0.0.1:1", NULL);
    ck_assert_int_eq(rpc_client_await(client, 100), -1);
    rpc_client_free(client);

    fixture_stop(&service, 0);
}
END_TEST


START_TEST(grace_cancels)
{
    int64_t        began;
    rpc_result_t   result;
    rpc_stream_t  *s;

    service_start();

    s = fixture_subscribe(&service, "0 0", -1);
    fixture_wait(&service_probe.opened, 1);

    began = rpc_now();
    ck_assert_int_eq(rpc_server_stop(service.server, 200), 1);
    lasted(began, 200);
    lasted_within(began, 1000);
    ck_assert_int_eq(service_probe.cancelled, 1);
    ck_assert_int_eq(service_probe.done, 1);

    ck_assert_ptr_null(rpc_stream_next(s));
    rpc_stream_finish(s, &result);
    ck_assert_int_ne(result.code, GRPC_STATUS_OK);
    rpc_result_free(&result);

    fixture_stop(&service, 0);
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

    service_start();

    fd = socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0);
    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((uint16_t) service.port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    ck_assert_int_eq(connect(fd, (struct sockaddr *) &sin, sizeof(sin)), 0);
    ck_assert_int_eq(write(fd, preface, sizeof(preface) - 1),
                     (int) sizeof(preface) - 1);
    ck_assert_int_gt(read(fd, buffer, sizeof(buffer)), 0);

    began = rpc_now();
    ck_assert_int_eq(rpc_server_stop(service.server, 30000), 0);
    lasted_within(began, 1000);

    close(fd);
    fixture_stop(&service, 0);
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
    timers[0].data = &service_probe.fired;
    timers[1] = timers[0];
    timers[2] = timers[0];

    rpc_timer_set(service.server, &timers[0], 10);
    rpc_timer_set(service.server, &timers[1], 5);
    rpc_timer_set(service.server, &timers[2], FAR);
    rpc_timer_set(service.server, &timers[2], 20);        /* moved */
    rpc_timer_clear(service.server, &timers[1]);
}


START_TEST(posts_and_timers)
{
    int           i;
    rpc_timer_t   timers[3];
    _Atomic int   posted;

    service_start();

    atomic_init(&posted, 0);
    memset(timers, 0, sizeof(timers));

    for (i = 0; i < 1000; i++) {
        ck_assert_int_eq(rpc_server_post(service.server, fire, &posted), 0);
    }

    fixture_wait(&posted, 1000);

    ck_assert_int_eq(rpc_server_post(service.server, set_timers, timers), 0);
    fixture_wait(&service_probe.fired, 2);

    ck_assert_int_eq(rpc_server_post(service.server, fire, &posted), 0);
    rpc_server_stop(service.server, 1000);
    ck_assert_int_eq(posted, 1001);
    ck_assert_int_eq(service_probe.fired, 2);
    ck_assert_int_eq(rpc_server_post(service.server, fire, &posted), -1);

    fixture_stop(&service, 0);
}
END_TEST


START_TEST(never_started)
{
    rpc_server_t                     *server;
    const ProtobufCServiceDescriptor *api;

    api = &my_service__my_service_api__descriptor;

    server = rpc_server_create(NULL);
    ck_assert_ptr_nonnull(server);
    ck_assert_int_eq(rpc_server_unary(server, api, "NoSuch", service_echo,
                                      NULL), -1);
    ck_assert_int_eq(rpc_server_unary(server, api, "Login", service_echo,
                                      NULL), 0);
    ck_assert_int_eq(rpc_server_unary(server, api, "Login", service_echo,
                                      NULL), -1);
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

    service_start();

    snprintf(address, sizeof(address), "127.0.0.1:%d", service.port);
    server = rpc_server_create(NULL);
    ck_assert_int_eq(rpc_server_listen(server, address, NULL), 0);
    rpc_server_free(server);

    service_stop();
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

    service_start();

    /* its port is refused now, and taken by another server soon after */

    port = service.port;
    rpc_server_stop(service.server, 1000);
    ck_assert_ptr_null(fixture_echo(&service, "x", 60000, &result));
    ck_assert_int_eq(result.code, GRPC_STATUS_UNAVAILABLE);
    rpc_result_free(&result);

    server = rpc_server_create(NULL);
    ck_assert_int_eq(rpc_server_unary(server,
                         &my_service__my_service_api__descriptor,
                         "MyServiceEcho", service_echo, NULL), 0);
    snprintf(address, sizeof(address), "127.0.0.1:%d", port);
    ck_assert_int_eq(rpc_server_listen(server, address, NULL), port);
    ck_assert_int_eq(rpc_server_start(server), 0);

    for ( ;; ) {
        response = fixture_echo(&service, "x", 60000, &result);

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
    fixture_stop(&service, 0);
}
END_TEST


int
main(void)
{
    int       failed;
    TCase    *tc;
    Suite    *suite;
    SRunner  *runner;

    suite = suite_create("rpc life");

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
    tcase_add_loop_test(tc, drain_waits_for_answers, 0, 2);
    tcase_add_test(tc, grace_waits_for_answers);
    tcase_add_loop_test(tc, drain_of_busy_streams, 0, 5);
    tcase_add_test(tc, client_awaits_its_connection);
    tcase_add_test(tc, grace_cancels);
    tcase_add_test(tc, silent_peer);
    tcase_add_test(tc, posts_and_timers);
    tcase_add_test(tc, never_started);
    tcase_add_test(tc, port_in_use);
    tcase_add_test(tc, unix_in_use);
    tcase_add_test(tc, server_away);
    suite_add_tcase(suite, tc);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
