/*
 * What a store, or another gateway, does at the wrong time.  Two upstreams of
 * one nginx are two gateways.
 */

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "instance.h"
#include "store_server.h"


#define STORE   8090
#define SECOND  8091

#define GATEWAY(port, name, store, more)                                      \
    "    upstream " name " {\n"                                               \
    "        myservice_sessions $myservice_session zone=" name ":1m;\n"       \
    "        myservice_store " store " prefix=u timeout=10s;\n"               \
    "        server 127.0.0.1:8082;\n"                                        \
    more                                                                      \
    "        myservice_release " SHUTDOWN ";\n"                               \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:" port " http2;\n"                              \
    "        keepalive_requests 100000;\n"                                    \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://" name "; }\n"                     \
    "        location = /status { myservice_status; }\n"                      \
    "        location = /metrics { myservice_metrics; }\n"                    \
    "    }\n"

#define CONF_WITH(workers, store, more)                                       \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes " workers ";\n"                                         \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    GATEWAY("8080", "u", store, SECOND_SERVER)                                \
    GATEWAY("8081", "v", store, more)                                         \
    "}\n"

#define SECOND_SERVER  "        server 127.0.0.1:8083;\n"
#define CONF(workers, store)  CONF_WITH(workers, store, SECOND_SERVER)

#define HEALTH        "        myservice_health interval=100ms;\n"
#define URL           "redis://127.0.0.1:8090"
#define URL_2         "redis://127.0.0.1:8091"
#define UNAVAILABLE   "session store unavailable"


static redisContext  *store;
static client_t      *clients[2];


static client_call_t *
start(int number, const char *session)
{
    client_t  **client;

    client = &clients[number - 8080];

    if (*client == NULL || client_gone(*client)) {
        *client = client_open(harness_port(number));
    }

    return echo_start(*client, session);
}


/* repeated while a store that began just now takes no new session */

static client_call_t *
call(int number, const char *session)
{
    long long       since;
    client_call_t  *c;

    since = harness_now();

    for ( ;; ) {
        c = start(number, session);
        client_wait(c);

        if (c->grpc != 14) {
            return c;
        }

        harness_pause(since, "the store gives no lease");
    }
}


static bool
recorded(redisContext *c, const char *text)
{
    bool         found;
    size_t       i;
    redisReply  *r;

    r = store_server_ask(c, (const char *[]) { "HVALS", "{u}:i", NULL });

    for (found = false, i = 0; i < r->elements; i++) {
        found |= strstr(r->element[i]->str, text) != NULL;
    }

    freeReplyObject(r);

    return found;
}


/* a record of the store has the text */

static void
await_record(const char *text)
{
    long long  since;

    since = harness_now();

    while (!recorded(store, text)) {
        client_poll(0);
        harness_pause(since, text);
    }
}


/* the first call of the session "held" waits, other calls do not */

static void
hold_first(fake_call_t *call)
{
    static bool  held;

    if (!held && strcmp(call->session, "held") == 0) {
        held = true;
        fake_hold(call);

    } else {
        fake_ok(call);
    }
}


/*
 * A gateway that has claimed the session still waits for its first answer, and
 * another one serves the session: its lease is confirmed, and stays when the
 * first one gives up.
 */

START_TEST(given_back)
{
    char            pod[16];
    client_call_t  *c, *held;

    (void) store_server_start(harness_port(STORE), NULL);
    store = store_server_connect();
    (void) fake_start(8082, "one", hold_first);
    (void) fake_start(8083, "two", hold_first);
    gateway_start(CONF("1", URL));

    client_assert(call(8080, "s1"), 0, "");

    held = start(8080, "held");
    await_record(" - held");

    c = call(8081, "held");
    client_assert(c, 0, "");
    snprintf(pod, sizeof(pod), "%s", client_pod(c, 0));
    await_record("-c - held");

    client_cancel(held);
    client_poll(0);
    gateway_await_access(" 499 ");

    /* on the same connection to the store, behind what the gateway said */

    client_assert_refused(call(8080, "s3"), 8, "all instances are busy");
    ck_assert(recorded(store, "-c - held"));

    c = call(8081, "held");
    client_assert(c, 0, "");
    ck_assert_str_eq(client_pod(c, 0), pod);
}
END_TEST


