/*
 * Claims, and what becomes of a lease.
 */

#include "pool_internal.h"


static ms_claim_t ms_claim_move(ms_pool_t *pool, uint32_t own,
    const ms_pool_key_t *key, const ms_pool_terms_t *terms,
    ms_pool_seek_t *seek, uint64_t now, ms_lease_t *lease);
static void ms_claim_grant(const ms_pool_t *pool, uint32_t id,
    ms_lease_t *lease);
static ms_claim_t ms_claim_refusal(const ms_pool_t *pool);
static uint32_t ms_claim_up(const ms_pool_t *pool);
static uint32_t ms_claim_down(const ms_pool_t *pool, uint64_t position,
    ms_pool_seek_t *seek);
static void ms_lease_terms(ms_pool_t *pool, uint32_t id,
    const ms_pool_terms_t *terms);
static ms_record_t *ms_lease_record(const ms_pool_t *pool,
    const ms_lease_t *lease, uint64_t now);


ms_claim_t
ms_pool_claim(ms_pool_t *pool, const ms_pool_key_t *key,
    const ms_pool_terms_t *terms, ms_pool_seek_t *seek, uint64_t now,
    ms_lease_t *lease)
{
    uint32_t      own;
    ms_claim_t    decision;
    ms_record_t  *r;

    own = ms_pool_session(pool, key, now);

    if (own == MS_POOL_NONE) {
        return ms_claim_move(pool, own, key, terms, seek, now, lease);
    }

    r = ms_record(pool, own);
    decision = MS_CLAIM_HIT;

    if (r->state == MS_INSTANCE_DOWN) {

        if (seek->own || pool->roots[MS_TREE_FREE] != MS_POOL_NONE) {
            return ms_claim_move(pool, own, key, terms, seek, now, lease);
        }

        seek->own = 1;
        seek->home = r->position;

        ms_pool_begin(pool);
        ms_pool_revive(pool, own);
        ms_pool_commit(pool);

    } else if (r->state == MS_INSTANCE_TENTATIVE) {

        if (r->pending < UINT16_MAX) {
            r->pending++;
        }

    } else if (r->learned) {
        decision = MS_CLAIM_REBUILT;
    }

    ms_record_use(r, now);
    ms_lease_terms(pool, own, terms);
    ms_claim_grant(pool, own, lease);

    return decision;
}


/* To another instance, from "own" if there is one. */
static ms_claim_t
ms_claim_move(ms_pool_t *pool, uint32_t own, const ms_pool_key_t *key,
    const ms_pool_terms_t *terms, ms_pool_seek_t *seek, uint64_t now,
    ms_lease_t *lease)
{
    uint32_t    id;
    uint64_t    position;
    ms_owner_t  owner;

    position = ms_key_position(key);
    id = ms_tree_from(pool, MS_TREE_FREE, position);

    if (id == MS_POOL_NONE && ms_claim_up(pool) == 0) {
        id = ms_claim_down(pool, position, seek);
    }

    if (id == MS_POOL_NONE) {
        return ms_claim_refusal(pool);
    }

    /* a session that moves takes its memory along */

    if (own == MS_POOL_NONE
        && !ms_text_fits(pool, key->len, MS_SESSION_INLINE))
    {
        return MS_CLAIM_FULL;
    }

    owner = (ms_owner_t) {
        .session = key->session,
        .len = key->len,
        .hash = (uint32_t) key->hash,
        .terms = terms,
        .now = now
    };

    ms_pool_begin(pool);

    if (own != MS_POOL_NONE) {
        ms_pool_rest(pool, own, MS_INSTANCE_DOWN,
                     ms_record(pool, own)->retry_at);
    }

    (void) ms_pool_change(pool, id, MS_INSTANCE_TENTATIVE, &owner);
    ms_record(pool, id)->pending = 1;

    ms_pool_commit(pool);

    ms_claim_grant(pool, id, lease);

    return own != MS_POOL_NONE ? MS_CLAIM_MOVED : MS_CLAIM_NEW;
}


uint64_t
ms_key_position(const ms_pool_key_t *key)
{
    return ms_pool_hash(key->session, key->len, ms_pool_ring_key);
}


