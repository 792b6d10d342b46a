/*
 * The pool against a model of it: random operations on small pools, the same
 * on both, then every decision and everything status shows must be the same.
 * MODEL_SEED and MODEL_STEPS in the environment repeat or prolong a run.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool/key.h"
#include "harness.h"
#include "pool_pair.h"


#define POOLS   100
#define STEPS   5000


static ms_pool_terms_t
some_terms(pair_t *pair)
{
    ms_pool_terms_t  terms;

    terms.subject = pick(pair, 3) == 0 ? NULL
                                       : pair_subjects[pick(pair, 8) == 0];
    terms.routes = pick(pair, 4) != 0;
    terms.tells = pick(pair, 3) == 0;
    terms.fenced = 0;
    terms.grace = 30 * pick(pair, 2);
    terms.ttl = 100 + 50 * pick(pair, 2);
    terms.lifetime = pick(pair, 4) == 0 ? 400 : 0;
    terms.ends = pick(pair, 4) == 0 ? pair->now + 1 + pick(pair, 300) : 0;
    terms.tentative = pick(pair, 4) == 0 ? 1 + pick(pair, 2) : 0;
    terms.user = 2 * pick(pair, 4);
    terms.sessions = pick(pair, 3) == 0 ? 1 + pick(pair, 4) : 0;
    terms.call_every = pick(pair, 4) == 0 ? 1 + pick(pair, 1500000) : 0;
    terms.clock = (pair->now + pick(pair, 100)) * 1000;
    terms.epoch = 0;

    return terms;
}


/* of an instance or a store: about what is known here */
static uint64_t
some_epoch(pair_t *pair)
{
    uint64_t  epoch;

    epoch = pair->model.epoch + pick(pair, 2000);

    return epoch > 1000 ? epoch - 1000 : 1;
}


static ms_pool_terms_t
some_reported(pair_t *pair)
{
    ms_pool_terms_t  terms;

    terms = some_terms(pair);
    terms.epoch = pick(pair, 2) == 0 ? 0 : some_epoch(pair);

    return terms;
}


static void
keep_grant(pair_t *pair, const grant_t *grant)
{
    same(grant->lease.instance,
         ms_pool_find(pair->pool, pair->names[grant->model.instance],
                      strlen(pair->names[grant->model.instance])));
    same(grant->lease.epoch, grant->model.epoch);
    same(grant->lease.tentative,
         pair->model.instances[grant->model.instance].state
         == MS_INSTANCE_TENTATIVE);
    same(grant->lease.moved,
         grant->lease.tentative
         && pair->model.instances[grant->model.instance].follows);

    pair->granted[pair->grants++ % PAIR_GRANTS] = *grant;
}


/* a store has decided */
static void
step_claim_at(pair_t *pair)
{
    int              s, i;
    grant_t          grant;
    uint32_t         id;
    uint64_t         epoch;
    ms_claim_t       decision, expected;
    ms_given_t       given;
    ms_pool_key_t    hashed;
    ms_pool_terms_t  terms;

    s = (int) pick(pair, (unsigned) pair->sessions);
    i = (int) pick(pair, MODEL_INSTANCES);
    given = (ms_given_t) pick(pair, MS_GIVEN_MOVED + 1);
    epoch = some_epoch(pair);
    terms = some_terms(pair);
    memset(&grant, 0, sizeof(grant));

    id = ms_pool_find(pair->pool, pair->names[i], strlen(pair->names[i]));
    ms_pool_key(pair->pool, pair->texts[s], pair->lengths[s], &hashed);
    decision = ms_pool_claim_at(pair->pool, &hashed, &terms, id, given, epoch,
                                pair->now, &grant.lease);
    expected = model_claim_at(&pair->model, s, &terms, i, given, epoch,
                              pair->now, &grant.model);
    same(decision, expected);
    same(grant.lease.lease != 0, decision < MS_CLAIM_BUSY
                                 || decision == MS_CLAIM_UNAVAILABLE);

    if (grant.lease.lease == 0) {
        return;
    }

    same(grant.lease.instance, id);
    same(ms_pool_session(pair->pool, &hashed, pair->now), id);
    keep_grant(pair, &grant);
}


