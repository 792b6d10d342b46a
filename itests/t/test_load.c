/* The arithmetic of a load. */

#include <check.h>
#include <pthread.h>
#include <stdlib.h>

#include "itests/player.h"


#define HARMS  5000                     /* as in a soak of about an hour */


/* The list of harm grows without a limit: a long soak forgets none. */
START_TEST(test_harms)
{
    int      i;
    load_t  *load;

    load = calloc(1, sizeof(load_t));
    ck_assert_ptr_nonnull(load);
    pthread_mutex_init(&load->mutex, NULL);

    for (i = 0; i < HARMS; i++) {
        load_harm(load, HARM_INSTANCE, i % 20 + 1);
        if (i % 2) {
            load_healed(load, HARM_INSTANCE, i % 20 + 1);
        }
    }

    ck_assert_uint_eq(load->nharms, HARMS);
    for (i = 0; i < HARMS; i++) {
        ck_assert_int_eq(load->harms[i].kind, HARM_INSTANCE);
        ck_assert_int_eq(load->harms[i].number, i % 20 + 1);
        ck_assert_int_eq(load->harms[i].end < INT64_MAX, i % 2);
    }

    pthread_mutex_destroy(&load->mutex);
    free(load->harms);
    free(load);
}
END_TEST


int
main(void)
{
    int       n;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("load");
    tcase = tcase_create("load");
    tcase_add_test(tcase, test_harms);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    n = srunner_ntests_failed(runner);
    srunner_free(runner);

    return n == 0 ? 0 : 1;
}
