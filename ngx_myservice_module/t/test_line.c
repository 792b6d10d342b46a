/* The waiting line of a pool. */

#include <check.h>

#include "harness.h"
#include "line_world.h"


#define PLACES  16


static line_world_t  world;


static ms_turn_t
look(int i)
{
    return ms_line_look(world.line, &world.calls[i].ticket, world.now);
}


static void
enter_as(line_call_t *c, int session, int lost,
    const ms_pool_terms_t *terms)
{
    ms_pool_key_t  key;

    c->session = session;
    c->ticket.number = 0;
    line_key(&world, session, &key);
    ck_assert_int_eq(ms_line_enter(world.line, PLACES, &key, terms, lost, 0,
                                   world.now, &c->ticket),
                     0);
}


static void
enter(line_call_t *c, int session, int lost)
{
    enter_as(c, session, lost, &line_terms);
}


static void
next_is(line_call_t *c)
{
    int  i;

    for (i = 0; i < 4; i++) {
        ck_assert_int_eq(look(i) == MS_TURN_COMES, &world.calls[i] == c);
    }
}


static void
free_one(void)
{
    uint32_t  id;

    id = (uint32_t) line_instance(&world, 0);
    ms_pool_end(world.pool, id, world.now);
    (void) ms_line_serve(world.line, world.pool, world.now);
}


/* first come, first served; those who lost an instance before all others */
START_TEST(line_order)
{
    int  i;

    line_set_up(&world, 1, 4);
    enter(&world.calls[0], 0, 0);
    ck_assert_uint_eq(ms_line_serve(world.line, world.pool, world.now), 1);
    next_is(&world.calls[0]);
    line_claim(&world, &world.calls[0], &line_terms);
    ms_pool_confirm(world.pool, &world.calls[0].lease, world.now);

    enter(&world.calls[1], 1, 0);
    enter(&world.calls[2], 2, 0);
    enter(&world.calls[3], 3, 1);
    ck_assert_uint_eq(ms_line_serve(world.line, world.pool, world.now), 0);

    for (i = 3; ; i = i % 3 + 1) {
        free_one();
        next_is(&world.calls[i]);
        line_claim(&world, &world.calls[i], &line_terms);
        ck_assert(world.calls[i].runs);
        ms_pool_confirm(world.pool, &world.calls[i].lease, world.now);

        if (i == 2) {
            break;
        }
    }

    line_tear_down(&world);
}
END_TEST


static void
turns(ms_turn_t first, ms_turn_t second)
{
    (void) ms_line_serve(world.line, world.pool, world.now);
    ck_assert_int_eq(look(1), first);
    ck_assert_int_eq(look(2), second);
}


/* With a store only the head asks: when an instance becomes free, after a
 * while, and when the one before has got one. */
START_TEST(line_store)
{
    ms_ticket_t  *first, *second;

    line_set_up(&world, 1, 4);
    enter(&world.calls[0], 0, 0);
    (void) ms_line_serve(world.line, world.pool, world.now);
    line_claim(&world, &world.calls[0], &line_terms);
    ms_pool_confirm(world.pool, &world.calls[0].lease, world.now);

    first = &world.calls[1].ticket;
    second = &world.calls[2].ticket;
    first->store = 1;
    second->store = 1;
    enter(&world.calls[1], 1, 0);
    enter(&world.calls[2], 2, 0);

    turns(MS_TURN_ASKS, MS_TURN_WAITS);
    ms_line_back(world.line, first);
    turns(MS_TURN_WAITS, MS_TURN_WAITS);

    world.now += MS_LINE_ASK;
    turns(MS_TURN_ASKS, MS_TURN_WAITS);
    free_one();
    ms_line_back(world.line, first);
    turns(MS_TURN_ASKS, MS_TURN_WAITS);
    ms_line_back(world.line, first);
    turns(MS_TURN_WAITS, MS_TURN_WAITS);

    world.now += MS_LINE_ASK;
    turns(MS_TURN_ASKS, MS_TURN_WAITS);
    ms_line_leave(world.line, world.pool, first, world.now);
    turns(MS_TURN_LOST, MS_TURN_ASKS);

    /* the store is gone: the world.pool decides */

    second->local = 1;
    ms_line_back(world.line, second);
    turns(MS_TURN_LOST, MS_TURN_COMES);
    line_claim(&world, &world.calls[2], &line_terms);
    ck_assert(world.calls[2].runs);
    line_tear_down(&world);
}
END_TEST


static int
enter_new(int session, uint32_t length)
{
    ms_ticket_t    ticket = { 0 };
    ms_pool_key_t  key;

    line_key(&world, session, &key);

    return ms_line_enter(world.line, length, &key, &line_terms, 0, 0,
                         world.now, &ticket);
}


