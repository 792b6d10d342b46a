/*
 * myservice_api: every answer is what docs/openapi.json says, changes are
 * made, and a web page of somebody else cannot make a browser change anything.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "api.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "tls_front.h"


static void
state(int number, const char *expected, bool drain)
{
    json_t  *answer;

    answer = api_ask("GET", api_at(number), INSTANCE, NULL, NULL, 200);
    ck_assert_str_eq(json_string_value(json_object_get(answer, "state")),
                     expected);
    ck_assert(json_is_true(json_object_get(answer, "drain")) == drain);
    json_decref(answer);
}


START_TEST(api_reads)
{
    json_t  *answer;

    (void) fake_start(8081, "one", fake_ok);
    (void) fake_start(8082, "two", fake_ok);
    gateway_start(CONF("myservice_api;", "myservice_health interval=1d;"));

    json_decref(api_ask("GET", "/api/1/", "/", NULL, NULL, 200));
    json_decref(api_ask("GET", "/api/1/upstreams", "/upstreams", NULL, NULL,
                        200));
    json_decref(api_ask("GET", "/api/1/upstreams/u", "/upstreams/{upstream}",
                        NULL, NULL, 200));
    json_decref(api_ask("GET", "/api/1/upstreams/v", "/upstreams/{upstream}",
                        NULL, NULL, 404));

    client_assert(echo_once("a/b%?#"), 0, "");
    answer = api_ask("GET", "/api/1/upstreams/u/sessions/a%2Fb%25%3f%23",
                     SESSION, NULL, NULL, 200);
    ck_assert_str_eq(json_string_value(json_object_get(answer, "session")),
                     "a/b%?#");
    json_decref(answer);
    json_decref(api_ask("GET", "/api/1/upstreams/u/sessions/other", SESSION,
                        NULL, NULL, 404));
    json_decref(api_ask("GET", "/api/1/upstreams/u/instances/127.0.0.1:1",
                        INSTANCE, NULL, NULL, 404));
    state(8081, strcmp(client_pod(echo_once("a/b%?#"), 0), "one") == 0
                ? "leased" : "free", false);
    ck_assert_ptr_null(api_ask("HEAD", "/api/1/", NULL, NULL, NULL, 200));
}
END_TEST


START_TEST(api_paths)
{
    size_t  i;

    static const char *const  wrong[] = {
        "/api/", "/api/1", "/api/2/", "/api/1/x", "/api/1/upstreams/",
        "/api/1/upstreams//instances",
        "/api/1/upstreams/u/instances/a/b", "/api/1/upstreams/u/x/a",
        "/%61pi/1/", "/api/1/upstreams/u/sessions/%0a",
        "/api/1/upstreams/u/sessions/%c3%a4"
    };

    gateway_start(WRITE);

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        json_decref(api_ask("GET", wrong[i], NULL, NULL, NULL,
                            strcmp(wrong[i], "/api/1/upstreams/") == 0 ? 200
                                                                      : 404));
    }

    json_decref(api_ask("PUT", "/api/1/upstreams", NULL, api_change, "{}",
                        405));
    json_decref(api_ask("DELETE", "/api/1/", NULL, api_change, NULL, 405));
}
END_TEST


START_TEST(api_pages)
{
    int      i;
    char     conf[16384], path[128], *p;
    json_t  *answer, *next;
    size_t   n;

    p = conf;
    p += sprintf(p, "%%%%GLOBALS%%%%\nevents {}\nhttp {\n"
                    "%%%%GLOBALS_HTTP%%%%\nupstream u {\n"
                    "myservice_sessions $myservice_session zone=z:1m;\n");

    for (i = 0; i < 200; i++) {
        p += sprintf(p, "server 127.0.1.%d:1%s;\n", i + 1,
                     i % 50 == 0 ? " down" : "");
    }

    sprintf(p, "}\nserver { listen 127.0.0.1:8080 http2;\n"
               "location / { grpc_pass grpc://u; }\n"
               "location /api/ { myservice_api; } } }\n");
    gateway_start(conf);

    n = 0;
    snprintf(path, sizeof(path), "/api/1/upstreams/u/instances?limit=33");

    for ( ;; ) {
        answer = api_ask("GET", path, INSTANCES, NULL, NULL, 200);
        ck_assert_uint_le(json_array_size(json_object_get(answer,
                                              "instances")), 33);
        n += json_array_size(json_object_get(answer, "instances"));
        next = json_object_get(answer, "next");

        if (json_is_null(next)) {
            break;
        }

        snprintf(path, sizeof(path),
                 "/api/1/upstreams/u/instances?limit=33&after=%lld",
                 json_integer_value(next));
        json_decref(answer);
    }

    json_decref(answer);
    ck_assert_uint_eq(n, 200);

    answer = api_ask("GET", "/api/1/upstreams/u/instances?state=left&limit=3",
                     INSTANCES, NULL, NULL, 200);
    ck_assert_uint_eq(json_array_size(json_object_get(answer, "instances")),
                      3);
    ck_assert_int_eq(json_integer_value(json_object_get(answer, "next")) > 0,
                     1);
    json_decref(answer);

    json_decref(api_ask("GET", "/api/1/upstreams/u/instances?limit=1001",
                        INSTANCES, NULL, NULL, 400));
    json_decref(api_ask("GET", "/api/1/upstreams/u/instances?limit=0",
                        INSTANCES, NULL, NULL, 400));
    json_decref(api_ask("GET", "/api/1/upstreams/u/instances?after=x",
                        INSTANCES, NULL, NULL, 400));
    json_decref(api_ask("GET", "/api/1/upstreams/u/instances?state=x",
                        INSTANCES, NULL, NULL, 400));
}
END_TEST


/* until another instance serves the session */
static void
await_pod(const char *session, const char *pod)
{
    client_t       *client;
    long long       since;
    client_call_t  *c;

    since = harness_now();
    client = client_open(harness_port(8080));

    for ( ;; ) {
        c = echo_get(client, session);

        if (c->grpc == 0 && strcmp(client_pod(c, 0), pod) == 0) {
            return;
        }

        harness_pause(since, pod);
    }
}


