/*
 * The way to the store: names, TLS, and a server that throws keys away.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "store_server.h"
#include "tls_front.h"


#define STORE  8090
#define TLS    8091

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
    "}\n"

#define CA           " ca=%%DIR%%/certs/ca.crt"
#define CLIENT       " cert=%%DIR%%/certs/client.crt"                          \
                     " key=%%DIR%%/certs/client.key"
#define UNAVAILABLE  "session store unavailable"


static void
begin_store_with(const char *clients, const char *protocols)
{
    char  port[16], certs[256], cert[300], key[300], ca[300];

    tls_front_certs("certs");
    snprintf(port, sizeof(port), "%d", harness_port(TLS));
    snprintf(certs, sizeof(certs), "%s", harness_path("certs"));
    snprintf(cert, sizeof(cert), "%s/server.crt", certs);
    snprintf(key, sizeof(key), "%s/server.key", certs);
    snprintf(ca, sizeof(ca), "%s/ca.crt", certs);

    (void) store_server_start(harness_port(STORE), (const char *[]) {
                                  "--tls-port", port, "--tls-cert-file", cert,
                                  "--tls-key-file", key,
                                  "--tls-ca-cert-file", ca,
                                  "--tls-auth-clients", clients,
                                  "--tls-protocols", protocols, NULL });
    (void) fake_start(8082, "one", fake_ok);
}


static void
begin_store(void)
{
    begin_store_with("no", "TLSv1.2 TLSv1.3");
}


static void
serves(void)
{
    long long       since;
    client_t       *client;
    client_call_t  *call;

    client = client_open(harness_port(8080));
    since = harness_now();

    for ( ;; ) {
        call = echo_get(client, "s1");

        if (call->grpc == 0) {
            return;
        }

        client_assert_refused(call, 14, UNAVAILABLE);
        harness_pause(since, "the store gives no lease");
    }
}


static void
await_log(const char *text)
{
    long long  since;

    since = harness_now();

    while (!gateway_logged(text)) {
        harness_pause(since, text);
    }
}


/* a machine that is too busy may be late for the hand-shake instead */

static void
refuses(const char *why)
{
    long long  since;

    since = harness_now();

    while (!gateway_logged(why) && !gateway_logged("timed out")) {
        harness_pause(since, why);
    }

    client_assert_refused(echo_once("s1"), 14, UNAVAILABLE);
}


START_TEST(by_name)
{
    begin_store();
    gateway_start(CONF("redis://localhost:%%PORT_8090%%"));
    serves();
}
END_TEST


START_TEST(tls_address)
{
    begin_store();
    gateway_start(CONF("rediss://127.0.0.1:8091" CA));
    serves();
}
END_TEST


START_TEST(tls_name)
{
    begin_store();
    gateway_start(CONF("rediss://localhost:%%PORT_8091%%" CA));
    serves();
}
END_TEST


START_TEST(tls_other_name)
{
    begin_store();
    gateway_start(CONF("rediss://127.0.0.1:8091 name=store.test" CA));
    refuses("store is gone: the certificate has another name");

    /* the control */

    gateway_reload(CONF("rediss://127.0.0.1:8091 name=localhost" CA));
    serves();
}
END_TEST


START_TEST(tls_other_address)
{
    begin_store();
    gateway_start(CONF("rediss://127.0.0.1:8091 name=127.0.0.2" CA));
    refuses("store is gone: the certificate has another name");
}
END_TEST


START_TEST(tls_unknown_issuer)
{
    begin_store();
    tls_front_certs("others");
    gateway_start(CONF("rediss://127.0.0.1:8091"
                       " ca=%%DIR%%/others/ca.crt"));
    refuses("store is gone: the certificate is not of a known issuer");
}
END_TEST


/* each try of a worker writes twice at least, and who only tries writes nothing
 * else */

static void
await_tries(unsigned long n)
{
    long long      since;
    unsigned long  writes;

    writes = gateway_writes();
    since = harness_now();

    while (gateway_writes() < writes + 2 * n) {
        harness_pause(since, "the workers do not try again");
    }
}


/* Redis' default asks clients for a certificate; TLS 1.3 tells one that has
 * none so when the hand-shake is over for it */

START_TEST(tls_client)
{
    const char  *protocols, *why;

    protocols = _i ? "TLSv1.3" : "TLSv1.2";
    why = _i ? "certificate required" : "handshake failure";

    begin_store_with("yes", protocols);
    gateway_start(CONF("rediss://127.0.0.1:8091" CA));
    refuses("store is gone: TLS: ");
    ck_assert(gateway_logged(why) || gateway_logged("timed out"));

    await_tries(12);
    ck_assert_uint_le(harness_count("error.log", "store is gone"), 1);
    ck_assert_uint_eq(harness_count("error.log", "[crit]"), 0);
    ck_assert_uint_eq(harness_count("error.log", "SSL_"), 0);

    gateway_reload(CONF("rediss://127.0.0.1:8091" CA CLIENT));
    serves();
}
END_TEST


/* one of another issuer */

START_TEST(tls_client_unknown)
{
    begin_store_with("yes", "TLSv1.2 TLSv1.3");
    tls_front_certs("others");
    gateway_start(CONF("rediss://127.0.0.1:8091" CA
                       " cert=%%DIR%%/others/client.crt"
                       " key=%%DIR%%/others/client.key"));
    refuses("store is gone: TLS: ");
    ck_assert_uint_eq(harness_count("error.log", "[crit]"), 0);
}
END_TEST


/* TLS there, and none here */

START_TEST(tls_unexpected)
{
    begin_store();
    gateway_start(CONF("redis://127.0.0.1:8091"));
    refuses("store is gone: the connection was closed before it answered");
}
END_TEST


/* no TLS there */

START_TEST(tls_missing)
{
    begin_store();
    gateway_start(CONF("rediss://127.0.0.1:8090" CA));
    refuses("store is gone: ");
}
END_TEST


START_TEST(evicts)
{
    (void) store_server_start(harness_port(STORE), (const char *[]) {
                                  "--maxmemory", "100mb",
                                  "--maxmemory-policy", "allkeys-lru", NULL });
    (void) fake_start(8082, "one", fake_ok);
    gateway_start(CONF("redis://127.0.0.1:8090"));
    serves();
    await_log("store may lose all leases: its maxmemory-policy is "
              "\"allkeys-lru\"");
}
END_TEST


/* the policy of a server without a limit has no effect */

START_TEST(evicts_not)
{
    (void) store_server_start(harness_port(STORE), (const char *[]) {
                                  "--maxmemory-policy", "allkeys-lru", NULL });
    (void) fake_start(8082, "one", fake_ok);
    gateway_start(CONF("redis://127.0.0.1:8090"));
    serves();
    ck_assert(!gateway_logged("store may lose all leases"));
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_tls");
    harness_add(suite, by_name);
    harness_add(suite, tls_address);
    harness_add(suite, tls_name);
    harness_add(suite, tls_other_name);
    harness_add(suite, tls_other_address);
    harness_add(suite, tls_unknown_issuer);
    harness_add_loop(suite, tls_client, 2);
    harness_add(suite, tls_client_unknown);
    harness_add(suite, tls_unexpected);
    harness_add(suite, tls_missing);
    harness_add(suite, evicts);
    harness_add(suite, evicts_not);

    return harness_run(suite, "test_store_tls");
}
