/*
 * Two gateways with one store, and an instance that is down for one of them.
 * Two upstreams of one nginx are two gateways.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "store_server.h"


#define STORE  8090

/* an instance that has failed is down for good */
#define GATEWAY(port, name)                                                   \
    "    upstream " name " {\n"                                               \
    "        myservice_sessions $myservice_session zone=" name ":1m;\n"       \
    "        myservice_store redis://127.0.0.1:8090 prefix=u timeout=10s;\n"  \
    "        server 127.0.0.1:8082 fail_timeout=1h;\n"                        \
    "        server 127.0.0.1:8083 fail_timeout=1h;\n"                        \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:" port " http2;\n"                              \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://" name "; }\n"                     \
    "    }\n"

#define CONF                                                                  \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 1;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    GATEWAY("8080", "u")                                                      \
    GATEWAY("8081", "v")                                                      \
    "}\n"


static redisContext  *store;
static client_t      *clients[2];

static const char  *names[] = { "one", "two" };


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

static client_call_t *
call(int number, const char *session)
{
    long long       since;
    client_call_t  *c;

    since = harness_now();

    while ((c = call_once(number, session))->grpc == 14) {
        harness_pause(since, "the store gives no lease");
    }

    return c;
}


/* a record of the store ends with the text */

static bool
recorded(const char *text)
{
    bool         found;
    size_t       i;
    redisReply  *r;

    r = store_server_ask(store, (const char *[]) { "HVALS", "{u}:i", NULL });

    for (found = false, i = 0; i < r->elements; i++) {
        found |= strstr(r->element[i]->str, text) != NULL;
    }

    freeReplyObject(r);

    return found;
}


static void
await_record(const char *text)
{
    long long  since;

    since = harness_now();

    while (!recorded(text)) {
        client_poll(0);
        harness_pause(since, text);
    }
}


/* lines of the log about a disagreement */

static int
disagreements(void)
{
    int    n;
    char  *log, *p;

    log = harness_read("error.log");

    for (n = 0, p = log; (p = strstr(p, "gateways disagree")) != NULL; p++) {
        n++;
    }

    free(log);

    return n;
}


/* s1 comes to one of both instances by the second gateway; returns which, and
 * waits until the store knows that it is used there */

static int
place_first(fake_t *fakes[2])
{
    client_call_t  *c;

    (void) store_server_start(harness_port(STORE), NULL);
    store = store_server_connect();
    fakes[0] = fake_start(8082, "one", fake_ok);
    fakes[1] = fake_start(8083, "two", fake_ok);
    gateway_start(CONF);

    c = call(8081, "s1");
    client_assert(c, 0, "");
    await_record("-c - s1");

    return strcmp(client_pod(c, 0), "one") == 0 ? 0 : 1;
}


/* an instance that was down for one gateway has got a session from the other
 * one since: the first one tries it, and the session stays */

START_TEST(word_of_gateway)
{
    int             at;
    fake_t         *fakes[2];
    client_call_t  *c;

    at = place_first(fakes);

    fake_stop(fakes[at]);
    c = call(8081, "s1");
    client_assert(c, 0, "");
    ck_assert_str_eq(client_pod(c, 0), names[!at]);
    await_record("-c - s1");
    (void) fake_start(8082 + at, names[at], fake_ok);

    c = call(8080, "s2");
    client_assert(c, 0, "");
    ck_assert_str_eq(client_pod(c, 0), names[at]);

    c = call(8081, "s2");
    client_assert(c, 0, "");
    ck_assert_str_eq(client_pod(c, 0), names[at]);
    client_assert(call(8081, "s1"), 0, "");
}
END_TEST


/* an instance is back, its session has nowhere else to go, and no probe says
 * so: the session tries it */

START_TEST(nowhere_else)
{
    int             at;
    fake_t         *fakes[2];
    client_call_t  *c;

    at = place_first(fakes);
    client_assert(call(8080, "s2"), 0, "");
    client_assert(call(8081, "s2"), 0, "");

    fake_stop(fakes[at]);
    client_assert_refused(call(8081, "s1"), 8, "all instances are busy");
    (void) fake_start(8082 + at, names[at], fake_ok);

    c = call(8081, "s1");
    client_assert(c, 0, "");
    ck_assert_str_eq(client_pod(c, 0), names[at]);
}
END_TEST


/* the epoch of the session's lease at an instance, 0: it has none there */

static unsigned long long
epoch_at(const char *instance, const char *session)
{
    redisReply          *r;
    const char          *owner;
    unsigned long long   epoch;

    r = store_server_ask(store, (const char *[]) { "HGET", "{u}:i", instance,
                                                   NULL });
    owner = r->str ? strrchr(r->str, ' ') : NULL;
    epoch = owner && strcmp(owner + 1, session) == 0
            ? strtoull(r->str, NULL, 10) : 0;
    freeReplyObject(r);

    return epoch;
}


