/*
 * What an instance may send, and that the client gets all of it: the instance's
 * own grpc-status, wherever it stands, with everything that belongs to it.
 */

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "client.h"
#include "fake_conn.h"
#include "gateway.h"
#include "harness.h"


/* over a balancer, where the method decides what is repeated, and without */
#define CONF                                                                  \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format answer '$http_x_case grpc=$myservice_grpc_status.';\n"    \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        server 127.0.0.1:8081;\n"                                        \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    upstream fresh {\n"                                                  \
    "        myservice_sessions $myservice_session zone=fresh:1m;\n"          \
    "        server 127.0.0.1:8081;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log answer;\n"                         \
    "        gzip on;\n"                                                      \
    "        gzip_types *;\n"                                                 \
    "        gzip_min_length 1;\n"                                            \
    "        expires 1h;\n"                                                   \
    "        add_header x-added y;\n"                                         \
    "        myservice_retry MyServiceEcho;\n"                                \
    "        myservice_resume MyServiceSubscribe;\n"                          \
    "        location / {\n"                                                  \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "        location /fresh.Service/ {\n"                                    \
    "            grpc_pass grpc://fresh;\n"                                   \
    "        }\n"                                                             \
    "        location /plain.Service/ {\n"                                    \
    "            grpc_pass grpc://127.0.0.1:8081;\n"                          \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define FIELDS  8

/* bytes that follow the answer in the same segment, or its first bytes */
typedef enum {
    NOTHING = 0,
    RESET_NO_ERROR,
    RESET_CANCEL,
    RESET_INTERNAL,
    GO_AWAY,                            /* which knows of the call */
    GO_AWAY_UNPROCESSED,                /* contradicts the answer */
    CLOSE,
    PRIORITY_FRAME,
    TRAILERS_AGAIN,
    DATA_FRAME,
    GARBAGE
} after_t;

typedef struct {
    const char  *name;
    const char  *header[FIELDS][2];
    int          messages;              /* -1: the header ends the stream */
    const char  *trailers[FIELDS][2];   /* none: END_STREAM is on DATA */
    int          code;
    const char  *message;
    const char  *fields[4];             /* headers that the client must get */
    int          got;                   /* messages */
} answer_case_t;

#define OK        { ":status", "200" }
#define GRPC      { "content-type", "application/grpc" }
#define STATUS(n) { "grpc-status", n }
#define TEXT      { "grpc-message", "of the instance" }
#define CUSTOM    { "x-custom", "1" }
#define DETAILS   { "grpc-status-details-bin", "CAU" }

