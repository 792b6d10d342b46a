/*
 * Members: which instances are in the pool, drain, and what probes find.
 */

#include <string.h>

#include "pool/index.h"
#include "pool/key.h"
#include "pool/state.h"
#include "pool/text.h"


static uint32_t ms_member_record(ms_pool_t *pool);
static void ms_member_retry(ms_pool_t *pool, uint32_t id, uint64_t retry,
    uint64_t now);
static void ms_member_drains(const ms_pool_t *pool, ms_record_t *r,
    uint64_t now);
static void ms_member_back(ms_pool_t *pool, uint32_t id, uint64_t now);
static int ms_member_address(ms_pool_t *pool, uint32_t id, const void *addr,
    size_t len);
static void ms_member_drain(ms_pool_t *pool, uint32_t id, unsigned by,
    uint64_t now);
static void ms_member_undrain(ms_pool_t *pool, uint32_t id, unsigned by,
    uint64_t now);


uint32_t
ms_pool_add(ms_pool_t *pool, const char *name, size_t name_len,
    const void *addr, size_t addr_len, uint64_t retry, uint64_t now)
{
    uint32_t      id;
    uint64_t      position;
    ms_record_t  *r;

    if (name_len == 0 || name_len > MS_POOL_NAME_MAX
        || addr_len > MS_POOL_ADDR_MAX)
    {
        return MS_POOL_NONE;
    }

    retry = retry < UINT32_MAX ? retry : UINT32_MAX;
    position = ms_key_position(name, name_len);
    id = ms_index_name(pool, name, name_len, position);

    if (id != MS_POOL_NONE) {
        if (ms_member_address(pool, id, addr, addr_len) != 0) {
            return MS_POOL_NONE;
        }

        if (ms_record(pool, id)->removed) {
            ms_record_begin(pool);
            ms_record(pool, id)->removed = 0;
            ms_member_back(pool, id, now);
            ms_record_commit(pool);
        }

        ms_member_retry(pool, id, retry, now);

        return id;
    }

    if (pool->counts[MS_INSTANCE_UNUSED] == 0
        || !ms_text_blocks_left(pool, (name_len > MS_NAME_INLINE)
                                     + (addr_len > MS_ADDR_INLINE)))
    {
        return MS_POOL_NONE;
    }

    ms_record_begin(pool);

    id = ms_member_record(pool);
    r = ms_record(pool, id);

    r->position = position;
    r->retry = (uint32_t) retry;
    ms_text_set(pool, r->name, MS_NAME_INLINE, name, name_len);
    ms_text_set(pool, r->addr, MS_ADDR_INLINE, addr, addr_len);
    r->name_len = (uint8_t) name_len;
    r->addr_len = (uint8_t) addr_len;

    (void) ms_state_change(pool, id, MS_INSTANCE_FREE, NULL);
    ms_index_name_link(pool, id);

    ms_record_commit(pool);

    return id;
}


/* Takes a record that is not in use; the caller knows that there is one.  The
 * record may still be in the heap, which does no harm. */
static uint32_t
ms_member_record(ms_pool_t *pool)
{
    uint32_t      id;
    ms_record_t  *r;

    id = pool->unused;

    if (id != MS_POOL_NONE) {
        pool->unused = ms_record(pool, id)->name_next;

    } else {
        id = pool->limit++;
    }

    r = ms_record(pool, id);

    r->retry_at = MS_POOL_NEVER;
    r->drained = MS_POOL_NEVER;
    r->suspect = 0;
    r->passed = 0;
    r->used = 0;
    r->lease = 0;
    r->epoch = 0;
    r->over = 0;
    r->failures = 0;
    r->drain = 0;
    r->removed = 0;
    r->held = 0;
    r->health = 0;
    r->process = 0;
    r->last = 0;
    r->verdicts = 0;
    ms_record_clear(r);

    return id;
}


/* A member that waits for a probe gets a retry time when probes are switched
 * off: it would wait for ever.  So would one that drains by its own word. */
static void
ms_member_retry(ms_pool_t *pool, uint32_t id, uint64_t retry, uint64_t now)
{
    unsigned      awaited;
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (r->retry == UINT32_MAX && retry != UINT32_MAX) {
        r->health = MS_VERDICT_NONE;
        ms_member_undrain(pool, id, MS_DRAIN_REPORTED, now);
    }

    awaited = r->retry == UINT32_MAX && retry != UINT32_MAX && !r->drain
              && !r->moves
              && (r->state == MS_INSTANCE_LEFT
                  || r->state == MS_INSTANCE_DOWN);

    r->retry = (uint32_t) retry;

    if (awaited) {
        ms_record_begin(pool);
        r->retry_at = ms_record_retry(r, now);
        ms_state_schedule(pool, id);
        ms_record_commit(pool);
    }
}


