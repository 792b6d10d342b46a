/*
 * What a real store does to a gateway that works with it: it forgets the
 * script, becomes a replica, answers in pieces or by halves, and its clock is
 * moved.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "store_proxy.h"
#include "store_server.h"


#define INSTANCES  24                   /* 8083 to 8106 */
#define FIRST      8083
#define STORE      8115
#define OTHER      8116

#define STORE_URL    "redis://127.0.0.1:8115"
#define OTHER_URL    "redis://127.0.0.1:8116"
#define UNAVAILABLE  "session store unavailable"


static client_t  *client;
static char       pods[INSTANCES][16];
static int        bound;                /* sessions "s0" and on, at pods[] */


static const char *
conf(const char *store)
{
    int          i;
    char        *p;
    static char  text[4096];

    p = text;
    p += sprintf(p, "%%%%GLOBALS%%%%\nworker_processes 2;\nevents {}\n"
                    "http {\n    %%%%GLOBALS_HTTP%%%%\n"
                    "    upstream u {\n"
                    "        myservice_sessions $myservice_session "
                    "zone=u:1m;\n"
                    "        myservice_store %s prefix=u timeout=10s;\n",
                 store);

    for (i = 0; i < INSTANCES; i++) {
        p += sprintf(p, "        server 127.0.0.1:%d;\n", FIRST + i);
    }

    p += sprintf(p, "        keepalive 16;\n    }\n"
                    "    server {\n"
                    "        listen 127.0.0.1:8080 http2;\n"
                    "        keepalive_requests 100000;\n"
                    "        myservice_grpc_errors on;\n"
                    "        location / { grpc_pass grpc://u; }\n"
                    "    }\n}\n");
    ck_assert_int_lt(p - text, (int) sizeof(text));

    return text;
}


/* a new session, which has an instance of its own; none is refused once the
 * store is old enough */

static void
bind_one(bool young)
{
    int             i;
    char            session[16];
    long long       since;
    client_call_t  *call;

    snprintf(session, sizeof(session), "s%d", bound);
    since = harness_now();

    for ( ;; ) {
        call = echo_get(client, session);

        if (!young || call->grpc == 0) {
            break;
        }

        client_assert_refused(call, 14, UNAVAILABLE);
        harness_pause(since, "the store gives no lease");
    }

    client_assert(call, 0, "");
    snprintf(pods[bound], sizeof(pods[0]), "%s", client_pod(call, 0));

    for (i = 0; i < bound; i++) {
        ck_assert_str_ne(pods[i], pods[bound]);
    }

    bound++;
}


static void
all_stay(void)
{
    int             i;
    char            session[16];
    client_call_t  *call;

    for (i = 0; i < bound; i++) {
        snprintf(session, sizeof(session), "s%d", i);
        call = echo_get(client, session);
        client_assert(call, 0, "");
        ck_assert_str_eq(client_pod(call, 0), pods[i]);
    }
}


static void
begin(const char *store)
{
    int          i;
    static char  names[INSTANCES][8];

    for (i = 0; i < INSTANCES; i++) {
        snprintf(names[i], sizeof(names[i]), "i%d", i);
        (void) fake_start(FIRST + i, names[i], fake_ok);
    }

    gateway_start(conf(store));
    client = client_open(harness_port(8080));
    bind_one(true);
}


static void
tell(redisContext *c, const char *a, const char *b, const char *d)
{
    freeReplyObject(store_server_ask(c, (const char *[]) { a, b, d, NULL }));
}


/* NOSCRIPT: the script is loaded again, the call that asked hears nothing */

START_TEST(script_flushed)
{
    int            i;
    redisContext  *c;

    (void) store_server_start(harness_port(STORE), NULL);
    c = store_server_connect();
    begin(STORE_URL);

    for (i = 0; i < 5; i++) {
        tell(c, "SCRIPT", "FLUSH", "SYNC");
        bind_one(false);
        all_stay();
    }

    ck_assert(gateway_logged("store is gone: NOSCRIPT"));
    store_server_await(6);
    redisFree(c);
}
END_TEST


/* until nothing is to be told to the store any more */

static void
await_confirmed(redisContext *c)
{
    int          n;
    size_t       i;
    long long    since;
    redisReply  *r;

    since = harness_now();

    for ( ;; ) {
        r = store_server_ask(c, (const char *[]) { "HVALS", "{u}:i", NULL });
        n = 0;

        for (i = 0; i < r->elements; i++) {
            n += strstr(r->element[i]->str, "c - s") != NULL;
        }

        freeReplyObject(r);

        if (n == bound) {
            return;
        }

        harness_pause(since, "the leases are not confirmed");
    }
}


/* All is gone, and no connection is: an idle gateway enters its leases again,
 * before the store gives an instance to others. */

