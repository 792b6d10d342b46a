/*
 * myservice_decode_once: what a client repeats is decoded once, and nobody but
 * the metrics can tell.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "tls_front.h"
#include "token.h"


#define SERVER(listen, directives)                                            \
    "    server {\n"                                                          \
    "        listen " listen ";\n"                                            \
    "        myservice_grpc_errors on;\n"                                     \
    directives                                                                \
    "        location / {\n"                                                  \
    "            myservice_jwt on;\n"                                         \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "        location = /metrics { myservice_metrics; }\n"                    \
    "    }\n"

#define CONF_WITH(listen, directives)                                         \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format fields '$uri $status $myservice_grpc_status '\n"          \
    "                      '$myservice_session_id $myservice_jwt_status '\n"  \
    "                      '$http_x_more $bytes_sent';\n"                     \
    "    myservice_jwt_secret_file %%DIR%%/secret;\n"                         \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=z:1m;\n"              \
    "        server 127.0.0.1:8081;\n"                                        \
    "        keepalive 64;\n"                                                 \
    "    }\n"                                                                 \
    SERVER("127.0.0.1:8080 " listen,                                          \
           "myservice_decode_once on;\n"                                      \
           "access_log %%DIR%%/on.log fields;\n" directives)                  \
    SERVER("127.0.0.1:8083 " listen,                                          \
           "access_log %%DIR%%/off.log fields;\n" directives)                 \
    "}\n"

#define CONF(directives)  CONF_WITH("http2", directives)

#define TLS                                                                   \
    CONF_WITH("ssl http2",                                                    \
              "ssl_certificate %%DIR%%/tls/server.crt;\n"                     \
              "ssl_certificate_key %%DIR%%/tls/server.key;\n"                 \
              "ssl_protocols TLSv1.2 TLSv1.3;\n")

#define SESSION  "s1"
#define CALLS    24


static fake_t    *fake;
static unsigned   begun;                /* calls with message() */


static void
start(const char *conf)
{
    fake = fake_start(8081, "one", fake_ok);
    fake_forget(fake);
    harness_file("secret", TOKEN_SECRET, strlen(TOKEN_SECRET));
    gateway_start(conf);
}


/* values that were not decoded again, at all times */
static unsigned long
saved(link_kind_t kind)
{
    char           *p;
    client_t       *client;
    unsigned long   n;
    client_call_t  *call;

    static const client_header_t  get[2] = { { ":method", "GET" } };

    client = client_open_link(harness_port(8080), kind);
    call = client_request(client, "/metrics", get, NULL, 0, false);
    client_wait(call);
    ck_assert_int_eq(call->http, 200);

    p = strstr((char *) call->body, "\nmyservice_decodings_saved_total ");
    ck_assert_ptr_nonnull(p);
    n = strtoul(strchr(p, ' '), NULL, 10);
    client_close(client);

    return n;
}


/* Huffman-coded 161 times "a" */
static uint8_t *
as(uint8_t *p)
{
    size_t  i;

    static const uint8_t  code[] = { 0x18, 0xc6, 0x31, 0x8c, 0x63 };

    *p++ = 0x80 | 101;

    for (i = 0; i < 100; i++) {
        *p++ = code[i % sizeof(code)];
    }

    *p++ = 0x1f;

    return p;
}


/* A message that looks like three HEADERS frames with the same token: it is no
 * part of the connection's frames. */
static const uint8_t *
message(size_t *len)
{
    int       i;
    uint8_t  *p;

    static uint8_t        bytes[3 * 113];
    static const uint8_t  frame[] = { 0, 0, 104, 1, 4, 0, 0, 0, 1, 0x1f, 8 };

    p = bytes;

    for (i = 0; i < 3; i++) {
        memcpy(p, frame, sizeof(frame));
        p = as(p + sizeof(frame));
    }

    *len = sizeof(bytes);

    return bytes;
}


static client_call_t *
begin(client_t *client, const char *token)
{
    size_t          len;
    const uint8_t  *bytes;

    bytes = message(&len);
    begun++;

    return client_grpc(client, ECHO, token, SESSION, bytes, len);
}


static void
good(client_t *client, const char *token)
{
    client_call_t  *call;

    call = begin(client, token);
    client_wait(call);
    client_assert(call, 0, "");
}


/* The instance has got all bytes of the messages, and no more. */
static void
all_came(void)
{
    size_t  len;

    (void) message(&len);
    ck_assert_uint_eq(fake_seen(fake)->data, begun * (5 + len));
}


/* "n" calls on their way, with these tokens in turn, NULL ends them */
static void
begin_all(client_t *client, client_call_t **calls, const char *const *tokens,
    unsigned n)
{
    unsigned  i, k;

    for (i = 0, k = 0; i < n; i++, k++) {
        k = tokens[k] ? k : 0;
        calls[i] = begin(client, tokens[k]);
    }
}


