/* "myservice_queue": new sessions wait for an instance, in a line. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "link.h"
#include "status.h"


#define CONF(upstream, location)                                              \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format queue 'decision=$myservice_decision '\n"                  \
    "        'grpc=$myservice_grpc_status session=$myservice_session '\n"     \
    "        'waited=$myservice_queue_time';\n"                               \
    STATUS_SERVER                                                             \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_release MyServiceShutdown;\n"                          \
    "        myservice_health interval=100ms;\n"                              \
    upstream                                                                  \
    "        server 127.0.0.1:8081;\n"                                        \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log queue;\n"                          \
    "        location / {\n"                                                  \
    location                                                                  \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define QUEUE  "myservice_queue length=8 timeout=60s;\n"
#define BUSY   "all instances are busy"


static int  starts;                     /* 1: the instance is not yet up */
static int  rests;                      /* 1: nor is it after a Shutdown */


static void
serve(fake_call_t *call)
{
    if (strcmp(call->path, "/grpc.health.v1.Health/Check") == 0) {
        fake_health(call,
                    __atomic_load_n(&starts, __ATOMIC_RELAXED) ? 2 : 1);
        return;
    }

    if (rests && strcmp(call->path, SHUTDOWN) == 0) {
        __atomic_store_n(&starts, 1, __ATOMIC_RELAXED);
    }

    fake_headers(call);
    fake_message(call, 0);
    fake_trailers(call, 0, "");
}


static void
start(const char *conf)
{
    (void) fake_start(8081, "one", serve);
    gateway_start(conf);
    client_assert(echo_once("s0"), 0, "");
}


/* A call of a new session, the n-th that waits. */
static client_call_t *
enter(const char *session, int n)
{
    char            text[32];
    client_call_t  *c;

    c = echo_start(client_open(harness_port(8080)), session);
    client_poll(0);
    snprintf(text, sizeof(text), "\"waiting\":%d,", n);
    status_await(text);

    return c;
}


static void
leave(const char *session)
{
    client_assert(shutdown_get(client_open(harness_port(8080)), session), 0,
                  "");
}


/* $myservice_queue_time in the line of the log that has "text"; 0: it is empty */
static double
waited(const char *text)
{
    char    *log;
    char     line[128];
    double   seconds;

    snprintf(line, sizeof(line), "%s waited=", text);
    gateway_await_access(line);
    log = harness_read("access.log");
    seconds = strtod(strstr(log, line) + strlen(line), NULL);
    free(log);

    return seconds;
}


/* who waits longest comes first */
START_TEST(queue_order)
{
    int             i;
    char            text[64], session[8];
    client_call_t  *c[4];

    start(CONF(QUEUE, ""));
    gateway_await_access("decision=NEW grpc=0 session=s0 waited=-");

    for (i = 0; i < 4; i++) {
        snprintf(session, sizeof(session), "s%d", i + 1);
        c[i] = enter(session, i + 1);
    }

    /* a call of the owner does not wait */

    client_assert(echo_once("s0"), 0, "");

    for (i = 0; i < 4; i++) {
        ck_assert(!c[i]->done);
        snprintf(session, sizeof(session), "s%d", i);
        leave(session);
        client_wait(c[i]);
        client_assert(c[i], 0, "");
        snprintf(text, sizeof(text), "decision=QUEUED grpc=0 session=s%d", i + 1);
        gateway_await_access(text);
    }
}
END_TEST


/* what status and API tell of waits, where they are counted */
START_TEST(queue_waited)
{
    client_call_t  *c;

    start(CONF(QUEUE, "grpc_pass grpc://u; }\n"
                      "location /metrics { myservice_metrics; }\n"
                      "location /x {\n"));
    status_await("\"waited\":[{\"le_ms\":5,\"calls\":0},");

    c = enter("s1", 1);
    leave("s0");
    client_wait(c);
    client_assert(c, 0, "");
    status_await("\"le_ms\":10000,\"calls\":1},{\"calls\":1}]");
}
END_TEST


/* at once, if the line is full */
START_TEST(queue_full)
{
    client_call_t  *first, *other;

    start(CONF("myservice_queue length=1;\n", ""));
    first = enter("s1", 1);
    other = enter("s1", 1);
    client_assert(echo_once("s2"), 8, BUSY);
    gateway_await_access("decision=BUSY grpc=8 session=s2 waited=-");
    ck_assert(!first->done && !other->done);
    leave("s0");
    client_wait_all();
    client_assert(first, 0, "");
    client_assert(other, 0, "");
    leave("s1");
}
END_TEST


/* The only instance was left, and is not up again: new sessions wait for it. */
START_TEST(queue_starts)
{
    client_call_t  *c[2];

    start(CONF("myservice_queue length=2;\n", ""));
    c[0] = enter("s1", 1);
    __atomic_store_n(&starts, 1, __ATOMIC_RELAXED);
    leave("s0");
    status_await("\"left\":1");
    c[1] = enter("s2", 2);
    client_assert(echo_once("s3"), 8, "no available instances");
    ck_assert(!c[0]->done && !c[1]->done);
    client_cancel(c[0]);
    status_await("\"waiting\":1,");
    __atomic_store_n(&starts, 0, __ATOMIC_RELAXED);
    client_wait(c[1]);
    client_assert(c[1], 0, "");
}
END_TEST


