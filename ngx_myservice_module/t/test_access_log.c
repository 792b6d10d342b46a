/* What the access log says of a call: variables in a format of JSON. */

#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"


#define CONF(upstream)                                                        \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format json escape=json '{\"session\":\"$myservice_session\",'"   \
    "        '\"instance\":\"$myservice_instance\",'"                          \
    "        '\"decision\":\"$myservice_decision\",'"                          \
    "        '\"attempts\":\"$myservice_attempts\",'"                          \
    "        '\"wait\":\"$myservice_wait_time\",'"                             \
    "        '\"age\":\"$myservice_lease_age\",'"                              \
    "        '\"trace\":\"$http_traceparent\"}';\n"                           \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=z1:1m;\n"             \
    upstream                                                                  \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log json;\n"                           \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "        location = /plain { return 200; }\n"                             \
    "    }\n"                                                                 \
    "}\n"

#define ONE    "server 127.0.0.1:8081;\n"
#define TRACE  "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


/* A call without a token: its helper makes no JSON of a quote. */
static void
echo(const char *session)
{
    client_call_t    *call;
    client_header_t   headers[] = {
        { "content-type", "application/grpc" }, { "te", "trailers" },
        { "session-id", session }, { "traceparent", TRACE },
        { "tracestate", "vendor=x" }, { NULL, NULL }
    };

    call = client_request(client_open(harness_port(8080)),
                          "/my_service.MyServiceAPI/MyServiceEcho", headers,
                          "\0\0\0\0", 5, false);
    client_wait(call);
    client_assert(call, 0, "");
}


START_TEST(log_call)
{
    (void) fake_start(8081, "one", fake_ok);
    gateway_start(CONF(ONE));

    echo("a\"b");
    gateway_await_access("\"session\":\"a\\\"b\",\"instance\":\"127.0.0.1:");
    gateway_await_access("\"decision\":\"NEW\",\"attempts\":\"1\","
                         "\"wait\":\"");
    ck_assert(!harness_contains("access.log", "\"wait\":\"\""));
    gateway_await_access("\"age\":\"0.000\"");
}
END_TEST


/* it reaches the instance as it came */
START_TEST(log_trace)
{
    fake_t  *fake;

    fake = fake_start(8081, "one", fake_ok);
    gateway_start(CONF(ONE));

    echo("a");
    ck_assert_ptr_nonnull(strstr(fake_metadata(fake),
                                 "traceparent: " TRACE "\n"));
    ck_assert_ptr_nonnull(strstr(fake_metadata(fake),
                                 "tracestate: vendor=x\n"));
    gateway_await_access("\"trace\":\"" TRACE "\"}");
}
END_TEST


START_TEST(log_refused)
{
    gateway_start(CONF("server 127.0.0.1:8081 down;\n"));

    (void) echo_once("a");
    gateway_await_access("\"attempts\":\"0\",\"wait\":\"\",\"age\":\"\"");
}
END_TEST


/* the session's instance is gone, another one is asked */
START_TEST(log_attempts)
{
    fake_t      *fakes[2];
    const char  *pod;

    fakes[0] = fake_start(8081, "one", fake_ok);
    fakes[1] = fake_start(8082, "two", fake_ok);
    gateway_start(CONF(ONE "server 127.0.0.1:8082;\n"));

    pod = client_pod(echo_once("a"), 0);
    fake_stop(fakes[strcmp(pod, "two") == 0]);
    client_assert(echo_once("a"), 0, "");
    gateway_await_access("\"decision\":\"MOVED\",\"attempts\":\"2\"");
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("access log");
    harness_add(suite, log_call);
    harness_add(suite, log_trace);
    harness_add(suite, log_refused);
    harness_add(suite, log_attempts);

    return harness_run(suite, "test_access_log");
}
