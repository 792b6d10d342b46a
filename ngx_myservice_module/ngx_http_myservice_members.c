
#include "ngx_http_myservice_members.h"

#include "ngx_http_myservice_names.h"
#include "ngx_http_myservice_zone_internal.h"


/* of a member that an operator has added, in seconds */
#define NGX_HTTP_MYSERVICE_FAIL_TIMEOUT  10


static ngx_int_t ngx_http_myservice_members_servers(
    ngx_http_myservice_zone_t *zone, ms_pool_t *pool);
static void ngx_http_myservice_members_retry(ngx_http_myservice_zone_t *zone,
    ms_pool_t *pool);
static uint64_t ngx_http_myservice_members_retry_time(
    ngx_http_myservice_zone_t *zone, time_t fail_timeout);


ngx_int_t
ngx_http_myservice_members_sync(ngx_http_myservice_zone_t *zone,
    ngx_log_t *log)
{
    ngx_int_t                    rc;
    ms_pool_t                   *pool;
    ngx_uint_t                   i, j, rebuilt;
    ngx_http_upstream_server_t  *server;

    server = zone->upstream->servers->elts;

    pool = ngx_http_myservice_zone_lock(zone, &rebuilt);

    if (ngx_http_myservice_members_count_locked(zone, pool)) {

        /* it serves already: new names do not hold calls back */

        zone->sh->lookup.started = 1;
    }

    ngx_http_myservice_members_begin_locked(zone, pool);

    for (i = 0; i < zone->upstream->servers->nelts; i++) {
        for (j = 0; j < server[i].naddrs; j++) {
            ngx_http_myservice_members_mark_locked(zone, pool,
                                           &server[i].addrs[j],
                                           NGX_HTTP_MYSERVICE_SOURCE_SERVER);
        }
    }

    ngx_http_myservice_names_sync_locked(zone, pool);

    (void) ngx_http_myservice_members_sweep_locked(zone, pool,
                                       NGX_HTTP_MYSERVICE_SOURCE_SERVER, 0,
                                       0);

    ngx_http_myservice_members_retry(zone, pool);

    rc = ngx_http_myservice_members_servers(zone, pool);

    ngx_http_myservice_names_settle_locked(zone, pool);

    ngx_http_myservice_zone_unlock(zone, rebuilt, log);

    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "zone \"%V\" is full: members that were removed still "
                      "hold leases, some new ones could not be added",
                      &zone->shm_zone->shm.name);
    }

    return rc;
}


ngx_int_t
ngx_http_myservice_members_add(ngx_http_myservice_zone_t *zone,
    ngx_addr_t *addr, time_t fail_timeout, ngx_log_t *log)
{
    uint32_t     instance;
    ms_pool_t   *pool;
    ngx_uint_t   member, fresh, rebuilt;

    pool = ngx_http_myservice_zone_lock(zone, &rebuilt);

    member = ms_pool_find(pool, (char *) addr->name.data, addr->name.len)
             != MS_POOL_NONE;

    instance = ngx_http_myservice_members_join_locked(zone, pool, addr,
                                         NGX_HTTP_MYSERVICE_SOURCE_OPERATOR,
                                         fail_timeout, &fresh);

    ngx_http_myservice_zone_unlock(zone, rebuilt, log);

    if (instance == MS_POOL_NONE) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "zone \"%V\" has no room for instance \"%V\"",
                      &zone->shm_zone->shm.name, &addr->name);
        return NGX_ERROR;
    }

    return member ? NGX_DECLINED : NGX_OK;
}


ngx_int_t
ngx_http_myservice_members_remove(ngx_http_myservice_zone_t *zone,
    ngx_str_t *name, ngx_http_myservice_removal_e how, ngx_log_t *log)
{
    uint32_t             instance;
    ngx_int_t            rc;
    ms_pool_t           *pool;
    ngx_uint_t           rebuilt;
    ms_instance_info_t   info;

    rc = NGX_DECLINED;
    pool = ngx_http_myservice_zone_lock(zone, &rebuilt);

    instance = ms_pool_find(pool, (char *) name->data, name->len);

    if (instance != MS_POOL_NONE) {
        zone->sh->sources[instance] = 0;

        ms_pool_remove(pool, instance, how == NGX_HTTP_MYSERVICE_DROP,
                       ngx_current_msec);

        ms_pool_info(pool, instance, &info);
        rc = info.state == MS_INSTANCE_UNUSED ? NGX_OK : NGX_AGAIN;
    }

    ngx_http_myservice_zone_unlock(zone, rebuilt, log);

    return rc;
}


