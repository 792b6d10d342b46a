/*
 * Sessions keep their instances and their calls succeed while instances die,
 * and while the gateway reloads, loses workers, or is replaced.
 */

#include <stdlib.h>
#include <string.h>

#include "itests/client.h"
#include "itests/load.h"
#include "itests/scenario.h"
#include "itests/stack.h"
#include "rpc/server.h"


#define WORKERS_MAX  64
#define TTL          1000               /* ms: SESSION_TTL of the stack */
#define CONFLICT     "Session conflict"

#define KILL_EACH    1000               /* ms */
#define KILLS_MAX    60                 /* until one has hit a session */
#define RELOAD_EACH  5                  /* kills */
#define RENEW_MAX    4                  /* ended instances that a round starts;
                                           a busy machine may end them faster
                                           than it starts them */
#define RELOADS      600                /* ms between two */
#define WORKER_EACH  3000               /* ms between two kills */
#define UPGRADE_EACH 2000               /* ms between two */

#define RESTARTS     3
#define LEASED       14
#define CLIENTS      23


typedef bool (*survive_step_pt)(test_t *test, load_t *load, unsigned n);


static bool survive_steps(test_t *test, const load_plan_t *plan,
    survive_step_pt step, int64_t each, const char *what,
    load_count_t *count);
static bool survive_reload(test_t *test, load_t *load, unsigned n);
static bool survive_binary(test_t *test, load_t *load, unsigned n);
static bool survive_worker(test_t *test, load_t *load, unsigned n);
static int survive_size(test_t *test, int least);
static load_count_t survive_harm(test_t *test, const load_plan_t *plan,
    int instances);
static void survive_round(test_t *test, load_t *load, int instance,
    bool kill);
static void survive_renew(test_t *test, load_t *load, int instance);
static void survive_until(int64_t when);
static bool survive_count(test_t *test, const char *what, uint64_t got);
static void survive_counts(test_t *test, const load_count_t *count);
static void survive_stay(test_t *test, const load_count_t *count);
static void survive_conflicts(test_t *test);
static bool restart_once(test_t *test, client_t *clients, size_t leased);


void
survive_kills(test_t *test)
{
    int           instances;
    load_count_t  count;
    load_plan_t   plan = {
        .label = "kills", .sessions = 200, .seats = 7, .visit = 2000,
        .ttl = TTL, .shutdowns = 4, .streams = 5
    };

    instances = survive_size(test, 20);

    if (instances != 0) {
        count = survive_harm(test, &plan, instances);
        survive_counts(test, &count);
        (void) survive_count(test, "lost", count.lost);
        (void) survive_count(test, "busy", count.busy);
        (void) survive_count(test, "not repeated", count.unrepeatable);
        survive_conflicts(test);
    }
}


void
survive_kills_no_retry(test_t *test)
{
    int           instances;
    load_count_t  count;
    load_plan_t   plan = {
        .label = "noretry", .sessions = 30, .seats = 10, .ttl = TTL
    };

    instances = survive_size(test, 20);

    if (instances != 0) {
        count = survive_harm(test, &plan, instances);
        survive_counts(test, &count);
        (void) survive_count(test, "lost", count.lost);

        /* ten sessions, each with one call at a time on one instance */

        (void) check(test,
                     count.unrepeatable
                     <= (uint64_t) test->settings->soak / KILL_EACH + 1,
                     "at most one call fails for each instance killed: "
                     "got %llu", (unsigned long long) count.unrepeatable);
    }
}


void
survive_crowd(test_t *test)
{
    int           instances;
    load_count_t  count;
    load_plan_t   plan = {
        .label = "crowd", .sessions = 200, .seats = 200, .visit = 1500,
        .ttl = TTL, .shutdowns = 4, .streams = 7
    };

    instances = survive_size(test, 20);

    if (instances != 0) {
        count = survive_harm(test, &plan, instances);
        survive_counts(test, &count);
        (void) check(test, count.busy > 0, "some have to wait");
        (void) survive_count(test, "not repeated", count.unrepeatable);
        survive_conflicts(test);
    }
}


void
survive_reloads(test_t *test)
{
    load_count_t  count;
    load_plan_t   plan = {
        .label = "reloads", .sessions = 15, .seats = 15, .ttl = TTL
    };

    if (survive_steps(test, &plan, survive_reload, RELOADS, "reloads",
                      &count))
    {
        survive_counts(test, &count);
        survive_stay(test, &count);
        survive_conflicts(test);
    }
}


