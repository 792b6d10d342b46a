/*
 * "myservice_limit" with a store: two gateways in one nginx, as in
 * test_store_calls.  The store, a real redis-server, counts for both.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "status.h"
#include "store_server.h"
#include "token.h"


#define STORE      8095
#define STORE_URL  "redis://127.0.0.1:8095 prefix=u timeout=5s"

#define UPSTREAM(name, more, servers)                                         \
    "    upstream " name " {\n"                                               \
    "        myservice_sessions $myservice_session zone=" name ":1m;\n"       \
    "        myservice_release " SHUTDOWN ";\n"                               \
    "        myservice_health interval=100ms;\n"                              \
    more                                                                      \
    servers                                                                   \
    "        keepalive 16;\n"                                                 \
    "    }\n"

#define SERVER(port, name, more)                                              \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:" port " http2;\n"                              \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log limit;\n"                          \
    "        location / {\n"                                                  \
    "            myservice_retry MyServiceEcho;\n"                            \
    more                                                                      \
    "            grpc_pass grpc://" name ";\n"                                \
    "        }\n"                                                             \
    "    }\n"

#define CONF(u, v, servers, location)                                         \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format limit 'decision=$myservice_decision '\n"                  \
    "        'grpc=$myservice_grpc_status session=$myservice_session';\n"     \
    "    myservice_jwt_secret_file %%DIR%%/secret;\n"                         \
    STATUS_SERVER                                                             \
    UPSTREAM("u", u, servers)                                                 \
    UPSTREAM("v", v, servers)                                                 \
    SERVER("8080", "u", location)                                             \
    SERVER("8081", "v", location)                                             \
    "}\n"

#define WITH_STORE(more)   "myservice_store " STORE_URL more ";\n"
#define LIMIT(key, n)      "myservice_limit " key " max=" n ";\n"
#define TWO                LIMIT("$http_user", "2")

#define ONE    "server 127.0.0.1:8082;\n"
#define FOUR   ONE "server 127.0.0.1:8083;\nserver 127.0.0.1:8084;\n"         \
               "server 127.0.0.1:8085;\n"

#define SIX    FOUR "server 127.0.0.1:8086;\nserver 127.0.0.1:8087;\n"

#define PLAIN  CONF(WITH_STORE("") TWO, WITH_STORE("") TWO, FOUR, "")

#define MANY         "too many sessions"
#define UNAVAILABLE  "session store unavailable"

#define CALLS  8


static pid_t          server;
static redisContext  *store;
static fake_t        *fakes[6];
static client_t      *clients[2][CALLS / 2];


static void
serve(fake_call_t *call)
{
    if (strcmp(call->path, "/grpc.health.v1.Health/Check") == 0) {
        fake_health(call, 1);
        return;
    }

    fake_headers(call);
    fake_message(call, 0);
    fake_trailers(call, 0, "");
}


static void
begin_with(const char *const *more, const char *conf, int instances)
{
    int  i;

    static const char *const  names[] = { "0", "1", "2", "3", "4", "5" };

    server = store_server_start(harness_port(STORE), more);
    store = store_server_connect();

    for (i = 0; i < instances; i++) {
        fakes[i] = fake_start(8082 + i, names[i], serve);
    }

    gateway_start(conf);
}


/* each call comes over another connection than the one before it */

static client_t *
client_of(int port)
{
    client_t  **client;

    static int  next;

    client = &clients[port - 8080][++next / 2 % (CALLS / 2)];

    if (*client == NULL || client_gone(*client)) {
        *client = client_open(harness_port(port));
    }

    return *client;
}


static void
begin(const char *conf, int instances)
{
    begin_with(NULL, conf, instances);
}


static client_call_t *
start(const char *path, int port, const char *user, const char *session)
{
    client_header_t  headers[] = {
        { "session-id", session }, { "content-type", "application/grpc" },
        { "te", "trailers" }, { user ? "user" : NULL, user }, { NULL, NULL }
    };

    return client_request(client_of(port), path, headers, "\0\0\0\0\0", 5,
                          false);
}


static client_call_t *
call_once(int port, const char *user, const char *session)
{
    client_call_t  *c;

    c = start(ECHO, port, user, session);
    client_wait(c);

    return c;
}


/* repeated while a store that began just now takes no new session, and while
 * instances rest that were left */

