#include "authsvc/turns.h"

#include <string.h>


void
turns_init(turns_t *turns, size_t n, size_t queue)
{
    memset(turns, 0, sizeof(turns_t));
    turns->n = n;
    turns->queue = queue;
}


int64_t
turns_take(turns_t *turns, int64_t now, int64_t took)
{
    size_t   i, first;
    int64_t  start, last;

    first = 0;

    for (i = 1; i < turns->n; i++) {
        if (turns->free[i] < turns->free[first]) {
            first = i;
        }
    }

    /* those who came and went again have taken turns, too */
    start = turns->free[first] > now ? turns->free[first] : now;
    last = now + (int64_t) (turns->queue / turns->n + 1) * took;
    start = start < last ? start : last;
    turns->free[first] = start + took;

    return start;
}
