/*
 * Members that come from DNS: what the name of a headless service of Kubernetes
 * says while its pods come and go.  It has the addresses of all pods, in any
 * order, valid for a few seconds; with none it does not exist, or is empty.
 */

#include <stdio.h>

#include "client.h"
#include "dns.h"
#include "gateway.h"
#include "harness.h"
#include "resolved.h"
#include "status.h"


#define CONF(resolve)                                                         \
    RESOLVED_CONF("2", "u:1m", DNS resolve                                    \
                  "myservice_release MyServiceShutdown;\n"                    \
                  "keepalive 16;\n")

#define PODS  60


static dns_t  *dns;


static void
release(const char *session)
{
    client_assert(shutdown_get(client_open(harness_port(8080)), session), 0,
                  "");
}


/* the name has no address: nobody leaves, and sessions go on */
static void
scaled_to_none(const char *session)
{
    dns_await_questions(dns, "app.test", 3);
    status_await("\"error\":\"Host not found\"");
    ck_assert(status_has("\"leased\":3"));
    ck_assert(!status_has("\"removed\":true"));
    client_assert(echo_once(session), 0, "");
}


START_TEST(resolve_pods)
{
    dns = resolved_start(4, "127.0.0.2");
    gateway_start(CONF(APP "valid=1s;\n"));
    resolved_echo_at("s1", "two");

    dns_addresses(dns, "app.test", "127.0.0.2 127.0.0.3 127.0.0.4", 5);
    status_await("\"members\":3,\"states\"");

    /* a pod is replaced: its session stays there, no other one comes */
    dns_addresses(dns, "app.test", "127.0.0.3 127.0.0.4 127.0.0.5", 5);
    status_await("\"removed\":true");
    client_assert(echo_once("s2"), 0, "");
    client_assert(echo_once("s3"), 0, "");
    client_assert(echo_once("s4"), 0, "");
    client_assert_refused(echo_once("s5"), 8, BUSY);
    resolved_echo_at("s1", "two");

    /* and with its session the pod is gone */
    release("s1");
    status_await_not(status_member("127.0.0.2", 8081, NULL));
    ck_assert(status_has("\"members\":3,\"states\""));

    /* all pods are wanted away */
    dns_fail(dns, "app.test", DNS_NXDOMAIN);
    scaled_to_none("s2");
    dns_addresses(dns, "app.test", "", 5);
    scaled_to_none("s3");

    /* a new one comes, with an address that another pod had: those of before
       end with their sessions */
    dns_addresses(dns, "app.test", "127.0.0.2", 5);
    status_await(status_member("127.0.0.2", 8081, "free"));
    client_assert(echo_once("s2"), 0, "");
    client_assert(echo_once("s3"), 0, "");
    client_assert(echo_once("s4"), 0, "");
    resolved_echo_at("s5", "two");
    client_assert_refused(echo_once("s6"), 8, BUSY);

    release("s2");
    release("s3");
    release("s4");
    status_await("\"members\":1,\"states\"");
    resolved_echo_at("s5", "two");
}
END_TEST


/* more addresses than 512 bytes have room for: the answer comes over TCP */
START_TEST(resolve_many_pods)
{
    int    i;
    char   addresses[PODS * 16], *p;

    p = addresses;

    for (i = 2; i < 2 + PODS; i++) {
        p += sprintf(p, "127.0.0.%d ", i);
    }

    dns = resolved_start(1, addresses);
    dns_truncate(dns, "app.test");
    gateway_start(CONF(APP "valid=1s;\n"));
    status_await("\"members\":60,\"answers\"");

    dns_addresses(dns, "app.test", "127.0.0.2", 5);
    status_await("\"members\":1,\"answers\"");
    resolved_echo_at("s1", "two");
    ck_assert_uint_eq(resolved_warnings(), 0);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("resolve, pods");

    harness_add(suite, resolve_pods);
    harness_add(suite, resolve_many_pods);

    return harness_run(suite, argv[0]);
}
