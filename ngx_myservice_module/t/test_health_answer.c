/*
 * What a probe accepts: all that HTTP/2, gRPC and protobuf allow; an instance
 * that serves is not down for the form of its answer.
 */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
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
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_health interval=100ms timeout=3s fails=1 mandatory;\n" \
    "        server 127.0.0.1:8081;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "    }\n"                                                                 \
    "}\n"

#define CHECK         "/grpc.health.v1.Health/Check"

#define PRIORITY      2
#define PADDED        0x08
#define PRIORITIZED   0x20

/* fields without indexing; 0x88 is ":status: 200" */
#define STATUS_103   "\x08\x03" "103"
#define STATUS_200   "\x88"
#define TYPE         "\0\x0c" "content-type" "\x10" "application/grpc"
#define GRPC_OK      "\0\x0b" "grpc-status" "\x01" "0"
#define SERVING      "\0\0\0\0\2\x08\1"

#define frame(call, type, flags, bytes)                                       \
    fake_frame((call)->conn, type, flags, (call)->stream, bytes,              \
               sizeof(bytes) - 1)

#define connection_frame(call, type, flags, bytes)                            \
    fake_frame((call)->conn, type, flags, 0, bytes, sizeof(bytes) - 1)


static void
head(fake_call_t *call)
{
    frame(call, HEADERS, END_HEADERS, STATUS_200 TYPE);
}


static void
tail(fake_call_t *call)
{
    frame(call, HEADERS, END_HEADERS | END_STREAM, GRPC_OK);
}


static void
fields(fake_call_t *call)
{
    head(call);
    frame(call, DATA, 0, "\0\0\0\0\x1c"
          "\x12\3abc" "\x18\x96\1" "\x21" "12345678" "\x2d" "1234"
          "\x33\x08\2\x34" "\x08\1");
    tail(call);
}


static void
long_field(fake_call_t *call)
{
    char  message[5 + 2 + 3 + 1000];

    memset(message, 'x', sizeof(message));
    memcpy(message, "\0\0\0\3\xed\x08\1\x12\xe8\7", 10);

    head(call);
    fake_frame(call->conn, DATA, 0, call->stream, message, sizeof(message));
    tail(call);
}


static void
interim(fake_call_t *call)
{
    frame(call, HEADERS, END_HEADERS, STATUS_103);
    frame(call, HEADERS, END_HEADERS, STATUS_103
          "\0\x0a" "session-id" "\x01" "x");
    fake_health(call, 1);
}


static void
padded(fake_call_t *call)
{
    frame(call, HEADERS, END_HEADERS | PADDED | PRIORITIZED,
          "\2\0\0\0\0\x0f" STATUS_200 TYPE "\0\0");
    frame(call, DATA, PADDED, "\3" SERVING "\0\0\0");
    frame(call, HEADERS, END_HEADERS | END_STREAM | PADDED,
          "\1" GRPC_OK "\0");
}


static void
continued(fake_call_t *call)
{
    frame(call, HEADERS, 0, STATUS_200);
    frame(call, CONTINUATION, 0, "\0\x0c" "content");
    frame(call, CONTINUATION, END_HEADERS, "-type" "\x10" "application/grpc");
    frame(call, DATA, 0, "\0\0");
    frame(call, DATA, 0, "");
    frame(call, DATA, 0, "\0\0\2\x08\1");
    frame(call, HEADERS, END_STREAM, "\0\x0b" "grpc-");
    frame(call, CONTINUATION, END_HEADERS, "status" "\x01" "0");
}


static void
other_frames(fake_call_t *call)
{
    connection_frame(call, PING, 0, "12345678");
    connection_frame(call, SETTINGS, 0, "\0\3\0\0\0\1");
    connection_frame(call, 0xbe, 0, "anything");
    frame(call, PRIORITY, 0, "\0\0\0\0\x0f");
    head(call);
    frame(call, 0xbf, 0xff, "anything");
    connection_frame(call, WINDOW_UPDATE, 0, "\0\0\1\0");
    connection_frame(call, GOAWAY, 0, "\0\0\0\1\0\0\0\0");
    frame(call, DATA, 0, SERVING);
    connection_frame(call, PING, 0, "12345678");
    tail(call);
}


