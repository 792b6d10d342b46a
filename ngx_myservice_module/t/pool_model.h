/*
 * What the pool should do, said in the simplest way: one array, no index.
 * Instances and sessions are small numbers.  Nothing of the pool's code is
 * used but its ring positions.
 */

#ifndef MODULE_T_POOL_MODEL_H
#define MODULE_T_POOL_MODEL_H


#include <stdbool.h>

#include "pool/pool.h"


#define MODEL_INSTANCES  13
#define MODEL_SESSIONS   24
#define MODEL_NOBODY     (-1)
#define MODEL_UNKNOWN    (-2)
#define MODEL_NEVER      UINT64_MAX


typedef struct {
    bool                 member;
    ms_instance_state_t  state;
    unsigned             drain;         /* 1: ordered, 2: reported */
    bool                 removed;
    bool                 foreign;
    bool                 spare;
    bool                 asked;
    bool                 learned;
    int                  process;       /* 0: it did not say */
    bool                 moves;
    int                  owner;
    int                  last;          /* session that claims found here */
    int                  subject;       /* 0: not bound */
    int                  user;          /* 0: nobody; below: its subject */
    int                  pending;
    bool                 no_message;
    bool                 follows;       /* the session had another one */
    bool                 heard;         /* another gateway has given it */
    bool                 word;          /* and says that the instance lives */
    ms_end_t             why;
    bool                 untold;
    bool                 lost;
    uint64_t             ended[MS_ENDS];        /* of all owners */
    uint64_t             next_call;     /* microseconds */
    unsigned             failures;
    ms_verdict_t         health;
    uint64_t             suspect;       /* until then; 0: not */
    uint64_t             passed;
    uint64_t             lease;         /* a number of the model's own */
    uint64_t             epoch;
    uint64_t             released;      /* the last one, by its session */
    uint64_t             joined;        /* the last one before it did */
    uint64_t             started;
    uint64_t             used;
    uint64_t             ttl;
    uint64_t             ends;
    uint64_t             retry_at;
    uint64_t             drains;        /* since then; MODEL_NEVER: not */
} model_instance_t;

/* A request: what it has tried. */
typedef struct {
    bool                 started;
    bool                 own;
    bool                 message;
    bool                 counted;
    bool                 moved;
    bool                 settled;
    bool                 crowded;
    bool                 queued;
    uint32_t             waiting;
    uint64_t             held;
    int                  home;
    uint64_t             first;
    uint64_t             last;
} model_seek_t;

typedef struct {
    int                  capacity;
    int                  blocks;        /* long sessions that fit */
    uint64_t             retry;
    uint64_t             drain;         /* how long one lasts */
    uint64_t             leases;
    uint64_t             epoch;         /* the highest one so far */
    uint64_t             instance_at[MODEL_INSTANCES];
    uint64_t             session_at[MODEL_SESSIONS];
    bool                 session_long[MODEL_SESSIONS];
    model_instance_t     instances[MODEL_INSTANCES];
} model_t;

typedef struct {
    int                  instance;
    uint64_t             lease;
    uint64_t             epoch;
    uint64_t             granted;
} model_lease_t;


void model_enter(model_t *model, uint64_t now);
ms_claim_t model_claim(model_t *model, int session,
    const ms_pool_terms_t *terms, model_seek_t *seek, uint64_t now,
    model_lease_t *lease);
ms_claim_t model_claim_at(model_t *model, int session,
    const ms_pool_terms_t *terms, int instance, ms_given_t given,
    uint64_t epoch, uint64_t now, model_lease_t *lease);
uint32_t model_user_sessions(const model_t *model,
    const ms_pool_terms_t *terms);
bool model_stale(model_t *model, model_lease_t *lease, bool serves,
    const ms_pool_terms_t *terms, uint64_t now);
void model_message(model_t *model, model_lease_t lease);
void model_confirm(model_t *model, model_lease_t lease, uint64_t now);
void model_give_back(model_t *model, model_lease_t lease, uint64_t now);
void model_suspect(model_t *model, model_lease_t lease, uint64_t now);
bool model_touch(model_t *model, model_lease_t lease, uint64_t now);
void model_release(model_t *model, model_lease_t lease, uint64_t now);
void model_fail(model_t *model, model_lease_t lease, uint64_t now);
void model_conflict(model_t *model, model_lease_t lease, int owner,
    const ms_pool_terms_t *terms, uint64_t now);
void model_end(model_t *model, int instance, uint64_t now);
ms_move_t model_move(model_t *model, int instance);
bool model_add(model_t *model, int instance, uint64_t now);
bool model_process(model_t *model, int instance, int process, bool serves,
    const ms_pool_terms_t *terms, uint64_t sent, uint64_t now);
bool model_elsewhere(model_t *model, int instance, uint64_t until,
    uint64_t now);
void model_remove(model_t *model, int instance, bool force, uint64_t now);
void model_drain(model_t *model, int instance, uint64_t now);
void model_drain_time(model_t *model, uint64_t time, uint64_t now);
uint64_t model_drained(const model_t *model, int instance);
void model_undrain(model_t *model, int instance, uint64_t now);
void model_report_drain(model_t *model, int instance, bool drain,
    uint64_t now);
void model_up(model_t *model, int instance, uint64_t now);
void model_down(model_t *model, int instance, uint64_t now);
void model_dead(model_t *model, int instance, bool keep, uint64_t now);
ms_lease_state_t model_lease_state(const model_t *model, model_lease_t lease,
    uint64_t now);
void model_await(model_t *model, int instance);
void model_learn(model_t *model, int instance, int owner, uint64_t left,
    const ms_pool_terms_t *terms, uint64_t sent, uint64_t now);
uint64_t model_lease_end(const model_instance_t *instance);


#endif /* MODULE_T_POOL_MODEL_H */
