/*
 * A binary heap of timers; each timer knows its place, so it can be moved.
 */

#include "rpc/timer.h"

#include <stdlib.h>


static void timers_reserve(rpc_timers_t *timers);
static void timers_up(rpc_timers_t *timers, rpc_timer_t *timer, size_t i);
static void timers_down(rpc_timers_t *timers, rpc_timer_t *timer, size_t i);


void
rpc_timers_set(rpc_timers_t *timers, rpc_timer_t *timer, int64_t when)
{
    rpc_timers_clear(timers, timer);
    timers_reserve(timers);

    timer->when = when;
    timers_up(timers, timer, ++timers->n);
}


static void
timers_reserve(rpc_timers_t *timers)
{
    size_t         size;
    rpc_timer_t  **heap;

    if (timers->n + 1 < timers->size) {
        return;
    }

    size = timers->size > 0 ? 2 * timers->size : 64;

    heap = realloc(timers->heap, size * sizeof(rpc_timer_t *));
    if (heap == NULL) {
        abort();
    }

    timers->heap = heap;
    timers->size = size;
}


void
rpc_timers_clear(rpc_timers_t *timers, rpc_timer_t *timer)
{
    size_t        i;
    rpc_timer_t  *last;

    i = timer->slot;

    if (i == 0) {
        return;
    }

    timer->slot = 0;
    last = timers->heap[timers->n--];

    if (last == timer) {
        return;
    }

    if (i > 1 && last->when < timers->heap[i / 2]->when) {
        timers_up(timers, last, i);

    } else {
        timers_down(timers, last, i);
    }
}


static void
timers_up(rpc_timers_t *timers, rpc_timer_t *timer, size_t i)
{
    rpc_timer_t  *parent;

    while (i > 1) {
        parent = timers->heap[i / 2];

        if (parent->when <= timer->when) {
            break;
        }

        timers->heap[i] = parent;
        parent->slot = i;
        i /= 2;
    }

    timers->heap[i] = timer;
    timer->slot = i;
}


static void
timers_down(rpc_timers_t *timers, rpc_timer_t *timer, size_t i)
{
    size_t        k;
    rpc_timer_t  *child;

    for (k = 2 * i; k <= timers->n; k = 2 * i) {

        if (k < timers->n && timers->heap[k + 1]->when < timers->heap[k]->when)
        {
            k++;
        }

        child = timers->heap[k];

        if (child->when >= timer->when) {
            break;
        }

        timers->heap[i] = child;
        child->slot = i;
        i = k;
    }

    timers->heap[i] = timer;
    timer->slot = i;
}


void
rpc_timers_expire(rpc_timers_t *timers, int64_t now)
{
    size_t        budget;
    rpc_timer_t  *timer;

    /* a timer that sets itself to "now" again must not hold the loop */

    for (budget = timers->n; budget > 0 && timers->n > 0; budget--) {
        timer = timers->heap[1];

        if (timer->when > now) {
            break;
        }

        rpc_timers_clear(timers, timer);
        timer->fire(timer->data);
    }
}


int64_t
rpc_timers_next(const rpc_timers_t *timers)
{
    return timers->n > 0 ? timers->heap[1]->when : INT64_MAX;
}


void
rpc_timers_free(rpc_timers_t *timers)
{
    free(timers->heap);
}
