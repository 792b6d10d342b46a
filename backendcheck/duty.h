/*
 * The duties of an instance, as docs/backend.md has them: a table in the order
 * in which they are checked, and what the checks share.
 *
 * Each duty is checked in a process of its own.  What one finds for the next
 * ones is on the board, which is shared memory.
 */

#ifndef BACKENDCHECK_DUTY_H
#define BACKENDCHECK_DUTY_H


#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "itests/scenario.h"


#define DUTIES_MAX    32
#define SESSION_MAX   256               /* bytes of a session id */
#define PATH_LENGTH   256               /* of "/package.Service/Method" */
#define LEVEL_NONE    -1


typedef enum {
    DUTY_UNKNOWN = 0,
    DUTY_PASSED,
    DUTY_FAILED,
    DUTY_NOT_OFFERED,
    DUTY_NOT_CHECKED                    /* the instance may do it or not */
} verdict_t;

typedef enum {
    KIND_UNARY = 0,
    KIND_STREAM,                        /* one request, many responses */
    KIND_BIDI,
    KIND_UNKNOWN
} kind_t;

/* A method that answers an empty message with OK. */
typedef struct {
    char    path[PATH_LENGTH];
    kind_t  kind;
} target_t;

typedef struct {
    size_t     current;                 /* the duty that is being checked */
    verdict_t  verdicts[DUTIES_MAX];

    /* one of each kind at most; the first is for all checks that need any */
    target_t   targets[KIND_UNKNOWN];
    size_t     n;

    unsigned   sessions;                /* that were named */
    char       held[SESSION_MAX + 1];   /* the last session that was served */
    int64_t    until;                   /* rpc_now(): it must be over */
    bool       gone;                    /* the instance has exited, rightly */
} board_t;

/* What was asked for. */
typedef struct {
    int64_t      level;                 /* LEVEL_NONE: whatever it reaches */
    const char  *methods;               /* "/p.S/M,/p.S/N", or NULL */
    const char  *release;               /* "/p.S/M", or NULL */
    int64_t      pid;                   /* 0: not known */
    const char  *leave;                 /* command, or NULL */
    int64_t      ttl;                   /* ms: what session-ttl says */
    int64_t      timeout;               /* ms: of one call */
    unsigned     run;                   /* in the names of our sessions */
    board_t     *board;
} plan_t;

typedef struct {
    const char   *name;
    int           level;
    scenario_pt   run;
    const char   *needs;                /* a duty before it, or NULL */
    const char   *summary;
} duty_t;


/* Ended by a row without a name. */
extern const duty_t  duties[];

const plan_t *duty_plan(const test_t *test);

/* Runs the duty that the board names, if what it needs has passed. */
void duty_run(test_t *test);

verdict_t duty_verdict(const test_t *test, const char *name);

/* The duty ends with one of these when it finds no right or wrong.  A duty
 * that is not offered is a failure up to the level that was asked for. */
void duty_not_offered(test_t *test, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void duty_not_checked(test_t *test, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));


/* level 0 */
void duty_health(test_t *test);
void duty_calls(test_t *test);

/* level 1 */
void duty_owner(test_t *test);
void duty_stranger(test_t *test);
void duty_long_id(test_t *test);
void duty_health_stays(test_t *test);
void duty_idle_end(test_t *test);
void duty_idle_renewed(test_t *test);
void duty_idle_last(test_t *test);
void duty_stranger_harmless(test_t *test);
void duty_busy_stays(test_t *test);
void duty_session_ends(test_t *test);
void duty_without_session(test_t *test);
void duty_epoch(test_t *test);

/* level 2 */
void duty_tells_calls(test_t *test);
void duty_tells_session(test_t *test);
void duty_tells_left(test_t *test);
void duty_tells_no_drain(test_t *test);
void duty_tells_instance(test_t *test);
void duty_elsewhere(test_t *test);
void duty_tells_epoch(test_t *test);

/* level 3 */
void duty_release(test_t *test);
void duty_leave_tells(test_t *test);
void duty_leave_serves(test_t *test);
void duty_leave_refuses(test_t *test);
void duty_leave_ends(test_t *test);


#endif /* BACKENDCHECK_DUTY_H */
