/*
 * The model: claims.
 */

#include <string.h>

#include "pool_model_state.h"


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


/* by their own word */
static int
foreign(const model_t *model)
{
    int                      k, n;
    const model_instance_t  *i;

    n = 0;

    for (k = 0; k < MODEL_INSTANCES; k++) {
        i = &model->instances[k];
        n += i->member && i->foreign && i->state != MS_INSTANCE_DOWN;
    }

    return n;
}


/* Of those that name the session the one that did so last. */
static int
spare_instance(const model_t *model, int session)
{
    int                      k, found;
    const model_instance_t  *i;

    found = MODEL_NOBODY;

    for (k = 0; k < MODEL_INSTANCES; k++) {
        i = &model->instances[k];

        if (i->member && i->owner == session && i->spare && !i->asked
            && i->state != MS_INSTANCE_DOWN
            && (found == MODEL_NOBODY
                || i->lease > model->instances[found].lease))
        {
            found = k;
        }
    }

    return found;
}


static int
first_trusted(const model_t *model, int session)
{
    int       k, found;
    uint64_t  distance, least;

    found = MODEL_NOBODY;
    least = UINT64_MAX;

    for (k = 0; k < MODEL_INSTANCES; k++) {
        distance = model->instance_at[k] - model->session_at[session];

        if (model->instances[k].member
            && model->instances[k].state == MS_INSTANCE_FREE
            && model->instances[k].suspect == 0
            && distance <= least)
        {
            least = distance;
            found = k;
        }
    }

    return found;
}


