/*
 * The model: what happens to leases and members.
 */

#include <string.h>

#include "pool_model_state.h"


void
model_message(model_t *model, model_lease_t lease)
{
    model_instance_t  *i;

    i = model_holder(model, lease);

    if (i != NULL) {
        i->no_message = false;
    }
}


void
model_confirm(model_t *model, model_lease_t lease, uint64_t now)
{
    model_instance_t  *i;

    i = model_holder(model, lease);

    if (i == NULL) {
        return;
    }

    i->used = now;

    if (i->state == MS_INSTANCE_TENTATIVE) {
        i->state = model_confirmed(i);
        i->failures = 0;
        i->suspect = 0;
    }
}


void
model_give_back(model_t *model, model_lease_t lease, uint64_t now)
{
    model_instance_t  *i;

    i = model_holder(model, lease);

    if (i != NULL && i->state == MS_INSTANCE_TENTATIVE && --i->pending == 0) {
        model_lease_over(model, i, now);
    }
}


void
model_suspect(model_t *model, model_lease_t lease, uint64_t now)
{
    model_instance_t  *i;

    i = model_holder(model, lease);

    if (i != NULL && i->state == MS_INSTANCE_TENTATIVE
        && i->passed < lease.granted)
    {
        i->suspect = now + MS_POOL_SUSPECT;
    }

    model_give_back(model, lease, now);
}


bool
model_touch(model_t *model, model_lease_t lease, uint64_t now)
{
    model_instance_t  *i;

    i = model_holder(model, lease);

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

    i = model_holder(model, lease);

    if (i != NULL) {
        i->used = now;
        i->retry_at = model_retry_at(model, now);
        model_why(i, MS_END_RELEASED);
        model_vacate(i, MS_INSTANCE_LEFT);
        i->released = lease.lease;
    }
}


void
model_fail(model_t *model, model_lease_t lease, uint64_t now)
{
    model_instance_t  *i;

    i = model_holder(model, lease);

    if (i == NULL || i->state == MS_INSTANCE_DOWN) {
        return;
    }

    i->failures++;
    i->retry_at = model_retry_at(model, now);

    if (i->state == MS_INSTANCE_TENTATIVE) {
        model_vacate(i, MS_INSTANCE_DOWN);

    } else {
        model_why(i, MS_END_DIED);
        i->untold = model_serves(i) && !i->lost;
        i->state = MS_INSTANCE_DOWN;
        i->moves = false;
    }
}


void
model_end(model_t *model, int instance, uint64_t now)
{
    model_instance_t  *i;

    i = &model->instances[instance];

    if (i->member && model_leased(i)) {
        model_why(i, MS_END_OPERATOR);
        model_lease_over(model, i, now);
    }
}


ms_move_t
model_move(model_t *model, int instance)
{
    int                k;
    bool               free;
    model_instance_t  *i;

    free = false;
    i = &model->instances[instance];

    for (k = 0; k < MODEL_INSTANCES; k++) {
        free |= model->instances[k].member
                && model->instances[k].state == MS_INSTANCE_FREE;
    }

    if (!i->member || i->owner < 0 || i->foreign || i->moves) {
        return MS_MOVE_ALREADY;
    }

    if (i->state == MS_INSTANCE_TENTATIVE) {
        return MS_MOVE_TENTATIVE;
    }

    if (!free) {
        return MS_MOVE_BUSY;
    }

    if (i->state == MS_INSTANCE_DOWN) {
        return MS_MOVE_ALREADY;
    }

    model_leaves(model, i);

    return MS_MOVE_DONE;
}


/* The instance drains from now on, or does no more. */
static void
drains(model_t *model, model_instance_t *i, uint64_t now)
{
    if (!i->drain && !i->removed) {
        i->drains = MODEL_NEVER;

        if (i->moves && i->health >= MS_VERDICT_FAILED) {
            i->state = MS_INSTANCE_DOWN;
            i->retry_at = model_retry_at(model, now);

        } else if (i->moves) {
            i->state = MS_INSTANCE_LEASED;
        }

        i->moves = false;

    } else if (i->drains == MODEL_NEVER) {
        i->drains = now;
    }
}


bool
model_add(model_t *model, int instance, uint64_t now)
{
    int                k, members;
    uint64_t           ended[MS_ENDS];
    model_instance_t  *i;

    members = 0;

    for (k = 0; k < MODEL_INSTANCES; k++) {
        members += model->instances[k].member;
    }

    i = &model->instances[instance];

    if (i->member) {
        if (i->removed) {
            i->removed = false;
            drains(model, i, now);
        }

        return true;
    }

    if (members == model->capacity) {
        return false;
    }

    memcpy(ended, i->ended, sizeof(ended));

    *i = (model_instance_t) {
        .member = true,
        .state = MS_INSTANCE_FREE,
        .owner = MODEL_NOBODY,
        .last = MODEL_NOBODY,
        .joined = model->leases,
        .retry_at = MODEL_NEVER,
        .drains = MODEL_NEVER
    };

    memcpy(i->ended, ended, sizeof(ended));

    return true;
}


void
model_remove(model_t *model, int instance, bool force, uint64_t now)
{
    model_instance_t  *i;

    i = &model->instances[instance];
    i->removed = true;
    drains(model, i, now);

    if (i->member && (force || !model_leased(i))) {
        model_why(i, MS_END_REMOVED);
        model_vacate(i, MS_INSTANCE_FREE);
    }
}


