/*
 * What an instance reports of the session that it serves.
 */

#include <string.h>

#include "pool/index.h"
#include "pool/key.h"
#include "pool/state.h"
#include "pool/text.h"


static int ms_learn_names(ms_pool_t *pool, uint32_t id, const void *session,
    size_t len, const ms_pool_terms_t *terms, uint64_t now,
    ms_owner_t *owner);
static int ms_learn_over(const ms_pool_t *pool, const ms_record_t *r,
    const ms_owner_t *owner, const ms_pool_terms_t *terms);
static int ms_learn_drained(const ms_record_t *r);
static void ms_learn_nobody(ms_pool_t *pool, uint32_t id,
    const ms_pool_terms_t *terms, uint64_t now);
static int ms_learn_too_early(const ms_record_t *r,
    const ms_pool_terms_t *terms, uint64_t now);
static int ms_learn_news(const ms_pool_t *pool, uint32_t id,
    const ms_owner_t *owner);
static void ms_learn_owner(ms_pool_t *pool, uint32_t id,
    const ms_owner_t *owner, uint64_t left);
static void ms_learn_left(ms_pool_t *pool, uint32_t id, uint64_t left,
    uint64_t now);
static void ms_learn_revive(ms_pool_t *pool, uint32_t id);
static void ms_learn_until(ms_record_t *r, uint64_t until);
static int ms_learn_same(const ms_pool_t *pool, const ms_record_t *r,
    const void *session, size_t len);


void
ms_pool_conflict(ms_pool_t *pool, const ms_lease_t *lease,
    const void *session, size_t len, const ms_pool_terms_t *terms,
    uint64_t now)
{
    ms_owner_t    owner;
    ms_record_t  *r;

    ms_pool_epoch_seen(pool, terms->epoch);

    r = ms_record_leased(pool, lease, now);

    if (r == NULL) {
        return;
    }

    (void) ms_learn_names(pool, lease->instance, session, len, terms, now,
                          &owner);

    ms_record_begin(pool);

    r->failures = 0;
    ms_record_why(r, MS_END_CONFLICT);
    (void) ms_state_change(pool, lease->instance,
                           r->drain ? MS_INSTANCE_DRAINING
                                   : MS_INSTANCE_LEASED,
                           &owner);

    ms_record_commit(pool);
}


void
ms_pool_learn(ms_pool_t *pool, uint32_t instance, const void *session,
    size_t len, uint64_t left, const ms_pool_terms_t *terms, uint64_t sent,
    uint64_t now)
{
    int               elsewhere, over;
    ms_owner_t        owner;
    ms_record_t      *r;
    ms_pool_terms_t   reported;

    if (instance >= pool->limit) {
        return;
    }

    r = ms_record(pool, instance);

    (void) ms_state_expired(pool, instance, now);

    if (r->state == MS_INSTANCE_UNUSED) {
        return;
    }

    ms_state_passed(pool, instance, now);
    ms_pool_epoch_seen(pool, terms->epoch);

    if (r->lease != 0 && len != 0 && ms_learn_same(pool, r, session, len)) {
        ms_record_raise(pool, r, terms->epoch);
    }

    if (r->state == MS_INSTANCE_TENTATIVE || r->moves || r->used >= sent) {
        return;
    }

    reported = *terms;
    reported.ttl = left != 0 ? left : terms->ttl;

    elsewhere = ms_learn_names(pool, instance, session, len, &reported, now,
                               &owner);
    over = ms_learn_over(pool, r, &owner, terms);

    if (over) {
        reported.epoch = r->epoch;
        owner.foreign = 1;
        owner.spare = 0;
        owner.learned = 0;
    }

    if (ms_learn_drained(r) && !elsewhere) {
        ms_pool_end(pool, instance, now);

    } else if (len == 0) {
        ms_learn_nobody(pool, instance, terms, now);

    } else {
        ms_learn_owner(pool, instance, &owner, left);
        r->over |= over & 1;
    }
}


void
ms_pool_over(ms_pool_t *pool, uint32_t instance, uint64_t epoch)
{
    ms_record_t  *r;

    ms_pool_epoch_seen(pool, epoch);

    r = ms_record_member(pool, instance);

    if (r != NULL && r->lease == 0) {
        ms_record_raise(pool, r, epoch);
        r->over = 1;
    }
}


/* Returns 1 if the instance reports a session by a lease that is over. */
static int
ms_learn_over(const ms_pool_t *pool, const ms_record_t *r,
    const ms_owner_t *owner, const ms_pool_terms_t *terms)
{
    return terms->fenced && r->over && owner->len != 0
           && terms->epoch != 0 && terms->epoch <= r->epoch
           && (r->lease == 0
               || ms_learn_same(pool, r, owner->session, owner->len));
}


