/*
 * Level 1: the instance forgets its session when the gateway does, not later
 * and not earlier.
 *
 * "Not earlier" is checked by a call of another session.  If that call was
 * answered so late that the session may have ended by then, as on a busy
 * machine, it proves nothing and the check is done again.
 */

#include "backendcheck/peer.h"
#include "rpc/server.h"


static bool ends_keeps(peer_t *peer, int64_t *end);
static bool times_keeps(peer_t *peer, lease_t *owner, int64_t until,
    int64_t when, bool *late, const char *what);
static void times_free(peer_t *peer, int tries, int64_t pause,
    const char *what);
static void times_slow(const peer_t *peer);


/* The session of the duties before, which begins anew: an instance that never
 * forgets it fails here. */

void
duty_idle_end(test_t *test)
{
    int        i;
    bool       late;
    peer_t     peer;
    lease_t    owner;
    answer_t   answer;

    if (!peer_open(&peer, test)) {
        return;
    }

    late = true;

    for (i = 0; i < PEER_TRIES && late; i++) {
        peer_same(&owner, &peer);
        peer_wait(peer.board->until + owner.ttl / 4);
        peer_ask(&peer, &owner, &answer);
        peer_held(&peer, &owner, answer.end);

        if (!times_keeps(&peer, &owner, answer.begin + owner.ttl,
                         answer.begin + owner.ttl * 6 / 10, &late,
                         "idle for less than session-ttl: its session has "
                         "the instance"))
        {
            peer_close(&peer);
            return;
        }
    }

    if (late) {
        times_slow(&peer);
        peer_close(&peer);
        return;
    }

    times_free(&peer, 3, owner.ttl * 5 / 4,
               "idle for longer than session-ttl: a new session is served");

    peer_close(&peer);
}


void
duty_idle_renewed(test_t *test)
{
    int        i;
    bool       late;
    peer_t     peer;
    int64_t    begin;
    lease_t    owner;
    answer_t   answer;

    if (!peer_open(&peer, test)) {
        return;
    }

    late = true;

    for (i = 0; i < PEER_TRIES && late; i++) {

        lease_new(&owner, &peer);

        if (!peer_take(&peer, &owner, &answer)) {
            break;
        }

        begin = answer.begin;
        peer_wait(begin + owner.ttl * 6 / 10);
        peer_ask(&peer, &owner, &answer);
        peer_held(&peer, &owner, answer.end);

        if (answer.end >= begin + owner.ttl) {
            continue;
        }

        if (!times_keeps(&peer, &owner, answer.begin + owner.ttl,
                         begin + owner.ttl * 12 / 10, &late,
                         "another call after 0.6 session-ttl, then idle for "
                         "0.6: its session has the instance"))
        {
            break;
        }
    }

    if (i == PEER_TRIES && late) {
        times_slow(&peer);
    }

    peer_close(&peer);
}


void
duty_idle_last(test_t *test)
{
    peer_t     peer;
    lease_t    owner;
    answer_t   answer;

    if (!peer_open(&peer, test)) {
        return;
    }

    lease_new(&owner, &peer);
    owner.ttl = 8 * peer.plan->ttl;

    if (peer_take(&peer, &owner, &answer)) {
        owner.ttl = peer.plan->ttl;
        peer_ask(&peer, &owner, &answer);
        peer_held(&peer, &owner, answer.end);

        times_free(&peer, 2, owner.ttl * 5 / 4, "its last call said a shorter "
                   "session-ttl than its first: a new session is served");
    }

    peer_close(&peer);
}


void
duty_busy_stays(test_t *test)
{
    bool            late, open;
    size_t          i, n;
    peer_t          peer;
    lease_t         owner;
    answer_t        answer;
    rpc_stream_t   *stream;
    const target_t *target;

    if (!peer_open(&peer, test)) {
        return;
    }

    n = 0;

    for (i = 0; i < peer.board->n; i++) {
        target = &peer.board->targets[i];

        if (target->kind == KIND_UNARY) {
            continue;
        }

        lease_new(&owner, &peer);

        if (!peer_take(&peer, &owner, &answer)) {
            break;
        }

        stream = peer_hold(&peer, target, &owner);
        if (stream == NULL) {
            continue;
        }

        late = false;
        open = times_keeps(&peer, &owner, INT64_MAX,
                           rpc_now() + owner.ttl * 3 / 2, &late,
                           "a stream of it runs for longer than session-ttl: "
                           "its session has the instance");

        if (!peer_drop(stream)) {
            check_note(test, "%s ended by itself", target->path);
            continue;
        }

        n++;
        peer_held(&peer, &owner, rpc_now());

        if (open) {
            times_free(&peer, 3, owner.ttl * 5 / 4,
                       "the stream was cancelled, then idle: a new session is "
                       "served");
        }
    }

    if (n == 0 && test->failed == 0
        && peer.board->verdicts[peer.board->current] == DUTY_UNKNOWN)
    {
        duty_not_checked(test, "no stream was found that stays open");
    }

    peer_close(&peer);
}


