/*
 * A grpc_pass that does not lead to an upstream with sessions: the gateway
 * refuses the call with a status, the error log says why, and the worker goes
 * on.
 */

#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"


#define CONF(locations)                                                       \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        server 127.0.0.1:8081;\n"                                        \
    "        keepalive 4;\n"                                                  \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    locations                                                                 \
    "    }\n"                                                                 \
    "}\n"


/* A call of the session to that path. */
static client_call_t *
call(const char *path, const char *session)
{
    client_call_t  *c;

    c = client_grpc(client_open(harness_port(8080)), path, NULL, session, "",
                    0);
    client_wait(c);

    return c;
}


/* The call is refused, and the worker goes on. */
static void
refused(const char *path, const char *text)
{
    pid_t  before, after;

    ck_assert_uint_eq(gateway_workers(&before, 1), 1);
    client_assert_refused(call(path, "s1"), 13, "internal error");
    ck_assert(gateway_logged(text));
    ck_assert_uint_eq(gateway_workers(&after, 1), 1);
    ck_assert_int_eq(before, after);
}


/* the name is in a variable, so that nginx -t can not see it */
START_TEST(pass_proxy)
{
    fake_t  *fake;

    fake = fake_start(8081, "one", fake_ok);
    gateway_start(CONF("set $up u;\n"
                       "location / { grpc_pass grpc://u; }\n"
                       "location /proxy { proxy_pass http://$up; }\n"
                       "location /not { proxy_pass http://$up;\n"
                       "    proxy_buffering off; }\n"));

    refused("/proxy", "only \"grpc_pass\" can pass to it");
    refused("/not", "only \"grpc_pass\" can pass to it");
    ck_assert_uint_eq(fake_requests(fake), 0);
    client_assert(call(ECHO, "s1"), 0, "");
}
END_TEST


/* the gateway must know before a call comes where it goes */
START_TEST(pass_variable)
{
    fake_t  *fake;

    fake = fake_start(8081, "one", fake_ok);
    gateway_start(CONF("set $up u;\n"
                       "location / { grpc_pass grpc://$up; }\n"
                       "location /plain { set $up 127.0.0.1:8081;\n"
                       "    grpc_pass grpc://$up; }\n"));

    refused(ECHO, "\"grpc_pass\" to it can have no variables");
    ck_assert_uint_eq(fake_requests(fake), 0);
    client_assert(call("/plain", "s1"), 0, "");
}
END_TEST


/* nginx has one status for all that a balancer refuses */
START_TEST(pass_not_grpc)
{
    size_t           i;
    client_call_t   *c;
    client_header_t  headers[3] = { { "content-type", "text/plain" } };

    static const char *const  sessions[] = { "", "a b", "s2" };

    (void) fake_start(8081, "one", fake_ok);
    gateway_start(CONF("location / { grpc_pass grpc://u; }\n"));
    client_assert(call(ECHO, "s1"), 0, "");

    for (i = 0; i < sizeof(sessions) / sizeof(sessions[0]); i++) {
        headers[1] = (client_header_t) { "session-id", sessions[i] };
        c = client_request(client_open(harness_port(8080)), ECHO, headers,
                           "", 0, false);
        client_wait(c);
        ck_assert_int_eq(c->http, 500);
        ck_assert_int_eq(c->grpc, -1);
    }
}
END_TEST


/* a subrequest does not touch the call that it belongs to */
START_TEST(pass_mirror)
{
    int      i;
    fake_t  *one, *two;

    one = fake_start(8081, "one", fake_ok);
    two = fake_start(8082, "two", fake_ok);
    gateway_start(CONF(
        "location / { mirror /shadow; grpc_pass grpc://u; }\n"
        "location = /shadow { internal; grpc_pass grpc://v; }\n"
        "location = /plain { mirror /shadow;\n"
        "    grpc_pass grpc://127.0.0.1:8081; }\n"
        "}\n"
        "upstream v {\n"
        "    myservice_sessions $myservice_session zone=v:1m;\n"
        "    server 127.0.0.1:8082;\n"));

    for (i = 0; i < 3; i++) {
        client_assert(call(ECHO, "s1"), 0, "");
        client_assert(call("/plain", "s1"), 0, "");
    }

    client_assert_refused(call(ECHO, "s2"), 8, "all instances are busy");
    ck_assert(gateway_logged("subrequests, as of \"mirror\""));
    ck_assert_uint_eq(fake_requests(one), 6);
    ck_assert_uint_eq(fake_requests(two), 0);
}
END_TEST


/* and the reason of its refusal does not replace nginx's own error */
START_TEST(pass_mirror_error)
{
    (void) fake_start(8081, "one", fake_ok);
    gateway_start(CONF(
        "location / { mirror /shadow; error_page 502 /error;\n"
        "    grpc_pass grpc://127.0.0.1:8083; }\n"
        "location = /shadow { internal; grpc_pass grpc://u; }\n"
        "location = /error { return 503; }\n"));
    client_assert_refused(call(ECHO, "s1"), 14, "service unavailable");
    ck_assert(gateway_logged("subrequests, as of \"mirror\""));
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("pass");
    harness_add(suite, pass_proxy);
    harness_add(suite, pass_variable);
    harness_add(suite, pass_not_grpc);
    harness_add(suite, pass_mirror);
    harness_add(suite, pass_mirror_error);

    return harness_run(suite, "test_pass");
}