ngx_int_t
ngx_http_myservice_members_drain(ngx_http_myservice_zone_t *zone,
    ngx_str_t *name, ngx_log_t *log)
{
    uint32_t     instance;
    ms_pool_t   *pool;
    ngx_uint_t   rebuilt;

    pool = ngx_http_myservice_zone_lock(zone, &rebuilt);

    instance = ms_pool_find(pool, (char *) name->data, name->len);

    ms_pool_drain(pool, instance, ngx_current_msec);
    ms_pool_hold(pool, instance, 1);

    ngx_http_myservice_zone_unlock(zone, rebuilt, log);

    return instance != MS_POOL_NONE ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_http_myservice_members_undrain(ngx_http_myservice_zone_t *zone,
    ngx_str_t *name, ngx_log_t *log)
{
    uint32_t     instance;
    ms_pool_t   *pool;
    ngx_uint_t   rebuilt;

    pool = ngx_http_myservice_zone_lock(zone, &rebuilt);

    instance = ms_pool_find(pool, (char *) name->data, name->len);

    ms_pool_hold(pool, instance, 0);
    ms_pool_undrain(pool, instance, ngx_current_msec);

    ngx_http_myservice_zone_unlock(zone, rebuilt, log);

    return instance != MS_POOL_NONE ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_http_myservice_members_release(ngx_http_myservice_zone_t *zone,
    ngx_str_t *session, ngx_log_t *log)
{
    uint32_t        instance;
    ms_pool_t      *pool;
    ngx_uint_t      rebuilt;
    ms_pool_key_t   key;

    ngx_http_myservice_zone_key(zone, session, &key);

    pool = ngx_http_myservice_zone_lock(zone, &rebuilt);

    instance = ms_pool_session(pool, &key, ngx_current_msec);
    ms_pool_end(pool, instance, ngx_current_msec);

    ngx_http_myservice_zone_unlock(zone, rebuilt, log);

    return instance != MS_POOL_NONE ? NGX_OK : NGX_DECLINED;
}


void
ngx_http_myservice_members_begin_locked(ngx_http_myservice_zone_t *zone,
    ms_pool_t *pool)
{
    uint32_t  i;

    for (i = 0; i < ms_pool_limit(pool); i++) {
        zone->sh->sources[i] &= ~NGX_HTTP_MYSERVICE_SOURCE_SEEN;
    }
}


void
ngx_http_myservice_members_mark_locked(ngx_http_myservice_zone_t *zone,
    ms_pool_t *pool, ngx_addr_t *addr, uint16_t source)
{
    uint32_t  instance;

    instance = ms_pool_find(pool, (char *) addr->name.data, addr->name.len);

    if (instance != MS_POOL_NONE) {
        zone->sh->sources[instance] |= source | NGX_HTTP_MYSERVICE_SOURCE_SEEN;
    }
}


ngx_uint_t
ngx_http_myservice_members_sweep_locked(ngx_http_myservice_zone_t *zone,
    ms_pool_t *pool, uint16_t source, ngx_uint_t gone, ngx_uint_t drop)
{
    uint32_t             i;
    uint16_t            *sources;
    ngx_uint_t           left, was;
    ms_instance_info_t   info;

    left = 0;
    sources = zone->sh->sources;

    for (i = 0; i < ms_pool_limit(pool); i++) {

        if ((sources[i] & NGX_HTTP_MYSERVICE_SOURCE_SEEN) && !gone) {
            continue;
        }

        ms_pool_info(pool, i, &info);

        if (info.state == MS_INSTANCE_UNUSED) {
            sources[i] = 0;
            continue;
        }

        was = sources[i] & source;
        sources[i] &= ~source;
        left += was ? 1 : 0;

        if (!(sources[i] & ~NGX_HTTP_MYSERVICE_SOURCE_SEEN)) {

            if (!info.removed) {
                ms_pool_remove(pool, i, was && drop, ngx_current_msec);
            }

        } else if (was && info.drain && !info.held
                   && source == NGX_HTTP_MYSERVICE_SOURCE_SERVER)
        {
            /* its "down" went with the server */

            ms_pool_undrain(pool, i, ngx_current_msec);
        }
    }

    return left;
}


uint32_t
ngx_http_myservice_members_join_locked(ngx_http_myservice_zone_t *zone,
    ms_pool_t *pool, ngx_addr_t *addr, uint16_t source, time_t fail_timeout,
    ngx_uint_t *fresh)
{
    uint32_t     instance;
    uint16_t    *sources;
    ngx_uint_t   known;

    sources = zone->sh->sources;
    instance = ms_pool_find(pool, (char *) addr->name.data, addr->name.len);
    known = instance != MS_POOL_NONE;

    *fresh = !known || !(sources[instance] & source);

    if (known && source != NGX_HTTP_MYSERVICE_SOURCE_SERVER
        && (sources[instance]
            & ~(source | NGX_HTTP_MYSERVICE_SOURCE_SEEN)))
    {
        /* the first word counts, but that of the configuration most */

        sources[instance] |= source;
        return instance;
    }

    instance = ms_pool_add(pool, (char *) addr->name.data, addr->name.len,
                           addr->sockaddr, addr->socklen,
                           ngx_http_myservice_members_retry_time(zone,
                                                            fail_timeout),
                           ngx_current_msec);

    if (instance == MS_POOL_NONE) {
        return MS_POOL_NONE;
    }

    if (known) {
        sources[instance] |= source;
        return instance;
    }

    sources[instance] = source;
    zone->sh->watch.joined++;

    if (zone->mandatory) {
        ms_pool_await(pool, instance, ngx_current_msec);
    }

    return instance;
}


static ngx_int_t
ngx_http_myservice_members_servers(ngx_http_myservice_zone_t *zone,
    ms_pool_t *pool)
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

            instance = ngx_http_myservice_members_join_locked(zone, pool,
                                           &server[i].addrs[j],
                                           NGX_HTTP_MYSERVICE_SOURCE_SERVER,
                                           server[i].fail_timeout, &fresh);

            if (instance == MS_POOL_NONE) {
                rc = NGX_ERROR;
                continue;
            }

            ms_pool_info(pool, instance, &info);

            if (server[i].down && !info.drain) {
                ms_pool_drain(pool, instance, ngx_current_msec);

            } else if (!server[i].down && info.drain && !info.held) {
                ms_pool_undrain(pool, instance, ngx_current_msec);
            }
        }
    }

    return rc;
}


