/*
 * Time limits: the client's grpc-timeout for the whole call,
 * myservice_retry_timeout for one attempt.
 */

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"


#define CONF(upstream, directives)                                            \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format d 'decision=$myservice_decision '\n"                      \
    "                 'grpc=$myservice_grpc_status';\n"                       \
    "    access_log %%DIR%%/access.log d;\n"                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    upstream                                                                  \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / {\n"                                                  \
    directives                                                                \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "        location = /my_service.MyServiceAPI/MyServiceShutdown {\n"       \
    "            grpc_pass grpcs://u;\n"                                      \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define ONE       "server 127.0.0.1:8081;\n"
#define TWO       ONE "server 127.0.0.1:8082;\n"
#define RETRY     "myservice_retry MyServiceEcho;\n"
#define RESUME    "myservice_resume MyServiceSubscribe;\n"
#define EXCEEDED  "deadline exceeded"


static void
silent(fake_call_t *call)
{
    (void) call;
}


/* answers when the test says so */
static fake_call_t  kept;


static void
keep(fake_call_t *call)
{
    kept = *call;
}


static void
silent_first(fake_call_t *call)
{
    if (call->number > 1) {
        fake_ok(call);
    }
}


static void
silent_stream(fake_call_t *call)
{
    fake_headers(call);
    fake_message(call, 0);
    fake_half_message(call);
}


/* A call of s1 with that grpc-timeout. */
static client_call_t *
call_start(const char *path, const char *timeout)
{
    client_header_t  headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", "s1" },
        { timeout != NULL ? "grpc-timeout" : NULL, timeout },
        { NULL, NULL }
    };

    return client_request(client_open(harness_port(8080)), path, headers,
                          "\0\0\0\0", 5, false);
}


static client_call_t *
call_get(const char *path, const char *timeout)
{
    client_call_t  *call;

    call = call_start(path, timeout);
    client_wait(call);

    return call;
}


/* Serves all until the instance has seen "n" requests: a call may be over
 * before. */
static void
await_requests(fake_t *fake, unsigned n)
{
    long long  since;

    since = harness_now();

    while (fake_requests(fake) < n) {
        client_poll(10);
        harness_pause(since, "requests at the instance");
    }

    ck_assert_uint_eq(fake_requests(fake), n);
}


/* It ends in time, the instance has not failed, and keeps its session. */
START_TEST(deadline_silent)
{
    fake_t     *fake;
    long long   start;

    fake = fake_start(8081, "one", silent_first);
    gateway_start(CONF(ONE, RETRY));

    start = harness_now();
    client_assert_refused(call_get(ECHO, "1500m"), 4, EXCEEDED);
    harness_lasted(start, 1500);
    harness_within(start, 2000);
    await_requests(fake, 1);

    client_assert(call_get(ECHO, "20S"), 0, "");
    client_assert(call_get(ECHO, NULL), 0, "");
    gateway_await_access("decision=HIT grpc=0");
    ck_assert(!gateway_logged("failed"));
    ck_assert(!gateway_logged("[error]"));
    ck_assert(gateway_logged("the client's deadline has passed"));
}
END_TEST


/* without the header it is grpc_read_timeout, as for a malformed one */
START_TEST(deadline_none)
{
    size_t  i;

    static const char *const  timeouts[] = {
        NULL, "soon", "100", "100000000m", "-1m", "100ms"
    };

    (void) fake_start(8081, "one", silent);
    gateway_start(CONF(ONE, "grpc_read_timeout 700ms;\n"));

    for (i = 0; i < sizeof(timeouts) / sizeof(timeouts[0]); i++) {
        client_assert_refused(call_get(ECHO, timeouts[i]), 4, EXCEEDED);
    }

    ck_assert(!gateway_logged("the client's deadline"));
    ck_assert(gateway_logged("upstream timed out"));
}
END_TEST


START_TEST(deadline_passed)
{
    fake_t  *fake;

    fake = fake_start(8081, "one", fake_ok);
    gateway_start(CONF(ONE, ""));

    client_assert_refused(call_get(ECHO, "0m"), 4, EXCEEDED);
    ck_assert_uint_eq(fake_requests(fake), 0);
    client_assert(call_get(ECHO, "5S"), 0, "");
}
END_TEST


/* a stream ends with trailers, and is not taken up by another instance */
START_TEST(deadline_stream)
{
    fake_t         *one, *two;
    client_call_t  *call;

    one = fake_start(8081, "one", silent_stream);
    two = fake_start(8082, "two", silent_stream);
    gateway_start(CONF(TWO, RESUME));

    call = call_get(SUBSCRIBE, "2S");
    client_assert(call, 4, EXCEEDED);
    ck_assert_uint_eq(client_messages(call), 1);
    ck_assert_uint_eq(fake_requests(one) + fake_requests(two), 1);
    ck_assert(!gateway_logged("failed"));
    ck_assert(!gateway_logged("[error]"));
}
END_TEST


/* whatever the configuration says of nginx's own errors */
START_TEST(deadline_stream_off)
{
    client_call_t  *call;

    (void) fake_start(8081, "one", silent_stream);
    gateway_start(CONF(ONE, "myservice_grpc_errors off;\n"));

    call = call_get(SUBSCRIBE, "2S");
    client_assert(call, 4, EXCEEDED);
    ck_assert_uint_eq(client_messages(call), 1);
}
END_TEST


static void
break_first(fake_call_t *call)
{
    silent_stream(call);

    if (call->number == 1) {
        fake_close(call);
    }
}


/* so does a stream that was resumed before */
START_TEST(deadline_resumed)
{
    fake_t         *one;
    client_call_t  *call;

    one = fake_start(8081, "one", break_first);
    gateway_start(CONF("server 127.0.0.1:8081 fail_timeout=0;\n", RESUME));

    call = call_get(SUBSCRIBE, "3S");
    client_assert(call, 4, EXCEEDED);
    ck_assert_uint_eq(client_messages(call), 2);
    ck_assert_uint_eq(fake_requests(one), 2);
}
END_TEST


/* no server speaks HTTP/2 or TLS there */
START_TEST(deadline_handshake)
{
    int                 s;
    struct sockaddr_in  addr = { .sin_family = AF_INET };

    s = socket(AF_INET, SOCK_STREAM, 0);
    addr.sin_port = htons((uint16_t) harness_port(8081));
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(s, (struct sockaddr *) &addr, sizeof(addr)), 0);
    ck_assert_int_eq(listen(s, 16), 0);
    gateway_start(CONF(ONE, ""));

    client_assert_refused(call_get(ECHO, "300m"), 4, EXCEEDED);
    client_assert_refused(call_get(SHUTDOWN, "300m"), 4, EXCEEDED);
    ck_assert(!gateway_logged("failed"));
    ck_assert(!gateway_logged("[error]"));
}
END_TEST


