/*
 * Sessions that were released here, by a call or an operator.  The store may not
 * have got that: it was away, or has lost it.  Whatever of it names such a lease
 * later is told once more.
 */

#ifndef MS_STORE_RELEASED_H
#define MS_STORE_RELEASED_H


#include "store/store.h"


/*
 * The lease has ended here: the store is told, without waiting for an answer.
 * For "rest" ms no gateway gives the instance to a session.  The lease is over
 * also if the store is away: it is told later.
 */
void ms_store_release(ms_store_t *store, ngx_str_t *session,
    ngx_str_t *instance, uint64_t epoch, ngx_msec_t rest);

/*
 * The epoch up to which the leases of the session are over, if "epoch" is among
 * them and the session has none here; else 0.
 */
uint64_t ms_store_released(ms_store_t *store, const ms_pool_key_t *key,
    uint64_t epoch);

/* the same with the zone's lock held */
uint64_t ms_store_released_locked(ms_store_t *store, ms_pool_t *pool,
    const ms_pool_key_t *key, uint64_t epoch);


#endif /* MS_STORE_RELEASED_H */
