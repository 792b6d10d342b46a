/* How long leases live, and how long instances are left alone. */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "ngx_myservice_module/t/pool_world.h"


/* Session "a". */
static void
take_for(world_t *world, uint64_t ttl, uint64_t lifetime, uint64_t ends,
    ms_lease_t *lease)
{
    ms_pool_terms_t  terms;

    terms = (ms_pool_terms_t) { ttl, lifetime, ends };
    ck_assert_int_lt(world_claim_with(world, "a", 1, &terms, lease),
                     MS_CLAIM_BUSY);
}


static void
lives_until(world_t *world, ms_lease_t *lease, uint64_t end)
{
    ms_instance_info_t  info;

    ms_pool_info(world->pool, lease->instance, &info);
    ck_assert_uint_eq(info.expires, end);

    world->now = end - 1;
    ms_pool_enter(world->pool, world->now);
    ck_assert_int_eq(ms_pool_touch(world->pool, lease, 0), 0);

    world->now = end;
    ms_pool_enter(world->pool, world->now);
    ck_assert_int_eq(ms_pool_touch(world->pool, lease, 0), -1);
    ck_assert_ptr_null(ms_pool_check(world->pool));
}


START_TEST(test_lifetime)
{
    world_t     world;
    ms_lease_t  lease;

    world_create(&world, 1);
    world_step(&world, "add x");
    world.now = 100;
    take_for(&world, 1000, 1500, 0, &lease);
    ck_assert_uint_eq(lease.tentative, 1);
    ms_pool_confirm(world.pool, &lease, 900);
    ck_assert_int_eq(ms_pool_touch(world.pool, &lease, 1000), 0);
    lives_until(&world, &lease, 1600);
    world_free(&world);
}
END_TEST


START_TEST(test_ends_with_the_token)
{
    world_t     world;
    ms_lease_t  lease;

    world_create(&world, 1);
    world_step(&world, "add x");
    take_for(&world, 1000, 0, 700, &lease);
    ms_pool_confirm(world.pool, &lease, 0);

    /* an older token, then a newer one */
    take_for(&world, 1000, 0, 600, &lease);
    ck_assert_uint_eq(lease.tentative, 0);
    take_for(&world, 1000, 0, 800, &lease);
    lives_until(&world, &lease, 800);
    world_free(&world);
}
END_TEST


/* who told of the lease knew nothing of a token */
START_TEST(test_learned_ends_with_the_token)
{
    world_t     world;
    ms_lease_t  lease;

    world_create(&world, 1);
    world_step(&world, "add x");
    world_step(&world, "at 10");
    world_step(&world, "learn x a 5");
    take_for(&world, 1000, 0, 700, &lease);
    ck_assert_uint_eq(lease.ends, 700);

    /* an older token, then a newer one */
    take_for(&world, 1000, 0, 600, &lease);
    ck_assert_uint_eq(lease.ends, 700);
    take_for(&world, 1000, 0, 800, &lease);
    ck_assert_uint_eq(lease.ends, 800);
    lives_until(&world, &lease, 800);
    world_free(&world);
}
END_TEST


/* a call in flight sees that the end was moved */
START_TEST(test_touch_tells_the_end)
{
    world_t     world;
    ms_lease_t  first, second;

    world_create(&world, 1);
    world_step(&world, "add x");
    take_for(&world, 1000, 0, 700, &first);
    take_for(&world, 1000, 0, 800, &second);
    ck_assert_uint_eq(first.ends, 700);
    ck_assert_int_eq(ms_pool_touch(world.pool, &first, 0), 0);
    ck_assert_uint_eq(first.ends, 800);
    world_free(&world);
}
END_TEST


START_TEST(test_new_idle_time)
{
    world_t     world;
    ms_lease_t  lease;

    world_create(&world, 1);
    world_step(&world, "add x");
    take_for(&world, 1000, 0, 0, &lease);
    take_for(&world, 200, 0, 0, &lease);
    lives_until(&world, &lease, 200);
    take_for(&world, 200, 0, 0, &lease);
    take_for(&world, 5000, 0, 0, &lease);
    lives_until(&world, &lease, 5200);

    /* no overflow */
    take_for(&world, UINT64_MAX, UINT64_MAX, UINT64_MAX, &lease);
    ms_pool_confirm(world.pool, &lease, world.now);
    ms_pool_enter(world.pool, UINT32_MAX);
    ck_assert_int_eq(ms_pool_touch(world.pool, &lease, UINT32_MAX), 0);
    world_free(&world);
}
END_TEST


/* a first call whose process died gives nothing back; one that is still in
 * flight touches the lease */
START_TEST(test_tentative)
{
    world_t     world;
    ms_lease_t  lease;

    world_create(&world, 1);
    world_step(&world, "add x");
    take_for(&world, 1800000, 0, 0, &lease);
    lives_until(&world, &lease, MS_POOL_TENTATIVE);
    world_step(&world, "is x free");

    world.now = 100000;
    take_for(&world, 1800000, 0, 0, &lease);
    ck_assert_int_eq(ms_pool_touch(world.pool, &lease, 120000), 0);
    ck_assert_int_eq(ms_pool_touch(world.pool, &lease, 140000), 0);
    ms_pool_confirm(world.pool, &lease, 150000);
    lives_until(&world, &lease, 150000 + 1800000);

    /* a short idle time stays what it is */
    take_for(&world, 1000, 0, 0, &lease);
    lives_until(&world, &lease, 150000 + 1800000 + 1000);
    world_free(&world);
}
END_TEST


/* an instance without retry time is not offered again at the same moment */
START_TEST(test_retry_never_at_once)
{
    world_t     world;
    ms_lease_t  lease;

    world_create(&world, 1);
    ck_assert_uint_ne(ms_pool_add(world.pool, "x", 1, "", 0, 0, 0),
                      MS_POOL_NONE);
    take_for(&world, 1000, 0, 0, &lease);
    ms_pool_fail(world.pool, &lease, 0);
    ms_pool_enter(world.pool, 0);
    world_step(&world, "is x down");
    ms_pool_enter(world.pool, 1);
    world_step(&world, "is x free");
    world_free(&world);
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("pool terms");

    tcase = tcase_create("terms");
    tcase_add_test(tcase, test_lifetime);
    tcase_add_test(tcase, test_ends_with_the_token);
    tcase_add_test(tcase, test_learned_ends_with_the_token);
    tcase_add_test(tcase, test_touch_tells_the_end);
    tcase_add_test(tcase, test_new_idle_time);
    tcase_add_test(tcase, test_tentative);
    tcase_add_test(tcase, test_retry_never_at_once);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed != 0;
}
