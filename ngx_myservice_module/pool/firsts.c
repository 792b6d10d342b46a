/*
 * First calls whose sessions a store is asked about.
 */

#include "pool/firsts.h"

#include <string.h>

#include "pool/claim.h"
#include "pool/record.h"


typedef struct {
    uint64_t  id;
    uint64_t  session;                  /* the hash */
    uint64_t  subject[2];               /* 0: not known */
    uint64_t  client;
    uint64_t  since;
    uint32_t  lasts;
    uint32_t  given;                    /* a lease that another question got,
                                           and nobody has: its instance, */
    uint64_t  epoch;
    unsigned  counts:1;                 /* the store may give a new lease */
} ms_first_t;

struct ms_firsts_s {
    uint64_t    next;                   /* id */
    uint32_t    n;
    ms_first_t  first[MS_FIRSTS];
};


static ms_first_t *ms_firsts_find(ms_firsts_t *firsts, uint64_t id);
static int ms_firsts_other(const ms_firsts_t *firsts, const ms_first_t *first);
static void ms_firsts_sweep(ms_firsts_t *firsts, uint64_t now);
static int ms_firsts_crowded(ms_firsts_t *firsts, const ms_pool_t *pool,
    const ms_pool_key_t *key, const ms_firsts_terms_t *terms);
static int ms_firsts_before(const ms_firsts_t *firsts, uint32_t n);
static int ms_firsts_has(ms_pool_t *pool, const ms_pool_key_t *key,
    uint32_t instance, uint64_t now);


size_t
ms_firsts_size(void)
{
    return sizeof(ms_firsts_t);
}


ms_firsts_t *
ms_firsts_create(void *mem)
{
    return memset(mem, 0, sizeof(ms_firsts_t));
}


int
ms_firsts_ask(ms_firsts_t *firsts, ms_pool_t *pool, const ms_pool_key_t *key,
    const ms_firsts_terms_t *terms, int counts, uint64_t now, uint64_t *id)
{
    ms_first_t  *first;

    ms_firsts_sweep(firsts, now);

    counts = counts
             && (ms_firsts_has(pool, key, ms_pool_session(pool, key, now), now)
                 || !ms_firsts_crowded(firsts, pool, key, terms));

    if (id == NULL) {
        return counts;
    }

    first = ms_firsts_find(firsts, *id);

    if (first == NULL && firsts->n < MS_FIRSTS) {
        first = &firsts->first[firsts->n];
        memset(first, 0, sizeof(ms_first_t));

        first->id = ++firsts->next;
        first->session = key->hash;
        first->client = terms->client;
        first->since = now;
        first->lasts = (uint32_t) terms->lasts;
        first->given = MS_POOL_NONE;

        if (terms->subject != NULL) {
            ms_record_subject(terms->subject, first->subject);
        }

        firsts->n++;
    }

    if (first == NULL) {
        return counts && !terms->of_subject && !terms->of_client;
    }

    *id = first->id;
    first->counts |= counts & 1;

    return first->counts;
}


int
ms_firsts_own(ms_firsts_t *firsts, ms_pool_t *pool, const ms_pool_key_t *key,
    uint64_t id, uint64_t now)
{
    int          ours;
    ms_first_t  *first;

    ms_firsts_sweep(firsts, now);

    first = ms_firsts_find(firsts, id);

    if (first == NULL) {
        return 0;
    }

    ours = first->given != MS_POOL_NONE
           || (ms_firsts_other(firsts, first)
               && ms_pool_session(pool, key, now) == MS_POOL_NONE);
    first->counts |= ours & 1;

    return ours;
}


void
ms_firsts_end(ms_firsts_t *firsts, ms_pool_t *pool, const ms_pool_key_t *key,
    uint64_t id, uint64_t now, uint32_t *instance, uint64_t *epoch)
{
    ms_first_t  *first;

    first = ms_firsts_find(firsts, id);

    if (first == NULL) {
        *instance = MS_POOL_NONE;
        return;
    }

    if (first->given != MS_POOL_NONE
        && (*instance == MS_POOL_NONE || first->epoch > *epoch))
    {
        *instance = first->given;
        *epoch = first->epoch;
    }

    *first = firsts->first[firsts->n - 1];
    firsts->n--;

    /* the last question of the session gives it back */

    if (*instance != MS_POOL_NONE
        && (ms_firsts_has(pool, key, *instance, now)
            || ms_firsts_pass(firsts, key, *instance, *epoch)))
    {
        *instance = MS_POOL_NONE;
    }
}


