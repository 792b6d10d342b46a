/*
 * Members that come from DNS: services, whose ports come from the records, and
 * answers in any order.
 */

#include "client.h"
#include "dns.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "resolved.h"
#include "status.h"


#define CONF(zone, upstream)                                                  \
    RESOLVED_CONF("2", "u:" zone, upstream "keepalive 16;\n")


static dns_t  *dns;


/* the server gives them in another order each time */
START_TEST(resolve_reordered)
{
    dns = resolved_start(3, "127.0.0.2 127.0.0.3 127.0.0.4");
    gateway_start(CONF("1m", DNS APP ";\n"));
    client_assert(echo_once("s1"), 0, "");
    client_assert(echo_once("s2"), 0, "");
    client_assert(echo_once("s3"), 0, "");

    dns_await_questions(dns, "app.test", 3);
    status_await("\"leased\":3");
    ck_assert_uint_eq(resolved_logged("name is "), 1);
    client_assert_refused(echo_once("s4"), 8, BUSY);
}
END_TEST


/* its port comes from the records; another priority is not used */
START_TEST(resolve_services)
{
    dns = dns_start(8119);
    dns_services(dns, SRVNAME, "1 10 8081 a.test,1 0 8082 a.test,"
                 "2 10 8083 a.test", 1);
    dns_addresses(dns, "a.test", "127.0.0.1", 1);
    (void) fake_start(8081, "one", fake_ok);
    (void) fake_start(8082, "two", fake_ok);
    (void) fake_start(8083, "three", fake_ok);
    gateway_start(CONF("1m", DNS SRV ";\n"));

    client_assert(echo_once("s1"), 0, "");
    client_assert(echo_once("s2"), 0, "");
    client_assert_refused(echo_once("s3"), 8, BUSY);
    ck_assert(status_has("\"name\":\"" SRVNAME "\",\"members\":2"));
    ck_assert(!status_has(status_member("127.0.0.1", 8083, NULL)));

    dns_services(dns, SRVNAME, "2 10 8083 a.test", 1);
    status_await(status_member("127.0.0.1", 8083, "free"));
    status_await("\"draining\":0");
    resolved_echo_at("s3", "three");
}
END_TEST


/* a target that can not be looked up may still be there */
START_TEST(resolve_services_partial)
{
    unsigned   n;
    long long  since;

    dns = dns_start(8119);
    dns_services(dns, SRVNAME, "1 1 8081 a.test,1 1 8082 b.test", 1);
    dns_addresses(dns, "a.test", "127.0.0.1", 1);
    dns_addresses(dns, "b.test", "127.0.0.1", 1);
    gateway_start(CONF("1m", DNS SRV ";\n"));
    status_await("\"members\":2,\"answers\"");

    dns_fail(dns, "b.test", DNS_SERVFAIL);
    dns_services(dns, SRVNAME, "1 1 8083 a.test,1 1 8082 b.test", 1);
    status_await(status_member("127.0.0.1", 8083, "free"));
    dns_await_questions(dns, "b.test", 2);
    ck_assert(status_has(status_member("127.0.0.1", 8082, "free")));
    ck_assert(status_has(status_member("127.0.0.1", 8081, "free")));

    /* the worker asks again, not as fast as it can */
    n = dns_questions(dns, SRVNAME);
    since = harness_now();

    while (harness_now() - since < 3000) {
        harness_pause(since, "time");
    }

    ck_assert_uint_le(dns_questions(dns, SRVNAME) - n,
                      3 + (harness_now() - since) / 1000);
    ck_assert_uint_eq(resolved_warnings(), 1);

    /* a target that does not exist any more leaves */
    dns_fail(dns, "b.test", DNS_NXDOMAIN);
    status_await_not(status_member("127.0.0.1", 8082, NULL));
    status_await_not(status_member("127.0.0.1", 8081, NULL));
    ck_assert(status_has(status_member("127.0.0.1", 8083, "free")));
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("resolve, services");

    harness_add(suite, resolve_reordered);
    harness_add(suite, resolve_services);
    harness_add(suite, resolve_services_partial);

    return harness_run(suite, argv[0]);
}
