/*
 * Drains of several gateways while the store is away, after it has lost all,
 * and after changes that a gateway has missed.  Two upstreams of one nginx are
 * two gateways, and the test plays a third one.
 */

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "store_server.h"


#define STORE  8090

#define UPSTREAM(port, name)                                                  \
    "    upstream " name " {\n"                                               \
    "        myservice_sessions $myservice_session zone=" name ":1m;\n"       \
    "        myservice_store redis://127.0.0.1:8090 prefix=u timeout=5s;\n"   \
    "        server 127.0.0.1:8082;\n"                                        \
    "        server 127.0.0.1:8083;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:" port " http2;\n"                              \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://" name "; }\n"                     \
    "        location /api/ { myservice_api write=on; }\n"                    \
    "    }\n"

#define GATEWAYS                                                              \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    UPSTREAM("8080", "u")                                                     \
    UPSTREAM("8081", "v")                                                     \
    "}\n"

#define DRAIN    "{\"drain\":true}"
#define UNDRAIN  "{\"drain\":false}"


static pid_t          server;
static redisContext  *store;


static void
begin(void)
{
    server = store_server_start(harness_port(STORE), NULL);
    store = store_server_connect();
    (void) fake_start(8082, "one", fake_ok);
    (void) fake_start(8083, "two", fake_ok);
    gateway_start(GATEWAYS);
}


/* the store begins anew, empty */

static void
again(void)
{
    redisFree(store);
    server = store_server_start(harness_port(STORE), NULL);
    store = store_server_connect();
}


static const char *
path_of(const char *upstream, int number)
{
    static char  path[128];

    snprintf(path, sizeof(path), "/api/1/upstreams/%s/instances/127.0.0.1:%d",
             upstream, harness_port(number));

    return path;
}


/* an operator's word at a gateway */

static void
say(const char *upstream, int number, const char *word)
{
    json_decref(api_ask("PATCH", path_of(upstream, number), INSTANCE,
                        api_change, word, 200));
}


static bool
is(const char *upstream, int number, const char *name, const char *value)
{
    bool     so;
    json_t  *instance, *member;

    instance = api_ask("GET", path_of(upstream, number), INSTANCE, NULL, NULL,
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


/* the record of the instance, static; "" if there is none */

static const char *
record(int number)
{
    char         name[32];
    redisReply  *r;

    static char  copy[256];

    snprintf(name, sizeof(name), "127.0.0.1:%d", harness_port(number));
    r = store_server_ask(store, (const char *[]) { "HGET", "{u}:i", name,
                                                   NULL });
    snprintf(copy, sizeof(copy), "%s",
             r->type == REDIS_REPLY_STRING ? r->str : "");
    freeReplyObject(r);

    return copy;
}


static void
await_record(int number, const char *text)
{
    long long  since;

    since = harness_now();

    while (strstr(record(number), text) == NULL) {
        harness_pause(since, text);
    }
}


/* a change that the stream does not have, and the next one shows it */

static void
missed(int number, const char *value)
{
    char  name[32];

    snprintf(name, sizeof(name), "127.0.0.1:%d", harness_port(number));
    freeReplyObject(store_server_ask(store, (const char *[]) { "HSET",
                                     "{u}:i", name, value, NULL }));
    freeReplyObject(store_server_ask(store, (const char *[]) { "HINCRBY",
                                     "{u}:c", "n", "3", NULL }));
}


static void
call(int number, const char *session)
{
    client_t       *client;
    long long       since;
    client_call_t  *c;

    client = client_open(harness_port(number));
    since = harness_now();

    for ( ;; ) {
        c = echo_get(client, session);

        if (c->grpc == 0) {
            return;
        }

        harness_pause(since, "the session has no instance");
    }
}


/* at one gateway, and both have it; the last word counts */

START_TEST(shared)
{
    begin();

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
    begin();

    say("u", 8083, DRAIN);
    await(8083, "drain", "true");

    store_server_kill(server);
    say("u", 8082, DRAIN);
    say("v", 8083, UNDRAIN);
    ck_assert(is("u", 8082, "drain", "true"));
    ck_assert(is("v", 8082, "drain", "false"));

    again();
    await(8082, "drain", "true");
    await(8083, "drain", "false");
    await_record(8082, " d1");
    await_record(8083, " -1");

    /* that nobody takes it back in the next life of the store */

    store_server_kill(server);
    again();
    await_record(8082, " d1");
    await_record(8083, " -1");
    await(8082, "drain", "true");
    await(8083, "drain", "false");
}
END_TEST


/* a gateway that begins anew, and one that is reloaded, learn it */

START_TEST(learnt)
{
    begin();

    say("u", 8082, DRAIN);
    await(8082, "drain", "true");
    await_record(8082, " d1");

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

    begin();

    call(8080, "s1");
    number = is("u", 8082, "state", "free") ? 8083 : 8082;
    await_record(number, "-c - s1");
    await(number, "state", "leased");
    say("u", number, DRAIN);
    await(number, "drain", "true");
    await_record(number, " d1");

    /* the lease has ended, and so has the drain */

    epoch = strtoull(record(number), NULL, 10);
    snprintf(value, sizeof(value), "%llu 0 -1999999999000000c - ", epoch);
    freeReplyObject(store_server_ask(store, (const char *[]) { "DEL", "{u}:s",
                                                               NULL }));
    missed(number, value);

    call(8081, "s2");
    await(number, "drain", "false");
    await(number, "state", "free");

    /* a lease that the store has given after that stays */

    number = number == 8082 ? 8083 : 8082;
    await(number, "state", "leased");
    await_record(number, "-c - s2");
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

    return harness_run(suite, "test_store_drains");
}
