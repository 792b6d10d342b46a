
/*
 * A client that does not take its answer for "send_timeout" gets
 * RST_STREAM(CANCEL), and the log says why.  It is no failure of the instance.
 */

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <nghttp2/nghttp2.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "instance.h"


#define CONF(directives)                                                      \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format answer '$uri grpc=$myservice_grpc_status '\n"             \
    "        'message=$myservice_grpc_message';\n"                            \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        server 127.0.0.1:8081;\n"                                        \
    "        server 127.0.0.1:8082;\n"                                        \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2 sndbuf=4k;\n"                        \
    "        myservice_grpc_errors on;\n"                                     \
    "        myservice_resume MyServiceSubscribe;\n"                          \
    "        myservice_retry MyServiceSubscribe;\n"                           \
    "        send_timeout 1s;\n"                                              \
    "        access_log %%DIR%%/access.log answer;\n"                         \
    directives                                                                \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "        location /plain.Service/ { grpc_pass grpc://127.0.0.1:8081; }\n" \
    "    }\n"                                                                 \
    "}\n"

#define PLAIN    "/plain.Service/Method"
#define NOTHING  "the client read nothing for send_timeout"
#define FRAME    16384

/* messages of more than the windows that a client has at first, and than the
 * sockets take */
#define LARGE    5
#define HUGE     64


static const char *const  paths[] = { ECHO, SUBSCRIBE, PLAIN };
static atomic_int         frames;     /* of the answer, 0: a small message */


static void
flood(fake_call_t *call, int n)
{
    int      i;
    size_t   len;
    uint8_t  frame[9 + FRAME];

    len = (size_t) n * FRAME - 5;

    for (i = 0; i < n; i++) {
        memset(frame, 0, sizeof(frame));
        frame[1] = FRAME >> 8;
        frame[7] = (uint8_t) (call->stream >> 8);
        frame[8] = (uint8_t) call->stream;

        if (i == 0) {
            frame[11] = (uint8_t) (len >> 16);
            frame[12] = (uint8_t) (len >> 8);
            frame[13] = (uint8_t) len;
        }

        fake_bytes(call, frame, sizeof(frame));
    }
}


static void
answer(fake_call_t *call)
{
    int  n;

    n = atomic_load(&frames);
    fake_headers(call);

    if (n) {
        flood(call, n);

    } else {
        fake_message(call, 0);
    }
}


static void
answer_all(fake_call_t *call)
{
    answer(call);
    fake_trailers(call, 0, NULL);
}


/* the windows are open again: the connection and the lease are as before */
static void
goes_on(client_t *client, const char *path)
{
    client_call_t    *call;
    client_header_t   headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", "s1" },
        { NULL, NULL }
    };

    atomic_store(&frames, 0);
    client_window(client, 65535);
    client_window_all(client, 1 << 20);
    call = client_request(client, path, headers, "\0\0\0\0", 5, false);
    client_wait_messages(call, 1);
    client_cancel(call);
}


static void
cancelled(const client_call_t *call)
{
    char  line[256];

    ck_assert(call->done && call->reset);
    ck_assert_uint_eq(call->error, NGHTTP2_CANCEL);

    (void) snprintf(line, sizeof(line), "grpc=1 message=" NOTHING);
    gateway_await_access(line);
    ck_assert(gateway_logged("call ends: " NOTHING));
    ck_assert(!gateway_logged("failed"));
    ck_assert(!gateway_logged("resumed"));
    ck_assert(!gateway_logged("moved"));
}


static client_call_t *
blocked(client_t *client, const char *path, bool all)
{
    client_header_t   headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", "s1" },
        { NULL, NULL }
    };

    atomic_store(&frames, all ? LARGE : 0);

    if (all) {
        client_window_all(client, 0);

    } else {
        client_window(client, 0);
    }

    return client_request(client, path, headers, "\0\0\0\0", 5, false);
}


/* "whole": the instance has sent everything before the client reads */
static void
unread(int n, bool all, bool whole, const char *conf)
{
    fake_t         *fakes[2];
    client_t       *client;
    long long       since;
    client_call_t  *call;

    fakes[0] = fake_start(8081, "one", whole ? answer_all : answer);
    fakes[1] = fake_start(8082, "two", whole ? answer_all : answer);
    gateway_start(conf);
    client = client_open(harness_port(8080));

    since = harness_now();
    call = blocked(client, paths[n], all);
    client_wait(call);
    harness_lasted(since, 1000);
    cancelled(call);
    ck_assert_uint_eq(fake_requests(fakes[0]) + fake_requests(fakes[1]), 1);

    goes_on(client, paths[n]);
    ck_assert(fake_requests(fakes[0]) == 0 || fake_requests(fakes[1]) == 0);
    ck_assert(!client_gone(client));
}


