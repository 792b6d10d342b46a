/*
 * Claims: which instance a session gets.
 */

#include <string.h>

#include "pool/claim.h"
#include "pool/index.h"
#include "pool/key.h"
#include "pool/state.h"
#include "pool/text.h"
#include "pool/tree.h"


static void ms_claim_stays(ms_pool_t *pool, uint32_t own);
static int ms_claim_lost(ms_pool_t *pool, uint32_t own,
    const ms_pool_seek_t *seek);
static int ms_claim_leaves(const ms_pool_t *pool, const ms_record_t *r,
    const ms_pool_seek_t *seek);
static ms_claim_t ms_claim_move(ms_pool_t *pool, uint32_t own,
    const ms_pool_key_t *key, const ms_pool_terms_t *terms,
    ms_pool_seek_t *seek, uint64_t now, ms_lease_t *lease);
static void ms_claim_leave(ms_pool_t *pool, uint32_t *own,
    ms_pool_seek_t *seek, uint64_t now);
static uint32_t ms_claim_free(ms_pool_t *pool, uint32_t *own,
    const ms_pool_key_t *key, ms_pool_seek_t *seek, uint64_t now);
static uint32_t ms_claim_other(ms_pool_t *pool, uint32_t *own,
    const ms_pool_key_t *key, ms_pool_seek_t *seek, uint64_t now);
static int ms_claim_back(ms_pool_t *pool, uint32_t own,
    const ms_pool_key_t *key, const ms_pool_terms_t *terms, uint64_t now,
    ms_lease_t *lease);
static int ms_claim_count(ms_record_t *r, const ms_pool_terms_t *terms,
    ms_pool_seek_t *seek, uint64_t now);
static uint32_t ms_claim_take(ms_pool_t *pool);
static uint32_t ms_claim_up(const ms_pool_t *pool);
static uint32_t ms_claim_down(const ms_pool_t *pool, uint64_t position,
    ms_pool_seek_t *seek);


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
        own = ms_index_spare(pool, key, now);
    }

    if (own == MS_POOL_NONE) {
        return terms->tells && seek->settled
               ? MS_CLAIM_LOST
               : ms_claim_move(pool, own, key, terms, seek, now, lease);
    }

    r = ms_record(pool, own);
    decision = MS_CLAIM_HIT;

    if (!ms_record_admits(r, terms->subject)) {
        return MS_CLAIM_DENIED;
    }

    if (seek->crowded && seek->queued && r->state == MS_INSTANCE_TENTATIVE
        && !r->follows)
    {
        return MS_CLAIM_LIMITED;
    }

    ms_claim_stays(pool, own);

    if (terms->tells && ms_claim_lost(pool, own, seek)) {
        return MS_CLAIM_LOST;
    }

    if (!ms_claim_count(r, terms, seek, now)) {
        return MS_CLAIM_LIMITED;
    }

    if (r->lost || ms_claim_leaves(pool, r, seek)) {
        return ms_claim_move(pool, own, key, terms, seek, now, lease);
    }

    if (r->state == MS_INSTANCE_DOWN) {

        seek->own = 1;
        seek->home = r->position;

        ms_record_begin(pool);
        ms_state_revive(pool, own);
        ms_record_commit(pool);

    } else if (r->state == MS_INSTANCE_TENTATIVE) {

        if (r->pending < UINT16_MAX) {
            r->pending++;
        }

        if (seek->message) {
            r->no_message = 0;
        }

    } else if (r->heard) {

        /* the store is silent */

        return ms_pool_claim_at(pool, key, terms, own, MS_GIVEN_SHARED,
                                r->epoch, now, lease);

    } else if (r->learned || r->foreign) {
        ms_state_adopt(pool, own);
        decision = MS_CLAIM_REBUILT;
    }

    ms_claim_keep(pool, own, terms, now, lease);

    return decision;
}


/* A session that an operator moves stays while there is nowhere to go. */
static void
ms_claim_stays(ms_pool_t *pool, uint32_t own)
{
    if (!ms_record_any(pool)) {
        (void) ms_pool_stay(pool, own);
    }
}


/*
 * Returns 1 if the session has lost its instance and the request is to be told:
 * it may have run there, or it is the first one since then.  The calls that are
 * in flight there lose their lease when the first one is told.
 */