/* Calls that were in flight on the worker may fail. */

void
survive_worker_kills(test_t *test)
{
    load_count_t  count;
    load_plan_t   plan = {
        .label = "workers", .sessions = 15, .seats = 15, .ttl = TTL
    };

    if (survive_steps(test, &plan, survive_worker, WORKER_EACH,
                      "workers killed", &count))
    {
        (void) survive_count(test, "failed", count.failed);
        (void) survive_count(test, "moved for no reason", count.strayed);
        survive_stay(test, &count);
        survive_conflicts(test);
    }
}


void
survive_upgrade(test_t *test)
{
    load_count_t  count;
    load_plan_t   plan = {
        .label = "upgrade", .sessions = 12, .seats = 12, .ttl = TTL
    };

    if (survive_steps(test, &plan, survive_binary, UPGRADE_EACH, "upgrades",
                      &count))
    {
        survive_counts(test, &count);
        survive_stay(test, &count);
    }
}


/* Repeats one step under load until the time of the soak is over. */

static bool
survive_steps(test_t *test, const load_plan_t *plan, survive_step_pt step,
    int64_t each, const char *what, load_count_t *count)
{
    int64_t    end, next;
    load_t    *load;
    unsigned   n;

    if (survive_size(test, (int) plan->sessions) == 0) {
        return false;
    }

    load = load_start(test, plan);
    if (load == NULL) {
        return false;
    }

    if (load_await(load)) {
        end = rpc_now() + test->settings->soak;

        for (n = 0; rpc_now() < end; n++) {
            next = rpc_now() + each;

            if (!step(test, load, n)) {
                break;
            }

            survive_until(next);
        }

        check_note(test, "%u %s", n, what);
    }

    *count = load_stop(load);

    return true;
}


static bool
survive_reload(test_t *test, load_t *load, unsigned n)
{
    (void) load;
    (void) n;

    return stack_reload(test);
}


static bool
survive_binary(test_t *test, load_t *load, unsigned n)
{
    (void) load;
    (void) n;

    return stack_upgrade(test);
}


static bool
survive_worker(test_t *test, load_t *load, unsigned n)
{
    size_t  workers;
    pid_t   pids[WORKERS_MAX];

    workers = stack_workers(test, pids, WORKERS_MAX);

    if (!check(test, workers > 0, "the gateway has workers: %zu", workers)) {
        return false;
    }

    load_harm(load, HARM_WORKER, 0);

    return stack_kill_worker(test, pids[n % workers]);
}


/* At first some instances are free, in the end none. */

void
survive_restart(test_t *test)
{
    int         i, instances;
    size_t      leased;
    client_t   *clients;

    instances = survive_size(test, 20);
    if (instances == 0) {
        return;
    }

    clients = calloc(CLIENTS, sizeof(client_t));
    if (clients == NULL) {
        abort();
    }

    if (clients_open(clients, CLIENTS, test, "restart") == 0
        && clients_login(clients, CLIENTS))
    {
        leased = LEASED;

        for (i = 0; i < RESTARTS; i++) {
            if (!restart_once(test, clients, leased)) {
                break;
            }

            leased = 20;
        }

        survive_conflicts(test);
    }

    clients_close(clients, CLIENTS);
    free(clients);
}


/* Then all sessions call. Sessions that still have no instance get what is
 * free; the ones that have an instance are moved to the front. */

