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


#define CONF(events, connect)                                                 \
    "%%GLOBALS%%\n"                                                           \
    "events { " events " }\n"                                                 \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        server 127.0.0.1:8081;\n"                                        \
    "        server 127.0.0.1:8082;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        grpc_connect_timeout " connect ";\n"                             \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "    }\n"                                                                 \
    "}\n"

#define CONF_SHORT   CONF("", "2s")

/* The worker sees one event at a time, and timers after each.  A SYN is sent
 * again after 1 s and after 3 s. */
#define CONF_LATE    CONF("epoll_events 1;", "5s")

#define BACKLOG      512                /* connections, more than fakes have */
#define LATE_CALLS   10
#define LATE_STOP    5500               /* ms, more than a connect may take */

#define STEADY       1
#define SILENT       2                  /* after two messages */
#define WAITING_MAX  1000               /* connections */


static atomic_int      chats;
static fake_t         *one, *two;
static int             waiting[WAITING_MAX];
static size_t          nwaiting;


/* The thread of the fake accepts nothing while it sends a stream. */
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
crowded_start(const char *conf, int talk)
{
    client_call_t  *stream;

    atomic_store(&chats, talk);
    one = fake_start(8081, "one", chat);
    two = fake_start(8082, "two", chat);
    gateway_start(conf);

    stream = client_grpc(client_open(harness_port(8080)), SUBSCRIBE,
                         token_make("s1", 3600), "s1", "", 0);
    client_wait_messages(stream, 2);

    crowd(strcmp(client_pod(stream, 0), "one") == 0 ? harness_port(8081)
                                                    : harness_port(8082));
    return stream;
}


static void
crowded_wait(void)
{
    long long  since;

    since = harness_now();

    while (!gateway_logged("timed out) while connecting to upstream")) {
        client_poll(10);
        harness_pause(since, "a connect that times out");
    }
}


/* The call waits, and is served by its instance. */
START_TEST(crowded_for_a_while)
{
    client_call_t  *stream, *call;

    stream = crowded_start(CONF_SHORT, STEADY);
    call = echo_start(client_open(harness_port(8080)), "s1");

    crowded_wait();
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

    stream = crowded_start(CONF_SHORT, STEADY);

    call = echo_get(client_open(harness_port(8080)), "s1");
    client_assert_refused(call, 14, "backend service unavailable");
    ck_assert(!stream->done);
    ck_assert(!gateway_logged("failed"));
}
END_TEST


/* The worker stops while it connects for many calls: when it goes on, the
 * connections are there, and their time is over. */
START_TEST(crowded_late)
{
    int             i;
    client_t       *client;
    long long       since;
    client_call_t  *stream, *calls[LATE_CALLS];

    stream = crowded_start(CONF_LATE, SILENT);
    client = client_open(harness_port(8080));

    for (i = 0; i < LATE_CALLS; i++) {
        calls[i] = echo_start(client, "s1");
    }

    /* the worker connects after what it has read: before the second PING */

    for (i = 1; i <= 2; i++) {
        client_ping(client);
        client_wait_pongs(client, (unsigned) i);
    }

    gateway_freeze(true);

    fake_backlog(one, BACKLOG);
    fake_backlog(two, BACKLOG);
    since = harness_now();

    while (harness_now() - since < LATE_STOP) {
        client_poll(10);
    }

    gateway_freeze(false);
    crowded_wait();
    atomic_store(&chats, 0);

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
