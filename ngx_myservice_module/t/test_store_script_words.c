/*
 * What operators say, in the store's script: drains, members, revocations.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "store_script.h"
#include "store_server.h"


START_TEST(drains)
{
    redisReply  *r;

    script_setup(NULL, NULL);

    script_word(ask("operator", "g1", "a", "d", "1700000000000001"), NULL,
                NULL);
    (void) script_epoch(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                            "0", "-", "a", "b"), "new", "b");

    script_word(ask("operator", "g1", "a", "-", "1700000000000002"), NULL,
                NULL);
    (void) script_epoch(ask("claim", "g1", "s2", "10000", "0", "", "0", "-",
                            "0", "-", "a", "b"), "new", "a");

    /* an owner stays */

    script_word(ask("operator", "g1", "a", "d", "1700000000000003"), NULL,
                NULL);
    (void) script_epoch(ask("claim", "g1", "s2", "10000", "0", "", "0", "-",
                            "0", "-", "b"), "own", "a");

    r = ask("list", "g1", "0", "100");
    ck_assert_uint_eq(r->elements, 5);
    ck_assert_str_eq(script_text(r, 3), "0");
    ck_assert_str_eq(script_text(r, 2), "5");
    ck_assert_uint_eq(r->element[4]->elements, 12);
    freeReplyObject(r);
}
END_TEST


/* the last word of an operator counts, whichever gateway tells it when */

START_TEST(words)
{
    redisReply  *r;

    script_setup(NULL, NULL);

    script_word(ask("operator", "g1", "a", "-", "20"), NULL, NULL);
    script_word(ask("operator", "g2", "a", "d", "10"), "-", "20");
    script_word(ask("operator", "g2", "a", "-", "20"), NULL, NULL);

    /* the first of two that are as late stays */

    script_word(ask("operator", "g2", "a", "d", "20"), "-", "20");
    script_word(ask("operator", "g1", "a", "d", "21", "b", "d", "5"), NULL,
                NULL);
    script_word(ask("operator", "g2", "b", "d", "5", "a", "-", "7"), "d", "21");

    script_says(ask("claim", "g1", "s1", "10000", "0", "", "0", "-", "0",
                    "-", "a", "b"), "busy");

    r = ask("list", "g1", "0", "100");
    ck_assert_uint_eq(r->element[4]->elements, 12);
    ck_assert(strcmp(script_text(r->element[4], 3), "d21c") == 0
              || strcmp(script_text(r->element[4], 9), "d21c") == 0);
    freeReplyObject(r);

    /* three words were news */

    r = store_server_ask(script_store,
                         (const char *[]) { "XLEN", "{u}:log", NULL });
    ck_assert_int_eq(r->integer, 3);
    freeReplyObject(r);
}
END_TEST


/* the last change */

static void
last_change(const char *op, const char *stamp)
{
    redisReply  *r;

    r = store_server_ask(script_store, (const char *[]) { "XREVRANGE",
                                       "{u}:log", "+", "-", "COUNT", "1",
                                       NULL });
    ck_assert_uint_eq(r->elements, 1);
    ck_assert_str_eq(script_text(r->element[0]->element[1], 3), op);
    ck_assert_str_eq(script_text(r->element[0]->element[1], 7), stamp);
    freeReplyObject(r);
}


/* a gateway forgets the drain of an instance that it removes, and not who has
 * not heard of that and adds the instance again */

START_TEST(back)
{
    redisReply  *r;

    script_setup(NULL, NULL);

    script_word(ask("operator", "g1", "a", "a", "20", "a", "d", "5"), NULL,
                NULL);
    script_word(ask("operator", "g2", "a", "r", "21"), NULL, NULL);
    last_change("remove", "21");
    script_word(ask("operator", "g1", "a", "a", "22"), NULL, NULL);
    last_change("drain", "5");

    r = ask("operator", "g3", "a", "r", "20");
    ck_assert_uint_eq(r->element[1]->elements, 6);
    ck_assert_str_eq(script_text(r->element[1], 1), "a");
    ck_assert_str_eq(script_text(r->element[1], 2), "22");
    ck_assert_str_eq(script_text(r->element[1], 4), "d");
    ck_assert_str_eq(script_text(r->element[1], 5), "5");
    freeReplyObject(r);

    /* who adds what is there changes nothing else */

    script_word(ask("operator", "g1", "a", "a", "23"), NULL, NULL);
    last_change("add", "23");
}
END_TEST


