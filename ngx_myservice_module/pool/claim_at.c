/*
 * Claims of an instance that a store has given to the session: this gateway
 * follows, whatever it knew before.
 */

#include <string.h>

#include "pool/claim.h"
#include "pool/index.h"
#include "pool/state.h"
#include "pool/text.h"


static int ms_at_other(ms_given_t given);
static int ms_at_first(ms_given_t given);
static void ms_at_word(ms_pool_t *pool, uint32_t instance);
static int ms_at_lost(ms_pool_t *pool, uint32_t own, uint32_t instance,
    ms_given_t given);
static ms_claim_t ms_at_own(ms_pool_t *pool, uint32_t own,
    const ms_pool_terms_t *terms, ms_given_t given, uint64_t now,
    ms_lease_t *lease);
static int ms_at_away(const ms_record_t *r);
static void ms_at_leave(ms_pool_t *pool, uint32_t own, uint64_t now);
static int ms_at_bind(ms_pool_t *pool, uint32_t instance, int tentative,
    int word, const ms_owner_t *owner);


ms_claim_t
ms_pool_claim_at(ms_pool_t *pool, const ms_pool_key_t *key,
    const ms_pool_terms_t *terms, uint32_t instance, ms_given_t given,
    uint64_t epoch, uint64_t now, ms_lease_t *lease)
{
    int               anew, first, down, word;
    uint32_t          own;
    uint64_t          next_call, user, subject[2];
    ms_owner_t        owner;
    ms_record_t      *r;
    ms_pool_terms_t   of_store;

    ms_pool_epoch_seen(pool, epoch);

    own = ms_pool_session(pool, key, now);
    r = ms_record_member(pool, instance);

    if (r == NULL || (r->removed && own != instance)) {
        return MS_CLAIM_EMPTY;
    }

    next_call = 0;
    user = 0;
    subject[0] = 0;

    if (own != MS_POOL_NONE) {

        if (!ms_record_admits(ms_record(pool, own), terms->subject)) {
            return MS_CLAIM_DENIED;
        }

        if (terms->tells && ms_at_lost(pool, own, instance, given)) {
            return MS_CLAIM_LOST;
        }

        next_call = ms_record(pool, own)->next_call;
        user = ms_record(pool, own)->user;
        memcpy(subject, ms_record(pool, own)->subject, sizeof(subject));
    }

    /* another gateway's lease, and later than the one that was seen to fail */

    word = ms_at_other(given) && r->state == MS_INSTANCE_DOWN
           && epoch > r->epoch;

    if (word && own == instance) {
        ms_at_word(pool, instance);
    }

    /* the lease shows that gateways disagree, also if no call succeeds here */

    if (ms_at_other(given) && given != MS_GIVEN_HEARD
        && (word || (own == instance && r->word)))
    {
        given = MS_GIVEN_BEFORE;
    }

    anew = own == instance && r->lost && given != MS_GIVEN_HEARD
           && !ms_at_away(r);

    /* its first call here; or a new lease, and the end of the one that was heard
     * of comes late */

    first = own == instance && r->heard && ms_at_first(given)
            && !ms_at_away(r) && !r->removed;

    if (own == instance && !anew && !first) {
        ms_record_raise(pool, r, epoch);
        return ms_at_own(pool, own, terms, given, now, lease);
    }

    if (own == MS_POOL_NONE && r->session_len <= MS_SESSION_INLINE
        && !ms_text_fits(pool, key->len, MS_SESSION_INLINE))
    {
        return MS_CLAIM_FULL;
    }

    of_store = *terms;
    of_store.epoch = epoch;

    owner = (ms_owner_t) {
        .session = key->session,
        .len = key->len,
        .hash = (uint32_t) key->hash,
        .terms = &of_store,
        .user = user,
        .now = now
    };

    ms_record_begin(pool);

    if (own != MS_POOL_NONE) {
        ms_at_leave(pool, own, now);
    }

    if (r->lease != 0) {
        ms_record_why(r, MS_END_CONFLICT);
        ms_at_leave(pool, instance, now);
    }

    down = ms_at_bind(pool, instance, ms_at_first(given) || anew, word, &owner);

    r->heard = given == MS_GIVEN_HEARD;
    r->claimed = !ms_at_other(given);
    r->follows = r->state == MS_INSTANCE_TENTATIVE
                 && (given == MS_GIVEN_MOVED || given == MS_GIVEN_FOLLOWS
                     || anew);
    r->next_call = next_call;

    if (subject[0] != 0) {
        ms_record_bind(r, (uint8_t *) subject);
    }

    ms_record_commit(pool);

    ms_claim_grant(pool, instance, now, lease);

    if (down) {
        return MS_CLAIM_UNAVAILABLE;
    }

    if (given == MS_GIVEN_NEW && !anew) {
        return MS_CLAIM_NEW;
    }

    return given == MS_GIVEN_MOVED || (own != MS_POOL_NONE && !first)
           ? MS_CLAIM_MOVED : MS_CLAIM_REBUILT;
}


