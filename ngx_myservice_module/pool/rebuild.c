/*
 * Rebuilds everything from the records after a process died while it changed
 * them.
 */

#include <string.h>

#include "pool/heap.h"
#include "pool/index.h"
#include "pool/rebuild.h"
#include "pool/text.h"


static void ms_rebuild_reset(ms_pool_t *pool);
static void ms_rebuild_member(ms_pool_t *pool, uint32_t id);
static void ms_rebuild_owner(ms_pool_t *pool, uint32_t id);
static void ms_rebuild_health(ms_record_t *r);
static int ms_rebuild_text(const ms_pool_t *pool, const uint8_t *area,
    size_t room, size_t len, size_t max);
static void ms_rebuild_mark(ms_pool_t *pool, uint32_t block);
static void ms_rebuild_blocks(ms_pool_t *pool);
static void ms_rebuild_links(ms_pool_t *pool);
static void ms_rebuild_session(ms_pool_t *pool, uint32_t id);


void
ms_rebuild(ms_pool_t *pool)
{
    uint32_t  i;

    ms_record_begin(pool);
    ms_rebuild_reset(pool);

    for (i = 0; i < pool->capacity; i++) {
        ms_rebuild_member(pool, i);
    }

    ms_rebuild_blocks(pool);
    ms_rebuild_links(pool);
    ms_record_commit(pool);
}


/* Empties the indexes.  The list of free blocks is empty until
 * ms_rebuild_blocks() knows which blocks the records use. */
static void
ms_rebuild_reset(ms_pool_t *pool)
{
    uint32_t      i;
    ms_record_t  *r;

    memset(pool->counts, 0, sizeof(pool->counts));
    pool->foreign = 0;
    pool->counts[MS_INSTANCE_UNUSED] = pool->capacity;
    pool->limit = 0;
    pool->unused = MS_POOL_NONE;
    pool->free_block = MS_POOL_NONE;
    pool->roots[MS_TREE_FREE] = MS_POOL_NONE;
    pool->roots[MS_TREE_SUSPECT] = MS_POOL_NONE;
    pool->roots[MS_TREE_DOWN] = MS_POOL_NONE;
    pool->oldest = MS_POOL_NONE;
    pool->newest = MS_POOL_NONE;
    pool->heap_len = 0;

    /* a bit for each block in use, until the chains of sessions are made */
    memset(ms_index_heads(pool), 0, pool->capacity * sizeof(uint32_t));

    for (i = 0; i < pool->capacity; i++) {
        r = ms_record(pool, i);
        r->name_head = MS_POOL_NONE;
        r->heap_pos = MS_POOL_NONE;
        ms_index_users(pool)[i] = MS_POOL_NONE;
    }
}


/* Makes a record consistent with itself. */
static void
ms_rebuild_member(ms_pool_t *pool, uint32_t id)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (r->state >= MS_INSTANCE_STATES
        || r->name_len == 0
        || ms_rebuild_text(pool, r->name, MS_NAME_INLINE, r->name_len,
                           MS_POOL_NAME_MAX)
           != 0
        || ms_rebuild_text(pool, r->addr, MS_ADDR_INLINE, r->addr_len,
                           MS_POOL_ADDR_MAX)
           != 0)
    {
        r->state = MS_INSTANCE_UNUSED;
    }

    if (r->state == MS_INSTANCE_UNUSED) {
        r->lease = 0;
        return;
    }

    ms_rebuild_owner(pool, id);

    if (r->state == MS_INSTANCE_UNUSED) {
        return;
    }

    ms_rebuild_mark(pool, ms_text_block(r->name, MS_NAME_INLINE,
                                        r->name_len));
    ms_rebuild_mark(pool, ms_text_block(r->addr, MS_ADDR_INLINE,
                                        r->addr_len));
    if (r->lease != 0) {
        ms_rebuild_mark(pool, ms_text_block(r->session, MS_SESSION_INLINE,
                                            r->session_len));
    }
}


