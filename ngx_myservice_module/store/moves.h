/*
 * Sessions that operators move: the lease in the store says so until the
 * session's next call, at whichever gateway.  What an operator of this gateway
 * said while the store was away is told when it is back.
 */

#ifndef MS_STORE_MOVES_H
#define MS_STORE_MOVES_H


#include "store/store.h"


/* An operator of this gateway moves the session, by ms_zone_move().  Nothing if
 * the upstream has no store. */
void ms_store_move(ms_zone_t *zone, ngx_str_t *session);

/* The session's lease on the instance, with that epoch: an operator of another
 * gateway moves it, or it stays, as no instance was free. */
void ms_store_leaves(ms_store_t *store, ngx_str_t *session,
    ngx_str_t *instance, uint64_t epoch);
void ms_store_stays(ms_store_t *store, ngx_str_t *session,
    ngx_str_t *instance, uint64_t epoch);

/*
 * A session that an operator moves stays where it is, and 1 is returned.
 * "again": the store is away, and the session moves when it is back.
 */
ngx_uint_t ms_store_stay(ms_store_t *store, ms_pool_key_t *key,
    ngx_uint_t again);

/* Tells the store what it has not confirmed, by this worker's connection. */
void ms_store_moves_tell(ms_store_t *store);


#endif /* MS_STORE_MOVES_H */