/* Another gateway has given it. */
static int
ms_at_other(ms_given_t given)
{
    return given != MS_GIVEN_NEW && given != MS_GIVEN_MOVED;
}


/* A call asks, and none is known to have succeeded. */
static int
ms_at_first(ms_given_t given)
{
    return given != MS_GIVEN_BEFORE && given != MS_GIVEN_HEARD;
}


/* The instance is down here, and serves the session at another gateway. */
static void
ms_at_word(ms_pool_t *pool, uint32_t instance)
{
    ms_record_begin(pool);

    ms_state_revive(pool, instance);
    ms_record(pool, instance)->word = 1;

    ms_record_commit(pool);
}


/*
 * Returns 1 if the session is to be told that it has lost its own instance: the
 * next claim begins anew.  A loss that another gateway has dealt with is told
 * only if this one has noted it, too.
 */
static int
ms_at_lost(ms_pool_t *pool, uint32_t own, uint32_t instance, ms_given_t given)
{
    ms_record_t  *r;

    r = ms_record(pool, own);

    if (r->lost || (r->heard && !ms_at_other(given))
        || (!r->untold
            && (own == instance || ms_at_other(given)
                || !ms_record_serves(r))))
    {
        return 0;
    }

    ms_record_begin(pool);

    ms_state_lose(pool, own, r->why != MS_END_NONE ? r->why : MS_END_HEALTH);
    r->lost = 1;
    r->untold = 0;

    ms_record_commit(pool);

    return 1;
}


/* The session has the instance already. */
static ms_claim_t
ms_at_own(ms_pool_t *pool, uint32_t own, const ms_pool_terms_t *terms,
    ms_given_t given, uint64_t now, ms_lease_t *lease)
{
    int           heard;
    ms_claim_t    decision;
    ms_record_t  *r;

    r = ms_record(pool, own);
    heard = r->heard && given == MS_GIVEN_HEARD;
    decision = r->learned ? MS_CLAIM_REBUILT : MS_CLAIM_HIT;

    if (ms_at_away(r)) {
        ms_claim_grant(pool, own, now, lease);
        return MS_CLAIM_UNAVAILABLE;
    }

    if (r->state == MS_INSTANCE_TENTATIVE && given != MS_GIVEN_HEARD
        && r->pending < UINT16_MAX)
    {
        r->pending++;
    }

    ms_claim_keep(pool, own, terms, now, lease);
    r->heard = heard & 1;

    return decision;
}


/* The session that has the instance cannot stay there. */
static int
ms_at_away(const ms_record_t *r)
{
    return r->state == MS_INSTANCE_DOWN || r->moves || (r->lost && r->removed);
}


static void
ms_at_leave(ms_pool_t *pool, uint32_t own, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record(pool, own);

    if (r->state == MS_INSTANCE_DOWN) {
        ms_state_vacate(pool, own, MS_INSTANCE_DOWN, r->retry_at);

    } else {
        ms_state_end(pool, own, now);
    }
}


/* The instance has no owner, in whatever state.  Returns 1 if it is down: it
 * stays so, and gets the owner.  By another gateway's "word" it is up. */
static int
ms_at_bind(ms_pool_t *pool, uint32_t instance, int tentative, int word,
    const ms_owner_t *owner)
{
    int           down;
    uint64_t      retry_at;
    ms_record_t  *r;

    r = ms_record(pool, instance);
    down = r->state == MS_INSTANCE_DOWN && !word;
    retry_at = r->retry_at;

    if (r->state != MS_INSTANCE_FREE) {
        (void) ms_state_change(pool, instance, MS_INSTANCE_FREE, NULL);
    }

    (void) ms_state_change(pool, instance, MS_INSTANCE_TENTATIVE, owner);
    r->pending = 1;

    if (!tentative || down) {
        r->pending = 0;
        (void) ms_state_change(pool, instance,
                               r->drain ? MS_INSTANCE_DRAINING
                                       : MS_INSTANCE_LEASED,
                               &ms_owner_kept);
    }

    if (down) {
        r->retry_at = retry_at;
        (void) ms_state_change(pool, instance, MS_INSTANCE_DOWN,
                               &ms_owner_kept);
    }

    r->word = word & 1;

    return down;
}
