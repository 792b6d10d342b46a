/*
 * One record: who may use the lease, its epoch, when it ends, when the instance
 * is tried again.
 */

#include <string.h>

#include "pool/record.h"


void
ms_record_clear(ms_record_t *r)
{
    r->session_len = 0;
    r->foreign = 0;
    r->spare = 0;
    r->asked = 0;
    r->learned = 0;
    r->moves = 0;
    r->pending = 0;
    r->no_message = 0;
    r->follows = 0;
    r->why = MS_END_NONE;
    r->untold = 0;
    r->lost = 0;
    r->word = 0;
    r->heard = 0;
    r->claimed = 0;
    r->next_call = 0;
    r->subject[0] = 0;
    r->user = 0;
}


void
ms_record_why(ms_record_t *r, ms_end_t why)
{
    if (ms_record_serves(r)) {
        r->why = why & 7;
    }
}


void
ms_record_bind(ms_record_t *r, const uint8_t *subject)
{
    uint64_t  words[2];

    if (subject == NULL || r->subject[0] != 0) {
        return;
    }

    ms_record_subject(subject, words);

    r->subject[1] = words[1];
    ms_record_order();
    r->subject[0] = words[0];
}


int
ms_record_admits(const ms_record_t *r, const uint8_t *subject)
{
    uint64_t  words[2];

    if (subject == NULL || r->subject[0] == 0) {
        return 1;
    }

    ms_record_subject(subject, words);

    return r->subject[0] == words[0] && r->subject[1] == words[1];
}


void
ms_record_subject(const uint8_t *subject, uint64_t words[2])
{
    memcpy(words, subject, MS_POOL_SUBJECT);

    if (words[0] == 0) {
        words[0] = 1;
    }
}


ms_record_t *
ms_record_leased(const ms_pool_t *pool, const ms_lease_t *lease, uint64_t now)
{
    ms_record_t  *r;

    if (lease->lease == 0 || lease->instance >= pool->limit) {
        return NULL;
    }

    r = ms_record(pool, lease->instance);

    return r->lease == lease->lease && ms_record_lease_end(r) > now ? r
                                                                    : NULL;
}


/* Workers read the clock at different times: "now" may be older. */
void
ms_record_use(ms_record_t *r, uint64_t now)
{
    if (now > r->used) {
        r->used = now;
    }
}


void
ms_record_failed(ms_record_t *r, uint64_t now)
{
    r->retry_at = ms_record_retry(r, now);

    if (r->failures < UINT8_MAX) {
        r->failures++;
    }
}


/* At least a millisecond: a request that tries every instance that is down
 * would try one that is revived at once without end. */
uint64_t
ms_record_retry(const ms_record_t *r, uint64_t now)
{
    return r->retry == UINT32_MAX ? MS_POOL_NEVER
                                  : ms_time_add(now, r->retry ? r->retry : 1);
}


uint64_t
ms_record_lease_end(const ms_record_t *r)
{
    uint64_t  end;

    end = ms_time_add(r->used, r->ttl);

    if (r->state == MS_INSTANCE_TENTATIVE && r->ttl > MS_POOL_TENTATIVE) {
        end = ms_time_add(r->used, MS_POOL_TENTATIVE);
    }

    return end < r->ends ? end : r->ends;
}


uint64_t
ms_record_due(const ms_record_t *r)
{
    uint64_t  end;

    end = MS_POOL_NEVER;

    if (r->lease != 0) {
        end = ms_record_lease_end(r);

        if (ms_record_drain_end(r) < end) {
            end = r->drained;
        }
    }

    switch (r->state) {

    case MS_INSTANCE_TENTATIVE:
    case MS_INSTANCE_LEASED:
    case MS_INSTANCE_DRAINING:
        return end;

    case MS_INSTANCE_FREE:
        return r->suspect != 0 ? r->suspect : MS_POOL_NEVER;

    case MS_INSTANCE_LEFT:
    case MS_INSTANCE_DOWN:
        return end < r->retry_at ? end : r->retry_at;

    default:
        return MS_POOL_NEVER;
    }
}


uint64_t
ms_record_hard_end(const ms_pool_terms_t *terms, uint64_t started)
{
    uint64_t  end;

    end = terms->lifetime != 0 ? ms_time_add(started, terms->lifetime)
                               : MS_POOL_NEVER;

    return terms->ends != 0 && terms->ends < end ? terms->ends : end;
}


uint64_t
ms_record_epoch(ms_pool_t *pool, uint64_t clock)
{
    ms_pool_epoch_seen(pool, clock);
    ms_pool_epoch_seen(pool, pool->epoch + 1);

    return pool->epoch;
}


/* The highest first: a worker that dies in between leaves no lease of a later
 * epoch than is known. */
void
ms_record_raise(ms_pool_t *pool, ms_record_t *r, uint64_t epoch)
{
    ms_pool_epoch_seen(pool, epoch);
    ms_record_order();

    epoch = epoch < MS_POOL_EPOCH_MAX ? epoch : MS_POOL_EPOCH_MAX;

    if (epoch > r->epoch) {
        r->epoch = epoch;
    }
}


uint64_t
ms_pool_epoch(const ms_pool_t *pool)
{
    return pool->epoch;
}


void
ms_pool_epoch_seen(ms_pool_t *pool, uint64_t epoch)
{
    epoch = epoch < MS_POOL_EPOCH_MAX ? epoch : MS_POOL_EPOCH_MAX;

    if (epoch > pool->epoch) {
        pool->epoch = epoch;
    }
}