START_TEST(flushed)
{
    int            i;
    redisContext  *c;

    (void) store_server_start(harness_port(STORE), NULL);
    c = store_server_connect();
    begin(STORE_URL);
    bind_one(false);

    for (i = 0; i < 2; i++) {
        await_confirmed(c);
        freeReplyObject(store_server_ask(c, (const char *[]) { "FLUSHALL",
                                                               NULL }));
        store_server_await(bound);
        bind_one(true);
        all_stay();
    }

    ck_assert(gateway_logged("store has lost its leases"));
    ck_assert(!gateway_logged("store is gone"));
    redisFree(c);
}
END_TEST


/* The server closes the connections, as after an idle time, and takes others at
 * once: calls wait for these. */

START_TEST(closed)
{
    int            i;
    redisContext  *c;

    (void) store_server_start(harness_port(STORE), NULL);
    c = store_server_connect();
    begin(STORE_URL);

    for (i = 0; i < 10; i++) {
        freeReplyObject(store_server_ask(c, (const char *[]) {
                                             "CLIENT", "KILL", "TYPE",
                                             "normal", NULL }));
        bind_one(false);
    }

    ck_assert(gateway_logged("store is gone: the connection was closed"));
    all_stay();
    redisFree(c);
}
END_TEST


/* the master and its replica change places while the gateway is connected */

START_TEST(demoted)
{
    int            i, from;
    char           ports[2][16];
    redisContext  *servers[2];

    static const int  numbers[] = { STORE, OTHER };

    for (i = 0; i < 2; i++) {
        snprintf(ports[i], sizeof(ports[i]), "%d", harness_port(numbers[i]));
        (void) store_server_start(harness_port(numbers[i]),
                                  (const char *[]) {
                                      "--repl-diskless-sync-delay", "0",
                                      NULL });
        servers[i] = store_server_connect();
    }

    tell(servers[1], "REPLICAOF", "127.0.0.1", ports[0]);
    begin(STORE_URL " " OTHER_URL);

    for (i = 0; i < 4; i++) {
        from = i % 2;
        store_server_await_at(servers[!from], bound);
        tell(servers[!from], "REPLICAOF", "NO", "ONE");
        tell(servers[from], "REPLICAOF", "127.0.0.1", ports[!from]);
        bind_one(false);
        all_stay();
    }

    /* whichever connection sees it first */

    ck_assert(gateway_logged("store is gone: READONLY")
              || gateway_logged("store is gone: UNBLOCKED"));
    store_server_await_at(servers[0], bound);
    redisFree(servers[0]);
    redisFree(servers[1]);
}
END_TEST


/* answers in pieces, the hand-shake and the stream of changes included */

START_TEST(pieces)
{
    int  i;

    (void) store_server_start(harness_port(STORE), NULL);
    store_proxy_start(OTHER, STORE);
    store_proxy_pieces(true);
    begin(OTHER_URL);

    for (i = 0; i < 10; i++) {
        bind_one(false);
    }

    all_stay();

    /* the hand-shake may time out where the machine is busy */

    ck_assert(!gateway_logged("not understood"));
    ck_assert(!gateway_logged("does not answer"));
    ck_assert(!gateway_logged("store answers with an error"));
    store_server_await(11);
}
END_TEST


/* A connection ends in the middle of an answer: the question is asked again, and
 * has the same answer. */

START_TEST(halves)
{
    size_t    n;
    unsigned  before;

    (void) store_server_start(harness_port(STORE), NULL);
    store_proxy_start(OTHER, STORE);
    begin(OTHER_URL);

    for (n = 1; n < 80; n += 4) {
        before = store_proxy_cuts();
        store_proxy_cut(n);
        bind_one(false);
        all_stay();
        ck_assert(n > 60 || store_proxy_cuts() > before);
    }

    store_server_await(bound);
}
END_TEST


/* its clock goes back by an hour, and forth by two */

START_TEST(clock_moves)
{
    size_t         i;
    redisReply    *r;
    redisContext  *c;
    long long      before;

    static const int64_t  moves[] = { -3600, 3600, -7200, 0 };

    store_server_clock(0);
    (void) store_server_start(harness_port(STORE), NULL);
    c = store_server_connect();
    begin(STORE_URL);

    for (i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
        r = store_server_ask(c, (const char *[]) { "TIME", NULL });
        before = strtoll(r->element[0]->str, NULL, 10);
        freeReplyObject(r);

        store_server_clock(moves[i]);

        r = store_server_ask(c, (const char *[]) { "TIME", NULL });
        ck_assert_int_gt(llabs(strtoll(r->element[0]->str, NULL, 10) - before),
                         3000);
        freeReplyObject(r);

        bind_one(false);
        all_stay();
        bind_one(false);
        all_stay();
    }

    ck_assert(!gateway_logged("store is gone"));
    store_server_await(bound);
    redisFree(c);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_live");
    harness_add(suite, script_flushed);
    harness_add(suite, flushed);
    harness_add(suite, closed);
    harness_add(suite, demoted);
    harness_add(suite, pieces);
    harness_add(suite, halves);
    harness_add(suite, clock_moves);

    return harness_run(suite, "test_store_live");
}