static const answer_case_t  cases[] = {

    { "usual", { OK, GRPC }, 1, { STATUS("5"), TEXT, CUSTOM, DETAILS },
      5, "of the instance",
      { "x-custom: 1", "grpc-status-details-bin: CAU" }, 1 },

    { "success", { OK, GRPC }, 1, { STATUS("0"), CUSTOM }, 0, "",
      { "x-custom: 1" }, 1 },

    { "trailers-only", { OK, GRPC, STATUS("5"), TEXT, CUSTOM, DETAILS }, -1,
      { { NULL } }, 5, "of the instance",
      { "x-custom: 1", "grpc-status-details-bin: CAU" }, 0 },

    { "trailers-only with content-length 0",
      { OK, GRPC, { "content-length", "0" }, STATUS("5"), TEXT, CUSTOM }, -1,
      { { NULL } }, 5, "of the instance", { "x-custom: 1" }, 0 },

    { "trailers-only with a content-length",
      { OK, GRPC, { "content-length", "7" }, STATUS("5"), TEXT, CUSTOM }, -1,
      { { NULL } }, 5, "of the instance", { "x-custom: 1" }, 0 },

    { "content-length 0, status in trailers",
      { OK, GRPC, { "content-length", "0" } }, 0, { STATUS("5"), TEXT, CUSTOM },
      5, "of the instance", { "x-custom: 1" }, 0 },

    { "content-length 0 and a message",
      { OK, GRPC, { "content-length", "0" } }, 1, { STATUS("5"), TEXT }, 5,
      "of the instance", { NULL }, 1 },

    { "content-length too large",
      { OK, GRPC, { "content-length", "100000" } }, 1, { STATUS("5"), TEXT },
      5, "of the instance", { NULL }, 1 },

    { "content-length too small",
      { OK, GRPC, { "content-length", "3" } }, 2, { STATUS("0") }, 0, "",
      { NULL }, 2 },

    { "no message", { OK, GRPC }, 0, { STATUS("7"), TEXT }, 7,
      "of the instance", { NULL }, 0 },

    { "subtype", { OK, { "content-type", "application/grpc+proto" } }, 1,
      { STATUS("0") }, 0, "", { "content-type: application/grpc+proto" }, 1 },

    { "fields of the connection",
      { OK, GRPC, { "connection", "close" }, { "keep-alive", "timeout=5" },
        { "transfer-encoding", "chunked" }, { "upgrade", "h2c" },
        { "te", "trailers" } }, 1,
      { STATUS("5"), TEXT }, 5, "of the instance", { NULL }, 1 },

    { "fields that filters look at",
      { OK, GRPC, { "etag", "\"a\"" }, { "accept-ranges", "bytes" },
        { "last-modified", "Wed, 21 Oct 2015 07:28:00 GMT" },
        { "location", "/x" } }, 1,
      { STATUS("5"), TEXT }, 5, "of the instance", { NULL }, 1 },

    { "date and server twice",
      { OK, GRPC, { "date", "a" }, { "server", "b" }, { "date", "c" },
        { "server", "d" } }, 1, { STATUS("5"), TEXT }, 5, "of the instance",
      { NULL }, 1 },

    { "status in the header of a stream",
      { OK, GRPC, STATUS("5"), TEXT }, 1, { { NULL } }, 5, "of the instance",
      { NULL }, 1 },

    { "status in the header, other trailers",
      { OK, GRPC, STATUS("5"), TEXT, DETAILS }, 1, { CUSTOM }, 5,
      "of the instance",
      { "x-custom: 1", "grpc-status-details-bin: CAU" }, 1 },

    { "status in header and trailers",
      { OK, GRPC, STATUS("0") }, 1, { STATUS("5"), TEXT }, 5,
      "of the instance", { NULL }, 1 },

    { "interim",
      { { ":status", "103" }, { "link", "a" } }, 1, { STATUS("5"), TEXT }, 5,
      "of the instance", { NULL }, 1 },

    { "HTTP 503, trailers-only",
      { { ":status", "503" }, GRPC, STATUS("5"), TEXT, CUSTOM }, -1,
      { { NULL } }, 5, "of the instance", { "x-custom: 1" }, 0 },

    { "HTTP 503, status in trailers",
      { { ":status", "503" }, GRPC }, 0, { STATUS("5"), TEXT, CUSTOM }, 5,
      "of the instance", { "x-custom: 1" }, 0 },

    { "HTTP 404, no content-type",
      { { ":status", "404" } }, 0, { STATUS("5"), TEXT }, 5,
      "of the instance", { NULL }, 0 },

    { "HTTP 403, a page and a status",
      { { ":status", "403" }, { "content-type", "text/html" }, STATUS("5"),
        TEXT }, 1, { { NULL } }, 5, "of the instance", { NULL }, 0 },

    { "HTTP 204, trailers-only",
      { { ":status", "204" }, GRPC, STATUS("5"), TEXT }, -1, { { NULL } }, 5,
      "of the instance", { NULL }, 0 },

    { "HTTP 304, trailers-only",
      { { ":status", "304" }, GRPC, STATUS("5"), TEXT }, -1, { { NULL } }, 5,
      "of the instance", { NULL }, 0 },

    { "HTTP 204, status in trailers",
      { { ":status", "204" }, GRPC }, 1, { STATUS("5"), TEXT }, 5,
      "of the instance", { NULL }, 1 },

    { "HTTP 403 and no status", { { ":status", "403" }, GRPC }, 0, { CUSTOM },
      7, "forbidden", { "x-custom: 1" }, 0 },

    { "a page with a status",
      { OK, { "content-type", "text/html" }, STATUS("5"), TEXT }, -1,
      { { NULL } }, 5, "of the instance", { NULL }, 0 },
};

