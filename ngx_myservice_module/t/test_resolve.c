/*
 * Members that come from DNS: the addresses of names, which change.
 */

#include "client.h"
#include "dns.h"
#include "gateway.h"
#include "harness.h"
#include "instance.h"
#include "resolved.h"
#include "status.h"
#include "token.h"


#define CONF(zone, upstream)                                                  \
    RESOLVED_CONF("2", "u:" zone, upstream "keepalive 16;\n")


static dns_t  *dns;


START_TEST(resolve_gains_and_loses)
{
    long long  since;

    dns = resolved_start(2, "127.0.0.2");
    gateway_start(CONF("1m", DNS APP ";\n"));
    resolved_echo_at("s1", "two");
    client_assert_refused(echo_once("s2"), 8, BUSY);

    /* within the validity, a second of the resolver's clock more, and what
       polling takes */
    dns_addresses(dns, "app.test", "127.0.0.2 127.0.0.3", 1);
    since = harness_now();
    status_await(status_member("127.0.0.3", 8081, "free"));
    harness_within(since, 2000);
    resolved_echo_at("s2", "three");
    resolved_echo_at("s1", "two");

    /* its session goes on, no other session gets it */
    dns_addresses(dns, "app.test", "127.0.0.3", 1);
    status_await("\"removed\":true");
    resolved_echo_at("s1", "two");
    client_assert_refused(echo_once("s3"), 8, BUSY);

    /* the member is back with its session */
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
    client_assert_refused(echo_once("s2"), 8, BUSY);
    ck_assert(gateway_logged("has 1 instances, 0 joined, 1 left"));
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


/* the calls there end: another service may have the address already */
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
    client_wait(stream);
    client_assert(stream, 14, "session moved");
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


/* an address of several names stays until the last of them loses it */
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


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("resolve");

    harness_add(suite, resolve_gains_and_loses);
    harness_add(suite, resolve_free_member_leaves);
    harness_add(suite, resolve_drop);
    harness_add(suite, resolve_drop_stream);
    harness_add(suite, resolve_both_families);
    harness_add(suite, resolve_several_names);

    return harness_run(suite, argv[0]);
}
