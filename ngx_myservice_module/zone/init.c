
/*
 * A zone is added by the configuration, and gets its memory: the pool's, and
 * two bytes of sources per instance.  A reload takes the memory over.
 */

#include "zone/init.h"

#include <openssl/rand.h>

#include "zone/lock.h"
#include "zone/reload.h"


static ngx_int_t ms_zone_init(ngx_shm_zone_t *shm_zone, void *data);
static ngx_int_t ms_zone_check_size(ms_zone_t *zone);


ms_zone_t *
ms_zone_add(ngx_conf_t *cf, ngx_str_t *name, ssize_t size, void *tag)
{
    ngx_shm_zone_t  *shm_zone;
    ms_zone_t       *zone;

    zone = ngx_pcalloc(cf->pool, sizeof(ms_zone_t));
    if (zone == NULL) {
        return NULL;
    }

    shm_zone = ngx_shared_memory_add(cf, name, size, tag);
    if (shm_zone == NULL) {
        return NULL;
    }

    if (shm_zone->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone is already used by another upstream, "
                           "zone=\"%V\"", name);
        return NULL;
    }

    shm_zone->init = ms_zone_init;
    shm_zone->data = zone;
    zone->shm_zone = shm_zone;
    zone->counts = &ms_counts_unread;

    ms_pool_on_end(ms_zone_ended);

    return zone;
}


static ngx_int_t
ms_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ms_zone_t  *ozone = data;

    void             *mem;
    size_t            len, size, part;
    u_char            key[16];
    ngx_slab_pool_t  *shpool;
    ms_zone_t        *zone;
    ms_shared_t      *sh;

    zone = shm_zone->data;
    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;
    zone->shpool = shpool;

    if (ozone || shm_zone->shm.exists) {
        zone->sh = ozone ? ozone->sh : shpool->data;

        if (zone->sh->layout != MS_LAYOUT) {
            ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                          "zone was made by another version of the module, "
                          "zone=\"%V\" (restart nginx instead of reloading it)",
                          &shm_zone->shm.name);
            return NGX_ERROR;
        }

        return ms_zone_check_size(zone);
    }

    if (ms_zone_check_old(shm_zone) != NGX_OK) {
        return NGX_ERROR;
    }

    len = sizeof(" in myservice zone \"\"") + shm_zone->shm.name.len;

    shpool->log_ctx = ngx_slab_alloc(shpool, len);
    sh = ngx_slab_calloc(shpool, sizeof(ms_shared_t));

    if (shpool->log_ctx == NULL || sh == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(shpool->log_ctx, " in myservice zone \"%V\"%Z",
                &shm_zone->shm.name);

    /* the rest of the zone: the pool, and two bytes per instance for sources */

    size = shpool->pfree * ngx_pagesize;
    mem = size ? ngx_slab_alloc(shpool, size) : NULL;

    if (mem == NULL || RAND_bytes(key, sizeof(key)) != 1) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "zone could not be set up, zone=\"%V\"",
                      &shm_zone->shm.name);
        return NGX_ERROR;
    }

    part = (size - size / 129) & ~(size_t) 7;

    sh->pool = ms_pool_create(mem, part, key);
    sh->capacity = ms_pool_capacity(part);
    sh->sources = (uint16_t *) ((u_char *) mem + part);
    sh->layout = MS_LAYOUT;
    sh->created = ngx_current_msec;

    ngx_explicit_memzero(key, sizeof(key));

    shpool->data = sh;
    zone->sh = sh;

    return ms_zone_check_size(zone);
}


static ngx_int_t
ms_zone_check_size(ms_zone_t *zone)
{
    size_t                       need;
    ngx_uint_t                   i, n;
    ngx_shm_zone_t              *shm_zone;
    ngx_http_upstream_server_t  *server;

    n = zone->nnames * MS_NAME_ROOM;
    server = zone->upstream->servers->elts;

    for (i = 0; i < zone->upstream->servers->nelts; i++) {
        n += server[i].naddrs;
    }

    if (n <= zone->sh->capacity) {
        return NGX_OK;
    }

    shm_zone = zone->shm_zone;

    /* and the slab pool's own header, page table and first pages */

    need = ms_pool_size(n);
    need += need / 64 + 8 * ngx_pagesize;

    ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                  "zone is too small: %uzk has room for %uD instances, its "
                  "upstream has %ui%s, zone=\"%V\" upstream=\"%V\" (it needs at "
                  "least %uzk)", shm_zone->shm.size / 1024,
                  zone->sh->capacity, n,
                  zone->nnames ? ", resolved names counted as 32" : "",
                  &shm_zone->shm.name, &zone->upstream->host,
                  need / 1024 + 1);

    return NGX_ERROR;
}
