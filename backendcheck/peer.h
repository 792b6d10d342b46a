/*
 * The checker's side of a connection: calls and health checks as the gateway
 * sends them, and what the instance answered, also in words.
 */

#ifndef BACKENDCHECK_PEER_H
#define BACKENDCHECK_PEER_H


#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backendcheck/duty.h"
#include "rpc/client.h"


/* How often a check is tried if this machine was too slow for it. */
#define PEER_TRIES    5

/* How long more than it must something may take, ms. */
#define PEER_SLACK    2000

/* "session-subject", which the gateway makes of a token. */
#define PEER_SUBJECT  "0123456789abcdef0123456789abcdef"


typedef struct {
    test_t        *test;
    const plan_t  *plan;
    board_t       *board;
    rpc_client_t  *rpc;
} peer_t;

/* What the gateway says with a call. */
typedef struct {
    char     session[SESSION_MAX + 1];  /* "": no session-id */
    int64_t  ttl;
    int64_t  ends;                      /* 0: not sent */
    uint64_t epoch;                     /* 0: not sent */
} lease_t;

/* One value of metadata. */
typedef struct {
    size_t  n;                          /* how many the name has */
    char    text[SESSION_MAX + 64];     /* of the first, cut */
} value_t;

/* A call or a health check in words. */
typedef struct {
    char  sent[1024];
    char  came[1024];
} exchange_t;

typedef struct {
    exchange_t  words;
    int         code;
    char        text[2 * SESSION_MAX + 128];
    unsigned    messages;
    int64_t     begin;                  /* rpc_now() */
    int64_t     end;
    value_t     owner;                  /* trailer session-owner */
    value_t     leaving;                /* trailer session-leaving */
    value_t     epoch;                  /* trailer session-epoch */
} answer_t;

typedef struct {
    exchange_t  words;
    int         code;
    int         status;                 /* of the message, if code is OK */
    int64_t     begin;
    int64_t     end;
    value_t     session;
    value_t     left;
    value_t     calls;
    value_t     subject;
    value_t     drain;
    value_t     instance;
    value_t     epoch;
} health_t;


/* False: said so as a failed check. */
bool peer_open(peer_t *peer, test_t *test);
void peer_close(peer_t *peer);

/* A session that no other duty has used; "session-ttl" as asked for. */
void lease_new(lease_t *lease, const peer_t *peer);

/* An empty message, half-closed.  A stream is cancelled after its first
 * message, and its code is OK then. */
void peer_call(peer_t *peer, const target_t *target, const lease_t *lease,
    answer_t *answer);

/* The same with the first target. */
void peer_ask(peer_t *peer, const lease_t *lease, answer_t *answer);

/* A call that is left open.  NULL: it ended by itself. */
rpc_stream_t *peer_hold(peer_t *peer, const target_t *target,
    const lease_t *lease);

/* Cancels it; true if it had been open until now. */
bool peer_drop(rpc_stream_t *stream);

/* Makes the instance free, then calls with a new session until it is served.
 * False: the duty has ended, and why was said. */
bool peer_take(peer_t *peer, const lease_t *lease, answer_t *answer);

/* peer_open(), lease_new() and peer_take().  False: "peer" is closed. */
bool peer_open_taken(peer_t *peer, test_t *test, lease_t *lease,
    answer_t *answer);

/* The session that was served last. */
void peer_same(lease_t *lease, const peer_t *peer);

/* Notes that a call of the lease was served: until when the instance may
 * keep it. */
void peer_held(peer_t *peer, const lease_t *lease, int64_t now);

/* "elsewhere" may be NULL. */
void peer_health(peer_t *peer, const char *elsewhere, health_t *health);


/* The call was answered, not refused. */
bool answer_served(const answer_t *answer);

/* It was refused for a session that has the instance. */
bool answer_busy(const answer_t *answer);

/* The same as the contract says, with this owner. */
bool answer_names(const answer_t *answer, const char *owner,
    const char *caller);

/* It was refused because the instance goes, as the contract says. */
bool answer_leaving(const answer_t *answer);

bool health_serving(const health_t *health);

/* A number as metadata has it. */
bool value_number(const value_t *value, int64_t *number);
bool value_is(const value_t *value, const char *text);


/* A check with what was sent, what came and, if it does not hold, what the
 * contract says. */
bool expect(peer_t *peer, bool holds, const exchange_t *words,
    const char *rule, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* Pauses until rpc_now() is "when". */
void peer_wait(int64_t when);


extern const char  rule_stranger[];
extern const char  rule_forget[];


#endif /* BACKENDCHECK_PEER_H */
