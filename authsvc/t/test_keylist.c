#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sodium.h>

#include "authsvc/keylist.h"


#define NOW  INT64_C(1700000000)


static keylist_t  keys;
static char       a[SIGNKEY_KID + 1], b[SIGNKEY_KID + 1], error[256];


static void
add(char *kid, signkey_alg_t alg)
{
    signkey_t  *key;

    key = signkey_generate(alg);
    strcpy(kid, signkey_kid(key));
    ck_assert_int_eq(keylist_add(&keys, key, NOW), KEYLIST_OK);
    ck_assert_int_eq(keylist_add(&keys, key, NOW), KEYLIST_EXISTS);
    signkey_unref(key);
}


static void
setup(void)
{
    ck_assert_int_ge(sodium_init(), 0);
    memset(&keys, 0, sizeof(keys));
    add(a, SIGNKEY_HS256);
    add(b, SIGNKEY_ES256);
}


static keylist_state_t
state(const char *kid)
{
    return keylist_find(&keys, kid)->state;
}


START_TEST(test_rotation)
{
    ck_assert_ptr_null(keylist_active(&keys));
    ck_assert_int_eq(state(a), KEYLIST_READY);

    ck_assert_int_eq(keylist_activate(&keys, a, NOW, 100, 10), KEYLIST_OK);
    ck_assert_str_eq(keylist_active(&keys)->kid, a);
    ck_assert_int_eq(keylist_activate(&keys, a, NOW, 100, 10), KEYLIST_DONE);
    ck_assert(keylist_until(keylist_find(&keys, a)) == INT64_MAX);

    ck_assert_int_eq(keylist_activate(&keys, b, NOW + 5, 100, 10), KEYLIST_OK);
    ck_assert_str_eq(keylist_active(&keys)->kid, b);
    ck_assert_int_eq(state(a), KEYLIST_RETIRED);
    ck_assert_int_eq(keylist_until(keylist_find(&keys, a)), NOW + 115);

    ck_assert(!keylist_prune(&keys, NOW + 114));
    ck_assert_uint_eq(keys.n, 2);
    ck_assert(keylist_prune(&keys, NOW + 115));
    ck_assert_uint_eq(keys.n, 1);
    ck_assert_ptr_null(keylist_find(&keys, a));
    ck_assert(!keylist_prune(&keys, INT64_MAX - 1));
}
END_TEST


/* What authsvc noted counts, not what the command was told. */
START_TEST(test_ttl)
{
    ck_assert(!keylist_ttl(&keys, 50));
    ck_assert_int_eq(keylist_activate(&keys, a, NOW, 100, 10), KEYLIST_OK);
    ck_assert(keylist_ttl(&keys, 50));
    ck_assert(!keylist_ttl(&keys, 50));
    ck_assert(keylist_ttl(&keys, 70));
    ck_assert(!keylist_ttl(&keys, 60));

    ck_assert_int_eq(keylist_activate(&keys, b, NOW, 100, 10), KEYLIST_OK);
    ck_assert_int_eq(keylist_until(keylist_find(&keys, a)), NOW + 80);
}
END_TEST


START_TEST(test_later)
{
    keylist_t  other;

    ck_assert_int_eq(keylist_activate(&keys, a, NOW, 100, 10), KEYLIST_OK);
    other = keys;
    ck_assert(!keylist_later(&keys, &other));
    ck_assert_int_eq(keylist_activate(&other, b, NOW + 9, 100, 10),
                     KEYLIST_OK);
    ck_assert(!keylist_later(&keys, &other));

    ck_assert_int_eq(keylist_activate(&keys, b, NOW + 5, 100, 10), KEYLIST_OK);
    ck_assert(!keylist_later(&other, &keys));
    ck_assert(keylist_later(&keys, &other));
    ck_assert(!keylist_later(&keys, &other));
    ck_assert_int_eq(keylist_until(keylist_find(&keys, a)), NOW + 119);
    ck_assert_int_eq(keylist_active(&keys)->retired, 0);

    /* gone is gone */
    ck_assert_int_eq(keylist_retire(&keys, a, true), KEYLIST_OK);
    ck_assert(!keylist_later(&keys, &other));
    ck_assert_ptr_null(keylist_find(&keys, a));
}
END_TEST


START_TEST(test_back)
{
    ck_assert_int_eq(keylist_activate(&keys, a, NOW, 100, 10), KEYLIST_OK);
    ck_assert_int_eq(keylist_activate(&keys, b, NOW, 100, 10), KEYLIST_OK);
    ck_assert_int_eq(keylist_activate(&keys, a, NOW + 9, 100, 10), KEYLIST_OK);
    ck_assert_int_eq(state(a), KEYLIST_ACTIVE);
    ck_assert_int_eq(state(b), KEYLIST_RETIRED);
    ck_assert(keylist_until(keylist_find(&keys, a)) == INT64_MAX);
    ck_assert(!keylist_prune(&keys, NOW + 118));
    ck_assert(keylist_prune(&keys, NOW + 119));
    ck_assert_str_eq(keylist_active(&keys)->kid, a);
}
END_TEST


