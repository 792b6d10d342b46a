/*
 * One session floods the gateway with a good token: thousands of streams, then
 * calls that it cancels at once. The calls of another session stay fast, no
 * instance is lost, and afterwards the gateway serves the session as before.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "itests/client.h"
#include "itests/scenario.h"
#include "itests/times.h"


#define FLOOD_LINKS     16              /* connections */
#define FLOOD_STREAMS   200             /* on each */
#define FLOOD_THREADS   8               /* that cancel calls */
#define FLOOD_CANCELS   500             /* of each thread */
#define FLOOD_CANCELLED 2               /* ms after its start */
#define FLOOD_ECHOES    300
#define FLOOD_ROUNDS    3               /* of cancelled calls, at most */

/* p99 beside the flood; the slack is what a scheduler takes on a machine that is
 * busy with other things, too */
#define FLOOD_RATIO     2
#define FLOOD_SLACK     200000          /* us */


typedef struct {
    rpc_client_t  *rpc;
    rpc_stream_t  *streams[FLOOD_STREAMS];
} flood_link_t;

typedef struct {
    pthread_t      thread;
    client_t       client;
    int            bad;                 /* answers that are wrong */
    atomic_int    *running;
} flood_cancel_t;


static void flood_play(test_t *test, client_t *flood, client_t *good);
static bool flood_open(flood_link_t *links, client_t *flood);
static bool flood_streams(test_t *test, flood_link_t *links, int *refused);
static void flood_close(flood_link_t *links);
static bool flood_cancels(test_t *test, client_t *flood, client_t *good);
static void *flood_cancel_thread(void *data);
static int64_t flood_echoes(client_t *good, times_t *times, size_t n);
static bool flood_unnoticed(test_t *test, int64_t quiet, int64_t loud,
    size_t failed, const char *what);


void
session_flood(test_t *test)
{
    client_t  clients[2];

    if (clients_open(clients, 2, test, "flood") == 0
        && clients_login(clients, 2)
        && client_echo(&clients[0], NULL) && client_echo(&clients[1], NULL))
    {
        flood_play(test, &clients[0], &clients[1]);
        (void) client_shutdown(&clients[0], clients[0].pod);
        (void) client_shutdown(&clients[1], clients[1].pod);
    }

    clients_close(clients, 2);
}


static void
flood_play(test_t *test, client_t *flood, client_t *good)
{
    int            refused;
    int64_t        quiet, loud;
    times_t        times;
    flood_link_t  *links;

    links = calloc(FLOOD_LINKS, sizeof(flood_link_t));
    if (links == NULL) {
        abort();
    }

    times_create(&times);
    refused = 0;

    quiet = flood_echoes(good, &times, FLOOD_ECHOES);

    if (flood_open(links, flood) && flood_streams(test, links, &refused)) {

        check(test, refused > 0, "of %d streams of a session some are refused "
              "with 8 \"too many calls\": got %d",
              FLOOD_LINKS * FLOOD_STREAMS, refused);

        loud = flood_echoes(good, &times, FLOOD_ECHOES);
        (void) flood_unnoticed(test, quiet, loud, times.failed, "the streams");
    }

    flood_close(links);
    free(links);
    times_free(&times);

    /* its own calls are served again, by the same instance */

    (void) client_echo(flood, flood->pod);

    if (flood_cancels(test, flood, good)) {
        (void) client_echo(flood, flood->pod);
        (void) client_echo(good, good->pod);
    }
}


static bool
flood_open(flood_link_t *links, client_t *flood)
{
    int       i, n;
    client_t  own;

    for (i = 0; i < FLOOD_LINKS; i++) {
        own = *flood;
        own.rpc = client_connect(own.test, own.test->settings->gateway, true);
        links[i].rpc = own.rpc;

        for (n = 0; own.rpc != NULL && n < FLOOD_STREAMS; n++) {
            links[i].streams[n] = call_subscribe(&own, CLIENT_CALL_TIMEOUT);
        }

        if (own.rpc == NULL) {
            return check(own.test, false, "connection %d to the gateway",
                         i + 1);
        }
    }

    return true;
}


/* Each stream gets its first message, or the gateway refuses it as one too
 * many. */
static bool
flood_streams(test_t *test, flood_link_t *links, int *refused)
{
    int                i, n, bad;
    char               text[256];
    rpc_result_t       result;
    ProtobufCMessage  *message;

    bad = 0;
    text[0] = '\0';

    for (i = 0; i < FLOOD_LINKS; i++) {
        for (n = 0; n < FLOOD_STREAMS; n++) {
            message = rpc_stream_next(links[i].streams[n]);

            if (message != NULL) {
                protobuf_c_message_free_unpacked(message, NULL);
                continue;
            }

            rpc_stream_finish(links[i].streams[n], &result);
            links[i].streams[n] = NULL;

            if (result.code == GRPC_STATUS_RESOURCE_EXHAUSTED
                && strcmp(result.message, "too many calls") == 0)
            {
                (*refused)++;

            } else if (bad++ == 0) {
                snprintf(text, sizeof(text), ": %d \"%s\"",
                         (int) result.code, result.message);
            }

            rpc_result_free(&result);
        }
    }

    return check(test, bad == 0, "the other streams run: %d do not%s", bad,
                 text);
}


