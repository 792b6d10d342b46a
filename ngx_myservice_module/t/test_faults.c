/*
 * Answers that nginx cannot parse, or that are too big for it: the instance
 * lives and has run the call, so its session stays, nothing is repeated, and
 * the client learns what was wrong.
 */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake_conn.h"
#include "gateway.h"
#include "harness.h"
#include "token.h"


#define CONF(directives)                                                      \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format faults 'decision=$myservice_decision '\n"                 \
    "        'grpc=$myservice_grpc_status';\n"                                \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        server 127.0.0.1:8081;\n"                                        \
    "        server 127.0.0.1:8082;\n"                                        \
    "        server 127.0.0.1:8083;\n"                                        \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log faults;\n"                         \
    "        location / {\n"                                                  \
    directives                                                                \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define LISTED     "myservice_retry MyServiceEcho MyServiceSubscribe;\n"      \
                   "myservice_resume MyServiceSubscribe;\n"
#define MALFORMED  "malformed answer of the instance"
#define TOO_BIG    "header of the instance's answer is too big for "          \
                   "grpc_buffer_size"

/* RFC 9113 section 6 */
#define PUSH_PROMISE   5
#define PADDED         0x08

#define STATUS_200     "\x88"
#define TYPE           "\x00\x0c" "content-type\x10" "application/grpc"


typedef void (*fault_pt)(fake_call_t *call);

static fault_pt      fault;             /* of the next request, then none */
static atomic_uint   served;
static size_t        details;           /* bytes of the answer's metadata */


static void
play(fake_call_t *call)
{
    fault_pt  next;

    atomic_fetch_add(&served, 1);
    next = fault;
    fault = NULL;

    if (next != NULL) {
        next(call);

    } else {
        fake_ok(call);
    }
}


#define FRAME(call, type, flags, text)                                        \
    fake_frame((call)->conn, type, flags, (call)->stream, text,               \
               sizeof(text) - 1)


static void
hpack_index(fake_call_t *call)
{
    FRAME(call, HEADERS, END_HEADERS|END_STREAM, STATUS_200 "\xff\xff\x03");
}


/* a dynamic table that the gateway does not allow */
static void
hpack_dynamic(fake_call_t *call)
{
    FRAME(call, HEADERS, END_HEADERS, STATUS_200 TYPE "\xbe");
}


static void
hpack_huffman(fake_call_t *call)
{
    FRAME(call, HEADERS, END_HEADERS, STATUS_200 "\x00\x01" "a\x84\xff\xff\xff"
          "\xff");
}


static void
hpack_cut(fake_call_t *call)
{
    FRAME(call, HEADERS, END_HEADERS, STATUS_200 "\x00\x0c" "content");
}


static void
upper_case(fake_call_t *call)
{
    FRAME(call, HEADERS, END_HEADERS, STATUS_200 "\x00\x01" "A\x01" "b");
}


static void
frame_size(fake_call_t *call)
{
    static const uint8_t  zeros[17000];

    fake_frame(call->conn, HEADERS, END_HEADERS, call->stream, zeros,
                   sizeof(zeros));
}


static void
padding(fake_call_t *call)
{
    FRAME(call, HEADERS, END_HEADERS|PADDED, "\x20" STATUS_200);
}


static void
status_text(fake_call_t *call)
{
    FRAME(call, HEADERS, END_HEADERS, "\x08\x03" "abc" TYPE);
}


static void
status_short(fake_call_t *call)
{
    FRAME(call, HEADERS, END_HEADERS, "\x08\x02" "20" TYPE);
}


static void
status_twice(fake_call_t *call)
{
    FRAME(call, HEADERS, END_HEADERS, STATUS_200 STATUS_200 TYPE);
}


static void
status_missing(fake_call_t *call)
{
    FRAME(call, HEADERS, END_HEADERS, TYPE);
}


static void
fields_missing(fake_call_t *call)
{
    FRAME(call, HEADERS, END_HEADERS, "");
}


static void
pseudo_unknown(fake_call_t *call)
{
    FRAME(call, HEADERS, END_HEADERS, STATUS_200 "\x00\x05:path\x01/");
}


static void
headers_unfinished(fake_call_t *call)
{
    FRAME(call, HEADERS, 0, STATUS_200 TYPE);
    fake_message(call, 0);
}


static void
continuation_alone(fake_call_t *call)
{
    FRAME(call, CONTINUATION, END_HEADERS, STATUS_200 TYPE);
}


static void
data_first(fake_call_t *call)
{
    fake_message(call, 0);
    fake_headers(call);
}


static void
settings_of_stream(fake_call_t *call)
{
    FRAME(call, SETTINGS, 0, "");
}


static void
settings_size(fake_call_t *call)
{
    fake_frame(call->conn, SETTINGS, 0, 0, "12345", 5);
}