static int
first_suspect(const model_t *model)
{
    int                      k, found;
    const model_instance_t  *i, *best;

    found = MODEL_NOBODY;

    for (k = 0; k < MODEL_INSTANCES; k++) {
        i = &model->instances[k];
        best = found == MODEL_NOBODY ? NULL : &model->instances[found];

        if (i->member && i->state == MS_INSTANCE_FREE && i->suspect != 0
            && (best == NULL || i->suspect < best->suspect
                || (i->suspect == best->suspect
                    && model->instance_at[k] < model->instance_at[found])))
        {
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
            || model_leased(&model->instances[k])
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


/* Of the tentative leases without a message the one that was claimed first. */
static int
taken(model_t *model)
{
    int                k, found;
    model_instance_t  *i;

    found = MODEL_NOBODY;

    for (k = 0; k < MODEL_INSTANCES; k++) {
        i = &model->instances[k];

        if (i->member && i->state == MS_INSTANCE_TENTATIVE && i->no_message
            && !i->drain && !i->removed
            && i->health < MS_VERDICT_FAILED
            && (found == MODEL_NOBODY
                || i->lease < model->instances[found].lease))
        {
            found = k;
        }
    }

    if (found != MODEL_NOBODY) {
        model_vacate(&model->instances[found], MS_INSTANCE_FREE);
    }

    return found;
}


static bool
crowds(const model_t *model, const ms_pool_terms_t *terms)
{
    int       k;
    uint32_t  n;

    n = 0;

    for (k = 0; k < MODEL_INSTANCES; k++) {
        n += model->instances[k].member
             && model->instances[k].state == MS_INSTANCE_TENTATIVE
             && model->instances[k].subject != 0
             && model->instances[k].subject == model_subject(terms);
    }

    return terms->tentative != 0 && model_subject(terms) != 0
           && n >= terms->tentative;
}


/* As many calls as fit into a second come at once. */
static bool
in_time(model_instance_t *i, const ms_pool_terms_t *terms, model_seek_t *seek,
    uint64_t now)
{
    uint64_t  began;

    if (terms->call_every == 0 || seek->counted) {
        return true;
    }

    began = i->next_call > now * 1000 ? i->next_call : now * 1000;

    if (began + terms->call_every > now * 1000 + 1000000
        && began > now * 1000)
    {
        return false;
    }

    i->next_call = began + terms->call_every;
    seek->counted = true;

    return true;
}


ms_claim_t
model_claim_own(model_t *model, int own, const ms_pool_terms_t *terms,
    bool message, uint64_t now, model_lease_t *lease)
{
    uint64_t           ends;
    ms_claim_t         decision;
    model_instance_t  *i;

    i = &model->instances[own];
    ends = model_hard_end(terms, i->started);
    i->learned = i->learned || i->foreign;
    i->last = i->foreign ? i->owner : i->last;
    i->foreign = false;
    i->spare = false;
    decision = i->learned && i->state != MS_INSTANCE_DOWN ? MS_CLAIM_REBUILT
                                                          : MS_CLAIM_HIT;

    if (i->state == MS_INSTANCE_DOWN) {
        model_revive(i);

    } else if (i->state == MS_INSTANCE_TENTATIVE) {
        i->pending++;
        i->no_message = i->no_message && !message;
    }

    i->why = MS_END_NONE;
    i->untold = false;
    i->heard = false;
    i->subject = i->subject != 0 ? i->subject : model_subject(terms);
    model_user(i, terms);
    i->ends = i->learned || ends > i->ends ? ends : i->ends;
    i->learned = false;
    i->used = now;
    i->ttl = terms->ttl;
    *lease = (model_lease_t) { own, i->lease, i->epoch, now };

    return decision;
}


static bool
hopeless(const model_instance_t *i)
{
    return i->state == MS_INSTANCE_TENTATIVE
           && i->health >= MS_VERDICT_FAILED;
}


static bool
doubtful(const model_instance_t *i)
{
    return i->state == MS_INSTANCE_TENTATIVE && i->suspect != 0;
}


/* The request is to be told that the session has lost its own instance: it
 * comes from there, or is the first one since then. */
static bool
told(model_t *model, int own, int to, const model_seek_t *seek)
{
    model_instance_t  *i;

    i = &model->instances[own];

    if (seek->settled && i->lease != seek->held) {
        return true;
    }

    if (i->lost) {
        return seek->held != 0;
    }

    if (!i->untold
        && !(model_serves(i)
             && (i->moves
                 || (i->state == MS_INSTANCE_DOWN
                     && (to != MODEL_NOBODY || seek->own)))))
    {
        return false;
    }

    if (!i->untold || seek->held == 0) {
        model_lose(model, i, i->why != MS_END_NONE ? i->why : MS_END_HEALTH);
    }

    if (seek->held == 0) {
        i->untold = false;
        i->lost = true;
    }

    return true;
}


/* A lost one may serve again. */
static bool
back(const model_t *model, int own)
{
    return own >= 0 && model->instances[own].state == MS_INSTANCE_LEASED
           && !model->instances[own].removed;
}


void
model_leave(model_t *model, int own, uint64_t now)
{
    if (model->instances[own].state == MS_INSTANCE_DOWN) {
        model_vacate(&model->instances[own], MS_INSTANCE_DOWN);

    } else {
        model_lease_over(model, &model->instances[own], now);
    }
}


/* The session counted for "user" on another instance. */
static void
keep_user(model_instance_t *i, int user)
{
    if (i->user == 0 || (i->user < 0 && user > 0)) {
        i->user = user;
    }
}


/* On another instance the session counts for whom it did, unless that was not
 * known well. */
void
model_move_user(model_instance_t *i, int user, const ms_pool_terms_t *terms)
{
    i->user = user;
    model_user(i, terms);
}


ms_claim_t
model_claim(model_t *model, int session, const ms_pool_terms_t *terms,
    model_seek_t *seek, uint64_t now, model_lease_t *lease)
{
    int       own, to, trusted, spare, subject, user;
    bool      lost;
    uint64_t  next_call;

    own = model_own(model, session);
    own = own == MODEL_NOBODY ? spare_instance(model, session) : own;
    trusted = first_trusted(model, session);
    to = trusted != MODEL_NOBODY ? trusted : first_suspect(model);

    subject = own != MODEL_NOBODY ? model->instances[own].subject : 0;
    user = own != MODEL_NOBODY ? model->instances[own].user : 0;

    if (own == MODEL_NOBODY && terms->tells && seek->settled) {
        return MS_CLAIM_LOST;
    }

    if (subject != 0 && model_subject(terms) != 0
        && subject != model_subject(terms))
    {
        return MS_CLAIM_DENIED;
    }

    if (own != MODEL_NOBODY && seek->crowded && seek->queued
        && model->instances[own].state == MS_INSTANCE_TENTATIVE
        && !model->instances[own].follows)
    {
        return MS_CLAIM_LIMITED;
    }

    /* nowhere to go */

    if (own != MODEL_NOBODY && to == MODEL_NOBODY
        && model->instances[own].moves && !model->instances[own].drain
        && !model->instances[own].removed
        && model->instances[own].health < MS_VERDICT_FAILED)
    {
        model->instances[own].moves = false;
        model->instances[own].state = MS_INSTANCE_LEASED;
    }

    if (own != MODEL_NOBODY && terms->tells && told(model, own, to, seek)) {
        return MS_CLAIM_LOST;
    }

    if (own != MODEL_NOBODY
        && !in_time(&model->instances[own], terms, seek, now))
    {
        return MS_CLAIM_LIMITED;
    }

    lost = own != MODEL_NOBODY && model->instances[own].lost;

    if (own != MODEL_NOBODY && !lost
        && model->instances[own].state != MS_INSTANCE_DOWN
        && !model->instances[own].moves
        && !(to != MODEL_NOBODY && hopeless(&model->instances[own]))
        && !(trusted != MODEL_NOBODY && doubtful(&model->instances[own])))
    {
        if (model->instances[own].heard) {
            return model_claim_at(model, session, terms, own, MS_GIVEN_SHARED,
                                  model->instances[own].epoch, now, lease);
        }

        return model_claim_own(model, own, terms, seek->message, now, lease);
    }

    if (own != MODEL_NOBODY && !lost && to == MODEL_NOBODY && !seek->own
        && !model->instances[own].moves)
    {
        seek->own = true;
        seek->home = own;
        return model_claim_own(model, own, terms, seek->message, now, lease);
    }

    if (own == MODEL_NOBODY && terms->sessions != 0 && terms->user != 0
        && model_user_sessions(model, terms) + seek->waiting
           >= terms->sessions)
    {
        return MS_CLAIM_TOO_MANY;
    }

    if (own == MODEL_NOBODY && (seek->crowded || crowds(model, terms))) {
        return MS_CLAIM_LIMITED;
    }

    next_call = own != MODEL_NOBODY ? model->instances[own].next_call : 0;

    if (lost && back(model, own)) {
        /* the session begins anew, on the same instance if that is free */

        model_leave(model, own, now);
        trusted = first_trusted(model, session);
        to = model->instances[own].state == MS_INSTANCE_FREE ? own
             : trusted != MODEL_NOBODY ? trusted : first_suspect(model);
        own = MODEL_NOBODY;
        seek->moved = true;
    }

    spare = own != MODEL_NOBODY ? spare_instance(model, session)
                                : MODEL_NOBODY;

    if (to == MODEL_NOBODY && spare != MODEL_NOBODY
        && (model->instances[spare].subject == 0 || model_subject(terms) == 0
            || model->instances[spare].subject == model_subject(terms))
        && (model->instances[spare].subject == 0 || subject == 0
            || model->instances[spare].subject == subject))
    {
        model_vacate(&model->instances[own], MS_INSTANCE_DOWN);
        model->instances[spare].next_call = next_call;

        if (model->instances[spare].subject == 0) {
            model->instances[spare].subject = subject;
        }

        keep_user(&model->instances[spare], user);
        (void) model_claim_own(model, spare, terms, seek->message, now, lease);
        seek->moved = true;

        return MS_CLAIM_MOVED;
    }

    if (to == MODEL_NOBODY && seek->message
        && (own != MODEL_NOBODY || model_fits(model, session)))
    {
        to = taken(model);
    }

    if (to == MODEL_NOBODY && up(model) == foreign(model)) {

        if (own != MODEL_NOBODY && lost) {
            model_leave(model, own, now);
            own = MODEL_NOBODY;
            seek->moved = true;
        }

        to = next_down(model, session, seek);
    }

    if (to == MODEL_NOBODY) {
        return up(model) > 0 ? MS_CLAIM_BUSY
               : count(model, MS_INSTANCE_DOWN) > 0 ? MS_CLAIM_UNAVAILABLE
               : MS_CLAIM_EMPTY;
    }

    if (own != MODEL_NOBODY) {
        model_leave(model, own, now);
        seek->moved = true;

    } else if (!model_fits(model, session)) {
        return MS_CLAIM_FULL;
    }

    model_bind(model, to, MS_INSTANCE_TENTATIVE, session, terms, now);
    model->instances[to].no_message = !seek->message;
    model->instances[to].follows = seek->moved;
    model->instances[to].next_call = next_call;
    model->instances[to].subject = subject != 0 ? subject
                                                : model_subject(terms);
    model->instances[to].last = session;
    model_move_user(&model->instances[to], user, terms);
    (void) in_time(&model->instances[to], terms, seek, now);
    *lease = (model_lease_t) { to, model->instances[to].lease,
                               model->instances[to].epoch, now };

    return seek->moved ? MS_CLAIM_MOVED : MS_CLAIM_NEW;
}
