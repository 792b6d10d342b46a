/*
 * Binary heap of timers.  Pure: the caller says what time it is.
 */

#ifndef RPC_TIMER_H
#define RPC_TIMER_H


#include "rpc/server.h"


typedef struct {
    rpc_timer_t  **heap;                /* 1-based; heap[0] is not used */
    size_t         n;
    size_t         size;
} rpc_timers_t;


/* Adds the timer or moves it.  Aborts when out of memory, as the core does. */
void rpc_timers_set(rpc_timers_t *timers, rpc_timer_t *timer, int64_t when);
void rpc_timers_clear(rpc_timers_t *timers, rpc_timer_t *timer);

/* Fires what is due at "now"; returns even if timers set themselves anew. */
void rpc_timers_expire(rpc_timers_t *timers, int64_t now);

/* When the next one is due, INT64_MAX if there is none. */
int64_t rpc_timers_next(const rpc_timers_t *timers);

void rpc_timers_free(rpc_timers_t *timers);


#endif /* RPC_TIMER_H */
