/*
 * The epoch of a lease: instances get it with each call, and refuse calls of an
 * older one than the highest that they have accepted.  Two upstreams with zones
 * of their own stand for two gateways without a store.
 */

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "instance.h"


#define CONF(upstream)                                                        \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format epoch 'decision=$myservice_decision '\n"                  \
    "        'session=$myservice_session';\n"                                 \
    "    myservice_grpc_errors on;\n"                                         \
    "    upstream a {\n"                                                      \
    "        myservice_sessions $myservice_session zone=a:1m;\n"              \
    "        myservice_release MyServiceShutdown;\n"                          \
    upstream                                                                  \
    "        server 127.0.0.1:8081;\n"                                        \
    "        server 127.0.0.1:8082;\n"                                        \
    "    }\n"                                                                 \
    "    upstream b {\n"                                                      \
    "        myservice_sessions $myservice_session zone=b:1m;\n"              \
    "        myservice_release MyServiceShutdown;\n"                          \
    "        server 127.0.0.1:8081;\n"                                        \
    "        server 127.0.0.1:8082;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        access_log %%DIR%%/access.log epoch;\n"                          \
    "        location / { grpc_pass grpc://a; }\n"                            \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8083 http2;\n"                                  \
    "        access_log %%DIR%%/access.log epoch;\n"                          \
    "        location / { grpc_pass grpc://b; }\n"                            \
    "    }\n"                                                                 \
    "}\n"

#define HEALTH  "/grpc.health.v1.Health/Check"
#define CHECKS  "myservice_health interval=100ms;\n"
#define NEWER   "session has a newer lease"
#define ABSURD  "instance names an epoch that is not believed"
#define LAST    ((UINT64_C(1) << 53) - 1)
#define WEEK    (UINT64_C(604800) * 1000000)
#define BEFORE  3                       /* epochs of another gateway */


/* An instance of level 1. */
typedef struct {
    fake_t      *fake;
    char         owner[280];            /* "": none */
    uint64_t     epoch;                 /* the highest that was accepted */
    uint64_t     got;                   /* of the last call, 0: none */
    unsigned     accepted;
    unsigned     refused;
    atomic_uint  checks;
    char         epoch_text[24];
} guard_t;


static guard_t      guards[2];
static bool         always;             /* refuses, whatever it gets */
static bool         in_trailers;
static atomic_bool  reports;            /* its session in health answers */


static guard_t *
guard_of(const fake_t *fake)
{
    return &guards[fake == guards[1].fake];
}


/* The values of a request's "session-epoch": one, or it fails. */
static uint64_t
epoch_of(fake_t *fake)
{
    const char  *p;

    static const char  name[] = "\nsession-epoch: ";

    p = strstr(fake_metadata(fake), name);

    if (p == NULL) {
        return 0;
    }

    p += sizeof(name) - 1;
    ck_assert_ptr_null(strstr(p, name));

    return strtoull(p, NULL, 10);
}


static const char *
epoch_text(guard_t *guard)
{
    snprintf(guard->epoch_text, sizeof(guard->epoch_text), "%" PRIu64,
             guard->epoch);

    return guard->epoch_text;
}


static void
refuse(fake_call_t *call, guard_t *guard)
{
    guard->refused++;
    call->epoch = epoch_text(guard);

    if (guard->owner[0] != '\0') {
        call->trailer[0] = "session-owner";
        call->trailer[1] = guard->owner;
    }

    if (in_trailers) {
        fake_headers(call);
        fake_trailers(call, 9, "");

    } else {
        fake_refuse(call, 9, "");
    }
}


static void
check(fake_call_t *call, guard_t *guard)
{
    int  n;

    n = 0;

    if (atomic_load(&reports)) {
        call->more[n][0] = "session-calls";
        call->more[n++][1] = "0";
        call->more[n][0] = "session-epoch";
        call->more[n++][1] = epoch_text(guard);

        if (guard->owner[0] != '\0') {
            call->more[n][0] = "session-id";
            call->more[n++][1] = guard->owner;
        }
    }

    fake_health(call, 1);
    atomic_fetch_add(&guard->checks, 1);
}


static void
serve(fake_call_t *call)
{
    guard_t  *guard;

    guard = guard_of(call->fake);

    if (strcmp(call->path, HEALTH) == 0) {
        check(call, guard);
        return;
    }

    guard->got = epoch_of(call->fake);

    if (always) {
        guard->epoch = guard->got + 1;
    }

    if ((guard->owner[0] != '\0' && strcmp(guard->owner, call->session) != 0)
        || guard->got < guard->epoch)
    {
        refuse(call, guard);
        return;
    }

    guard->epoch = guard->got;
    guard->accepted++;
    snprintf(guard->owner, sizeof(guard->owner), "%s", call->session);

    if (strcmp(call->path, SHUTDOWN) == 0) {
        guard->owner[0] = '\0';
    }

    fake_ok(call);
}


/* Another gateway has a later one than any of this gateway. */
static void
another_gave(guard_t *guard, const char *owner, uint64_t more)
{
    guard->epoch += more;
    snprintf(guard->owner, sizeof(guard->owner), "%s", owner);
}


static void
start(const char *conf)
{
    int  i;

    for (i = 0; i < 2; i++) {
        memset(&guards[i], 0, sizeof(guard_t));
        guards[i].fake = fake_start(8081 + i, i == 0 ? "one" : "two", serve);
    }

    gateway_start(conf);
}


/* The instance that serves the session. */
static guard_t *
owned_by(const char *session)
{
    int  i;

    for (i = 0; i < 2; i++) {
        if (strcmp(guards[i].owner, session) == 0) {
            return &guards[i];
        }
    }

    ck_abort_msg("no instance has %s", session);
}


static void
served(const char *session)
{
    client_call_t  *call;

    call = echo_once(session);
    client_assert(call, 0, "");
    ck_assert_uint_eq(client_messages(call), 1);
}


static void
release(const char *session)
{
    client_call_t  *call;

    call = client_grpc(client_open(harness_port(8080)), SHUTDOWN, NULL,
                       session, "", 0);
    client_wait(call);
    client_assert(call, 0, "");
}


static void
await_checks(guard_t *guard)
{
    unsigned   seen;
    long long  since;

    since = harness_now();
    seen = atomic_load(&guard->checks);

    while (atomic_load(&guard->checks) < seen + 3) {
        harness_pause(since, "checks");
    }
}


/* One lease, one epoch; a later lease has a later one. */
START_TEST(epoch_of_a_lease)
{
    guard_t   *guard;
    uint64_t   first, second;

    start(CONF(""));

    served("s1");
    guard = owned_by("s1");
    first = guard->got;
    ck_assert_uint_gt(first, 0);

    served("s1");
    ck_assert_uint_eq(guard->got, first);

    served("s2");
    second = owned_by("s2")->got;
    ck_assert_uint_gt(second, first);

    release("s1");
    ck_assert_uint_eq(guard->got, first);

    served("s2");
    ck_assert_uint_eq(owned_by("s2")->got, second);
    ck_assert_uint_eq(guards[0].refused + guards[1].refused, 0);
}
END_TEST


/* The session has it from another gateway: one more attempt, and from then on
 * both have the same epoch. */
static void
own_is_newer(void)
{
    guard_t   *guard;
    uint64_t   first;

    start(CONF(""));

    served("s1");
    guard = owned_by("s1");
    first = guard->got;

    another_gave(guard, "s1", BEFORE);
    served("s1");
    ck_assert_uint_eq(guard->refused, 1);
    ck_assert_uint_eq(guard->got, first + BEFORE);
    ck_assert(gateway_logged(NEWER));

    served("s1");
    ck_assert_uint_eq(guard->refused, 1);
    ck_assert_uint_eq(guard->accepted, 3);
    ck_assert(!gateway_logged("serves another session"));
}


START_TEST(epoch_own_is_newer)
{
    own_is_newer();
}
END_TEST


START_TEST(epoch_own_is_newer_in_trailers)
{
    in_trailers = true;
    own_is_newer();
}
END_TEST


/* A new session at an instance that knows a later one: the clocks of gateways
 * differ. */
START_TEST(epoch_of_another_clock)
{
    int       i;
    uint64_t  day;

    start(CONF(""));
    served("s1");

    /* the other instance, which the first session may not have seen */

    day = UINT64_C(86400) * 1000000;
    i = guards[0].owner[0] == '\0' ? 0 : 1;
    guards[i].epoch = guards[1 - i].epoch + day;

    served("s2");
    ck_assert_uint_eq(guards[i].refused, 1);
    ck_assert_uint_eq(guards[i].accepted, 1);
    ck_assert_uint_gt(guards[i].got, guards[1 - i].got + day);
    gateway_await_access("decision=NEW session=s2");

    served("s2");
    ck_assert_uint_eq(guards[i].refused, 1);
}
END_TEST


/* Somebody else had the instance since: the lease is over, and the session
 * begins anew. */
START_TEST(epoch_lease_is_over)
{
    guard_t   *guard;
    uint64_t   first;

    start(CONF(""));

    served("s1");
    guard = owned_by("s1");
    first = guard->got;

    another_gave(guard, "", BEFORE);
    served("s1");
    ck_assert_uint_eq(guard->refused, 1);
    ck_assert_uint_gt(owned_by("s1")->got, first + BEFORE);
    gateway_await_access("decision=NEW session=s1\n"
                         "decision=NEW session=s1");
    ck_assert(gateway_logged("session lost its instance"));

    served("s1");
    ck_assert_uint_eq(guard->refused, 1);
}
END_TEST


/* And the client is told, where it is. */
START_TEST(epoch_lease_is_over_and_told)
{
    guard_t  *guard;

    start(CONF("myservice_moved fail;\n"));

    served("s1");
    guard = owned_by("s1");
    another_gave(guard, "", BEFORE);

    client_assert_refused(echo_once("s1"), 10, "session lost its instance");
    ck_assert_uint_eq(guard->refused, 1);
    served("s1");
    ck_assert_uint_eq(guard->refused, 1);
}
END_TEST


/* Another session is a conflict whatever its epoch. */
START_TEST(epoch_conflict)
{
    int        i;
    guard_t   *guard;
    uint64_t   first;

    start(CONF(""));

    served("s1");
    guard = owned_by("s1");
    first = guard->got;
    i = guard == &guards[0] ? 1 : 0;

    another_gave(guard, "other", BEFORE);
    served("s1");
    ck_assert_uint_eq(guard->refused, 1);
    ck_assert_uint_gt(guards[i].got, first + BEFORE);
    ck_assert_str_eq(guards[i].owner, "s1");
    ck_assert(gateway_logged("serves another session"));
    ck_assert(!gateway_logged(NEWER));

    served("other");
    ck_assert_uint_eq(guard->got, first + BEFORE);
}
END_TEST


/* Never a loop: the refusal of the second attempt is the answer. */
START_TEST(epoch_refused_twice)
{
    client_call_t  *call;

    start(CONF(""));
    always = true;

    call = echo_once("s1");
    ck_assert_int_eq(call->grpc, 9);
    ck_assert_uint_eq(guards[0].refused + guards[1].refused, 2);
    ck_assert_uint_eq(fake_requests(guards[0].fake)
                      + fake_requests(guards[1].fake), 2);
}
END_TEST


/* How often the line is in the log. */
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


/* An instance that nobody has knows an epoch far above all clocks: it gets
 * that one, and no other instance does. */
static void
absurd(const char *conf, uint64_t last, unsigned refusals)
{
    int       i;
    uint64_t  first;

    start(conf);

    served("s1");
    i = guards[0].owner[0] == '\0' ? 0 : 1;
    first = guards[1 - i].got;
    guards[i].epoch = last;

    if (atomic_load(&reports)) {
        await_checks(&guards[i]);
    }

    served("s2");
    ck_assert_uint_eq(guards[i].refused, refusals);
    ck_assert_uint_eq(guards[i].got, last);
    served("s2");
    ck_assert_uint_eq(guards[i].refused, refusals);

    /* the next lease elsewhere */

    another_gave(&guards[1 - i], "", BEFORE);
    served("s1");
    ck_assert_str_eq(guards[1 - i].owner, "s1");
    ck_assert_uint_gt(guards[1 - i].got, first + BEFORE);
    ck_assert_uint_lt(guards[1 - i].got, first + WEEK);
    ck_assert_int_eq(lines(ABSURD), 1);

    if (!atomic_load(&reports)) {
        return;
    }

    /* another process knows no epoch */

    guards[i].owner[0] = '\0';
    guards[i].epoch = 0;
    await_checks(&guards[i]);
    served("s2");
    ck_assert_str_eq(guards[i].owner, "s2");
    ck_assert_uint_lt(guards[i].got, first + WEEK);
}


START_TEST(epoch_absurd)
{
    absurd(CONF(""), LAST, 1);
}
END_TEST


START_TEST(epoch_absurd_in_health_answers)
{
    atomic_store(&reports, true);
    absurd(CONF(CHECKS), LAST, 0);
}
END_TEST


/* A clock was wrong for a while. */
START_TEST(epoch_of_a_year_ahead)
{
    absurd(CONF(""), (uint64_t) time(NULL) * 1000000 + 52 * WEEK, 1);
}
END_TEST


/* The session's own instance gets it by somebody who calls it directly: the
 * session stays.  One that is over begins anew. */
START_TEST(epoch_absurd_of_own)
{
    guard_t  *guard;

    start(CONF(""));

    served("s1");
    guard = owned_by("s1");
    guard->epoch = LAST;
    served("s1");
    served("s1");
    ck_assert_uint_eq(guard->refused, 1);
    ck_assert_uint_eq(guard->got, LAST);
    ck_assert(!gateway_logged("session lost its instance"));

    served("s2");
    guard = owned_by("s2");
    ck_assert_uint_lt(guard->got, LAST);
    another_gave(guard, "", LAST);
    guard->epoch = LAST;
    served("s2");
    ck_assert_uint_eq(guard->refused, 1);
    ck_assert(gateway_logged("session lost its instance"));
}
END_TEST


/* Health answers say it before a call has to find out. */
START_TEST(epoch_in_health_answers)
{
    int        i;
    guard_t   *guard;
    uint64_t   first;

    atomic_store(&reports, true);
    start(CONF(CHECKS));

    served("s1");
    guard = owned_by("s1");
    first = guard->got;
    i = guard == &guards[0] ? 1 : 0;

    another_gave(guard, "s1", BEFORE);
    guards[i].epoch = first + 100;
    await_checks(guard);
    await_checks(&guards[i]);

    served("s1");
    ck_assert_uint_eq(guard->got, first + BEFORE);
    served("s2");
    ck_assert_uint_gt(guards[i].got, first + 100);
    ck_assert_uint_eq(guards[0].refused + guards[1].refused, 0);
}
END_TEST


/*
 * Two gateways without a store: a client that hops between them is served by
 * one instance, and after one refusal the calls of both are accepted.  The
 * gateways do not know that before they have both tried.
 */
START_TEST(epoch_two_gateways)
{
    int             i;
    guard_t        *guard;
    client_t       *a, *b;
    client_call_t  *call;

    start(CONF(""));
    a = client_open(harness_port(8080));
    b = client_open(harness_port(8083));

    for (i = 0; i < 10; i++) {
        call = echo_get(i % 2 == 0 ? a : b, "s1");
        client_assert(call, 0, "");
    }

    guard = owned_by("s1");
    ck_assert_uint_eq(guard->accepted, 10);
    ck_assert_uint_le(guard->refused, 1);
}
END_TEST


/*
 * A gateway that slept through the end of its lease: another session had the
 * instance, and is gone.  The sleeper's call does not run as if nothing had
 * been: it is refused, and the session begins anew with a later epoch.
 */
START_TEST(epoch_sleeper)
{
    int             i;
    guard_t        *guard;
    uint64_t        first, other;
    client_t       *a, *b;
    long long       since;
    client_call_t  *call;

    start(CONF(""));
    a = client_open(harness_port(8080));
    b = client_open(harness_port(8083));

    client_assert(echo_get(a, "s1"), 0, "");
    guard = owned_by("s1");
    first = guard->got;
    i = guard == &guards[0] ? 1 : 0;

    /* the clock of the workers goes on */

    for (since = harness_now(); harness_now() < since + 5; /* void */) {
        harness_pause(since, "the clock");
    }

    /* the instance forgets s1; the other gateway gives it to another session,
     * as it has nothing else, and that one ends, too */

    guard->owner[0] = '\0';
    another_gave(&guards[i], "busy", 0);
    client_assert(echo_get(b, "s2"), 0, "");
    ck_assert_str_eq(guard->owner, "s2");
    other = guard->got;
    ck_assert_uint_gt(other, first);
    call = client_grpc(b, SHUTDOWN, NULL, "s2", "", 0);
    client_wait(call);
    client_assert(call, 0, "");
    ck_assert_str_eq(guard->owner, "");

    guard->refused = 0;
    client_assert(echo_get(a, "s1"), 0, "");
    ck_assert_uint_eq(guard->refused, 1);
    ck_assert_uint_gt(guard->got, other);
    ck_assert(gateway_logged("session lost its instance"));
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("epoch");

    harness_add(suite, epoch_of_a_lease);
    harness_add(suite, epoch_own_is_newer);
    harness_add(suite, epoch_own_is_newer_in_trailers);
    harness_add(suite, epoch_of_another_clock);
    harness_add(suite, epoch_lease_is_over);
    harness_add(suite, epoch_lease_is_over_and_told);
    harness_add(suite, epoch_conflict);
    harness_add(suite, epoch_refused_twice);
    harness_add(suite, epoch_absurd);
    harness_add(suite, epoch_absurd_in_health_answers);
    harness_add(suite, epoch_of_a_year_ahead);
    harness_add(suite, epoch_absurd_of_own);
    harness_add(suite, epoch_in_health_answers);
    harness_add(suite, epoch_two_gateways);
    harness_add(suite, epoch_sleeper);

    return harness_run(suite, argv[0]);
}
