/*
 * A million random operations on the waiting line of a pool: nobody overtakes,
 * nothing is kept for those who left.
 */

#include <check.h>
#include <stdlib.h>

#include "harness.h"
#include "line_world.h"


#define INSTANCES  5
#define SESSIONS   24
#define PLACES     16
#define STEPS      1000000
#define USERS      4


/* session number modulo USERS: how many sessions the user may have */
static const uint32_t  limits[USERS] = { 0, 1, 3, 0 };

static line_world_t  world;
static uint64_t      rnd, woken;


/* ck_assert() notes each place in a file, which a million steps cannot wait
 * for. */
static void
holds(bool condition, const char *what)
{
    if (!condition) {
        ck_abort_msg("%s", what);
    }
}


static ms_pool_terms_t
terms_of(int session)
{
    ms_pool_terms_t  of_user;

    of_user = line_terms;
    of_user.user = 2 + 2 * (uint64_t) (session % USERS);
    of_user.sessions = limits[session % USERS];

    return of_user;
}


static ms_turn_t
look(line_call_t *c)
{
    return ms_line_look(world.line, &c->ticket, world.now);
}


static unsigned
draw(unsigned n)
{
    rnd ^= rnd << 13;
    rnd ^= rnd >> 7;
    rnd ^= rnd << 17;

    return (unsigned) (rnd % n);
}


/* The number of its place, 0 if it waits no more. */
static uint64_t
waits(const line_call_t *c)
{
    return c->session != -1 && !c->runs ? c->ticket.number : 0;
}


/* Serves the line: those who get an instance come before all who still wait. */
static void
serve(void)
{
    unsigned   i, j;
    bool       waited[LINE_CALLS];
    ms_turn_t  turn;

    for (i = 0; i < LINE_CALLS; i++) {
        waited[i] = waits(&world.calls[i]) && !world.calls[i].dead
                    && look(&world.calls[i]) == MS_TURN_WAITS;
    }

    woken = ms_line_serve(world.line, world.pool, world.now);

    for (i = 0; i < LINE_CALLS; i++) {

        if (!waited[i]) {
            continue;
        }

        turn = look(&world.calls[i]);
        holds(turn != MS_TURN_LOST, "a place is kept");

        if (turn == MS_TURN_WAITS) {
            holds(ms_pool_count(world.pool, MS_INSTANCE_FREE) == 0,
                  "no instance is free while somebody waits");
            continue;
        }

        holds((woken & 1ull << world.calls[i].worker) != 0,
              "its worker is woken");

        for (j = 0; j < LINE_CALLS; j++) {
            holds(!waited[j]
                  || look(&world.calls[j]) == MS_TURN_COMES
                  || world.calls[j].ticket.number
                     > world.calls[i].ticket.number,
                  "nobody overtakes");
        }
    }
}


/* No user has, and waits for, more sessions than it may. */
static void
limited(void)
{
    int              i, j;
    uint32_t         n;
    ms_pool_key_t    key;
    ms_pool_terms_t  of_user;

    for (i = 0; i < USERS; i++) {
        of_user = terms_of(i);
        n = ms_pool_user_sessions(world.pool, &of_user, UINT32_MAX, world.now);

        for (j = 0; j < LINE_CALLS; j++) {
            if (waits(&world.calls[j]) && !world.calls[j].dead
                && world.calls[j].session % USERS == i
                && look(&world.calls[j]) == MS_TURN_WAITS)
            {
                line_key(&world, world.calls[j].session, &key);
                n += ms_line_user(world.line, world.pool, &key, &of_user,
                                  world.now);
                n += ms_pool_session(world.pool, &key, world.now)
                     == MS_POOL_NONE;
                break;
            }
        }

        holds(limits[i] == 0 || n <= limits[i], "no more than the user may");
    }
}


/* As a worker: a session without an instance enters the line. */
static void
arrive(line_call_t *c)
{
    ms_pool_key_t    key;
    ms_pool_terms_t  of_user;

    c->session = (int) draw(SESSIONS);
    c->worker = (int) draw(4);
    c->dead = false;
    c->runs = false;
    c->ticket.number = 0;
    line_key(&world, c->session, &key);
    of_user = terms_of(c->session);

    if (ms_line_many(world.line, world.pool, &key, &of_user, world.now)
        || ms_line_enter(world.line, 1 + draw(PLACES), &key, &of_user,
                         draw(8) == 0, (uint32_t) c->worker, world.now,
                         &c->ticket)
           != 0)
    {
        c->session = -1;
    }
}


