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
#define UNAVAILABLE  "session store unavailable"


static void
begin_store(void)
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
                                  "--tls-auth-clients", "no", NULL });
    (void) fake_start(8082, "one", fake_ok);
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
    harness_add(suite, tls_missing);
    harness_add(suite, evicts);
    harness_add(suite, evicts_not);

    return harness_run(suite, "test_store_tls");
}
