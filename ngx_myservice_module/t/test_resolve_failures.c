/*
 * Members that come from DNS: failures, the first answer, and more answers than
 * the zone has room for.
 */

#include <stdio.h>

#include "client.h"
#include "dns.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "resolved.h"
#include "status.h"


#define CONF(zone, upstream)                                                  \
    RESOLVED_CONF("2", "u:" zone, upstream "keepalive 16;\n")

#define NONE  "no available instances"

#define FAILURES    5
#define NAME(name)  "myservice_resolve " name ".test:%%PORT_8081%%;\n"


static dns_t  *dns;


/* Waits until so many were asked altogether. */
static void
await_questions(const char *name, unsigned n)
{
    long long  since;

    since = harness_now();

    while (dns_questions(dns, name) < n) {
        harness_pause(since, "questions");
    }
}


/* members stay, whatever the failure is; one warning for each name */
START_TEST(resolve_failures)
{
    size_t    i;
    unsigned  asked[FAILURES];

    static const char *const  names[FAILURES] = {
        "a.test", "b.test", "c.test", "d.test", "e.test"
    };
    static const int          codes[FAILURES] = {
        DNS_SERVFAIL, DNS_NXDOMAIN, DNS_REFUSED, DNS_SILENT, 0
    };
    static const char *const  texts[FAILURES] = {
        "\"error\":\"Server failure\"", "\"error\":\"Host not found\"",
        "\"error\":\"Operation refused\"", "\"error\":\"Operation timed out\"",
        "\"error\":\"Host not found\""
    };

    dns = resolved_start(2, "127.0.0.2 127.0.0.3");

    for (i = 0; i < FAILURES; i++) {
        dns_addresses(dns, names[i], "127.0.0.2 127.0.0.3", 1);
    }

    gateway_start(CONF("1m", DNS NAME("a") NAME("b") NAME("c") NAME("d")
                       NAME("e")));
    client_assert(echo_once("s1"), 0, "");

    for (i = 0; i < FAILURES; i++) {
        if (codes[i] != 0) {
            dns_fail(dns, names[i], codes[i]);

        } else {
            dns_addresses(dns, names[i], "", 1);
        }

        asked[i] = dns_questions(dns, names[i]);
    }

    for (i = 0; i < FAILURES; i++) {
        status_await(texts[i]);
        await_questions(names[i], asked[i] + 3);
    }

    /* the members of each name, and of the upstream */
    ck_assert(!status_has("\"members\":0") && !status_has("\"members\":1"));
    ck_assert(status_has("\"members\":2,\"answers\""));
    ck_assert(status_has("\"leased\":1"));
    ck_assert(status_has("\"free\":1"));
    client_assert(echo_once("s1"), 0, "");
    ck_assert_uint_ge(resolved_logged("its instances stay"), 2 * FAILURES);
    ck_assert_uint_eq(resolved_warnings(), FAILURES);

    for (i = 0; i < FAILURES; i++) {
        dns_addresses(dns, names[i], "127.0.0.2 127.0.0.3", 1);
    }

    status_await_not("\"error\"");
    ck_assert_uint_eq(resolved_warnings(), FAILURES);
}
END_TEST


/* calls wait for the first answer */
START_TEST(resolve_first_answer)
{
    client_t       *client;
    client_call_t  *call;

    dns = resolved_start(1, "127.0.0.2");
    dns_fail(dns, "app.test", DNS_SILENT);
    gateway_start(CONF("1m", DNS APP ";\n"));

    client = client_open(harness_port(8080));
    call = echo_start(client, "s1");
    client_assert_waits(call, 500);

    dns_addresses(dns, "app.test", "127.0.0.2", 1);
    client_wait(call);
    client_assert(call, 0, "");
    ck_assert_str_eq(client_pod(call, 0), "two");
}
END_TEST


START_TEST(resolve_no_answer)
{
    long long  since, begin;

    dns = resolved_start(1, "");
    dns_fail(dns, "app.test", DNS_SILENT);
    gateway_start(CONF("1m", DNS APP ";\n"));

    since = harness_now();
    client_assert_refused(echo_once("s1"), 8, NONE);
    harness_lasted(since, 1000);
    harness_within(since, 1000);

    /* the answer has no address: no reason to wait */
    dns_fail(dns, "app.test", DNS_NXDOMAIN);
    status_await("\"error\":\"Host not found\"");
    begin = harness_now();

    do {
        harness_pause(begin, "calls do not wait");
        since = harness_now();
        client_assert_refused(echo_once("s1"), 8, NONE);
    } while (harness_now() - since > 750);

    /* then the answer has an address */
    dns_addresses(dns, "app.test", "127.0.0.2", 1);
    status_await("\"free\":1");
    resolved_echo_at("s1", "two");
}
END_TEST


/* a server of the configuration does not have the sessions of the others */
START_TEST(resolve_first_answer_with_servers)
{
    client_call_t  *call;

    dns = resolved_start(1, "127.0.0.2");
    (void) fake_start(8082, "static", fake_ok);
    dns_fail(dns, "app.test", DNS_SILENT);
    gateway_start(CONF("1m", DNS APP ";\nserver 127.0.0.1:8082;\n"));
    call = echo_start(client_open(harness_port(8080)), "s1");
    client_assert_waits(call, 500);

    /* after one lookup it is enough */
    client_wait(call);
    client_assert(call, 0, "");
    ck_assert_str_eq(client_pod(call, 0), "static");
    status_await("\"error\"");
    ck_assert_str_eq(client_pod(echo_once("s1"), 0), "static");
}
END_TEST


/* more than the zone has room for: those that fit serve */
START_TEST(resolve_zone_full)
{
    int     i;
    char    addresses[4096], *p;

    p = addresses;

    for (i = 2; i < 202; i++) {
        p += sprintf(p, "127.0.0.%d ", i);
    }

    dns = resolved_start(1, addresses);
    gateway_start(CONF("48k", DNS APP ";\n"));
    status_await("\"answers\":1");
    ck_assert(gateway_logged("no room for another instance"));
    dns_await_questions(dns, "app.test", 2);
    ck_assert_uint_eq(resolved_logged("zone is full: no room"), 1);
    ck_assert(!status_has("\"members\":200"));

    dns_addresses(dns, "app.test", "127.0.0.2", 1);
    status_await("\"free\":1,");
    resolved_echo_at("s1", "two");
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("resolve, failures");

    harness_add(suite, resolve_failures);
    harness_add(suite, resolve_first_answer);
    harness_add(suite, resolve_no_answer);
    harness_add(suite, resolve_first_answer_with_servers);
    harness_add(suite, resolve_zone_full);

    return harness_run(suite, argv[0]);
}
