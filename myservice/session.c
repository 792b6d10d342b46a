/*
 * The state machine of the one session; session.h draws it.
 */

#include <stdlib.h>
#include <string.h>

#include "myservice/session.h"


static bool session_stale(const session_t *session, uint64_t epoch);
static void session_accept(session_t *session, uint64_t epoch);
static int64_t session_deadline(const session_t *session, int64_t now);
static void session_unset(session_t *session);
static void session_to(session_t *session, session_state_t state);


void
session_init(session_t *session, int64_t ttl)
{
    memset(session, 0, sizeof(session_t));

    session->state = SESSION_UNSET;
    session->default_ttl = ttl;
    session->ttl = ttl;
}


session_result_t
session_enter(session_t *session, const char *id, uint64_t epoch, int64_t now)
{
    size_t  len;

    len = strlen(id);

    if (len == 0 || len > SESSION_ID_MAX) {
        abort();
    }

    (void) session_expire(session, now);

    switch (session->state) {

    case SESSION_CLOSED:
        return SESSION_REFUSE_CLOSED;

    case SESSION_UNSET:
        if (session->last) {
            return SESSION_REFUSE_CLOSED;
        }

        if (session_stale(session, epoch)) {
            return SESSION_REFUSE_STALE;
        }

        memcpy(session->id, id, len + 1);
        session->since = now;
        break;

    case SESSION_IDLE:
    case SESSION_BUSY:
        if (strcmp(session->id, id) != 0) {
            return SESSION_REFUSE_CONFLICT;
        }

        if (session_stale(session, epoch)) {
            return SESSION_REFUSE_STALE;
        }

        break;
    }

    session_accept(session, epoch);
    session->calls++;

    if (session->state != SESSION_BUSY) {
        session_to(session, SESSION_BUSY);
    }

    return SESSION_OK;
}


static bool
session_stale(const session_t *session, uint64_t epoch)
{
    return epoch != 0 && epoch < session->epoch;
}


static void
session_accept(session_t *session, uint64_t epoch)
{
    if (epoch > session->epoch) {
        session->epoch = epoch;
    }
}


void
session_leave(session_t *session, int64_t now)
{
    if (session->calls == 0) {
        abort();
    }

    session->calls--;

    if (session->calls > 0 || session->state == SESSION_CLOSED) {
        return;
    }

    session->deadline = session_deadline(session, now);
    session_to(session, SESSION_IDLE);
}


void
session_ttl(session_t *session, int64_t ttl)
{
    if (session->calls == 0 || ttl < 1 || ttl > SESSION_TTL_MAX) {
        abort();
    }

    session->ttl = ttl;
}


void
session_ends(session_t *session, int64_t ends)
{
    if (session->calls == 0 || ends < 1) {
        abort();
    }

    if (ends > session->ends) {
        session->ends = ends;
    }
}


int64_t
session_left(const session_t *session, int64_t now)
{
    int64_t  deadline;

    switch (session->state) {

    case SESSION_IDLE:
        deadline = session->deadline;
        break;

    case SESSION_BUSY:
        deadline = session_deadline(session, now);
        break;

    default:
        return 0;
    }

    return deadline > now ? deadline - now : 0;
}


session_result_t
session_shutdown(session_t *session, const char *id, uint64_t epoch,
    int64_t now)
{
    (void) session_expire(session, now);

    switch (session->state) {

    case SESSION_CLOSED:
        return SESSION_REFUSE_CLOSED;

    case SESSION_UNSET:
        return SESSION_REFUSE_NOT_SET;

    case SESSION_IDLE:
    case SESSION_BUSY:
        break;
    }

    if (strcmp(session->id, id) != 0) {
        return SESSION_REFUSE_MISMATCH;
    }

    if (session_stale(session, epoch)) {
        return SESSION_REFUSE_STALE;
    }

    session_to(session, SESSION_CLOSED);

    return SESSION_OK;
}


bool
session_last(session_t *session, int64_t now)
{
    (void) session_expire(session, now);

    session->last = true;

    return session->state == SESSION_UNSET;
}


void
session_drain(session_t *session)
{
    if (session->state != SESSION_CLOSED) {
        session_to(session, SESSION_CLOSED);
    }
}


bool
session_expire(session_t *session, int64_t now)
{
    if (session->state != SESSION_IDLE || now < session->deadline) {
        return false;
    }

    session_unset(session);

    return true;
}


bool
session_forget(session_t *session, const char *id, int64_t now)
{
    (void) session_expire(session, now);

    if (session->state != SESSION_IDLE || strcmp(session->id, id) != 0) {
        return false;
    }

    session_unset(session);

    return true;
}


static void
session_unset(session_t *session)
{
    session->id[0] = '\0';
    session->ttl = session->default_ttl;
    session->ends = 0;
    session_to(session, SESSION_UNSET);
}


/* Of a session that becomes idle now. */

static int64_t
session_deadline(const session_t *session, int64_t now)
{
    int64_t  deadline;

    deadline = now + session->ttl;

    return session->ends != 0 && session->ends < deadline ? session->ends
                                                          : deadline;
}


/* The only place where the state changes. */

static void
session_to(session_t *session, session_state_t state)
{
    static const bool  legal[4][4] = {
        /* to:               UNSET  IDLE   BUSY   CLOSED */
        [SESSION_UNSET]  = { false, false, true,  true  },
        [SESSION_IDLE]   = { true,  false, true,  true  },
        [SESSION_BUSY]   = { false, true,  false, true  },
        [SESSION_CLOSED] = { false, false, false, false }
    };

    if (!legal[session->state][state]) {
        abort();
    }

    session->state = state;
}
