
/*
 * The ring of events.  nginx releases its mutex, that of the slab pool, when a
 * worker dies with it; an event that such a worker did not finish is left out.
 */

#include "zone/events.h"


typedef struct {
    ngx_atomic_t  last;                         /* the newest number */
    ms_event_t    events[MS_EVENTS];
} ms_events_t;


static ngx_int_t ms_events_init(ngx_shm_zone_t *shm_zone, void *data);
static uint16_t ms_events_text(u_char *to, size_t size,
    const ngx_str_t *text);
static ngx_uint_t ms_events_awaited(ms_events_t *ring, uint64_t id);


static const char *const  ms_event_names[MS_EVENT_KINDS] = {
    [MS_EVENT_LEASE_BEGAN] = "lease_began",
    [MS_EVENT_LEASE_ENDED] = "lease_ended",
    [MS_EVENT_UP] = "up",
    [MS_EVENT_DOWN] = "down",
    [MS_EVENT_DRAINS] = "drains",
    [MS_EVENT_DRAINS_NO_MORE] = "drains_no_more",
    [MS_EVENT_ADDED] = "added",
    [MS_EVENT_REMOVED] = "removed",
    [MS_EVENT_MOVES] = "moves"
};


static ngx_str_t  ms_events_name = ngx_string("ms_events");

/* of this process */
static ngx_slab_pool_t  *ms_events_pool;


ngx_shm_zone_t *
ms_events_zone(ngx_conf_t *cf, void *tag)
{
    size_t           size;
    ngx_shm_zone_t  *zone;

    /* and what the allocator itself needs */

    size = sizeof(ms_events_t) + 16 * ngx_pagesize;

    zone = ngx_shared_memory_add(cf, &ms_events_name,
                                 ngx_align(size, ngx_pagesize), tag);
    if (zone) {
        zone->init = ms_events_init;
    }

    return zone;
}


static ngx_int_t
ms_events_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_slab_pool_t  *shpool;

    if (data == NULL) {
        shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

        if (!shm_zone->shm.exists) {
            shpool->data = ngx_slab_calloc(shpool, sizeof(ms_events_t));
            if (shpool->data == NULL) {
                return NGX_ERROR;
            }
        }

        data = shpool;
    }

    shm_zone->data = data;

    return NGX_OK;
}


void
ms_events_open(ngx_cycle_t *cycle)
{
    ngx_uint_t        i;
    ngx_shm_zone_t   *zone;
    ngx_list_part_t  *part;

    ms_events_pool = NULL;

    for (part = &cycle->shared_memory.part; part; part = part->next) {
        zone = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (zone[i].init == ms_events_init) {
                ms_events_pool = zone[i].data;
                return;
            }
        }
    }
}


void
ms_events_add(ms_zone_t *zone, ms_event_kind_e kind, ngx_str_t *instance,
    ngx_str_t *session, const ngx_str_t *reason)
{
    ms_events_put(ms_events_take(), zone, kind, 0, instance, session, reason);
}


uint64_t
ms_events_take(void)
{
    uint64_t      id;
    ms_events_t  *ring;

    if (ms_events_pool == NULL) {
        return 0;
    }

    ring = ms_events_pool->data;
    id = ngx_atomic_fetch_add(&ring->last, 1) + 1;
    ring->events[id % MS_EVENTS].taken = ngx_current_msec;

    return id;
}


void
ms_events_put(uint64_t id, ms_zone_t *zone, ms_event_kind_e kind,
    ngx_uint_t count, const ngx_str_t *instance, const ngx_str_t *session,
    const ngx_str_t *reason)
{
    ngx_time_t   *now;
    ms_event_t   *event;
    ms_events_t  *ring;

    if (ms_events_pool == NULL || id == 0) {
        return;
    }

    now = ngx_timeofday();

    ngx_shmtx_lock(&ms_events_pool->mutex);

    ring = ms_events_pool->data;
    event = &ring->events[id % MS_EVENTS];

    /* a thousand others may have come meanwhile */

    if (event->id < id) {
        event->id = 0;
        ngx_memory_barrier();

        event->time = (uint64_t) now->sec * 1000 + now->msec;
        event->kind = kind;
        event->count = (uint32_t) count;
        event->upstream_len = ms_events_text(event->upstream, MS_EVENT_TEXT,
                                             &zone->upstream->host);
        event->reason_len = ms_events_text(event->reason, MS_EVENT_TEXT,
                                           reason);
        event->instance_len = ms_events_text(event->instance,
                                             MS_POOL_NAME_MAX, instance);
        event->session_len = ms_events_text(event->session,
                                            MS_POOL_SESSION_MAX, session);

        ngx_memory_barrier();
        event->id = id;
    }

    ngx_shmtx_unlock(&ms_events_pool->mutex);
}


