/*
 * Members: who is in the pool, drain, health, and what status shows of them.
 */

#include <string.h>

#include "pool_internal.h"


static uint32_t ms_pool_record(ms_pool_t *pool);
static int ms_pool_has_blocks(const ms_pool_t *pool, int n);
static void ms_pool_reretry(ms_pool_t *pool, uint32_t id, uint64_t retry,
    uint64_t now);
static int ms_pool_readdress(ms_pool_t *pool, uint32_t id, const void *addr,
    size_t len);
static ms_record_t *ms_pool_member(const ms_pool_t *pool, uint32_t id);


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
    position = ms_pool_hash(name, name_len, ms_pool_ring_key);
    id = ms_name_find(pool, name, name_len, position);

    if (id != MS_POOL_NONE) {
        if (ms_pool_readdress(pool, id, addr, addr_len) != 0) {
            return MS_POOL_NONE;
        }

        ms_pool_reretry(pool, id, retry, now);
        ms_record(pool, id)->removed = 0;

        return id;
    }

    if (pool->counts[MS_INSTANCE_UNUSED] == 0
        || !ms_pool_has_blocks(pool, (name_len > MS_NAME_INLINE)
                                     + (addr_len > MS_ADDR_INLINE)))
    {
        return MS_POOL_NONE;
    }

    ms_pool_begin(pool);

    id = ms_pool_record(pool);
    r = ms_record(pool, id);

    r->position = position;
    r->retry = (uint32_t) retry;
    ms_text_set(pool, r->name, MS_NAME_INLINE, name, name_len);
    ms_text_set(pool, r->addr, MS_ADDR_INLINE, addr, addr_len);
    r->name_len = (uint8_t) name_len;
    r->addr_len = (uint8_t) addr_len;

    (void) ms_pool_change(pool, id, MS_INSTANCE_FREE, NULL);
    ms_name_link(pool, id);

    ms_pool_commit(pool);

    return id;
}


/* There is one.  It may still be in the heap, which does no harm. */
static uint32_t
ms_pool_record(ms_pool_t *pool)
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
    r->used = 0;
    r->lease = 0;
    r->failures = 0;
    r->drain = 0;
    r->removed = 0;
    r->held = 0;
    r->health = 0;
    ms_record_clear(r);

    return id;
}


/* What waits for health would wait for ever once nobody asks for it. */
static void
ms_pool_reretry(ms_pool_t *pool, uint32_t id, uint64_t retry, uint64_t now)
{
    unsigned      awaited;
    ms_record_t  *r;

    r = ms_record(pool, id);
    awaited = r->retry == UINT32_MAX && retry != UINT32_MAX && !r->drain
              && (r->state == MS_INSTANCE_LEFT
                  || r->state == MS_INSTANCE_DOWN);

    r->retry = (uint32_t) retry;

    if (awaited) {
        ms_pool_begin(pool);
        r->retry_at = ms_record_retry(r, now);
        ms_pool_schedule(pool, id);
        ms_pool_commit(pool);
    }
}


static int
ms_pool_has_blocks(const ms_pool_t *pool, int n)
{
    uint32_t  block;

    for (block = pool->free_block; n > 0 && block != MS_POOL_NONE; n--) {
        memcpy(&block, ms_pool_block(pool, block), sizeof(uint32_t));
    }

    return n == 0;
}


static int
ms_pool_readdress(ms_pool_t *pool, uint32_t id, const void *addr, size_t len)
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

    ms_pool_begin(pool);

    /* half an address must not be used: none is better */

    ms_text_free(pool, r->addr, MS_ADDR_INLINE, r->addr_len);
    r->addr_len = 0;
    ms_pool_order();
    ms_text_set(pool, r->addr, MS_ADDR_INLINE, addr, len);
    ms_pool_order();
    r->addr_len = (uint8_t) len;

    ms_pool_commit(pool);

    return 0;
}


uint32_t
ms_pool_find(const ms_pool_t *pool, const char *name, size_t len)
{
    if (len == 0 || len > MS_POOL_NAME_MAX) {
        return MS_POOL_NONE;
    }

    return ms_name_find(pool, name, len,
                        ms_pool_hash(name, len, ms_pool_ring_key));
}


void
ms_pool_remove(ms_pool_t *pool, uint32_t instance, int force, uint64_t now)
{
    ms_record_t  *r;

    (void) now;

    r = ms_pool_member(pool, instance);

    if (r == NULL) {
        return;
    }

    ms_pool_begin(pool);

    r->removed = 1;

    if (r->lease == 0 || force) {
        ms_pool_rest(pool, instance, MS_INSTANCE_UNUSED, MS_POOL_NEVER);
    }

    ms_pool_commit(pool);
}