static void
end_all(client_call_t **calls, unsigned n)
{
    unsigned  i;

    for (i = 0; i < n; i++) {
        client_wait(calls[i]);
        client_assert(calls[i], 0, "");
    }
}


/* The token has come twice before its decoded form is there, the first time
 * before the layer was; and so has the path. */
START_TEST(a_token_is_decoded_once)
{
    int          i;
    client_t    *client;
    const char  *token;

    start(CONF(""));
    token = token_make(SESSION, 600);
    client = client_open(harness_port(8080));

    good(client, token);
    good(client, token);
    ck_assert_uint_eq(saved(LINK_PLAIN), 0);

    for (i = 1; i <= 10; i++) {
        good(client, token);
        ck_assert_uint_eq(saved(LINK_PLAIN), 2 * i);
    }

    /* nothing of one connection is used for another */

    client = client_open(harness_port(8080));
    good(client, token);
    good(client, token);
    ck_assert_uint_eq(saved(LINK_PLAIN), 20);

    /* nor without the directive */

    client = client_open(harness_port(8083));

    for (i = 0; i < 5; i++) {
        good(client, token);
    }

    ck_assert_uint_eq(saved(LINK_PLAIN), 20);
}
END_TEST


/* Instances and logs see the same with and without. */
START_TEST(nobody_can_tell)
{
    int             i, k;
    char           *p, *on, *off, long_value[300];
    client_t       *client[2];
    client_call_t  *call;

    static char  metadata[2][8192];

    client_header_t  headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", SESSION },
        { "authorization", NULL },
        { "x-more", long_value },
        { NULL, NULL }
    };

    start(CONF(""));
    client[0] = client_open(harness_port(8080));
    client[1] = client_open(harness_port(8083));
    good(client[0], token_make(SESSION, 600));
    good(client[1], token_make(SESSION, 600));

    for (i = 0; i < 20; i++) {

        /* every other token is a new one */

        if (i % 4 < 2) {
            headers[3].value = token_make(SESSION, 600 + i);
        }

        memset(long_value, 'a' + i / 5, sizeof(long_value) - 1);
        long_value[299] = '\0';

        for (k = 0; k < 2; k++) {
            call = client_request(client[k], ECHO, headers,
                                  "\0\0\0\0\7\x0a\x05hello", 12, false);
            client_wait(call);
            client_assert(call, 0, "");
            snprintf(metadata[k], sizeof(metadata[k]), "%s",
                     fake_metadata(fake));
        }

        ck_assert_ptr_nonnull(strstr(metadata[0], headers[3].value));
        ck_assert_ptr_nonnull(strstr(metadata[0], long_value));

        /* time goes on */

        for (k = 0; k < 2; k++) {
            p = strstr(metadata[k], "session-ttl: ");
            ck_assert_ptr_nonnull(p);
            p += strlen("session-ttl: ");
            memset(p, '0', strcspn(p, "\n"));
        }

        ck_assert_str_eq(metadata[0], metadata[1]);
    }

    ck_assert_uint_gt(saved(LINK_PLAIN), 5);
    gateway_stop();

    on = harness_read("on.log");
    off = harness_read("off.log");

    /* the line of the metrics is the last one */

    ck_assert_uint_gt(strlen(off), 20 * 300);
    ck_assert_int_eq(strncmp(on, off, strlen(off)), 0);
    free(on);
    free(off);
}
END_TEST


START_TEST(many_calls_at_once)
{
    int             round;
    client_t       *client;
    const char     *tokens[4] = { NULL, NULL, NULL, NULL };
    client_call_t  *calls[CALLS];

    start(CONF(""));
    client = client_open(harness_port(8080));

    for (round = 0; round < 12; round++) {
        tokens[0] = token_make(SESSION, 600 + round / 3);
        tokens[1] = round % 3 ? token_make(SESSION, 700) : NULL;
        tokens[2] = round % 3 == 2 ? token_make(SESSION, 800) : NULL;

        link_hold(client_link(client));
        begin_all(client, calls, tokens, CALLS);
        link_release(client_link(client), 0);
        end_all(calls, CALLS);
    }

    ck_assert_uint_gt(saved(LINK_PLAIN), 6 * CALLS);
    all_came();
}
END_TEST


