
/*
 * What a reload would do to leases: refuses a configuration that would end
 * those of a zone without a word, and warns of a zone that goes.
 */

#include "zone/reload.h"

#include "zone/lock.h"


static ngx_shm_zone_t *ms_zone_find(ngx_cycle_t *cycle, ngx_str_t *name);
static uint32_t ms_zone_leases(ms_zone_t *zone, ngx_log_t *log);


static ngx_shm_zone_t *
ms_zone_find(ngx_cycle_t *cycle, ngx_str_t *name)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_shm_zone_t   *shm_zone;

    part = &cycle->shared_memory.part;
    shm_zone = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {

            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            shm_zone = part->elts;
            i = 0;
        }

        if (shm_zone[i].shm.name.len == name->len
            && ngx_strncmp(shm_zone[i].shm.name.data, name->data, name->len)
               == 0)
        {
            return &shm_zone[i];
        }
    }
}


/*
 * nginx replaces a zone that has another size now, or another owner, and its
 * leases would be lost.  Only a master that reloads has a running cycle to
 * compare with: "nginx -t" has none.
 */

ngx_int_t
ms_zone_check_old(ngx_shm_zone_t *shm_zone)
{
    ngx_shm_zone_t  *old;

    old = ms_zone_find((ngx_cycle_t *) ngx_cycle, &shm_zone->shm.name);

    if (old == NULL) {
        return NGX_OK;
    }

    if (old->tag != shm_zone->tag) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "zone belongs to something else in the running "
                      "configuration, zone=\"%V\" (choose another name, or "
                      "restart nginx)", &shm_zone->shm.name);
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                  "zone cannot change its size: it has %uzk and cannot have "
                  "%uzk after a reload, which would end its leases, "
                  "zone=\"%V\" (keep its size, or restart nginx)",
                  old->shm.size / 1024, shm_zone->shm.size / 1024,
                  &shm_zone->shm.name);

    return NGX_ERROR;
}


void
ms_zone_unused(ngx_cycle_t *cycle, void *tag)
{
    uint32_t          n;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_shm_zone_t   *old, *found;

    part = (ngx_list_part_t *) &ngx_cycle->shared_memory.part;

    for ( /* void */ ; part; part = part->next) {
        old = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (old[i].tag != tag) {
                continue;
            }

            found = ms_zone_find(cycle, &old[i].shm.name);

            if (found && found->tag == tag) {
                continue;
            }

            n = ms_zone_leases(old[i].data, cycle->log);

            if (n) {
                ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                              "zone is not in the new configuration: %uD "
                              "leases end, zone=\"%V\"", n,
                              &old[i].shm.name);
            }
        }
    }
}


static uint32_t
ms_zone_leases(ms_zone_t *zone, ngx_log_t *log)
{
    uint32_t             i, n;
    ms_pool_t           *pool;
    ngx_uint_t           rebuilt;
    ms_instance_info_t   info;

    n = 0;
    pool = ms_zone_lock(zone, &rebuilt);

    for (i = 0; i < ms_pool_limit(pool); i++) {
        ms_pool_info(pool, i, &info);
        n += info.lease != 0;
    }

    ms_zone_unlock(zone, rebuilt, log);

    return n;
}
