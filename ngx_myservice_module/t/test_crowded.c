/*
 * An instance that accepts no new connections for a while but goes on with its
 * calls, as when one session opens very many: it is not down.  Nor is one whose
 * connections a busy worker sees too late.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "token.h"


#define CONF                                                                  \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        server 127.0.0.1:8081;\n"                                        \
    "        server 127.0.0.1:8082;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        grpc_connect_timeout 2s;\n"                                   \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "    }\n"                                                                 \
    "}\n"

/* the worker sees one event at a time, and timers after each */
#define CONF_LATE                                                             \
    "%%GLOBALS%%\n"                                                           \
    "events { epoll_events 1; worker_connections 2048; }\n"                   \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        server 127.0.0.1:8081;\n"                                        \
    "        server 127.0.0.1:8082;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        http2_max_concurrent_streams 1000;\n"                            \
    "        grpc_connect_timeout 300ms;\n"                                   \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "    }\n"                                                                 \
    "}\n"

#define LATE_CALLS   100                /* one burst */
#define LATE_STOP    400                /* ms, more than a connect may take */

#define SILENT       2
#define WAITING_MAX  1000               /* connections */


static atomic_int      chats;
static int             waiting[WAITING_MAX];
static size_t          nwaiting;


/* The thread of the fake accepts nothing while a stream has messages, or is
 * SILENT. */
static void
chat(fake_call_t *call)
{
    int  i;

    if (strcmp(call->path, SUBSCRIBE) != 0) {
        fake_ok(call);
        return;
    }

    fake_headers(call);

    for (i = 0; atomic_load(&chats); i++) {
        if (i < 2 || atomic_load(&chats) != SILENT) {
            fake_message(call, i);
        }

        (void) poll(NULL, 0, 10);
    }
}


/* Fills the queue of connections: those that would wait are left out. */
static void
crowd(int port)
{
    int                 s;
    struct pollfd       pfd;
    struct sockaddr_in  sin = { .sin_family = AF_INET };

    sin.sin_port = htons((uint16_t) port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    for ( ;; ) {
        ck_assert_uint_lt(nwaiting, WAITING_MAX);

        s = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);
        ck_assert_int_ne(s, -1);

        if (connect(s, (struct sockaddr *) &sin, sizeof(sin)) == -1) {
            ck_assert_int_eq(errno, EINPROGRESS);
        }

        pfd = (struct pollfd) { .fd = s, .events = POLLOUT };

        if (poll(&pfd, 1, 300) == 0) {
            close(s);
            return;
        }

        waiting[nwaiting++] = s;
    }
}


static client_call_t *
crowded_start(void)
{
    client_call_t  *stream;

    atomic_store(&chats, 1);
    (void) fake_start(8081, "one", chat);
    (void) fake_start(8082, "two", chat);
    gateway_start(CONF);

    stream = client_grpc(client_open(harness_port(8080)), SUBSCRIBE,
                         token_make("s1", 3600), "s1", "", 0);
    client_wait_messages(stream, 2);

    crowd(strcmp(client_pod(stream, 0), "one") == 0 ? harness_port(8081)
                                                    : harness_port(8082));
    return stream;
}


/* The call waits, and is served by its instance. */
START_TEST(crowded_for_a_while)
{
    long long       since;
    client_call_t  *stream, *call;

    stream = crowded_start();
    call = echo_start(client_open(harness_port(8080)), "s1");

    since = harness_now();

    while (!gateway_logged("timed out) while connecting to upstream")) {
        client_poll(10);
        harness_pause(since, "a connect that times out");
    }

    atomic_store(&chats, 0);
    client_wait(call);
    client_assert(call, 0, "");
    ck_assert_str_eq(client_pod(call, 0), client_pod(stream, 0));
    ck_assert(!stream->done);
    ck_assert(!gateway_logged("failed"));
}
END_TEST


/* The call ends, and nothing else happens to its session. */
START_TEST(crowded_for_long)
{
    client_call_t  *stream, *call;

    stream = crowded_start();

    call = echo_get(client_open(harness_port(8080)), "s1");
    client_assert_refused(call, 14, "backend service unavailable");
    ck_assert(!stream->done);
    ck_assert(!gateway_logged("failed"));
}
END_TEST


/* The worker runs for moments: when it goes on, connections that it has begun
 * are there, and their time is over. */
START_TEST(crowded_late)
{
    int             i;
    client_t       *client;
    long long       since, stopped;
    client_call_t  *stream, *calls[LATE_CALLS];

    atomic_store(&chats, SILENT);
    (void) fake_start(8081, "one", chat);
    (void) fake_start(8082, "two", chat);
    gateway_start(CONF_LATE);

    stream = client_grpc(client_open(harness_port(8080)), SUBSCRIBE,
                         token_make("s1", 3600), "s1", "", 0);
    client_wait_messages(stream, 2);

    client = client_open_held(harness_port(8080));

    for (i = 0; i < LATE_CALLS; i++) {
        calls[i] = echo_start(client, "s1");
    }

    gateway_freeze(true);
    link_release(client_link(client), 0);

    for (since = harness_now(); /* void */; /* void */) {
        stopped = harness_now();

        while (harness_now() - stopped < LATE_STOP) {
            client_poll(10);
        }

        if (gateway_logged("timed out) while connecting to upstream")) {
            break;
        }

        gateway_freeze(false);
        gateway_freeze(true);
        harness_pause(since, "a connect that times out");
    }

    atomic_store(&chats, 0);
    gateway_freeze(false);

    for (i = 0; i < LATE_CALLS; i++) {
        client_wait(calls[i]);
        client_assert(calls[i], 0, "");
        ck_assert_str_eq(client_pod(calls[i], 0), client_pod(stream, 0));
    }

    ck_assert(!gateway_logged("instance failed"));
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("crowded");

    harness_add(suite, crowded_for_a_while);
    harness_add(suite, crowded_for_long);
    harness_add(suite, crowded_late);

    return harness_run(suite, "test_crowded");
}
