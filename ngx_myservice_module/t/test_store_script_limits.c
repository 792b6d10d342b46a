/*
 * How many sessions a user has, in the store's script.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "store_script.h"
#include "store_server.h"


/* "who" is a subject and a user, who may have two sessions */

#define claim_of(session, ttl, who)                                           \
    ask("claim", "g1", session, ttl, "0", "", "0", who, "0", "2", "a", "b",   \
        "c", "d")

/* what KEYS[5] has, static */

static const char *
users(void)
{
    size_t       i;
    redisReply  *r;
    static char  list[256];

    list[0] = '\0';
    r = store_server_ask(script_store,
                         (const char *[]) { "ZRANGE", "{u}:u", "0", "-1",
                                          NULL });

    for (i = 0; i < r->elements; i++) {
        strcat(strcat(list, i > 0 ? "," : ""), r->element[i]->str);
    }

    freeReplyObject(r);

    return list;
}


START_TEST(limits)
{
    char      number[24];
    uint64_t  epoch;

    script_setup(NULL, NULL);

    epoch = script_epoch(claim_of("s1", "10000", "u1:k1"), "new", "a");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) epoch);
    (void) script_epoch(claim_of("s2", "10000", "u1:k1"), "new", "b");
    ck_assert_str_eq(users(), "k1 a,k1 b");
    script_says(claim_of("s3", "10000", "u1:k1"), "limit");

    /* also if no instance is named, or the user may have none */

    script_says(ask("claim", "g1", "s3", "10000", "0", "", "0", "u1:k1",
                    "0", "2"), "limit");
    script_says(ask("claim", "g1", "s3", "10000", "0", "", "0", "u1:k2",
                    "0", "0", "c"), "limit");

    /* its own sessions, other users, another subject of the user, a limit
     * that is higher, and none */

    (void) script_epoch(claim_of("s1", "10000", "u1:k1"), "own", "a");
    script_says(claim_of("s3", "10000", "u2:k1"), "limit");
    script_epoch(claim_of("s3", "10000", "u1:k"), "new", "c");
    script_says(ask("claim", "g1", "s4", "10000", "0", "", "0", "u1:k1",
                    "0", "3"), "busy");
    (void) script_epoch(ask("claim", "g1", "s4", "10000", "0", "", "0", "u1",
                            "0", "-", "d"), "new", "d");

    /* a move, also to where another gateway has it */

    script_word(ask("operator", "g1", "d", "d", "1"), NULL, NULL);
    script_says(ask("claim", "g1", "s1", "10000", "0", "a", number,
                    "u1:k1", "0", "2", "e"), "new");
    ck_assert_str_eq(users(), "k c,k1 b,k1 e");
    script_says(ask("claim", "g2", "s1", "10000", "0", "a", number,
                    "u1:k1", "0", "2", "f"), "own");
    script_says(claim_of("s5", "10000", "u1:k1"), "limit");
}
END_TEST


/* however a lease ends, it counts no more */

START_TEST(limit_ends)
{
    char         number[24];
    uint64_t     epoch;

    script_setup("FORGET = 86400000", "FORGET = -50000");

    epoch = script_epoch(claim_of("s1", "100000", "u1:k1"), "new", "a");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) epoch);
    (void) script_epoch(claim_of("s2", "100000", "u1:k1"), "new", "b");

    /* released, given back: what is asked for "from" there is not a move */

    script_says(ask("release", "g1", "s1", "a", number, "0", "t"), "ok");
    ck_assert_str_eq(users(), "k1 b");
    epoch = script_epoch(claim_of("s3", "100000", "u1:k1"), "new", "a");
    script_says(ask("claim", "g1", "s1", "10000", "0", "a", number,
                    "u1:k1", "0", "2", "c"), "limit");

    /* an instance says that it serves nobody, or another session */

    snprintf(number, sizeof(number), "%llu", (unsigned long long) epoch);
    freeReplyObject(ask("renew", "g1", "s3", "a", number, "60000", "-"));
    script_says(ask("word", "g1", "a", "", "0", number, "60000", "0", "-"),
                    "ok");
    ck_assert_str_eq(users(), "k1 b");
    epoch = script_epoch(claim_of("s3", "100000", "u1:k1"), "new", "a");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) epoch);
    script_says(claim_of("s4", "100000", "u1:k1"), "limit");
    script_says(ask("word", "g1", "a", "s9", number, number, "60000", "0",
                    "u9"), "ok");
    ck_assert_str_eq(users(), "k1 b");

    /* its time is over, whether somebody takes the instance or not */

    script_says(claim_of("s3", "0", "u1:k1"), "new");
    ck_assert_str_eq(users(), "k1 b,k1 c");
    script_says(claim_of("s4", "0", "u1:k1"), "new");
    (void) script_epoch(ask("claim", "g1", "s5", "100000", "0", "", "0", "-",
                            "0", "-", "c"), "new", "c");
    ck_assert_str_eq(users(), "k1 b");
    script_says(claim_of("s6", "0", "u1:k1"), "new");

    /* what has ended long ago is forgotten */

    freeReplyObject(ask("list", "g1", "0", "100"));
    ck_assert_str_eq(users(), "k1 b");
}
END_TEST