/* Returns 1 if the instance has lost its session by a drain.  It does not get
 * it back, and is only occupied to be asked to forget one that is elsewhere. */
static int
ms_learn_drained(const ms_record_t *r)
{
    return r->drain
           && (r->state == MS_INSTANCE_LEFT || (r->foreign && !r->spare));
}


/*
 * Fills "owner" for the session that the instance reports.  Claims of the
 * session find the instance if the terms say so, or if this session was the
 * last one whose claims led here.  If the session has a lease elsewhere, that
 * must be over first, and the instance must not drain.  Returns 1 if the
 * session has one.
 */
static int
ms_learn_names(ms_pool_t *pool, uint32_t id, const void *session, size_t len,
    const ms_pool_terms_t *terms, uint64_t now, ms_owner_t *owner)
{
    uint32_t       other;
    unsigned       routes;
    ms_record_t   *r;
    ms_pool_key_t  key;

    r = ms_record(pool, id);
    *owner = (ms_owner_t) { .terms = terms, .now = now };

    if (len == 0
        || len > MS_POOL_SESSION_MAX
        || (!ms_text_fits(pool, len, MS_SESSION_INLINE)
            && r->session_len <= MS_SESSION_INLINE))
    {
        return 0;
    }

    ms_pool_key(pool, session, len, &key);
    other = ms_pool_session(pool, &key, now);

    owner->session = key.session;
    owner->len = key.len;
    owner->hash = (uint32_t) key.hash;

    routes = terms->routes || r->last == owner->hash;

    owner->foreign = other != MS_POOL_NONE ? other != id : !routes;
    owner->spare = owner->foreign && routes && !ms_record_drains(r);
    owner->learned = !owner->foreign;

    return other != MS_POOL_NONE && other != id;
}


static void
ms_learn_nobody(ms_pool_t *pool, uint32_t id, const ms_pool_terms_t *terms,
    uint64_t now)
{
    int           early;
    ms_record_t  *r;

    r = ms_record(pool, id);

    ms_record_begin(pool);

    ms_learn_revive(pool, id);

    early = ms_learn_too_early(r, terms, now);

    if (early && r->lost) {
        /* the session begins anew, and learns that with its next claim */

    } else if (early && terms->tells) {

        if (!r->untold) {
            ms_state_lose(pool, id, MS_END_HEALTH);
        }

    } else if (r->lease != 0) {
        ms_record_why(r, early ? MS_END_HEALTH : MS_END_EXPIRED);
        ms_state_end(pool, id, now);
    }

    ms_record_commit(pool);
}


/* Returns 1 if the instance should still have the session. */
static int
ms_learn_too_early(const ms_record_t *r, const ms_pool_terms_t *terms,
    uint64_t now)
{
    return ms_record_serves(r)
           && ms_time_add(now, terms->grace) < ms_record_lease_end(r);
}


static void
ms_learn_owner(ms_pool_t *pool, uint32_t id, const ms_owner_t *owner,
    uint64_t left)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    ms_record_begin(pool);

    if (r->lease != 0 && !ms_learn_news(pool, id, owner)) {
        ms_learn_revive(pool, id);
        r->asked = 0;

        if (owner->len != 0) {
            ms_record_bind(r, owner->terms->subject);
            ms_index_user(pool, id, ms_key_user(pool, owner->terms));
        }

        if (owner->len != 0 && left != 0) {
            ms_learn_left(pool, id, left, owner->now);
        }

        ms_record_commit(pool);
        return;
    }

    r->failures = 0;

    if (r->state == MS_INSTANCE_LEFT) {
        (void) ms_state_change(pool, id, MS_INSTANCE_FREE, NULL);
    }

    ms_record_why(r, MS_END_CONFLICT);

    if (r->lease == 0) {
        (void) ms_state_change(pool, id, MS_INSTANCE_TENTATIVE, owner);
        owner = &ms_owner_kept;
    }

    (void) ms_state_change(pool, id,
                           r->drain ? MS_INSTANCE_DRAINING
                                   : MS_INSTANCE_LEASED,
                           owner);

    ms_record_commit(pool);
}


/* Returns 1 if the report differs from the owner in the record.  A report
 * without a session does not: the instance has an owner. */
static int
ms_learn_news(const ms_pool_t *pool, uint32_t id, const ms_owner_t *owner)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    return owner->len != 0
           && (r->foreign != owner->foreign
               || r->spare < owner->spare
               || !ms_learn_same(pool, r, owner->session, owner->len));
}


