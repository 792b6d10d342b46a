/* Level 3: how the instance leaves, and what a release method does. */

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backendcheck/peer.h"
#include "rpc/server.h"


/* How long the session lasts that is to end by something else, ms; not less
 * than session-ttl. */
#define LEAVE_TTL   10000

/* How long after its session the instance may take to exit, in --timeout. */
#define LEAVE_EXIT  2

/* Wrong answers that are not just the end of a connection. */
#define LEAVE_WRONG  2


static bool leave_begin(peer_t *peer);
static bool instance_gone(const peer_t *peer);
static bool process_gone(int64_t pid);
static bool port_closed(const char *address);
static bool port_refuses(int family, const struct sockaddr *address,
    socklen_t len);
static bool leave_answer(peer_t *peer, const lease_t *owner,
    unsigned *wrong, bool *left);


void
duty_release(test_t *test)
{
    peer_t     peer;
    int64_t    end;
    lease_t    owner, next;
    answer_t   answer;
    target_t   release;

    static const char  rule[] =
        "after a release method that it answered with OK the instance exits or "
        "is free again at once";

    if (duty_plan(test)->release == NULL) {
        duty_not_checked(test, "name its release method with --release");
        return;
    }

    if (!peer_open_taken(&peer, test, &owner, &answer)) {
        return;
    }

    owner.ttl = peer.plan->ttl + LEAVE_TTL;
    peer_ask(&peer, &owner, &answer);
    peer_held(&peer, &owner, answer.end);

    snprintf(release.path, sizeof(release.path), "%s", peer.plan->release);
    release.kind = KIND_UNARY;
    peer_call(&peer, &release, &owner, &answer);

    if (!expect(&peer, answer_served(&answer), &answer.words,
                "a release method is answered with OK", "its session leaves"))
    {
        peer_close(&peer);
        return;
    }

    lease_new(&next, &peer);
    end = rpc_now() + PEER_SLACK;

    while (!(peer.board->gone = instance_gone(&peer))) {
        peer_ask(&peer, &next, &answer);

        if (answer_served(&answer) || rpc_now() >= end) {
            break;
        }

        check_pace(20);
    }

    if (peer.board->gone) {
        (void) check(test, true, "the instance has exited");

    } else {
        (void) expect(&peer, answer_served(&answer), &answer.words, rule,
                      "a new session is served");
        peer_held(&peer, &next, rpc_now());
    }

    peer_close(&peer);
}


void
duty_leave_tells(test_t *test)
{
    peer_t     peer;
    int64_t    end;
    lease_t    owner;
    answer_t   answer;
    health_t   health;

    if (!peer_open_taken(&peer, test, &owner, &answer)) {
        return;
    }

    owner.ttl = peer.plan->ttl + LEAVE_TTL;
    peer_ask(&peer, &owner, &answer);
    peer_held(&peer, &owner, answer.end);

    if (!leave_begin(&peer)) {
        peer_close(&peer);
        return;
    }

    end = rpc_now() + PEER_SLACK;

    do {
        peer_health(&peer, NULL, &health);
    } while (health.drain.n == 0 && rpc_now() < end && !instance_gone(&peer)
             && (check_pace(20), true));

    if (health.drain.n == 0) {
        duty_not_offered(test, "sent %s after %s; got %s",
                         health.words.sent, peer.plan->leave != NULL
                                            ? "--leave" : "SIGTERM",
                         health.words.came);

    } else {
        (void) expect(&peer, value_is(&health.drain, "1")
                             && value_is(&health.session, owner.session),
                      &health.words, "at SIGTERM the instance says "
                      "session-drain: 1, and keeps its session",
                      "it drains, session \"%s\" stays", owner.session);
    }

    peer_close(&peer);
}


static bool
leave_begin(peer_t *peer)
{
    int  status;

    if (peer->plan->leave != NULL) {
        status = system(peer->plan->leave);

        return status == 0
               || check(peer->test, false, "--leave \"%s\" succeeds",
                        peer->plan->leave);
    }

    return kill((pid_t) peer->plan->pid, SIGTERM) == 0
           || check(peer->test, false, "SIGTERM to process %" PRId64 ": %s",
                    peer->plan->pid, strerror(errno));
}


void
duty_leave_serves(test_t *test)
{
    size_t     i;
    peer_t     peer;
    lease_t    owner;
    answer_t   answer;

    if (!peer_open(&peer, test)) {
        return;
    }

    peer_same(&owner, &peer);
    owner.ttl = peer.plan->ttl + LEAVE_TTL;

    for (i = 0; i < peer.board->n; i++) {
        peer_call(&peer, &peer.board->targets[i], &owner, &answer);
        peer_held(&peer, &owner, answer.end);

        (void) expect(&peer, answer_served(&answer), &answer.words,
                      "an instance that drains serves its session, also on "
                      "new connections", "it drains, its session is served");
    }

    peer_close(&peer);
}


void
duty_leave_refuses(test_t *test)
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
        lease_new(&stranger, &peer);
        peer_call(&peer, &peer.board->targets[i], &stranger, &answer);

        (void) expect(&peer, answer_names(&answer, owner.session,
                                          stranger.session),
                      &answer.words, rule_stranger,
                      "it drains, another session is refused as ever");
    }

    peer_close(&peer);
}


/* The last call of the session says a short session-ttl. */