static void
advance(line_call_t *c)
{
    ms_pool_key_t    key;
    ms_pool_terms_t  of_user;

    if (c->session == -1) {
        arrive(c);
        return;
    }

    if (c->dead) {
        return;
    }

    if (c->runs) {

        switch (draw(4)) {
        case 0:
            ms_pool_confirm(world.pool, &c->lease, world.now);
            ms_pool_release(world.pool, &c->lease, world.now);
            break;
        case 1:
            ms_pool_give_back(world.pool, &c->lease, world.now);
            break;
        case 2:
            ms_pool_fail(world.pool, &c->lease, world.now);
            break;
        default:
            ms_pool_confirm(world.pool, &c->lease, world.now);
        }

        c->session = -1;
        return;
    }

    switch (look(c)) {

    case MS_TURN_COMES:
        of_user = terms_of(c->session);
        line_claim(&world, c, &of_user);
        break;

    case MS_TURN_LOST:
        line_key(&world, c->session, &key);
        of_user = terms_of(c->session);

        if (ms_line_many(world.line, world.pool, &key, &of_user, world.now)
            || ms_line_enter(world.line, 1 + draw(PLACES), &key, &of_user, 0,
                             (uint32_t) c->worker, world.now, &c->ticket)
               != 0)
        {
            c->session = -1;
        }

        break;

    default:

        if (draw(6) == 0) {
            ms_line_leave(world.line, world.pool, &c->ticket, world.now);
            c->session = -1;
        }
    }
}


static void
operate(void)
{
    int       id;
    unsigned  i;

    i = draw(INSTANCES);
    id = line_instance(&world, i);

    switch (draw(8)) {
    case 0:
        if (id != -1) {
            ms_pool_drain(world.pool, (uint32_t) id, world.now);
        }
        break;
    case 1:
    case 2:
        if (id != -1) {
            ms_pool_undrain(world.pool, (uint32_t) id, world.now);
        }
        break;
    case 3:
        if (id != -1) {
            ms_pool_remove(world.pool, (uint32_t) id, (int) draw(2),
                           world.now);
        }
        break;
    case 4:
        if (id != -1) {
            ms_pool_down(world.pool, (uint32_t) id, world.now);
        }
        break;
    case 5:
        if (id != -1) {
            ms_pool_up(world.pool, (uint32_t) id, world.now);
        }
        break;
    case 6:
        if (id != -1) {
            ms_pool_end(world.pool, (uint32_t) id, world.now);
        }
        break;
    default:
        line_add(&world, i);
    }
}


/* Everybody who lives says so. */
static void
heartbeat(void)
{
    unsigned  i;

    for (i = 0; i < LINE_CALLS; i++) {
        if (waits(&world.calls[i]) && !world.calls[i].dead) {
            (void) look(&world.calls[i]);
        }
    }
}


/* All go: nothing may be kept for anybody. */
static void
all_leave(void)
{
    unsigned         i;
    line_call_t     *c;
    ms_line_stats_t  stats;

    for (i = 0; i < LINE_CALLS; i++) {
        c = &world.calls[i];

        if (waits(c) && !c->dead) {
            ms_line_leave(world.line, world.pool, &c->ticket, world.now);

        } else if (c->session != -1 && c->runs && !c->dead) {
            ms_pool_give_back(world.pool, &c->lease, world.now);
        }

        c->session = -1;
    }

    world.now += MS_LINE_LOST;
    (void) ms_pool_enter(world.pool, world.now);
    (void) ms_line_serve(world.line, world.pool, world.now);
    ms_line_stats(world.line, world.now, &stats);
    ck_assert_uint_eq(stats.waiting, 0);
    ck_assert_uint_eq(stats.served, 0);
    world.now += 2 * MS_POOL_TENTATIVE;
    (void) ms_pool_enter(world.pool, world.now);
    ck_assert_uint_eq(ms_pool_count(world.pool, MS_INSTANCE_TENTATIVE), 0);
}


START_TEST(line_random)
{
    unsigned         i, n;
    ms_line_stats_t  stats;

    rnd = ((uint64_t) _i + 1) * 2654435761u + 1;
    line_set_up(&world, INSTANCES, PLACES);

    for (n = 0; n < STEPS / 4; n++) {

        if (draw(10) == 0) {
            world.now += draw(300);
            heartbeat();
        }

        (void) ms_pool_enter(world.pool, world.now);

        switch (draw(40)) {
        case 0:
            operate();
            break;
        case 1:
            for (i = 0; i < LINE_CALLS; i++) {
                world.calls[i].dead |= world.calls[i].worker == (int) draw(4)
                                 && draw(8) == 0;
            }
            break;
        default:
            advance(&world.calls[draw(LINE_CALLS)]);
        }

        serve();
        limited();

        if (n % 64 == 0) {
            ck_assert_ptr_null(ms_pool_check(world.pool));
        }

        ms_line_stats(world.line, world.now, &stats);
        holds(stats.waiting + stats.served <= PLACES, "no more than places");

        for (i = 0; i < LINE_CALLS && world.calls[i].session != -1; i++) {
            /* void */
        }

        if (i == LINE_CALLS || draw(5000) == 0) {
            all_leave();
        }
    }

    line_tear_down(&world);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("line_model");

    tcase = tcase_create("line_model");
    tcase_set_timeout(tcase, 600);
    tcase_add_loop_test(tcase, line_random, 0, 4);
    suite_add_tcase(suite, tcase);

    return harness_run_units(suite);
}
