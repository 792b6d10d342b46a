/*
 * Two gateways with one store, in one nginx: two upstreams with the same
 * prefix, each with a zone and connections of its own.  The store is a real
 * redis-server.
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
#include "process.h"
#include "store_server.h"


#define STORE      8090
#define STORE_URL  "redis://127.0.0.1:8090"

#define UPSTREAM(name, store)                                                 \
    "    upstream " name " {\n"                                               \
    "        myservice_sessions $myservice_session zone=" name ":1m;\n"       \
    "        myservice_release " SHUTDOWN ";\n"                               \
    "        myservice_store " store ";\n"                                    \
    "        server 127.0.0.1:8082 fail_timeout=1;\n"                         \
    "        server 127.0.0.1:8083 fail_timeout=1;\n"                         \
    "        server 127.0.0.1:8084 fail_timeout=1;\n"                         \
    "        keepalive 16;\n"                                                 \
    "    }\n"

#define SERVER(port, name)                                                    \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:" port " http2;\n"                              \
    "        keepalive_requests 100000;\n"                                    \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / {\n"                                                  \
    "            grpc_pass grpc://" name ";\n"                                \
    "        }\n"                                                             \
    "        location = /status { myservice_status; }\n"                      \
    "        location /api/ { myservice_api write=on; }\n"                    \
    "    }\n"

#define CONF(store)                                                           \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    myservice_jwt_revocations zone=r:64k;\n"                             \
    UPSTREAM("u", store)                                                      \
    UPSTREAM("v", store)                                                      \
    SERVER("8080", "u")                                                       \
    SERVER("8081", "v")                                                       \
    "}\n"

#define PREFIX       STORE_URL " prefix=u timeout=5s"
#define UNAVAILABLE  "session store unavailable"
#define BUSY         "all instances are busy"


static pid_t      server;
static client_t  *clients[2];


static void
begin(const char *conf)
{
    server = store_server_start(harness_port(STORE), NULL);
    (void) instance_start(8082, "one", "--session-ttl 1h");
    (void) instance_start(8083, "two", "--session-ttl 1h");
    (void) instance_start(8084, "three", "--session-ttl 1h");
    gateway_start(conf);
}


static client_call_t *
try_at(int number, const char *session)
{
    client_t  **client;

    client = &clients[number - 8080];

    if (*client == NULL || client_gone(*client)) {
        *client = client_open(harness_port(number));
    }

    return echo_get(*client, session);
}


/* A call by the gateway at "number", repeated while a store that began just now
 * takes no new session. */

static client_call_t *
echo_at(int number, const char *session)
{
    long long       since;
    client_call_t  *call;

    since = harness_now();

    for ( ;; ) {
        call = try_at(number, session);

        if (call->grpc != 14 || strcmp(call->message, UNAVAILABLE) != 0) {
            return call;
        }

        harness_pause(since, "the store gives no lease");
    }
}


/* a copy, which stays: client_pod() is valid until the next call */

static const char *
pod_at(int number, const char *session)
{
    static char     pods[256][16];
    static int      next;
    client_call_t  *call;

    call = echo_at(number, session);
    client_assert(call, 0, "");
    ck_assert_int_lt(++next, 256);
    snprintf(pods[next], sizeof(pods[next]), "%s", client_pod(call, 0));

    return pods[next];
}


/* that the gateway at 8080 has asked */

static int
questions(void)
{
    char           *p;
    client_call_t  *c;

    static const client_header_t  get[] = { { ":method", "GET" },
                                            { NULL, NULL } };

    c = client_request(clients[0], "/status", get, NULL, 0, false);
    client_wait(c);
    p = memmem(c->body, c->len, "\"questions\":", 12);
    ck_assert_ptr_nonnull(p);

    return atoi(p + 12);
}


/* Nobody serves: each call asks a few times, and says why it is refused. */

START_TEST(nowhere)
{
    int  i, before;

    server = store_server_start(harness_port(STORE), NULL);
    gateway_start(CONF(PREFIX));
    (void) echo_at(8080, "nobody");
    before = questions();

    for (i = 0; i < 5; i++) {
        client_assert(echo_at(8080, "nobody"), 14,
                      "backend service unavailable");
    }

    ck_assert_int_lt(questions() - before, 5 * 20);
}
END_TEST


/* sessions that hop from one gateway to the other stay where they are */