static void
goaway_of_stream(fake_call_t *call)
{
    FRAME(call, GOAWAY, 0, "\x7f\xff\xff\xff\0\0\0\0");
}


static void
goaway_size(fake_call_t *call)
{
    fake_frame(call->conn, GOAWAY, 0, 0, "1234", 4);
}


static void
ping_size(fake_call_t *call)
{
    fake_frame(call->conn, PING, 0, 0, "1234", 4);
}


static void
window_size(fake_call_t *call)
{
    FRAME(call, WINDOW_UPDATE, 0, "12");
}


static void
reset_of_connection(fake_call_t *call)
{
    fake_frame(call->conn, RST_STREAM, 0, 0, "\0\0\0\x08", 4);
}


static void
reset_size(fake_call_t *call)
{
    FRAME(call, RST_STREAM, 0, "\0\0");
}


static void
promise(fake_call_t *call)
{
    FRAME(call, PUSH_PROMISE, END_HEADERS, "\0\0\0\x02" STATUS_200);
}


static void
stream_unknown(fake_call_t *call)
{
    fake_frame(call->conn, HEADERS, END_HEADERS, call->stream + 2, STATUS_200,
                   1);
}


static void
headers_of_connection(fake_call_t *call)
{
    fake_frame(call->conn, HEADERS, END_HEADERS, 0, STATUS_200 TYPE,
               sizeof(STATUS_200 TYPE) - 1);
    fake_message(call, 0);
    fake_trailers(call, 0, "");
}


static void
data_of_connection(fake_call_t *call)
{
    fake_frame(call->conn, DATA, 0, 0, "\0\0\0\0\0", 5);
}


static void
http1(fake_call_t *call)
{
    static const char  answer[] = "HTTP/1.1 400 Bad Request\r\n"
                                  "Connection: close\r\n\r\n";

    fake_bytes(call, answer, sizeof(answer) - 1);
}


static const fault_pt  faults[] = {
    hpack_index, hpack_dynamic, hpack_huffman, hpack_cut, upper_case,
    frame_size, padding, status_text, status_short, status_twice,
    status_missing, fields_missing, pseudo_unknown, headers_unfinished,
    continuation_alone, data_first, settings_of_stream, settings_size,
    goaway_of_stream, goaway_size, ping_size, window_size,
    reset_of_connection, reset_size, promise, stream_unknown,
    headers_of_connection, data_of_connection, http1
};

#define FAULTS  (sizeof(faults) / sizeof(faults[0]))


/* after the header and a message that the client has */

static void
late_data_size(fake_call_t *call)
{
    static const uint8_t  zeros[17000];

    fake_headers(call);
    fake_message(call, 0);
    fake_frame(call->conn, DATA, 0, call->stream, zeros, sizeof(zeros));
}


static void
late_padding(fake_call_t *call)
{
    fake_headers(call);
    fake_message(call, 0);
    FRAME(call, DATA, PADDED, "\x20" "abc");
}


static void
late_trailer(fake_call_t *call)
{
    fake_headers(call);
    fake_message(call, 0);
    FRAME(call, HEADERS, END_HEADERS|END_STREAM, "\xff\xff\x03");
}


static void
late_promise(fake_call_t *call)
{
    fake_headers(call);
    fake_message(call, 0);
    promise(call);
}


static const fault_pt  late[] = {
    late_data_size, late_padding, late_trailer, late_promise
};

#define LATE  (sizeof(late) / sizeof(late[0]))


static fake_t    *fakes[3];
static client_t  *client;


static void
start(const char *conf)
{
    int  i;

    for (i = 0; i < 3; i++) {
        fakes[i] = fake_start(8081 + i, i == 0 ? "one"
                                        : i == 1 ? "two" : "three", play);
    }

    gateway_start(conf);
    client = client_open(harness_port(8080));
}


static client_call_t *
get(const char *path, const char *session)
{
    client_call_t  *call;

    call = client_grpc(client, path, token_make(session, 3600), session, "",
                       0);
    client_wait(call);

    return call;
}


static client_call_t *
get_fault(const char *path, const char *session, fault_pt next)
{
    unsigned        n;
    client_call_t  *call;

    n = atomic_load(&served);
    fault = next;
    call = get(path, session);

    ck_assert_uint_eq(atomic_load(&served), n + 1);

    return call;
}


/* all three serve as before, none is down */
static void
untouched(void)
{
    ck_assert(!gateway_logged("instance failed"));
    ck_assert(!harness_contains("access.log", "MOVED"));

    client_assert(get(ECHO, "n1"), 0, "");
    client_assert(get(ECHO, "n2"), 0, "");
    client_assert_refused(get(ECHO, "n3"), 8, "all instances are busy");
}


