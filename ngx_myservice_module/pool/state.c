/*
 * The table of states and the one function that changes a state.
 */

#include "pool/heap.h"
#include "pool/index.h"
#include "pool/key.h"
#include "pool/state.h"
#include "pool/text.h"


#define ms_bit(state)       (1u << MS_INSTANCE_##state)


static int ms_state_allowed(const ms_record_t *r, ms_instance_state_t to,
    const ms_owner_t *owner);
static void ms_state_own(ms_pool_t *pool, ms_record_t *r,
    const ms_owner_t *owner);
static void ms_state_disown(ms_pool_t *pool, ms_record_t *r);
static void ms_state_report(ms_pool_t *pool, ms_record_t *r);
static void ms_state_forget(ms_pool_t *pool, uint32_t id);


static void  (*ms_state_on_end)(const ms_ended_t *ended);

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
    { "left",      ms_bit(FREE)|ms_bit(LEASED)|ms_bit(LEFT)|ms_bit(DOWN)
                   |ms_bit(UNUSED) },
    { "down",      ms_bit(FREE)|ms_bit(TENTATIVE)|ms_bit(LEASED)
                   |ms_bit(DRAINING)|ms_bit(LEFT)|ms_bit(DOWN)
                   |ms_bit(UNUSED) },
};

#define MS_OWNED  (ms_bit(TENTATIVE)|ms_bit(LEASED)|ms_bit(DRAINING))


int
ms_state_change(ms_pool_t *pool, uint32_t id, ms_instance_state_t to,
    const ms_owner_t *owner)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (!ms_state_allowed(r, to, owner)) {
        pool->alerts++;
        return -1;
    }

    if (r->state != MS_INSTANCE_UNUSED) {
        ms_index_unlink(pool, id);
    }

    if (r->state != to) {
        r->since = (uint32_t) (pool->now / 100);
    }

    pool->foreign -= (uint32_t) ms_record_foreign(r);
    pool->counts[r->state]--;
    pool->counts[to]++;

    if (to != MS_INSTANCE_FREE && to != MS_INSTANCE_TENTATIVE) {
        r->suspect = 0;
    }

    if (owner != NULL && owner != &ms_owner_kept) {
        ms_state_disown(pool, r);
        ms_state_own(pool, r, owner);
    }

    ms_record_order();
    r->state = (uint8_t) to;
    ms_record_order();

    if (to != MS_INSTANCE_LEFT) {
        r->moves = 0;
    }

    if (owner == NULL) {
        ms_state_disown(pool, r);
    }

    if (to == MS_INSTANCE_UNUSED) {
        ms_state_forget(pool, id);
        return 0;
    }

    pool->foreign += (uint32_t) ms_record_foreign(r);
    ms_index_link(pool, id);
    ms_state_schedule(pool, id);

    return 0;
}


static int
ms_state_allowed(const ms_record_t *r, ms_instance_state_t to,
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
               && (owned || (to == MS_INSTANCE_LEFT && r->moves)
                   || (to == MS_INSTANCE_DOWN
                       && r->state != MS_INSTANCE_TENTATIVE));
    }

    /* a new owner: a claim comes first, a report replaces an owner */

    return owned
           && (to == MS_INSTANCE_TENTATIVE) == (r->lease == 0);
}


