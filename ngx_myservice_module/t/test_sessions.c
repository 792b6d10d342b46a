/* Which session gets which instance: real instances, four workers. */

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "instance.h"
#include "token.h"


/* reuseport spreads the connections over the workers */
#define CONF(parameters, servers)                                             \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 4;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format sessions 'worker=$pid decision=$myservice_decision '\n"   \
    "        'instance=$myservice_instance session=$myservice_session';\n"    \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m " parameters     \
    ";\n"                                                                     \
    "        myservice_release MyServiceShutdown;\n"                          \
    servers                                                                   \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2 reuseport;\n"                        \
    "        myservice_grpc_errors on;\n"                                     \
    "        underscores_in_headers on;\n"                                    \
    "        access_log %%DIR%%/access.log sessions;\n"                       \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "    }\n"                                                                 \
    "}\n"

#define ONE    "server 127.0.0.1:8081;\n"
#define TWO    ONE "server 127.0.0.1:8082;\n"
#define THREE  TWO "server 127.0.0.1:8083;\n"

#define BUSY   "all instances are busy"


static pid_t  instances[3];


static void
start(size_t n, const char *conf)
{
    size_t  i;
    char    name[16];

    for (i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "i%zu", i + 1);
        instances[i] = instance_start(8081 + (int) i, name, NULL);
    }

    gateway_start(conf);
}


/* Calls until the answer has the status, whatever it is meanwhile. */
static client_call_t *
echo_until(const char *session, int status)
{
    client_t       *client;
    long long       since;
    client_call_t  *call;

    client = client_open(harness_port(8080));
    since = harness_now();

    for ( ;; ) {
        call = echo_get(client, session);

        if (call->grpc == status) {
            return call;
        }

        harness_pause(since, call->message);
    }
}


START_TEST(sessions_one_instance)
{
    int             i;
    char            pod[128];
    client_t       *clients[12];
    client_call_t  *calls[120];

    start(3, CONF("", THREE));
    snprintf(pod, sizeof(pod), "%s", client_pod(echo_once("s1"), 0));
    ck_assert_str_ne(pod, "");

    for (i = 0; i < 12; i++) {
        clients[i] = client_open(harness_port(8080));
    }

    for (i = 0; i < 120; i++) {
        calls[i] = echo_start(clients[i % 12], "s1");
    }

    client_wait_all();

    for (i = 0; i < 120; i++) {
        client_assert(calls[i], 0, "");
        ck_assert_str_eq(client_pod(calls[i], 0), pod);
    }

    gateway_await_access("decision=NEW");
    gateway_await_access("decision=HIT");
}
END_TEST


/* 30 sessions at once for 3 instances, over several connections */
START_TEST(sessions_race)
{
    int             i, j, won;
    char            session[16];
    client_t       *clients[10];
    client_call_t  *calls[30], *winners[30];

    start(3, CONF("", THREE));

    for (i = 0; i < 10; i++) {
        clients[i] = client_open(harness_port(8080));
    }

    for (i = 0; i < 30; i++) {
        snprintf(session, sizeof(session), "racer-%d", i);
        calls[i] = echo_start(clients[i % 10], session);
    }

    client_wait_all();
    won = 0;

    for (i = 0; i < 30; i++) {
        if (calls[i]->grpc == 0) {
            winners[won++] = calls[i];

        } else {
            client_assert_refused(calls[i], 8, BUSY);
        }
    }

    ck_assert_int_eq(won, 3);

    for (i = 0; i < won; i++) {
        for (j = 0; j < i; j++) {
            char  pod[128];

            snprintf(pod, sizeof(pod), "%s", client_pod(winners[i], 0));
            ck_assert_str_ne(pod, client_pod(winners[j], 0));
        }
    }

    gateway_await_access("decision=BUSY");
}
END_TEST


/* 40 first calls of one session at once share one claim */
START_TEST(sessions_first_calls)
{
    int             i;
    char            pod[128];
    client_t       *clients[8];
    client_call_t  *calls[40];

    start(3, CONF("", THREE));

    for (i = 0; i < 8; i++) {
        clients[i] = client_open(harness_port(8080));
    }

    for (i = 0; i < 40; i++) {
        calls[i] = echo_start(clients[i % 8], "s1");
    }

    client_wait_all();
    snprintf(pod, sizeof(pod), "%s", client_pod(calls[0], 0));

    for (i = 0; i < 40; i++) {
        client_assert(calls[i], 0, "");
        ck_assert_str_eq(client_pod(calls[i], 0), pod);
    }

    client_assert(echo_once("s2"), 0, "");
    client_assert(echo_once("s3"), 0, "");
    client_assert_refused(echo_once("s4"), 8, BUSY);
}
END_TEST


