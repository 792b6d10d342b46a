/*
 * All instances are replaced while sessions call: no call fails, and every
 * session that moves is told so.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "itests/client.h"
#include "itests/load.h"
#include "itests/process.h"
#include "itests/scenario.h"
#include "itests/stack.h"
#include "rpc/server.h"


#define OLD        10                   /* instances, as many are new */
#define SESSIONS   8
#define PACE       34                   /* ms: 200 calls a second of all */
#define RATE_MIN   20                   /* calls a second on a busy machine */
#define DEADLINE   5                    /* s; then an old instance has to go */
#define PATIENCE   60000                /* ms, for them to end */
#define POLL       50
#define SET        ": set"              /* an instance has a session */


typedef bool (*update_pt)(test_t *test);


static void update(test_t *test, update_pt replace);
static bool update_in_order(test_t *test);
static bool update_by_term(test_t *test);
static bool update_await(test_t *test, const char *what,
    bool (*done)(const test_t *test, int instance), int first);
static bool update_gone(const test_t *test, int instance);
static void update_idle(client_t *idle);
static void update_counts(test_t *test, const load_count_t *count,
    int64_t took);
static void update_none(test_t *test, const char *what, uint64_t got);


void
rolling_update(test_t *test)
{
    update(test, update_in_order);
}


void
rolling_update_term(test_t *test)
{
    update(test, update_by_term);
}


static void
update(test_t *test, update_pt replace)
{
    int           i;
    int64_t       start;
    load_t       *load;
    client_t      idle;
    const char   *why;
    load_count_t  count;
    load_plan_t   plan = {
        .label = "rolling", .sessions = SESSIONS, .seats = SESSIONS,
        .pace = PACE, .told = true
    };

    if (stack_size(test, &why) < 2 * OLD) {
        check_skip(test, "it needs twice as many instances as run "
                   "(INSTANCES=20 RUNNING=10)", "a rolling update");
        return;
    }

    load = load_start(test, &plan);
    if (load == NULL) {
        return;
    }

    start = rpc_now();

    if (client_open(&idle, test, "idle client", "idle") == 0
        && client_login(&idle) && client_echo(&idle, NULL)
        && load_await(load))
    {
        for (i = 1; i <= OLD; i++) {
            load_harm(load, HARM_INSTANCE, i);
        }

        if (replace(test)
            && update_await(test, "old instances that have ended",
                            update_gone, 1))
        {
            update_idle(&idle);
        }
    }

    client_close(&idle);
    count = load_stop(load);

    update_counts(test, &count, rpc_now() - start);
}


/* Nobody has waited for this session; its next call tells that it moved. */

static void
update_idle(client_t *idle)
{
    char       pod[CLIENT_POD];
    check_t    c;
    outcome_t  outcome;

    snprintf(pod, sizeof(pod), "%s", idle->pod);
    outcome = call_echo(idle, NULL);

    check_begin(&c, idle->test, "%s: told that its session moved",
                idle->name);
    (void) check_equal(&c, "session-decision",
                       outcome.decision != NULL ? outcome.decision : "",
                       "MOVED");
    (void) check_done(&c);

    if (expect_echo(idle, &outcome, NULL)) {
        (void) check(idle->test, strcmp(idle->pod, pod) != 0,
                     "%s: on another instance: got \"%s\", before \"%s\"",
                     idle->name, idle->pod, pod);
    }
}


/* The steps of the example. */

static bool
update_in_order(test_t *test)
{
    int          status;
    char         command[512];
    const char  *stack, *slash;

    stack = test->settings->stack;
    slash = strrchr(stack, '/');

    snprintf(command, sizeof(command),
             "'%.*s../examples/rolling-update/update' --deadline %d >&2",
             slash != NULL ? (int) (slash - stack + 1) : 0, stack, DEADLINE);

    status = system(command);

    return check(test, status == 0, "%s: got status %d, want 0", command,
                 status);
}


static bool
update_by_term(test_t *test)
{
    int  i;

    for (i = 1; i <= OLD; i++) {
        if (!stack_restart(test, OLD + i)) {
            return false;
        }
    }

    if (!update_await(test, "new instances that have joined", stack_joined,
                      OLD + 1))
    {
        return false;
    }

    for (i = 1; i <= OLD; i++) {
        if (!stack_retire(test, i)) {
            return false;
        }
    }

    return true;
}


/* As many as there are old ones. */

static bool
update_await(test_t *test, const char *what,
    bool (*done)(const test_t *test, int instance), int first)
{
    int      i;
    int64_t  end;

    i = 0;
    end = rpc_now() + PATIENCE;

    while (i < OLD && rpc_now() < end) {

        if (done(test, first + i)) {
            i++;

        } else {
            check_pace(POLL);
        }
    }

    return check(test, i == OLD, "%s: got %d, want %d", what, i, OLD);
}


static bool
update_gone(const test_t *test, int instance)
{
    return !process_runs(test, instance);
}


static void
update_counts(test_t *test, const load_count_t *count, int64_t took)
{
    long      set, want;
    uint64_t  rate;

    rate = took > 0 ? count->calls * 1000 / (uint64_t) took : 0;
    check_note(test, "%llu calls a second", (unsigned long long) rate);

    (void) check(test, rate >= RATE_MIN, "calls a second: got %llu, want %d "
                 "or more", (unsigned long long) rate, RATE_MIN);

    update_none(test, "failed", count->failed);
    update_none(test, "not repeated", count->unrepeatable);
    update_none(test, "without a place to move to", count->lost);
    update_none(test, "busy", count->busy);
    update_none(test, "moved for no reason", count->strayed);
    update_none(test, "moved, and not told", count->silent);

    (void) check(test, count->moves >= SESSIONS, "moves: got %llu, want %d "
                 "or more", (unsigned long long) count->moves, SESSIONS);

    /* the idle session begins and moves, too */

    want = (long) (SESSIONS + count->moves) + 2;
    set = stack_count(test, SET);

    (void) check(test, set == want, "sessions that instances got: %ld; those "
                 "at the start and the moves that clients saw: %ld", set,
                 want);
}


static void
update_none(test_t *test, const char *what, uint64_t got)
{
    (void) check(test, got == 0, "%s: got %llu, want 0", what,
                 (unsigned long long) got);
}
