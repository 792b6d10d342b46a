/*
 * Members that come from names: what an answer, or a failure, does to the
 * members.  resolve/lookup.c asks the name servers.
 */

#ifndef MS_ZONE_NAMES_H
#define MS_ZONE_NAMES_H


#include "zone/shared.h"


typedef struct {
    ngx_uint_t                      members;    /* of the name */
    ngx_uint_t                      joined;
    ngx_uint_t                      left;
    ngx_uint_t                      refused;    /* no room */
    ngx_uint_t                      again;      /* the last try failed */
} ms_change_t;


/*
 * An answer for zone->names[n], with at least one address.  Addresses that it
 * does not have leave, unless it is partial.  NGX_DECLINED if the name is no
 * longer configured: this is an old worker.
 */
ngx_int_t ms_names_resolved(ms_zone_t *zone, ngx_uint_t n, ngx_addr_t *addrs,
    ngx_uint_t naddrs, ngx_uint_t partial, ms_change_t *change,
    ngx_log_t *log);

/*
 * No address, for one of the resolver's reasons: members stay.  Returns the
 * outcome of the try before, NGX_OK if this is the first.
 */
ngx_int_t ms_names_unresolved(ms_zone_t *zone, ngx_uint_t n, ngx_int_t state,
    ngx_log_t *log);

/* copies the state of zone->names[n], zeroes if it has none */
void ms_names_state(ms_zone_t *zone, ngx_uint_t n, ms_slot_t *slot,
    ngx_log_t *log);


/* the caller holds the lock */

/* names that are no longer configured go, new ones get a slot */
void ms_names_sync_locked(ms_zone_t *zone, ms_pool_t *pool);

/* finds anew whether calls have to wait for names */
void ms_names_ready_locked(ms_zone_t *zone, ms_pool_t *pool);


#endif /* MS_ZONE_NAMES_H */
