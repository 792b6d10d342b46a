/*
 * Instances that an operator adds and removes at one of two gateways with a
 * store, also while it is away, and after it has lost all.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "client.h"
#include "gateway.h"
#include "harness.h"
#include "store_pair.h"
#include "store_server.h"


#define ONE   "server 127.0.0.1:8082;"
#define BOTH  "server 127.0.0.1:8082; server 127.0.0.1:8083;"

#define U  PAIR_UPSTREAM("8080", "u", "1m", ONE)
#define V  PAIR_UPSTREAM("8081", "v", "1m", ONE)


static void
add_text(const char *upstream, const char *address)
{
    char  path[64], body[64];

    snprintf(path, sizeof(path), "/api/1/upstreams/%s/instances", upstream);
    snprintf(body, sizeof(body), "{\"address\":\"%s\"}", address);
    json_decref(api_ask("POST", path, INSTANCES, api_change, body, 200));
}


static void
add(const char *upstream, int number)
{
    char  address[32];

    snprintf(address, sizeof(address), "127.0.0.1:%d", harness_port(number));
    add_text(upstream, address);
}


static void
take(const char *upstream, int number, const char *query, int status)
{
    char  path[128];

    snprintf(path, sizeof(path), "%s%s", pair_path(upstream, number), query);
    json_decref(api_ask("DELETE", path, INSTANCE, api_change, NULL, status));
}


/* a field of the instance as text, static; "none" if it is no member */

static const char *
is(const char *upstream, int number, const char *name)
{
    char         path[64], address[32];
    size_t       i;
    json_t      *page, *instance, *value;
    const char  *text;

    static char  copy[128];

    snprintf(path, sizeof(path), "/api/1/upstreams/%s/instances?limit=1000",
             upstream);
    snprintf(address, sizeof(address), "127.0.0.1:%d", harness_port(number));
    page = api_ask("GET", path, INSTANCES, NULL, NULL, 200);
    text = "none";

    json_array_foreach(json_object_get(page, "instances"), i, instance) {
        if (strcmp(json_string_value(json_object_get(instance, "address")),
                   address)
            == 0)
        {
            value = json_object_get(instance, name);
            text = json_is_string(value) ? json_string_value(value)
                   : json_is_true(value) ? "true" : "false";
        }
    }

    snprintf(copy, sizeof(copy), "%s", text);
    json_decref(page);

    return copy;
}


static void
await(const char *upstream, int number, const char *name, const char *value)
{
    long long  since;

    since = harness_now();

    while (strcmp(is(upstream, number, name), value) != 0) {
        harness_pause(since, value);
    }
}


/* both gateways */

static void
await_both(int number, const char *name, const char *value)
{
    await("u", number, name, value);
    await("v", number, name, value);
}


/* the events on an instance that an operator added or removed, one after
 * another */

static void
await_events(const char *upstream, const char *expected)
{
    char         text[256];
    size_t       i;
    json_t      *answer, *event;
    long long    since;
    const char  *kind, *reason;

    since = harness_now();

    for ( ;; ) {
        text[0] = '\0';
        answer = api_ask("GET", "/api/1/events", "/events", NULL, NULL, 200);

        json_array_foreach(json_object_get(answer, "events"), i, event) {
            kind = json_string_value(json_object_get(event, "kind"));
            reason = json_string_value(json_object_get(event, "reason"));

            if ((strcmp(kind, "added") == 0 || strcmp(kind, "removed") == 0)
                && reason != NULL && strcmp(reason, "operator") == 0
                && strcmp(json_string_value(json_object_get(event,
                                                            "upstream")),
                          upstream)
                   == 0)
            {
                ck_assert_uint_lt(strlen(text), sizeof(text) - 16);
                strcat(text, kind);
                strcat(text, " ");
            }
        }

        json_decref(answer);

        if (strcmp(text, expected) == 0) {
            return;
        }

        harness_pause(since, text);
    }
}


/* at one gateway, and both have it, or have it no more */

