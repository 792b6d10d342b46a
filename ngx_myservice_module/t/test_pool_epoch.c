/*
 * Epochs of leases, and claims of an instance that a store has given;
 * pool_world.h has the language.
 */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "pool_world.h"
#include "harness.h"


#define STEPS  24


static const struct {
    const char  *title;
    const char  *steps[STEPS];
} cases[] = {

    { "each new lease has a higher one, a hit has the same",
      { "add x", "add y", "epoch 0", "claim a NEW", "epoch @a 1", "confirm a",
        "claim b NEW", "epoch @b 2", "claim a HIT", "epoch @a 1", "epoch 2",
        "claim c BUSY", "epoch 2" } },

    { "of the clock, if that is ahead",
      { "add x", "clock 700", "claim a NEW", "epoch @a 701", "clock 600",
        "back a", "claim b NEW", "epoch @b 702", "back b", "clock 9000",
        "claim a NEW", "epoch @a 9001" } },

    { "also when the session moves, or begins anew",
      { "add x", "add y", "claim a NEW", "confirm a", "fail a",
        "claim a MOVED", "epoch @a 2", "confirm a", "process @a p1",
        "anew @a p2", "claim a MOVED", "epoch @a 3" } },

    { "an instance says the one of its session",
      { "add x", "reported 50", "learn x a 1", "epoch x 50", "epoch 50",
        "reported 0", "claim a REBUILT", "epoch @a 50", "add y",
        "claim b NEW", "epoch @b 51" } },

    { "also if the lease is this gateway's own, and was used",
      { "at 10", "add x", "claim a NEW", "confirm a", "epoch x 1",
        "reported 50", "learn x a 5", "epoch x 50", "reported 20",
        "learn x a 5", "epoch x 50" } },

    { "not for another session, or none",
      { "at 10", "add x", "claim a NEW", "confirm a", "reported 50",
        "learn x b 5", "epoch x 1", "epoch 50", "reported 60", "learn x - 5",
        "epoch x 1", "epoch 60" } },

    { "a conflict says it, too",
      { "add x", "claim a NEW", "reported 50", "conflict a b",
        "is x leased b", "epoch x 50", "reported 70", "conflict a b",
        "epoch 70" } },

    { "none is above the highest",
      { "add x", "reported 9999999999999999", "learn x - 1",
        "epoch 9007199254740991", "reported 0", "claim a NEW",
        "epoch @a 9007199254740991" } },

    { "stale: the session has it from another gateway, with a later one",
      { "add x", "claim a NEW", "confirm a", "stale a a 50", "epoch x 50",
        "claim a HIT", "epoch @a 50" } },

    { "stale: nobody has the instance, and nobody had this lease",
      { "add x", "claim a NEW", "stale a - 50", "is x tentative a",
        "epoch x 51", "epoch 51", "claim a HIT" } },

    { "stale: nobody has the instance, the lease is over",
      { "add x", "claim a NEW", "confirm a", "stale a - 50", "is x free -",
        "ended health 1", "claim a NEW", "epoch @a 51" } },

    { "and the client is told, where it is",
      { "tells 0", "add x", "claim a NEW", "confirm a",
        "stale a - 50", "claim a LOST", "claim a MOVED",
        "epoch @a 51" } },

    { "not twice: the lease has changed since the call was sent",
      { "add x", "claim a NEW", "keep a old", "keep a older", "stale a - 50",
        "claim a HIT", "epoch x 51", "stale old - 60", "epoch x 51",
        "epoch 60", "confirm a", "stale older - 70", "is x leased a" } },

    { "nor for one that is not higher",
      { "add x", "clock 80", "claim a NEW", "confirm a", "stale a - 81",
        "is x leased a", "epoch x 81", "epoch 81" } },

    { "given: a new session",
      { "add x", "add y", "given a x new 50 NEW", "is x tentative a",
        "epoch x 50", "epoch 50", "claim a HIT", "confirm a",
        "is x leased a", "claim b NEW", "epoch @b 51" } },

    { "given: what another gateway has served",
      { "add x", "given a x before 50 REBUILT", "is x leased a",
        "claim a HIT", "given a x before 60 HIT", "epoch x 60",
        "given a x before 55 HIT", "epoch x 60" } },

    { "given: shared with another gateway, and given back by this one",
      { "add x", "given a x shared 50 REBUILT", "is x tentative a",
        "given a x shared 50 HIT", "back a", "is x tentative a", "back a",
        "is x free -" } },

    { "given: heard of, then shared: it is tentative",
      { "add x", "given a x heard 50 REBUILT", "is x leased a", "keep a old",
        "given a x shared 50 REBUILT", "lost old", "is x tentative a",
        "epoch x 50", "confirm a", "is x leased a",
        "given a x shared 50 HIT", "is x leased a" } },

    { "given: heard of, and has succeeded there",
      { "add x", "given a x heard 50 REBUILT", "given a x before 50 HIT",
        "given a x shared 50 HIT", "is x leased a" } },

    { "given: heard of, and used here",
      { "add x", "given a x heard 50 REBUILT", "claim a REBUILT",
        "given a x shared 50 HIT", "is x tentative a" } },

    { "given: heard of, twice",
      { "add x", "given a x heard 50 REBUILT", "given a x heard 60 HIT",
        "given a x shared 60 REBUILT", "is x tentative a" } },

    { "given: heard of, and its end was not",
      { "add x", "add y", "given a x heard 50 REBUILT", "given a x new 60 NEW",
        "is x tentative a", "back a", "is x free -",
        "given a x heard 70 REBUILT", "given a y new 80 NEW", "is x free -",
        "is y tentative a" } },

    { "given: heard of, and nobody is told of its end",
      { "tells 0", "add x", "add y", "given a x heard 50 REBUILT",
        "given a y moved 60 MOVED", "is x free -" } },

    { "given: heard of, and drained here",
      { "add x", "drain x", "given a x heard 50 REBUILT", "is x draining a",
        "given a x shared 50 REBUILT", "is x tentative a", "back a",
        "is x left -" } },

    { "given: what this gateway had at another instance",
      { "add x", "add y", "given a x before 50 REBUILT",
        "given a y before 60 MOVED", "is x free -", "is y leased a",
        "given a x moved 70 MOVED", "is y free -", "is x tentative a" } },

    { "given: what another session had here",
      { "add x", "given a x before 50 REBUILT", "keep a old",
        "given b x new 60 NEW", "is x tentative b", "lost old",
        "ended conflict 1", "claim a BUSY" } },

    { "given: not the failed, which moves",
      { "add x", "add y", "down x", "given a x new 50 UNAVAILABLE",
        "is x down a", "given a x before 50 UNAVAILABLE",
        "given a y moved 60 MOVED", "is x down -", "is y tentative a" } },

    { "given: the failed, by another gateway, later: it lives",
      { "add x", "given a x before 50 REBUILT", "fail a", "is x down a",
        "given a x before 50 UNAVAILABLE", "given a x before 51 HIT",
        "is x leased a", "fail a", "given a x before 51 UNAVAILABLE" } },

    { "given: the failed, by another gateway, to another session",
      { "add x", "given a x before 50 REBUILT", "down x",
        "given b x before 49 UNAVAILABLE", "is x down b",
        "given c x before 60 REBUILT", "is x leased c", "down x",
        "given c x before 60 UNAVAILABLE", "is x down c" } },

    { "given: the released",
      { "add x", "claim a NEW", "confirm a", "release a", "is x left -",
        "given b x new 50 NEW", "is x tentative b" } },

    { "given: the drained, which goes on to drain",
      { "bound 100", "add x", "drain x", "given a x before 50 REBUILT",
        "is x draining a", "at 100", "is x left a",
        "given a x before 50 UNAVAILABLE" } },

    { "given: no member, or one that was removed",
      { "add x", "claim b NEW", "confirm b", "given a y new 50 EMPTY",
        "remove x", "given a x new 50 EMPTY", "is x leased b",
        "given b x before 60 HIT", "epoch 60" } },

    { "given: the client is told first",
      { "tells 0", "add x", "claim a NEW", "confirm a", "add y", "fail a",
        "given a y moved 50 LOST", "given a y moved 50 MOVED",
        "is y tentative a" } },

    { "given: one that begins anew",
      { "add x", "claim a NEW", "confirm a", "process x p1", "anew x p2",
        "given a x before 50 MOVED", "is x tentative a", "epoch x 50" } },
};


START_TEST(test_case)
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


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("pool epochs");

    tcase = tcase_create("epochs");
    tcase_add_loop_test(tcase, test_case, 0,
                        (int) (sizeof(cases) / sizeof(cases[0])));
    suite_add_tcase(suite, tcase);

    return harness_run_units(suite);
}
