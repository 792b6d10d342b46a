/*
 * What a resumed stream costs and how it ends.  The gateway does not call an
 * instance that always breaks off as fast as it can; a stream that waits ends
 * with its client; the trailers are those of the last answer.
 */

#include <stdatomic.h>
#include <string.h>

#include "client.h"
#include "fake_conn.h"
#include "gateway.h"
#include "harness.h"


#define CONF                                                                  \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format answer 'status=$status grpc=$myservice_grpc_status';\n"   \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        server 127.0.0.1:8081;\n"                                        \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log answer;\n"                         \
    "        location / {\n"                                                  \
    "            myservice_resume MyServiceSubscribe;\n"                      \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define FIELDS  8

typedef struct {
    const char  *header[FIELDS][2];
    int          messages;              /* -1: the header ends the stream */
    const char  *trailers[FIELDS][2];   /* none: the stream breaks off */
} part_t;

#define OK      { ":status", "200" }
#define GRPC    { "content-type", "application/grpc" }
#define GZIP    { "grpc-encoding", "gzip" }
#define CUSTOM  { "x-custom", "1" }

static const part_t  broken = { { OK, GRPC }, 1, { { NULL } } };


static const part_t  *first = &broken;
static const part_t  *next;             /* NULL: always the first */
static atomic_uint    served;


static void
give(fake_call_t *call)
{
    int     i;
    part_t  part;

    /* a copy: the test may be over when the last part of it is sent */

    part = atomic_fetch_add(&served, 1) > 0 && next != NULL ? *next : *first;

    fake_block(call, END_HEADERS | (part.messages < 0 ? END_STREAM : 0),
               part.header);

    for (i = 0; i < part.messages; i++) {
        fake_message(call, i);
    }

    if (part.trailers[0][0] != NULL) {
        fake_block(call, END_HEADERS | END_STREAM, part.trailers);

    } else if (part.messages >= 0) {
        fake_reset(call, 2);
    }
}


static client_call_t *
subscribe(const char *timeout)
{
    client_header_t  headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", "s1" },
        { timeout ? "grpc-timeout" : NULL, timeout },
        { NULL, NULL }
    };

    return client_request(client_open(harness_port(8080)), SUBSCRIBE, headers,
                          "\0\0\0\0", 5, false);
}


/* waits until the instance has got "n" requests */
static void
await_served(client_call_t *call, unsigned n)
{
    long long  since;

    since = harness_now();

    while (atomic_load(&served) < n) {
        client_poll(10);
        ck_assert(!call->done);
        harness_pause(since, "the stream is resumed");
    }
}


/* with a message each time: today's hardware would do thousands */
START_TEST(resume_slows_down)
{
    long long       since;
    client_call_t  *call;

    (void) fake_start(8081, "one", give);
    gateway_start(CONF);
    call = subscribe(NULL);
    since = harness_now();
    await_served(call, 7);

    /* at once, then the half of 50, 100, 200, 400 and 800 at least */
    harness_lasted(since, 775);
    ck_assert_uint_le(atomic_load(&served), 50);
    client_cancel(call);
    client_close(call->client);
}
END_TEST


/* a client that leaves is noticed in the wait */
START_TEST(resume_cancelled)
{
    unsigned        n;
    client_call_t  *call;

    (void) fake_start(8081, "one", give);
    gateway_start(CONF);
    call = subscribe(NULL);
    await_served(call, 6);
    n = atomic_load(&served);
    client_cancel(call);
    gateway_await_access("status=");
    ck_assert_uint_eq(atomic_load(&served), n);

    /* the instance is free for another call of the session at once */
    next = &(part_t) { { OK, GRPC }, 1, { { "grpc-status", "0" } } };
    client_assert(echo_get(client_open(harness_port(8080)), "s1"), 0, "");
    client_assert(shutdown_get(client_open(harness_port(8080)), "s1"), 0, "");
}
END_TEST


