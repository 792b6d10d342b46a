/* Levels 1 and 2: the instance refuses calls of an older lease, and tells the
 * highest epoch that it has accepted. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "backendcheck/peer.h"
#include "rpc/server.h"


static bool epoch_owned(peer_t *peer, lease_t *owner, uint64_t epoch);
static bool epoch_refused(const answer_t *answer, uint64_t epoch,
    const char *owner);
static void epoch_after(peer_t *peer, uint64_t epoch);


static const char  rule_epoch[] =
    "a call with a lower session-epoch than the highest that the instance has "
    "accepted, of whatever session, gets any status but OK, no response "
    "message, and the trailers session-epoch with that highest one and, if a "
    "session has the instance, session-owner";

static const char  rule_accepted[] =
    "a call with the highest session-epoch so far, or a higher one, is served; "
    "a refused call raises nothing";


/* Epochs of gateways are microseconds of the real time: an earlier one was not
 * used. */
static uint64_t
epoch_now(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_REALTIME, &now);

    return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}


void
duty_epoch(test_t *test)
{
    peer_t     peer;
    lease_t    owner, stranger;
    answer_t   answer;
    uint64_t   epoch;

    if (!peer_open(&peer, test)) {
        return;
    }

    epoch = epoch_now();

    if (!epoch_owned(&peer, &owner, epoch)) {
        peer_close(&peer);
        return;
    }

    owner.epoch = epoch - 1;
    peer_ask(&peer, &owner, &answer);

    if (answer_served(&answer)) {
        peer_held(&peer, &owner, answer.end);
        duty_not_offered(test, "a call had session-epoch %" PRIu64 ", then "
                         "sent %s; got %s", epoch, answer.words.sent,
                         answer.words.came);
        peer_close(&peer);
        return;
    }

    (void) expect(&peer, epoch_refused(&answer, epoch, owner.session),
                  &answer.words, rule_epoch,
                  "a call of its session with an older lease is refused");

    lease_new(&stranger, &peer);
    stranger.epoch = epoch + 1;
    peer_ask(&peer, &stranger, &answer);
    (void) expect(&peer, answer_names(&answer, owner.session,
                                      stranger.session),
                  &answer.words, rule_stranger,
                  "another session is refused, whatever its epoch is");

    owner.epoch = epoch;
    owner.ttl = peer.plan->ttl;
    peer_ask(&peer, &owner, &answer);
    peer_held(&peer, &owner, answer.end);
    (void) expect(&peer, answer_served(&answer), &answer.words, rule_accepted,
                  "the owner goes on with its epoch");

    epoch_after(&peer, epoch);

    peer_close(&peer);
}


/* A new session has the instance, for some time. */

static bool
epoch_owned(peer_t *peer, lease_t *owner, uint64_t epoch)
{
    answer_t  answer;

    lease_new(owner, peer);
    owner->epoch = epoch;

    if (!peer_take(peer, owner, &answer)) {
        return false;
    }

    owner->ttl = 8 * peer->plan->ttl;
    peer_ask(peer, owner, &answer);
    peer_held(peer, owner, answer.end);

    return true;
}


static bool
epoch_refused(const answer_t *answer, uint64_t epoch, const char *owner)
{
    char  text[24];

    snprintf(text, sizeof(text), "%" PRIu64, epoch);

    return !answer_served(answer) && answer->messages == 0
           && answer->leaving.n == 0 && value_is(&answer->epoch, text)
           && (owner != NULL ? value_is(&answer->owner, owner)
                             : answer->owner.n == 0);
}


/* The session is over, its epoch is not. */

static void
epoch_after(peer_t *peer, uint64_t epoch)
{
    lease_t   lease;
    answer_t  answer;

    peer_wait(peer->board->until + peer->plan->ttl / 4);

    lease_new(&lease, peer);
    lease.epoch = epoch - 1;
    peer_ask(peer, &lease, &answer);

    if (answer_served(&answer)) {
        peer_held(peer, &lease, answer.end);
    }

    (void) expect(peer, epoch_refused(&answer, epoch, NULL), &answer.words,
                  rule_epoch, "also when that session has ended");

    lease.epoch = epoch + 1;
    peer_ask(peer, &lease, &answer);

    if (answer_served(&answer)) {
        peer_held(peer, &lease, answer.end);
    }

    (void) expect(peer, answer_served(&answer), &answer.words, rule_accepted,
                  "a newer lease is served");
}


void
duty_tells_epoch(test_t *test)
{
    peer_t     peer;
    int64_t    said;
    lease_t    owner;
    health_t   health;
    uint64_t   epoch;

    static const char  rule[] =
        "session-epoch is the highest epoch that the instance has accepted, in "
        "decimal digits, in the initial metadata of each answer to Check";

    if (!peer_open(&peer, test)) {
        return;
    }

    epoch = epoch_now();

    if (!epoch_owned(&peer, &owner, epoch)) {
        peer_close(&peer);
        return;
    }

    peer_health(&peer, NULL, &health);

    if (health.epoch.n == 0) {
        duty_not_offered(test, "a call had session-epoch %" PRIu64 ", then "
                         "sent %s; got %s", epoch, health.words.sent,
                         health.words.came);

    } else {
        (void) expect(&peer, value_number(&health.epoch, &said)
                             && (uint64_t) said == epoch,
                      &health.words, rule,
                      "a call had session-epoch %" PRIu64, epoch);
    }

    peer_close(&peer);
}