/* The bytes of several calls in pieces of any size. */
START_TEST(pieces)
{
    size_t          piece;
    client_t       *client;
    const char     *tokens[3];
    client_call_t  *calls[4];

    start(CONF("keepalive_requests 1000000;\n"));
    tokens[0] = token_make(SESSION, 600);
    tokens[1] = token_make(SESSION, 700);
    tokens[2] = NULL;

    client = client_open(harness_port(8080));

    for (piece = 1; piece < 2500; piece += 1 + piece / 20) {
        link_hold(client_link(client));
        begin_all(client, calls, tokens, 4);
        link_release(client_link(client), piece);
        end_all(calls, 4);
    }

    ck_assert_uint_gt(saved(LINK_PLAIN), 10);
    all_came();
}
END_TEST


/* One cut, at each place: the worker has read what was before it. */
START_TEST(cuts)
{
    size_t          cut;
    client_t       *client, *witness;
    const char     *tokens[2];
    client_call_t  *calls[3];

    start(CONF("keepalive_requests 1000000;\n"));
    tokens[0] = token_make(SESSION, 600);
    tokens[1] = NULL;
    client = client_open(harness_port(8080));
    witness = client_open(harness_port(8083));
    good(client, tokens[0]);
    good(client, tokens[0]);

    for (cut = 1 + (size_t) _i; cut < 800; cut += 8) {
        link_hold(client_link(client));
        begin_all(client, calls, tokens, 3);
        link_release_part(client_link(client), cut);

        /* a worker reads in the order in which it hears of bytes */

        good(witness, tokens[0]);
        link_release(client_link(client), 0);
        end_all(calls, 3);
    }

    ck_assert_uint_gt(saved(LINK_PLAIN), 800 / 8);
    all_came();
}
END_TEST


/* Writes a frame of a few bytes, and "n" fields "x-more" behind them. */
static void
raw(link_t *link, uint32_t stream, uint8_t type, uint8_t flags,
    const void *begin_of, size_t len, unsigned n)
{
    uint8_t  bytes[1024], *p;

    p = bytes + 9;
    memcpy(p, begin_of, len);
    p += len;

    while (n-- > 0) {
        memcpy(p, "\0\6x-more", 8);
        p = as(p + 8);
    }

    len = (size_t) (p - bytes) - 9;
    memset(bytes, 0, 9);
    bytes[1] = (uint8_t) (len >> 8);
    bytes[2] = (uint8_t) len;
    bytes[3] = type;
    bytes[4] = flags;
    bytes[8] = (uint8_t) stream;

    ck_assert_int_eq(link_write(link, bytes, (size_t) (p - bytes)),
                     p - bytes);
}


/* The worker reads up to the header of a CONTINUATION, whose content looks like a
 * HEADERS frame; to HPACK the header of that one is three short fields.  nginx
 * then keeps nothing of what it has read, if the last field of the first frame
 * has a value of three bytes or more. */
START_TEST(continuation)
{
    link_t     *link;
    uint32_t    stream;
    client_t   *witness;
    long long   since;
    char        line[200], *log;

    static const char  preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    static const char  call[] = "\x83\x86\x04\x02/x\x01\x03" "abc";
    static const char  last[] = "\x83\x86\x04\x02/y\x01\x03" "abc";
    static const char  fields[] = "\0\1a\1$" "\0\1b\0" "\0\1c\1d"
                                  "\0\1e\016fourteen bytes";

    start(CONF(""));
    witness = client_open(harness_port(8083));
    link = link_open(harness_port(8080), LINK_PLAIN);
    ck_assert_int_eq(link_write(link, preface, sizeof(preface) - 1),
                     sizeof(preface) - 1);
    raw(link, 0, 4, 0, "", 0, 0);

    for (stream = 1; stream < 9; stream += 2) {
        raw(link, stream, 1, 5, call, sizeof(call) - 1, 1);
        good(witness, token_make(SESSION, 600));
    }

    ck_assert_uint_gt(saved(LINK_PLAIN), 0);

    link_hold(link);
    raw(link, 9, 1, 1, last, sizeof(last) - 1, 0);
    raw(link, 9, 9, 4, fields, sizeof(fields) - 1, 3);
    link_release_part(link, 9 + sizeof(last) - 1 + 9);
    good(witness, token_make(SESSION, 600));
    link_release(link, 0);

    memset(line, 'a', sizeof(line));
    line[161] = '\0';
    since = harness_now();

    while (!harness_contains("on.log", "/y 401 ")) {
        harness_pause(since, "/y");
    }

    log = harness_read("on.log");
    ck_assert_ptr_nonnull(strstr(strstr(log, "/y "), line));
    free(log);
    link_close(link);
}
END_TEST


