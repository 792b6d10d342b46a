/*
 * First calls that hang, or are cancelled at once, with a store: "tentative"
 * and "tentative_connection" of myservice_calls bound them at each gateway.
 * The store is a real redis-server.
 */

#include <check.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "status.h"
#include "store_server.h"
#include "token.h"


#define STORE      8095
#define STORE_URL  "redis://127.0.0.1:8095 prefix=u"

#define UPSTREAM(name, store, more, ttl)                                      \
    "    upstream " name " {\n"                                               \
    "        myservice_sessions $myservice_session zone=" name ":1m" ttl ";\n" \
    "        myservice_health interval=100ms;\n"                              \
    "        myservice_store " STORE_URL store ";\n"                          \
    more                                                                      \
    "        server 127.0.0.1:8082;\n"                                        \
    "        server 127.0.0.1:8083;\n"                                        \
    "        server 127.0.0.1:8084;\n"                                        \
    "        keepalive 16;\n"                                                 \
    "    }\n"

#define SERVER(port, name, location)                                          \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:" port " http2;\n"                              \
    "        http2_max_concurrent_streams 1000;\n"                            \
    "        keepalive_requests 10000;\n"                                     \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log flood;\n"                          \
    "        location / {\n"                                                  \
    location                                                                  \
    "            grpc_pass grpc://" name ";\n"                                \
    "        }\n"                                                             \
    "    }\n"

/* one upstream is bounded: gateway 8080; the other is a gateway beside it */
#define CONF(store, more, location)  CONF_TTL(store, more, location, "")
#define CONF_TTL(store, more, location, ttl)                                  \
    CONF_LISTEN("8080", store, more, location, ttl)
#define CONF_LISTEN(listen, store, more, location, ttl)                       \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format flood 'decision=$myservice_decision '\n"                  \
    "        'grpc=$myservice_grpc_status session=$myservice_session';\n"     \
    STATUS_SERVER                                                             \
    UPSTREAM("u", store, more, ttl)                                           \
    UPSTREAM("v", SLOW, "", ttl)                                              \
    SERVER(listen, "u", location)                                             \
    SERVER("8081", "v", "")                                                   \
    "}\n"

#define SLOW        " timeout=5s"
#define CONNECTION  "myservice_calls tentative_connection=1;\n"
#define SUBJECT     "myservice_calls tentative=1;\n"
#define TOKENS      "myservice_jwt on;\n"                                     \
                    "myservice_jwt_secret_file %%DIR%%/secret;\n"

#define MANY  "too many calls"
#define NONE  "failed here"

#define FLOOD   100
#define ROUNDS  20


static pid_t          server;
static redisContext  *store;
static atomic_uint    hung;             /* calls */


/* Sessions whose names begin with "h" hang, "e" get an error: such a first call
 * gives its instance back. */
static void
serve(fake_call_t *call)
{
    if (strcmp(call->path, "/grpc.health.v1.Health/Check") == 0) {
        fake_health(call, 1);

    } else if (call->session[0] == 'e') {
        fake_refuse(call, 5, NONE);

    } else if (call->session[0] == 'h') {
        atomic_fetch_add(&hung, 1);

    } else {
        fake_ok(call);
    }
}


static client_t *
client(void)
{
    return client_open(harness_port(8080));
}


/* also waits until the new store takes sessions */
static client_t *
start(const char *conf)
{
    int             i;
    fake_t         *fake;
    long long       since;
    client_t       *other;
    client_call_t  *call;

    static const char *const  names[] = { "0", "1", "2" };

    server = store_server_start(harness_port(STORE), NULL);
    store = store_server_connect();

    for (i = 0; i < 3; i++) {
        fake = fake_start(8082 + i, names[i], serve);
        fake_forget(fake);
    }

    gateway_start(conf);
    other = client_open(harness_port(8081));
    since = harness_now();

    for ( ;; ) {
        call = echo_get(other, "e");

        if (call->grpc != 14) {
            break;
        }

        harness_pause(since, "the store takes no sessions");
    }

    client_assert(call, 5, NONE);
    store_server_await(0);

    return client();
}


static client_call_t *
token_start(client_t *c, const char *user, const char *session)
{
    char  claims[512];

    snprintf(claims, sizeof(claims), "{\"session_id\":\"%s\","
             "\"exp\":32503680000,\"iss\":\"i\",\"sub\":\"%s\"}", session,
             user);

    return client_grpc(c, ECHO, token_sign(claims, "HS256", TOKEN_SECRET),
                       session, "", 0);
}


static client_call_t *
token_get(client_t *c, const char *user, const char *session)
{
    client_call_t  *call;

    call = token_start(c, user, session);
    client_wait(call);

    return call;
}


/* repeated until the call gets this status */
static void
await(client_t *c, const char *user, const char *session, int status)
{
    long long       since;
    client_call_t  *call;

    for (since = harness_now(); /* void */; /* void */) {
        call = user ? token_get(c, user, session) : echo_get(c, session);

        if (call->grpc == status) {
            return;
        }

        harness_pause(since, "the call is refused");
    }
}


START_TEST(flood_hangs)
{
    client_t       *bad;
    client_call_t  *first, *second;

    bad = start(CONF(SLOW, CONNECTION, ""));

    first = echo_start(bad, "h1");
    client_poll(0);
    store_server_await(1);
    client_assert_refused(echo_get(bad, "h2"), 8, MANY);
    gateway_await_access("decision=LIMITED grpc=8 session=h2");
    status_await("\"LIMITED\":1,");
    store_server_await(1);

    /* another call of the session, and another client; another gateway */

    second = echo_start(bad, "h1");
    client_assert(echo_get(client(), "e1"), 5, NONE);
    client_assert(echo_get(client_open(harness_port(8081)), "e2"), 5, NONE);
    client_assert_refused(echo_get(bad, "h2"), 8, MANY);

    /* one of its calls holds the session's claim still */

    client_cancel(first);
    client_poll(0);
    gateway_await_access("decision=NEW grpc=- session=h1");
    client_assert_refused(echo_get(bad, "s2"), 8, MANY);
    client_cancel(second);
    client_poll(0);
    store_server_await(0);
    await(bad, NULL, "s2", 0);

    /* a success counts no more */

    client_assert(echo_get(bad, "s3"), 0, "");
}
END_TEST


/* thousands, with calls of another client between them */
START_TEST(flood_cancelled)
{
    int             i, round;
    char            session[16];
    client_t       *bad, *good;
    client_call_t  *c[FLOOD];

    bad = start(CONF(SLOW, CONNECTION, ""));
    good = client();

    for (round = 0; round < ROUNDS; round++) {

        for (i = 0; i < FLOOD; i++) {
            snprintf(session, sizeof(session), "h%d-%d", round, i);
            c[i] = echo_start(bad, session);

            /* half of them at once */

            if (i % 2) {
                client_cancel(c[i]);
            }
        }

        client_poll(0);

        snprintf(session, sizeof(session), "e%d", round);
        client_assert(echo_get(good, session), 5, NONE);

        for (i = 0; i < FLOOD; i++) {
            if (!c[i]->done) {
                client_cancel(c[i]);
            }
        }

        client_poll(0);
        store_server_await(0);
        client_assert(echo_get(bad, session), 5, NONE);
    }

    status_await("\"BUSY\":0,");
    status_await("\"down\":0}");
}
END_TEST


/* Both workers ask for many sessions of a user at once. */
START_TEST(flood_subject)
{
    int             i, round, left;
    char            session[16];
    client_t       *clients[8];
    client_call_t  *c[8];

    (void) start(CONF(SLOW, SUBJECT, TOKENS));

    for (i = 0; i < 8; i++) {
        clients[i] = client();
    }

    for (round = 0; round < 10; round++) {

        for (i = 0; i < 8; i++) {
            snprintf(session, sizeof(session), "h%d-%d", round, i);
            c[i] = token_start(clients[i], "alice", session);
        }

        do {
            client_poll(5);

            for (left = i = 0; i < 8; i++) {
                left += !c[i]->done;
            }
        } while (left > 1);

        ck_assert_int_eq(left, 1);
        client_assert(token_get(clients[round % 8], "bob", "e"), 5, NONE);
        store_server_await(1);

        for (i = 0; i < 8; i++) {

            if (c[i]->done) {
                client_assert_refused(c[i], 8, MANY);
                continue;
            }

            ck_assert_uint_eq(atomic_load(&hung), (unsigned) round + 1);
            client_assert_waits(c[i], 20);
            client_cancel(c[i]);
        }

        client_poll(0);
        store_server_await(0);
        await(clients[round % 8], "alice", "e", 5);
    }
}
END_TEST


/* Another gateway has given the session an instance, and this one has not heard
 * of it: the session does not count, and is not refused. */
START_TEST(flood_known)
{
    int             i;
    char            name[32], record[64], *session;
    client_t       *c;
    redisReply     *reply;
    client_call_t  *first;

    c = start(CONF(SLOW, "myservice_calls tentative=1 "
                         "tentative_connection=1;\n", TOKENS));

    first = token_start(c, "alice", "h1");
    client_poll(0);
    store_server_await(1);
    client_assert_refused(token_get(c, "alice", "s2"), 8, MANY);
    reply = store_server_ask(store, (const char *[]) { "HGET", "{u}:s", "h1",
                                                       NULL });

    for (i = 8082; i <= 8084; i++) {
        snprintf(name, sizeof(name), "127.0.0.1:%d", harness_port(i));
        snprintf(record, sizeof(record), "1 32503680000000 -c - s%d", i);
        session = strrchr(record, 's');

        if (strcmp(reply->str, name) == 0) {
            continue;
        }

        freeReplyObject(store_server_ask(store, (const char *[]) {
            "HSET", "{u}:i", name, record, NULL }));
        freeReplyObject(store_server_ask(store, (const char *[]) {
            "HSET", "{u}:s", session, name, NULL }));
        client_assert(token_get(c, "alice", session), 0, "");
    }

    freeReplyObject(reply);
    client_assert_refused(token_get(c, "alice", "s2"), 8, MANY);
    client_cancel(first);
    client_poll(0);
    store_server_await(2);
    client_assert(token_get(c, "alice", "s2"), 0, "");
}
END_TEST


/* Calls at both workers ask at once for a session that another gateway has
 * given an instance: none of them begins it anew. */
START_TEST(flood_known_twice)
{
    int             i, round;
    char            name[32], record[64], *session;
    client_t       *clients[16];
    client_call_t  *c[16];

    (void) start(CONF_LISTEN("8080 reuseport", SLOW, SUBJECT, TOKENS, ""));

    for (i = 0; i < 16; i++) {
        clients[i] = client();
    }

    for (round = 0; round < 3; round++) {
        snprintf(name, sizeof(name), "127.0.0.1:%d",
                 harness_port(8082 + round));
        snprintf(record, sizeof(record), "1 32503680000000 -c - s%d", round);
        session = strrchr(record, 's');

        freeReplyObject(store_server_ask(store, (const char *[]) {
            "HSET", "{u}:i", name, record, NULL }));
        freeReplyObject(store_server_ask(store, (const char *[]) {
            "HSET", "{u}:s", session, name, NULL }));

        ck_assert_int_eq(kill(server, SIGSTOP), 0);

        for (i = 0; i < 16; i++) {
            c[i] = token_start(clients[i], "alice", session);
            client_ping(clients[i]);
            client_wait_pongs(clients[i], (unsigned) round + 1);
        }

        ck_assert_int_eq(kill(server, SIGCONT), 0);

        for (i = 0; i < 16; i++) {
            client_wait(c[i]);
            client_assert(c[i], 0, "");
        }
    }

    status_await("\"NEW\":0,");
}
END_TEST


/* One worker's calls give the lease back while the other worker has not seen
 * yet that its question has brought the same one: that has it then. */
START_TEST(flood_given_back)
{
    int             i, n, was, quiet;
    pid_t           pids[2];
    client_t       *clients[16];
    client_call_t  *c[16];
    bool            here[16];

    (void) start(CONF_LISTEN("8080 reuseport", SLOW, SUBJECT, TOKENS, ""));
    ck_assert_uint_eq(gateway_workers(pids, 2), 2);

    /* whose connections are those of the first worker */

    ck_assert_int_eq(kill(pids[1], SIGSTOP), 0);

    for (i = 0; i < 16; i++) {
        clients[i] = client();
        c[i] = token_start(clients[i], "bob", "e");
    }

    for (n = was = quiet = 0; n == 0 || quiet < 20; quiet++) {
        client_poll(10);

        for (was = n, n = i = 0; i < 16; i++) {
            here[i] = c[i]->done;
            n += here[i];
        }

        quiet = n == was ? quiet : 0;
    }

    ck_assert_int_eq(kill(pids[1], SIGCONT), 0);

    for (i = 0; i < 16; i++) {
        client_wait(c[i]);
    }

    store_server_await(0);

    /* both ask at once, and the first one gets the answer */

    ck_assert_int_eq(kill(server, SIGSTOP), 0);

    for (i = 0; i < 16; i++) {
        c[i] = token_start(clients[i], "alice", "h1");
        client_ping(clients[i]);
        client_wait_pongs(clients[i], 1);
    }

    ck_assert_int_eq(kill(pids[1], SIGSTOP), 0);
    ck_assert_int_eq(kill(server, SIGCONT), 0);

    while (atomic_load(&hung) == 0) {
        client_poll(5);
    }

    for (i = 0; i < 16; i++) {
        if (here[i]) {
            client_cancel(c[i]);
            client_ping(clients[i]);
            client_wait_pongs(clients[i], 2);
        }
    }

    ck_assert_int_eq(kill(pids[1], SIGCONT), 0);

    for (i = 0; i < 32; i++) {
        if (!here[i % 16]) {
            client_ping(clients[i % 16]);
            client_wait_pongs(clients[i % 16], 2 + (unsigned) i / 16);
        }
    }

    for (i = 0; i < 16; i++) {
        client_assert_refused(token_get(clients[i], "alice", "e2"), 8, MANY);
    }

    store_server_await(1);

    for (i = 0; i < 16; i++) {
        if (!here[i]) {
            client_assert_waits(c[i], 1);
            client_cancel(c[i]);
        }
    }

    client_poll(0);
    store_server_await(0);
}
END_TEST


/* A question that the store answers late, or never, leaves no count behind. */
START_TEST(flood_store_away)
{
    client_t       *c;
    client_call_t  *call;

    c = start(CONF(" timeout=100ms", CONNECTION, ""));

    ck_assert_int_eq(kill(server, SIGSTOP), 0);
    call = echo_get(c, "h1");
    client_assert_refused(call, 14, "session store unavailable");
    ck_assert_int_eq(kill(server, SIGCONT), 0);
    await(c, NULL, "e2", 5);
    store_server_await(0);

    /* and one that nobody waits for */

    ck_assert_int_eq(kill(server, SIGSTOP), 0);
    call = echo_start(c, "h3");
    client_ping(c);
    client_wait_pongs(c, 1);
    client_cancel(call);
    client_ping(c);
    client_wait_pongs(c, 2);
    ck_assert_int_eq(kill(server, SIGCONT), 0);
    await(c, NULL, "e4", 5);
    store_server_await(0);

    ck_assert_int_eq(kill(server, SIGSTOP), 0);
    call = echo_start(c, "h5");
    client_ping(c);
    client_wait_pongs(c, 3);
    store_server_kill(server);
    client_wait(call);
    client_assert_refused(call, 14, "session store unavailable");
    server = store_server_start(harness_port(STORE), NULL);
    await(c, NULL, "e6", 5);
    store_server_await(0);
}
END_TEST


/* The counts of workers that died end with the leases that the store may have
 * given. */
START_TEST(flood_worker)
{
    client_t  *c;

    c = start(CONF_TTL(SLOW, SUBJECT, TOKENS, " ttl=2s"));

    ck_assert_int_eq(kill(server, SIGSTOP), 0);
    (void) token_start(c, "alice", "h1");
    client_ping(c);
    client_wait_pongs(c, 1);
    gateway_kill_workers(2);
    ck_assert_int_eq(kill(server, SIGCONT), 0);

    c = client();
    await(c, "bob", "e", 5);
    await(c, "alice", "e", 5);
    (void) token_start(c, "alice", "h2");
    client_poll(0);
    store_server_await(1);
    gateway_kill_workers(2);
    c = client();
    await(c, "alice", "e", 5);
}
END_TEST


START_TEST(flood_deadline)
{
    client_t       *c;
    client_call_t  *call;
    client_header_t  headers[] = {
        { "session-id", "h1" }, { "content-type", "application/grpc" },
        { "te", "trailers" }, { "grpc-timeout", "100m" }, { NULL, NULL }
    };

    c = start(CONF(SLOW, CONNECTION, ""));
    call = client_request(c, ECHO, headers, "\0\0\0\0\0", 5, false);
    client_wait(call);
    ck_assert_int_eq(call->grpc, 4);
    store_server_await(0);
    client_assert(echo_get(c, "e"), 5, NONE);
}
END_TEST


/* The first call of a session is cancelled while a second one, at the other
 * worker, waits for the same lease: that keeps it. */
START_TEST(flood_second)
{
    int             i, round;
    char            session[16];
    client_t       *one[4];
    client_call_t  *c[4];

    (void) start(CONF(SLOW, CONNECTION, ""));

    for (i = 0; i < 4; i++) {
        one[i] = client();
    }

    for (round = 0; round < 50; round++) {
        snprintf(session, sizeof(session), "h%d", round);

        for (i = 0; i < 4; i++) {
            c[i] = echo_start(one[i], session);
        }

        for (i = 0; i < 4; i++) {
            if (i != round % 4) {
                client_cancel(c[i]);
            }
        }

        client_poll(0);
        store_server_await(1);
        client_assert(echo_get(one[(round + 1) % 4], "e1"), 5, NONE);
        client_assert_refused(echo_get(one[round % 4], "e2"), 8, MANY);
        store_server_await(1);
        client_cancel(c[round % 4]);
        client_poll(0);
        store_server_await(0);
    }
}
END_TEST


/* A session that is one too many is refused when its turn comes: then that of
 * the next one comes. */
START_TEST(flood_queue)
{
    int             i;
    char            session[16];
    client_t       *bad, *good;
    client_call_t  *c, *first, *last, *busy[2];

    bad = start(CONF(SLOW, CONNECTION
                     "myservice_queue length=8 timeout=60s;\n", ""));
    good = client_open(harness_port(8081));

    (void) echo_start(bad, "h1");
    client_poll(0);
    store_server_await(1);

    for (i = 0; i < 2; i++) {
        snprintf(session, sizeof(session), "h-%d", i);
        busy[i] = echo_start(good, session);
    }

    client_poll(0);
    store_server_await(3);
    status_await("\"free\":0,");
    first = echo_start(client(), "e2");
    client_poll(0);
    status_await("\"waiting\":1,");
    c = echo_start(bad, "s3");
    client_poll(0);
    status_await("\"waiting\":2,");
    last = echo_start(client(), "e4");
    client_poll(0);
    status_await("\"waiting\":3,");

    client_cancel(busy[0]);
    client_wait(c);
    client_assert_refused(c, 8, MANY);
    client_wait(first);
    client_assert(first, 5, NONE);
    client_wait(last);
    client_assert(last, 5, NONE);
}
END_TEST


START_TEST(flood_reload)
{
    client_t       *c;
    client_call_t  *call;

    c = start(CONF(SLOW, SUBJECT, TOKENS));
    call = token_start(c, "alice", "h1");
    client_poll(0);
    store_server_await(1);
    gateway_reload(NULL);
    client_assert_refused(token_get(client(), "alice", "e"), 8, MANY);
    client_cancel(call);
    client_poll(0);
    store_server_await(0);
    client_assert(token_get(client(), "alice", "e"), 5, NONE);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_flood");
    harness_add(suite, flood_hangs);
    harness_add(suite, flood_cancelled);
    harness_add(suite, flood_subject);
    harness_add(suite, flood_known);
    harness_add(suite, flood_known_twice);
    harness_add(suite, flood_given_back);
    harness_add(suite, flood_store_away);
    harness_add(suite, flood_worker);
    harness_add(suite, flood_deadline);
    harness_add(suite, flood_second);
    harness_add(suite, flood_queue);
    harness_add(suite, flood_reload);

    return harness_run(suite, "test_store_flood");
}