static int
ms_member_address(ms_pool_t *pool, uint32_t id, const void *addr, size_t len)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (r->addr_len == len
        && (len == 0
            || memcmp(ms_text_get(pool, r->addr, MS_ADDR_INLINE, len), addr,
                      len)
               == 0))
    {
        return 0;
    }

    if (r->addr_len <= MS_ADDR_INLINE
        && !ms_text_fits(pool, len, MS_ADDR_INLINE))
    {
        return -1;
    }

    ms_record_begin(pool);

    /* a worker that dies here leaves no address rather than half of one */

    ms_text_free(pool, r->addr, MS_ADDR_INLINE, r->addr_len);
    r->addr_len = 0;
    ms_record_order();
    ms_text_set(pool, r->addr, MS_ADDR_INLINE, addr, len);
    ms_record_order();
    r->addr_len = (uint8_t) len;

    ms_record_commit(pool);

    return 0;
}


uint32_t
ms_pool_find(const ms_pool_t *pool, const char *name, size_t len)
{
    if (len == 0 || len > MS_POOL_NAME_MAX) {
        return MS_POOL_NONE;
    }

    return ms_index_name(pool, name, len, ms_key_position(name, len));
}


void
ms_pool_remove(ms_pool_t *pool, uint32_t instance, int force, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record_member(pool, instance);

    if (r == NULL) {
        return;
    }

    ms_record_begin(pool);

    ms_member_drains(pool, r, now);
    r->removed = 1;

    if (r->lease == 0 || force) {
        ms_record_why(r, MS_END_REMOVED);
        ms_state_vacate(pool, instance, MS_INSTANCE_UNUSED, MS_POOL_NEVER);

    } else {
        ms_state_schedule(pool, instance);
    }

    ms_record_commit(pool);
}


void
ms_pool_guest(ms_pool_t *pool, uint32_t instance)
{
    ms_record_t  *r;

    r = ms_record_member(pool, instance);

    if (r == NULL) {
        return;
    }

    ms_record_begin(pool);

    r->removed = 1;

    if (r->lease == 0) {
        ms_state_vacate(pool, instance, MS_INSTANCE_UNUSED, MS_POOL_NEVER);

    } else {
        ms_state_schedule(pool, instance);
    }

    ms_record_commit(pool);
}


void
ms_pool_drain_time(ms_pool_t *pool, uint64_t time, uint64_t now)
{
    uint32_t      i;
    uint64_t      begun;
    ms_record_t  *r;

    if (time == pool->drain) {
        return;
    }

    ms_record_begin(pool);

    for (i = 0; i < pool->limit; i++) {
        r = ms_record_member(pool, i);

        if (r != NULL && ms_record_drains(r)) {
            begun = r->drained != MS_POOL_NEVER && r->drained >= pool->drain
                    ? r->drained - pool->drain : now;
            r->drained = ms_time_add(begun, time);
            ms_state_schedule(pool, i);
        }
    }

    pool->drain = time;

    ms_record_commit(pool);
}


void
ms_pool_drain_until(ms_pool_t *pool, uint32_t instance, uint64_t until)
{
    ms_record_t  *r;

    r = ms_record_member(pool, instance);

    if (r == NULL || !ms_record_drains(r) || r->moves) {
        return;
    }

    ms_record_begin(pool);
    r->drained = until;
    ms_state_schedule(pool, instance);
    ms_record_commit(pool);
}


/* Before the flag that says so: a worker that dies leaves no drain without
 * end. */
static void
ms_member_drains(const ms_pool_t *pool, ms_record_t *r, uint64_t now)
{
    if (!ms_record_drains(r)) {
        r->drained = ms_time_add(now, pool->drain);
        ms_record_order();
    }
}


/* The instance may drain no more; then it has the owner that was to move. */
static void
ms_member_back(ms_pool_t *pool, uint32_t id, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (ms_record_drains(r)) {
        return;
    }

    r->drained = MS_POOL_NEVER;

    if (!r->moves) {
        return;
    }

    if (r->health >= MS_VERDICT_FAILED) {
        r->retry_at = ms_record_retry(r, now);
        (void) ms_state_change(pool, id, MS_INSTANCE_DOWN, &ms_owner_kept);

    } else {
        ms_state_revive(pool, id);
    }
}


void
ms_pool_drain(ms_pool_t *pool, uint32_t instance, uint64_t now)
{
    ms_member_drain(pool, instance, MS_DRAIN_ORDERED, now);
}


void
ms_pool_undrain(ms_pool_t *pool, uint32_t instance, uint64_t now)
{
    ms_member_undrain(pool, instance, MS_DRAIN_ORDERED, now);
}


void
ms_pool_report_drain(ms_pool_t *pool, uint32_t instance, int drain,
    uint64_t now)
{
    if (drain) {
        ms_member_drain(pool, instance, MS_DRAIN_REPORTED, now);

    } else {
        ms_member_undrain(pool, instance, MS_DRAIN_REPORTED, now);
    }
}


