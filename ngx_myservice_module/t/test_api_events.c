/* The events of myservice_api: what they say, the ring, waiting for one. */

#include <stdio.h>
#include <string.h>

#include "api.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"


/* the events after a number: their kinds and reasons in a row */
static const char *
events(const char *query, const char *session, json_int_t *last)
{
    size_t        i;
    char          path[128];
    json_t       *answer, *event;
    const char   *reason;
    static char   text[1024];

    snprintf(path, sizeof(path), "/api/1/events%s", query);
    answer = api_ask("GET", path, "/events", NULL, NULL, 200);
    text[0] = '\0';

    json_array_foreach(json_object_get(answer, "events"), i, event) {
        if (session != NULL && json_object_get(event, "session") != NULL) {
            ck_assert_str_eq(json_string_value(json_object_get(event,
                                 "session")), session);
        }

        reason = json_string_value(json_object_get(event, "reason"));
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s:%s ",
                 json_string_value(json_object_get(event, "kind")),
                 reason != NULL ? reason : "");
    }

    *last = json_integer_value(json_object_get(answer, "last"));
    json_decref(answer);

    return text;
}


START_TEST(api_events)
{
    char              query[64];
    client_t         *client;
    json_int_t        last;
    client_call_t    *c;
    client_header_t   get[2] = { { ":method", "GET" }, NONE };

    (void) fake_start(8081, "one", fake_ok);
    (void) fake_start(8082, "two", fake_ok);
    gateway_start(WRITE);

    ck_assert_str_eq(events("", NULL, &last), "");
    ck_assert_int_eq(last, 0);

    client_assert(echo_once("a"), 0, "");
    client_assert(echo_once("a"), 0, "");
    json_decref(api_ask("PATCH", api_at(8082), INSTANCE, api_change,
                        "{\"drain\":true}", 200));
    ck_assert_str_eq(events("", "a", &last),
                     "lease_began:new drains:operator ");
    ck_assert_int_eq(last, 2);

    ck_assert_ptr_null(api_ask("DELETE", "/api/1/upstreams/u/sessions/a",
                               SESSION, api_change, NULL, 204));
    ck_assert_str_eq(events("?after=2", "a", &last), "lease_ended:operator ");
    gateway_reload(NULL);
    ck_assert_str_eq(events("?after=1", NULL, &last),
                     "drains:operator lease_ended:operator ");

    /* waits for the next, or until the time is over */

    ck_assert_str_eq(events("?after=3&wait=200ms", NULL, &last), "");
    ck_assert_int_eq(last, 3);

    client = client_open(harness_port(8080));
    snprintf(query, sizeof(query), "/api/1/events?after=%d&wait=60s", 3);
    c = client_request(client, query, get, NULL, 0, false);
    client_assert_waits(c, 200);
    client_assert(echo_once("b"), 0, "");
    client_wait(c);
    ck_assert_ptr_nonnull(memmem(c->body, c->len, "\"session\":\"b\"", 13));

    /* a client that goes away, and a reload, end the wait */

    c = client_request(client, "/api/1/events?after=4&wait=60s", get, NULL, 0,
                       false);
    client_assert_waits(c, 100);
    client_close(client);

    client = client_open(harness_port(8080));
    c = client_request(client, "/api/1/events?after=4&wait=60s", get, NULL, 0,
                       false);
    client_assert_waits(c, 100);
    gateway_reload(NULL);
    client_wait(c);

    json_decref(api_ask("GET", "/api/1/events?after=x", "/events", NULL, NULL,
                        400));
    json_decref(api_ask("GET", "/api/1/events?wait=61s", "/events", NULL,
                        NULL, 400));
}
END_TEST


/* what a reload changes; what a gateway begins with is no change */
START_TEST(api_events_reload)
{
    json_int_t  last;

    gateway_start(CONF("myservice_api;", "server 127.0.0.1:8083;\n"));
    gateway_reload(NULL);
    ck_assert_str_eq(events("", NULL, &last), "");
    gateway_reload(CONF("myservice_api;", "server 127.0.0.1:8084;\n"));
    ck_assert_str_eq(events("", NULL, &last), "removed:server added:server ");
    ck_assert_int_eq(last, 2);

    /* without the API nothing is noted, with it again the ring is new */

    gateway_reload(CONF("", ""));
    gateway_reload(CONF("myservice_api;", ""));
    ck_assert_str_eq(events("", NULL, &last), "");
    gateway_reload(CONF("myservice_api;", "server 127.0.0.1:8084;\n"));
    ck_assert_str_eq(events("", NULL, &last), "added:server ");
}
END_TEST