/* two servers that both take leases: all workers use the first */

START_TEST(first_address)
{
    int            i;
    char           session[16];
    long long      since;
    redisReply    *r;
    redisContext  *second;

    (void) store_server_start(harness_port(SECOND), NULL);
    second = store_server_connect();
    (void) store_server_start(harness_port(STORE), NULL);
    store = store_server_connect();
    (void) fake_start(8082, "one", fake_ok);
    (void) fake_start(8083, "two", fake_ok);
    since = harness_now();
    gateway_start(CONF("4", URL " " URL_2));

    if (harness_now() - since > 700) {

        /* on a machine as slow as this the first server may be given up */

        redisFree(second);
        return;
    }

    for (i = 0; i < 16; i++) {
        snprintf(session, sizeof(session), "s%d", i);
        clients[0] = NULL;
        (void) call(8080, session);
    }

    r = store_server_ask(second, (const char *[]) { "DBSIZE", NULL });
    ck_assert_int_eq(r->integer, 0);
    freeReplyObject(r);
    redisFree(second);
}
END_TEST


static int
lines(const char *text)
{
    int    n;
    char  *log, *p;

    log = harness_read("error.log");

    for (n = 0, p = log; (p = strstr(p, text)) != NULL; p++) {
        n++;
    }

    free(log);

    return n;
}


/* a store without memory: bound sessions go on, new ones are refused, and the
 * log has a line, not one for each */

START_TEST(full)
{
    int   i;
    char  session[16];

    (void) store_server_start(harness_port(STORE), NULL);
    store = store_server_connect();
    (void) fake_start(8082, "one", fake_ok);
    (void) fake_start(8083, "two", fake_ok);
    gateway_start(CONF("1", URL));

    client_assert(call(8080, "s0"), 0, "");
    freeReplyObject(store_server_ask(store, (const char *[]) { "CONFIG",
                                            "SET", "maxmemory", "1", NULL }));
    for (i = 1; i < 30; i++) {
        snprintf(session, sizeof(session), "s%d", i);
        client_assert_refused(echo_get(clients[0], session), 14, UNAVAILABLE);
        client_assert(echo_get(clients[0], "s0"), 0, "");
    }

    ck_assert_int_ge(lines("store answers with an error: OOM"), 1);
    ck_assert_int_lt(lines("store answers with an error: OOM"), 10);

    freeReplyObject(store_server_ask(store, (const char *[]) { "CONFIG",
                                            "SET", "maxmemory", "0", NULL }));
    client_assert(call(8081, "s30"), 0, "");
}
END_TEST


static void
start_short(const char *conf)
{
    char  *text;

    text = store_server_replace(strdup(conf), ":1m;", ":1m ttl=20s;");
    gateway_start(text);
    free(text);
}


/* the store falls silent when a bound session has been idle for a while: its
 * next call does not wait */

START_TEST(idle)
{
    pid_t      server;
    long long  since;

    server = store_server_start(harness_port(STORE), NULL);
    store = store_server_connect();
    (void) fake_start(8082, "one", fake_ok);
    (void) fake_start(8083, "two", fake_ok);
    start_short(CONF("1", URL));

    client_assert(call(8080, "s1"), 0, "");
    await_record("-c - s1");

    /* a quarter of the ttl, from the renewal on */

    since = harness_now();

    while (harness_now() - since < 6000) {
        harness_pause(since, "a quarter of the ttl");
    }

    kill(server, SIGSTOP);
    since = harness_now();
    client_assert(echo_get(clients[0], "s1"), 0, "");
    ck_assert_int_lt(harness_now() - since, 9000);
}
END_TEST


