/* Limits, memory and the ring of the pool. */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool/key.h"
#include "harness.h"
#include "pool_world.h"


static ms_claim_t
take(world_t *world, const void *session, size_t len, ms_lease_t *lease)
{
    return world_claim_with(world, session, len, &world_terms, lease);
}


/* memory */

START_TEST(test_size)
{
    size_t    size;
    uint32_t  n;

    for (n = 1; n < 100000; n += 1 + n / 7) {
        size = ms_pool_size(n);
        ck_assert_uint_eq(ms_pool_capacity(size), n);
        ck_assert_uint_eq(ms_pool_capacity(size - 1), n - 1);
    }

    ck_assert_uint_eq(ms_pool_capacity(0), 0);
    ck_assert_uint_le(ms_pool_size(100000) - sizeof(ms_pool_t),
                      364 * 100000);
}
END_TEST


START_TEST(test_too_small)
{
    void  *memory;

    static const uint8_t  zero[16];

    memory = malloc(ms_pool_size(1));
    ck_assert_ptr_null(ms_pool_create(memory, ms_pool_size(1) - 1, zero));
    ck_assert_ptr_nonnull(ms_pool_create(memory, ms_pool_size(1), zero));
    free(memory);
}
END_TEST


/* Nine instances, eight blocks. */
START_TEST(test_long_sessions)
{
    int         i;
    world_t     world;
    uint8_t     session[MS_POOL_SESSION_MAX];
    ms_lease_t  leases[9];

    static const size_t  lengths[8] = { 65, 66, 100, 127, 128, 200, 255, 256 };

    world_create(&world, 9);

    for (i = 0; i < 9; i++) {
        world_step(&world, (const char *[]) { "add 1", "add 2", "add 3",
                                              "add 4", "add 5", "add 6",
                                              "add 7", "add 8", "add 9" }[i]);
    }

    memset(session, 's', sizeof(session));

    for (i = 0; i < 8; i++) {
        ck_assert_int_eq(take(&world, session, lengths[i], &leases[i]),
                         MS_CLAIM_NEW);
        ms_pool_confirm(world.pool, &leases[i], 0);
    }

    ck_assert_int_eq(take(&world, session, 101, &leases[8]), MS_CLAIM_FULL);
    ck_assert_ptr_null(ms_pool_check(world.pool));

    /* a session that moves takes its block along */
    ms_pool_fail(world.pool, &leases[3], 0);
    ck_assert_int_eq(take(&world, session, lengths[3], &leases[3]),
                     MS_CLAIM_MOVED);
    ck_assert_ptr_null(ms_pool_check(world.pool));
    ms_pool_up(world.pool, ms_pool_find(world.pool, "1", 1), 0);

    for (i = 0; i < 8; i++) {
        ck_assert_int_eq(take(&world, session, lengths[i], &leases[i]),
                         MS_CLAIM_HIT);
    }

    /* an owner that does not fit is unknown, one that replaces another fits */
    world_step(&world, "at 100");
    world_step(&world, "claim a NEW");
    ms_pool_conflict(world.pool, &world_slot(&world, "a")->lease, session,
                     103, &world_terms, 100);
    world_step(&world, "is @a leased -");
    ms_pool_conflict(world.pool, &leases[0], session, 103, &world_terms, 100);
    ck_assert_int_eq(take(&world, session, 103, &leases[0]), MS_CLAIM_REBUILT);
    ck_assert_ptr_null(ms_pool_check(world.pool));

    ms_pool_release(world.pool, &leases[1], 100);
    world_step(&world, "at 200");
    ck_assert_int_eq(take(&world, session, 64, &leases[1]), MS_CLAIM_NEW);
    ms_pool_give_back(world.pool, &leases[1], 200);
    ck_assert_int_eq(take(&world, session, 101, &leases[8]), MS_CLAIM_NEW);
    ck_assert_ptr_null(ms_pool_check(world.pool));
    world_free(&world);
}
END_TEST


START_TEST(test_unknown_owner_of_any_length)
{
    world_t  world;
    char     session[MS_POOL_SESSION_MAX + 1];

    memset(session, 's', sizeof(session));
    world_create(&world, 1);
    world_step(&world, "add x");
    world_step(&world, "claim a NEW");
    ms_pool_conflict(world.pool, &world_slot(&world, "a")->lease, session,
                     sizeof(session), &world_terms, 0);
    world_step(&world, "is x leased -");
    world_free(&world);
}
END_TEST


