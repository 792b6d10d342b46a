
/*
 * Counts of answered calls in shared memory.  Each process has a slot by its
 * number in nginx's table of processes: the workers of an old configuration
 * and those of the new one have different numbers.  Slots are shared, and
 * therefore changed atomically, only above 64 processes.  No count goes down
 * when a worker dies or the configuration is loaded again.
 */

#include "operator/counts.h"


#define MS_COUNTS_SLOTS  64

/* what the allocator of the zone needs besides the slots */
#define MS_COUNTS_EXTRA  (8 * ngx_pagesize)


/* ms_counts_t, as it lies in a slot */

typedef struct {
    ngx_atomic_t  n[sizeof(ms_counts_t) / sizeof(uint64_t)];
    u_char        padding[64];                  /* a cache line apart */
} ms_counts_slot_t;


static ngx_int_t ms_counts_init_zone(ngx_shm_zone_t *shm_zone, void *data);
static void ms_counts_add(ngx_shm_zone_t *zone, size_t offset,
    ngx_uint_t value);


/* the tag of the zones */
extern ngx_module_t  ngx_http_myservice_metrics_module;


/* those that Prometheus' clients use by default */
const ngx_msec_t  ms_counts_bounds[MS_COUNTS_BOUNDS] = {
    5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000
};


ngx_shm_zone_t *
ms_counts_zone(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us)
{
    size_t           size;
    ngx_str_t        name;
    ngx_shm_zone_t  *zone;

    name.len = sizeof("myservice_metrics ") - 1 + us->host.len;
    name.data = ngx_pnalloc(cf->pool, name.len + 1);
    if (name.data == NULL) {
        return NULL;
    }

    ngx_sprintf(name.data, "myservice_metrics %V%Z", &us->host);

    size = MS_COUNTS_SLOTS * sizeof(ms_counts_slot_t) + MS_COUNTS_EXTRA;

    zone = ngx_shared_memory_add(cf, &name, ngx_align(size, ngx_pagesize),
                                 &ngx_http_myservice_metrics_module);
    if (zone) {
        zone->init = ms_counts_init_zone;
    }

    return zone;
}


static ngx_int_t
ms_counts_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_slab_pool_t  *shpool;

    if (data) {
        shm_zone->data = data;
        return NGX_OK;
    }

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (!shm_zone->shm.exists) {
        shpool->data = ngx_slab_calloc(shpool, MS_COUNTS_SLOTS
                                               * sizeof(ms_counts_slot_t));
        if (shpool->data == NULL) {
            return NGX_ERROR;
        }
    }

    shm_zone->data = shpool->data;

    return NGX_OK;
}


static void
ms_counts_add(ngx_shm_zone_t *zone, size_t offset, ngx_uint_t value)
{
    ms_counts_slot_t  *slots;

    slots = zone->data;

    (void) ngx_atomic_fetch_add(&slots[ngx_process_slot % MS_COUNTS_SLOTS]
                                 .n[offset / sizeof(uint64_t)], value);
}


void
ms_counts_call(ngx_shm_zone_t *zone, ngx_uint_t code, ngx_msec_t first_byte)
{
    ngx_uint_t  i;

    code = ngx_min(code, MS_COUNTS_OTHER);

    ms_counts_add(zone, offsetof(ms_counts_t, calls)
                        + code * sizeof(uint64_t), 1);

    if (first_byte == (ngx_msec_t) -1) {
        return;
    }

    for (i = 0; i < MS_COUNTS_BOUNDS; i++) {
        if (first_byte <= ms_counts_bounds[i]) {
            break;
        }
    }

    ms_counts_add(zone, offsetof(ms_counts_t, first_byte.buckets)
                        + i * sizeof(uint64_t), 1);

    if (first_byte) {
        ms_counts_add(zone, offsetof(ms_counts_t, first_byte.sum), first_byte);
    }
}


void
ms_counts_sum(ngx_shm_zone_t *zone, ms_counts_t *sum)
{
    uint64_t          *total;
    ngx_uint_t         i, n;
    ms_counts_slot_t  *slots;

    slots = zone->data;
    total = (uint64_t *) sum;

    ngx_memzero(sum, sizeof(ms_counts_t));

    for (i = 0; i < MS_COUNTS_SLOTS; i++) {
        for (n = 0; n < sizeof(ms_counts_t) / sizeof(uint64_t); n++) {
            total[n] += slots[i].n[n];
        }
    }
}
