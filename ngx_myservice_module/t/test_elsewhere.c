/*
 * Instances that were away while their session moved to another one: the
 * gateway asks them to forget the session, and they are free again.
 */

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "instance.h"


#define CONF(servers)                                                         \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_health interval=200ms timeout=1s fails=2;\n"        \
    servers                                                                   \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "    }\n"                                                                 \
    "}\n"

#define TWO    "server 127.0.0.1:8081; server 127.0.0.1:8082;\n"
#define FIVE   TWO "server 127.0.0.1:8083; server 127.0.0.1:8084;\n"          \
               "server 127.0.0.1:8085;\n"
#define CHECK  "/grpc.health.v1.Health/Check"
#define BUSY   "all instances are busy"
#define LONG   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab"


/* The number of the instance that answered: "i1" is 0. */
static int
place_of(const char *session)
{
    client_call_t  *call;

    call = echo_once(session);
    client_assert(call, 0, "");

    return client_pod(call, 0)[1] - '1';
}


static unsigned
logged(const char *text)
{
    char     *log, *p;
    unsigned  n;

    log = harness_read("error.log");

    for (n = 0, p = log; (p = strstr(p, text)) != NULL; p++) {
        n++;
    }

    free(log);

    return n;
}


/* how often the log says that instance number "i" is down: on a busy machine it
 * may say so of another one, too */
static unsigned
downs(int i)
{
    char      *log, *p, *end, address[64];
    unsigned   n;

    snprintf(address, sizeof(address), "instance=\"127.0.0.1:%d\"",
             harness_port(8081 + i));
    log = harness_read("error.log");

    for (n = 0, p = log; (p = strstr(p, "instance is down")) != NULL; p = end) {
        end = p + strcspn(p, "\n");
        n += memmem(p, (size_t) (end - p), address, strlen(address)) != NULL;
    }

    free(log);

    return n;
}


static void
await_down(int i, unsigned before)
{
    long long  since;

    since = harness_now();

    while (downs(i) == before) {
        harness_pause(since, "the instance is down");
    }
}


static void
await_logged(const char *text, unsigned n)
{
    long long  since;

    since = harness_now();

    while (logged(text) < n) {
        harness_pause(since, text);
    }
}


static void
rounds(const char *session, int instances, unsigned n, const char *conf)
{
    int       i, away;
    pid_t     pids[5];
    char      name[16];
    unsigned  round, before;

    for (i = 0; i < instances; i++) {
        snprintf(name, sizeof(name), "i%d", i + 1);
        pids[i] = instance_start(8081 + i, name, NULL);
    }

    gateway_start(conf);

    for (round = 1; round <= n; round++) {
        away = place_of(session);
        before = downs(away);
        (void) kill(pids[away], SIGSTOP);
        await_down(away, before);

        ck_assert_int_ne(place_of(session), away);
        (void) kill(pids[away], SIGCONT);
        await_logged("another one serves it", round);
    }

    /* all but one are for others */
    for (i = 1; i < instances; i++) {
        snprintf(name, sizeof(name), "new%d", i);
        client_assert(echo_once(name), 0, "");
    }

    client_assert_refused(echo_once("late"), 8, BUSY);
    client_assert(echo_once(session), 0, "");
    ck_assert_uint_eq(logged("another one serves it"), n);
}


START_TEST(elsewhere_blip)
{
    rounds("s1", 2, 1, CONF(TWO));
}
END_TEST


START_TEST(elsewhere_five_rounds)
{
    rounds("s1", 5, 5, CONF(FIVE));
}
END_TEST


/* 256 bytes of what a session id may have */
START_TEST(elsewhere_long_session)
{
    rounds(LONG LONG LONG LONG "%,;!=:/?#[]@$&'(", 2, 2, CONF(TWO));
}
END_TEST


/* Fakes that name a session, and do not forget it unless they obey. */

static _Atomic(fake_t *)  away;         /* does not answer checks */
static _Atomic(fake_t *)  owners[2];    /* name s1 */
static _Atomic(fake_t *)  asked;        /* the last one with a call */
static atomic_bool        obeys;
static atomic_uint        told;


static void
serve(fake_call_t *call)
{
    int  i;

    if (strcmp(call->path, CHECK) != 0) {
        i = atomic_load(&owners[0]) != NULL;

        if (atomic_load(&owners[0]) != call->fake) {
            atomic_store(&owners[i], call->fake);
        }

        atomic_store(&asked, call->fake);
        fake_ok(call);
        return;
    }

    if (call->fake == atomic_load(&away)) {
        return;
    }

    call->more[0][0] = "session-calls";
    call->more[0][1] = "0";

    if (strstr(fake_metadata(call->fake), "session-elsewhere: s1\n") != NULL) {
        atomic_fetch_add(&told, 1);

        if (atomic_load(&obeys)) {
            atomic_store(&owners[0], NULL);
        }
    }

    if (call->fake == atomic_load(&owners[0])
        || call->fake == atomic_load(&owners[1]))
    {
        call->more[1][0] = "session-id";
        call->more[1][1] = "s1";
    }

    fake_health(call, 1);
}


/* an instance that does not forget stays occupied; the gateway asks it again */
START_TEST(elsewhere_not_obeyed)
{
    fake_t     *old;
    long long   since;

    (void) fake_start(8081, "i1", serve);
    (void) fake_start(8082, "i2", serve);
    gateway_start(CONF(TWO));
    client_assert(echo_once("s1"), 0, "");
    old = atomic_load(&asked);
    atomic_store(&away, old);
    await_logged("is down", 1);
    client_assert(echo_once("s1"), 0, "");
    ck_assert_ptr_ne(atomic_load(&asked), old);

    atomic_store(&away, NULL);
    since = harness_now();

    while (atomic_load(&told) < 3) {
        harness_pause(since, "it is told");
    }

    client_assert_refused(echo_once("s2"), 8, BUSY);
    client_assert(echo_once("s1"), 0, "");
    ck_assert_ptr_ne(atomic_load(&asked), old);
    ck_assert_uint_eq(logged("another one serves it"), 0);

    atomic_store(&obeys, true);
    await_logged("another one serves it", 1);
    client_assert(echo_once("s2"), 0, "");
    ck_assert_ptr_eq(atomic_load(&asked), old);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("elsewhere");

    harness_add(suite, elsewhere_blip);
    harness_add(suite, elsewhere_five_rounds);
    harness_add(suite, elsewhere_long_session);
    harness_add(suite, elsewhere_not_obeyed);

    return harness_run(suite, argv[0]);
}