#define NCASES  (sizeof(cases) / sizeof(cases[0]))

static const char *const  paths[] = {
    ECHO, SUBSCRIBE, LOGIN, "/plain.Service/Method"
};

/* without kept connections: where the instance closes them, the next call may
 * come too early to see it */
static const char *const  fresh[] = {
    "/fresh.Service/MyServiceEcho", "/fresh.Service/MyServiceSubscribe",
    "/fresh.Service/Login", "/plain.Service/Method"
};

#define NPATHS  (sizeof(paths) / sizeof(paths[0]))


static const answer_case_t  *current;
static after_t               after;
static size_t                cut;       /* where it is cut, 0: nowhere */


static void
give_after(fake_call_t *call)
{
    int                       off = 0;
    uint8_t                   payload[8];
    static const char *const  again[][2] = { STATUS("9"), { NULL } };

    switch (after) {

    case NOTHING:
        break;

    case RESET_NO_ERROR:
        fake_reset(call, 0);
        break;

    case RESET_CANCEL:
        fake_reset(call, 8);
        break;

    case RESET_INTERNAL:
        fake_reset(call, 2);
        break;

    case GO_AWAY:
        (void) fake_u32(fake_u32(payload, call->stream), 0);
        fake_frame(call->conn, GOAWAY, 0, 0, payload, 8);
        break;

    case GO_AWAY_UNPROCESSED:
        fake_goaway(call);
        break;

    case CLOSE:
        /* a reset connection loses the bytes that were not sent yet */
        (void) setsockopt(call->conn->fd, IPPROTO_TCP, TCP_CORK, &off,
                          sizeof(off));
        fake_close(call);
        break;

    case PRIORITY_FRAME:
        fake_frame(call->conn, 2, 0, call->stream, "\0\0\0\0\0", 5);
        break;

    case TRAILERS_AGAIN:
        fake_block(call, END_HEADERS | END_STREAM, again);
        break;

    case DATA_FRAME:
        fake_message(call, 0);
        break;

    case GARBAGE:
        fake_frame(call->conn, 0xff, 0xff, 0x7fffffff, "HTTP/1.1 400", 12);
        fake_frame(call->conn, SETTINGS, 0, 0, "abcde", 5);
        break;
    }
}


static void
give(fake_call_t *call)
{
    int                       i;
    static const char *const  final[][2] = { OK, GRPC, { NULL } };

    if (strcmp(current->header[0][1], "103") == 0) {
        fake_block(call, END_HEADERS, current->header);
        fake_block(call, END_HEADERS, final);

    } else {
        fake_block(call, END_HEADERS
                         | (current->messages < 0 ? END_STREAM : 0),
                   current->header);
    }

    for (i = 0; i < current->messages; i++) {
        fake_message(call, i);
    }

    if (current->trailers[0][0] != NULL) {
        fake_block(call, END_HEADERS | END_STREAM, current->trailers);

    } else if (current->messages >= 0) {
        fake_frame(call->conn, DATA, END_STREAM, call->stream, "", 0);
    }

    if (after != NOTHING && after != CLOSE) {
        fake_cut(call, cut);
    }

    give_after(call);
}


static client_call_t *
ask(client_t *client, const char *path, const char *number)
{
    client_call_t   *call;
    client_header_t  headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", "s1" },
        { "x-case", number },
        { "accept-encoding", "gzip" },
        { "if-none-match", "\"a\"" },
        { "if-modified-since", "Wed, 21 Oct 2015 07:28:00 GMT" },
        { "range", "bytes=0-3" },
        { NULL, NULL }
    };

    call = client_request(client, path, headers, "\0\0\0\0", 5, false);
    client_wait(call);

    return call;
}


