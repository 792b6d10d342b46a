/*
 * myservice_coalesce and flow control: clients that do not read, windows that
 * are used up, calls that the client cancels, files between calls.
 */

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "instance.h"
#include "sized.h"
#include "tls_front.h"


#define CONF(directives)  LISTEN("", directives)

#define LISTEN(options, directives)                                           \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        server 127.0.0.1:8081;\n"                                        \
    "        keepalive 64;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2 " options ";\n"                      \
    "        client_max_body_size 5m;\n"                                      \
    "        myservice_grpc_errors on;\n"                                     \
    "        myservice_coalesce on;\n"                                        \
    directives                                                                \
    "        location / {\n"                                                  \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "        location = /files {\n"                                           \
    "            root %%DIR%%;\n"                                             \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define CERTIFICATE                                                           \
    "ssl_certificate %%DIR%%/tls/server.crt;\n"                               \
    "ssl_certificate_key %%DIR%%/tls/server.key;\n"

#define MEGABYTE  1000000
#define PINGS     100

#define SLOW       80
#define SLOW_SIZE  3000

#define LARGE      16000
#define LARGE_N    3


/* The client does not read any more when the call's request is over. */
static client_call_t *
flood_of(client_t *client, size_t size)
{
    client_call_t  *call;

    call = sized_start(client, SUBSCRIBE, "s1", size);

    while (call->headers == 0) {
        client_poll(100);
    }

    client_pause(client, true);

    return call;
}


static client_call_t *
flood(client_t *client)
{
    return flood_of(client, MEGABYTE);
}


/*
 * 40 MB to a client that reads nothing: the sockets fill up, and neither PINGs
 * nor other calls get lost or out of order
 */
static void
read_slowly(const char *conf, link_kind_t kind, unsigned messages)
{
    int             i;
    client_t       *client;
    client_call_t  *stream, *calls[20];

    (void) instance_start(8081, "one", "--subscribe-interval 1ms");
    gateway_start(conf);
    client = client_open_link(harness_port(8080), kind);
    client_window(client, 1 << 30);
    client_window_all(client, 1 << 30);
    client_wait(sized_start(client, ECHO, "s1", 1));

    stream = flood(client);

    for (i = 0; i < PINGS; i++) {
        client_ping(client);
    }

    for (i = 0; i < 20; i++) {
        calls[i] = sized_start(client, ECHO, "s1", (size_t) i * 999);
    }

    client_await_still();

    for (i = 0; i < PINGS; i++) {
        client_ping(client);
    }

    client_await_still();
    client_pause(client, false);
    client_wait_messages(stream, messages);
    client_wait_pongs(client, 2 * PINGS);

    ck_assert(!stream->done);
    ck_assert_uint_ge(sized_check(stream, MEGABYTE), messages);
    client_cancel(stream);

    for (i = 0; i < 20; i++) {
        client_wait(calls[i]);
        sized_ok(calls[i], (size_t) i * 999);
    }
}


START_TEST(slow_reader)
{
    read_slowly(CONF(""), LINK_PLAIN, 40);
}
END_TEST


/* with a socket that is nearly always full */
START_TEST(slow_reader_small)
{
    read_slowly(LISTEN("sndbuf=4k", ""), LINK_SMALL, 10);
}
END_TEST


/* the client goes while the gateway cannot write */
START_TEST(slow_reader_leaves)
{
    int        i;
    client_t  *client;

    (void) instance_start(8081, "one", "--subscribe-interval 1ms");
    gateway_start(CONF(""));

    for (i = 0; i < 3; i++) {
        client = client_open(harness_port(8080));
        client_window(client, 1 << 30);
        client_window_all(client, 1 << 30);
        (void) flood(client);
        client_await_still();
        client_close(client);
    }

    client_assert(echo_get(client_open(harness_port(8080)), "s1"), 0, "");
}
END_TEST