static int
ms_claim_lost(ms_pool_t *pool, uint32_t own, const ms_pool_seek_t *seek)
{
    ms_record_t  *r;

    r = ms_record(pool, own);

    if (seek->settled && r->lease != seek->held) {
        return 1;
    }

    if (r->lost) {
        return seek->held != 0;
    }

    if (!r->untold
        && (!ms_record_serves(r) || !ms_claim_leaves(pool, r, seek)))
    {
        return 0;
    }

    ms_record_begin(pool);

    if (seek->held == 0 || !r->untold) {
        ms_state_lose(pool, own, r->why != MS_END_NONE ? r->why
                                                        : MS_END_HEALTH);
    }

    if (seek->held == 0) {
        r->lost = 1;
        r->untold = 0;
    }

    ms_record_commit(pool);

    return 1;
}


/* Returns 1 if the session has to leave its own instance. */
static int
ms_claim_leaves(const ms_pool_t *pool, const ms_record_t *r,
    const ms_pool_seek_t *seek)
{
    int  trusted, any;

    if (r->moves) {
        return 1;
    }

    if (r->state != MS_INSTANCE_DOWN && r->state != MS_INSTANCE_TENTATIVE) {
        return 0;
    }

    trusted = pool->roots[MS_TREE_FREE] != MS_POOL_NONE;
    any = ms_record_any(pool);

    if (r->state == MS_INSTANCE_DOWN) {
        return any || seek->own;
    }

    return r->health >= MS_VERDICT_FAILED ? any : trusted && r->suspect != 0;
}


/* Moves the session to another instance, from "own" unless that is none. */
static ms_claim_t
ms_claim_move(ms_pool_t *pool, uint32_t own, const ms_pool_key_t *key,
    const ms_pool_terms_t *terms, ms_pool_seek_t *seek, uint64_t now,
    ms_lease_t *lease)
{
    uint32_t      id;
    uint64_t      next_call, user, subject[2];
    ms_owner_t    owner;
    ms_record_t  *r;

    /* a new session that is one too many; with a store that says so */

    if (own == MS_POOL_NONE && !seek->stored) {

        if (ms_pool_many(pool, terms, seek->waiting, now)) {
            return MS_CLAIM_TOO_MANY;
        }

        if (seek->crowded
            || (terms->tentative != 0 && terms->subject != NULL
                && ms_claim_firsts(pool, terms->subject) >= terms->tentative))
        {
            return MS_CLAIM_LIMITED;
        }
    }

    next_call = 0;
    user = 0;
    subject[0] = 0;

    if (own != MS_POOL_NONE) {
        next_call = ms_record(pool, own)->next_call;
        user = ms_record(pool, own)->user;
        memcpy(subject, ms_record(pool, own)->subject, sizeof(subject));
    }

    id = ms_claim_free(pool, &own, key, seek, now);

    if (id == MS_POOL_NONE && own != MS_POOL_NONE
        && ms_claim_back(pool, own, key, terms, now, lease))
    {
        seek->moved = 1;
        return MS_CLAIM_MOVED;
    }

    if (id == MS_POOL_NONE) {
        id = ms_claim_other(pool, &own, key, seek, now);
    }

    if (id == MS_POOL_NONE) {
        return ms_pool_refusal(pool);
    }

    /* a session that moves frees a block for its id before it needs one */

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
        .user = user,
        .now = now
    };

    ms_record_begin(pool);

    ms_claim_leave(pool, &own, seek, now);

    (void) ms_state_change(pool, id, MS_INSTANCE_TENTATIVE, &owner);

    r = ms_record(pool, id);
    r->pending = 1;
    r->no_message = !seek->message;
    r->follows = seek->moved;
    r->next_call = next_call;

    if (subject[0] != 0) {
        ms_record_bind(r, (uint8_t *) subject);
    }

    (void) ms_claim_count(r, terms, seek, now);

    ms_record_commit(pool);

    ms_claim_grant(pool, id, now, lease);

    return seek->moved ? MS_CLAIM_MOVED : MS_CLAIM_NEW;
}


/* The session leaves its own instance, if it has one. */
static void
ms_claim_leave(ms_pool_t *pool, uint32_t *own, ms_pool_seek_t *seek,
    uint64_t now)
{
    ms_record_t  *r;

    if (*own == MS_POOL_NONE) {
        return;
    }

    r = ms_record(pool, *own);

    if (r->state == MS_INSTANCE_DOWN) {
        ms_state_vacate(pool, *own, MS_INSTANCE_DOWN, r->retry_at);

    } else {
        ms_state_end(pool, *own, now);
    }

    *own = MS_POOL_NONE;
    seek->moved = 1;
}


