/*
 * Streams whose instance fails in the middle: the client gets trailers instead
 * of a reset, and a listed method goes on at the session's next instance.
 */

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/messages.h"
#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "instance.h"
#include "token.h"


#define CONF(servers, directives)                                             \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format stream 'decision=$myservice_decision '\n"                 \
    "        'grpc=$myservice_grpc_status uri=$uri';\n"                       \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    servers                                                                   \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log stream;\n"                         \
    "        location / {\n"                                                  \
    directives                                                                \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define ONE          "server 127.0.0.1:8081;\n"
#define TWO          ONE "server 127.0.0.1:8082;\n"
#define RESUME       "myservice_resume MyServiceSubscribe;\n"

#define OFF          "myservice_grpc_errors off;\n"

#define UNAVAILABLE  "backend service unavailable"


/* what happens to requests at all fakes after two messages */
typedef enum {
    WELL = 0,
    CLOSE,
    RESET,
    GO_AWAY,
    HALF_MESSAGE
} fault_t;

static fault_t      faults[32];
static unsigned     messages = 2;       /* before the fault */
static atomic_uint  served;


static void
play(fake_call_t *call)
{
    unsigned  i, n;

    n = atomic_fetch_add(&served, 1);
    fake_headers(call);

    for (i = 0; i < messages; i++) {
        fake_message(call, (int) i);
    }

    switch (n < 32 ? faults[n] : WELL) {

    case WELL:
        fake_trailers(call, 0, "");
        break;

    case CLOSE:
        fake_close(call);
        break;

    case RESET:
        fake_reset(call, 2);
        break;

    case GO_AWAY:
        fake_goaway(call);
        fake_close(call);
        break;

    case HALF_MESSAGE:
        fake_half_message(call);
        fake_close(call);
        break;
    }
}


static client_call_t *
subscribe(const char *path)
{
    client_call_t  *call;

    call = client_grpc(client_open(harness_port(8080)), path,
                       token_make("s1", 60), "s1", "", 0);
    client_wait(call);

    return call;
}


/* The length of the complete messages, without a part of one after them. */
static size_t
whole(const client_call_t *call)
{
    size_t  at, n;

    for (at = 0; call->len - at >= 5; at += n) {
        n = MS_MESSAGE_PREFIX + (size_t) ms_message_length(call->body + at);

        if (n > call->len - at) {
            break;
        }
    }

    return at;
}


static void
ends_with_trailers(fault_t fault, const char *conf)
{
    client_call_t  *call;

    faults[0] = fault;
    (void) fake_start(8081, "one", play);
    gateway_start(conf);

    call = subscribe(SUBSCRIBE);
    client_assert(call, 14, UNAVAILABLE);
    ck_assert_uint_eq(client_messages(call), 2);
    ck_assert_uint_eq(call->headers, 2);
    ck_assert_uint_eq(atomic_load(&served), 1);
}


START_TEST(stream_closed)
{
    ends_with_trailers(CLOSE, CONF(ONE, ""));
}
END_TEST


START_TEST(stream_reset)
{
    ends_with_trailers(RESET, CONF(ONE, ""));
}
END_TEST


START_TEST(stream_goaway)
{
    ends_with_trailers(GO_AWAY, CONF(ONE, ""));
}
END_TEST


START_TEST(stream_half_message)
{
    ends_with_trailers(HALF_MESSAGE, CONF(ONE, ""));
}
END_TEST


/* what nginx itself would say does not matter to a stream with a session */
START_TEST(stream_closed_off)
{
    ends_with_trailers(CLOSE, CONF(ONE, OFF));
}
END_TEST


START_TEST(stream_reset_off)
{
    ends_with_trailers(RESET, CONF(ONE, OFF));
}
END_TEST


/* an answer that broke after its header, whatever the method */
START_TEST(stream_not_listed)
{
    client_call_t  *call;

    faults[0] = CLOSE;
    (void) fake_start(8081, "one", play);
    (void) fake_start(8082, "two", play);
    gateway_start(CONF(TWO, RESUME));

    call = subscribe(ECHO);
    client_assert(call, 14, UNAVAILABLE);
    ck_assert_uint_eq(atomic_load(&served), 1);

    /* the call died, not the instance: the session's next one is there */
    client_assert(subscribe(ECHO), 0, "");
    gateway_await_access("decision=HIT grpc=0");
    ck_assert(!gateway_logged("instance failed"));
}
END_TEST


/* more than a buffer of the gateway takes */
static void
begin(fake_call_t *call)
{
    int  i;

    atomic_fetch_add(&served, 1);
    fake_headers(call);

    for (i = 0; i < 400; i++) {
        fake_message(call, i);
    }
}


/* The client's second message meets a connection that was reset; the gateway
 * has not heard of that: its buffer is full, as the client takes no more. */
static client_call_t *
write_fails(void)
{
    size_t           i;
    fake_t          *fakes[2];
    client_t        *client;
    long long        since;
    client_call_t   *call;
    client_header_t  headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", "s1" },
        { NULL, NULL }
    };

    fakes[0] = fake_start(8081, "one", begin);
    fakes[1] = fake_start(8082, "two", begin);

    for (i = 0; i < 2; i++) {
        fake_early(fakes[i]);
        fake_at_once(fakes[i]);
    }

    client = client_open(harness_port(8080));
    client_window(client, 1000);
    call = client_request(client, SUBSCRIBE, headers, "\0\0\0\0", 5, true);

    while (call->sent < 5) {
        client_poll(100);
    }

    client_pause(client, true);
    since = harness_now();

    while (atomic_load(&served) == 0) {
        harness_pause(since, "the call is at an instance");
    }

    client_await_still();

    for (i = 0; i < 2; i++) {
        fake_abort(fakes[i]);
    }

    client_send(call, "\0\0\0\0", 5, false);
    client_await_still();
    client_pause(client, false);
    client_window(client, 60000);
    client_wait(call);

    return call;
}


