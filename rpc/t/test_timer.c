/* The timers of a server. */

#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "rpc/timer.h"


#define TIMERS  100


typedef struct {
    rpc_timers_t  *timers;
    rpc_timer_t    timer;
    int            fired;
    int            again;
} item_t;


static item_t  items[TIMERS];
static int64_t  last;


static void
fire(void *data)
{
    item_t  *item = data;

    ck_assert_int_ge(item->timer.when, last);
    last = item->timer.when;
    item->fired++;

    if (item->again > 0) {
        item->again--;
        rpc_timers_set(item->timers, &item->timer, item->timer.when);
    }
}


static void
items_init(rpc_timers_t *timers)
{
    int  i;

    memset(items, 0, sizeof(items));
    memset(timers, 0, sizeof(*timers));
    last = 0;

    for (i = 0; i < TIMERS; i++) {
        items[i].timers = timers;
        items[i].timer.fire = fire;
        items[i].timer.data = &items[i];
    }
}


START_TEST(order)
{
    int           i;
    rpc_timers_t  timers;

    items_init(&timers);
    ck_assert_int_eq(rpc_timers_next(&timers), INT64_MAX);

    for (i = 0; i < TIMERS; i++) {
        rpc_timers_set(&timers, &items[i].timer, (i * 37) % TIMERS);
    }

    ck_assert_int_eq(rpc_timers_next(&timers), 0);
    rpc_timers_expire(&timers, 49);
    ck_assert_int_eq(rpc_timers_next(&timers), 50);
    rpc_timers_expire(&timers, TIMERS);
    ck_assert_int_eq(rpc_timers_next(&timers), INT64_MAX);

    for (i = 0; i < TIMERS; i++) {
        ck_assert_int_eq(items[i].fired, 1);
    }

    rpc_timers_free(&timers);
}
END_TEST


/* A timer that is due at once again lets the loop go on. */

START_TEST(again)
{
    rpc_timers_t  timers;

    items_init(&timers);
    items[0].again = 1000000;
    rpc_timers_set(&timers, &items[0].timer, 5);

    rpc_timers_expire(&timers, 10);
    ck_assert_int_eq(items[0].fired, 1);
    ck_assert_int_eq(rpc_timers_next(&timers), 5);

    rpc_timers_clear(&timers, &items[0].timer);
    rpc_timers_clear(&timers, &items[0].timer);
    rpc_timers_expire(&timers, 10);
    ck_assert_int_eq(items[0].fired, 1);

    rpc_timers_free(&timers);
}
END_TEST


/* Set, move, clear at random; the heap's head is always the least. */

START_TEST(random_model)
{
    int           i, k;
    int64_t       least;
    rpc_timers_t  timers;

    items_init(&timers);
    srand(1);

    for (i = 0; i < 20000; i++) {
        k = rand() % TIMERS;

        if (rand() % 3 == 0) {
            rpc_timers_clear(&timers, &items[k].timer);

        } else {
            rpc_timers_set(&timers, &items[k].timer, rand() % 1000);
        }

        least = INT64_MAX;

        for (k = 0; k < TIMERS; k++) {
            if (items[k].timer.slot != 0) {
                ck_assert_ptr_eq(timers.heap[items[k].timer.slot],
                                 &items[k].timer);

                if (items[k].timer.when < least) {
                    least = items[k].timer.when;
                }
            }
        }

        ck_assert_int_eq(rpc_timers_next(&timers), least);
    }

    rpc_timers_expire(&timers, 1000);
    ck_assert_uint_eq(timers.n, 0);
    rpc_timers_free(&timers);
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tc;
    SRunner  *runner;

    suite = suite_create("timer");
    tc = tcase_create("timer");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, order);
    tcase_add_test(tc, again);
    tcase_add_test(tc, random_model);
    suite_add_tcase(suite, tc);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
