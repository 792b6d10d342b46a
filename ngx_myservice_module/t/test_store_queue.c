/*
 * "myservice_queue" with a store: two gateways in one nginx, as in
 * test_store_calls, each with a line of its own.  The store is a real
 * redis-server.
 */

#include <check.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "link.h"
#include "status.h"
#include "store_server.h"


#define STORE      8095
#define STORE_URL  "redis://127.0.0.1:8095 prefix=u timeout=5s"

#define UPSTREAM(name, queue, more, second)                                   \
    "    upstream " name " {\n"                                               \
    "        myservice_sessions $myservice_session zone=" name ":1m;\n"       \
    "        myservice_release " SHUTDOWN ";\n"                               \
    "        myservice_health interval=500ms;\n"                              \
    "        myservice_queue " queue ";\n"                       \
    "        myservice_store " STORE_URL " " more ";\n"                       \
    "        server 127.0.0.1:8082;\n"                                        \
    second                                                                    \
    "        keepalive 16;\n"                                                 \
    "    }\n"

#define SERVER(port, name)                                                    \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:" port " http2;\n"                              \
    "        myservice_grpc_errors on;\n"                                     \
    "        keepalive_requests 1000000;\n"                                   \
    "        access_log %%DIR%%/access.log queue;\n"                          \
    "        location / {\n"                                                  \
    "            myservice_retry MyServiceEcho;\n"                            \
    "            grpc_pass grpc://" name ";\n"                                \
    "        }\n"                                                             \
    "    }\n"

#define CONF(more)  CONF_TWO(more, "120s", "")

#define CONF_TWO(more, timeout, second)                                       \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format queue 'decision=$myservice_decision '\n"                  \
    "        'grpc=$myservice_grpc_status session=$myservice_session '\n"     \
    "        'waited=$myservice_queue_time';\n"                               \
    STATUS_SERVER                                                             \
    UPSTREAM("u", "length=8 timeout=" timeout, more, second)                  \
    UPSTREAM("v", "length=7 timeout=" timeout, more, second)                  \
    SERVER("8080", "u")                                                       \
    SERVER("8081", "v")                                                       \
    "}\n"

#define UNAVAILABLE  "session store unavailable"


static pid_t        server;
static atomic_bool  rests, resting;     /* after a Shutdown, not yet up again */


static void
serve(fake_call_t *call)
{
    if (strcmp(call->path, "/grpc.health.v1.Health/Check") == 0) {
        fake_health(call, resting ? 2 : 1);
        return;
    }

    if (rests && strcmp(call->path, SHUTDOWN) == 0) {
        resting = true;
    }

    fake_ok(call);
}


/* The only instance is that of "s0", which came to the gateway at "port". */
static void
begin(const char *conf, int port)
{
    client_t       *client;
    long long       since;
    client_call_t  *c;

    server = store_server_start(harness_port(STORE), NULL);
    (void) fake_start(8082, "one", serve);
    gateway_start(conf);
    client = client_open(harness_port(port));
    since = harness_now();

    for ( ;; ) {
        c = echo_get(client, "s0");

        if (c->grpc == 0) {
            break;
        }

        /* the store began just now */

        client_assert_refused(c, 14, UNAVAILABLE);
        harness_pause(since, "the store gives no lease");
    }
}


static void
waiting(int port, int n)
{
    char  text[64];

    snprintf(text, sizeof(text), "\"queue\":{\"length\":%d,\"waiting\":%d,",
             port == 8080 ? 8 : 7, n);
    status_await(text);
}


/* A call of a new session at the gateway, the n-th there that waits. */
static client_call_t *
enter(int port, const char *session, int n)
{
    client_call_t  *c;

    c = echo_start(client_open(harness_port(port)), session);
    client_poll(0);
    waiting(port, n);

    return c;
}


static void
leave(int port, const char *session)
{
    client_assert(shutdown_get(client_open(harness_port(port)), session), 0,
                  "");
}


