
/*
 * The ring of events.  nginx releases its mutex, that of the slab pool, when a
 * worker dies with it; an event that such a worker did not finish has no
 * number and is left out.
 */

#include "zone/events.h"


typedef struct {
    uint64_t    last;                           /* the newest number */
    ms_event_t  events[MS_EVENTS];
} ms_events_t;


static ngx_int_t ms_events_init(ngx_shm_zone_t *shm_zone, void *data);
static uint16_t ms_events_text(u_char *to, size_t size,
    const ngx_str_t *text);


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

/* of this worker */
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
ms_events_open(ngx_shm_zone_t *zone)
{
    ms_events_pool = zone ? zone->data : NULL;
}


void
ms_events_add(ms_zone_t *zone, ms_event_kind_e kind, ngx_str_t *instance,
    ngx_str_t *session, const ngx_str_t *reason)
{
    ngx_str_t    *host;
    ngx_time_t   *now;
    ms_event_t   *event;
    ms_events_t  *ring;

    if (ms_events_pool == NULL) {
        return;
    }

    now = ngx_timeofday();
    host = &zone->upstream->host;

    ngx_shmtx_lock(&ms_events_pool->mutex);

    ring = ms_events_pool->data;
    event = &ring->events[(ring->last + 1) % MS_EVENTS];

    event->id = 0;
    ngx_memory_barrier();

    event->time = (uint64_t) now->sec * 1000 + now->msec;
    event->kind = kind;
    event->upstream_len = ms_events_text(event->upstream, MS_EVENT_TEXT, host);
    event->reason_len = ms_events_text(event->reason, MS_EVENT_TEXT, reason);
    event->instance_len = ms_events_text(event->instance, MS_POOL_NAME_MAX,
                                         instance);
    event->session_len = ms_events_text(event->session, MS_POOL_SESSION_MAX,
                                        session);

    ngx_memory_barrier();
    event->id = ring->last + 1;
    ring->last++;

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
ms_events_copy(uint64_t after, ms_event_t *events, ngx_uint_t n)
{
    ngx_uint_t    copied;
    ms_event_t   *event;
    ms_events_t  *ring;

    if (ms_events_pool == NULL) {
        return 0;
    }

    copied = 0;

    ngx_shmtx_lock(&ms_events_pool->mutex);

    ring = ms_events_pool->data;

    if (ring->last > MS_EVENTS && after < ring->last - MS_EVENTS) {
        after = ring->last - MS_EVENTS;
    }

    while (copied < n && after < ring->last) {
        after++;
        event = &ring->events[after % MS_EVENTS];

        if (event->id == after) {
            events[copied++] = *event;
        }
    }

    ngx_shmtx_unlock(&ms_events_pool->mutex);

    return copied;
}


const char *
ms_event_name(ms_event_kind_e kind)
{
    return ms_event_names[kind];
}
