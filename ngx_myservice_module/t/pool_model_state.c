/*
 * The model: when leases end, and what an instance becomes then.
 */

#include <string.h>

#include "pool_model_state.h"


bool
model_leased(const model_instance_t *i)
{
    return i->owner != MODEL_NOBODY;
}


model_instance_t *
model_holder(model_t *model, model_lease_t lease)
{
    model_instance_t  *i;

    i = &model->instances[lease.instance];

    return i->member && model_leased(i) && i->lease == lease.lease ? i : NULL;
}


void
model_checked(model_instance_t *i, uint64_t now)
{
    i->health = MS_VERDICT_PASSED;
    i->passed = now;
    i->suspect = 0;
    i->word = false;
}


uint64_t
model_lease_end(const model_instance_t *i)
{
    uint64_t  end;

    end = i->used + i->ttl;

    return i->ends < end ? i->ends : end;
}


uint64_t
model_hard_end(const ms_pool_terms_t *terms, uint64_t started)
{
    uint64_t  end;

    end = MODEL_NEVER;

    if (terms->lifetime != 0) {
        end = started + terms->lifetime;
    }

    if (terms->ends != 0 && terms->ends < end) {
        end = terms->ends;
    }

    return end;
}


uint64_t
model_retry_at(const model_t *model, uint64_t now)
{
    return model->retry == MODEL_NEVER ? MODEL_NEVER : now + model->retry;
}


int
model_subject(const ms_pool_terms_t *terms)
{
    return terms->subject != NULL ? terms->subject[0] : 0;
}


void
model_user(model_instance_t *i, const ms_pool_terms_t *terms)
{
    if (i->user <= 0 && terms->user != 0) {
        i->user = (int) terms->user;

    } else if (i->user == 0) {
        i->user = -model_subject(terms);
    }
}


bool
model_serves(const model_instance_t *i)
{
    return i->member && i->owner >= 0 && !i->foreign
           && i->state != MS_INSTANCE_TENTATIVE;
}


void
model_why(model_instance_t *i, ms_end_t why)
{
    if (model_serves(i)) {
        i->why = why;
    }
}


void
model_ended(model_instance_t *i)
{
    if (i->why != MS_END_NONE) {
        i->ended[i->why]++;
    }

    i->why = MS_END_NONE;
    i->untold = false;
    i->lost = false;
}


void
model_lose(model_t *model, model_instance_t *i, ms_end_t why)
{
    i->why = why;
    i->untold = !i->lost;
    i->lease = ++model->leases;
}


void
model_vacate(model_instance_t *i, ms_instance_state_t to)
{
    model_ended(i);
    i->subject = 0;
    i->user = 0;
    i->released = model_leased(i) ? 0 : i->released;
    i->owner = MODEL_NOBODY;
    i->lease = 0;
    i->foreign = false;
    i->spare = false;
    i->asked = false;
    i->learned = false;
    i->lost = false;
    i->heard = false;
    i->word = false;
    i->moves = false;
    i->state = to;

    if (i->removed) {
        i->member = false;

    } else if (i->drain) {
        i->state = MS_INSTANCE_LEFT;
        i->retry_at = MODEL_NEVER;
    }

    if (i->state != MS_INSTANCE_FREE) {
        i->suspect = 0;
    }
}


void
model_lease_over(const model_t *model, model_instance_t *i, uint64_t now)
{
    if (i->state == MS_INSTANCE_DOWN && i->retry_at > now) {
        model_vacate(i, MS_INSTANCE_DOWN);

    } else if (i->health >= MS_VERDICT_FAILED) {
        i->retry_at = model_retry_at(model, now);
        model_vacate(i, MS_INSTANCE_DOWN);

    } else {
        model_vacate(i, MS_INSTANCE_FREE);
    }
}


ms_instance_state_t
model_confirmed(const model_instance_t *i)
{
    return i->drain ? MS_INSTANCE_DRAINING : MS_INSTANCE_LEASED;
}