static void
served(client_call_t *c, const char *session)
{
    char  text[64];

    client_wait(c);
    client_assert(c, 0, "");
    snprintf(text, sizeof(text), "decision=QUEUED grpc=0 session=%s", session);
    gateway_await_access(text);
}


/* What the other gateway frees goes to who waits longest; owners do not wait,
 * at whichever gateway they come. */
START_TEST(store_queue_order)
{
    client_call_t  *c[3];

    begin(CONF(""), 8081);
    c[0] = enter(8080, "s1", 1);
    c[1] = enter(8080, "s2", 2);
    c[2] = enter(8080, "s3", 3);
    client_assert(echo_get(client_open(harness_port(8080)), "s0"), 0, "");
    leave(8081, "s0");
    served(c[0], "s1");
    ck_assert(!c[1]->done && !c[2]->done);

    /* an owner of this gateway that comes to the other one */

    leave(8081, "s1");
    served(c[1], "s2");
    ck_assert(!c[2]->done);
    leave(8080, "s2");
    served(c[2], "s3");
}
END_TEST


/*
 * New sessions come to the gateway all the time, while the instance ends its
 * session, rests and is free: it goes to who waits.  A new one waits behind, or
 * finds the line full.
 */

#define ROUNDS  3
#define COMING  4                       /* at a time, each for a moment */

/* The line was full; the only instance may have been left just then. */
static void
full(client_call_t *c)
{
    static const char  left[] = "no available instances";

    client_assert_refused(c, 8, strcmp(c->message, left) == 0
                                ? left : "all instances are busy");
}


static void
come(client_t *client[COMING], client_call_t *coming[COMING], int n)
{
    char            session[24];
    client_call_t  *old;

    old = coming[n % COMING];

    if (old != NULL && old->done) {
        full(old);

    } else if (old != NULL) {
        client_cancel(old);
    }

    snprintf(session, sizeof(session), "new-%d", n);
    coming[n % COMING] = echo_start(client[n % COMING], session);
}


START_TEST(store_queue_newcomers)
{
    int             i, n, round;
    char            owner[8], next[8];
    client_t       *client[COMING];
    long long       since;
    client_call_t  *c, *coming[COMING];

    begin(CONF(""), 8081);

    for (i = 0; i < COMING; i++) {
        client[i] = client_open(harness_port(8080));
    }

    memset(coming, 0, sizeof(coming));

    for (round = n = 0; round < ROUNDS; round++) {
        snprintf(owner, sizeof(owner), "s%d", round);
        snprintf(next, sizeof(next), "s%d", round + 1);
        c = enter(8080, next, 1);
        come(client, coming, n++);
        leave(8080 + round % 2, owner);

        for (since = harness_now(); !c->done; /* void */) {
            come(client, coming, n++);
            client_poll(1);
            harness_pause(since, "who waits gets no instance");
        }

        served(c, next);

        for (i = 0; i < COMING; i++) {
            if (coming[i] != NULL && coming[i]->done) {
                full(coming[i]);

            } else if (coming[i] != NULL) {
                client_cancel(coming[i]);
            }

            coming[i] = NULL;
        }

        waiting(8080, 0);
    }

    ck_assert_int_gt(n, ROUNDS * COMING);
}
END_TEST


/* A session loses its instance in a call, and finds the other one busy. */

#define SECOND  "        server 127.0.0.1:8083;\n"
#define ASKS    1500                    /* ms in which it asks the store, three
                                           times */

static fake_t       *two;
static const char   *first, *loser;     /* sessions */
static atomic_bool   holding;


static void
serve_two(fake_call_t *call)
{
    if (holding && strcmp(call->path, "/grpc.health.v1.Health/Check") != 0) {
        fake_hold(call);
        return;
    }

    serve(call);
}


