/*
 * The verbs of the store's script, one by one, in a real server.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "store_script.h"
#include "store_server.h"


/* microseconds by which the store is behind */
#define LATER  1000000000


START_TEST(claims)
{
    char      number[24];
    uint64_t  first, second;

    script_setup(NULL, NULL);

    first = script_epoch(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                             "0", "-", "a", "b"), "new", "a");

    /* microseconds of the real time */

    ck_assert_uint_gt(first, UINT64_C(1600000000000000));

    /* whoever asks, and whatever it prefers */

    second = script_epoch(ask("claim", "g2", "s1", "10000", "0", "", "0", "-",
                              "0", "-", "b", "a"), "own", "a");
    ck_assert_uint_eq(first, second);

    /* another session: the first that is free, above what a gateway saw */

    snprintf(number, sizeof(number), "%llu",
             (unsigned long long) first + 5000000000);
    second = script_epoch(ask("claim", "g1", "s2", "10000", number, "", "0",
                              "-", "0", "-", "a", "b"), "new", "b");
    ck_assert_uint_eq(second, first + 5000000001);

    /* neither a drained instance nor one with an owner */

    freeReplyObject(ask("operator", "g1", "c", "d", "1"));
    script_says(ask("claim", "g1", "s3", "10000", "0", "", "0", "-", "0",
                    "-", "b", "a", "c"), "busy");

    /* no candidates: a question only for what the session has */

    script_says(ask("claim", "g1", "s3", "10000", "0", "", "0", "-", "0",
                    "-"),
                    "busy");

    /* one whose lease is over is free, wherever it stands */

    (void) script_epoch(ask("claim", "g1", "s3", "1", "0", "", "0", "-", "0",
                            "-", "d"), "new", "d");
    script_await_end("d");
    second = script_epoch(ask("claim", "g1", "s4", "10000", "0", "", "0", "-",
                              "0", "-", "b", "c", "a", "d", "e"), "new", "d");
    ck_assert_uint_gt(second, first);
}
END_TEST


START_TEST(moves)
{
    char      number[24];
    uint64_t  first, second;

    script_setup(NULL, NULL);

    first = script_epoch(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                             "0", "-", "a"), "new", "a");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) first);

    second = script_epoch(ask("claim", "g1", "s1", "10000", "0", "a", number,
                              "-", "0", "-", "a", "b"), "new", "b");
    ck_assert_uint_gt(second, first);

    /* another gateway that leaves the same lease gets the new one */

    ck_assert_uint_eq(script_epoch(ask("claim", "g2", "s1", "10000", "0", "a",
                                       number, "-", "0", "-", "c"), "own", "b"),
                                       second);

    /* nobody is where it was: "a" is free again, above the tombstone */

    ck_assert_uint_gt(script_epoch(ask("claim", "g1", "s2", "10000", "0", "",
                                       "0", "-", "0", "-", "a"), "new", "a"),
                                       second);
}
END_TEST


/* by an operator: with the next claim that names candidates, whoever asks */