START_TEST(test_long_names)
{
    int                 i;
    char                name[MS_POOL_NAME_MAX + 1];
    world_t             world;
    uint32_t            id;
    ms_instance_info_t  info;

    world_create(&world, 10);
    memset(name, 'n', sizeof(name));

    ck_assert_uint_eq(ms_pool_add(world.pool, name, 0, name, 1, 1, 0),
                      MS_POOL_NONE);
    ck_assert_uint_eq(ms_pool_add(world.pool, name, sizeof(name), name, 1, 1,
                                  0), MS_POOL_NONE);
    ck_assert_uint_eq(ms_pool_add(world.pool, name, 1, name, sizeof(name), 1,
                                  0), MS_POOL_NONE);
    ck_assert_uint_eq(ms_pool_find(world.pool, name, sizeof(name)),
                      MS_POOL_NONE);
    ck_assert_uint_eq(ms_pool_find(world.pool, name, 0), MS_POOL_NONE);

    /* two blocks each */
    for (i = 0; i < 4; i++) {
        name[0] = (char) ('a' + i);
        id = ms_pool_add(world.pool, name, MS_POOL_NAME_MAX, name,
                         MS_POOL_ADDR_MAX, 1, 0);
        ck_assert_uint_ne(id, MS_POOL_NONE);
        ck_assert_uint_eq(ms_pool_find(world.pool, name, MS_POOL_NAME_MAX),
                          id);
        ms_pool_info(world.pool, id, &info);
        ck_assert_uint_eq(info.name_len, MS_POOL_NAME_MAX);
        ck_assert_mem_eq(info.name, name, MS_POOL_NAME_MAX);
        ck_assert_uint_eq(info.addr_len, MS_POOL_ADDR_MAX);
        ck_assert_mem_eq(info.addr, name, MS_POOL_ADDR_MAX);
    }

    ck_assert_uint_eq(ms_pool_add(world.pool, "x", 1, name, 29, 1, 0),
                      MS_POOL_NONE);
    id = ms_pool_add(world.pool, "x", 1, name, 28, 1, 0);
    ck_assert_uint_ne(id, MS_POOL_NONE);
    ck_assert_uint_eq(ms_pool_add(world.pool, "x", 1, name, 29, 1, 0),
                      MS_POOL_NONE);
    ms_pool_info(world.pool, id, &info);
    ck_assert_uint_eq(info.addr_len, 28);

    /* one address becomes short, another one long */
    id = ms_pool_find(world.pool, name, MS_POOL_NAME_MAX);
    ck_assert_uint_eq(ms_pool_add(world.pool, name, MS_POOL_NAME_MAX, "addr",
                                  4, 1, 0), id);
    ck_assert_uint_ne(ms_pool_add(world.pool, "x", 1, name, 29, 1, 0),
                      MS_POOL_NONE);
    ck_assert_ptr_null(ms_pool_check(world.pool));

    ms_pool_remove(world.pool, id, 0, 0);
    ck_assert_uint_eq(ms_pool_add(world.pool, "y", 1, NULL, 0, 1, 0), id);
    ck_assert_ptr_null(ms_pool_check(world.pool));
    world_free(&world);
}
END_TEST


START_TEST(test_no_such_instance)
{
    size_t              i;
    world_t             world;
    ms_lease_t          lease;
    ms_instance_info_t  info;

    static const uint32_t  wrong[] = { 1, 2, 3, 4, 100, MS_POOL_NONE };

    world_create(&world, 4);
    world_step(&world, "add x");
    world_step(&world, "add y");
    world_step(&world, "remove y");

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ms_pool_remove(world.pool, wrong[i], 1, 0);
        ms_pool_drain(world.pool, wrong[i], 0);
        ms_pool_undrain(world.pool, wrong[i], 0);
        ms_pool_up(world.pool, wrong[i], 0);
        ms_pool_down(world.pool, wrong[i], 0);
        ms_pool_hold(world.pool, wrong[i], 1);
        ms_pool_end(world.pool, wrong[i], 0);
        ms_pool_info(world.pool, wrong[i], &info);
        ck_assert_int_eq((int) info.state, MS_INSTANCE_UNUSED);

        lease = (ms_lease_t) { .lease = i / 2, .instance = wrong[i] };
        ms_pool_confirm(world.pool, &lease, 0);
        ms_pool_give_back(world.pool, &lease, 0);
        ms_pool_release(world.pool, &lease, 0);
        ms_pool_fail(world.pool, &lease, 0);
        ms_pool_conflict(world.pool, &lease, "b", 1, &world_terms, 0);
        ck_assert_int_eq(ms_pool_touch(world.pool, &lease, 0), -1);
    }

    world_step(&world, "is x free");
    ck_assert_uint_eq(ms_pool_count(world.pool, MS_INSTANCE_STATES), 0);
    ck_assert_str_eq(ms_instance_state_name(MS_INSTANCE_STATES), "unknown");
    world_free(&world);
}
END_TEST


