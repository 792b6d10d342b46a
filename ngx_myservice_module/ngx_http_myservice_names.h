/*
 * Members that come from names: what an answer, or none, does to the pool.
 * One worker at a time resolves (ngx_http_myservice_resolve.c).
 */

#ifndef NGX_HTTP_MYSERVICE_NAMES_H
#define NGX_HTTP_MYSERVICE_NAMES_H


#include "ngx_http_myservice_zone.h"


typedef struct {
    ngx_uint_t                      members;    /* of the name */
    ngx_uint_t                      joined;
    ngx_uint_t                      left;
    ngx_uint_t                      refused;    /* no room */
    ngx_uint_t                      again;      /* the last try failed */
} ngx_http_myservice_change_t;


/*
 * An answer for zone->names[n], with at least one address.  Addresses that it
 * does not have leave, unless it is partial.  NGX_DECLINED if the name is no
 * longer configured: this is an old worker.
 */
ngx_int_t ngx_http_myservice_names_resolved(ngx_http_myservice_zone_t *zone,
    ngx_uint_t n, ngx_addr_t *addrs, ngx_uint_t naddrs, ngx_uint_t partial,
    ngx_http_myservice_change_t *change, ngx_log_t *log);

/*
 * No address, for one of the resolver's reasons: members stay.  Returns the
 * outcome of the try before, NGX_OK if this is the first.
 */
ngx_int_t ngx_http_myservice_names_unresolved(ngx_http_myservice_zone_t *zone,
    ngx_uint_t n, ngx_int_t state, ngx_log_t *log);

/* copies the state of zone->names[n], zeroes if it has none */
void ngx_http_myservice_names_state(ngx_http_myservice_zone_t *zone,
    ngx_uint_t n, ngx_http_myservice_slot_t *slot, ngx_log_t *log);


/* the caller holds the lock */

/* bits of zone->names that the instance came from */
uint32_t ngx_http_myservice_names_of_locked(ngx_http_myservice_zone_t *zone,
    uint32_t instance);

/* names that are no longer configured go, new ones get a slot */
void ngx_http_myservice_names_sync_locked(ngx_http_myservice_zone_t *zone,
    ms_pool_t *pool);

/* whether calls have to wait */
void ngx_http_myservice_names_settle_locked(ngx_http_myservice_zone_t *zone,
    ms_pool_t *pool);


#endif /* NGX_HTTP_MYSERVICE_NAMES_H */