/* Returns 1 if the record's owner is that session. */
static int
ms_learn_same(const ms_pool_t *pool, const ms_record_t *r,
    const void *session, size_t len)
{
    return r->session_len == len
           && memcmp(ms_text_get(pool, r->session, MS_SESSION_INLINE, len),
                     session, len)
              == 0;
}


/*
 * The lease lasts "left" from now on.  Its idle time starts with the last use
 * that this gateway knows of.  The report decides for a lease that this gateway
 * has never used; for one of its own it only adds time, as the instance may
 * have had calls through another gateway.
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
        ms_state_schedule(pool, id);
    }
}


static void
ms_learn_revive(ms_pool_t *pool, uint32_t id)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    r->failures = 0;

    if (r->state == MS_INSTANCE_LEFT || r->state == MS_INSTANCE_DOWN) {
        ms_state_revive(pool, id);
    }
}


int
ms_pool_stale(ms_pool_t *pool, ms_lease_t *lease, int serves,
    const ms_pool_terms_t *terms, uint64_t now)
{
    ms_record_t  *r;

    ms_pool_epoch_seen(pool, terms->epoch);

    r = ms_record_leased(pool, lease, now);

    if (r == NULL) {
        return 0;
    }

    if (r->epoch != lease->epoch || r->epoch >= terms->epoch) {
        /* the lease has changed since */

    } else if (serves) {
        ms_record_raise(pool, r, terms->epoch);

    } else if (r->state == MS_INSTANCE_TENTATIVE) {
        ms_record_raise(pool, r, ms_record_epoch(pool, terms->clock));

    } else if (!r->moves) {
        ms_learn_nobody(pool, lease->instance, terms, now);
    }

    lease->epoch = r->epoch;

    return r->lease == lease->lease;
}


/* In 32 bits: one restart in four billion is missed. */
int
ms_pool_process(ms_pool_t *pool, uint32_t instance, const void *id,
    size_t len, int serves, const ms_pool_terms_t *terms, uint64_t sent,
    uint64_t now)
{
    int           lost;
    uint32_t      process;
    ms_record_t  *r;

    r = ms_record_member(pool, instance);

    if (r == NULL || len == 0 || sent < r->passed) {
        return 0;
    }

    process = (uint32_t) ms_key_hash(id, len, pool->key);
    process = process != 0 ? process : 1;
    lost = 0;

    if (r->process != 0 && r->process != process
        && !ms_state_expired(pool, instance, now)
        && r->lease != 0 && r->state != MS_INSTANCE_TENTATIVE
        && !(serves && r->started >= r->passed))
    {
        ms_record_begin(pool);

        if (ms_record_serves(r)) {
            lost = 1;
            ms_state_lose(pool, instance, MS_END_DIED);

            if (!terms->tells) {
                r->lost = 1;
                r->untold = 0;
            }

        } else {
            ms_state_end(pool, instance, now);
        }

        ms_record_commit(pool);
    }

    /* last: if this worker dies before, the next probe does all of it again */

    r->process = process;

    return lost;
}


int
ms_pool_elsewhere(ms_pool_t *pool, uint32_t instance, uint64_t until,
    uint64_t now)
{
    uint32_t       id;
    ms_record_t   *r, *other;
    ms_pool_key_t  key;

    if (instance >= pool->limit) {
        return 0;
    }

    r = ms_record(pool, instance);

    if (!ms_record_foreign(r) || ms_record_lease_end(r) <= now) {
        return 0;
    }

    ms_pool_key(pool, ms_text_get(pool, r->session, MS_SESSION_INLINE,
                                  r->session_len),
                r->session_len, &key);
    id = ms_pool_session(pool, &key, now);

    if (id == MS_POOL_NONE) {
        return 0;
    }

    other = ms_record(pool, id);

    if (other->learned || (other->state != MS_INSTANCE_LEASED
                           && other->state != MS_INSTANCE_DRAINING))
    {
        return 0;
    }

    r->asked = 1;

    if (ms_record_lease_end(r) < until) {
        ms_record_begin(pool);
        ms_learn_until(r, until);
        ms_state_schedule(pool, instance);
        ms_record_commit(pool);
    }

    return 1;
}


/* The lease does not end before "until". */
static void
ms_learn_until(ms_record_t *r, uint64_t until)
{
    uint64_t  ttl;

    ttl = until - r->used;
    ttl = ttl < UINT32_MAX ? ttl : UINT32_MAX;

    if (ttl > r->ttl) {
        r->ttl = (uint32_t) ttl;
    }

    if (until > r->ends) {
        r->ends = until;
    }
}
