#include <check.h>
#include <stdlib.h>

#include "authsvc/turns.h"


#define HASH  20000


static turns_t  turns;


/* One thread: one after the other, and no memory of what is over. */
START_TEST(test_one)
{
    int  i;

    turns_init(&turns, 1, 128);

    for (i = 0; i < 4; i++) {
        ck_assert_int_eq(turns_take(&turns, 1000000, HASH),
                         1000000 + i * HASH);
    }

    ck_assert_int_eq(turns_take(&turns, 1000000 + HASH, HASH),
                     1000000 + 4 * HASH);
    ck_assert_int_eq(turns_take(&turns, 9000000, HASH), 9000000);
    ck_assert_int_eq(turns_take(&turns, 9000000 + HASH, HASH),
                     9000000 + HASH);
}
END_TEST


START_TEST(test_three)
{
    int  i;

    turns_init(&turns, 3, 128);

    for (i = 0; i < 9; i++) {
        ck_assert_int_eq(turns_take(&turns, 1000000, HASH),
                         1000000 + i / 3 * HASH);
    }

    /* who is done first is next */
    turns_init(&turns, 3, 128);
    (void) turns_take(&turns, 1000000, 3 * HASH);
    (void) turns_take(&turns, 1000000, HASH);
    (void) turns_take(&turns, 1000000, 2 * HASH);
    ck_assert_int_eq(turns_take(&turns, 1000000, HASH), 1000000 + HASH);
    ck_assert_int_eq(turns_take(&turns, 1000000, HASH), 1000000 + 2 * HASH);
    ck_assert_int_eq(turns_take(&turns, 1000000, HASH), 1000000 + 2 * HASH);
    ck_assert_int_eq(turns_take(&turns, 1000000, HASH), 1000000 + 3 * HASH);
}
END_TEST


/* However many come: none waits for longer than a full queue takes. */
START_TEST(test_bounded)
{
    int      i;
    int64_t  start;

    turns_init(&turns, 2, 10);

    for (i = 0; i < 100000; i++) {
        start = turns_take(&turns, 1000000 + i, HASH);
        ck_assert_int_ge(start, 1000000 + i);
        ck_assert_int_le(start, 1000000 + i + 6 * HASH);
    }

    ck_assert_int_eq(start, 1000000 + i - 1 + 6 * HASH);
    ck_assert_int_eq(turns_take(&turns, 1000000 + i + 8 * HASH, HASH),
                     1000000 + i + 8 * HASH);
}
END_TEST


int
main(void)
{
    int       n;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("turns");
    tcase = tcase_create("turns");
    tcase_add_test(tcase, test_one);
    tcase_add_test(tcase, test_three);
    tcase_add_test(tcase, test_bounded);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    n = srunner_ntests_failed(runner);
    srunner_free(runner);

    return n == 0 ? 0 : 1;
}