START_TEST(shared)
{
    pair_begin(PAIR_CONF(U V));

    add("u", 8083);
    await_both(8083, "source", "operator");
    ck_assert(gateway_logged("operator of another gateway adds an instance, "
                             "instance="));

    pair_call(8081, "s1");
    pair_call(8081, "s2");
    await_both(8083, "state", "leased");
    await_both(8082, "state", "leased");

    add("v", 8083);
    take("v", 8083, "?force=1", 204);
    await_both(8083, "state", "none");
    ck_assert(gateway_logged("operator of another gateway removes an "
                             "instance, instance="));
    await_both(8082, "state", "leased");

    /* the lease that was forced to its end is over at the store, too */

    pair_await_record(8083, "c - ");

    add("v", 8083);
    await_both(8083, "state", "free");
    await_events("u", "added removed added ");
    await_events("v", "added removed added ");
}
END_TEST


/* it goes when its lease has ended, wherever the session's calls go */

START_TEST(leased)
{
    client_t  *client;

    pair_begin(PAIR_CONF(PAIR_UPSTREAM("8080", "u", "1m",
                                       "server 127.0.0.1:8082 down;")
                         PAIR_UPSTREAM("8081", "v", "1m",
                                       "server 127.0.0.1:8082 down;")));

    add("v", 8083);
    await_both(8083, "state", "free");
    pair_call(8080, "s1");
    await_both(8083, "state", "leased");

    take("v", 8083, "", 204);
    await_both(8083, "removed", "true");
    ck_assert_str_eq(is("u", 8083, "state"), "leased");

    client = client_open(harness_port(8080));
    ck_assert_int_eq(echo_get(client, "s1")->grpc, 0);
    ck_assert_int_eq(echo_get(client, "s2")->grpc, 8);
    client = client_open(harness_port(8081));
    ck_assert_int_eq(echo_get(client, "s1")->grpc, 0);
    ck_assert_int_eq(echo_get(client, "s2")->grpc, 8);

    /* added again it stays, removed again it goes */

    add("u", 8083);
    await_both(8083, "removed", "false");
    ck_assert_str_eq(is("u", 8083, "state"), "leased");
    take("u", 8083, "", 204);
    await_both(8083, "removed", "true");

    json_decref(api_ask("DELETE", "/api/1/upstreams/u/sessions/s1", SESSION,
                        api_change, NULL, 204));
    await_both(8083, "state", "none");
}
END_TEST


/* what was said while the store was away arrives when it is back, and again
 * when it has lost all */

START_TEST(away)
{
    pair_begin(PAIR_CONF(U V));

    add("u", 8084);
    await_both(8084, "state", "free");
    pair_await_record(8084, "a1");

    store_server_kill(pair_server);
    add("u", 8083);
    take("v", 8084, "", 204);
    ck_assert_str_eq(is("v", 8083, "state"), "none");
    ck_assert_str_eq(is("u", 8084, "state"), "free");

    pair_again();
    await_both(8083, "state", "free");
    await_both(8084, "state", "none");

    store_server_kill(pair_server);
    pair_again();
    pair_await_record(8083, "a1");
    pair_await_record(8084, "r1");
    ck_assert_str_eq(is("v", 8083, "state"), "free");
    ck_assert_str_eq(is("u", 8084, "state"), "none");

    /* of two words that miss each other the later counts */

    store_server_kill(pair_server);
    take("u", 8083, "", 204);
    add("v", 8083);
    add("u", 8084);
    take("u", 8084, "", 204);
    pair_again();
    await_both(8083, "state", "free");
    pair_await_record(8083, "a1");
    pair_await_record(8084, "r1");
    ck_assert_str_eq(is("v", 8084, "state"), "none");
}
END_TEST


/* a gateway that starts later learns what was added, and nothing else */

START_TEST(learnt)
{
    pair_begin(PAIR_CONF(U));

    add("u", 8083);
    add("u", 8084);
    take("u", 8084, "", 204);
    json_decref(api_ask("PATCH", pair_path("u", 8083), INSTANCE, api_change,
                        "{\"drain\":true}", 200));
    pair_await_record(8083, " d1");
    pair_await_record(8084, "r1");

    gateway_reload(PAIR_CONF(U V));
    await("v", 8083, "drain", "true");
    ck_assert_str_eq(is("v", 8084, "state"), "none");

    gateway_stop();
    gateway_start(PAIR_CONF(U V));
    await_both(8083, "drain", "true");
    ck_assert_str_eq(is("v", 8084, "state"), "none");
    ck_assert_str_eq(is("u", 8084, "state"), "none");

    /* one that is added anew does not drain, not even for the store */

    take("u", 8083, "", 204);
    await_both(8083, "state", "none");
    add("u", 8083);
    await_both(8083, "drain", "false");
    pair_await_record(8083, " -1");
    gateway_stop();
    gateway_start(PAIR_CONF(U V));
    await_both(8083, "drain", "false");
}
END_TEST