START_TEST(api_drain)
{
    json_t  *answer;

    (void) fake_start(8081, "one", fake_ok);
    (void) fake_start(8082, "two", fake_ok);
    gateway_start(WRITE);

    answer = api_ask("PATCH", api_at(8081), INSTANCE, api_change,
                     "{\"drain\":true}", 200);
    ck_assert(json_is_true(json_object_get(answer, "drain")));
    json_decref(answer);
    ck_assert(gateway_logged("operator drains an instance, instance=\""));

    client_assert(echo_once("a"), 0, "");
    ck_assert_str_eq(client_pod(echo_once("a"), 0), "two");
    client_assert_refused(echo_once("b"), 8, "all instances are busy");

    gateway_reload(NULL);
    state(8081, "left", true);

    json_decref(api_ask("PATCH", api_at(8081), INSTANCE, api_change,
                        "{\"drain\":false}", 200));
    client_assert(echo_once("b"), 0, "");
    state(8081, "leased", false);

    answer = api_ask("PATCH", api_at(8081), INSTANCE, api_change,
                     "{\"drain\":true,\"deadline\":\"5m\"}", 200);
    ck_assert_int_gt(json_integer_value(json_object_get(answer, "drain_ms")),
                     250000);
    ck_assert_int_le(json_integer_value(json_object_get(answer, "drain_ms")),
                     300000);
    json_decref(answer);
    json_decref(api_ask("PATCH", api_at(8081), INSTANCE, api_change,
                        "{\"drain\":true,\"deadline\":\"1s\"}", 200));
    ck_assert_ptr_null(api_ask("DELETE", "/api/1/upstreams/u/sessions/a",
                               SESSION, api_change, NULL, 204));
    await_pod("b", "two");
    json_decref(api_ask("PATCH", api_at(8081), INSTANCE, api_change,
                        "{\"drain\":true,\"deadline\":\"x\"}", 400));
    json_decref(api_ask("PATCH", api_at(8081), INSTANCE, api_change,
                        "{\"drain\":false,\"deadline\":\"5m\"}", 400));
    json_decref(api_ask("PATCH", api_at(8081), INSTANCE, api_change,
                        "{\"drain\":false}", 200));
    client_assert(echo_once("c"), 0, "");

    json_decref(api_ask("PATCH", api_at(8099), INSTANCE, api_change,
                        "{\"drain\":true}", 404));
    json_decref(api_ask("PATCH", api_at(8081), INSTANCE, api_change,
                        "{\"drain\":1}", 400));
    json_decref(api_ask("PATCH", api_at(8081), INSTANCE, api_change,
                        "{\"drain\":true,\"x\":1}", 400));
    json_decref(api_ask("PATCH", api_at(8081), INSTANCE, api_change, "[]",
                        400));
    json_decref(api_ask("PATCH", api_at(8081), INSTANCE, api_change,
                        "{\"drain\":true,\"drain\":true}", 400));
    json_decref(api_ask("PATCH", api_at(8081), INSTANCE, api_change, NULL,
                        400));
    state(8081, "leased", false);
}
END_TEST


