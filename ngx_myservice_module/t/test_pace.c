/* How soon and how often a stream is resumed. */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sessions/pace.h"
#include "harness.h"


static ms_pace_t  pace;
static uint64_t   now;


static int32_t
next(uint32_t random)
{
    int32_t  wait;

    wait = ms_pace_next(&pace, now, random);
    now += wait > 0 ? (uint64_t) wait : 0;

    return wait;
}


static void
start(void)
{
    memset(&pace, 0, sizeof(pace));
    now = 123456;
}


START_TEST(pace_doubles)
{
    size_t               i;
    static const int32_t  longest[] = { 0, 50, 100, 200, 400, 800, 1600, 2000 };

    start();

    for (i = 0; i < sizeof(longest) / sizeof(longest[0]); i++) {
        ck_assert_int_eq(next((uint32_t) (longest[i] - longest[i] / 2)),
                         longest[i]);
    }

    ck_assert_int_eq(next(0), MS_PACE_TOO_MANY);
    ck_assert_int_eq(next(0), MS_PACE_TOO_MANY);
}
END_TEST


START_TEST(pace_jitter)
{
    uint32_t  i;
    int32_t   wait;

    for (i = 0; i < 1000; i++) {
        start();
        ck_assert_int_eq(next(i * 2654435761u), 0);
        wait = next(i * 2654435761u);
        ck_assert_int_ge(wait, 25);
        ck_assert_int_le(wait, 50);
    }
}
END_TEST


/* messages in between: not in a row, but in a minute */
START_TEST(pace_minute)
{
    unsigned  n;
    uint64_t  begin;

    start();
    begin = now;

    for (n = 0; next(0) >= 0; n++) {
        ms_pace_progress(&pace);
    }

    ck_assert_uint_eq(n, MS_PACE_MINUTE);
    ck_assert_uint_lt(now - begin, 60000);
    ck_assert_int_eq(next(0), MS_PACE_TOO_OFTEN);
}
END_TEST


START_TEST(pace_quiet)
{
    unsigned  n;

    start();

    for (n = 0; n < 1000; n++) {
        ck_assert_int_eq(next(7), 0);
        ms_pace_progress(&pace);
        now += MS_PACE_QUIET - 1;
        ck_assert_int_gt(next(7), 0);
        ms_pace_progress(&pace);
        now += MS_PACE_QUIET;
    }
}
END_TEST


/* quiet alone is no progress */
START_TEST(pace_row)
{
    unsigned  n;

    start();

    for (n = 0; next(0) >= 0; n++) {
        now += 100000;
    }

    ck_assert_uint_eq(n, MS_PACE_ROW);
}
END_TEST


int
main(void)
{
    TCase  *tc;
    Suite  *suite;

    suite = suite_create("pace");
    tc = tcase_create("pace");
    tcase_add_test(tc, pace_doubles);
    tcase_add_test(tc, pace_jitter);
    tcase_add_test(tc, pace_minute);
    tcase_add_test(tc, pace_quiet);
    tcase_add_test(tc, pace_row);
    suite_add_tcase(suite, tc);

    return harness_run_units(suite);
}