/* A free instance.  A session that begins anew gets its own one again if that
 * is free then. */
static uint32_t
ms_claim_free(ms_pool_t *pool, uint32_t *own, const ms_pool_key_t *key,
    ms_pool_seek_t *seek, uint64_t now)
{
    uint32_t      id;
    ms_record_t  *r;

    if (*own != MS_POOL_NONE) {
        r = ms_record(pool, *own);

        if (r->lost && r->state == MS_INSTANCE_LEASED && !r->removed) {
            ms_record_begin(pool);
            id = *own;
            ms_claim_leave(pool, own, seek, now);
            ms_record_commit(pool);

            if (r->state == MS_INSTANCE_FREE) {
                return id;
            }
        }
    }

    id = ms_tree_from(pool, MS_TREE_FREE,
                      ms_key_position(key->session, key->len));

    return id != MS_POOL_NONE ? id : ms_tree_from(pool, MS_TREE_SUSPECT, 0);
}


/* An instance that another session has without a message, or one that is
 * down. */
static uint32_t
ms_claim_other(ms_pool_t *pool, uint32_t *own, const ms_pool_key_t *key,
    ms_pool_seek_t *seek, uint64_t now)
{
    uint32_t  id;

    id = MS_POOL_NONE;

    if (seek->message
        && (*own != MS_POOL_NONE
            || ms_text_fits(pool, key->len, MS_SESSION_INLINE)))
    {
        id = ms_claim_take(pool);
    }

    if (id != MS_POOL_NONE || ms_claim_up(pool) != pool->foreign) {
        return id;
    }

    if (*own != MS_POOL_NONE && ms_record(pool, *own)->lost) {
        ms_record_begin(pool);
        ms_claim_leave(pool, own, seek, now);
        ms_record_commit(pool);
    }

    return ms_claim_down(pool, ms_key_position(key->session, key->len), seek);
}


/* Moves the session from "own", which is down or drained, to an instance that
 * reports the session.  Returns 0 if there is none that it may use. */
static int
ms_claim_back(ms_pool_t *pool, uint32_t own, const ms_pool_key_t *key,
    const ms_pool_terms_t *terms, uint64_t now, ms_lease_t *lease)
{
    uint32_t      id;
    uint64_t      subject[2];
    ms_record_t  *r, *left;

    id = ms_index_spare(pool, key, now);

    if (id == MS_POOL_NONE) {
        return 0;
    }

    r = ms_record(pool, id);
    left = ms_record(pool, own);
    memcpy(subject, left->subject, sizeof(subject));

    if (!ms_record_admits(r, terms->subject)
        || !ms_record_admits(r, subject[0] != 0 ? (uint8_t *) subject : NULL))
    {
        return 0;
    }

    ms_record_begin(pool);

    r->next_call = left->next_call;
    ms_record_bind(r, subject[0] != 0 ? (uint8_t *) subject : NULL);
    ms_index_user(pool, id, left->user);
    ms_state_vacate(pool, own, MS_INSTANCE_DOWN, left->retry_at);

    ms_record_commit(pool);

    ms_state_adopt(pool, id);
    ms_record_bind(r, terms->subject);
    ms_record_use(r, now);
    ms_claim_terms(pool, id, terms);
    ms_claim_grant(pool, id, now, lease);

    return 1;
}


/*
 * The generic cell rate algorithm: "next_call" is when the calls so far would
 * have ended if each had waited for the one before.  It may be a second ahead.
 * Returns 0 if the call is one too many.
 */
static int
ms_claim_count(ms_record_t *r, const ms_pool_terms_t *terms,
    ms_pool_seek_t *seek, uint64_t now)
{
    uint64_t  ahead;

    if (terms->call_every == 0 || seek->counted) {
        return 1;
    }

    now *= 1000;
    ahead = terms->call_every < 1000000 ? 1000000 - terms->call_every : 0;

    if (r->next_call > now + ahead) {
        return 0;
    }

    r->next_call = (r->next_call > now ? r->next_call : now)
                   + terms->call_every;
    seek->counted = 1;

    return 1;
}