START_TEST(api_members)
{
    char     body[160];
    json_t  *answer;

    (void) fake_start(8083, "three", fake_ok);
    gateway_start(WRITE);

    snprintf(body, sizeof(body), "{\"address\":\"127.0.0.1:%d\"}",
             harness_port(8083));
    json_decref(api_ask("POST", "/api/1/upstreams/u/instances", INSTANCES,
                        api_change, body, 200));
    json_decref(api_ask("POST", "/api/1/upstreams/u/instances", INSTANCES,
                        api_change, body, 200));
    state(8083, "free", false);

    gateway_reload(NULL);
    state(8083, "free", false);
    client_assert(echo_once("a"), 0, "");
    state(8083, "leased", false);

    ck_assert_ptr_null(api_ask("DELETE", api_at(8083), INSTANCE, api_change,
                               NULL, 204));
    client_assert(echo_once("a"), 0, "");
    answer = api_ask("GET", api_at(8083), INSTANCE, NULL, NULL, 200);
    ck_assert(json_is_true(json_object_get(answer, "removed")));
    json_decref(answer);
    snprintf(body, sizeof(body), "%s?force=1", api_at(8083));
    ck_assert_ptr_null(api_ask("DELETE", body, INSTANCE, api_change, NULL,
                               204));
    json_decref(api_ask("GET", api_at(8083), INSTANCE, NULL, NULL, 404));

    json_decref(api_ask("DELETE", api_at(8083), INSTANCE, api_change, NULL,
                        404));
    json_decref(api_ask("DELETE", api_at(8081), INSTANCE, api_change, NULL,
                        409));

    /* one that the configuration has, too, stays */

    snprintf(body, sizeof(body), "{\"address\":\"127.0.0.1:%d\"}",
             harness_port(8081));
    json_decref(api_ask("POST", "/api/1/upstreams/u/instances", INSTANCES,
                        api_change, body, 200));
    ck_assert_ptr_null(api_ask("DELETE", api_at(8081), INSTANCE, api_change,
                               NULL, 204));
    json_decref(api_ask("GET", api_at(8081), INSTANCE, NULL, NULL, 200));
    json_decref(api_ask("DELETE", api_at(8081), INSTANCE, api_change, NULL,
                        409));

    json_decref(api_ask("POST", "/api/1/upstreams/u/instances", INSTANCES,
                        api_change, "{\"address\":\"localhost:1\"}", 400));
    json_decref(api_ask("POST", "/api/1/upstreams/u/instances", INSTANCES,
                        api_change, "{\"address\":\"127.0.0.1\"}", 400));
    json_decref(api_ask("POST", "/api/1/upstreams/u/instances", INSTANCES,
                        api_change, "{\"address\":1}", 400));
}
END_TEST


START_TEST(api_release)
{
    (void) fake_start(8081, "one", fake_ok);
    (void) fake_start(8082, "two", fake_ok);
    gateway_start(WRITE);

    client_assert(echo_once("a"), 0, "");
    client_assert(echo_once("b"), 0, "");
    client_assert_refused(echo_once("c"), 8, "all instances are busy");

    ck_assert_ptr_null(api_ask("DELETE", "/api/1/upstreams/u/sessions/a",
                               SESSION, api_change, NULL, 204));
    json_decref(api_ask("DELETE", "/api/1/upstreams/u/sessions/a", SESSION,
                        api_change, NULL, 404));
    client_assert(echo_once("c"), 0, "");
}
END_TEST