/* of a session that has its instance, and of one that is new */
static void
malformed(const char *conf)
{
    size_t          i;
    char            pod[64];
    client_call_t  *call;

    start(conf);
    call = get(ECHO, "s1");
    client_assert(call, 0, "");
    snprintf(pod, sizeof(pod), "%s", client_pod(call, 0));

    for (i = 0; i < FAULTS; i++) {
        client_assert_refused(get_fault(ECHO, "s1", faults[i]), 13,
                              MALFORMED);
        client_assert_refused(get_fault(SUBSCRIBE, "s2", faults[i]), 13,
                              MALFORMED);

        call = get(ECHO, "s1");
        client_assert(call, 0, "");
        ck_assert_str_eq(client_pod(call, 0), pod);
    }

    untouched();
}


START_TEST(faults_malformed)
{
    malformed(CONF(""));
}
END_TEST


START_TEST(faults_malformed_listed)
{
    malformed(CONF(LISTED));
}
END_TEST


/* the stream ends, and is not resumed */
static void
malformed_late(const char *conf)
{
    size_t          i;
    client_call_t  *call;

    start(conf);
    client_assert(get(ECHO, "s1"), 0, "");

    for (i = 0; i < LATE; i++) {
        call = get_fault(SUBSCRIBE, "s1", late[i]);
        client_assert(call, 13, MALFORMED);
        ck_assert_uint_eq(client_messages(call), 1);
    }

    untouched();
}


START_TEST(faults_malformed_late)
{
    malformed_late(CONF(""));
}
END_TEST


START_TEST(faults_malformed_late_listed)
{
    malformed_late(CONF(LISTED));
}
END_TEST


/* A header of "details" bytes of metadata, in as many frames as it takes. */
static void
write_big(fake_call_t *call, const char *status)
{
    char     *text;
    size_t    len, n;
    uint8_t  *block, *p, flags;

    text = malloc(details + 1);
    block = malloc(details + 512);
    ck_assert_ptr_nonnull(text);
    ck_assert_ptr_nonnull(block);
    memset(text, 'A', details);
    text[details] = '\0';

    p = block;
    *p++ = 0x88;
    p = fake_field(p, "content-type", "application/grpc");

    if (status != NULL) {
        p = fake_field(p, "grpc-status", status);
        p = fake_field(p, "grpc-message", "not%20this%25");
    }

    p = fake_field(p, "grpc-status-details-bin", text);

    if (status == NULL) {
        p = fake_field(p, "grpc-status", "3");
    }

    for (len = (size_t) (p - block), p = block; len > 0; p += n, len -= n) {
        n = len < 16384 ? len : 16384;
        flags = len == n ? END_HEADERS : 0;

        if (p == block) {
            flags |= END_STREAM;
        }

        fake_frame(call->conn, p == block ? HEADERS : CONTINUATION, flags,
                       call->stream, p, n);
    }

    free(block);
    free(text);
}


static void
big(fake_call_t *call)
{
    write_big(call, "3");
}


static void
big_before_status(fake_call_t *call)
{
    write_big(call, NULL);
}


static void
big_success(fake_call_t *call)
{
    write_big(call, "0");
}


static void
too_big(const char *conf)
{
    size_t  i;

    static const size_t       size[] = { 5000, 20000, 100000 };
    static const char *const  sessions[] = { "s1", "s2" };

    start(conf);
    client_assert(get(ECHO, "s1"), 0, "");

    for (i = 0; i < 6; i++) {
        details = size[i / 2];
        client_assert_refused(get_fault(ECHO, sessions[i % 2], big), 3,
                              "not this%25");
        client_assert_refused(get_fault(SUBSCRIBE, sessions[i % 2],
                                        big_before_status), 13, TOO_BIG);
        client_assert_refused(get_fault(ECHO, sessions[i % 2], big_success),
                              13, TOO_BIG);
    }

    ck_assert(gateway_logged("grpc_buffer_size"));
    untouched();
}


START_TEST(faults_too_big)
{
    too_big(CONF("grpc_buffer_size 4k;\n"));
}
END_TEST


START_TEST(faults_too_big_listed)
{
    too_big(CONF("grpc_buffer_size 4k;\n" LISTED));
}
END_TEST


/* the sizes in nginx.conf are enough for all that the services may send */
START_TEST(faults_big_enough)
{
    client_call_t  *call;

    start(CONF("grpc_buffer_size 32k;\n"));
    details = 16384;

    client_assert(get(ECHO, "s1"), 0, "");
    call = get_fault(ECHO, "s1", big);
    client_assert(call, 3, "not%20this%25");
    call = get_fault(ECHO, "s1", big_before_status);
    client_assert(call, 3, "");
    untouched();
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("faults");

    harness_add(suite, faults_malformed);
    harness_add(suite, faults_malformed_listed);
    harness_add(suite, faults_malformed_late);
    harness_add(suite, faults_malformed_late_listed);
    harness_add(suite, faults_too_big);
    harness_add(suite, faults_too_big_listed);
    harness_add(suite, faults_big_enough);

    return harness_run(suite, argv[0]);
}
