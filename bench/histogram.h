/*
 * Counts of times in nanoseconds, exact to 0.8 %, any number of them in the
 * same memory.
 */

#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H


#include <stdint.h>


#define HISTOGRAM_SUB   128             /* steps of each power of two */
#define HISTOGRAM_SIZE  (41 * HISTOGRAM_SUB)


/* all zero at start */
typedef struct {
    uint64_t  n;
    uint64_t  max;
    uint32_t  counts[HISTOGRAM_SIZE];
} histogram_t;


void histogram_add(histogram_t *h, uint64_t ns);

/* "q" of all are not longer than this; 0 if there are none. */
uint64_t histogram_quantile(const histogram_t *h, double q);


#endif /* BENCH_HISTOGRAM_H */
