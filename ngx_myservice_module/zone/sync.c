
/*
 * Makes what is configured the members of a zone, once the new configuration
 * is in use: first members leave, which makes room, then others join.
 */

#include "zone/sync.h"

#include "zone/lock.h"
#include "zone/members.h"
#include "zone/names.h"


static ngx_int_t ms_zone_servers(ms_zone_t *zone, ms_pool_t *pool);


ngx_int_t
ms_zone_sync(ms_zone_t *zone, ngx_log_t *log)
{
    ngx_int_t                    rc;
    ms_pool_t                   *pool;
    ngx_uint_t                   i, j, rebuilt;
    ngx_http_upstream_server_t  *server;

    server = zone->upstream->servers->elts;

    pool = ms_zone_lock(zone, &rebuilt);

    if (ms_members_count_locked(zone, pool)) {

        /* the zone serves already: calls do not wait for new names */

        zone->sh->lookup.tried = 1;
    }

    ms_pool_drain_time(pool, zone->drain ? zone->drain : MS_POOL_NEVER,
                       ngx_current_msec);

    ms_members_unmark_locked(zone, pool);

    for (i = 0; i < zone->upstream->servers->nelts; i++) {
        for (j = 0; j < server[i].naddrs; j++) {
            ms_members_mark_locked(zone, pool, &server[i].addrs[j],
                                   MS_SOURCE_SERVER);
        }
    }

    ms_names_sync_locked(zone, pool);

    (void) ms_members_sweep_locked(zone, pool, MS_SOURCE_SERVER, 0, 0);

    ms_members_retry_locked(zone, pool);

    rc = ms_zone_servers(zone, pool);

    ms_names_ready_locked(zone, pool);

    ms_zone_unlock(zone, rebuilt, log);

    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "zone is full: removed members still hold leases, some "
                      "new ones are not added, zone=\"%V\"",
                      &zone->shm_zone->shm.name);
    }

    return rc;
}


static ngx_int_t
ms_zone_servers(ms_zone_t *zone, ms_pool_t *pool)
{
    uint32_t                     instance;
    ngx_int_t                    rc;
    ngx_uint_t                   i, j, fresh;
    ms_instance_info_t           info;
    ngx_http_upstream_server_t  *server;

    rc = NGX_OK;
    server = zone->upstream->servers->elts;

    for (i = 0; i < zone->upstream->servers->nelts; i++) {

        for (j = 0; j < server[i].naddrs; j++) {

            instance = ms_members_join_locked(zone, pool, &server[i].addrs[j],
                                              MS_SOURCE_SERVER,
                                              server[i].fail_timeout, &fresh);

            if (instance == MS_POOL_NONE) {
                rc = NGX_ERROR;
                continue;
            }

            ms_pool_info(pool, instance, &info);

            if (server[i].down) {
                ms_pool_drain(pool, instance, ngx_current_msec);

            } else if (!info.held) {
                ms_pool_undrain(pool, instance, ngx_current_msec);
            }
        }
    }

    return rc;
}
