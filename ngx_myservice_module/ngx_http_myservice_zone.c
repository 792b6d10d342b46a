
#include "ngx_http_myservice_zone_internal.h"

#include "ngx_http_myservice_names.h"

#include <openssl/rand.h>


#define NGX_HTTP_MYSERVICE_FULL_INTERVAL  60000
#define NGX_HTTP_MYSERVICE_DUTY           3000


static ngx_int_t ngx_http_myservice_zone_init(ngx_shm_zone_t *shm_zone,
    void *data);
static ngx_int_t ngx_http_myservice_zone_check_size(
    ngx_http_myservice_zone_t *zone);
static void ngx_http_myservice_zone_copy(ngx_http_myservice_member_t *member,
    ms_instance_info_t *info, uint64_t now);


ngx_http_myservice_zone_t *
ngx_http_myservice_zone_add(ngx_conf_t *cf, ngx_str_t *name, ssize_t size,
    void *tag)
{
    ngx_shm_zone_t             *shm_zone;
    ngx_http_myservice_zone_t  *zone;

    zone = ngx_pcalloc(cf->pool, sizeof(ngx_http_myservice_zone_t));
    if (zone == NULL) {
        return NULL;
    }

    shm_zone = ngx_shared_memory_add(cf, name, size, tag);
    if (shm_zone == NULL) {
        return NULL;
    }

    if (shm_zone->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is already used by another upstream",
                           name);
        return NULL;
    }

    shm_zone->init = ngx_http_myservice_zone_init;
    shm_zone->data = zone;
    zone->shm_zone = shm_zone;

    return zone;
}


static ngx_int_t
ngx_http_myservice_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_myservice_zone_t  *ozone = data;

    void                         *mem;
    size_t                        len, size, part;
    u_char                        key[16];
    ngx_slab_pool_t              *shpool;
    ngx_http_myservice_zone_t    *zone;
    ngx_http_myservice_shared_t  *sh;

    zone = shm_zone->data;
    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;
    zone->shpool = shpool;

    if (ozone || shm_zone->shm.exists) {
        zone->sh = ozone ? ozone->sh : shpool->data;

        if (zone->sh->layout != NGX_HTTP_MYSERVICE_LAYOUT) {
            ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                          "zone \"%V\" was made by another version of the "
                          "module, restart nginx instead of reloading it",
                          &shm_zone->shm.name);
            return NGX_ERROR;
        }

        return ngx_http_myservice_zone_check_size(zone);
    }

    len = sizeof(" in myservice zone \"\"") + shm_zone->shm.name.len;

    shpool->log_ctx = ngx_slab_alloc(shpool, len);
    sh = ngx_slab_calloc(shpool, sizeof(ngx_http_myservice_shared_t));

    if (shpool->log_ctx == NULL || sh == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(shpool->log_ctx, " in myservice zone \"%V\"%Z",
                &shm_zone->shm.name);

    /* all the rest of the zone is the pool's, but two bytes per instance */

    size = shpool->pfree * ngx_pagesize;
    mem = size ? ngx_slab_alloc(shpool, size) : NULL;

    if (mem == NULL || RAND_bytes(key, sizeof(key)) != 1) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "could not set up zone \"%V\"", &shm_zone->shm.name);
        return NGX_ERROR;
    }

    part = (size - size / 129) & ~(size_t) 7;

    sh->pool = ms_pool_create(mem, part, key);
    sh->capacity = ms_pool_capacity(part);
    sh->sources = (uint16_t *) ((u_char *) mem + part);
    sh->layout = NGX_HTTP_MYSERVICE_LAYOUT;

    ngx_explicit_memzero(key, sizeof(key));

    shpool->data = sh;
    zone->sh = sh;

    return ngx_http_myservice_zone_check_size(zone);
}


static ngx_int_t
ngx_http_myservice_zone_check_size(ngx_http_myservice_zone_t *zone)
{
    size_t                       need;
    ngx_uint_t                   i, n;
    ngx_shm_zone_t              *shm_zone;
    ngx_http_upstream_server_t  *server;

    n = zone->nnames * NGX_HTTP_MYSERVICE_NAME_ROOM;
    server = zone->upstream->servers->elts;

    for (i = 0; i < zone->upstream->servers->nelts; i++) {
        n += server[i].naddrs;
    }

    if (n <= zone->sh->capacity) {
        return NGX_OK;
    }

    shm_zone = zone->shm_zone;

    /* the slab pool's own header, page table and first pages */

    need = ms_pool_size(n);
    need += need / 64 + 8 * ngx_pagesize;

    ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                  "zone \"%V\" of %uzk has room for %uD instances, upstream "
                  "\"%V\" has %ui%s: it needs at least %uzk",
                  &shm_zone->shm.name, shm_zone->shm.size / 1024,
                  zone->sh->capacity, &zone->upstream->host, n,
                  zone->nnames ? ", resolved names counted as 32" : "",
                  need / 1024 + 1);

    return NGX_ERROR;
}


