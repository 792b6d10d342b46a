
/*
 * Timers of nginx that hit calls in flight.  The call goes on, or ends with a
 * status; none loses the instance's lease.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/messages.h"
#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "instance.h"


#define CONF(directives)  GLOBAL("", directives)

#define GLOBAL(globals, directives)                                           \
    "%%GLOBALS%%\n"                                                           \
    globals                                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format answer '$uri grpc=$myservice_grpc_status '\n"             \
    "        'message=$myservice_grpc_message';\n"                            \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        server 127.0.0.1:8081;\n"                                        \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        client_max_body_size 5m;\n"                                      \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log answer;\n"                         \
    directives                                                                \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "        location /plain.Service/ { grpc_pass grpc://127.0.0.1:8081; }\n" \
    "    }\n"                                                                 \
    "}\n"

#define PLAIN     "/plain.Service/Method"
#define EXCEEDED  "deadline exceeded"
#define EXITING   "gateway is shutting down at worker_shutdown_timeout"
#define BODY      200000


static const char *const  paths[] = { ECHO, PLAIN };
static fake_call_t        first;
static atomic_bool        begins;


static client_call_t *
start(client_t *client, const char *path, size_t len, bool more)
{
    client_header_t   headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", "s1" },
        { NULL, NULL }
    };
    static uint8_t    body[BODY];

    ms_message_prefix(body, (uint32_t) (len - MS_MESSAGE_PREFIX));

    return client_request(client, path, headers, body, len, more);
}


static void
say_nothing(fake_call_t *call)
{
    if (atomic_load(&begins)) {
        fake_headers(call);
        fake_message(call, 0);
    }
}


/* the first call is open until there is a second one */
static void
both(fake_call_t *call)
{
    if (call->number == 1) {
        first = *call;
        fake_headers(call);
        fake_message(call, 0);
        return;
    }

    fake_ok(call);
    fake_trailers(&first, 0, NULL);
}


/* a GOAWAY does not touch the calls that run on the connection */
static void
goaway(const char *conf, int ms)
{
    client_t       *client;
    client_call_t  *calls[2];

    (void) fake_start(8081, "one", both);
    gateway_start(conf);
    client = client_open(harness_port(8080));
    calls[0] = start(client, ECHO, 5, false);
    client_wait_messages(calls[0], 1);
    client_assert_waits(calls[0], ms);
    ck_assert(!client_goaway(client));
    calls[1] = start(client, PLAIN, 5, false);
    client_wait_all();
    client_assert(calls[0], 0, "");
    client_assert(calls[1], 0, "");
    ck_assert(client_goaway(client));
}


START_TEST(timers_keepalive_requests)
{
    goaway(CONF("keepalive_requests 2;\n"), 1);
}
END_TEST


START_TEST(timers_keepalive_time)
{
    goaway(CONF("keepalive_time 1s;\n"), 1200);
}
END_TEST


/* it counts from the end of the last call, lingering_timeout from the end of
 * the connection */
START_TEST(timers_keepalive_timeout)
{
    client_t       *client;
    client_call_t  *call;

    (void) fake_start(8081, "one", both);
    gateway_start(CONF("keepalive_timeout 1s; lingering_timeout 1s;\n"
                       "lingering_close always;\n"));
    client = client_open(harness_port(8080));
    call = start(client, ECHO, 5, false);
    client_wait_messages(call, 1);
    client_assert_waits(call, 2500);
    (void) start(client, PLAIN, 5, false);
    client_wait_all();
    client_assert(call, 0, "");
}
END_TEST


/* the timer ends the call whose header is not complete, and no other call */
START_TEST(timers_client_header)
{
    client_t       *client;
    long long       since;
    client_call_t  *call;

    (void) fake_start(8081, "one", both);
    gateway_start(CONF("client_header_timeout 1s;\n"));
    client = client_open(harness_port(8080));
    call = start(client, paths[_i], 5, false);
    client_wait_messages(call, 1);
    link_hold(client_link(client));
    (void) start(client, paths[_i], 5, false);
    link_release_part(client_link(client), 20);
    since = harness_now();

    while (!gateway_logged("client timed out")) {
        harness_pause(since, "the header is not waited for");
    }

    client_assert_waits(call, 100);
    link_release(client_link(client), 0);
    (void) start(client, paths[_i], 5, false);
    client_wait_all();
    client_assert(call, 0, "");
}
END_TEST


