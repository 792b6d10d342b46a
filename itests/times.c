/* Times of Echo calls, and quantiles of them. */

#include <stdlib.h>
#include <time.h>

#include "itests/times.h"


static int times_compare(const void *a, const void *b);


void
times_create(times_t *times)
{
    *times = (times_t) { .us = calloc(TIMES_MAX, sizeof(int64_t)) };

    if (times->us == NULL) {
        abort();
    }
}


void
times_free(times_t *times)
{
    free(times->us);
}


void
times_echo(client_t *client, times_t *times)
{
    int64_t    start, took;
    outcome_t  outcome;

    start = times_now();
    outcome = call_echo(client, NULL);
    took = times_now() - start;

    if (outcome.code != GRPC_STATUS_OK) {
        times->failed++;

    } else if (times->n < TIMES_MAX) {
        times->us[times->n++] = took;
    }

    outcome_free(&outcome);
    check_pace(TIMES_PACE);
}


int64_t
times_quantile(int64_t *us, size_t n, unsigned permille)
{
    if (n == 0) {
        return 0;
    }

    qsort(us, n, sizeof(int64_t), times_compare);

    return us[(n - 1) * permille / 1000];
}


static int
times_compare(const void *a, const void *b)
{
    const int64_t  *x, *y;

    x = a;
    y = b;

    return *x < *y ? -1 : *x > *y;
}


int64_t
times_now(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC, &now);

    return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
