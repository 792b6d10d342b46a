/*
 * Failures of an instance and what the client sees of them: fakes that go
 * away in every way there is, and count what reaches them.
 */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "harness.h"
#include "sized.h"


#define CONF(servers, directives)                                             \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format retry 'decision=$myservice_decision '\n"                  \
    "        'instance=$myservice_instance grpc=$myservice_grpc_status';\n"   \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_release MyServiceShutdown;\n"                          \
    servers                                                                   \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log retry;\n"                          \
    "        location / {\n"                                                  \
    directives                                                                \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define ONE          "server 127.0.0.1:8081;\n"
#define TWO          ONE "server 127.0.0.1:8082;\n"
#define RETRY_ECHO   "myservice_retry MyServiceEcho;\n"

#define UNAVAILABLE  "backend service unavailable"
#define CANCEL       8
#define REFUSED      7                  /* RFC 9113 section 7 */


/* what the next requests meet, over all fakes; then everything is well */
typedef enum {
    WELL = 0,
    GO_AWAY,
    GO_AWAY_AND_CLOSE,
    REFUSE_STREAM,
    CLOSE,
    CLOSE_AFTER_HEADERS,
    RESET
} fault_t;

static fault_t       faults[16];
static atomic_uint   served;            /* requests over all fakes */
static atomic_ulong  body;              /* bytes of the last one */
static atomic_uint   cut;               /* where the fault's frame is cut */


static void
play(fake_call_t *call)
{
    unsigned  n;

    n = atomic_fetch_add(&served, 1);
    atomic_store(&body, call->body);
    fake_cut(call, atomic_exchange(&cut, 0));

    switch (n < 16 ? faults[n] : WELL) {

    case WELL:
        fake_ok(call);
        break;

    case GO_AWAY:
        fake_goaway(call);
        break;

    case GO_AWAY_AND_CLOSE:
        fake_goaway(call);
        fake_close(call);
        break;

    case REFUSE_STREAM:
        fake_reset(call, REFUSED);
        break;

    case CLOSE:
        fake_close(call);
        break;

    case CLOSE_AFTER_HEADERS:
        fake_headers(call);
        fake_close(call);
        break;

    case RESET:
        fake_reset(call, CANCEL);
        break;
    }
}


/* The second request on a connection meets its end: a kept-alive connection
 * that was closed meanwhile. */
static void
stale(fake_call_t *call)
{
    atomic_fetch_add(&served, 1);
    atomic_store(&body, call->body);

    if (call->nth == 2) {
        fake_close(call);

    } else {
        fake_ok(call);
    }
}


static client_call_t *
echo(const char *session)
{
    return echo_get(client_open(harness_port(8080)), session);
}


static client_call_t *
upload(const char *session, size_t size)
{
    void           *message;
    client_call_t  *call;

    message = calloc(1, size);
    ck_assert_ptr_nonnull(message);
    call = client_grpc(client_open(harness_port(8080)), ECHO,
                       token_make(session, 60), session, message, size);
    free(message);
    client_wait(call);

    return call;
}


/* half of the members are gone: every session finds one that is there */
START_TEST(retry_connect_refused)
{
    int   i;
    char  session[8], name[6][8];

    for (i = 0; i < 6; i++) {
        snprintf(name[i], sizeof(name[i]), "f%d", i);
        (void) fake_start(8081 + i, name[i], play);
    }

    gateway_start(CONF(TWO
        "server 127.0.0.1:8083; server 127.0.0.1:8084;\n"
        "server 127.0.0.1:8085; server 127.0.0.1:8086;\n"
        "server 127.0.0.1:8091; server 127.0.0.1:8092;\n"
        "server 127.0.0.1:8093; server 127.0.0.1:8094;\n"
        "server 127.0.0.1:8095; server 127.0.0.1:8096;\n", ""));

    for (i = 0; i < 6; i++) {
        snprintf(session, sizeof(session), "s%d", i);
        client_assert(echo(session), 0, "");
    }

    ck_assert_uint_eq(atomic_load(&served), 6);
}
END_TEST


static unsigned
connects_failed(void)
{
    char        *log;
    unsigned     n;
    const char  *p;

    n = 0;
    log = harness_read("error.log");

    for (p = log; (p = strstr(p, "connect() failed")) != NULL; p++) {
        n++;
    }

    free(log);

    return n;
}