/* a page of the gateway, static */

static const char *
page(const char *path)
{
    client_call_t  *c;

    static char                   text[32768];
    static const client_header_t  get[] = { { ":method", "GET" },
                                            { NULL, NULL } };

    c = client_request(clients[0], path, get, NULL, 0, false);
    client_wait(c);
    ck_assert_int_eq(c->http, 200);
    ck_assert_uint_lt(c->len, sizeof(text));
    snprintf(text, sizeof(text), "%.*s", (int) c->len, (char *) c->body);

    return text;
}


static void
await_page(const char *path, const char *text)
{
    long long  since;

    since = harness_now();

    while (strstr(page(path), text) == NULL) {
        harness_pause(since, text);
    }
}


/* what an operator sees of the store */

START_TEST(seen)
{
    char         text[128];
    pid_t        server;
    const char  *p;

    server = store_server_start(harness_port(STORE), NULL);
    store = store_server_connect();
    (void) fake_start(8082, "one", fake_ok);
    (void) fake_start(8083, "two", fake_ok);
    gateway_start(CONF("1", URL));

    client_assert(call(8080, "s1"), 0, "");
    client_assert(call(8080, "s2"), 0, "");
    client_assert_refused(call(8080, "s3"), 8, "all instances are busy");

    p = page("/metrics");
    ck_assert_ptr_nonnull(strstr(p, "myservice_store_connected{upstream=\"u\"}"
                                    " 1\n"));
    ck_assert_ptr_nonnull(strstr(p, "myservice_store_claims_total{"
                                    "upstream=\"u\",result=\"given\"} 2\n"));
    ck_assert_ptr_nonnull(strstr(p, "myservice_store_claims_total{"
                                    "upstream=\"u\",result=\"busy\"} 1\n"));
    ck_assert_ptr_null(strstr(p, "myservice_store_claim_seconds_count{"
                                 "upstream=\"u\"} 0\n"));
    await_page("/metrics", "myservice_store_leases_total{upstream=\"u\","
               "result=\"renewed\"} 2\n");
    await_page("/metrics", "myservice_store_changes_total{upstream=\"v\"} 2\n");
    await_page("/metrics", "myservice_store_changes_age_seconds{upstream="
               "\"v\"} ");

    snprintf(text, sizeof(text), "\"state\":\"connected\",\"address\":"
             "\"127.0.0.1:%d\",\"since_ms\":", harness_port(STORE));
    p = page("/status");
    ck_assert_ptr_nonnull(strstr(p, text));

    /* of a lease: microseconds of the real time */

    p = strstr(p, "\"epoch\":");
    ck_assert_ptr_nonnull(p);
    ck_assert(strtoull(p + 8, NULL, 10) > 1600000000000000ULL);

    store_server_kill(server);
    await_page("/metrics", "myservice_store_connected{upstream=\"u\"} 0\n");
    ck_assert_ptr_nonnull(strstr(page("/status"), "\"state\":\"gone\""));
}
END_TEST


/* how many upstreams have the member */

static int
members(const char *address)
{
    int          n;
    const char  *p;

    for (n = 0, p = page("/status"); (p = strstr(p, address)) != NULL; p++) {
        n++;
    }

    return n;
}


/* an instance of another gateway serves its session here, too, and no other */

