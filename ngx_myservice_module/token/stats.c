
/*
 * Counters in shared memory, so that any worker can report the sums of all.
 * Each worker has a slot; after a reload an old and a new worker share one for
 * a while.
 */

#include "token/stats.h"


#define MS_JWT_SLOTS  64


typedef struct {
    ngx_atomic_t  n[MS_JWT_COUNTERS];
    u_char        padding[64];                  /* a cache line apart */
} ms_jwt_slot_t;


static ngx_int_t ms_jwt_init_zone(ngx_shm_zone_t *shm_zone, void *data);
static u_char *ms_jwt_json_counter(u_char *p, ngx_shm_zone_t *zone,
    const char *name, ngx_uint_t n);


static ngx_str_t  ms_jwt_zone_name = ngx_string("ms_jwt");

/* the tag of the zone */
extern ngx_module_t  ngx_http_myservice_jwt_module;


/* of this worker */
static ms_jwt_slot_t  *ms_jwt_slot;


ngx_shm_zone_t *
ms_jwt_add_zone(ngx_conf_t *cf)
{
    size_t           size;
    ngx_shm_zone_t  *zone;

    /* the slots, and what the allocator itself needs */

    size = MS_JWT_SLOTS * sizeof(ms_jwt_slot_t) + 16 * ngx_pagesize;

    zone = ngx_shared_memory_add(cf, &ms_jwt_zone_name,
                                 ngx_align(size, ngx_pagesize),
                                 &ngx_http_myservice_jwt_module);
    if (zone) {
        zone->init = ms_jwt_init_zone;
    }

    return zone;
}


static ngx_int_t
ms_jwt_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_slab_pool_t  *shpool;

    if (data) {
        shm_zone->data = data;
        return NGX_OK;
    }

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (shm_zone->shm.exists) {
        shm_zone->data = shpool->data;
        return NGX_OK;
    }

    shpool->data = ngx_slab_calloc(shpool, MS_JWT_SLOTS
                                   * sizeof(ms_jwt_slot_t));
    if (shpool->data == NULL) {
        return NGX_ERROR;
    }

    shm_zone->data = shpool->data;

    return NGX_OK;
}


void
ms_jwt_open_stats(ngx_shm_zone_t *zone)
{
    ms_jwt_slot_t  *slots;

    slots = zone->data;

    ms_jwt_slot = &slots[ngx_worker % MS_JWT_SLOTS];
}


void
ms_jwt_count(ngx_uint_t n, ngx_uint_t times)
{
    (void) ngx_atomic_fetch_add(&ms_jwt_slot->n[n], times);
}


u_char *
ms_jwt_json(u_char *p, ngx_shm_zone_t *zone)
{
    ngx_uint_t  i;

    p = ngx_cpymem(p, "{\"answers\":{", 12);

    for (i = 0; i < MS_JWT_REASONS; i++) {
        p = ms_jwt_json_counter(p, zone, ms_reason(i).name, i);
    }

    p[-1] = '}';
    p = ngx_cpymem(p, ",\"cache\":{", 10);

    p = ms_jwt_json_counter(p, zone, "hits", MS_JWT_HITS);
    p = ms_jwt_json_counter(p, zone, "misses", MS_JWT_MISSES);
    p = ms_jwt_json_counter(p, zone, "evictions", MS_JWT_EVICTIONS);
    p[-1] = '}';
    p = ngx_cpymem(p, ",\"keys\":{", 9);

    p = ms_jwt_json_counter(p, zone, "updates", MS_JWT_UPDATES);
    p = ms_jwt_json_counter(p, zone, "failures", MS_JWT_FAILURES);
    p[-1] = '}';
    *p++ = '}';

    return p;
}


static u_char *
ms_jwt_json_counter(u_char *p, ngx_shm_zone_t *zone, const char *name,
    ngx_uint_t n)
{
    return ngx_sprintf(p, "\"%s\":%uL,", name, ms_jwt_sum(zone, n));
}


uint64_t
ms_jwt_sum(ngx_shm_zone_t *zone, ngx_uint_t n)
{
    uint64_t        sum;
    ngx_uint_t      i;
    ms_jwt_slot_t  *slots;

    slots = zone->data;
    sum = 0;

    for (i = 0; i < MS_JWT_SLOTS; i++) {
        sum += slots[i].n[n];
    }

    return sum;
}