static void
step_claim(pair_t *pair)
{
    int              s;
    grant_t          grant;
    ms_claim_t       decision, expected;
    ms_pool_key_t    hashed;
    ms_pool_terms_t  terms;

    s = (int) pick(pair, (unsigned) pair->sessions);

    if (pick(pair, 3) == 0) {
        memset(&pair->seeks[s], 0, sizeof(ms_pool_seek_t));
        memset(&pair->model_seeks[s], 0, sizeof(model_seek_t));
    }

    if (pick(pair, 2) == 0) {
        pair->seeks[s].message = 1;
        pair->model_seeks[s].message = true;
    }

    if (pair->grants > 0 && pick(pair, 6) == 0) {
        grant = pair->granted[pick(pair, pair->grants < PAIR_GRANTS
                                         ? (unsigned) pair->grants
                                         : PAIR_GRANTS)];
        pair->seeks[s].held = grant.lease.lease;
        pair->seeks[s].settled = pick(pair, 2) & 1;
        pair->model_seeks[s].held = grant.model.lease;
        pair->model_seeks[s].settled = pair->seeks[s].settled;
    }

    pair->seeks[s].waiting = pick(pair, 8) == 0 ? pick(pair, 3) : 0;
    pair->model_seeks[s].waiting = pair->seeks[s].waiting;
    pair->seeks[s].crowded = pick(pair, 16) == 0;
    pair->model_seeks[s].crowded = pair->seeks[s].crowded;
    pair->seeks[s].queued = pick(pair, 4) == 0;
    pair->model_seeks[s].queued = pair->seeks[s].queued;

    terms = some_terms(pair);
    ms_pool_key(pair->pool, pair->texts[s], pair->lengths[s], &hashed);
    decision = ms_pool_claim(pair->pool, &hashed, &terms, &pair->seeks[s],
                             pair->now, &grant.lease);
    expected = model_claim(&pair->model, s, &terms, &pair->model_seeks[s],
                           pair->now, &grant.model);
    same(decision, expected);

    if (decision >= MS_CLAIM_BUSY) {
        return;
    }

    if (grant.lease.tentative && decision != MS_CLAIM_HIT) {
        same(grant.lease.lease > pair->last_lease, true);
        pair->last_lease = grant.lease.lease;
    }

    keep_grant(pair, &grant);
}


static void
step_lease(pair_t *pair)
{
    int              s;
    bool             touched, expected;
    grant_t          grant;
    unsigned         known;
    ms_pool_terms_t  terms;

    if (pair->grants == 0) {
        return;
    }

    known = pair->grants < PAIR_GRANTS ? (unsigned) pair->grants
                                       : PAIR_GRANTS;
    grant = pair->granted[pick(pair, known)];

    /* of one that is back the record may be another */

    if (pair->model.instances[grant.model.instance].member
        && pair->model.instances[grant.model.instance].joined
           < grant.model.lease)
    {
        same(ms_pool_lease_state(pair->pool, &grant.lease, pair->now),
             model_lease_state(&pair->model, grant.model, pair->now));
    }

    switch (pick(pair, 11 + pair->trouble)) {

    case 0:
    case 1:
        ms_pool_confirm(pair->pool, &grant.lease, pair->now);
        model_confirm(&pair->model, grant.model, pair->now);
        break;

    case 2:
        ms_pool_give_back(pair->pool, &grant.lease, pair->now);
        model_give_back(&pair->model, grant.model, pair->now);
        break;

    case 3:
        touched = ms_pool_touch(pair->pool, &grant.lease, pair->now) == 0;
        expected = model_touch(&pair->model, grant.model, pair->now);
        same(touched, expected);
        same(!touched || grant.lease.ends
             == pair->model.instances[grant.model.instance].ends, true);
        break;

    case 8:
        ms_pool_message(pair->pool, &grant.lease, pair->now);
        model_message(&pair->model, grant.model);
        break;

    case 4:
        ms_pool_release(pair->pool, &grant.lease, pair->now);
        model_release(&pair->model, grant.model, pair->now);
        break;

    default:
        ms_pool_fail(pair->pool, &grant.lease, pair->now);
        model_fail(&pair->model, grant.model, pair->now);
        break;

    case 9:
        ms_pool_suspect(pair->pool, &grant.lease, pair->now);
        model_suspect(&pair->model, grant.model, pair->now);
        break;

    case 10:
        terms = some_terms(pair);
        terms.epoch = some_epoch(pair);
        touched = pick(pair, 2) == 0;
        expected = model_stale(&pair->model, &grant.model, touched, &terms,
                               pair->now);
        same(ms_pool_stale(pair->pool, &grant.lease, touched, &terms,
                           pair->now),
             (int) expected);
        same(grant.lease.epoch, grant.model.epoch);
        break;

    case 7:
        terms = some_reported(pair);
        s = (int) pick(pair, (unsigned) pair->sessions + 1);

        if (s == pair->sessions) {
            s = MODEL_UNKNOWN;
        }

        ms_pool_conflict(pair->pool, &grant.lease,
                         s >= 0 ? pair->texts[s] : NULL,
                         s >= 0 ? pair->lengths[s] : 0, &terms, pair->now);
        model_conflict(&pair->model, grant.model, s, &terms, pair->now);
        break;
    }
}


