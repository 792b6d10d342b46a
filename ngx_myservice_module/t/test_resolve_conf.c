/*
 * Members that come from DNS: with probes, after a restart, and what the
 * configuration may say.
 */

#include <stdio.h>
#include <string.h>

#include "client.h"
#include "dns.h"
#include "gateway.h"
#include "harness.h"
#include "instance.h"
#include "resolved.h"
#include "status.h"
#include "verdict.h"


#define CONF(workers, size, upstream)                                         \
    RESOLVED_CONF(workers, "u:" size, upstream)

#define HEALTH  "myservice_health interval=200ms timeout=1s "

#define HTTP(text)                                                            \
    "%%GLOBALS%%\nevents {}\nhttp {\n%%GLOBALS_HTTP%%\n" text "}\n"
#define U(text)                                                               \
    HTTP("upstream u { myservice_sessions $myservice_session zone=u:1m;\n"    \
         text "}\n")


static dns_t  *dns;


/* After a restart the gateway knows neither the members nor their sessions: a
 * call waits for both, also when some members are known earlier. */
START_TEST(resolve_restart)
{
    int             i;
    char            session[16], pods[3][64];
    const char     *conf;
    client_call_t  *stranger;

    conf = CONF("2", "1m", DNS SRV ";\n" HEALTH ";\n"
                "myservice_resolve late.test:%%PORT_8083%%;\n");
    dns = dns_start(8119);
    dns_services(dns, SRVNAME, "1 1 8081 a.test,1 1 8082 a.test", 1);
    dns_addresses(dns, "a.test", "127.0.0.1", 1);
    dns_addresses(dns, "late.test", "127.0.0.1", 1);
    (void) instance_start(8081, "i1", NULL);
    (void) instance_start(8082, "i2", NULL);
    (void) instance_start(8083, "i3", NULL);
    gateway_start(conf);

    for (i = 0; i < 3; i++) {
        snprintf(session, sizeof(session), "s%d", i);
        client_assert(echo_once(session), 0, "");
        snprintf(pods[i], sizeof(pods[i]), "%s",
                 client_pod(echo_once(session), 0));
    }

    gateway_stop();
    dns_fail(dns, "late.test", DNS_SILENT);
    gateway_start(conf);
    stranger = echo_start(client_open(harness_port(8080)), "stranger");
    client_assert_waits(stranger, 700);
    dns_addresses(dns, "late.test", "127.0.0.1", 1);
    client_wait(stranger);
    client_assert_refused(stranger, 8, BUSY);

    for (i = 2; i >= 0; i--) {
        snprintf(session, sizeof(session), "s%d", i);
        resolved_echo_at(session, pods[i]);
        snprintf(session, sizeof(session), "session=s%d", i);
        gateway_await_access(session);
    }

    gateway_await_access("decision=REBUILT session=s0");
    ck_assert(status_has("\"NEW\":0"));
}
END_TEST


/* a new member waits for its first probe */
START_TEST(resolve_mandatory)
{
    dns = dns_start(8119);
    dns_services(dns, SRVNAME, "1 1 8081 a.test", 1);
    dns_addresses(dns, "a.test", "127.0.0.1", 1);
    (void) instance_start(8081, "i1", NULL);
    gateway_start(CONF("2", "1m", DNS SRV ";\n" HEALTH "mandatory;\n"));
    resolved_echo_at("s1", "i1");

    dns_services(dns, SRVNAME, "1 1 8081 a.test,1 1 8082 a.test", 1);
    status_await(status_member("127.0.0.1", 8082, "left"));
    client_assert_refused(echo_once("s2"), 8, BUSY);

    (void) instance_start(8082, "i2", NULL);
    status_await(status_member("127.0.0.1", 8082, "free"));
    resolved_echo_at("s2", "i2");
}
END_TEST


/* so does a member that takes the place of another, but it does not wait for
 * the interval */
START_TEST(resolve_mandatory_replaced)
{
    dns = dns_start(8119);
    dns_services(dns, SRVNAME, "1 1 8081 a.test", 1);
    dns_addresses(dns, "a.test", "127.0.0.1", 1);
    (void) instance_start(8081, "i1", NULL);
    (void) instance_start(8082, "i2", NULL);
    gateway_start(CONF("2", "1m", DNS SRV ";\n"
                       "myservice_health interval=1h mandatory;\n"));
    status_await(status_member("127.0.0.1", 8081, "free"));

    dns_services(dns, SRVNAME, "1 1 8082 a.test", 1);
    status_await(status_member("127.0.0.1", 8082, NULL));
    status_await(status_member("127.0.0.1", 8082, "free"));
    resolved_echo_at("s1", "i2");
}
END_TEST