static client_call_t *
lose(const char *conf)
{
    long long       since;
    client_call_t  *c;

    holding = false;
    two = fake_start(8083, "two", serve_two);
    begin(conf, 8081);

    c = echo_once("s0");
    client_assert(c, 0, "");
    loser = strcmp(client_pod(c, 0), "two") == 0 ? "s0" : "s9";
    first = strcmp(loser, "s0") == 0 ? "s9" : "s0";
    client_assert(echo_once("s9"), 0, "");

    holding = true;
    c = echo_start(client_open(harness_port(8080)), loser);
    since = harness_now();

    while (fake_held(two) == 0) {
        client_poll(1);
        harness_pause(since, "the call is at its instance");
    }

    return c;
}


/* It gets the first instance, which is up again. */
static void
up(client_call_t *lost)
{
    ck_assert(!lost->done);
    resting = false;
    client_wait(lost);
    client_assert(lost, 0, "");
    ck_assert_str_eq(client_pod(lost, 0), "one");
    waiting(8080, 0);
}


START_TEST(store_queue_lost)
{
    client_call_t  *lost, *next;

    lost = lose(CONF_TWO("", "120s", SECOND));
    next = enter(8080, "s1", 1);
    fake_stop(two);
    waiting(8080, 2);

    leave(8081, first);
    client_wait(lost);
    client_assert(lost, 0, "");
    ck_assert_str_eq(client_pod(lost, 0), "one");
    ck_assert(!next->done);
    waiting(8080, 1);

    leave(8080, loser);
    served(next, "s1");
    waiting(8080, 0);
}
END_TEST


/* The other instance was left, and is not up again: a session that waits goes
 * on waiting. */
START_TEST(store_queue_lost_left)
{
    client_call_t  *lost;

    lost = lose(CONF_TWO("", "120s", SECOND));
    fake_stop(two);
    waiting(8080, 1);
    rests = true;
    leave(8081, first);
    client_assert_waits(lost, ASKS);
    up(lost);
}
END_TEST


/* The same before the session loses its instance. */
START_TEST(store_queue_left_lost)
{
    client_call_t  *lost;

    lost = lose(CONF_TWO("", "120s", SECOND));
    rests = true;
    leave(8080, first);
    status_await("\"left\":1");
    fake_stop(two);
    waiting(8080, 1);
    up(lost);
}
END_TEST


START_TEST(store_queue_lost_timeout)
{
    client_call_t  *lost;

    lost = lose(CONF_TWO("", "1500ms", SECOND));
    fake_stop(two);
    client_wait(lost);
    client_assert_refused(lost, 8, "all instances are busy");
    waiting(8080, 0);
}
END_TEST


START_TEST(store_queue_lost_gone)
{
    client_call_t  *lost;

    lost = lose(CONF_TWO("failure=refuse", "120s", SECOND));
    fake_stop(two);
    waiting(8080, 1);
    store_server_kill(server);
    client_wait(lost);
    client_assert_refused(lost, 14, UNAVAILABLE);
    waiting(8080, 0);
}
END_TEST


/* The reset of a call comes with its header: the call leaves no place. */
START_TEST(store_queue_reset)
{
    int             i;
    char            session[24];
    client_t       *client;
    client_call_t  *c, *reset;

    begin(CONF(""), 8081);
    c = enter(8080, "s1", 1);
    client = client_open(harness_port(8080));

    for (i = 0; i < 20; i++) {
        snprintf(session, sizeof(session), "new-%d", i);
        link_hold(client_link(client));
        reset = echo_start(client, session);
        (void) client_link(client);
        client_cancel(reset);
        link_release(client_link(client), 0);
        client_poll(0);
    }

    waiting(8080, 1);
    leave(8080, "s0");
    served(c, "s1");
    waiting(8080, 0);
}
END_TEST


