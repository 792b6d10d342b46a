/*
 * Three gateways with one store, in one nginx: races for instances, and a store
 * that is killed, emptied, or replaced by its replica while sessions call.
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


#define GATEWAYS   3                    /* 8080 to 8082 */
#define INSTANCES  30                   /* 8083 to 8112 */
#define FIRST      8083
#define STORE      8115
#define REPLICA    8116

#define STORE_URL    "redis://127.0.0.1:8115"
#define REPLICA_URL  "redis://127.0.0.1:8116"
#define UNAVAILABLE  "session store unavailable"


static client_t  *clients[GATEWAYS];


/* "n" instances, the same for all gateways */

static const char *
conf(int n, const char *store)
{
    int          g, i;
    char        *p;
    static char  text[32768];

    p = text;
    p += sprintf(p, "%%%%GLOBALS%%%%\nworker_processes 2;\nevents {}\n"
                    "http {\n    %%%%GLOBALS_HTTP%%%%\n");

    for (g = 0; g < GATEWAYS; g++) {
        p += sprintf(p, "    upstream u%d {\n"
                        "        myservice_sessions $myservice_session "
                        "zone=u%d:1m;\n"
                        "        myservice_store %s prefix=u timeout=5s;\n",
                     g, g, store);

        for (i = 0; i < n; i++) {
            p += sprintf(p, "        server 127.0.0.1:%d;\n", FIRST + i);
        }

        p += sprintf(p, "        keepalive 16;\n    }\n"
                        "    server {\n"
                        "        listen 127.0.0.1:%d http2;\n"
                        "        keepalive_requests 100000;\n"
                        "        myservice_grpc_errors on;\n"
                        "        location / { grpc_pass grpc://u%d; }\n"
                        "    }\n", 8080 + g, g);
    }

    p += sprintf(p, "}\n");
    ck_assert_int_lt(p - text, (int) sizeof(text));

    return text;
}


static void
begin(int n, const char *store)
{
    int          i;
    static char  names[INSTANCES][8];

    for (i = 0; i < n; i++) {
        snprintf(names[i], sizeof(names[i]), "i%d", i);
        (void) fake_start(FIRST + i, names[i], fake_ok);
    }

    gateway_start(conf(n, store));

    for (i = 0; i < GATEWAYS; i++) {
        clients[i] = client_open(harness_port(8080 + i));
    }
}


static void
pod_of(client_call_t *call, char pod[16])
{
    client_wait(call);
    client_assert(call, 0, "");
    snprintf(pod, 16, "%s", client_pod(call, 0));
}


/*
 * The first lease of a store that began just now, at all gateways: each of the
 * workers that the clients have is connected to the store then.
 */

static void
first(const char *session, char pod[16])
{
    int             g;
    char            other[16] = "";
    long long       since;
    client_call_t  *call;

    since = harness_now();

    for (g = 0; g < GATEWAYS; g++) {

        for ( ;; ) {
            call = echo_get(clients[g], session);

            if (call->grpc != 14) {
                break;
            }

            harness_pause(since, "the store gives no lease");
        }

        pod_of(call, g == 0 ? pod : other);
        ck_assert(g == 0 || strcmp(pod, other) == 0);
    }
}


/*
 * 29 sessions at once, each by all gateways, for 29 instances that are free:
 * each gets one, the same everywhere
 */

START_TEST(race)
{
    int             s, g, i;
    char            session[16], pods[INSTANCES][16], pod[16];
    client_call_t  *calls[INSTANCES][GATEWAYS];

    (void) store_server_start(harness_port(STORE), NULL);
    begin(INSTANCES, STORE_URL);
    first("s0", pods[0]);

    for (s = 1; s < INSTANCES; s++) {
        snprintf(session, sizeof(session), "s%d", s);

        for (g = 0; g < GATEWAYS; g++) {
            calls[s][g] = echo_start(clients[(g + s) % GATEWAYS], session);
        }
    }

    for (s = 1; s < INSTANCES; s++) {
        pod_of(calls[s][0], pods[s]);

        for (g = 1; g < GATEWAYS; g++) {
            pod_of(calls[s][g], pod);
            ck_assert_str_eq(pod, pods[s]);
        }

        for (i = 0; i < s; i++) {
            ck_assert_str_ne(pods[i], pods[s]);
        }
    }
}
END_TEST


/* all sessions by all gateways, "n" times; nobody is refused, nobody moves */

static void
all_stay(char pods[3][16], int n)
{
    int   s, g, i;
    char  pod[16];

    static const char  *sessions[3] = { "s0", "s1", "s2" };

    for (i = 0; i < n; i++) {
        for (g = 0; g < GATEWAYS; g++) {
            for (s = 0; s < 3; s++) {
                pod_of(echo_start(clients[g], sessions[s]), pod);
                ck_assert_str_eq(pod, pods[s]);
            }
        }
    }
}


static void
bind_all(char pods[3][16])
{
    first("s0", pods[0]);
    pod_of(echo_start(clients[1], "s1"), pods[1]);
    pod_of(echo_start(clients[2], "s2"), pods[2]);
    all_stay(pods, 1);
}


/*
 * Until the store has all three sessions, whichever gateway was slow to tell it,
 * and answers.
 */

static void
await_new(const char *session)
{
    long long       since;
    client_call_t  *call;

    store_server_await(3);
    since = harness_now();

    do {
        harness_pause(since, "the store does not come back");
        call = echo_get(clients[1], session);
    } while (call->grpc == 14);

    /* all instances have sessions: the store knows */

    client_assert_refused(call, 8, "all instances are busy");
}


START_TEST(emptied)
{
    int    round;
    char   pods[3][16];
    pid_t  server;

    server = store_server_start(harness_port(STORE), NULL);
    begin(3, STORE_URL);
    bind_all(pods);

    for (round = 0; round < 3; round++) {
        store_server_kill(server);
        all_stay(pods, 5);
        server = store_server_start(harness_port(STORE), NULL);
        all_stay(pods, 5);
        await_new("s4");
        all_stay(pods, 5);
    }

    ck_assert(gateway_logged("store has lost its leases"));
}
END_TEST


START_TEST(failover)
{
    char           pods[3][16], port[16];
    pid_t          server;
    redisContext  *replica;

    snprintf(port, sizeof(port), "%d", harness_port(STORE));

    server = store_server_start(harness_port(STORE), NULL);
    (void) store_server_start(harness_port(REPLICA), (const char *[]) {
                                  "--replicaof", "127.0.0.1", port,
                                  "--repl-diskless-sync-delay", "0", NULL });
    replica = store_server_connect();

    begin(3, STORE_URL " " REPLICA_URL);
    bind_all(pods);

    store_server_await(3);              /* the replica */
    store_server_kill(server);
    all_stay(pods, 5);

    freeReplyObject(store_server_ask(replica, (const char *[]) { "REPLICAOF",
                                                    "NO", "ONE", NULL }));
    all_stay(pods, 5);
    await_new("s4");
    all_stay(pods, 5);
    redisFree(replica);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_faults");
    harness_add(suite, race);
    harness_add(suite, emptied);
    harness_add(suite, failover);

    return harness_run(suite, "test_store_faults");
}
