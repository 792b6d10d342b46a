/* A reload loses no lease and no call; it adds and removes members. */

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <nghttp2/nghttp2.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "instance.h"
#include "process.h"
#include "token.h"


#define CONF(zone, servers)  CONF_WORKERS("2", zone, servers)

#define CONF_WORKERS(workers, zone, servers)                                  \
    CONF_ZONE(workers, "u:" zone, "", servers)

#define CONF_ZONE(workers, zone, more, servers)                               \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes " workers ";\n"                                         \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    more                                                                      \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=" zone ";\n"          \
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
        pod_of(echo_once(session), pods[i], sizeof(pods[i]));
    }

    for (round = 0; round < 3; round++) {
        gateway_reload(NULL);
        client_assert_refused(echo_once("stranger"), 8, BUSY);

        for (i = 0; i < 3; i++) {
            snprintf(session, sizeof(session), "s%d", i);
            ck_assert_str_eq(client_pod(echo_once(session), 0), pods[i]);
        }
    }
}
END_TEST


/*
 * A connection that was accepted before and speaks afterwards is still the old
 * worker's: it has its call, and then has to go.  Since 1.27.1 nginx sends it
 * away before; the call has reached no instance then, and the client repeats
 * it.  The other connection is accepted behind it, and so shows that it was.
 */
START_TEST(reload_sends_clients_away)
{
    fake_t         *fake;
    client_t       *late;
    long long       since;
    client_call_t  *call;

    fake = fake_start(8081, "i1", fake_ok);
    gateway_start(CONF_WORKERS("1", "1m", SERVER(1)));

    late = client_open_held(harness_port(8080));
    client_assert(echo_once("s"), 0, "");
    gateway_reload(NULL);
    link_release(client_link(late), 0);
    call = echo_get(late, "s");

    if (call->reset) {
        ck_assert(client_goaway(late));
        ck_assert_uint_eq(call->error, NGHTTP2_REFUSED_STREAM);
        ck_assert_uint_eq(fake_requests(fake), 1);
        client_assert(echo_once("s"), 0, "");

    } else {
        client_assert(call, 0, "");
    }

    ck_assert_uint_eq(fake_requests(fake), 2);

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

    pod_of(echo_once("s1"), first, sizeof(first));
    client_assert_refused(echo_once("s2"), 8, BUSY);

    gateway_reload(CONF("1m", SERVER(1) SERVER(2)));
    pod_of(echo_once("s2"), second, sizeof(second));
    ck_assert_str_eq(first, "i1");
    ck_assert_str_eq(second, "i2");
    ck_assert_str_eq(client_pod(echo_once("s1"), 0), "i1");
}
END_TEST


/* an instance that is removed serves its session to the end, and no other */
START_TEST(reload_removes_member)
{
    char  pod[64];

    (void) instance_start(8081, "i1", NULL);
    (void) instance_start(8082, "i2", NULL);
    gateway_start(CONF("1m", SERVER(1)));

    pod_of(echo_once("s1"), pod, sizeof(pod));
    gateway_reload(CONF("1m", SERVER(2)));

    ck_assert_str_eq(client_pod(echo_once("s1"), 0), "i1");
    ck_assert_str_eq(client_pod(echo_once("s2"), 0), "i2");
    client_assert_refused(echo_once("s3"), 8, BUSY);

    client_assert(shutdown_get(client_open(harness_port(8080)), "s1"), 0, "");
    client_assert_refused(echo_once("s1"), 8, BUSY);
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
    client_assert_refused(echo_once("s2"), 8, BUSY);
    client_assert(echo_once("s1"), 0, "");

    client_wait_messages(stream, client_messages(stream) + 3);
    ck_assert(!stream->done);

    client_cancel(stream);
    gateway_await_workers(2);
}
END_TEST


