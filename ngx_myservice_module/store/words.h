/*
 * Operators' words: an instance drains, or no more (drains.h); it was added, or
 * removed (members.h).  This gateway tells the store when that is there, and
 * tells it again when it may have lost them.
 */

#ifndef MS_STORE_WORDS_H
#define MS_STORE_WORDS_H


#include "store/store.h"


/* An operator of this gateway drains the instance, for "limit" ms at most (0: no
 * limit), or does no more: the word is for all gateways.  Nothing if the upstream
 * has no store. */
void ms_store_drain(ms_zone_t *zone, ngx_str_t *instance, ngx_uint_t drain,
    ngx_msec_t limit);

/* An operator of this gateway adds an instance: as ms_zone_join_locked(), and at
 * all gateways if the upstream has a store. */
ngx_int_t ms_store_add(ms_zone_t *zone, ngx_addr_t *addr, ngx_log_t *log);

/* The same of one that is removed, as by ms_zone_remove_locked().  Others have no
 * "force": it is there when its lease ends. */
ngx_int_t ms_store_remove(ms_zone_t *zone, ngx_str_t *instance,
    ngx_uint_t force, ngx_log_t *log);

/* The store has a word: 'd' it drains, for "left" ms more if that is not 0, '-' it
 * does not, 'a' it was added, 'r' it was removed; whichever gateway it came
 * from. */
void ms_store_words_hear(ms_store_t *store, ngx_str_t *instance, char word,
    uint64_t stamp, ngx_msec_t left);

/* The store may have lost what it was told: it is told again. */
void ms_store_words_again(ms_store_t *store);

/* Tells the store what it has not confirmed, by this worker's connection; costs
 * a comparison if there is nothing. */
void ms_store_words_tell(ms_store_t *store);


#endif /* MS_STORE_WORDS_H */
