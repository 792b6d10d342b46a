/* The one session of an instance: taken, refused, over. */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "myservice/session.h"


typedef enum {
    END = 0,
    ENTER,
    LEAVE,
    TTL,
    ENDS,
    EPOCH,                              /* of the next calls */
    LEFT,
    SHUTDOWN,
    DRAIN,
    FORGET,                             /* result: 1 if it did */
    EXPIRE,                             /* result: 1 if it expired */
    LAST                                /* result: 1 if none is set */
} op_t;

typedef struct {
    op_t             op;
    const char      *id;
    int64_t          now;               /* TTL, ENDS, EPOCH: the new one */
    int              result;
    session_state_t  state;             /* afterwards */
    const char      *owner;
} step_t;

typedef struct {
    const char  *name;
    step_t       steps[16];
} story_t;


static void run(const story_t *story);


/* the TTL is 100 */

static const story_t  stories[] = {

    { "set by the first call, kept between calls", {
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { LEAVE, NULL, 1, 0, SESSION_IDLE, "a" },
        { ENTER, "a", 2, SESSION_OK, SESSION_BUSY, "a" },
        { ENTER, "a", 3, SESSION_OK, SESSION_BUSY, "a" },
        { LEAVE, NULL, 4, 0, SESSION_BUSY, "a" },
        { LEAVE, NULL, 5, 0, SESSION_IDLE, "a" },
    } },

    { "an older lease is refused, the same one and a newer one are not", {
        { EPOCH, NULL, 50, 0, SESSION_UNSET, "" },
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { EPOCH, NULL, 49, 0, SESSION_BUSY, "a" },
        { ENTER, "a", 1, SESSION_REFUSE_STALE, SESSION_BUSY, "a" },
        { SHUTDOWN, "a", 1, SESSION_REFUSE_STALE, SESSION_BUSY, "a" },
        { EPOCH, NULL, 50, 0, SESSION_BUSY, "a" },
        { ENTER, "a", 2, SESSION_OK, SESSION_BUSY, "a" },
        { EPOCH, NULL, 51, 0, SESSION_BUSY, "a" },
        { ENTER, "a", 3, SESSION_OK, SESSION_BUSY, "a" },
        { EPOCH, NULL, 50, 0, SESSION_BUSY, "a" },
        { ENTER, "a", 4, SESSION_REFUSE_STALE, SESSION_BUSY, "a" },
        { SHUTDOWN, "b", 4, SESSION_REFUSE_MISMATCH, SESSION_BUSY, "a" },
        { EPOCH, NULL, 51, 0, SESSION_BUSY, "a" },
        { SHUTDOWN, "a", 5, SESSION_OK, SESSION_CLOSED, "a" },
    } },

    { "also when the session is over, and for any session", {
        { EPOCH, NULL, 50, 0, SESSION_UNSET, "" },
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { LEAVE, NULL, 1, 0, SESSION_IDLE, "a" },
        { EXPIRE, NULL, 101, 1, SESSION_UNSET, "" },
        { EPOCH, NULL, 40, 0, SESSION_UNSET, "" },
        { ENTER, "a", 102, SESSION_REFUSE_STALE, SESSION_UNSET, "" },
        { ENTER, "b", 102, SESSION_REFUSE_STALE, SESSION_UNSET, "" },
        { EPOCH, NULL, 0, 0, SESSION_UNSET, "" },
        { ENTER, "b", 103, SESSION_OK, SESSION_BUSY, "b" },
    } },

    { "a refused call raises nothing: the owner's calls go on", {
        { EPOCH, NULL, 50, 0, SESSION_UNSET, "" },
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { EPOCH, NULL, 90, 0, SESSION_BUSY, "a" },
        { ENTER, "b", 1, SESSION_REFUSE_CONFLICT, SESSION_BUSY, "a" },
        { EPOCH, NULL, 50, 0, SESSION_BUSY, "a" },
        { ENTER, "a", 2, SESSION_OK, SESSION_BUSY, "a" },
        { EPOCH, NULL, 10, 0, SESSION_BUSY, "a" },
        { ENTER, "b", 3, SESSION_REFUSE_CONFLICT, SESSION_BUSY, "a" },
    } },

    { "another session is a conflict, busy or idle", {
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { ENTER, "b", 1, SESSION_REFUSE_CONFLICT, SESSION_BUSY, "a" },
        { LEAVE, NULL, 2, 0, SESSION_IDLE, "a" },
        { ENTER, "b", 3, SESSION_REFUSE_CONFLICT, SESSION_IDLE, "a" },
        { ENTER, "A", 3, SESSION_REFUSE_CONFLICT, SESSION_IDLE, "a" },
        { ENTER, "aa", 3, SESSION_REFUSE_CONFLICT, SESSION_IDLE, "a" },
        { ENTER, "a", 4, SESSION_OK, SESSION_BUSY, "a" },
    } },

    { "a conflict does not renew", {
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { LEAVE, NULL, 0, 0, SESSION_IDLE, "a" },
        { ENTER, "b", 99, SESSION_REFUSE_CONFLICT, SESSION_IDLE, "a" },
        { ENTER, "b", 100, SESSION_OK, SESSION_BUSY, "b" },
    } },

    { "forgotten when another instance serves it, and nobody calls", {
        { FORGET, "a", 0, 0, SESSION_UNSET, "" },
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { TTL, NULL, 500, 0, SESSION_BUSY, "a" },
        { FORGET, "a", 1, 0, SESSION_BUSY, "a" },
        { LEAVE, NULL, 2, 0, SESSION_IDLE, "a" },
        { FORGET, "b", 3, 0, SESSION_IDLE, "a" },
        { FORGET, "aa", 3, 0, SESSION_IDLE, "a" },
        { FORGET, "", 3, 0, SESSION_IDLE, "a" },
        { FORGET, "a", 4, 1, SESSION_UNSET, "" },
        { FORGET, "a", 4, 0, SESSION_UNSET, "" },
        { ENTER, "b", 5, SESSION_OK, SESSION_BUSY, "b" },
        { LEAVE, NULL, 6, 0, SESSION_IDLE, "b" },
        { EXPIRE, NULL, 106, 1, SESSION_UNSET, "" },
        { DRAIN, NULL, 107, 0, SESSION_CLOSED, "" },
        { FORGET, "b", 108, 0, SESSION_CLOSED, "" },
    } },

    { "expires when idle for the TTL", {
        { EXPIRE, NULL, 500, 0, SESSION_UNSET, "" },
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { LEAVE, NULL, 10, 0, SESSION_IDLE, "a" },
        { EXPIRE, NULL, 109, 0, SESSION_IDLE, "a" },
        { EXPIRE, NULL, 110, 1, SESSION_UNSET, "" },
        { EXPIRE, NULL, 111, 0, SESSION_UNSET, "" },
    } },

    { "a call in flight keeps it alive", {
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { EXPIRE, NULL, 5000, 0, SESSION_BUSY, "a" },
        { ENTER, "b", 5000, SESSION_REFUSE_CONFLICT, SESSION_BUSY, "a" },
        { LEAVE, NULL, 5001, 0, SESSION_IDLE, "a" },
        { EXPIRE, NULL, 5100, 0, SESSION_IDLE, "a" },
        { EXPIRE, NULL, 5101, 1, SESSION_UNSET, "" },
    } },

    { "the owner comes back too late: set anew", {
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { LEAVE, NULL, 0, 0, SESSION_IDLE, "a" },
        { ENTER, "a", 500, SESSION_OK, SESSION_BUSY, "a" },
        { LEAVE, NULL, 500, 0, SESSION_IDLE, "a" },
        { EXPIRE, NULL, 599, 0, SESSION_IDLE, "a" },
    } },

    { "a TTL that was told counts for this session only", {
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { TTL, NULL, 1000, 0, SESSION_BUSY, "a" },
        { LEAVE, NULL, 0, 0, SESSION_IDLE, "a" },
        { EXPIRE, NULL, 999, 0, SESSION_IDLE, "a" },
        { EXPIRE, NULL, 1000, 1, SESSION_UNSET, "" },
        { ENTER, "b", 1000, SESSION_OK, SESSION_BUSY, "b" },
        { LEAVE, NULL, 1000, 0, SESSION_IDLE, "b" },
        { EXPIRE, NULL, 1100, 1, SESSION_UNSET, "" },
    } },

    { "a hard end, before the idle time", {
        { ENTER, "a", 10, SESSION_OK, SESSION_BUSY, "a" },
        { ENDS, NULL, 60, 0, SESSION_BUSY, "a" },
        { LEAVE, NULL, 20, 0, SESSION_IDLE, "a" },
        { EXPIRE, NULL, 59, 0, SESSION_IDLE, "a" },
        { EXPIRE, NULL, 60, 1, SESSION_UNSET, "" },
    } },

    { "a hard end, behind the idle time", {
        { ENTER, "a", 10, SESSION_OK, SESSION_BUSY, "a" },
        { ENDS, NULL, 300, 0, SESSION_BUSY, "a" },
        { LEAVE, NULL, 20, 0, SESSION_IDLE, "a" },
        { EXPIRE, NULL, 119, 0, SESSION_IDLE, "a" },
        { EXPIRE, NULL, 120, 1, SESSION_UNSET, "" },
    } },

    { "a hard end moves later, not earlier", {
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { ENDS, NULL, 50, 0, SESSION_BUSY, "a" },
        { ENDS, NULL, 70, 0, SESSION_BUSY, "a" },
        { ENDS, NULL, 40, 0, SESSION_BUSY, "a" },
        { LEAVE, NULL, 1, 0, SESSION_IDLE, "a" },
        { EXPIRE, NULL, 69, 0, SESSION_IDLE, "a" },
        { EXPIRE, NULL, 70, 1, SESSION_UNSET, "" },
    } },

    { "a call in flight at the hard end goes on", {
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { ENDS, NULL, 50, 0, SESSION_BUSY, "a" },
        { EXPIRE, NULL, 60, 0, SESSION_BUSY, "a" },
        { ENTER, "b", 60, SESSION_REFUSE_CONFLICT, SESSION_BUSY, "a" },
        { LEAVE, NULL, 70, 0, SESSION_IDLE, "a" },
        { ENTER, "b", 70, SESSION_OK, SESSION_BUSY, "b" },
    } },

    { "a hard end is of one session", {
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { ENDS, NULL, 50, 0, SESSION_BUSY, "a" },
        { LEAVE, NULL, 1, 0, SESSION_IDLE, "a" },
        { ENTER, "b", 50, SESSION_OK, SESSION_BUSY, "b" },
        { LEAVE, NULL, 60, 0, SESSION_IDLE, "b" },
        { EXPIRE, NULL, 159, 0, SESSION_IDLE, "b" },
        { EXPIRE, NULL, 160, 1, SESSION_UNSET, "" },
    } },

    { "shutdown: no session", {
        { SHUTDOWN, "a", 0, SESSION_REFUSE_NOT_SET, SESSION_UNSET, "" },
        { ENTER, "b", 1, SESSION_OK, SESSION_BUSY, "b" },
    } },

    { "shutdown: an expired session is no session", {
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { LEAVE, NULL, 0, 0, SESSION_IDLE, "a" },
        { SHUTDOWN, "a", 100, SESSION_REFUSE_NOT_SET, SESSION_UNSET, "" },
    } },

    { "shutdown: another session changes nothing", {
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { SHUTDOWN, "b", 1, SESSION_REFUSE_MISMATCH, SESSION_BUSY, "a" },
        { LEAVE, NULL, 2, 0, SESSION_IDLE, "a" },
        { SHUTDOWN, "b", 50, SESSION_REFUSE_MISMATCH, SESSION_IDLE, "a" },
        { EXPIRE, NULL, 102, 1, SESSION_UNSET, "" },
    } },

    { "shutdown closes for good", {
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { LEAVE, NULL, 1, 0, SESSION_IDLE, "a" },
        { SHUTDOWN, "a", 2, SESSION_OK, SESSION_CLOSED, "a" },
        { SHUTDOWN, "a", 3, SESSION_REFUSE_CLOSED, SESSION_CLOSED, "a" },
        { ENTER, "a", 4, SESSION_REFUSE_CLOSED, SESSION_CLOSED, "a" },
        { ENTER, "b", 4, SESSION_REFUSE_CLOSED, SESSION_CLOSED, "a" },
        { EXPIRE, NULL, 900, 0, SESSION_CLOSED, "a" },
        { DRAIN, NULL, 901, 0, SESSION_CLOSED, "a" },
    } },

    { "shutdown with calls in flight", {
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { SHUTDOWN, "a", 2, SESSION_OK, SESSION_CLOSED, "a" },
        { LEAVE, NULL, 3, 0, SESSION_CLOSED, "a" },
        { LEAVE, NULL, 4, 0, SESSION_CLOSED, "a" },
    } },

    { "how long it lasts if nobody comes", {
        { LEFT, NULL, 0, 0, SESSION_UNSET, "" },
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { LEFT, NULL, 70, 100, SESSION_BUSY, "a" },
        { LEAVE, NULL, 80, 0, SESSION_IDLE, "a" },
        { LEFT, NULL, 90, 90, SESSION_IDLE, "a" },
        { ENTER, "a", 100, SESSION_OK, SESSION_BUSY, "a" },
        { ENDS, NULL, 150, 0, SESSION_BUSY, "a" },
        { LEFT, NULL, 110, 40, SESSION_BUSY, "a" },
        { LEFT, NULL, 151, 0, SESSION_BUSY, "a" },
        { LEAVE, NULL, 120, 0, SESSION_IDLE, "a" },
        { LEFT, NULL, 130, 20, SESSION_IDLE, "a" },
        { LEFT, NULL, 150, 0, SESSION_IDLE, "a" },
        { SHUTDOWN, "a", 140, SESSION_OK, SESSION_CLOSED, "a" },
        { LEFT, NULL, 141, 0, SESSION_CLOSED, "a" },
    } },

    { "the last one is served to its end, and no other one", {
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { LAST, NULL, 1, 0, SESSION_BUSY, "a" },
        { ENTER, "b", 1, SESSION_REFUSE_CONFLICT, SESSION_BUSY, "a" },
        { LEAVE, NULL, 2, 0, SESSION_IDLE, "a" },
        { ENTER, "a", 3, SESSION_OK, SESSION_BUSY, "a" },
        { LEAVE, NULL, 4, 0, SESSION_IDLE, "a" },
        { ENTER, "a", 104, SESSION_REFUSE_CLOSED, SESSION_UNSET, "" },
        { SHUTDOWN, "a", 105, SESSION_REFUSE_NOT_SET, SESSION_UNSET, "" },
    } },

    { "the last one has ended by its time", {
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { LEAVE, NULL, 0, 0, SESSION_IDLE, "a" },
        { LAST, NULL, 100, 1, SESSION_UNSET, "" },
        { ENTER, "b", 101, SESSION_REFUSE_CLOSED, SESSION_UNSET, "" },
        { DRAIN, NULL, 102, 0, SESSION_CLOSED, "" },
    } },

    { "drain without a session", {
        { DRAIN, NULL, 0, 0, SESSION_CLOSED, "" },
        { ENTER, "a", 1, SESSION_REFUSE_CLOSED, SESSION_CLOSED, "" },
        { SHUTDOWN, "a", 2, SESSION_REFUSE_CLOSED, SESSION_CLOSED, "" },
    } },

    { "drain with a session", {
        { ENTER, "a", 0, SESSION_OK, SESSION_BUSY, "a" },
        { DRAIN, NULL, 1, 0, SESSION_CLOSED, "a" },
        { LEAVE, NULL, 2, 0, SESSION_CLOSED, "a" },
        { DRAIN, NULL, 3, 0, SESSION_CLOSED, "a" },
    } },
};


