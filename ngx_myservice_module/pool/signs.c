/*
 * Signs of life: when a worker last saw a byte of an instance, and a call in
 * flight on it.  All workers load and store them without the lock, relaxed;
 * most calls find a value that is new enough and store nothing.
 */

#include "pool/record.h"


#define MS_BYTE_EVERY  10               /* milliseconds */
#define MS_CALL_UNITS  (MS_POOL_CALL_WITHIN >> 6)


void
ms_pool_byte_seen(ms_pool_t *pool, uint32_t instance, uint64_t now)
{
    uint32_t  *byte;

    byte = &ms_record(pool, instance)->byte;

    if ((uint32_t) now - __atomic_load_n(byte, __ATOMIC_RELAXED)
        >= MS_BYTE_EVERY)
    {
        __atomic_store_n(byte, (uint32_t) now, __ATOMIC_RELAXED);
    }
}


/* In 32 bits: a byte of 49 days ago counts as new for some seconds.  A byte
 * that was not stored came up to MS_BYTE_EVERY after the one that was. */
int
ms_pool_byte_since(const ms_pool_t *pool, uint32_t instance, uint64_t since,
    uint64_t now)
{
    uint32_t  byte;

    byte = __atomic_load_n(&ms_record(pool, instance)->byte, __ATOMIC_RELAXED);

    return (uint32_t) now - byte < (uint32_t) (now - since) + MS_BYTE_EVERY;
}


void
ms_pool_call_seen(ms_pool_t *pool, uint32_t instance, int lost, uint64_t now)
{
    uint16_t  call;

    call = (uint16_t) (now >> 6);

    if (lost) {
        call = (uint16_t) (call - MS_CALL_UNITS - 1);
    }

    __atomic_store_n(&ms_record(pool, instance)->call, call, __ATOMIC_RELAXED);
}


int
ms_pool_call_within(const ms_pool_t *pool, uint32_t instance, uint64_t within,
    uint64_t now)
{
    uint16_t  call;

    if (within > MS_POOL_CALL_WITHIN) {
        within = MS_POOL_CALL_WITHIN;
    }

    call = __atomic_load_n(&ms_record(pool, instance)->call, __ATOMIC_RELAXED);

    return (uint16_t) ((uint16_t) (now >> 6) - call) <= within >> 6;
}


void
ms_pool_probed(ms_pool_t *pool, uint32_t instance, ms_verdict_t verdict)
{
    ms_record_t  *r;

    r = ms_record_member(pool, instance);

    if (r != NULL) {
        r->verdicts = (uint16_t) (r->verdicts << 2 | verdict);
    }
}


int
ms_pool_heard(const ms_pool_t *pool, uint32_t instance)
{
    ms_record_t  *r;

    r = ms_record_member(pool, instance);

    return r != NULL && r->heard;
}


ms_verdict_t
ms_pool_verdict(const ms_instance_info_t *info, unsigned n)
{
    return n < MS_POOL_VERDICTS ? info->verdicts >> 2 * n & 3
                                : MS_VERDICT_NONE;
}
