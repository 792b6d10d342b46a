
/*
 * The table of epochs that are not believed, in the zone's shared memory: few
 * instances name one, so two may share a place, and then the last one has it.
 * That costs the other one's calls a refusal.
 */

#include "zone/epoch.h"

#include "core/log.h"
#include "pool/key.h"


static uint64_t ms_epoch_limit(void);
static ms_epoch_t *ms_epoch_place(ms_zone_t *zone, ngx_str_t *instance,
    uint64_t *hash);


uint64_t
ms_epoch_named(ms_zone_t *zone, ngx_str_t *instance, uint64_t lease,
    uint64_t epoch, ngx_log_t *log)
{
    uint64_t     limit, hash;
    ms_epoch_t  *place;
    ngx_uint_t   known;

    limit = ms_epoch_limit();

    if (epoch <= limit && !zone->sh->epochs_named) {
        return epoch;
    }

    place = ms_epoch_place(zone, instance, &hash);
    known = place->epoch
            && place->seal == (hash ^ place->epoch ^ place->lease);

    if (epoch <= limit) {

        if (known && lease == 0) {

            /* it was started anew */

            place->epoch = 0;
        }

        return epoch;
    }

    epoch = ngx_min(epoch, MS_POOL_EPOCH_MAX);
    lease = known && place->lease == 0 ? 0 : lease;

    place->epoch = epoch;
    place->lease = lease;
    place->seal = hash ^ epoch ^ lease;
    zone->sh->epochs_named = 1;

    if (known) {
        return 0;
    }

    ms_log_error(NGX_LOG_WARN, log, 0,
                 "instance names an epoch that is not believed: only its own "
                 "calls carry it, epoch=%uL limit=%uL instance=\"%V\" "
                 "upstream=\"%V\" (start the instance anew, and compare the "
                 "clocks of gateways)", epoch, limit, instance,
                 &zone->upstream->host);

    return 0;
}


uint64_t
ms_epoch_sent(ms_zone_t *zone, ngx_str_t *instance, ms_lease_t *lease)
{
    uint64_t     hash, epoch, of;
    ms_epoch_t  *place;

    if (!zone->sh->epochs_named) {
        return lease->epoch;
    }

    place = ms_epoch_place(zone, instance, &hash);

    /* without the lock: the seal tells whether all is of one writer */

    epoch = place->epoch;
    of = place->lease;

    return place->seal == (hash ^ epoch ^ of)
           && (of == 0 || of == lease->lease)
           ? ngx_max(epoch, lease->epoch) : lease->epoch;
}


ngx_uint_t
ms_epoch_later(uint64_t a, uint64_t b)
{
    uint64_t  limit;

    if (a > b) {
        return 1;
    }

    limit = ms_epoch_limit();

    return a != 0 && a <= limit && b > limit;
}


static uint64_t
ms_epoch_limit(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return ((uint64_t) tp->sec * 1000 + tp->msec) * 1000 + MS_EPOCH_AHEAD;
}


static ms_epoch_t *
ms_epoch_place(ms_zone_t *zone, ngx_str_t *instance, uint64_t *hash)
{
    *hash = ms_key_position(instance->data, instance->len);

    return &zone->sh->epochs[*hash % MS_EPOCHS];
}
