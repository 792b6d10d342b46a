/*
 * myservice_coalesce: how many system calls the gateway writes a call with, for
 * requests that arrive in all possible pieces.
 */

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "client.h"
#include "fake_conn.h"
#include "gateway.h"
#include "harness.h"
#include "instance.h"
#include "sized.h"


#define SERVER(host, coalesce, directives)                                    \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        server_name " host ";\n"                                         \
    "        client_max_body_size 5m;\n"                                      \
    "        http2_max_concurrent_streams 512;\n"                             \
    "        myservice_grpc_errors on;\n"                                     \
    "        myservice_coalesce " coalesce ";\n"                              \
    "        access_log %%DIR%%/access.log calls;\n"                          \
    "        location / {\n"                                                  \
    directives                                                                \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "    }\n"

#define CONF(servers)                                                         \
    "%%GLOBALS%%\n"                                                           \
    "events { worker_connections 1024; }\n"                                   \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format calls 'status=$status grpc=$myservice_grpc_status';\n"    \
    "    upstream u {\n"                                                      \
    "        server 127.0.0.1:8081;\n"                                        \
    "        keepalive 600;\n"                                                \
    "    }\n"                                                                 \
    servers                                                                   \
    "}\n"

#define ON     CONF(SERVER("localhost", "on", ""))
#define QUIET  "access_log off;\n"

#define CALLS  20
#define BATCH  32

#define REFLECTION  "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


static fake_call_t     batch[BATCH];
static unsigned        gathered;
static fake_answer_pt  answer = fake_ok;
static atomic_uint     gathering = 0;      /* requests that wait for "go" */
static atomic_uint     go = 0;             /* batches that may be answered */
static atomic_uint     answered = 0;       /* batches that were */


static client_call_t *
echo(client_t *client)
{
    return client_grpc(client, ECHO, NULL, "s1", "\x0a\x05hello", 7);
}


/* The writes of the gateway for so many calls, one after the other. */
static unsigned long
writes_for(client_t *client, int calls, const char *host)
{
    int              i;
    client_call_t   *call;
    unsigned long    before;
    client_header_t  headers[] = {
        { ":authority", host },
        { "te", "trailers" },
        { "content-type", "application/grpc" },
        { "session-id", "s1" },
        { NULL, NULL }
    };

    before = gateway_writes();

    for (i = 0; i < calls; i++) {
        link_hold(client_link(client));
        call = client_request(client, ECHO, headers,
                              "\0\0\0\0\x07\x0a\x05hello", 12, false);
        link_release(client_link(client), 0);
        client_wait(call);
        client_assert(call, 0, "");
        ck_assert_uint_eq(client_messages(call), 1);
    }

    return gateway_writes() - before;
}


/* the connections are settled after the first ones */
static unsigned long
steady_writes(const char *conf)
{
    client_t  *client;

    fake_at_once(fake_start(8081, "one", fake_ok));
    gateway_start(conf);
    client = client_open(harness_port(8080));
    (void) writes_for(client, 3, "localhost");

    return writes_for(client, CALLS, "localhost");
}


START_TEST(writes_on)
{
    ck_assert_uint_eq(steady_writes(CONF(SERVER("localhost", "on", QUIET))),
                      2 * CALLS);
}
END_TEST


START_TEST(writes_off)
{
    ck_assert_uint_eq(steady_writes(CONF(SERVER("localhost", "off", QUIET))),
                      5 * CALLS);
}
END_TEST


/* the connection keeps what a request to the one server has brought */
START_TEST(writes_servers)
{
    client_t  *client;

    fake_at_once(fake_start(8081, "one", fake_ok));
    gateway_start(CONF(SERVER("off", "off", QUIET) SERVER("on", "on", QUIET)));
    client = client_open(harness_port(8080));

    (void) writes_for(client, 3, "off");
    ck_assert_uint_eq(writes_for(client, CALLS, "off"), 5 * CALLS);
    (void) writes_for(client, 1, "on");
    ck_assert_uint_eq(writes_for(client, CALLS, "on"), 2 * CALLS);
    ck_assert_uint_eq(writes_for(client, CALLS, "off"), 3 * CALLS);
}
END_TEST