static void
ms_claim_grant(const ms_pool_t *pool, uint32_t id, ms_lease_t *lease)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    lease->lease = r->lease;
    lease->ends = r->ends;
    lease->instance = id;
    lease->tentative = r->state == MS_INSTANCE_TENTATIVE;
}


static ms_claim_t
ms_claim_refusal(const ms_pool_t *pool)
{
    if (ms_claim_up(pool) > 0) {
        return MS_CLAIM_BUSY;
    }

    return pool->counts[MS_INSTANCE_DOWN] > 0 ? MS_CLAIM_UNAVAILABLE
                                              : MS_CLAIM_EMPTY;
}


static uint32_t
ms_claim_up(const ms_pool_t *pool)
{
    return pool->counts[MS_INSTANCE_TENTATIVE]
           + pool->counts[MS_INSTANCE_LEASED]
           + pool->counts[MS_INSTANCE_DRAINING];
}


/*
 * The next one clockwise that is down and was not tried.  Distances from the
 * first one tried only grow, whatever the others do in between.
 */
static uint32_t
ms_claim_down(const ms_pool_t *pool, uint64_t position, ms_pool_seek_t *seek)
{
    uint32_t  id;

    if (seek->started) {
        position = seek->last + 1;
    }

    id = ms_tree_from(pool, MS_TREE_DOWN, position);

    if (id == MS_POOL_NONE) {
        return MS_POOL_NONE;
    }

    position = ms_record(pool, id)->position;

    if (seek->own && position == seek->home) {
        id = ms_tree_from(pool, MS_TREE_DOWN, position + 1);
        position = ms_record(pool, id)->position;

        if (position == seek->home) {
            return MS_POOL_NONE;
        }
    }

    if (!seek->started) {
        seek->started = 1;
        seek->first = position;

    } else if (position - seek->first <= seek->last - seek->first) {
        return MS_POOL_NONE;
    }

    seek->last = position;

    return id;
}


uint32_t
ms_pool_session(ms_pool_t *pool, const ms_pool_key_t *key, uint64_t now)
{
    uint32_t  id;

    id = ms_session_find(pool, key);

    if (id != MS_POOL_NONE
        && ms_record_lease_end(ms_record(pool, id)) <= now)
    {
        ms_pool_begin(pool);
        ms_pool_lapse(pool, id, now);
        ms_pool_commit(pool);

        return MS_POOL_NONE;
    }

    return id;
}


/*
 * A newer token may let the lease live longer, an older one not shorter; who
 * told of a learned lease did not know its token.
 */
static void
ms_lease_terms(ms_pool_t *pool, uint32_t id, const ms_pool_terms_t *terms)
{
    uint32_t      ttl;
    uint64_t      ends;
    ms_record_t  *r;

    r = ms_record(pool, id);
    ttl = terms->ttl < UINT32_MAX ? (uint32_t) terms->ttl : UINT32_MAX;
    ends = ms_terms_end(terms, r->started);

    if (ends < r->ends && !r->learned) {
        ends = r->ends;
    }

    r->learned = 0;

    if (ttl == r->ttl && ends >= r->ends) {
        r->ends = ends;
        return;
    }

    ms_pool_begin(pool);
    r->ttl = ttl;
    r->ends = ends;
    ms_pool_schedule(pool, id);
    ms_pool_commit(pool);
}


/* NULL if the lease has ended. */
static ms_record_t *
ms_lease_record(const ms_pool_t *pool, const ms_lease_t *lease, uint64_t now)
{
    ms_record_t  *r;

    if (lease->lease == 0 || lease->instance >= pool->limit) {
        return NULL;
    }

    r = ms_record(pool, lease->instance);

    return r->lease == lease->lease && ms_record_lease_end(r) > now ? r
                                                                    : NULL;
}


