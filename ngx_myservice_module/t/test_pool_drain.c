/*
 * How long an instance drains, and that its session moves then, or when an
 * operator says so; pool_world.h has the language.
 */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "pool_world.h"
#include "harness.h"


#define STEPS  32


static const struct {
    const char  *title;
    const char  *steps[STEPS];
} cases[] = {

    { "without a limit it drains until the lease ends",
      { "add x", "add y", "claim a NEW", "confirm a", "drain @a",
        "is @a draining a", "at 999", "is @a draining a", "claim a HIT",
        "at 1998", "is @a draining a", "at 1999", "is @a left -" } },

    { "with one the session moves",
      { "bound 100", "add x", "claim a NEW", "confirm a", "add y", "at 10",
        "drain x", "at 109", "is x draining a", "claim a HIT", "keep a old",
        "at 110", "is x left a", "lost old", "claim a MOVED",
        "is x left -", "is y tentative a", "confirm old", "fail old",
        "release old", "is y tentative a", "confirm a", "claim a HIT" } },

    { "at another time for this one",
      { "add x", "claim a NEW", "confirm a", "add y", "until x 5", "at 5",
        "is x leased a", "drain x", "until x 20", "at 19", "claim a HIT",
        "at 20", "is x left a", "claim a MOVED", "is x left -" } },

    { "but not when that drain is over and the instance drains by its own word",
      { "bound 100", "add x", "claim a NEW", "confirm a", "add y", "says x",
        "drain x", "until x 20", "at 10", "undrain x", "at 20",
        "is x draining a", "claim a HIT", "at 109", "is x draining a",
        "at 110", "is x left a" } },

    { "until another limit for all takes its place",
      { "bound 100", "add x", "claim a NEW", "confirm a", "add y", "drain x",
        "until x 20", "bound 50", "at 49", "claim a HIT", "at 50",
        "claim a MOVED" } },

    { "so it does from one that was removed",
      { "bound 100", "add x", "claim a NEW", "confirm a", "add y", "remove x",
        "is x leased a", "at 99", "claim a HIT", "at 100", "is x left a",
        "claim a MOVED", "is x unused", "is y tentative a" } },

    { "from one that is down",
      { "bound 50", "add x", "claim a NEW", "confirm a", "drain x", "fail a",
        "is x down a", "at 50", "is x left a", "add y", "request a",
        "claim a MOVED", "is x left -", "is y tentative a" } },

    { "as soon as another instance is free",
      { "bound 50", "add x", "claim a NEW", "confirm a", "drain x", "at 50",
        "claim a EMPTY", "is x left a", "add y", "claim b NEW", "confirm b",
        "claim a BUSY", "request a", "claim a BUSY", "is x left a", "end y",
        "claim a MOVED", "is y tentative a", "is x left -" } },

    { "or to one that is down, when none is up",
      { "bound 50", "health x", "claim a NEW", "confirm a", "health y",
        "down y", "drain x", "at 50", "claim a MOVED", "is x left -",
        "is y tentative a" } },

    { "or to one that reports it",
      { "bound 50", "add x", "claim a NEW", "confirm a", "add y",
        "claim b NEW", "conflict b a", "is y foreign a", "drain x", "at 50",
        "claim a MOVED", "is x left -", "is y leased a" } },

    { "an idle session is forgotten in the end",
      { "bound 50", "add x", "claim a NEW", "confirm a", "drain x", "at 50",
        "is x left a", "at 999", "is x left a", "at 1000", "is x left -",
        "add y", "claim a NEW" } },

    { "and a member that was removed goes with it",
      { "bound 50", "add x", "claim a NEW", "confirm a", "remove x", "at 50",
        "is x left a", "at 1000", "is x unused" } },

    { "probes do not bring it back",
      { "bound 50", "health x", "at 1", "claim a NEW", "confirm a",
        "remove x", "at 51", "is x left a", "up x", "is x left a",
        "learn x a 51", "is x left a", "learn x - 51", "is x left a",
        "learn x b 51", "is x left a", "down x", "is x left a",
        "claim a EMPTY", "add y", "claim a MOVED", "is x unused" } },

    { "an instance that is drained is asked to forget the session",
      { "bound 50", "health x", "at 1", "claim a NEW", "confirm a", "drain x",
        "health y", "at 51", "claim a MOVED", "is x left -", "at 52",
        "learn x a 52", "is x draining a", "quiet x", "confirm a", "tell x",
        "claim b BUSY", "at 60", "learn x a 60", "tell x", "at 70",
        "learn x - 70", "is x left -" } },

    { "and gets it back in no case",
      { "bound 50", "health x", "at 1", "claim a NEW", "confirm a", "drain x",
        "health y", "at 51", "claim a MOVED", "confirm a", "at 52",
        "learn x a 52", "is x draining a", "release a", "request a",
        "claim a BUSY", "at 60", "learn x a 60", "is x left -",
        "claim a EMPTY", "at 70", "learn x a 70", "is x left -" } },

    /* the drain ends */

    { "back in time, and the next one takes its whole time",
      { "bound 100", "add x", "claim a NEW", "confirm a", "drain x", "at 60",
        "undrain x", "is x leased a", "at 110", "touch a", "drain x",
        "at 209", "is x draining a", "at 210", "is x left a" } },

    { "back before the session moved",
      { "bound 100", "add x", "add y", "claim a NEW", "confirm a",
        "keep a old", "drain @a", "at 100", "is @a left a", "undrain @a",
        "is @a leased a", "lost old", "claim a HIT", "touch a", "at 300",
        "is @a leased a" } },

    { "the same of one that was removed",
      { "bound 100", "add x", "claim a NEW", "confirm a", "remove x",
        "at 100", "is x left a", "add x", "is x leased a", "claim a HIT",
        "at 300", "touch a" } },

    { "and was awaited",
      { "bound 100", "health x", "claim a NEW", "confirm a", "remove x",
        "at 100", "is x left a", "add x", "is x leased a" } },

    { "back from one of two drains",
      { "bound 100", "add x", "claim a NEW", "confirm a", "drain x", "at 50",
        "remove x", "at 99", "is x draining a", "at 100", "is x left a",
        "undrain x", "is x left a", "drain x", "add x", "is x left a",
        "undrain x", "is x leased a", "claim a HIT" } },

    { "back, and its probes failed",
      { "bound 100", "health x", "claim a NEW", "confirm a", "drain x",
        "at 100", "is x left a", "down x", "undrain x", "is x down a",
        "up x", "is x leased a" } },

    /* other leases end */

    { "a tentative one",
      { "bound 100", "add x", "claim a NEW", "remove x", "at 99",
        "is x tentative a", "at 100", "is x unused", "lost a",
        "claim a EMPTY" } },

    { "one of a session that is elsewhere, or not known",
      { "bound 100", "add x", "add y", "claim b NEW", "confirm b",
        "claim a NEW", "keep a old", "conflict a b", "is @old foreign b",
        "drain @old", "at 100", "is @old left -", "claim b HIT",
        "undrain @old", "claim a NEW", "conflict a -", "drain @a", "at 200",
        "is @a left -" } },

    { "one without owner has nothing to wait for",
      { "bound 100", "add x", "drain x", "is x left -", "at 100",
        "is x left -", "undrain x", "is x free" } },

    /* another limit */

    { "a limit that is new begins now",
      { "add x", "claim a NEW", "confirm a", "drain x", "at 300",
        "bound 100", "at 399", "is x draining a", "at 400",
        "is x left a" } },

    { "another one begins with the drain",
      { "bound 100", "add x", "claim a NEW", "confirm a", "drain x",
        "at 50", "bound 200", "at 199", "is x draining a", "bound 30",
        "at 200", "is x left a" } },

    { "none is none",
      { "bound 100", "add x", "claim a NEW", "confirm a", "drain x",
        "at 99", "bound never", "at 999", "is x draining a" } },

    /* an operator moves the session */

    { "the next claim goes elsewhere",
      { "add x", "claim a NEW", "confirm a", "add y", "keep a old",
        "moves x", "is x left a", "lost old", "already x", "claim a MOVED",
        "is x free -", "is y tentative a", "early y", "confirm a",
        "moves y", "request a", "claim a MOVED", "is y free -",
        "ended operator 2" } },

    { "only where an instance is free",
      { "add x", "claim a NEW", "confirm a", "nowhere x", "add y",
        "claim b NEW", "nowhere x", "confirm b", "end @b", "moves x" } },

    { "and it stays if none is any more",
      { "add x", "claim a NEW", "confirm a", "add y", "moves x",
        "claim b NEW", "claim a HIT", "is x leased a", "touch a",
        "ended operator 0" } },

    { "but not where probes fail",
      { "add x", "claim a NEW", "confirm a", "add y", "moves x", "down x",
        "claim b NEW", "request a", "claim a BUSY", "is x left a" } },

    { "it is told, and begins anew",
      { "tells 9", "add x", "claim a NEW", "confirm a", "ran a", "add y",
        "moves x", "claim a LOST", "request a", "claim a LOST",
        "claim a MOVED", "is y tentative a" } },

    { "without a call it ends",
      { "add x", "claim a NEW", "confirm a", "add y", "moves x", "add x",
        "is x left a", "up x", "is x left a", "at 999", "is x left a",
        "at 1000", "is x free -", "ended expired 1" } },

    { "or is ended",
      { "add x", "claim a NEW", "confirm a", "add y", "moves x", "end x",
        "is x free -" } },

    { "it moves from one that drains, too, or is down",
      { "add x", "claim a NEW", "confirm a", "add y", "drain x", "moves x",
        "is x left a", "undrain x", "is x leased a", "claim a HIT",
        "fail a", "already x",
        "claim a MOVED", "is x down -" } },
};