static client_call_t *
call(int port, const char *user, const char *session)
{
    long long       since;
    client_call_t  *c;

    since = harness_now();

    for ( ;; ) {
        c = call_once(port, user, session);

        if (c->grpc != 14
            && (c->grpc != 8 || strstr(c->message, "busy") == NULL))
        {
            return c;
        }

        harness_pause(since, "the store gives no lease");
    }
}


static void
leave(int port, const char *user, const char *session)
{
    client_call_t  *c;

    c = start(SHUTDOWN, port, user, session);
    client_wait(c);
    client_assert(c, 0, "");
}


/* The user has two sessions, and gets no other one, at either gateway. */

static void
has_two(const char *user, const char *a, const char *b)
{
    int  port;

    for (port = 8080; port <= 8081; port++) {
        client_assert(call(port, user, a), 0, "");
        client_assert(call(port, user, b), 0, "");
        client_assert_refused(call(port, user, "third"), 8, MANY);
    }
}


/* the gateway's user of the store may do what docs/several-gateways.md says */

#define PASSWORD  " user=gateway password_file=%%DIR%%/password"
#define ALLOWED                                                               \
    CONF(WITH_STORE(PASSWORD) TWO, WITH_STORE(PASSWORD) TWO, FOUR, "")

START_TEST(limit_sessions)
{
    client_call_t  *c;

    static const char *const  users[] = {
        "--user", "default", "off",
        "--user", "gateway", "on", ">secret", "~{u*", "+evalsha",
        "+script|load", "+hello", "+ping", "+select", "+xread", "+time",
        "+hget", "+hmget", "+hset", "+hdel", "+hincrby", "+hscan",
        "+xadd", "+xrevrange", "+zadd", "+zrem", "+zlexcount",
        "+zrangebylex", NULL
    };

    store_server_any_answer();
    (void) harness_file("password", "secret\n", 7);
    begin_with(users, ALLOWED, 4);
    client_assert(call(8080, "alice", "s1"), 0, "");
    client_assert(call(8081, "alice", "s2"), 0, "");
    has_two("alice", "s1", "s2");
    gateway_await_access("decision=TOO_MANY grpc=8 session=third");
    status_await("\"limited\":1,");

    /* nothing says that it may come again */

    c = call(8080, "alice", "s3");
    client_assert_refused(c, 8, MANY);
    ck_assert_ptr_nonnull(strstr(c->fields, "grpc-status-details-bin: "));
    ck_assert_ptr_null(strstr(c->fields, "grpc-retry-pushback-ms"));

    /* other users, and calls without a key */

    client_assert(call(8081, "bob", "s4"), 0, "");
    client_assert(call(8080, NULL, "s5"), 0, "");
    client_assert_refused(call(8080, "alice", "s6"), 8, MANY);
    client_assert_refused(call_once(8080, "bob", "s6"), 8,
                          "all instances are busy");

    leave(8081, "alice", "s1");
    client_assert(call(8080, "alice", "s7"), 0, "");
    has_two("alice", "s2", "s7");
    ck_assert(!gateway_logged("NOPERM"));
}
END_TEST


/* Both workers of both gateways ask at once; an instance that was left rests. */

#define RACE  CONF(WITH_STORE("") TWO, WITH_STORE("") TWO, SIX, "")

START_TEST(limit_race)
{
    int             i, round, good;
    char            session[16];
    client_call_t  *c[CALLS];

    begin(RACE, 6);
    client_assert(call(8080, "bob", "s0"), 0, "");

    for (round = 0; round < 2; round++) {

        for (i = 0; i < CALLS; i++) {
            snprintf(session, sizeof(session), "s%d-%d", round, i);
            c[i] = start(ECHO, 8080 + i % 2, "alice", session);
        }

        client_wait_all();

        for (good = i = 0; i < CALLS; i++) {
            good += c[i]->grpc == 0;

            if (c[i]->grpc != 0) {
                client_assert_refused(c[i], 8, MANY);
            }
        }

        ck_assert_int_eq(good, 2);

        for (i = 0; i < CALLS; i++) {
            if (c[i]->grpc == 0) {
                snprintf(session, sizeof(session), "s%d-%d", round, i);
                leave(8081 - i % 2, "alice", session);
            }
        }
    }
}
END_TEST


/* A session that moves counts once, also at the limit. */

