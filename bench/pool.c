/*
 * Nanoseconds per operation of the pool, over sizes and fill, next to the walk
 * over a ring of 160 points a server that nginx's "hash ... consistent" makes:
 * from the session's point on until a server is free.
 *
 * "new" is a claim that finds a free instance, "hit" one of a session that has
 * its own, "busy" one that is refused; each with ms_pool_enter() and the
 * hashing of the session, as a request does it.  One process, no lock.
 *
 * The program times sixteen operations at once and takes the median of all
 * samples, so that other load has little effect.  For the walk, whose length
 * varies, it takes the mean of processor time.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pool/pool.h"


#define POINTS  160
#define ROUNDS  200000
#define BATCH   16


typedef struct {
    uint32_t  hash;
    uint32_t  server;
} point_t;

typedef struct {
    ms_pool_t  *pool;
    uint32_t    instances;
    uint32_t    leased;
    uint32_t    extra;                  /* sessions that came and went */
    uint64_t    now;
    uint64_t    random;
    point_t    *ring;
    uint8_t    *taken;
} bench_t;

typedef struct {
    size_t      n;
    double      ns[ROUNDS];             /* per operation */
} samples_t;

typedef struct {
    double      hit;
    double      new;
    double      touch;
    double      release;
    double      busy;
    double      walk;
} result_t;


static const ms_pool_terms_t  terms = { .ttl = 1800000 };

static double     overhead;             /* of reading the clock */
static samples_t  first, second;


static double
read_clock(clockid_t id)
{
    struct timespec  ts;

    clock_gettime(id, &ts);

    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}


static double
nanoseconds(void)
{
    return read_clock(CLOCK_MONOTONIC);
}


static void
sample(samples_t *samples, double start, int operations)
{
    samples->ns[samples->n++] = (nanoseconds() - start - overhead)
                                / operations;
}


static int
sample_cmp(const void *one, const void *two)
{
    double  a, b;

    a = *(const double *) one;
    b = *(const double *) two;

    return a < b ? -1 : a > b;
}


/* Empties the samples. */
static double
median(samples_t *samples)
{
    size_t  middle;

    qsort(samples->ns, samples->n, sizeof(double), sample_cmp);
    middle = samples->n / 2;
    samples->n = 0;

    return samples->ns[middle];
}


static uint64_t
mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);

    return x ^ (x >> 31);
}


static uint32_t
pick(bench_t *bench, uint32_t below)
{
    bench->random += UINT64_C(0x9e3779b97f4a7c15);

    return (uint32_t) ((mix(bench->random) >> 32) * below >> 32);
}


static ms_claim_t
claim(bench_t *bench, uint32_t number, ms_lease_t *lease)
{
    char            session[37];
    ms_pool_key_t   key;
    ms_pool_seek_t  seek;

    /* as long as a UUID */

    memcpy(session, "00000000-0000-4000-8000-000000000000", 37);
    memcpy(session, &number, sizeof(number));
    memset(&seek, 0, sizeof(seek));

    ms_pool_key(bench->pool, session, 36, &key);
    ms_pool_enter(bench->pool, bench->now);

    return ms_pool_claim(bench->pool, &key, &terms, &seek, bench->now,
                         lease);
}


static void
must(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "bench/pool: %s\n", what);
        exit(1);
    }
}


static void
fill(bench_t *bench, uint32_t instances, uint32_t leased)
{
    char        name[32];
    size_t      size;
    uint32_t    i;
    ms_lease_t  lease;

    static const uint8_t  key[16] = "benchmark";

    size = ms_pool_size(instances);
    bench->pool = ms_pool_create(malloc(size), size, key);
    must(bench->pool != NULL, "no memory");

    bench->instances = instances;
    bench->leased = leased;
    bench->extra = UINT32_C(1) << 31;
    bench->now = 1;
    bench->random = 1;

    for (i = 0; i < instances; i++) {
        snprintf(name, sizeof(name), "10.%u.%u.%u:5101", i >> 16,
                 i >> 8 & 0xff, i & 0xff);
        ms_pool_add(bench->pool, name, strlen(name), name, 16, 10000, 1);
    }

    for (i = 0; i < leased; i++) {
        must(claim(bench, i, &lease) == MS_CLAIM_NEW, "not new");
        ms_pool_confirm(bench->pool, &lease, bench->now);
    }
}


static double
bench_hit(bench_t *bench)
{
    int         i, k;
    double      start;
    uint32_t    owners[BATCH];
    ms_lease_t  lease;

    for (i = 0; i < ROUNDS / BATCH; i++) {
        for (k = 0; k < BATCH; k++) {
            owners[k] = pick(bench, bench->leased);
        }

        start = nanoseconds();

        for (k = 0; k < BATCH; k++) {
            must(claim(bench, owners[k], &lease) == MS_CLAIM_HIT,
                 "not a hit");
        }

        sample(&first, start, BATCH);
    }

    return median(&first);
}


static double
bench_touch(bench_t *bench)
{
    int          i, k;
    double       start;
    ms_lease_t   leases[BATCH];

    for (i = 0; i < ROUNDS / BATCH; i++) {
        for (k = 0; k < BATCH; k++) {
            claim(bench, pick(bench, bench->leased), &leases[k]);
        }

        bench->now++;
        start = nanoseconds();

        for (k = 0; k < BATCH; k++) {
            ms_pool_enter(bench->pool, bench->now);
            ms_pool_touch(bench->pool, &leases[k], bench->now);
        }

        sample(&first, start, BATCH);
    }

    return median(&first);
}