/* nobody is there: a call asks each of them once, whatever was known before */
START_TEST(retry_all_gone)
{
    gateway_start(CONF("server 127.0.0.1:8091; server 127.0.0.1:8092;\n"
                       "server 127.0.0.1:8093;\n", ""));

    client_assert_refused(echo("s1"), 14, UNAVAILABLE);
    ck_assert_uint_eq(connects_failed(), 3);

    client_assert_refused(echo("s1"), 14, UNAVAILABLE);
    ck_assert_uint_eq(connects_failed(), 6);
}
END_TEST


/* One fault of the provable kind, then the same instance is well. */
static void
unprocessed(fault_t fault)
{
    fake_t         *fake, *other;
    client_call_t  *call;

    fake = fake_start(8081, "one", play);
    other = fake_start(8082, "two", play);
    gateway_start(CONF(TWO, ""));

    /* an established session, on a connection that was used before */
    call = echo("s1");
    client_assert(call, 0, "");

    if (fake_requests(fake) == 0) {
        fake = other;
    }

    faults[1] = fault;
    call = echo("s1");
    client_assert(call, 0, "");
    ck_assert_uint_eq(client_messages(call), 1);
    ck_assert_uint_eq(atomic_load(&served), 3);
    ck_assert_uint_eq(fake_requests(fake), 3);

    /* a first call, on a new connection */
    faults[3] = fault;
    client_assert(echo("s2"), 0, "");
    ck_assert_uint_eq(atomic_load(&served), 5);
}


START_TEST(retry_goaway)
{
    unprocessed(GO_AWAY);
}
END_TEST


START_TEST(retry_goaway_and_close)
{
    unprocessed(GO_AWAY_AND_CLOSE);
}
END_TEST


START_TEST(retry_refused_stream)
{
    unprocessed(REFUSE_STREAM);
}
END_TEST


/* The frame comes in two reads, wherever it is cut, on a fresh connection and
 * on one that was used before. */
static void
cut_anywhere(fault_t fault, unsigned size)
{
    fake_t    *fake;
    unsigned   i, calls;

    fake = fake_start(8081, "one", play);
    gateway_start(CONF(ONE, ""));
    client_assert(echo("s1"), 0, "");

    for (i = 2; i < 2 * size; i++) {

        if (i % 2) {
            fake_abort(fake);
        }

        atomic_store(&served, 0);
        atomic_store(&cut, i / 2);
        faults[0] = fault;
        calls = fake_requests(fake);

        client_assert(echo("s1"), 0, "");
        ck_assert_uint_eq(atomic_load(&cut), 0);
        ck_assert_uint_eq(fake_requests(fake), calls + 2);
    }

    ck_assert(!gateway_logged("\" failed"));
}


START_TEST(retry_goaway_cut)
{
    cut_anywhere(GO_AWAY, 17);
}
END_TEST


START_TEST(retry_refused_stream_cut)
{
    cut_anywhere(REFUSE_STREAM, 13);
}
END_TEST


START_TEST(retry_stale_connection)
{
    int              i;
    fake_t          *fake;
    client_call_t   *call;

    fake = fake_start(8081, "one", stale);
    gateway_start(CONF(ONE, ""));
    client_assert(echo("s1"), 0, "");

    for (i = 1; i <= 5; i++) {
        call = echo("s1");
        client_assert(call, 0, "");
        ck_assert_uint_eq(client_messages(call), 1);
        ck_assert_uint_eq(fake_connections(fake), 1 + (unsigned) i);
        ck_assert_uint_eq(fake_requests(fake), 1 + 2 * (unsigned) i);
    }
}
END_TEST


/* one that was reset while it was idle, which the gateway finds out when it
 * has a call for it */
START_TEST(retry_reset_connection)
{
    int             i;
    fake_t         *fakes[2];
    client_t       *client;
    client_call_t  *call;
    char            pod[64];

    fakes[0] = fake_start(8081, "one", play);
    fakes[1] = fake_start(8082, "two", play);
    gateway_start(CONF(TWO, ""));
    client = client_open(harness_port(8080));
    call = echo_get(client, "s1");
    client_assert(call, 0, "");
    snprintf(pod, sizeof(pod), "%s", client_pod(call, 0));

    for (i = 0; i < 3; i++) {
        gateway_freeze(true);
        call = echo_start(client, "s1");

        while (call->sent == 0) {
            client_poll(100);
        }

        fake_abort(fakes[0]);
        fake_abort(fakes[1]);
        gateway_freeze(false);
        client_wait(call);
        client_assert(call, 0, "");
        ck_assert_str_eq(client_pod(call, 0), pod);
    }

    ck_assert(!gateway_logged("\" failed"));
    ck_assert_uint_eq(fake_requests(fakes[0]) + fake_requests(fakes[1]), 4);
}
END_TEST


