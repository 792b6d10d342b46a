/*
 * A call whose client sends nothing for longer than nginx waits ends with a
 * status.
 */

#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"


#define CONF(directives)                                                      \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format answer 'grpc=$myservice_grpc_status '\n"                  \
    "        'message=$myservice_grpc_message';\n"                            \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        server 127.0.0.1:8081;\n"                                        \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log answer;\n"                         \
    directives                                                                \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "        location /plain.Service/ { grpc_pass grpc://127.0.0.1:8081; }\n" \
    "    }\n"                                                                 \
    "}\n"

#define NOTHING  "the client sent nothing for client_body_timeout"


static void
begin(fake_call_t *call)
{
    fake_headers(call);
    fake_message(call, 0);
}


static void
say_nothing(fake_call_t *call)
{
    (void) call;
}


static client_call_t *
start(const char *path)
{
    client_header_t  headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", "s1" },
        { NULL, NULL }
    };

    return client_request(client_open(harness_port(8080)), path, headers,
                          "\0\0\0\0", 5, true);
}


/* before and after the answer's header, with a session and without */
static void
idle(void (*answer)(fake_call_t *), const char *path, bool refused)
{
    fake_t         *fake;
    long long       since;
    client_call_t  *call;

    fake = fake_start(8081, "one", answer);
    fake_early(fake);
    gateway_start(CONF("client_body_timeout 2s;\n"));

    since = harness_now();
    call = start(path);
    client_wait(call);
    harness_lasted(since, 2000);
    client_assert_at(call, 14, NOTHING, refused, __FILE__, __LINE__);
    gateway_await_access("grpc=14 message=" NOTHING);
    ck_assert_uint_eq(fake_requests(fake), 1);
    ck_assert(!gateway_logged("failed"));

    /* messages keep the call alive */
    since = harness_now();
    call = start(path);

    while (harness_now() - since < 3500) {
        client_assert_waits(call, 400);
        client_send(call, "\0\0\0\0", 5, false);
    }

    client_wait(call);
    client_assert_at(call, 14, NOTHING, refused, __FILE__, __LINE__);
}


START_TEST(idle_session)
{
    idle(begin, ECHO, false);
}
END_TEST


START_TEST(idle_session_no_answer)
{
    idle(say_nothing, ECHO, true);
}
END_TEST


START_TEST(idle_plain)
{
    idle(begin, "/plain.Service/Method", false);
}
END_TEST


START_TEST(idle_plain_no_answer)
{
    idle(say_nothing, "/plain.Service/Method", true);
}
END_TEST


/* a message that the gateway itself waits for */
START_TEST(idle_gateway)
{
    client_call_t  *call;
    client_header_t  headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { NULL, NULL }
    };

    gateway_start(CONF("client_body_timeout 1s;\n"
                       "location /grpc.health.v1.Health/ {\n"
                       "    myservice_gateway_health u;\n"
                       "}\n"));
    call = client_request(client_open(harness_port(8080)),
                          "/grpc.health.v1.Health/Check", headers, "\0", 1,
                          true);
    client_wait(call);
    client_assert_refused(call, 14, NOTHING);
    gateway_await_access("grpc=14 message=" NOTHING);
}
END_TEST


/* the rest of a call that an "error_page" sends elsewhere */
START_TEST(idle_fallback)
{
    client_call_t  *call;

    gateway_start(CONF("client_body_timeout 1s;\n"
                       "error_page 500 502 = @fallback;\n"
                       "location @fallback { grpc_pass 127.0.0.1:8083; }\n"));
    call = start(ECHO);
    client_wait(call);
    client_assert_refused(call, 14, NOTHING);
}
END_TEST


/* a client that has sent all is not idle */
START_TEST(idle_server_stream)
{
    client_call_t  *call;

    (void) fake_start(8081, "one", begin);
    gateway_start(CONF("client_body_timeout 1s;\n"));
    call = echo_start(client_open(harness_port(8080)), "s1");
    client_assert_waits(call, 1500);
    client_cancel(call);
    client_close(call->client);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("idle");

    harness_add(suite, idle_session);
    harness_add(suite, idle_session_no_answer);
    harness_add(suite, idle_plain);
    harness_add(suite, idle_plain_no_answer);
    harness_add(suite, idle_gateway);
    harness_add(suite, idle_fallback);
    harness_add(suite, idle_server_stream);

    return harness_run(suite, argv[0]);
}
