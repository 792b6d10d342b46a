/*
 * Epochs far above the store's clock, told by gateways or left in the store:
 * the script believes none.  In a real server.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "store_script.h"
#include "store_server.h"


/* 2^53 - 1 and above */
#define LAST   "9007199254740991"
#define ABOVE  "9007199254740992"

#define WEEK   (UINT64_C(604800) * 1000000)


static void
set(const char *key, const char *field, const char *value)
{
    freeReplyObject(store_server_ask(script_store,
                                     (const char *[]) { "HSET", key, field,
                                                        value, NULL }));
}


static char *
stored(const char *key, const char *field)
{
    char        *copy;
    redisReply  *r;

    r = store_server_ask(script_store, (const char *[]) { "HGET", key, field,
                                                          NULL });
    ck_assert_int_eq(r->type, REDIS_REPLY_STRING);
    copy = strdup(r->str);
    freeReplyObject(r);

    return copy;
}


static uint64_t
number_of(char *text)
{
    uint64_t  n;

    n = strtoull(text, NULL, 10);
    free(text);

    return n;
}


/* microseconds of the server's clock */

static uint64_t
clock_now(void)
{
    uint64_t     us;
    redisReply  *r;

    r = store_server_ask(script_store, (const char *[]) { "TIME", NULL });
    us = strtoull(r->element[0]->str, NULL, 10) * 1000000
         + strtoull(r->element[1]->str, NULL, 10);
    freeReplyObject(r);

    return us;
}


static const char *
text(uint64_t n)
{
    static char  copy[4][24];
    static int   next;
    char        *p;

    p = copy[next++ % 4];
    snprintf(p, sizeof(copy[0]), "%llu", (unsigned long long) n);

    return p;
}


static uint64_t
claim(const char *session, const char *seen, const char *what,
    const char *instance)
{
    return script_epoch(ask("claim", "g1", session, "10000", seen, "", "0",
                            "-", "0", "-", instance), what, instance);
}


/* "what" NULL: nothing differs; returns the epoch that the store answers */

static uint64_t
renew(const char *session, const char *instance, const char *epoch,
    const char *what)
{
    uint64_t     answered;
    redisReply  *r;

    answered = 0;
    r = ask("renew", "g1", session, instance, epoch, "60000", "-");

    if (what == NULL) {
        ck_assert_uint_eq(r->element[1]->elements, 0);

    } else {
        ck_assert_uint_eq(r->element[1]->elements, 4);
        ck_assert_str_eq(script_text(r->element[1], 1), what);
        answered = strtoull(script_text(r->element[1], 3), NULL, 10);
    }

    freeReplyObject(r);

    return answered;
}


/* how long the record lasts, in ms from now on */

static uint64_t
lasts(const char *instance)
{
    char                *record;
    uint64_t             now;
    unsigned long long   ends;

    now = clock_now() / 1000;
    record = stored("{u}:i", instance);
    ck_assert_int_eq(sscanf(record, "%*u %llu", &ends), 1);
    free(record);

    return ends > now ? ends - now : 0;
}


/* what a gateway has seen: hours ahead count, more than a week does not */

START_TEST(seen)
{
    uint64_t  ahead, epoch;

    script_setup(NULL, NULL);

    ahead = clock_now() + WEEK / 2;
    ck_assert_uint_eq(claim("s1", text(ahead), "new", "a"), ahead + 1);
    ck_assert_uint_eq(claim("s2", "0", "new", "b"), ahead + 2);

    ck_assert_uint_eq(claim("s3", LAST, "new", "c"), ahead + 3);
    ck_assert_uint_eq(number_of(stored("{u}:c", "e")), ahead + 3);

    epoch = clock_now() + 2 * WEEK;
    ck_assert_uint_eq(claim("s4", text(epoch), "new", "d"), ahead + 4);

    script_says(ask("word", "g1", "e", "s5", "0", "0", "10000", LAST, "-"),
                "ok");
    ck_assert_uint_eq(number_of(stored("{u}:c", "e")), ahead + 5);
}
END_TEST


