/*
 * What the files of the model share.
 */

#ifndef MODULE_T_POOL_MODEL_STATE_H
#define MODULE_T_POOL_MODEL_STATE_H


#include "pool_model.h"


/* The instance has an owner, or one that it does not name. */
bool model_leased(const model_instance_t *i);

/* The instance of the lease, NULL if that has ended. */
model_instance_t *model_holder(model_t *model, model_lease_t lease);

/* A check has passed. */
void model_checked(model_instance_t *i, uint64_t now);

/* Its state with a confirmed lease. */
ms_instance_state_t model_confirmed(const model_instance_t *i);

/* A session has state there. */
bool model_serves(const model_instance_t *i);

/* Why that session has lost the instance, or is about to. */
void model_why(model_instance_t *i, ms_end_t why);

/* It has. */
void model_ended(model_instance_t *i);

/* It has, and is to be told. */
void model_lose(model_t *model, model_instance_t *i, ms_end_t why);

/* The instance loses its owner and goes to the state "to". */
void model_vacate(model_instance_t *i, ms_instance_state_t to);

/* The same at the end of a lease: the last probe says which state. */
void model_lease_over(const model_t *model, model_instance_t *i, uint64_t now);

/* An instance that is left or down is tried again. */
void model_revive(model_instance_t *i);

/* Its session has to leave, and does with its next claim. */
void model_leaves(model_t *model, model_instance_t *i);

/* The session has the lease of the instance from now on. */
void model_bind(model_t *model, int instance, ms_instance_state_t state,
    int session, const ms_pool_terms_t *terms, uint64_t now);

/* The session's claim stays on its own instance. */
ms_claim_t model_claim_own(model_t *model, int own,
    const ms_pool_terms_t *terms, bool message, uint64_t now,
    model_lease_t *lease);

/* A claim leads away from the instance. */
void model_leave(model_t *model, int own, uint64_t now);

/* On another instance the session counts for whom it did, unless that was not
 * known well. */
void model_move_user(model_instance_t *i, int user,
    const ms_pool_terms_t *terms);

/* Somebody knows that epoch. */
void model_epoch(model_t *model, uint64_t epoch);

/* The lease has it at least. */
void model_raise(model_t *model, model_instance_t *i, uint64_t epoch);

/* The instance of the session, or MODEL_NOBODY. */
int model_own(const model_t *model, int session);

/* There is memory for the session's id. */
bool model_fits(const model_t *model, int session);

uint64_t model_hard_end(const ms_pool_terms_t *terms, uint64_t started);
uint64_t model_retry_at(const model_t *model, uint64_t now);
int model_subject(const ms_pool_terms_t *terms);

/* Whom the lease counts for that a claim or a report has found. */
void model_user(model_instance_t *i, const ms_pool_terms_t *terms);


#endif /* MODULE_T_POOL_MODEL_STATE_H */
