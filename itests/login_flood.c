/*
 * A hundred threads send two thousand wrong logins while a session calls. Its
 * calls stay fast, authsvc's memory does not grow, and the right password still
 * gets a token. The flood comes in rounds, each after a quiet time, so that
 * other load of the machine affects both.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "itests/client.h"
#include "itests/process.h"
#include "itests/scenario.h"
#include "itests/stack.h"
#include "itests/times.h"


#define FLOOD_ROUNDS   5
#define FLOOD_THREADS  100
#define FLOOD_LOGINS   4                /* of each thread, in each round */
#define FLOOD_ALL      (FLOOD_ROUNDS * FLOOD_THREADS * FLOOD_LOGINS)
#define FLOOD_DENIED   100              /* calls, at least */
#define FLOOD_SINGLE   20               /* wrong logins one by one */
#define FLOOD_QUIET    300              /* Echo calls of a round, at least */
#define FLOOD_AGAIN    20               /* ms until a refused one is back */
#define FLOOD_TRIES    50               /* tries of a login, then it is given
                                           up */

/* Limits for the medians of all rounds. The slack is some time slices: every
 * process of the machine delays a call, not only authsvc. */
#define FLOOD_RATIO    2
#define FLOOD_SLACK    200000           /* us */

/* Of the processor time that as many logins take one by one. With back-off the
 * share would be 5 percent. */
#define FLOOD_HASHED   50               /* percent, at least */

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
    int           refused;              /* queue full or too many requests;
                                           tried again */
    int           away;
    int           other;
    outcome_t     strange;              /* the first of the other outcomes */
    atomic_int   *running;
} flood_t;

typedef struct {
    int64_t         quiet[FLOOD_ROUNDS];        /* us: p99 of Echo */
    int64_t         loud[FLOOD_ROUNDS];
    size_t          failed;
    int64_t         single;             /* us of authsvc's processor time for
                                           FLOOD_SINGLE wrong logins */
    int64_t         used;               /* the same for the floods of all
                                           rounds */
    int64_t         took;               /* us */
    flood_t         floods[FLOOD_THREADS];
    times_t         times;
} flood_run_t;


static bool flood_run(test_t *test, client_t *client);
static void flood_single(flood_run_t *run, client_t *client);
static void flood_quiet(flood_run_t *run, client_t *client, int round);
static void flood_loud(flood_run_t *run, client_t *client, int round);
static void *flood_thread(void *data);
static bool flood_login(flood_t *flood, int i);
static bool flood_answers(test_t *test, flood_t *floods);
static bool flood_hashed(test_t *test, const flood_run_t *run);
static bool flood_latency(test_t *test, flood_run_t *run);


void
login_flood(test_t *test)
{
    bool       ok;
    long       memory, grown;
    client_t   clients[2];

    if (clients_open(clients, 2, test, "flood") == 0
        && client_login(&clients[0]) && client_echo(&clients[0], NULL))
    {
        memory = process_memory(test, "authsvc");
        ok = flood_run(test, &clients[0]);
        grown = process_memory(test, "authsvc") - memory;

        if (memory <= 0) {
            check_skip(test, "the stack is not known (--stack)",
                       "authsvc's memory");
        } else {
            ok &= check(test, grown <= FLOOD_MEMORY, "authsvc has %ld kB, it "
                        "grew by %ld kB: at most %d kB", memory + grown, grown,
                        FLOOD_MEMORY);
        }

        /* the right user is let in after the flood */
        if (ok && client_login(&clients[1])) {
            (void) client_shutdown(&clients[0], clients[0].pod);
        }
    }

    clients_close(clients, 2);
}


static bool
flood_run(test_t *test, client_t *client)
{
    int           i;
    bool          ok;
    flood_run_t  *run;

    run = calloc(1, sizeof(flood_run_t));
    if (run == NULL) {
        abort();
    }

    times_create(&run->times);
    flood_single(run, client);

    for (i = 0; i < FLOOD_ROUNDS && run->failed == 0; i++) {
        flood_quiet(run, client, i);
        flood_loud(run, client, i);
    }

    ok = flood_answers(test, run->floods);
    ok &= flood_hashed(test, run);
    ok &= flood_latency(test, run);

    times_free(&run->times);
    free(run);

    return ok;
}