/* What is refused stays refused, and does not change what is not. */
START_TEST(refused)
{
    int             i;
    client_t       *client;
    const char     *token, *bad, *other;
    client_call_t  *call;

    start(CONF(""));
    token = token_make(SESSION, 600);
    other = token_make("s2", 600);
    bad = token_sign("{\"session_id\":\"" SESSION "\",\"exp\":32503680000}",
                     "HS256", "another secret, that is not the gateway's");
    client = client_open(harness_port(8080));

    for (i = 0; i < 6; i++) {
        good(client, token);
        call = begin(client, bad);
        client_wait(call);
        client_assert_refused(call, 16, "missing or invalid token");
        good(client, token);
        call = begin(client, i % 2 ? other : bad);
        client_wait(call);
        client_assert_refused(call, 16, i % 2 ? "session-id mismatch"
                                              : "missing or invalid token");
    }

    ck_assert_uint_gt(saved(LINK_PLAIN), 6);
}
END_TEST


/* nginx takes a coded value of this size, and not a decoded one. */
START_TEST(limit)
{
    int              i;
    char             value[1200];
    client_t        *client;
    client_call_t   *call;
    client_header_t  headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", SESSION },
        { "authorization", token_make(SESSION, 600) },
        { "cookie", value },
        { NULL, NULL }
    };

    start(CONF("large_client_header_buffers 8 1k;\n"));
    client = client_open(harness_port(8080));
    memset(value, 'a', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';

    /* nghttp2 never puts the token into the table, which would hide it */

    headers[4].name = "authorization";
    headers[3].name = "x-other";

    for (i = 0; i < 6; i++) {
        call = client_request(client, "/short", headers,
                              "\0\0\0\0\7\x0a\x05hello", 12, false);
        client_wait(call);
        client_assert_refused(call, 16, "missing or invalid token");
    }

    ck_assert(!client_gone(client));
    ck_assert_uint_eq(saved(LINK_PLAIN), 0);
}
END_TEST


/* A block that is malformed behind the token is nginx's to refuse. */
START_TEST(malformed)
{
    client_t  *client;
    link_t    *link;

    static const uint8_t  wrong[] = {
        0, 0, 4, 1, 5, 0, 0, 1, 1, 0x82, 0x10, 0x01, 'a'
    };

    start(CONF(""));
    client = client_open(harness_port(8080));
    good(client, token_make(SESSION, 600));
    good(client, token_make(SESSION, 600));
    good(client, token_make(SESSION, 600));
    link = client_link(client);
    ck_assert_int_eq(link_write(link, wrong, sizeof(wrong)), sizeof(wrong));

    while (!client_gone(client)) {
        client_poll(100);
    }
}
END_TEST


static void
tls(link_kind_t kind)
{
    int             round;
    client_t       *client;
    const char     *tokens[3];
    client_call_t  *calls[CALLS];

    tls_front_certs("tls");
    start(TLS);
    tokens[0] = token_make(SESSION, 600);
    tokens[1] = token_make(SESSION, 700);
    tokens[2] = NULL;
    client = client_open_link(harness_port(8080), kind);

    for (round = 0; round < 5; round++) {
        link_hold(client_link(client));
        begin_all(client, calls, tokens, CALLS);
        link_release(client_link(client), round == 4 ? 100 : 0);
        end_all(calls, CALLS);
    }

    ck_assert_uint_gt(saved(kind), CALLS);
    all_came();
}


START_TEST(tls12)
{
    tls(LINK_TLS12);
}
END_TEST


START_TEST(tls13)
{
    tls(LINK_TLS13);
}
END_TEST


/* Large messages beside the tokens, with a read buffer that is small. */
START_TEST(messages)
{
    int             i;
    char           *message;
    client_t       *client;
    const char     *token;
    client_call_t  *calls[CALLS];

    start(CONF("client_max_body_size 5m;\n"));
    token = token_make(SESSION, 600);
    client = client_open(harness_port(8080));
    message = calloc(1, 60000);
    ck_assert_ptr_nonnull(message);

    for (i = 0; i < CALLS; i++) {
        calls[i] = client_grpc(client, ECHO, token, SESSION, message,
                               (size_t) i * 2500);
    }

    end_all(calls, CALLS);
    free(message);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("decode_once");
    harness_add(suite, a_token_is_decoded_once);
    harness_add(suite, nobody_can_tell);
    harness_add(suite, many_calls_at_once);
    harness_add(suite, pieces);
    harness_add_loop(suite, cuts, 8);
    harness_add(suite, continuation);
    harness_add(suite, refused);
    harness_add(suite, limit);
    harness_add(suite, malformed);
    harness_add(suite, tls12);
    harness_add(suite, tls13);

    /* the fake opens a connection's window with a request, and the last one has
     * come when it is used up, if all share the connection */

    if (gateway_keeps()) {
        harness_add(suite, messages);
    }

    return harness_run(suite, argv[0]);
}
