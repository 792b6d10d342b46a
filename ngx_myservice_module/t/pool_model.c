#include <string.h>

#include "ngx_myservice_module/t/pool_model.h"


static bool
leased(const model_instance_t *i)
{
    return i->owner != MODEL_NOBODY;
}


uint64_t
model_lease_end(const model_instance_t *i)
{
    uint64_t  end;

    end = i->used + i->ttl;

    return i->ends < end ? i->ends : end;
}


static uint64_t
hard_end(const ms_pool_terms_t *terms, uint64_t started)
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


static uint64_t
retry_at(const model_t *model, uint64_t now)
{
    return model->retry == MODEL_NEVER ? MODEL_NEVER : now + model->retry;
}


static void
vacate(model_instance_t *i, ms_instance_state_t to)
{
    i->owner = MODEL_NOBODY;
    i->lease = 0;
    i->foreign = false;
    i->learned = false;
    i->state = to;

    if (i->removed) {
        i->member = false;

    } else if (i->drain) {
        i->state = MS_INSTANCE_LEFT;
        i->retry_at = MODEL_NEVER;
    }
}


static void
lease_over(model_instance_t *i, uint64_t now)
{
    vacate(i, i->state == MS_INSTANCE_DOWN && i->retry_at > now
              ? MS_INSTANCE_DOWN : MS_INSTANCE_FREE);
}


static ms_instance_state_t
confirmed(const model_instance_t *i)
{
    return i->drain ? MS_INSTANCE_DRAINING : MS_INSTANCE_LEASED;
}


static void
back_again(model_instance_t *i)
{
    i->state = leased(i) ? confirmed(i) : MS_INSTANCE_FREE;
}


void
model_enter(model_t *model, uint64_t now)
{
    int                k;
    model_instance_t  *i;

    for (k = 0; k < MODEL_INSTANCES; k++) {
        i = &model->instances[k];

        if (i->member && leased(i) && model_lease_end(i) <= now) {
            lease_over(i, now);
        }

        if (i->member
            && (i->state == MS_INSTANCE_LEFT || i->state == MS_INSTANCE_DOWN)
            && i->retry_at <= now)
        {
            back_again(i);
        }
    }
}


static int
count(const model_t *model, ms_instance_state_t state)
{
    int  k, n;

    n = 0;

    for (k = 0; k < MODEL_INSTANCES; k++) {
        n += model->instances[k].member
             && model->instances[k].state == state;
    }

    return n;
}


static int
up(const model_t *model)
{
    return count(model, MS_INSTANCE_TENTATIVE)
           + count(model, MS_INSTANCE_LEASED)
           + count(model, MS_INSTANCE_DRAINING);
}


static bool
fits(const model_t *model, int session)
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


static int
own_instance(const model_t *model, int session)
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


static int
first_free(const model_t *model, int session)
{
    int       k, found;
    uint64_t  distance, least;

    found = MODEL_NOBODY;
    least = UINT64_MAX;

    for (k = 0; k < MODEL_INSTANCES; k++) {
        distance = model->instance_at[k] - model->session_at[session];

        if (model->instances[k].member
            && model->instances[k].state == MS_INSTANCE_FREE
            && distance <= least)
        {
            least = distance;
            found = k;
        }
    }

    return found;
}


/* Of those down and without owner: the first one, then the next one after the
 * last one tried, until it comes round; never the own one. */
static int
next_down(const model_t *model, int session, model_seek_t *seek)
{
    int       k, found;
    uint64_t  start, distance, least;

    found = MODEL_NOBODY;
    least = UINT64_MAX;
    start = seek->started ? seek->first : model->session_at[session];

    for (k = 0; k < MODEL_INSTANCES; k++) {
        distance = model->instance_at[k] - start;

        if (!model->instances[k].member
            || model->instances[k].state != MS_INSTANCE_DOWN
            || leased(&model->instances[k])
            || (seek->own && k == seek->home)
            || (seek->started && distance <= seek->last - start)
            || distance > least)
        {
            continue;
        }

        least = distance;
        found = k;
    }

    if (found == MODEL_NOBODY) {
        return found;
    }

    if (!seek->started) {
        seek->started = true;
        seek->first = model->instance_at[found];
    }

    seek->last = model->instance_at[found];

    return found;
}


static void
bind(model_t *model, int instance, ms_instance_state_t state, int session,
    const ms_pool_terms_t *terms, uint64_t now)
{
    model_instance_t  *i;

    i = &model->instances[instance];
    i->state = state;
    i->owner = session;
    i->lease = ++model->leases;
    i->pending = 1;
    i->foreign = false;
    i->learned = false;
    i->started = now;
    i->used = now;
    i->ttl = terms->ttl;
    i->ends = hard_end(terms, now);
}


