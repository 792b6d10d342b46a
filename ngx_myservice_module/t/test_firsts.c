/*
 * First calls whose sessions a store is asked about: random operations of calls
 * and workers beside a store in memory.  No subject and no client may have more
 * leases without a success than its bound, and none may be left behind.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "pool/firsts.h"


#define INSTANCES  6
#define SESSIONS   12
#define SUBJECTS   2
#define CLIENTS    3
#define QUESTIONS  16
#define STEPS      200000
#define LASTS      30000


typedef enum {
    UNUSED = 0,
    SENT,
    ASKED,                              /* the store has answered */
    WOKEN,                              /* the worker has the answer */
    RUNS                                /* a call, on its instance */
} question_state_t;

/* a question, then the call that it was for */
typedef struct {
    question_state_t  state;
    int               session;
    uint64_t          id;
    bool              waits;            /* its call does */
    bool              looks;
    int               instance;         /* of the answer, -1: none */
    uint64_t          epoch;
    ms_given_t        given;
    ms_lease_t        lease;
} question_t;

typedef struct {
    int       session;                  /* -1: none */
    uint64_t  epoch;
    bool      confirmed;
} record_t;


static ms_pool_t    *pool;
static ms_firsts_t  *firsts;
static uint64_t      now, rnd, epoch;
static question_t    questions[QUESTIONS];
static record_t      store[INSTANCES];
static uint8_t       subjects[SUBJECTS][MS_POOL_SUBJECT] = { "alice", "bob" };
static unsigned      refused, orphans, heirs;


static unsigned
draw(unsigned n)
{
    rnd ^= rnd << 13;
    rnd ^= rnd >> 7;
    rnd ^= rnd << 17;

    return (unsigned) (rnd % n);
}


static ms_pool_key_t
key_of(int session)
{
    ms_pool_key_t  key;
    static char    name[16];

    snprintf(name, sizeof(name), "s%d", session);
    ms_pool_key(pool, name, strlen(name), &key);

    return key;
}


static ms_firsts_terms_t
terms_of(int session)
{
    return (ms_firsts_terms_t) {
        .subject = subjects[session % SUBJECTS], .of_subject = 2,
        .client = 1 + (uint64_t) (session % CLIENTS), .of_client = 0,
        .lasts = LASTS
    };
}


static bool
known(int session)
{
    ms_pool_key_t  key;

    key = key_of(session);

    return ms_pool_session(pool, &key, now) != MS_POOL_NONE;
}


static void
set_up(uint64_t seed)
{
    unsigned              i;
    char                  name[16];
    static const uint8_t  key[16] = "0123456789abcdef";

    rnd = seed * 2654435761u + 1;
    now = 1000;
    epoch = 1;
    pool = ms_pool_create(malloc(ms_pool_size(16)), ms_pool_size(16), key);
    firsts = ms_firsts_create(malloc(ms_firsts_size()));
    ck_assert_ptr_nonnull(pool);
    (void) ms_pool_enter(pool, now);

    for (i = 0; i < INSTANCES; i++) {
        snprintf(name, sizeof(name), "i%u", i);
        ck_assert_uint_eq(ms_pool_add(pool, name, strlen(name), name, 4, 10,
                                      now), i);
        store[i].session = -1;
    }

    memset(questions, 0, sizeof(questions));
}


static void
tear_down(void)
{
    free(pool);
    free(firsts);
}


static int
ask(int session, bool counts, uint64_t *id)
{
    ms_pool_key_t      key;
    ms_firsts_terms_t  terms;

    key = key_of(session);
    terms = terms_of(session);

    return ms_firsts_ask(firsts, pool, &key, &terms, counts, now, id);
}


/* "t" of the script */
static void
give_back(int session, uint32_t instance, uint64_t of)
{
    record_t  *r;

    r = &store[instance];

    if (r->session == session && r->epoch == of && !r->confirmed) {
        r->session = -1;
    }
}


static void
end(question_t *q)
{
    uint32_t       given;
    uint64_t       of;
    ms_pool_key_t  key;

    key = key_of(q->session);

    given = q->given == MS_GIVEN_NEW || q->given == MS_GIVEN_SHARED
            ? (uint32_t) q->instance : MS_POOL_NONE;
    of = q->epoch;
    ms_firsts_end(firsts, pool, &key, q->id, now, &given, &of);

    if (given != MS_POOL_NONE) {
        orphans++;
        give_back(q->session, given, of);
    }
}


static void
answer(question_t *q)
{
    int  i, free;

    q->state = ASKED;
    q->instance = -1;
    free = -1;

    for (i = 0; i < INSTANCES; i++) {

        if (store[i].session == q->session) {
            q->instance = i;
            q->given = store[i].confirmed ? MS_GIVEN_BEFORE : MS_GIVEN_SHARED;
            q->epoch = store[i].epoch;
            return;
        }

        if (store[i].session == -1) {
            free = i;
        }
    }

    if (free != -1 && !q->looks) {
        q->instance = free;
        q->given = MS_GIVEN_NEW;
        q->epoch = ++epoch;
        store[free] = (record_t) { q->session, epoch, false };
    }
}


