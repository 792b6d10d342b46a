/* Counts of times in buckets of equal ratio, for percentiles. */

#include "bench/histogram.h"


static unsigned
histogram_slot(uint64_t ns)
{
    unsigned  shift;

    if (ns < HISTOGRAM_SUB) {
        return (unsigned) ns;
    }

    /* the leading bit and the seven below it */

    shift = 63 - (unsigned) __builtin_clzll(ns) - 7;

    if (shift > 39) {
        return HISTOGRAM_SIZE - 1;
    }

    return shift * HISTOGRAM_SUB + (unsigned) (ns >> shift);
}


/* the longest time of a slot */

static uint64_t
histogram_value(unsigned slot)
{
    unsigned  shift;

    if (slot < 2 * HISTOGRAM_SUB) {
        return slot;
    }

    shift = slot / HISTOGRAM_SUB - 1;

    return ((uint64_t) (slot % HISTOGRAM_SUB + HISTOGRAM_SUB + 1) << shift) - 1;
}


void
histogram_add(histogram_t *h, uint64_t ns)
{
    h->counts[histogram_slot(ns)]++;
    h->n++;

    if (ns > h->max) {
        h->max = ns;
    }
}


uint64_t
histogram_quantile(const histogram_t *h, double q)
{
    unsigned  i;
    uint64_t  seen, want, value;

    want = (uint64_t) (q * (double) h->n + 0.999999);
    seen = 0;

    for (i = 0; i < HISTOGRAM_SIZE; i++) {
        seen += h->counts[i];

        if (seen >= want && seen > 0) {
            value = histogram_value(i);
            return value < h->max ? value : h->max;
        }
    }

    return h->max;
}