static bool
restart_once(test_t *test, client_t *clients, size_t leased)
{
    bool        ok;
    size_t      i, won;
    client_t    swapped;
    outcome_t   outcomes[CLIENTS];

    ok = true;

    for (i = 0; i < leased; i++) {
        ok &= client_echo(&clients[i], clients[i].pod[0] != '\0'
                                       ? clients[i].pod : NULL);
    }

    if (!ok || !stack_regateway(test)) {
        return false;
    }

    /* a channel whose connection was refused waits a while */

    for (i = 0; i < CLIENTS; i++) {
        rpc_client_free(clients[i].rpc);
        clients[i].rpc = client_connect(test, test->settings->gateway, true);
    }

    clients_parallel(clients, CLIENTS, echo_outcome, outcomes);

    won = 0;

    for (i = 0; i < CLIENTS; i++) {
        if (i < leased || outcomes[i].code == GRPC_STATUS_OK) {
            ok &= expect_echo(&clients[i], &outcomes[i],
                              i < leased ? clients[i].pod : NULL);
            ok &= clients_differ(clients, i);
            swapped = clients[won];
            clients[won++] = clients[i];
            clients[i] = swapped;
            continue;
        }

        ok &= expect_error(test, &outcomes[i],
                           GRPC_STATUS_RESOURCE_EXHAUSTED,
                           "all instances are busy", "%s: MyServiceEcho",
                           clients[i].name);
    }

    return check(test, ok && won == 20, "%zu sessions have their instances, "
                 "of the other %zu as many as there are free: got %zu, want "
                 "%d", leased, CLIENTS - leased, won - leased,
                 (int) (20 - leased));
}


static int
survive_size(test_t *test, int least)
{
    int          n;
    const char  *why;

    n = stack_size(test, &why);

    if (n == 0) {
        check_skip(test, why, "what the gateway survives");
        return 0;
    }

    if (n < least) {
        check_skip(test, "it has too few instances (INSTANCES=20)",
                   "what the gateway survives with %d instances", least);
        return 0;
    }

    return n;
}


/* Each second an instance is killed or stopped, every five a reload. */

static load_count_t
survive_harm(test_t *test, const load_plan_t *plan, int instances)
{
    int            i;
    int64_t        end, next;
    load_t        *load;
    load_count_t   count;

    memset(&count, 0, sizeof(count));

    load = load_start(test, plan);
    if (load == NULL) {
        return count;
    }

    end = rpc_now() + test->settings->soak;

    /* in a short soak chance may harm instances without a session alone */

    for (i = 1;
         rpc_now() < end || (i <= KILLS_MAX && !load_moved(load));
         i++)
    {
        next = rpc_now() + KILL_EACH;

        survive_round(test, load, i * 7 % instances + 1, i % 2);

        if (i % RELOAD_EACH == 0) {
            (void) stack_reload(test);
        }

        survive_until(next);
    }

    check_note(test, "%d instances killed or stopped, %d reloads", i - 1,
               (i - 1) / RELOAD_EACH);

    count = load_stop(load);

    (void) check(test, count.calls > 0, "there were calls");
    (void) check(test, count.moves + count.lost > 0,
                 "sessions had to leave their instances");

    return count;
}


static void
survive_round(test_t *test, load_t *load, int instance, bool kill)
{
    int  i, ended;

    for (i = 0; i < RENEW_MAX && (ended = load_ended(load)) != 0; i++) {
        survive_renew(test, load, ended);
    }

    load_harm(load, HARM_INSTANCE, instance);

    /* a Shutdown may have ended it just now */

    if (kill) {
        (void) stack_kill_if_running(test, instance);
    }

    survive_renew(test, load, instance);
}


/* Stops the instance first if it runs. */

static void
survive_renew(test_t *test, load_t *load, int instance)
{
    load_harm(load, HARM_INSTANCE, instance);
    (void) stack_restart(test, instance);
    load_healed(load, HARM_INSTANCE, instance);
}


static void
survive_until(int64_t when)
{
    int64_t  left;

    left = when - rpc_now();

    if (left > 0) {
        check_pace(left);
    }
}


static bool
survive_count(test_t *test, const char *what, uint64_t got)
{
    return check(test, got == 0, "%s: got %llu, want 0", what,
                 (unsigned long long) got);
}


static void
survive_counts(test_t *test, const load_count_t *count)
{
    (void) survive_count(test, "failed", count->failed);
    (void) survive_count(test, "moved for no reason", count->strayed);
    (void) survive_count(test, "cut off", count->cut);
}


static void
survive_stay(test_t *test, const load_count_t *count)
{
    (void) survive_count(test, "moves", count->moves);
    (void) survive_count(test, "busy", count->busy);
}


/* The logs of the instances show that no call of another session reached an
 * instance with a session. */

static void
survive_conflicts(test_t *test)
{
    long  n;

    n = stack_count(test, CONFLICT);

    (void) check(test, n == 0, "calls that came to another session's "
                 "instance: got %ld, want 0", n);
}
