/* Delays after failed logins, and the bound of their memory. */

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sodium.h>

#include "authsvc/login/backoff.h"
#include "authsvc/t/suite.h"


#define SECOND    1000
#define MINUTE    (60 * SECOND)
#define FAILURES  3


static backoff_t  *backoff;
static int64_t     now;


static void
make(size_t entries)
{
    const unsigned char      key[BACKOFF_KEY] = "0123456789abcde";
    const backoff_options_t  options = {
        .failures = FAILURES, .base = SECOND, .max = MINUTE,
        .entries = entries
    };

    now = 1000000;
    backoff = backoff_create(&options, key);
    ck_assert_ptr_nonnull(backoff);
}


static void
setup(void)
{
    ck_assert_int_ge(sodium_init(), 0);
    make(1024);
}


static void
teardown(void)
{
    backoff_free(backoff);
    backoff_free(NULL);
}


static bool
held(const char *user, const char *address)
{
    return backoff_held(backoff, user, address, now);
}


static bool
failed(const char *user, const char *address)
{
    return backoff_failed(backoff, user, address, now);
}


static void
passed(const char *user, const char *address)
{
    backoff_passed(backoff, user, address, now);
}


/* Every failure doubles the time, up to the longest one. */
START_TEST(test_doubles)
{
    int      i;
    int64_t  hold;

    for (i = 1; i < FAILURES; i++) {
        (void) failed("bob", "192.0.2.1");
        ck_assert(!held("bob", "192.0.2.1"));
    }

    hold = SECOND;

    for (i = 0; i < 6; i++) {
        (void) failed("bob", "192.0.2.1");
        now += hold - 1;
        ck_assert(held("bob", "192.0.2.1"));
        ck_assert(!held("eve", "192.0.2.1"));
        ck_assert(!held("bob", "192.0.2.2"));
        now += 1;
        ck_assert(!held("bob", "192.0.2.1"));
        hold *= 2;
    }

    /* one has leaked away by now: near the longest */
    for (i = 0; i < 20; i++) {
        (void) failed("bob", "192.0.2.1");
        now += 30 * SECOND;
        ck_assert(held("bob", "192.0.2.1"));
        now += 30 * SECOND;
        ck_assert(!held("bob", "192.0.2.1"));
    }

    /* who passed begins anew */
    passed("bob", "192.0.2.1");
    for (i = 1; i < FAILURES; i++) {
        (void) failed("bob", "192.0.2.1");
    }
    ck_assert(!held("bob", "192.0.2.1"));
    (void) failed("bob", "192.0.2.1");
    ck_assert(held("bob", "192.0.2.1"));
    now += SECOND;
    ck_assert(!held("bob", "192.0.2.1"));
}
END_TEST


/* Asking while held costs nothing more. */
START_TEST(test_asking)
{
    int  i;

    for (i = 0; i < FAILURES; i++) {
        (void) failed("bob", "a");
    }
    for (i = 0; i < 1000; i++) {
        ck_assert(held("bob", "a"));
    }
    now += SECOND;
    ck_assert(!held("bob", "a"));
}
END_TEST


/* A slip now and then never adds up. */
START_TEST(test_leaks)
{
    int  i;

    for (i = 0; i < 100; i++) {
        (void) failed("bob", "a");
        ck_assert(!held("bob", "a"));
        now += MINUTE;
    }

    /* the control: a little faster does */
    for (i = 0; i < 20 && !held("bob", "a"); i++) {
        (void) failed("bob", "a");
        now += MINUTE / 4;
        (void) failed("bob", "a");
    }
    ck_assert_int_lt(i, 20);
}
END_TEST


/* One user from many addresses; whom an address knows is not shut out. */
START_TEST(test_user)
{
    int   i;
    char  address[32];

    passed("bob", "home");

    for (i = 0; i < FAILURES * BACKOFF_SOFT; i++) {
        ck_assert(!held("bob", "office"));
        snprintf(address, sizeof(address), "10.0.0.%d", i);
        ck_assert(!held("bob", address));
        ck_assert(!failed("bob", address));
    }

    ck_assert(held("bob", "office"));
    ck_assert(held("bob", "10.9.9.9"));
    ck_assert(!held("bob", "home"));
    ck_assert(!held("eve", "office"));

    /* guessing at home holds bob there, and only there */
    for (i = 0; i < FAILURES; i++) {
        (void) failed("bob", "home");
    }
    ck_assert(held("bob", "home"));
}
END_TEST


/* Many users from one address. */
START_TEST(test_address)
{
    int   i;
    char  user[32];

    passed("bob", "192.0.2.1");

    for (i = 0; i < FAILURES * BACKOFF_SOFT; i++) {
        snprintf(user, sizeof(user), "user%d", i);
        ck_assert(!held(user, "192.0.2.1"));
        ck_assert_int_eq(failed(user, "192.0.2.1"),
                         i == FAILURES * BACKOFF_SOFT - 1);
    }

    ck_assert(held("eve", "192.0.2.1"));
    ck_assert(!held("eve", "192.0.2.2"));
    ck_assert(!held("bob", "192.0.2.1"));
}
END_TEST