/* more clients read nothing than a worker has buffers for */
START_TEST(slow_readers)
{
    int             i;
    client_t       *slow[SLOW], *client;
    client_call_t  *streams[SLOW];

    (void) instance_start(8081, "one", "--subscribe-interval 1ms");
    gateway_start(LISTEN("sndbuf=4k", ""));

    for (i = 0; i < SLOW; i++) {
        slow[i] = client_open_link(harness_port(8080), LINK_SMALL);
        client_window(slow[i], 1 << 30);
        client_window_all(slow[i], 1 << 30);
        streams[i] = flood_of(slow[i], SLOW_SIZE);
    }

    client_await_still();
    client = client_open(harness_port(8080));

    for (i = 0; i < 10; i++) {
        client_call_t  *call = sized_start(client, ECHO, "s1",
                                           (size_t) i * 999);

        client_wait(call);
        sized_ok(call, (size_t) i * 999);
    }

    for (i = 0; i < SLOW; i++) {
        client_pause(slow[i], false);
    }

    for (i = 0; i < SLOW; i++) {
        client_wait_messages(streams[i], 20);
        ck_assert(!streams[i]->done);
        ck_assert_uint_ge(sized_check(streams[i], SLOW_SIZE), 20);
        client_close(slow[i]);
    }
}
END_TEST


static void
answer_begin(fake_call_t *call)
{
    fake_headers(call);
    fake_hold(call);
}


static void
answer_end(fake_call_t *call)
{
    fake_trailers(call, 0, "");
}


/* more than a small socket takes, less than a buffer and the first window */
static void
answer_large(fake_call_t *call)
{
    int             i;
    static uint8_t  frame[9 + LARGE] = { LARGE >> 16, LARGE >> 8 & 0xff,
                                         LARGE & 0xff };

    frame[8] = (uint8_t) call->stream;
    fake_headers(call);

    for (i = 0; i < LARGE_N; i++) {
        fake_bytes(call, frame, sizeof(frame));
    }

    fake_hold(call);
}


/* More clients than there are buffers get the same in one turn. */
static fake_t *
answer_at_once(client_call_t **calls, const char *conf, link_kind_t kind,
    fake_answer_pt answer)
{
    int      i;
    pid_t    worker;
    fake_t  *fake;

    fake = fake_start(8081, "one", fake_hold);
    gateway_start(conf);
    ck_assert_uint_eq(gateway_workers(&worker, 1), 1);

    for (i = 0; i < 2 * SLOW; i++) {
        calls[i] = client_grpc(client_open_link(harness_port(8080), kind),
                               SUBSCRIBE, NULL, "s1", "", 0);
    }

    while (fake_held(fake) < 2 * SLOW) {
        client_poll(5);
    }

    /* it finds them all when it wakes up */

    kill(worker, SIGSTOP);
    fake_release_full(fake, answer);
    kill(worker, SIGCONT);

    for (i = 0; i < 2 * SLOW; i++) {
        while (calls[i]->headers == 0) {
            client_poll(5);
        }
    }

    return fake;
}


START_TEST(many_clients)
{
    int             i;
    fake_t         *fake;
    client_call_t  *calls[2 * SLOW];

    fake = answer_at_once(calls, CONF(""), LINK_PLAIN, answer_begin);
    fake_release(fake, answer_end);

    for (i = 0; i < 2 * SLOW; i++) {
        client_wait(calls[i]);
        client_assert(calls[i], 0, "");
    }
}
END_TEST


static void
many_clients_large(const char *conf, link_kind_t kind)
{
    int             i;
    client_call_t  *calls[2 * SLOW];

    (void) answer_at_once(calls, conf, kind, answer_large);

    for (i = 0; i < 2 * SLOW; i++) {
        while (calls[i]->len < LARGE * LARGE_N) {
            client_poll(5);
        }
    }
}


/* a socket that is full when another client wants the buffer */
START_TEST(many_clients_small)
{
    many_clients_large(LISTEN("sndbuf=4k", ""), LINK_SMALL);
}
END_TEST