ms_pool_t *
ngx_http_myservice_zone_lock(ngx_http_myservice_zone_t *zone,
    ngx_uint_t *rebuilt)
{
    ngx_shmtx_lock(&zone->shpool->mutex);

    *rebuilt = ms_pool_enter(zone->sh->pool, ngx_current_msec);

    return zone->sh->pool;
}


void
ngx_http_myservice_zone_unlock(ngx_http_myservice_zone_t *zone,
    ngx_uint_t rebuilt, ngx_log_t *log)
{
    uint64_t  alerts;

    alerts = ms_pool_alerts(zone->sh->pool) - zone->sh->alerts;
    zone->sh->alerts += alerts;

    ngx_shmtx_unlock(&zone->shpool->mutex);

    if (rebuilt) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "a worker died while it changed zone \"%V\", its "
                      "indexes were rebuilt", &zone->shm_zone->shm.name);
    }

    if (alerts) {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "%uL illegal state changes in zone \"%V\"", alerts,
                      &zone->shm_zone->shm.name);
    }
}


ngx_http_myservice_watch_t *
ngx_http_myservice_zone_watch(ngx_http_myservice_zone_t *zone)
{
    return &zone->sh->watch;
}


ngx_http_myservice_lookup_t *
ngx_http_myservice_zone_lookup(ngx_http_myservice_zone_t *zone)
{
    return &zone->sh->lookup;
}


ngx_uint_t
ngx_http_myservice_zone_duty(ngx_http_myservice_zone_t *zone,
    ngx_http_myservice_duty_t *duty)
{
    ngx_pid_t   pid, dead;
    ngx_uint_t  mine, rebuilt;

    pid = duty->pid;
    dead = (pid && pid != ngx_pid && kill(pid, 0) == -1
            && ngx_errno == NGX_ESRCH) ? pid : -1;

    (void) ngx_http_myservice_zone_lock(zone, &rebuilt);

    mine = duty->pid == ngx_pid || duty->pid == 0 || duty->pid == dead
           || (ngx_msec_int_t) (duty->deadline - ngx_current_msec) < 0;

    if (mine) {
        duty->pid = ngx_pid;
        duty->deadline = ngx_current_msec + NGX_HTTP_MYSERVICE_DUTY;
    }

    ngx_http_myservice_zone_unlock(zone, rebuilt, ngx_cycle->log);

    return mine;
}


void
ngx_http_myservice_zone_leave(ngx_http_myservice_zone_t *zone,
    ngx_http_myservice_duty_t *duty)
{
    ngx_uint_t  rebuilt;

    if (duty->pid != ngx_pid) {
        return;
    }

    (void) ngx_http_myservice_zone_lock(zone, &rebuilt);

    if (duty->pid == ngx_pid) {
        duty->pid = 0;
    }

    ngx_http_myservice_zone_unlock(zone, rebuilt, ngx_cycle->log);
}


void
ngx_http_myservice_zone_key(ngx_http_myservice_zone_t *zone,
    ngx_str_t *session, ms_pool_key_t *key)
{
    ms_pool_key(zone->sh->pool, session->data, session->len, key);
}


ms_claim_t
ngx_http_myservice_zone_claim(ngx_http_myservice_zone_t *zone,
    ms_pool_key_t *key, ms_pool_terms_t *terms, ms_pool_seek_t *seek,
    ngx_http_myservice_grant_t *grant, ngx_log_t *log)
{
    ms_pool_t           *pool;
    ms_claim_t           claim;
    ngx_uint_t           rebuilt;
    ms_instance_info_t   info;

    pool = ngx_http_myservice_zone_lock(zone, &rebuilt);

    claim = ms_pool_claim(pool, key, terms, seek, ngx_current_msec,
                          &grant->lease);

    if (claim < MS_CLAIM_BUSY) {
        ms_pool_address(pool, grant->lease.instance, &info);

        ngx_memcpy(grant->name_buf, info.name, info.name_len);
        grant->name.data = grant->name_buf;
        grant->name.len = info.name_len;

        ngx_memcpy(&grant->sockaddr, info.addr, info.addr_len);
        grant->socklen = (socklen_t) info.addr_len;

        if (info.addr_len == 0) {

            /* a process died while it changed the address */

            ms_pool_fail(pool, &grant->lease, ngx_current_msec);
            claim = MS_CLAIM_UNAVAILABLE;
        }
    }

    zone->sh->decisions[claim]++;

    ngx_http_myservice_zone_unlock(zone, rebuilt, log);

    if (claim == MS_CLAIM_FULL) {
        ngx_http_myservice_zone_full(zone, NGX_HTTP_MYSERVICE_FULL_SESSIONS,
                                     log);
    }

    return claim;
}