static void
ms_member_drain(ms_pool_t *pool, uint32_t id, unsigned by, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record_member(pool, id);

    if (r == NULL || (r->drain & by)) {
        return;
    }

    ms_record_begin(pool);

    ms_member_drains(pool, r, now);
    r->drain |= by & MS_DRAIN_ANY;

    switch (r->state) {

    case MS_INSTANCE_LEFT:
        r->retry_at = MS_POOL_NEVER;
        break;

    case MS_INSTANCE_LEASED:
        (void) ms_state_change(pool, id, MS_INSTANCE_DRAINING,
                               &ms_owner_kept);
        break;

    default:
        if (r->lease == 0) {
            ms_state_vacate(pool, id, MS_INSTANCE_LEFT, MS_POOL_NEVER);

        } else {
            ms_state_schedule(pool, id);
        }
    }

    ms_record_commit(pool);
}


static void
ms_member_undrain(ms_pool_t *pool, uint32_t id, unsigned by, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record_member(pool, id);

    if (r == NULL || !(r->drain & by)) {
        return;
    }

    ms_record_begin(pool);

    r->drain &= ~by & MS_DRAIN_ANY;

    if (by == MS_DRAIN_ORDERED && ms_record_drains(r) && !r->moves) {

        /* the end that the operator gave is over, too */

        r->drained = ms_time_add(now, pool->drain);
        ms_state_schedule(pool, id);
    }

    ms_member_back(pool, id, now);

    if (r->drain || r->moves) {
        /* the other one says so, too, or it was removed */

    } else if (r->state == MS_INSTANCE_LEFT
               && r->health >= MS_VERDICT_FAILED)
    {
        ms_state_vacate(pool, id, MS_INSTANCE_DOWN,
                        ms_record_retry(r, now));

    } else if (r->state == MS_INSTANCE_LEFT
               || r->state == MS_INSTANCE_DRAINING)
    {
        ms_state_revive(pool, id);
    }

    ms_record_commit(pool);
}


void
ms_pool_hold(ms_pool_t *pool, uint32_t instance, int held)
{
    ms_record_t  *r;

    r = ms_record_member(pool, instance);

    if (r != NULL) {
        r->held = held != 0;
    }
}


void
ms_pool_await(ms_pool_t *pool, uint32_t instance, uint64_t now)
{
    ms_record_t  *r;

    (void) now;

    r = ms_record_member(pool, instance);

    if (r == NULL || r->state != MS_INSTANCE_FREE) {
        return;
    }

    ms_record_begin(pool);
    ms_state_vacate(pool, instance, MS_INSTANCE_LEFT, MS_POOL_NEVER);
    ms_record_commit(pool);
}


void
ms_pool_up(ms_pool_t *pool, uint32_t instance, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record_member(pool, instance);

    if (r == NULL) {
        return;
    }

    ms_state_passed(pool, instance, now);

    ms_record_begin(pool);

    r->failures = 0;

    if (r->state == MS_INSTANCE_DOWN
        || (r->state == MS_INSTANCE_LEFT && !r->drain && !r->moves))
    {
        ms_state_revive(pool, instance);
    }

    ms_record_commit(pool);
}


void
ms_pool_down(ms_pool_t *pool, uint32_t instance, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record_member(pool, instance);

    if (r == NULL) {
        return;
    }

    ms_record_begin(pool);

    r->health = MS_VERDICT_FAILED;

    if (r->state != MS_INSTANCE_LEFT || r->retry_at != MS_POOL_NEVER) {
        ms_record_failed(r, now);
    }

    switch (r->state) {

    case MS_INSTANCE_FREE:
        (void) ms_state_change(pool, instance, MS_INSTANCE_DOWN, NULL);
        break;

    case MS_INSTANCE_LEASED:
    case MS_INSTANCE_DRAINING:
        ms_record_why(r, MS_END_HEALTH);
        (void) ms_state_change(pool, instance, MS_INSTANCE_DOWN,
                               &ms_owner_kept);
        break;

    default:
        /* LEFT, DOWN: the later retry time is enough; TENTATIVE: the session
         * keeps it until its next claim */
        break;
    }

    ms_record_commit(pool);
}


void
ms_pool_dead(ms_pool_t *pool, uint32_t instance, int keep, uint64_t now)
{
    unsigned      known;
    ms_record_t  *r;

    r = ms_record_member(pool, instance);

    if (r == NULL) {
        return;
    }

    known = r->state == MS_INSTANCE_DOWN && r->health == MS_VERDICT_DEAD;

    ms_pool_down(pool, instance, now);

    if (!known && !keep && r->lease != 0 && !r->foreign) {

        ms_record_begin(pool);

        if (r->state == MS_INSTANCE_TENTATIVE) {
            ms_state_vacate(pool, instance, MS_INSTANCE_DOWN, r->retry_at);

        } else if (ms_record_findable(r)) {
            ms_state_lose(pool, instance, MS_END_DIED);

        } else {
            pool->leases++;
            ms_record_order();
            r->lease = pool->leases;
        }

        ms_record_commit(pool);
    }

    /* last: if this worker dies before, the next probe does all of it again */

    r->health = MS_VERDICT_DEAD;
}