START_TEST(test_cases)
{
    int      i;
    world_t  world;

    world_create(&world, 4);

    for (i = 0; i < STEPS && cases[_i].steps[i] != NULL; i++) {
        world_step(&world, cases[_i].steps[i]);
    }

    world_free(&world);
}
END_TEST


/* calls in flight notice without the lock, and with it at once */
START_TEST(test_look)
{
    world_t     world;
    ms_lease_t  lease;

    world_create(&world, 1);
    world_step(&world, "bound 100");
    world_step(&world, "add x");
    world_step(&world, "claim a NEW");
    world_step(&world, "confirm a");
    world_step(&world, "drain x");
    lease = world_slot(&world, "a")->lease;

    ck_assert_int_eq(ms_pool_lease_state(world.pool, &lease, 99),
                     MS_LEASE_HELD);
    ck_assert_int_eq(ms_pool_lease_state(world.pool, &lease, 100),
                     MS_LEASE_ENDED);
    ms_pool_enter(world.pool, 100);

    /* a worker whose clock is behind */

    ck_assert_int_eq(ms_pool_lease_state(world.pool, &lease, 99),
                     MS_LEASE_ENDED);

    world_step(&world, "undrain x");
    world_step(&world, "claim a HIT");
    lease = world_slot(&world, "a")->lease;
    ck_assert_int_eq(ms_pool_lease_state(world.pool, &lease, 1000),
                     MS_LEASE_HELD);
    world_free(&world);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("pool drain");

    tcase = tcase_create("drain");
    tcase_add_loop_test(tcase, test_cases, 0,
                        (int) (sizeof(cases) / sizeof(cases[0])));
    tcase_add_test(tcase, test_look);
    suite_add_tcase(suite, tcase);

    return harness_run_units(suite);
}
