/*
 * myservice_coalesce together with repeated requests, resumed streams, refusals
 * and redirects.
 */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "instance.h"
#include "sized.h"


#define CONF(coalesce, servers, directives)                                   \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    limit_req_zone $server_port zone=l:1m rate=1r/m;\n"                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    servers                                                                   \
    "        keepalive 64;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        myservice_coalesce " coalesce ";\n"                              \
    "        location / {\n"                                                  \
    directives                                                                \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "        location @named {\n"                                             \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define ONE          "server 127.0.0.1:8081;\n"
#define TWO          ONE "server 127.0.0.1:8082;\n"
#define RETRY        "myservice_retry MyServiceEcho;\n"                       \
                     "myservice_replay_buffer 16k;\n"
#define RESUME       "myservice_resume MyServiceSubscribe;\n"
#define JWT          "myservice_jwt on;\n"                                    \
                     "myservice_jwt_secret_file %%DIR%%/secret;\n"

#define UNAVAILABLE  "backend service unavailable"
#define INVALID      "missing or invalid token"

#define CALLS        8


typedef enum {
    WELL = 0,
    GO_AWAY,                            /* not processed */
    CLOSE,                              /* before any answer */
    HALF_MESSAGE                        /* two and a half, then closed */
} fault_t;

/* how the fakes answer the next requests */
static atomic_int    fault = WELL;
static atomic_int    faults = 0;        /* the number of these requests */

/* the first instance keeps the session, so that no call meets another one */
static _Atomic(fake_t *)  broken = NULL;

static atomic_uint   served = 0;
static atomic_ulong  body = 0;          /* bytes of the last request */


static bool
breaks(fake_call_t *call)
{
    fake_t *none;

    if (atomic_load(&faults) <= 0) {
        return false;
    }

    none = NULL;
    (void) atomic_compare_exchange_strong(&broken, &none, call->fake);

    return call->fake == atomic_load(&broken)
           && atomic_fetch_sub(&faults, 1) > 0;
}


static void
play(fake_call_t *call)
{
    atomic_fetch_add(&served, 1);
    atomic_store(&body, call->body);

    switch (breaks(call) ? atomic_load(&fault) : WELL) {

    case GO_AWAY:
        fake_goaway(call);
        fake_close(call);
        break;

    case CLOSE:
        fake_close(call);
        break;

    case HALF_MESSAGE:
        fake_headers(call);
        fake_message(call, 0);
        fake_message(call, 1);
        fake_half_message(call);
        fake_close(call);
        break;

    default:
        fake_ok(call);
    }
}


static void
start(const char *conf)
{
    (void) fake_start(8081, "one", play);
    (void) fake_start(8082, "two", play);
    gateway_start(conf);
}


static void
break_next(int how, int n)
{
    atomic_store(&fault, how);
    atomic_store(&served, 0);
    atomic_store(&broken, NULL);
    atomic_store(&faults, n);
}


/* The gateway sees header and body in one read. */
static client_call_t *
at_once(client_t *client, size_t size)
{
    client_call_t  *call;

    gateway_freeze(true);
    link_hold(client_link(client));
    call = sized_start(client, ECHO, "s1", size);
    link_release(client_link(client), 0);
    gateway_freeze(false);
    client_wait(call);

    return call;
}


/* the gateway repeats a request that arrived whole, whatever the size of the
 * buffer */
static void
repeated(int how)
{
    size_t               i;
    client_t            *client;
    client_call_t       *call;
    static const size_t  size[] = { 0, 1, 5000, 16384, 40000 };

    start(CONF("on", TWO, RETRY));
    client = client_open(harness_port(8080));
    client_assert(at_once(client, 1), 0, "");

    for (i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
        break_next(how, 1);
        call = at_once(client, size[i]);
        client_assert(call, 0, "");
        ck_assert_uint_eq(atomic_load(&served), 2);
        ck_assert_uint_ge(atomic_load(&body), size[i] + 5);
        ck_assert_uint_eq(client_messages(call), 1);
    }
}


START_TEST(repeated_unprocessed)
{
    repeated(GO_AWAY);
}
END_TEST


START_TEST(repeated_listed)
{
    repeated(CLOSE);
}
END_TEST


/* the gateway repeats a request that arrives late from its copy of the bytes
 * that it sent */
START_TEST(repeated_late)
{
    client_t        *client;
    client_call_t   *call;
    client_header_t  headers[] = {
        { "te", "trailers" },
        { "content-type", "application/grpc" },
        { "session-id", "s1" },
        { NULL, NULL }
    };

    start(CONF("on", TWO, RETRY));
    client = client_open(harness_port(8080));
    client_assert(at_once(client, 1), 0, "");
    break_next(GO_AWAY, 1);

    link_hold(client_link(client));
    call = client_request(client, ECHO, headers, "\0\0\0\0\x03", 5, true);
    link_release(client_link(client), 0);
    client_ping(client);
    client_wait_pongs(client, 1);
    client_ping(client);
    client_wait_pongs(client, 2);

    client_send(call, "\x0a\x01x", 3, true);
    client_wait(call);
    client_assert(call, 0, "");
    ck_assert_uint_eq(atomic_load(&served), 2);
    ck_assert_uint_eq(atomic_load(&body), 8);
}
END_TEST