static void
run(const story_t *story)
{
    int            result;
    size_t         i;
    uint64_t       epoch;
    session_t      session;
    const step_t  *step;

    epoch = 0;

    session_init(&session, 100);

    for (i = 0; story->steps[i].op != END; i++) {
        step = &story->steps[i];
        result = 0;

        switch (step->op) {

        case ENTER:
            result = session_enter(&session, step->id, epoch, step->now);
            break;

        case LEAVE:
            session_leave(&session, step->now);
            break;

        case TTL:
            session_ttl(&session, step->now);
            break;

        case EPOCH:
            epoch = (uint64_t) step->now;
            break;

        case ENDS:
            session_ends(&session, step->now);
            break;

        case LEFT:
            result = (int) session_left(&session, step->now);
            break;

        case SHUTDOWN:
            result = session_shutdown(&session, step->id, epoch, step->now);
            break;

        case DRAIN:
            session_drain(&session);
            break;

        case FORGET:
            result = session_forget(&session, step->id, step->now);
            break;

        case EXPIRE:
            result = session_expire(&session, step->now);
            break;

        case LAST:
            result = session_last(&session, step->now);
            break;

        case END:
            break;
        }

        ck_assert_msg(result == step->result
                      && session.state == step->state
                      && strcmp(session.id, step->owner) == 0,
                      "%s: step %zu: result %d state %d owner \"%s\"",
                      story->name, i, result, (int) session.state,
                      session.id);
    }
}


