/*
 * A reload loses no lease and no call; members come and go with it.
 */

#include <stdio.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "harness.h"


#define CONF(zone, servers)  CONF_WORKERS("2", zone, servers)

#define CONF_WORKERS(workers, zone, servers)                                  \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes " workers ";\n"                                         \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:" zone ";\n"        \
    "        myservice_release MyServiceShutdown;\n"                          \
    servers                                                                   \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "    }\n"                                                                 \
    "}\n"

#define SERVER(n)  "server 127.0.0.1:808" #n ";\n"
#define BUSY       "all instances are busy"


static client_call_t *
echo(const char *session)
{
    return echo_get(client_open(harness_port(8080)), session);
}


static void
pod_of(client_call_t *call, char *pod, size_t size)
{
    client_assert(call, 0, "");
    snprintf(pod, size, "%s", client_pod(call, 0));
}


START_TEST(reload_keeps_leases)
{
    int   i, round;
    char  session[8], pods[3][64];

    (void) instance_start(8081, "i1", NULL);
    (void) instance_start(8082, "i2", NULL);
    (void) instance_start(8083, "i3", NULL);
    gateway_start(CONF("1m", SERVER(1) SERVER(2) SERVER(3)));

    for (i = 0; i < 3; i++) {
        snprintf(session, sizeof(session), "s%d", i);
        pod_of(echo(session), pods[i], sizeof(pods[i]));
    }

    for (round = 0; round < 3; round++) {
        gateway_reload(NULL);
        client_assert_refused(echo("stranger"), 8, BUSY);

        for (i = 0; i < 3; i++) {
            snprintf(session, sizeof(session), "s%d", i);
            ck_assert_str_eq(client_pod(echo(session), 0), pods[i]);
        }
    }
}
END_TEST


/*
 * A connection that was accepted before and speaks afterwards is still the old
 * worker's: it has its call, and then has to go. The other connection is
 * accepted behind it, and so shows that it was.
 */
START_TEST(reload_sends_clients_away)
{
    client_t   *late;
    long long   since;

    (void) instance_start(8081, "i1", NULL);
    gateway_start(CONF_WORKERS("1", "1m", SERVER(1)));

    late = client_open_silent(harness_port(8080));
    client_assert(echo("s"), 0, "");
    gateway_reload(NULL);
    link_release(client_link(late), 0);
    client_assert(echo_get(late, "s"), 0, "");

    since = harness_now();

    while (!client_gone(late)) {
        client_poll(10);
        harness_pause(since, "the old worker still serves a connection");
    }

    gateway_await_workers(1);
}
END_TEST


START_TEST(reload_adds_member)
{
    char  first[64], second[64];

    (void) instance_start(8081, "i1", NULL);
    (void) instance_start(8082, "i2", NULL);
    gateway_start(CONF("1m", SERVER(1)));

    pod_of(echo("s1"), first, sizeof(first));
    client_assert_refused(echo("s2"), 8, BUSY);

    gateway_reload(CONF("1m", SERVER(1) SERVER(2)));
    pod_of(echo("s2"), second, sizeof(second));
    ck_assert_str_eq(first, "i1");
    ck_assert_str_eq(second, "i2");
    ck_assert_str_eq(client_pod(echo("s1"), 0), "i1");
}
END_TEST


/* an instance that is removed serves its session to the end, and no other */
START_TEST(reload_removes_member)
{
    char  pod[64];

    (void) instance_start(8081, "i1", NULL);
    (void) instance_start(8082, "i2", NULL);
    gateway_start(CONF("1m", SERVER(1)));

    pod_of(echo("s1"), pod, sizeof(pod));
    gateway_reload(CONF("1m", SERVER(2)));

    ck_assert_str_eq(client_pod(echo("s1"), 0), "i1");
    ck_assert_str_eq(client_pod(echo("s2"), 0), "i2");
    client_assert_refused(echo("s3"), 8, BUSY);

    client_assert(shutdown_get(client_open(harness_port(8080)), "s1"), 0, "");
    client_assert_refused(echo("s1"), 8, BUSY);
}
END_TEST


/* a stream that runs stays with the old worker; its lease holds for the new */
START_TEST(reload_stream_goes_on)
{
    client_call_t  *stream;

    (void) instance_start(8081, "i1", "--subscribe-interval 20ms");
    gateway_start(CONF("1m", SERVER(1)));

    stream = client_grpc(client_open(harness_port(8080)), SUBSCRIBE,
                         token_make("s1", 60), "s1", "\x0a\x01v", 3);
    client_wait_messages(stream, 2);

    gateway_reload(NULL);
    client_assert_refused(echo("s2"), 8, BUSY);
    client_assert(echo("s1"), 0, "");

    client_wait_messages(stream, client_messages(stream) + 3);
    ck_assert(!stream->done);

    client_cancel(stream);
    gateway_await_workers(2);
}
END_TEST


/* A zone of another size is a new one: the instances tell their sessions. */
START_TEST(reload_other_zone)
{
    char  pod[64];

    (void) instance_start(8081, "i1", NULL);
    (void) instance_start(8082, "i2", NULL);
    gateway_start(CONF("1m", SERVER(1) SERVER(2)));

    pod_of(echo("s1"), pod, sizeof(pod));
    client_assert(echo("s2"), 0, "");

    gateway_reload(CONF("2m", SERVER(1) SERVER(2)));
    client_assert_refused(echo("s3"), 8, BUSY);
    ck_assert_str_eq(client_pod(echo("s1"), 0), pod);
    ck_assert_str_ne(client_pod(echo("s2"), 0), pod);
}
END_TEST


/* a configuration that is refused leaves the old one at work */
START_TEST(reload_refused)
{
    (void) instance_start(8081, "i1", NULL);
    gateway_start(CONF("1m", SERVER(1)));
    client_assert(echo("s1"), 0, "");

    gateway_allow("expected at least");
    gateway_reload_refused(CONF("4k", SERVER(1)), "expected at least");
    client_assert(echo("s1"), 0, "");
    client_assert_refused(echo("s2"), 8, BUSY);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("reload");

    harness_add(suite, reload_keeps_leases);
    harness_add(suite, reload_sends_clients_away);
    harness_add(suite, reload_adds_member);
    harness_add(suite, reload_removes_member);
    harness_add(suite, reload_stream_goes_on);
    harness_add(suite, reload_other_zone);
    harness_add(suite, reload_refused);

    return harness_run(suite, argv[0]);
}
