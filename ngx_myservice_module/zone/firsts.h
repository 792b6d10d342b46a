/*
 * pool/firsts.h in a shared zone of its own.
 */

#ifndef MS_ZONE_FIRSTS_H
#define MS_ZONE_FIRSTS_H


#include "zone/lock.h"


/* at configuration: a store gives the leases */
ngx_int_t ms_zone_firsts_add(ngx_conf_t *cf, ms_zone_t *zone);

/* Each takes the lock. */
ngx_uint_t ms_zone_firsts_ask(ms_zone_t *zone, const ms_pool_key_t *key,
    const ms_firsts_terms_t *terms, ngx_uint_t counts, uint64_t *id);
ngx_uint_t ms_zone_firsts_own(ms_zone_t *zone, const ms_pool_key_t *key,
    uint64_t id);

/* "instance" (len 0: none) and "epoch" name a new lease, then one that is for
 * nobody; its name is in "buf" then, MS_POOL_NAME_MAX bytes. */
void ms_zone_firsts_end(ms_zone_t *zone, const ms_pool_key_t *key,
    uint64_t id, ngx_str_t *instance, uint64_t *epoch, u_char *buf);

/* a call gives a new lease back, of which the zone's pool knows no more */
ngx_uint_t ms_zone_firsts_pass(ms_zone_t *zone, const ms_pool_key_t *key,
    const ms_lease_t *lease);


#endif /* MS_ZONE_FIRSTS_H */