void
ms_pool_confirm(ms_pool_t *pool, const ms_lease_t *lease, uint64_t now)
{
    ms_record_t  *r;

    r = ms_lease_record(pool, lease, now);

    if (r == NULL) {
        return;
    }

    ms_record_use(r, now);

    if (r->state != MS_INSTANCE_TENTATIVE) {
        return;
    }

    ms_pool_begin(pool);

    r->failures = 0;
    r->pending = 0;
    (void) ms_pool_change(pool, lease->instance,
                          r->drain ? MS_INSTANCE_DRAINING
                                   : MS_INSTANCE_LEASED,
                          &ms_owner_kept);

    ms_pool_commit(pool);
}


void
ms_pool_give_back(ms_pool_t *pool, const ms_lease_t *lease, uint64_t now)
{
    ms_record_t  *r;

    r = ms_lease_record(pool, lease, now);

    if (r == NULL || r->state != MS_INSTANCE_TENTATIVE
        || r->pending == UINT16_MAX)
    {
        return;
    }

    if (r->pending > 1) {
        r->pending--;
        return;
    }

    ms_pool_begin(pool);
    ms_pool_rest(pool, lease->instance, MS_INSTANCE_FREE, MS_POOL_NEVER);
    ms_pool_commit(pool);
}


int
ms_pool_touch(ms_pool_t *pool, ms_lease_t *lease, uint64_t now)
{
    ms_record_t  *r;

    r = ms_lease_record(pool, lease, now);

    if (r == NULL) {
        return -1;
    }

    ms_record_use(r, now);
    lease->ends = r->ends;

    return 0;
}


void
ms_pool_release(ms_pool_t *pool, const ms_lease_t *lease, uint64_t now)
{
    ms_record_t  *r;

    r = ms_lease_record(pool, lease, now);

    if (r == NULL) {
        return;
    }

    ms_pool_begin(pool);
    ms_record_use(r, now);
    ms_pool_rest(pool, lease->instance, MS_INSTANCE_LEFT,
                 ms_record_retry(r, now));
    ms_pool_commit(pool);
}


void
ms_pool_fail(ms_pool_t *pool, const ms_lease_t *lease, uint64_t now)
{
    ms_record_t  *r;

    r = ms_lease_record(pool, lease, now);

    if (r == NULL || r->state == MS_INSTANCE_DOWN) {
        return;
    }

    ms_pool_begin(pool);

    ms_record_failed(r, now);

    if (r->state == MS_INSTANCE_TENTATIVE) {
        ms_pool_rest(pool, lease->instance, MS_INSTANCE_DOWN, r->retry_at);

    } else {
        (void) ms_pool_change(pool, lease->instance, MS_INSTANCE_DOWN,
                              &ms_owner_kept);
    }

    ms_pool_commit(pool);
}


void
ms_pool_conflict(ms_pool_t *pool, const ms_lease_t *lease,
    const void *session, size_t len, const ms_pool_terms_t *terms,
    uint64_t now)
{
    uint32_t       other;
    ms_owner_t     owner;
    ms_record_t   *r;
    ms_pool_key_t  key;

    r = ms_lease_record(pool, lease, now);

    if (r == NULL) {
        return;
    }

    owner = (ms_owner_t) { .terms = terms, .now = now };

    if (len > 0
        && len <= MS_POOL_SESSION_MAX
        && (ms_text_fits(pool, len, MS_SESSION_INLINE)
            || r->session_len > MS_SESSION_INLINE))
    {
        ms_pool_key(pool, session, len, &key);
        other = ms_pool_session(pool, &key, now);

        owner.session = key.session;
        owner.len = key.len;
        owner.hash = (uint32_t) key.hash;
        owner.foreign = other != MS_POOL_NONE && other != lease->instance;
        owner.learned = !owner.foreign;
    }

    ms_pool_begin(pool);

    r->failures = 0;
    (void) ms_pool_change(pool, lease->instance,
                          r->drain ? MS_INSTANCE_DRAINING
                                   : MS_INSTANCE_LEASED,
                          &owner);

    ms_pool_commit(pool);
}


void
ms_pool_end(ms_pool_t *pool, uint32_t instance, uint64_t now)
{
    if (instance >= pool->limit || ms_record(pool, instance)->lease == 0) {
        return;
    }

    ms_pool_begin(pool);
    ms_pool_lapse(pool, instance, now);
    ms_pool_commit(pool);
}