/* more changes under one lock than it has room for are counted */
START_TEST(api_events_more)
{
    int      i;
    char     conf[16384], *p;
    json_t  *answer, *list, *event;

    gateway_start(WRITE);

    p = conf;
    p += sprintf(p, "%%%%GLOBALS%%%%\nevents {}\nhttp {\n"
                    "%%%%GLOBALS_HTTP%%%%\nupstream u {\n"
                    "myservice_sessions $myservice_session zone=z1:1m;\n"
                    "server 127.0.0.1:8081;\nserver 127.0.0.1:8082;\n");

    for (i = 0; i < 100; i++) {
        p += sprintf(p, "server 127.0.1.%d:1;\n", i + 1);
    }

    sprintf(p, "}\nserver { listen 127.0.0.1:8080 http2;\n"
               "location / { grpc_pass grpc://u; }\n"
               "location /api/ { myservice_api; } } }\n");
    gateway_reload(conf);

    answer = api_ask("GET", "/api/1/events", "/events", NULL, NULL, 200);
    list = json_object_get(answer, "events");
    ck_assert_uint_eq(json_array_size(list), 73);
    event = json_array_get(list, 72);
    ck_assert_str_eq(json_string_value(json_object_get(event, "kind")),
                     "added");
    ck_assert_int_eq(json_integer_value(json_object_get(event, "count")), 28);
    ck_assert_int_eq(json_integer_value(json_object_get(event, "id")), 73);
    json_decref(answer);
    ck_assert(gateway_logged("28 more of \"added\", upstream=\"u\""));
}
END_TEST


/* Two workers at one session: its leases begin and end in turns.  A call that
 * loses its lease may fail, and says nothing then. */
START_TEST(api_events_order)
{
    int               i;
    char              query[64];
    json_int_t        last, after;
    const char       *list;
    client_t         *calls, *changes;
    client_call_t    *ends, *call;
    client_header_t   headers[3] = { { ":method", "DELETE" }, JSON, NONE };

    (void) fake_start(8081, "one", fake_ok);
    (void) fake_start(8082, "two", fake_ok);
    gateway_start(WRITE);
    after = 0;

    for (i = 0; i < 15; i++) {
        calls = client_open(harness_port(8080));
        changes = client_open(harness_port(8080));

        client_assert(echo_get(calls, "a"), 0, "");
        ends = client_request(changes, "/api/1/upstreams/u/sessions/a",
                              headers, NULL, 0, false);
        call = echo_get(calls, "a");
        client_wait(ends);
        ck_assert_int_eq(ends->http, 204);

        snprintf(query, sizeof(query), "?after=%d", (int) after);
        list = events(query, "a", &last);
        ck_assert_int_gt(last, after);

        if (call->grpc == 0) {
            ck_assert_msg(strcmp(list, "lease_began:new lease_ended:operator "
                                 "lease_began:new ") == 0
                          || strcmp(list, "lease_began:new "
                                    "lease_ended:operator ") == 0,
                          "%s", list);
        }

        ends = client_request(changes, "/api/1/upstreams/u/sessions/a",
                              headers, NULL, 0, false);
        client_wait(ends);
        (void) events("", NULL, &after);
        client_close(calls);
        client_close(changes);
    }
}
END_TEST


/* the ring is full: the oldest are gone, the order stays */
START_TEST(api_events_many)
{
    int               i;
    size_t            k;
    json_t           *answer, *list, *event;
    client_t         *client;
    json_int_t        first;
    const char       *body;
    client_call_t    *c;
    client_header_t   headers[3] = { { ":method", "PATCH" }, JSON, NONE };

    gateway_start(WRITE);
    client = NULL;

    for (i = 0; i < 1100; i++) {

        /* keepalive_requests is 1000 */

        if (i % 600 == 0) {
            client = client_open(harness_port(8080));
        }

        body = i % 2 == 0 ? "{\"drain\":true}" : "{\"drain\":false}";
        c = client_request(client, api_at(8081), headers, body, strlen(body),
                           false);
        client_wait(c);
        ck_assert_int_eq(c->http, 200);
    }

    answer = api_ask("GET", "/api/1/events", "/events", NULL, NULL, 200);
    list = json_object_get(answer, "events");
    ck_assert_uint_eq(json_array_size(list), 1000);
    first = 101;

    json_array_foreach(list, k, event) {
        ck_assert_int_eq(json_integer_value(json_object_get(event, "id")),
                         first + (json_int_t) k);
    }

    json_decref(answer);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("api_events");
    harness_add(suite, api_events);
    harness_add(suite, api_events_many);
    harness_add(suite, api_events_reload);
    harness_add(suite, api_events_more);
    harness_add(suite, api_events_order);

    return harness_run(suite, "test_api_events");
}
