/*
 * Every operation of the pool, each in every situation that matters: what a
 * worker may die in.
 */

#include <string.h>

#include "pool_crash.h"
#include "pool_world.h"


static const char  text[MS_POOL_SESSION_MAX] =
    "a long session a long session a long session a long session a long "
    "session a long session a long session a long session a long session";


static void
claim(ms_pool_t *pool, const char *session, size_t len)
{
    ms_lease_t      lease;
    ms_pool_key_t   key;
    ms_pool_seek_t  seek;

    memset(&seek, 0, sizeof(seek));
    ms_pool_key(pool, session, len, &key);
    ms_pool_claim(pool, &key, &world_terms, &seek, 10, &lease);
}


static void
do_claim_short(ms_pool_t *pool, const ms_lease_t *lease)
{
    (void) lease;
    claim(pool, "a", 1);
}


static void
do_claim_again(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_lease_t      granted;
    ms_pool_key_t   key;
    ms_pool_seek_t  seek;

    (void) lease;
    memset(&seek, 0, sizeof(seek));
    seek.own = 1;
    ms_pool_key(pool, "a", 1, &key);
    ms_pool_claim(pool, &key, &world_terms, &seek, 10, &granted);
}


/* a session that is told of a loss */
static void
do_claim_told(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_lease_t       granted;
    ms_pool_key_t    key;
    ms_pool_seek_t   seek;
    ms_pool_terms_t  terms;

    (void) lease;
    terms = world_terms;
    terms.tells = 1;
    memset(&seek, 0, sizeof(seek));
    ms_pool_key(pool, "a", 1, &key);
    ms_pool_claim(pool, &key, &terms, &seek, 10, &granted);
}


static void
do_claim_long(ms_pool_t *pool, const ms_lease_t *lease)
{
    (void) lease;
    claim(pool, text, sizeof(text));
}


static void
do_claim_other_terms(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_lease_t      granted;
    ms_pool_key_t   key;
    ms_pool_seek_t  seek;

    (void) lease;
    memset(&seek, 0, sizeof(seek));
    ms_pool_key(pool, "a", 1, &key);
    ms_pool_claim(pool, &key, &(ms_pool_terms_t) { .ttl = 500 }, &seek, 10,
                  &granted);
}


static void
claim_at(ms_pool_t *pool, const char *session, size_t len, uint32_t instance,
    ms_given_t given)
{
    ms_lease_t     granted;
    ms_pool_key_t  key;

    ms_pool_key(pool, session, len, &key);
    ms_pool_claim_at(pool, &key, &world_terms, instance, given, 4711, 10,
                     &granted);
}


/* a store gives "a" an instance, new, moved, or used already elsewhere */
static void
do_at_new(ms_pool_t *pool, const ms_lease_t *lease)
{
    (void) lease;
    claim_at(pool, "a", 1, ms_pool_find(pool, "x", 1), MS_GIVEN_NEW);
}


static void
do_at_moved(ms_pool_t *pool, const ms_lease_t *lease)
{
    (void) lease;
    claim_at(pool, "a", 1, ms_pool_find(pool, "y", 1), MS_GIVEN_MOVED);
}


static void
do_at_before(ms_pool_t *pool, const ms_lease_t *lease)
{
    (void) lease;
    claim_at(pool, "a", 1, ms_pool_find(pool, "z", 1), MS_GIVEN_BEFORE);
}


static void
do_at_heard(ms_pool_t *pool, const ms_lease_t *lease)
{
    (void) lease;
    claim_at(pool, "a", 1, ms_pool_find(pool, "x", 1), MS_GIVEN_HEARD);
}


static void
do_at_shared(ms_pool_t *pool, const ms_lease_t *lease)
{
    (void) lease;
    claim_at(pool, "a", 1, ms_pool_find(pool, "x", 1), MS_GIVEN_SHARED);
}


static void
do_at_long(ms_pool_t *pool, const ms_lease_t *lease)
{
    (void) lease;
    claim_at(pool, text, sizeof(text), ms_pool_find(pool, "x", 1),
             MS_GIVEN_BEFORE);
}


static void
do_at_own(ms_pool_t *pool, const ms_lease_t *lease)
{
    claim_at(pool, "a", 1, lease->instance, MS_GIVEN_BEFORE);
}


/* the instance knows a higher epoch */
static void
do_stale(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_lease_t       sent;
    ms_pool_terms_t  terms;

    sent = *lease;
    terms = world_terms;
    terms.epoch = 4711;
    (void) ms_pool_stale(pool, &sent, 0, &terms, 10);
}


static void
do_stale_own(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_lease_t       sent;
    ms_pool_terms_t  terms;

    sent = *lease;
    terms = world_terms;
    terms.epoch = 4711;
    (void) ms_pool_stale(pool, &sent, 1, &terms, 10);
}


