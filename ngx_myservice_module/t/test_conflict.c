/*
 * An instance that answers "Session conflict" decides: the gateway learns which
 * session it serves, and the call goes on at the next free instance.
 */

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "fake_conn.h"
#include "gateway.h"
#include "harness.h"
#include "instance.h"
#include "status.h"
#include "token.h"


#define CONF_WITH(servers, more)                                              \
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
    more                                                                      \
    "}\n"

#define CONF(servers)  CONF_WITH(servers, "")

#define ONE    "server 127.0.0.1:8081;\n"
#define TWO    ONE "server 127.0.0.1:8082;\n"
#define THREE  TWO "server 127.0.0.1:8083;\n"
#define BUSY   "all instances are busy"


/* The fake that gets the first request answers that it serves "old". */

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

    call = echo_once("s1");
    client_assert(call, 0, "");
    ck_assert_uint_eq(client_messages(call), 1);
    snprintf(pod, sizeof(pod), "%s", client_pod(call, 0));
    ck_assert_str_eq(pod, atomic_load(&taken) == one ? "two" : "one");

    /* the owner is known: it comes to its instance, a stranger nowhere */
    client_assert_refused(echo_once("s2"), 8, BUSY);
    call = echo_once("old");
    client_assert(call, 0, "");
    ck_assert_str_ne(client_pod(call, 0), pod);
    ck_assert_str_eq(client_pod(echo_once("s1"), 0), pod);
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

    client_assert_refused(echo_once("s1"), 8, BUSY);
    ck_assert_uint_eq(fake_requests(fakes[0]), 1);
    ck_assert_uint_eq(fake_requests(fakes[1]), 1);
    ck_assert_uint_eq(fake_requests(fakes[2]), 1);

    /* these instances get no second request */
    client_assert_refused(echo_once("s2"), 8, BUSY);
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
    client_assert_refused(echo_once("s1"), 13, "Session trouble");
    ck_assert_uint_eq(fake_requests(fake), 1);
}
END_TEST


/* more conflicts than "tries": a conflict is not a failure */

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

    return echo_once("s1");
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


/* after a restart of the gateway the instances report their sessions */
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
        snprintf(pods[i], sizeof(pods[i]), "%s",
                 client_pod(echo_once(session), 0));
        ck_assert_str_ne(pods[i], "");
    }

    gateway_stop();
    gateway_start(conf);

    client_assert_refused(echo_once("stranger"), 8, BUSY);

    for (i = 2; i >= 0; i--) {
        snprintf(session, sizeof(session), "s%d", i);
        ck_assert_str_eq(client_pod(echo_once(session), 0), pods[i]);
    }
}
END_TEST


/* the same when the owners call first: no session loses its instance */
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
        snprintf(pods[i], sizeof(pods[i]), "%s",
                 client_pod(echo_once(session), 0));
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


/* Two sessions ask each other's instance, and the first answer takes longer
 * than the second. */

static atomic_int   requests;
static atomic_bool  late;               /* the first answer may come */
static fake_t      *first;


static void
swapped(fake_call_t *call)
{
    long long  since;

    switch (atomic_fetch_add(&requests, 1)) {

    case 0:
        first = call->fake;
        since = harness_now();

        while (!atomic_load(&late) && harness_now() - since < HARNESS_DEADLINE)
        {
            usleep(1000);
        }

        fake_refuse(call, 13, "Session conflict: was=s1, now=s0");
        break;

    case 1:
        fake_refuse(call, 13, "Session conflict: was=s0, now=s1");
        break;

    default:
        fake_ok(call);
    }
}


START_TEST(conflict_owners_swapped)
{
    fake_t         *one;
    client_t       *client;
    client_call_t  *calls[2];

    one = fake_start(8081, "one", swapped);
    (void) fake_start(8082, "two", swapped);
    gateway_start(CONF_WITH(TWO, STATUS_SERVER));
    client = client_open(harness_port(8080));

    calls[0] = echo_start(client, "s0");

    while (atomic_load(&requests) < 1) {
        client_poll(10);
    }

    calls[1] = echo_start(client, "s1");
    client_poll(10);
    status_await("\"session\":\"s0\",\"foreign\":true");
    atomic_store(&late, true);
    client_wait_all();

    client_assert(calls[0], 0, "");
    client_assert(calls[1], 0, "");
    ck_assert_str_eq(client_pod(calls[0], 0), first == one ? "two" : "one");
    ck_assert_str_eq(client_pod(calls[1], 0), first == one ? "one" : "two");
}
END_TEST