START_TEST(guest)
{
    int             i;
    char            port[32], pods[2][16];
    long long       since;
    client_call_t  *c;

    static const char  *sessions[] = { "s1", "s2" };

    (void) store_server_start(harness_port(STORE), NULL);
    store = store_server_connect();
    (void) fake_start(8082, "one", fake_ok);
    (void) fake_start(8083, "two", fake_ok);
    gateway_start(CONF_WITH("1", URL, ""));

    for (i = 0; i < 2; i++) {
        c = call(8080, sessions[i]);
        client_assert(c, 0, "");
        snprintf(pods[i], sizeof(pods[i]), "%s", client_pod(c, 0));
    }

    for (i = 0; i < 4; i++) {
        c = call(8081, sessions[i % 2]);
        client_assert(c, 0, "");
        ck_assert_str_eq(client_pod(c, 0), pods[i % 2]);
        client_assert_refused(call(8081, "s3"), 8, "all instances are busy");
    }

    ck_assert(gateway_logged("names an instance that is no member"));
    snprintf(port, sizeof(port), "\"127.0.0.1:%d\"", harness_port(8083));
    ck_assert_int_eq(members(port), 2);

    /* it goes with its lease, wherever that ends */

    i = strcmp(pods[0], "two") == 0 ? 0 : 1;
    client_assert(shutdown_get(clients[0], sessions[i]), 0, "");
    since = harness_now();

    while (members(port) != 1) {
        harness_pause(since, "the instance stays a member");
    }
}
END_TEST


/* the session ends at its instance, before its lease does: the store knows */

START_TEST(word_of_health)
{
    bool       known;
    long long  since, called;

    (void) store_server_start(harness_port(STORE), NULL);
    store = store_server_connect();
    (void) instance_start(8082, "one", "--session-ttl 10s");
    (void) instance_start(8083, "two", "--session-ttl 10s");
    start_short(CONF_WITH("1", URL, HEALTH SECOND_SERVER));

    known = false;
    called = 0;
    since = harness_now();

    while (!known || recorded(store, " s1")) {

        if (harness_now() - called > 25000) {

            /* once; again where a busy machine was too late for all of it */

            called = harness_now();
            client_assert(call(8081, "s1"), 0, "");
        }

        known |= recorded(store, "-c - s1");
        harness_pause(since, "the store still has the lease");
    }
}
END_TEST


/* the store has given the instance to another session, which is refused */

START_TEST(word_of_conflict)
{
    char          sha[41], name[32], pod[16], *script;
    client_call_t  *c;

    (void) store_server_start(harness_port(STORE), NULL);
    store = store_server_connect();
    (void) instance_start(8082, "one", "--session-ttl 1h");
    (void) instance_start(8083, "two", "--session-ttl 1h");
    gateway_start(CONF("1", URL));

    c = call(8080, "s1");
    client_assert(c, 0, "");
    snprintf(pod, sizeof(pod), "%s", client_pod(c, 0));
    await_record("-c - s1");

    script = store_server_script(NULL, NULL);
    store_server_load(store, script, sha);
    free(script);
    snprintf(name, sizeof(name), "127.0.0.1:%d",
             harness_port(strcmp(pod, "one") == 0 ? 8082 : 8083));

    /* the generation stays: that would be noticed within a second */

    freeReplyObject(store_server_ask(store, (const char *[]) {
                        "DEL", "{u}:s", "{u}:i", NULL }));
    freeReplyObject(store_server_eval(store, sha, (const char *[]) {
                        "claim", "x", "s2", "30000", "1900000000000000", "",
                        "0", "-", "0", "-", name, NULL }));
    ck_assert(recorded(store, " s2"));

    c = call(8080, "s2");
    client_assert(c, 0, "");
    ck_assert_str_ne(client_pod(c, 0), pod);
    await_record(" s1");
    await_page("/status", "\"words\":1,");

    c = call(8081, "s1");
    client_assert(c, 0, "");
    ck_assert_str_eq(client_pod(c, 0), pod);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_traps");
    harness_add(suite, given_back);
    harness_add(suite, first_address);
    harness_add(suite, full);
    harness_add(suite, idle);
    harness_add(suite, guest);
    harness_add(suite, seen);
    harness_add(suite, word_of_health);
    harness_add(suite, word_of_conflict);

    return harness_run(suite, "test_store_traps");
}
