/*
 * Failures of an instance and what the client sees of them: fakes fail in every
 * way there is and count the requests.
 */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "retry.h"


/* how the fakes answer the next requests; WELL after that */
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
        client_assert(echo_once(session), 0, "");
    }

    ck_assert_uint_eq(atomic_load(&served), 6);
}
END_TEST


/* each attempt has the address of its own */
START_TEST(retry_upstream_addr)
{
    int             i;
    char            text[128], address[32], *log;
    const char     *p;

    gateway_start(CONF("server 127.0.0.1:8091; server 127.0.0.1:8092;\n"
                       "server 127.0.0.1:8093;\n", ""));
    client_assert_refused(echo_once("s1"), 14, UNAVAILABLE);
    gateway_await_access("grpc=14");

    log = harness_read("access.log");
    p = strstr(log, "upstream=");
    ck_assert_ptr_nonnull(p);
    snprintf(text, sizeof(text), "%s", p);
    free(log);

    for (i = 8091; i <= 8093; i++) {
        snprintf(address, sizeof(address), "127.0.0.1:%d", harness_port(i));
        ck_assert_msg(strstr(text, address) != NULL, "no %s in %s", address,
                      text);
    }
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


/* no instance answers: a call tries each once, whatever was known before */
START_TEST(retry_all_gone)
{
    gateway_start(CONF("server 127.0.0.1:8091; server 127.0.0.1:8092;\n"
                       "server 127.0.0.1:8093;\n", ""));

    client_assert_refused(echo_once("s1"), 14, UNAVAILABLE);
    ck_assert_uint_eq(connects_failed(), 3);

    client_assert_refused(echo_once("s1"), 14, UNAVAILABLE);
    ck_assert_uint_eq(connects_failed(), 6);
}
END_TEST


/* One fault that proves that the call did not run, then the same instance is
 * well. */
static void
unprocessed(fault_t fault)
{
    fake_t         *fake, *other;
    client_call_t  *call;

    fake = fake_start(8081, "one", play);
    other = fake_start(8082, "two", play);
    gateway_start(CONF(TWO, ""));

    /* an established session, on a connection that was used before */
    call = echo_once("s1");
    client_assert(call, 0, "");

    if (fake_requests(fake) == 0) {
        fake = other;
    }

    faults[1] = fault;
    call = echo_once("s1");
    client_assert(call, 0, "");
    ck_assert_uint_eq(client_messages(call), 1);
    ck_assert_uint_eq(atomic_load(&served), 3);
    ck_assert_uint_eq(fake_requests(fake), 3);

    /* a first call, on a new connection */
    faults[3] = fault;
    client_assert(echo_once("s2"), 0, "");
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
    client_assert(echo_once("s1"), 0, "");

    for (i = 2; i < 2 * size; i++) {

        if (i % 2) {
            fake_abort(fake);
        }

        atomic_store(&served, 0);
        atomic_store(&cut, i / 2);
        faults[0] = fault;
        calls = fake_requests(fake);

        client_assert(echo_once("s1"), 0, "");
        ck_assert_uint_eq(atomic_load(&cut), 0);
        ck_assert_uint_eq(fake_requests(fake), calls + 2);
    }

    ck_assert(!gateway_logged("instance failed"));
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


/* a peer that sends nothing before the request */
START_TEST(retry_late_settings)
{
    fake_t  *fake;

    fake = fake_start(8081, "one", play);
    fake_late_settings(fake);
    faults[1] = GO_AWAY_AND_CLOSE;
    gateway_start(CONF(ONE, ""));
    client_assert(echo_once("s1"), 0, "");
    client_assert(echo_once("s1"), 0, "");
    ck_assert_uint_eq(fake_requests(fake), 3);
}
END_TEST


/* The fake closes after a GOAWAY that includes the call. */
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

    client_assert(echo_once("s1"), 0, "");
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
    client_assert_refused(echo_once("s1"), 14, UNAVAILABLE);
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


/* listed methods are repeated where their session is */
START_TEST(retry_listed)
{
    char            pod[64];
    client_call_t  *call;

    (void) fake_start(8081, "one", play);
    (void) fake_start(8082, "two", play);
    gateway_start(CONF(TWO, RETRY_ECHO));

    call = echo_once("s1");
    client_assert(call, 0, "");
    snprintf(pod, sizeof(pod), "%s", client_pod(call, 0));

    faults[1] = CLOSE;

    /* on a new connection: a kept one could be stale */
    faults[2] = CLOSE;
    call = echo_once("s1");
    client_assert(call, 0, "");
    ck_assert_str_eq(client_pod(call, 0), pod);
    ck_assert_uint_eq(client_messages(call), 1);
    ck_assert_uint_eq(atomic_load(&served), 4);
    gateway_await_access("decision=HIT");
    ck_assert(!gateway_logged("instance failed"));
}
END_TEST


/* An instance that listens and closes all it accepts: an end is found, and the
 * session stays with it. */
START_TEST(retry_bounded)
{
    size_t          i;
    char            pod[64];
    client_call_t  *call;

    (void) fake_start(8081, "one", play);
    (void) fake_start(8082, "two", play);
    gateway_start(CONF(TWO, RETRY_ECHO));

    call = echo_once("s1");
    client_assert(call, 0, "");
    snprintf(pod, sizeof(pod), "%s", client_pod(call, 0));

    for (i = 1; i < 16; i++) {
        faults[i] = CLOSE;
    }

    client_assert_refused(echo_once("s1"), 14, UNAVAILABLE);
    ck_assert_uint_ge(atomic_load(&served), 3);
    ck_assert_uint_le(atomic_load(&served), 6);

    atomic_store(&served, 16);
    call = echo_once("s1");
    client_assert(call, 0, "");
    ck_assert_str_eq(client_pod(call, 0), pod);
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
    call = echo_once("s1");
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

    call = echo_once("s1");
    client_assert(call, 0, "");
    snprintf(pod, sizeof(pod), "%s", client_pod(call, 0));

    for (i = 0; i < 3; i++) {
        client_assert_refused(echo_once("s1"), 14, "of the application");
        call = echo_once("s1");
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


/* a client that gives up is no failure of the instance */
START_TEST(retry_client_cancel)
{
    char            pod[64];
    long long       since;
    client_call_t  *call;

    (void) fake_start(8081, "one", silent_once);
    (void) fake_start(8082, "two", silent_once);
    gateway_start(CONF(TWO, RETRY_ECHO));

    call = echo_once("s1");
    client_assert(call, 0, "");
    snprintf(pod, sizeof(pod), "%s", client_pod(call, 0));

    call = echo_start(client_open(harness_port(8080)), "s1");
    since = harness_now();

    while (atomic_load(&served) < 2) {
        client_poll(10);
        harness_pause(since, "the call is at the instance");
    }

    client_cancel(call);

    call = echo_once("s1");
    client_assert(call, 0, "");
    ck_assert_str_eq(client_pod(call, 0), pod);
    ck_assert_uint_eq(atomic_load(&served), 3);
}
END_TEST


/* kilobytes */
static unsigned long
worker_memory(void)
{
    char            path[64], line[256];
    FILE           *f;
    pid_t           pid;
    unsigned long   kb;

    kb = 0;
    ck_assert_uint_eq(gateway_workers(&pid, 1), 1);
    snprintf(path, sizeof(path), "/proc/%d/status", (int) pid);
    f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);

    while (fgets(line, sizeof(line), f) != NULL) {
        (void) sscanf(line, "VmData: %lu", &kb);
    }

    fclose(f);
    ck_assert_uint_gt(kb, 0);

    return kb;
}


#define PARTS  8000

/* the copy of a body costs its bytes, however small the parts are that it
 * comes in, and is what is sent again */
START_TEST(retry_small_parts)
{
    unsigned         i;
    client_t        *client;
    client_call_t   *call;
    unsigned long    before;
    client_header_t  headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", "s1" },
        { NULL, NULL }
    };

    faults[1] = REFUSE_STREAM;
    (void) fake_start(8081, "one", play);
    gateway_start(CONF(ONE, ""));
    client_assert(echo_once("s1"), 0, "");
    client = client_open(harness_port(8080));
    call = client_request(client, ECHO, headers, "\0\0\0\x1f\x3b", 5, true);
    before = worker_memory();

    for (i = 5; i < PARTS; i++) {
        client_send(call, "", 1, i == PARTS - 1);
        client_ping(client);
        client_wait_pongs(client, i - 4);
    }

    /* some 3000 if each had a buffer */
    ck_assert_uint_lt(worker_memory() - before, 1000);
    client_wait(call);
    client_assert(call, 0, "");
    ck_assert_uint_eq(atomic_load(&body), PARTS);
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
    harness_add(suite, retry_upstream_addr);
    harness_add(suite, retry_goaway);
    harness_add(suite, retry_goaway_and_close);
    harness_add(suite, retry_refused_stream);
    harness_add(suite, retry_goaway_cut);
    harness_add(suite, retry_refused_stream_cut);
    harness_add(suite, retry_late_settings);
    harness_add(suite, retry_get);
    harness_add(suite, retry_not_listed);
    harness_add(suite, retry_reset_not_listed);
    harness_add(suite, retry_listed);
    harness_add(suite, retry_bounded);
    harness_add(suite, retry_after_headers);
    harness_add(suite, retry_application_status);
    harness_add(suite, retry_client_cancel);
    harness_add(suite, retry_small_parts);

    return harness_run(suite, argv[0]);
}