/* TLS takes a part of a buffer into its own */
START_TEST(many_clients_tls)
{
    tls_front_certs("tls");
    many_clients_large(LISTEN("ssl sndbuf=4k", CERTIFICATE), LINK_TLS13);
}
END_TEST


/* headers go, bodies wait for windows; opened a little, then wide */
START_TEST(windows)
{
    int             i;
    client_t       *client;
    client_call_t  *calls[10];
    long long       since;

    (void) instance_start(8081, "one", NULL);
    gateway_start(CONF(""));
    client = client_open(harness_port(8080));
    client_window(client, 0);

    for (i = 0; i < 10; i++) {
        calls[i] = sized_start(client, ECHO, "s1", 20000);
    }

    since = harness_now();

    for (i = 0; i < 10; i++) {
        while (calls[i]->headers == 0) {
            client_poll(10);
            ck_assert_int_lt(harness_now() - since, HARNESS_DEADLINE);
        }

        ck_assert_uint_eq(calls[i]->len, 0);
    }

    client_window(client, 1000);

    for (i = 0; i < 10; i++) {
        while (calls[i]->len < 1000) {
            client_poll(10);
            ck_assert_int_lt(harness_now() - since, HARNESS_DEADLINE);
        }
    }

    client_window(client, 65535);

    for (i = 0; i < 10; i++) {
        client_wait(calls[i]);
        sized_ok(calls[i], 20000);
    }
}
END_TEST


/* at any moment of a call, beside calls that go on */
START_TEST(cancels)
{
    int             i, j;
    unsigned        random;
    client_t       *client;
    client_call_t  *calls[10], *stream;

    (void) instance_start(8081, "one", "--subscribe-interval 1ms");
    gateway_start(CONF(""));
    client = client_open(harness_port(8080));
    client_wait(sized_start(client, ECHO, "s1", 1));
    stream = sized_start(client, SUBSCRIBE, "s1", 100);
    random = 1;

    for (i = 0; i < 40; i++) {
        for (j = 0; j < 10; j++) {
            random = random * 1103515245 + 12345;
            calls[j] = sized_start(client, j % 2 ? ECHO : SUBSCRIBE, "s1",
                                   (random >> 16) % 30000);
        }

        for (j = 0; j < 10; j++) {
            random = random * 1103515245 + 12345;

            if ((random >> 16) % 3) {
                client_poll(1);
            }

            if (!calls[j]->done) {
                client_cancel(calls[j]);
            }
        }
    }

    client_wait_messages(stream, client_messages(stream) + 5);
    (void) sized_check(stream, 100);
    client_cancel(stream);
    client_assert(echo_get(client, "s1"), 0, "");
}
END_TEST


#define STORM_CLIENTS  8
#define STORM_STEPS    1200

static client_t       *storm_clients[STORM_CLIENTS];
static client_call_t  *storm_calls[STORM_STEPS];
static size_t          storm_sizes[STORM_STEPS];


static client_t *
storm_open(void)
{
    client_t  *client;

    client = client_open(harness_port(8080));
    client_window(client, 1 << 20);
    client_window_all(client, 1 << 20);

    return client;
}


/* One step: mostly calls, now and then something that disturbs them. */
static void
storm_step(int step, unsigned random, bool all)
{
    int         i;
    client_t  **client;

    i = (int) (random % STORM_CLIENTS);
    client = &storm_clients[i];
    random /= STORM_CLIENTS;

    switch (random % 16) {

    case 0:
        client_pause(*client, (random >> 4) % 2);
        break;

    case 1:
        client_ping(*client);
        break;

    case 2:
    case 3:
        i = (int) (random >> 4) % (step + 1);

        if (storm_calls[i] != NULL && !storm_calls[i]->done) {
            client_cancel(storm_calls[i]);
        }

        break;

    case 4:
        if (all) {
            client_close(*client);
            *client = storm_open();
            break;
        }

        /* fall through */

    default:
        storm_sizes[step] = (random >> 4) % ((random >> 3) % 2 ? 300 : 50000);
        storm_calls[step] = sized_start(*client,
                                        random % 16 == 5 ? SUBSCRIBE : ECHO,
                                        "s1", storm_sizes[step]);
    }
}


