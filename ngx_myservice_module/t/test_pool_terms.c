/* How long leases live, and how long new sessions avoid an instance. */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "pool_world.h"
#include "harness.h"


/* Session "a". */
static void
take_for(world_t *world, uint64_t ttl, uint64_t lifetime, uint64_t ends,
    ms_lease_t *lease)
{
    ms_pool_terms_t  terms;

    terms = (ms_pool_terms_t) {
        .ttl = ttl, .lifetime = lifetime, .ends = ends
    };
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


/* a learned lease has no end of a token yet */
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


/* a first call whose worker died does not give its claim back; a call that is
 * still in flight touches the lease */
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


/* the owner of a dead instance keeps it, the calls that it has there do not;
 * a tentative owner does not either */
START_TEST(test_dead)
{
    world_t        world;
    world_slot_t  *slot;

    world_create(&world, 1);
    world_step(&world, "add x");
    world_step(&world, "claim a NEW");
    world_step(&world, "confirm a");
    ms_pool_dead(world.pool, 0, 0, 10);
    world_step(&world, "is x down a");
    world_step(&world, "lost a");
    world_step(&world, "request a");
    world_step(&world, "claim a HIT");
    world_step(&world, "touch a");

    /* once more, as it was tried meanwhile, and then as it was not */
    slot = world_slot(&world, "a");
    ms_pool_dead(world.pool, 0, 0, 20);
    ck_assert_int_eq(ms_pool_lease_state(world.pool, &slot->lease, 20),
                     MS_LEASE_DEAD);
    world_step(&world, "request a");
    world_step(&world, "claim a HIT");
    ms_pool_fail(world.pool, &slot->lease, 25);
    ms_pool_dead(world.pool, 0, 0, 30);
    ms_pool_dead(world.pool, 0, 0, 40);
    ck_assert_ptr_null(ms_pool_check(world.pool));
    world_free(&world);

    world_create(&world, 1);
    world_step(&world, "add x");
    world_step(&world, "claim a NEW");
    ms_pool_dead(world.pool, 0, 0, 10);
    world_step(&world, "is x down -");
    world_step(&world, "lost a");
    ck_assert_ptr_null(ms_pool_check(world.pool));
    world_free(&world);
}
END_TEST


/* how the lease of session "a" on its instance x stands after these steps */
static void
stands(const char *const *steps, ms_lease_state_t state)
{
    world_t     world;
    ms_lease_t  lease;

    world_create(&world, 3);
    world_step(&world, "add x");
    world_step(&world, "claim a NEW");
    world_step(&world, "confirm a");
    lease = world_slot(&world, "a")->lease;
    ck_assert_int_eq(ms_pool_lease_state(world.pool, &lease, world.now),
                     MS_LEASE_HELD);

    for ( /* void */ ; *steps != NULL; steps++) {

        if (strcmp(*steps, "end") == 0) {
            ms_pool_end(world.pool, lease.instance, world.now);

        } else if (strcmp(*steps, "dead") == 0) {
            ms_pool_dead(world.pool, lease.instance, 0, world.now);

        } else if (strcmp(*steps, "kept") == 0) {
            ms_pool_dead(world.pool, lease.instance, 1, world.now);

        } else if (strcmp(*steps, "failed") == 0) {
            ms_pool_down(world.pool, lease.instance, world.now);

        } else if (strcmp(*steps, "drop") == 0) {
            ms_pool_remove(world.pool, lease.instance, 1, world.now);

        } else if (strcmp(*steps, "remove") == 0) {
            ms_pool_remove(world.pool, lease.instance, 0, world.now);

        } else if (strcmp(*steps, "learn") == 0) {
            ms_pool_learn(world.pool, lease.instance, "b", 1, 0, &world_terms,
                          world.now + 1, world.now + 1);

        } else {
            world_step(&world, *steps);
        }
    }

    ck_assert_int_eq(ms_pool_lease_state(world.pool, &lease, world.now),
                     state);
    ck_assert_ptr_null(ms_pool_check(world.pool));
    world_free(&world);
}


START_TEST(test_look)
{
    size_t  i;

    static const struct {
        const char        *steps[6];
        ms_lease_state_t   state;
    } cases[] = {
        { { "touch a" }, MS_LEASE_HELD },
        { { "remove" }, MS_LEASE_HELD },
        { { "drain x" }, MS_LEASE_HELD },
        { { "fail a" }, MS_LEASE_HELD },
        { { "failed" }, MS_LEASE_HELD },
        { { "dead" }, MS_LEASE_DEAD },
        { { "failed", "dead" }, MS_LEASE_DEAD },
        { { "dead", "claim a HIT" }, MS_LEASE_DEAD },
        { { "release a", "dead" }, MS_LEASE_DEAD },
        { { "kept" }, MS_LEASE_HELD },
        { { "release a" }, MS_LEASE_RELEASED },
        { { "release a", "up x" }, MS_LEASE_RELEASED },
        { { "release a", "up x", "claim b NEW" }, MS_LEASE_ENDED },
        { { "fail a", "add y", "request a", "claim a MOVED" },
          MS_LEASE_ENDED },
        { { "conflict a b" }, MS_LEASE_ENDED },
        { { "conflict a -" }, MS_LEASE_ENDED },
        { { "learn" }, MS_LEASE_ENDED },
        { { "end" }, MS_LEASE_ENDED },
        { { "drop" }, MS_LEASE_ENDED },
        { { "at 5000", "claim b NEW" }, MS_LEASE_ENDED }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        stands(cases[i].steps, cases[i].state);
    }
}
END_TEST


/* not every byte is noted, and none that counts is missed */
START_TEST(test_heard)
{
    uint64_t  first, now;
    world_t   world;

    world_create(&world, 1);
    world_step(&world, "add x");

    for (first = UINT32_MAX - 300; first < UINT32_MAX + UINT64_C(300);
         first += 101)
    {
        ms_pool_byte_seen(world.pool, 0, first);
        ck_assert(!ms_pool_byte_since(world.pool, 0, first + 20,
                                      first + 3000));

        for (now = first; now < first + 20; now += 3) {
            ms_pool_byte_seen(world.pool, 0, now);
            ck_assert(ms_pool_byte_since(world.pool, 0, now, now + 3000));
        }

        ck_assert(!ms_pool_byte_since(world.pool, 0, first + 40,
                                      first + 3000));
    }

    world_free(&world);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("pool terms");

    tcase = tcase_create("terms");
    tcase_add_test(tcase, test_lifetime);
    tcase_add_test(tcase, test_ends_with_the_token);
    tcase_add_test(tcase, test_learned_ends_with_the_token);
    tcase_add_test(tcase, test_touch_tells_the_end);
    tcase_add_test(tcase, test_new_idle_time);
    tcase_add_test(tcase, test_tentative);
    tcase_add_test(tcase, test_retry_never_at_once);
    tcase_add_test(tcase, test_dead);
    tcase_add_test(tcase, test_look);
    tcase_add_test(tcase, test_heard);
    suite_add_tcase(suite, tcase);

    return harness_run_units(suite);
}