START_TEST(test_story)
{
    run(&stories[_i]);
}
END_TEST


START_TEST(test_longest_id)
{
    char       id[SESSION_ID_MAX + 1];
    session_t  session;

    memset(id, 'x', SESSION_ID_MAX);
    id[SESSION_ID_MAX] = '\0';

    session_init(&session, 100);

    ck_assert_int_eq(session_enter(&session, id, 0, 0), SESSION_OK);
    ck_assert_str_eq(session.id, id);
}
END_TEST


/* A broken caller is stopped, not served. */

START_TEST(test_leave_without_enter)
{
    session_t  session;

    session_init(&session, 100);
    session_leave(&session, 0);
}
END_TEST


START_TEST(test_empty_id)
{
    session_t  session;

    session_init(&session, 100);
    ck_assert_int_eq(session_enter(&session, "", 0, 0), SESSION_OK);
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("session");

    tcase = tcase_create("stories");
    tcase_add_loop_test(tcase, test_story, 0,
                        (int) (sizeof(stories) / sizeof(stories[0])));
    tcase_add_test(tcase, test_longest_id);
    suite_add_tcase(suite, tcase);

    tcase = tcase_create("aborts");
    tcase_add_test_raise_signal(tcase, test_leave_without_enter, 6);
    tcase_add_test_raise_signal(tcase, test_empty_id, 6);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
