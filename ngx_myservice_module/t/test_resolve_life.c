/*
 * Members that come from DNS through reloads.
 */

#include "client.h"
#include "dns.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "instance.h"
#include "resolved.h"
#include "status.h"
#include "token.h"


#define CONF(workers, size, upstream)                                         \
    RESOLVED_CONF(workers, "u:" size, upstream)

#define OTHER   "myservice_resolve other.test:%%PORT_8081%% "
#define HEALTH  "myservice_health interval=200ms timeout=1s "


static dns_t  *dns;


/* members are there at once, and the name server need not be */
START_TEST(resolve_reload_keeps)
{
    int  i;

    dns = resolved_start(2, "127.0.0.2 127.0.0.3");
    gateway_start(CONF("2", "1m", DNS APP ";\n"));
    client_assert(echo_once("s1"), 0, "");
    dns_fail(dns, "app.test", DNS_SILENT);

    for (i = 0; i < 3; i++) {
        gateway_reload(NULL);
        client_assert(echo_once("s1"), 0, "");
        client_assert(echo_once("s2"), 0, "");
        client_assert_refused(echo_once("s3"), 8, BUSY);
    }

    status_await("\"error\":\"Operation timed out\"");
    ck_assert(status_has("\"leased\":2"));
    gateway_await_workers(2);
}
END_TEST


START_TEST(resolve_reload_removes_name)
{
    dns = resolved_start(2, "127.0.0.2");
    dns_addresses(dns, "other.test", "127.0.0.3", 1);
    gateway_start(CONF("2", "1m", DNS APP ";\n" OTHER "removed=drop;\n"));
    status_await("\"free\":2");
    client_assert(echo_once("s1"), 0, "");
    client_assert(echo_once("s2"), 0, "");

    /* drain: the session of 127.0.0.2 goes on */
    gateway_reload(CONF("2", "1m", DNS OTHER "removed=drop;\n"));
    ck_assert(status_has("\"removed\":true"));
    client_assert(echo_once("s1"), 0, "");
    client_assert(echo_once("s2"), 0, "");
    client_assert_refused(echo_once("s3"), 8, BUSY);

    /* drop: gone */
    gateway_reload(CONF("2", "1m", "server 127.0.0.1:8082;\n"));
    ck_assert(!status_has(status_member("127.0.0.3", 8081, NULL)));
    ck_assert(status_has(status_member("127.0.0.2", 8081, NULL)));
    ck_assert(status_has("\"names\":[]"));
    gateway_await_workers(2);
}
END_TEST


/* an address that is both resolved and configured is one member */
START_TEST(resolve_reload_changes_source)
{
    dns = resolved_start(2, "127.0.0.2");
    gateway_start(CONF("2", "1m", DNS APP "removed=drop;\n"));
    resolved_echo_at("s1", "two");

    /* to a server line */
    gateway_reload(CONF("2", "1m", "server 127.0.0.2:%%PORT_8081%%;\n"
                        "server 127.0.0.3:%%PORT_8081%% down;\n"));
    ck_assert(status_has(status_member("127.0.0.2", 8081, "leased")));
    ck_assert(!status_has("\"removed\":true"));
    client_assert_refused(echo_once("s2"), 8, BUSY);

    /* both; then the name has what the line had, "down" goes with it */
    dns_addresses(dns, "app.test", "127.0.0.2 127.0.0.3", 1);
    gateway_reload(CONF("2", "1m", DNS APP "removed=drop;\n"
                        "server 127.0.0.2:%%PORT_8081%%;\n"
                        "server 127.0.0.3:%%PORT_8081%% down;\n"));
    status_await("\"members\":2,\"answers\"");
    client_assert_refused(echo_once("s2"), 8, BUSY);

    gateway_reload(CONF("2", "1m", DNS APP "removed=drop;\n"));
    ck_assert(status_has(status_member("127.0.0.2", 8081, "leased")));
    resolved_echo_at("s1", "two");
    resolved_echo_at("s2", "three");
    gateway_await_workers(2);
}
END_TEST


/* an old worker that still serves a stream does not ask, and its stream goes
 * on */
START_TEST(resolve_reload_old_worker)
{
    unsigned        n;
    client_call_t  *stream;

    dns = dns_start(8119);
    dns_services(dns, SRVNAME, "1 1 8082 a.test", 1);
    dns_addresses(dns, "a.test", "127.0.0.1", 1);
    (void) instance_start(8082, "i2", "--subscribe-interval 20ms");
    gateway_start(CONF("2", "1m", DNS SRV ";\n"));
    stream = client_grpc(client_open(harness_port(8080)), SUBSCRIBE,
                         token_make("s1", 60), "s1", "\x0a\x01v", 3);
    client_wait_messages(stream, 2);

    gateway_reload(NULL);
    dns_await_questions(dns, SRVNAME, 2);
    resolved_by_one(dns, SRVNAME);

    /* the member leaves, and its stream goes on */
    dns_services(dns, SRVNAME, "1 1 8083 a.test", 1);
    status_await("\"removed\":true");
    n = client_messages(stream);
    client_wait_messages(stream, n + 5);
    ck_assert(!stream->done);
    client_cancel(stream);
    gateway_await_workers(2);
}
END_TEST


/* a zone of another name is a new one: calls wait for the first answer */
START_TEST(resolve_reload_other_zone)
{
    dns = resolved_start(2, "127.0.0.2");
    gateway_start(CONF("2", "1m", DNS APP ";\n"));
    resolved_echo_at("s1", "two");
    gateway_reload(RESOLVED_CONF("2", "v:1m", DNS APP ";\n"));
    resolved_echo_at("s2", "two");
    gateway_await_workers(2);
}
END_TEST


/* without probes nothing would bring it back */
START_TEST(resolve_reload_without_health)
{
    fake_t  *fake;

    dns = resolved_start(2, "127.0.0.4");
    gateway_start(CONF("2", "1m", DNS APP "fail_timeout=1s;\n" HEALTH ";\n"));
    status_await("\"down\":1");
    dns_fail(dns, "app.test", DNS_SILENT);

    gateway_reload(CONF("2", "1m", DNS APP "fail_timeout=1s;\n"));
    status_await("\"free\":1");
    fake = fake_start_at("127.0.0.4", 8081, "four", fake_ok);
    resolved_echo_at("s1", "four");
    ck_assert_uint_eq(fake_requests(fake), 1);
    gateway_await_workers(2);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("resolve, life");

    harness_add(suite, resolve_reload_keeps);
    harness_add(suite, resolve_reload_removes_name);
    harness_add(suite, resolve_reload_changes_source);
    harness_add(suite, resolve_reload_old_worker);
    harness_add(suite, resolve_reload_other_zone);
    harness_add(suite, resolve_reload_without_health);

    return harness_run(suite, argv[0]);
}