/* Shutdown of a session that never was occupies nothing */
START_TEST(sessions_failed_first_call)
{
    char             session[16];
    int              i;
    client_call_t   *call;

    start(3, CONF("", THREE));

    call = shutdown_get(client_open(harness_port(8080)), "unset");
    client_assert(call, 7, "Server session is not set");

    for (i = 0; i < 3; i++) {
        snprintf(session, sizeof(session), "s%d", i);
        client_assert(echo_once(session), 0, "");
    }

    client_assert_refused(echo_once("s4"), 8, BUSY);
}
END_TEST


START_TEST(sessions_stranger)
{
    int  i;

    start(1, CONF("", ONE));
    client_assert(echo_once("owner"), 0, "");

    for (i = 0; i < 5; i++) {
        client_assert_refused(echo_once("stranger"), 8, BUSY);
        client_assert_refused(shutdown_get(client_open(harness_port(8080)),
                                           "stranger"), 8, BUSY);
        client_assert(echo_once("owner"), 0, "");
    }

    ck_assert(instance_running(instances[0]));
}
END_TEST


/* a session moves on at once when its instance has shut down */
START_TEST(sessions_shutdown)
{
    int             i;
    char            pods[2][128];
    client_t       *client;
    client_call_t  *call;

    start(2, CONF("", TWO));
    client = client_open(harness_port(8080));

    for (i = 0; i < 2; i++) {
        call = echo_get(client, "s1");
        client_assert(call, 0, "");
        snprintf(pods[i], sizeof(pods[i]), "%s", client_pod(call, 0));
        client_assert(shutdown_get(client, "s1"), 0, "");
    }

    ck_assert_str_ne(pods[0], pods[1]);
    client_assert_refused(echo_get(client, "s1"), 8, "no available instances");
    client_assert_refused(echo_get(client, "s2"), 8, "no available instances");
}
END_TEST


/* an instance that is back is taken again after fail_timeout */
START_TEST(sessions_back)
{
    start(1, CONF("", "server 127.0.0.1:8081 fail_timeout=4s;\n"));
    client_assert(echo_once("s1"), 0, "");
    client_assert(shutdown_get(client_open(harness_port(8080)), "s1"), 0, "");
    client_assert_refused(echo_once("s2"), 8, "no available instances");

    instance_signal(instances[0], SIGKILL);
    instances[0] = instance_start(8081, "again", NULL);
    ck_assert_str_eq(client_pod(echo_until("s2", 0), 0), "again");
}
END_TEST


START_TEST(sessions_unreachable)
{
    start(2, CONF("", "server 127.0.0.1:8081 fail_timeout=1s;\n"
                      "server 127.0.0.1:8082 fail_timeout=1s;\n"));
    client_assert(echo_once("s1"), 0, "");
    instance_signal(instances[0], SIGKILL);
    instance_signal(instances[1], SIGKILL);
    client_assert_refused(echo_once("s1"), 14, "backend service unavailable");
    client_assert_refused(echo_once("s2"), 14, "backend service unavailable");

    /* the first call after they are back succeeds */
    (void) instance_start(8081, "i1", NULL);
    (void) instance_start(8082, "i2", NULL);
    client_assert(echo_once("s2"), 0, "");
    (void) echo_until("s1", 0);
    client_assert_refused(echo_once("s3"), 8, BUSY);
}
END_TEST


/* the owner's instance is killed: the session moves, the client sees nothing */
START_TEST(sessions_killed)
{
    char            pod[128];
    client_call_t  *call;

    start(2, CONF("", TWO));
    call = echo_once("s1");
    client_assert(call, 0, "");
    snprintf(pod, sizeof(pod), "%s", client_pod(call, 0));

    instance_signal(instances[strcmp(pod, "i1") == 0 ? 0 : 1], SIGKILL);

    call = echo_once("s1");
    client_assert(call, 0, "");
    ck_assert_str_ne(client_pod(call, 0), pod);
    gateway_await_access("decision=MOVED");
}
END_TEST


/* a worker that dies takes no lease with it */
START_TEST(sessions_worker_killed)
{
    char  pod[128];

    start(2, CONF("", TWO));
    snprintf(pod, sizeof(pod), "%s", client_pod(echo_once("s1"), 0));
    client_assert(echo_once("s2"), 0, "");

    gateway_kill_workers(4);

    ck_assert_str_eq(client_pod(echo_once("s1"), 0), pod);
    client_assert_refused(echo_once("s3"), 8, BUSY);
}
END_TEST


/* a call tries a dead instance once, whenever it may be tried again */
START_TEST(sessions_no_fail_timeout)
{
    int   i;
    char  session[16];

    (void) fake_start(8082, "two", fake_ok);
    (void) fake_start(8083, "three", fake_ok);
    (void) fake_start(8084, "four", fake_ok);
    gateway_start(CONF("", "server 127.0.0.1:8081 fail_timeout=0;\n"
                           "server 127.0.0.1:8082 fail_timeout=0;\n"
                           "server 127.0.0.1:8083 fail_timeout=0;\n"
                           "server 127.0.0.1:8084 fail_timeout=0;\n"));

    for (i = 0; i < 3; i++) {
        snprintf(session, sizeof(session), "s%d", i);
        client_assert(echo_once(session), 0, "");
    }

    /* the dead one alone is left */
    client_assert_refused(echo_once("s3"), 8, BUSY);
}
END_TEST