static uint16_t
ms_events_text(u_char *to, size_t size, const ngx_str_t *text)
{
    size_t  len;

    if (text == NULL) {
        return 0;
    }

    len = ngx_min(text->len, size);
    ngx_memcpy(to, text->data, len);

    return (uint16_t) len;
}


uint64_t
ms_events_last(void)
{
    ms_events_t  *ring;

    if (ms_events_pool == NULL) {
        return 0;
    }

    ring = ms_events_pool->data;

    return ring->last;
}


ngx_uint_t
ms_events_ready(uint64_t after)
{
    uint64_t      last;
    ms_events_t  *ring;

    if (ms_events_pool == NULL) {
        return 0;
    }

    ring = ms_events_pool->data;
    last = ring->last;

    return after < last
           && (last - after > MS_EVENTS || !ms_events_awaited(ring, after + 1));
}


/* a worker is about to write the event down */

static ngx_uint_t
ms_events_awaited(ms_events_t *ring, uint64_t id)
{
    ms_event_t  *event;

    event = &ring->events[id % MS_EVENTS];

    return event->id < id
           && (ngx_msec_int_t) (ngx_current_msec - event->taken)
              < MS_EVENT_LATE;
}


ngx_uint_t
ms_events_copy(uint64_t *after, ms_event_t *events, ngx_uint_t n)
{
    uint64_t      last;
    ngx_uint_t    copied;
    ms_event_t   *event;
    ms_events_t  *ring;

    if (ms_events_pool == NULL) {
        return 0;
    }

    copied = 0;

    ngx_shmtx_lock(&ms_events_pool->mutex);

    ring = ms_events_pool->data;
    last = ring->last;

    if (last > MS_EVENTS && *after < last - MS_EVENTS) {
        *after = last - MS_EVENTS;
    }

    while (copied < n && *after < last
           && !ms_events_awaited(ring, *after + 1))
    {
        (*after)++;
        event = &ring->events[*after % MS_EVENTS];

        if (event->id == *after) {
            events[copied++] = *event;
        }
    }

    ngx_shmtx_unlock(&ms_events_pool->mutex);

    return copied;
}


ngx_int_t
ms_events_find(ms_zone_t *zone, ms_event_kind_e kind, ngx_str_t *instance,
    ms_event_t *event)
{
    uint64_t      last;
    ngx_int_t     rc;
    ngx_str_t    *host;
    ngx_uint_t    i, len;
    ms_event_t   *one;
    ms_events_t  *ring;

    if (ms_events_pool == NULL) {
        return NGX_DECLINED;
    }

    rc = NGX_DECLINED;
    host = &zone->upstream->host;
    len = ngx_min(host->len, MS_EVENT_TEXT);

    ngx_shmtx_lock(&ms_events_pool->mutex);

    ring = ms_events_pool->data;
    last = ring->last;

    for (i = 0; i < MS_EVENTS && i < last; i++) {
        one = &ring->events[(last - i) % MS_EVENTS];

        if (one->id == last - i && one->kind == kind
            && one->instance_len == instance->len
            && ngx_memcmp(one->instance, instance->data, instance->len) == 0
            && one->upstream_len == len
            && ngx_memcmp(one->upstream, host->data, len) == 0)
        {
            *event = *one;
            rc = NGX_OK;
            break;
        }
    }

    ngx_shmtx_unlock(&ms_events_pool->mutex);

    return rc;
}


const char *
ms_event_name(ms_event_kind_e kind)
{
    return ms_event_names[kind];
}