START_TEST(queue_timeout)
{
    client_call_t  *c;

    start(CONF("myservice_queue length=8 timeout=300ms;\n", ""));
    c = echo_once("s1");
    client_assert(c, 8, BUSY);
    ck_assert(client_has(c, "grpc-status: 8"));
    ck_assert(waited("decision=BUSY grpc=8 session=s1") > 0.2);
}
END_TEST


/* the client's deadline, and a client that leaves */
START_TEST(queue_left)
{
    client_call_t   *c, *gone;
    client_header_t  headers[] = {
        { "session-id", "s1" }, { "content-type", "application/grpc" },
        { "te", "trailers" }, { "grpc-timeout", "200m" }, { NULL, NULL }
    };

    start(CONF("myservice_queue length=1;\n", ""));
    c = client_request(client_open(harness_port(8080)), ECHO, headers,
                       "\0\0\0\0\0", 5, false);
    client_wait(c);
    client_assert(c, 4, "deadline exceeded");
    ck_assert(waited("grpc=4 session=s1") > 0);

    gone = enter("s2", 1);
    client_cancel(gone);
    gateway_await_access("session=s2");
    status_await("\"waiting\":0,");
    c = enter("s3", 1);
    leave("s0");
    client_wait(c);
    client_assert(c, 0, "");
}
END_TEST


/* The reset of a call comes with its header: it leaves no place. */
START_TEST(queue_reset)
{
    int             i;
    char            session[24];
    client_t       *client;
    client_call_t  *c, *reset;

    start(CONF(QUEUE, ""));
    c = enter("s1", 1);
    client = client_open(harness_port(8080));

    for (i = 0; i < 5; i++) {
        snprintf(session, sizeof(session), "new-%d", i);
        link_hold(client_link(client));
        reset = echo_start(client, session);
        (void) client_link(client);
        client_cancel(reset);
        link_release(client_link(client), 0);
        client_poll(0);
    }

    status_await("\"waiting\":1,");
    leave("s0");
    client_wait(c);
    client_assert(c, 0, "");
    status_await("\"waiting\":0,");
}
END_TEST


/* A worker dies: its place is free a second later.  What it kept, too. */
START_TEST(queue_killed)
{
    client_call_t  *c, *other;

    start(CONF("myservice_queue length=1;\n", ""));
    c = enter("s1", 1);
    gateway_kill_workers(2);
    client_wait(c);
    ck_assert(c->reset);

    status_await("\"waiting\":0,");
    other = enter("s2", 1);
    leave("s0");
    client_wait(other);
    client_assert(other, 0, "");
}
END_TEST


/* those who wait at a reload go on, and keep their turn */
START_TEST(queue_reload)
{
    client_call_t  *c[2];

    start(CONF(QUEUE, ""));
    c[0] = enter("s1", 1);
    gateway_reload(NULL);
    c[1] = enter("s2", 2);
    leave("s0");
    client_wait(c[0]);
    client_assert(c[0], 0, "");
    ck_assert(!c[1]->done);
    leave("s1");
    client_wait(c[1]);
    client_assert(c[1], 0, "");
    gateway_await_workers(2);
}
END_TEST


/* Who has lost its instance comes before those who never had one. */
START_TEST(queue_lost)
{
    fake_t         *fake;
    const char     *first, *second;
    client_call_t  *c, *lost, *next;
    char            text[64];

    fake = fake_start(8082, "two", serve);
    (void) fake_start(8081, "one", serve);
    gateway_start(CONF(QUEUE "server 127.0.0.1:8082;\n",
                       "myservice_retry MyServiceEcho;\n"));

    /* the one that gets the second instance loses it */

    c = echo_once("s0");
    client_assert(c, 0, "");
    second = strcmp(client_pod(c, 0), "two") == 0 ? "s0" : "s9";
    first = strcmp(second, "s0") == 0 ? "s9" : "s0";
    client_assert(echo_once("s9"), 0, "");
    next = enter("s1", 1);
    fake_stop(fake);
    status_await("\"down\":1");

    lost = echo_start(client_open(harness_port(8080)), second);
    client_poll(0);
    status_await("\"waiting\":2,");
    leave(first);
    client_wait(lost);
    client_assert(lost, 0, "");
    ck_assert(!next->done);
    snprintf(text, sizeof(text), "decision=MOVED grpc=0 session=%s", second);
    ck_assert(waited(text) > 0);
    leave(second);
    client_wait(next);
    client_assert(next, 0, "");
}
END_TEST


/* Who has lost its instance waits for one that was left, but for none if all
 * are down. */
