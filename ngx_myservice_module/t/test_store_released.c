/*
 * Sessions that are released at one gateway while it has no store: their leases
 * are over when the store is back, with what it had, empty, or as it was before.
 * Two upstreams of one nginx are two gateways; one has a proxy before its store.
 */

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api.h"
#include "client.h"
#include "gateway.h"
#include "harness.h"
#include "store_pair.h"
#include "store_proxy.h"
#include "store_server.h"


#define PROXY  8091

#define UPSTREAM(port, name, store)                                           \
    "    upstream " name " {\n"                                               \
    "        myservice_sessions $myservice_session zone=" name ":1m;\n"       \
    "        myservice_store redis://127.0.0.1:" store " prefix=u "           \
    "timeout=5s;\n"                                                           \
    "        myservice_release " SHUTDOWN ";\n"                               \
    "        server 127.0.0.1:8082;\n"                                        \
    "        server 127.0.0.1:8083;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:" port " http2;\n"                              \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://" name "; }\n"                     \
    "        location /api/ { myservice_api write=on; }\n"                    \
    "    }\n"

#define ONE   PAIR_CONF(UPSTREAM("8080", "u", "8090"))
#define BOTH  PAIR_CONF(UPSTREAM("8080", "u", "8090")                         \
                        UPSTREAM("8081", "v", "8090"))
#define CUT   PAIR_CONF(UPSTREAM("8080", "u", "8091")                         \
                        UPSTREAM("8081", "v", "8090"))


static int  home;                       /* the instance of "s1" */


static bool
has(const char *upstream, int number, const char *session)
{
    bool         so;
    json_t      *instance;
    const char  *owner;

    instance = api_ask("GET", pair_path(upstream, number), INSTANCE, NULL, NULL,
                       200);
    owner = json_string_value(json_object_get(instance, "session"));
    so = owner != NULL && strcmp(owner, session) == 0;
    json_decref(instance);

    return so;
}


static void
await(const char *upstream, bool owned)
{
    long long  since;

    since = harness_now();

    while ((has(upstream, 8082, "s1") || has(upstream, 8083, "s1")) != owned) {
        harness_pause(since, owned ? "the session has no instance"
                                   : "the session has an instance");
    }
}


/* the session has a lease that the store knows, and gateway "v" if it is there */

static void
bind(const char *conf)
{
    pair_begin(conf);
    pair_call(8080, "s1");

    home = has("u", 8082, "s1") ? 8082 : 8083;
    pair_await_record(home, "c - s1");

    if (strcmp(conf, ONE) != 0) {
        await("v", true);
    }
}


/* what the store has now is what it begins with next time */

static void
save(void)
{
    freeReplyObject(store_server_ask(pair_store,
                                     (const char *[]) { "SAVE", NULL }));
}


static void
ends(const char *upstream)
{
    char  path[64];

    snprintf(path, sizeof(path), "/api/1/upstreams/%s/sessions/s1", upstream);
    json_decref(api_ask("DELETE", path, SESSION, api_change, NULL, 204));
}


/* the epoch of the lease that the store has, 0: none */

static uint64_t
recorded(void)
{
    int          i;
    const char  *record;

    for (i = 8082; i <= 8083; i++) {
        record = pair_record(i);

        if (strstr(record, " s1") != NULL) {
            return strtoull(record, NULL, 10);
        }
    }

    return 0;
}


/* no lease anywhere, for longer than it takes all to read the store */

static void
await_released(const char *other)
{
    long long  since;

    since = harness_now();

    while (recorded() != 0) {
        harness_pause(since, "the store has the lease");
    }

    if (other != NULL) {
        await(other, false);
    }

    await("u", false);
    ck_assert_uint_eq(recorded(), 0);
}


/* the store comes back with the lease */

START_TEST(kept)
{
    uint64_t  epoch;

    bind(BOTH);
    epoch = recorded();
    save();
    store_server_kill(pair_server);

    ends("u");
    pair_again();
    await_released("v");

    pair_call(8081, "s1");
    ck_assert_uint_gt(recorded(), epoch);
}
END_TEST


/* another gateway enters the lease again */

START_TEST(emptied)
{
    bind(BOTH);
    store_server_kill(pair_server);

    ends("u");
    pair_again();

    await("v", false);
    await_released("v");
    pair_call(8080, "s1");
}
END_TEST


/* a replica has a lease of the session before the one that has ended */

START_TEST(older)
{
    bind(ONE);
    save();
    ends("u");
    await_released(NULL);
    pair_call(8080, "s1");
    store_server_kill(pair_server);

    ends("u");
    pair_again();
    ck_assert_uint_ne(recorded(), 0);
    await_released(NULL);
}
END_TEST


/* the same, and another gateway knows the later one */

START_TEST(raised)
{
    bind(BOTH);
    save();
    ends("u");
    await_released("v");
    pair_call(8080, "s1");
    await("v", true);
    store_server_kill(pair_server);

    ends("u");
    pair_again();
    await_released("v");
}
END_TEST


/* by a call; the session's next call may be there before all others */

START_TEST(called)
{
    uint64_t  epoch;

    bind(ONE);
    epoch = recorded();
    save();
    store_server_kill(pair_server);

    client_assert(shutdown_get(client_open(harness_port(8080)), "s1"), 0, "");
    pair_again();
    pair_call(8080, "s1");
    ck_assert_uint_gt(recorded(), epoch);
}
END_TEST


/* a lease that another gateway gives after that stays */