/* Sessions come and go, as many as are free at once, up to BATCH. */
static void
bench_new(bench_t *bench, result_t *result)
{
    int          i, k, batch;
    double       start;
    ms_lease_t   leases[BATCH];

    batch = bench->instances - bench->leased < BATCH
            ? (int) (bench->instances - bench->leased) : BATCH;

    for (i = 0; i < ROUNDS / batch; i++) {
        start = nanoseconds();

        for (k = 0; k < batch; k++) {
            must(claim(bench, bench->extra++, &leases[k]) == MS_CLAIM_NEW,
                 "not new");
        }

        sample(&first, start, batch);

        for (k = 0; k < batch; k++) {
            ms_pool_confirm(bench->pool, &leases[k], bench->now);
        }

        start = nanoseconds();

        for (k = 0; k < batch; k++) {
            ms_pool_enter(bench->pool, bench->now);
            ms_pool_release(bench->pool, &leases[k], bench->now);
        }

        sample(&second, start, batch);

        for (k = 0; k < batch; k++) {
            ms_pool_up(bench->pool, leases[k].instance, bench->now);
        }
    }

    result->new = median(&first);
    result->release = median(&second);
}


static double
bench_busy(bench_t *bench)
{
    int         i, k;
    double      start;
    ms_lease_t  lease;

    while (claim(bench, bench->extra++, &lease) == MS_CLAIM_NEW) {
        ms_pool_confirm(bench->pool, &lease, bench->now);
    }

    for (i = 0; i < ROUNDS / BATCH; i++) {
        start = nanoseconds();

        for (k = 0; k < BATCH; k++) {
            must(claim(bench, bench->extra++, &lease) == MS_CLAIM_BUSY,
                 "not busy");
        }

        sample(&first, start, BATCH);
    }

    return median(&first);
}


/* the ring */

static int
point_cmp(const void *one, const void *two)
{
    uint32_t  a, b;

    a = ((const point_t *) one)->hash;
    b = ((const point_t *) two)->hash;

    return a < b ? -1 : a > b;
}


static void
make_ring(bench_t *bench)
{
    size_t    i, points;
    uint32_t  server;

    points = (size_t) bench->instances * POINTS;
    bench->ring = malloc(points * sizeof(point_t));
    must(bench->ring != NULL, "no memory");

    for (i = 0; i < points; i++) {
        bench->ring[i].hash = (uint32_t) mix(i + 1);
        bench->ring[i].server = (uint32_t) (i / POINTS);
    }

    qsort(bench->ring, points, sizeof(point_t), point_cmp);

    bench->taken = calloc(bench->instances, 1);
    must(bench->taken != NULL, "no memory");

    for (i = 0; i < bench->leased; /* void */) {
        server = pick(bench, bench->instances);
        i += !bench->taken[server];
        bench->taken[server] = 1;
    }
}


static uint32_t
walk(const bench_t *bench, uint32_t hash)
{
    size_t  low, high, middle, points;

    points = (size_t) bench->instances * POINTS;
    low = 0;
    high = points;

    while (low < high) {
        middle = (low + high) / 2;

        if (bench->ring[middle].hash < hash) {
            low = middle + 1;

        } else {
            high = middle;
        }
    }

    while (bench->taken[bench->ring[low % points].server]) {
        low++;
    }

    return bench->ring[low % points].server;
}


static double
bench_walk(bench_t *bench)
{
    int                i, rounds;
    double             start, spent;
    volatile uint32_t  found;

    make_ring(bench);
    start = read_clock(CLOCK_THREAD_CPUTIME_ID);
    spent = 0;

    for (rounds = 0; rounds < ROUNDS && spent < 2e9; rounds += 100) {
        for (i = 0; i < 100; i++) {
            bench->random++;
            found = walk(bench, (uint32_t) mix(bench->random));
            (void) found;
        }

        spent = read_clock(CLOCK_THREAD_CPUTIME_ID) - start;
    }

    free(bench->ring);
    free(bench->taken);

    return spent / rounds;
}


static void
run(uint32_t instances, uint32_t leased, const char *label)
{
    bench_t   bench;
    result_t  result;

    memset(&result, 0, sizeof(result));
    fill(&bench, instances, leased);

    result.hit = bench_hit(&bench);
    result.touch = bench_touch(&bench);
    bench_new(&bench, &result);
    result.walk = bench_walk(&bench);
    result.busy = bench_busy(&bench);

    printf("%9u  %-8s %6.0f %6.0f %6.0f %8.0f %6.0f  %12.0f\n", instances,
           label, result.hit, result.new, result.touch, result.release,
           result.busy, result.walk);
    fflush(stdout);

    free(bench.pool);
}


int
main(void)
{
    int     i;
    size_t  k;

    static const uint32_t  sizes[] = { 3, 10000, 100000 };

    for (i = 0; i < ROUNDS / BATCH; i++) {
        sample(&first, nanoseconds(), 1);
    }

    overhead = median(&first);

    printf("ns per operation; %.1f bytes per instance\n\n"
           "instances  leased      hit    new  touch  release   busy  "
           "ring walk (new)\n",
           (double) ms_pool_size(100000) / 100000);

    for (k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
        run(sizes[k], (sizes[k] + 1) / 2, "50 %");
        run(sizes[k], sizes[k] - (sizes[k] + 99) / 100, "99 %");

        if (sizes[k] > 3) {
            run(sizes[k], sizes[k] - 1, "all but 1");
        }
    }

    return 0;
}
