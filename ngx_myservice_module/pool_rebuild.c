/*
 * Rebuilding everything from the records after a process died while it
 * changed them.
 */

#include <string.h>

#include "pool_internal.h"


static void ms_rebuild_member(ms_pool_t *pool, uint32_t id);
static void ms_rebuild_owner(ms_pool_t *pool, uint32_t id);
static int ms_rebuild_text(const ms_pool_t *pool, const uint8_t *area,
    size_t room, size_t len, size_t max);
static void ms_rebuild_mark(ms_pool_t *pool, uint32_t block);
static void ms_rebuild_blocks(ms_pool_t *pool);
static void ms_rebuild_links(ms_pool_t *pool);
static void ms_rebuild_session(ms_pool_t *pool, uint32_t id);


/* Empty indexes; the blocks are not listed yet. */
void
ms_pool_reset(ms_pool_t *pool)
{
    uint32_t      i;
    ms_record_t  *r;

    memset(pool->counts, 0, sizeof(pool->counts));
    pool->counts[MS_INSTANCE_UNUSED] = pool->capacity;
    pool->limit = 0;
    pool->unused = MS_POOL_NONE;
    pool->free_block = MS_POOL_NONE;
    pool->roots[MS_TREE_FREE] = MS_POOL_NONE;
    pool->roots[MS_TREE_DOWN] = MS_POOL_NONE;
    pool->heap_len = 0;

    /* until the blocks are listed: the set of those that are in use */
    memset(ms_pool_sessions(pool), 0, pool->capacity * sizeof(uint32_t));

    for (i = 0; i < pool->capacity; i++) {
        r = ms_record(pool, i);
        r->name_head = MS_POOL_NONE;
        r->heap_pos = MS_POOL_NONE;
    }
}


void
ms_pool_rebuild(ms_pool_t *pool)
{
    uint32_t  i;

    ms_pool_begin(pool);
    ms_pool_reset(pool);

    for (i = 0; i < pool->capacity; i++) {
        ms_rebuild_member(pool, i);
    }

    ms_rebuild_blocks(pool);
    ms_rebuild_links(pool);
    ms_pool_commit(pool);
}


/* Makes a record consistent in itself. */
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

    if (r->state == MS_INSTANCE_FREE || r->state == MS_INSTANCE_LEFT) {
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

        return;
    }

    if (r->lease > pool->leases) {
        pool->leases = r->lease;
    }

    if (r->state == MS_INSTANCE_LEASED && r->drain) {
        r->state = MS_INSTANCE_DRAINING;

    } else if (r->state == MS_INSTANCE_DRAINING && !r->drain) {
        r->state = MS_INSTANCE_LEASED;
    }

    if (r->state != MS_INSTANCE_TENTATIVE) {
        r->pending = 0;

    } else if (r->pending == 0) {
        r->pending = 1;
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
        || (ms_pool_sessions(pool)[block / 32] & 1u << block % 32))
    {
        return -1;
    }

    return 0;
}


static void
ms_rebuild_mark(ms_pool_t *pool, uint32_t block)
{
    if (block != MS_POOL_NONE) {
        ms_pool_sessions(pool)[block / 32] |= 1u << block % 32;
    }
}


static void
ms_rebuild_blocks(ms_pool_t *pool)
{
    uint32_t  i, block;

    for (i = pool->nblocks; i > 0; i--) {
        block = i - 1;

        if (!(ms_pool_sessions(pool)[block / 32] & 1u << block % 32)) {
            memcpy(ms_pool_block(pool, block), &pool->free_block,
                   sizeof(uint32_t));
            pool->free_block = block;
        }
    }

    for (i = 0; i < pool->capacity; i++) {
        ms_pool_sessions(pool)[i] = MS_POOL_NONE;
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
        ms_name_link(pool, i);
        ms_rebuild_session(pool, i);
        ms_index_link(pool, i);

        if (ms_record_due(r) != MS_POOL_NEVER) {
            ms_heap_set(pool, i, ms_record_due(r));
        }
    }

    for (i = pool->limit; i > 0; i--) {
        r = ms_record(pool, i - 1);

        if (r->state == MS_INSTANCE_UNUSED) {
            r->name_next = pool->unused;
            pool->unused = i - 1;
        }
    }
}


/* Of two leases of one session the later one counts. */
static void
ms_rebuild_session(ms_pool_t *pool, uint32_t id)
{
    uint32_t        other;
    ms_record_t    *r;
    ms_pool_key_t   key;

    r = ms_record(pool, id);

    if (!ms_record_findable(r)) {
        return;
    }

    ms_pool_key(pool, ms_text_get(pool, r->session, MS_SESSION_INLINE,
                                  r->session_len),
                r->session_len, &key);
    r->link.chain.hash = (uint32_t) key.hash;

    other = ms_session_find(pool, &key);

    if (other == MS_POOL_NONE) {
        return;
    }

    if (ms_record(pool, other)->lease < r->lease) {
        ms_index_unlink(pool, other);
        r = ms_record(pool, other);
    }

    r->foreign = 1;
    r->learned = 0;
}
