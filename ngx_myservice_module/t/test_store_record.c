/*
 * A record in the store that cannot be read: its instance gets no session, and
 * the log names it.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "status.h"
#include "store_server.h"


#define CONF(store)                                                           \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_store " store " prefix=u timeout=10s;\n"              \
    "        server 127.0.0.1:8082;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "    }\n"                                                                 \
    STATUS_SERVER                                                             \
    "}\n"


/* the first is written later */

static const char *const  odd[] = {
    "garbage", "garbage", "5 99999999999999999999999 -c - s2", "5 0 d1/c - ",
    "5 0 d99999999999999999999999c - "
};


#define LINE  "store has a record that cannot be read"


static void
await_line(const char *text)
{
    long long  since;

    since = harness_now();

    while (!gateway_logged(text)) {
        harness_pause(since, text);
    }
}


/* it is there when the gateway comes, or is written later; the gateway reads on
 */

START_TEST(unreadable)
{
    char           name[32], text[160];
    client_t      *client;
    long long      since;
    redisContext  *c;

    (void) fake_start(8082, "one", fake_ok);
    (void) store_server_start(harness_port(8095), NULL);
    c = store_server_connect();
    snprintf(name, sizeof(name), "127.0.0.1:%d", harness_port(8082));
    snprintf(text, sizeof(text), LINE ": its instance gets no new session, "
             "key=\"{u}:i\" instance=\"%s\"", name);

    if (_i == 0) {
        gateway_start(CONF("redis://127.0.0.1:8095"));
        await_line("store is connected");
    }

    freeReplyObject(store_server_ask(c, (const char *[]) {
                                     "HSET", "{u}:i", name, odd[_i], NULL }));

    if (_i) {
        gateway_start(CONF("redis://127.0.0.1:8095"));
        await_line(text);
    }

    client = client_open(harness_port(8080));
    since = harness_now();

    do {
        ck_assert_int_ne(echo_get(client, "s1")->grpc, 0);
        harness_pause(since, text);
    } while (!gateway_logged(text));

    ck_assert_uint_eq(harness_count("error.log", LINE), 1);
    ck_assert_uint_eq(harness_count("error.log", "answers with an error"), 0);
    ck_assert_uint_eq(harness_count("error.log", "was not understood"), 0);

    freeReplyObject(store_server_ask(c, (const char *[]) {
                                     "HDEL", "{u}:i", name, NULL }));
    since = harness_now();

    while (echo_get(client, "s1")->grpc != 0) {
        harness_pause(since, "the instance is not free");
    }

    redisFree(c);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_record");
    harness_add_loop(suite, unreadable,
                     (int) (sizeof(odd) / sizeof(odd[0])));

    return harness_run(suite, "test_store_record");
}