START_TEST(unread_stream)
{
    unread(_i, false, false, CONF(""));
}
END_TEST


START_TEST(unread_stream_whole)
{
    unread(_i, false, true, CONF(""));
}
END_TEST


START_TEST(unread_stream_coalesce)
{
    unread(_i, false, false, CONF("myservice_coalesce on;\n"));
}
END_TEST


START_TEST(unread_all)
{
    unread(_i, true, false, CONF(""));
}
END_TEST


START_TEST(unread_all_coalesce)
{
    unread(_i, true, true, CONF("myservice_coalesce on;\n"));
}
END_TEST


/* the connection is as good as it was: nothing is lost when it is closed */
START_TEST(unread_reset_timedout)
{
    unread(_i, false, false, CONF("reset_timedout_connection on;\n"));
}
END_TEST


static client_call_t *
open_call(client_t *client, const char *path)
{
    client_header_t  headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", "s1" },
        { NULL, NULL }
    };

    return client_request(client, path, headers, "\0\0\0\0", 5, false);
}


/* messages of the instance meanwhile do not give the client more time */
START_TEST(unread_drip)
{
    client_t       *client;
    long long       since;
    client_call_t  *call;

    (void) instance_start(8081, "one", "--subscribe-interval 400ms");
    (void) instance_start(8082, "two", "--subscribe-interval 400ms");
    gateway_start(CONF(""));
    client = client_open(harness_port(8080));
    client_window(client, 0);
    since = harness_now();
    call = client_grpc(client, SUBSCRIBE, NULL, "s1", "", 0);
    client_wait(call);
    cancelled(call);
    harness_lasted(since, 1000);
    harness_within(since, 1000);
}
END_TEST


/* its neighbours go on, and the reset does not wait for what they send */
START_TEST(unread_one)
{
    int             i;
    client_t       *client;
    client_call_t  *call, *others[3];

    (void) fake_start(8081, "one", answer);
    (void) fake_start(8082, "two", answer);
    gateway_start(_i ? CONF("myservice_coalesce on;\n") : CONF(""));
    client = client_open(harness_port(8080));

    for (i = 0; i < 3; i++) {
        others[i] = open_call(client, paths[i]);
        client_wait_messages(others[i], 1);
    }

    atomic_store(&frames, LARGE);
    client_window_all(client, 1 << 20);
    call = open_call(client, PLAIN);
    (void) client_link(client);
    client_window_call(call, 0);
    client_wait(call);
    cancelled(call);
    ck_assert_uint_eq(client_resets(client), 1);

    for (i = 0; i < 3; i++) {
        client_assert_waits(others[i], 100);
        client_cancel(others[i]);
    }

    goes_on(client, ECHO);
}
END_TEST


/* nothing can be written to it: the limit of the connection ends all */
START_TEST(unread_deaf)
{
    client_t       *client;
    client_call_t  *call;

    (void) fake_start(8081, "one", answer);
    (void) fake_start(8082, "two", answer);
    gateway_start(_i ? CONF("myservice_coalesce on;\n") : CONF(""));
    client = client_open_link(harness_port(8080), LINK_SMALL);
    client_window(client, 1 << 30);
    client_window_all(client, 1 << 30);
    call = open_call(client, SUBSCRIBE);
    client_wait_messages(call, 1);
    atomic_store(&frames, HUGE);
    call = open_call(client, ECHO);
    (void) open_call(client, PLAIN);

    while (call->headers == 0) {
        client_poll(100);
    }

    client_pause(client, true);
    gateway_await_access(ECHO " grpc=1 message=" NOTHING);
    gateway_await_access(PLAIN " grpc=1 message=" NOTHING);
    gateway_await_access(SUBSCRIBE " grpc=1 message=" NOTHING);
    ck_assert(!gateway_logged("failed"));
    ck_assert(!gateway_logged("resumed"));
    client_pause(client, false);
    client_wait_all();
    ck_assert(client_gone(client));

    goes_on(client_open(harness_port(8080)), ECHO);
}
END_TEST


int
main(int argc, char **argv)
{
    int     n;
    Suite  *suite;

    (void) argc;
    suite = suite_create("send_timeout");
    n = sizeof(paths) / sizeof(paths[0]);

    harness_add_loop(suite, unread_stream, n);
    harness_add_loop(suite, unread_stream_whole, n);
    harness_add_loop(suite, unread_stream_coalesce, n);
    harness_add_loop(suite, unread_all, n);
    harness_add_loop(suite, unread_all_coalesce, n);
    harness_add(suite, unread_drip);
    harness_add_loop(suite, unread_one, 2);

    /* an instance that ignores windows breaks a connection that is shared */

    if (gateway_keeps()) {
        harness_add_loop(suite, unread_deaf, 2);
    }

    harness_add_loop(suite, unread_reset_timedout, n);

    return harness_run(suite, argv[0]);
}
