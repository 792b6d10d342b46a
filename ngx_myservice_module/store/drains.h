/*
 * Operators' words on instances: drained, or no more.  Each has a stamp, and of
 * two words on one instance the later counts, at all gateways.  This gateway
 * remembers the last one on each instance, tells the store when that is there,
 * and tells it again when it may have lost it.
 */

#ifndef MS_STORE_DRAINS_H
#define MS_STORE_DRAINS_H


#include "store/store.h"


/* An operator of this gateway drains the instance, or does no more: the word is
 * for all gateways.  Nothing if the upstream has no store. */
void ms_store_drain(ms_zone_t *zone, ngx_str_t *instance, ngx_uint_t drain);

/* The store has that word, whichever gateway it came from.  A later one that
 * this gateway knows stays. */
void ms_store_drained(ms_store_t *store, ngx_str_t *instance,
    ngx_uint_t drain, uint64_t stamp);

/* The store may have lost what it was told: it is told again. */
void ms_store_drains_again(ms_store_t *store);

/* Tells the store what it has not confirmed, by this worker's connection; costs
 * a comparison if there is nothing. */
void ms_store_drains_tell(ms_store_t *store);


#endif /* MS_STORE_DRAINS_H */