/* Answers when BATCH requests have come and the test says so. */
static void
gather(fake_call_t *call)
{
    int        i;
    long long  since;

    batch[gathered++] = *call;
    atomic_store(&gathering, gathered);

    if (gathered < BATCH) {
        return;
    }

    since = harness_now();

    while (atomic_load(&go) == atomic_load(&answered)) {
        harness_pause(since, "answers may go");
    }

    for (i = 0; i < BATCH; i++) {
        answer(&batch[i]);
    }

    gathered = 0;
    atomic_fetch_add(&answered, 1);
}


/* one write for each request, and one for all answers */
static void
parallel(void)
{
    int            i, round;
    client_t      *client;
    long long      since;
    client_call_t *calls[BATCH];
    unsigned long  before;

    (void) fake_start(8081, "one", gather);
    gateway_start(CONF(SERVER("localhost", "on", QUIET)));
    client = client_open(harness_port(8080));
    before = 0;

    for (round = 1; round <= 6; round++) {
        link_hold(client_link(client));

        for (i = 0; i < BATCH; i++) {
            calls[i] = echo(client);
        }

        if (round == 2) {
            before = gateway_writes();
        }

        link_release(client_link(client), 0);
        since = harness_now();

        while (atomic_load(&gathering) < BATCH) {
            harness_pause(since, "requests come");
        }

        gateway_freeze(true);
        atomic_store(&gathering, 0);
        atomic_store(&go, (unsigned) round);

        while (atomic_load(&answered) < (unsigned) round) {
            harness_pause(since, "answers go");
        }

        gateway_freeze(false);

        for (i = 0; i < BATCH; i++) {
            client_wait(calls[i]);
            client_assert(calls[i], 0, "");
        }
    }

    /* and a line in nginx's log that it was stopped */

    ck_assert_uint_le(gateway_writes() - before, 5 * (BATCH + 2));
}


START_TEST(writes_parallel)
{
    parallel();
}
END_TEST


/* 32 KB of messages in all */
static void
answer_long(fake_call_t *call)
{
    static const uint8_t  message[1005] = { 0, 0, 0, 1000 >> 8, 1000 & 0xff };

    fake_headers(call);
    fake_frame(call->conn, DATA, 0, call->stream, message, sizeof(message));
    fake_trailers(call, 0, NULL);
}


START_TEST(writes_parallel_long)
{
    answer = answer_long;
    parallel();
}
END_TEST


START_TEST(many_at_once)
{
    int             i;
    client_t       *client;
    client_call_t  *calls[500];

    (void) instance_start(8081, "one", NULL);
    gateway_start(ON);
    client = client_open(harness_port(8080));

    for (i = 0; i < 500; i++) {
        calls[i] = sized_start(client, ECHO, "s1", (size_t) i * 7);
    }

    for (i = 0; i < 500; i++) {
        client_wait(calls[i]);
        sized_ok(calls[i], (size_t) i * 7);
    }
}
END_TEST


/* around the limits of frames, of the window and of buffers, to 4 MB */
START_TEST(sizes)
{
    size_t               i;
    client_t            *client;
    client_call_t       *call;
    static const size_t  size[] = {
        0, 1, 16330, 16384, 16385, 32768, 65400, 65535, 65536, 65537, 131072,
        1000000, 4000000
    };

    (void) instance_start(8081, "one", NULL);
    gateway_start(ON);
    client = client_open(harness_port(8080));

    for (i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
        call = sized_start(client, ECHO, "s1", size[i]);
        client_wait(call);
        sized_ok(call, size[i]);
    }
}
END_TEST


/* several large ones at once share the connection's windows */
START_TEST(large_at_once)
{
    int             i;
    client_t       *client;
    client_call_t  *calls[8];

    (void) instance_start(8081, "one", NULL);
    gateway_start(ON);
    client = client_open(harness_port(8080));

    for (i = 0; i < 8; i++) {
        calls[i] = sized_start(client, ECHO, "s1", 4000000 - (size_t) i);
    }

    for (i = 0; i < 8; i++) {
        client_wait(calls[i]);
        sized_ok(calls[i], 4000000 - (size_t) i);
    }
}
END_TEST


