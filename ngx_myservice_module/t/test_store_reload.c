/*
 * A reload: what the log and the state say of a store is about the addresses
 * that are configured now.
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
    "        myservice_store " store " timeout=10s;\n"                        \
    "        server 127.0.0.1:8082;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "    }\n"                                                                 \
    STATUS_SERVER                                                             \
    "}\n"


static const char  connected[] = "store is connected:";
static const char  gone[] = "store is gone: Connection refused,";


static void
await_log(const char *what, int number, size_t n)
{
    char       text[128];
    long long  since;

    snprintf(text, sizeof(text), "%s address 127.0.0.1:%d", what,
             harness_port(number));
    since = harness_now();

    while (harness_count("error.log", text) < n) {
        harness_pause(since, text);
    }

    snprintf(text, sizeof(text), "\"state\":\"%s\",\"address\":"
             "\"127.0.0.1:%d\"", what == connected ? "connected" : "gone",
             harness_port(number));
    status_await(text);
}


/* no server at either */

START_TEST(bad_to_bad)
{
    (void) fake_start(8082, "one", fake_ok);
    gateway_start(CONF("redis://127.0.0.1:8095"));
    await_log(gone, 8095, 1);
    ck_assert_uint_eq(harness_count("error.log", "store is gone"), 1);

    gateway_reload(CONF("redis://127.0.0.1:8096"));
    await_log(gone, 8096, 1);
    ck_assert_uint_eq(harness_count("error.log", "store is gone"), 2);

    /* the control: it is no news that it still is */

    gateway_reload(CONF("redis://127.0.0.1:8096 failure=local"));
    gateway_await_workers(2);
    client_assert(echo_once("s1"), 0, "");
    ck_assert_uint_eq(harness_count("error.log", "store is gone"), 2);

    (void) store_server_start(harness_port(8096), NULL);
    await_log(connected, 8096, 1);
}
END_TEST


START_TEST(good_to_good)
{
    (void) fake_start(8082, "one", fake_ok);
    (void) store_server_start(harness_port(8095), NULL);
    (void) store_server_start(harness_port(8096), NULL);
    gateway_start(CONF("redis://127.0.0.1:8095"));
    await_log(connected, 8095, 1);

    gateway_reload(CONF("redis://127.0.0.1:8096"));
    await_log(connected, 8096, 1);

    gateway_reload(CONF("redis://127.0.0.1:8096 failure=local"));
    gateway_await_workers(2);
    client_assert(echo_once("s1"), 0, "");
    ck_assert_uint_eq(harness_count("error.log", "store is connected"), 2);
    ck_assert_uint_eq(harness_count("error.log", "store is gone"), 0);
}
END_TEST


START_TEST(good_to_bad)
{
    (void) fake_start(8082, "one", fake_ok);
    (void) store_server_start(harness_port(8095), NULL);
    gateway_start(CONF("redis://127.0.0.1:8095"));
    await_log(connected, 8095, 1);

    gateway_reload(CONF("redis://127.0.0.1:8096"));
    await_log(gone, 8096, 1);

    gateway_reload(CONF("redis://127.0.0.1:8095"));
    gateway_await_workers(2);
    await_log(connected, 8095, 2);
    ck_assert_uint_eq(harness_count("error.log", "store is connected"), 2);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_reload");
    harness_add(suite, bad_to_bad);
    harness_add(suite, good_to_good);
    harness_add(suite, good_to_bad);

    return harness_run(suite, "test_store_reload");
}
