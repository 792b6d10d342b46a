
/* The waiting line of an upstream. */

#include "zone/line.h"

#include "zone/part.h"


static ngx_int_t ms_zone_line_init(ngx_shm_zone_t *shm_zone, void *data);
static ngx_uint_t ms_zone_line_helps(ms_pool_t *pool, ms_pool_key_t *key,
    ngx_uint_t lost);


static ngx_uint_t  ms_zone_line_tag;


ngx_int_t
ms_zone_line_add(ngx_conf_t *cf, ms_zone_t *zone, ngx_uint_t length)
{
    ngx_shm_zone_t  *shm_zone;

    static ngx_str_t  of = ngx_string(".line");

    /* a reload with another length keeps the line; what is not used costs no
     * memory */

    shm_zone = ms_zone_part_add(cf, zone, &of, ms_line_size(MS_LINE_MAX),
                                &ms_zone_line_tag);
    if (shm_zone == NULL) {
        return NGX_ERROR;
    }

    zone->places = length;

    shm_zone->init = ms_zone_line_init;

    return NGX_OK;
}


static ngx_int_t
ms_zone_line_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ms_zone_t  *ozone = data;

    void       *mem;
    ms_zone_t  *zone;

    zone = shm_zone->data;

    if (ozone || shm_zone->shm.exists) {
        zone->line = ozone ? ozone->line
                     : ((ngx_slab_pool_t *) shm_zone->shm.addr)->data;
        return NGX_OK;
    }

    mem = ms_zone_part_create(shm_zone, ms_line_size(MS_LINE_MAX));
    if (mem == NULL) {
        return NGX_ERROR;
    }

    zone->line = ms_line_create(mem, MS_LINE_MAX);

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
