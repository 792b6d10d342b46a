/*
 * The pool: memory, states and times.  Claims and leases are in pool_claim.c,
 * members in pool_members.c, the indexes in pool_index.c, what happens after a
 * crash in pool_rebuild.c.
 */

#include <string.h>

#include "pool_internal.h"


#define MS_POOL_EXPIRE_MAX  64          /* of ms_pool_enter() */


#define ms_bit(state)       (1u << MS_INSTANCE_##state)


static uint64_t ms_pool_blocks(uint32_t instances);
static int ms_pool_allowed(const ms_record_t *r, ms_instance_state_t to,
    const ms_owner_t *owner);
static void ms_record_own(ms_pool_t *pool, ms_record_t *r,
    const ms_owner_t *owner);
static void ms_record_disown(ms_pool_t *pool, ms_record_t *r);
static void ms_record_forget(ms_pool_t *pool, uint32_t id);
static void ms_pool_due(ms_pool_t *pool, uint32_t id, uint64_t now);


const ms_owner_t  ms_owner_kept;


static const struct {
    const char  *name;
    unsigned     to;
} ms_states[MS_INSTANCE_STATES] = {
    { "unused",    ms_bit(FREE) },
    { "free",      ms_bit(TENTATIVE)|ms_bit(LEFT)|ms_bit(DOWN)
                   |ms_bit(UNUSED) },
    { "tentative", ms_bit(FREE)|ms_bit(LEASED)|ms_bit(DRAINING)|ms_bit(LEFT)
                   |ms_bit(DOWN)|ms_bit(UNUSED) },
    { "leased",    ms_bit(FREE)|ms_bit(LEASED)|ms_bit(DRAINING)|ms_bit(LEFT)
                   |ms_bit(DOWN)|ms_bit(UNUSED) },
    { "draining",  ms_bit(LEASED)|ms_bit(DRAINING)|ms_bit(LEFT)|ms_bit(DOWN)
                   |ms_bit(UNUSED) },
    { "left",      ms_bit(FREE)|ms_bit(UNUSED) },
    { "down",      ms_bit(FREE)|ms_bit(TENTATIVE)|ms_bit(LEASED)
                   |ms_bit(DRAINING)|ms_bit(LEFT)|ms_bit(DOWN)
                   |ms_bit(UNUSED) },
};

#define MS_OWNED  (ms_bit(TENTATIVE)|ms_bit(LEASED)|ms_bit(DRAINING))


/* memory */

static uint64_t
ms_pool_blocks(uint32_t instances)
{
    return instances / 16 > 8 ? instances / 16 : 8;
}


size_t
ms_pool_size(uint32_t instances)
{
    uint64_t  size;

    size = sizeof(ms_pool_t)
           + (sizeof(ms_record_t) + 2 * sizeof(uint32_t))
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

    pool->capacity = capacity;
    pool->nblocks = (uint32_t) ms_pool_blocks(capacity);
    pool->sessions_offset = sizeof(ms_pool_t)
                            + sizeof(ms_record_t) * (uint64_t) capacity;
    pool->heap_offset = pool->sessions_offset
                        + sizeof(uint32_t) * (uint64_t) capacity;
    pool->blocks_offset = pool->heap_offset
                          + sizeof(uint32_t) * (uint64_t) capacity;

    for (i = 0; i < capacity; i++) {
        memset(ms_record(pool, i), 0, sizeof(ms_record_t));
    }

    ms_pool_rebuild(pool);

    return pool;
}


void
ms_pool_key(const ms_pool_t *pool, const void *session, size_t len,
    ms_pool_key_t *key)
{
    key->session = session;
    key->len = len;
    key->hash = ms_pool_hash(session, len, pool->key);
}


/* states */