START_TEST(limit_moves)
{
    client_call_t  *c;

    begin(PLAIN, 4);
    client_assert(call(8081, "alice", "s2"), 0, "");
    c = call(8080, "alice", "s1");
    client_assert(c, 0, "");
    fake_stop(fakes[client_pod(c, 0)[0] - '0']);
    has_two("alice", "s1", "s2");
}
END_TEST


/* The store is emptied: it counts what gateways tell it, and nobody overtakes
 * them.  A gateway that begins anew counts what the store says. */

START_TEST(limit_survives)
{
    long long       since;
    client_call_t  *c;

    begin(PLAIN, 4);
    client_assert(call(8080, "alice", "s1"), 0, "");
    client_assert(call(8081, "alice", "s2"), 0, "");
    freeReplyObject(store_server_ask(store, (const char *[]) { "FLUSHALL",
                                                               NULL }));

    for (since = harness_now(); /* void */; /* void */) {
        client_assert(call_once(8080, "alice", "s1"), 0, "");
        client_assert(call_once(8081, "alice", "s2"), 0, "");
        c = call_once(8081, "alice", "third");

        if (c->grpc != 14) {
            break;
        }

        harness_pause(since, "the store takes no claims");
    }

    client_assert_refused(c, 8, MANY);
    has_two("alice", "s1", "s2");

    gateway_stop();
    memset(clients, 0, sizeof(clients));
    gateway_start(PLAIN);
    client_assert_refused(call(8081, "alice", "third"), 8, MANY);
    has_two("alice", "s1", "s2");
    gateway_kill_workers(2);
    memset(clients, 0, sizeof(clients));
    has_two("alice", "s1", "s2");
}
END_TEST


/* Without its store a gateway counts what it knows, or gives nothing. */

#define LOCAL                                                                 \
    CONF(WITH_STORE(" failure=local") TWO, WITH_STORE("") TWO, FOUR, "")

START_TEST(limit_gone)
{
    long long       since;
    client_call_t  *c;

    begin(LOCAL, 4);
    client_assert(call(8081, "alice", "s1"), 0, "");
    client_assert(call(8080, "bob", "s0"), 0, "");

    /* the other gateway has heard of it */

    status_await("\"session\":\"s1\"");
    store_server_kill(server);
    since = harness_now();

    for ( ;; ) {
        c = call_once(8081, "alice", "s2");

        if (c->grpc == 14) {
            break;
        }

        harness_pause(since, "the store is not gone");
    }

    client_assert(call(8080, "alice", "s3"), 0, "");
    client_assert_refused(call_once(8080, "alice", "s4"), 8, MANY);
    client_assert_refused(call_once(8081, "alice", "s4"), 14, UNAVAILABLE);
    client_assert(call_once(8081, "alice", "s1"), 0, "");
}
END_TEST


/* Each gateway has its own limit. */

#define DIFFER                                                                \
    CONF(WITH_STORE("") TWO, WITH_STORE("") LIMIT("$http_user", "3"), FOUR, "")

START_TEST(limit_differs)
{
    begin(DIFFER, 4);
    client_assert(call(8080, "alice", "s1"), 0, "");
    client_assert(call(8080, "alice", "s2"), 0, "");
    client_assert_refused(call(8080, "alice", "s3"), 8, MANY);
    client_assert(call(8081, "alice", "s3"), 0, "");
    client_assert_refused(call(8081, "alice", "s4"), 8, MANY);
    client_assert(call(8080, "alice", "s3"), 0, "");
}
END_TEST


/* What waits in a gateway's line counts there. */

#define LINE(n)  WITH_STORE("") TWO "myservice_queue length=" n              \
                 " timeout=120s;\n"

START_TEST(limit_queue)
{
    client_call_t  *first, *again, *second;

    begin(CONF(LINE("8"), LINE("7"), ONE, ""), 1);
    client_assert(call(8081, "bob", "s0"), 0, "");

    first = start(ECHO, 8080, "alice", "s1");
    client_poll(0);
    status_await("\"waiting\":1,");
    second = start(ECHO, 8080, "alice", "s2");
    client_poll(0);
    status_await("\"waiting\":2,");
    again = start(ECHO, 8080, "alice", "s1");
    client_assert_refused(call_once(8080, "alice", "s3"), 8, MANY);

    /* one that waited has the instance now */

    leave(8081, "bob", "s0");
    client_wait(first);
    client_wait(again);
    client_assert(first, 0, "");
    client_assert(again, 0, "");
    client_assert_refused(call_once(8080, "alice", "s4"), 8, MANY);
    ck_assert(!second->done);
    leave(8081, "alice", "s1");
    client_wait(second);
    client_assert(second, 0, "");
}
END_TEST


