
/*
 * The words are in the shared memory of the store, beside the marks of leases;
 * the zone knows what an instance does now.  Both change under the zone's lock.
 */

#include "store/drains.h"

#include "zone/events.h"
#include "zone/lock.h"


/* the stamp of a word that is older than the store: any other is later */
#define MS_STORE_OLDEST  1


static void ms_store_drain_apply(ms_pool_t *pool, uint32_t instance,
    ngx_uint_t drain, ngx_msec_t until);


static const ngx_str_t  ms_store_operator = ngx_string("operator");


void
ms_store_drain_said(ms_store_t *store, ngx_str_t *instance, ngx_uint_t drain,
    ngx_msec_t limit)
{
    uint32_t             id;
    ms_pool_t           *pool;
    ngx_uint_t           rebuilt;
    ms_store_mark_t     *mark;
    ms_instance_info_t   info;

    pool = ms_zone_lock(store->zone, &rebuilt);

    id = ms_pool_find(pool, (char *) instance->data, instance->len);

    if (id != MS_POOL_NONE) {
        ms_pool_info(pool, id, &info);
        mark = ms_store_word_mark(store, id, &info);
        mark->drain.stamp = ms_store_stamp(mark->drain.stamp);

        if (limit || !drain || mark->drain.word != 'd') {
            mark->drain.until = limit ? ngx_current_msec + limit : 0;
        }

        mark->drain.word = drain ? 'd' : '-';
        mark->drain.told = 0;

        /* another gateway's word may have come since the operator's */

        ms_store_drain_apply(pool, id, drain, mark->drain.until);
    }

    ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);
}


void
ms_store_drained(ms_store_t *store, ngx_str_t *instance, ngx_uint_t drain,
    uint64_t stamp, ngx_msec_t left)
{
    uint32_t             id;
    ms_pool_t           *pool;
    ngx_uint_t           changed, rebuilt;
    ms_store_mark_t     *mark;
    ms_instance_info_t   info;

    changed = 0;
    pool = ms_zone_lock(store->zone, &rebuilt);

    id = ms_pool_find(pool, (char *) instance->data, instance->len);

    if (id != MS_POOL_NONE) {
        ms_pool_info(pool, id, &info);
        mark = ms_store_word_mark(store, id, &info);

        if (stamp > mark->drain.stamp) {
            mark->drain.until = left ? ngx_current_msec + left : 0;
        }

        if (stamp >= mark->drain.stamp) {
            changed = info.held != drain;

            if (changed || (drain && stamp > mark->drain.stamp)) {
                ms_store_drain_apply(pool, id, drain, mark->drain.until);
            }

            mark->drain.stamp = stamp;
            mark->drain.word = drain ? 'd' : '-';
            mark->drain.told = store->sh->round;
        }
    }

    ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);

    if (!changed) {
        return;
    }

    if (drain) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "operator of another gateway drains an instance, "
                      "instance=\"%V\" upstream=\"%V\"", instance,
                      &store->upstream->host);

    } else {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "operator of another gateway ends a drain, "
                      "instance=\"%V\" upstream=\"%V\"", instance,
                      &store->upstream->host);
    }

    ms_events_add(store->zone,
                  drain ? MS_EVENT_DRAINS : MS_EVENT_DRAINS_NO_MORE,
                  instance, NULL, &ms_store_operator);
}


static void
ms_store_drain_apply(ms_pool_t *pool, uint32_t instance, ngx_uint_t drain,
    ngx_msec_t until)
{
    if (drain) {
        ms_pool_drain(pool, instance, ngx_current_msec);

    } else {
        ms_pool_undrain(pool, instance, ngx_current_msec);
    }

    if (drain && until) {
        ms_pool_drain_until(pool, instance, until);
    }

    ms_pool_hold(pool, instance, drain);
}


/* the numbers of members are used again */

ms_store_mark_t *
ms_store_word_mark(ms_store_t *store, uint32_t instance,
    ms_instance_info_t *info)
{
    uint32_t          name;
    ms_store_mark_t  *mark;

    /* as many marks as the zone has room for members */

    mark = &store->sh->marks[instance];
    name = ngx_crc32_short((u_char *) info->name, info->name_len);

    if (mark->name != name) {
        mark->name = name;
        ngx_memzero(&mark->drain, sizeof(ms_store_said_t));
        ngx_memzero(&mark->member, sizeof(ms_store_said_t));
    }

    if (mark->drain.stamp == 0 && info->held) {
        mark->drain.stamp = MS_STORE_OLDEST;
        mark->drain.word = 'd';
    }

    if (!(store->zone->sh->sources[instance] & MS_SOURCE_OPERATOR)) {
        mark->member.stamp = 0;

    } else if (mark->member.stamp == 0) {
        mark->member.stamp = MS_STORE_OLDEST;
        mark->member.word = 'a';
        mark->member.told = 0;
    }

    return mark;
}


uint64_t
ms_store_stamp(uint64_t last)
{
    uint64_t         now;
    struct timeval   tv;

    ngx_gettimeofday(&tv);
    now = (uint64_t) tv.tv_sec * 1000000 + tv.tv_usec;

    return ngx_max(now, last + 1);
}
