/*
 * A pool and the model of it, on which a test does the same.
 */

#ifndef MODULE_T_POOL_PAIR_H
#define MODULE_T_POOL_PAIR_H


#include <check.h>

#include "pool_model.h"


#define PAIR_GRANTS  16


/* Check's own assertions cost a system call each. */
#define same(a, b)                                                            \
    if ((a) != (b)) {                                                         \
        ck_abort_msg("%s is not %s: %lld %lld", #a, #b, (long long) (a),      \
                     (long long) (b));                                        \
    }


typedef struct {
    ms_lease_t      lease;
    model_lease_t   model;
} grant_t;

typedef struct {
    uint64_t        random;
    uint64_t        now;
    uint64_t        last_lease;
    unsigned        trouble;            /* how much more often calls fail */
    void           *memory;
    ms_pool_t      *pool;
    model_t         model;
    int             sessions;
    int             grants;
    grant_t         granted[PAIR_GRANTS];
    ms_pool_seek_t  seeks[MODEL_SESSIONS];
    model_seek_t    model_seeks[MODEL_SESSIONS];
    size_t          lengths[MODEL_SESSIONS];
    uint8_t         texts[MODEL_SESSIONS][MS_POOL_SESSION_MAX];
    char            names[MODEL_INSTANCES][32];
} pair_t;


extern const uint8_t  pair_subjects[2][MS_POOL_SUBJECT];


/* A random number; equal seeds give equal ones. */
unsigned pick(pair_t *pair, unsigned below);

/* Empty, of a random size; "memory" is the caller's to free.  From now on the
 * leases that end are counted for this pair. */
void pair_create(pair_t *pair, uint64_t seed);

/* Fails the test where the pool and the model differ. */
void pair_compare(const pair_t *pair);


#endif /* MODULE_T_POOL_PAIR_H */
