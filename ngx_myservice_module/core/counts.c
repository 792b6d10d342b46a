
/*
 * Counts in shared memory.  Each process has a slot by its number in nginx's
 * table of processes: the workers of an old configuration and those of the new
 * one have different numbers.  Slots are shared, and therefore changed
 * atomically, only above 64 processes.  No count goes down when a worker dies
 * or the configuration is loaded again.
 */

#include "core/counts.h"


#define MS_COUNTS_SLOTS  64

/* what the allocator of the zone needs besides the slots */
#define MS_COUNTS_EXTRA  (8 * ngx_pagesize)

/* slots are cache lines apart */
#define ms_counts_stride(size)  ngx_align((size) + 64, 64)


static ngx_int_t ms_counts_init_zone(ngx_shm_zone_t *shm_zone, void *data);


/* the tag of the zones */
extern ngx_module_t  ngx_http_myservice_metrics_module;


const ms_times_scale_t  ms_times_default = {
    1000, 11, { 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000 }
};

const ms_times_scale_t  ms_times_long = {
    1000, 8, { 1000, 10000, 60000, 300000, 900000, 3600000, 14400000,
               86400000 }
};

const ms_times_scale_t  ms_times_short = {
    1000000, 8, { 25, 50, 100, 250, 500, 1000, 2500, 10000 }
};


ms_gateway_counts_t   ms_gateway_counts_unread;
ms_counts_t           ms_counts_unread;

ms_gateway_counts_t  *ms_gateway_counts = &ms_gateway_counts_unread;


ngx_shm_zone_t *
ms_counts_zone(ngx_conf_t *cf, ngx_str_t *name, size_t size)
{
    ngx_shm_zone_t  *zone;

    size = MS_COUNTS_SLOTS * ms_counts_stride(size) + MS_COUNTS_EXTRA;

    zone = ngx_shared_memory_add(cf, name, ngx_align(size, ngx_pagesize),
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
        shpool->data = ngx_slab_calloc(shpool, shm_zone->shm.size
                                               - MS_COUNTS_EXTRA);
        if (shpool->data == NULL) {
            return NGX_ERROR;
        }
    }

    shm_zone->data = shpool->data;

    return NGX_OK;
}


void *
ms_counts_slot(ngx_shm_zone_t *zone, size_t size)
{
    return (u_char *) zone->data
           + (ngx_uint_t) ngx_process_slot % MS_COUNTS_SLOTS
             * ms_counts_stride(size);
}


void
ms_counts_sum(ngx_shm_zone_t *zone, void *sum, size_t size)
{
    u_char        *slot;
    ngx_uint_t     i, n;
    ngx_atomic_t  *total, *count;

    total = sum;
    slot = zone->data;

    ngx_memzero(sum, size);

    for (i = 0; i < MS_COUNTS_SLOTS; i++) {
        count = (ngx_atomic_t *) slot;

        for (n = 0; n < size / sizeof(ngx_atomic_t); n++) {
            total[n] += count[n];
        }

        slot += ms_counts_stride(size);
    }
}