/* no attempt is started after it */
START_TEST(deadline_retries)
{
    fake_t  *one, *two;

    one = fake_start(8081, "one", silent);
    two = fake_start(8082, "two", silent);
    gateway_start(CONF(TWO, RETRY "myservice_retry_timeout 2s;\n"));

    client_assert_refused(call_get(ECHO, "3500m"), 4, EXCEEDED);
    await_requests(one, 1);
    await_requests(two, 1);
    gateway_await_access("grpc=4");
}
END_TEST


/* the wait for the first round of checks counts */
START_TEST(deadline_cold)
{
    fake_t     *fake;
    long long   start;

    fake = fake_start(8081, "one", silent);
    gateway_start(CONF("myservice_health timeout=10s;\n" ONE, ""));

    start = harness_now();
    client_assert_refused(call_get(ECHO, "300m"), 4, EXCEEDED);
    harness_within(start, 1000);
    ck_assert_uint_le(fake_requests(fake), 1);
}
END_TEST


/* a call of a listed method leaves an instance that does not answer */
START_TEST(retry_timeout)
{
    fake_t         *one, *two;
    client_call_t  *call;

    one = fake_start(8081, "one", silent_first);
    two = fake_start(8082, "two", silent_first);
    gateway_start(CONF(TWO, RETRY "myservice_retry_timeout 300ms;\n"));

    /* both do not answer once: the second attempt fails, too */
    call = call_get(ECHO, NULL);
    client_assert_refused(call, 14, "backend service unavailable");
    await_requests(one, 1);
    await_requests(two, 1);
    ck_assert(gateway_logged("answer is late: \"myservice_retry"));

    client_assert(call_get(ECHO, NULL), 0, "");
}
END_TEST


START_TEST(retry_timeout_moves)
{
    fake_t         *one;
    client_call_t  *call;

    one = fake_start(8081, "one", silent);
    gateway_start(CONF(ONE, RETRY "myservice_retry_timeout 300ms;\n"));
    client_assert_refused(call_get(ECHO, NULL), 14,
                          "backend service unavailable");
    await_requests(one, 1);

    (void) fake_start(8082, "two", fake_ok);
    gateway_reload(CONF(TWO, RETRY "myservice_retry_timeout 300ms;\n"));
    call = call_get(ECHO, NULL);
    client_assert(call, 0, "");
    ck_assert_str_eq(client_pod(call, 0), "two");
}
END_TEST


/* other methods wait, and a stream that has begun may send nothing */
START_TEST(retry_timeout_others)
{
    fake_t         *one;
    client_call_t  *call, *stream;

    one = fake_start(8081, "one", silent_stream);
    gateway_start(CONF(ONE, "myservice_retry MyServiceSubscribe;\n"
                            "myservice_retry_timeout 200ms;\n"));

    stream = call_start(SUBSCRIBE, NULL);
    client_wait_messages(stream, 1);
    call = call_get(SUBSCRIBE, "1S");
    client_assert(call, 4, EXCEEDED);
    ck_assert(!stream->done);
    await_requests(one, 2);
    ck_assert(!gateway_logged("answer is late"));
}
END_TEST


/* the second attempt has a limit of its own, not the rest of the first one's,
 * also if it would end behind the deadline */
START_TEST(retry_timeout_deadline)
{
    fake_t         *one;
    long long       since;
    client_call_t  *call;

    one = fake_start(8081, "one", keep);
    gateway_start(CONF(ONE, RETRY "myservice_retry_timeout 6s;\n"));
    call = call_start(ECHO, "9S");
    since = harness_now();
    await_requests(one, 1);
    client_assert_waits(call, 3300);
    fake_abort(one);
    await_requests(one, 2);

    client_assert_waits(call, 6300 - (harness_now() - since));
    fake_ok(&kept);
    client_wait(call);
    client_assert(call, 0, "");
    ck_assert(!gateway_logged("answer is late"));
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("deadline");
    harness_add(suite, deadline_silent);
    harness_add(suite, deadline_none);
    harness_add(suite, deadline_passed);
    harness_add(suite, deadline_stream);
    harness_add(suite, deadline_stream_off);
    harness_add(suite, deadline_resumed);
    harness_add(suite, deadline_handshake);
    harness_add(suite, deadline_retries);
    harness_add(suite, deadline_cold);
    harness_add(suite, retry_timeout);
    harness_add(suite, retry_timeout_moves);
    harness_add(suite, retry_timeout_others);
    harness_add(suite, retry_timeout_deadline);

    return harness_run(suite, "test_deadline");
}