static void
ms_rebuild_owner(ms_pool_t *pool, uint32_t id)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (!ms_record_drains(r)) {
        r->drained = MS_POOL_NEVER;
    }

    if (r->state != MS_INSTANCE_LEFT) {
        r->moves = 0;

    } else if (r->moves) {
        r->retry_at = MS_POOL_NEVER;
    }

    if (r->state == MS_INSTANCE_FREE
        || (r->state == MS_INSTANCE_LEFT && !r->moves))
    {
        r->lease = 0;
    }

    if (r->lease != 0
        && ms_rebuild_text(pool, r->session, MS_SESSION_INLINE,
                           r->session_len, MS_POOL_SESSION_MAX)
           != 0)
    {
        r->lease = 0;
    }

    if (r->lease == 0) {
        ms_record_clear(r);

        if (r->removed) {
            r->state = MS_INSTANCE_UNUSED;

        } else if (r->drain) {
            r->retry_at = MS_POOL_NEVER;
            r->state = MS_INSTANCE_LEFT;

        } else if (r->state != MS_INSTANCE_LEFT
                   && r->state != MS_INSTANCE_DOWN)
        {
            r->state = MS_INSTANCE_FREE;
        }

        ms_rebuild_health(r);

        return;
    }

    if (r->lease > pool->leases) {
        pool->leases = r->lease;
    }

    ms_pool_epoch_seen(pool, r->epoch);

    if (r->state == MS_INSTANCE_LEASED && r->drain) {
        r->state = MS_INSTANCE_DRAINING;

    } else if (r->state == MS_INSTANCE_DRAINING && !r->drain) {
        r->state = MS_INSTANCE_LEASED;
    }

    if (!r->foreign) {
        r->spare = 0;
        r->asked = 0;
    }

    if (!ms_record_serves(r)) {
        r->heard = 0;
        r->why = MS_END_NONE;
        r->untold = 0;
        r->lost = 0;

    } else if (r->lost || r->why == MS_END_NONE) {
        r->untold = 0;
    }

    if (r->state != MS_INSTANCE_TENTATIVE) {
        r->pending = 0;
        r->no_message = 0;
        r->follows = 0;
        r->suspect = 0;

    } else if (r->pending == 0) {
        r->pending = 1;
    }
}


/* The last probe decides for an instance without owner; only a free one may be
 * suspect. */
static void
ms_rebuild_health(ms_record_t *r)
{
    if (r->state != MS_INSTANCE_FREE) {
        r->suspect = 0;

    } else if (r->health >= MS_VERDICT_FAILED) {
        r->suspect = 0;
        r->retry_at = ms_record_retry(r, 0);
        r->state = MS_INSTANCE_DOWN;
    }
}


static int
ms_rebuild_text(const ms_pool_t *pool, const uint8_t *area, size_t room,
    size_t len, size_t max)
{
    uint32_t  block;

    if (len <= room) {
        return 0;
    }

    block = ms_text_block(area, room, len);

    if (len > max || block >= pool->nblocks
        || (ms_index_heads(pool)[block / 32] & 1u << block % 32))
    {
        return -1;
    }

    return 0;
}


static void
ms_rebuild_mark(ms_pool_t *pool, uint32_t block)
{
    if (block != MS_POOL_NONE) {
        ms_index_heads(pool)[block / 32] |= 1u << block % 32;
    }
}


static void
ms_rebuild_blocks(ms_pool_t *pool)
{
    uint32_t  i, block;

    for (i = pool->nblocks; i > 0; i--) {
        block = i - 1;

        if (!(ms_index_heads(pool)[block / 32] & 1u << block % 32)) {
            ms_text_block_free(pool, block);
        }
    }

    for (i = 0; i < pool->capacity; i++) {
        ms_index_heads(pool)[i] = MS_POOL_NONE;
    }
}


static void
ms_rebuild_links(ms_pool_t *pool)
{
    uint32_t      i;
    ms_record_t  *r;

    for (i = 0; i < pool->capacity; i++) {
        r = ms_record(pool, i);

        if (r->state == MS_INSTANCE_UNUSED) {
            continue;
        }

        pool->limit = i + 1;
        pool->counts[MS_INSTANCE_UNUSED]--;
        pool->counts[r->state]++;
        ms_index_name_link(pool, i);
        ms_rebuild_session(pool, i);
        ms_index_link(pool, i);

        if (ms_record_due(r) != MS_POOL_NEVER) {
            ms_heap_set(pool, i, ms_record_due(r));
        }
    }

    for (i = pool->limit; i > 0; i--) {
        r = ms_record(pool, i - 1);

        pool->foreign += (uint32_t) ms_record_foreign(r);

        if (r->state == MS_INSTANCE_UNUSED) {
            r->name_next = pool->unused;
            pool->unused = i - 1;
        }
    }
}


/* Of two leases of one session the later one is its own, the other one is
 * foreign. */
static void
ms_rebuild_session(ms_pool_t *pool, uint32_t id)
{
    uint32_t        other;
    ms_record_t    *r;
    ms_pool_key_t   key;

    r = ms_record(pool, id);

    if (!ms_record_findable(r) && !ms_record_spare(r)) {
        return;
    }

    ms_pool_key(pool, ms_text_get(pool, r->session, MS_SESSION_INLINE,
                                  r->session_len),
                r->session_len, &key);
    r->link.chain.hash = (uint32_t) key.hash;

    if (r->foreign) {
        return;
    }

    other = ms_index_session(pool, &key);

    if (other == MS_POOL_NONE) {
        return;
    }

    if (ms_record(pool, other)->lease < r->lease) {
        ms_index_unlink(pool, other);
        r = ms_record(pool, other);
    }

    r->foreign = 1;
    r->learned = 0;
    r->why = MS_END_NONE;
    r->untold = 0;
    r->lost = 0;
}
