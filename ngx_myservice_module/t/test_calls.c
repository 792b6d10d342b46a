/* Limits for the calls of a session and of a worker. */

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "status.h"


#define CONF(calls, server)                                                   \
    "%%GLOBALS%%\n"                                                           \
    "events { worker_connections 48; }\n"                                    \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format c 'decision=$myservice_decision '\n"                      \
    "                 'grpc=$myservice_grpc_status';\n"                       \
    "    access_log %%DIR%%/access.log c;\n"                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    calls                                                                     \
    "        server 127.0.0.1:8081;\n"                                        \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        http2_max_concurrent_streams 1000;\n"                            \
    "        myservice_grpc_errors on;\n"                                     \
    server                                                                    \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "    }\n"                                                                 \
    STATUS_SERVER                                                             \
    "}\n"

#define MANY      "too many calls"
#define FULL      "too many connections"
#define BUSY      "all instances are busy"
#define COALESCE  "myservice_coalesce on;\n"

static const char  message[] = "\0\0\0\0\2\x0a\0";


/* Nothing but the header of a call. */
static client_call_t *
headers_start(client_t *client, const char *session)
{
    client_header_t  headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", session },
        { NULL, NULL }
    };

    return client_request(client, ECHO, headers, "", 0, true);
}


static client_t *
open_client(void)
{
    return client_open(harness_port(8080));
}


static client_call_t *
echo(const char *session)
{
    return echo_get(open_client(), session);
}


/* Serves all until the instance has seen "n" requests. */
static void
await_requests(fake_t *fake, unsigned n)
{
    long long  since;

    since = harness_now();

    while (fake_requests(fake) < n) {
        client_poll(10);
        harness_pause(since, "requests at the instance");
    }
}


static void
hang(fake_call_t *call)
{
    (void) call;
}


/* The first call of a session succeeds, the next ones hang. */
static void
hang_later(fake_call_t *call)
{
    if (call->number == 1) {
        fake_ok(call);
    }
}


/* calls at once */

START_TEST(calls_max)
{
    int             i;
    fake_t         *fake;
    client_t       *client;
    client_call_t  *calls[4];

    fake = fake_start(8081, "one", hang_later);
    gateway_start(CONF("myservice_calls max=3;\n", ""));
    client_assert(echo("s1"), 0, "");
    client = open_client();

    for (i = 0; i < 3; i++) {
        calls[i] = echo_start(client, "s1");
    }

    await_requests(fake, 4);
    client_assert_refused(echo("s1"), 8, MANY);
    client_assert_refused(echo("s1"), 8, MANY);

    /* of another session: busy, and not counted */
    client_assert_refused(echo("s2"), 8, BUSY);

    client_cancel(calls[0]);
    client_cancel(calls[1]);
    client_ping(client);
    client_wait_pongs(client, 1);

    calls[0] = echo_start(client, "s1");
    await_requests(fake, 5);
    calls[1] = echo_start(open_client(), "s1");
    await_requests(fake, 6);
    client_assert_refused(echo("s1"), 8, MANY);
    client_assert_waits(calls[2], 100);

    gateway_stop();
}
END_TEST


/* A refused call and a failed call free their places. */
START_TEST(calls_max_again)
{
    int  i;

    (void) fake_start(8081, "one", fake_ok);
    gateway_start(CONF("myservice_calls max=1;\n", ""));

    for (i = 0; i < 20; i++) {
        client_assert(echo("s1"), 0, "");
        client_assert_refused(echo("s2"), 8, BUSY);
    }
}
END_TEST


/* Streams start, and break off when the test says so. */
static fake_call_t  streams[2];
static atomic_uint  nstreams;


static void
begin_streams(fake_call_t *call)
{
    unsigned  n;

    if (strcmp(call->path, SUBSCRIBE) != 0) {
        fake_ok(call);
        return;
    }

    n = atomic_load(&nstreams);

    if (n < 2) {
        streams[n] = *call;
    }

    atomic_fetch_add(&nstreams, 1);
    fake_headers(call);
    fake_message(call, 0);
}


static void
await_streams(unsigned n)
{
    long long  since;

    since = harness_now();

    while (atomic_load(&nstreams) < n) {
        client_poll(10);
        harness_pause(since, "streams at the instance");
    }
}


