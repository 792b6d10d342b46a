/*
 * myservice_multiplex and grpcs://: calls share a connection with TLS, whose
 * sessions are resumed, and only with the instance that is meant.
 */

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "tls_front.h"


#define CONF(name)  CONF_WITH(ONE, name, "")

#define ONE  "server 127.0.0.1:8081;\n"
#define TWO  ONE "server 127.0.0.1:8082;\n"

#define CONF_WITH(servers, name, directives)                                  \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    servers                                                                   \
    "        myservice_multiplex on;\n"                                       \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        grpc_ssl_verify on;\n"                                           \
    "        grpc_ssl_server_name on;\n"                                      \
    "        grpc_ssl_trusted_certificate %%DIR%%/a/ca.crt;\n"                \
    "        grpc_ssl_certificate %%DIR%%/a/client.crt;\n"                    \
    "        grpc_ssl_certificate_key %%DIR%%/a/client.key;\n"                \
    "        grpc_ssl_protocols TLSv1.2 TLSv1.3;\n"                           \
    directives                                                                \
    "        location / {\n"                                                  \
    "            grpc_ssl_name " name ";\n"                                   \
    "            grpc_pass grpcs://u;\n"                                      \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define CALLS  20

/* longer than a name in a handshake */
#define N64    "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
#define LONG   N64 N64 N64 N64


static fake_t       *fake;
static tls_front_t  *front;


static void
begin(unsigned flags, const char *conf)
{
    tls_front_certs("a");
    fake = fake_start(8091, "one", fake_ok);
    front = tls_front_start(8081, 8091, "a", flags);
    gateway_start(conf);
}


START_TEST(mux_tls_shared)
{
    int             i;
    client_t       *client;
    client_call_t  *calls[CALLS];

    begin(0, CONF("myservice"));
    client = client_open(harness_port(8080));

    for (i = 0; i < CALLS; i++) {
        calls[i] = echo_start(client, "s1");
    }

    for (i = 0; i < CALLS; i++) {
        client_wait(calls[i]);
        client_assert(calls[i], 0, "");
    }

    ck_assert_uint_eq(fake_requests(fake), CALLS);
    ck_assert_uint_eq(tls_front_handshakes(front), 1);
}
END_TEST


/* each connection ends, and the next handshake is short */
static void
resumes(unsigned flags)
{
    unsigned  i;

    begin(flags, CONF("myservice"));
    client_assert(echo_once("s1"), 0, "");

    for (i = 1; i <= 3; i++) {
        fake_hang_up(fake, true);
        tls_front_await_ends(front, i);
        client_assert(echo_once("s1"), 0, "");
        ck_assert_uint_eq(fake_requests(fake), 1 + i);
        ck_assert_uint_eq(tls_front_handshakes(front), 1 + i);
        ck_assert_uint_eq(tls_front_resumed(front), i);
    }

    ck_assert(!gateway_logged("instance failed"));
}


START_TEST(mux_tls_resumes)
{
    resumes(0);
}
END_TEST


START_TEST(mux_tls_resumes_old)
{
    resumes(TLS_FRONT_OLD);
}
END_TEST


/* an instance that always fails at the session gets none any more */
START_TEST(mux_tls_refuses)
{
    unsigned  i, failed;

    begin(TLS_FRONT_REFUSE, CONF("myservice"));
    client_assert(echo_once("s1"), 0, "");

    for (i = 1; i <= 5; i++) {
        fake_hang_up(fake, true);
        failed = i > 3 ? 3 : i - 1;
        tls_front_await_ends(front, i + failed);
        client_assert(echo_once("s1"), 0, "");
        ck_assert_uint_eq(fake_requests(fake), 1 + i);
        ck_assert_uint_eq(tls_front_handshakes(front), 1 + i);
        ck_assert_uint_eq(tls_front_resumed(front), 0);
    }

    ck_assert(!gateway_logged("instance failed"));
}
END_TEST


/* one that fails once, as when it restarts, has sessions again */
START_TEST(mux_tls_refuses_once)
{
    unsigned  i;

    begin(0, CONF("myservice"));
    client_assert(echo_once("s1"), 0, "");

    for (i = 0; i < 5; i++) {

        /* a long handshake, then a short one */

        fake_hang_up(fake, true);
        tls_front_await_ends(front, 3 * i + 1);
        tls_front_drop(front, 1);
        client_assert(echo_once("s1"), 0, "");
        ck_assert_uint_eq(tls_front_resumed(front), i);

        fake_hang_up(fake, true);
        tls_front_await_ends(front, 3 * i + 3);
        client_assert(echo_once("s1"), 0, "");
        ck_assert_uint_eq(tls_front_resumed(front), i + 1);
    }

    ck_assert(!gateway_logged("instance failed"));
}
END_TEST


START_TEST(mux_tls_other_name)
{
    begin(0, CONF("somebody-else"));

    client_assert_refused(echo_once("s1"), 14, "backend service unavailable");
    ck_assert_uint_eq(fake_requests(fake), 0);
    ck_assert(gateway_logged("TLS certificate does not match "
                             "\"somebody-else\""));
}
END_TEST


/* An instance that accepts connections and says nothing */
static int
listen_mute(void)
{
    int                 fd;
    struct sockaddr_in  sin;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sin.sin_port = htons((uint16_t) harness_port(8081));

    fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *) &sin, sizeof(sin)), 0);
    ck_assert_int_eq(listen(fd, 16), 0);

    return fd;
}