START_TEST(hops)
{
    int          i, s;
    const char  *pods[3];

    static const char  *sessions[] = { "s1", "s2", "s3" };

    begin(CONF(PREFIX));

    for (s = 0; s < 3; s++) {
        pods[s] = pod_at(8080 + s % 2, sessions[s]);
    }

    ck_assert_str_ne(pods[0], pods[1]);
    ck_assert_str_ne(pods[0], pods[2]);
    ck_assert_str_ne(pods[1], pods[2]);

    for (i = 0; i < 20; i++) {
        for (s = 0; s < 3; s++) {
            ck_assert_str_eq(pod_at(8080 + i % 2, sessions[s]), pods[s]);
        }
    }

    client_assert_refused(echo_at(8080, "s4"), 8, BUSY);
    client_assert_refused(echo_at(8081, "s4"), 8, BUSY);
    ck_assert(!gateway_logged("serves another session"));
}
END_TEST


/* what one gateway releases, another may give away */

START_TEST(release)
{
    int             s;
    long long       since;
    const char     *pods[3];
    client_call_t  *call;

    static const char  *sessions[] = { "s1", "s2", "s3" };

    server = store_server_start(harness_port(STORE), NULL);
    (void) fake_start(8082, "one", fake_ok);
    (void) fake_start(8083, "two", fake_ok);
    (void) fake_start(8084, "three", fake_ok);
    gateway_start(CONF(PREFIX));

    for (s = 0; s < 3; s++) {
        pods[s] = pod_at(8080, sessions[s]);
    }

    client_assert_refused(echo_at(8081, "s4"), 8, BUSY);

    client_assert(shutdown_get(client_open(harness_port(8080)), "s1"), 0, "");

    since = harness_now();

    for ( ;; ) {
        call = echo_at(8081, "s4");

        if (call->grpc == 0) {
            break;
        }

        client_assert_refused(call, 8, BUSY);
        harness_pause(since, "the instance is not free");
    }

    ck_assert_str_eq(client_pod(call, 0), pods[0]);
}
END_TEST


/* what an operator ends is free for other gateways, too */

START_TEST(operator)
{
    int             i;
    client_call_t  *call;

    static const client_header_t  headers[] = {
        { ":method", "DELETE" }, { "content-type", "application/json" },
        { NULL, NULL }
    };
    static const char *const  paths[] = {
        "/api/1/upstreams/u/sessions/s1",
        "/api/1/upstreams/u/sessions/s1?revoke=1"
    };

    server = store_server_start(harness_port(STORE), NULL);
    (void) fake_start(8082, "one", fake_ok);
    (void) fake_start(8083, "two", fake_ok);
    (void) fake_start(8084, "three", fake_ok);
    gateway_start(CONF(PREFIX));

    for (i = 0; i < 2; i++) {
        (void) pod_at(8080, "s1");
        store_server_await(1);
        call = client_request(clients[0], paths[i], headers, NULL, 0, false);
        client_wait(call);
        ck_assert_int_eq(call->http, 204);
        store_server_await(0);
    }
}
END_TEST


/* an instance that is gone: the session moves, and the other gateway follows */

START_TEST(moves)
{
    fake_t      *fakes[3];
    const char  *pod, *other;

    server = store_server_start(harness_port(STORE), NULL);
    fakes[0] = fake_start(8082, "one", fake_ok);
    fakes[1] = fake_start(8083, "two", fake_ok);
    fakes[2] = fake_start(8084, "three", fake_ok);
    gateway_start(CONF(PREFIX));

    pod = pod_at(8080, "s1");
    ck_assert_str_eq(pod_at(8081, "s1"), pod);

    fake_stop(fakes[strcmp(pod, "one") == 0 ? 0
                    : strcmp(pod, "two") == 0 ? 1 : 2]);

    other = pod_at(8081, "s1");
    ck_assert_str_ne(other, pod);
    ck_assert_str_eq(pod_at(8080, "s1"), other);
    ck_assert_str_eq(pod_at(8081, "s1"), other);
}
END_TEST


/* without its store a gateway serves the sessions that it has, and no other */

static void
await_log(const char *text)
{
    long long  since;

    since = harness_now();

    while (!gateway_logged(text)) {
        harness_pause(since, text);
    }
}


START_TEST(store_gone)
{
    const char  *pod, *second;

    begin(CONF(PREFIX));

    pod = pod_at(8080, "s1");

    store_server_kill(server);
    await_log("store is gone");

    client_assert_refused(try_at(8080, "s2"),
                          14, UNAVAILABLE);
    ck_assert_str_eq(pod_at(8080, "s1"), pod);
    client_assert_refused(try_at(8080, "s2"),
                          14, UNAVAILABLE);

    /* it is back, and has nothing: the gateways tell it */

    server = store_server_start(harness_port(STORE), NULL);
    store_server_await(1);

    second = pod_at(8081, "s2");
    ck_assert_str_ne(second, pod);
    ck_assert_str_eq(pod_at(8081, "s1"), pod);
    ck_assert_str_eq(pod_at(8080, "s2"), second);
    ck_assert(!gateway_logged("serves another session"));
}
END_TEST


