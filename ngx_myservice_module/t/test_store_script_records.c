/*
 * Records that somebody else wrote or removed, in a real server: they stop no
 * question, and no session gets an instance whose record cannot be read.
 */

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "store_script.h"
#include "store_server.h"


static const char *const  odd[] = {
    "garbage", "", "5", "5 0 -", "5 0 -garbage", "x 0 -c - ", "5 0 -c -",
    "5 0 d12345678901234567c - ", "5 0 -a12345678901234567c - ",
    "5 0 d1/12345678901234567c - ", "5 12345678901234567 -c - "
};

/* what is no number of the script */
static const char *const  numbers[] = {
    "garbage", "", "-5", "1.5", "99999999999999999999", "9007199254740992",
    "inf", "nan", " 7"
};


static void
set(const char *key, const char *field, const char *value)
{
    freeReplyObject(store_server_ask(script_store,
                                     (const char *[]) { "HSET", key, field,
                                                        value, NULL }));
}


static void
keeps(const char *instance, const char *record)
{
    redisReply  *r;

    r = store_server_ask(script_store, (const char *[]) { "HGET", "{u}:i",
                                                          instance, NULL });
    ck_assert_str_eq(r->str, record);
    freeReplyObject(r);
}


static redisReply *
claim(const char *session, const char *instance)
{
    return ask("claim", "g1", session, "10000", "0", "", "0", "-", "0", "-",
               instance);
}


START_TEST(unreadable)
{
    redisReply  *r;

    script_setup(NULL, NULL);
    set("{u}:i", "a", odd[_i]);

    script_says(claim("s1", "a"), "busy");
    script_says(ask("release", "g1", "s1", "a", "7", "0", "c"), "no");
    script_says(ask("move", "g1", "s1", "a", "7"), "no");
    script_says(ask("word", "g1", "a", "", "0", "7", "10000", "0", "-"), "old");

    r = ask("operator", "g1", "a", "-", "5", "b", "d", "5");
    ck_assert_int_eq(r->type, REDIS_REPLY_ARRAY);
    freeReplyObject(r);
    keeps("a", odd[_i]);

    script_says(claim("s1", "b"), "busy");
    (void) script_epoch(claim("s1", "c"), "new", "c");
    script_says(claim("s2", "a"), "busy");
    keeps("a", odd[_i]);
}
END_TEST


/* the others of a batch are renewed, and a lease is entered again */

START_TEST(renewed)
{
    redisReply  *r;

    script_setup(NULL, NULL);
    (void) script_epoch(claim("s1", "a"), "new", "a");
    set("{u}:i", "a", odd[_i]);

    r = ask("renew", "g1", "s1", "a", "7", "60000", "-", "s2", "b", "8",
            "60000", "-");
    ck_assert_int_eq(r->type, REDIS_REPLY_ARRAY);
    ck_assert_uint_eq(r->element[1]->elements, 8);
    ck_assert_str_eq(script_text(r->element[1], 1), "asserted");
    ck_assert_str_eq(script_text(r->element[1], 5), "asserted");
    freeReplyObject(r);

    (void) script_epoch(claim("s1", "c"), "own", "a");
}
END_TEST


/* the instance says whose it is */

START_TEST(said)
{
    script_setup(NULL, NULL);
    set("{u}:i", "a", odd[_i]);

    script_says(ask("word", "g1", "a", "s1", "7", "7", "10000", "0", "-"),
                "ok");
    (void) script_epoch(claim("s1", "c"), "own", "a");
}
END_TEST


/* its session has it no more, also if another one gets it */

START_TEST(removed)
{
    script_setup(NULL, NULL);
    (void) script_epoch(claim("s1", "a"), "new", "a");

    if (_i) {
        set("{u}:i", "a", "garbage");
    }

    freeReplyObject(store_server_ask(script_store,
                                     (const char *[]) { "HDEL", "{u}:i", "a",
                                                        NULL }));
    (void) script_epoch(claim("s2", "a"), "new", "a");
    script_says(claim("s1", "a"), "busy");
    (void) script_epoch(claim("s1", "b"), "new", "b");
    (void) script_epoch(claim("s2", "c"), "own", "a");
    (void) script_epoch(claim("s1", "c"), "own", "b");
}
END_TEST


/* a revocation that cannot be read hides no other one */