START_TEST(queue_lost_left)
{
    fake_t         *one, *two;
    const char     *first, *second;
    client_call_t  *c;

    rests = 1;
    two = fake_start(8082, "two", serve);
    one = fake_start(8081, "one", serve);
    gateway_start(CONF(QUEUE "server 127.0.0.1:8082;\n",
                       "myservice_retry MyServiceEcho;\n"));

    c = echo_once("s0");
    client_assert(c, 0, "");
    second = strcmp(client_pod(c, 0), "two") == 0 ? "s0" : "s9";
    first = strcmp(second, "s0") == 0 ? "s9" : "s0";
    client_assert(echo_once("s9"), 0, "");
    fake_stop(two);
    status_await("\"down\":1");
    leave(first);
    status_await("\"left\":1");

    c = echo_start(client_open(harness_port(8080)), second);
    client_poll(0);
    status_await("\"waiting\":1,");
    ck_assert(!c->done);
    __atomic_store_n(&starts, 0, __ATOMIC_RELAXED);
    client_wait(c);
    client_assert(c, 0, "");
    ck_assert_str_eq(client_pod(c, 0), "one");

    fake_stop(one);
    status_await("\"down\":2");
    client_assert_refused(echo_once(second), 14, "backend service unavailable");
}
END_TEST


/* Who has lost its instance waits in vain. */
START_TEST(queue_lost_timeout)
{
    char            text[64];
    fake_t         *fake;
    const char     *second;
    client_call_t  *c;

    fake = fake_start(8082, "two", serve);
    (void) fake_start(8081, "one", serve);
    gateway_start(CONF("myservice_queue length=8 timeout=300ms;\n"
                       "server 127.0.0.1:8082;\n",
                       "myservice_retry MyServiceEcho;\n"));

    c = echo_once("s0");
    client_assert(c, 0, "");
    second = strcmp(client_pod(c, 0), "two") == 0 ? "s0" : "s9";
    client_assert(echo_once("s9"), 0, "");
    fake_stop(fake);
    status_await("\"down\":1");

    client_assert(echo_once(second), 8, BUSY);
    snprintf(text, sizeof(text), "decision=BUSY grpc=8 session=%s", second);
    ck_assert(waited(text) >= 0.3);
}
END_TEST


/* Another length: the line goes on, and nobody overtakes those who wait in the
 * old workers.  Without a line they are served, too. */
START_TEST(queue_reload_length)
{
    client_call_t  *c[3];

    start(CONF(QUEUE, ""));
    c[0] = enter("s1", 1);
    c[1] = enter("s2", 2);
    gateway_reload(CONF("myservice_queue length=1;\n", ""));
    ck_assert(status_has("\"queue\":{\"length\":1,\"waiting\":2,"));
    client_assert(echo_once("s3"), 8, BUSY);
    gateway_reload(CONF("myservice_queue length=3;\n", ""));
    c[2] = enter("s3", 3);
    client_assert(echo_once("s4"), 8, BUSY);

    leave("s0");
    client_wait(c[0]);
    client_assert(c[0], 0, "");
    ck_assert(!c[1]->done && !c[2]->done);
    leave("s1");
    client_wait(c[1]);
    client_assert(c[1], 0, "");
    ck_assert(!c[2]->done);

    gateway_reload(CONF("", ""));
    client_assert(echo_once("s4"), 8, BUSY);
    leave("s2");
    client_wait(c[2]);
    client_assert(c[2], 0, "");
    gateway_await_workers(2);
}
END_TEST


START_TEST(queue_conf)
{
    unsigned     i;
    const char  *output;

    static const struct {
        const char  *conf;
        const char  *error;
    } bad[] = {
        { CONF("myservice_queue timeout=1s;\n", ""), "needs \"length=\"" },
        { CONF("myservice_queue length=0;\n", ""), "length=" },
        { CONF("myservice_queue length=4097;\n", ""), "length=" },
        { CONF("myservice_queue length=1 timeout=0;\n", ""), "timeout=" },
        { CONF("myservice_queue length=1 x=1;\n", ""), "x=1" },
        { CONF(QUEUE QUEUE, ""), "is duplicate" },
    };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_ne(gateway_test(bad[i].conf, &output), 0);
        ck_assert_msg(strstr(output, bad[i].error) != NULL, "%s", output);
    }
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("queue");
    harness_add(suite, queue_order);
    harness_add(suite, queue_waited);
    harness_add(suite, queue_full);
    harness_add(suite, queue_starts);
    harness_add(suite, queue_timeout);
    harness_add(suite, queue_left);
    harness_add(suite, queue_reset);
    harness_add(suite, queue_killed);
    harness_add(suite, queue_reload);
    harness_add(suite, queue_lost);
    harness_add(suite, queue_lost_left);
    harness_add(suite, queue_lost_timeout);
    harness_add(suite, queue_reload_length);
    harness_add(suite, queue_conf);

    return harness_run(suite, "test_queue");
}
