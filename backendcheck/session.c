/* Level 1: the instance knows its session and refuses every other one. */

#include <stdio.h>
#include <string.h>

#include "backendcheck/peer.h"
#include "rpc/server.h"


static bool stranger_calls(peer_t *peer, const target_t *target,
    const lease_t *owner, lease_t *stranger, answer_t *answer);
static void long_id(lease_t *lease);


void
duty_owner(test_t *test)
{
    size_t     i;
    peer_t     peer;
    lease_t    lease;
    answer_t   answer;

    if (!peer_open(&peer, test)) {
        return;
    }

    peer_same(&lease, &peer);

    for (i = 0; i <= peer.board->n; i++) {
        peer_call(&peer, &peer.board->targets[i % peer.board->n], &lease,
                  &answer);
        peer_held(&peer, &lease, answer.end);

        (void) expect(&peer, answer_served(&answer), &answer.words,
                      "the first session that calls a free instance owns it",
                      "its session is served again");
    }

    peer_close(&peer);
}


void
duty_stranger(test_t *test)
{
    size_t     i;
    peer_t     peer;
    lease_t    owner, stranger;
    answer_t   answer;

    if (!peer_open(&peer, test)) {
        return;
    }

    peer_same(&owner, &peer);

    for (i = 0; i < peer.board->n; i++) {
        if (!stranger_calls(&peer, &peer.board->targets[i], &owner, &stranger,
                            &answer))
        {
            break;
        }

        if (i == 0 && answer_served(&answer)) {
            duty_not_offered(test, "sent %s while session \"%s\" had the "
                             "instance; got %s", answer.words.sent,
                             owner.session, answer.words.came);
            break;
        }

        (void) expect(&peer, answer_names(&answer, owner.session,
                                          stranger.session),
                      &answer.words, rule_stranger,
                      "session \"%s\" has the instance, another one is "
                      "refused", owner.session);
    }

    peer_close(&peer);
}


/* A call of the owner, then one of another session, which was answered before
 * the owner's session could end.  False: the duty has ended. */

static bool
stranger_calls(peer_t *peer, const target_t *target, const lease_t *owner,
    lease_t *stranger, answer_t *answer)
{
    int      i;
    int64_t  until;

    for (i = 0; i < PEER_TRIES; i++) {
        peer_ask(peer, owner, answer);
        peer_held(peer, owner, answer->end);
        until = answer->begin + owner->ttl;

        lease_new(stranger, peer);
        peer_call(peer, target, stranger, answer);

        if (answer->end < until) {
            return true;
        }

        peer_wait(answer->end + owner->ttl * 5 / 4);
    }

    duty_not_checked(peer->test, "this machine was too slow, %d times; try a "
                     "longer --session-ttl", PEER_TRIES);

    return false;
}


/* The owner goes on, and the session ends as if nobody else had called. */

void
duty_stranger_harmless(test_t *test)
{
    bool       refused;
    peer_t     peer;
    int64_t    end;
    lease_t    owner, stranger;
    answer_t   answer;

    if (!peer_open(&peer, test)) {
        return;
    }

    lease_new(&owner, &peer);

    if (!peer_take(&peer, &owner, &answer)
        || !stranger_calls(&peer, &peer.board->targets[0], &owner, &stranger,
                           &answer))
    {
        peer_close(&peer);
        return;
    }

    refused = !answer_served(&answer);

    peer_ask(&peer, &owner, &answer);
    (void) expect(&peer, answer_served(&answer) && refused, &answer.words,
                  "the first session that calls a free instance owns it",
                  "after the refusal of another session the owner goes on");

    end = answer.end + 3 * owner.ttl;
    peer_held(&peer, &owner, answer.end);

    do {
        peer_wait(rpc_now() + owner.ttl / 4);
        peer_ask(&peer, &stranger, &answer);
    } while (answer_busy(&answer) && rpc_now() < end);

    if (answer_served(&answer)) {
        peer_held(&peer, &stranger, answer.end);
    }

    (void) expect(&peer, answer_served(&answer), &answer.words, rule_forget,
                  "refused calls do not make the session longer: a new one is "
                  "served in time");

    peer_close(&peer);
}


void
duty_health_stays(test_t *test)
{
    peer_t     peer;
    lease_t    lease;
    answer_t   answer;
    health_t   health;

    if (!peer_open(&peer, test)) {
        return;
    }

    lease_new(&lease, &peer);

    if (peer_take(&peer, &lease, &answer)) {
        peer_health(&peer, NULL, &health);

        if (health.code == GRPC_STATUS_UNIMPLEMENTED) {
            duty_not_checked(test, "it has no health service");

        } else {
            (void) expect(&peer, health_serving(&health), &health.words,
                          "an answer other than SERVING means that the "
                          "instance is not able to serve: its session moves",
                          "an instance that has a session is healthy");
        }
    }

    peer_close(&peer);
}


void
duty_long_id(test_t *test)
{
    peer_t     peer;
    lease_t    owner, stranger;
    answer_t   answer;

    if (!peer_open(&peer, test)) {
        return;
    }

    lease_new(&owner, &peer);
    long_id(&owner);

    if (peer_take(&peer, &owner, &answer)
        && stranger_calls(&peer, &peer.board->targets[0], &owner, &stranger,
                          &answer))
    {
        (void) expect(&peer, answer_names(&answer, owner.session,
                                          stranger.session),
                      &answer.words, rule_stranger,
                      "another session learns this id, byte by byte");
    }

    peer_close(&peer);
}


/* All visible characters, again and again. */

static void
long_id(lease_t *lease)
{
    size_t  i;

    for (i = strlen(lease->session); i < SESSION_MAX; i++) {
        lease->session[i] = (char) ('!' + i % ('~' - '!' + 1));
    }

    lease->session[i] = '\0';
}


void
duty_without_session(test_t *test)
{
    peer_t     peer;
    lease_t    owner, none;
    answer_t   answer;

    static const char  rule[] =
        "a call without session-id is refused, best with 3 INVALID_ARGUMENT";

    if (!peer_open_taken(&peer, test, &owner, &answer)) {
        return;
    }

    memset(&none, 0, sizeof(none));
    peer_ask(&peer, &none, &answer);
    (void) expect(&peer, !answer_served(&answer), &answer.words, rule,
                  "while a session has the instance");

    peer_wait(peer.board->until + owner.ttl / 4);

    peer_ask(&peer, &none, &answer);
    (void) expect(&peer, !answer_served(&answer), &answer.words, rule,
                  "while no session has the instance");

    lease_new(&owner, &peer);
    peer_ask(&peer, &owner, &answer);
    (void) expect(&peer, answer_served(&answer), &answer.words,
                  "a call without session-id takes no instance",
                  "the next session is served");

    if (answer_served(&answer)) {
        peer_held(&peer, &owner, answer.end);
    }

    peer_close(&peer);
}
