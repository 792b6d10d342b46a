/* Level 2: what the instance tells in the metadata of its health answers. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backendcheck/peer.h"
#include "rpc/server.h"


#define INSTANCE_MAX  64


static bool calls_become(peer_t *peer, int64_t want, const char *what);
static void calls_stream(peer_t *peer, const target_t *target,
    const lease_t *owner);
static void session_gone(peer_t *peer, const lease_t *owner);
static bool left_within(peer_t *peer, const lease_t *owner,
    const answer_t *answer, const health_t *health, const char *what);
static bool instance_valid(const value_t *value);
static void elsewhere_busy(peer_t *peer);


static const char  rule_calls[] =
    "session-calls is how many calls are running, in decimal digits, in the "
    "initial metadata of each answer to Check";

static const char  rule_named[] =
    "session-id is the session that the instance has, and is not there when it "
    "has none";


void
duty_tells_calls(test_t *test)
{
    size_t     i;
    peer_t     peer;
    lease_t    lease;
    answer_t   answer;
    health_t   health;

    if (!peer_open(&peer, test)) {
        return;
    }

    peer_health(&peer, NULL, &health);
    lease_new(&lease, &peer);

    if (health.calls.n == 0) {
        duty_not_offered(test, "sent %s; got %s", health.words.sent,
                         health.words.came);

    } else if (peer_take(&peer, &lease, &answer)
               && calls_become(&peer, 0, "no call runs"))
    {
        for (i = 0; i < peer.board->n; i++) {
            if (peer.board->targets[i].kind != KIND_UNARY) {
                calls_stream(&peer, &peer.board->targets[i], &lease);
            }
        }
    }

    peer_close(&peer);
}


static void
calls_stream(peer_t *peer, const target_t *target, const lease_t *owner)
{
    bool           open;
    rpc_stream_t  *stream;

    stream = peer_hold(peer, target, owner);
    if (stream == NULL) {
        return;
    }

    open = calls_become(peer, 1, "a stream runs");

    if (peer_drop(stream) && open) {
        peer_held(peer, owner, rpc_now());
        (void) calls_become(peer, 0, "the stream was cancelled");
    }
}


/* The instance may learn of the end of a call a moment later. */

static bool
calls_become(peer_t *peer, int64_t want, const char *what)
{
    bool      number;
    int64_t   calls, end;
    health_t  health;

    end = rpc_now() + PEER_SLACK;

    for ( ;; ) {
        peer_health(peer, NULL, &health);
        number = value_number(&health.calls, &calls);

        if (!number || calls == want || rpc_now() >= end) {
            break;
        }

        check_pace(20);
    }

    return expect(peer, number && calls == want, &health.words, rule_calls,
                  "%s: session-calls is %" PRId64, what, want);
}


void
duty_tells_session(test_t *test)
{
    peer_t     peer;
    lease_t    owner;
    answer_t   answer;
    health_t   health;

    if (!peer_open_taken(&peer, test, &owner, &answer)) {
        return;
    }

    owner.ttl = 8 * peer.plan->ttl;
    peer_ask(&peer, &owner, &answer);
    peer_held(&peer, &owner, answer.end);

    peer_health(&peer, NULL, &health);

    if (health.session.n == 0) {
        duty_not_offered(test, "session \"%s\" has the instance; sent %s; got "
                         "%s", owner.session, health.words.sent,
                         health.words.came);
        peer_close(&peer);
        return;
    }

    (void) expect(&peer, value_is(&health.session, owner.session),
                  &health.words, rule_named, "session \"%s\" has the instance",
                  owner.session);

    if (health.subject.n > 0) {
        (void) expect(&peer, value_is(&health.subject, PEER_SUBJECT),
                      &health.words, "session-subject is what the session's "
                      "call said", "whose session it is");
    }

    owner.ttl = peer.plan->ttl;
    peer_ask(&peer, &owner, &answer);
    peer_held(&peer, &owner, answer.end);

    if (duty_verdict(test, "idle_end") == DUTY_PASSED) {
        session_gone(&peer, &owner);
    }

    peer_close(&peer);
}


/* Without a call that would make the instance look at the time. */