/* another gateway moves s1 to an instance again and again that is down here: it
 * is moved back, but not without end */

START_TEST(gateways_disagree)
{
    int                  i, at, moves;
    char                 sha[41], name[2][32], epoch[24], *script;
    fake_t              *fakes[2];
    long long            since;
    client_call_t       *c;
    unsigned long long   has;

    at = place_first(fakes);

    for (i = 0; i < 2; i++) {
        snprintf(name[i], sizeof(name[i]), "127.0.0.1:%d",
                 harness_port(8082 + i));
    }

    script = store_server_script(NULL, NULL);
    store_server_load(store, script, sha);
    free(script);
    fake_stop(fakes[at]);
    c = call(8081, "s1");
    client_assert(c, 0, "");
    since = harness_now();

    for (moves = 0; ; ) {
        has = epoch_at(name[!at], "s1");

        if (has) {
            moves++;
            snprintf(epoch, sizeof(epoch), "%llu", has);
            freeReplyObject(store_server_eval(store, sha, (const char *[]) {
                                "claim", "x", "s1", "30000", "0", name[!at],
                                epoch, "-", "0", "-", name[at], NULL }));
        }

        c = call_once(8081, "s1");

        if (c->grpc != 0) {
            break;
        }

        harness_pause(since, "the session is moved without end");
    }

    client_assert_refused(c, 14, "backend service unavailable");
    ck_assert_int_eq(moves, 4);
    ck_assert_int_eq(disagreements(), 1);
    client_assert_refused(call_once(8081, "s1"), 14,
                          "backend service unavailable");
    ck_assert_int_eq(disagreements(), 1);
    ck_assert_uint_ne(epoch_at(name[at], "s1"), 0);
}
END_TEST


/* an instance that has accepted a later epoch than the store's, and has nobody:
 * the store gives the session a lease above that, before the client hears */

static uint64_t  accepted;              /* the highest; 0: any */
static int       refused;


static void
guard(fake_call_t *call)
{
    const char   *p;
    uint64_t      epoch;
    static char   text[24];

    p = strstr(fake_metadata(call->fake), "\nsession-epoch: ");
    ck_assert_ptr_nonnull(p);
    epoch = strtoull(p + 16, NULL, 10);

    if (epoch < accepted) {
        refused++;
        snprintf(text, sizeof(text), "%llu", (unsigned long long) accepted);
        call->epoch = text;
        fake_refuse(call, 9, "");
        return;
    }

    accepted = accepted ? epoch : 0;
    fake_ok(call);
}


/* the epoch of the record with the text, 0: there is none */

static uint64_t
recorded_epoch(const char *text)
{
    size_t       i;
    uint64_t     epoch;
    redisReply  *r;

    epoch = 0;
    r = store_server_ask(store, (const char *[]) { "HVALS", "{u}:i", NULL });

    for (i = 0; i < r->elements; i++) {
        if (strstr(r->element[i]->str, text) != NULL) {
            epoch = strtoull(r->element[i]->str, NULL, 10);
        }
    }

    freeReplyObject(r);

    return epoch;
}


START_TEST(above)
{
    uint64_t  later;

    (void) store_server_start(harness_port(STORE), NULL);
    store = store_server_connect();
    (void) fake_start(8082, "one", guard);
    (void) fake_start(8083, "two", guard);
    gateway_start(CONF);

    client_assert(call(8080, "s0"), 0, "");

    /* an hour later than the store's clock; the first call of a session */

    later = recorded_epoch(" s0") + UINT64_C(3600000000);
    accepted = later;
    client_assert(call_once(8080, "s1"), 0, "");
    ck_assert_int_eq(refused, 1);
    ck_assert_uint_gt(recorded_epoch(" s1"), later);

    /* the lease that a session had for long is over */

    await_record("-c - s0");
    later = recorded_epoch(" s1") + UINT64_C(3600000000);
    accepted = later;
    client_assert(call_once(8080, "s0"), 0, "");
    ck_assert_int_eq(refused, 2);
    ck_assert_uint_gt(recorded_epoch(" s0"), later);

    /* the other gateway follows */

    client_assert(call(8081, "s0"), 0, "");
    ck_assert_int_eq(refused, 2);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_word");
    harness_add(suite, word_of_gateway);
    harness_add(suite, nowhere_else);
    harness_add(suite, gateways_disagree);
    harness_add(suite, above);

    return harness_run(suite, "test_store_word");
}