START_TEST(resume_deadline)
{
    long long       since;
    client_call_t  *call;

    (void) fake_start(8081, "one", give);
    gateway_start(CONF);
    since = harness_now();
    call = subscribe("1000m");
    client_wait(call);
    client_assert(call, 4, "deadline exceeded");
    harness_lasted(since, 1000);
    ck_assert_uint_eq(call->headers, 2);
    gateway_await_access("status=200 grpc=4");
}
END_TEST


/* a stream that waits goes on in its old worker */
START_TEST(resume_reload)
{
    client_call_t  *call;

    (void) fake_start(8081, "one", give);
    gateway_start(CONF);
    call = subscribe(NULL);
    await_served(call, 6);
    gateway_reload(NULL);
    next = &(part_t) { { OK, GRPC }, 1, { { "grpc-status", "0" } } };
    client_wait(call);
    client_assert(call, 0, "");
    gateway_await_workers(1);
}
END_TEST


static void
ends(const part_t *one, const part_t *two, int code, const char *message)
{
    client_call_t  *call;

    first = one;
    next = two;
    (void) fake_start(8081, "one", give);
    gateway_start(CONF);
    call = subscribe(NULL);
    client_wait(call);
    client_assert(call, code, message);
    ck_assert_uint_eq(call->headers, 2);
    ck_assert_uint_eq(atomic_load(&served), 2);

    if (code == 5) {
        ck_assert(client_has(call, "x-custom: 1"));
        ck_assert(client_has(call, "grpc-status-details-bin: CAU"));
        ck_assert(strstr(call->fields, "content-length") == NULL);
    }
}


#define STATUS  { "grpc-status", "5" }, { "grpc-message", "of the instance" },\
                { "grpc-status-details-bin", "CAU" }, CUSTOM

START_TEST(resume_trailers)
{
    ends(&broken, &(part_t) { { OK, GRPC }, 1, { STATUS } }, 5,
         "of the instance");
}
END_TEST


START_TEST(resume_trailers_only)
{
    ends(&broken, &(part_t) { { OK, GRPC, STATUS }, -1, { { NULL } } }, 5,
         "of the instance");
}
END_TEST


START_TEST(resume_trailers_only_http)
{
    ends(&broken, &(part_t) { { { ":status", "503" }, GRPC, STATUS }, -1,
                              { { NULL } } }, 5, "of the instance");
}
END_TEST


START_TEST(resume_http_error)
{
    ends(&broken, &(part_t) { { { ":status", "403" },
                                { "content-type", "text/html" } }, 1,
                              { { "x-a", "b" } } }, 7, "forbidden");
}
END_TEST


START_TEST(resume_same_encoding)
{
    ends(&(part_t) { { OK, GRPC, GZIP }, 1, { { NULL } } },
         &(part_t) { { OK, { "content-type", "application/grpc+proto" },
                       GZIP }, 1, { STATUS } }, 5, "of the instance");
}
END_TEST


START_TEST(resume_no_encoding)
{
    ends(&(part_t) { { OK, GRPC, GZIP }, 1, { { NULL } } },
         &(part_t) { { OK, GRPC, { "grpc-encoding", "identity" } }, 1,
                     { STATUS } }, 5, "of the instance");
}
END_TEST


START_TEST(resume_other_encoding)
{
    ends(&broken, &(part_t) { { OK, GRPC, GZIP }, 1, { STATUS } }, 14,
         "the stream was resumed with another grpc-encoding");
}
END_TEST


START_TEST(resume_other_type)
{
    ends(&broken,
         &(part_t) { { OK, { "content-type", "application/grpc+json" } }, 1,
                     { STATUS } }, 14,
         "the stream was resumed with another content-type");
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("resume");

    harness_add(suite, resume_slows_down);
    harness_add(suite, resume_cancelled);
    harness_add(suite, resume_deadline);
    harness_add(suite, resume_reload);
    harness_add(suite, resume_trailers);
    harness_add(suite, resume_trailers_only);
    harness_add(suite, resume_trailers_only_http);
    harness_add(suite, resume_http_error);
    harness_add(suite, resume_same_encoding);
    harness_add(suite, resume_no_encoding);
    harness_add(suite, resume_other_encoding);
    harness_add(suite, resume_other_type);

    return harness_run(suite, argv[0]);
}