/* nginx would make a new zone, and strangers would get the instances */
START_TEST(reload_other_size)
{
    char         pod[64];
    const char  *output;

    (void) instance_start(8081, "i1", NULL);
    (void) instance_start(8082, "i2", NULL);
    gateway_allow("zone cannot change its size");
    gateway_start(CONF("1m", SERVER(1) SERVER(2)));

    pod_of(echo_once("s1"), pod, sizeof(pod));
    gateway_reload_refused(CONF("2m", SERVER(1) SERVER(2)),
                           "it has 1024k and cannot have 2048k after a reload");
    gateway_reload_refused(CONF("512k", SERVER(1) SERVER(2)),
                           "it has 1024k and cannot have 512k after a reload");

    client_assert(echo_once("s2"), 0, "");
    client_assert_refused(echo_once("s3"), 8, BUSY);
    ck_assert_str_eq(client_pod(echo_once("s1"), 0), pod);
    ck_assert_str_ne(client_pod(echo_once("s2"), 0), pod);

    /* nginx -t does not know the running nginx */
    ck_assert_int_eq(gateway_test(CONF("2m", SERVER(1)), &output), 0);
}
END_TEST


START_TEST(reload_zone_of_another_module)
{
    (void) instance_start(8081, "i1", NULL);
    gateway_allow("belongs to something else");
    gateway_start(CONF_ZONE("1", "u:1m",
                            "limit_req_zone $uri zone=x:1m rate=1r/s;\n",
                            SERVER(1)));
    client_assert(echo_once("s1"), 0, "");
    gateway_reload_refused(CONF_ZONE("1", "x:1m", "", SERVER(1)),
                           "zone belongs to something else");
    client_assert(echo_once("s1"), 0, "");
}
END_TEST


/* A zone of another name is a new one: the instances tell their sessions. */
START_TEST(reload_other_zone)
{
    char  pod[64];

    (void) instance_start(8081, "i1", NULL);
    (void) instance_start(8082, "i2", NULL);
    gateway_start(CONF("1m", SERVER(1) SERVER(2)));

    pod_of(echo_once("s1"), pod, sizeof(pod));
    client_assert(echo_once("s2"), 0, "");

    gateway_reload(CONF_ZONE("2", "v:1m", "", SERVER(1) SERVER(2)));
    ck_assert(gateway_logged("zone is not in the new configuration: 2 leases "
                             "end, zone=\"u\""));
    client_assert_refused(echo_once("s3"), 8, BUSY);
    ck_assert_str_eq(client_pod(echo_once("s1"), 0), pod);
    ck_assert_str_ne(client_pod(echo_once("s2"), 0), pod);
}
END_TEST


/* the lease of an instance that is down counts, too */
START_TEST(reload_other_zone_down)
{
    pid_t      instance;
    client_t  *client;

    instance = instance_start(8081, "i1", NULL);
    gateway_start(CONF("1m", SERVER(1)));
    client = client_open(harness_port(8080));
    client_assert(echo_get(client, "s1"), 0, "");

    (void) kill(instance, SIGKILL);
    while (process_answers(harness_port(8081))) { /* void */ }

    client_assert_refused(echo_get(client, "s1"), 14,
                          "backend service unavailable");
    client_close(client);
    gateway_reload(CONF_ZONE("2", "v:1m", "", SERVER(1)));
    ck_assert(gateway_logged("zone is not in the new configuration: 1 leases "
                             "end, zone=\"u\""));
    gateway_await_workers(2);
}
END_TEST


/* a configuration that is refused leaves the old one at work */
START_TEST(reload_refused)
{
    (void) instance_start(8081, "i1", NULL);
    gateway_start(CONF("1m", SERVER(1)));
    client_assert(echo_once("s1"), 0, "");

    gateway_allow("expected at least");
    gateway_reload_refused(CONF("4k", SERVER(1)), "expected at least");
    client_assert(echo_once("s1"), 0, "");
    client_assert_refused(echo_once("s2"), 8, BUSY);
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
    harness_add(suite, reload_other_zone_down);
    harness_add(suite, reload_other_size);
    harness_add(suite, reload_zone_of_another_module);
    harness_add(suite, reload_refused);

    return harness_run(suite, argv[0]);
}