void
ngx_http_myservice_zone_full(ngx_http_myservice_zone_t *zone, ngx_uint_t kind,
    ngx_log_t *log)
{
    ngx_uint_t   due;
    ngx_msec_t  *full;

    static const char  *what[] = {
        "another long session id, new sessions are refused",
        "another instance, some of those that were resolved are not used"
    };

    full = &zone->sh->full[kind];

    ngx_shmtx_lock(&zone->shpool->mutex);

    due = *full == 0
          || ngx_current_msec - *full >= NGX_HTTP_MYSERVICE_FULL_INTERVAL;

    if (due) {
        *full = ngx_current_msec;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    if (due) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "zone \"%V\" has no room for %s: make it larger",
                      &zone->shm_zone->shm.name, what[kind]);
    }
}


ngx_int_t
ngx_http_myservice_zone_touch(ngx_http_myservice_zone_t *zone,
    ms_lease_t *lease, ngx_log_t *log)
{
    int          rc;
    ms_pool_t   *pool;
    ngx_uint_t   rebuilt;

    pool = ngx_http_myservice_zone_lock(zone, &rebuilt);

    rc = ms_pool_touch(pool, lease, ngx_current_msec);

    ngx_http_myservice_zone_unlock(zone, rebuilt, log);

    return rc == 0 ? NGX_OK : NGX_DECLINED;
}


void
ngx_http_myservice_zone_settle(ngx_http_myservice_zone_t *zone,
    ms_lease_t *lease, ngx_http_myservice_lease_pt settle, ngx_log_t *log)
{
    ms_pool_t   *pool;
    ngx_uint_t   rebuilt;

    pool = ngx_http_myservice_zone_lock(zone, &rebuilt);

    settle(pool, lease, ngx_current_msec);

    ngx_http_myservice_zone_unlock(zone, rebuilt, log);
}


void
ngx_http_myservice_zone_conflict(ngx_http_myservice_zone_t *zone,
    ms_lease_t *lease, ngx_str_t *owner, ms_pool_terms_t *terms,
    ngx_log_t *log)
{
    ms_pool_t   *pool;
    ngx_uint_t   rebuilt;

    pool = ngx_http_myservice_zone_lock(zone, &rebuilt);

    ms_pool_conflict(pool, lease, owner->data, owner->len, terms,
                     ngx_current_msec);

    ngx_http_myservice_zone_unlock(zone, rebuilt, log);
}


void
ngx_http_myservice_zone_stats(ngx_http_myservice_zone_t *zone,
    ngx_http_myservice_zone_stats_t *stats, ngx_log_t *log)
{
    ms_pool_t   *pool;
    ngx_uint_t   i, rebuilt;

    pool = ngx_http_myservice_zone_lock(zone, &rebuilt);

    stats->capacity = zone->sh->capacity;
    stats->limit = ms_pool_limit(pool);

    for (i = 0; i < MS_INSTANCE_STATES; i++) {
        stats->states[i] = ms_pool_count(pool, i);
    }

    ngx_memcpy(stats->decisions, zone->sh->decisions,
               sizeof(stats->decisions));

    ngx_http_myservice_zone_unlock(zone, rebuilt, log);
}


ngx_uint_t
ngx_http_myservice_zone_snapshot(ngx_http_myservice_zone_t *zone,
    uint32_t *from, ngx_http_myservice_member_t *members, ngx_uint_t n,
    ngx_log_t *log)
{
    uint32_t             limit;
    ms_pool_t           *pool;
    ngx_uint_t           copied, rebuilt;
    ms_instance_info_t   info;

    copied = 0;
    pool = ngx_http_myservice_zone_lock(zone, &rebuilt);
    limit = ms_pool_limit(pool);

    while (n-- && *from < limit) {
        ms_pool_info(pool, *from, &info);

        if (info.state != MS_INSTANCE_UNUSED) {
            members[copied].names =
                        ngx_http_myservice_names_of_locked(zone, *from);

            ngx_http_myservice_zone_copy(&members[copied++], &info,
                                         ngx_current_msec);
        }

        (*from)++;
    }

    ngx_http_myservice_zone_unlock(zone, rebuilt, log);

    return copied;
}


static void
ngx_http_myservice_zone_copy(ngx_http_myservice_member_t *member,
    ms_instance_info_t *info, uint64_t now)
{
    member->state = info->state;
    member->drain = info->drain;
    member->removed = info->removed;
    member->foreign = info->foreign;
    member->leased = info->lease != 0;
    member->health = info->health;
    member->failures = info->failures;

    /* other workers go on while this one has its time */

    member->age = now > info->started ? now - info->started : 0;
    member->idle = now > info->used ? now - info->used : 0;
    member->remaining = info->expires > now ? info->expires - now : 0;
    member->retry = info->retry > now ? info->retry - now : 0;

    member->name.data = member->name_buf;
    member->name.len = info->name_len;
    ngx_memcpy(member->name_buf, info->name, info->name_len);

    member->session.data = member->session_buf;
    member->session.len = info->session_len;

    if (info->session_len) {
        ngx_memcpy(member->session_buf, info->session, info->session_len);
    }
}
