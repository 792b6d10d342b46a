/*
 * myservice_coalesce and connections: GOAWAY, reloads, TLS with early data,
 * several workers, other event methods.
 */

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


#define CONF(workers, events, listen, directives)                             \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes " workers ";\n"                                         \
    "events {\n"                                                              \
    events                                                                    \
    "}\n"                                                                     \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        server 127.0.0.1:8081;\n"                                        \
    "        keepalive 64;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 " listen ";\n"                             \
    "        client_max_body_size 5m;\n"                                      \
    "        myservice_grpc_errors on;\n"                                     \
    "        myservice_coalesce on;\n"                                        \
    directives                                                                \
    "        location / {\n"                                                  \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define PLAIN(directives)  CONF("1", "", "http2", directives)

#define TLS                                                                   \
    CONF("1", "", "ssl http2",                                                \
         "ssl_certificate %%DIR%%/tls/server.crt;\n"                          \
         "ssl_certificate_key %%DIR%%/tls/server.key;\n"                      \
         "ssl_protocols TLSv1.2 TLSv1.3;\n"                                   \
         "ssl_early_data on;\n")

#define STREAMS  32


/* STREAMS calls in one segment */
static void
start_batch(client_t *client, client_call_t **calls)
{
    int  i;

    link_hold(client_link(client));

    for (i = 0; i < STREAMS; i++) {
        calls[i] = sized_start(client, ECHO, "s1", (size_t) i * 300);
    }

    link_release(client_link(client), 0);
}


static void
end_batch(client_call_t **calls)
{
    int  i;

    for (i = 0; i < STREAMS; i++) {
        client_wait(calls[i]);
        sized_ok(calls[i], (size_t) i * 300);
    }
}


static void
await_told(client_t *client)
{
    long long  since;

    since = harness_now();

    while (!client_gone(client)) {
        client_poll(100);
        ck_assert_int_lt(harness_now() - since, HARNESS_DEADLINE);
    }

    ck_assert(client_goaway(client));
}


/* the last call that a connection may have is among those that run */
START_TEST(goaway)
{
    int             round;
    client_t       *client;
    client_call_t  *calls[STREAMS];

    (void) instance_start(8081, "one", NULL);
    gateway_start(PLAIN("keepalive_requests 32;\n"));

    for (round = 0; round < 20; round++) {
        client = client_open(harness_port(8080));
        start_batch(client, calls);
        end_batch(calls);
        await_told(client);
        client_close(client);
    }
}
END_TEST


/* The end of a call and GOAWAY with what was held before them: nothing of a
 * stream that runs on is lost. */
START_TEST(goaway_streams)
{
    int             i;
    client_t       *client;
    client_call_t  *streams[8];

    (void) instance_start(8081, "one", "--subscribe-interval 1ms");
    gateway_start(PLAIN("keepalive_requests 9;\n"));
    client = client_open(harness_port(8080));

    for (i = 0; i < 8; i++) {
        streams[i] = sized_start(client, SUBSCRIBE, "s1", 1000);
        client_wait_messages(streams[i], 1);
    }

    client_assert(echo_get(client, "s1"), 0, "");

    for (i = 0; i < 8; i++) {
        client_wait_messages(streams[i], client_messages(streams[i]) + 20);
        ck_assert(!streams[i]->done);
        (void) sized_check(streams[i], 1000);
        client_cancel(streams[i]);
    }

    ck_assert(client_gone(client));
}
END_TEST


/* nothing else is sent then that would take GOAWAY along */
START_TEST(goaway_idle)
{
    client_t  *client;

    (void) instance_start(8081, "one", NULL);
    gateway_start(PLAIN("keepalive_timeout 1s;\n"));
    client = client_open(harness_port(8080));
    client_assert(echo_get(client, "s1"), 0, "");
    await_told(client);

    client = client_open(harness_port(8080));
    client_assert(echo_get(client, "s1"), 0, "");
    gateway_reload(NULL);
    await_told(client);
}
END_TEST


/* a client that breaks the protocol gets a GOAWAY, whatever calls run */
START_TEST(goaway_error)
{
    int             i;
    client_t       *client;
    client_call_t  *streams[3];

    /* WINDOW_UPDATE by 0 for the connection, RFC 9113 section 6.9 */
    static const uint8_t  wrong[] = {
        0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0
    };

    (void) instance_start(8081, "one", "--subscribe-interval 1d");
    gateway_start(PLAIN(""));
    client = client_open(harness_port(8080));

    for (i = 0; i < 3; i++) {
        streams[i] = sized_start(client, SUBSCRIBE, "s1", 1);
        client_wait_messages(streams[i], 1);
    }

    ck_assert_int_eq(link_write(client_link(client), wrong, sizeof(wrong)),
                     sizeof(wrong));
    await_told(client);
}
END_TEST


/* calls run all the time, on connections without a GOAWAY */
START_TEST(reload)
{
    int             round;
    client_t       *client;
    client_call_t  *calls[STREAMS];

    (void) instance_start(8081, "one", NULL);
    gateway_start(CONF("2", "", "http2", ""));

    for (round = 0; round < 8; round++) {
        client = client_open(harness_port(8080));
        client_wait(sized_start(client, ECHO, "s1", 1));
        start_batch(client, calls);
        gateway_reload(NULL);
        end_batch(calls);
        client_close(client);
    }

    gateway_await_workers(2);
}
END_TEST


/* the same while streams run: they end when they want to */
START_TEST(reload_streams)
{
    int             i;
    unsigned        n;
    client_t       *client;
    client_call_t  *streams[STREAMS];

    (void) instance_start(8081, "one", "--subscribe-interval 2ms");
    gateway_start(CONF("2", "", "http2", ""));
    client = client_open(harness_port(8080));

    for (i = 0; i < STREAMS; i++) {
        streams[i] = sized_start(client, SUBSCRIBE, "s1", 100);
    }

    for (i = 0; i < STREAMS; i++) {
        client_wait_messages(streams[i], 1);
    }

    gateway_reload(NULL);

    for (i = 0; i < STREAMS; i++) {
        n = client_messages(streams[i]);
        client_wait_messages(streams[i], n + 20);
        ck_assert(!streams[i]->done);
        ck_assert_uint_ge(sized_check(streams[i], 100), n + 20);
    }

    client_close(client);
    gateway_await_workers(2);
}
END_TEST


static void
tls_calls(client_t *client)
{
    size_t          i;
    client_call_t  *calls[STREAMS], *call;
    const size_t    size[] = { 0, 1, 16384, 65536, 1000000 };

    for (i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
        call = sized_start(client, ECHO, "s1", size[i]);
        client_wait(call);
        sized_ok(call, size[i]);
    }

    start_batch(client, calls);
    end_batch(calls);

    call = sized_start(client, SUBSCRIBE, "s1", 5000);
    client_wait_messages(call, 50);
    (void) sized_check(call, 5000);
    client_cancel(call);
}


static void
tls(link_kind_t kind)
{
    client_t  *client;

    tls_front_certs("tls");
    (void) instance_start(8081, "one", "--subscribe-interval 1ms");
    gateway_start(TLS);
    client = client_open_link(harness_port(8080), kind);
    tls_calls(client);
    client_close(client);
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


/* the next message comes in a day: TLS must not wait for it */
START_TEST(tls_first_message)
{
    int             i;
    client_t       *client;
    client_call_t  *calls[8];

    tls_front_certs("tls");
    (void) instance_start(8081, "one", "--subscribe-interval 1d");
    gateway_start(TLS);
    client = client_open_link(harness_port(8080), LINK_TLS13);

    for (i = 0; i < 8; i++) {
        calls[i] = sized_start(client, SUBSCRIBE, "s1", 10);
        client_wait_messages(calls[i], 1);
    }

    client_close(client);
}
END_TEST


/* calls before the end of the handshake, answers after it */
START_TEST(tls_early_data)
{
    int             i;
    client_t       *client;
    client_call_t  *calls[8];

    tls_front_certs("tls");
    (void) instance_start(8081, "one", "--subscribe-interval 1ms");
    gateway_start(TLS);
    client = client_open_link(harness_port(8080), LINK_TLS13);
    client_wait(sized_start(client, ECHO, "s1", 1));
    client_close(client);

    client = client_open_link(harness_port(8080), LINK_EARLY);

    for (i = 0; i < 8; i++) {
        calls[i] = sized_start(client, ECHO, "s1", (size_t) i * 100);
    }

    link_release(client_link(client), 0);
    ck_assert(link_early(client_link(client)));

    for (i = 0; i < 8; i++) {
        client_wait(calls[i]);
        sized_ok(calls[i], (size_t) i * 100);
    }

    tls_calls(client);
    client_close(client);
}
END_TEST


/* records of TLS on sockets that are full */
START_TEST(tls_slow_reader)
{
    int             i;
    client_t       *client;
    client_call_t  *stream, *calls[STREAMS];

    tls_front_certs("tls");
    (void) instance_start(8081, "one", "--subscribe-interval 1ms");
    gateway_start(TLS);
    client = client_open_link(harness_port(8080), LINK_TLS13);
    client_window(client, 1 << 30);
    client_window_all(client, 1 << 30);

    stream = sized_start(client, SUBSCRIBE, "s1", 100000);

    for (i = 0; i < 10; i++) {
        client_wait_messages(stream, client_messages(stream) + 1);
        client_pause(client, true);
        start_batch(client, calls);
        client_await_still();
        client_pause(client, false);
        end_batch(calls);
    }

    (void) sized_check(stream, 100000);
    client_cancel(stream);
    client_close(client);
}
END_TEST


/* many connections at once */
static void
crowd(const char *conf)
{
    int             i, round;
    client_t       *clients[12];
    client_call_t  *calls[12][STREAMS], *streams[12];

    (void) instance_start(8081, "one", "--subscribe-interval 2ms");
    gateway_start(conf);

    for (i = 0; i < 12; i++) {
        clients[i] = client_open(harness_port(8080));
        streams[i] = sized_start(clients[i], SUBSCRIBE, "s1", 3000);
    }

    for (round = 0; round < 3; round++) {
        for (i = 0; i < 12; i++) {
            start_batch(clients[i], calls[i]);
        }

        for (i = 0; i < 12; i++) {
            end_batch(calls[i]);
        }
    }

    for (i = 0; i < 12; i++) {
        client_wait_messages(streams[i], 5);
        (void) sized_check(streams[i], 3000);
        client_close(clients[i]);
    }
}


START_TEST(workers)
{
    crowd(CONF("4", "", "http2", ""));
}
END_TEST


START_TEST(workers_accept_mutex)
{
    crowd(CONF("4", "accept_mutex on; multi_accept on;\n", "http2", ""));
}
END_TEST


START_TEST(workers_reuseport)
{
    crowd(CONF("4", "", "http2 reuseport", ""));
}
END_TEST


/* Debian's nginx is built without; "make check-san" has them. */
static void
method(const char *conf)
{
    const char  *output;

    if (gateway_test(conf, &output) != 0
        && strstr(output, "invalid event type") != NULL)
    {
        return;
    }

    crowd(conf);
}


START_TEST(method_poll)
{
    method(CONF("2", "use poll;\n", "http2", ""));
}
END_TEST


START_TEST(method_select)
{
    method(CONF("2", "use select;\n", "http2", ""));
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("coalesce_conn");

    harness_add(suite, goaway);
    harness_add(suite, goaway_streams);
    harness_add(suite, goaway_idle);
    harness_add(suite, goaway_error);
    harness_add(suite, reload);
    harness_add(suite, reload_streams);
    harness_add(suite, tls12);
    harness_add(suite, tls13);
    harness_add(suite, tls_first_message);
    harness_add(suite, tls_early_data);
    harness_add(suite, tls_slow_reader);
    harness_add(suite, workers);
    harness_add(suite, workers_accept_mutex);
    harness_add(suite, workers_reuseport);
    harness_add(suite, method_poll);
    harness_add(suite, method_select);

    return harness_run(suite, argv[0]);
}
