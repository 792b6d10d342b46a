/*
 * The model: claims of an instance that a store has given, as pool/claim_at.c.
 */

#include "pool_model_state.h"


/* The session cannot stay on its own instance. */
static bool
away(const model_instance_t *i)
{
    return i->state == MS_INSTANCE_DOWN || i->moves || (i->lost && i->removed);
}


/* As if the session had claimed its own instance, whatever probes found. */
static ms_claim_t
own_at(model_t *model, int own, const ms_pool_terms_t *terms, bool asks,
    uint64_t now, model_lease_t *lease)
{
    bool               heard;
    ms_claim_t         decision;
    model_instance_t  *i;

    i = &model->instances[own];

    if (away(i)) {
        *lease = (model_lease_t) { own, i->lease, i->epoch, now };
        return MS_CLAIM_UNAVAILABLE;
    }

    heard = i->heard && !asks;
    decision = model_claim_own(model, own, terms, false, now, lease);
    i->heard = heard;

    if (!asks && i->state == MS_INSTANCE_TENTATIVE) {
        i->pending--;
    }

    return decision;
}


/* The session begins on the instance, which nobody has. */
static void
begin_at(model_t *model, int instance, int session, bool tentative, bool word,
    const ms_pool_terms_t *terms, uint64_t now)
{
    bool               down;
    model_instance_t  *i;

    i = &model->instances[instance];
    down = i->state == MS_INSTANCE_DOWN && !word;
    model_bind(model, instance, MS_INSTANCE_TENTATIVE, session, terms, now);

    if (down || !tentative) {
        i->state = down ? MS_INSTANCE_DOWN : model_confirmed(i);
        i->suspect = 0;
    }

    i->last = session;
    i->word = word;
}


ms_claim_t
model_claim_at(model_t *model, int session, const ms_pool_terms_t *terms,
    int instance, ms_given_t given, uint64_t epoch, uint64_t now,
    model_lease_t *lease)
{
    int                own, subject, user;
    bool               anew, first, here, shared, word;
    uint64_t           next_call;
    ms_pool_terms_t    of_store;
    model_instance_t  *i, *before;

    model_epoch(model, epoch);

    own = model_own(model, session);
    i = &model->instances[instance];
    before = own != MODEL_NOBODY ? &model->instances[own] : NULL;

    if (!i->member || (i->removed && before != i)) {
        return MS_CLAIM_EMPTY;
    }

    here = given == MS_GIVEN_NEW || given == MS_GIVEN_MOVED;
    shared = given == MS_GIVEN_SHARED || given == MS_GIVEN_FOLLOWS;
    subject = before != NULL ? before->subject : 0;
    user = before != NULL ? before->user : 0;

    if (subject != 0 && model_subject(terms) != 0
        && subject != model_subject(terms))
    {
        return MS_CLAIM_DENIED;
    }

    if (before != NULL && terms->tells && !before->lost
        && !(before->heard && here)
        && (before->untold
            || (before != i && here && model_serves(before))))
    {
        model_lose(model, before,
                   before->why != MS_END_NONE ? before->why : MS_END_HEALTH);
        before->lost = true;
        before->untold = false;
        return MS_CLAIM_LOST;
    }

    word = !here && i->state == MS_INSTANCE_DOWN
           && epoch > i->epoch;

    if (word && before == i) {
        model_revive(i);
        i->word = true;
    }

    if (shared && (word || (before == i && i->word))) {
        given = MS_GIVEN_BEFORE;
        shared = false;
    }

    anew = before == i && i->lost && given != MS_GIVEN_HEARD && !away(i);
    first = before == i && i->heard && !away(i) && !i->removed
            && (here || shared);

    if (before == i && !anew && !first) {
        model_raise(model, i, epoch);
        return own_at(model, own, terms, given != MS_GIVEN_HEARD, now, lease);
    }

    if (before == NULL && !(i->owner >= 0 && model->session_long[i->owner])
        && !model_fits(model, session))
    {
        return MS_CLAIM_FULL;
    }

    next_call = before != NULL ? before->next_call : 0;

    if (before != NULL) {
        model_leave(model, own, now);
    }

    if (model_leased(i)) {
        model_why(i, MS_END_CONFLICT);
        model_leave(model, instance, now);
    }

    of_store = *terms;
    of_store.epoch = epoch;
    begin_at(model, instance, session,
             here || shared || anew, word, &of_store, now);
    i->heard = given == MS_GIVEN_HEARD;
    i->subject = subject != 0 ? subject : model_subject(terms);
    model_move_user(i, user, terms);
    i->next_call = next_call;
    i->follows = given == MS_GIVEN_MOVED || given == MS_GIVEN_FOLLOWS || anew;
    *lease = (model_lease_t) { instance, i->lease, i->epoch, now };

    return i->state == MS_INSTANCE_DOWN ? MS_CLAIM_UNAVAILABLE
           : anew || given == MS_GIVEN_MOVED ? MS_CLAIM_MOVED
           : given == MS_GIVEN_NEW ? MS_CLAIM_NEW
           : before != NULL && !first ? MS_CLAIM_MOVED : MS_CLAIM_REBUILT;
}