static void
healthy(fake_call_t *call)
{
    if (strcmp(call->path, "/grpc.health.v1.Health/Check") == 0) {
        fake_health(call, 1);

    } else {
        fake_ok(call);
    }
}


/* the instance, by a connection that may ask often */
static json_t *
look(client_t *client)
{
    json_t           *answer;
    client_call_t    *c;
    client_header_t   get[2] = { { ":method", "GET" }, NONE };

    c = client_request(client, api_at(8081), get, NULL, 0, false);
    client_wait(c);
    ck_assert_int_eq(c->http, 200);
    answer = json_loadb((char *) c->body, c->len, 0, NULL);
    ck_assert_ptr_nonnull(answer);

    return answer;
}


/* what an instance has been through */
START_TEST(api_history)
{
    fake_t      *fake;
    json_t      *answer, *checks;
    client_t    *client;
    long long    since;

    fake = fake_start(8081, "one", healthy);
    gateway_start(CONF("myservice_api;",
                       "myservice_health interval=100ms timeout=5s;"));

    client = client_open(harness_port(8080));
    since = harness_now();

    for ( ;; ) {
        answer = look(client);
        checks = json_object_get(answer, "checks");

        if (json_array_size(checks) == 8) {
            break;
        }

        json_decref(answer);
        harness_pause(since, "eight checks");
    }

    ck_assert_str_eq(json_string_value(json_array_get(checks, 0)), "serving");
    ck_assert_str_eq(json_string_value(json_array_get(checks, 7)), "serving");
    ck_assert_ptr_null(json_object_get(answer, "last_error"));
    json_decref(answer);

    json_decref(api_ask("GET", api_at(8081), INSTANCE, NULL, NULL, 200));

    fake_stop(fake);

    for ( ;; ) {
        answer = look(client);
        checks = json_object_get(answer, "checks");

        if (json_object_get(answer, "last_error") != NULL) {
            break;
        }

        json_decref(answer);
        harness_pause(since, "the instance is down");
    }

    ck_assert_str_eq(json_string_value(json_object_get(answer, "state")),
                     "down");
    ck_assert_str_eq(json_string_value(json_array_get(checks, 0)), "failing");
    ck_assert_str_eq(json_string_value(json_object_get(answer, "last_error")),
                     "connection failed");
    json_decref(answer);
    json_decref(api_ask("GET", api_at(8081), INSTANCE, NULL, NULL, 200));
}
END_TEST


/* an instance that calls find dead; and how long it is down */
START_TEST(api_history_calls)
{
    json_t      *answer;
    client_t    *client;
    json_int_t   was, now;
    long long    since;

    gateway_start(CONF("myservice_api;", ""));
    client_assert_refused(echo_once("a"), 14, "backend service unavailable");

    answer = api_ask("GET", api_at(8081), INSTANCE, NULL, NULL, 200);
    ck_assert_str_eq(json_string_value(json_object_get(answer, "last_error")),
                     "it cannot be reached");
    ck_assert_ptr_null(json_object_get(answer, "checks"));
    was = json_integer_value(json_object_get(answer, "since_ms"));
    json_decref(answer);
    client = client_open(harness_port(8080));
    since = harness_now();

    do {
        harness_pause(since, "the state lasts");
        answer = look(client);
        now = json_integer_value(json_object_get(answer, "since_ms"));
        json_decref(answer);
    } while (now <= was);

    ck_assert_int_le(now - was, harness_now() - since + 1000);
}
END_TEST


/* the log names who made a change */
START_TEST(api_caller)
{
    client_header_t  headers[3] = { JSON, NONE, NONE };

    gateway_start(WRITE);

    json_decref(api_ask("PATCH", api_at(8081), INSTANCE, api_change,
                        "{\"drain\":true}", 200));
    ck_assert(gateway_logged("upstream=\"u\" by=\"-\""));

    /* ada "x":secret */

    headers[1] = (client_header_t) { "authorization",
                                     "Basic YWRhICJ4IjpzZWNyZXQ=" };
    json_decref(api_ask("PATCH", api_at(8081), INSTANCE, headers,
                        "{\"drain\":false}", 200));
    ck_assert(gateway_logged("upstream=\"u\" by=\"ada %22x%22\""));
    ck_assert(!gateway_logged("secret"));
}
END_TEST


