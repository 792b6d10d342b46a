/* The waiting line of a pool: a million random operations against a model. */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "pool/line.h"


#define INSTANCES  5
#define SESSIONS   24
#define CALLS      64
#define PLACES     16
#define STEPS      1000000

#define TTL        5000
#define USERS      4


/* A call that waits, or runs on its instance. */
typedef struct {
    int          session;               /* -1: not in use */
    int          worker;
    bool         dead;                  /* its worker died: it says nothing */
    bool         runs;
    ms_ticket_t  ticket;
    ms_lease_t   lease;
} call_t;


static const ms_pool_terms_t  terms = { .ttl = TTL };

/* session number modulo USERS: how many sessions the user may have */
static const uint32_t  limits[USERS] = { 0, 1, 3, 0 };

static ms_pool_t  *pool;
static ms_line_t  *line;
static uint64_t    now, rnd;
static call_t      calls[CALLS];
static uint64_t    woken;


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

    of_user = terms;
    of_user.user = 2 + 2 * (uint64_t) (session % USERS);
    of_user.sessions = limits[session % USERS];

    return of_user;
}


static unsigned
draw(unsigned n)
{
    rnd ^= rnd << 13;
    rnd ^= rnd >> 7;
    rnd ^= rnd << 17;

    return (unsigned) (rnd % n);
}


static void
key_of(int session, ms_pool_key_t *key)
{
    static char  name[16];

    snprintf(name, sizeof(name), "s%d", session);
    ms_pool_key(pool, name, strlen(name), key);
}


static int
instance(unsigned n)
{
    char  name[16];

    snprintf(name, sizeof(name), "i%u", n);

    return (int) ms_pool_find(pool, name, strlen(name));
}


static void
add(unsigned n)
{
    char  name[16];

    snprintf(name, sizeof(name), "i%u", n);
    holds(ms_pool_add(pool, name, strlen(name), name, 4, 10, now)
          != MS_POOL_NONE, "room for an instance");
}


static void
set_up(unsigned instances, uint32_t places, uint64_t seed)
{
    unsigned              i;
    static const uint8_t  key[16] = "0123456789abcdef";

    rnd = seed * 2654435761u + 1;
    now = 1000;
    woken = 0;
    pool = ms_pool_create(malloc(ms_pool_size(16)), ms_pool_size(16), key);
    line = ms_line_create(malloc(ms_line_size(places)), places);
    ck_assert_ptr_nonnull(pool);
    (void) ms_pool_enter(pool, now);

    for (i = 0; i < instances; i++) {
        add(i);
    }

    for (i = 0; i < CALLS; i++) {
        calls[i].session = -1;
    }
}


static void
tear_down(void)
{
    free(pool);
    free(line);
}


/* The number of its place, 0 if it waits no more. */
static uint64_t
waits(const call_t *c)
{
    return c->session != -1 && !c->runs ? c->ticket.number : 0;
}


