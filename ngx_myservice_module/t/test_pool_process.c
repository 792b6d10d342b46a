/* An instance says which process it is: another one begins anew. */

#include <check.h>

#include "harness.h"
#include "pool_world.h"


#define STEPS  32

#define OWNED  "at 10", "add x", "add y", "process x p1", "process y q1",     \
               "down y", "claim a NEW", "confirm a", "up y"


static const struct {
    const char  *name;
    const char  *steps[STEPS];
} cases[] = {

    { "the same one, and one that does not say",
      { OWNED, "process x p1", "process x -", "touch a", "claim a HIT",
        "is x leased a" } },

    { "what it says first means nothing",
      { "add x", "claim a NEW", "confirm a", "process x p1", "touch a",
        "claim a HIT" } },

    { "another one: the session begins anew where it is",
      { OWNED, "keep a old", "anew x p2", "lost old", "is x leased a",
        "process x p2", "claim a MOVED", "is x tentative a", "is y free",
        "confirm a", "claim a HIT", "touch a", "anew x p1",
        "claim a MOVED" } },

    { "nobody else gets the instance before that",
      { OWNED, "claim b NEW", "confirm b", "anew x p2", "claim c BUSY",
        "at 20", "learn x - 19", "is x leased a", "claim c BUSY",
        "at 1009", "is x leased a", "at 1010", "is x free" } },

    { "calls of before have no effect",
      { OWNED, "keep a old", "anew x p2", "release old", "fail old",
        "back old", "conflict old b", "is x leased a", "claim a MOVED" } },

    { "it serves the session again, or another one",
      { OWNED, "anew x p2", "at 20", "learn x a 19", "is x leased a",
        "claim a MOVED", "confirm a", "anew x p3", "at 30", "learn x b 29",
        "is x leased b", "request a", "claim a NEW", "is y tentative a" } },

    { "it drains: the session begins anew elsewhere",
      { OWNED, "says x", "anew x p2", "is x draining a", "claim a MOVED",
        "is y tentative a", "is x left" } },

    { "it drains, and no other one is free",
      { OWNED, "claim b NEW", "confirm b", "says x", "anew x p2",
        "claim a BUSY", "is x draining a", "unsays x", "claim a MOVED",
        "is x tentative a" } },

    { "it is removed: the session begins anew elsewhere",
      { OWNED, "remove x", "anew x p2", "claim a MOVED",
        "is y tentative a" } },

    { "it was down when it was started",
      { "at 10", "health x", "health y", "process x p1", "down y",
        "claim a NEW", "confirm a", "up y", "down x", "is x down a",
        "anew x p2", "up x", "is x leased a", "claim a MOVED",
        "is x tentative a" } },

    { "it goes down again",
      { OWNED, "anew x p2", "down x", "is x down a", "claim a MOVED",
        "is y tentative a", "is x down -" } },

    { "a tentative lease stays",
      { "add x", "process x p1", "claim a NEW", "process x p2", "confirm a",
        "claim a HIT" } },

    { "no lease, and one that is over",
      { OWNED, "process y q2", "is y free", "now 2000", "process x p2",
        "is x free" } },

    { "a foreign owner is gone, and one that is not known",
      { OWNED, "at 20", "learn y a 19", "is y leased a", "process y q2",
        "is y free", "touch a", "conflict a -", "process x p2",
        "is x free" } },

    { "the session began on the process that reports it",
      { "at 10", "add x", "process x p1", "up x", "at 20", "claim a NEW",
        "confirm a", "at 30", "serves x p2", "up x", "touch a",
        "claim a HIT", "at 40", "anew x p3", "claim a MOVED" } },

    { "the session began after the last check, and nobody reports it",
      { "at 10", "add x", "process x p1", "up x", "at 20", "claim a NEW",
        "confirm a", "at 30", "anew x p2", "claim a MOVED" } },

    { "a late answer counts for nothing",
      { OWNED, "at 50", "up x", "process x p2 49", "claim a HIT",
        "anew x p2 50" } },

    { "a new member was no process before",
      { OWNED, "force x", "add x", "down y", "claim b NEW", "confirm b",
        "process x p2", "claim b HIT" } }
};


START_TEST(test_process)
{
    size_t   i;
    world_t  world;

    world_create(&world, 2);

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

    suite = suite_create("pool process");

    tcase = tcase_create("process");
    tcase_add_loop_test(tcase, test_process, 0,
                        (int) (sizeof(cases) / sizeof(cases[0])));
    suite_add_tcase(suite, tcase);

    return harness_run_units(suite);
}