int
ms_pool_change(ms_pool_t *pool, uint32_t id, ms_instance_state_t to,
    const ms_owner_t *owner)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (!ms_pool_allowed(r, to, owner)) {
        pool->alerts++;
        return -1;
    }

    if (r->state != MS_INSTANCE_UNUSED) {
        ms_index_unlink(pool, id);
    }

    pool->counts[r->state]--;
    pool->counts[to]++;

    if (owner != NULL && owner != &ms_owner_kept) {
        ms_record_disown(pool, r);
        ms_record_own(pool, r, owner);
    }

    ms_pool_order();
    r->state = (uint8_t) to;
    ms_pool_order();

    if (owner == NULL) {
        ms_record_disown(pool, r);
    }

    if (to == MS_INSTANCE_UNUSED) {
        ms_record_forget(pool, id);
        return 0;
    }

    ms_index_link(pool, id);
    ms_pool_schedule(pool, id);

    return 0;
}


static int
ms_pool_allowed(const ms_record_t *r, ms_instance_state_t to,
    const ms_owner_t *owner)
{
    unsigned  owned;

    if ((unsigned) to >= MS_INSTANCE_STATES
        || !(ms_states[r->state].to & 1u << to))
    {
        return 0;
    }

    owned = MS_OWNED & 1u << to;

    if (owner == NULL) {
        return !owned;
    }

    if (owner == &ms_owner_kept) {
        return r->lease != 0
               && to != MS_INSTANCE_TENTATIVE
               && (owned || (to == MS_INSTANCE_DOWN
                             && r->state != MS_INSTANCE_TENTATIVE));
    }

    /* a new owner: nothing that is free or down is leased unseen */

    return owned
           && (to == MS_INSTANCE_TENTATIVE) == (r->lease == 0);
}


static void
ms_record_own(ms_pool_t *pool, ms_record_t *r, const ms_owner_t *owner)
{
    const ms_pool_terms_t  *terms;

    terms = owner->terms;

    ms_text_set(pool, r->session, MS_SESSION_INLINE, owner->session,
                owner->len);
    r->session_len = (uint16_t) (owner->len & 0x1ff);
    r->link.chain.hash = owner->hash;
    r->link.chain.next = MS_POOL_NONE;
    r->foreign = owner->foreign;
    r->learned = owner->learned;
    r->pending = 0;
    r->started = owner->now;
    r->used = owner->now;
    r->ends = ms_terms_end(terms, owner->now);
    r->ttl = terms->ttl < UINT32_MAX ? (uint32_t) terms->ttl : UINT32_MAX;

    pool->leases++;
    ms_pool_order();
    r->lease = pool->leases;
}


static void
ms_record_disown(ms_pool_t *pool, ms_record_t *r)
{
    if (r->lease == 0) {
        return;
    }

    r->lease = 0;
    ms_pool_order();
    ms_text_free(pool, r->session, MS_SESSION_INLINE, r->session_len);
    ms_record_clear(r);
}


void
ms_record_clear(ms_record_t *r)
{
    r->session_len = 0;
    r->foreign = 0;
    r->learned = 0;
    r->pending = 0;
}


static void
ms_record_forget(ms_pool_t *pool, uint32_t id)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    ms_name_unlink(pool, id);
    ms_text_free(pool, r->name, MS_NAME_INLINE, r->name_len);
    ms_text_free(pool, r->addr, MS_ADDR_INLINE, r->addr_len);

    r->name_next = pool->unused;
    pool->unused = id;
}


/* times */

uint64_t
ms_time_add(uint64_t time, uint64_t add)
{
    return add < MS_POOL_NEVER - time ? time + add : MS_POOL_NEVER;
}


uint64_t
ms_terms_end(const ms_pool_terms_t *terms, uint64_t started)
{
    uint64_t  end;

    end = terms->lifetime != 0 ? ms_time_add(started, terms->lifetime)
                               : MS_POOL_NEVER;

    return terms->ends != 0 && terms->ends < end ? terms->ends : end;
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

    switch (r->state) {

    case MS_INSTANCE_TENTATIVE:
    case MS_INSTANCE_LEASED:
    case MS_INSTANCE_DRAINING:
        return ms_record_lease_end(r);

    case MS_INSTANCE_LEFT:
        return r->retry_at;

    case MS_INSTANCE_DOWN:
        end = r->lease != 0 ? ms_record_lease_end(r) : MS_POOL_NEVER;
        return end < r->retry_at ? end : r->retry_at;

    default:
        return MS_POOL_NEVER;
    }
}