static void
ms_state_own(ms_pool_t *pool, ms_record_t *r, const ms_owner_t *owner)
{
    const ms_pool_terms_t  *terms;

    terms = owner->terms;

    ms_text_set(pool, r->session, MS_SESSION_INLINE, owner->session,
                owner->len);
    r->session_len = (uint16_t) (owner->len & 0x1ff);
    r->link.chain.hash = owner->hash;
    r->link.chain.next = MS_POOL_NONE;
    r->foreign = owner->foreign;
    r->spare = owner->spare;
    r->asked = 0;
    r->learned = owner->learned;

    if (owner->len != 0 && !owner->foreign) {
        r->last = owner->hash;
    }

    r->pending = 0;
    r->no_message = 0;
    r->follows = 0;
    r->why = MS_END_NONE;
    r->untold = 0;
    r->lost = 0;
    r->word = 0;
    r->over = 0;
    r->heard = 0;
    r->claimed = 0;
    r->next_call = 0;
    r->subject[0] = 0;
    ms_record_bind(r, owner->len != 0 ? terms->subject : NULL);
    r->user = owner->len != 0
              ? ms_record_user(owner->user, ms_key_user(pool, terms)) : 0;
    r->started = owner->now;
    r->used = owner->now;
    r->ends = ms_record_hard_end(terms, owner->now);
    r->ttl = terms->ttl < UINT32_MAX ? (uint32_t) terms->ttl : UINT32_MAX;

    if (terms->epoch != 0) {
        r->epoch = 0;
        ms_record_raise(pool, r, terms->epoch);

    } else {
        r->epoch = ms_record_epoch(pool, terms->clock);
    }

    pool->leases++;
    ms_record_order();
    r->lease = pool->leases;
}


static void
ms_state_disown(ms_pool_t *pool, ms_record_t *r)
{
    if (r->lease == 0) {
        return;
    }

    ms_state_report(pool, r);

    r->lease = 0;
    r->released = 0;
    ms_record_order();
    ms_text_free(pool, r->session, MS_SESSION_INLINE, r->session_len);
    ms_record_clear(r);
}


static void
ms_state_report(ms_pool_t *pool, ms_record_t *r)
{
    ms_ended_t  ended;

    if (r->why == MS_END_NONE) {
        return;
    }

    pool->ended[r->why]++;

    if (ms_state_on_end == NULL) {
        return;
    }

    ended.why = r->why;
    ended.session = ms_text_get(pool, r->session, MS_SESSION_INLINE,
                                r->session_len);
    ended.session_len = r->session_len;
    ended.name = (const char *) ms_text_get(pool, r->name, MS_NAME_INLINE,
                                            r->name_len);
    ended.name_len = r->name_len;
    ended.started = r->started;

    ms_state_on_end(&ended);
}


static void
ms_state_forget(ms_pool_t *pool, uint32_t id)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    ms_index_name_unlink(pool, id);
    ms_text_free(pool, r->name, MS_NAME_INLINE, r->name_len);
    ms_text_free(pool, r->addr, MS_ADDR_INLINE, r->addr_len);

    r->name_next = pool->unused;
    pool->unused = id;
}


void
ms_state_schedule(ms_pool_t *pool, uint32_t id)
{
    uint64_t  due;

    due = ms_record_due(ms_record(pool, id));

    if (due != MS_POOL_NEVER) {
        ms_heap_set(pool, id, due);
    }
}


void
ms_state_lose(ms_pool_t *pool, uint32_t id, ms_end_t why)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    r->why = why & 7;
    r->untold = !r->lost;

    pool->leases++;
    ms_record_order();
    r->lease = pool->leases;
}


void
ms_state_end(ms_pool_t *pool, uint32_t id, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (r->state == MS_INSTANCE_DOWN && r->retry_at > now) {
        ms_state_vacate(pool, id, MS_INSTANCE_DOWN, r->retry_at);

    } else if (r->health >= MS_VERDICT_FAILED) {
        ms_state_vacate(pool, id, MS_INSTANCE_DOWN, ms_record_retry(r, now));

    } else {
        ms_state_vacate(pool, id, MS_INSTANCE_FREE, MS_POOL_NEVER);
    }
}


int
ms_state_expired(ms_pool_t *pool, uint32_t id, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (r->lease == 0 || ms_record_lease_end(r) > now) {
        return 0;
    }

    ms_record_begin(pool);
    ms_record_why(r, MS_END_EXPIRED);
    ms_state_end(pool, id, now);
    ms_record_commit(pool);

    return 1;
}