/* the subject of a certificate that was verified, which cannot be outdone */
START_TEST(api_certificate)
{
    client_header_t  headers[3] = { JSON, NONE, NONE };

    tls_front_certs("a");
    gateway_start(
        "%%GLOBALS%%\nevents {}\nhttp {\n%%GLOBALS_HTTP%%\n"
        "upstream u {\n"
        "    myservice_sessions $myservice_session zone=z1:1m;\n"
        "    server 127.0.0.1:8081;\n"
        "}\n"
        "server { listen 127.0.0.1:8080 http2;\n"
        "    location / { grpc_pass grpc://u; }\n"
        "    location /api/ {\n"
        "        proxy_pass https://127.0.0.1:8090;\n"
        "        proxy_ssl_certificate %%DIR%%/a/client.crt;\n"
        "        proxy_ssl_certificate_key %%DIR%%/a/client.key;\n"
        "} }\n"
        "server { listen 127.0.0.1:8090 ssl;\n"
        "    ssl_certificate %%DIR%%/a/server.crt;\n"
        "    ssl_certificate_key %%DIR%%/a/server.key;\n"
        "    ssl_client_certificate %%DIR%%/a/ca.crt;\n"
        "    ssl_verify_client on;\n"
        "    location /api/ { myservice_api write=on; }\n"
        "} }\n");

    headers[1] = (client_header_t) { "authorization",
                                     "Basic YWRhICJ4IjpzZWNyZXQ=" };
    json_decref(api_ask("PATCH", api_at(8081), INSTANCE, headers,
                        "{\"drain\":true}", 200));
    ck_assert(gateway_logged("upstream=\"u\" by=\"CN="));
}
END_TEST


/* ids that cannot stand in the path */
START_TEST(api_argument)
{
    json_t  *answer;

    (void) fake_start(8081, "one", fake_ok);
    (void) fake_start(8082, "two", fake_ok);
    gateway_start(WRITE);

    client_assert(echo_once("../../../../../a//b?c&d+%"), 0, "");
    answer = api_ask("GET", "/api/1/upstreams/u/sessions"
                     "?session=../../../../../a//b?c%26d+%25", SESSIONS, NULL,
                     NULL, 200);
    ck_assert_str_eq(json_string_value(json_object_get(answer, "session")),
                     "../../../../../a//b?c&d+%");
    json_decref(answer);
    json_decref(api_ask("POST", "/api/1/upstreams/u/sessions/move"
                        "?session=..%2F../../../../a//b?c%26d+%25",
                        SESSIONS "/move", api_change, "{}", 200));
    ck_assert_ptr_null(api_ask("DELETE", "/api/1/upstreams/u/sessions"
                               "?session=..%2F../../../../a//b?c%26d+%25",
                               SESSIONS, api_change, NULL, 204));
    json_decref(api_ask("GET", "/api/1/upstreams/u/sessions?session=b",
                        SESSIONS, NULL, NULL, 404));
    json_decref(api_ask("GET", "/api/1/upstreams/u/sessions?session=%0a",
                        SESSIONS, NULL, NULL, 404));
    json_decref(api_ask("GET", "/api/1/upstreams/u/sessions?session=",
                        SESSIONS, NULL, NULL, 400));
    json_decref(api_ask("GET", "/api/1/upstreams/u/sessions", SESSIONS, NULL,
                        NULL, 400));
    json_decref(api_ask("POST", "/api/1/upstreams/u/sessions/move",
                        SESSIONS "/move", api_change, "{}", 400));
}
END_TEST