/* The first instance that is asked names the session of the caller, and still
 * refuses the call, "lies" times. */

static atomic_int   lies;
static atomic_uint  asked;
static const char  *named;              /* NULL: the caller */


static void
one_lies(fake_call_t *call)
{
    char    message[600];
    fake_t *none;

    none = NULL;
    (void) atomic_compare_exchange_strong(&taken, &none, call->fake);

    if (call->fake != atomic_load(&taken)
        || atomic_fetch_sub(&lies, 1) <= 0)
    {
        fake_ok(call);
        return;
    }

    atomic_fetch_add(&asked, 1);
    snprintf(message, sizeof(message), "Session conflict: was=%s, now=%s",
             named != NULL ? named : call->session, call->session);

    if (in_trailers) {
        fake_headers(call);
        fake_trailers(call, 13, message);

    } else {
        fake_refuse(call, 13, message);
    }
}


static void
start_liars(void)
{
    (void) fake_start(8081, "one", one_lies);
    (void) fake_start(8082, "two", one_lies);
    (void) fake_start(8083, "three", one_lies);
    gateway_start(CONF(THREE));
}


/* a refusal that names the caller: one more try, then no more */
static void
named_itself(void)
{
    char            pod[64];
    client_call_t  *call;

    atomic_store(&lies, 1000);
    start_liars();

    call = echo_once("s1");
    client_assert(call, 0, "");
    ck_assert_uint_eq(client_messages(call), 1);
    ck_assert_uint_eq(atomic_load(&asked), 2);
    snprintf(pod, sizeof(pod), "%s", client_pod(call, 0));
    ck_assert_str_eq(client_pod(echo_once("s1"), 0), pod);

    client_assert(echo_once("s2"), 0, "");
    client_assert_refused(echo_once("s3"), 8, BUSY);
    ck_assert_uint_eq(atomic_load(&asked), 2);
}


START_TEST(conflict_names_caller)
{
    named_itself();
}
END_TEST


START_TEST(conflict_names_caller_in_trailers)
{
    in_trailers = true;
    named_itself();
}
END_TEST


/* the same of a session that has been there */
START_TEST(conflict_names_caller_bound)
{
    char            pod[64];
    client_call_t  *call;

    start_liars();
    call = echo_once("s1");
    client_assert(call, 0, "");
    snprintf(pod, sizeof(pod), "%s", client_pod(call, 0));

    atomic_store(&lies, 1000);
    call = echo_once("s1");
    client_assert(call, 0, "");
    ck_assert_str_ne(client_pod(call, 0), pod);
    ck_assert_uint_eq(atomic_load(&asked), 2);
}
END_TEST


/* a passing fault: it stays */
START_TEST(conflict_names_caller_once)
{
    char            pod[64];
    unsigned        i;
    client_call_t  *call;

    start_liars();
    call = echo_once("s1");
    client_assert(call, 0, "");
    snprintf(pod, sizeof(pod), "%s", client_pod(call, 0));

    for (i = 1; i <= 3; i++) {
        atomic_store(&lies, 1);
        call = echo_once("s1");
        client_assert(call, 0, "");
        ck_assert_str_eq(client_pod(call, 0), pod);
        ck_assert_uint_eq(atomic_load(&asked), i);
    }
}
END_TEST