START_TEST(operator_moves)
{
    char         number[24];
    uint64_t     first;
    redisReply  *reply;

    script_setup(NULL, NULL);

    first = script_epoch(ask("claim", "g1", "s1", "10000", "0", "", "0", "u1",
                             "0", "-", "a"), "new", "a");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) first);

    script_says(ask("move", "g1", "s1", "b", number), "no");
    script_says(ask("move", "g1", "s1", "a", "1"), "no");
    script_says(ask("move", "g1", "s2", "a", number), "no");
    script_says(ask("move", "g1", "s1", "a", number), "ok");
    script_says(ask("move", "g1", "s1", "a", number), "ok");

    /* not by a renewal, which says so, nor by a question that only looks */

    reply = ask("renew", "g2", "s1", "a", number, "10000", "u1");
    ck_assert_str_eq(script_text(reply->element[1], 1), "moves");
    freeReplyObject(reply);
    ck_assert_uint_eq(script_epoch(ask("claim", "g2", "s1", "10000", "0", "",
                                       "0", "u1", "0", "-"), "own", "a"),
                      first);
    (void) script_epoch(ask("claim", "g2", "s1", "10000", "0", "", "0", "u2",
                            "0", "-", "a", "b"), "denied", "a");
    ck_assert_uint_gt(script_epoch(ask("claim", "g2", "s1", "10000", "0", "",
                                       "0", "u1", "0", "-", "a", "b"),
                                   "moved", "b"), first);
    (void) script_epoch(ask("claim", "g1", "s1", "10000", "0", "a", number,
                            "u1", "0", "-", "a", "b"), "own", "b");

    /* nowhere to go: it stays, for good */

    first = script_epoch(ask("claim", "g1", "s2", "10000", "0", "", "0", "-",
                             "0", "-", "a"), "new", "a");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) first);
    script_says(ask("move", "g1", "s2", "a", number), "ok");
    ck_assert_uint_eq(script_epoch(ask("claim", "g2", "s2", "10000", "0", "",
                                       "0", "-", "0", "-", "a", "b"), "stays",
                                   "a"), first);
    (void) script_epoch(ask("claim", "g2", "s2", "10000", "0", "", "0", "-",
                            "0", "-", "a", "c"), "own", "a");

    /* a lease of a later epoch moves no more */

    script_says(ask("move", "g1", "s2", "a", number), "ok");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) first + 9);
    reply = ask("renew", "g2", "s2", "a", number, "10000", "-");
    ck_assert_uint_eq(reply->element[1]->elements, 0);
    freeReplyObject(reply);
    (void) script_epoch(ask("claim", "g2", "s2", "10000", "0", "", "0", "-",
                            "0", "-", "a", "c"), "own", "a");
}
END_TEST


START_TEST(subjects)
{
    script_setup(NULL, NULL);

    (void) script_epoch(ask("claim", "g1", "s1", "10000", "0", "", "0", "u1",
                            "0", "-", "a"), "new", "a");
    (void) script_epoch(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                            "0", "-", "a"), "own", "a");
    (void) script_epoch(ask("claim", "g1", "s1", "10000", "0", "", "0", "u2",
                            "0", "-", "a"), "denied", "a");
    (void) script_epoch(ask("claim", "g1", "s1", "10000", "0", "", "0", "u1",
                            "0", "-", "a"), "own", "a");
}
END_TEST


START_TEST(ends)
{
    char      number[24];
    uint64_t  epoch;

    script_setup(NULL, NULL);

    epoch = script_epoch(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                             "0", "-", "a"), "new", "a");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) epoch);

    script_says(ask("release", "g1", "s2", "a", number, "0"), "no");
    script_says(ask("release", "g1", "s1", "a", "1", "0"), "no");
    script_says(ask("release", "g1", "s1", "a", number, "60000"), "ok");

    /* the instance rests */

    script_says(ask("claim", "g1", "s2", "10000", "0", "", "0", "-", "0",
                    "-", "a"), "busy");
}
END_TEST


/* a store that has an older epoch than the gateway */

START_TEST(behind)
{
    char         number[24];
    uint64_t     epoch;
    redisReply  *r;

    script_setup(NULL, NULL);

    epoch = script_epoch(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                             "0", "-", "a"), "new", "a");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) epoch + LATER);

    /* the session leaves: what the gateway knows is later */

    epoch = script_epoch(ask("claim", "g1", "s1", "10000", number, "a", number,
                             "-", "0", "-", "a", "b"), "new", "b");
    ck_assert_uint_gt(epoch, strtoull(number, NULL, 10));

    /* one that goes back to what another gateway has given is not a move */

    (void) script_epoch(ask("claim", "g1", "s1", "10000", number, "b", number,
                            "-", "0", "-", "a", "b"), "own", "b");

    /* its end is one of the later epoch, too: nobody enters that again */

    snprintf(number, sizeof(number), "%llu", (unsigned long long) epoch + LATER);
    script_says(ask("release", "g1", "s1", "b", number, "0", "t"), "no");
    script_says(ask("release", "g1", "s1", "b", number, "0", "c"), "ok");

    r = ask("renew", "g2", "s1", "b", number, "10000", "-");
    ck_assert_uint_eq(r->element[1]->elements, 4);
    ck_assert_str_eq(script_text(r->element[1], 1), "ended");
    freeReplyObject(r);

    ck_assert_uint_gt(script_epoch(ask("claim", "g1", "s1", "10000", "0", "",
                                       "0", "-", "0", "-", "b"), "new", "b"),
                      epoch + LATER);
}
END_TEST