/* the instance has answered, so the call may have run: no other instance gets
 * it, listed or not */
START_TEST(stream_write_fails)
{
    client_call_t  *call;

    gateway_start(CONF(TWO, "grpc_buffer_size 4k;\n"
                            "myservice_retry MyServiceSubscribe;\n"));
    call = write_fails();
    client_assert(call, 14, UNAVAILABLE);
    ck_assert_uint_gt(client_messages(call), 20);
    ck_assert_uint_eq(call->headers, 2);
    ck_assert_uint_eq(atomic_load(&served), 1);
    ck_assert(gateway_logged("failed"));
}
END_TEST


/* the gateway tries its instance again */
static void
resumed(fault_t fault, const char *conf)
{
    client_call_t  *call;

    faults[0] = fault;
    (void) fake_start(8081, "one", play);
    (void) fake_start(8082, "two", play);
    gateway_start(conf);

    call = subscribe(SUBSCRIBE);
    client_assert(call, 0, "");
    ck_assert_uint_eq(client_messages(call), 4);
    ck_assert_uint_eq(whole(call), call->len);
    ck_assert_uint_eq(call->headers, 2);
    ck_assert_uint_eq(atomic_load(&served), 2);
    gateway_await_access("decision=HIT grpc=0");
    ck_assert(!gateway_logged("instance failed"));
}


START_TEST(resume_closed)
{
    resumed(CLOSE, CONF(TWO, RESUME));
}
END_TEST


START_TEST(resume_reset)
{
    resumed(RESET, CONF(TWO, RESUME));
}
END_TEST


START_TEST(resume_reset_off)
{
    resumed(RESET, CONF(TWO, RESUME OFF));
}
END_TEST


/* the client never sees a part of a message */
START_TEST(resume_half_message)
{
    resumed(HALF_MESSAGE, CONF(TWO, RESUME));
}
END_TEST


/* several times; a message in between starts the count again */
START_TEST(resume_chain)
{
    int             i;
    client_call_t  *call;

    for (i = 0; i < 9; i++) {
        faults[i] = i % 2 ? HALF_MESSAGE : RESET;
    }

    (void) fake_start(8081, "one", play);
    (void) fake_start(8082, "two", play);
    gateway_start(CONF(TWO, RESUME));

    call = subscribe(SUBSCRIBE);
    client_assert(call, 0, "");
    ck_assert_uint_eq(client_messages(call), 2 * 10);
    ck_assert_uint_eq(whole(call), call->len);
    ck_assert_uint_eq(call->headers, 2);
}
END_TEST


/* without any progress it ends */
START_TEST(resume_bounded)
{
    int             i;
    client_call_t  *call;

    messages = 0;

    for (i = 0; i < 32; i++) {
        faults[i] = RESET;
    }

    (void) fake_start(8081, "one", play);
    gateway_start(CONF(ONE, RESUME));

    call = subscribe(SUBSCRIBE);
    client_assert(call, 14,
                  "the stream broke off eight times without a message");
    ck_assert_uint_eq(call->headers, 2);
    ck_assert_uint_eq(atomic_load(&served), 9);
}
END_TEST