/* leases of which no call says whose they are count for the subject */

START_TEST(limit_subjects)
{
    script_setup(NULL, NULL);

    script_says(ask("word", "g1", "a", "s1", "7", "7", "60000", "0",
                    "u1:~"), "ok");
    ck_assert_str_eq(users(), "~u1 a");
    (void) script_epoch(claim_of("s2", "10000", "u1:k1"), "new", "b");
    script_says(claim_of("s3", "10000", "u1:k1"), "limit");
    (void) script_epoch(claim_of("s3", "10000", "u2:k2"), "new", "c");

    /* from its first call on it counts for the user, and stays that one's */

    (void) script_epoch(claim_of("s1", "10000", "u1:k3"), "own", "a");
    ck_assert_str_eq(users(), "k1 b,k2 c,k3 a");
    (void) script_epoch(claim_of("s1", "10000", "u1:k1"), "own", "a");
    (void) script_epoch(claim_of("s1", "10000", "u1:~"), "own", "a");
    (void) script_epoch(ask("claim", "g1", "s1", "10000", "0", "", "0", "u1",
                            "0", "-"), "own", "a");
    ck_assert_str_eq(users(), "k1 b,k2 c,k3 a");
    script_says(claim_of("s1", "10000", "u2:k3"), "denied");
}
END_TEST


/* what gateways enter again is never refused, and counts */

START_TEST(limit_asserted)
{
    redisReply  *r;

    script_setup(NULL, NULL);

    r = ask("renew", "g1", "s1", "a", "7", "60000", "u1:k1",
            "s2", "b", "8", "60000", "u1:k1", "s3", "c", "9", "60000", "-");
    ck_assert_uint_eq(r->element[1]->elements, 12);
    freeReplyObject(r);
    ck_assert_str_eq(users(), "k1 a,k1 b");
    script_says(claim_of("s4", "10000", "u1:k1"), "limit");

    /* another gateway knows whose the third one is */

    freeReplyObject(ask("renew", "g2", "s3", "c", "9", "60000", "u1:k1"));
    ck_assert_str_eq(users(), "k1 a,k1 b,k1 c");

    /* a session whose lease the store has lost moves; one that the store has
     * given and ended does not */

    script_says(ask("claim", "g1", "s5", "10000", "0", "e", "7", "u1:k1",
                    "0", "2", "d"), "new");
    script_says(ask("claim", "g1", "s6", "10000", "0", "a", "6", "u1:k1",
                    "0", "2", "f"), "limit");
    script_says(ask("claim", "g1", "s6", "10000", "0", "a", "7", "u1:k1",
                    "0", "2", "f"), "limit");
}
END_TEST


/* entries of leases that another version has ended do not count */

START_TEST(limit_corrects)
{
    script_setup(NULL, NULL);

    freeReplyObject(store_server_ask(script_store,
                        (const char *[]) { "ZADD", "{u}:u", "0", "k1 x", "0",
                                           "k1 y", "0", "k10 z", NULL }));
    (void) script_epoch(claim_of("s1", "10000", "u1:k1"), "new", "a");
    ck_assert_str_eq(users(), "k1 a,k10 z");
}
END_TEST


static void
tell_user(const char *rule)
{
    redisReply  *r;

    r = store_server_ask(script_store, (const char *[]) { "ACL", "SETUSER",
                                                          "default", rule,
                                                          NULL });
    ck_assert_str_eq(r->str, "OK");
    freeReplyObject(r);
}


/* The gateway's user lacks what a limit needs: what is asked for is not given,
 * and no instance is taken. */

START_TEST(limit_denied)
{
    redisReply  *r;

    script_setup(NULL, NULL);

    tell_user("-zadd");
    r = redisCommand(script_store,
                     "EVALSHA %s 5 {u}:s {u}:i {u}:c {u}:log {u}:u "
                     "claim g1 s1 10000 0 %s 0 u1:k1 0 2 a b", script_sha, "");
    ck_assert_ptr_nonnull(r);
    ck_assert_int_eq(r->type, REDIS_REPLY_ERROR);
    freeReplyObject(r);
    (void) script_epoch(ask("claim", "g1", "s2", "10000", "0", "", "0", "u1",
                            "0", "-", "a"), "new", "a");

    tell_user("+zadd");
    (void) script_epoch(claim_of("s1", "10000", "u1:k1"), "new", "b");
    ck_assert_str_eq(users(), "k1 b");
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_script_limits");
    harness_add(suite, limits);
    harness_add(suite, limit_ends);
    harness_add(suite, limit_subjects);
    harness_add(suite, limit_asserted);
    harness_add(suite, limit_corrects);
    harness_add(suite, limit_denied);

    return harness_run(suite, "test_store_script_limits");
}