START_TEST(revoked)
{
    redisReply  *r;

    script_setup(NULL, NULL);
    set("{u}:r", "odd", odd[_i]);

    r = ask("revoke", "g1", "id", "5", "99999999999", "entry");
    ck_assert_int_eq(r->type, REDIS_REPLY_ARRAY);
    freeReplyObject(r);

    r = ask("revoked", "g1", "0", "100");
    ck_assert_int_eq(r->type, REDIS_REPLY_ARRAY);
    ck_assert_uint_eq(r->element[4]->elements, 1);
    ck_assert_str_eq(r->element[4]->element[0]->str, "entry");
    freeReplyObject(r);

    r = ask("revoke", "g1", "odd", "5", "99999999999", "other");
    ck_assert_int_eq(r->type, REDIS_REPLY_ARRAY);
    freeReplyObject(r);

    r = ask("revoked", "g1", "0", "100");
    ck_assert_uint_eq(r->element[4]->elements, 2);
    freeReplyObject(r);
}
END_TEST


static bool
is_number(const char *text)
{
    return text[0] != '\0' && strspn(text, "0123456789") == strlen(text)
           && strlen(text) <= 16;
}


/* the fields of KEYS[3]: all verbs go on, and name numbers */

static const char *const  fields[] = { "e", "n", "g", "r" };

START_TEST(counters)
{
    size_t       i;
    redisReply  *r;

    script_setup(NULL, NULL);
    (void) script_epoch(claim("s1", "a"), "new", "a");

    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        set("{u}:c", fields[_i], numbers[i]);

        r = ask("list", "g1", "0", "100");
        ck_assert_int_eq(r->type, REDIS_REPLY_ARRAY);
        ck_assert(is_number(script_text(r, 0)));
        ck_assert(is_number(script_text(r, 2)));
        freeReplyObject(r);

        r = ask("revoke", "g1", "id", "5", "99999999999", "entry");
        ck_assert_int_eq(r->type, REDIS_REPLY_ARRAY);
        freeReplyObject(r);

        set("{u}:c", fields[_i], numbers[i]);
        r = claim("s2", "b");
        ck_assert(is_number(script_text(r, 2)));
        ck_assert(is_number(script_text(r, 3)));
        (void) script_epoch(r, "new", "b");

        set("{u}:c", fields[_i], numbers[i]);
        script_says(ask("release", "g1", "s2", "b", "9007199254740991", "0",
                        "c"), "ok");
    }

    /* numbers of changes are those of the stream again */

    r = store_server_ask(script_store,
                         (const char *[]) { "XREVRANGE", "{u}:log", "+", "-",
                                            "COUNT", "1", NULL });
    ck_assert(is_number(r->element[0]->element[1]->element[1]->str));
    freeReplyObject(r);
}
END_TEST


/* who has an instance keeps it, and nobody gets one who cannot be counted */

START_TEST(uncounted)
{
    redisReply  *r;

    script_setup(NULL, NULL);
    freeReplyObject(store_server_ask(script_store,
                                     (const char *[]) { "SET", "{u}:u", "text",
                                                        NULL }));

    r = redisCommand(script_store,
                     "EVALSHA %s 5 {u}:s {u}:i {u}:c {u}:log {u}:u "
                     "claim g1 s1 10000 0 %s 0 s:k 0 9 a", script_sha, "");
    ck_assert_int_eq(r->type, REDIS_REPLY_ERROR);
    freeReplyObject(r);

    r = ask("renew", "g1", "s1", "a", "7", "60000", "s:k", "s2", "b", "8",
            "60000", "-");
    ck_assert_uint_eq(r->element[1]->elements, 8);
    ck_assert_str_eq(script_text(r->element[1], 1), "asserted");
    ck_assert_str_eq(script_text(r->element[1], 5), "asserted");
    freeReplyObject(r);

    (void) script_epoch(claim("s1", "c"), "own", "a");
    script_says(ask("release", "g1", "s1", "a", "7", "0", "c"), "ok");
}
END_TEST


int
main(void)
{
    int     n;
    Suite  *suite;

    n = (int) (sizeof(odd) / sizeof(odd[0]));
    suite = suite_create("store_script_records");
    harness_add_loop(suite, unreadable, n);
    harness_add_loop(suite, renewed, n);
    harness_add_loop(suite, said, n);
    harness_add_loop(suite, removed, 2);
    harness_add_loop(suite, revoked, n - 1);
    harness_add_loop(suite, counters,
                     (int) (sizeof(fields) / sizeof(fields[0])));
    harness_add(suite, uncounted);

    return harness_run(suite, "test_store_script_records");
}