void
ms_pool_drain(ms_pool_t *pool, uint32_t instance, uint64_t now)
{
    ms_record_t  *r;

    (void) now;

    r = ms_pool_member(pool, instance);

    if (r == NULL || r->drain) {
        return;
    }

    ms_pool_begin(pool);

    r->drain = 1;

    switch (r->state) {

    case MS_INSTANCE_LEFT:
        r->retry_at = MS_POOL_NEVER;
        break;

    case MS_INSTANCE_LEASED:
        (void) ms_pool_change(pool, instance, MS_INSTANCE_DRAINING,
                              &ms_owner_kept);
        break;

    default:
        if (r->lease == 0) {
            ms_pool_rest(pool, instance, MS_INSTANCE_LEFT, MS_POOL_NEVER);
        }
    }

    ms_pool_commit(pool);
}


void
ms_pool_undrain(ms_pool_t *pool, uint32_t instance, uint64_t now)
{
    ms_record_t  *r;

    (void) now;

    r = ms_pool_member(pool, instance);

    if (r == NULL || !r->drain) {
        return;
    }

    ms_pool_begin(pool);

    r->drain = 0;

    if (r->state == MS_INSTANCE_LEFT || r->state == MS_INSTANCE_DRAINING) {
        ms_pool_revive(pool, instance);
    }

    ms_pool_commit(pool);
}


void
ms_pool_hold(ms_pool_t *pool, uint32_t instance, int held)
{
    ms_record_t  *r;

    r = ms_pool_member(pool, instance);

    if (r != NULL) {
        r->held = held != 0;
    }
}


void
ms_pool_health(ms_pool_t *pool, uint32_t instance, ms_verdict_t health)
{
    ms_record_t  *r;

    r = ms_pool_member(pool, instance);

    if (r != NULL) {
        r->health = health & 3;
    }
}


void
ms_pool_await(ms_pool_t *pool, uint32_t instance, uint64_t now)
{
    ms_record_t  *r;

    (void) now;

    r = ms_pool_member(pool, instance);

    if (r == NULL || r->state != MS_INSTANCE_FREE) {
        return;
    }

    ms_pool_begin(pool);
    ms_pool_rest(pool, instance, MS_INSTANCE_LEFT, MS_POOL_NEVER);
    ms_pool_commit(pool);
}


void
ms_pool_up(ms_pool_t *pool, uint32_t instance, uint64_t now)
{
    ms_record_t  *r;

    (void) now;

    r = ms_pool_member(pool, instance);

    if (r == NULL) {
        return;
    }

    ms_pool_begin(pool);

    r->failures = 0;

    if (r->state == MS_INSTANCE_DOWN
        || (r->state == MS_INSTANCE_LEFT && !r->drain))
    {
        ms_pool_revive(pool, instance);
    }

    ms_pool_commit(pool);
}


void
ms_pool_down(ms_pool_t *pool, uint32_t instance, uint64_t now)
{
    ms_record_t  *r;

    r = ms_pool_member(pool, instance);

    if (r == NULL
        || r->state == MS_INSTANCE_TENTATIVE
        || (r->state == MS_INSTANCE_LEFT && r->retry_at == MS_POOL_NEVER))
    {
        return;
    }

    ms_pool_begin(pool);

    ms_record_failed(r, now);

    switch (r->state) {

    case MS_INSTANCE_FREE:
        (void) ms_pool_change(pool, instance, MS_INSTANCE_DOWN, NULL);
        break;

    case MS_INSTANCE_LEASED:
    case MS_INSTANCE_DRAINING:
        (void) ms_pool_change(pool, instance, MS_INSTANCE_DOWN,
                              &ms_owner_kept);
        break;

    default:
        /* it is left alone for longer */
        break;
    }

    ms_pool_commit(pool);
}


/* status */

static ms_record_t *
ms_pool_member(const ms_pool_t *pool, uint32_t id)
{
    if (id >= pool->limit
        || ms_record(pool, id)->state == MS_INSTANCE_UNUSED)
    {
        return NULL;
    }

    return ms_record(pool, id);
}


uint32_t
ms_pool_limit(const ms_pool_t *pool)
{
    return pool->limit;
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
}


void
ms_pool_info(const ms_pool_t *pool, uint32_t instance,
    ms_instance_info_t *info)
{
    ms_record_t  *r;

    memset(info, 0, sizeof(ms_instance_info_t));

    r = ms_pool_member(pool, instance);

    if (r == NULL) {
        return;
    }

    info->state = r->state;
    info->held = r->held;
    info->health = r->health;
    info->drain = r->drain;
    info->removed = r->removed;
    info->failures = r->failures;

    ms_pool_address(pool, instance, info);

    if ((r->state == MS_INSTANCE_LEFT || r->state == MS_INSTANCE_DOWN)
        && r->retry_at != MS_POOL_NEVER)
    {
        info->retry = r->retry_at;
    }

    if (r->lease == 0) {
        return;
    }

    info->foreign = r->foreign;
    info->session = ms_text_get(pool, r->session, MS_SESSION_INLINE,
                                r->session_len);
    info->session_len = r->session_len;
    info->lease = r->lease;
    info->started = r->started;
    info->used = r->used;
    info->expires = ms_record_lease_end(r);
}
