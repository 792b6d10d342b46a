/*
 * Leases stay in the store as long as they live here: one worker renews those
 * that were used, and tells the store of all when the store has lost them.
 */

#ifndef MS_STORE_RENEW_H
#define MS_STORE_RENEW_H


#include "store/store.h"


/* in a worker, once: its part in the duty */
void ms_store_renew_init(ms_store_t *store);

/* An operator ends the session's lease: ms_store_release(), before it ends here.
 * Nothing if the upstream has no store, or the session no lease. */
void ms_store_release_session(ms_zone_t *zone, ngx_str_t *session);

/*
 * What an instance says: it serves the session (len 0: none), under that epoch
 * (0: it did not say).  "asof" is the highest epoch of the instance that this
 * gateway knew when the instance was asked: the store changes nothing that is
 * newer.  Nothing if the upstream has no store, or that is gone.
 */
void ms_store_word(ms_zone_t *zone, ngx_str_t *instance, ngx_str_t *session,
    uint64_t epoch, uint64_t asof, const uint8_t *subject);


#endif /* MS_STORE_RENEW_H */