uint32_t
ms_claim_firsts(const ms_pool_t *pool, const uint8_t *subject)
{
    uint32_t      id, n;
    ms_record_t  *r;

    n = 0;

    for (id = pool->oldest; subject != NULL && id != MS_POOL_NONE;
         id = r->newer)
    {
        r = ms_record(pool, id);

        if (r->subject[0] != 0 && ms_record_admits(r, subject)) {
            n++;
        }
    }

    return n;
}


int
ms_pool_many(const ms_pool_t *pool, const ms_pool_terms_t *terms,
    uint32_t waiting, uint64_t now)
{
    uint32_t  left;

    if (terms->sessions == 0 || terms->user == 0) {
        return 0;
    }

    left = waiting < terms->sessions ? terms->sessions - waiting : 0;

    return ms_pool_user_sessions(pool, terms, left, now) >= left;
}


uint32_t
ms_pool_user_sessions(const ms_pool_t *pool, const ms_pool_terms_t *terms,
    uint32_t max, uint64_t now)
{
    uint32_t         n;
    ms_pool_terms_t  reported;

    n = terms->user != 0 ? ms_index_user_count(pool, terms->user, max, now)
                         : 0;

    if (n >= max || terms->subject == NULL) {
        return n;
    }

    /* no claim has said yet whose they are */

    reported.user = 0;
    reported.subject = terms->subject;

    return n + ms_index_user_count(pool, ms_key_user(pool, &reported),
                                   max - n, now);
}


/* Ends the oldest tentative lease without a message and returns its instance;
 * MS_POOL_NONE if no such instance becomes free. */
static uint32_t
ms_claim_take(ms_pool_t *pool)
{
    uint32_t      id, newer;
    ms_record_t  *r;

    for (id = pool->oldest; id != MS_POOL_NONE; id = newer) {

        r = ms_record(pool, id);
        newer = r->newer;

        if (!r->no_message || r->drain || r->removed
            || r->health >= MS_VERDICT_FAILED)
        {
            continue;
        }

        ms_record_begin(pool);
        ms_state_vacate(pool, id, MS_INSTANCE_FREE, MS_POOL_NEVER);
        ms_record_commit(pool);

        if (r->state == MS_INSTANCE_FREE) {
            return id;
        }
    }

    return MS_POOL_NONE;
}


void
ms_claim_keep(ms_pool_t *pool, uint32_t id, const ms_pool_terms_t *terms,
    uint64_t now, ms_lease_t *lease)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (r->why != MS_END_NONE) {
        r->untold = 0;
        r->why = MS_END_NONE;
    }

    r->heard = 0;
    ms_record_bind(r, terms->subject);
    ms_record_use(r, now);
    ms_claim_terms(pool, id, terms);
    ms_claim_grant(pool, id, now, lease);
}


void
ms_claim_grant(const ms_pool_t *pool, uint32_t id, uint64_t now,
    ms_lease_t *lease)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    lease->lease = r->lease;
    lease->epoch = r->epoch;
    lease->ends = r->ends;
    lease->instance = id;
    lease->tentative = r->state == MS_INSTANCE_TENTATIVE;
    lease->moved = r->follows;
    lease->claimed = r->claimed;
    lease->granted = now;
}


ms_claim_t
ms_pool_refusal(const ms_pool_t *pool)
{
    if (ms_claim_up(pool) > 0 || ms_record_any(pool)) {
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
 * The next instance clockwise that is down and that this request has not tried.
 * The distance from the first one that it tried only grows, so the walk ends
 * however often other requests change the tree meanwhile.
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


void
ms_claim_terms(ms_pool_t *pool, uint32_t id, const ms_pool_terms_t *terms)
{
    uint32_t      ttl;
    uint64_t      ends, user;
    ms_record_t  *r;

    r = ms_record(pool, id);
    user = r->user == 0 ? ms_key_user(pool, terms)
                        : ms_record_user(r->user, terms->user);

    if (user != r->user) {
        ms_record_begin(pool);
        ms_index_user(pool, id, user);
        ms_record_commit(pool);
    }

    ttl = terms->ttl < UINT32_MAX ? (uint32_t) terms->ttl : UINT32_MAX;
    ends = ms_record_hard_end(terms, r->started);

    if (ends < r->ends && !r->learned) {
        ends = r->ends;
    }

    r->learned = 0;

    if (ttl == r->ttl && ends >= r->ends) {
        r->ends = ends;
        return;
    }

    ms_record_begin(pool);
    r->ttl = ttl;
    r->ends = ends;
    ms_state_schedule(pool, id);
    ms_record_commit(pool);
}