void
ms_pool_schedule(ms_pool_t *pool, uint32_t id)
{
    uint64_t  due;

    due = ms_record_due(ms_record(pool, id));

    if (due != MS_POOL_NEVER) {
        ms_heap_set(pool, id, due);
    }
}


int
ms_pool_enter(ms_pool_t *pool, uint64_t now)
{
    int           n, rebuilt;
    uint32_t      id;
    uint64_t      due;
    ms_record_t  *r;

    rebuilt = pool->dirty != 0;

    if (rebuilt) {
        ms_pool_rebuild(pool);
    }

    for (n = 0; n < MS_POOL_EXPIRE_MAX && pool->heap_len > 0; n++) {
        id = ms_pool_heap(pool)[0];
        r = ms_record(pool, id);

        if (r->due > now) {
            break;
        }

        ms_pool_begin(pool);
        due = ms_record_due(r);

        if (due == MS_POOL_NEVER) {
            ms_heap_pop(pool);

        } else if (due > now) {
            ms_heap_later(pool, due);

        } else {
            ms_heap_pop(pool);
            ms_pool_due(pool, id, now);
        }

        ms_pool_commit(pool);
    }

    return rebuilt;
}


static void
ms_pool_due(ms_pool_t *pool, uint32_t id, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (r->lease != 0 && ms_record_lease_end(r) <= now) {
        ms_pool_lapse(pool, id, now);
        return;
    }

    ms_pool_revive(pool, id);
}


/* The lease ends. */
void
ms_pool_lapse(ms_pool_t *pool, uint32_t id, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    ms_pool_rest(pool, id,
                 r->state == MS_INSTANCE_DOWN && r->retry_at > now
                     ? MS_INSTANCE_DOWN : MS_INSTANCE_FREE,
                 r->retry_at);
}


/* Without owner from now on, and in that state if it stays in the pool. */
void
ms_pool_rest(ms_pool_t *pool, uint32_t id, ms_instance_state_t to,
    uint64_t retry_at)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (r->removed) {
        to = MS_INSTANCE_UNUSED;

    } else if (r->drain) {
        to = MS_INSTANCE_LEFT;
        retry_at = MS_POOL_NEVER;
    }

    r->retry_at = retry_at;
    (void) ms_pool_change(pool, id, to, NULL);
}


/* What is left or down is tried again. */
void
ms_pool_revive(ms_pool_t *pool, uint32_t id)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (r->lease == 0) {
        (void) ms_pool_change(pool, id, MS_INSTANCE_FREE, NULL);
        return;
    }

    (void) ms_pool_change(pool, id,
                          r->drain ? MS_INSTANCE_DRAINING
                                   : MS_INSTANCE_LEASED,
                          &ms_owner_kept);
}


/* The processes' clocks differ a little. */
void
ms_record_use(ms_record_t *r, uint64_t now)
{
    if (now > r->used) {
        r->used = now;
    }
}


/* Never at once: who asks all that are there would ask one without end. */
uint64_t
ms_record_retry(const ms_record_t *r, uint64_t now)
{
    return r->retry == UINT32_MAX ? MS_POOL_NEVER
                                  : ms_time_add(now, r->retry ? r->retry : 1);
}


void
ms_record_failed(ms_record_t *r, uint64_t now)
{
    r->retry_at = ms_record_retry(r, now);

    if (r->failures < UINT8_MAX) {
        r->failures++;
    }
}


uint32_t
ms_pool_count(const ms_pool_t *pool, ms_instance_state_t state)
{
    return (unsigned) state < MS_INSTANCE_STATES ? pool->counts[state] : 0;
}


const char *
ms_instance_state_name(ms_instance_state_t state)
{
    return (unsigned) state < MS_INSTANCE_STATES ? ms_states[state].name
                                                 : "unknown";
}


uint64_t
ms_pool_alerts(const ms_pool_t *pool)
{
    return pool->alerts;
}
