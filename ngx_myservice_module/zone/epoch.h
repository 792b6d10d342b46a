/*
 * Epochs that instances name.  One that is far above the clock is not believed:
 * leases of other instances would get epochs above it, and there are none above
 * 2^53.  But the instance refuses lower ones until it is started anew, so calls
 * of this instance, and of no other, carry what it has named.
 */

#ifndef MS_ZONE_EPOCH_H
#define MS_ZONE_EPOCH_H


#include "zone/lock.h"


/* microseconds: a week, as in the store's script */
#define MS_EPOCH_AHEAD  UINT64_C(604800000000)


/*
 * Returns the epoch that the instance has named, 0 if it is not believed.  A
 * refusal counts for the calls of "lease": the instance may be started anew
 * before the next one.  With lease 0, a health answer, it counts until another
 * such answer names one that is believed, or none.
 */
uint64_t ms_epoch_named(ms_zone_t *zone, ngx_str_t *instance, uint64_t lease,
    uint64_t epoch, ngx_log_t *log);

/*
 * A lease of epoch "a" was given after one of epoch "b": also if "b" is far above
 * the clock, and "a" is not, as after the store's clock was set back.
 */
ngx_uint_t ms_epoch_later(uint64_t a, uint64_t b);

/* The epoch that calls under the lease carry to the instance. */
uint64_t ms_epoch_sent(ms_zone_t *zone, ngx_str_t *instance,
    ms_lease_t *lease);


#endif /* MS_ZONE_EPOCH_H */