/* all that is wrong, so that one failure does not hide the others */
static char      failures[2048];
static unsigned  nfailures;


static void
check(bool good, const client_call_t *call, const char *path, const char *what)
{
    size_t  len;

    if (!good) {
        nfailures++;
        len = strlen(failures);
        snprintf(failures + len, sizeof(failures) - len,
                 "%s: %s, then %d/%zu: %s: reset %d, HTTP %d, grpc %d \"%s\", "
                 "type \"%s\", %u messages\n", path, current->name,
                 (int) after, cut, what, (int) call->reset,
                 call->http, call->grpc, call->message, call->type,
                 client_messages(call));
    }
}


static void
expect(const client_call_t *call, const answer_case_t *c, const char *path)
{
    size_t  i;

    check(!call->reset, call, path, "reset");
    check(call->http == 200 && call->grpc == c->code
          && strcmp(call->message, c->message) == 0, call, path, "status");
    check(client_messages(call) == (unsigned) c->got
          && (c->got > 0 || call->len == 0), call, path, "messages");
    check(strncmp(call->type, "application/grpc", 16) == 0, call, path,
          "type");

    for (i = 0; i < 4 && c->fields[i] != NULL; i++) {
        check(client_has(call, c->fields[i]), call, path, c->fields[i]);
    }

    check(strstr(call->fields, "content-encoding") == NULL, call, path,
          "content-encoding");
}


/* one answer: what the client gets, one request to the instance, the log */
static void
play(client_t *client, const char *path, fake_t *fake)
{
    char             line[64];
    unsigned         requests;
    client_call_t   *call;
    static unsigned  number;

    requests = fake_requests(fake);
    snprintf(line, sizeof(line), "call-%u", ++number);

    call = ask(client, path, line);
    expect(call, current, path);
    check(fake_requests(fake) == requests + 1, call, path, "requests");

    strcat(line, " grpc=");
    gateway_await_access(line);
    snprintf(line + strlen(line), 8, "%d.", current->code);
    check(harness_contains("access.log", line), call, path, "logged status");
}


static void
verdict(void)
{
    ck_assert_msg(nfailures == 0, "%u failures:\n%s", nfailures, failures);
    ck_assert(!gateway_logged("is down"));
}


/* every answer, with every method; none takes the instance away */
START_TEST(answers_all)
{
    size_t     i, k;
    fake_t    *fake;
    client_t  *client;

    fake = fake_start(8081, "one", give);
    fake_at_once(fake);
    gateway_start(CONF);
    client = client_open(harness_port(8080));

    for (k = 0; k < NPATHS; k++) {
        for (i = 0; i < NCASES; i++) {

            if (k == 3 && strcmp(cases[i].name, "interim") == 0) {
                /* the grpc module's own */
                continue;
            }

            current = &cases[i];
            play(client, paths[k], fake);
        }
    }

    verdict();
}
END_TEST


/* an answer counts, whatever follows it */
START_TEST(answers_then)
{
    size_t     i, k;
    fake_t    *fake;
    client_t  *client;

    fake = fake_start(8081, "one", give);
    fake_at_once(fake);
    gateway_start(CONF);
    client = client_open(harness_port(8080));

    for (after = NOTHING; after <= GARBAGE; after++) {
        for (k = 0; k < NPATHS; k++) {
            for (i = 0; i < 3; i++) {
                current = &cases[i];

                for (cut = 0; cut < 13; cut += 4) {
                    play(client, after == CLOSE ? fresh[k] : paths[k], fake);
                }
            }
        }
    }

    verdict();
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("answers");

    harness_add(suite, answers_all);

    /* counts what an instance gets that has said GOAWAY: nothing, if calls
     * share its connection (t/test_mux_failure.c) */

    if (gateway_keeps()) {
        harness_add(suite, answers_then);
    }


    return harness_run(suite, argv[0]);
}