static void
do_confirm(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_confirm(pool, lease, 10);
}


static void
do_give_back(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_give_back(pool, lease, 10);
}


static void
do_suspect(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_suspect(pool, lease, 10);
}


static void
do_release(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_release(pool, lease, 10);
}


static void
do_fail(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_fail(pool, lease, 10);
}


static void
do_conflict_short(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_conflict(pool, lease, "b", 1, &world_terms, 10);
}


static void
do_conflict_long(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_conflict(pool, lease, text, sizeof(text), &world_terms, 10);
}


static void
do_elsewhere(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_elsewhere(pool, lease->instance, 9000, 10);
}


static void
do_end(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_end(pool, lease->instance, 10);
}


static void
do_move(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_move(pool, lease->instance);
}


static void
do_drain(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_drain(pool, lease->instance, 10);
}


static void
do_undrain(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_undrain(pool, lease->instance, 10);
}


void
crash_drained(ms_pool_t *pool, const ms_lease_t *lease)
{
    (void) lease;
    ms_pool_enter(pool, 10);
}


static void
do_drain_time(ms_pool_t *pool, const ms_lease_t *lease)
{
    (void) lease;
    ms_pool_drain_time(pool, 500, 10);
}


static void
do_up(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_up(pool, lease->instance, 10);
}


static void
do_down(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_down(pool, lease->instance, 10);
}


void
crash_dead(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_dead(pool, lease->instance, 0, 10);
}


static void
do_process(ms_pool_t *pool, const ms_lease_t *lease)
{
    (void) ms_pool_process(pool, lease->instance, "p2", 2, 0, &world_terms,
                           20, 20);
}


static void
do_learn_short(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_learn(pool, lease->instance, "c", 1, 0, &world_terms, 20, 20);
}


static void
do_learn_long(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_learn(pool, lease->instance, text, sizeof(text), 0, &world_terms,
                  20, 20);
}


static void
do_learn_left(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_learn(pool, lease->instance, "a", 1, 5000, &world_terms, 20, 20);
}


static void
do_learn_nobody(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_learn(pool, lease->instance, NULL, 0, 0, &world_terms, 20, 20);
}


/* a session of which only the subject is known, until its first claim */
static void
do_learn_user(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_terms_t       terms;
    static const uint8_t  subject[MS_POOL_SUBJECT] = { 1 };

    terms = world_terms;
    terms.user = 0;
    terms.subject = subject;
    ms_pool_learn(pool, lease->instance, "a", 1, 0, &terms, 20, 20);
    claim(pool, "a", 1);
}


static void
do_await(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_await(pool, lease->instance, 10);
}


static void
do_remove_it(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_remove(pool, lease->instance, 0, 10);
}


static void
do_learn_lost(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_terms_t  terms;

    terms = world_terms;
    terms.tells = 1;
    ms_pool_learn(pool, lease->instance, NULL, 0, 0, &terms, 20, 20);
}


static void
do_force_it(ms_pool_t *pool, const ms_lease_t *lease)
{
    ms_pool_remove(pool, lease->instance, 1, 10);
}


static void
do_add(ms_pool_t *pool, const ms_lease_t *lease)
{
    (void) lease;
    ms_pool_add(pool, "w", 1, "addr", 4, 100, 10);
}


static void
do_add_long(ms_pool_t *pool, const ms_lease_t *lease)
{
    (void) lease;
    ms_pool_add(pool, text, MS_POOL_NAME_MAX, text, MS_POOL_ADDR_MAX, 100,
                10);
}


static void
do_readdress(ms_pool_t *pool, const ms_lease_t *lease)
{
    (void) lease;
    ms_pool_add(pool, "x", 1, text, MS_POOL_ADDR_MAX, 100, 10);
}


static void
do_enter(ms_pool_t *pool, const ms_lease_t *lease)
{
    (void) lease;
    ms_pool_enter(pool, 5000);
}


#define THREE  "add x", "add y", "add z", "claim b NEW", "confirm b"

