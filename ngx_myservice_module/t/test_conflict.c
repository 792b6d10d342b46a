/*
 * An instance that answers "Session conflict" knows better than the gateway:
 * its owner is learned and the call goes on to the next free instance.
 */

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "harness.h"


#define CONF(servers)                                                         \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format conflict 'decision=$myservice_decision '\n"               \
    "        'session=$myservice_session';\n"                                 \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_release MyServiceShutdown;\n"                          \
    servers                                                                   \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log conflict;\n"                       \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "    }\n"                                                                 \
    "}\n"

#define ONE    "server 127.0.0.1:8081;\n"
#define TWO    ONE "server 127.0.0.1:8082;\n"
#define THREE  TWO "server 127.0.0.1:8083;\n"
#define BUSY   "all instances are busy"


static client_call_t *
echo(const char *session)
{
    return echo_get(client_open(harness_port(8080)), session);
}


/* The fakes' own idea: one of them, whichever is asked first, serves "old". */

static _Atomic(fake_t *)  taken;
static bool               in_trailers;
static bool               late_settings;


static void
one_is_taken(fake_call_t *call)
{
    char    message[600];
    fake_t *none;

    none = NULL;
    (void) atomic_compare_exchange_strong(&taken, &none, call->fake);

    if (call->fake != atomic_load(&taken) || strcmp(call->session, "old") == 0)
    {
        fake_ok(call);
        return;
    }

    snprintf(message, sizeof(message), "Session conflict: was=old, now=%s",
             call->session);

    if (in_trailers) {
        fake_headers(call);
        fake_trailers(call, 13, message);

    } else {
        fake_refuse(call, 13, message);
    }
}


static void
learned_and_moved(void)
{
    char            pod[64];
    fake_t         *one, *two;
    client_call_t  *call;

    one = fake_start(8081, "one", one_is_taken);
    two = fake_start(8082, "two", one_is_taken);

    if (late_settings) {
        fake_late_settings(one);
        fake_late_settings(two);
    }

    gateway_start(CONF(TWO));

    call = echo("s1");
    client_assert(call, 0, "");
    ck_assert_uint_eq(client_messages(call), 1);
    snprintf(pod, sizeof(pod), "%s", client_pod(call, 0));
    ck_assert_str_eq(pod, atomic_load(&taken) == one ? "two" : "one");

    /* the owner is known: it comes to its instance, a stranger nowhere */
    client_assert_refused(echo("s2"), 8, BUSY);
    call = echo("old");
    client_assert(call, 0, "");
    ck_assert_str_ne(client_pod(call, 0), pod);
    ck_assert_str_eq(client_pod(echo("s1"), 0), pod);
    gateway_await_access("decision=REBUILT session=old");
}


START_TEST(conflict_trailers_only)
{
    learned_and_moved();
}
END_TEST


START_TEST(conflict_in_trailers)
{
    in_trailers = true;
    learned_and_moved();
}
END_TEST


/* nginx has a SETTINGS ack to send when it has parsed the trailers */
START_TEST(conflict_late_settings)
{
    in_trailers = true;
    late_settings = true;
    learned_and_moved();
}
END_TEST


static void
all_are_taken(fake_call_t *call)
{
    fake_refuse(call, 13, "Session conflict: was=another, now=s");
}


START_TEST(conflict_everywhere)
{
    fake_t  *fakes[3];

    fakes[0] = fake_start(8081, "one", all_are_taken);
    fakes[1] = fake_start(8082, "two", all_are_taken);
    fakes[2] = fake_start(8083, "three", all_are_taken);
    gateway_start(CONF(THREE));

    client_assert_refused(echo("s1"), 8, BUSY);
    ck_assert_uint_eq(fake_requests(fakes[0]), 1);
    ck_assert_uint_eq(fake_requests(fakes[1]), 1);
    ck_assert_uint_eq(fake_requests(fakes[2]), 1);

    /* they are not asked again */
    client_assert_refused(echo("s2"), 8, BUSY);
    ck_assert_uint_eq(fake_requests(fakes[0]), 1);
}
END_TEST


static void
other_internal(fake_call_t *call)
{
    fake_refuse(call, 13, "Session trouble");
}


/* any other INTERNAL is an answer */
START_TEST(conflict_other_message)
{
    fake_t  *fake;

    fake = fake_start(8081, "one", other_internal);
    gateway_start(CONF(ONE));
    client_assert_refused(echo("s1"), 13, "Session trouble");
    ck_assert_uint_eq(fake_requests(fake), 1);
}
END_TEST


