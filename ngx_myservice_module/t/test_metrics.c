/* myservice_metrics: the text that Prometheus reads. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "dns.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"


/* 127.0.0.1:8082 is the name server of those that need one */
#define CONF_WITH(workers, upstream, location, more)                          \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes " workers ";\n"                                         \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream \"u\\\"x\" {\n"                                             \
    "        myservice_sessions $myservice_session zone=z1:1m;\n"             \
    "        myservice_queue length=8 timeout=1ms;\n"                        \
    "        myservice_release MyServiceShutdown;\n"                          \
    upstream                                                                  \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / {\n"                                                  \
    location                                                                  \
    "            grpc_pass grpc://u\\\"x;\n"                                   \
    "        }\n"                                                             \
    "        location = /page/Echo {\n"                                       \
    "            error_page 502 504 /page;\n"                                 \
    "            grpc_pass grpc://u\\\"x;\n"                                   \
    "        }\n"                                                             \
    "        location = /page { return 502; }\n"                              \
    "        location = /metrics { myservice_metrics; }\n"                    \
    "        " more "\n"                                                      \
    "    }\n"                                                                 \
    "}\n"

#define SERVER      "server 127.0.0.1:8081;\n"
#define CONF(more)  CONF_WITH("2", SERVER, "", more)

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


static void
await_more(const char *series, double n)
{
    long long  since;

    since = harness_now();

    while (value(metrics("GET"), series) < n) {
        harness_pause(since, series);
    }
}


/* a line is counted after the end of its call */
static void
await(const char *series, double n)
{
    await_more(series, n);
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
    ck_assert_double_eq(value(text, "myservice_queue_sessions{" UPSTREAM
                              ",state=\"waiting\"}"), 0);
    ck_assert_double_eq(value(text, "myservice_queue_sessions{" UPSTREAM
                              ",state=\"room\"}"), 8);
    ck_assert_double_eq(value(text, "myservice_queue_oldest_seconds{" UPSTREAM
                              "}"), 0);
    ck_assert_double_gt(value(text, "myservice_zone_slots{" UPSTREAM
                              ",use=\"free\"}"), 2700);
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


START_TEST(metrics_sessions)
{
    client_t  *client;

    (void) fake_start(8081, "one", fake_ok);
    gateway_start(CONF(""));
    client = client_open(harness_port(8080));

    client_assert(echo_get(client, "a"), 0, "");
    client_assert(echo_get(client, "a"), 0, "");
    await("myservice_assignment_seconds_count{" UPSTREAM "}", 1);
    await("myservice_session_seconds_count{" UPSTREAM "}", 0);

    client_assert(shutdown_get(client, "a"), 0, "");
    await("myservice_sessions_ended_total{" UPSTREAM ",reason=\"released\"}",
          1);
    await("myservice_session_seconds_count{" UPSTREAM "}", 1);
    await("myservice_session_seconds_bucket{" UPSTREAM ",le=\"86400.000\"}",
          1);
    await("myservice_assignment_seconds_count{" UPSTREAM "}", 1);
}
END_TEST


#define CONNECTIONS(use)                                                      \
    "myservice_connections_total{" UPSTREAM ",use=\"" use "\"}"

START_TEST(metrics_kept)
{
    client_t  *client;

    (void) fake_start(8081, "one", fake_ok);
    gateway_start(CONF_WITH("1", SERVER "keepalive 4;\n", "", ""));
    client = client_open(harness_port(8080));

    client_assert(echo_get(client, "a"), 0, "");
    client_assert(echo_get(client, "a"), 0, "");
    await(CALLS("OK"), 2);
    await(CONNECTIONS("opened"), 1);
    await(CONNECTIONS("kept"), 1);
    await(CONNECTIONS("shared"), 0);
}
END_TEST


START_TEST(metrics_shared)
{
    client_t  *client;

    (void) fake_start(8081, "one", fake_ok);
    gateway_start(CONF_WITH("1", SERVER "myservice_multiplex on;\n", "", ""));
    client = client_open(harness_port(8080));

    client_assert(echo_get(client, "a"), 0, "");
    client_assert(echo_get(client, "a"), 0, "");
    await(CALLS("OK"), 2);
    await(CONNECTIONS("opened"), 1);
    await(CONNECTIONS("kept"), 0);
    await(CONNECTIONS("shared"), 1);
}
END_TEST


START_TEST(metrics_coalesced)
{
    (void) fake_start(8081, "one", fake_ok);
    gateway_start(CONF(""));
    client_assert(echo_once("a"), 0, "");
    await("myservice_coalesced_writes_total", 0);

    gateway_reload(CONF("myservice_coalesce on;"));
    client_assert(echo_once("a"), 0, "");
    await_more("myservice_coalesced_writes_total", 1);
}
END_TEST


START_TEST(metrics_tokens)
{
    char         series[256];
    client_t    *client;
    const char  *text;

    (void) fake_start(8081, "one", fake_ok);
    gateway_start(CONF_WITH("1", SERVER,
                            "myservice_jwt on;\n"
                            "myservice_jwt_secret_file %%DIR%%/secret;\n",
                            ""));
    client = client_open(harness_port(8080));

    client_assert(echo_get(client, "a"), 0, "");
    client_assert(echo_get(client, "a"), 0, "");
    await("myservice_tokens_total{status=\"OK\"}", 2);

    text = metrics("GET");
    ck_assert_double_ge(value(text, "myservice_token_verification_seconds"
                              "_count"), 1);
    ck_assert_double_eq(value(text, "myservice_token_verification_seconds"
                              "_count"),
                        value(text, "myservice_token_cache_total"
                              "{result=\"miss\"}"));

    snprintf(series, sizeof(series), "myservice_key_age_seconds{source=\"%s\"}",
             harness_path("secret"));
    ck_assert_double_ge(value(text, series), 0);
    ck_assert_double_lt(value(text, series), 3600);
}
END_TEST


static void
serving(fake_call_t *call)
{
    fake_health(call, 1);
}


#define CHECKS(result)                                                        \
    "myservice_health_checks_total{" UPSTREAM ",result=\"" result "\"}"

START_TEST(metrics_probes)
{
    fake_t      *fake;
    const char  *text;

    fake = fake_start(8081, "one", serving);
    gateway_start(CONF_WITH("2", SERVER "myservice_health interval=100ms;\n",
                            "", ""));

    await_more(CHECKS("passed"), 2);
    text = metrics("GET");
    ck_assert_double_ge(value(text, "myservice_health_check_seconds_count{"
                              UPSTREAM "}"), 2);
    ck_assert_double_ge(value(text, "myservice_health_age_seconds{"
                              UPSTREAM "}"), 0);
    ck_assert_double_eq(value(text, CHECKS("failed")), 0);

    fake_stop(fake);
    await_more(CHECKS("unanswered"), 1);
}
END_TEST


#define LOOKUPS  "myservice_name_lookup_seconds_count{" UPSTREAM "}"
#define WAITS    "myservice_waits_total{reason=\"names\"}"

START_TEST(metrics_names)
{
    dns_t          *dns;
    client_t       *client;
    client_call_t  *c;

    dns = dns_start(8082);
    dns_fail(dns, "app.test", DNS_SILENT);
    (void) fake_start(8081, "one", fake_ok);

    gateway_start(CONF_WITH("2",
                            "myservice_resolver 127.0.0.1:8082 ipv6=off;\n"
                            "myservice_resolver_timeout 30s;\n"
                            "myservice_resolve app.test:%%PORT_8081%%;\n",
                            "", ""));
    client = client_open(harness_port(8080));
    c = echo_start(client, "a");
    client_assert_waits(c, 100);
    await(WAITS, 1);
    await(LOOKUPS, 0);
    await("myservice_waits_total{reason=\"probes\"}", 0);

    /* the resolver asks again when it has no answer */

    dns_addresses(dns, "app.test", "127.0.0.1", 60);
    client_wait(c);
    client_assert(c, 0, "");
    await(LOOKUPS, 1);
    await(WAITS, 1);
    ck_assert_ptr_nonnull(strstr(metrics("GET"),
                                 "\nmyservice_name_members{" UPSTREAM
                                 ",name=\"app.test:"));
}
END_TEST


/* no counter goes down */
START_TEST(metrics_last)
{
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
    harness_add(suite, metrics_sessions);

    /* metrics_shared is its twin */

    if (gateway_keeps()) {
        harness_add(suite, metrics_kept);
    }

    harness_add(suite, metrics_shared);
    harness_add(suite, metrics_coalesced);
    harness_add(suite, metrics_tokens);
    harness_add(suite, metrics_probes);
    harness_add(suite, metrics_names);
    harness_add(suite, metrics_last);
    harness_add(suite, metrics_other);

    return harness_run(suite, "test_metrics");
}