/* a stream that is resumed is no new call: it keeps its place */
START_TEST(calls_max_resumed)
{
    client_t       *client;
    long long       since;
    client_call_t  *call;

    (void) fake_start(8081, "one", begin_streams);
    gateway_start(CONF("myservice_calls max=1;\n",
                       "myservice_resume MyServiceSubscribe;\n"));
    call = client_grpc(open_client(), SUBSCRIBE, NULL, "s1", "", 0);
    await_streams(1);
    client_wait_messages(call, 1);
    fake_reset(&streams[0], 2);
    await_streams(2);

    /* the second resume waits for 25 ms at least */
    client_wait_messages(call, 2);
    fake_reset(&streams[1], 2);

    client = open_client();
    since = harness_now();

    do {
        client_assert_refused(echo_get(client, "s1"), 8, MANY);
        harness_pause(since, "the second resume");
    } while (atomic_load(&nstreams) < 3);

    client_wait_messages(call, 3);
    ck_assert(!call->done);
}
END_TEST


/* calls in time */

START_TEST(calls_rate)
{
    int             i, passed;
    fake_t         *fake;
    client_t       *client;
    long long       since;
    client_call_t  *calls[30];

    fake = fake_start(8081, "one", fake_ok);
    gateway_start(CONF("myservice_calls rate=10r/s;\n", ""));
    client_assert(echo("s1"), 0, "");

    client = open_client();
    since = harness_now();
    passed = 0;

    for (i = 0; i < 30; i++) {
        calls[i] = echo_start(client, "s1");
    }

    client_wait_all();

    for (i = 0; i < 30; i++) {

        if (calls[i]->grpc == 0) {
            passed++;

        } else {
            client_assert_refused(calls[i], 8, MANY);
        }
    }

    /* a second's worth at once, and what comes meanwhile, rounded */
    ck_assert_int_ge(passed, 9);
    ck_assert_int_le(passed, 11 + (int) ((harness_now() - since) / 100));
    ck_assert_uint_eq(fake_requests(fake), 1 + passed);
    gateway_await_access("decision=LIMITED grpc=8");

    /* the session is not lost, and goes on */
    since = harness_now();

    while (echo_get(client, "s1")->grpc != 0) {
        harness_pause(since, "a call within the rate");
    }

    client_assert_refused(echo("s2"), 8, BUSY);
}
END_TEST


/* A repeated attempt is the same call. */
static void
die_first(fake_call_t *call)
{
    if (call->number == 1) {
        fake_goaway(call);
        fake_close(call);
        return;
    }

    fake_ok(call);
}


START_TEST(calls_rate_retry)
{
    (void) fake_start(8081, "one", die_first);
    gateway_start(CONF("myservice_calls rate=1r/m;\n", ""));

    client_assert(echo("s1"), 0, "");
    client_assert_refused(echo("s1"), 8, MANY);
}
END_TEST


/* first calls of one user that hang */

START_TEST(calls_tentative)
{
    fake_t         *fake;
    client_call_t  *call;

    fake = fake_start(8081, "one", hang);
    gateway_start(CONF("myservice_calls tentative=1;\n",
                       "myservice_jwt on;\n"
                       "myservice_jwt_secret_file %%DIR%%/secret;\n"));

    call = echo_start(open_client(), "s1");
    await_requests(fake, 1);
    client_assert_refused(echo("s2"), 8, MANY);
    client_assert_waits(call, 50);
    client_cancel(call);
}
END_TEST


/* headers without a message */

static void
message_test(const char *conf)
{
    fake_t         *fake;
    client_t       *client;
    client_call_t  *call;

    fake = fake_start(8081, "one", fake_ok);
    fake_early(fake);
    gateway_start(conf);
    client = open_client();

    /* cancelled at once: no instance gets them */
    call = headers_start(client, "s1");
    client_ping(client);
    client_wait_pongs(client, 1);
    client_cancel(call);

    /* its message comes a little later */
    call = headers_start(client, "s2");
    client_ping(client);
    client_wait_pongs(client, 2);
    ck_assert_uint_eq(fake_requests(fake), 0);
    client_send(call, message, 7, true);
    client_wait(call);
    client_assert(call, 0, "");
    ck_assert_uint_eq(fake_requests(fake), 1);

    /* of a session that has its instance: at once */
    call = headers_start(client, "s2");
    await_requests(fake, 2);
    client_wait(call);
    client_assert(call, 0, "");
}


