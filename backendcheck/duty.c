/* The table of duties, and when one is checked. */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "backendcheck/duty.h"


static void duty_skip(test_t *test, verdict_t verdict, const char *reason);


/*
 * idle_end comes early in level 1: it finds out whether the instance is free
 * again for the next one.  leave_tells makes the instance leave.
 */

const duty_t  duties[] = {
    { "health", 0, duty_health, NULL,
      "Health/Check says SERVING, or does not exist" },
    { "calls", 0, duty_calls, "health",
      "calls with the gateway's metadata are answered" },

    { "owner", 1, duty_owner, "calls",
      "every call of its session is served" },
    { "stranger", 1, duty_stranger, "owner",
      "another session is refused, and learns who has the instance" },
    { "idle_end", 1, duty_idle_end, "stranger",
      "the session ends when it was idle for session-ttl, not earlier" },
    { "idle_renewed", 1, duty_idle_renewed, "idle_end",
      "each call begins the idle time anew" },
    { "idle_last", 1, duty_idle_last, "idle_end",
      "the session-ttl of the last call counts" },
    { "stranger_harmless", 1, duty_stranger_harmless, "idle_end",
      "a refused call changes nothing for the owner" },
    { "busy_stays", 1, duty_busy_stays, "idle_end",
      "a call that runs keeps the session" },
    { "session_ends", 1, duty_session_ends, "idle_end",
      "the session ends at session-ends, used or not" },
    { "health_stays", 1, duty_health_stays, "stranger",
      "health stays SERVING while the instance has a session" },
    { "long_id", 1, duty_long_id, "stranger",
      "a session id may have 256 bytes of visible ASCII" },
    { "without_session", 1, duty_without_session, "idle_end",
      "a call without session-id is refused and takes nothing" },
    { "epoch", 1, duty_epoch, "stranger_harmless",
      "a call of an older lease is refused" },

    { "tells_calls", 2, duty_tells_calls, "owner",
      "session-calls says how many calls are running" },
    { "tells_session", 2, duty_tells_session, "owner",
      "session-id names the session, if there is one" },
    { "tells_left", 2, duty_tells_left, "tells_session",
      "session-left says how long the session lasts" },
    { "tells_no_drain", 2, duty_tells_no_drain, "tells_session",
      "session-drain is not there before the instance drains" },
    { "tells_instance", 2, duty_tells_instance, "owner",
      "instance-id names the process and does not change" },
    { "elsewhere", 2, duty_elsewhere, "tells_session",
      "session-elsewhere makes it forget that session, if idle" },
    { "tells_epoch", 2, duty_tells_epoch, "epoch",
      "session-epoch is the highest epoch that it has accepted" },

    { "release", 3, duty_release, "owner",
      "after the release method it exits, or is free again" },
    { "leave_tells", 3, duty_leave_tells, "tells_session",
      "at SIGTERM it says session-drain and keeps its session" },
    { "leave_serves", 3, duty_leave_serves, "leave_tells",
      "its session is served while it drains" },
    { "leave_refuses", 3, duty_leave_refuses, "leave_tells",
      "other sessions are refused while it drains" },
    { "leave_ends", 3, duty_leave_ends, "leave_serves",
      "after its session it says session-leaving and exits" },
    { NULL, 0, NULL, NULL, NULL }
};


const plan_t *
duty_plan(const test_t *test)
{
    return test->settings->data;
}


void
duty_run(test_t *test)
{
    verdict_t       needed;
    const duty_t   *duty;
    const plan_t   *plan;
    const board_t  *board;

    plan = duty_plan(test);
    board = plan->board;
    duty = &duties[board->current];

    if (board->gone) {
        duty_not_checked(test, "the instance has exited after the release "
                         "method, as it may; start it again and leave out "
                         "--release");
        return;
    }

    needed = duty->needs != NULL ? duty_verdict(test, duty->needs)
                                 : DUTY_PASSED;

    if (needed == DUTY_PASSED) {
        duty->run(test);
        return;
    }

    /* up to the level that was asked for, what it needs has failed already */

    if (needed == DUTY_NOT_OFFERED && duty->level > plan->level) {
        duty_not_offered(test, "it needs %s, which is not offered",
                         duty->needs);
        return;
    }

    duty_not_checked(test, "it needs %s, which has not passed", duty->needs);
}


verdict_t
duty_verdict(const test_t *test, const char *name)
{
    size_t          i;
    const board_t  *board;

    board = duty_plan(test)->board;

    for (i = 0; i < board->current; i++) {
        if (strcmp(duties[i].name, name) == 0) {
            return board->verdicts[i];
        }
    }

    return DUTY_UNKNOWN;
}


void
duty_not_offered(test_t *test, const char *fmt, ...)
{
    char     reason[1024];
    va_list  args;

    va_start(args, fmt);
    vsnprintf(reason, sizeof(reason), fmt, args);
    va_end(args);

    duty_skip(test, DUTY_NOT_OFFERED, reason);
}


void
duty_not_checked(test_t *test, const char *fmt, ...)
{
    char     reason[1024];
    va_list  args;

    va_start(args, fmt);
    vsnprintf(reason, sizeof(reason), fmt, args);
    va_end(args);

    duty_skip(test, DUTY_NOT_CHECKED, reason);
}


static void
duty_skip(test_t *test, verdict_t verdict, const char *reason)
{
    char           text[1100];
    board_t       *board;
    const duty_t  *duty;
    const plan_t  *plan;

    plan = duty_plan(test);
    board = plan->board;
    duty = &duties[board->current];

    board->verdicts[board->current] = verdict;

    if (verdict == DUTY_NOT_OFFERED && duty->level <= plan->level) {
        (void) check(test, false, "%s: not offered: %s", duty->summary,
                     reason);
        return;
    }

    snprintf(text, sizeof(text), "%s: %s",
             verdict == DUTY_NOT_OFFERED ? "not offered" : "not checked",
             reason);
    check_skip(test, text, "%s", duty->summary);
}
