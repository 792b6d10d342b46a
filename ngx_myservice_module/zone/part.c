
/* Parts of a zone that have shared memory of their own. */

#include "zone/part.h"


/* of the slab allocator: its header, and the pages of small sizes */
#define MS_PART_PAGES  8


ngx_shm_zone_t *
ms_zone_part_add(ngx_conf_t *cf, ms_zone_t *zone, ngx_str_t *of, size_t size,
    void *tag)
{
    ngx_str_t        name;
    ngx_shm_zone_t  *shm_zone;

    name.len = zone->shm_zone->shm.name.len + of->len;
    name.data = ngx_pnalloc(cf->pool, name.len);
    if (name.data == NULL) {
        return NULL;
    }

    ngx_sprintf(name.data, "%V%V", &zone->shm_zone->shm.name, of);

    size = ngx_align(size + size / 64, ngx_pagesize)
           + MS_PART_PAGES * ngx_pagesize;

    shm_zone = ngx_shared_memory_add(cf, &name, size, tag);

    if (shm_zone) {
        shm_zone->data = zone;
    }

    return shm_zone;
}


void *
ms_zone_part_create(ngx_shm_zone_t *shm_zone, size_t size)
{
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;
    shpool->data = ngx_slab_alloc(shpool, size);

    if (shpool->data == NULL) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "zone could not be set up, zone=\"%V\"",
                      &shm_zone->shm.name);
    }

    return shpool->data;
}