START_TEST(calls_message)
{
    message_test(CONF("", ""));
}
END_TEST


START_TEST(calls_message_coalesced)
{
    message_test(CONF("", COALESCE));
}
END_TEST


/* A server may speak first. */
START_TEST(calls_server_first)
{
    fake_t         *fake;
    long long       since;
    client_call_t  *call;

    fake = fake_start(8081, "one", fake_ok);
    fake_early(fake);
    gateway_start(CONF("", ""));

    since = harness_now();
    call = headers_start(open_client(), "s1");
    client_wait(call);
    client_assert(call, 0, "");
    harness_lasted(since, 200);
    gateway_await_access("decision=NEW grpc=0");
}
END_TEST


static void
hang_first(fake_call_t *call)
{
    if (strcmp(call->session, "s1") != 0) {
        fake_ok(call);
    }
}


/* A session with a message takes the instance of one without. */
START_TEST(calls_message_takes)
{
    fake_t         *fake;
    client_call_t  *without;

    fake = fake_start(8081, "one", hang_first);
    fake_early(fake);
    gateway_start(CONF("", ""));

    without = headers_start(open_client(), "s1");
    await_requests(fake, 1);
    client_assert(echo("s2"), 0, "");
    client_assert_refused(echo("s3"), 8, BUSY);
    ck_assert(without->grpc != 0);
}
END_TEST


/* Its own message protects it. */
START_TEST(calls_message_keeps)
{
    fake_t         *fake;
    client_t       *client;
    client_call_t  *call;

    fake = fake_start(8081, "one", hang_first);
    fake_early(fake);
    gateway_start(CONF("", ""));
    client = open_client();

    call = headers_start(client, "s1");
    await_requests(fake, 1);
    client_send(call, message, 7, false);
    client_ping(client);
    client_wait_pongs(client, 1);
    client_assert_refused(echo("s2"), 8, BUSY);
    client_cancel(call);
}
END_TEST


/* Two hundred clients that send headers only and leave keep no client out. */
START_TEST(calls_message_flood)
{
    int             i;
    char            session[16];
    fake_t         *fake;
    client_t       *client;
    client_call_t  *calls[200];

    fake = fake_start(8081, "one", fake_ok);
    fake_early(fake);
    gateway_start(CONF("", COALESCE));
    client = open_client();

    for (i = 0; i < 200; i++) {
        snprintf(session, sizeof(session), "f%d", i);
        calls[i] = headers_start(client, session);

        if (i % 2) {
            client_cancel(calls[i]);
        }
    }

    client_assert(echo("good"), 0, "");

    for (i = 0; i < 200; i += 2) {
        client_cancel(calls[i]);
    }

    client_assert(echo("good"), 0, "");

    /* one that nobody cancelled for long may have come to the instance */

    ck_assert_uint_ge(fake_requests(fake), 2);
    ck_assert_uint_lt(fake_requests(fake), 50);
}
END_TEST


/* few connections */