START_TEST(resolve_conf)
{
    size_t     i;
    long long  since;

    static const struct {
        const char  *conf;
        const char  *text;
    } bad[] = {
        { HTTP("upstream u { myservice_resolve a:1;\n"
               "myservice_sessions $myservice_session zone=u:1m; }\n"),
          "must stand after \"myservice_sessions\"" },
        { U("myservice_resolve a:1;\n"),
          "upstream \"u\" has names to resolve, but no "
          "\"myservice_resolver\"" },
        { U(DNS), "no servers are inside upstream" },
        { U(DNS "myservice_resolve a;\n"), "invalid port in \"a\"" },
        { U(DNS "myservice_resolve a:0;\n"), "invalid port in \"a:0\"" },
        { U(DNS "myservice_resolve a:65536;\n"), "invalid port" },
        { U(DNS "myservice_resolve a:;\n"), "invalid port" },
        { U(DNS "myservice_resolve 127.0.0.1:80;\n"),
          "addresses are for \"server\"" },
        { U(DNS "myservice_resolve [::1]:80;\n"),
          "addresses are for \"server\"" },
        { U(DNS "myservice_resolve a..b:1;\n"), "is no name" },
        { U(DNS "myservice_resolve $host:1;\n"), "is no name" },
        { U(DNS "myservice_resolve .:1;\n"), "is no name" },
        { U(DNS "myservice_resolve a:1 service=grpc;\n"),
          "can have no port" },
        { U(DNS "myservice_resolve a service=;\n"),
          "invalid service name in \"service=\"" },
        { U(DNS "myservice_resolve a service=x..y;\n"),
          "invalid service name" },
        { U(DNS "myservice_resolve a:1 valid=0;\n"),
          "invalid \"valid=0\", expected a time of 1s to 1d" },
        { U(DNS "myservice_resolve a:1 valid=x;\n"), "expected a time" },
        { U(DNS "myservice_resolve a:1 valid=2d;\n"), "expected a time" },
        { U(DNS "myservice_resolve a:1 fail_timeout=x;\n"),
          "expected a time of 0s to 1d" },
        { U(DNS "myservice_resolve a:1 removed=kill;\n"),
          "expected \"drain\" or \"drop\"" },
        { U(DNS "myservice_resolve a:1 weight=2;\n"),
          "invalid parameter \"weight=2\"" },
        { U(DNS "myservice_resolve a:1; myservice_resolve A.:1;\n"),
          "duplicate name \"a:1\"" },
        { U(DNS DNS "myservice_resolve a:1;\n"), "is duplicate" },
        { U("myservice_resolver dns.test; myservice_resolve a:1;\n"),
          "invalid name server \"dns.test\", expected an address" },
        { U("myservice_resolver unix:/tmp/x; myservice_resolve a:1;\n"),
          "invalid name server" },
        { U("myservice_resolver valid=1s; myservice_resolve a:1;\n"),
          "no name servers defined" },
        { U("myservice_resolver 127.0.0.1 ipv6=maybe; "
            "myservice_resolve a:1;\n"), "invalid parameter" },
        { U(DNS "myservice_resolve a:1; myservice_resolve a:2;\n"
            "myservice_resolve a:3; myservice_resolve a:4;\n"
            "myservice_resolve a:5; myservice_resolve a:6;\n"
            "myservice_resolve a:7; myservice_resolve a:8;\n"
            "myservice_resolve a:9;\n"), "an upstream can have 8 names" },
        { HTTP("upstream u { myservice_sessions $myservice_session "
               "zone=u:48k;\n" DNS "myservice_resolve a:1; "
               "myservice_resolve a:2; myservice_resolve a:3;\n"
               "myservice_resolve a:4; myservice_resolve a:5; }\n"),
          "its upstream has 160, resolved names counted as 32, zone=\"u\" " },
        { U(DNS "myservice_resolve a:1;\nserver 127.0.0.1:1 weight=2;\n"),
          "does not support parameter \"weight=2\"" },
        { U(DNS "myservice_resolve a:1;\nserver 127.0.0.1:1 backup;\n"),
          "does not support parameter \"backup\"" }
    };

    /* no question at all: names that do not exist cost no time */
    since = harness_now();
    accepted(U("myservice_resolver 192.0.2.1 [2001:db8::1]:5353 valid=3s;\n"
               "myservice_resolver_timeout 30s;\n"
               "myservice_resolve no.such.name.invalid:1 valid=1d "
               "removed=drain fail_timeout=0;\n"
               "myservice_resolve A.b-c_d.e. service=_x._udp removed=drop;\n"
               "myservice_resolve a service=grpc;\n"
               "keepalive 4;\n"));
    accepted(HTTP("resolver 192.0.2.1;\n"
                  "upstream u { myservice_sessions $myservice_session "
                  "zone=u:1m; myservice_resolve a:1 valid=1s; }\n"));
    harness_within(since, 1000);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        refused(bad[i].conf, bad[i].text);
    }
}
END_TEST


/* the resolver of the "http" block, whose answers are valid for longer */
START_TEST(resolve_valid)
{
    dns = resolved_start(2, "127.0.0.2");
    dns_addresses(dns, "app.test", "127.0.0.2", 3600);
    gateway_start("%%GLOBALS%%\nevents {}\nhttp {\n%%GLOBALS_HTTP%%\n"
                  "resolver 127.0.0.1:8119 ipv6=off valid=1h;\n"
                  "upstream u {\n"
                  "myservice_sessions $myservice_session zone=u:1m;\n"
                  APP "valid=1s;\n"
                  "}\n"
                  "upstream v {\n"
                  "myservice_sessions $myservice_session zone=v:1m;\n"
                  "myservice_resolve other.test:1;\n"
                  "}\n"
                  STATUS_SERVER "}\n");
    dns_await_questions(dns, "app.test", 3);
    ck_assert_uint_eq(resolved_questions(dns, "other.test", 1), 0);
    dns_addresses(dns, "other.test", "127.0.0.3", 3600);
    status_await("127.0.0.3:1\"");
    ck_assert_uint_eq(resolved_questions(dns, "other.test", 3000), 0);
    dns_addresses(dns, "app.test", "127.0.0.3", 3600);
    status_await(status_member("127.0.0.3", 8081, "free"));
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("resolve, configuration");

    harness_add(suite, resolve_restart);
    harness_add(suite, resolve_mandatory);
    harness_add(suite, resolve_mandatory_replaced);
    harness_add(suite, resolve_conf);
    harness_add(suite, resolve_valid);

    return harness_run(suite, argv[0]);
}
