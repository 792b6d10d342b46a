/*
 * hash N: the cost of a password check, which every Login needs: microseconds
 * of CPU and of the clock, over N checks in one thread, as JSON.
 */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "authsvc/login/password.h"


static double
microseconds(clockid_t id)
{
    struct timespec  ts;

    clock_gettime(id, &ts);

    return (double) ts.tv_sec * 1e6 + (double) ts.tv_nsec / 1e3;
}


int
main(int argc, char **argv)
{
    int     i, n;
    char    hash[PASSWORD_HASH];
    double  cpu, real;

    n = argc == 2 ? atoi(argv[1]) : 0;

    if (n <= 0 || sodium_init() < 0
        || password_hash("TestPassword", hash) != 0)
    {
        fprintf(stderr, "usage: hash N\n");
        return 2;
    }

    real = microseconds(CLOCK_MONOTONIC);
    cpu = microseconds(CLOCK_PROCESS_CPUTIME_ID);

    for (i = 0; i < n; i++) {
        if (password_check(hash, "TestPassword") != PASSWORD_RIGHT) {
            return 1;
        }
    }

    cpu = (microseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) / n;
    real = (microseconds(CLOCK_MONOTONIC) - real) / n;

    printf("{\"rate\":%.2f,\"cpu\":%.1f,\"p50\":%.1f}\n", 1e6 / real, cpu,
           real);

    return 0;
}
