/*
 * What an instance that is up tells of its owner.
 */

#include <string.h>

#include "pool_internal.h"


static void ms_learn_nobody(ms_pool_t *pool, uint32_t id, uint64_t now);
static int ms_learn_news(const ms_pool_t *pool, uint32_t id,
    const ms_owner_t *owner);
static void ms_learn_owner(ms_pool_t *pool, uint32_t id,
    const ms_owner_t *owner, uint64_t left);
static void ms_learn_left(ms_pool_t *pool, uint32_t id, uint64_t left,
    uint64_t now);
static void ms_learn_revive(ms_pool_t *pool, uint32_t id);


void
ms_pool_learn(ms_pool_t *pool, uint32_t instance, const void *session,
    size_t len, uint64_t left, const ms_pool_terms_t *terms, uint64_t sent,
    uint64_t now)
{
    uint32_t          other;
    ms_owner_t        owner;
    ms_record_t      *r;
    ms_pool_key_t     key;
    ms_pool_terms_t   told;

    if (instance >= pool->limit) {
        return;
    }

    r = ms_record(pool, instance);

    if (r->lease != 0 && ms_record_lease_end(r) <= now) {
        ms_pool_end(pool, instance, now);
    }

    if (r->state == MS_INSTANCE_UNUSED
        || r->state == MS_INSTANCE_TENTATIVE
        || (r->state == MS_INSTANCE_LEFT && r->drain)
        || r->used >= sent)
    {
        return;
    }

    if (len == 0) {
        ms_learn_nobody(pool, instance, now);
        return;
    }

    told = *terms;
    told.ttl = left != 0 ? left : terms->ttl;

    owner = (ms_owner_t) { .terms = &told, .now = now };

    if (len <= MS_POOL_SESSION_MAX
        && (ms_text_fits(pool, len, MS_SESSION_INLINE)
            || r->session_len > MS_SESSION_INLINE))
    {
        ms_pool_key(pool, session, len, &key);
        other = ms_pool_session(pool, &key, now);

        owner.session = key.session;
        owner.len = key.len;
        owner.hash = (uint32_t) key.hash;
        owner.foreign = other != MS_POOL_NONE && other != instance;
        owner.learned = !owner.foreign;
    }

    ms_learn_owner(pool, instance, &owner, left);
}


static void
ms_learn_nobody(ms_pool_t *pool, uint32_t id, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    ms_pool_begin(pool);

    ms_learn_revive(pool, id);

    if (r->lease != 0) {
        ms_pool_lapse(pool, id, now);
    }

    ms_pool_commit(pool);
}


static void
ms_learn_owner(ms_pool_t *pool, uint32_t id, const ms_owner_t *owner,
    uint64_t left)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    ms_pool_begin(pool);

    if (r->lease != 0 && !ms_learn_news(pool, id, owner)) {
        ms_learn_revive(pool, id);

        if (owner->len != 0 && left != 0) {
            ms_learn_left(pool, id, left, owner->now);
        }

        ms_pool_commit(pool);
        return;
    }

    r->failures = 0;

    if (r->state == MS_INSTANCE_LEFT) {
        (void) ms_pool_change(pool, id, MS_INSTANCE_FREE, NULL);
    }

    if (r->lease == 0) {
        (void) ms_pool_change(pool, id, MS_INSTANCE_TENTATIVE, owner);
        owner = &ms_owner_kept;
    }

    (void) ms_pool_change(pool, id,
                          r->drain ? MS_INSTANCE_DRAINING
                                   : MS_INSTANCE_LEASED,
                          owner);

    ms_pool_commit(pool);
}


/* An owner that is not known now is no news where there is one. */
static int
ms_learn_news(const ms_pool_t *pool, uint32_t id, const ms_owner_t *owner)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    return owner->len != 0
           && (r->session_len != owner->len
               || r->foreign != owner->foreign
               || memcmp(ms_text_get(pool, r->session, MS_SESSION_INLINE,
                                     r->session_len),
                         owner->session, owner->len)
                  != 0);
}


/*
 * The idle time begins with the last use that this gateway knows of.  Of a
 * lease that it never used only the instance knows; for one of its own the
 * instance may know of calls that came another way.
 */
static void
ms_learn_left(ms_pool_t *pool, uint32_t id, uint64_t left, uint64_t now)
{
    uint64_t      ttl;
    ms_record_t  *r;

    r = ms_record(pool, id);
    ttl = ms_time_add(now - r->used, left);

    if (ttl > UINT32_MAX) {
        ttl = UINT32_MAX;
    }

    if (ttl > r->ttl || r->learned || r->foreign) {
        r->ttl = (uint32_t) ttl;
        ms_pool_schedule(pool, id);
    }
}


static void
ms_learn_revive(ms_pool_t *pool, uint32_t id)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    r->failures = 0;

    if (r->state == MS_INSTANCE_LEFT || r->state == MS_INSTANCE_DOWN) {
        ms_pool_revive(pool, id);
    }
}