/* what OpenSSL says is the reason, not the last error of a socket */
START_TEST(mux_tls_spoilt)
{
    client_call_t  *call;

    begin(TLS_FRONT_SPOIL, CONF("myservice"));
    call = echo_once("s1");
    client_assert(call, 14, "backend service unavailable");
    ck_assert(gateway_logged("SSL_read() failed"));
    ck_assert(!gateway_logged("recv() failed"));
}
END_TEST


/* a handshake that nobody waits for any more ends, and holds no worker's
 * socket */
START_TEST(mux_tls_mute)
{
    int             listening, fd;
    char            bytes[4096];
    ssize_t         n;
    client_t       *client;
    client_call_t  *call;
    struct timeval  limit = { HARNESS_DEADLINE / 1000, 0 };

    tls_front_certs("a");
    listening = listen_mute();
    gateway_start(CONF("myservice"));
    client = client_open(harness_port(8080));
    call = echo_start(client, "s1");
    client_await_still();
    fd = accept(listening, NULL, NULL);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit,
                                sizeof(limit)),
                     0);
    ck_assert_int_gt(recv(fd, bytes, sizeof(bytes), 0), 0);

    client_cancel(call);
    client_await_still();

    do {
        n = recv(fd, bytes, sizeof(bytes), 0);
    } while (n > 0);

    ck_assert_int_eq(n, 0);
    (void) close(fd);
    (void) close(listening);
}
END_TEST


/* Handshakes that hang */

static void
await_accepted(unsigned n)
{
    long long  since;

    since = harness_now();

    while (tls_front_accepted(front) < n) {
        client_poll(5);
        harness_pause(since, "connections");
    }
}


/* a call that ends without a connection is the last one to wait for this one */
START_TEST(mux_tls_hangs)
{
    client_t       *client;
    client_call_t  *call;

    const client_header_t  headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", "s1" },
        { "grpc-timeout", "2S" },
        { NULL, NULL }
    };

    begin(0, CONF("myservice"));
    tls_front_hang(front);
    client = client_open(harness_port(8080));
    (void) echo_start(client, "s1");
    await_accepted(1);

    call = client_request(client, ECHO, headers, "\0\0\0\0\0", 5, false);
    client_wait(call);
    client_assert(call, 4, "deadline exceeded");
    ck_assert_uint_eq(tls_front_accepted(front), 1);

    (void) echo_start(client, "s1");
    await_accepted(2);
}
END_TEST


/* a session that could be resumed is no excuse: the instance is down */
START_TEST(mux_tls_hangs_later)
{
    fake_t         *other, *swap;
    tls_front_t    *other_front;

    tls_front_certs("a");
    fake = fake_start(8091, "one", fake_ok);
    other = fake_start(8092, "two", fake_ok);
    front = tls_front_start(8081, 8091, "a", 0);
    other_front = tls_front_start(8082, 8092, "a", 0);
    gateway_start(CONF_WITH(TWO, "myservice", "grpc_connect_timeout 1s;\n"));
    client_assert(echo_once("s1"), 0, "");

    if (fake_requests(fake) == 0) {
        swap = fake;
        fake = other;
        other = swap;
        front = other_front;
    }

    fake_hang_up(fake, true);
    tls_front_await_ends(front, 1);
    tls_front_hang(front);

    client_assert(echo_once("s1"), 0, "");
    ck_assert_uint_eq(fake_requests(other), 1);
    ck_assert(gateway_logged("instance failed"));
}
END_TEST


/* what the gateway lacks for a handshake is not the instance's fault */
START_TEST(mux_tls_local)
{
    begin(0, CONF(LONG));
    client_assert(echo_once("s1"), 13,
                  "gateway cannot connect to an instance");
    ck_assert(gateway_logged("this is not the instance's fault"));
    ck_assert(!gateway_logged("instance failed"));
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;

    suite = suite_create("mux_tls");
    harness_add(suite, mux_tls_shared);
    harness_add(suite, mux_tls_resumes);
    harness_add(suite, mux_tls_resumes_old);
    harness_add(suite, mux_tls_refuses);
    harness_add(suite, mux_tls_refuses_once);
    harness_add(suite, mux_tls_hangs);
    harness_add(suite, mux_tls_hangs_later);
    harness_add(suite, mux_tls_local);
    harness_add(suite, mux_tls_other_name);
    harness_add(suite, mux_tls_spoilt);
    harness_add(suite, mux_tls_mute);

    return harness_run(suite, argv[0]);
}