START_TEST(renewals)
{
    char         number[24];
    uint64_t     epoch;
    redisReply  *r;

    script_setup(NULL, NULL);

    epoch = script_epoch(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                             "0", "-", "a"), "new", "a");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) epoch);

    /* what is as the gateway says is not answered; the second is unknown, the
     * third another session's, the fourth an older epoch */

    r = ask("renew", "g1",
            "s1", "a", number, "60000", "-",
            "s2", "b", "7", "60000", "u2",
            "s3", "a", number, "60000", "-",
            "s1", "a", "5", "60000", "-");
    ck_assert_uint_eq(r->elements, 2);
    ck_assert_uint_eq(r->element[1]->elements, 12);
    ck_assert_str_eq(script_text(r->element[1], 0), "1");
    ck_assert_str_eq(script_text(r->element[1], 1), "asserted");
    ck_assert_str_eq(script_text(r->element[1], 4), "2");
    ck_assert_str_eq(script_text(r->element[1], 5), "taken");
    ck_assert_str_eq(script_text(r->element[1], 8), "3");
    ck_assert_str_eq(script_text(r->element[1], 9), "epoch");
    ck_assert_str_eq(script_text(r->element[1], 11), number);
    freeReplyObject(r);

    /* what was asserted has its subject, and is confirmed */

    (void) script_epoch(ask("claim", "g2", "s2", "10000", "0", "", "0", "u3",
                            "0", "-", "a"), "denied", "b");

    r = ask("list", "g1", "0", "100");
    ck_assert_uint_eq(r->element[4]->elements, 12);
    ck_assert_str_eq(script_text(r->element[4], 3), "-c");
    ck_assert_str_eq(script_text(r->element[4], 9), "-c");
    freeReplyObject(r);

    /* a lease that was released is not entered again */

    script_says(ask("release", "g2", "s1", "a", number, "0"), "ok");
    r = ask("renew", "g1", "s1", "a", number, "60000", "-");
    ck_assert_str_eq(script_text(r->element[1], 1), "ended");
    freeReplyObject(r);
}
END_TEST


static void
has_flags(const char *flags)
{
    redisReply  *r;

    r = ask("list", "g1", "0", "100");
    ck_assert_uint_eq(r->element[4]->elements, 6);
    ck_assert_str_eq(script_text(r->element[4], 3), flags);
    freeReplyObject(r);
}


/* the answer says what "s1" has at "a" still; frees it */

static void
has_still(redisReply *r, const char *number, const char *flag)
{
    ck_assert_uint_eq(r->elements, 7);
    ck_assert_str_eq(script_text(r, 0), "no");
    ck_assert_str_eq(script_text(r, 2), "s1");
    ck_assert_str_eq(script_text(r, 3), "a");
    ck_assert_str_eq(script_text(r, 4), number);
    ck_assert_str_eq(script_text(r, 5), flag);
    ck_assert_str_eq(script_text(r, 6), "-");
    freeReplyObject(r);
}


/* A first call that lasts renews its lease, and confirms nothing. */

START_TEST(first_call_lasts)
{
    char  number[24];

    script_setup(NULL, NULL);

    /* entered again as what it was */

    freeReplyObject(ask("renew", "g1", "s1", "a", "7", "30000t", "-"));
    has_flags("-t");
    script_says(ask("release", "g1", "s1", "a", "7", "0", "t"), "ok");

    snprintf(number, sizeof(number), "%llu", (unsigned long long)
             script_epoch(ask("claim", "g1", "s1", "10", "0", "", "0", "-",
                              "0", "-", "a"), "new", "a"));
    freeReplyObject(ask("renew", "g1", "s1", "a", number, "30000t", "-"));
    has_flags("-t");
    script_says(ask("claim", "g1", "s2", "10", "0", "", "0", "-", "0", "-",
                    "a"), "busy");

    freeReplyObject(ask("renew", "g2", "s1", "a", number, "60000", "-"));
    freeReplyObject(ask("renew", "g1", "s1", "a", number, "30000t", "-"));
    has_flags("-c");
    has_still(ask("release", "g1", "s1", "a", number, "0", "t"), number, "c");
}
END_TEST