/* a counter of an older version comes down */

START_TEST(counter)
{
    uint64_t  now, epoch;

    script_setup(NULL, NULL);
    set("{u}:c", "e", ABOVE);

    now = clock_now();
    epoch = claim("s1", "0", "new", "a");
    ck_assert_uint_ge(epoch, now);
    ck_assert_uint_lt(epoch, now + WEEK);
    ck_assert_uint_eq(number_of(stored("{u}:c", "e")), epoch);
    ck_assert_uint_gt(claim("s2", "0", "new", "b"), epoch);

    set("{u}:c", "e", ABOVE);
    epoch++;
    (void) renew("s1", "a", text(epoch + 10), NULL);
    ck_assert_uint_eq(number_of(stored("{u}:c", "e")), epoch + 10);
}
END_TEST


/* a record of an older version: its lease is confirmed and lasts, whatever
 * epoch its gateway names */

START_TEST(record)
{
    char       text_of[64];
    uint64_t   epoch;

    script_setup(NULL, NULL);
    (void) claim("s0", "0", "new", "z");

    snprintf(text_of, sizeof(text_of), ABOVE " %llu -c - s1",
             (unsigned long long) clock_now() / 1000 + 5000);
    set("{u}:i", "a", text_of);
    set("{u}:s", "s1", "a");

    (void) renew("s1", "a", LAST, NULL);
    ck_assert_uint_gt(lasts("a"), 30000);

    epoch = clock_now();
    set("{u}:i", "a", text_of);
    (void) renew("s1", "a", text(epoch), NULL);
    ck_assert_uint_gt(lasts("a"), 30000);
    ck_assert_uint_eq(number_of(stored("{u}:i", "a")), epoch);

    /* not for a session that is elsewhere, or has ended */

    ck_assert_uint_eq(renew("s2", "a", LAST, "taken"), epoch);
    script_says(ask("claim", "g1", "s1", "10000", "0", "a", text(epoch), "-",
                    "0", "-", "b"), "new");
    (void) renew("s1", "a", LAST, "ended");
    ck_assert_uint_lt(lasts("a"), 1);
}
END_TEST


/* nor is an epoch of a lease believed: by session and instance it is found */

START_TEST(lease)
{
    uint64_t  epoch;

    script_setup(NULL, NULL);

    epoch = claim("s1", "0", "new", "a");
    (void) renew("s1", "a", LAST, NULL);
    ck_assert_uint_eq(number_of(stored("{u}:i", "a")), epoch);
    ck_assert_uint_eq(number_of(stored("{u}:c", "e")), epoch);

    /* what the store has lost gets one of the store */

    (void) renew("s2", "b", LAST, "asserted");
    ck_assert_uint_gt(number_of(stored("{u}:i", "b")), epoch);
    ck_assert_uint_lt(number_of(stored("{u}:c", "e")), clock_now() + WEEK);

    /* a move from there, and a release */

    ck_assert_uint_gt(script_epoch(ask("claim", "g1", "s1", "10000", "0", "a",
                                       LAST, "-", "0", "-", "a", "c"),
                                   "new", "c"), epoch);
    script_says(ask("release", "g1", "s2", "a", LAST, "0", "c"), "no");
    script_says(ask("release", "g1", "s2", "b", LAST, "0", "c"), "ok");

    /* an instance names the session by it: the lease elsewhere stays */

    script_says(ask("word", "g1", "a", "s1", LAST, LAST, "10000", "0", "-"),
                "old");
    script_says(ask("word", "g1", "d", "s1", LAST, "0", "10000", "0", "-"),
                "elsewhere");
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_script_epochs");
    harness_add(suite, seen);
    harness_add(suite, counter);
    harness_add(suite, record);
    harness_add(suite, lease);

    return harness_run(suite, "test_store_script_epochs");
}
