/* myservice_metrics: the text that Prometheus reads. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"


#define CONF(more)                                                            \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream \"u\\\"x\" {\n"                                             \
    "        myservice_sessions $myservice_session zone=z1:1m;\n"             \
    "        server 127.0.0.1:8081;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://u\\\"x; }\n"                       \
    "        location = /page/Echo {\n"                                       \
    "            error_page 502 504 /page;\n"                                 \
    "            grpc_pass grpc://u\\\"x;\n"                                   \
    "        }\n"                                                             \
    "        location = /page { return 502; }\n"                              \
    "        location = /metrics { myservice_metrics; }\n"                    \
    "        " more "\n"                                                      \
    "    }\n"                                                                 \
    "}\n"

#define UPSTREAM  "upstream=\"u\\\"x\""


static const char *
metrics(const char *method)
{
    static char       text[65536];
    client_t         *client;
    client_call_t    *c;
    client_header_t   headers[2] = { { ":method", method }, { NULL, NULL } };

    client = client_open(harness_port(8080));
    c = client_request(client, "/metrics", headers, NULL, 0, false);
    client_wait(c);
    ck_assert_int_eq(c->http, 200);
    ck_assert_str_eq(c->type, "text/plain; version=0.0.4; charset=utf-8");
    ck_assert_uint_lt(c->len, sizeof(text));
    snprintf(text, sizeof(text), "%.*s", (int) c->len,
             c->len != 0 ? (char *) c->body : "");
    client_close(client);

    return text;
}


/* the value of a whole line but for its number */
static double
value(const char *text, const char *series)
{
    char         line[256];
    const char  *p;

    snprintf(line, sizeof(line), "\n%s ", series);
    p = strstr(text, line);
    ck_assert_msg(p != NULL, "no %s in:\n%s", series, text);

    return strtod(p + strlen(line), NULL);
}


/* a line is counted after the end of its call */
static void
await(const char *series, double n)
{
    long long  since;

    since = harness_now();

    while (value(metrics("GET"), series) < n) {
        harness_pause(since, series);
    }

    ck_assert_double_eq(value(metrics("GET"), series), n);
}


#define CALLS(status)                                                         \
    "myservice_calls_total{" UPSTREAM ",grpc_status=\"" status "\"}"


START_TEST(metrics_form)
{
    const char  *text;

    gateway_start(CONF(""));
    text = metrics("GET");

    ck_assert_ptr_nonnull(strstr(text, "# HELP myservice_build_info "));
    ck_assert_ptr_nonnull(strstr(text, "\n# TYPE myservice_instances gauge\n"));
    ck_assert_double_eq(value(text, "myservice_instances{" UPSTREAM
                              ",state=\"free\"}"), 1);
    ck_assert_double_eq(value(text, "myservice_zone_slots{" UPSTREAM
                              ",use=\"used\"}"), 1);
    ck_assert_double_gt(value(text, "myservice_zone_slots{" UPSTREAM
                              ",use=\"free\"}"), 3000);
    ck_assert_double_eq(value(text, "myservice_tokens_total{status=\"OK\"}"),
                        0);
    ck_assert_double_eq(value(text, CALLS("OK")), 0);
    ck_assert_str_eq(metrics("HEAD"), "");
}
END_TEST


START_TEST(metrics_calls)
{
    (void) fake_start(8081, "one", fake_ok);
    gateway_start(CONF(""));

    client_assert(echo_once("a"), 0, "");
    client_assert(echo_once("a"), 0, "");
    client_assert_refused(echo_once("b"), 8, "all instances are busy");

    await(CALLS("OK"), 2);
    await(CALLS("RESOURCE_EXHAUSTED"), 1);
    await("myservice_first_byte_seconds_count{" UPSTREAM "}", 2);
    await("myservice_first_byte_seconds_bucket{" UPSTREAM ",le=\"10.000\"}",
          2);
    await("myservice_first_byte_seconds_bucket{" UPSTREAM ",le=\"+Inf\"}", 2);
    await("myservice_decisions_total{" UPSTREAM ",decision=\"HIT\"}", 1);
    await("myservice_decisions_total{" UPSTREAM ",decision=\"BUSY\"}", 1);
    await("myservice_sessions_ended_total{" UPSTREAM ",reason=\"died\"}", 0);
    await("myservice_instances{" UPSTREAM ",state=\"leased\"}", 1);
}
END_TEST


/* the location that the page comes from has no upstream */
START_TEST(metrics_page)
{
    client_t       *client;
    client_call_t  *c;

    gateway_start(CONF(""));
    client = client_open(harness_port(8080));
    c = client_grpc(client, "/page/Echo", NULL, "a", "", 0);
    client_wait(c);
    client_assert_refused(c, 14, "backend service unavailable");
    await(CALLS("UNAVAILABLE"), 1);
}
END_TEST


static void
silent(fake_call_t *call)
{
    (void) call;
}


static void
odd(fake_call_t *call)
{
    fake_refuse(call, 99, "");
}


START_TEST(metrics_ends)
{
    fake_t         *fake;
    client_t       *client;
    client_call_t  *c;

    fake = fake_start(8081, "one", silent);
    gateway_start(CONF(""));

    client = client_open(harness_port(8080));
    c = echo_start(client, "a");

    while (fake_requests(fake) == 0) {
        client_poll(10);
    }

    client_cancel(c);
    await(CALLS("CANCELLED"), 1);
    await("myservice_first_byte_seconds_count{" UPSTREAM "}", 0);

    fake_stop(fake);
    (void) fake_start(8081, "one", odd);
    (void) echo_once("a");
    await(CALLS("OTHER"), 1);
}
END_TEST


/* no counter goes down */
START_TEST(metrics_last)
{
    gateway_allow("exited on signal 9");
    (void) fake_start(8081, "one", fake_ok);
    gateway_start(CONF(""));

    client_assert(echo_once("a"), 0, "");
    await(CALLS("OK"), 1);

    gateway_reload(CONF("location = /more { return 404; }"));
    client_assert(echo_once("a"), 0, "");
    await(CALLS("OK"), 2);

    gateway_kill_workers(2);
    client_assert(echo_once("a"), 0, "");
    await(CALLS("OK"), 3);
    await("myservice_first_byte_seconds_count{" UPSTREAM "}", 3);
}
END_TEST


/* other requests than calls are not counted */
START_TEST(metrics_other)
{
    client_t         *client;
    client_call_t    *c;
    client_header_t   get[2] = { { ":method", "GET" }, { NULL, NULL } };

    gateway_start(CONF(""));
    client = client_open(harness_port(8080));
    c = client_request(client, "/", get, NULL, 0, false);
    client_wait(c);

    ck_assert_ptr_null(strstr(metrics("GET"), "grpc_status=\"CANCELLED\"} 1"));
    await(CALLS("UNAVAILABLE"), 0);
    await(CALLS("OTHER"), 0);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("metrics");
    harness_add(suite, metrics_form);
    harness_add(suite, metrics_calls);
    harness_add(suite, metrics_page);
    harness_add(suite, metrics_ends);
    harness_add(suite, metrics_last);
    harness_add(suite, metrics_other);

    return harness_run(suite, "test_metrics");
}