/* Calls of two gateways wait for the first success: the one that gives the lease
 * back last ends it. */

START_TEST(first_call_shared)
{
    char  number[24];

    script_setup(NULL, NULL);

    snprintf(number, sizeof(number), "%llu", (unsigned long long)
             script_epoch(ask("claim", "g1", "s1", "10", "0", "", "0", "-",
                              "0", "-", "a"), "new", "a"));
    script_says(ask("claim", "g2", "s1", "10", "0", "", "0", "-", "0", "-",
                    "a"), "own");
    script_says(ask("claim", "g1", "s1", "10", "0", "", "0", "-", "0", "-",
                    "a"), "own");
    has_flags("-t");

    has_still(ask("release", "g1", "s1", "a", number, "0", "t"), number, "t");
    has_still(ask("release", "g1", "s1", "a", number, "0", "t"), number, "t");
    has_flags("-t");
    script_says(ask("release", "g2", "s1", "a", number, "0", "t"), "ok");
    script_says(ask("claim", "g1", "s2", "10", "0", "", "0", "-", "0", "-",
                    "a"), "new");

    /* who gave it back may come again */

    script_says(ask("claim", "g2", "s2", "10", "0", "", "0", "-", "0", "-",
                    "a"), "own");
    snprintf(number, sizeof(number), "%llu", (unsigned long long)
             script_epoch(ask("claim", "g1", "s2", "10", "0", "", "0", "-",
                              "0", "-", "a"), "own", "a"));
    script_says(ask("release", "g1", "s2", "a", number, "0", "t"), "no");
    script_says(ask("claim", "g1", "s2", "10", "0", "", "0", "-", "0", "-",
                    "a"), "own");
    script_says(ask("release", "g2", "s2", "a", number, "0", "t"), "no");
    script_says(ask("release", "g1", "s2", "a", number, "0", "t"), "ok");
}
END_TEST


/* Those who share the first call hear that the session had another instance. */

START_TEST(first_call_moved)
{
    char        number[24];
    redisReply  *r;

    script_setup(NULL, NULL);

    snprintf(number, sizeof(number), "%llu", (unsigned long long)
             script_epoch(ask("claim", "g1", "s1", "10", "0", "", "0", "-",
                              "0", "-", "a"), "new", "a"));
    snprintf(number, sizeof(number), "%llu", (unsigned long long)
             script_epoch(ask("claim", "g1", "s1", "10", "0", "a", number,
                              "-", "0", "-", "b"), "new", "b"));

    r = ask("claim", "g2", "s1", "10", "0", "", "0", "-", "0", "-", "b");
    ck_assert_str_eq(script_text(r, 0), "own");
    ck_assert_str_eq(script_text(r, 4), "tm");
    freeReplyObject(r);

    script_says(ask("release", "g1", "s1", "b", number, "0", "t"), "no");
    script_says(ask("release", "g2", "s1", "b", number, "0", "t"), "ok");
}
END_TEST


/* A gateway that has only heard of a lease tells a new store of it: nobody ends it
 * by giving it back, as a call may have succeeded. */