void
ms_state_drained(ms_pool_t *pool, uint32_t id)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (!ms_record_findable(r) || r->state == MS_INSTANCE_TENTATIVE) {
        ms_state_vacate(pool, id, MS_INSTANCE_LEFT, MS_POOL_NEVER);
        return;
    }

    ms_record_why(r, MS_END_OPERATOR);

    /* the number first: a worker that dies behind it does it again */

    pool->leases++;
    ms_record_order();
    r->lease = pool->leases;
    r->retry_at = MS_POOL_NEVER;
    ms_record_order();
    r->moves = 1;

    (void) ms_state_change(pool, id, MS_INSTANCE_LEFT, &ms_owner_kept);
}


uint32_t
ms_pool_session(ms_pool_t *pool, const ms_pool_key_t *key, uint64_t now)
{
    uint32_t  id;

    id = ms_index_session(pool, key);

    return id != MS_POOL_NONE && ms_state_expired(pool, id, now) ? MS_POOL_NONE
                                                                 : id;
}


uint64_t
ms_pool_lease_up(const ms_pool_t *pool, uint32_t instance, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record_member(pool, instance);

    return r != NULL && r->state != MS_INSTANCE_DOWN
           && r->state != MS_INSTANCE_LEFT && ms_record_lease_end(r) > now
           ? r->lease : 0;
}


void
ms_state_vacate(ms_pool_t *pool, uint32_t id, ms_instance_state_t to,
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
    (void) ms_state_change(pool, id, to, NULL);
}


void
ms_state_revive(ms_pool_t *pool, uint32_t id)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (r->lease == 0) {

        if (r->health >= MS_VERDICT_FAILED) {
            r->health = MS_VERDICT_NONE;
        }

        (void) ms_state_change(pool, id, MS_INSTANCE_FREE, NULL);
        return;
    }

    (void) ms_state_change(pool, id,
                           r->drain ? MS_INSTANCE_DRAINING
                                   : MS_INSTANCE_LEASED,
                           &ms_owner_kept);
}


void
ms_state_trust(ms_pool_t *pool, uint32_t id)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (r->state != MS_INSTANCE_FREE) {
        r->suspect = 0;
        return;
    }

    ms_index_unlink(pool, id);
    r->suspect = 0;
    ms_index_link(pool, id);
}


void
ms_state_passed(ms_pool_t *pool, uint32_t id, uint64_t now)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    r->health = MS_VERDICT_PASSED;
    r->passed = now;
    r->word = 0;

    if (r->suspect != 0) {
        ms_record_begin(pool);
        ms_state_trust(pool, id);
        ms_record_commit(pool);
    }
}


void
ms_state_adopt(ms_pool_t *pool, uint32_t id)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (!r->foreign) {
        return;
    }

    ms_record_begin(pool);

    ms_index_unlink(pool, id);
    pool->foreign--;

    r->foreign = 0;
    r->spare = 0;
    r->learned = 1;
    r->last = r->link.chain.hash;

    ms_index_link(pool, id);

    ms_record_commit(pool);
}


uint64_t
ms_pool_ended(const ms_pool_t *pool, ms_end_t why)
{
    return (unsigned) why < MS_ENDS ? pool->ended[why] : 0;
}


const char *
ms_pool_end_name(ms_end_t why)
{
    static const char *const  names[MS_ENDS] = {
        "none", "released", "expired", "died", "health", "conflict", "removed",
        "operator"
    };

    return (unsigned) why < MS_ENDS ? names[why] : "unknown";
}


void
ms_pool_on_end(void (*handler)(const ms_ended_t *ended))
{
    ms_state_on_end = handler;
}


const char *
ms_instance_state_name(ms_instance_state_t state)
{
    return (unsigned) state < MS_INSTANCE_STATES ? ms_states[state].name
                                                 : "unknown";
}