static void
drain(model_t *model, int instance, unsigned by, uint64_t now)
{
    model_instance_t  *i;

    i = &model->instances[instance];

    if (!i->member) {
        return;
    }

    i->drain |= by;
    drains(model, i, now);

    if (!model_leased(i)) {
        model_vacate(i, MS_INSTANCE_LEFT);

    } else if (i->state == MS_INSTANCE_LEASED) {
        i->state = MS_INSTANCE_DRAINING;
    }
}


static void
undrain(model_t *model, int instance, unsigned by, uint64_t now)
{
    model_instance_t  *i;

    i = &model->instances[instance];

    if (!i->member || !(i->drain & by)) {
        return;
    }

    i->drain &= ~by;
    drains(model, i, now);

    if (by == 1 && (i->drain || i->removed) && !i->moves) {
        i->drains = now;
    }

    if (i->drain || i->moves) {
        return;
    }

    if (i->state == MS_INSTANCE_LEFT && i->health >= MS_VERDICT_FAILED) {
        i->state = MS_INSTANCE_DOWN;
        i->retry_at = model_retry_at(model, now);

    } else if (i->state == MS_INSTANCE_LEFT
               || i->state == MS_INSTANCE_DRAINING)
    {
        model_revive(i);
    }
}


void
model_drain(model_t *model, int instance, uint64_t now)
{
    drain(model, instance, 1, now);
}


void
model_undrain(model_t *model, int instance, uint64_t now)
{
    undrain(model, instance, 1, now);
}


void
model_report_drain(model_t *model, int instance, bool says, uint64_t now)
{
    if (says) {
        drain(model, instance, 2, now);

    } else {
        undrain(model, instance, 2, now);
    }
}


/* A drain lasts as long as the setting of the pool says now, also when it has
 * begun before. A drain that had no end begins now. */
void
model_drain_time(model_t *model, uint64_t time, uint64_t now)
{
    int                k;
    model_instance_t  *i;

    for (k = 0; k < MODEL_INSTANCES; k++) {
        i = &model->instances[k];

        if (model->drain == MODEL_NEVER && i->drains != MODEL_NEVER) {
            i->drains = now;
        }
    }

    model->drain = time;
}


/* When it drains too long; 0: never. */
uint64_t
model_drained(const model_t *model, int instance)
{
    const model_instance_t  *i;

    i = &model->instances[instance];

    return i->drains == MODEL_NEVER || model->drain == MODEL_NEVER
           ? 0 : i->drains + model->drain;
}


void
model_up(model_t *model, int instance, uint64_t now)
{
    model_instance_t  *i;

    i = &model->instances[instance];

    if (!i->member) {
        return;
    }

    i->failures = 0;
    model_checked(i, now);

    if (i->state == MS_INSTANCE_DOWN
        || (i->state == MS_INSTANCE_LEFT && !i->drain && !i->moves))
    {
        model_revive(i);
    }
}


void
model_down(model_t *model, int instance, uint64_t now)
{
    model_instance_t  *i;

    i = &model->instances[instance];

    if (!i->member) {
        return;
    }

    i->health = MS_VERDICT_FAILED;

    if (i->state == MS_INSTANCE_LEFT && i->retry_at == MODEL_NEVER) {
        return;
    }

    i->failures++;
    i->retry_at = model_retry_at(model, now);

    if (i->state == MS_INSTANCE_LEASED || i->state == MS_INSTANCE_DRAINING) {
        model_why(i, MS_END_HEALTH);
    }

    if (i->state != MS_INSTANCE_LEFT && i->state != MS_INSTANCE_TENTATIVE) {
        i->state = MS_INSTANCE_DOWN;
        i->suspect = 0;
    }
}


void
model_dead(model_t *model, int instance, bool keep, uint64_t now)
{
    bool               known;
    model_instance_t  *i;

    i = &model->instances[instance];

    if (!i->member) {
        return;
    }

    known = i->state == MS_INSTANCE_DOWN && i->health == MS_VERDICT_DEAD;
    model_down(model, instance, now);
    i->health = MS_VERDICT_DEAD;

    if (known || keep || !model_leased(i) || i->foreign) {
        return;
    }

    if (i->state == MS_INSTANCE_TENTATIVE) {
        model_vacate(i, MS_INSTANCE_DOWN);

    } else if (model_serves(i)) {
        model_lose(model, i, MS_END_DIED);

    } else {
        i->lease = ++model->leases;
    }
}


ms_lease_state_t
model_lease_state(const model_t *model, model_lease_t lease, uint64_t now)
{
    uint64_t                 drained;
    const model_instance_t  *i;

    i = &model->instances[lease.instance];

    if (i->lease == lease.lease) {
        drained = model_drained(model, lease.instance);
        return drained != 0 && drained <= now ? MS_LEASE_ENDED : MS_LEASE_HELD;
    }

    return i->health == MS_VERDICT_DEAD ? MS_LEASE_DEAD
           : i->released == lease.lease ? MS_LEASE_RELEASED : MS_LEASE_ENDED;
}


void
model_await(model_t *model, int instance)
{
    model_instance_t  *i;

    i = &model->instances[instance];

    if (i->member && i->state == MS_INSTANCE_FREE) {
        i->retry_at = MODEL_NEVER;
        i->state = MS_INSTANCE_LEFT;
        i->suspect = 0;
    }
}


uint32_t
model_user_sessions(const model_t *model, const ms_pool_terms_t *terms)
{
    int                      k;
    uint32_t                 n;
    const model_instance_t  *i;

    n = 0;

    for (k = 0; k < MODEL_INSTANCES; k++) {
        i = &model->instances[k];
        n += i->member && i->owner >= 0 && !i->foreign && i->user != 0
             && (i->user == (int) terms->user
                 || i->user == -model_subject(terms));
    }

    return n;
}