/* more of them than "tries": a conflict is no failure */

#define MANY  12

static atomic_uint  asked;
static unsigned     ntaken;


static void
the_first_are_taken(fake_call_t *call)
{
    char      message[600];
    unsigned  n;

    n = atomic_fetch_add(&asked, 1);

    if (n >= ntaken) {
        fake_ok(call);
        return;
    }

    snprintf(message, sizeof(message), "Session conflict: was=o%u, now=%s", n,
             call->session);
    fake_refuse(call, 13, message);
}


static client_call_t *
echo_where_taken(unsigned n)
{
    int  i;

    ntaken = n;

    for (i = 0; i < MANY; i++) {
        (void) fake_start(8081 + i, "one", the_first_are_taken);
    }

    gateway_start(CONF(THREE
                       "server 127.0.0.1:8084;\nserver 127.0.0.1:8085;\n"
                       "server 127.0.0.1:8086;\nserver 127.0.0.1:8087;\n"
                       "server 127.0.0.1:8088;\nserver 127.0.0.1:8089;\n"
                       "server 127.0.0.1:8090;\nserver 127.0.0.1:8091;\n"
                       "server 127.0.0.1:8092;\n"));

    return echo("s1");
}


START_TEST(conflict_many)
{
    client_assert(echo_where_taken(MANY - 1), 0, "");
    ck_assert_uint_eq(atomic_load(&asked), MANY);
}
END_TEST


START_TEST(conflict_all_of_many)
{
    client_assert_refused(echo_where_taken(MANY), 8, BUSY);
    ck_assert_uint_eq(atomic_load(&asked), MANY);
}
END_TEST


/* after a full restart of the gateway the instances tell who has them */
START_TEST(conflict_after_restart)
{
    int         i;
    char        session[8], pods[3][64];
    const char *conf = CONF(THREE);

    (void) instance_start(8081, "i1", NULL);
    (void) instance_start(8082, "i2", NULL);
    (void) instance_start(8083, "i3", NULL);
    gateway_start(conf);

    for (i = 0; i < 3; i++) {
        snprintf(session, sizeof(session), "s%d", i);
        snprintf(pods[i], sizeof(pods[i]), "%s", client_pod(echo(session), 0));
        ck_assert_str_ne(pods[i], "");
    }

    gateway_stop();
    gateway_start(conf);

    client_assert_refused(echo("stranger"), 8, BUSY);

    for (i = 2; i >= 0; i--) {
        snprintf(session, sizeof(session), "s%d", i);
        ck_assert_str_eq(client_pod(echo(session), 0), pods[i]);
    }
}
END_TEST


/* the same when the owners come first: nobody loses his instance */
START_TEST(conflict_owners_first)
{
    int             i;
    char            session[8];
    client_t       *client;
    const char     *conf = CONF(THREE);
    client_call_t  *calls[3];
    char            pods[3][64];

    (void) instance_start(8081, "i1", NULL);
    (void) instance_start(8082, "i2", NULL);
    (void) instance_start(8083, "i3", NULL);
    gateway_start(conf);

    for (i = 0; i < 3; i++) {
        snprintf(session, sizeof(session), "s%d", i);
        snprintf(pods[i], sizeof(pods[i]), "%s", client_pod(echo(session), 0));
    }

    gateway_stop();
    gateway_start(conf);
    client = client_open(harness_port(8080));

    for (i = 0; i < 3; i++) {
        snprintf(session, sizeof(session), "s%d", i);
        calls[i] = echo_start(client, session);
    }

    client_wait_all();

    for (i = 0; i < 3; i++) {
        client_assert(calls[i], 0, "");
        ck_assert_str_eq(client_pod(calls[i], 0), pods[i]);
    }
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("conflict");

    harness_add(suite, conflict_trailers_only);
    harness_add(suite, conflict_in_trailers);
    harness_add(suite, conflict_late_settings);
    harness_add(suite, conflict_everywhere);
    harness_add(suite, conflict_other_message);
    harness_add(suite, conflict_many);
    harness_add(suite, conflict_all_of_many);
    harness_add(suite, conflict_after_restart);
    harness_add(suite, conflict_owners_first);

    return harness_run(suite, argv[0]);
}
