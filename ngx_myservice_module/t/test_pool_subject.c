/*
 * Which subject owns a session, and what the report of an instance is worth:
 * the session occupies the instance, but the gateway brings no session to an
 * instance that never had it.
 */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "pool_world.h"
#include "harness.h"


static const uint8_t  alice[MS_POOL_SUBJECT] = "alice";
static const uint8_t  bob[MS_POOL_SUBJECT] = "bob";
static const uint8_t  nil[MS_POOL_SUBJECT];

static world_t     world;
static ms_lease_t  lease;


static ms_claim_t
claim(const char *session, const uint8_t *subject)
{
    ms_pool_terms_t  terms = { .ttl = 1000, .subject = subject };

    return world_claim_with(&world, session, strlen(session), &terms, &lease);
}


static void
learn(const char *name, const char *session, const uint8_t *subject,
    unsigned routes)
{
    ms_pool_terms_t  terms = {
        .ttl = 1000, .subject = subject, .routes = routes & 1
    };

    ms_pool_learn(world.pool, ms_pool_find(world.pool, name, strlen(name)),
                  session, strlen(session), 0, &terms, world.now,
                  world.now);
    ck_assert_ptr_null(ms_pool_check(world.pool));
}


static ms_instance_info_t
info(const char *name)
{
    ms_instance_info_t  i;

    ms_pool_info(world.pool, ms_pool_find(world.pool, name, strlen(name)),
                 &i);

    return i;
}


static void
leased_to_alice(void)
{
    world_create(&world, 2);
    world_step(&world, "add x");
    world_step(&world, "at 100");
    ck_assert_int_eq(claim("a", alice), MS_CLAIM_NEW);
    ms_pool_confirm(world.pool, &lease, 100);
}


START_TEST(test_denied)
{
    ms_instance_info_t  before, after;

    leased_to_alice();
    before = info("x");
    world_step(&world, "at 500");

    ck_assert_int_eq(claim("a", bob), MS_CLAIM_DENIED);
    ck_assert_int_eq(claim("a", nil), MS_CLAIM_DENIED);
    after = info("x");
    ck_assert_mem_eq(&before, &after, sizeof(before));
    ck_assert_ptr_null(ms_pool_check(world.pool));

    /* the controls */
    ck_assert_int_eq(claim("a", alice), MS_CLAIM_HIT);
    ck_assert_int_eq(claim("a", NULL), MS_CLAIM_HIT);
    ck_assert_uint_eq(info("x").used, 500);
    world_free(&world);
}
END_TEST


START_TEST(test_denied_tentative)
{
    world_create(&world, 2);
    world_step(&world, "add x");
    ck_assert_int_eq(claim("a", nil), MS_CLAIM_NEW);
    ck_assert_int_eq(claim("a", bob), MS_CLAIM_DENIED);
    ck_assert_int_eq(claim("a", nil), MS_CLAIM_HIT);

    /* two share the claim, and not three */
    ms_pool_give_back(world.pool, &lease, 0);
    ck_assert_int_eq(info("x").state, MS_INSTANCE_TENTATIVE);
    ms_pool_give_back(world.pool, &lease, 0);
    ck_assert_int_eq(info("x").state, MS_INSTANCE_FREE);

    /* and the subject is forgotten with the lease */
    ck_assert_int_eq(claim("a", bob), MS_CLAIM_NEW);
    world_free(&world);
}
END_TEST


START_TEST(test_forgotten)
{
    leased_to_alice();
    ms_pool_release(world.pool, &lease, 100);
    world_step(&world, "up x");
    ck_assert_int_eq(claim("a", bob), MS_CLAIM_NEW);
    ck_assert_int_eq(claim("a", alice), MS_CLAIM_DENIED);
    ms_pool_confirm(world.pool, &lease, 100);

    world_step(&world, "at 5000");
    ck_assert_int_eq(claim("a", alice), MS_CLAIM_NEW);
    world_free(&world);
}
END_TEST


START_TEST(test_moved)
{
    leased_to_alice();
    world_step(&world, "add y");
    ms_pool_fail(world.pool, &lease, 100);
    ck_assert_int_eq(claim("a", bob), MS_CLAIM_DENIED);
    ck_assert_int_eq(info("x").state, MS_INSTANCE_DOWN);
    ck_assert_int_eq(info("y").state, MS_INSTANCE_FREE);

    /* a call without subject moves it, and it stays hers */
    ck_assert_int_eq(claim("a", NULL), MS_CLAIM_MOVED);
    ck_assert_int_eq(claim("a", bob), MS_CLAIM_DENIED);
    ck_assert_int_eq(claim("a", alice), MS_CLAIM_HIT);
    ck_assert_ptr_null(ms_pool_check(world.pool));
    world_free(&world);
}
END_TEST