/* "len" bytes that the instance takes, or waits with for ever */
static void
upstream(const char *path, const char *conf, size_t len, bool begun, int code,
    const char *text)
{
    fake_t         *fake;
    client_t       *client;
    client_call_t  *call;

    atomic_store(&begins, begun);
    fake = fake_start(8081, "one", say_nothing);
    fake_early(fake);
    gateway_start(conf);
    client = client_open(harness_port(8080));
    call = start(client, path, len, len != 5);
    client_wait(call);
    client_assert_at(call, code, text, !begun, __FILE__, __LINE__);
    ck_assert_uint_eq(client_messages(call), begun);
    ck_assert_uint_eq(fake_requests(fake), 1);
    ck_assert(gateway_logged("upstream timed out"));
}


START_TEST(timers_read)
{
    upstream(ECHO, CONF("grpc_read_timeout 1s;\n"), 5, _i, 4, EXCEEDED);
}
END_TEST


START_TEST(timers_read_plain)
{
    upstream(PLAIN, CONF("grpc_read_timeout 1s;\n"), 5, _i, 14,
             "service unavailable");
}
END_TEST


START_TEST(timers_send)
{
    upstream(ECHO, CONF("grpc_send_timeout 1s;\n"), BODY, _i, 4, EXCEEDED);
}
END_TEST


START_TEST(timers_send_plain)
{
    upstream(PLAIN, CONF("grpc_send_timeout 1s;\n"), BODY, _i, 14,
             "service unavailable");
}
END_TEST


/* the timer bounds all attempts together, not a single one */
START_TEST(timers_next_upstream)
{
    client_call_t  *call;

    (void) fake_start(8081, "one", both);
    gateway_start(CONF("grpc_next_upstream_timeout 1s;\n"));
    call = start(client_open(harness_port(8080)), ECHO, 5, false);
    client_assert_waits(call, 2000);
    (void) start(call->client, PLAIN, 5, false);
    client_wait_all();
    client_assert(call, 0, "");
}
END_TEST


/* nginx does not apply it to answers that it does not buffer */
START_TEST(timers_limit_rate)
{
    client_call_t  *call;

    (void) instance_start(8081, "one", NULL);
    gateway_start(CONF("limit_rate 1; send_timeout 1s;\n"));
    call = echo_start(client_open(harness_port(8080)), "s1");
    client_wait(call);
    client_assert(call, 0, "");
}
END_TEST


static void
listen_full(int number)
{
    int                 i, s;
    socklen_t           len;
    struct sockaddr_in  sin;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((uint16_t) harness_port(number));
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    len = sizeof(sin);

    s = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(s, (struct sockaddr *) &sin, len), 0);
    ck_assert_int_eq(listen(s, 0), 0);

    for (i = 0; i < 4; i++) {
        s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void) connect(s, (struct sockaddr *) &sin, len);
    }
}


START_TEST(timers_connect)
{
    client_call_t  *call;

    listen_full(8081);
    gateway_start(CONF("grpc_connect_timeout 1s;\n"));
    call = start(client_open(harness_port(8080)), paths[_i], 5, false);
    client_wait(call);
    client_assert_refused(call, 14, _i ? "service unavailable"
                                       : "backend service unavailable");
}
END_TEST


/* the client is idle while its call waits for a connection */
START_TEST(timers_connect_idle)
{
    client_call_t  *call;

    listen_full(8081);
    gateway_start(CONF("client_body_timeout 1s; grpc_connect_timeout 60s;\n"));
    call = start(client_open(harness_port(8080)), paths[_i], 5, true);
    client_wait(call);
    client_assert_refused(call, 14,
                          "the client sent nothing for client_body_timeout");
}
END_TEST


/* calls of sessions get a status before the connection is closed */
START_TEST(timers_shutdown)
{
    client_call_t  *call;

    atomic_store(&begins, true);
    (void) fake_start(8081, "one", say_nothing);
    gateway_start(GLOBAL("worker_shutdown_timeout 5s;\n", ""));
    call = start(client_open(harness_port(8080)), ECHO, 5, false);
    client_wait_messages(call, 1);
    gateway_reload(NULL);
    client_assert_waits(call, 500);
    client_wait(call);
    client_assert(call, 14, EXITING);
    gateway_await_workers(1);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("timers");

    harness_add(suite, timers_keepalive_requests);
    harness_add(suite, timers_keepalive_time);
    harness_add(suite, timers_keepalive_timeout);
    harness_add_loop(suite, timers_client_header, 2);
    harness_add_loop(suite, timers_read, 2);
    harness_add_loop(suite, timers_read_plain, 2);
    harness_add_loop(suite, timers_send, 2);
    harness_add_loop(suite, timers_send_plain, 2);
    harness_add(suite, timers_next_upstream);
    harness_add(suite, timers_limit_rate);
    harness_add_loop(suite, timers_connect, 2);
    harness_add_loop(suite, timers_connect_idle, 2);
    harness_add(suite, timers_shutdown);

    return harness_run(suite, argv[0]);
}
