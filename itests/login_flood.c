/*
 * Two thousand wrong logins at once, beside the calls of a session: those do
 * not notice, authsvc's memory does not grow, and who has the right password
 * still gets in.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "itests/client.h"
#include "itests/scenario.h"
#include "itests/stack.h"


#define FLOOD_THREADS  100
#define FLOOD_LOGINS   20               /* of each thread */
#define FLOOD_DENIED   100              /* at least */
#define FLOOD_BEFORE   500              /* Echo calls */
#define FLOOD_MAX      20000
#define FLOOD_PACE     2                /* ms between Echo calls */
#define FLOOD_AGAIN    20               /* ms until a refused one is back */
#define FLOOD_TRIES    50               /* then it stays away */

/* Generous: other programs of the machine may want its processors, too. */
#define FLOOD_RATIO    10
#define FLOOD_SLACK    100000           /* us */

/* In kB.  AddressSanitizer keeps what was freed for a while. */
#if defined(__SANITIZE_ADDRESS__)
#define FLOOD_MEMORY   (512 * 1024)
#else
#define FLOOD_MEMORY   (64 * 1024)
#endif

typedef struct {
    pthread_t     thread;
    client_t     *client;               /* shared: its name and session */
    int           number;
    int           denied;
    int           refused;              /* queue full, too many requests:
                                           came again */
    int           away;
    int           other;
    outcome_t     strange;              /* the first of these */
    atomic_int   *running;
} flood_t;

typedef struct {
    int64_t  *us;
    size_t    n;
    size_t    failed;
} flood_times_t;


static bool flood_run(test_t *test, client_t *client);
static void *flood_thread(void *data);
static bool flood_login(flood_t *flood, int i);
static int64_t flood_now(void);
static bool flood_echo(client_t *client, flood_times_t *times);
static bool flood_answers(test_t *test, flood_t *floods);
static int64_t flood_quantile(flood_times_t *times, unsigned permille);
static int flood_compare(const void *a, const void *b);
static bool flood_latency(test_t *test, flood_times_t *before,
    flood_times_t *during);


void
login_flood(test_t *test)
{
    bool       ok;
    long       memory, grown;
    client_t   clients[2];

    if (clients_open(clients, 2, test, "flood") == 0
        && client_login(&clients[0]) && client_echo(&clients[0], NULL))
    {
        memory = stack_memory(test, "authsvc");
        ok = flood_run(test, &clients[0]);
        grown = stack_memory(test, "authsvc") - memory;

        if (memory <= 0) {
            check_skip(test, "the stack is not ours to look at (--stack)",
                       "authsvc's memory");
        } else {
            ok &= check(test, grown <= FLOOD_MEMORY, "authsvc has %ld kB, it "
                        "grew by %ld kB: at most %d kB", memory + grown, grown,
                        FLOOD_MEMORY);
        }

        /* the user is known at this address */
        if (ok && client_login(&clients[1])) {
            (void) client_shutdown(&clients[0], clients[0].pod);
        }
    }

    clients_close(clients, 2);
}


static bool
flood_run(test_t *test, client_t *client)
{
    int             i;
    bool            ok;
    flood_t        *floods;
    atomic_int      running;
    flood_times_t   before, during;

    floods = calloc(FLOOD_THREADS, sizeof(flood_t));
    before.us = calloc(2 * FLOOD_MAX, sizeof(int64_t));
    if (floods == NULL || before.us == NULL) {
        abort();
    }

    before.n = 0;
    before.failed = 0;
    during = before;
    during.us += FLOOD_MAX;

    ok = true;
    while (ok && before.n < FLOOD_BEFORE) {
        ok = flood_echo(client, &before);
    }

    atomic_init(&running, FLOOD_THREADS);

    for (i = 0; i < FLOOD_THREADS; i++) {
        floods[i].client = client;
        floods[i].number = i;
        floods[i].running = &running;
        if (pthread_create(&floods[i].thread, NULL, flood_thread, &floods[i])
            != 0)
        {
            abort();
        }
    }

    while (atomic_load(&running) > 0) {
        (void) flood_echo(client, &during);
    }

    for (i = 0; i < FLOOD_THREADS; i++) {
        pthread_join(floods[i].thread, NULL);
    }

    ok = flood_answers(test, floods);
    ok &= flood_latency(test, &before, &during);

    free(before.us);
    free(floods);

    return ok;
}


static void *
flood_thread(void *data)
{
    int        i, tries;
    flood_t   *flood;
    client_t   own;

    flood = data;

    /* a connection of its own for every tenth */
    own = *flood->client;
    own.rpc = flood->number % 10 == 0
              ? client_connect(own.test, own.test->settings->gateway, true)
              : flood->client->rpc;
    flood->client = &own;

    for (i = 0; i < FLOOD_LOGINS && own.rpc != NULL; i++) {
        for (tries = 1; !flood_login(flood, i); tries++) {
            if (tries == FLOOD_TRIES) {
                flood->away++;
                break;
            }
            check_pace(FLOOD_AGAIN);
        }
    }

    if (flood->number % 10 == 0 && own.rpc != NULL) {
        rpc_client_free(own.rpc);
    }

    flood->client = NULL;
    atomic_fetch_sub(flood->running, 1);

    return NULL;
}