/* Both gateways have a line: each session gets the instance once. */
START_TEST(store_queue_two)
{
    int             i, n;
    long long       since;
    client_call_t  *c[4];

    static const char *const  sessions[] = { "s1", "s2", "s3", "s4" };

    begin(CONF(""), 8080);

    for (i = 0; i < 4; i++) {
        c[i] = enter(8080 + i % 2, sessions[i], i / 2 + 1);
    }

    leave(8080, "s0");

    for (n = 0; n < 4; n++) {
        since = harness_now();

        for (i = 0; c[i] == NULL || !c[i]->done; i = (i + 1) % 4) {
            client_poll(5);
            harness_pause(since, "nobody gets the instance");
        }

        served(c[i], sessions[i]);
        ck_assert(i < 2 || c[i - 2] == NULL);
        leave(8080 + i % 2, sessions[i]);
        c[i] = NULL;
    }
}
END_TEST


/* Calls of one session wait together; one that is cancelled holds nobody up. */
START_TEST(store_queue_cancel)
{
    client_call_t  *gone, *c[3];

    begin(CONF(""), 8081);
    gone = enter(8080, "s1", 1);
    c[0] = enter(8080, "s2", 2);
    c[1] = enter(8080, "s2", 2);
    c[2] = enter(8080, "s3", 3);
    client_cancel(gone);
    waiting(8080, 2);
    leave(8081, "s0");

    /* the second one may find the instance that the first one got */

    client_wait(c[0]);
    client_assert(c[0], 0, "");
    client_wait(c[1]);
    client_assert(c[1], 0, "");
    ck_assert(!c[2]->done);
    leave(8080, "s2");
    served(c[2], "s3");
}
END_TEST


/* The store is gone: those who wait get what a new session gets. */
START_TEST(store_queue_gone)
{
    client_call_t  *c[2];

    begin(CONF(""), 8080);
    c[0] = enter(8080, "s1", 1);
    c[1] = enter(8080, "s2", 2);
    store_server_kill(server);
    client_wait_all();
    client_assert_refused(c[0], 14, UNAVAILABLE);
    client_assert_refused(c[1], 14, UNAVAILABLE);
    client_assert(echo_get(client_open(harness_port(8080)), "s0"), 0, "");
    waiting(8080, 0);
}
END_TEST


/* With failure=local they go on by what the gateway knows. */
START_TEST(store_queue_local)
{
    client_call_t  *c[3];

    begin(CONF("failure=local"), 8080);
    c[0] = enter(8080, "s1", 1);
    c[1] = enter(8080, "s2", 2);
    store_server_kill(server);
    c[2] = enter(8080, "s3", 3);
    leave(8080, "s0");
    served(c[0], "s1");
    ck_assert(!c[1]->done && !c[2]->done);
    leave(8080, "s1");
    served(c[1], "s2");
    ck_assert(!c[2]->done);
    leave(8080, "s2");
    served(c[2], "s3");
}
END_TEST


/* Those who wait at a reload keep their turn. */
START_TEST(store_queue_reload)
{
    client_call_t  *c[2];

    begin(CONF(""), 8081);
    c[0] = enter(8080, "s1", 1);
    gateway_reload(NULL);
    c[1] = enter(8080, "s2", 2);
    leave(8081, "s0");
    served(c[0], "s1");
    ck_assert(!c[1]->done);
    leave(8080, "s1");
    served(c[1], "s2");
    gateway_await_workers(2);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_queue");
    harness_add(suite, store_queue_order);
    harness_add(suite, store_queue_newcomers);
    harness_add(suite, store_queue_lost);
    harness_add(suite, store_queue_lost_left);
    harness_add(suite, store_queue_left_lost);
    harness_add(suite, store_queue_lost_timeout);
    harness_add(suite, store_queue_lost_gone);
    harness_add(suite, store_queue_reset);
    harness_add(suite, store_queue_two);
    harness_add(suite, store_queue_cancel);
    harness_add(suite, store_queue_gone);
    harness_add(suite, store_queue_local);
    harness_add(suite, store_queue_reload);

    return harness_run(suite, "test_store_queue");
}
