/*
 * Members that come from DNS: what answers, failures and the first answer do,
 * and which worker asks.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "dns.h"
#include "fake.h"
#include "harness.h"
#include "resolved.h"
#include "status.h"


#define CONF(zone, upstream)                                                  \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:" zone ";\n"        \
    "        myservice_resolver_timeout 1s;\n"                                \
    upstream                                                                  \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "    }\n"                                                                 \
    STATUS_SERVER                                                             \
    "}\n"

#define NONE  "no available instances"


static dns_t  *dns;


static unsigned
logged_times(const char *text)
{
    char      *log, *p;
    unsigned   n;

    log = harness_read("error.log");

    for (n = 0, p = log; (p = strstr(p, text)) != NULL; p++) {
        n++;
    }

    free(log);

    return n;
}


/* of this module: nginx has some of its own */
static unsigned
logged_warnings(void)
{
    char      *log, *line, *save;
    unsigned   n;

    log = harness_read("error.log");
    n = 0;

    for (line = strtok_r(log, "\n", &save);
         line != NULL;
         line = strtok_r(NULL, "\n", &save))
    {
        n += strstr(line, "[warn]") != NULL
             && strstr(line, "resolve:") != NULL;
    }

    free(log);

    return n;
}


START_TEST(resolve_gains_and_loses)
{
    long long  since;

    dns = resolved_start(2, "127.0.0.2");
    gateway_start(CONF("1m", DNS APP ";\n"));
    resolved_echo_at("s1", "two");
    client_assert_refused(resolved_echo("s2"), 8, BUSY);

    /* within the validity, a second of the resolver's clock more, and what
       polling takes */
    dns_addresses(dns, "app.test", "127.0.0.2 127.0.0.3", 1);
    since = harness_now();
    status_await(status_member("127.0.0.3", 8081, "free"));
    ck_assert_int_lt(harness_now() - since, 4000);
    resolved_echo_at("s2", "three");
    resolved_echo_at("s1", "two");

    /* its session goes on, nobody else gets it */
    dns_addresses(dns, "app.test", "127.0.0.3", 1);
    status_await("\"removed\":true");
    resolved_echo_at("s1", "two");
    client_assert_refused(resolved_echo("s3"), 8, BUSY);

    /* it is back as if nothing had been */
    dns_addresses(dns, "app.test", "127.0.0.2 127.0.0.3", 1);
    status_await_not("\"removed\":true");
    resolved_echo_at("s1", "two");
    resolved_echo_at("s2", "three");
}
END_TEST


START_TEST(resolve_free_member_leaves)
{
    dns = resolved_start(2, "127.0.0.2 127.0.0.3");
    gateway_start(CONF("1m", DNS APP ";\n"));
    status_await(status_member("127.0.0.3", 8081, "free"));

    dns_addresses(dns, "app.test", "127.0.0.2", 1);
    status_await_not(status_member("127.0.0.3", 8081, NULL));
    resolved_echo_at("s1", "two");
    client_assert_refused(resolved_echo("s2"), 8, BUSY);
    ck_assert(gateway_logged("has 1 instances, 0 joined, 1 left"));
}
END_TEST


/* the server gives them in another order each time */
START_TEST(resolve_reordered)
{
    dns = resolved_start(3, "127.0.0.2 127.0.0.3 127.0.0.4");
    gateway_start(CONF("1m", DNS APP ";\n"));
    client_assert(resolved_echo("s1"), 0, "");
    client_assert(resolved_echo("s2"), 0, "");
    client_assert(resolved_echo("s3"), 0, "");

    dns_await_questions(dns, "app.test", 4);
    status_await("\"leased\":3");
    ck_assert_uint_eq(logged_times("resolve:"), 1);
    client_assert_refused(resolved_echo("s4"), 8, BUSY);
}
END_TEST


/* members stay, whatever the failure is; said once */
START_TEST(resolve_failures)
{
    size_t  i;

    static const int          codes[] = { DNS_SERVFAIL, DNS_NXDOMAIN,
                                          DNS_REFUSED, DNS_SILENT, 0 };
    static const char *const  texts[] = {
        "\"error\":\"Server failure\"", "\"error\":\"Host not found\"",
        "\"error\":\"Operation refused\"", "\"error\":\"Operation timed out\"",
        "\"error\":\"Host not found\""
    };

    dns = resolved_start(2, "127.0.0.2 127.0.0.3");
    gateway_start(CONF("1m", DNS APP ";\n"));
    client_assert(resolved_echo("s1"), 0, "");

    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (codes[i] != 0) {
            dns_fail(dns, "app.test", codes[i]);

        } else {
            dns_addresses(dns, "app.test", "", 1);
        }

        status_await(texts[i]);
        dns_await_questions(dns, "app.test", 2);
        ck_assert(status_has("\"members\":2,\"answers\""));
        ck_assert(status_has("\"leased\":1"));
        ck_assert(status_has("\"free\":1"));
        client_assert(resolved_echo("s1"), 0, "");

        dns_addresses(dns, "app.test", "127.0.0.2 127.0.0.3", 1);
        status_await_not("\"error\"");
    }

    ck_assert_uint_ge(logged_times("its instances stay"), 10);
    ck_assert_uint_eq(logged_warnings(), 5);
}
END_TEST