static void
session_gone(peer_t *peer, const lease_t *owner)
{
    int64_t   end;
    health_t  health;

    end = peer->board->until + owner->ttl + PEER_SLACK;
    peer_wait(peer->board->until + 50);

    do {
        peer_health(peer, NULL, &health);
    } while (health.session.n > 0 && rpc_now() < end
             && (check_pace(50), true));

    (void) expect(peer, health.code == GRPC_STATUS_OK
                        && health.session.n == 0, &health.words, rule_named,
                  "the session was idle for longer than session-ttl");
}


void
duty_tells_left(test_t *test)
{
    peer_t     peer;
    int64_t    before, left;
    lease_t    owner;
    answer_t   answer;
    health_t   health;

    if (duty_verdict(test, "idle_end") == DUTY_FAILED
        || duty_verdict(test, "idle_renewed") == DUTY_FAILED
        || duty_verdict(test, "idle_last") == DUTY_FAILED)
    {
        duty_not_checked(test, "its idle time is wrong, see idle_end, "
                         "idle_renewed and idle_last");
        return;
    }

    if (!peer_open_taken(&peer, test, &owner, &answer)) {
        return;
    }

    owner.ttl = 8 * peer.plan->ttl;
    peer_ask(&peer, &owner, &answer);
    peer_held(&peer, &owner, answer.end);
    peer_health(&peer, NULL, &health);

    if (health.left.n == 0) {
        duty_not_offered(test, "sent %s; got %s", health.words.sent,
                         health.words.came);

    } else if (left_within(&peer, &owner, &answer, &health, "it begins with "
                           "session-ttl"))
    {
        before = INT64_MAX;
        (void) value_number(&health.left, &before);
        peer_wait(health.end + owner.ttl / 16);
        peer_health(&peer, NULL, &health);

        (void) expect(&peer, value_number(&health.left, &left)
                             && left < before, &health.words,
                      "session-left is how long the instance keeps the session "
                      "if nobody uses it", "a moment later it is less than "
                      "%" PRId64, before);

        (void) left_within(&peer, &owner, &answer, &health,
                           "it falls as time goes");

        owner.ttl = 4 * peer.plan->ttl;
        peer_ask(&peer, &owner, &answer);
        peer_held(&peer, &owner, answer.end);
        peer_health(&peer, NULL, &health);

        (void) left_within(&peer, &owner, &answer, &health,
                           "a call with another session-ttl changes it");
    }

    peer_close(&peer);
}


/* The idle time began when the instance answered, or when it learned that the
 * call was over. */

static bool
left_within(peer_t *peer, const lease_t *owner, const answer_t *answer,
    const health_t *health, const char *what)
{
    bool     number;
    int64_t  left, least, most;

    left = 0;
    number = value_number(&health->left, &left);
    least = answer->begin + owner->ttl - health->end - 20;

    if (least < 0) {
        check_note(peer->test, "this machine was too slow: %s", what);
        return true;
    }

    most = answer->end + owner->ttl - health->begin + 20 + owner->ttl / 16;

    return expect(peer, number && left >= least && left <= most
                        && left <= owner->ttl, &health->words,
                  "session-left is how long the instance keeps the session if "
                  "nobody uses it: milliseconds in decimal digits, not more "
                  "than session-ttl", "%s: from %" PRId64 " to %" PRId64,
                  what, least, most < owner->ttl ? most : owner->ttl);
}


void
duty_tells_no_drain(test_t *test)
{
    peer_t     peer;
    lease_t    owner;
    answer_t   answer;
    health_t   health;

    static const char  rule[] =
        "session-drain is 1 as long as the instance wants no new session, and "
        "is not there otherwise";

    if (!peer_open(&peer, test)) {
        return;
    }

    lease_new(&owner, &peer);

    if (peer_take(&peer, &owner, &answer)) {
        peer_health(&peer, NULL, &health);
        (void) expect(&peer, health.code == GRPC_STATUS_OK
                             && health.drain.n == 0, &health.words, rule,
                      "with a session");

        peer_wait(peer.board->until + owner.ttl / 4);
        peer_health(&peer, NULL, &health);
        (void) expect(&peer, health.code == GRPC_STATUS_OK
                             && health.drain.n == 0, &health.words, rule,
                      "without a session");
    }

    peer_close(&peer);
}