static void
start_streams(client_t *client, client_call_t **calls)
{
    int  i;

    link_hold(client_link(client));

    for (i = 0; i < CALLS; i++) {
        calls[i] = sized_start(client, SUBSCRIBE, "s1", 100);
    }

    link_release(client_link(client), 0);
}


/* each stream goes on with one header and whole messages; a stream may break
 * twice */
START_TEST(resumed)
{
    int             i;
    unsigned        messages;
    client_t       *client;
    client_call_t  *calls[CALLS];

    start(CONF("on", TWO, RESUME));
    client = client_open(harness_port(8080));
    client_assert(at_once(client, 1), 0, "");
    break_next(HALF_MESSAGE, CALLS);
    start_streams(client, calls);
    messages = 0;

    for (i = 0; i < CALLS; i++) {
        client_wait(calls[i]);
        client_assert(calls[i], 0, "");
        ck_assert_uint_eq(calls[i]->headers, 2);
        messages += client_messages(calls[i]);
    }

    ck_assert_uint_eq(messages, 3 * CALLS);
    ck_assert_uint_eq(atomic_load(&served), 2 * CALLS);
}
END_TEST


/* not listed: each stream ends with trailers */
START_TEST(ended)
{
    int             i;
    client_t       *client;
    client_call_t  *calls[CALLS];

    start(CONF("on", TWO, ""));
    client = client_open(harness_port(8080));
    client_assert(at_once(client, 1), 0, "");
    break_next(HALF_MESSAGE, CALLS);
    start_streams(client, calls);

    for (i = 0; i < CALLS; i++) {
        client_wait(calls[i]);
        client_assert(calls[i], 14, UNAVAILABLE);
        ck_assert_uint_eq(client_messages(calls[i]), 2);
        ck_assert_uint_eq(calls[i]->headers, 2);
    }
}
END_TEST


/* Returns how often the gateway made the client stop sending. */
static unsigned
refused(const char *conf)
{
    client_t       *client;
    client_call_t  *call;

    start(conf);
    client = client_open(harness_port(8080));
    client_assert(at_once(client, 1), 0, "");

    link_hold(client_link(client));
    call = client_grpc(client, ECHO, "wrong", "s1", "\x0a\x05hello", 7);
    link_release(client_link(client), 0);
    client_wait(call);
    client_assert_refused(call, 16, INVALID);
    client_ping(client);
    client_wait_pongs(client, 1);
    ck_assert_uint_eq(atomic_load(&served), 1);

    return client_resets(client);
}


/* the request is complete when it is refused: no need to stop the client */
START_TEST(refused_on)
{
    ck_assert_uint_eq(refused(CONF("on", ONE, JWT)), 0);
}
END_TEST


START_TEST(refused_off)
{
    ck_assert_uint_eq(refused(CONF("off", ONE, JWT)), 1);
}
END_TEST


/* a client that goes on sending is stopped, also beside other calls */
START_TEST(refused_open)
{
    int              i;
    client_t        *client;
    long long        since;
    client_call_t   *calls[CALLS], *stream;
    client_header_t  headers[] = {
        { "te", "trailers" },
        { "content-type", "application/grpc" },
        { "session-id", "s1" },
        { NULL, NULL }
    };

    (void) instance_start(8081, "one", "--subscribe-interval 1d");
    gateway_start(CONF("on", ONE, JWT));
    client = client_open(harness_port(8080));
    stream = sized_start(client, SUBSCRIBE, "s1", 1);
    client_wait_messages(stream, 1);
    since = harness_now();

    for (i = 0; i < CALLS; i++) {
        link_hold(client_link(client));
        calls[i] = client_request(client, ECHO, headers, "\0\0", 2, true);
        link_release(client_link(client), 0);
        client_wait(calls[i]);
        client_assert_refused(calls[i], 16, INVALID);

        while (client_resets(client) <= (unsigned) i) {
            client_poll(100);
            ck_assert_int_lt(harness_now() - since, HARNESS_DEADLINE);
        }
    }

    ck_assert(!stream->done);
    client_cancel(stream);
}
END_TEST


/* a request that waits for its body is counted once */
START_TEST(limited_once)
{
    int        i;
    client_t  *client;

    start(CONF("on", ONE, "limit_req zone=l burst=2 nodelay;\n"));
    client = client_open(harness_port(8080));

    for (i = 0; i < 3; i++) {
        client_assert(at_once(client, 1), 0, "");
    }

    ck_assert_int_ne(at_once(client, 1)->grpc, 0);
    ck_assert_uint_eq(atomic_load(&served), 3);
}
END_TEST


/* and goes on after a redirect */
START_TEST(redirected)
{
    client_t  *client;

    start(CONF("on", ONE, "error_page 418 = @named; return 418;\n"));
    client = client_open(harness_port(8080));
    client_assert(at_once(client, 50000), 0, "");
    ck_assert_uint_ge(atomic_load(&body), 50005);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("coalesce_calls");

    harness_add(suite, repeated_unprocessed);
    harness_add(suite, repeated_listed);
    harness_add(suite, repeated_late);
    harness_add(suite, resumed);
    harness_add(suite, ended);
    harness_add(suite, refused_on);
    harness_add(suite, refused_off);
    harness_add(suite, refused_open);
    harness_add(suite, limited_once);
    harness_add(suite, redirected);

    return harness_run(suite, argv[0]);
}
