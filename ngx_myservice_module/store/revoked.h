/*
 * Revoked tokens are those of all gateways of the store: this one tells it what
 * changes in its list, and hears what changes in those of the others.
 */

#ifndef MS_STORE_REVOKED_H
#define MS_STORE_REVOKED_H


#include "store/store.h"


/* Tells the store what has changed in the list, and all of it when the store may
 * have lost what it was told; costs two comparisons if there is nothing. */
void ms_store_revoked_tell(ms_store_t *store);

/* the entry is another gateway's */
void ms_store_revoked_hear(const redisReply *entry);


#endif /* MS_STORE_REVOKED_H */
