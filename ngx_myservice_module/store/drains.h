/*
 * Operators' words on drains, as this gateway remembers them, and the marks that
 * have them.  Each has a stamp, and of two words on one instance the later
 * counts, at all gateways.  store/words.h passes them on.
 */

#ifndef MS_STORE_DRAINS_H
#define MS_STORE_DRAINS_H


#include "store/store.h"


/* An operator of this gateway drains the instance, for "limit" ms at most (0: no
 * limit, or the one that it has), or does no more. */
void ms_store_drain_said(ms_store_t *store, ngx_str_t *instance,
    ngx_uint_t drain, ngx_msec_t limit);

/* The store has that word, whichever gateway it came from; "left" is 0 without a
 * limit.  A later one that this gateway knows stays. */
void ms_store_drained(ms_store_t *store, ngx_str_t *instance,
    ngx_uint_t drain, uint64_t stamp, ngx_msec_t left);

/* The mark of an instance of the zone; its words are the instance's.  The caller
 * holds the zone's lock. */
ms_store_mark_t *ms_store_word_mark(ms_store_t *store, uint32_t instance,
    ms_instance_info_t *info);

/* of a word that is said now: microseconds since 1970, and above "last", the
 * last one that is known */
uint64_t ms_store_stamp(uint64_t last);


#endif /* MS_STORE_DRAINS_H */