START_TEST(byte_by_byte)
{
    client_t       *client;
    client_call_t  *call;

    (void) fake_start(8081, "one", fake_ok);
    gateway_start(ON);
    client = client_open(harness_port(8080));
    link_hold(client_link(client));
    call = echo(client);
    link_release(client_link(client), 1);
    client_wait(call);
    client_assert(call, 0, "");
}
END_TEST


/* HEADERS, DATA and RST_STREAM in one segment: no instance gets the call */
START_TEST(cancelled_at_once)
{
    fake_t         *fake;
    client_t       *client;
    client_call_t  *call;

    fake = fake_start(8081, "one", fake_ok);
    gateway_start(ON);
    client = client_open(harness_port(8080));
    call = echo(client);
    client_wait(call);
    ck_assert_uint_eq(fake_requests(fake), 1);

    link_hold(client_link(client));
    call = echo(client);
    (void) client_link(client);
    client_cancel(call);
    link_release(client_link(client), 0);
    gateway_await_access("status=499");

    /* a call that had begun would have cost its connection */

    client_wait(echo(client));
    ck_assert_uint_eq(fake_requests(fake), 2);
    ck_assert_uint_eq(fake_connections(fake), 1);
}
END_TEST


/* Ends the client's side, and waits until the gateway's kernel has that. */
static void
end_output(link_t *link)
{
    long long        since;
    socklen_t        len;
    struct tcp_info  info;

    ck_assert_int_eq(shutdown(link_fd(link), SHUT_WR), 0);
    since = harness_now();

    for ( ;; ) {
        len = sizeof(info);
        ck_assert_int_eq(getsockopt(link_fd(link), IPPROTO_TCP, TCP_INFO, &info,
                                    &len),
                         0);

        if (info.tcpi_state == TCP_FIN_WAIT2) {
            return;
        }

        harness_pause(since, "the end of the client's side is acknowledged");
    }
}


/* the same with the end of the connection */
START_TEST(closed_at_once)
{
    int        i;
    fake_t    *fake;
    client_t  *client;

    fake = fake_start(8081, "one", fake_ok);
    gateway_start(ON);
    client = client_open(harness_port(8080));
    client_wait(echo(client));
    client_wait(echo(client));      /* comes after the ACK for the SETTINGS */

    /* one segment: of ten small ones the last waits until the first is
       acknowledged */

    gateway_freeze(true);
    link_hold(client_link(client));

    for (i = 0; i < 5; i++) {
        (void) echo(client);
    }

    link_release(client_link(client), 0);
    end_output(client_link(client));
    gateway_freeze(false);

    gateway_await_access("status=499 grpc=-\nstatus=499 grpc=-\n"
                         "status=499 grpc=-\nstatus=499 grpc=-\n"
                         "status=499 grpc=-\n");

    client_wait(echo(client_open(harness_port(8080))));
    ck_assert_uint_eq(fake_requests(fake), 3);
    ck_assert_uint_eq(fake_connections(fake), 1);
}
END_TEST


/* ServerReflectionRequest { list_services = "*" } with its prefix */
static const char  list_services[] = "\0\0\0\0\x03\x3a\x01*";


static client_call_t *
reflection(client_t *client)
{
    client_header_t  headers[] = {
        { "te", "trailers" },
        { "content-type", "application/grpc" },
        { NULL, NULL }
    };

    return client_request(client, REFLECTION, headers, "", 0, true);
}


/* each message is answered before the next one is sent */
START_TEST(bidirectional)
{
    unsigned        n;
    client_call_t  *call;

    (void) instance_start(8081, "one", NULL);
    gateway_start(ON);
    call = reflection(client_open(harness_port(8080)));

    for (n = 1; n <= 50; n++) {
        client_send(call, list_services, 8, n == 50);
        client_wait_messages(call, n);
    }

    client_wait(call);
    client_assert(call, 0, "");
    ck_assert_uint_eq(client_messages(call), 50);
}
END_TEST


