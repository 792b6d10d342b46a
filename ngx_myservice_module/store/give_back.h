/*
 * Leases that no call of this gateway has confirmed, and that none waits for.
 */

#ifndef MS_STORE_GIVE_BACK_H
#define MS_STORE_GIVE_BACK_H


#include "store/store.h"


/*
 * The lease has ended here.  The store is told, without waiting for an answer,
 * and ends it, unless a call of the session has succeeded at another gateway or
 * waits there for that: this gateway hears of the lease then.  A store that is
 * away ends it when its short time is over.  "claimed": it was given to this
 * gateway, so no call can have succeeded before.
 */
void ms_store_give_back(ms_store_t *store, ngx_str_t *session,
    ngx_str_t *instance, uint64_t epoch, ngx_uint_t claimed);


#endif /* MS_STORE_GIVE_BACK_H */