/* no instance is left: one header, whole messages, the error in trailers */
START_TEST(resume_nobody_left)
{
    client_call_t  *call;

    faults[0] = HALF_MESSAGE;
    (void) fake_start(8081, "one", play);
    gateway_start(CONF(TWO, RESUME "grpc_connect_timeout 1s;\n"));

    /* the first attempt may have gone to the one that is not there */
    call = subscribe(SUBSCRIBE);

    if (atomic_load(&served) == 1) {
        client_assert(call, 14, UNAVAILABLE);
        ck_assert_uint_eq(client_messages(call), 2);

    } else {
        client_assert(call, 0, "");
    }

    ck_assert_uint_eq(whole(call), call->len);
    ck_assert_uint_eq(call->headers, 2);
}
END_TEST


/* EchoRequest with a long value */
static client_call_t *
subscribe_large(size_t size)
{
    size_t          n, rest;
    uint8_t        *message;
    client_call_t  *call;

    message = malloc(size + 16);
    ck_assert_ptr_nonnull(message);
    n = 0;
    message[n++] = 0x0a;

    for (rest = size; rest > 0x7f; rest >>= 7) {
        message[n++] = (uint8_t) (rest | 0x80);
    }

    message[n++] = (uint8_t) rest;
    memset(message + n, 'x', size);
    call = client_grpc(client_open(harness_port(8080)), SUBSCRIBE,
                       token_make("s1", 60), "s1", message, n + size);
    free(message);

    return call;
}


/* messages longer than any buffer, real instances, kill -9 */
START_TEST(resume_large)
{
    int             i;
    char            pod[64];
    pid_t           pids[2];
    long long       since;
    client_call_t  *call;

    pids[0] = instance_start(8081, "one", "--subscribe-interval 20ms");
    pids[1] = instance_start(8082, "two", "--subscribe-interval 20ms");
    gateway_start(CONF(TWO, RESUME "myservice_replay_buffer 1m;\n"));

    call = subscribe_large(300000);
    client_wait_messages(call, 3);
    snprintf(pod, sizeof(pod), "%s", client_pod(call, 0));
    i = strcmp(pod, "one") == 0 ? 0 : 1;
    instance_signal(pids[i], SIGKILL);

    /* messages on their way are from the first instance, later ones from the
     * other */
    since = harness_now();

    while (strcmp(client_pod(call, client_messages(call) - 1), pod) == 0) {
        harness_pause(since, "nothing comes from the other");
        client_wait_messages(call, client_messages(call) + 1);
        ck_assert(!call->done);
    }

    ck_assert_uint_eq(call->headers, 1);
    client_cancel(call);
    client_close(call->client);
}
END_TEST


/* a message over the limit is passed on, and the stream only ends then */
START_TEST(resume_over_limit)
{
    int             i;
    pid_t           pids[2];
    client_call_t  *call;

    pids[0] = instance_start(8081, "one", "--subscribe-interval 20ms");
    pids[1] = instance_start(8082, "two", "--subscribe-interval 20ms");
    gateway_start(CONF(TWO, RESUME "myservice_replay_buffer 1m;\n"
                       "myservice_resume_buffer 64k;\n"));

    call = subscribe_large(300000);
    client_wait_messages(call, 3);
    i = strcmp(client_pod(call, 0), "one") == 0 ? 0 : 1;
    instance_signal(pids[i], SIGKILL);
    client_wait(call);
    client_assert(call, 14, UNAVAILABLE);
    ck_assert(gateway_logged("myservice_resume_buffer"));
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("stream");
    harness_add(suite, stream_closed);
    harness_add(suite, stream_reset);
    harness_add(suite, stream_goaway);
    harness_add(suite, stream_half_message);
    harness_add(suite, stream_closed_off);
    harness_add(suite, stream_reset_off);
    harness_add(suite, stream_not_listed);
    harness_add(suite, stream_write_fails);
    harness_add(suite, resume_closed);
    harness_add(suite, resume_reset);
    harness_add(suite, resume_reset_off);
    harness_add(suite, resume_half_message);
    harness_add(suite, resume_chain);
    harness_add(suite, resume_bounded);
    harness_add(suite, resume_nobody_left);
    harness_add(suite, resume_large);
    harness_add(suite, resume_over_limit);

    return harness_run(suite, "test_stream");
}