static ms_claim_t
claim_own(model_t *model, int own, const ms_pool_terms_t *terms, uint64_t now,
    model_lease_t *lease)
{
    uint64_t           ends;
    ms_claim_t         decision;
    model_instance_t  *i;

    i = &model->instances[own];
    ends = hard_end(terms, i->started);
    decision = i->learned && i->state != MS_INSTANCE_DOWN ? MS_CLAIM_REBUILT
                                                          : MS_CLAIM_HIT;

    if (i->state == MS_INSTANCE_DOWN) {
        back_again(i);

    } else if (i->state == MS_INSTANCE_TENTATIVE) {
        i->pending++;
    }

    i->ends = i->learned || ends > i->ends ? ends : i->ends;
    i->learned = false;
    i->used = now;
    i->ttl = terms->ttl;
    *lease = (model_lease_t) { own, i->lease };

    return decision;
}


ms_claim_t
model_claim(model_t *model, int session, const ms_pool_terms_t *terms,
    model_seek_t *seek, uint64_t now, model_lease_t *lease)
{
    int  own, to;

    own = own_instance(model, session);
    to = first_free(model, session);

    if (own != MODEL_NOBODY
        && model->instances[own].state != MS_INSTANCE_DOWN)
    {
        return claim_own(model, own, terms, now, lease);
    }

    if (own != MODEL_NOBODY && to == MODEL_NOBODY && !seek->own) {
        seek->own = true;
        seek->home = own;
        return claim_own(model, own, terms, now, lease);
    }

    if (to == MODEL_NOBODY && up(model) == 0) {
        to = next_down(model, session, seek);
    }

    if (to == MODEL_NOBODY) {
        return up(model) > 0 ? MS_CLAIM_BUSY
               : count(model, MS_INSTANCE_DOWN) > 0 ? MS_CLAIM_UNAVAILABLE
               : MS_CLAIM_EMPTY;
    }

    if (own != MODEL_NOBODY) {
        vacate(&model->instances[own], MS_INSTANCE_DOWN);

    } else if (!fits(model, session)) {
        return MS_CLAIM_FULL;
    }

    bind(model, to, MS_INSTANCE_TENTATIVE, session, terms, now);
    *lease = (model_lease_t) { to, model->instances[to].lease };

    return own != MODEL_NOBODY ? MS_CLAIM_MOVED : MS_CLAIM_NEW;
}


static model_instance_t *
holder(model_t *model, model_lease_t lease)
{
    model_instance_t  *i;

    i = &model->instances[lease.instance];

    return i->member && leased(i) && i->lease == lease.lease ? i : NULL;
}


void
model_confirm(model_t *model, model_lease_t lease, uint64_t now)
{
    model_instance_t  *i;

    i = holder(model, lease);

    if (i == NULL) {
        return;
    }

    i->used = now;

    if (i->state == MS_INSTANCE_TENTATIVE) {
        i->state = confirmed(i);
        i->failures = 0;
    }
}


void
model_give_back(model_t *model, model_lease_t lease)
{
    model_instance_t  *i;

    i = holder(model, lease);

    if (i != NULL && i->state == MS_INSTANCE_TENTATIVE && --i->pending == 0) {
        vacate(i, MS_INSTANCE_FREE);
    }
}


bool
model_touch(model_t *model, model_lease_t lease, uint64_t now)
{
    model_instance_t  *i;

    i = holder(model, lease);

    if (i == NULL) {
        return false;
    }

    i->used = now;

    return true;
}


void
model_release(model_t *model, model_lease_t lease, uint64_t now)
{
    model_instance_t  *i;

    i = holder(model, lease);

    if (i != NULL) {
        i->used = now;
        i->retry_at = retry_at(model, now);
        vacate(i, MS_INSTANCE_LEFT);
    }
}


void
model_fail(model_t *model, model_lease_t lease, uint64_t now)
{
    model_instance_t  *i;

    i = holder(model, lease);

    if (i == NULL || i->state == MS_INSTANCE_DOWN) {
        return;
    }

    i->failures++;
    i->retry_at = retry_at(model, now);

    if (i->state == MS_INSTANCE_TENTATIVE) {
        vacate(i, MS_INSTANCE_DOWN);

    } else {
        i->state = MS_INSTANCE_DOWN;
    }
}


void
model_conflict(model_t *model, model_lease_t lease, int owner,
    const ms_pool_terms_t *terms, uint64_t now)
{
    int                elsewhere;
    model_instance_t  *i;

    i = holder(model, lease);

    if (i == NULL) {
        return;
    }

    i->owner = MODEL_UNKNOWN;

    if (owner != MODEL_UNKNOWN && !fits(model, owner)) {
        owner = MODEL_UNKNOWN;
    }

    elsewhere = owner == MODEL_UNKNOWN ? MODEL_NOBODY
                                       : own_instance(model, owner);
    bind(model, lease.instance, confirmed(i), owner, terms, now);
    i->failures = 0;
    i->foreign = elsewhere != MODEL_NOBODY;
    i->learned = owner != MODEL_UNKNOWN && !i->foreign;
}