static void
wake(question_t *q)
{
    ms_pool_key_t  key;

    q->state = WOKEN;

    if (q->instance != -1 && q->given == MS_GIVEN_SHARED) {
        key = key_of(q->session);

        if (ms_firsts_own(firsts, pool, &key, q->id, now)) {
            q->looks = false;
        }

        if (q->looks) {
            q->waits = false;
        }
    }

    if (q->instance == -1 || !q->waits) {
        end(q);
        q->state = UNUSED;
    }
}


static void
cancel(question_t *q)
{
    q->waits = false;

    if (q->state == WOKEN) {
        end(q);
        q->state = UNUSED;
    }
}


static void
bind_call(question_t *q)
{
    ms_claim_t           claim;
    ms_pool_key_t        key;
    ms_pool_terms_t      terms = { .ttl = 1000000 };
    ms_instance_info_t   own, info;

    /* an older answer than the pool's: its call asks again */

    key = key_of(q->session);
    ms_pool_info(pool, ms_pool_session(pool, &key, now), &own);
    ms_pool_info(pool, (uint32_t) q->instance, &info);

    if (own.epoch > q->epoch || info.epoch > q->epoch) {
        cancel(q);
        return;
    }

    /* this gateway hears of the end of a lease that was in use */

    if (q->given == MS_GIVEN_BEFORE
        && (store[q->instance].session != q->session
            || store[q->instance].epoch != q->epoch))
    {
        cancel(q);
        return;
    }

    if (q->given == MS_GIVEN_SHARED
        && ms_firsts_own(firsts, pool, &key, q->id, now))
    {
        heirs++;
        q->given = MS_GIVEN_NEW;
    }

    terms.subject = subjects[q->session % SUBJECTS];
    q->lease.lease = 0;
    claim = ms_pool_claim_at(pool, &key, &terms, (uint32_t) q->instance,
                             q->given, q->epoch, now, &q->lease);
    end(q);
    q->state = claim < MS_CLAIM_BUSY ? RUNS : UNUSED;
}


static void
finish(question_t *q, bool succeeds)
{
    record_t       *r;
    ms_pool_key_t   key;

    q->state = UNUSED;
    r = &store[q->lease.instance];
    key = key_of(q->session);

    if (succeeds && r->session == q->session && r->epoch == q->epoch) {
        ms_pool_confirm(pool, &q->lease, now);
        r->confirmed = true;
        return;
    }

    ms_pool_give_back(pool, &q->lease, now);

    /* also a later lease of the session there, which another call shared */

    if (!known(q->session) && r->session == q->session
        && !ms_firsts_pass(firsts, &key, q->lease.instance, r->epoch))
    {
        give_back(q->session, q->lease.instance, r->epoch);
    }
}


/* the session is released, or the store says that its lease has ended */
static void
look(int instance)
{
    record_t            *r;
    ms_lease_t           lease;
    ms_instance_info_t   info;

    r = &store[instance];
    ms_pool_info(pool, (uint32_t) instance, &info);
    memset(&lease, 0, sizeof(ms_lease_t));
    lease.instance = (uint32_t) instance;
    lease.lease = info.lease;

    if (info.lease == 0 || info.state == MS_INSTANCE_TENTATIVE) {
        return;
    }

    if (r->session == -1 || r->epoch != info.epoch || r->confirmed) {

        if (r->epoch == info.epoch) {
            r->session = -1;
        }

        ms_pool_end(pool, (uint32_t) instance, now);
    }
}


static void
bounded(void)
{
    int       i;
    unsigned  n[SUBJECTS] = { 0 };

    for (i = 0; i < INSTANCES; i++) {
        if (store[i].session != -1 && !store[i].confirmed) {
            n[store[i].session % SUBJECTS]++;
        }
    }

    for (i = 0; i < SUBJECTS; i++) {
        if (n[i] > 2) {
            ck_abort_msg("%u leases without a success", n[i]);
        }
    }
}


static void
step(void)
{
    question_t  *q;

    now += draw(3);
    q = &questions[draw(QUESTIONS)];

    switch (q->state) {

    case UNUSED:
        q->session = (int) draw(SESSIONS);

        if (known(q->session)) {
            look((int) draw(INSTANCES));
            break;
        }

        q->id = 0;
        q->waits = true;
        q->given = MS_GIVEN_BEFORE;
        q->looks = !ask(q->session, draw(8) != 0, &q->id);
        q->state = SENT;
        refused += q->looks;
        break;

    case SENT:
        if (draw(4)) {
            answer(q);

        } else {
            cancel(q);
        }

        break;

    case ASKED:
        if (draw(4)) {
            wake(q);

        } else {
            cancel(q);
        }

        break;

    case WOKEN:
        if (draw(4)) {
            bind_call(q);

        } else {
            cancel(q);
        }

        break;

    case RUNS:
        finish(q, draw(4) == 0);
        break;
    }
}


