/*
 * Sessions that lose their instance: what they are told, and how the pool
 * counts them; pool_world.h has the language.
 */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "pool_world.h"
#include "harness.h"


#define STEPS  40


static const struct {
    const char  *title;
    const char  *steps[STEPS];
} cases[] = {

    { "the first call is told, the next one moves",
      { "tells 100", "add x", "claim a NEW", "confirm a", "add y", "fail a",
        "is x down a", "request a", "claim a LOST", "is x down a",
        "is y free", "request a", "claim a MOVED", "is x down -",
        "is y tentative a", "request a", "claim a HIT", "ended died 1" } },

    { "without it the session moves at once",
      { "add x", "claim a NEW", "confirm a", "add y", "fail a", "request a",
        "claim a MOVED", "ended died 1" } },

    { "calls that may have run are told, too, and do not move",
      { "tells 100", "add x", "claim a NEW", "confirm a", "add y",
        "request a", "claim a HIT", "ran a", "keep a old", "fail a",
        "claim a LOST", "claim a LOST", "is x down a",
        "request a", "claim a LOST", "lost old", "is y free" } },

    { "nor behind the call that is told",
      { "tells 100", "add x", "claim a NEW", "confirm a", "add y",
        "claim a HIT", "ran a", "fail a", "claim a LOST", "request a",
        "claim a LOST", "ran a", "claim a LOST", "request a",
        "claim a MOVED" } },

    { "a session without a success has nothing to lose",
      { "tells 100", "add x", "claim a NEW", "add y", "ran a", "fail a",
        "is x down -", "claim a NEW", "is y tentative a",
        "ended died 0" } },

    { "one that moves goes on moving",
      { "tells 100", "add x", "claim a NEW", "confirm a", "add y", "add z",
        "fail a", "request a", "claim a LOST", "request a", "claim a MOVED",
        "ran a", "fail a", "claim a MOVED", "confirm a", "claim a HIT",
        "ended died 1" } },

    { "probes that fail lose it only when it would move",
      { "tells 100", "health x", "claim a NEW", "confirm a", "down x",
        "is x down a", "request a", "claim a HIT", "down x", "up x",
        "request a", "claim a HIT", "down x", "health y", "request a",
        "claim a LOST", "up x", "is x leased a", "request a", "claim a MOVED",
        "is @a tentative a", "ended health 1" } },

    { "an instance that is dead has lost it",
      { "tells 100", "health x", "claim a NEW", "confirm a", "health y",
        "dead x", "lost a", "request a", "claim a LOST", "up x",
        "is x leased a", "drain y", "request a", "claim a MOVED",
        "is x tentative a", "ended died 1" } },

    { "also when it is back before anybody is told",
      { "tells 100", "health x", "claim a NEW", "confirm a", "dead x", "up x",
        "is x leased a", "request a", "claim a LOST", "is x leased a",
        "claim b BUSY", "request a", "claim a MOVED", "is x tentative a",
        "back a", "is x free -" } },

    { "a lost one is tried again when none is up",
      { "tells 100", "add x", "claim a NEW", "confirm a", "fail a",
        "request a", "claim a LOST", "request a", "claim a MOVED",
        "is x tentative a", "confirm a", "claim a HIT" } },

    { "but not while others are",
      { "tells 100", "add x", "claim a NEW", "confirm a", "add y",
        "claim b NEW", "confirm b", "fail a", "request a", "claim a LOST",
        "request a", "claim a BUSY", "is x down a", "end y", "request a",
        "claim a MOVED", "is y tentative a" } },

    { "an instance that reports nobody",
      { "tells 100", "health x", "claim a NEW", "confirm a", "at 10",
        "learn x - 10", "is x leased a", "lost a", "request a",
        "claim a LOST", "learn x - 10", "is x leased a", "request a",
        "claim a MOVED", "is x tentative a", "ended health 1" } },

    { "except when it had to forget",
      { "tells 100", "health x", "claim a NEW", "confirm a", "at 900",
        "learn x - 900", "is x free -", "request a", "claim a NEW",
        "ended expired 1", "ended health 0" } },

    { "without tells it is free at once",
      { "health x", "claim a NEW", "confirm a", "at 10", "learn x - 10",
        "is x free -", "request a", "claim a NEW", "ended health 1" } },

    { "a drain that lasts too long",
      { "tells 100", "bound 50", "add x", "claim a NEW", "confirm a", "add y",
        "drain x", "at 50", "is x left a", "request a", "claim a LOST",
        "is x left a", "request a", "claim a MOVED", "is x left -",
        "ended operator 1" } },

    { "the mark goes with the lease",
      { "tells 100", "add x", "claim a NEW", "confirm a", "add y", "fail a",
        "at 999", "is @a leased a", "at 1000", "is @a free -", "request a",
        "claim a NEW", "ended expired 1", "ended died 0" } },

    { "and so does what is left of it",
      { "tells 100", "add x", "claim a NEW", "confirm a", "add y", "fail a",
        "request a", "claim a LOST", "at 1000", "request a", "claim a NEW",
        "ended expired 1" } },

    { "released, expired and ended ones are new",
      { "tells 100", "add x", "claim a NEW", "confirm a", "release a",
        "at 100", "request a", "claim a NEW", "confirm a", "at 1100",
        "request a", "claim a NEW", "confirm a", "end x", "request a",
        "claim a NEW", "ended released 1", "ended expired 1",
        "ended operator 1" } },

    { "a rebuilt one is no loss",
      { "tells 100", "health x", "learn x a 1", "request a",
        "claim a REBUILT", "ended died 0" } },

    { "a call that meets another session is told",
      { "tells 100", "add x", "claim a NEW", "confirm a", "add y",
        "request a", "claim a HIT", "ran a", "conflict a b", "claim a LOST",
        "request a", "claim a NEW", "is y tentative a",
        "ended conflict 1" } },

    { "removed by force",
      { "add x", "claim a NEW", "confirm a", "force x", "is x unused",
        "ended removed 1" } },

    { "a guess that was wrong is no loss",
      { "add x", "claim a NEW", "conflict a b", "claim b REBUILT", "end x",
        "ended conflict 0", "ended operator 1" } },

    { "a session of which only the instance reports is no loss",
      { "add x", "add y", "claim a NEW", "confirm a", "claim b NEW",
        "keep b old", "conflict b a", "is @old foreign a", "end @old",
        "ended operator 0" } },
};


static ms_ended_t  last;


static void
note(const ms_ended_t *ended)
{
    last = *ended;
    ck_assert_uint_eq(ended->session_len, 1);
    ck_assert_mem_eq(ended->session, "a", 1);
    ck_assert_mem_eq(ended->name, "x", 1);
}


START_TEST(loss)
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


START_TEST(handler)
{
    world_t  world;

    world_create(&world, 4);
    ms_pool_on_end(note);

    world_step(&world, "add x");
    world_step(&world, "claim a NEW");
    world_step(&world, "back a");
    ck_assert_int_eq(last.why, MS_END_NONE);
    world_step(&world, "claim a NEW");
    world_step(&world, "confirm a");
    world_step(&world, "release a");
    ck_assert_int_eq(last.why, MS_END_RELEASED);

    world_free(&world);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("pool loss");

    tcase = tcase_create("loss");
    tcase_add_loop_test(tcase, loss, 0,
                        (int) (sizeof(cases) / sizeof(cases[0])));
    tcase_add_test(tcase, handler);
    suite_add_tcase(suite, tcase);

    return harness_run_units(suite);
}
