
#include "ngx_http_myservice_names.h"

#include "ngx_http_myservice_zone_internal.h"


static ngx_http_myservice_slot_t *ngx_http_myservice_names_slot(
    ngx_http_myservice_zone_t *zone, uint64_t id);


#define ngx_http_myservice_names_source(zone, slot)                           \
    (uint16_t) (NGX_HTTP_MYSERVICE_SOURCE_NAME                                \
                << ((slot) - (zone)->sh->lookup.slots))


ngx_int_t
ngx_http_myservice_names_resolved(ngx_http_myservice_zone_t *zone,
    ngx_uint_t n, ngx_addr_t *addrs, ngx_uint_t naddrs, ngx_uint_t partial,
    ngx_http_myservice_change_t *change, ngx_log_t *log)
{
    uint16_t                    source;
    ms_pool_t                  *pool;
    ngx_uint_t                  i, fresh, rebuilt;
    ngx_http_myservice_name_t  *name;
    ngx_http_myservice_slot_t  *slot;

    name = zone->names[n];
    ngx_memzero(change, sizeof(ngx_http_myservice_change_t));

    pool = ngx_http_myservice_zone_lock(zone, &rebuilt);

    slot = ngx_http_myservice_names_slot(zone, name->id);

    if (slot == NULL) {
        ngx_http_myservice_zone_unlock(zone, rebuilt, log);
        return NGX_DECLINED;
    }

    source = ngx_http_myservice_names_source(zone, slot);

    ngx_http_myservice_members_begin_locked(zone, pool);

    if (!partial) {

        /* who leaves makes room */

        for (i = 0; i < naddrs; i++) {
            ngx_http_myservice_members_mark_locked(zone, pool, &addrs[i], 0);
        }

        change->left = ngx_http_myservice_members_sweep_locked(zone, pool,
                                                      source, 0, name->drop);
    }

    for (i = 0; i < naddrs; i++) {

        if (ngx_http_myservice_members_join_locked(zone, pool, &addrs[i],
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
    slot->heard = 1;

    ngx_http_myservice_names_settle_locked(zone, pool);

    ngx_http_myservice_zone_unlock(zone, rebuilt, log);

    if (change->refused) {
        ngx_http_myservice_zone_full(zone, NGX_HTTP_MYSERVICE_FULL_MEMBERS,
                                     log);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_myservice_names_unresolved(ngx_http_myservice_zone_t *zone,
    ngx_uint_t n, ngx_int_t state, ngx_log_t *log)
{
    ms_pool_t                  *pool;
    ngx_int_t                   last;
    ngx_uint_t                  rebuilt;
    ngx_http_myservice_slot_t  *slot;

    last = state;

    pool = ngx_http_myservice_zone_lock(zone, &rebuilt);

    slot = ngx_http_myservice_names_slot(zone, zone->names[n]->id);

    if (slot) {
        last = slot->state;

        slot->failures++;
        slot->state = state;

        if (state == NGX_RESOLVE_NXDOMAIN) {
            slot->heard = 1;
        }

        ngx_http_myservice_names_settle_locked(zone, pool);
    }

    ngx_http_myservice_zone_unlock(zone, rebuilt, log);

    return last;
}


void
ngx_http_myservice_names_state(ngx_http_myservice_zone_t *zone, ngx_uint_t n,
    ngx_http_myservice_slot_t *slot, ngx_log_t *log)
{
    ngx_uint_t                  rebuilt;
    ngx_http_myservice_slot_t  *shared;

    ngx_memzero(slot, sizeof(ngx_http_myservice_slot_t));

    (void) ngx_http_myservice_zone_lock(zone, &rebuilt);

    shared = ngx_http_myservice_names_slot(zone, zone->names[n]->id);

    if (shared) {
        *slot = *shared;
    }

    ngx_http_myservice_zone_unlock(zone, rebuilt, log);
}


uint32_t
ngx_http_myservice_names_of_locked(ngx_http_myservice_zone_t *zone,
    uint32_t instance)
{
    uint32_t                    bits;
    ngx_uint_t                  i;
    ngx_http_myservice_slot_t  *slot;

    bits = 0;

    for (i = 0; i < zone->nnames; i++) {
        slot = ngx_http_myservice_names_slot(zone, zone->names[i]->id);

        if (slot && (zone->sh->sources[instance]
                     & ngx_http_myservice_names_source(zone, slot)))
        {
            bits |= 1 << i;
        }
    }

    return bits;
}


void
ngx_http_myservice_names_sync_locked(ngx_http_myservice_zone_t *zone,
    ms_pool_t *pool)
{
    ngx_uint_t                  i, j;
    ngx_http_myservice_slot_t  *slot;

    for (i = 0; i < NGX_HTTP_MYSERVICE_NAMES; i++) {
        slot = &zone->sh->lookup.slots[i];

        for (j = 0; j < zone->nnames; j++) {
            if (zone->names[j]->id == slot->id) {
                break;
            }
        }

        if (slot->id == 0 || j < zone->nnames) {
            continue;
        }

        (void) ngx_http_myservice_members_sweep_locked(zone, pool,
                               ngx_http_myservice_names_source(zone, slot),
                               1, slot->drop);

        ngx_memzero(slot, sizeof(ngx_http_myservice_slot_t));
    }

    for (j = 0; j < zone->nnames; j++) {
        slot = ngx_http_myservice_names_slot(zone, zone->names[j]->id);

        if (slot == NULL) {

            /* there is one: the directive is refused else */

            slot = ngx_http_myservice_names_slot(zone, 0);
            slot->id = zone->names[j]->id;
        }

        slot->drop = zone->names[j]->drop;
    }
}


/*
 * After a cold start calls wait until each name was heard of or tried twice,
 * and while there is no member and a name of which nothing was heard.
 */

void
ngx_http_myservice_names_settle_locked(ngx_http_myservice_zone_t *zone,
    ms_pool_t *pool)
{
    ngx_uint_t                    i, wait, untried, silent;
    ngx_http_myservice_slot_t    *slot;
    ngx_http_myservice_lookup_t  *lookup;

    lookup = &zone->sh->lookup;
    untried = 0;
    silent = 0;

    for (i = 0; i < NGX_HTTP_MYSERVICE_NAMES; i++) {
        slot = &lookup->slots[i];

        if (slot->id) {
            silent |= !slot->heard;
            untried |= !slot->heard
                       && slot->failures < NGX_HTTP_MYSERVICE_NAME_TRIES;
        }
    }

    if (!untried) {
        lookup->started = 1;
    }

    wait = ngx_http_myservice_members_count_locked(zone, pool)
           ? untried && !lookup->started : silent;

    if (!wait && !lookup->settled) {
        lookup->since = ngx_current_msec;
    }

    lookup->settled = !wait;
}


static ngx_http_myservice_slot_t *
ngx_http_myservice_names_slot(ngx_http_myservice_zone_t *zone, uint64_t id)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_MYSERVICE_NAMES; i++) {
        if (zone->sh->lookup.slots[i].id == id) {
            return &zone->sh->lookup.slots[i];
        }
    }

    return NULL;
}