/* The session is used all the time: only session-ends ends it. */

void
duty_session_ends(test_t *test)
{
    int        i;
    peer_t     peer;
    int64_t    end;
    lease_t    next;
    answer_t   answer;

    if (!peer_open(&peer, test)) {
        return;
    }

    if (!ends_keeps(&peer, &end)) {
        peer_close(&peer);
        return;
    }

    lease_new(&next, &peer);
    peer_wait(end + peer.plan->ttl / 4);

    for (i = 0; i < 3; i++) {
        peer_ask(&peer, &next, &answer);

        if (answer_served(&answer)) {
            peer_held(&peer, &next, answer.end);
            break;
        }

        peer_wait(rpc_now() + peer.plan->ttl / 2);
    }

    (void) expect(&peer, answer_served(&answer), &answer.words, rule_forget,
                  "after session-ends, before the end of session-ttl: a new "
                  "session is served");

    peer_close(&peer);
}


/* The session has the instance until shortly before "end".  False: the duty
 * has ended. */

static bool
ends_keeps(peer_t *peer, int64_t *end)
{
    int        i;
    bool       late;
    int64_t    begin;
    lease_t    owner;
    answer_t   answer;

    for (i = 0; i < PEER_TRIES; i++) {
        lease_new(&owner, peer);

        if (!peer_take(peer, &owner, &answer)) {
            return false;
        }

        owner.ttl = 8 * peer->plan->ttl;
        owner.ends = 2 * peer->plan->ttl;
        peer_ask(peer, &owner, &answer);
        peer_held(peer, &owner, answer.end);
        begin = answer.begin;
        *end = answer.end + owner.ends;

        peer_wait(begin + owner.ends / 2);
        owner.ends = begin + owner.ends - rpc_now();

        if (owner.ends <= 0) {
            continue;
        }

        peer_ask(peer, &owner, &answer);
        peer_held(peer, &owner, answer.end);

        if (!times_keeps(peer, &owner, begin + 2 * peer->plan->ttl,
                         begin + peer->plan->ttl * 3 / 2, &late,
                         "before session-ends: its session has the instance"))
        {
            return false;
        }

        if (!late) {
            return true;
        }
    }

    times_slow(peer);

    return false;
}


/* Another session calls at "when" and must be refused if it is answered before
 * "until".  False: the duty has failed. */

static bool
times_keeps(peer_t *peer, lease_t *owner, int64_t until, int64_t when,
    bool *late, const char *what)
{
    lease_t    stranger;
    answer_t   answer;

    lease_new(&stranger, peer);
    peer_wait(when);
    peer_ask(peer, &stranger, &answer);

    if (answer_served(&answer)) {
        peer_held(peer, &stranger, answer.end);
    }

    *late = answer.end >= until;

    if (*late) {
        check_note(peer->test, "this machine was too slow, once more");
        return true;
    }

    return expect(peer, answer_names(&answer, owner->session,
                                     stranger.session),
                  &answer.words, rule_forget, "%s", what);
}


/* The pauses between calls are longer than session-ttl. */

static void
times_free(peer_t *peer, int tries, int64_t pause, const char *what)
{
    int        i;
    lease_t    next;
    answer_t   answer;

    lease_new(&next, peer);

    for (i = 0; i < tries; i++) {
        peer_wait(rpc_now() + pause);
        peer_ask(peer, &next, &answer);

        if (answer_served(&answer)) {
            peer_held(peer, &next, answer.end);
            break;
        }
    }

    (void) expect(peer, answer_served(&answer), &answer.words, rule_forget,
                  "%s", what);
}


static void
times_slow(const peer_t *peer)
{
    duty_not_checked(peer->test, "this machine was too slow, %d times; try a "
                     "longer --session-ttl", PEER_TRIES);
}
