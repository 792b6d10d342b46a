/*
 * The balancer with grpcs:// upstreams: connections are kept alive, stale
 * ones are replaced, instances that cannot prove who they are, or do not take
 * the gateway's certificate, are failures like others.
 */

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "instance.h"
#include "tls_front.h"
#include "token.h"


#define CONF(servers, directives)                                             \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    servers                                                                   \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / {\n"                                                  \
    "            grpc_ssl_verify on;\n"                                       \
    "            grpc_ssl_name myservice;\n"                                  \
    "            grpc_ssl_trusted_certificate %%DIR%%/a/ca.crt;\n"            \
    "            grpc_ssl_certificate %%DIR%%/a/client.crt;\n"                \
    "            grpc_ssl_certificate_key %%DIR%%/a/client.key;\n"            \
    "            grpc_ssl_protocols TLSv1.2 TLSv1.3;\n"                       \
    "            myservice_replay_buffer 64k;\n"                              \
    directives                                                                \
    "            grpc_pass grpcs://u;\n"                                      \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define ONE          "server 127.0.0.1:8081;\n"
#define RETRY        "myservice_retry MyServiceEcho;\n"
#define TWO          ONE "server 127.0.0.1:8082;\n"

#define UNAVAILABLE  "backend service unavailable"
#define BODY         50000


static atomic_ulong  body;              /* bytes of the last request */


static void
well(fake_call_t *call)
{
    atomic_store(&body, call->body);
    fake_ok(call);
}


/* The second request on a connection meets its end. */
static void
stale(fake_call_t *call)
{
    if (call->nth == 2) {
        fake_close(call);

    } else {
        well(call);
    }
}


/* The same with a GOAWAY before it. */
static void
leave(fake_call_t *call)
{
    if (call->nth == 2) {
        fake_goaway(call);
        fake_close(call);

    } else {
        well(call);
    }
}


static client_call_t *
upload(const char *session)
{
    void           *message;
    client_call_t  *call;

    message = calloc(1, BODY);
    ck_assert_ptr_nonnull(message);
    call = client_grpc(client_open(harness_port(8080)), ECHO,
                       token_make(session, 60), session, message, BODY);
    free(message);
    client_wait(call);

    return call;
}


START_TEST(tls_keepalive)
{
    int           i;
    fake_t       *fake;
    tls_front_t  *front;

    tls_front_certs("a");
    fake = fake_start(8091, "one", well);
    front = tls_front_start(8081, 8091, "a", 0);
    gateway_start(CONF(ONE, ""));

    for (i = 1; i <= 5; i++) {
        client_assert(echo_once("s1"), 0, "");
    }

    ck_assert_uint_eq(fake_requests(fake), 5);
    ck_assert_uint_eq(tls_front_handshakes(front), 1);

    client_assert(upload("s1"), 0, "");
    ck_assert_uint_eq(atomic_load(&body), BODY + 5);
}
END_TEST


static void
stale_connection(fake_answer_pt answer, unsigned flags, const char *conf)
{
    unsigned        i;
    fake_t         *fake;
    tls_front_t    *front;
    client_call_t  *call;

    tls_front_certs("a");
    fake = fake_start(8091, "one", answer);
    front = tls_front_start(8081, 8091, "a", flags);
    gateway_start(conf);

    client_assert(echo_once("s1"), 0, "");

    for (i = 1; i <= 4; i++) {
        call = i == 4 ? upload("s1") : echo_once("s1");
        client_assert(call, 0, "");
        ck_assert_uint_eq(client_messages(call), 1);
        ck_assert_uint_eq(tls_front_handshakes(front), 1 + i);
        ck_assert_uint_eq(fake_requests(fake), 1 + 2 * i);
    }

    ck_assert_uint_eq(atomic_load(&body), BODY + 5);
}


START_TEST(tls_stale_connection)
{
    stale_connection(stale, 0, CONF(ONE, RETRY));
}
END_TEST


START_TEST(tls_stale_connection_cut)
{
    stale_connection(stale, TLS_FRONT_CUT, CONF(ONE, RETRY));
}
END_TEST


START_TEST(tls_stale_connection_old)
{
    stale_connection(stale, TLS_FRONT_OLD, CONF(ONE, RETRY));
}
END_TEST


START_TEST(tls_goaway)
{
    stale_connection(leave, 0, CONF(ONE, ""));
}
END_TEST


/* It ends while it is idle, and the gateway has not heard of that: any method
 * goes on a new one, whatever its body. */
