/*
 * Sessions that a gateway asks its store about and does not know.  Each may get
 * a new lease, for its first call: until the pool has that lease, the session
 * counts here.
 *
 * As the pool: pure C over the caller's memory, used under the pool's lock.  An
 * entry that a dead process has left is over when its lease would be.
 */

#ifndef MS_POOL_FIRSTS_H
#define MS_POOL_FIRSTS_H


#include "pool/pool.h"


#define MS_FIRSTS  1024


typedef struct ms_firsts_s  ms_firsts_t;

/* How many sessions may wait for their first success at a time, 0: no limit. */
typedef struct {
    const uint8_t  *subject;            /* borrowed; NULL: not known */
    uint32_t        of_subject;
    uint32_t        of_client;
    uint64_t        client;             /* its connection, by a number */
    uint32_t        had;                /* tentative leases that this client has
                                           already, of other sessions */
    uint64_t        lasts;              /* ms: a lease that the store gives and
                                           no call gets */
} ms_firsts_terms_t;


size_t ms_firsts_size(void);

/* "mem" is 8-byte aligned and stays the caller's */
ms_firsts_t *ms_firsts_create(void *mem);

/*
 * The store is asked about the session.  An entry is made if "*id" is 0, unless
 * there is no room: then the session is one too many, if there is a limit.
 * Returns 1 if it may get a new lease: it counts from now on, if it does not
 * yet.  With "id" NULL: whether it might.
 */
int ms_firsts_ask(ms_firsts_t *firsts, ms_pool_t *pool,
    const ms_pool_key_t *key, const ms_firsts_terms_t *terms, int counts,
    uint64_t now, uint64_t *id);

/*
 * The store has answered that the session has the lease already, and no success.
 * Returns 1 if that may be by another question of this gateway: then the session
 * counts, and the lease is new.
 */
int ms_firsts_own(ms_firsts_t *firsts, ms_pool_t *pool,
    const ms_pool_key_t *key, uint64_t id, uint64_t now);

/*
 * The question is over, and the pool has the lease if the session got one.
 * "instance" (MS_POOL_NONE: none) and "epoch" name one without a success.  Both
 * are set to a lease that is for nobody, if there is one: no call has it in the
 * pool, and no other question of this gateway may bring it.
 */
void ms_firsts_end(ms_firsts_t *firsts, ms_pool_t *pool,
    const ms_pool_key_t *key, uint64_t id, uint64_t now, uint32_t *instance,
    uint64_t *epoch);

/*
 * A call that the pool knows no more gives its new lease back.  Returns 1 if a
 * question may bring the same lease: that gives it back, if it is for nobody.
 */
int ms_firsts_pass(ms_firsts_t *firsts, const ms_pool_key_t *key,
    uint32_t instance, uint64_t epoch);


#endif /* MS_POOL_FIRSTS_H */