/* a lease without a subject takes the first one that comes */
START_TEST(test_first_caller)
{
    world_create(&world, 2);
    world_step(&world, "add x");
    world_step(&world, "at 100");
    ck_assert_int_eq(claim("a", NULL), MS_CLAIM_NEW);
    ck_assert_uint_eq(info("x").bound, 0);
    ck_assert_int_eq(claim("a", alice), MS_CLAIM_HIT);
    ck_assert_uint_eq(info("x").bound, 1);
    ck_assert_int_eq(claim("a", bob), MS_CLAIM_DENIED);
    world_free(&world);
}
END_TEST


START_TEST(test_learned)
{
    world_create(&world, 2);
    world_step(&world, "add x");
    world_step(&world, "at 100");

    learn("x", "a", alice, 1);
    ck_assert_int_eq(claim("a", bob), MS_CLAIM_DENIED);
    ck_assert_int_eq(claim("a", alice), MS_CLAIM_REBUILT);

    /* the report of an instance does not give the lease to another subject */
    world_step(&world, "at 200");
    learn("x", "a", bob, 1);
    ck_assert_int_eq(claim("a", bob), MS_CLAIM_DENIED);

    world_step(&world, "at 300");
    learn("x", "b", NULL, 1);
    world_step(&world, "at 400");
    learn("x", "b", bob, 1);
    ck_assert_int_eq(claim("b", alice), MS_CLAIM_DENIED);
    ck_assert_int_eq(claim("b", bob), MS_CLAIM_REBUILT);
    world_free(&world);
}
END_TEST


/* a session that was never leased to an instance is not brought to it */
START_TEST(test_not_routed)
{
    world_create(&world, 2);
    world_step(&world, "add x");
    world_step(&world, "at 100");

    learn("x", "a", NULL, 0);
    world_step(&world, "is x foreign a");
    ck_assert_int_eq(claim("a", NULL), MS_CLAIM_BUSY);
    ck_assert_int_eq(claim("b", NULL), MS_CLAIM_BUSY);

    world_step(&world, "add y");
    ck_assert_int_eq(claim("a", NULL), MS_CLAIM_NEW);
    ms_pool_confirm(world.pool, &lease, 100);
    world_step(&world, "is y leased a");
    world_step(&world, "at 200");
    learn("x", "a", NULL, 1);
    world_step(&world, "is x foreign a");
    world_free(&world);
}
END_TEST


START_TEST(test_not_routed_by_conflict)
{
    ms_pool_terms_t  terms = { .ttl = 1000 };

    world_create(&world, 2);
    world_step(&world, "add x");
    ck_assert_int_eq(claim("b", NULL), MS_CLAIM_NEW);
    ms_pool_conflict(world.pool, &lease, "a", 1, &terms, 0);
    world_step(&world, "is x foreign a");
    ck_assert_int_eq(claim("a", NULL), MS_CLAIM_BUSY);
    world_free(&world);
}
END_TEST


/* the controls: in the first round, and where the lease only ended here */
START_TEST(test_routed)
{
    world_create(&world, 2);
    world_step(&world, "add x");
    world_step(&world, "at 100");
    learn("x", "a", NULL, 1);
    world_step(&world, "at 200");
    learn("x", "a", NULL, 0);
    ck_assert_int_eq(claim("a", NULL), MS_CLAIM_REBUILT);

    /* its time is over here, and the instance still serves it */
    world_step(&world, "at 5000");
    world_step(&world, "is x free -");
    learn("x", "a", NULL, 0);
    ck_assert_int_eq(claim("a", NULL), MS_CLAIM_REBUILT);

    world_step(&world, "at 10000");
    learn("x", "b", NULL, 0);
    world_step(&world, "is x foreign b");
    world_step(&world, "at 10100");
    learn("x", "b", NULL, 1);
    ck_assert_int_eq(claim("b", NULL), MS_CLAIM_REBUILT);
    world_free(&world);
}
END_TEST


/* what is not enough to route does not become so when the other lease ends */
START_TEST(test_not_routed_later)
{
    ms_pool_terms_t  terms = { .ttl = 1000 };

    world_create(&world, 3);
    world_step(&world, "add x");
    world_step(&world, "add y");
    world_step(&world, "at 100");
    ck_assert_int_eq(claim("a", alice), MS_CLAIM_NEW);
    learn(lease.instance == 0 ? "y" : "x", "a", NULL, 0);
    ms_pool_give_back(world.pool, &lease, 100);
    ck_assert_int_eq(claim("a", alice), MS_CLAIM_NEW);
    ms_pool_release(world.pool, &lease, 100);
    ck_assert_int_eq(claim("a", alice), MS_CLAIM_BUSY);
    world_free(&world);

    world_create(&world, 3);
    world_step(&world, "add x");
    world_step(&world, "add y");
    ck_assert_int_eq(claim("a", NULL), MS_CLAIM_NEW);
    world_step(&world, "claim b NEW");
    ms_pool_conflict(world.pool, &world_slot(&world, "b")->lease, "a", 1,
                     &terms, 0);
    ms_pool_release(world.pool, &lease, 0);
    ck_assert_int_eq(claim("a", NULL), MS_CLAIM_BUSY);
    world_free(&world);
}
END_TEST