/* Serves the line: those who get an instance come before all who still wait. */
static void
serve(void)
{
    unsigned   i, j;
    bool       waited[CALLS];
    ms_turn_t  turn;

    for (i = 0; i < CALLS; i++) {
        waited[i] = waits(&calls[i]) && !calls[i].dead
                    && ms_line_look(line, &calls[i].ticket, now)
                       == MS_TURN_WAITS;
    }

    woken = ms_line_serve(line, pool, now);

    for (i = 0; i < CALLS; i++) {

        if (!waited[i]) {
            continue;
        }

        turn = ms_line_look(line, &calls[i].ticket, now);
        holds(turn != MS_TURN_LOST, "a place is kept");

        if (turn == MS_TURN_WAITS) {
            holds(ms_pool_count(pool, MS_INSTANCE_FREE) == 0,
                  "no instance is free while somebody waits");
            continue;
        }

        holds((woken & 1ull << calls[i].worker) != 0, "its worker is woken");

        for (j = 0; j < CALLS; j++) {
            holds(!waited[j]
                  || ms_line_look(line, &calls[j].ticket, now) == MS_TURN_COMES
                  || calls[j].ticket.number > calls[i].ticket.number,
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
        n = ms_pool_user_sessions(pool, &of_user, UINT32_MAX, now);

        for (j = 0; j < CALLS; j++) {
            if (waits(&calls[j]) && !calls[j].dead
                && calls[j].session % USERS == i
                && ms_line_look(line, &calls[j].ticket, now) == MS_TURN_WAITS)
            {
                key_of(calls[j].session, &key);
                n += ms_line_user(line, pool, &key, &of_user, now);
                n += ms_pool_session(pool, &key, now) == MS_POOL_NONE;
                break;
            }
        }

        holds(limits[i] == 0 || n <= limits[i], "no more than the user may");
    }
}


/* As a worker: a session without an instance enters the line. */
static void
arrive(call_t *c)
{
    ms_pool_key_t    key;
    ms_pool_terms_t  of_user;

    c->session = (int) draw(SESSIONS);
    c->worker = (int) draw(4);
    c->dead = false;
    c->runs = false;
    c->ticket.number = 0;
    key_of(c->session, &key);
    of_user = terms_of(c->session);

    if (ms_line_many(line, pool, &key, &of_user, now)
        || ms_line_enter(line, 1 + draw(PLACES), &key, &of_user, draw(8) == 0,
                         (uint32_t) c->worker, now, &c->ticket)
           != 0)
    {
        c->session = -1;
    }
}


/* Its turn has come: it claims what is kept for its session. */
static void
claim(call_t *c)
{
    ms_claim_t      got;
    ms_pool_key_t   key;
    ms_pool_seek_t  seek;
    ms_pool_terms_t  of_user;

    memset(&seek, 0, sizeof(seek));
    seek.message = 1;
    key_of(c->session, &key);
    of_user = terms_of(c->session);
    seek.waiting = ms_line_user(line, pool, &key, &of_user, now);
    got = ms_pool_claim(pool, &key, &of_user, &seek, now, &c->lease);

    /* what is kept may only be lost with its instance */

    c->runs = got < MS_CLAIM_BUSY;
    ms_line_leave(line, pool, &c->ticket, now);

    if (!c->runs) {
        c->session = -1;
    }
}


static void
advance(call_t *c)
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
            ms_pool_confirm(pool, &c->lease, now);
            ms_pool_release(pool, &c->lease, now);
            break;
        case 1:
            ms_pool_give_back(pool, &c->lease, now);
            break;
        case 2:
            ms_pool_fail(pool, &c->lease, now);
            break;
        default:
            ms_pool_confirm(pool, &c->lease, now);
        }

        c->session = -1;
        return;
    }

    switch (ms_line_look(line, &c->ticket, now)) {

    case MS_TURN_COMES:
        claim(c);
        break;

    case MS_TURN_LOST:
        key_of(c->session, &key);
        of_user = terms_of(c->session);

        if (ms_line_many(line, pool, &key, &of_user, now)
            || ms_line_enter(line, 1 + draw(PLACES), &key, &of_user, 0,
                             (uint32_t) c->worker, now, &c->ticket)
               != 0)
        {
            c->session = -1;
        }

        break;

    default:

        if (draw(6) == 0) {
            ms_line_leave(line, pool, &c->ticket, now);
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
    id = instance(i);

    switch (draw(8)) {
    case 0:
        if (id != -1) {
            ms_pool_drain(pool, (uint32_t) id, now);
        }
        break;
    case 1:
    case 2:
        if (id != -1) {
            ms_pool_undrain(pool, (uint32_t) id, now);
        }
        break;
    case 3:
        if (id != -1) {
            ms_pool_remove(pool, (uint32_t) id, (int) draw(2), now);
        }
        break;
    case 4:
        if (id != -1) {
            ms_pool_down(pool, (uint32_t) id, now);
        }
        break;
    case 5:
        if (id != -1) {
            ms_pool_up(pool, (uint32_t) id, now);
        }
        break;
    case 6:
        if (id != -1) {
            ms_pool_end(pool, (uint32_t) id, now);
        }
        break;
    default:
        add(i);
    }
}


/* Everybody who lives says so. */
static void
heartbeat(void)
{
    unsigned  i;

    for (i = 0; i < CALLS; i++) {
        if (waits(&calls[i]) && !calls[i].dead) {
            (void) ms_line_look(line, &calls[i].ticket, now);
        }
    }
}


/* All go: nothing may be kept for anybody. */
static void
all_leave(void)
{
    unsigned         i;
    ms_line_stats_t  stats;

    for (i = 0; i < CALLS; i++) {

        if (waits(&calls[i]) && !calls[i].dead) {
            ms_line_leave(line, pool, &calls[i].ticket, now);

        } else if (calls[i].session != -1 && calls[i].runs && !calls[i].dead) {
            ms_pool_give_back(pool, &calls[i].lease, now);
        }

        calls[i].session = -1;
    }

    now += MS_LINE_LOST;
    (void) ms_pool_enter(pool, now);
    (void) ms_line_serve(line, pool, now);
    ms_line_stats(line, now, &stats);
    ck_assert_uint_eq(stats.waiting, 0);
    ck_assert_uint_eq(stats.served, 0);
    now += 2 * MS_POOL_TENTATIVE;
    (void) ms_pool_enter(pool, now);
    ck_assert_uint_eq(ms_pool_count(pool, MS_INSTANCE_TENTATIVE), 0);
}


START_TEST(line_random)
{
    unsigned         i, n;
    ms_line_stats_t  stats;

    set_up(INSTANCES, PLACES, (uint64_t) _i + 1);

    for (n = 0; n < STEPS / 4; n++) {

        if (draw(10) == 0) {
            now += draw(300);
            heartbeat();
        }

        (void) ms_pool_enter(pool, now);

        switch (draw(40)) {
        case 0:
            operate();
            break;
        case 1:
            for (i = 0; i < CALLS; i++) {
                calls[i].dead |= calls[i].worker == (int) draw(4)
                                 && draw(8) == 0;
            }
            break;
        default:
            advance(&calls[draw(CALLS)]);
        }

        serve();
        limited();

        if (n % 64 == 0) {
            ck_assert_ptr_null(ms_pool_check(pool));
        }

        ms_line_stats(line, now, &stats);
        holds(stats.waiting + stats.served <= PLACES, "no more than places");

        for (i = 0; i < CALLS && calls[i].session != -1; i++) {
            /* void */
        }

        if (i == CALLS || draw(5000) == 0) {
            all_leave();
        }
    }

    tear_down();
}
END_TEST


static void
enter_as(call_t *c, int session, int lost, const ms_pool_terms_t *of_user)
{
    ms_pool_key_t  key;

    c->session = session;
    c->ticket.number = 0;
    key_of(session, &key);
    ck_assert_int_eq(ms_line_enter(line, PLACES, &key, of_user, lost, 0, now,
                                   &c->ticket),
                     0);
}


static void
enter(call_t *c, int session, int lost)
{
    enter_as(c, session, lost, &terms);
}


static void
next_is(call_t *c)
{
    int  i;

    for (i = 0; i < 4; i++) {
        ck_assert_int_eq(ms_line_look(line, &calls[i].ticket, now)
                         == MS_TURN_COMES, &calls[i] == c);
    }
}


static void
free_one(void)
{
    uint32_t  id;

    id = (uint32_t) instance(0);
    ms_pool_end(pool, id, now);
    (void) ms_line_serve(line, pool, now);
}


/* first come, first served; those who lost an instance before all others */
START_TEST(line_order)
{
    int  i;

    set_up(1, 4, 1);
    enter(&calls[0], 0, 0);
    ck_assert_uint_eq(ms_line_serve(line, pool, now), 1);
    next_is(&calls[0]);
    claim(&calls[0]);
    ms_pool_confirm(pool, &calls[0].lease, now);

    enter(&calls[1], 1, 0);
    enter(&calls[2], 2, 0);
    enter(&calls[3], 3, 1);
    ck_assert_uint_eq(ms_line_serve(line, pool, now), 0);

    for (i = 3; ; i = i % 3 + 1) {
        free_one();
        next_is(&calls[i]);
        claim(&calls[i]);
        ck_assert(calls[i].runs);
        ms_pool_confirm(pool, &calls[i].lease, now);

        if (i == 2) {
            break;
        }
    }

    tear_down();
}
END_TEST


static void
turns(ms_turn_t first, ms_turn_t second)
{
    (void) ms_line_serve(line, pool, now);
    ck_assert_int_eq(ms_line_look(line, &calls[1].ticket, now), first);
    ck_assert_int_eq(ms_line_look(line, &calls[2].ticket, now), second);
}


/* With a store only the head asks: when an instance becomes free, after a while,
 * and when the one before has got one. */
START_TEST(line_store)
{
    ms_ticket_t  *first, *second;

    set_up(1, 4, 1);
    enter(&calls[0], 0, 0);
    (void) ms_line_serve(line, pool, now);
    claim(&calls[0]);
    ms_pool_confirm(pool, &calls[0].lease, now);

    first = &calls[1].ticket;
    second = &calls[2].ticket;
    first->store = 1;
    second->store = 1;
    enter(&calls[1], 1, 0);
    enter(&calls[2], 2, 0);

    turns(MS_TURN_ASKS, MS_TURN_WAITS);
    ms_line_back(line, first);
    turns(MS_TURN_WAITS, MS_TURN_WAITS);

    now += MS_LINE_ASK;
    turns(MS_TURN_ASKS, MS_TURN_WAITS);
    free_one();
    ms_line_back(line, first);
    turns(MS_TURN_ASKS, MS_TURN_WAITS);
    ms_line_back(line, first);
    turns(MS_TURN_WAITS, MS_TURN_WAITS);

    now += MS_LINE_ASK;
    turns(MS_TURN_ASKS, MS_TURN_WAITS);
    ms_line_leave(line, pool, first, now);
    turns(MS_TURN_LOST, MS_TURN_ASKS);

    /* the store is gone: the pool decides */

    second->local = 1;
    ms_line_back(line, second);
    turns(MS_TURN_LOST, MS_TURN_COMES);
    claim(&calls[2]);
    ck_assert(calls[2].runs);
    tear_down();
}
END_TEST


static int
enter_new(int session, uint32_t length)
{
    ms_ticket_t    ticket = { 0 };
    ms_pool_key_t  key;

    key_of(session, &key);

    return ms_line_enter(line, length, &key, &terms, 0, 0, now, &ticket);
}


/* A session whose turn it is to ask the store waits, too, for the limit of its
 * user. */
START_TEST(line_asks_many)
{
    ms_pool_key_t    key;
    ms_line_stats_t  stats;
    ms_pool_terms_t  of_user;

    set_up(0, PLACES, 1);
    of_user = terms;
    of_user.user = 2;
    of_user.sessions = 2;
    calls[0].ticket.store = 1;
    enter_as(&calls[0], 0, 0, &of_user);
    (void) ms_line_serve(line, pool, now);
    ck_assert_int_eq(ms_line_look(line, &calls[0].ticket, now), MS_TURN_ASKS);

    key_of(1, &key);
    ck_assert(!ms_line_many(line, pool, &key, &of_user, now));
    calls[1].ticket.store = 1;
    enter_as(&calls[1], 1, 0, &of_user);
    key_of(2, &key);
    ck_assert(ms_line_many(line, pool, &key, &of_user, now));

    /* for status it waits, as no instance is kept for it */

    now += 7;
    ms_line_stats(line, now, &stats);
    ck_assert_uint_eq(stats.waiting, 2);
    ck_assert_uint_eq(stats.served, 0);
    ck_assert_uint_eq(stats.oldest, 7);

    /* the store counts it from the moment it has answered */

    ck_assert_uint_eq(ms_line_user(line, pool, &key, &of_user, now), 1);
    ms_line_back(line, &calls[0].ticket);
    ck_assert_uint_eq(ms_line_user(line, pool, &key, &of_user, now), 2);
    ck_assert(ms_line_many(line, pool, &key, &of_user, now));
    tear_down();
}
END_TEST


/* A full line, and calls of one session that share a place.  What is full is
 * the caller's word, and how many places there are. */
START_TEST(line_full)
{
    set_up(0, 3, 1);
    enter(&calls[0], 0, 0);
    enter(&calls[1], 0, 0);
    enter(&calls[2], 1, 0);
    ck_assert_uint_eq(calls[0].ticket.number, calls[1].ticket.number);
    ck_assert_int_eq(enter_new(2, 1), -1);
    ck_assert_int_eq(enter_new(2, 2), -1);
    ms_line_leave(line, pool, &calls[0].ticket, now);
    ck_assert_int_eq(enter_new(2, 2), -1);
    ms_line_leave(line, pool, &calls[1].ticket, now);
    ck_assert_int_eq(enter_new(2, 1), -1);
    ck_assert_int_eq(enter_new(2, 2), 0);
    enter(&calls[0], 0, 0);
    ck_assert_int_eq(enter_new(3, 4), -1);
    tear_down();
}
END_TEST


/* A worker that dies holds its place for a second, one that only was slow gets
 * it back. */
START_TEST(line_lost)
{
    ms_pool_key_t  key;

    set_up(1, 4, 1);
    enter(&calls[0], 0, 0);
    (void) ms_line_serve(line, pool, now);
    claim(&calls[0]);
    ms_pool_confirm(pool, &calls[0].lease, now);
    enter(&calls[1], 1, 0);
    enter(&calls[2], 2, 0);

    now += MS_LINE_LOST - 1;
    (void) ms_line_look(line, &calls[2].ticket, now);
    (void) ms_line_serve(line, pool, now);
    now += 200;
    (void) ms_line_serve(line, pool, now);
    ck_assert_int_eq(ms_line_look(line, &calls[1].ticket, now), MS_TURN_LOST);
    ck_assert_int_eq(ms_line_look(line, &calls[2].ticket, now), MS_TURN_WAITS);

    key_of(1, &key);
    ck_assert_int_eq(ms_line_enter(line, PLACES, &key, &terms, 0, 0, now,
                                   &calls[1].ticket),
                     0);
    calls[3].ticket.number = 0;
    free_one();
    next_is(&calls[1]);

    /* nobody claims what is kept for it */

    now += MS_LINE_LOST + 200;
    (void) ms_line_look(line, &calls[2].ticket, now);
    (void) ms_line_serve(line, pool, now);
    ck_assert_int_eq(ms_line_look(line, &calls[2].ticket, now), MS_TURN_COMES);
    tear_down();
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("line");

    tcase = tcase_create("line");
    tcase_set_timeout(tcase, 600);
    tcase_add_test(tcase, line_order);
    tcase_add_test(tcase, line_full);
    tcase_add_test(tcase, line_store);
    tcase_add_test(tcase, line_asks_many);
    tcase_add_test(tcase, line_lost);
    tcase_add_loop_test(tcase, line_random, 0, 4);
    suite_add_tcase(suite, tcase);

    return harness_run_units(suite);
}