ngx_uint_t
ngx_http_myservice_members_count_locked(ngx_http_myservice_zone_t *zone,
    ms_pool_t *pool)
{
    return zone->sh->capacity - ms_pool_count(pool, MS_INSTANCE_UNUSED);
}


/* for those that stay: whether health brings them back may have changed */

static void
ngx_http_myservice_members_retry(ngx_http_myservice_zone_t *zone,
    ms_pool_t *pool)
{
    time_t              fail_timeout;
    uint32_t            i, names;
    ngx_uint_t          j;
    ms_instance_info_t  info;

    for (i = 0; i < ms_pool_limit(pool); i++) {
        ms_pool_info(pool, i, &info);

        if (info.state == MS_INSTANCE_UNUSED || info.removed
            || (zone->sh->sources[i] & NGX_HTTP_MYSERVICE_SOURCE_SERVER))
        {
            continue;
        }

        fail_timeout = NGX_HTTP_MYSERVICE_FAIL_TIMEOUT;
        names = ngx_http_myservice_names_of_locked(zone, i);

        for (j = 0; j < zone->nnames; j++) {
            if (names & (1 << j)) {
                fail_timeout = zone->names[j]->fail_timeout;
                break;
            }
        }

        (void) ms_pool_add(pool, info.name, info.name_len, info.addr,
                           info.addr_len,
                           ngx_http_myservice_members_retry_time(zone,
                                                            fail_timeout),
                           ngx_current_msec);
    }
}


static uint64_t
ngx_http_myservice_members_retry_time(ngx_http_myservice_zone_t *zone,
    time_t fail_timeout)
{
    return zone->health ? MS_POOL_NEVER : (uint64_t) fail_timeout * 1000;
}
