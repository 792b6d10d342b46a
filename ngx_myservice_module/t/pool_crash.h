/*
 * Every operation of the pool, each in every situation that matters: what a
 * worker may die in.
 */

#ifndef MODULE_T_POOL_CRASH_H
#define MODULE_T_POOL_CRASH_H


#include <stddef.h>

#include "pool/pool.h"


#define CRASH_INSTANCES  5


/* The setup is steps of pool_world.h; "lease" is that of session "a". */
typedef struct {
    const char  *title;
    const char  *setup[12];
    void       (*operation)(ms_pool_t *pool, const ms_lease_t *lease);
} crash_t;


extern const crash_t  crash_cases[];
extern const size_t   crash_count;

/* The operations after which no call in flight may hold the lease. */
void crash_dead(ms_pool_t *pool, const ms_lease_t *lease);
void crash_drained(ms_pool_t *pool, const ms_lease_t *lease);


#endif /* MODULE_T_POOL_CRASH_H */