/* everything at the same time; the answer of each call that ended is right,
 * and whole unless the client has cancelled the call */
START_TEST(storm)
{
    int             i;
    unsigned        random;
    client_call_t  *call;

    (void) instance_start(8081, "one", "--subscribe-interval 3ms");
    gateway_start(CONF("http2_max_concurrent_streams 1000;\n"));

    for (i = 0; i < STORM_CLIENTS; i++) {
        storm_clients[i] = storm_open();
    }

    random = 7;

    for (i = 0; i < STORM_STEPS; i++) {
        random = random * 1103515245 + 12345;
        storm_step(i, random >> 8, i % 5 == 0);

        if (i % 4 == 0) {
            client_poll(1);
        }
    }

    for (i = 0; i < STORM_CLIENTS; i++) {
        client_pause(storm_clients[i], false);
    }

    for (i = 0; i < STORM_STEPS; i++) {
        call = storm_calls[i];

        if (call == NULL) {
            continue;
        }

        if (!call->done && client_messages(call) == 0) {
            client_wait_messages(call, 1);
        }

        if (call->grpc == 0) {
            client_wait(call);
            sized_ok(call, storm_sizes[i]);

        } else {
            (void) sized_check(call, storm_sizes[i]);
        }
    }
}
END_TEST


static char  file[3 * MEGABYTE];


/* files are sent from where they are, in their order with everything else */
static void
files(const char *conf)
{
    int              i;
    client_t        *client;
    client_call_t   *gets[4], *calls[20];
    client_header_t  headers[] = { { ":method", "GET" }, { NULL, NULL } };

    for (i = 0; i < (int) sizeof(file); i++) {
        file[i] = (char) (i / 3 + i / 1009);
    }

    (void) harness_file("files", file, sizeof(file));

    (void) instance_start(8081, "one", NULL);
    gateway_start(conf);
    client = client_open(harness_port(8080));
    client_window(client, 1 << 30);
    client_window_all(client, 1 << 30);

    for (i = 0; i < 20; i++) {
        calls[i] = sized_start(client, ECHO, "s1", (size_t) i * 1000);

        if (i % 5 == 0) {
            gets[i / 5] = client_request(client, "/files", headers, NULL, 0,
                                         false);
        }
    }

    for (i = 0; i < 20; i++) {
        client_wait(calls[i]);
        sized_ok(calls[i], (size_t) i * 1000);
    }

    for (i = 0; i < 4; i++) {
        client_wait(gets[i]);
        ck_assert_int_eq(gets[i]->http, 200);
        ck_assert_uint_eq(gets[i]->len, sizeof(file));
        ck_assert_int_eq(memcmp(gets[i]->body, file, sizeof(file)), 0);
    }
}


START_TEST(files_sendfile)
{
    files(CONF("sendfile on; tcp_nopush on;\n"));
}
END_TEST


START_TEST(files_read)
{
    files(CONF("sendfile off;\n"));
}
END_TEST


START_TEST(files_threads)
{
    int          rc;
    const char  *output;

    rc = gateway_test(CONF("aio threads;\n"), &output);

    if (rc != 0 && strstr(output, "unsupported on this platform") != NULL) {
        return;
    }

    files(CONF("sendfile on; aio threads; sendfile_max_chunk 64k;\n"));
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("coalesce_stream");

    harness_add(suite, slow_reader);
    harness_add(suite, slow_reader_small);
    harness_add(suite, slow_reader_leaves);
    harness_add(suite, slow_readers);
    harness_add(suite, many_clients);
    harness_add(suite, many_clients_small);
    harness_add(suite, many_clients_tls);
    harness_add(suite, windows);
    harness_add(suite, cancels);
    harness_add(suite, storm);
    harness_add(suite, files_sendfile);
    harness_add(suite, files_read);
    harness_add(suite, files_threads);

    return harness_run(suite, argv[0]);
}
