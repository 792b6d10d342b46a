/*
 * The store's script against a model of gateways and instances, in a real
 * server: random operations and faults, then what must never happen.  With a
 * part of the design switched back it does happen.  MODEL_SEED and MODEL_STEPS
 * in the environment repeat or prolong a run.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "store_model.h"
#include "store_server.h"


#define STEPS          100000
#define VARIANT_STEPS  8000
#define QUIET          200              /* steps between two quiet rounds */


static uint64_t
environment(const char *name, uint64_t otherwise)
{
    const char  *text;

    text = getenv(name);

    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}


static void
run(store_model_t *m, redisContext *c, store_variant_t variant, bool skew,
    bool limited, uint64_t seed, uint64_t steps)
{
    uint64_t  n;

    store_model_create(m, c, seed, variant, skew, limited);

    for (n = 1; n <= steps; n++) {
        store_model_step(m);

        if (n % QUIET == 0) {
            store_model_quiet(m);
        }
    }
}


/* what must never happen has happened, but for "allowed" */

static uint64_t
broken(const store_model_t *m, unsigned allowed)
{
    int       k;
    uint64_t  n;

    n = 0;

    for (k = STORE_BROKEN; k < STORE_COUNTS; k++) {
        n += allowed & 1U << k ? 0 : m->counts[k];
    }

    return n;
}


static void
print(const store_model_t *m, uint64_t seed)
{
    int  k;

    printf("seed %llu\n", (unsigned long long) seed);

    for (k = 0; k < STORE_COUNTS; k++) {
        printf("%8llu  %s\n", (unsigned long long) m->counts[k],
               store_model_name((store_count_t) k));
    }

    fflush(stdout);
}


/*
 * In four runs, each with a server of its own: they run beside each other.  In
 * two of them users have a limit.  In two the store's clock is set, too: then a
 * store that has lost its counter as well may repeat an epoch, and what follows
 * of that heals.
 */

#define RUNS  4

#define CLOCK_MAY                                                             \
    (1U << STORE_OLD_EPOCH | 1U << STORE_BUSY_FREE | 1U << STORE_TWO)

START_TEST(as_designed)
{
    uint64_t        seed;
    redisContext   *c;
    store_model_t   m;

    seed = environment("MODEL_SEED", 1) * RUNS + (uint64_t) _i;
    store_server_start(0, NULL);
    c = store_server_connect();

    run(&m, c, STORE_AS_DESIGNED, _i % 2 == 1, _i >= RUNS / 2, seed,
        environment("MODEL_STEPS", STEPS) / RUNS);

    print(&m, seed);

    if (broken(&m, _i % 2 ? CLOCK_MAY : 0) != 0) {
        ck_abort_msg("what must never happen has happened");
    }

    ck_assert_uint_gt(m.counts[STORE_SERVED], 1000);
    ck_assert_uint_gt(m.counts[STORE_EMPTIED], 10);
    ck_assert_uint_gt(m.counts[STORE_FAILED_OVER], 10);
    ck_assert_uint_gt(m.counts[STORE_ASSERTED], 10);
    ck_assert_uint_gt(m.counts[STORE_WORDS], 100);
    ck_assert_uint_gt(m.counts[STORE_ADDED], 100);
    ck_assert_uint_gt(m.counts[STORE_REMOVED], 50);
    ck_assert_uint_gt(m.counts[STORE_MOVED], 5);
    ck_assert_uint_gt(m.counts[STORE_LATE], 5);
    ck_assert(_i < RUNS / 2 || m.counts[STORE_LIMITED] > 100);

    store_model_free(&m);
    redisFree(c);
}
END_TEST


/* the model finds what a naive design breaks */

static const struct {
    store_variant_t  variant;
    store_count_t    breaks;
    uint64_t         times;             /* VARIANT_STEPS */
} variants[] = {
    { STORE_COUNTER,       STORE_OLD_EPOCH, 1 },
    { STORE_NO_TOMBSTONES, STORE_ZOMBIE, 1 },
    { STORE_RAISE,         STORE_BOUND_REFUSED, 1 },
    { STORE_NO_HEALTH,     STORE_QUIET_ZOMBIE, 1 },
    { STORE_KNOWN,         STORE_BUSY_FREE, 1 },
    { STORE_NO_STAMPS,     STORE_QUIET_WORD, 3 },
    { STORE_NO_ORDER,      STORE_QUIET_WORD, 1 },
    { STORE_ONCE,          STORE_QUIET_WORD, 1 },
    { STORE_FORGETS,       STORE_WORDS_LOST, 1 },
    { STORE_HINTS,         STORE_LIMIT_WRONG, 1 }
};


START_TEST(switched_back)
{
    bool            limited;
    uint64_t        steps;
    redisContext   *c;
    store_model_t   m, designed;

    store_server_start(0, NULL);
    c = store_server_connect();

    limited = variants[_i].breaks == STORE_LIMIT_WRONG;
    steps = variants[_i].times * VARIANT_STEPS;
    run(&designed, c, STORE_AS_DESIGNED, false, limited, 3, steps);
    run(&m, c, variants[_i].variant, false, limited, 3, steps);

    print(&m, 3);

    ck_assert_uint_gt(m.counts[variants[_i].breaks],
                      designed.counts[variants[_i].breaks]);

    store_model_free(&designed);
    store_model_free(&m);
    redisFree(c);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_model");
    harness_add_loop(suite, as_designed, RUNS);
    harness_add_loop(suite, switched_back,
                     (int) (sizeof(variants) / sizeof(variants[0])));

    return harness_run(suite, "test_store_model");
}