START_TEST(test_retire)
{
    ck_assert_int_eq(keylist_retire(&keys, "x", false), KEYLIST_MISSING);
    ck_assert_int_eq(keylist_activate(&keys, "x", NOW, 1, 1), KEYLIST_MISSING);

    ck_assert_int_eq(keylist_activate(&keys, a, NOW, 100, 10), KEYLIST_OK);
    ck_assert_int_eq(keylist_retire(&keys, a, false), KEYLIST_IN_USE);
    ck_assert_int_eq(keylist_retire(&keys, a, true), KEYLIST_IN_USE);

    ck_assert_int_eq(keylist_activate(&keys, b, NOW, 100, 10), KEYLIST_OK);
    ck_assert_int_eq(keylist_retire(&keys, a, false), KEYLIST_DONE);
    ck_assert_ptr_nonnull(keylist_find(&keys, a));
    ck_assert_int_eq(keylist_retire(&keys, a, true), KEYLIST_OK);
    ck_assert_ptr_null(keylist_find(&keys, a));

    add(a, SIGNKEY_EDDSA);
    ck_assert_int_eq(keylist_retire(&keys, a, false), KEYLIST_OK);
    ck_assert_uint_eq(keys.n, 1);
}
END_TEST


START_TEST(test_full)
{
    char        kid[SIGNKEY_KID + 1];
    signkey_t  *key;

    while (keys.n < KEYLIST_MAX) {
        add(kid, SIGNKEY_HS256);
    }

    key = signkey_generate(SIGNKEY_HS256);
    ck_assert_int_eq(keylist_add(&keys, key, NOW), KEYLIST_FULL);
    signkey_unref(key);
}
END_TEST


START_TEST(test_text)
{
    char       *text, *again;
    keylist_t   copy;

    ck_assert_int_eq(keylist_activate(&keys, a, NOW, 100, 10), KEYLIST_OK);
    ck_assert_int_eq(keylist_activate(&keys, b, NOW + 5, 100, 10), KEYLIST_OK);
    keylist_find(&keys, b)->ttl = 7;

    text = keylist_write(&keys);
    ck_assert_int_eq(keylist_read(&copy, text, strlen(text), error,
                                  sizeof(error)), 0);
    again = keylist_write(&copy);
    ck_assert_str_eq(text, again);
    ck_assert_uint_eq(copy.n, 2);
    ck_assert_int_eq(keylist_until(keylist_find(&copy, a)), NOW + 115);
    free(text);
    free(again);
}
END_TEST


#define KID    "0123456789abcdef0123456789abcdef0123456789-"
#define KEY(kid, alg, state, created)                                         \
    "{\"kid\":\"" kid "\",\"alg\":\"" alg "\",\"state\":\"" state "\","       \
    "\"created\":" created ",\"activated\":0,\"retired\":0,\"ttl\":0,"        \
    "\"grace\":0}"
#define LIST(keys)  "{\"version\":1,\"keys\":[" keys "]}"

static const struct {
    const char  *text;
    const char  *error;                 /* NULL: accepted */
} texts[] = {
    { LIST(""), NULL },
    { LIST(KEY(KID, "ES256", "ready", "1")), NULL },
    { "", "line 1: '[' or '{' expected near end of file" },
    { "{", "line 1: string or '}' expected near end of file" },
    { "[]", "not a list of keys of version 1" },
    { "{\"version\":2,\"keys\":[]}", "not a list of keys of version 1" },
    { "{\"version\":1,\"keys\":{}}", "not a list of keys of version 1" },
    { LIST("1"), "key 1: a member is missing or of the wrong type" },
    { LIST("{}"), "key 1: a member is missing or of the wrong type" },
    { LIST(KEY(KID, "ES256", "ready", "\"1\"")),
      "key 1: a member is missing or of the wrong type" },
    { LIST(KEY(KID, "ES256", "ready", "-1")),
      "key 1: a time is out of range" },
    { LIST(KEY(KID, "ES256", "ready", "9000000000000000000")),
      "key 1: a time is out of range" },
    { LIST(KEY(KID, "none", "ready", "1")), "key 1: unknown \"alg\"" },
    { LIST(KEY(KID, "ES256", "gone", "1")), "key 1: unknown \"state\"" },
    { LIST(KEY("../" KID, "ES256", "ready", "1")), "key 1: bad \"kid\"" },
    { LIST(KEY("../456789abcdef0123456789abcdef0123456789-x", "ES256",
               "ready", "1")), "key 1: bad \"kid\"" },
    { LIST(KEY(KID, "ES256", "ready", "1") ","
           KEY(KID, "ES256", "ready", "1")), "key 2: the same \"kid\" again" },
    { LIST(KEY(KID, "ES256", "active", "1") ","
           KEY("x123456789abcdef0123456789abcdef0123456789-", "ES256",
               "active", "1")), "key 2: a second active key" }
};


START_TEST(test_texts)
{
    int  rc;

    rc = keylist_read(&keys, texts[_i].text, strlen(texts[_i].text), error,
                      sizeof(error));
    ck_assert_int_eq(rc, texts[_i].error == NULL ? 0 : -1);
    ck_assert(texts[_i].error == NULL || strcmp(error, texts[_i].error) == 0);
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("keylist");
    tcase = tcase_create("keylist");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, test_rotation);
    tcase_add_test(tcase, test_ttl);
    tcase_add_test(tcase, test_later);
    tcase_add_test(tcase, test_back);
    tcase_add_test(tcase, test_retire);
    tcase_add_test(tcase, test_full);
    tcase_add_test(tcase, test_text);
    tcase_add_loop_test(tcase, test_texts, 0,
                        sizeof(texts) / sizeof(texts[0]));
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? 0 : 1;
}
