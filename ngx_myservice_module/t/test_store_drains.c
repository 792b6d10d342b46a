/*
 * Drains of several gateways while the store is away, after it has lost all,
 * and after changes that a gateway has missed.  Two upstreams of one nginx are
 * two gateways, and the test plays a third one.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "gateway.h"
#include "harness.h"
#include "store_pair.h"
#include "store_server.h"


#define SERVERS   "server 127.0.0.1:8082; server 127.0.0.1:8083;"

#define GATEWAYS                                                              \
    PAIR_CONF(PAIR_UPSTREAM("8080", "u", "1m", SERVERS)                       \
              PAIR_UPSTREAM("8081", "v", "1m", SERVERS))

#define DRAIN    "{\"drain\":true}"
#define UNDRAIN  "{\"drain\":false}"


/* an operator's word at a gateway */

static void
say(const char *upstream, int number, const char *word)
{
    json_decref(api_ask("PATCH", pair_path(upstream, number), INSTANCE,
                        api_change, word, 200));
}


static bool
is(const char *upstream, int number, const char *name, const char *value)
{
    bool     so;
    json_t  *instance, *member;

    instance = api_ask("GET", pair_path(upstream, number), INSTANCE, NULL, NULL,
                       200);
    member = json_object_get(instance, name);
    ck_assert_ptr_nonnull(member);
    so = json_is_string(member)
         ? strcmp(json_string_value(member), value) == 0
         : json_is_true(member) == (strcmp(value, "true") == 0);
    json_decref(instance);

    return so;
}


/* both gateways */

static void
await(int number, const char *name, const char *value)
{
    long long  since;

    since = harness_now();

    while (!is("u", number, name, value) || !is("v", number, name, value)) {
        harness_pause(since, value);
    }
}


/* a change that the stream does not have, and the next one shows it */

static void
missed(int number, const char *value)
{
    char  name[32];

    snprintf(name, sizeof(name), "127.0.0.1:%d", harness_port(number));
    freeReplyObject(store_server_ask(pair_store, (const char *[]) { "HSET",
                                     "{u}:i", name, value, NULL }));
    freeReplyObject(store_server_ask(pair_store, (const char *[]) { "HINCRBY",
                                     "{u}:c", "n", "3", NULL }));
}


/* at one gateway, and both have it; the last word counts */

START_TEST(shared)
{
    pair_begin(GATEWAYS);

    say("u", 8082, DRAIN);
    await(8082, "drain", "true");
    say("v", 8082, UNDRAIN);
    await(8082, "drain", "false");
    say("v", 8082, DRAIN);
    await(8082, "drain", "true");
    say("u", 8082, UNDRAIN);
    await(8082, "drain", "false");

    ck_assert(is("u", 8083, "drain", "false"));
    ck_assert(gateway_logged("operator of another gateway drains an instance"));
    ck_assert(gateway_logged("operator of another gateway ends a drain"));
}
END_TEST


/* what was said while the store was away arrives when it is back */

START_TEST(away)
{
    pair_begin(GATEWAYS);

    say("u", 8083, DRAIN);
    await(8083, "drain", "true");

    store_server_kill(pair_server);
    say("u", 8082, DRAIN);
    say("v", 8083, UNDRAIN);
    ck_assert(is("u", 8082, "drain", "true"));
    ck_assert(is("v", 8082, "drain", "false"));

    pair_again();
    await(8082, "drain", "true");
    await(8083, "drain", "false");
    pair_await_record(8082, " d1");
    pair_await_record(8083, " -1");

    /* that nobody takes it back in the next life of the store */

    store_server_kill(pair_server);
    pair_again();
    pair_await_record(8082, " d1");
    pair_await_record(8083, " -1");
    await(8082, "drain", "true");
    await(8083, "drain", "false");
}
END_TEST


/* a gateway that begins anew, and one that is reloaded, learn it */

START_TEST(learnt)
{
    pair_begin(GATEWAYS);

    say("u", 8082, DRAIN);
    await(8082, "drain", "true");
    pair_await_record(8082, " d1");

    gateway_reload(NULL);
    await(8082, "drain", "true");

    gateway_stop();
    gateway_start(GATEWAYS);
    await(8082, "drain", "true");
}
END_TEST


/* a gateway that has missed changes reads all that the store has */

START_TEST(gap)
{
    int                 number;
    char                value[64];
    unsigned long long  epoch;

    pair_begin(GATEWAYS);

    pair_call(8080, "s1");
    number = is("u", 8082, "state", "free") ? 8083 : 8082;
    pair_await_record(number, "-c - s1");
    await(number, "state", "leased");
    say("u", number, DRAIN);
    await(number, "drain", "true");
    pair_await_record(number, " d1");

    /* the lease has ended, and so has the drain */

    epoch = strtoull(pair_record(number), NULL, 10);
    snprintf(value, sizeof(value), "%llu 0 -1999999999000000c - ", epoch);
    freeReplyObject(store_server_ask(pair_store, (const char *[]) { "DEL", "{u}:s",
                                                               NULL }));
    missed(number, value);

    pair_call(8081, "s2");
    await(number, "drain", "false");
    await(number, "state", "free");

    /* a lease that the store has given after that stays */

    number = number == 8082 ? 8083 : 8082;
    await(number, "state", "leased");
    pair_await_record(number, "-c - s2");
}
END_TEST


/* ms until the session has to leave, 0: never */

static long long
left(const char *upstream, int number)
{
    json_t     *instance;
    long long   ms;

    instance = api_ask("GET", pair_path(upstream, number), INSTANCE, NULL, NULL,
                       200);
    ms = json_integer_value(json_object_get(instance, "drain_ms"));
    json_decref(instance);

    return ms;
}


static void
await_left(const char *upstream, int number, long long most)
{
    long long  since, ms;

    since = harness_now();

    while ((ms = left(upstream, number)) == 0 || ms > most) {
        harness_pause(since, "the drain has no such deadline");
    }

    ck_assert_int_gt(ms, most - 60000);
}


/* the deadline of a drain is everywhere, and what is left of it when others hear
 * of it late */

START_TEST(deadline)
{
    int  number;

    pair_begin(GATEWAYS);

    pair_call(8080, "s1");
    number = is("u", 8082, "state", "free") ? 8083 : 8082;
    await(number, "state", "leased");

    say("u", number, "{\"drain\":true,\"deadline\":\"20m\"}");
    await_left("v", number, 1200000);

    /* again, without: it keeps the one that it has */

    say("v", number, DRAIN);
    pair_await_record(number, "/");
    await_left("u", number, 1200000);
    await_left("v", number, 1200000);

    store_server_kill(pair_server);
    say("u", number, "{\"drain\":true,\"deadline\":\"10m\"}");
    pair_again();
    await_left("v", number, 600000);

    store_server_kill(pair_server);
    pair_again();
    pair_await_record(number, "/");
    pair_await_record(number, "c - s1");

    gateway_stop();
    gateway_start(GATEWAYS);
    pair_call(8081, "s1");
    await_left("u", number, 600000);
    await_left("v", number, 600000);

    /* the session leaves, also where it calls only another gateway */

    say("u", number, "{\"drain\":true,\"deadline\":\"1s\"}");
    await(number, "state", "left");
    pair_call(8081, "s1");
    await(number == 8082 ? 8083 : 8082, "state", "leased");
    await(number, "state", "left");
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_drains");
    harness_add(suite, shared);
    harness_add(suite, away);
    harness_add(suite, learnt);
    harness_add(suite, gap);
    harness_add(suite, deadline);

    return harness_run(suite, "test_store_drains");
}
