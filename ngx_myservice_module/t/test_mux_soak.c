/*
 * myservice_multiplex under harm: instances are killed, workers too, the
 * gateway is reloaded and calls are cancelled, while connections have many
 * calls open. TEST_HARM in the environment is how often (1 by default), each
 * time with a harm of its own.  And more instances than connections may be
 * idle: 10,000 with TEST_HARM, else 1,000.  TEST_CHURN is for how many seconds
 * at least they come and go.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway.h"
#include "instance.h"
#include "mux.h"
#include "sized.h"


#define CLIENTS    4
#define OPEN       32
#define INSTANCES  6
#define ROUNDS     14

#define SERVERS                                                               \
    THREE                                                                     \
    "server 127.0.0.1:8084 fail_timeout=1s;\n"                                \
    "server 127.0.0.1:8085 fail_timeout=1s;\n"                                \
    "server 127.0.0.1:8086 fail_timeout=1s;\n"

#define SOAK                                                                  \
    CONF_WITH("2", UPSTREAM("u", SERVERS, ON),                                \
              PASS("myservice_retry MyServiceEcho MyServiceSubscribe;\n"      \
                   "myservice_retry_timeout 10s;\n"                           \
                   "myservice_resume MyServiceSubscribe;\n"))


/* What may become of the calls of a round. */
typedef enum {
    WELL = 0,
    HURT,                               /* an instance was killed */
    CANCELLED,                          /* by the client, every third */
    LEFT,                               /* their worker exits after them */
    CUT                                 /* their worker was killed */
} fate_t;


static pid_t     pids[INSTANCES];
static uint32_t  seed;


/* xorshift */
static uint32_t
below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;

    return seed % n;
}


static pid_t
start_instance(unsigned i)
{
    char  name[8];

    snprintf(name, sizeof(name), "i%u", i);

    return instance_start(8081 + (int) i, name, "--subscribe-interval 20ms");
}


static void
open_client(client_t **clients, size_t i)
{
    if (clients[i] == NULL || client_gone(clients[i])) {
        clients[i] = client_open(harness_port(8080));
    }
}


/* Does harm while calls run; what it means for them. */
static fate_t
harm(mux_calls_t *calls)
{
    size_t    i;
    unsigned  victim;

    switch (below(5)) {

    case 0:
        victim = below(INSTANCES);
        instance_signal(pids[victim], SIGKILL);
        pids[victim] = start_instance(victim);
        return HURT;

    case 1:
        for (i = 0; i < calls->n; i += 3) {
            client_cancel(calls->calls[i]);
        }
        return CANCELLED;

    case 2:
        gateway_reload(NULL);
        return LEFT;

    case 3:
        gateway_kill_workers(1);
        return CUT;

    default:
        return WELL;
    }
}


/* A call whose answer had begun is not sent again. */
static bool
broke_off(client_call_t *call)
{
    return call->grpc == 14 && !call->reset && call->headers == 2;
}


/* Streams end by a cancel, Echo calls with their answer. */
static void
end_calls(mux_calls_t *calls, fate_t fate)
{
    size_t          i;
    client_call_t  *call;

    for (i = 0; i < calls->n; i++) {
        call = calls->calls[i];

        if (fate == CANCELLED && i % 3 == 0) {
            continue;
        }

        if (i % OPEN < 4) {
            client_wait_messages(call, client_messages(call) + 2);
            ck_assert_msg(!call->done || fate == CUT,
                          "a stream ends: grpc-status %d \"%s\"", call->grpc,
                          call->message);

            if (!call->done) {
                client_cancel(call);
            }

            continue;
        }

        client_wait(call);
        ck_assert_msg((call->grpc == 0 && !call->reset) || fate == CUT
                      || (fate == HURT && broke_off(call)),
                      "a call ends: grpc-status %d \"%s\"%s, %u HEADERS, "
                      "fate %d", call->grpc, call->message,
                      call->reset ? ", reset" : "", call->headers, (int) fate);
    }

    calls->n = 0;
}


static void
start_calls(mux_calls_t *calls, client_t *client, const char *session)
{
    size_t  i;

    for (i = 0; i < OPEN; i++) {
        calls->calls[calls->n++] = sized_start(client,
                                               i < 4 ? SUBSCRIBE : ECHO,
                                               session, below(20000));
    }
}