static void
step_add(pair_t *pair, int i)
{
    bool      added;
    uint32_t  id;

    id = ms_pool_add(pair->pool, pair->names[i], strlen(pair->names[i]),
                     pair->names[i], 4 + pick(pair, 4), pair->model.retry,
                     pair->now);
    added = model_add(&pair->model, i, pair->now);
    same(id != MS_POOL_NONE, added);
}


static void
step_learn(pair_t *pair, int i, uint32_t id)
{
    int              s;
    uint64_t         sent, left;
    ms_pool_terms_t  terms;

    terms = some_reported(pair);
    sent = pair->now + 1 - pick(pair, pair->now < 60 ? 1 : 60);
    left = pick(pair, 2) ? 0 : 1 + pick(pair, 2 * (unsigned) terms.ttl);
    s = (int) pick(pair, (unsigned) pair->sessions * 2) - pair->sessions;
    s = s < 0 ? MODEL_NOBODY : s;

    /* mostly what is known */
    if (pick(pair, 2) == 0 && pair->model.instances[i].owner >= 0) {
        s = pair->model.instances[i].owner;
    }

    ms_pool_learn(pair->pool, id, s >= 0 ? pair->texts[s] : NULL,
                  s >= 0 ? pair->lengths[s] : 0, left, &terms, sent,
                  pair->now);
    model_learn(&pair->model, i, s, left, &terms, sent, pair->now);
}


/* mostly the same one, and late answers */
static void
step_process(pair_t *pair, int i, uint32_t id)
{
    int              process;
    bool             serves;
    char             text[64];
    uint64_t         sent;
    ms_pool_terms_t  terms;

    terms = some_terms(pair);
    process = (int) pick(pair, 4);
    serves = pick(pair, 2) == 0;
    sent = pair->now + 1 - pick(pair, pair->now < 60 ? 1 : 60);
    memset(text, '0' + process, sizeof(text));

    same(ms_pool_process(pair->pool, id, text,
                         process != 0 ? sizeof(text) : 0, serves, &terms,
                         sent, pair->now)
         != 0,
         model_process(&pair->model, i, process, serves, &terms, sent,
                       pair->now));
}