START_TEST(calls_connections)
{
    unsigned        i, refused;
    fake_t         *fake;
    client_t       *client;
    long long       since;
    client_call_t  *calls[100];

    fake = fake_start(8081, "one", hang_later);
    gateway_start(CONF("", "error_log %%DIR%%/error.log info;\n"));
    client_assert(echo("s1"), 0, "");
    client = open_client();

    for (i = 0; i < 100; i++) {
        calls[i] = echo_start(client, "s1");
    }

    since = harness_now();

    do {
        client_poll(10);
        refused = 0;

        for (i = 0; i < 100; i++) {
            refused += calls[i]->done;
        }

        harness_pause(since, "100 calls refused, or at the instance");

    } while (refused + fake_requests(fake) - 1 < 100);

    for (i = 0; i < 100; i++) {
        if (calls[i]->done) {
            client_assert_refused(calls[i], 8, FULL);
        }
    }

    ck_assert_uint_ge(refused, 50);
    ck_assert(gateway_logged("worker_connections are free: new calls are "
                             "refused"));

    /* the operator's server answers */
    ck_assert(status_has("\"session\":\"s1\""));
    since = harness_now();

    while (!gateway_logged("more lines like \"%ui of %ui worker_connections "
                           "are free: new calls are refused\" are left out"))
    {
        client_poll(10);
        harness_pause(since, "the count of lines that were left out");
    }

    for (i = 0; i < 100; i++) {
        if (!calls[i]->done) {
            client_cancel(calls[i]);
        }
    }

    /* no PING: nginx may have sent the client away, as connections were few */
    client_poll(10);
    client_close(client);
    ck_assert(status_has("\"session\":\"s1\""));
    gateway_stop();
}
END_TEST


/* configuration */

START_TEST(calls_conf)
{
    size_t       i;
    const char  *output;

    static const char *const  good[] = {
        CONF("myservice_calls max=1;\n", ""),
        CONF("myservice_calls rate=30r/m max=1000000;\n", ""),
        CONF("myservice_calls rate=1000000r/s;\n", ""),
        CONF("myservice_calls tentative=1 max=2 rate=3r/s;\n", "")
    };

    static const struct {
        const char  *conf;
        const char  *error;
    } bad[] = {
        { CONF("myservice_calls max=0;\n", ""),
          "invalid \"max=0\", expected 1-1000000" },
        { CONF("myservice_calls max=1000001;\n", ""),
          "invalid \"max=1000001\", expected 1-1000000" },
        { CONF("myservice_calls max=;\n", ""),
          "invalid \"max=\", expected 1-1000000" },
        { CONF("myservice_calls rate=10;\n", ""),
          "invalid \"rate=10\", expected 1-1000000 and \"r/s\" or \"r/m\"" },
        { CONF("myservice_calls rate=0r/s;\n", ""),
          "invalid \"rate=0r/s\", expected 1-1000000" },
        { CONF("myservice_calls rate=r/s;\n", ""),
          "invalid \"rate=r/s\", expected 1-1000000" },
        { CONF("myservice_calls rate=10r/h;\n", ""),
          "invalid \"rate=10r/h\", expected 1-1000000" },
        { CONF("myservice_calls max=1 max=2;\n", ""),
          "duplicate parameter \"max=2\"" },
        { CONF("myservice_calls tentative=0;\n", ""),
          "invalid \"tentative=0\", expected 1-1000000" },
        { CONF("myservice_calls burst=2;\n", ""),
          "invalid parameter \"burst=2\", expected one" },
        { CONF("myservice_calls max=1;\nmyservice_calls rate=1r/s;\n", ""),
          "\"myservice_calls\" directive is duplicate" },
        { CONF("", "myservice_calls max=1;\n"),
          "\"myservice_calls\" directive is not allowed here" },
        { "%%GLOBALS%%\nevents {}\nhttp { %%GLOBALS_HTTP%%\n"
          "upstream u { myservice_calls max=1; server 127.0.0.1:8081; }\n"
          "server { listen 127.0.0.1:8080; } }\n",
          "\"myservice_calls\" in upstream \"u\" has no effect without "
          "\"myservice_sessions\"" }
    };

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_msg(gateway_test(good[i], &output) == 0, "%s", output);
    }

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

    suite = suite_create("calls");

    harness_add(suite, calls_max);
    harness_add(suite, calls_max_again);
    harness_add(suite, calls_max_resumed);
    harness_add(suite, calls_rate);
    harness_add(suite, calls_rate_retry);
    harness_add(suite, calls_tentative);
    harness_add(suite, calls_message);
    harness_add(suite, calls_message_coalesced);
    harness_add(suite, calls_server_first);
    harness_add(suite, calls_message_takes);
    harness_add(suite, calls_message_keeps);
    harness_add(suite, calls_message_flood);

    /* an instance that takes 50 connections */

    if (gateway_keeps()) {
        harness_add(suite, calls_connections);
    }

    harness_add(suite, calls_conf);

    return harness_run(suite, "test_calls");
}