void
model_end(model_t *model, int instance, uint64_t now)
{
    model_instance_t  *i;

    i = &model->instances[instance];

    if (i->member && leased(i)) {
        lease_over(i, now);
    }
}


bool
model_add(model_t *model, int instance)
{
    int                k, members;
    model_instance_t  *i;

    members = 0;

    for (k = 0; k < MODEL_INSTANCES; k++) {
        members += model->instances[k].member;
    }

    i = &model->instances[instance];

    if (i->member) {
        i->removed = false;
        return true;
    }

    if (members == model->capacity) {
        return false;
    }

    *i = (model_instance_t) {
        .member = true,
        .state = MS_INSTANCE_FREE,
        .owner = MODEL_NOBODY,
        .retry_at = MODEL_NEVER
    };

    return true;
}


void
model_remove(model_t *model, int instance, bool force)
{
    model_instance_t  *i;

    i = &model->instances[instance];
    i->removed = true;

    if (i->member && (force || !leased(i))) {
        vacate(i, MS_INSTANCE_FREE);
    }
}


void
model_drain(model_t *model, int instance)
{
    model_instance_t  *i;

    i = &model->instances[instance];

    if (!i->member) {
        return;
    }

    i->drain = true;

    if (!leased(i)) {
        vacate(i, MS_INSTANCE_LEFT);

    } else if (i->state == MS_INSTANCE_LEASED) {
        i->state = MS_INSTANCE_DRAINING;
    }
}


void
model_undrain(model_t *model, int instance)
{
    model_instance_t  *i;

    i = &model->instances[instance];

    if (!i->member || !i->drain) {
        return;
    }

    i->drain = false;

    if (i->state == MS_INSTANCE_LEFT || i->state == MS_INSTANCE_DRAINING) {
        back_again(i);
    }
}


void
model_up(model_t *model, int instance)
{
    model_instance_t  *i;

    i = &model->instances[instance];

    if (!i->member) {
        return;
    }

    i->failures = 0;

    if (i->state == MS_INSTANCE_DOWN
        || (i->state == MS_INSTANCE_LEFT && !i->drain))
    {
        back_again(i);
    }
}


void
model_down(model_t *model, int instance, uint64_t now)
{
    model_instance_t  *i;

    i = &model->instances[instance];

    if (!i->member || i->state == MS_INSTANCE_TENTATIVE
        || (i->state == MS_INSTANCE_LEFT && i->retry_at == MODEL_NEVER))
    {
        return;
    }

    i->failures++;
    i->retry_at = retry_at(model, now);

    if (i->state != MS_INSTANCE_LEFT) {
        i->state = MS_INSTANCE_DOWN;
    }
}


void
model_await(model_t *model, int instance)
{
    model_instance_t  *i;

    i = &model->instances[instance];

    if (i->member && i->state == MS_INSTANCE_FREE) {
        i->retry_at = MODEL_NEVER;
        i->state = MS_INSTANCE_LEFT;
    }
}


void
model_learn(model_t *model, int instance, int owner, uint64_t left,
    const ms_pool_terms_t *terms, uint64_t sent, uint64_t now)
{
    int                elsewhere;
    bool               foreign;
    ms_pool_terms_t    told;
    model_instance_t  *i;

    i = &model->instances[instance];

    if (!i->member || i->state == MS_INSTANCE_TENTATIVE
        || (i->state == MS_INSTANCE_LEFT && i->drain) || i->used >= sent)
    {
        return;
    }

    i->failures = 0;

    if (owner >= 0
        && !(i->owner >= 0 && model->session_long[i->owner])
        && !fits(model, owner))
    {
        owner = MODEL_UNKNOWN;
    }

    elsewhere = owner >= 0 ? own_instance(model, owner) : MODEL_NOBODY;
    foreign = elsewhere != MODEL_NOBODY && elsewhere != instance;

    if (owner == MODEL_NOBODY) {
        back_again(i);

        if (leased(i)) {
            vacate(i, MS_INSTANCE_FREE);
        }

    } else if (leased(i)
               && (owner == MODEL_UNKNOWN
                   || (owner == i->owner && foreign == i->foreign)))
    {
        back_again(i);

        if (owner != MODEL_UNKNOWN && left != 0
            && (i->learned || i->foreign || now + left > i->used + i->ttl))
        {
            i->ttl = now + left - i->used;
        }

    } else {
        told = *terms;
        told.ttl = left != 0 ? left : terms->ttl;
        bind(model, instance, confirmed(i), owner, &told, now);
        i->foreign = foreign;
        i->learned = owner >= 0 && !foreign;
    }
}