/* the request body is sent again as a whole */
START_TEST(retry_body)
{
    (void) fake_start(8081, "one", stale);
    gateway_start(CONF(ONE, "myservice_replay_buffer 64k;\n"));

    client_assert(echo("s1"), 0, "");
    client_assert(upload("s1", 50000), 0, "");
    ck_assert_uint_eq(atomic_load(&body), 50005);
    ck_assert_uint_eq(atomic_load(&served), 3);
}
END_TEST


/* a body that is larger than what may be kept is not repeated */
START_TEST(retry_body_too_large)
{
    (void) fake_start(8081, "one", stale);
    gateway_start(CONF(ONE, "myservice_replay_buffer 16k;\n"));

    client_assert(echo("s1"), 0, "");
    client_assert_refused(sized_late("s1", 50000), 14, UNAVAILABLE);
    ck_assert_uint_eq(atomic_load(&served), 2);

    /* and without a failure nothing is lost */
    client_assert(upload("s1", 50000), 0, "");
    ck_assert_uint_eq(atomic_load(&body), 50005);
}
END_TEST


/* a peer that says nothing before the request */
START_TEST(retry_late_settings)
{
    fake_t  *fake;

    fake = fake_start(8081, "one", play);
    fake_late_settings(fake);
    faults[1] = GO_AWAY_AND_CLOSE;
    gateway_start(CONF(ONE, ""));
    client_assert(echo("s1"), 0, "");
    client_assert(echo("s1"), 0, "");
    ck_assert_uint_eq(fake_requests(fake), 3);
}
END_TEST


/* It goes away behind a GOAWAY that says that the call was taken. */
static void
taken(fake_call_t *call)
{
    atomic_fetch_add(&served, 1);

    if (call->nth == 1) {
        fake_ok(call);
        return;
    }

    call->stream += 2;
    fake_goaway(call);
    fake_close(call);
}


/* a method of HTTP that nginx repeats itself, on a kept-alive connection */
START_TEST(retry_get)
{
    client_call_t   *call;
    client_header_t  headers[] = {
        { ":method", "GET" },
        { "content-type", "application/grpc" },
        { "session-id", "s1" },
        { NULL, NULL }
    };

    (void) fake_start(8081, "one", taken);
    (void) fake_start(8082, "two", taken);
    gateway_start(CONF(TWO, ""));

    client_assert(echo("s1"), 0, "");
    call = client_request(client_open(harness_port(8080)), ECHO, headers,
                          NULL, 0, false);
    client_wait(call);
    client_assert_refused(call, 14, UNAVAILABLE);
    ck_assert_uint_eq(atomic_load(&served), 2);
}
END_TEST


/* Died after the request was sent: it may have run, so it is not repeated. */
static void
possibly_processed(fault_t fault)
{
    (void) fake_start(8081, "one", play);
    (void) fake_start(8082, "two", play);
    gateway_start(CONF(TWO, "myservice_retry MyServiceSubscribe;\n"));

    faults[0] = fault;
    client_assert_refused(echo("s1"), 14, UNAVAILABLE);
    ck_assert_uint_eq(atomic_load(&served), 1);
    gateway_await_access("grpc=14");
}


START_TEST(retry_not_listed)
{
    possibly_processed(CLOSE);
}
END_TEST


START_TEST(retry_reset_not_listed)
{
    possibly_processed(RESET);
}
END_TEST


/* listed methods are repeated elsewhere, and the session moves */
START_TEST(retry_listed)
{
    char            pod[64];
    client_call_t  *call;

    (void) fake_start(8081, "one", play);
    (void) fake_start(8082, "two", play);
    gateway_start(CONF(TWO, RETRY_ECHO));

    call = echo("s1");
    client_assert(call, 0, "");
    snprintf(pod, sizeof(pod), "%s", client_pod(call, 0));

    faults[1] = CLOSE;

    /* on a new connection: a kept one could be stale */
    faults[2] = CLOSE;
    call = echo("s1");
    client_assert(call, 0, "");
    ck_assert_str_ne(client_pod(call, 0), pod);
    ck_assert_uint_eq(client_messages(call), 1);
    ck_assert_uint_eq(atomic_load(&served), 4);
    gateway_await_access("decision=MOVED");
}
END_TEST