/* the controls: one where it was before, and one that may route */
START_TEST(test_routed_later)
{
    world_create(&world, 3);
    world_step(&world, "add x");
    world_step(&world, "at 100");
    ck_assert_int_eq(claim("a", alice), MS_CLAIM_NEW);
    ms_pool_confirm(world.pool, &lease, 100);
    world_step(&world, "add y");
    ms_pool_fail(world.pool, &lease, 100);
    ck_assert_int_eq(claim("a", alice), MS_CLAIM_MOVED);
    world_step(&world, "at 110");
    learn("x", "a", alice, 0);
    world_step(&world, "is x foreign a");
    ms_pool_release(world.pool, &lease, 110);
    ck_assert_int_eq(claim("a", bob), MS_CLAIM_DENIED);
    world_step(&world, "is x foreign a");
    ck_assert_int_eq(claim("a", alice), MS_CLAIM_REBUILT);
    world_step(&world, "is x leased a");

    world_step(&world, "up y");
    ck_assert_int_eq(claim("b", alice), MS_CLAIM_NEW);
    world_step(&world, "at 200");
    learn("x", "b", NULL, 0);
    world_step(&world, "is x foreign b");
    world_step(&world, "at 300");
    learn("x", "b", NULL, 1);
    world_step(&world, "is x foreign b");
    ms_pool_release(world.pool, &lease, 300);
    ck_assert_int_eq(claim("b", alice), MS_CLAIM_REBUILT);
    world_free(&world);
}
END_TEST


/* a bound of tentative leases is one of each subject */
START_TEST(test_tentative)
{
    ms_lease_t       first;
    ms_pool_key_t    key;
    ms_pool_seek_t   seek;
    ms_pool_terms_t  terms = {
        .ttl = 1000, .subject = alice, .tentative = 2
    };

    world_create(&world, 4);
    world_step(&world, "add x");
    world_step(&world, "add y");
    world_step(&world, "add z");
    world_step(&world, "add w");

    ck_assert_int_eq(world_claim_with(&world, "a1", 2, &terms, &first),
                     MS_CLAIM_NEW);
    ck_assert_int_eq(world_claim_with(&world, "a2", 2, &terms, &lease),
                     MS_CLAIM_NEW);
    ck_assert_int_eq(world_claim_with(&world, "a3", 2, &terms, &lease),
                     MS_CLAIM_LIMITED);

    /* its own lease, another subject's, one without a subject */
    ck_assert_int_eq(world_claim_with(&world, "a2", 2, &terms, &lease),
                     MS_CLAIM_HIT);
    terms.subject = bob;
    ck_assert_int_eq(world_claim_with(&world, "b1", 2, &terms, &lease),
                     MS_CLAIM_NEW);
    terms.subject = NULL;
    ck_assert_int_eq(world_claim_with(&world, "n1", 2, &terms, &lease),
                     MS_CLAIM_NEW);
    ms_pool_give_back(world.pool, &lease, world.now);

    /* a store has said that the session may have one */
    memset(&seek, 0, sizeof(ms_pool_seek_t));
    seek.stored = 1;
    terms.subject = alice;
    ms_pool_key(world.pool, "a4", 2, &key);
    ck_assert_int_eq(ms_pool_claim(world.pool, &key, &terms, &seek, world.now,
                                   &lease), MS_CLAIM_NEW);
    ms_pool_give_back(world.pool, &lease, world.now);

    ms_pool_confirm(world.pool, &first, world.now);
    ck_assert_int_eq(world_claim_with(&world, "a3", 2, &terms, &lease),
                     MS_CLAIM_NEW);
    ck_assert_ptr_null(ms_pool_check(world.pool));
    world_free(&world);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("pool subject");

    tcase = tcase_create("subject");
    tcase_add_test(tcase, test_denied);
    tcase_add_test(tcase, test_denied_tentative);
    tcase_add_test(tcase, test_forgotten);
    tcase_add_test(tcase, test_moved);
    tcase_add_test(tcase, test_first_caller);
    tcase_add_test(tcase, test_learned);
    tcase_add_test(tcase, test_not_routed);
    tcase_add_test(tcase, test_not_routed_by_conflict);
    tcase_add_test(tcase, test_routed);
    tcase_add_test(tcase, test_not_routed_later);
    tcase_add_test(tcase, test_routed_later);
    tcase_add_test(tcase, test_tentative);
    suite_add_tcase(suite, tcase);

    return harness_run_units(suite);
}
