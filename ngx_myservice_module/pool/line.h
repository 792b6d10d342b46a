/*
 * The waiting line of a pool: sessions that found every instance busy wait for
 * one, first come, first served.  A session has one place, however many of its
 * calls wait.
 *
 * As the pool: pure C over the caller's memory, used under the pool's lock.
 * Nothing has to be rebuilt after a process died: places are an array, what is
 * counted is counted anew, and the places of calls of which no process has said
 * for MS_LINE_LOST that they wait are given up.
 */

#ifndef MS_POOL_LINE_H
#define MS_POOL_LINE_H


#include "pool/pool.h"


#define MS_LINE_LOST     1000           /* ms */
#define MS_LINE_ASK      500            /* ms after which the head asks anyway */
#define MS_LINE_MAX      4096           /* places */
#define MS_LINE_WORKERS  64             /* that can be woken */


typedef struct ms_line_s  ms_line_t;

/*
 * A call's claim to the place of its session; all zero before it enters.  With
 * "store" a store decides who gets an instance: whose turn comes asks it.  With
 * "local", too, that store does not answer, and the pool decides.
 */
typedef struct {
    uint64_t        number;             /* smaller ones come first */
    uint32_t        place;
    unsigned        store:1;
    unsigned        local:1;
} ms_ticket_t;

typedef enum {
    MS_TURN_WAITS = 0,
    MS_TURN_COMES,                      /* an instance is kept for the session,
                                           or the pool would refuse it */
    MS_TURN_ASKS,                       /* it asks the store, then it leaves, or
                                           goes back */
    MS_TURN_LOST                        /* the place was given up: enter again
                                           with the same ticket */
} ms_turn_t;

typedef struct {
    uint32_t        waiting;
    uint32_t        served;             /* an instance is kept for them */
    uint64_t        oldest;             /* milliseconds that the one waits who
                                           has waited longest, 0: nobody */
} ms_line_stats_t;


/* bytes that a line of 1..MS_LINE_MAX places needs */
size_t ms_line_size(uint32_t places);

/* "mem" is 8-byte aligned and stays the caller's */
ms_line_t *ms_line_create(void *mem, uint32_t places);

/*
 * A call enters the place of its session, which is made at the end if there is
 * none; with "lost" before all sessions that have lost no instance.  "worker"
 * is who is to be woken (one of MS_LINE_WORKERS, others are not).  Returns -1 if
 * "length" places are in use, or all that there are.  What "key" and "terms"
 * borrow is copied.
 */
int ms_line_enter(ms_line_t *line, uint32_t length, const ms_pool_key_t *key,
    const ms_pool_terms_t *terms, int lost, uint32_t worker, uint64_t now,
    ms_ticket_t *ticket);

/* The call still waits: its worker says so several times in MS_LINE_LOST. */
ms_turn_t ms_line_look(ms_line_t *line, const ms_ticket_t *ticket,
    uint64_t now);

/* The call has asked the store in vain: its session waits again, where it was.
 * "ticket->local" says whether the store has answered. */
void ms_line_back(ms_line_t *line, const ms_ticket_t *ticket);

/* 1 if new sessions have to wait behind others; without the lock, a hint */
int ms_line_used(const ms_line_t *line);

/* The call waits no more: it has claimed the instance, or gave up.  With its
 * last call the place ends; an instance that nobody has claimed is free. */
void ms_line_leave(ms_line_t *line, ms_pool_t *pool, ms_ticket_t *ticket,
    uint64_t now);

/*
 * Keeps the instances that are free for those who wait, by a tentative lease;
 * called after every change of the pool, so that none is free while somebody
 * waits.  With a store the turn of the head comes when another instance of the
 * pool has become free, and each MS_LINE_ASK: one asks at a time, and the next
 * one when that has got an instance.  Returns bits: the workers to wake.
 */
uint64_t ms_line_serve(ms_line_t *line, ms_pool_t *pool, uint64_t now);

/* A place for the session would be one too many for its user: the claim says
 * so, too. */
int ms_line_many(const ms_line_t *line, ms_pool_t *pool,
    const ms_pool_key_t *key, const ms_pool_terms_t *terms, uint64_t now);

/*
 * For a new session, "key": how many other sessions of its user wait that have
 * no lease.  0 if "key" has one, or the user has no limit.  Without one that
 * asks the store, which counts it.
 */
uint32_t ms_line_user(const ms_line_t *line, ms_pool_t *pool,
    const ms_pool_key_t *key, const ms_pool_terms_t *terms, uint64_t now);

void ms_line_stats(const ms_line_t *line, uint64_t now,
    ms_line_stats_t *stats);


#endif /* MS_POOL_LINE_H */