START_TEST(mux_soak)
{
    char                session[8];
    fate_t              fate;
    size_t              i;
    client_t           *clients[CLIENTS] = { NULL };
    unsigned            round;
    static mux_calls_t  calls;

    seed = 2654435761 * ((uint32_t) _i + 1);

    for (i = 0; i < INSTANCES; i++) {
        pids[i] = start_instance((unsigned) i);
    }

    gateway_start(SOAK);

    for (round = 0; round < ROUNDS; round++) {
        for (i = 0; i < CLIENTS; i++) {
            open_client(clients, i);
            snprintf(session, sizeof(session), "s%zu", i);
            start_calls(&calls, clients[i], session);
        }

        client_poll((int) below(30));
        fate = harm(&calls);
        end_calls(&calls, fate);

        for (i = 0; fate == LEFT && i < CLIENTS; i++) {
            client_close(clients[i]);
        }
    }
}
END_TEST


/* Calls of one session after the other, each at an instance of its own */

#define IDLE     16
#define AT_ONCE  50
#define PASSES   3

#define CHURN                                                                 \
    CONF_WITH("1", "upstream u {\n"                                           \
              "    myservice_sessions $myservice_session zone=u:8m;\n"        \
              "@"                                                             \
              "    myservice_multiplex on idle=16;\n"                         \
              "}\n", PASS(""))

static unsigned  members = 1000;


static void
start_many(void)
{
    char        *conf, *p;
    unsigned     i;
    const char  *servers;

    servers = strchr(CHURN, '@');
    conf = malloc(sizeof(CHURN) + members * 64);
    ck_assert_ptr_nonnull(conf);
    p = conf + (servers - CHURN);
    memcpy(conf, CHURN, (size_t) (servers - CHURN));

    for (i = 0; i < members; i++) {
        p += sprintf(p, "    server 127.23.%u.%u:%%%%PORT_8081%%%%;\n", i / 200,
                     i % 200 + 1);
    }

    strcpy(p, servers + 1);
    gateway_start(conf);
    free(conf);
}


/* a worker keeps few connections, and its memory does not grow */
START_TEST(mux_churn)
{
    char                session[16];
    fake_t             *fake;
    client_t           *client;
    unsigned            i, pass;
    long long           end;
    const char         *seconds;
    unsigned long       memory;
    static mux_calls_t  calls;

    const client_header_t  headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", session },
        { NULL, NULL }
    };

    fake = fake_start_at("0.0.0.0", 8081, "all", fake_ok);
    fake_forget(fake);
    start_many();
    client = client_open(harness_port(8080));
    memory = 0;

    seconds = getenv("TEST_CHURN");
    end = harness_now() + (seconds != NULL ? atoll(seconds) * 1000 : 0);

    for (pass = 1; pass <= PASSES || harness_now() < end; pass++) {
        for (i = 0; i < members; i++) {
            snprintf(session, sizeof(session), "s%u", i);
            calls.calls[calls.n++] = client_request(client, ECHO, headers,
                                                    "\0\0\0\0\0", 5, false);

            if (calls.n == AT_ONCE || i == members - 1) {
                mux_all_ok(&calls);
            }
        }

        mux_await_open(fake, IDLE);
        ck_assert_uint_eq(fake_requests(fake), pass * members);
        ck_assert_uint_gt(fake_connections(fake), pass * (members - IDLE));

        if (pass == 2) {
            memory = gateway_memory();
        }
    }

    memory = gateway_memory() - memory;

    /* a sanitizer keeps what was freed */
    ck_assert_msg((long) memory <= 1000000 || getenv("NGINX_BINARY") != NULL,
                  "%ld bytes more", (long) memory);
}
END_TEST


int
main(int argc, char **argv)
{
    char         more[32];
    Suite       *suite;
    const char  *times, *seconds;

    (void) argc;
    suite = suite_create("mux_soak");
    times = getenv("TEST_HARM");

    if (times != NULL) {
        members = 10000;
    }

    harness_add_loop(suite, mux_soak, times != NULL ? atoi(times) : 1);
    seconds = getenv("TEST_CHURN");

    if (seconds != NULL) {
        snprintf(more, sizeof(more), "%lld", 4 + atoll(seconds) / 30);
        setenv("CK_TIMEOUT_MULTIPLIER", more, 1);
    }

    harness_add(suite, mux_churn);

    return harness_run(suite, argv[0]);
}
