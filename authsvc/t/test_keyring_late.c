/*
 * A key that signed longer than the command knew that retired it: its tokens
 * stay good.
 */

#include <check.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "authsvc/t/folder.h"
#include "authsvc/t/ring.h"
#include "authsvc/t/suite.h"


/* authsvc takes over late that a key is retired: the tokens that it signed
 * meanwhile are good until they expire.  However it was kept from it. */
START_TEST(test_late)
{
    char        a[SIGNKEY_KID + 1], b[SIGNKEY_KID + 1], from[64], to[64];
    int64_t     late, until;
    keyring_t  *ring;

    late = NOW + 2 * (TTL + GRACE);
    ck_assert_int_eq(mkdir(folder_path("out"), 0700), 0);
    ring_options.publish = folder_path("out/jwks.json");
    ring_published = ring_options.publish;

    ring_generate(SIGNKEY_EDDSA, a);
    ring_activate(a, NOW);
    ring = ring_open();
    ring_generate(SIGNKEY_EDDSA, b);
    ring_activate(b, NOW);

    snprintf(from, sizeof(from), _i ? "out" : "keys/%s.EdDSA.pem", b);
    snprintf(to, sizeof(to), "away");
    ck_assert_int_eq(rename(folder_path(from), folder_path(to)), 0);
    keyring_check(ring, NOW, 0);
    keyring_check(ring, late, 0);
    ck_assert(ring_signs(ring, a));

    ck_assert_int_eq(rename(folder_path(to), folder_path(from)), 0);
    keyring_check(ring, late, 0);
    ck_assert(ring_signs(ring, b) && ring_publishes(a) && ring_publishes(b));

    /* it is noted for all who read the directory, and stays so */
    until = ring_find(a)->until;
    ck_assert_int_gt(until, late + TTL + GRACE);
    keyring_check(ring, until - 1, 1);
    ck_assert(ring_publishes(a));
    keyring_check(ring, until, 0);
    ck_assert(!ring_publishes(a) && ring_publishes(b));
    ck_assert_ptr_null(ring_find(a));
    keyring_free(ring);
}
END_TEST


/* Nor is it forgotten while the directory cannot be changed. */
START_TEST(test_late_read_only)
{
    char        a[SIGNKEY_KID + 1], b[SIGNKEY_KID + 1];
    int64_t     late;
    keyring_t  *ring;

    late = NOW + 2 * (TTL + GRACE);
    ring_generate(SIGNKEY_EDDSA, a);
    ring_generate(SIGNKEY_EDDSA, b);
    ring_activate(a, NOW);
    ring_read_only(true);
    ring = ring_open();
    ring_read_only(false);
    ring_activate(b, NOW);

    ring_read_only(true);
    keyring_check(ring, late, 0);
    keyring_check(ring, late + 1, 1);
    ck_assert(ring_signs(ring, b) && ring_publishes(a));
    ck_assert_int_eq(ring_find(a)->until, NOW + TTL + GRACE);
    ring_read_only(false);

    keyring_check(ring, late + 2, 0);
    ck_assert_int_gt(ring_find(a)->until, late + TTL + GRACE);

    /* retired at once is gone at once */
    ring_remove(a);
    keyring_check(ring, late + 3, 0);
    ck_assert(!ring_publishes(a));
    keyring_free(ring);
}
END_TEST


/* The process that retired the key was killed before it noted the time. */
START_TEST(test_late_note)
{
    char        a[SIGNKEY_KID + 1], b[SIGNKEY_KID + 1], name[64];
    keyring_t  *ring;

    ring_generate(SIGNKEY_EDDSA, a);
    ring_generate(SIGNKEY_EDDSA, b);
    ring_activate(a, NOW);
    ring = ring_open();
    ring_activate(b, NOW);
    snprintf(name, sizeof(name), "keys/%s.until", a);
    ck_assert_int_eq(unlink(folder_path(name)), 0);
    keyring_check(ring, NOW + 5, 0);
    ck_assert(ring_signs(ring, b) && ring_publishes(a));
    ck_assert_int_ge(ring_find(a)->until, NOW + 5 + TTL);
    ck_assert_int_ne(ring_find(a)->until, KEYDIR_FOREVER);
    keyring_free(ring);
}
END_TEST


/* Another key may go before one that was retired late, while neither time can
 * be noted. */
START_TEST(test_late_order)
{
    char        a[SIGNKEY_KID + 1], b[SIGNKEY_KID + 1], c[SIGNKEY_KID + 1];
    int64_t     late;
    keyring_t  *ring;

    late = NOW + 2 * (TTL + GRACE);
    ring_generate(SIGNKEY_EDDSA, a);
    ring_generate(SIGNKEY_EDDSA, b);
    ring_generate(SIGNKEY_EDDSA, c);
    ring_retire(c, late + 50);
    ring_activate(a, NOW);
    ring = ring_open();
    ring_activate(b, NOW);
    ring_read_only(true);

    keyring_check(ring, late, 0);
    ck_assert(ring_signs(ring, b) && ring_publishes(a) && ring_publishes(c));
    keyring_check(ring, late + 49, 0);
    ck_assert(ring_publishes(c));
    keyring_check(ring, late + 50, 0);
    ck_assert(ring_publishes(a) && !ring_publishes(c));
    ring_read_only(false);
    keyring_free(ring);
}
END_TEST


/* In time, a command's word counts: tokens live as long as it was told. */
START_TEST(test_not_late)
{
    char        a[SIGNKEY_KID + 1], b[SIGNKEY_KID + 1];
    keyring_t  *ring;

    ring_generate(SIGNKEY_EDDSA, a);
    ring_generate(SIGNKEY_EDDSA, b);
    ring_activate(a, NOW);
    ring = ring_open();
    ring_activate(b, NOW);
    keyring_check(ring, NOW + GRACE, 0);
    ck_assert_int_eq(ring_find(a)->until, NOW + TTL + GRACE);
    keyring_free(ring);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("keyring late");
    tcase = tcase_create("late");
    tcase_add_checked_fixture(tcase, ring_setup, ring_teardown);
    tcase_add_loop_test(tcase, test_late, 0, 2);
    tcase_add_test(tcase, test_late_read_only);
    tcase_add_test(tcase, test_late_note);
    tcase_add_test(tcase, test_late_order);
    tcase_add_test(tcase, test_not_late);
    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
