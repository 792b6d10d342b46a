/* myservice_status: the pools as JSON. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"


#define CONF(servers)                                                         \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream \"u\\\"x\" {\n"                                             \
    "        myservice_sessions $myservice_session zone=z1:1m;\n"             \
    "        myservice_release MyServiceShutdown;\n"                          \
    servers                                                                   \
    "    }\n"                                                                 \
    "    upstream other {\n"                                                  \
    "        myservice_sessions $myservice_session zone=z2:64k;\n"            \
    "        server 127.0.0.1:8099 down;\n"                                   \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://u\\\"x; }\n"                       \
    "        location = /status { myservice_status; }\n"                      \
    "    }\n"                                                                 \
    "}\n"

#define TWO  "server 127.0.0.1:8081;\nserver 127.0.0.1:8082;\n"


static client_call_t *
http(const char *method, const char *path)
{
    client_call_t    *c;
    client_header_t   headers[2] = { { ":method", method }, { NULL, NULL } };

    c = client_request(client_open(harness_port(8080)), path, headers, NULL,
                       0, false);
    client_wait(c);

    return c;
}


static client_call_t *
call(const char *path, const char *session)
{
    client_call_t  *c;

    c = client_grpc(client_open(harness_port(8080)), path, NULL, session, "",
                    0);
    client_wait(c);

    return c;
}


/* the object of one upstream; free the root */
static json_t *
status(const char *upstream, json_t **root)
{
    json_t         *pool;
    client_call_t  *c;

    c = http("GET", "/status");
    ck_assert_int_eq(c->http, 200);
    ck_assert_str_eq(c->type, "application/json");
    *root = json_loadb((char *) c->body, c->len, JSON_REJECT_DUPLICATES,
                       NULL);
    ck_assert_msg(*root != NULL, "not JSON: %.*s", (int) c->len,
                  (char *) c->body);
    pool = json_object_get(json_object_get(*root, "upstreams"), upstream);
    ck_assert_ptr_nonnull(pool);

    return pool;
}


static long long
number(json_t *pool, const char *object, const char *key)
{
    json_t  *value;

    value = json_object_get(object ? json_object_get(pool, object) : pool,
                            key);
    ck_assert_msg(json_is_integer(value), "%s is no number", key);

    return json_integer_value(value);
}


static const char *
text(json_t *object, const char *key)
{
    const char  *value;

    value = json_string_value(json_object_get(object, key));
    ck_assert_msg(value != NULL, "%s is no text", key);

    return value;
}


START_TEST(status_pools)
{
    json_t  *root, *pool;

    gateway_start(CONF(TWO));

    pool = status("u\"x", &root);
    ck_assert_str_eq(text(pool, "zone"), "z1");
    ck_assert_int_eq(number(pool, NULL, "members"), 2);
    ck_assert_int_eq(number(pool, "states", "free"), 2);
    ck_assert_int_gt(number(pool, NULL, "capacity"), 2700);
    ck_assert_int_eq(number(pool, NULL, "ttl_ms"), 1800000);
    ck_assert_int_eq(number(pool, NULL, "grace_ms"), 225000);
    ck_assert_uint_eq(json_array_size(json_object_get(pool, "instances")), 2);
    json_decref(root);

    pool = status("other", &root);
    ck_assert_int_eq(number(pool, "states", "left"), 1);
    ck_assert(json_is_true(json_object_get(
        json_array_get(json_object_get(pool, "instances"), 0), "drain")));
    json_decref(root);
}
END_TEST


