/*
 * What happens to a granted lease: it is confirmed, given back, used, released,
 * ended.
 */

#include "pool/state.h"


void
ms_pool_message(ms_pool_t *pool, const ms_lease_t *lease, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record_leased(pool, lease, now);

    if (r != NULL) {
        r->no_message = 0;
    }
}


void
ms_pool_confirm(ms_pool_t *pool, const ms_lease_t *lease, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record_leased(pool, lease, now);

    if (r == NULL) {
        return;
    }

    ms_record_use(r, now);

    if (r->state != MS_INSTANCE_TENTATIVE) {
        return;
    }

    ms_record_begin(pool);

    r->failures = 0;
    r->pending = 0;
    r->no_message = 0;
    r->follows = 0;
    (void) ms_state_change(pool, lease->instance,
                           r->drain ? MS_INSTANCE_DRAINING
                                   : MS_INSTANCE_LEASED,
                           &ms_owner_kept);

    ms_record_commit(pool);
}


void
ms_pool_give_back(ms_pool_t *pool, const ms_lease_t *lease, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record_leased(pool, lease, now);

    if (r == NULL || r->state != MS_INSTANCE_TENTATIVE
        || r->pending == UINT16_MAX)
    {
        return;
    }

    if (r->pending > 1) {
        r->pending--;
        return;
    }

    ms_record_begin(pool);
    ms_state_end(pool, lease->instance, now);
    ms_record_commit(pool);
}


void
ms_pool_suspect(ms_pool_t *pool, const ms_lease_t *lease, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record_leased(pool, lease, now);

    if (r == NULL || r->state != MS_INSTANCE_TENTATIVE) {
        return;
    }

    if (r->passed < lease->granted) {
        r->suspect = ms_time_add(now, MS_POOL_SUSPECT);
    }

    ms_pool_give_back(pool, lease, now);
}


int
ms_pool_touch(ms_pool_t *pool, ms_lease_t *lease, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record_leased(pool, lease, now);

    if (r == NULL) {
        return -1;
    }

    ms_record_use(r, now);
    lease->ends = r->ends;

    return 0;
}


int
ms_pool_confirmed(const ms_pool_t *pool, const ms_lease_t *lease)
{
    uint8_t       state;
    ms_record_t  *r;

    if (lease->instance >= pool->capacity) {
        return 0;
    }

    r = ms_record(pool, lease->instance);

    /* the state first: whoever writes another owner's writes that one before */

    state = __atomic_load_n(&r->state, __ATOMIC_ACQUIRE);

    return (state == MS_INSTANCE_LEASED || state == MS_INSTANCE_DRAINING)
           && __atomic_load_n(&r->lease, __ATOMIC_RELAXED) == lease->lease;
}


ms_lease_state_t
ms_pool_lease_state(const ms_pool_t *pool, const ms_lease_t *lease,
    uint64_t now)
{
    uint64_t      owner;
    ms_record_t  *r;

    if (lease->lease == 0 || lease->instance >= pool->capacity) {
        return MS_LEASE_ENDED;
    }

    r = ms_record(pool, lease->instance);
    owner = __atomic_load_n(&r->lease, __ATOMIC_RELAXED);

    if (owner == lease->lease) {
        return __atomic_load_n(&r->drained, __ATOMIC_RELAXED) > now
               ? MS_LEASE_HELD : MS_LEASE_ENDED;
    }

    if (r->health == MS_VERDICT_DEAD) {
        return MS_LEASE_DEAD;
    }

    return owner == 0
           && __atomic_load_n(&r->released, __ATOMIC_RELAXED) == lease->lease
           ? MS_LEASE_RELEASED : MS_LEASE_ENDED;
}


void
ms_pool_release(ms_pool_t *pool, const ms_lease_t *lease, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record_leased(pool, lease, now);

    if (r == NULL) {
        return;
    }

    ms_record_begin(pool);
    ms_record_use(r, now);
    ms_record_why(r, MS_END_RELEASED);
    ms_state_vacate(pool, lease->instance, MS_INSTANCE_LEFT,
                    ms_record_retry(r, now));
    r->released = lease->lease;
    r->over = 1;
    ms_record_commit(pool);
}


void
ms_pool_fail(ms_pool_t *pool, const ms_lease_t *lease, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record_leased(pool, lease, now);

    if (r == NULL || r->state == MS_INSTANCE_DOWN) {
        return;
    }

    ms_record_begin(pool);

    ms_record_failed(r, now);

    if (r->state == MS_INSTANCE_TENTATIVE) {
        ms_state_vacate(pool, lease->instance, MS_INSTANCE_DOWN, r->retry_at);

    } else {
        ms_record_why(r, MS_END_DIED);
        r->untold = ms_record_findable(r) && !r->lost;
        (void) ms_state_change(pool, lease->instance, MS_INSTANCE_DOWN,
                               &ms_owner_kept);
    }

    ms_record_commit(pool);
}


void
ms_pool_end(ms_pool_t *pool, uint32_t instance, uint64_t now)
{
    if (instance >= pool->limit || ms_record(pool, instance)->lease == 0) {
        return;
    }

    ms_record_begin(pool);
    ms_record_why(ms_record(pool, instance), MS_END_OPERATOR);
    ms_state_end(pool, instance, now);
    ms_record(pool, instance)->over = 1;
    ms_record_commit(pool);
}


ms_move_t
ms_pool_move(ms_pool_t *pool, uint32_t instance)
{
    ms_record_t  *r;

    r = ms_record_member(pool, instance);

    if (r == NULL || !ms_record_findable(r) || r->moves) {
        return MS_MOVE_ALREADY;
    }

    if (r->state == MS_INSTANCE_TENTATIVE) {
        return MS_MOVE_TENTATIVE;
    }

    if (!ms_record_any(pool)) {
        return MS_MOVE_BUSY;
    }

    if (r->state == MS_INSTANCE_DOWN) {
        return MS_MOVE_ALREADY;
    }

    ms_pool_leave(pool, instance);

    return MS_MOVE_DONE;
}


void
ms_pool_leave(ms_pool_t *pool, uint32_t instance)
{
    ms_record_t  *r;

    r = ms_record_member(pool, instance);

    if (r == NULL || !ms_record_serves(r) || r->moves
        || r->state == MS_INSTANCE_DOWN)
    {
        return;
    }

    ms_record_begin(pool);
    ms_state_drained(pool, instance);
    ms_record_commit(pool);
}


int
ms_pool_stay(ms_pool_t *pool, uint32_t instance)
{
    ms_record_t  *r;

    r = ms_record_member(pool, instance);

    if (r == NULL || !r->moves || ms_record_drains(r)
        || r->health >= MS_VERDICT_FAILED)
    {
        return 0;
    }

    ms_record_begin(pool);
    ms_state_revive(pool, instance);
    ms_record_commit(pool);

    return 1;
}