/* whichever session it names, the others keep their instances */
START_TEST(conflict_names_others)
{
    int      i;
    fake_t  *fakes[3];

    for (i = 0; i < 3; i++) {
        fakes[i] = fake_start(8081 + i, "f", one_lies);
    }

    gateway_start(CONF(THREE));
    client_assert(echo_once("s1"), 0, "");

    /* the next instance that gets the call */
    atomic_store(&taken, NULL);
    atomic_store(&lies, 1000);
    named = "s1";

    client_assert(echo_once("s2"), 0, "");
    ck_assert_uint_eq(atomic_load(&asked), 1);
    client_assert(echo_once("s1"), 0, "");
    client_assert(echo_once("s2"), 0, "");
    ck_assert_uint_eq(fake_requests(fakes[0]) + fake_requests(fakes[1])
                      + fake_requests(fakes[2]), 5);
}
END_TEST


/* what is no session id is the name of nobody, in no log and in no status */
START_TEST(conflict_names_no_session)
{
    static const char *const  names[] = { "a%0Ab", "a b", "a%C3b" };

    (void) fake_start(8081, "one", one_lies);
    (void) fake_start(8082, "two", one_lies);
    gateway_start(CONF_WITH(TWO, STATUS_SERVER));

    atomic_store(&lies, 1000);
    named = names[_i];

    client_assert(echo_once("s1"), 0, "");
    ck_assert_uint_eq(atomic_load(&asked), 1);
    ck_assert(status_has("\"session\":\"s1\""));
    ck_assert(!status_has("\"session\":\"a"));
    client_assert_refused(echo_once("s2"), 8, BUSY);
}
END_TEST


/* An answer that is not gRPC has no effect: no lease, no release, no owner. */

static const char  *status;             /* HPACK of :status */
static const char  *type;
static const char  *path;               /* of the calls that are so answered */
static int          code;
static const char  *text;


static void
no_grpc(fake_call_t *call)
{
    size_t   len;
    uint8_t  block[256], *p;

    if (strcmp(call->path, path) != 0) {
        fake_ok(call);
        return;
    }

    len = strlen(status);
    memcpy(block, status, len);
    p = block + len;

    if (type != NULL) {
        p = fake_field(p, "content-type", type);
    }

    fake_frame(call->conn, HEADERS, END_HEADERS, call->stream, block,
               (size_t) (p - block));
    fake_message(call, 0);
    fake_trailers(call, code, text);
}


static void
ask(const char *session)
{
    client_call_t  *call;

    call = client_grpc(client_open(harness_port(8080)), path,
                       token_make(session, 60), session, "", 0);
    client_wait(call);
}


START_TEST(conflict_no_grpc)
{
    size_t  i;
    char    session[8];

    static const struct {
        const char  *status;
        const char  *type;
    } answers[] = {
        { "\x88", "text/html" },
        { "\x88", "application/grpc-web" },
        { "\x88", "application/json" },
        { "\x88", NULL },
        { "\x8a", "application/grpc" },            /* 206 */
        { "\x8e", "application/grpc" }             /* 500 */
    };

    (void) fake_start(8081, "one", no_grpc);
    gateway_start(CONF(ONE));
    path = ECHO;

    for (i = 0; i < 2 * sizeof(answers) / sizeof(answers[0]); i++) {
        status = answers[i / 2].status;
        type = answers[i / 2].type;
        code = i % 2 ? 0 : 13;
        text = i % 2 ? "" : "Session conflict: was=old, now=new";

        snprintf(session, sizeof(session), "s%zu", i);
        ask(session);
    }

    path = SHUTDOWN;
    client_assert(echo_once("s"), 0, "");

    for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        status = answers[i].status;
        type = answers[i].type;

        ask("s");
        client_assert(echo_once("s"), 0, "");
        client_assert_refused(echo_once("s1"), 8, BUSY);
    }

    ck_assert(!gateway_logged("serves another session"));
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
    harness_add(suite, conflict_owners_swapped);
    harness_add(suite, conflict_names_caller);
    harness_add(suite, conflict_names_caller_in_trailers);
    harness_add(suite, conflict_names_caller_bound);
    harness_add(suite, conflict_names_caller_once);
    harness_add(suite, conflict_names_others);
    harness_add_loop(suite, conflict_names_no_session, 3);
    harness_add(suite, conflict_no_grpc);

    return harness_run(suite, argv[0]);
}
