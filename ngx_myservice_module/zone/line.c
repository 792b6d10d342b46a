
/* The waiting line of an upstream. */

#include "zone/line.h"


/* of the slab allocator: its header, and the pages of small sizes */
#define MS_LINE_PAGES  8


static ngx_int_t ms_zone_line_init(ngx_shm_zone_t *shm_zone, void *data);
static ngx_uint_t ms_zone_line_helps(ms_pool_t *pool, ms_pool_key_t *key,
    ngx_uint_t lost);


static ngx_uint_t  ms_zone_line_tag;


ngx_int_t
ms_zone_line_add(ngx_conf_t *cf, ms_zone_t *zone, ngx_uint_t length)
{
    size_t           size;
    ngx_str_t        name, *of;
    ngx_shm_zone_t  *shm_zone;

    of = &zone->shm_zone->shm.name;

    name.len = of->len + sizeof(".line") - 1;
    name.data = ngx_pnalloc(cf->pool, name.len);
    if (name.data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(name.data, "%V.line", of);

    /* a reload with another length keeps the line; what is not used costs no
     * memory */

    size = ms_line_size(MS_LINE_MAX);
    size = ngx_align(size + size / 64, ngx_pagesize)
           + MS_LINE_PAGES * ngx_pagesize;

    shm_zone = ngx_shared_memory_add(cf, &name, size, &ms_zone_line_tag);
    if (shm_zone == NULL) {
        return NGX_ERROR;
    }

    zone->places = length;

    shm_zone->init = ms_zone_line_init;
    shm_zone->data = zone;

    return NGX_OK;
}


static ngx_int_t
ms_zone_line_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ms_zone_t  *ozone = data;

    void             *mem;
    ms_zone_t        *zone;
    ngx_slab_pool_t  *shpool;

    zone = shm_zone->data;
    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (ozone || shm_zone->shm.exists) {
        zone->line = ozone ? ozone->line : shpool->data;
        return NGX_OK;
    }

    mem = ngx_slab_alloc(shpool, ms_line_size(MS_LINE_MAX));

    if (mem == NULL) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "zone could not be set up, zone=\"%V\"",
                      &shm_zone->shm.name);
        return NGX_ERROR;
    }

    zone->line = ms_line_create(mem, MS_LINE_MAX);
    shpool->data = zone->line;

    return NGX_OK;
}


/*
 * The session has no instance it can use, and one may become free: also one
 * that was left and is not yet up again, as after every Shutdown.
 */

static ngx_uint_t
ms_zone_line_helps(ms_pool_t *pool, ms_pool_key_t *key, ngx_uint_t lost)
{
    return (lost || ms_pool_session(pool, key, ngx_current_msec) == MS_POOL_NONE)
           && ms_pool_count(pool, MS_INSTANCE_FREE)
              + ms_pool_count(pool, MS_INSTANCE_TENTATIVE)
              + ms_pool_count(pool, MS_INSTANCE_LEASED)
              + ms_pool_count(pool, MS_INSTANCE_DRAINING)
              + ms_pool_count(pool, MS_INSTANCE_LEFT)
              > 0;
}


ngx_int_t
ms_zone_line_enter(ms_zone_t *zone, ms_pool_key_t *key, ms_pool_terms_t *terms,
    ngx_uint_t lost, ms_ticket_t *ticket, ngx_log_t *log)
{
    ngx_int_t    rc;
    ms_pool_t   *pool;
    ngx_uint_t   rebuilt;

    pool = ms_zone_lock(zone, &rebuilt);

    /* a call that has had a place goes on waiting, whatever happened since */

    if ((ticket->number == 0 && !ms_zone_line_helps(pool, key, lost))
        || ms_line_many(zone->line, pool, key, terms, ngx_current_msec))
    {
        rc = NGX_OK;

    } else {
        rc = ms_line_enter(zone->line, (uint32_t) zone->places, key, terms,
                           lost, (uint32_t) ngx_worker, ngx_current_msec,
                           ticket)
             == 0 ? NGX_AGAIN : NGX_DECLINED;
    }

    ms_zone_unlock(zone, rebuilt, log);

    return rc;
}


ms_turn_t
ms_zone_line_look(ms_zone_t *zone, ms_ticket_t *ticket, ngx_log_t *log)
{
    ms_turn_t    turn;
    ngx_uint_t   rebuilt;

    (void) ms_zone_lock(zone, &rebuilt);

    turn = ms_line_look(zone->line, ticket, ngx_current_msec);

    ms_zone_unlock(zone, rebuilt, log);

    return turn;
}


void
ms_zone_line_back(ms_zone_t *zone, const ms_ticket_t *ticket, ngx_log_t *log)
{
    ngx_uint_t   rebuilt;

    (void) ms_zone_lock(zone, &rebuilt);

    ms_line_back(zone->line, ticket);

    ms_zone_unlock(zone, rebuilt, log);
}


void
ms_zone_line_leave(ms_zone_t *zone, ms_ticket_t *ticket, ngx_log_t *log)
{
    ms_pool_t   *pool;
    ngx_uint_t   rebuilt;

    pool = ms_zone_lock(zone, &rebuilt);

    ms_line_leave(zone->line, pool, ticket, ngx_current_msec);

    ms_zone_unlock(zone, rebuilt, log);
}