/* With fakes: an instance has an idea of its session of its own */

static void
hold(fake_call_t *call)
{
    if (strcmp(call->path, SUBSCRIBE) == 0) {
        fake_headers(call);
        fake_message(call, 0);

    } else if (strcmp(call->session, "silent") != 0) {
        fake_ok(call);
    }
}


static client_call_t *
subscribe(const char *session)
{
    client_call_t  *call;

    call = client_grpc(client_open(harness_port(8080)), SUBSCRIBE,
                       token_make(session, 60), session, "\x0a\x01v", 3);
    client_wait_messages(call, 1);
    ck_assert(!call->done);

    return call;
}


START_TEST(sessions_idle)
{
    long long  since;

    (void) fake_start(8081, "one", hold);
    gateway_start(CONF("ttl=3s", ONE));

    since = harness_now();
    client_assert(echo_once("s1"), 0, "");
    client_assert_refused(echo_once("s2"), 8, BUSY);
    client_assert(echo_until("s2", 0), 0, "");
    harness_lasted(since, 3000);
}
END_TEST


/* a stream keeps its lease beyond the idle time, also without messages */
START_TEST(sessions_stream_is_use)
{
    client_t       *client;
    long long       since;
    client_call_t  *stream;

    (void) fake_start(8081, "one", hold);
    gateway_start(CONF("ttl=1s", ONE));

    stream = subscribe("s1");
    client = client_open(harness_port(8080));
    since = harness_now();

    while (harness_now() - since < 3000) {
        client_assert_refused(echo_get(client, "s2"), 8, BUSY);
        harness_pause(since, "the stream goes on");
    }

    ck_assert(!stream->done);
    client_cancel(stream);
    (void) echo_until("s2", 0);
}
END_TEST


START_TEST(sessions_lifetime)
{
    (void) fake_start(8081, "one", hold);
    gateway_start(CONF("lifetime=3s", ONE));

    client_assert(echo_once("s1"), 0, "");
    client_assert_refused(echo_once("s2"), 8, BUSY);
    (void) echo_until("s2", 0);
}
END_TEST


/* a client that gives up its first call gives the instance back */
START_TEST(sessions_cancelled_first_call)
{
    fake_t         *fake;
    long long       since;
    client_call_t  *call;

    fake = fake_start(8081, "one", hold);
    gateway_start(CONF("", ONE));

    call = echo_start(client_open(harness_port(8080)), "silent");
    since = harness_now();

    while (fake_requests(fake) == 0) {
        client_poll(10);
        harness_pause(since, "the call is at the instance");
    }

    client_assert_refused(echo_once("s2"), 8, BUSY);
    client_cancel(call);
    (void) echo_until("s2", 0);
}
END_TEST


/* "session_id" is another key than "session-id" */
START_TEST(sessions_smuggled)
{
    client_call_t   *call;
    client_header_t  headers[] = {
        { "session_id", "s1" }, { "session-id", "s2" },
        { "content-type", "application/grpc" }, { NULL, NULL }
    };

    start(1, CONF("", ONE));
    client_assert(echo_once("s1"), 0, "");

    call = client_request(client_open(harness_port(8080)), ECHO, headers,
                          "\0\0\0\0\0", 5, false);
    client_wait(call);
    client_assert_refused(call, 8, BUSY);
}
END_TEST


START_TEST(sessions_no_session)
{
    client_call_t  *call;

    start(1, CONF("", ONE));
    call = client_grpc(client_open(harness_port(8080)), ECHO, NULL, NULL, "",
                       0);
    client_wait(call);
    client_assert_refused(call, 16, "missing session-id");
    client_assert(echo_once("s1"), 0, "");
}
END_TEST


/* all servers are marked "down": the pool has no member */
START_TEST(sessions_no_member)
{
    gateway_start(CONF("", "server 127.0.0.1:8081 down;\n"));
    client_assert_refused(echo_once("s1"), 8, "no available instances");
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("sessions");

    harness_add(suite, sessions_one_instance);
    harness_add(suite, sessions_race);
    harness_add(suite, sessions_first_calls);
    harness_add(suite, sessions_failed_first_call);
    harness_add(suite, sessions_stranger);
    harness_add(suite, sessions_shutdown);
    harness_add(suite, sessions_back);
    harness_add(suite, sessions_unreachable);
    harness_add(suite, sessions_killed);
    harness_add(suite, sessions_worker_killed);
    harness_add(suite, sessions_no_fail_timeout);
    harness_add(suite, sessions_idle);
    harness_add(suite, sessions_stream_is_use);
    harness_add(suite, sessions_lifetime);
    harness_add(suite, sessions_cancelled_first_call);
    harness_add(suite, sessions_smuggled);
    harness_add(suite, sessions_no_session);
    harness_add(suite, sessions_no_member);

    return harness_run(suite, argv[0]);
}
