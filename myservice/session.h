/*
 * The one session of an instance.  Pure: no gRPC, no clock, no allocation.
 * Times are monotonic milliseconds, given by the caller.
 *
 *     unset --enter--> busy --last leave--> idle --enter--> busy
 *       ^                                    |
 *       +----------expire, forget------------+
 *
 * Any of them goes to "closed" by the owner's shutdown or by drain, for good.
 * After session_last() none is set any more.
 *
 * A call may have the epoch of the lease under which it was sent.  One that is
 * lower than the highest that was accepted so far, of whatever session, is of a
 * gateway that has missed what happened since: the call is refused.  A refused
 * call raises nothing.
 */

#ifndef MYSERVICE_SESSION_H
#define MYSERVICE_SESSION_H


#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


#define SESSION_ID_MAX   256                      /* as jwt/token.h */
#define SESSION_TTL_MAX  ((int64_t) 365 * 86400 * 1000)
#define SESSION_EPOCH_MAX  ((UINT64_C(1) << 53) - 1)


typedef enum {
    SESSION_UNSET = 0,
    SESSION_IDLE,                       /* set, nothing in flight */
    SESSION_BUSY,                       /* set, calls or streams in flight */
    SESSION_CLOSED
} session_state_t;

typedef enum {
    SESSION_OK = 0,
    SESSION_REFUSE_CONFLICT,            /* set by another session */
    SESSION_REFUSE_STALE,               /* of an older lease */
    SESSION_REFUSE_NOT_SET,
    SESSION_REFUSE_MISMATCH,            /* shutdown by another session */
    SESSION_REFUSE_CLOSED
} session_result_t;

typedef struct {
    session_state_t  state;
    bool             last;              /* no other session may follow */
    unsigned         calls;             /* in flight */
    int64_t          since;             /* of the session that is set */
    uint64_t         epoch;             /* the highest that was accepted */
    int64_t          default_ttl;
    int64_t          ttl;               /* of the session that is set */
    int64_t          ends;              /* of the session, 0: none */
    int64_t          deadline;          /* valid in SESSION_IDLE */
    char             id[SESSION_ID_MAX + 1];    /* "" when none is set */
} session_t;


void session_init(session_t *session, int64_t ttl);

/* A call of session "id" (1..SESSION_ID_MAX bytes) begins; sets the session
 * when none is.  "epoch" is 0 for a call without one.  After SESSION_OK
 * session_leave() must follow. */
session_result_t session_enter(session_t *session, const char *id,
    uint64_t epoch, int64_t now) __attribute__((warn_unused_result));

void session_leave(session_t *session, int64_t now);

/* Replaces the idle TTL until the session ends.  Only inside a call. */
void session_ttl(session_t *session, int64_t ttl);

/* When the session ends at the latest, unless a call is in flight then.  A
 * later time extends it, an earlier one changes nothing.  Only inside a
 * call. */
void session_ends(session_t *session, int64_t ends);

/* How long the session lasts after "now" if no other call comes; while calls
 * are in flight as if they ended now.  0 if none is set. */
int64_t session_left(const session_t *session, int64_t now);

/* The owner's shutdown closes; any other changes nothing. */
session_result_t session_shutdown(session_t *session, const char *id,
    uint64_t epoch, int64_t now) __attribute__((warn_unused_result));

/* Another instance serves the session: forgets it, unless a call of it is in
 * flight here or it is not ours; true if it did. */
bool session_forget(session_t *session, const char *id, int64_t now);

/* The session that is set, if any, is the last one; true if none is. */
bool session_last(session_t *session, int64_t now);

/* Closes, whatever the state is. */
void session_drain(session_t *session);

/* Forgets the session if its idle TTL has passed; true if it did. */
bool session_expire(session_t *session, int64_t now);


#endif /* MYSERVICE_SESSION_H */