/* Without back-off authsvc hashes the password of each login. */
static void
flood_single(flood_run_t *run, client_t *client)
{
    int        i;
    char       name[64];
    outcome_t  outcome;

    run->single = -process_cpu(client->test, "authsvc");

    for (i = 0; i < FLOOD_SINGLE; i++) {
        snprintf(name, sizeof(name), "single-%d", i);
        outcome = call_login(client, name, "wrong", client->session);
        outcome_free(&outcome);
    }

    run->single += process_cpu(client->test, "authsvc");
}


static void
flood_quiet(flood_run_t *run, client_t *client, int round)
{
    times_t  *times;

    times = &run->times;
    times->n = 0;

    while (times->n < FLOOD_QUIET && times->failed == 0) {
        times_echo(client, times);
    }

    run->failed = times->failed;
    run->quiet[round] = times_quantile(times->us, times->n, 990);
}


static void
flood_loud(flood_run_t *run, client_t *client, int round)
{
    int          i;
    int64_t      start;
    flood_t     *flood;
    atomic_int   running;

    run->times.n = 0;
    atomic_init(&running, FLOOD_THREADS);
    run->used -= process_cpu(client->test, "authsvc");
    start = times_now();

    for (i = 0; i < FLOOD_THREADS; i++) {
        flood = &run->floods[i];
        flood->client = client;
        flood->number = i;
        flood->running = &running;
        if (pthread_create(&flood->thread, NULL, flood_thread, flood) != 0) {
            abort();
        }
    }

    while (atomic_load(&running) > 0) {
        times_echo(client, &run->times);
    }

    for (i = 0; i < FLOOD_THREADS; i++) {
        pthread_join(run->floods[i].thread, NULL);
    }

    run->took += times_now() - start;
    run->used += process_cpu(client->test, "authsvc");
    run->failed = run->times.failed;
    run->loud[round] = times_quantile(run->times.us, run->times.n, 990);
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


/* Half of the logins guess the password of one user. Returns false when the
 * queue was full, so that the thread tries again. */
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
                       && denied + away == FLOOD_ALL,
                 "%d wrong logins are denied or kept out: got %d, %d, and %d "
                 "other answers%s", FLOOD_ALL, denied, away, other, text);
}


/* A stack with back-off hashes only the first hundred or so. The time does not
 * show it, because delayed logins take time, too; the processor time does. */
static bool
flood_hashed(test_t *test, const flood_run_t *run)
{
    int64_t      least;
    const char  *failures;

    failures = getenv("AUTHSVC_LOGIN_FAILURES");

    if (run->single <= 0 || failures == NULL || strcmp(failures, "0") != 0) {
        check_skip(test, "authsvc's processor time is unknown, or it has "
                   "back-off (own stack)", "that all are hashed");
        return true;
    }

    least = run->single * (FLOOD_ALL / FLOOD_SINGLE) / 100 * FLOOD_HASHED;

    check_note(test, "%d wrong logins took %lld ms of a processor each alone, "
               "%d together %lld ms, in %lld ms", FLOOD_SINGLE,
               (long long) run->single / FLOOD_SINGLE / 1000, FLOOD_ALL,
               (long long) run->used / 1000, (long long) run->took / 1000);

    return check(test, run->used >= least, "%d logins are hashed: took %lld "
                 "ms of authsvc's processor time, at least %lld", FLOOD_ALL,
                 (long long) run->used / 1000, (long long) least / 1000);
}


static bool
flood_latency(test_t *test, flood_run_t *run)
{
    int      i;
    bool     ok;
    int64_t  quiet, loud;

    for (i = 0; i < FLOOD_ROUNDS; i++) {
        check_note(test, "p99 of Echo in round %d: %lld us, beside the logins "
                   "%lld us", i + 1, (long long) run->quiet[i],
                   (long long) run->loud[i]);
    }

    quiet = times_quantile(run->quiet, FLOOD_ROUNDS, 500);
    loud = times_quantile(run->loud, FLOOD_ROUNDS, 500);

    ok = check(test, run->failed == 0, "every Echo succeeds: %zu failed",
               run->failed);
    ok &= check(test, loud <= FLOOD_RATIO * quiet + FLOOD_SLACK,
                "p99 of Echo, median of %d rounds: beside the logins at most "
                "%d times as long and %d ms, got %lld us, %.1f times",
                FLOOD_ROUNDS, FLOOD_RATIO, FLOOD_SLACK / 1000,
                (long long) loud,
                (double) loud / (double) (quiet > 0 ? quiet : 1));

    return ok;
}


