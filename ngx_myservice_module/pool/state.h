/*
 * States: the one function that changes a state, and what uses it.  Every
 * function but ms_state_passed(), ms_state_adopt() and ms_state_expired() is
 * called between ms_record_begin() and ms_record_commit().
 */

#ifndef MS_POOL_STATE_H
#define MS_POOL_STATE_H


#include "pool/record.h"


/* A new owner: the session that has the lease from now on. */
typedef struct {
    const uint8_t          *session;
    size_t                  len;        /* 0: unknown */
    uint32_t                hash;
    const ms_pool_terms_t  *terms;
    uint64_t                user;       /* whom the session counted for so far,
                                           0: nobody */
    uint64_t                now;
    unsigned                foreign:1;
    unsigned                spare:1;
    unsigned                learned:1;
} ms_owner_t;

/* Stands for the owner that the instance has. */
extern const ms_owner_t  ms_owner_kept;


/*
 * The one function that changes a state.  "owner" NULL: the instance has no
 * owner from now on.  A transition that is not in the table is refused (-1)
 * and counted, see ms_pool_alerts().
 */
int ms_state_change(ms_pool_t *pool, uint32_t id, ms_instance_state_t to,
    const ms_owner_t *owner);

/* The session loses the instance, and is to be told: the lease has another
 * number from now on, so that the calls in flight lose it. */
void ms_state_lose(ms_pool_t *pool, uint32_t id, ms_end_t why);

/* The lease ends: the instance is free, or down if its probes failed. */
void ms_state_end(ms_pool_t *pool, uint32_t id, uint64_t now);

/* The same if the lease is over at "now"; returns 1 then. */
int ms_state_expired(ms_pool_t *pool, uint32_t id, uint64_t now);

/* The instance loses its owner and goes to the state "to"; one that is removed
 * or drained goes where these say instead. */
void ms_state_vacate(ms_pool_t *pool, uint32_t id, ms_instance_state_t to,
    uint64_t retry_at);

/* It drains too long: the owner moves with its next claim, or the lease ends,
 * see ms_pool_drain_time(). */
void ms_state_drained(ms_pool_t *pool, uint32_t id);

/* An instance that is left or down is tried again. */
void ms_state_revive(ms_pool_t *pool, uint32_t id);

/* Puts the record into the heap, for what happens to it next. */
void ms_state_schedule(ms_pool_t *pool, uint32_t id);

/* The instance is suspect no more. */
void ms_state_trust(ms_pool_t *pool, uint32_t id);

/* A probe has passed, which ends a suspicion. */
void ms_state_passed(ms_pool_t *pool, uint32_t id, uint64_t now);

/* A foreign lease is its session's own from now on. */
void ms_state_adopt(ms_pool_t *pool, uint32_t id);


#endif /* MS_POOL_STATE_H */