/* what runs goes on */
START_TEST(resolve_drop_stream)
{
    client_call_t  *stream;

    dns = dns_start(8119);
    dns_services(dns, SRVNAME, "1 1 8082 a.test", 1);
    dns_addresses(dns, "a.test", "127.0.0.1", 1);
    (void) instance_start(8082, "i2", "--subscribe-interval 20ms");
    (void) instance_start(8083, "i3", NULL);
    gateway_start(CONF("1m", DNS SRV "removed=drop;\n"));
    stream = client_grpc(client_open(harness_port(8080)), SUBSCRIBE,
                         token_make("s1", 60), "s1", "\x0a\x01v", 3);
    client_wait_messages(stream, 2);

    dns_services(dns, SRVNAME, "1 1 8083 a.test", 1);
    status_await_not(status_member("127.0.0.1", 8082, NULL));
    resolved_echo_at("s1", "i3");
    client_wait_messages(stream, client_messages(stream) + 5);
    ck_assert(!stream->done);
    client_cancel(stream);
}
END_TEST


START_TEST(resolve_drop)
{
    dns = resolved_start(2, "127.0.0.2");
    gateway_start(CONF("1m", DNS APP "removed=drop;\n"));
    resolved_echo_at("s1", "two");

    dns_addresses(dns, "app.test", "127.0.0.3", 1);
    status_await_not(status_member("127.0.0.2", 8081, NULL));
    resolved_echo_at("s1", "three");
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

    client_assert(resolved_echo("s1"), 0, "");
    client_assert(resolved_echo("s2"), 0, "");
    client_assert_refused(resolved_echo("s3"), 8, BUSY);
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

    /* it is asked for again, not as fast as can be */
    n = dns_questions(dns, SRVNAME);
    since = harness_now();

    while (harness_now() - since < 3000) {
        harness_pause(since, "time");
    }

    ck_assert_uint_le(dns_questions(dns, SRVNAME) - n, 6);
    ck_assert_uint_eq(logged_warnings(), 1);

    /* one that is gone is gone */
    dns_fail(dns, "b.test", DNS_NXDOMAIN);
    status_await_not(status_member("127.0.0.1", 8082, NULL));
    status_await_not(status_member("127.0.0.1", 8081, NULL));
    ck_assert(status_has(status_member("127.0.0.1", 8083, "free")));
}
END_TEST


START_TEST(resolve_both_families)
{
    dns = dns_start(8119);
    dns_addresses(dns, "app.test", "127.0.0.2 ::1", 1);
    dns_alias(dns, "alias.test", "app.test", 1);
    gateway_start(CONF("1m", "myservice_resolver 127.0.0.1:8119;\n"
                       "myservice_resolve alias.test:%%PORT_8081%%;\n"));
    status_await(status_member("127.0.0.2", 8081, "free"));
    status_await(status_member("[::1]", 8081, "free"));

    gateway_reload(CONF("1m", DNS
                        "myservice_resolve alias.test:%%PORT_8081%%;\n"));
    status_await_not(status_member("[::1]", 8081, NULL));
    ck_assert(status_has(status_member("127.0.0.2", 8081, "free")));
    gateway_await_workers(2);
}
END_TEST


/* what several names have stays until the last of them lets it go */
START_TEST(resolve_several_names)
{
    dns = resolved_start(3, "127.0.0.2 127.0.0.3");
    dns_addresses(dns, "other.test", "127.0.0.3 127.0.0.4", 1);
    gateway_start(CONF("1m", DNS APP ";\n"
                       "myservice_resolve other.test:%%PORT_8081%%;\n"
                       "server 127.0.0.2:%%PORT_8081%%;\n"));
    status_await("\"members\":3,\"states\"");

    dns_addresses(dns, "app.test", "127.0.0.3", 1);
    status_await("\"members\":1,\"answers\"");
    ck_assert(status_has("\"members\":3,\"states\""));

    dns_addresses(dns, "other.test", "127.0.0.4", 1);
    dns_await_questions(dns, "other.test", 2);
    ck_assert(status_has("\"members\":3,\"states\""));

    dns_addresses(dns, "app.test", "127.0.0.4", 1);
    status_await_not(status_member("127.0.0.3", 8081, NULL));
    ck_assert(status_has("\"members\":2,\"states\""));
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
    long long  since;

    dns = resolved_start(1, "");
    dns_fail(dns, "app.test", DNS_SILENT);
    gateway_start(CONF("1m", DNS APP ";\n"));

    since = harness_now();
    client_assert_refused(resolved_echo("s1"), 8, NONE);
    ck_assert_int_ge(harness_now() - since, 1000);
    ck_assert_int_lt(harness_now() - since, 4000);

    /* it says that there is nobody: no reason to wait */
    dns_fail(dns, "app.test", DNS_NXDOMAIN);
    status_await("\"error\":\"Host not found\"");
    since = harness_now();
    client_assert_refused(resolved_echo("s1"), 8, NONE);
    ck_assert_int_lt(harness_now() - since, 800);

    /* and then there is one */
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
    ck_assert_str_eq(client_pod(resolved_echo("s1"), 0), "static");
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
    ck_assert(gateway_logged("\"u\" has no room for another instance"));
    dns_await_questions(dns, "app.test", 3);
    ck_assert_uint_eq(logged_times("has no room"), 1);
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
    suite = suite_create("resolve");

    harness_add(suite, resolve_gains_and_loses);
    harness_add(suite, resolve_free_member_leaves);
    harness_add(suite, resolve_reordered);
    harness_add(suite, resolve_failures);
    harness_add(suite, resolve_drop);
    harness_add(suite, resolve_drop_stream);
    harness_add(suite, resolve_services);
    harness_add(suite, resolve_services_partial);
    harness_add(suite, resolve_both_families);
    harness_add(suite, resolve_several_names);
    harness_add(suite, resolve_first_answer);
    harness_add(suite, resolve_no_answer);
    harness_add(suite, resolve_first_answer_with_servers);
    harness_add(suite, resolve_zone_full);

    return harness_run(suite, argv[0]);
}