/* every attempt fails: an end is found */
START_TEST(retry_bounded)
{
    size_t  i;

    for (i = 0; i < 16; i++) {
        faults[i] = CLOSE;
    }

    (void) fake_start(8081, "one", play);
    (void) fake_start(8082, "two", play);
    gateway_start(CONF(TWO, RETRY_ECHO));

    client_assert_refused(echo("s1"), 14, UNAVAILABLE);
    ck_assert_uint_ge(atomic_load(&served), 2);
    ck_assert_uint_le(atomic_load(&served), 6);
}
END_TEST


/* The answer began: nothing is repeated, the stream ends with trailers. */
START_TEST(retry_after_headers)
{
    client_call_t  *call;

    (void) fake_start(8081, "one", play);
    (void) fake_start(8082, "two", play);
    gateway_start(CONF(TWO, ""));

    faults[0] = CLOSE_AFTER_HEADERS;
    call = echo("s1");
    client_assert(call, 14, UNAVAILABLE);
    ck_assert_uint_eq(atomic_load(&served), 1);
}
END_TEST


static void
own_status(fake_call_t *call)
{
    atomic_fetch_add(&served, 1);

    if (call->number > 1 && call->number % 2 == 0) {
        fake_refuse(call, 14, "of the application");

    } else {
        fake_ok(call);
    }
}


/* a status of the application is no failure of its instance */
START_TEST(retry_application_status)
{
    int             i;
    char            pod[64];
    client_call_t  *call;

    (void) fake_start(8081, "one", own_status);
    (void) fake_start(8082, "two", own_status);
    gateway_start(CONF(TWO, RETRY_ECHO));

    call = echo("s1");
    client_assert(call, 0, "");
    snprintf(pod, sizeof(pod), "%s", client_pod(call, 0));

    for (i = 0; i < 3; i++) {
        client_assert_refused(echo("s1"), 14, "of the application");
        call = echo("s1");
        client_assert(call, 0, "");
        ck_assert_str_eq(client_pod(call, 0), pod);
    }

    ck_assert_uint_eq(atomic_load(&served), 7);
}
END_TEST


static void
silent_once(fake_call_t *call)
{
    if (atomic_fetch_add(&served, 1) != 1) {
        fake_ok(call);
    }
}


/* nor is a client that gives up */
START_TEST(retry_client_cancel)
{
    char            pod[64];
    long long       since;
    client_call_t  *call;

    (void) fake_start(8081, "one", silent_once);
    (void) fake_start(8082, "two", silent_once);
    gateway_start(CONF(TWO, RETRY_ECHO));

    call = echo("s1");
    client_assert(call, 0, "");
    snprintf(pod, sizeof(pod), "%s", client_pod(call, 0));

    call = echo_start(client_open(harness_port(8080)), "s1");
    since = harness_now();

    while (atomic_load(&served) < 2) {
        client_poll(10);
        harness_pause(since, "the call is at the instance");
    }

    client_cancel(call);

    call = echo("s1");
    client_assert(call, 0, "");
    ck_assert_str_eq(client_pod(call, 0), pod);
    ck_assert_uint_eq(atomic_load(&served), 3);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("retry");

    harness_add(suite, retry_connect_refused);
    harness_add(suite, retry_all_gone);
    harness_add(suite, retry_goaway);
    harness_add(suite, retry_goaway_and_close);
    harness_add(suite, retry_refused_stream);
    harness_add(suite, retry_goaway_cut);
    harness_add(suite, retry_refused_stream_cut);
    harness_add(suite, retry_stale_connection);
    harness_add(suite, retry_reset_connection);
    harness_add(suite, retry_body);
    harness_add(suite, retry_body_too_large);
    harness_add(suite, retry_late_settings);
    harness_add(suite, retry_get);
    harness_add(suite, retry_not_listed);
    harness_add(suite, retry_reset_not_listed);
    harness_add(suite, retry_listed);
    harness_add(suite, retry_bounded);
    harness_add(suite, retry_after_headers);
    harness_add(suite, retry_application_status);
    harness_add(suite, retry_client_cancel);

    return harness_run(suite, argv[0]);
}