/* Instances name their sessions, and whose they are: first 16 bytes of SHA-256
 * over "i", NUL, "alice". */

#define ALICE_HEX  "543e1765a821596f0c6a04a7359bf640"

#define TOKENS(n)  WITH_STORE("") LIMIT("$myservice_jwt_claim_sub", n)


static void
serve_learned(fake_call_t *call)
{
    if (strcmp(call->path, "/grpc.health.v1.Health/Check") == 0) {
        call->more[0][0] = "session-id";
        call->more[0][1] = "before";
        call->more[1][0] = "session-subject";
        call->more[1][1] = ALICE_HEX;
    }

    serve(call);
}


static client_call_t *
call_token(int port, const char *user, const char *session)
{
    char            claims[512];
    long long       since;
    client_call_t  *c;

    snprintf(claims, sizeof(claims), "{\"session_id\":\"%s\","
             "\"exp\":32503680000,\"iss\":\"i\",\"sub\":\"%s\"}", session,
             user);
    since = harness_now();

    for ( ;; ) {
        c = client_grpc(client_of(port), ECHO,
                        token_sign(claims, "HS256", TOKEN_SECRET), session, "",
                        0);
        client_wait(c);

        if (c->grpc != 14) {
            return c;
        }

        harness_pause(since, "the store gives no lease");
    }
}


START_TEST(limit_learned)
{
    server = store_server_start(harness_port(STORE), NULL);
    fakes[0] = fake_start(8082, "0", serve_learned);
    fakes[1] = fake_start(8083, "1", serve);
    gateway_start(CONF(TOKENS("1"), TOKENS("1"),
                       ONE "server 127.0.0.1:8083;\n", "myservice_jwt on;\n"));
    status_await("\"session\":\"before\"");

    client_assert_refused(call_token(8081, "alice", "s1"), 8, MANY);
    client_assert(call_token(8080, "alice", "before"), 0, "");
    client_assert_refused(call_token(8081, "alice", "s1"), 8, MANY);
    client_assert(call_token(8081, "bob", "s2"), 0, "");
}
END_TEST


/* A first call that lasts: its session counts until it ends. */

static void
serve_held(fake_call_t *call)
{
    if (strcmp(call->session, "s1") == 0) {
        fake_hold(call);
        return;
    }

    serve(call);
}


static long long
lease_ends(int instance)
{
    char         name[32];
    long long    ends;
    redisReply  *reply;

    snprintf(name, sizeof(name), "127.0.0.1:%d", harness_port(instance));
    reply = store_server_ask(store, (const char *[]) { "HGET", "{u}:i", name,
                                                       NULL });
    ck_assert_int_eq(reply->type, REDIS_REPLY_STRING);
    ck_assert_int_eq(sscanf(reply->str, "%*s %lld", &ends), 1);
    freeReplyObject(reply);

    return ends;
}


START_TEST(limit_first_lasts)
{
    long long       since, ends;
    client_call_t  *first;

    begin(CONF(WITH_STORE("") TWO, WITH_STORE("") TWO, ONE, ""), 0);
    fakes[0] = fake_start(8082, "0", serve_held);
    since = harness_now();
    first = start(ECHO, 8080, "alice", "s1");

    while (fake_held(fakes[0]) == 0) {
        client_poll(5);

        if (first->done) {
            harness_pause(since, "the session has no instance");
            first = start(ECHO, 8080, "alice", "s1");
        }
    }

    ends = lease_ends(8082);
    since = harness_now();

    while (lease_ends(8082) <= ends) {
        client_poll(0);
        harness_pause(since, "the lease is not renewed");
    }

    /* it is not confirmed by that: who gives it back frees the instance */

    client_cancel(first);
    client_assert(call(8081, "alice", "s2"), 0, "");
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_limit");
    harness_add(suite, limit_sessions);
    harness_add(suite, limit_race);
    harness_add(suite, limit_moves);
    harness_add(suite, limit_survives);
    harness_add(suite, limit_gone);
    harness_add(suite, limit_differs);
    harness_add(suite, limit_queue);
    harness_add(suite, limit_learned);
    harness_add(suite, limit_first_lasts);

    return harness_run(suite, "test_store_limit");
}
