
/*
 * The members of a zone and their sources: the bits that say why each is one.
 * What stays keeps its lease.
 */

#include "zone/members.h"

#include "zone/lock.h"


/* seconds: fail_timeout of one that no source has */
#define MS_MEMBERS_GUEST  10


static void ms_members_note(ms_event_kind_e kind, const char *name, size_t len,
    uint16_t source);
static uint64_t ms_members_retry_time(ms_zone_t *zone, time_t fail_timeout);


void
ms_members_unmark_locked(ms_zone_t *zone, ms_pool_t *pool)
{
    uint32_t  i;

    for (i = 0; i < ms_pool_limit(pool); i++) {
        zone->sh->sources[i] &= ~MS_SOURCE_SEEN;
    }
}


void
ms_members_mark_locked(ms_zone_t *zone, ms_pool_t *pool, ngx_addr_t *addr,
    uint16_t source)
{
    uint32_t  instance;

    instance = ms_pool_find(pool, (char *) addr->name.data, addr->name.len);

    if (instance != MS_POOL_NONE) {
        zone->sh->sources[instance] |= source | MS_SOURCE_SEEN;
    }
}


ngx_uint_t
ms_members_sweep_locked(ms_zone_t *zone, ms_pool_t *pool, uint16_t source,
    ngx_uint_t gone, ngx_uint_t drop)
{
    uint32_t             i;
    uint16_t            *sources;
    ngx_uint_t           left, was;
    ms_instance_info_t   info;

    left = 0;
    sources = zone->sh->sources;

    for (i = 0; i < ms_pool_limit(pool); i++) {

        if ((sources[i] & MS_SOURCE_SEEN) && !gone) {
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

        if (!(sources[i] & ~MS_SOURCE_SEEN)) {

            if (!info.removed) {
                ms_members_note(MS_EVENT_REMOVED, info.name, info.name_len,
                                source);
                ms_pool_remove(pool, i, was && drop, ngx_current_msec);
            }

        } else if (was && !info.held && source == MS_SOURCE_SERVER) {

            /* "down" was a property of the server */

            ms_pool_undrain(pool, i, ngx_current_msec);
        }
    }

    return left;
}


uint32_t
ms_members_join_locked(ms_zone_t *zone, ms_pool_t *pool, ngx_addr_t *addr,
    uint16_t source, time_t fail_timeout, ngx_uint_t *fresh)
{
    uint32_t             instance;
    uint16_t            *sources;
    ngx_uint_t           known;
    ms_instance_info_t   info;

    sources = zone->sh->sources;
    instance = ms_pool_find(pool, (char *) addr->name.data, addr->name.len);
    known = instance != MS_POOL_NONE;
    info.removed = 0;

    if (known) {
        ms_pool_info(pool, instance, &info);
    }

    *fresh = !known || !(sources[instance] & source);

    if (known && source != MS_SOURCE_SERVER
        && (sources[instance]
            & ~(source | MS_SOURCE_SEEN)))
    {
        /* the first source sets fail_timeout, but a server outdoes names */

        sources[instance] |= source;
        return instance;
    }

    instance = ms_pool_add(pool, (char *) addr->name.data, addr->name.len,
                           addr->sockaddr, addr->socklen,
                           ms_members_retry_time(zone, fail_timeout),
                           ngx_current_msec);

    if (instance == MS_POOL_NONE) {
        return MS_POOL_NONE;
    }

    /* those that a gateway begins with are no change */

    if ((!known || info.removed)
        && (zone->sh->lookup.tried || source == MS_SOURCE_OPERATOR))
    {
        ms_members_note(MS_EVENT_ADDED, (char *) addr->name.data,
                        addr->name.len, source);
    }

    if (known) {
        sources[instance] |= source;
        return instance;
    }

    sources[instance] = source;
    zone->sh->rounds.joined++;

    if (zone->mandatory) {
        ms_pool_await(pool, instance, ngx_current_msec);
    }

    return instance;
}


uint32_t
ms_members_guest_locked(ms_zone_t *zone, ms_pool_t *pool, ngx_addr_t *addr)
{
    uint32_t  instance;

    instance = ms_pool_add(pool, (char *) addr->name.data, addr->name.len,
                           addr->sockaddr, addr->socklen,
                           ms_members_retry_time(zone, MS_MEMBERS_GUEST),
                           ngx_current_msec);

    if (instance != MS_POOL_NONE) {
        zone->sh->sources[instance] = 0;
        zone->sh->rounds.joined++;
    }

    return instance;
}


/* the reason of the event is what status calls the source */

static void
ms_members_note(ms_event_kind_e kind, const char *name, size_t len,
    uint16_t source)
{
    ngx_str_t  instance;

    instance.data = (u_char *) name;
    instance.len = len;

    ms_zone_note(kind, &instance, NULL,
                 source == MS_SOURCE_SERVER ? "server"
                 : source == MS_SOURCE_OPERATOR ? "operator" : "name");
}


ngx_uint_t
ms_members_count_locked(ms_zone_t *zone, ms_pool_t *pool)
{
    return zone->sh->capacity - ms_pool_count(pool, MS_INSTANCE_UNUSED);
}


void
ms_members_retry_locked(ms_zone_t *zone, ms_pool_t *pool)
{
    uint32_t            i, names;
    ngx_uint_t          j;
    ms_instance_info_t  info;

    for (i = 0; i < ms_pool_limit(pool); i++) {
        ms_pool_info(pool, i, &info);

        if (info.state == MS_INSTANCE_UNUSED || info.removed
            || (zone->sh->sources[i] & MS_SOURCE_SERVER))
        {
            continue;
        }

        names = ms_slot_names(zone, i);

        for (j = 0; j < zone->nnames && !(names & (1 << j)); j++) {
            /* void */
        }

        if (j == zone->nnames) {
            continue;
        }

        (void) ms_pool_add(pool, info.name, info.name_len, info.addr,
                           info.addr_len,
                           ms_members_retry_time(zone,
                                                 zone->names[j]->fail_timeout),
                           ngx_current_msec);
    }
}


static uint64_t
ms_members_retry_time(ms_zone_t *zone, time_t fail_timeout)
{
    return zone->health ? MS_POOL_NEVER : (uint64_t) fail_timeout * 1000;
}