void
model_revive(model_instance_t *i)
{
    i->state = model_leased(i) ? model_confirmed(i) : MS_INSTANCE_FREE;

    if (i->state == MS_INSTANCE_FREE && i->health >= MS_VERDICT_FAILED) {
        i->health = MS_VERDICT_NONE;
    }
}


void
model_leaves(model_t *model, model_instance_t *i)
{
    if (i->owner == MODEL_UNKNOWN || i->foreign
        || i->state == MS_INSTANCE_TENTATIVE)
    {
        i->retry_at = MODEL_NEVER;
        model_vacate(i, MS_INSTANCE_LEFT);
        return;
    }

    model_why(i, MS_END_OPERATOR);
    i->state = MS_INSTANCE_LEFT;
    i->retry_at = MODEL_NEVER;
    i->moves = true;
    i->lease = ++model->leases;
}


void
model_enter(model_t *model, uint64_t now)
{
    int                k;
    model_instance_t  *i;

    for (k = 0; k < MODEL_INSTANCES; k++) {
        i = &model->instances[k];

        if (i->member && model_leased(i) && model_lease_end(i) <= now) {
            model_why(i, MS_END_EXPIRED);
            model_lease_over(model, i, now);
        }

        if (i->member && model_leased(i) && !i->moves
            && (!i->foreign || i->spare || i->removed)
            && model_drained(model, k) != 0 && model_drained(model, k) <= now)
        {
            model_leaves(model, i);
        }

        if (i->member && i->state == MS_INSTANCE_FREE && i->suspect <= now) {
            i->suspect = 0;
        }

        if (i->member
            && (i->state == MS_INSTANCE_LEFT || i->state == MS_INSTANCE_DOWN)
            && i->retry_at <= now)
        {
            model_revive(i);
        }
    }
}


bool
model_fits(const model_t *model, int session)
{
    int  k, n;

    n = 0;

    for (k = 0; k < MODEL_INSTANCES; k++) {
        if (model->instances[k].member && model->instances[k].owner >= 0) {
            n += model->session_long[model->instances[k].owner];
        }
    }

    return !model->session_long[session] || n < model->blocks;
}


int
model_own(const model_t *model, int session)
{
    int  k;

    for (k = 0; k < MODEL_INSTANCES; k++) {
        if (model->instances[k].member
            && model->instances[k].owner == session
            && !model->instances[k].foreign)
        {
            return k;
        }
    }

    return MODEL_NOBODY;
}


void
model_epoch(model_t *model, uint64_t epoch)
{
    model->epoch = epoch > model->epoch ? epoch : model->epoch;
}


void
model_raise(model_t *model, model_instance_t *i, uint64_t epoch)
{
    model_epoch(model, epoch);
    i->epoch = epoch > i->epoch ? epoch : i->epoch;
}


void
model_bind(model_t *model, int instance, ms_instance_state_t state,
    int session, const ms_pool_terms_t *terms, uint64_t now)
{
    model_instance_t  *i;

    i = &model->instances[instance];
    model_ended(i);
    i->state = state;
    i->owner = session;
    i->released = 0;
    i->lease = ++model->leases;
    i->epoch = terms->epoch;

    if (terms->epoch == 0) {
        model_epoch(model, terms->clock);
        i->epoch = model->epoch + 1;
    }

    model_epoch(model, i->epoch);
    i->pending = 1;
    i->no_message = false;
    i->next_call = 0;
    i->foreign = false;
    i->spare = false;
    i->asked = false;
    i->learned = false;
    i->lost = false;
    i->heard = false;
    i->word = false;
    i->moves = false;
    i->subject = session >= 0 ? model_subject(terms) : 0;
    i->user = 0;

    if (session >= 0) {
        model_user(i, terms);
    }

    i->started = now;
    i->used = now;
    i->ttl = terms->ttl;
    i->ends = model_hard_end(terms, now);
}
