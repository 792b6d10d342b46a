/*
 * The members of a zone.  A member is its address as text, "10.0.0.1:5101", as
 * myservice_status shows it.  One that several sources have, a server and
 * names that are resolved, leaves when the last of them drops it.
 *
 * A source changes its members in three steps: unmark() removes marks that a
 * worker left which died, mark() is for members that stay, and sweep() lets
 * the others go.  Then join() adds all.  The caller holds the lock.
 */

#ifndef MS_ZONE_MEMBERS_H
#define MS_ZONE_MEMBERS_H


#include "zone/shared.h"


void ms_members_unmark_locked(ms_zone_t *zone, ms_pool_t *pool);

/* "source" is added to its sources, 0 for none */
void ms_members_mark_locked(ms_zone_t *zone, ms_pool_t *pool, ngx_addr_t *addr,
    uint16_t source);

/*
 * Members leave the source unless they are marked, or all when it is "gone";
 * and the pool when no other source has them.  So do those that a worker left
 * behind which died while it added them.  Returns how many left the source.
 */
ngx_uint_t ms_members_sweep_locked(ms_zone_t *zone, ms_pool_t *pool,
    uint16_t source, ngx_uint_t gone, ngx_uint_t drop);

/* MS_POOL_NONE if there is no room; "fresh": the source did not have it */
uint32_t ms_members_join_locked(ms_zone_t *zone, ms_pool_t *pool,
    ngx_addr_t *addr, uint16_t source, time_t fail_timeout, ngx_uint_t *fresh);

/* one without a source; MS_POOL_NONE if there is no room */
uint32_t ms_members_guest_locked(ms_zone_t *zone, ms_pool_t *pool,
    ngx_addr_t *addr);

/* members of names: whether probes bring them back may have changed */
void ms_members_retry_locked(ms_zone_t *zone, ms_pool_t *pool);

ngx_uint_t ms_members_count_locked(ms_zone_t *zone, ms_pool_t *pool);


#endif /* MS_ZONE_MEMBERS_H */