static void
operator_says(const char *sha, const char *address, const char *word,
    const char *stamp)
{
    freeReplyObject(store_server_eval(pair_store, sha, (const char *[]) {
                              "operator", "g", address, word, stamp, NULL }));
}


/* one gateway removes it, and another one adds it again before it hears of that:
 * for that one and the store it still drains, and so for all */

START_TEST(back)
{
    char  sha[41], address[32], *script;

    pair_begin(PAIR_CONF(U V));
    snprintf(address, sizeof(address), "127.0.0.1:%d", harness_port(8083));
    script = store_server_script(NULL, NULL);
    store_server_load(pair_store, script, sha);
    free(script);

    add("u", 8083);
    json_decref(api_ask("PATCH", pair_path("u", 8083), INSTANCE, api_change,
                        "{\"drain\":true}", 200));
    await_both(8083, "drain", "true");

    operator_says(sha, address, "r", "9000000000000001");
    operator_says(sha, address, "a", "9000000000000002");
    await_events("u", "added removed added ");
    await_events("v", "added removed added ");
    await_both(8083, "drain", "true");
}
END_TEST


/* who has it by the configuration keeps it, and gives it to sessions */

START_TEST(configured)
{
    pair_begin(PAIR_CONF(U PAIR_UPSTREAM("8081", "v", "1m", BOTH)));

    add("u", 8083);
    pair_await_record(8083, "a1");
    take("u", 8083, "", 204);
    await("u", 8083, "state", "none");
    pair_await_record(8083, "r1");

    take("v", 8083, "", 409);
    ck_assert_str_eq(is("v", 8083, "source"), "server");

    pair_call(8081, "s1");
    pair_call(8081, "s2");
    pair_await_record(8083, "c - s");
    ck_assert_str_eq(is("v", 8083, "state"), "leased");
    ck_assert_str_eq(is("v", 8083, "removed"), "false");
}
END_TEST


static size_t
members(const char *upstream)
{
    char     path[64];
    size_t   n;
    json_t  *page;

    snprintf(path, sizeof(path), "/api/1/upstreams/%s/instances?limit=1000",
             upstream);
    page = api_ask("GET", path, INSTANCES, NULL, NULL, 200);
    n = json_array_size(json_object_get(page, "instances"));
    json_decref(page);

    return n;
}


/* what cannot be a member here is none, and the log says so */

START_TEST(refused)
{
    int        i, left;
    char       sha[41], address[32], path[128], *script;
    long long  since;

    pair_begin(PAIR_CONF(U PAIR_UPSTREAM("8081", "v", "48k", ONE)));

    for (i = 1; i < 250; i++) {
        snprintf(address, sizeof(address), "10.0.0.%d:1", i);
        add_text("u", address);
    }

    since = harness_now();

    while (!gateway_logged("added is no member here: the zone is full, "
                           "instance=\"10.0.0."))
    {
        harness_pause(since, "the zone has room");
    }

    /* once there is room it has the others, too */

    left = (int) members("v") - 2;

    for (i = 1; i <= 250 - left; i++) {
        snprintf(address, sizeof(address), "10.0.0.%d:1", i);
        snprintf(path, sizeof(path), "/api/1/upstreams/u/instances/%s",
                 address);
        json_decref(api_ask("DELETE", path, INSTANCE, api_change, NULL, 204));
    }

    while (members("v") != members("u")) {
        harness_pause(since, "the zone has room, and the instances do not "
                             "come");
    }

    /* "u" has not complained within this minute */

    script = store_server_script(NULL, NULL);
    store_server_load(pair_store, script, sha);
    free(script);
    freeReplyObject(store_server_eval(pair_store, sha, (const char *[]) {
                    "operator", "g", "nonsense", "a", "1", NULL }));

    while (!gateway_logged("its name is no address, instance=\"nonsense\"")) {
        harness_pause(since, "a name is an address");
    }
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_members");
    harness_add(suite, shared);
    harness_add(suite, leased);
    harness_add(suite, away);
    harness_add(suite, learnt);
    harness_add(suite, back);
    harness_add(suite, configured);
    harness_add(suite, refused);

    return harness_run(suite, "test_store_members");
}
