/*
 * A store that has a name: it is looked up again while nginx runs.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "dns.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "process.h"
#include "store_server.h"


#define STORE  8090
#define NAME   "store.test"

#define CONF(workers, http, store)                                            \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes " workers ";\n"                                         \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    http                                                                      \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_store " store " prefix=u timeout=5s;\n"                \
    "        server 127.0.0.1:8082 fail_timeout=1;\n"                         \
    "        server 127.0.0.1:8083 fail_timeout=1;\n"                         \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "        location = /status { myservice_status; }\n"                      \
    "    }\n"                                                                 \
    "}\n"

#define RESOLVER     "resolver 127.0.0.1:8119 ipv6=off;\n"
#define URL          "redis://" NAME ":%%PORT_8090%%"
#define UNAVAILABLE  "session store unavailable"


static dns_t     *dns;
static client_t  *client;


static pid_t
store_at(const char *address)
{
    return store_server_start(harness_port(STORE),
                              (const char *[]) { "--bind", address, NULL });
}


static client_call_t *
try_echo(const char *session)
{
    if (client == NULL || client_gone(client)) {
        client = client_open(harness_port(8080));
    }

    return echo_get(client, session);
}


static void
await_echo(const char *session)
{
    long long       since;
    client_call_t  *call;

    since = harness_now();

    for ( ;; ) {
        call = try_echo(session);

        if (call->grpc == 0) {
            return;
        }

        client_assert_refused(call, 14, UNAVAILABLE);
        harness_pause(since, "the store gives no lease");
    }
}


static void
await_logged(const char *text)
{
    long long  since;

    since = harness_now();

    while (!gateway_logged(text)) {
        harness_pause(since, text);
    }
}


static void
begin(void)
{
    dns = dns_start(8119);
    (void) fake_start(8082, "one", fake_ok);
    (void) fake_start(8083, "two", fake_ok);
}


/* the name goes to another server, while the first one lives on, or is dead */

START_TEST(follows)
{
    pid_t       first;
    char        text[128];

    begin();
    first = store_at("127.0.0.2");
    (void) store_at("127.0.0.3");
    dns_addresses(dns, NAME, "127.0.0.2", 1);

    gateway_start(CONF("2", RESOLVER, URL));
    await_echo("s1");
    snprintf(text, sizeof(text), "store is connected: address 127.0.0.2:%d",
             harness_port(STORE));
    ck_assert(gateway_logged(text));

    if (_i) {
        store_server_kill(first);
    }

    dns_addresses(dns, NAME, "127.0.0.3", 1);
    snprintf(text, sizeof(text), "store is connected: address 127.0.0.3:%d",
             harness_port(STORE));
    await_logged(text);

    /* the gateway tells it of its leases: "u" has the second server */

    store_server_await(1);
    await_echo("s2");
    store_server_await(2);
    client_assert(try_echo("s1"), 0, "");
    ck_assert_int_eq(gateway_logged("its name has other addresses"), !_i);
}
END_TEST


/* a name in another order is the same store: the connection stays */

START_TEST(same)
{
    begin();
    (void) store_at("127.0.0.2");
    dns_addresses(dns, NAME, "127.0.0.2 127.0.0.3", 1);

    gateway_start(CONF("2", RESOLVER, URL));
    await_echo("s1");
    dns_await_questions(dns, NAME, 4);
    await_echo("s1");
    ck_assert(!gateway_logged("store is gone"));
}
END_TEST


/* nginx starts without an answer, and has the store when there is one; later
 * without an answer the addresses stay */

START_TEST(late)
{
    begin();
    (void) store_at("127.0.0.2");

    gateway_start(CONF("1", RESOLVER, URL));
    await_logged("store is not found: Host not found");
    await_logged("store is gone: its name has no address");
    client_assert_refused(try_echo("s1"), 14, UNAVAILABLE);

    dns_addresses(dns, NAME, "127.0.0.2", 1);
    await_echo("s1");

    dns_fail(dns, NAME, DNS_SERVFAIL);
    await_logged("store is not found: Server failure");
    await_echo("s2");

    gateway_reload(NULL);
    client = NULL;
    await_echo("s1");
}
END_TEST


/* without a resolver it must be there when nginx starts; -t does not ask */

START_TEST(without)
{
    const char  *output;

    ck_assert_int_eq(gateway_test(CONF("1", "", URL), &output), 0);
    gateway_start(CONF("1", "", "redis://127.0.0.1:8090"));
    gateway_allow("was not found");
    gateway_reload_refused(CONF("1", "", URL),
                           "host \"store.test\" was not found");
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_names");
    harness_add_loop(suite, follows, 2);
    harness_add(suite, same);
    harness_add(suite, late);
    harness_add(suite, without);

    return harness_run(suite, "test_store_names");
}
