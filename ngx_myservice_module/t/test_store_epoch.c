/*
 * Instances that know an epoch far above all clocks, and gateways with a store:
 * leases are renewed, and no epoch of the store is near 2^53.  Two upstreams of
 * one nginx are two gateways.
 */

#include <check.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "store_server.h"


#define STORE  8090

#define GATEWAY(port, name, health)                                             \
    "    upstream " name " {\n"                                               \
    "        myservice_sessions $myservice_session zone=" name ":1m;\n"       \
    "        myservice_store redis://127.0.0.1:8090 prefix=u timeout=10s;\n"  \
    "        " health                                                         \
    "        server 127.0.0.1:8082;\n"                                        \
    "        server 127.0.0.1:8083;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:" port " http2;\n"                              \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://" name "; }\n"                     \
    "    }\n"

#define CONF(health)                                                          \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 1;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    GATEWAY("8080", "u", health)                                              \
    GATEWAY("8081", "v", health)                                              \
    "}\n"

#define CHECKS  "myservice_health interval=100ms;\n"
#define HEALTH  "/grpc.health.v1.Health/Check"
#define LAST    ((UINT64_C(1) << 53) - 1)
#define WEEK    (UINT64_C(604800) * 1000000)


/* An instance of level 1. */
typedef struct {
    fake_t       *fake;
    char          owner[280];
    uint64_t      epoch;
    unsigned      refused;
    char          text[24];
    atomic_uint   checks;
} guard_t;


static guard_t        guards[2];
static client_t      *clients[2];
static redisContext  *store;


static void
serve(fake_call_t *call)
{
    int          n;
    uint64_t     got;
    guard_t     *guard;
    const char  *p;

    guard = &guards[call->fake == guards[1].fake];
    snprintf(guard->text, sizeof(guard->text), "%" PRIu64, guard->epoch);

    if (strcmp(call->path, HEALTH) == 0) {
        n = 0;
        call->more[n][0] = "session-calls";
        call->more[n++][1] = "0";
        call->more[n][0] = "session-epoch";
        call->more[n++][1] = guard->text;

        if (guard->owner[0] != '\0') {
            call->more[n][0] = "session-id";
            call->more[n++][1] = guard->owner;
        }

        fake_health(call, 1);
        atomic_fetch_add(&guard->checks, 1);
        return;
    }

    p = strstr(fake_metadata(call->fake), "\nsession-epoch: ");
    ck_assert_ptr_nonnull(p);
    got = strtoull(p + 16, NULL, 10);

    if ((guard->owner[0] != '\0' && strcmp(guard->owner, call->session) != 0)
        || got < guard->epoch)
    {
        guard->refused++;
        call->epoch = guard->text;

        if (guard->owner[0] != '\0') {
            call->trailer[0] = "session-owner";
            call->trailer[1] = guard->owner;
        }

        fake_refuse(call, 9, "");
        return;
    }

    guard->epoch = got;
    snprintf(guard->owner, sizeof(guard->owner), "%s", call->session);
    fake_ok(call);
}


static void
start(const char *conf)
{
    int  i;

    (void) store_server_start(harness_port(STORE), NULL);
    store = store_server_connect();

    for (i = 0; i < 2; i++) {
        memset(&guards[i], 0, sizeof(guard_t));
        guards[i].fake = fake_start(8082 + i, i == 0 ? "one" : "two", serve);
    }

    guards[0].epoch = LAST;

    gateway_start(conf);
}


static client_call_t *
call_once(int number, const char *session)
{
    client_t       **client;
    client_call_t   *c;

    client = &clients[number - 8080];

    if (*client == NULL || client_gone(*client)) {
        *client = client_open(harness_port(number));
    }

    c = echo_start(*client, session);
    client_wait(c);

    return c;
}


/* repeated while a store that began just now takes no new session */

static void
served(int number, const char *session)
{
    long long       since;
    client_call_t  *c;

    since = harness_now();

    while ((c = call_once(number, session))->grpc == 14) {
        harness_pause(since, "the store gives no lease");
    }

    client_assert(c, 0, "");
}


static char *
stored(const char *key, const char *field)
{
    char        *copy;
    redisReply  *r;

    r = store_server_ask(store, (const char *[]) { "HGET", key, field, NULL });
    copy = strdup(r->str ? r->str : "");
    freeReplyObject(r);

    return copy;
}


/* The counter, and the epochs of all records. */

static void
sane(void)
{
    size_t       i;
    char        *counter;
    uint64_t     limit;
    redisReply  *r;

    limit = (uint64_t) time(NULL) * 1000000 + WEEK;

    counter = stored("{u}:c", "e");
    ck_assert_uint_lt(strtoull(counter, NULL, 10), limit);
    free(counter);

    r = store_server_ask(store, (const char *[]) { "HVALS", "{u}:i", NULL });
    ck_assert_uint_gt(r->elements, 0);

    for (i = 0; i < r->elements; i++) {
        ck_assert_uint_lt(strtoull(r->element[i]->str, NULL, 10), limit);
    }

    freeReplyObject(r);
}


/* Both sessions' leases are confirmed in the store. */

static void
await_confirmed(void)
{
    size_t       i, n;
    long long    since;
    redisReply  *r;

    since = harness_now();

    do {
        r = store_server_ask(store, (const char *[]) { "HVALS", "{u}:i",
                                                       NULL });

        for (i = 0, n = 0; i < r->elements; i++) {
            n += strstr(r->element[i]->str, "-c - s") != NULL;
        }

        freeReplyObject(r);
        client_poll(0);
        harness_pause(since, "leases are confirmed");

    } while (n != 2);
}


/* One of two sessions gets the instance: its lease is renewed like the other
 * one's, the other gateway serves both, too. */

static void
absurd(const char *conf)
{
    start(conf);

    served(8080, "s1");
    served(8080, "s2");
    ck_assert_uint_eq(guards[0].epoch, LAST);
    ck_assert_uint_lt(guards[1].epoch, LAST / 2);
    await_confirmed();
    sane();

    served(8081, "s1");
    served(8081, "s2");
    served(8080, "s1");
    served(8080, "s2");
    await_confirmed();
    sane();

    ck_assert_uint_eq(guards[1].refused, 0);
    ck_assert_uint_le(guards[0].refused, 2);
    ck_assert(gateway_logged("instance names an epoch that is not believed"));
    ck_assert(!gateway_logged("store knows better: epoch"));
    ck_assert(!gateway_logged("session conflict"));
}


START_TEST(in_refusals)
{
    absurd(CONF(""));
}
END_TEST


START_TEST(in_health_answers)
{
    absurd(CONF(CHECKS));
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("store_epoch");
    harness_add(suite, in_refusals);
    harness_add(suite, in_health_answers);

    return harness_run(suite, argv[0]);
}