START_TEST(status_lease)
{
    size_t       i;
    json_t      *root, *pool, *member, *owner;
    const char  *session = "a\"b\\c";

    (void) fake_start(8081, "one", fake_ok);
    (void) fake_start(8082, "two", fake_ok);
    gateway_start(CONF(TWO));

    client_assert(call(ECHO, session), 0, "");
    client_assert(call(ECHO, session), 0, "");

    pool = status("u\"x", &root);
    ck_assert_int_eq(number(pool, "states", "leased"), 1);
    ck_assert_int_eq(number(pool, "decisions", "NEW"), 1);
    ck_assert_int_eq(number(pool, "decisions", "HIT"), 1);
    owner = NULL;

    json_array_foreach(json_object_get(pool, "instances"), i, member) {
        if (strcmp(text(member, "state"), "leased") == 0) {
            owner = member;
        }
    }

    ck_assert_ptr_nonnull(owner);
    ck_assert_str_eq(text(owner, "session"), session);
    ck_assert_int_gt(number(owner, NULL, "remaining_ms"), 1700000);
    ck_assert_int_le(number(owner, NULL, "idle_ms"),
                     number(owner, NULL, "age_ms"));
    json_decref(root);

    client_assert(call(SHUTDOWN, session), 0, "");
    pool = status("u\"x", &root);
    ck_assert_int_eq(number(pool, "states", "left"), 1);
    ck_assert_int_eq(number(pool, "states", "free"), 1);
    json_decref(root);
}
END_TEST


static void
serve(fake_call_t *call)
{
    fake_health(call, 1);
}


/* waits until the checks say so of the second instance */
static void
await_health(const char *health)
{
    bool        found;
    json_t     *root, *members;
    long long   since;

    since = harness_now();

    for ( ;; ) {
        members = json_object_get(status("u\"x", &root), "instances");
        found = strcmp(text(json_array_get(members, 0), "health"),
                       "serving") == 0
                && strcmp(text(json_array_get(members, 1), "health"), health)
                   == 0;
        json_decref(root);

        if (found) {
            return;
        }

        harness_pause(since, health);
    }
}


/* the second one does not exist; one failure is no result yet */
START_TEST(status_health)
{
    json_t  *root, *pool;

    (void) fake_start(8081, "one", serve);
    gateway_start(CONF("myservice_health interval=1d;\n" TWO));
    await_health("unknown");
    ck_assert_int_eq(number(status("u\"x", &root), "states", "down"), 0);
    json_decref(root);

    gateway_reload(CONF("myservice_health interval=100ms;\n" TWO));
    await_health("failing");

    gateway_reload(CONF(TWO));
    pool = status("u\"x", &root);
    ck_assert_ptr_null(json_object_get(
        json_array_get(json_object_get(pool, "instances"), 0), "health"));
    json_decref(root);
}
END_TEST


START_TEST(status_methods)
{
    client_call_t  *c;

    gateway_start(CONF(TWO));

    c = http("HEAD", "/status");
    ck_assert_int_eq(c->http, 200);
    ck_assert_uint_eq(c->len, 0);
    ck_assert_int_eq(http("DELETE", "/status")->http, 405);
}
END_TEST


/* more members than one lock hold copies */
START_TEST(status_many)
{
    int      i;
    char     conf[16384], *p;
    json_t  *root, *pool;

    p = conf;
    p += sprintf(p, "%%%%GLOBALS%%%%\nevents {}\nhttp {\n"
                    "%%%%GLOBALS_HTTP%%%%\nupstream u {\n"
                    "myservice_sessions $myservice_session zone=z:1m;\n");

    for (i = 0; i < 200; i++) {
        p += sprintf(p, "server 127.0.1.%d:1;\n", i + 1);
    }

    sprintf(p, "}\nserver { listen 127.0.0.1:8080 http2;\n"
               "location / { grpc_pass grpc://u; }\n"
               "location = /status { myservice_status; } } }\n");
    gateway_start(conf);

    pool = status("u", &root);
    ck_assert_int_eq(number(pool, "states", "free"), 200);
    ck_assert_uint_eq(json_array_size(json_object_get(pool, "instances")),
                      200);
    json_decref(root);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("status");
    harness_add(suite, status_pools);
    harness_add(suite, status_lease);
    harness_add(suite, status_health);
    harness_add(suite, status_methods);
    harness_add(suite, status_many);

    return harness_run(suite, "test_status");
}