/* all messages first, in one read with the header or later */
START_TEST(client_streaming)
{
    int              i;
    client_t        *client;
    client_call_t  *calls[2];

    (void) instance_start(8081, "one", NULL);
    gateway_start(ON);
    client = client_open(harness_port(8080));

    link_hold(client_link(client));
    calls[0] = reflection(client);

    for (i = 0; i < 20; i++) {
        client_send(calls[0], list_services, 8, i == 19);
    }

    link_release(client_link(client), 0);
    calls[1] = reflection(client);

    for (i = 0; i < 20; i++) {
        client_ping(client);
        client_wait_pongs(client, (unsigned) i + 1);
        client_send(calls[1], list_services, 8, i == 19);
    }

    for (i = 0; i < 2; i++) {
        client_wait(calls[i]);
        client_assert(calls[i], 0, "");
        ck_assert_uint_eq(client_messages(calls[i]), 20);
    }
}
END_TEST


START_TEST(server_streaming)
{
    int             i;
    client_t       *client;
    client_call_t  *calls[20];

    (void) instance_start(8081, "one", "--subscribe-interval 2ms");
    gateway_start(ON);
    client = client_open(harness_port(8080));

    for (i = 0; i < 20; i++) {
        calls[i] = sized_start(client, SUBSCRIBE, "s1", 10);
    }

    for (i = 0; i < 20; i++) {
        client_wait_messages(calls[i], 50);
        ck_assert_uint_ge(sized_check(calls[i], 10), 50);
        client_cancel(calls[i]);
    }

    /* and unary calls beside them */
    client_assert(echo_get(client, "s1"), 0, "");
}
END_TEST


/* without a body there is nothing to wait for */
START_TEST(no_body)
{
    client_call_t    *call;
    client_header_t   headers[] = {
        { "te", "trailers" },
        { "content-type", "application/grpc" },
        { NULL, NULL }
    };

    (void) fake_start(8081, "one", fake_ok);
    gateway_start(ON);
    call = client_request(client_open(harness_port(8080)), ECHO, headers,
                          NULL, 0, false);
    client_wait(call);
    client_assert(call, 0, "");
}
END_TEST


/* TCP_NODELAY of the worker's connection to the port, -1: it has none. */
static int
nodelay_to(pid_t worker, int port)
{
    int                 pidfd, fd, i, on;
    socklen_t           len;
    struct sockaddr_in  sin;

    pidfd = (int) syscall(SYS_pidfd_open, worker, 0);
    ck_assert_int_ge(pidfd, 0);

    for (i = 0; i < 64; i++) {
        fd = (int) syscall(SYS_pidfd_getfd, pidfd, i, 0);
        if (fd == -1) {
            ck_assert_msg(errno == EBADF, "pidfd_getfd: %s", strerror(errno));
            continue;
        }

        len = sizeof(sin);
        if (getpeername(fd, (struct sockaddr *) &sin, &len) == 0
            && ntohs(sin.sin_port) == port)
        {
            len = sizeof(on);
            ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on,
                                        &len), 0);
            return on != 0;
        }

        close(fd);
    }

    return -1;
}


/* else the second request of a connection may wait for an acknowledgement,
 * as nginx sets it only for bodies that are sent while they come in */
START_TEST(nodelay)
{
    pid_t      worker;
    client_t  *client;

    (void) fake_start(8081, "one", fake_ok);
    gateway_start(ON);
    client = client_open(harness_port(8080));
    (void) writes_for(client, 1, "localhost");

    ck_assert_uint_eq(gateway_workers(&worker, 1), 1);
    ck_assert_int_eq(nodelay_to(worker, harness_port(8081)), 1);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("coalesce");

    harness_add(suite, writes_on);
    harness_add(suite, writes_off);
    harness_add(suite, writes_servers);
    harness_add(suite, writes_parallel);
    harness_add(suite, writes_parallel_long);
    harness_add(suite, many_at_once);
    harness_add(suite, sizes);
    harness_add(suite, large_at_once);
    harness_add(suite, byte_by_byte);
    harness_add(suite, cancelled_at_once);
    harness_add(suite, closed_at_once);
    harness_add(suite, bidirectional);
    harness_add(suite, client_streaming);
    harness_add(suite, server_streaming);
    harness_add(suite, no_body);
    harness_add(suite, nodelay);

    return harness_run(suite, argv[0]);
}
