/*
 * What the files of the zone share: the root of its memory, and the sources
 * of its members.
 */

#ifndef NGX_HTTP_MYSERVICE_ZONE_INTERNAL_H
#define NGX_HTTP_MYSERVICE_ZONE_INTERNAL_H


#include "ngx_http_myservice_zone.h"


/* another layout of the memory below needs another number */

#define NGX_HTTP_MYSERVICE_LAYOUT           6


/* why an instance is a member: bits of its source; without one it goes */

#define NGX_HTTP_MYSERVICE_SOURCE_SERVER    0x0001
#define NGX_HTTP_MYSERVICE_SOURCE_OPERATOR  0x0002
#define NGX_HTTP_MYSERVICE_SOURCE_NAME      0x0010  /* of the first slot */
#define NGX_HTTP_MYSERVICE_SOURCE_SEEN      0x8000  /* a mark, see below */


struct ngx_http_myservice_shared_s {
    ngx_uint_t                      layout;
    ms_pool_t                      *pool;
    uint16_t                       *sources;    /* by instance */
    uint32_t                        capacity;   /* instances */
    uint64_t                        alerts;     /* as logged */
    ngx_msec_t                      full[NGX_HTTP_MYSERVICE_FULLS];
                                                /* when logged, 0: never */
    uint64_t                        decisions[MS_CLAIM_FULL + 1];
    ngx_http_myservice_watch_t      watch;
    ngx_http_myservice_lookup_t     lookup;
};


/*
 * A source says whom it has: begin() removes marks that a worker may have
 * left which died, mark() is for those that are members already, sweep() lets
 * the others go, and join() takes all.  The caller holds the lock.
 */

void ngx_http_myservice_members_begin_locked(ngx_http_myservice_zone_t *zone,
    ms_pool_t *pool);

/* "source" is added to its sources, 0 for none */
void ngx_http_myservice_members_mark_locked(ngx_http_myservice_zone_t *zone,
    ms_pool_t *pool, ngx_addr_t *addr, uint16_t source);

/*
 * Members leave the source unless they are marked, or all when it is "gone";
 * and the pool when no other source has them.  So do those that a worker left
 * behind which died while it added them.  Returns how many left the source.
 */
ngx_uint_t ngx_http_myservice_members_sweep_locked(
    ngx_http_myservice_zone_t *zone, ms_pool_t *pool, uint16_t source,
    ngx_uint_t gone, ngx_uint_t drop);

/* MS_POOL_NONE if there is no room; "fresh": the source did not have it */
uint32_t ngx_http_myservice_members_join_locked(
    ngx_http_myservice_zone_t *zone, ms_pool_t *pool, ngx_addr_t *addr,
    uint16_t source, time_t fail_timeout, ngx_uint_t *fresh);

ngx_uint_t ngx_http_myservice_members_count_locked(
    ngx_http_myservice_zone_t *zone, ms_pool_t *pool);


#endif /* NGX_HTTP_MYSERVICE_ZONE_INTERNAL_H */