START_TEST(newer)
{
    int       number;
    uint64_t  epoch;

    store_proxy_start(PROXY, PAIR_STORE);
    bind(CUT);
    store_proxy_away(true);

    ends("u");
    ends("v");
    await_released("v");
    pair_call(8081, "s1");
    await("v", true);
    number = has("v", 8082, "s1") ? 8082 : 8083;
    pair_await_record(number, "c - s1");
    epoch = recorded();

    store_proxy_away(false);
    await("u", true);
    pair_call(8080, "s1");
    ck_assert_uint_eq(recorded(), epoch);
    ck_assert(has("v", number, "s1"));
}
END_TEST


/* the connections that workers have end, but not the one that reads changes */

START_TEST(alone)
{
    int          reads;
    char        *line, *save_line, id[24];
    long         own;
    long long    since;
    redisReply  *r, *list;

    bind(ONE);

    r = store_server_ask(pair_store, (const char *[]) { "CLIENT", "ID", NULL });
    own = (long) r->integer;
    freeReplyObject(r);

    /* there is room for the test and for that one */

    freeReplyObject(store_server_ask(pair_store, (const char *[]) { "CONFIG",
                                     "SET", "maxclients", "2", NULL }));
    since = harness_now();

    do {
        harness_pause(since, "no connection reads changes");
        list = store_server_ask(pair_store, (const char *[]) { "CLIENT", "LIST",
                                                               NULL });
        reads = strstr(list->str, " flags=b") != NULL;

        for (line = strtok_r(list->str, "\n", &save_line);
             line != NULL && reads;
             line = strtok_r(NULL, "\n", &save_line))
        {
            snprintf(id, sizeof(id), "%ld",
                     strtol(line + strlen("id="), NULL, 10));

            if (strtol(id, NULL, 10) != own
                && strstr(line, " flags=b") == NULL)
            {
                freeReplyObject(store_server_ask(pair_store,
                                                 (const char *[]) {
                                    "CLIENT", "KILL", "ID", id, NULL }));
            }
        }

        freeReplyObject(list);
    } while (!reads);

    ends("u");
    ck_assert_uint_ne(recorded(), 0);
    freeReplyObject(store_server_ask(pair_store, (const char *[]) { "CONFIG",
                                     "SET", "maxclients", "1000", NULL }));
    await_released(NULL);
}
END_TEST


/* a change of another gateway that comes late */

static void
late(const char *what, int number, const char *session, const char *epoch)
{
    char  name[32];

    snprintf(name, sizeof(name), "127.0.0.1:%d", harness_port(number));
    freeReplyObject(store_server_ask(pair_store, (const char *[]) {
        "EVAL", "redis.call('XADD', KEYS[1], '*', 'n', "
        "redis.call('HINCRBY', KEYS[2], 'n', 1), 'o', ARGV[4], 'i', ARGV[1], "
        "'e', ARGV[3], 's', ARGV[2], 'g', 'x', 'u', '-')", "2", "{u}:log",
        "{u}:c", name, session, epoch, what, NULL }));
}


/* what is older than the lease that the session has is no news, also on another
 * instance */

START_TEST(stale)
{
    int        other;
    long long  since;

    bind(ONE);
    other = home == 8082 ? 8083 : 8082;

    late("assert", other, "s1", "1000");
    late("assert", other, "s2", "1001");
    since = harness_now();

    while (!has("u", other, "s2")) {
        harness_pause(since, "the change is not read");
    }

    ck_assert(has("u", home, "s1"));
}
END_TEST


static const char *
epoch_in(long long days)
{
    static char  copy[2][24];
    static int   next;
    char        *p;

    p = copy[next++ % 2];
    snprintf(p, sizeof(copy[0]), "%lld",
             ((long long) time(NULL) + days * 86400) * 1000000);

    return p;
}


static void
await_home(int number)
{
    long long  since;

    since = harness_now();

    while (!has("u", number, "s1")) {
        harness_pause(since, "the change is not believed");
    }
}


/* The store's clock was far ahead, and is right again: what it gave meanwhile
 * is older than what it gives now. */

START_TEST(ahead)
{
    int         other;
    char        name[32], record[64];
    long long   since;

    bind(ONE);
    other = home == 8082 ? 8083 : 8082;

    if (_i) {
        late("assert", other, "s1", epoch_in(30));
        await_home(other);

        if (_i == 2) {

            /* the store says 0 of an epoch that it does not believe */

            late("leave", other, "s1", "0");
            since = harness_now();

            while (has("u", other, "s1")) {
                harness_pause(since, "the lease has not ended");
            }

            return;
        }

        late("assert", home, "s1", epoch_in(0));
        await_home(home);
        return;
    }

    /* one that was released may begin anew at another gateway */

    late("assert", home, "s1", epoch_in(30));
    late("assert", other, "s2", epoch_in(31));
    since = harness_now();

    while (!has("u", other, "s2")) {
        harness_pause(since, "the change is not read");
    }

    ends("u");
    await_released(NULL);

    snprintf(name, sizeof(name), "127.0.0.1:%d", harness_port(home));
    snprintf(record, sizeof(record), "%s %lld -c - s1", epoch_in(0),
             ((long long) time(NULL) + 3600) * 1000);
    freeReplyObject(store_server_ask(pair_store, (const char *[]) {
                                     "HSET", "{u}:i", name, record, NULL }));
    freeReplyObject(store_server_ask(pair_store, (const char *[]) {
                                     "HSET", "{u}:s", "s1", name, NULL }));
    late("assert", home, "s1", epoch_in(0));

    await_home(home);
    ck_assert_uint_ne(recorded(), 0);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_released");
    harness_add(suite, kept);
    harness_add(suite, emptied);
    harness_add(suite, older);
    harness_add(suite, raised);
    harness_add(suite, called);
    harness_add(suite, newer);
    harness_add(suite, alone);
    harness_add(suite, stale);
    harness_add_loop(suite, ahead, 3);

    return harness_run(suite, "test_store_released");
}
