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
#define FLOOD_AGAIN     20              /* ms until a refused call is back */
#define FLOOD_ROUNDS    3               /* at most, of each kind of flood */

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

typedef struct {
    test_t        *test;
    client_t      *client;              /* of the session that floods */
    client_t      *good;                /* of the other one */
    times_t        times;               /* its calls */
} flood_t;

/* Floods the gateway once. */
typedef void (*flood_round_pt)(flood_t *flood);


static bool flood_unnoticed(flood_t *flood, flood_round_pt round,
    const char *what);
static int64_t flood_echoes(flood_t *flood);
static void flood_stream_round(flood_t *flood);
static bool flood_open(flood_link_t *links, client_t *client);
static bool flood_streams(test_t *test, flood_link_t *links, int *refused);
static void flood_close(flood_link_t *links);
static void flood_cancel_round(flood_t *flood);
static void *flood_cancel_thread(void *data);
static bool flood_served(client_t *client);


void
session_flood(test_t *test)
{
    flood_t   flood;
    client_t  clients[2];

    flood = (flood_t) {
        .test = test, .client = &clients[0], .good = &clients[1]
    };
    times_create(&flood.times);

    if (clients_open(clients, 2, test, "flood") == 0
        && clients_login(clients, 2)
        && client_echo(&clients[0], NULL) && client_echo(&clients[1], NULL)
        && flood_unnoticed(&flood, flood_stream_round, "the streams")
        && flood_unnoticed(&flood, flood_cancel_round, "the cancelled calls"))
    {
        (void) client_echo(&clients[1], clients[1].pod);
        (void) client_shutdown(&clients[0], clients[0].pod);
        (void) client_shutdown(&clients[1], clients[1].pod);
    }

    clients_close(clients, 2);
    times_free(&flood.times);
}


/* What else the machine does slows one round down, a fault all of them.
 * Afterwards the gateway serves the session that floods. */
static bool
flood_unnoticed(flood_t *flood, flood_round_pt round, const char *what)
{
    int       i;
    bool      ok, fast;
    test_t   *test;
    int64_t   quiet, loud;
    times_t  *times;

    test = flood->test;
    times = &flood->times;
    ok = true;

    for (i = 1, fast = false; ok && !fast && i <= FLOOD_ROUNDS; i++) {
        quiet = flood_echoes(flood);
        times->n = 0;
        round(flood);
        loud = times_quantile(times->us, times->n, 990);

        check_note(test, "p99 of Echo of another session: %lld us, beside %s "
                   "%lld us", (long long) quiet, what, (long long) loud);

        fast = loud <= FLOOD_RATIO * quiet + FLOOD_SLACK;
        ok = flood_served(flood->client);
    }

    ok &= check(test, times->failed == 0, "another session beside %s: %zu of "
                "its calls failed", what, times->failed);

    ok &= check(test, fast, "its p99 beside %s is at most %d times as long and "
                "%d ms", what, FLOOD_RATIO, FLOOD_SLACK / 1000);

    return ok;
}


/* Their p99. */
static int64_t
flood_echoes(flood_t *flood)
{
    size_t    i;
    times_t  *times;

    times = &flood->times;
    times->n = 0;

    for (i = 0; i < FLOOD_ECHOES; i++) {
        times_echo(flood->good, times);
    }

    return times_quantile(times->us, times->n, 990);
}


static void
flood_stream_round(flood_t *flood)
{
    int            refused;
    flood_link_t  *links;

    links = calloc(FLOOD_LINKS, sizeof(flood_link_t));
    if (links == NULL) {
        abort();
    }

    refused = 0;

    if (flood_open(links, flood->client)
        && flood_streams(flood->test, links, &refused))
    {
        check(flood->test, refused > 0, "of %d streams of a session some are "
              "refused with 8 \"too many calls\": got %d",
              FLOOD_LINKS * FLOOD_STREAMS, refused);

        (void) flood_echoes(flood);
    }

    flood_close(links);
    free(links);
}


static bool
flood_open(flood_link_t *links, client_t *client)
{
    int       i, n;
    client_t  own;

    for (i = 0; i < FLOOD_LINKS; i++) {
        own = *client;
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


static void
flood_cancel_round(flood_t *flood)
{
    int              i, bad;
    atomic_int       running;
    flood_cancel_t   threads[FLOOD_THREADS];

    bad = 0;
    atomic_init(&running, FLOOD_THREADS);

    for (i = 0; i < FLOOD_THREADS; i++) {
        threads[i].client = *flood->client;
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
        times_echo(flood->good, &flood->times);
    }

    for (i = 0; i < FLOOD_THREADS; i++) {
        pthread_join(threads[i].thread, NULL);
        bad += threads[i].bad;
    }

    check(flood->test, bad == 0, "%d calls end within %d ms, or are refused: "
          "%d do not", FLOOD_THREADS * FLOOD_CANCELS, FLOOD_CANCELLED, bad);
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


/* By its instance, when the gateway has seen the end of the other calls. */
static bool
flood_served(client_t *client)
{
    outcome_t  outcome;

    for ( ;; ) {
        outcome = call_echo(client, NULL);

        if (outcome.code != GRPC_STATUS_RESOURCE_EXHAUSTED
            || strcmp(outcome.message, "too many calls") != 0
            || check_time_left(client->test, CLIENT_CALL_TIMEOUT) <= 1)
        {
            return expect_echo(client, &outcome, client->pod);
        }

        outcome_free(&outcome);
        check_pace(FLOOD_AGAIN);
    }
}