/* A session whose turn it is to ask the store waits, too, for the limit of its
 * user. */
START_TEST(line_asks_many)
{
    ms_pool_key_t    key;
    ms_line_stats_t  stats;
    ms_pool_terms_t  of_user;

    line_set_up(&world, 0, PLACES);
    of_user = line_terms;
    of_user.user = 2;
    of_user.sessions = 2;
    world.calls[0].ticket.store = 1;
    enter_as(&world.calls[0], 0, 0, &of_user);
    (void) ms_line_serve(world.line, world.pool, world.now);
    ck_assert_int_eq(look(0), MS_TURN_ASKS);

    line_key(&world, 1, &key);
    ck_assert(!ms_line_many(world.line, world.pool, &key, &of_user, world.now));
    world.calls[1].ticket.store = 1;
    enter_as(&world.calls[1], 1, 0, &of_user);
    line_key(&world, 2, &key);
    ck_assert(ms_line_many(world.line, world.pool, &key, &of_user, world.now));

    /* for status it waits, as no instance is kept for it */

    world.now += 7;
    ms_line_stats(world.line, world.now, &stats);
    ck_assert_uint_eq(stats.waiting, 2);
    ck_assert_uint_eq(stats.served, 0);
    ck_assert_uint_eq(stats.oldest, 7);

    /* the store counts it from the moment it has answered */

    ck_assert_uint_eq(ms_line_user(world.line, world.pool, &key, &of_user,
                                   world.now), 1);
    ms_line_back(world.line, &world.calls[0].ticket);
    ck_assert_uint_eq(ms_line_user(world.line, world.pool, &key, &of_user,
                                   world.now), 2);
    ck_assert(ms_line_many(world.line, world.pool, &key, &of_user, world.now));
    line_tear_down(&world);
}
END_TEST


/* A full line, and calls of one session that share a place.  What is full is
 * the caller's word, and how many places there are. */
START_TEST(line_full)
{
    line_set_up(&world, 0, 3);
    enter(&world.calls[0], 0, 0);
    enter(&world.calls[1], 0, 0);
    enter(&world.calls[2], 1, 0);
    ck_assert_uint_eq(world.calls[0].ticket.number,
                      world.calls[1].ticket.number);
    ck_assert_int_eq(enter_new(2, 1), -1);
    ck_assert_int_eq(enter_new(2, 2), -1);
    ms_line_leave(world.line, world.pool, &world.calls[0].ticket, world.now);
    ck_assert_int_eq(enter_new(2, 2), -1);
    ms_line_leave(world.line, world.pool, &world.calls[1].ticket, world.now);
    ck_assert_int_eq(enter_new(2, 1), -1);
    ck_assert_int_eq(enter_new(2, 2), 0);
    enter(&world.calls[0], 0, 0);
    ck_assert_int_eq(enter_new(3, 4), -1);
    line_tear_down(&world);
}
END_TEST


/* A worker that dies holds its place for a second, one that only was slow gets
 * it back. */
START_TEST(line_lost)
{
    ms_pool_key_t  key;

    line_set_up(&world, 1, 4);
    enter(&world.calls[0], 0, 0);
    (void) ms_line_serve(world.line, world.pool, world.now);
    line_claim(&world, &world.calls[0], &line_terms);
    ms_pool_confirm(world.pool, &world.calls[0].lease, world.now);
    enter(&world.calls[1], 1, 0);
    enter(&world.calls[2], 2, 0);

    world.now += MS_LINE_LOST - 1;
    (void) look(2);
    (void) ms_line_serve(world.line, world.pool, world.now);
    world.now += 200;
    (void) ms_line_serve(world.line, world.pool, world.now);
    ck_assert_int_eq(look(1), MS_TURN_LOST);
    ck_assert_int_eq(look(2), MS_TURN_WAITS);

    line_key(&world, 1, &key);
    ck_assert_int_eq(ms_line_enter(world.line, PLACES, &key, &line_terms, 0,
                                   0, world.now, &world.calls[1].ticket),
                     0);
    world.calls[3].ticket.number = 0;
    free_one();
    next_is(&world.calls[1]);

    /* nobody claims what is kept for it */

    world.now += MS_LINE_LOST + 200;
    (void) look(2);
    (void) ms_line_serve(world.line, world.pool, world.now);
    ck_assert_int_eq(look(2), MS_TURN_COMES);
    line_tear_down(&world);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("line");

    tcase = tcase_create("line");
    tcase_add_test(tcase, line_order);
    tcase_add_test(tcase, line_full);
    tcase_add_test(tcase, line_store);
    tcase_add_test(tcase, line_asks_many);
    tcase_add_test(tcase, line_lost);
    suite_add_tcase(suite, tcase);

    return harness_run_units(suite);
}