START_TEST(test_info)
{
    world_t             world;
    ms_instance_info_t  info;

    world_create(&world, 1);
    world_step(&world, "at 10");
    world_step(&world, "add x");
    world_step(&world, "claim a NEW");
    world_step(&world, "at 20");
    world_step(&world, "confirm a");
    world_step(&world, "at 30");
    world_step(&world, "fail a");
    world_step(&world, "down x");

    ms_pool_info(world.pool, 0, &info);
    ck_assert_int_eq((int) info.state, MS_INSTANCE_DOWN);
    ck_assert_uint_eq(info.started, 10);
    ck_assert_uint_eq(info.used, 20);
    ck_assert_uint_eq(info.expires, 1020);
    ck_assert_uint_eq(info.retry, 130);
    ck_assert_uint_eq(info.failures, 2);
    ck_assert_uint_eq(info.lease, world_slot(&world, "a")->lease.lease);
    ck_assert_uint_eq(ms_pool_limit(world.pool), 1);

    world_step(&world, "up x");
    ms_pool_info(world.pool, 0, &info);
    ck_assert_uint_eq(info.failures, 0);
    ck_assert_uint_eq(info.retry, 0);
    world_free(&world);
}
END_TEST


static void
held_is(const world_t *world, unsigned held)
{
    ms_instance_info_t  info;

    ms_pool_info(world->pool, 0, &info);
    ck_assert_uint_eq(info.held, held);
}


START_TEST(test_held)
{
    world_t  world;

    world_create(&world, 1);
    world_step(&world, "add x");
    held_is(&world, 0);

    ms_pool_hold(world.pool, 0, 1);

    world_step(&world, "add x");
    world_step(&world, "claim a NEW");
    world_step(&world, "confirm a");
    world_step(&world, "drain x");
    world_step(&world, "fail a");
    held_is(&world, 1);

    ms_pool_hold(world.pool, 0, 0);
    held_is(&world, 0);
    ms_pool_hold(world.pool, 0, 1);

    /* another member in the same record */
    world_step(&world, "force x");
    world_step(&world, "add y");
    held_is(&world, 0);
    world_free(&world);
}
END_TEST


START_TEST(test_health)
{
    world_t             world;
    ms_instance_info_t  info;

    world_create(&world, 1);
    world_step(&world, "add x");
    ms_pool_info(world.pool, 0, &info);
    ck_assert_int_eq(info.health, MS_VERDICT_NONE);

    world_step(&world, "claim a NEW");
    world_step(&world, "down x");
    world_step(&world, "fail a");
    ms_pool_info(world.pool, 0, &info);
    ck_assert_int_eq(info.health, MS_VERDICT_FAILED);

    /* another member in the same record */
    world_step(&world, "force x");
    world_step(&world, "add x");
    world_step(&world, "up x");
    world_step(&world, "force x");
    world_step(&world, "add y");
    ms_pool_info(world.pool, 0, &info);
    ck_assert_int_eq(info.health, MS_VERDICT_NONE);
    world_free(&world);
}
END_TEST


START_TEST(test_session)
{
    world_t        world;
    ms_pool_key_t  key;

    world_create(&world, 2);
    world_step(&world, "add x");
    ms_pool_key(world.pool, "a", 1, &key);
    ck_assert_uint_eq(ms_pool_session(world.pool, &key, 0), MS_POOL_NONE);

    world_step(&world, "claim a NEW");
    ck_assert_uint_eq(ms_pool_session(world.pool, &key, 999), 0);
    ck_assert_uint_eq(ms_pool_session(world.pool, &key, 1000), MS_POOL_NONE);
    world_step(&world, "is x free");
    world_free(&world);
}
END_TEST


/* the ring */

START_TEST(test_positions_for_ever)
{
    size_t         i;
    world_t        world;
    ms_pool_key_t  hashed;

    /* SipHash-2-4 with the key zero, by another implementation */
    static const struct {
        const char  *text;
        uint64_t     position;
    } known[] = {
        { "127.0.0.1:5101", UINT64_C(0x8055fa22c9b7ae75) },
        { "127.0.0.1:5102", UINT64_C(0x0bc43e7167aed820) },
        { "[2001:db8::1]:5101", UINT64_C(0x47aed7d50ed862fc) }
    };

    world_create(&world, 1);

    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        ms_pool_key(world.pool, known[i].text, strlen(known[i].text),
                    &hashed);
        ck_assert_uint_eq(ms_key_position(known[i].text,
                                          strlen(known[i].text)),
                          known[i].position);
        ck_assert_uint_ne(hashed.hash, known[i].position);
    }

    world_free(&world);
}
END_TEST


