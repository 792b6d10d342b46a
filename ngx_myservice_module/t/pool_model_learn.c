/*
 * The model: what instances report.
 */

#include <string.h>

#include "pool_model_state.h"


void
model_conflict(model_t *model, model_lease_t lease, int owner,
    const ms_pool_terms_t *terms, uint64_t now)
{
    int                elsewhere;
    bool               routes;
    model_instance_t  *i;

    model_epoch(model, terms->epoch);

    i = model_holder(model, lease);

    if (i == NULL) {
        return;
    }

    model_why(i, MS_END_CONFLICT);
    model_ended(i);
    i->owner = MODEL_UNKNOWN;

    if (owner != MODEL_UNKNOWN && !model_fits(model, owner)) {
        owner = MODEL_UNKNOWN;
    }

    elsewhere = owner == MODEL_UNKNOWN ? MODEL_NOBODY
                                       : model_own(model, owner);
    model_bind(model, lease.instance, model_confirmed(i), owner, terms, now);
    i->failures = 0;
    i->suspect = 0;
    routes = terms->routes || i->last == owner;
    i->foreign = elsewhere != MODEL_NOBODY || (owner >= 0 && !routes);
    i->spare = i->foreign && routes && !i->drain && !i->removed;
    i->learned = owner != MODEL_UNKNOWN && !i->foreign;

    if (i->learned) {
        i->last = owner;
    }
}


/* The instance says that it has no session. */
static void
nobody(model_t *model, model_instance_t *i, const ms_pool_terms_t *terms,
    uint64_t now)
{
    bool  early;

    i->failures = 0;
    model_revive(i);

    early = model_serves(i) && now + terms->grace < model_lease_end(i);

    if (early && i->lost) {
        /* it begins anew */

    } else if (early && terms->tells) {

        if (!i->untold) {
            model_lose(model, i, MS_END_HEALTH);
        }

    } else if (model_leased(i)) {
        model_why(i, early ? MS_END_HEALTH : MS_END_EXPIRED);
        model_lease_over(model, i, now);
    }
}


bool
model_stale(model_t *model, model_lease_t *lease, bool serves,
    const ms_pool_terms_t *terms, uint64_t now)
{
    model_instance_t  *i;

    model_epoch(model, terms->epoch);

    i = model_holder(model, *lease);

    if (i == NULL) {
        return false;
    }

    if (i->epoch != lease->epoch || terms->epoch <= i->epoch) {
        /* it has changed since */

    } else if (serves) {
        i->epoch = terms->epoch;

    } else if (i->state == MS_INSTANCE_TENTATIVE) {
        model_epoch(model, terms->clock);
        model_raise(model, i, model->epoch + 1);

    } else if (!i->moves) {
        nobody(model, i, terms, now);
    }

    lease->epoch = i->epoch;

    return i->lease == lease->lease;
}


void
model_learn(model_t *model, int instance, int owner, uint64_t left,
    const ms_pool_terms_t *terms, uint64_t sent, uint64_t now)
{
    int                elsewhere;
    bool               routes, foreign, spare;
    ms_pool_terms_t    reported;
    model_instance_t  *i;

    i = &model->instances[instance];

    if (!i->member) {
        return;
    }

    model_checked(i, now);
    model_epoch(model, terms->epoch);

    if (owner >= 0 && i->owner == owner) {
        model_raise(model, i, terms->epoch);
    }

    if (i->state == MS_INSTANCE_TENTATIVE || i->moves || i->used >= sent) {
        return;
    }

    if (owner >= 0
        && !(i->owner >= 0 && model->session_long[i->owner])
        && !model_fits(model, owner))
    {
        owner = MODEL_UNKNOWN;
    }

    elsewhere = owner >= 0 ? model_own(model, owner) : MODEL_NOBODY;
    routes = owner >= 0 && (terms->routes || i->last == owner);
    foreign = elsewhere != MODEL_NOBODY ? elsewhere != instance
                                        : owner >= 0 && !routes;
    spare = foreign && routes && !i->drain && !i->removed;

    if (i->drain
        && (i->state == MS_INSTANCE_LEFT || (i->foreign && !i->spare))
        && (elsewhere == MODEL_NOBODY || elsewhere == instance))
    {
        if (model_leased(i)) {
            model_lease_over(model, i, now);
        }

        return;
    }

    i->failures = 0;

    if (owner == MODEL_NOBODY) {
        nobody(model, i, terms, now);

    } else if (model_leased(i)
               && (owner == MODEL_UNKNOWN
                   || (owner == i->owner && foreign == i->foreign
                       && (i->spare || !spare))))
    {
        model_revive(i);
        i->asked = false;

        if (owner != MODEL_UNKNOWN && i->subject == 0) {
            i->subject = model_subject(terms);
        }

        if (owner != MODEL_UNKNOWN) {
            model_user(i, terms);
        }

        if (owner != MODEL_UNKNOWN && left != 0
            && (i->learned || i->foreign || now + left > i->used + i->ttl))
        {
            i->ttl = now + left - i->used;
        }

    } else {
        model_why(i, MS_END_CONFLICT);
        reported = *terms;
        reported.ttl = left != 0 ? left : terms->ttl;
        model_bind(model, instance, model_confirmed(i), owner, &reported, now);
        i->foreign = foreign;
        i->spare = spare;
        i->learned = owner >= 0 && !foreign;

        if (i->learned) {
            i->last = owner;
        }
    }
}


bool
model_process(model_t *model, int instance, int process, bool serves,
    const ms_pool_terms_t *terms, uint64_t sent, uint64_t now)
{
    bool               other;
    model_instance_t  *i;

    i = &model->instances[instance];

    if (!i->member || process == 0 || sent < i->passed) {
        return false;
    }

    other = i->process != 0 && i->process != process && model_leased(i)
            && i->state != MS_INSTANCE_TENTATIVE
            && !(serves && i->started >= i->passed);
    i->process = process;

    if (other && (i->foreign || i->owner == MODEL_UNKNOWN)) {
        model_lease_over(model, i, now);
        return false;
    }

    if (other) {
        model_lose(model, i, MS_END_DIED);

        if (!terms->tells) {
            i->lost = true;
            i->untold = false;
        }
    }

    return other;
}


bool
model_elsewhere(model_t *model, int instance, uint64_t until, uint64_t now)
{
    int                      own;
    model_instance_t        *i;
    const model_instance_t  *other;

    i = &model->instances[instance];

    if (!i->member || !i->foreign || i->state == MS_INSTANCE_DOWN
        || model_lease_end(i) <= now)
    {
        return false;
    }

    own = model_own(model, i->owner);
    other = own == MODEL_NOBODY ? NULL : &model->instances[own];

    if (other == NULL || other->learned
        || (other->state != MS_INSTANCE_LEASED
            && other->state != MS_INSTANCE_DRAINING))
    {
        return false;
    }

    i->asked = true;

    if (i->used + i->ttl < until) {
        i->ttl = until - i->used;
    }

    if (i->ends < until) {
        i->ends = until;
    }

    return true;
}
