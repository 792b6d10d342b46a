/*
 * Which worker asks for the names, when others die or hang.
 */

#include <signal.h>

#include "client.h"
#include "dns.h"
#include "gateway.h"
#include "harness.h"
#include "resolved.h"
#include "status.h"


#define CONF(workers, size, upstream)                                         \
    RESOLVED_CONF(workers, "u:" size, upstream)


static dns_t  *dns;


/* each asks every two seconds */
START_TEST(resolve_one_worker)
{
    dns = resolved_start(2, "127.0.0.2");
    gateway_start(CONF("4", "1m", DNS APP ";\n"));
    resolved_echo_at("s1", "two");
    resolved_by_one(dns, "app.test");
}
END_TEST


START_TEST(resolve_worker_killed)
{
    int          i;
    const char  *now;

    dns = resolved_start(2, "127.0.0.2");
    gateway_start(CONF("3", "1m", DNS APP ";\n"));
    status_await(status_member("127.0.0.2", 8081, "free"));

    for (i = 0; i < 4; i++) {
        /* the one that asks is among them in two of three cases */
        gateway_kill_workers(2);

        now = i % 2 ? "127.0.0.2" : "127.0.0.3";
        dns_addresses(dns, "app.test", now, 1);
        status_await(status_member(now, 8081, "free"));
        status_await("\"members\":1,\"states\"");
    }
}
END_TEST


/* another worker replaces one that hangs; that one notices when it goes on */
START_TEST(resolve_worker_hangs)
{
    size_t       i;
    pid_t        pids[8];
    const char  *now;

    dns = resolved_start(2, "127.0.0.2");
    gateway_start(CONF("2", "1m", DNS APP ";\n"));
    status_await(status_member("127.0.0.2", 8081, "free"));
    ck_assert_uint_eq(gateway_workers(pids, 8), 2);

    for (i = 0; i < 2; i++) {
        ck_assert_int_eq(kill(pids[i], SIGSTOP), 0);

        now = i % 2 ? "127.0.0.2" : "127.0.0.3";
        dns_addresses(dns, "app.test", now, 1);
        status_await(status_member(now, 8081, "free"));
        status_await("\"members\":1,\"states\"");

        ck_assert_int_eq(kill(pids[i], SIGCONT), 0);
    }

    dns_await_questions(dns, "app.test", 1);
    resolved_by_one(dns, "app.test");
    ck_assert(status_has("\"members\":1,\"states\""));
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("resolve, workers");

    harness_add(suite, resolve_one_worker);
    harness_add(suite, resolve_worker_killed);
    harness_add(suite, resolve_worker_hangs);

    return harness_run(suite, argv[0]);
}