static void
idle_connection(unsigned flags, bool goaway)
{
    unsigned        i;
    fake_t         *fake;
    client_t       *client;
    tls_front_t    *front;
    client_call_t  *call;

    tls_front_certs("a");
    fake = fake_start(8091, "one", well);
    front = tls_front_start(8081, 8091, "a", flags);
    gateway_start(CONF(ONE, ""));
    client = client_open(harness_port(8080));
    client_assert(echo_get(client, "s1"), 0, "");

    for (i = 1; i <= 3; i++) {
        gateway_freeze(true);
        call = echo_start(client, "s1");

        while (call->sent == 0) {
            client_poll(100);
        }

        fake_hang_up(fake, goaway);
        tls_front_await_ends(front, i);
        gateway_freeze(false);
        client_wait(call);
        client_assert(call, 0, "");
        ck_assert_uint_eq(fake_requests(fake), 1 + i);
        ck_assert_uint_eq(tls_front_handshakes(front), 1 + i);
    }
}


START_TEST(tls_idle_connection)
{
    idle_connection(0, false);
}
END_TEST


START_TEST(tls_idle_connection_cut)
{
    idle_connection(TLS_FRONT_CUT, true);
}
END_TEST


/* Nothing is sent to an instance of another authority. */
START_TEST(tls_untrusted)
{
    int           i;
    char          session[8];
    fake_t       *impostor;
    tls_front_t  *front;

    tls_front_certs("a");
    tls_front_certs("b");
    impostor = fake_start(8091, "impostor", well);
    front = tls_front_start(8081, 8091, "b", 0);
    (void) fake_start(8092, "two", well);
    (void) tls_front_start(8082, 8092, "a", 0);
    gateway_start(CONF(TWO, ""));

    client_assert(echo_once("s"), 0, "");

    /* the calls find the instance busy, and go to the other one */
    for (i = 0; i < 4; i++) {
        snprintf(session, sizeof(session), "s%d", i);
        ck_assert_int_ne(echo_once(session)->grpc, 0);
    }

    ck_assert_uint_eq(fake_requests(impostor), 0);
    ck_assert_uint_eq(tls_front_handshakes(front), 0);
    ck_assert(gateway_logged("certificate verify error"));
}
END_TEST


START_TEST(tls_untrusted_only)
{
    tls_front_certs("a");
    tls_front_certs("b");
    (void) fake_start(8091, "impostor", well);
    (void) tls_front_start(8081, 8091, "b", 0);
    gateway_start(CONF(ONE, ""));

    client_assert_refused(echo_once("s1"), 14, UNAVAILABLE);
}
END_TEST


/* With TLS 1.3 nginx learns that after it has sent the request. */
static void
certificate_refused(unsigned flags)
{
    char     command[8192];
    fake_t  *fake;

    tls_front_certs("a");
    tls_front_certs("b");

    /* the gateway trusts the instance, which knows only authority b */
    snprintf(command, sizeof(command), "cd %s && mv a/server.* b/",
             harness_directory());
    ck_assert_int_eq(system(command), 0);

    fake = fake_start(8091, "one", well);
    (void) tls_front_start(8081, 8091, "b", flags);
    gateway_start(CONF(ONE, ""));

    client_assert_refused(echo_once("s1"), 14, UNAVAILABLE);
    ck_assert_uint_eq(fake_requests(fake), 0);
}


START_TEST(tls_certificate_refused)
{
    certificate_refused(0);
}
END_TEST


START_TEST(tls_certificate_refused_old)
{
    certificate_refused(TLS_FRONT_OLD);
}
END_TEST


/* The same with instances that exist. */
START_TEST(tls_instance)
{
    int    i;
    pid_t  pid;

    tls_front_certs("a");
    setenv("MYSERVICE_TLS_CERT", harness_path("a/server.crt"), 1);
    setenv("MYSERVICE_TLS_KEY", harness_path("a/server.key"), 1);
    setenv("MYSERVICE_TLS_CLIENT_CA", harness_path("a/ca.crt"), 1);

    pid = instance_start(8081, "one", NULL);
    gateway_start(CONF(ONE, ""));

    for (i = 0; i < 3; i++) {
        client_assert(echo_once("s1"), 0, "");
        client_assert(echo_once("s1"), 0, "");

        instance_signal(pid, SIGKILL);
        pid = instance_start(8081, "one", NULL);
    }
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;

    suite = suite_create("tls_upstream");
    harness_add(suite, tls_keepalive);
    harness_add(suite, tls_stale_connection);
    harness_add(suite, tls_stale_connection_cut);
    harness_add(suite, tls_stale_connection_old);
    harness_add(suite, tls_goaway);
    harness_add(suite, tls_idle_connection);
    harness_add(suite, tls_idle_connection_cut);
    harness_add(suite, tls_untrusted);
    harness_add(suite, tls_untrusted_only);
    harness_add(suite, tls_certificate_refused);
    harness_add(suite, tls_certificate_refused_old);
    harness_add(suite, tls_instance);

    return harness_run(suite, argv[0]);
}
