/*
 * How long Echo calls take while a scenario does something else.
 */

#ifndef ITESTS_TIMES_H
#define ITESTS_TIMES_H


#include "itests/client.h"


#define TIMES_MAX   20000
#define TIMES_PACE  2                   /* ms between calls */


typedef struct {
    int64_t  *us;                       /* of calls that succeeded */
    size_t    n;
    size_t    failed;
} times_t;


void times_create(times_t *times);
void times_free(times_t *times);

/* Makes one call and pauses after it. */
void times_echo(client_t *client, times_t *times);

/* Sorts the times. "permille" 990 is the p99. Returns 0 if n is 0. */
int64_t times_quantile(int64_t *us, size_t n, unsigned permille);

/* Microseconds of the monotonic clock. */
int64_t times_now(void);


#endif /* ITESTS_TIMES_H */