/* The addresses of one network of IPv6 are one. */
START_TEST(test_ipv6)
{
    int  i;

    for (i = 0; i < FAILURES; i++) {
        (void) failed("bob", "2001:db8:1:2::1");
    }
    ck_assert(held("bob", "2001:db8:1:2:ffff::9"));
    ck_assert(!held("bob", "2001:db8:1:3::1"));
    ck_assert(!held("bob", "unknown"));
}
END_TEST


/* Names are not parsed: no two are taken for one. */
START_TEST(test_names)
{
    int  i;

    for (i = 0; i < FAILURES; i++) {
        (void) failed("ab", "c");
    }
    ck_assert(held("ab", "c"));
    ck_assert(!held("a", "bc"));
    ck_assert(!held("abc", ""));
}
END_TEST


/*
 * A flood of names does not grow the table and does not wash out what is held
 * or known while there is anything less.
 */
START_TEST(test_full)
{
    int   i, j, kept;
    char  user[32], address[32];

    backoff_free(backoff);
    make(64);

    passed("bob", "home");
    for (i = 0; i < 8; i++) {
        snprintf(user, sizeof(user), "held%d", i);
        for (j = 0; j < 10; j++) {
            (void) failed(user, "a");
        }
    }

    for (i = 0; i < 10000; i++) {
        snprintf(user, sizeof(user), "user%d", i);
        snprintf(address, sizeof(address), "10.0.%d.%d", i / 256, i % 256);
        (void) failed(user, address);
        now += i % 20 == 0;
    }

    kept = 0;
    for (i = 0; i < 8; i++) {
        snprintf(user, sizeof(user), "held%d", i);
        kept += held(user, "a");
    }
    ck_assert_int_eq(kept, 8);

    /* bob is known still: he is not held for others' failures */
    for (i = 0; i < FAILURES * BACKOFF_SOFT; i++) {
        snprintf(address, sizeof(address), "x%d", i);
        (void) failed("bob", address);
        now++;
    }
    ck_assert(held("bob", "elsewhere"));
    ck_assert(!held("bob", "home"));
}
END_TEST


/* However many users are known: there is room to count guesses. */
START_TEST(test_full_known)
{
    int   i, j, kept;
    char  user[32], address[32];

    backoff_free(backoff);
    make(256);

    for (i = 0; i < 10000; i++) {
        snprintf(user, sizeof(user), "user%d", i);
        snprintf(address, sizeof(address), "10.0.%d.%d", i / 256, i % 256);
        passed(user, address);
        now++;
    }
    passed("bob", "home");

    for (j = 0; j < FAILURES; j++) {
        for (i = 0; i < 8; i++) {
            snprintf(user, sizeof(user), "root%d", i);
            snprintf(address, sizeof(address), "evil%d", i);
            (void) failed(user, address);
            now++;
        }
    }

    kept = 0;
    for (i = 0; i < 8; i++) {
        snprintf(user, sizeof(user), "root%d", i);
        snprintf(address, sizeof(address), "evil%d", i);
        kept += held(user, address);
    }
    ck_assert_int_eq(kept, 8);

    /* the last ones are known still */
    for (i = 0; i < FAILURES * BACKOFF_SOFT; i++) {
        snprintf(address, sizeof(address), "x%d", i);
        (void) failed("bob", address);
        now++;
    }
    ck_assert(held("bob", "elsewhere"));
    ck_assert(!held("bob", "home"));
}
END_TEST


/* The second slowest of the last sixteen. */
START_TEST(test_floor)
{
    int  i;

    ck_assert_int_eq(backoff_floor(backoff), 0);

    backoff_took(backoff, 50);
    ck_assert_int_eq(backoff_floor(backoff), 50);

    backoff_took(backoff, 900);
    ck_assert_int_eq(backoff_floor(backoff), 50);
    backoff_took(backoff, 70);
    ck_assert_int_eq(backoff_floor(backoff), 70);
    backoff_took(backoff, 800);
    ck_assert_int_eq(backoff_floor(backoff), 800);

    for (i = 0; i < 15; i++) {
        backoff_took(backoff, 10 + i);
    }
    ck_assert_int_eq(backoff_floor(backoff), 24);
    backoff_took(backoff, 9);
    ck_assert_int_eq(backoff_floor(backoff), 23);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("backoff");
    tcase = tcase_create("backoff");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_doubles);
    tcase_add_test(tcase, test_asking);
    tcase_add_test(tcase, test_leaks);
    tcase_add_test(tcase, test_user);
    tcase_add_test(tcase, test_address);
    tcase_add_test(tcase, test_ipv6);
    tcase_add_test(tcase, test_names);
    tcase_add_test(tcase, test_full);
    tcase_add_test(tcase, test_full_known);
    tcase_add_test(tcase, test_floor);
    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
