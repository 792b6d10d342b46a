/* Level 0: what every gRPC server does behind the gateway. */

#include <stdio.h>
#include <string.h>

#include "backendcheck/methods.h"
#include "backendcheck/peer.h"


static void calls_try(peer_t *peer, const methods_t *methods,
    const target_t *method, lease_t *lease, char *failure, size_t size);
static bool calls_known(const board_t *board, kind_t kind);
static void calls_sort(board_t *board);


void
duty_health(test_t *test)
{
    peer_t    peer;
    health_t  health;

    if (!peer_open(&peer, test)) {
        return;
    }

    peer_health(&peer, NULL, &health);

    (void) expect(&peer, health_serving(&health)
                         || health.code == GRPC_STATUS_UNIMPLEMENTED,
                  &health.words, "an instance that takes sessions answers "
                  "SERVING, also to a check without session-id; without the "
                  "health service UNIMPLEMENTED",
                  "the instance is there and serves");

    peer_close(&peer);
}


void
duty_calls(test_t *test)
{
    char       failure[1024];
    size_t     i;
    peer_t     peer;
    board_t   *board;
    lease_t    lease;
    methods_t  methods;

    if (!peer_open(&peer, test)) {
        return;
    }

    board = peer.board;
    methods_find(&methods, &peer);

    if (methods.reflected) {
        check_note(test, "the instance describes itself by reflection");
    }

    snprintf(failure, sizeof(failure), "the instance describes none (%s)",
             methods.failure);
    lease_new(&lease, &peer);

    for (i = 0; i < methods.n; i++) {
        calls_try(&peer, &methods, &methods.methods[i], &lease, failure,
                  sizeof(failure));
    }

    calls_sort(board);

    (void) check(test, board->n > 0, "a method answers an empty message with "
                 "OK%s%s", board->n > 0 ? ": " : "; name one with --method: ",
                 board->n > 0 ? board->targets[0].path : failure);

    for (i = 1; i < board->n; i++) {
        check_note(test, "%s: %s", board->targets[i].kind == KIND_STREAM
                                   ? "stream" : "bidirectional stream",
                   board->targets[i].path);
    }

    peer_close(&peer);
}


/* A method of a kind that was not described is a stream if it has a message
 * and no end. */

static void
calls_try(peer_t *peer, const methods_t *methods, const target_t *method,
    lease_t *lease, char *failure, size_t size)
{
    board_t   *board;
    answer_t   answer;
    target_t   target;

    board = peer->board;
    target = *method;

    if (target.kind != KIND_UNKNOWN && calls_known(board, target.kind)) {
        return;
    }

    if (peer->plan->methods == NULL && method_ends(target.path)) {
        check_note(peer->test, "%s is not called: by its name it may end the "
                   "session; if not, name it with --method", target.path);
        return;
    }

    if (peer->plan->release != NULL
        && strcmp(target.path, peer->plan->release) == 0)
    {
        return;
    }

    peer_call(peer, &target, lease, &answer);

    if (target.kind == KIND_UNKNOWN) {
        target.kind = KIND_UNARY;

        if (answer.code == GRPC_STATUS_DEADLINE_EXCEEDED
            && answer.messages > 0)
        {
            target.kind = KIND_STREAM;
            answer.code = GRPC_STATUS_OK;
        }
    }

    if (answer_served(&answer)) {
        peer_held(peer, lease, answer.end);

        if (!calls_known(board, target.kind)) {
            board->targets[board->n++] = target;
        }

        return;
    }

    if (answer_busy(&answer)) {
        snprintf(failure, size, "somebody else's session has the instance: "
                 "give backendcheck a free one; sent %.400s; got %.400s",
                 answer.words.sent, answer.words.came);

    } else if (answer.code != GRPC_STATUS_UNIMPLEMENTED || methods->n == 1) {
        snprintf(failure, size, "sent %.400s; got %.400s", answer.words.sent,
                 answer.words.came);
        check_note(peer->test, "%s", failure);
    }
}


static bool
calls_known(const board_t *board, kind_t kind)
{
    size_t  i;

    for (i = 0; i < board->n; i++) {
        if (board->targets[i].kind == kind) {
            return true;
        }
    }

    return false;
}


/* A unary method first: it is the cheapest. */

static void
calls_sort(board_t *board)
{
    size_t    i, k;
    target_t  target;

    for (i = 1; i < board->n; i++) {
        for (k = i; k > 0 && board->targets[k].kind
                             < board->targets[k - 1].kind; k--)
        {
            target = board->targets[k];
            board->targets[k] = board->targets[k - 1];
            board->targets[k - 1] = target;
        }
    }
}
