/*
 * The pool as a whole: its memory, what is over when a worker enters it, what
 * status shows of it.
 */

#include <string.h>

#include "pool/heap.h"
#include "pool/rebuild.h"
#include "pool/state.h"
#include "pool/text.h"


#define MS_POOL_EXPIRE_MAX  64          /* of ms_pool_enter() */


static uint64_t ms_pool_blocks(uint32_t instances);
static void ms_pool_due(ms_pool_t *pool, uint32_t id, uint64_t now);


size_t
ms_pool_size(uint32_t instances)
{
    uint64_t  size;

    size = sizeof(ms_pool_t)
           + (sizeof(ms_record_t) + 3 * sizeof(uint32_t))
             * (uint64_t) instances
           + MS_BLOCK_SIZE * ms_pool_blocks(instances);

    return size > SIZE_MAX ? SIZE_MAX : (size_t) size;
}


uint32_t
ms_pool_capacity(size_t size)
{
    uint32_t  low, high, middle;

    low = 0;
    high = size / sizeof(ms_record_t) < MS_POOL_NONE / 2
           ? (uint32_t) (size / sizeof(ms_record_t)) : MS_POOL_NONE / 2;

    while (low < high) {
        middle = low + (high - low + 1) / 2;

        if (ms_pool_size(middle) <= size) {
            low = middle;

        } else {
            high = middle - 1;
        }
    }

    return low;
}


static uint64_t
ms_pool_blocks(uint32_t instances)
{
    return instances / 16 > 8 ? instances / 16 : 8;
}


ms_pool_t *
ms_pool_create(void *mem, size_t size, const uint8_t key[16])
{
    uint32_t    i, capacity;
    ms_pool_t  *pool;

    capacity = ms_pool_capacity(size);

    if (capacity == 0) {
        return NULL;
    }

    pool = mem;
    memset(pool, 0, sizeof(ms_pool_t));
    memcpy(pool->key, key, sizeof(pool->key));

    pool->drain = MS_POOL_NEVER;
    pool->capacity = capacity;
    pool->nblocks = (uint32_t) ms_pool_blocks(capacity);
    pool->sessions_offset = sizeof(ms_pool_t)
                            + sizeof(ms_record_t) * (uint64_t) capacity;
    pool->users_offset = pool->sessions_offset
                         + sizeof(uint32_t) * (uint64_t) capacity;
    pool->heap_offset = pool->users_offset
                        + sizeof(uint32_t) * (uint64_t) capacity;
    pool->blocks_offset = pool->heap_offset
                          + sizeof(uint32_t) * (uint64_t) capacity;

    for (i = 0; i < capacity; i++) {
        memset(ms_record(pool, i), 0, sizeof(ms_record_t));
    }

    ms_rebuild(pool);

    return pool;
}


int
ms_pool_enter(ms_pool_t *pool, uint64_t now)
{
    int           n, rebuilt;
    uint32_t      id;
    uint64_t      due;
    ms_record_t  *r;

    pool->now = now;
    rebuilt = pool->dirty != 0;

    if (rebuilt) {
        ms_rebuild(pool);
    }

    for (n = 0; n < MS_POOL_EXPIRE_MAX && pool->heap_len > 0; n++) {
        id = ms_heap(pool)[0];
        r = ms_record(pool, id);

        if (r->due > now) {
            break;
        }

        ms_record_begin(pool);
        due = ms_record_due(r);

        if (due == MS_POOL_NEVER) {
            ms_heap_pop(pool);

        } else if (due > now) {
            ms_heap_later(pool, due);

        } else {
            ms_heap_pop(pool);
            ms_pool_due(pool, id, now);
        }

        ms_record_commit(pool);
    }

    return rebuilt;
}


static void
ms_pool_due(ms_pool_t *pool, uint32_t id, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (r->lease != 0 && ms_record_lease_end(r) <= now) {
        ms_record_why(r, MS_END_EXPIRED);
        ms_state_end(pool, id, now);
        return;
    }

    if (ms_record_drain_end(r) <= now) {
        ms_state_drained(pool, id);
        return;
    }

    if (r->state == MS_INSTANCE_FREE) {
        ms_state_trust(pool, id);
        return;
    }

    ms_state_revive(pool, id);
}


uint32_t
ms_pool_limit(const ms_pool_t *pool)
{
    return pool->limit;
}


uint32_t
ms_pool_count(const ms_pool_t *pool, ms_instance_state_t state)
{
    return (unsigned) state < MS_INSTANCE_STATES ? pool->counts[state] : 0;
}


uint64_t
ms_pool_alerts(const ms_pool_t *pool)
{
    return pool->alerts;
}


void
ms_pool_address(const ms_pool_t *pool, uint32_t instance,
    ms_instance_info_t *info)
{
    ms_record_t  *r;

    r = ms_record(pool, instance);

    info->name = (const char *) ms_text_get(pool, r->name, MS_NAME_INLINE,
                                            r->name_len);
    info->name_len = r->name_len;
    info->addr = ms_text_get(pool, r->addr, MS_ADDR_INLINE, r->addr_len);
    info->addr_len = r->addr_len;
    info->started = r->started;
}


void
ms_pool_info(const ms_pool_t *pool, uint32_t instance,
    ms_instance_info_t *info)
{
    ms_record_t  *r;

    memset(info, 0, sizeof(ms_instance_info_t));

    r = ms_record_member(pool, instance);

    if (r == NULL) {
        return;
    }

    info->state = r->state;
    info->held = r->held;
    info->health = r->health;
    info->suspect = r->suspect != 0;
    info->drain = r->drain != 0;
    info->reported = (r->drain & MS_DRAIN_REPORTED) != 0;
    info->removed = r->removed;
    info->failures = r->failures;
    info->since = (uint64_t) r->since * 100;
    info->verdicts = r->verdicts;

    ms_pool_address(pool, instance, info);

    if ((r->state == MS_INSTANCE_LEFT || r->state == MS_INSTANCE_DOWN)
        && r->retry_at != MS_POOL_NEVER)
    {
        info->retry = r->retry_at;
    }

    if (r->lease == 0) {
        info->started = 0;
        return;
    }

    info->foreign = r->foreign;
    info->moves = r->moves;
    info->over = r->over;
    info->word = r->word;
    info->heard = r->heard;
    info->bound = r->subject[0] != 0;
    info->subject = info->bound ? (const uint8_t *) r->subject : NULL;
    info->user = r->user & 1 ? 0 : r->user;
    info->session = ms_text_get(pool, r->session, MS_SESSION_INLINE,
                                r->session_len);
    info->session_len = r->session_len;
    info->lease = r->lease;
    info->epoch = r->epoch;
    info->used = r->used;
    info->expires = ms_record_lease_end(r);
    info->drained = r->drained != MS_POOL_NEVER ? r->drained : 0;
}