static void
reset_behind(fake_call_t *call)
{
    head(call);
    frame(call, DATA, 0, SERVING);
    frame(call, HEADERS, END_HEADERS, GRPC_OK);
    fake_reset(call, 8);
}


static void
header_fields(fake_call_t *call)
{
    frame(call, HEADERS, END_HEADERS, STATUS_200 TYPE
          "\0\x0e" "content-length" "\x01" "0"
          "\0\x0a" "connection" "\x05" "close"
          "\0\x01" "X" "\x01" "y");
    frame(call, DATA, 0, SERVING);
    tail(call);
}


/* a compressed answer, which the gateway cannot read */
static void
compressed(fake_call_t *call)
{
    head(call);
    frame(call, DATA, 0, "\1\0\0\0\3xyz");
    tail(call);
}


static void
serving(fake_call_t *call)
{
    fake_health(call, 1);
}


static void
broken(fake_call_t *call)
{
    head(call);
    frame(call, DATA, 0, "\0\0\0\0\3\x08\1");
    tail(call);
}


static void
wrong_status(fake_call_t *call)
{
    frame(call, HEADERS, END_HEADERS | END_STREAM, "\x8d" TYPE);
}


static void
last_word(fake_call_t *call)
{
    head(call);
    frame(call, DATA, 0, "\0\0\0\0\6\x08\1\x12\0\x08\2");
    tail(call);
}


typedef struct {
    fake_answer_pt   answer;
    const char      *reason;            /* NULL: it is up */
} case_t;

static const case_t  cases[] = {
    { fields, NULL },
    { long_field, NULL },
    { interim, NULL },
    { padded, NULL },
    { continued, NULL },
    { other_frames, NULL },
    { reset_behind, NULL },
    { header_fields, NULL },
    { compressed, NULL },

    /* negative controls */
    { broken, "malformed answer" },
    { wrong_status, "http status 404" },
    { last_word, "not serving" }
};


static atomic_int  chosen;
static atomic_uint answered;


static void
answer(fake_call_t *call)
{
    int  n;

    if (strcmp(call->path, CHECK) != 0) {
        fake_ok(call);
        return;
    }

    n = atomic_load(&chosen);

    if (n < 0) {
        serving(call);
        return;
    }

    cases[n].answer(call);
    atomic_fetch_add(&answered, 1);
}


static void
await_logged(const char *text, unsigned n)
{
    char       *log, *p;
    unsigned    found;
    long long   since;

    since = harness_now();

    for ( ;; ) {
        log = harness_read("error.log");

        for (found = 0, p = log; (p = strstr(p, text)) != NULL; p++) {
            found++;
        }

        free(log);

        if (found >= n) {
            return;
        }

        harness_pause(since, text);
    }
}


static void
await_checks(unsigned more)
{
    unsigned   n;
    long long  since;

    n = atomic_load(&answered) + more;
    since = harness_now();

    while (atomic_load(&answered) < n) {
        harness_pause(since, "health checks");
    }
}


START_TEST(answers)
{
    size_t          i;
    unsigned        ups;
    char            text[64];
    client_call_t  *call;

    (void) fake_start(8081, "one", answer);
    atomic_store(&chosen, -1);
    gateway_start(CONF);
    ups = 1;
    await_logged("is up", ups);

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        atomic_store(&chosen, (int) i);

        if (cases[i].reason == NULL) {
            await_checks(3);
            ck_assert_msg(!gateway_logged("is down"), "case %zu", i);
            call = echo_get(client_open(harness_port(8080)), "s1");
            client_assert(call, 0, "");
            continue;
        }

        snprintf(text, sizeof(text), "is down: %s", cases[i].reason);
        await_logged(text, 1);

        atomic_store(&chosen, -1);
        await_logged("is up", ++ups);
    }
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("health answer");

    harness_add(suite, answers);

    return harness_run(suite, argv[0]);
}