void
duty_leave_ends(test_t *test)
{
    bool       left;
    peer_t     peer;
    int64_t    end;
    lease_t    owner;
    answer_t   answer;
    unsigned   wrong;

    if (!peer_open(&peer, test)) {
        return;
    }

    peer_same(&owner, &peer);
    peer_ask(&peer, &owner, &answer);

    left = false;
    wrong = 0;
    end = answer.end + owner.ttl + LEAVE_EXIT * peer.plan->timeout;

    /* an instance may take a refused call for one that uses the session */
    peer_wait(answer.end + owner.ttl * 9 / 10);

    while (!(peer.board->gone = instance_gone(&peer)) && rpc_now() < end) {

        if (!leave_answer(&peer, &owner, &wrong, &left)) {
            peer_close(&peer);
            return;
        }

        check_pace(10);
    }

    if (!left) {
        check_note(test, "no call came between the end of the session and "
                   "that of the instance");
    }

    (void) check(test, peer.board->gone, "the instance has exited %" PRId64
                 " ms after its session at the latest%s",
                 LEAVE_EXIT * peer.plan->timeout,
                 peer.board->gone ? "" : "; the contract says: after its "
                 "session an instance that drains exits");

    peer_close(&peer);
}


/*
 * One call of a new session.  The answer to it counts if the instance answers
 * a check, too: the connection of one that has just exited has an error that
 * is nobody's answer.
 */

static bool
leave_answer(peer_t *peer, const lease_t *owner, unsigned *wrong, bool *left)
{
    lease_t    stranger;
    answer_t   answer;
    health_t   health;

    lease_new(&stranger, peer);
    peer_ask(peer, &stranger, &answer);
    peer_health(peer, NULL, &health);

    if (answer_leaving(&answer)) {

        if (!*left) {
            *left = true;
            (void) expect(peer, true, &answer.words, "", "its session has "
                          "ended, another one calls");
        }

        if (health.code == GRPC_STATUS_OK && health.session.n == 0
            && (health_serving(&health) || health.drain.n > 0))
        {
            return expect(peer, false, &health.words, "an instance that has "
                          "drained says NOT_SERVING without session-drain",
                          "its session has ended");
        }

        return true;
    }

    if (!*left && answer_names(&answer, owner->session, stranger.session)) {
        return true;                    /* the session has not ended yet */
    }

    if (!answer_served(&answer)
        && (health.code != GRPC_STATUS_OK || ++*wrong < LEAVE_WRONG))
    {
        return true;
    }

    return expect(peer, false, &answer.words, "after its session an instance "
                  "that drains answers every new call with 14 UNAVAILABLE, no "
                  "response message, and the trailer session-leaving: 1 (or "
                  "the text \"instance is shutting down\")",
                  "its session has ended, another one calls");
}


static bool
instance_gone(const peer_t *peer)
{
    return peer->plan->pid != 0
           ? process_gone(peer->plan->pid)
           : port_closed(peer->test->settings->gateway);
}


/* Also one that waits for its parent. */

static bool
process_gone(int64_t pid)
{
    int   n;
    char  path[64], state;
    FILE *in;

    if (kill((pid_t) pid, 0) == -1 && errno == ESRCH) {
        return true;
    }

    snprintf(path, sizeof(path), "/proc/%" PRId64 "/stat", pid);

    in = fopen(path, "re");
    if (in == NULL) {
        return false;
    }

    n = fscanf(in, "%*d (%*[^)]) %c", &state);
    (void) fclose(in);

    return n == 1 && state == 'Z';
}


static bool
port_closed(const char *address)
{
    bool                 closed;
    char                 host[256];
    const char          *port;
    struct addrinfo     *list, *item, hints;
    struct sockaddr_un   local;

    if (strncmp(address, "unix:", 5) == 0) {
        memset(&local, 0, sizeof(local));
        local.sun_family = AF_UNIX;
        snprintf(local.sun_path, sizeof(local.sun_path), "%s", address + 5);
        return port_refuses(AF_UNIX, (struct sockaddr *) &local,
                            sizeof(local));
    }

    port = strrchr(address, ':');
    if (port == NULL) {
        return false;
    }

    /* "[::1]:5101" */
    if (address[0] == '[') {
        snprintf(host, sizeof(host), "%.*s", (int) (port - address) - 2,
                 address + 1);
    } else {
        snprintf(host, sizeof(host), "%.*s", (int) (port - address), address);
    }

    memset(&hints, 0, sizeof(hints));
    hints.ai_socktype = SOCK_STREAM;

    if (getaddrinfo(host, port + 1, &hints, &list) != 0) {
        return false;
    }

    closed = true;

    for (item = list; item != NULL; item = item->ai_next) {
        closed = closed && port_refuses(item->ai_family, item->ai_addr,
                                        item->ai_addrlen);
    }

    freeaddrinfo(list);

    return closed;
}


static bool
port_refuses(int family, const struct sockaddr *address, socklen_t len)
{
    int   fd;
    bool  refused;

    fd = socket(family, SOCK_STREAM|SOCK_CLOEXEC, 0);
    if (fd == -1) {
        return false;
    }

    refused = connect(fd, address, len) == -1
              && (errno == ECONNREFUSED || errno == ENOENT
                  || errno == EADDRNOTAVAIL);
    (void) close(fd);

    return refused;
}