START_TEST(firsts_random)
{
    int       i, n;
    uint64_t  id;

    set_up((uint64_t) _i + 1);

    for (n = 0; n < STEPS; n++) {
        step();
        bounded();

        if (n % 1000) {
            continue;
        }

        /* all calls end */

        for (i = 0; i < QUESTIONS; i++) {
            if (questions[i].state == SENT) {
                answer(&questions[i]);
            }
        }

        for (i = 0; i < QUESTIONS; i++) {
            if (questions[i].state == ASKED) {
                wake(&questions[i]);
            }

            if (questions[i].state == WOKEN) {
                cancel(&questions[i]);
            }
        }

        for (i = 0; i < QUESTIONS; i++) {
            if (questions[i].state == RUNS) {
                finish(&questions[i], false);
            }
        }

        for (i = 0; i < INSTANCES; i++) {
            look(i);
            ck_assert(store[i].session == -1 || store[i].confirmed);
        }

        /* nobody counts */

        for (i = 0; i < SESSIONS; i++) {
            ck_assert(known(i) || ask(i, true, NULL));
        }

        ck_assert_ptr_null(ms_pool_check(pool));
    }

    ck_assert_uint_gt(refused, 100);
    ck_assert_uint_gt(orphans, 100);
    ck_assert_uint_gt(heirs, 100);

    /* those of a worker that died, in the middle of some */

    for (id = i = 0; i < SESSIONS; i++, id = 0) {
        (void) ask(i, true, &id);
    }

    ck_assert(!ask(SESSIONS, true, NULL));
    now += LASTS;
    ck_assert(ask(SESSIONS, true, NULL));
    tear_down();
}
END_TEST


START_TEST(firsts_client)
{
    int                i;
    uint32_t           given;
    uint64_t           id, of, ids[2];
    ms_pool_key_t      key;
    ms_firsts_terms_t  terms;

    set_up(1);
    memset(ids, 0, sizeof(ids));
    key = key_of(0);
    terms = (ms_firsts_terms_t) { .client = 7, .of_client = 2, .lasts = LASTS };

    /* the same session of two workers counts once */

    for (i = 0; i < 2; i++) {
        ck_assert(ms_firsts_ask(firsts, pool, &key, &terms, 1, now, &ids[i]));
        ck_assert_uint_ne(ids[i], 0);
    }

    key = key_of(1);
    ck_assert(ms_firsts_ask(firsts, pool, &key, &terms, 1, now, NULL));
    terms.had = 1;
    ck_assert(!ms_firsts_ask(firsts, pool, &key, &terms, 1, now, NULL));
    terms.client = 8;
    ck_assert(ms_firsts_ask(firsts, pool, &key, &terms, 1, now, NULL));
    terms.client = 7;
    terms.had = 0;

    /* who only looks does not count, until it may have an instance */

    id = 0;
    ck_assert(!ms_firsts_ask(firsts, pool, &key, &terms, 0, now, &id));
    key = key_of(2);
    ck_assert(ms_firsts_ask(firsts, pool, &key, &terms, 1, now, NULL));
    key = key_of(1);
    ck_assert(ms_firsts_ask(firsts, pool, &key, &terms, 1, now, &id));
    key = key_of(2);
    ck_assert(!ms_firsts_ask(firsts, pool, &key, &terms, 1, now, NULL));

    key = key_of(0);
    given = 3;
    of = 5;
    ms_firsts_end(firsts, pool, &key, ids[0], now, &given, &of);
    ck_assert_uint_eq(given, MS_POOL_NONE);
    ms_firsts_end(firsts, pool, &key, ids[1], now, &given, &of);
    ck_assert_uint_eq(given, 3);
    ck_assert_uint_eq(of, 5);
    key = key_of(2);
    ck_assert(ms_firsts_ask(firsts, pool, &key, &terms, 1, now, NULL));

    /* without room a session is one too many */

    terms.of_client = 2 * MS_FIRSTS;

    for (i = 1; i < MS_FIRSTS; i++) {
        id = 0;
        ck_assert(ms_firsts_ask(firsts, pool, &key, &terms, 1, now, &id));
    }

    id = 0;
    ck_assert(!ms_firsts_ask(firsts, pool, &key, &terms, 1, now, &id));
    ck_assert_uint_eq(id, 0);
    tear_down();
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("firsts");
    harness_add_loop(suite, firsts_random, 4);
    harness_add(suite, firsts_client);

    return harness_run(suite, "test_firsts");
}
