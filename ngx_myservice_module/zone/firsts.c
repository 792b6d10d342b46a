
/* First calls whose sessions a store is asked about. */

#include "zone/firsts.h"

#include "zone/part.h"


static ngx_int_t ms_zone_firsts_init(ngx_shm_zone_t *shm_zone, void *data);


static ngx_uint_t  ms_zone_firsts_tag;


ngx_int_t
ms_zone_firsts_add(ngx_conf_t *cf, ms_zone_t *zone)
{
    ngx_shm_zone_t  *shm_zone;

    static ngx_str_t  of = ngx_string(".firsts");

    shm_zone = ms_zone_part_add(cf, zone, &of, ms_firsts_size(),
                                &ms_zone_firsts_tag);
    if (shm_zone == NULL) {
        return NGX_ERROR;
    }

    shm_zone->init = ms_zone_firsts_init;

    return NGX_OK;
}


static ngx_int_t
ms_zone_firsts_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ms_zone_t  *ozone = data;

    void       *mem;
    ms_zone_t  *zone;

    zone = shm_zone->data;

    if (ozone || shm_zone->shm.exists) {
        zone->firsts = ozone ? ozone->firsts
                       : ((ngx_slab_pool_t *) shm_zone->shm.addr)->data;
        return NGX_OK;
    }

    mem = ms_zone_part_create(shm_zone, ms_firsts_size());
    if (mem == NULL) {
        return NGX_ERROR;
    }

    zone->firsts = ms_firsts_create(mem);

    return NGX_OK;
}


ngx_uint_t
ms_zone_firsts_ask(ms_zone_t *zone, const ms_pool_key_t *key,
    const ms_firsts_terms_t *terms, ngx_uint_t counts, uint64_t *id)
{
    ms_pool_t   *pool;
    ngx_uint_t   rebuilt;

    pool = ms_zone_lock(zone, &rebuilt);
    counts = ms_firsts_ask(zone->firsts, pool, key, terms, counts != 0,
                           ngx_current_msec, id);
    ms_zone_unlock(zone, rebuilt, ngx_cycle->log);

    return counts;
}


ngx_uint_t
ms_zone_firsts_own(ms_zone_t *zone, const ms_pool_key_t *key, uint64_t id)
{
    ms_pool_t   *pool;
    ngx_uint_t   ours, rebuilt;

    pool = ms_zone_lock(zone, &rebuilt);
    ours = ms_firsts_own(zone->firsts, pool, key, id, ngx_current_msec);
    ms_zone_unlock(zone, rebuilt, ngx_cycle->log);

    return ours;
}


void
ms_zone_firsts_end(ms_zone_t *zone, const ms_pool_key_t *key, uint64_t id,
    ngx_str_t *instance, uint64_t *epoch, u_char *buf)
{
    uint32_t             given;
    ms_pool_t           *pool;
    ngx_uint_t           rebuilt;
    ms_instance_info_t   info;

    pool = ms_zone_lock(zone, &rebuilt);

    given = instance->len ? ms_pool_find(pool, (char *) instance->data,
                                         instance->len)
                          : MS_POOL_NONE;

    ms_firsts_end(zone->firsts, pool, key, id, ngx_current_msec, &given,
                  epoch);

    instance->len = 0;

    if (given != MS_POOL_NONE) {
        ms_pool_info(pool, given, &info);

        instance->data = buf;
        instance->len = info.name_len;
        ngx_memcpy(buf, info.name, info.name_len);
    }

    ms_zone_unlock(zone, rebuilt, ngx_cycle->log);
}


ngx_uint_t
ms_zone_firsts_pass(ms_zone_t *zone, const ms_pool_key_t *key,
    const ms_lease_t *lease)
{
    ngx_uint_t  passed, rebuilt;

    (void) ms_zone_lock(zone, &rebuilt);
    passed = ms_firsts_pass(zone->firsts, key, lease->instance, lease->epoch);
    ms_zone_unlock(zone, rebuilt, ngx_cycle->log);

    return passed;
}