static void
step_member(pair_t *pair)
{
    int       i;
    bool      keep, drain;
    uint32_t  id;
    uint64_t  time, until;

    i = (int) pick(pair, MODEL_INSTANCES);
    id = ms_pool_find(pair->pool, pair->names[i], strlen(pair->names[i]));

    if (pick(pair, 12) == 0) {
        same(ms_pool_move(pair->pool, id), model_move(&pair->model, i));
        return;
    }

    switch (pick(pair, 22 + pair->trouble)) {

    case 0:
        ms_pool_drain(pair->pool, id, pair->now);
        model_drain(&pair->model, i, pair->now);
        break;

    case 1:
    case 2:
        ms_pool_undrain(pair->pool, id, pair->now);
        model_undrain(&pair->model, i, pair->now);
        break;

    case 20:
    case 21:
        step_process(pair, i, id);
        break;

    case 18:
    case 19:
        drain = pick(pair, 3) == 0;
        ms_pool_report_drain(pair->pool, id, drain, pair->now);
        model_report_drain(&pair->model, i, drain, pair->now);
        break;

    case 3:
        ms_pool_remove(pair->pool, id, 0, pair->now);
        model_remove(&pair->model, i, false, pair->now);
        break;

    case 4:
        ms_pool_remove(pair->pool, id, 1, pair->now);
        model_remove(&pair->model, i, true, pair->now);
        break;

    case 5:
        ms_pool_end(pair->pool, id, pair->now);
        model_end(&pair->model, i, pair->now);
        break;

    case 6:
    case 7:
    case 22:
    case 23:
    case 24:
        ms_pool_down(pair->pool, id, pair->now);
        model_down(&pair->model, i, pair->now);
        break;

    case 14:
    case 25:
        keep = pick(pair, 3) == 0;
        ms_pool_dead(pair->pool, id, keep, pair->now);
        model_dead(&pair->model, i, keep, pair->now);
        break;

    case 8:
        ms_pool_up(pair->pool, id, pair->now);
        model_up(&pair->model, i, pair->now);
        break;

    case 13:
        until = pair->now + pick(pair, 200);
        same(ms_pool_elsewhere(pair->pool, id, until, pair->now) != 0,
             model_elsewhere(&pair->model, i, until, pair->now));
        break;

    case 9:
        ms_pool_await(pair->pool, id, pair->now);
        model_await(&pair->model, i);
        break;

    case 10:
    case 11:
    case 12:
        step_learn(pair, i, id);
        break;

    case 15:
        time = pick(pair, 2) == 0 ? MODEL_NEVER : 1 + pick(pair, 150);
        ms_pool_drain_time(pair->pool, time, pair->now);
        model_drain_time(&pair->model, time, pair->now);
        break;

    default:
        step_add(pair, i);
    }
}


START_TEST(test_random)
{
    int          i, steps;
    pair_t       pair;
    unsigned     dirty;
    uint64_t     seed;
    const char  *env;

    env = getenv("MODEL_SEED");
    seed = (env != NULL ? strtoull(env, NULL, 10) : 1) * 1000003
           + (uint64_t) _i;
    env = getenv("MODEL_STEPS");
    steps = env != NULL ? atoi(env) : STEPS;

    pair_create(&pair, seed);

    for (i = 0; i < steps; i++) {

        if (pick(&pair, 3) == 0) {
            pair.now += pick(&pair, 40);
        }

        if (pick(&pair, 1000) == 0) {
            pair.now += MS_POOL_SUSPECT / 2;
        }

        /* as if a process had died; which tentative lease is the oldest is
         * lost then */

        dirty = pick(&pair, 50) == 0
                && ms_pool_count(pair.pool, MS_INSTANCE_TENTATIVE) < 2;
        pair.pool->dirty |= dirty;
        same(ms_pool_enter(pair.pool, pair.now), (int) dirty);

        model_enter(&pair.model, pair.now);

        switch (pick(&pair, 8)) {

        case 0:
            step_member(&pair);
            break;

        case 1:
        case 2:
        case 3:
            step_lease(&pair);
            break;

        case 4:
            if (pick(&pair, 2) == 0) {
                step_claim_at(&pair);
                break;
            }

            /* fall through */

        default:
            step_claim(&pair);
        }

        pair_compare(&pair);
    }

    free(pair.memory);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("pool model");

    tcase = tcase_create("random");
    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(tcase, test_random, 0, POOLS);
    suite_add_tcase(suite, tcase);

    return harness_run_units(suite);
}