START_TEST(first_call_heard)
{
    script_setup(NULL, NULL);

    freeReplyObject(ask("renew", "g1", "s1", "a", "7", "30000h", "-"));
    has_flags("-t");
    script_says(ask("claim", "g2", "s1", "10", "0", "", "0", "-", "0", "-",
                    "a"), "own");
    script_says(ask("release", "g2", "s1", "a", "7", "0", "t"), "no");
    freeReplyObject(ask("renew", "g3", "s1", "a", "7", "30000t", "-"));
    has_flags("-t");
    script_says(ask("release", "g3", "s1", "a", "7", "0", "t"), "no");
    freeReplyObject(ask("renew", "g3", "s1", "a", "7", "30000", "-"));
    freeReplyObject(ask("renew", "g1", "s1", "a", "7", "30000h", "-"));
    has_flags("-c");

    /* but for the one that it was given to, if no other one has calls */

    freeReplyObject(ask("renew", "g1", "s2", "b", "8", "30000h", "-"));
    freeReplyObject(ask("renew", "g2", "s2", "b", "8", "30000t", "-"));
    freeReplyObject(ask("renew", "g3", "s2", "b", "8", "30000t", "-"));
    script_says(ask("release", "g3", "s2", "b", "8", "0", "n"), "no");
    script_says(ask("release", "g2", "s2", "b", "8", "0", "t"), "ok");
}
END_TEST


/* Calls of two gateways, and a new store: each one's name is in it again. */

START_TEST(first_call_again)
{
    script_setup(NULL, NULL);

    freeReplyObject(ask("renew", "g1", "s1", "a", "7", "30000t", "-"));
    freeReplyObject(ask("renew", "g2", "s1", "a", "7", "30000t", "-"));
    script_says(ask("release", "g1", "s1", "a", "7", "0", "t"), "no");
    script_says(ask("release", "g2", "s1", "a", "7", "0", "t"), "ok");
}
END_TEST


START_TEST(young)
{
    script_setup(NULL, NULL);

    /* a lease of before the store was emptied may be entered at once */

    script_says(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                    "60000", "-", "a"), "young");
    freeReplyObject(ask("renew", "g1", "s1", "a", "7", "60000", "-"));
    (void) script_epoch(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                            "60000", "-", "b"), "own", "a");
    script_says(ask("claim", "g1", "s2", "10000", "0", "", "0", "-",
                    "60000", "-", "b"), "young");
    (void) script_epoch(ask("claim", "g1", "s2", "10000", "0", "", "0", "-",
                            "0", "-", "b"), "new", "b");
}
END_TEST


/* what has ended a day ago is not kept for ever */

START_TEST(forgets)
{
    size_t       i;
    redisReply  *r;

    script_setup("FORGET = 86400000", "FORGET = -1000000");

    (void) script_epoch(ask("claim", "g1", "s1", "10", "0", "", "0", "-", "0",
                            "-", "a"), "new", "a");
    script_word(ask("operator", "g1", "b", "d", "1"), NULL, NULL);
    script_word(ask("operator", "g1", "c", "a", "1"), NULL, NULL);
    script_word(ask("operator", "g1", "d", "r", "1", "d", "d", "2"), NULL,
                NULL);

    /* removed, also if it drained before */

    script_word(ask("operator", "g1", "e", "r", "1"), NULL, NULL);
    script_word(ask("operator", "g1", "f", "d", "1", "f", "r", "2"), NULL,
                NULL);

    r = ask("list", "g1", "0", "100");
    ck_assert_uint_eq(r->element[4]->elements, 18);

    for (i = 0; i < 18; i += 6) {
        ck_assert_int_ge(script_text(r->element[4], i)[0], 'b');
        ck_assert_int_le(script_text(r->element[4], i)[0], 'd');
    }

    freeReplyObject(r);

    r = store_server_ask(script_store,
                         (const char *[]) { "HLEN", "{u}:s", NULL });
    ck_assert_int_eq(r->integer, 0);
    freeReplyObject(r);
}
END_TEST