/* words on membership beside those on drains: neither changes the other */

START_TEST(members)
{
    redisReply  *r;

    script_setup(NULL, NULL);

    script_word(ask("operator", "g1", "a", "a", "20"), NULL, NULL);
    script_word(ask("operator", "g2", "a", "r", "10"), "a", "20");
    script_word(ask("operator", "g2", "a", "d", "5"), NULL, NULL);
    r = ask("list", "g1", "0", "100");
    ck_assert_str_eq(script_text(r->element[4], 3), "d5a20c");
    freeReplyObject(r);

    script_word(ask("operator", "g2", "a", "-", "6", "a", "r", "21"), NULL,
                NULL);
    script_word(ask("operator", "g1", "a", "a", "21"), "r", "21");
    script_word(ask("operator", "g1", "a", "d", "5"), "-", "6");

    /* who names it has it by the configuration */

    (void) script_epoch(ask("claim", "g1", "s1", "10000", "0", "", "0", "-",
                            "0", "-", "a"), "new", "a");
    r = ask("list", "g1", "0", "100");
    ck_assert_str_eq(script_text(r->element[4], 3), "-6r21t");
    ck_assert_str_eq(script_text(r->element[4], 5), "s1");
    freeReplyObject(r);
}
END_TEST


/* the last word on a revocation counts, and none is kept for ever */

START_TEST(revocations)
{
    redisReply  *r;

    script_setup("FORGET = 86400000", "FORGET = 1000");

    r = ask("revoke", "g1", "a", "20", "1990000000", "twenty", "b", "5",
            "1000000000", "past");
    ck_assert_uint_eq(r->element[1]->elements, 0);
    freeReplyObject(r);

    r = ask("revoke", "g2", "a", "10", "1990000000", "ten");
    ck_assert_uint_eq(r->element[1]->elements, 1);
    ck_assert_str_eq(script_text(r->element[1], 0), "twenty");
    freeReplyObject(r);

    r = ask("revoke", "g2", "a", "20", "1990000000", "twenty");
    ck_assert_uint_eq(r->element[1]->elements, 0);
    freeReplyObject(r);

    r = ask("revoke", "g2", "a", "21", "1990000000", "a b c");
    ck_assert_uint_eq(r->element[1]->elements, 0);
    freeReplyObject(r);

    r = ask("revoked", "g1", "0", "100");
    ck_assert_uint_eq(r->elements, 5);
    ck_assert_str_eq(script_text(r, 2), "3");
    ck_assert_str_eq(script_text(r, 3), "0");
    ck_assert_uint_eq(r->element[4]->elements, 1);
    ck_assert_str_eq(script_text(r->element[4], 0), "a b c");
    freeReplyObject(r);

    r = store_server_ask(script_store,
                         (const char *[]) { "HLEN", "{u}:r", NULL });
    ck_assert_int_eq(r->integer, 1);
    freeReplyObject(r);

    /* three words were news */

    r = store_server_ask(script_store,
                         (const char *[]) { "XLEN", "{u}:log", NULL });
    ck_assert_int_eq(r->integer, 3);
    freeReplyObject(r);
}
END_TEST


/* also while no gateway reads them all, and there are too many for one look */

START_TEST(revocations_end)
{
    int          i;
    char         id[16];
    redisReply  *r;

    script_setup("FORGET = 86400000", "FORGET = 1000");

    freeReplyObject(ask("revoke", "g1", "a", "2", "1990000000", "a"));

    for (i = 0; i < 500; i++) {
        snprintf(id, sizeof(id), "%d", i);
        freeReplyObject(ask("revoke", "g1", id, "1", "1000000000", "b"));
    }

    r = store_server_ask(script_store,
                         (const char *[]) { "HLEN", "{u}:r", NULL });
    ck_assert_int_lt(r->integer, 64);
    freeReplyObject(r);

    r = ask("revoke", "g1", "a", "1", "1990000000", "b");
    ck_assert_str_eq(script_text(r->element[1], 0), "a");
    freeReplyObject(r);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_script_words");
    harness_add(suite, drains);
    harness_add(suite, words);
    harness_add(suite, members);
    harness_add(suite, back);
    harness_add(suite, revocations);
    harness_add(suite, revocations_end);

    return harness_run(suite, "test_store_script_words");
}