/* requests that a web page of another site can make a browser send */
START_TEST(api_browsers)
{
    size_t  i;

    static const struct {
        int              status;
        client_header_t  headers[4];
    } requests[] = {
        { 415, { NONE } },
        { 415, { { "content-type", "text/plain" }, NONE } },
        { 415, { { "content-type", "application/jsonp" }, NONE } },
        { 403, { JSON, { "sec-fetch-site", "cross-site" }, NONE } },
        { 403, { JSON, { "sec-fetch-site", "same-site" }, NONE } },
        { 403, { JSON, { "origin", "null" }, NONE } },
        { 403, { JSON, { "origin", "http://evil.example" }, NONE } },
        { 403, { JSON, { "origin", "https://localhost" }, NONE } },
        { 403, { JSON, { "origin", "http://localhost:1" }, NONE } },
        { 421, { JSON, { ":authority", "evil.example" }, NONE } },
        { 421, { JSON, { ":authority", "localhost.evil.example" }, NONE } },
        { 421, { JSON, { ":authority", "127.0.0.1.evil.example" }, NONE } },
    };

    static const client_header_t  good[][4] = {
        { JSON, { "origin", "http://localhost" }, NONE },
        { { "content-type", "application/json; charset=utf-8" }, NONE },
        { JSON, { "sec-fetch-site", "same-origin" }, NONE },
        { JSON, { ":authority", "gateway.example:8080" }, NONE },
        { JSON, { ":authority", "[::1]:8080" }, NONE },
        { JSON, { ":authority", "10.0.0.1" }, NONE }
    };

    gateway_start(WRITE);

    for (i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        json_decref(api_ask("PATCH", api_at(8081), NULL, requests[i].headers,
                            "{\"drain\":true}", requests[i].status));
        state(8081, "free", false);
    }

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        json_decref(api_ask("PATCH", api_at(8081), INSTANCE, good[i],
                            "{\"drain\":true}", 200));
        state(8081, "left", true);
        json_decref(api_ask("PATCH", api_at(8081), INSTANCE, api_change,
                            "{\"drain\":false}", 200));
    }

    json_decref(api_ask("GET", "/api/1/", NULL, requests[9].headers, NULL,
                        421));
}
END_TEST


START_TEST(api_read_only)
{
    gateway_start(CONF("myservice_api;", ""));

    json_decref(api_ask("PATCH", api_at(8081), INSTANCE, api_change,
                        "{\"drain\":true}", 405));
    json_decref(api_ask("DELETE", "/api/1/upstreams/u/sessions/a", SESSION,
                        api_change, NULL, 405));
    state(8081, "free", false);
}
END_TEST


START_TEST(api_large)
{
    char  body[5000];

    gateway_start(WRITE);
    memset(body, ' ', sizeof(body) - 1);
    body[sizeof(body) - 1] = '\0';
    json_decref(api_ask("PATCH", api_at(8081), INSTANCE, api_change, body,
                        413));
}
END_TEST


START_TEST(api_conf)
{
    const char  *output;

    ck_assert_int_ne(gateway_test(CONF("myservice_api write=maybe;", ""),
                                  &output), 0);
    ck_assert_ptr_nonnull(strstr(output, "\"off\" or \"on\""));
    ck_assert_int_ne(gateway_test(CONF("myservice_api write=on write=on;",
                                       ""), &output), 0);
    ck_assert_int_ne(gateway_test(CONF("myservice_api; myservice_api;", ""),
                                  &output), 0);
    ck_assert_ptr_nonnull(strstr(output, "is duplicate"));
    ck_assert_int_ne(gateway_test(CONF("} location = /x { myservice_api;",
                                       ""), &output), 0);
    ck_assert_ptr_nonnull(strstr(output, "a prefix that ends with"));
    ck_assert_int_ne(gateway_test(CONF("} location ~ /x/ { myservice_api;",
                                       ""), &output), 0);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("api");
    harness_add(suite, api_reads);
    harness_add(suite, api_paths);
    harness_add(suite, api_pages);
    harness_add(suite, api_drain);
    harness_add(suite, api_members);
    harness_add(suite, api_release);
    harness_add(suite, api_history);
    harness_add(suite, api_history_calls);
    harness_add(suite, api_caller);
    harness_add(suite, api_certificate);
    harness_add(suite, api_argument);
    harness_add(suite, api_browsers);
    harness_add(suite, api_read_only);
    harness_add(suite, api_large);
    harness_add(suite, api_conf);

    return harness_run(suite, "test_api");
}