const crash_t  crash_cases[] = {
    { "claim", { THREE }, do_claim_short },
    { "claim, long", { THREE }, do_claim_long },
    { "hit", { THREE, "claim a NEW" }, do_claim_short },
    { "new terms", { THREE, "claim a NEW" }, do_claim_other_terms },
    { "move", { THREE, "claim a NEW", "confirm a", "fail a" }, do_claim_short },
    { "own again", { "add x", "claim a NEW", "confirm a", "fail a" },
      do_claim_short },
    { "told", { THREE, "claim a NEW", "confirm a", "fail a" },
      do_claim_told },
    { "told, as it would move", { THREE, "claim a NEW", "confirm a",
                                  "down @a" }, do_claim_told },
    { "begins anew", { "tells 9", THREE, "claim a NEW", "confirm a", "fail a",
                       "claim a LOST" }, do_claim_told },
    { "begins anew, the same one",
      { "tells 9", "add x", "claim a NEW", "confirm a", "fail a",
        "claim a LOST", "up x" }, do_claim_told },
    { "begins anew, the same one, down",
      { "tells 9", "add x", "claim a NEW", "confirm a", "fail a",
        "claim a LOST" }, do_claim_told },
    { "try a down one", { "add x", "add y", "down x", "down y" },
      do_claim_short },
    { "another process", { THREE, "claim a NEW", "confirm a",
                           "process @a p1" }, do_process },
    { "begin anew", { THREE, "claim a NEW", "confirm a", "process @a p1",
                      "anew @a p2" }, do_claim_short },
    { "given", { THREE }, do_at_new },
    { "given, moved", { THREE }, do_at_moved },
    { "given before", { THREE }, do_at_before },
    { "given, and it had another", { THREE, "claim a NEW", "confirm a" },
      do_at_new },
    { "given before, and it had another",
      { THREE, "claim a NEW", "confirm a" }, do_at_before },
    { "given, and it had another, down",
      { THREE, "claim a NEW", "confirm a", "fail a" }, do_at_moved },
    { "given, its own", { THREE, "claim a NEW" }, do_at_own },
    { "given, its own, to begin anew",
      { THREE, "claim a NEW", "confirm a", "process @a p1", "anew @a p2" },
      do_at_own },
    { "given, heard of", { THREE }, do_at_heard },
    { "given, heard of, and shared", { THREE, "given a x heard 5 REBUILT" },
      do_at_shared },
    { "given, taken", { "add x", "claim b NEW", "confirm b" }, do_at_new },
    { "given, taken, down", { "add x", "claim b NEW", "confirm b", "fail b" },
      do_at_new },
    { "given, taken, drains",
      { "add x", "claim b NEW", "confirm b", "drain x" }, do_at_new },
    { "given, down", { THREE, "down x", "down y", "down z" }, do_at_new },
    { "given before, down", { THREE, "down x", "down y", "down z" },
      do_at_before },
    { "given before, drained", { "add z", "drain z" }, do_at_before },
    { "given, long", { "add x" }, do_at_long },
    { "stale, tentative", { THREE, "claim a NEW" }, do_stale },
    { "stale", { THREE, "claim a NEW", "confirm a" }, do_stale },
    { "stale, its own", { THREE, "claim a NEW", "confirm a" }, do_stale_own },
    { "confirm", { THREE, "claim a NEW" }, do_confirm },
    { "give back", { THREE, "claim a NEW" }, do_give_back },
    { "give back, its probe failed", { THREE, "claim a NEW", "down @a" },
      do_give_back },
    { "suspect", { "at 1", THREE, "claim a NEW" }, do_suspect },
    { "suspect, claimed", { "at 1", "add x", "claim a NEW", "late a" },
      do_claim_short },
    { "suspect no more", { "at 1", THREE, "claim a NEW", "late a" }, do_up },
    { "suspect, left", { "at 1", THREE, "claim a NEW", "keep a b",
                         "claim a HIT", "late b" }, do_claim_short },
    { "undrain, its probe failed", { THREE, "claim a NEW", "back a",
                                      "down @a", "drain @a" }, do_undrain },
    { "release", { THREE, "claim a NEW", "confirm a" }, do_release },
    { "fail, tentative", { THREE, "claim a NEW" }, do_fail },
    { "fail", { THREE, "claim a NEW", "confirm a" }, do_fail },
    { "conflict", { THREE, "claim a NEW" }, do_conflict_short },
    { "conflict, long", { THREE, "claim a NEW" }, do_conflict_long },
    { "conflict, foreign", { THREE, "claim c NEW", "claim a NEW",
                             "keep a b", "keep c a" }, do_conflict_short },
    { "foreign, and its own then",
      { THREE, "claim a NEW", "claim c NEW", "conflict c a", "back a" },
      do_claim_short },
    { "foreign, and moved back",
      { "add x", "add y", "claim a NEW", "confirm a", "keep a a1",
        "claim c NEW", "conflict c a", "fail a", "claim a HIT", "fail a" },
      do_claim_again },
    { "foreign, and asked", { THREE, "claim a NEW", "claim c NEW",
                              "conflict c a", "confirm a", "keep c a" },
      do_elsewhere },
    { "foreign, down", { THREE, "claim a NEW", "claim c NEW",
                         "conflict c a" }, do_down },
    { "end", { THREE, "claim a NEW", "confirm a" }, do_end },
    { "move", { THREE, "claim a NEW", "confirm a" }, do_move },
    { "moves", { THREE, "claim a NEW", "confirm a", "moves @a" },
      do_claim_short },
    { "moves, nowhere", { "add x", "add y", "claim a NEW", "confirm a",
                          "moves @a", "claim b NEW" }, do_claim_short },
    { "moves, drain", { THREE, "claim a NEW", "confirm a", "moves @a" },
      do_drain },
    { "moves, undrain", { THREE, "claim a NEW", "confirm a", "moves @a",
                          "drain @a" }, do_undrain },
    { "drain", { THREE, "claim a NEW", "confirm a" }, do_drain },
    { "drain, free", { THREE, "claim a NEW", "back a" }, do_drain },
    { "undrain", { THREE, "claim a NEW", "confirm a", "drain @a" },
      do_undrain },
    { "undrain, free", { THREE, "claim a NEW", "back a", "drain @a" },
      do_undrain },
    { "drained", { "bound 9", THREE, "claim a NEW", "confirm a", "drain @a" },
      crash_drained },
    { "drained, removed", { "bound 9", THREE, "claim a NEW", "confirm a",
                            "remove @a" }, crash_drained },
    { "drained, down", { "bound 9", THREE, "claim a NEW", "confirm a",
                         "fail a", "drain @a" }, crash_drained },
    { "drained, tentative", { "bound 9", THREE, "claim a NEW", "drain @a" },
      crash_drained },
    { "drained, and moves", { "bound 9", THREE, "claim a NEW", "confirm a",
                              "drain @a", "at 9" }, do_claim_short },
    { "drained, removed, and moves",
      { "bound 9", THREE, "claim a NEW", "confirm a", "remove @a", "at 9" },
      do_claim_short },
    { "drained, undrain", { "bound 9", THREE, "claim a NEW", "confirm a",
                            "drain @a", "at 9" }, do_undrain },
    { "drained, undrain, its probe failed",
      { "bound 9", THREE, "claim a NEW", "confirm a", "drain @a", "at 9",
        "down @a" }, do_undrain },
    { "drained, back", { "bound 9", "add x", "claim a NEW", "confirm a",
                         "remove x", "at 9" }, do_readdress },
    { "drained, end", { "bound 9", THREE, "claim a NEW", "confirm a",
                        "drain @a", "at 9" }, do_end },
    { "another time of drains", { THREE, "claim a NEW", "confirm a",
                                  "drain @a" }, do_drain_time },
    { "up", { THREE, "claim a NEW", "confirm a", "fail a" }, do_up },
    { "up, without owner", { THREE, "claim a NEW", "fail a" }, do_up },
    { "down", { THREE, "claim a NEW", "confirm a" }, do_down },
    { "down, free", { THREE, "claim a NEW", "back a" }, do_down },
    { "dead", { THREE, "claim a NEW", "confirm a" }, crash_dead },
    { "dead, tentative", { THREE, "claim a NEW" }, crash_dead },
    { "dead, down", { THREE, "claim a NEW", "confirm a", "down @a" },
      crash_dead },
    { "dead, free", { THREE, "claim a NEW", "back a" }, crash_dead },
    { "learn", { THREE, "claim a NEW", "back a" }, do_learn_short },
    { "learn, user", { THREE, "claim a NEW", "back a" }, do_learn_user },
    { "learn, long", { THREE, "claim a NEW", "confirm a" }, do_learn_long },
    { "learn, left", { THREE, "claim a NEW", "release a" }, do_learn_short },
    { "learn, down", { THREE, "claim a NEW", "fail a" }, do_learn_long },
    { "learn, own", { THREE, "claim c NEW", "confirm c", "keep c a",
                      "fail c" }, do_learn_short },
    { "learn, left", { THREE, "claim a NEW", "confirm a" }, do_learn_left },
    { "learn, nobody", { THREE, "claim a NEW", "confirm a", "fail a" },
      do_learn_nobody },
    { "learn, nobody, and it is to be told",
      { THREE, "claim a NEW", "confirm a" }, do_learn_lost },
    { "await", { THREE, "claim a NEW", "back a" }, do_await },
    { "remove", { THREE, "claim a NEW", "confirm a" }, do_remove_it },
    { "remove, free", { THREE, "claim a NEW", "back a" }, do_remove_it },
    { "remove by force", { THREE, "claim a NEW", "confirm a" }, do_force_it },
    { "add", { THREE }, do_add },
    { "add, long", { THREE }, do_add_long },
    { "another address", { THREE }, do_readdress },
    { "expire", { "at 10", THREE, "claim a NEW", "confirm a", "now 0",
                  "fail a" }, do_enter },
};

const size_t  crash_count = sizeof(crash_cases) / sizeof(crash_cases[0]);
