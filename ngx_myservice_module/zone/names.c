
/*
 * Members that come from names.  Each name has a slot in shared memory, with
 * its state and a bit among the sources of its members.
 */

#include "zone/names.h"

#include "zone/lock.h"
#include "zone/members.h"


ngx_int_t
ms_names_resolved(ms_zone_t *zone, ngx_uint_t n, ngx_addr_t *addrs,
    ngx_uint_t naddrs, ngx_uint_t partial, ms_change_t *change, ngx_log_t *log)
{
    uint16_t    source;
    ms_pool_t  *pool;
    ngx_uint_t  i, fresh, rebuilt;
    ms_name_t  *name;
    ms_slot_t  *slot;

    name = zone->names[n];
    ngx_memzero(change, sizeof(ms_change_t));

    pool = ms_zone_lock(zone, &rebuilt);

    slot = ms_slot_find(zone, name->id);

    if (slot == NULL) {
        ms_zone_unlock(zone, rebuilt, log);
        return NGX_DECLINED;
    }

    source = ms_slot_source(zone, slot);

    ms_members_unmark_locked(zone, pool);

    if (!partial) {

        /* members that leave make room */

        for (i = 0; i < naddrs; i++) {
            ms_members_mark_locked(zone, pool, &addrs[i], 0);
        }

        change->left = ms_members_sweep_locked(zone, pool,
                                               source, 0, name->drop);
    }

    for (i = 0; i < naddrs; i++) {

        if (ms_members_join_locked(zone, pool, &addrs[i],
                                   source, name->fail_timeout,
                                   &fresh)
            == MS_POOL_NONE)
        {
            change->refused++;
            continue;
        }

        change->joined += fresh;
    }

    for (i = 0; i < ms_pool_limit(pool); i++) {
        change->members += (zone->sh->sources[i] & source) ? 1 : 0;
    }

    change->again = slot->state != NGX_OK;

    slot->members = (uint32_t) change->members;
    slot->answers++;
    slot->answered = ngx_current_msec;
    slot->state = NGX_OK;
    slot->known = 1;

    ms_names_ready_locked(zone, pool);

    ms_zone_unlock(zone, rebuilt, log);

    if (change->refused) {
        ms_zone_full(zone, MS_FULL_MEMBERS, log);
    }

    return NGX_OK;
}


ngx_int_t
ms_names_unresolved(ms_zone_t *zone, ngx_uint_t n, ngx_int_t state,
    ngx_log_t *log)
{
    ms_pool_t  *pool;
    ngx_int_t   last;
    ngx_uint_t  rebuilt;
    ms_slot_t  *slot;

    last = state;

    pool = ms_zone_lock(zone, &rebuilt);

    slot = ms_slot_find(zone, zone->names[n]->id);

    if (slot) {
        last = slot->state;

        slot->failures++;
        slot->state = state;

        if (state == NGX_RESOLVE_NXDOMAIN) {
            slot->known = 1;
        }

        ms_names_ready_locked(zone, pool);
    }

    ms_zone_unlock(zone, rebuilt, log);

    return last;
}


void
ms_names_state(ms_zone_t *zone, ngx_uint_t n, ms_slot_t *slot, ngx_log_t *log)
{
    ngx_uint_t  rebuilt;
    ms_slot_t  *shared;

    ngx_memzero(slot, sizeof(ms_slot_t));

    (void) ms_zone_lock(zone, &rebuilt);

    shared = ms_slot_find(zone, zone->names[n]->id);

    if (shared) {
        *slot = *shared;
    }

    ms_zone_unlock(zone, rebuilt, log);
}


void
ms_names_sync_locked(ms_zone_t *zone, ms_pool_t *pool)
{
    ngx_uint_t  i, j;
    ms_slot_t  *slot;

    for (i = 0; i < MS_NAMES; i++) {
        slot = &zone->sh->lookup.slots[i];

        for (j = 0; j < zone->nnames; j++) {
            if (zone->names[j]->id == slot->id) {
                break;
            }
        }

        if (slot->id == 0 || j < zone->nnames) {
            continue;
        }

        (void) ms_members_sweep_locked(zone, pool, ms_slot_source(zone, slot),
                                       1, slot->drop);

        ngx_memzero(slot, sizeof(ms_slot_t));
    }

    for (j = 0; j < zone->nnames; j++) {
        slot = ms_slot_find(zone, zone->names[j]->id);

        if (slot == NULL) {

            /* never NULL: a configuration with more names is refused */

            slot = ms_slot_find(zone, 0);
            slot->id = zone->names[j]->id;
        }

        slot->drop = zone->names[j]->drop;
    }
}


/*
 * After a cold start calls wait until each name server has answered or was
 * asked twice, and while there is no member and a name without an answer.
 */

void
ms_names_ready_locked(ms_zone_t *zone, ms_pool_t *pool)
{
    ngx_uint_t    i, wait, untried, unknown;
    ms_slot_t    *slot;
    ms_lookup_t  *lookup;

    lookup = &zone->sh->lookup;
    untried = 0;
    unknown = 0;

    for (i = 0; i < MS_NAMES; i++) {
        slot = &lookup->slots[i];

        if (slot->id) {
            unknown |= !slot->known;
            untried |= !slot->known && slot->failures < MS_NAME_TRIES;
        }
    }

    if (!untried) {
        lookup->tried = 1;
    }

    wait = ms_members_count_locked(zone, pool)
           ? untried && !lookup->tried : unknown;

    if (!wait && !lookup->ready) {
        lookup->ready_since = ngx_current_msec;
    }

    lookup->ready = !wait;
}