START_TEST(stream)
{
    size_t       i;
    redisReply  *r;

    static const char  *ops[] = { "claim", "leave", "claim", "release",
                                  "drain", "undrain", "add", "remove" };

    char         number[24];
    uint64_t     epoch;

    script_setup(NULL, NULL);

    epoch = script_epoch(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                             "0", "-", "a"), "new", "a");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) epoch);
    epoch = script_epoch(ask("claim", "g1", "s1", "10000", "0", "a", number,
                             "-", "0", "-", "b"), "new", "b");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) epoch);
    script_says(ask("release", "g1", "s1", "b", number, "1"), "ok");
    script_word(ask("operator", "g1", "a", "d", "1"), NULL, NULL);
    script_word(ask("operator", "g1", "a", "-", "2"), NULL, NULL);
    script_word(ask("operator", "g1", "a", "a", "1"), NULL, NULL);
    script_word(ask("operator", "g1", "a", "r", "2"), NULL, NULL);

    r = store_server_ask(script_store,
                         (const char *[]) { "XRANGE", "{u}:log", "-", "+",
                                          NULL });
    ck_assert_uint_eq(r->elements, sizeof(ops) / sizeof(ops[0]));

    for (i = 0; i < r->elements; i++) {
        redisReply  *f = r->element[i]->element[1];

        /* numbered from 1 on */

        ck_assert_uint_eq(strtoul(f->element[1]->str, NULL, 10), i + 1);
        ck_assert_str_eq(f->element[3]->str, ops[i]);
        ck_assert_str_eq(f->element[11]->str, "g1");
    }

    freeReplyObject(r);
}
END_TEST


/* the clock of the store as a test sets it */

static void
clock_is(uint64_t seconds)
{
    char  text[32];

    snprintf(text, sizeof(text), "%llu000000", (unsigned long long) seconds);
    freeReplyObject(store_server_ask(script_store, (const char *[]) {
                                         "SET", "{u}:clock", text, NULL }));
}


/* it goes back by an hour, and forth again: epochs rise, nobody gets an
 * instance that another session has, and a lease that is renewed ends with its
 * own time */

START_TEST(clock_moves)
{
    char         number[24];
    uint64_t     first, second, third;
    redisReply  *r;

    script_setup("call('TIME')", "{0, call('GET', '{u}:clock')}");
    clock_is(2000000000);

    first = script_epoch(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                             "0", "-", "a"), "new", "a");
    snprintf(number, sizeof(number), "%llu", (unsigned long long) first);
    freeReplyObject(ask("renew", "g1", "s1", "a", number, "60000", "-"));

    clock_is(2000000000 - 3600);

    second = script_epoch(ask("claim", "g2", "s2", "10000", "0", "", "0", "-",
                              "3000", "-", "a", "b"), "new", "b");
    ck_assert_uint_gt(second, first);
    ck_assert_uint_eq(script_epoch(ask("claim", "g2", "s1", "10000", "0", "",
                                       "0", "-", "3000", "-", "c"), "own",
                                   "a"), first);

    r = ask("renew", "g1", "s1", "a", number, "60000", "-");
    ck_assert_uint_eq(r->element[1]->elements, 0);
    freeReplyObject(r);

    /* it is renewed no more, and ends within twice its time */

    clock_is(2000000000 - 3600 + 59);
    script_says(ask("claim", "g1", "s3", "10000", "0", "", "0", "-", "0",
                    "-", "a"), "busy");
    clock_is(2000000000 - 3600 + 121);
    third = script_epoch(ask("claim", "g1", "s3", "10000", "0", "", "0", "-",
                             "0", "-", "a"), "new", "a");
    ck_assert_uint_gt(third, second);

    /* an hour forth: all leases seem over, but the owner stays if it comes
     * first */

    clock_is(2000000000 + 3600);
    snprintf(number, sizeof(number), "%llu", (unsigned long long) third);
    r = ask("renew", "g1", "s3", "a", number, "60000", "-");
    ck_assert_uint_eq(r->element[1]->elements, 0);
    freeReplyObject(r);
    script_says(ask("claim", "g1", "s4", "10000", "0", "", "0", "-", "0",
                    "-", "a"), "busy");
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_script");
    harness_add(suite, claims);
    harness_add(suite, clock_moves);
    harness_add(suite, moves);
    harness_add(suite, operator_moves);
    harness_add(suite, subjects);
    harness_add(suite, ends);
    harness_add(suite, behind);
    harness_add(suite, renewals);
    harness_add(suite, first_call_lasts);
    harness_add(suite, first_call_shared);
    harness_add(suite, first_call_moved);
    harness_add(suite, first_call_heard);
    harness_add(suite, first_call_again);
    harness_add(suite, young);
    harness_add(suite, forgets);
    harness_add(suite, stream);

    return harness_run(suite, "test_store_script");
}
