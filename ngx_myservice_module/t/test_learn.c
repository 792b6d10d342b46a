/*
 * The gateway takes an instance that reports a session as leased, whichever
 * session that is.  It brings the session there only if the session may have
 * been there: when the gateway has just started, when another gateway runs
 * beside it, or where "learn=always" says so.
 */

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"


#define CONF(learn)                                                           \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format learn 'decision=$myservice_decision '\n"                  \
    "        'session=$myservice_session';\n"                                 \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m " learn ";\n"    \
    "        myservice_health interval=100ms;\n"                              \
    "        server 127.0.0.1:8081;\n"                                        \
    "        server 127.0.0.1:8082;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log learn;\n"                          \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "        location = /status { myservice_status; }\n"                      \
    "    }\n"                                                                 \
    "}\n"

#define HEALTH  "/grpc.health.v1.Health/Check"


static fake_t      *hostile;
static fake_t      *other;
static atomic_bool  says;
static atomic_uint  checks;             /* of the hostile one, and */
static atomic_uint  others;
static atomic_uint  calls;


static void
answer(fake_call_t *c)
{
    if (strcmp(c->path, HEALTH) != 0) {

        if (c->fake == hostile) {
            atomic_fetch_add(&calls, 1);
        }

        fake_ok(c);
        return;
    }

    c->more[0][0] = "session-calls";
    c->more[0][1] = "0";

    if (c->fake == hostile) {
        atomic_fetch_add(&checks, 1);

        if (atomic_load(&says)) {
            c->more[1][0] = "session-id";
            c->more[1][1] = "alice";
        }

    } else {
        atomic_fetch_add(&others, 1);
    }

    fake_health(c, 1);
}


static void
start(const char *conf, bool at_once)
{
    atomic_store(&says, at_once);
    hostile = fake_start(8081, "hostile", answer);
    other = fake_start(8082, "other", answer);
    gateway_start(conf);
}


static bool
status_has(const char *text)
{
    client_t         *client;
    client_call_t    *c;
    client_header_t   get[] = { { ":method", "GET" }, { NULL, NULL } };

    client = client_open(harness_port(8080));
    c = client_request(client, "/status", get, NULL, 0, false);
    client_wait(c);
    ck_assert_int_eq(c->http, 200);

    return memmem(c->body, c->len, text, strlen(text)) != NULL;
}


/* the gateway has taken the instance's word, first round or not */
static void
await_alice(void)
{
    unsigned   seen;
    long long  since;

    since = harness_now();
    seen = atomic_load(&checks);

    while (atomic_load(&checks) < seen + 3) {
        harness_pause(since, "checks");
    }

    ck_assert(status_has("\"session\":\"alice\""));
}


static void
await_round(void)
{
    long long  since;

    since = harness_now();

    while (atomic_load(&checks) < 2 || atomic_load(&others) < 2) {
        harness_pause(since, "the first round");
    }
}


static void
not_routed(void)
{
    client_call_t  *c;

    c = echo_once("alice");
    client_assert(c, 0, "");
    ck_assert_str_eq(client_pod(c, 0), "other");
    gateway_await_access("decision=NEW session=alice");

    /* but no other session goes there */
    client_assert_refused(echo_once("bob"), 8, "all instances are busy");
    ck_assert_uint_eq(atomic_load(&calls), 0);
}


static void
routed(void)
{
    client_call_t  *c;

    c = echo_once("alice");
    client_assert(c, 0, "");
    ck_assert_str_eq(client_pod(c, 0), "hostile");
    gateway_await_access("decision=REBUILT session=alice");
}


START_TEST(learn_late)
{
    start(CONF(""), false);
    await_round();
    atomic_store(&says, true);
    await_alice();
    ck_assert(status_has("\"foreign\":true"));
    not_routed();
}
END_TEST


START_TEST(learn_start)
{
    start(CONF("learn=start"), true);
    await_alice();
    routed();
}
END_TEST


START_TEST(learn_always)
{
    start(CONF("learn=always"), false);
    await_round();
    atomic_store(&says, true);
    await_alice();
    routed();
}
END_TEST


/* a reload to it, too */
START_TEST(learn_always_later)
{
    start(CONF(""), false);
    await_round();
    atomic_store(&says, true);
    await_alice();
    gateway_reload(CONF("learn=always"));
    await_alice();
    routed();
}
END_TEST


/* the old master of an upgrade has a pid file of this name */
static void
old_master(pid_t pid)
{
    int   n;
    char  text[32];

    n = snprintf(text, sizeof(text), "%d\n", (int) pid);
    (void) harness_file("nginx.pid.oldbin", text, (size_t) n);
}


START_TEST(learn_upgrade)
{
    old_master(getpid());
    start(CONF(""), false);
    await_round();
    atomic_store(&says, true);
    await_alice();
    routed();
}
END_TEST


/* a killed gateway leaves it */
START_TEST(learn_upgrade_over)
{
    old_master(0x3ffffffe);
    start(CONF(""), false);
    await_round();
    atomic_store(&says, true);
    await_alice();
    not_routed();
}
END_TEST


/* the same word in a conflict */
static void
conflict(fake_call_t *c)
{
    if (strcmp(c->path, HEALTH) == 0) {
        atomic_fetch_add(c->fake == hostile ? &checks : &others, 1);
        c->more[0][0] = "x-health";
        c->more[0][1] = "1";
        fake_health(c, 1);
        return;
    }

    atomic_fetch_add(&calls, 1);

    if (strcmp(c->session, "alice") == 0) {
        fake_ok(c);

    } else {
        fake_refuse(c, 13, "Session conflict: was=alice, now=bob");
    }
}


static client_call_t *
after_conflict(const char *conf)
{
    hostile = fake_start(8081, "one", conflict);
    other = fake_start(8082, "two", conflict);
    gateway_start(conf);
    await_round();

    client_assert_refused(echo_once("bob"), 8, "all instances are busy");
    ck_assert_uint_eq(atomic_load(&calls), 2);

    return echo_once("alice");
}


START_TEST(learn_conflict)
{
    client_assert_refused(after_conflict(CONF("")), 8,
                          "all instances are busy");
    ck_assert_uint_eq(atomic_load(&calls), 2);
}
END_TEST


START_TEST(learn_conflict_always)
{
    client_assert(after_conflict(CONF("learn=always")), 0, "");
    ck_assert_uint_eq(atomic_load(&calls), 3);
}
END_TEST


START_TEST(learn_conf)
{
    int          code;
    const char  *output;

    code = gateway_test(CONF("learn=never"), &output);
    ck_assert_int_eq(code, 1);
    ck_assert_ptr_nonnull(strstr(output, "invalid \"learn=never\", expected "
                                 "\"start\" or \"always\""));
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("learn");

    harness_add(suite, learn_late);
    harness_add(suite, learn_start);
    harness_add(suite, learn_always);
    harness_add(suite, learn_always_later);
    harness_add(suite, learn_upgrade);
    harness_add(suite, learn_upgrade_over);
    harness_add(suite, learn_conflict);
    harness_add(suite, learn_conflict_always);
    harness_add(suite, learn_conf);

    return harness_run(suite, argv[0]);
}