void
duty_tells_instance(test_t *test)
{
    peer_t      peer, other;
    lease_t     owner;
    answer_t    answer;
    health_t    first, next;
    const char *rule = "instance-id is the same in each answer to Check for as "
                       "long as the process lives";

    if (!peer_open(&peer, test)) {
        return;
    }

    peer_health(&peer, NULL, &first);

    if (first.instance.n == 0) {
        duty_not_offered(test, "sent %s; got %s", first.words.sent,
                         first.words.came);
        peer_close(&peer);
        return;
    }

    (void) expect(&peer, instance_valid(&first.instance), &first.words,
                  "instance-id is 1 to 64 bytes of visible ASCII, random, new "
                  "at each start", "it is well-formed");

    peer_health(&peer, NULL, &next);
    (void) expect(&peer, value_is(&next.instance, first.instance.text),
                  &next.words, rule, "another answer");

    lease_new(&owner, &peer);

    if (peer_take(&peer, &owner, &answer)) {
        peer_health(&peer, NULL, &next);
        (void) expect(&peer, value_is(&next.instance, first.instance.text),
                      &next.words, rule, "with a session");
    }

    if (peer_open(&other, test)) {
        peer_health(&other, NULL, &next);
        (void) expect(&other, value_is(&next.instance, first.instance.text),
                      &next.words, rule, "another connection");
        peer_close(&other);
    }

    peer_close(&peer);
}


static bool
instance_valid(const value_t *value)
{
    size_t  i;

    for (i = 0; value->text[i] != '\0'; i++) {
        if (value->text[i] < '!' || value->text[i] > '~') {
            return false;
        }
    }

    return value->n == 1 && i > 0 && i <= INSTANCE_MAX;
}


void
duty_elsewhere(test_t *test)
{
    char       other[SESSION_MAX + 1];
    peer_t     peer;
    lease_t    owner;
    answer_t   answer;
    health_t   health, next;

    if (!peer_open_taken(&peer, test, &owner, &answer)) {
        return;
    }

    owner.ttl = 8 * peer.plan->ttl;
    peer_ask(&peer, &owner, &answer);
    peer_held(&peer, &owner, answer.end);

    snprintf(other, sizeof(other), "%.200s-other", owner.session);
    peer_health(&peer, other, &health);
    (void) expect(&peer, value_is(&health.session, owner.session),
                  &health.words, "session-elsewhere says which session another "
                  "instance serves; every other one stays",
                  "another session is elsewhere: \"%s\" stays", owner.session);

    if (health.session.n > 0) {
        peer_health(&peer, owner.session, &health);

        peer_health(&peer, NULL, &next);

        if (health.session.n > 0 && next.session.n > 0) {
            duty_not_offered(test, "sent %s; got %s", health.words.sent,
                             health.words.came);
            peer_close(&peer);
            return;
        }

        (void) expect(&peer, health.code == GRPC_STATUS_OK
                             && health.session.n == 0, &health.words,
                      "session-elsewhere: the instance forgets that session "
                      "unless a call of it runs; the answer to the same check "
                      "names it no more", "its idle session is elsewhere");
        elsewhere_busy(&peer);
    }

    peer_close(&peer);
}


static void
elsewhere_busy(peer_t *peer)
{
    bool            named, open;
    size_t          i;
    lease_t         owner;
    answer_t        answer;
    health_t        health;
    rpc_stream_t   *stream;

    lease_new(&owner, peer);

    if (!peer_take(peer, &owner, &answer)) {
        return;
    }

    for (i = 0; i < peer->board->n; i++) {
        if (peer->board->targets[i].kind == KIND_UNARY) {
            continue;
        }

        stream = peer_hold(peer, &peer->board->targets[i], &owner);
        if (stream == NULL) {
            continue;
        }

        peer_health(peer, owner.session, &health);
        named = value_is(&health.session, owner.session);
        open = peer_drop(stream);

        if (open || !named) {
            (void) expect(peer, open && named, &health.words,
                          "session-elsewhere: the instance forgets that "
                          "session unless a call of it runs",
                          "a stream of its session runs: it stays");
            break;
        }
    }

    peer_held(peer, &owner, rpc_now());
}
