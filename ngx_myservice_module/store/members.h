/*
 * Operators' words on membership, as this gateway remembers them: instances that
 * the API has added, and those that it has removed.  As with drains the later of
 * two words counts.  A member by the configuration stays one.
 */

#ifndef MS_STORE_MEMBERS_H
#define MS_STORE_MEMBERS_H


#include "store/store.h"


/* Adds a member, as ms_zone_join_locked(), and remembers the word. */
ngx_int_t ms_store_member_add(ms_store_t *store, ngx_addr_t *addr);

/* Removes one, as ms_zone_remove_locked(), and remembers the word. */
ngx_int_t ms_store_member_remove(ms_store_t *store, ngx_str_t *instance,
    ngx_uint_t force);

/* The store has the word that the instance was added, or removed, whichever
 * gateway it came from.  A later one that this gateway knows stays. */
void ms_store_member_heard(ms_store_t *store, ngx_str_t *instance,
    ngx_uint_t added, uint64_t stamp);


#endif /* MS_STORE_MEMBERS_H */