START_TEST(store_gone_local)
{
    const char  *pod;

    begin(CONF(PREFIX " failure=local"));

    pod = pod_at(8080, "s1");

    store_server_kill(server);
    await_log("store is gone");

    ck_assert_str_ne(pod_at(8080, "s2"), pod);
    ck_assert_str_eq(pod_at(8080, "s1"), pod);
}
END_TEST


/* a store that says nothing: bound sessions do not wait for it */

START_TEST(store_silent)
{
    const char  *pod;

    begin(CONF(STORE_URL " prefix=u timeout=200ms"));

    pod = pod_at(8080, "s1");

    kill(server, SIGSTOP);

    client_assert_refused(try_at(8080, "s2"),
                          14, UNAVAILABLE);
    ck_assert_str_eq(pod_at(8080, "s1"), pod);

    kill(server, SIGCONT);

    ck_assert_str_ne(pod_at(8080, "s2"), pod);
    ck_assert_str_eq(pod_at(8080, "s1"), pod);
}
END_TEST


/* calls of a session that wait for one answer; clients that go away */

START_TEST(waits)
{
    int             i;
    char            pods[2][32];
    client_t       *client;
    client_call_t  *calls[16];

    begin(CONF(PREFIX));

    (void) pod_at(8080, "s1");

    kill(server, SIGSTOP);

    /* the worker that is connected to the store */

    client = clients[0];

    for (i = 0; i < 16; i++) {
        calls[i] = echo_start(client, i % 2 ? "s2" : "s3");
    }

    for (i = 0; i < 4; i++) {
        client_cancel(calls[i]);
    }

    client_assert_waits(calls[4], 100);
    kill(server, SIGCONT);

    for (i = 4; i < 16; i++) {
        client_wait(calls[i]);
        client_assert(calls[i], 0, "");

        if (i < 6) {
            snprintf(pods[i % 2], sizeof(pods[0]), "%s",
                     client_pod(calls[i], 0));
        }

        ck_assert_str_eq(client_pod(calls[i], 0), pods[i % 2]);
    }

    ck_assert_str_ne(pods[0], pods[1]);
}
END_TEST


/* leases, and those that wait, outlive reloads and workers */

START_TEST(reloads)
{
    int          i;
    const char  *pod, *second;

    begin(CONF(PREFIX));

    pod = pod_at(8080, "s1");
    second = pod_at(8081, "s2");

    for (i = 0; i < 3; i++) {
        gateway_reload(NULL);
        memset(clients, 0, sizeof(clients));
        ck_assert_str_eq(pod_at(8080, "s1"), pod);
        ck_assert_str_eq(pod_at(8081, "s1"), pod);
        gateway_kill_workers(2);
        memset(clients, 0, sizeof(clients));
        ck_assert_str_eq(pod_at(8080, "s2"), second);
    }
}
END_TEST


/* a user who may do just what a gateway does; a wrong password is told */

#define PASSWORD  " user=gateway password_file=%%DIR%%/password"

START_TEST(password)
{
    const char  *pod;

    static const char *const  users[] = {
        "--user", "default", "off",
        "--user", "gateway", "on", ">secret", "~{u*", "+evalsha",
        "+script|load", "+hello", "+ping", "+select", "+xread", "+time",
        "+hget", "+hmget", "+hset", "+hdel", "+hincrby", "+hscan",
        "+xadd", "+xrevrange", NULL
    };

    (void) instance_start(8082, "one", "--session-ttl 1h");
    (void) instance_start(8083, "two", "--session-ttl 1h");
    (void) instance_start(8084, "three", "--session-ttl 1h");

    (void) harness_file("password", "wrong\n", 6);
    gateway_start(CONF(PREFIX PASSWORD));
    await_log("store is gone: Connection refused");

    /* another reason, as from a server that was too slow at first, is told */

    store_server_any_answer();
    server = store_server_start(harness_port(STORE), users);
    await_log("store is gone: WRONGPASS");
    client_assert_refused(try_at(8080, "s1"), 14, UNAVAILABLE);

    (void) harness_file("password", "secret\n", 7);
    gateway_reload(NULL);
    memset(clients, 0, sizeof(clients));

    pod = pod_at(8080, "s1");
    ck_assert_str_eq(pod_at(8081, "s1"), pod);
    ck_assert(!gateway_logged("NOPERM"));
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_calls");
    harness_add(suite, nowhere);
    harness_add(suite, hops);
    harness_add(suite, release);
    harness_add(suite, operator);
    harness_add(suite, moves);
    harness_add(suite, store_gone);
    harness_add(suite, store_gone_local);
    harness_add(suite, store_silent);
    harness_add(suite, waits);
    harness_add(suite, reloads);
    harness_add(suite, password);

    return harness_run(suite, "test_store_calls");
}