/* Half of them guess at one user, half at any.  One that is not let in comes
 * again: false. */
static bool
flood_login(flood_t *flood, int i)
{
    char       name[64];
    outcome_t  outcome;

    snprintf(name, sizeof(name), "victim");
    if (i % 2 == 0) {
        snprintf(name, sizeof(name), "user-%d-%d", flood->number, i);
    }

    outcome = call_login(flood->client, name, "wrong",
                         flood->client->session);

    if (outcome.code == GRPC_STATUS_PERMISSION_DENIED
        && strcmp(outcome.message, "invalid username or password") == 0)
    {
        flood->denied++;

    } else if ((outcome.code == GRPC_STATUS_RESOURCE_EXHAUSTED
                && strcmp(outcome.message, "login queue is full") == 0)
               || (outcome.code == GRPC_STATUS_UNAVAILABLE
                   && strcmp(outcome.message, "too many requests") == 0))
    {
        flood->refused++;

        outcome_free(&outcome);
        return false;

    } else if (flood->other++ == 0) {
        flood->strange = outcome;
        return true;
    }

    outcome_free(&outcome);

    return true;
}


static int64_t
flood_now(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC, &now);

    return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}


/* One call, and the pause after it. */
static bool
flood_echo(client_t *client, flood_times_t *times)
{
    int64_t    start, took;
    outcome_t  outcome;

    start = flood_now();
    outcome = call_echo(client, NULL);
    took = flood_now() - start;

    if (outcome.code != GRPC_STATUS_OK) {
        times->failed++;

    } else if (times->n < FLOOD_MAX) {
        times->us[times->n++] = took;
    }

    outcome_free(&outcome);
    check_pace(FLOOD_PACE);

    return times->failed == 0;
}


static bool
flood_answers(test_t *test, flood_t *floods)
{
    int      i, denied, refused, away, other;
    char     text[256];

    denied = 0;
    refused = 0;
    away = 0;
    other = 0;
    text[0] = '\0';

    for (i = 0; i < FLOOD_THREADS; i++) {
        denied += floods[i].denied;
        refused += floods[i].refused;
        away += floods[i].away;
        other += floods[i].other;

        if (floods[i].other > 0) {
            snprintf(text, sizeof(text), ": %d \"%s\"",
                     (int) floods[i].strange.code,
                     floods[i].strange.message);
            outcome_free(&floods[i].strange);
        }
    }

    check_note(test, "%d logins were denied; %d answers \"full\" or \"too "
               "many\", %d logins gave up", denied, refused, away);

    return check(test, denied >= FLOOD_DENIED && other == 0
                       && denied + away == FLOOD_THREADS * FLOOD_LOGINS,
                 "%d wrong logins are denied or kept out: got %d, %d, and %d "
                 "other answers%s", FLOOD_THREADS * FLOOD_LOGINS, denied, away,
                 other, text);
}


static bool
flood_latency(test_t *test, flood_times_t *before, flood_times_t *during)
{
    bool      ok;
    int64_t   quiet, loud;

    quiet = flood_quantile(before, 990);
    loud = flood_quantile(during, 990);

    check_note(test, "Echo before: %zu calls, median %lld us, p99 %lld us",
               before->n, (long long) flood_quantile(before, 500),
               (long long) quiet);
    check_note(test, "Echo beside the logins: %zu calls, median %lld us, "
               "p99 %lld us", during->n,
               (long long) flood_quantile(during, 500), (long long) loud);

    ok = check(test, before->failed == 0 && during->failed == 0,
               "every Echo succeeds: %zu failed", before->failed
                                                  + during->failed);
    ok &= check(test, loud <= FLOOD_RATIO * quiet + FLOOD_SLACK,
                "p99 of Echo is at most %d times as long beside the logins, "
                "and %d ms: got %.1f times", FLOOD_RATIO, FLOOD_SLACK / 1000,
                (double) loud / (double) (quiet > 0 ? quiet : 1));

    return ok;
}


static int64_t
flood_quantile(flood_times_t *times, unsigned permille)
{
    if (times->n == 0) {
        return 0;
    }

    qsort(times->us, times->n, sizeof(int64_t), flood_compare);

    return times->us[(times->n - 1) * permille / 1000];
}


static int
flood_compare(const void *a, const void *b)
{
    const int64_t  *x, *y;

    x = a;
    y = b;

    return *x < *y ? -1 : *x > *y;
}