static void
flood_close(flood_link_t *links)
{
    int           i, n;
    rpc_result_t  result;

    for (i = 0; i < FLOOD_LINKS; i++) {
        for (n = 0; n < FLOOD_STREAMS; n++) {
            if (links[i].streams[n] != NULL) {
                rpc_stream_finish(links[i].streams[n], &result);
                rpc_result_free(&result);
            }
        }

        if (links[i].rpc != NULL) {
            rpc_client_free(links[i].rpc);
        }
    }
}


/* One round of cancelled calls; returns p99 of the other session beside them. */
static int64_t
flood_cancel_round(client_t *flood, client_t *good, times_t *times, int *bad)
{
    int              i;
    atomic_int       running;
    flood_cancel_t   threads[FLOOD_THREADS];

    times->n = 0;
    atomic_init(&running, FLOOD_THREADS);

    for (i = 0; i < FLOOD_THREADS; i++) {
        threads[i].client = *flood;
        threads[i].bad = 0;
        threads[i].running = &running;

        if (pthread_create(&threads[i].thread, NULL, flood_cancel_thread,
                           &threads[i])
            != 0)
        {
            abort();
        }
    }

    while (atomic_load(&running) > 0) {
        times_echo(good, times);
    }

    for (i = 0; i < FLOOD_THREADS; i++) {
        pthread_join(threads[i].thread, NULL);
        *bad += threads[i].bad;
    }

    return times_quantile(times->us, times->n, 990);
}


/* What else the machine does slows one round down, a fault all of them. */
static bool
flood_cancels(test_t *test, client_t *flood, client_t *good)
{
    int      i, bad;
    bool     ok;
    int64_t  quiet, loud;
    times_t  times;

    times_create(&times);
    bad = 0;

    for (i = 1; /* void */ ; i++) {
        quiet = flood_echoes(good, &times, FLOOD_ECHOES);
        loud = flood_cancel_round(flood, good, &times, &bad);

        if (i == FLOOD_ROUNDS || loud <= FLOOD_RATIO * quiet + FLOOD_SLACK) {
            break;
        }

        check_note(test, "round %d: p99 %lld us, beside the cancelled calls "
                   "%lld us", i, (long long) quiet, (long long) loud);
    }

    check(test, bad == 0, "%d calls end within %d ms, or are refused: %d do "
          "not", FLOOD_THREADS * FLOOD_CANCELS, FLOOD_CANCELLED, bad);

    ok = flood_unnoticed(test, quiet, loud, times.failed,
                         "the cancelled calls");
    times_free(&times);

    return ok;
}


static void *
flood_cancel_thread(void *data)
{
    int              i;
    rpc_stream_t    *stream;
    rpc_result_t     result;
    flood_cancel_t  *cancel;

    cancel = data;

    for (i = 0; i < FLOOD_CANCELS; i++) {
        stream = call_subscribe(&cancel->client, FLOOD_CANCELLED);
        if (stream == NULL) {
            abort();
        }

        protobuf_c_message_free_unpacked(rpc_stream_next(stream), NULL);
        rpc_stream_cancel(stream);
        rpc_stream_finish(stream, &result);

        cancel->bad += result.code != GRPC_STATUS_CANCELLED
                       && result.code != GRPC_STATUS_DEADLINE_EXCEEDED
                       && result.code != GRPC_STATUS_RESOURCE_EXHAUSTED;
        rpc_result_free(&result);
    }

    atomic_fetch_sub(cancel->running, 1);

    return NULL;
}


/* Their p99. */
static int64_t
flood_echoes(client_t *good, times_t *times, size_t n)
{
    size_t  i;

    times->n = 0;

    for (i = 0; i < n; i++) {
        times_echo(good, times);
    }

    return times_quantile(times->us, times->n, 990);
}


static bool
flood_unnoticed(test_t *test, int64_t quiet, int64_t loud, size_t failed,
    const char *what)
{
    bool  ok;

    check_note(test, "p99 of Echo of another session: %lld us, beside %s "
               "%lld us", (long long) quiet, what, (long long) loud);

    ok = check(test, failed == 0, "another session beside %s: %zu of its "
               "calls failed", what, failed);

    ok &= check(test, loud <= FLOOD_RATIO * quiet + FLOOD_SLACK,
                "its p99 beside %s is at most %d times as long and %d ms",
                what, FLOOD_RATIO, FLOOD_SLACK / 1000);

    return ok;
}