int
ms_firsts_pass(ms_firsts_t *firsts, const ms_pool_key_t *key,
    uint32_t instance, uint64_t epoch)
{
    uint32_t     i;
    ms_first_t  *first;

    for (i = 0; i < firsts->n; i++) {
        first = &firsts->first[i];

        if (first->session != key->hash) {
            continue;
        }

        /* of two leases of a session the later one is left */

        if (epoch >= first->epoch) {
            first->given = instance;
            first->epoch = epoch;
            first->counts = 1;
        }

        return 1;
    }

    return 0;
}


/* NULL: there is none */
static ms_first_t *
ms_firsts_find(ms_firsts_t *firsts, uint64_t id)
{
    uint32_t  i;

    for (i = 0; id != 0 && i < firsts->n; i++) {
        if (firsts->first[i].id == id) {
            return &firsts->first[i];
        }
    }

    return NULL;
}


/* Returns 1 if another entry of the session counts. */
static int
ms_firsts_other(const ms_firsts_t *firsts, const ms_first_t *first)
{
    uint32_t           i;
    const ms_first_t  *other;

    for (i = 0; i < firsts->n; i++) {
        other = &firsts->first[i];

        if (other != first && other->session == first->session
            && other->counts)
        {
            return 1;
        }
    }

    return 0;
}


static void
ms_firsts_sweep(ms_firsts_t *firsts, uint64_t now)
{
    uint32_t     i;
    ms_first_t  *first;

    for (i = firsts->n; i > 0; i--) {
        first = &firsts->first[i - 1];

        /* the clock of another process may be ahead of this one's */

        if ((now >= first->since && now - first->since >= first->lasts)
            || first->since >= now + first->lasts)
        {
            *first = firsts->first[firsts->n - 1];
            firsts->n--;
        }
    }
}


/* Returns 1 if the session, which no call has in the pool, is one too many: it
 * does not count yet. */
static int
ms_firsts_crowded(ms_firsts_t *firsts, const ms_pool_t *pool,
    const ms_pool_key_t *key, const ms_firsts_terms_t *terms)
{
    int                own, client, user;
    uint32_t           i, of_subject, of_client;
    uint64_t           subject[2];
    const ms_first_t  *first;

    if (!terms->of_subject && !terms->of_client) {
        return 0;
    }

    own = 0;
    of_subject = 0;
    of_client = terms->had;
    subject[0] = 0;

    if (terms->of_subject != 0 && terms->subject != NULL) {
        of_subject = ms_claim_firsts(pool, terms->subject);
        ms_record_subject(terms->subject, subject);
    }

    for (i = 0; i < firsts->n; i++) {
        first = &firsts->first[i];

        client = first->client == terms->client;
        user = subject[0] != 0 && first->subject[0] == subject[0]
               && first->subject[1] == subject[1];

        if (!first->counts || (!client && !user)) {
            continue;
        }

        if (first->session == key->hash) {
            own = 1;
            continue;
        }

        if (ms_firsts_before(firsts, i)) {
            continue;
        }

        of_client += client;
        of_subject += user;
    }

    return !own
           && ((subject[0] != 0 && of_subject >= terms->of_subject)
               || (terms->of_client != 0 && of_client >= terms->of_client));
}


/* Returns 1 if the session of entry "n" counts by an earlier one. */
static int
ms_firsts_before(const ms_firsts_t *firsts, uint32_t n)
{
    uint32_t  i;

    for (i = 0; i < n; i++) {
        if (firsts->first[i].counts
            && firsts->first[i].session == firsts->first[n].session)
        {
            return 1;
        }
    }

    return 0;
}


/* Returns 1 if a call of this gateway has used the session's lease. */
static int
ms_firsts_has(ms_pool_t *pool, const ms_pool_key_t *key, uint32_t instance,
    uint64_t now)
{
    return instance != MS_POOL_NONE
           && ms_pool_session(pool, key, now) == instance
           && !ms_record(pool, instance)->heard;
}