static uint32_t
nearest(world_t *world, const ms_pool_key_t *session)
{
    uint32_t            i, found;
    uint64_t            distance, least;
    ms_instance_info_t  info;

    found = MS_POOL_NONE;
    least = UINT64_MAX;

    for (i = 0; i < ms_pool_limit(world->pool); i++) {
        ms_pool_info(world->pool, i, &info);

        if (info.state != MS_INSTANCE_FREE) {
            continue;
        }

        distance = ms_key_position(info.name, info.name_len)
                   - ms_key_position(session->session, session->len);

        if (distance <= least) {
            least = distance;
            found = i;
        }
    }

    return found;
}


/* Fills pools of any size; the first one clockwise must get every session. */
START_TEST(test_first_free_clockwise)
{
    int             i, n;
    char            name[24];
    world_t         world;
    uint32_t        expected;
    ms_lease_t      lease;
    ms_pool_key_t   hashed;
    ms_pool_seek_t  seek;

    memset(&seek, 0, sizeof(seek));

    for (n = 1; n < 300; n += n / 2 + 1) {
        world_create(&world, (uint32_t) n);

        for (i = 0; i < n; i++) {
            snprintf(name, sizeof(name), "%d", i);
            ms_pool_add(world.pool, name, strlen(name), NULL, 0, 1, 0);
        }

        for (i = 0; i < n; i++) {
            snprintf(name, sizeof(name), "session-%d", i);
            ms_pool_key(world.pool, name, strlen(name), &hashed);
            expected = nearest(&world, &hashed);
            ck_assert_int_eq(ms_pool_claim(world.pool, &hashed,
                                           &world_terms, &seek, 0, &lease),
                             MS_CLAIM_NEW);
            ck_assert_uint_eq(lease.instance, expected);
        }

        ck_assert_ptr_null(ms_pool_check(world.pool));
        world_free(&world);
    }
}
END_TEST


#define MANY  100000


START_TEST(test_many)
{
    int         i, entered;
    char        name[48];
    world_t     world;
    ms_lease_t  lease;

    world_create(&world, MANY);

    for (i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "10.%d.%d.%d:5101", i >> 16,
                 i >> 8 & 0xff, i & 0xff);
        ck_assert_uint_eq(ms_pool_add(world.pool, name, strlen(name), name,
                                      16, 1000, 0), i);
    }

    for (i = 0; i < MANY + 1; i++) {
        if (i == MANY / 100 * 99) {
            ck_assert_ptr_null(ms_pool_check(world.pool));
            ck_assert_uint_eq(ms_pool_count(world.pool, MS_INSTANCE_LEASED),
                              i);
        }

        snprintf(name, sizeof(name), "session-%d", i);
        ck_assert_int_eq(take(&world, name, strlen(name), &lease),
                         i < MANY ? MS_CLAIM_NEW : MS_CLAIM_BUSY);
        if (i < MANY) {
            ms_pool_confirm(world.pool, &lease, 0);
        }
    }

    for (i = 0; i < MANY; i += 997) {
        snprintf(name, sizeof(name), "session-%d", i);
        ck_assert_int_eq(take(&world, name, strlen(name), &lease),
                         MS_CLAIM_HIT);
    }

    world.pool->dirty = 1;
    ck_assert_int_eq(ms_pool_enter(world.pool, 0), 1);
    ck_assert_ptr_null(ms_pool_check(world.pool));

    for (entered = 0;
         ms_pool_count(world.pool, MS_INSTANCE_FREE) < MANY;
         entered++)
    {
        ck_assert_int_lt(entered, MANY / 64 + 1);
        ms_pool_enter(world.pool, 1000);
    }

    ck_assert_ptr_null(ms_pool_check(world.pool));
    world_free(&world);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("pool limits");

    tcase = tcase_create("memory");
    tcase_add_test(tcase, test_size);
    tcase_add_test(tcase, test_too_small);
    tcase_add_test(tcase, test_long_sessions);
    tcase_add_test(tcase, test_unknown_owner_of_any_length);
    tcase_add_test(tcase, test_long_names);
    tcase_add_test(tcase, test_no_such_instance);
    tcase_add_test(tcase, test_info);
    tcase_add_test(tcase, test_held);
    tcase_add_test(tcase, test_health);
    tcase_add_test(tcase, test_session);
    suite_add_tcase(suite, tcase);

    tcase = tcase_create("ring");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_positions_for_ever);
    tcase_add_test(tcase, test_first_free_clockwise);
    tcase_add_test(tcase, test_many);
    suite_add_tcase(suite, tcase);


    return harness_run_units(suite);
}
