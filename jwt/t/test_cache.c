/* The cache of verified tokens. */

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jwt/cache.h"


#define NOW   1000
#define DATA  5                         /* what put() needs */


static void
put(ms_cache_t *cache, const char *token, const char *session, int64_t expires)
{
    ms_cache_key_t    key;
    ms_cache_value_t  value;

    value.session = session;
    value.session_len = strlen(session);
    value.data = "admin";
    value.data_len = 5;
    value.expires = expires;

    ck_assert_int_eq(ms_cache_key(cache, token, strlen(token), &key), 0);
    ms_cache_put(cache, &key, NOW, &value);
}


/* the session of a token or NULL */
static const char *
get(ms_cache_t *cache, const char *token, int64_t now)
{
    static char       session[MS_CACHE_SESSION + 1];
    ms_cache_key_t    key;
    ms_cache_value_t  value;

    ck_assert_int_eq(ms_cache_key(cache, token, strlen(token), &key), 0);

    if (!ms_cache_find(cache, &key, now, &value)) {
        return NULL;
    }

    ck_assert_uint_eq(value.data_len, 5);
    ck_assert_mem_eq(value.data, "admin", 5);
    memcpy(session, value.session, value.session_len);
    session[value.session_len] = '\0';

    return session;
}


START_TEST(test_find)
{
    ms_cache_t        *cache;
    ms_cache_stats_t   stats;

    cache = ms_cache_create(4, DATA);
    ck_assert_ptr_nonnull(cache);

    ck_assert_ptr_null(get(cache, "token", NOW));
    put(cache, "token", "s1", NOW + 10);
    ck_assert_str_eq(get(cache, "token", NOW), "s1");
    ck_assert_ptr_null(get(cache, "tokeN", NOW));
    ck_assert_ptr_null(get(cache, "toke", NOW));
    ck_assert_ptr_null(get(cache, "", NOW));

    put(cache, "token", "s2", NOW + 10);
    ck_assert_str_eq(get(cache, "token", NOW), "s2");

    stats = ms_cache_stats(cache);
    ck_assert_uint_eq(stats.hits, 2);
    ck_assert_uint_eq(stats.misses, 4);
    ck_assert_uint_eq(stats.used, 1);
    ck_assert_uint_eq(stats.evictions, 0);

    ms_cache_flush(cache);
    ck_assert_ptr_null(get(cache, "token", NOW));
    ck_assert_uint_eq(ms_cache_stats(cache).used, 0);
    put(cache, "token", "s3", NOW + 10);
    ck_assert_str_eq(get(cache, "token", NOW), "s3");

    ms_cache_free(cache);
    ms_cache_free(NULL);
}
END_TEST


START_TEST(test_expiry)
{
    ms_cache_t  *cache;

    cache = ms_cache_create(2, DATA);

    put(cache, "a", "s", NOW + 10);
    ck_assert_str_eq(get(cache, "a", NOW + 9), "s");
    ck_assert_ptr_null(get(cache, "a", NOW + 10));
    ck_assert_uint_eq(ms_cache_stats(cache).used, 0);
    ck_assert_ptr_null(get(cache, "a", NOW + 9));

    put(cache, "b", "s", NOW);
    put(cache, "b", "s", NOW - 1);
    ck_assert_ptr_null(get(cache, "b", NOW - 2));
    put(cache, "b", "s", NOW + 1);
    ck_assert_str_eq(get(cache, "b", NOW), "s");

    ms_cache_free(cache);
}
END_TEST


START_TEST(test_lru)
{
    ms_cache_t  *cache;

    cache = ms_cache_create(3, DATA);

    put(cache, "a", "sa", NOW + 10);
    put(cache, "b", "sb", NOW + 10);
    put(cache, "c", "sc", NOW + 10);
    ck_assert_str_eq(get(cache, "a", NOW), "sa");
    put(cache, "d", "sd", NOW + 10);

    ck_assert_ptr_null(get(cache, "b", NOW));
    ck_assert_str_eq(get(cache, "c", NOW), "sc");
    ck_assert_str_eq(get(cache, "d", NOW), "sd");
    ck_assert_str_eq(get(cache, "a", NOW), "sa");
    ck_assert_uint_eq(ms_cache_stats(cache).evictions, 1);

    /* putting again is a use, too */
    put(cache, "c", "sc", NOW + 10);
    put(cache, "e", "se", NOW + 10);
    ck_assert_ptr_null(get(cache, "d", NOW));
    ck_assert_str_eq(get(cache, "c", NOW), "sc");

    ms_cache_free(cache);
}
END_TEST


START_TEST(test_limits)
{
    char         longest[MS_CACHE_SESSION + 2];
    ms_cache_t  *cache;

    ck_assert_ptr_null(ms_cache_create(0, DATA));
    ck_assert_ptr_null(ms_cache_create((1 << 24) + 1, DATA));
    ck_assert_ptr_null(ms_cache_create(1, MS_CACHE_DATA + 1));

    cache = ms_cache_create(3, DATA - 1);
    put(cache, "a", "s", NOW + 10);
    ck_assert_ptr_null(get(cache, "a", NOW));
    ms_cache_free(cache);

    cache = ms_cache_create(1, DATA);
    memset(longest, 's', sizeof(longest));

    longest[MS_CACHE_SESSION + 1] = '\0';
    put(cache, "a", longest, NOW + 10);
    ck_assert_ptr_null(get(cache, "a", NOW));

    longest[MS_CACHE_SESSION] = '\0';
    put(cache, "a", longest, NOW + 10);
    ck_assert_str_eq(get(cache, "a", NOW), longest);

    put(cache, "b", "s", NOW + 10);
    ck_assert_str_eq(get(cache, "b", NOW), "s");
    ck_assert_ptr_null(get(cache, "a", NOW));

    ms_cache_free(cache);
}
END_TEST


/* 40000 steps against a plain array ordered by use. */
START_TEST(test_model)
{
    enum { ENTRIES = 13, TOKENS = 40 };

    int          i, j, n, pick, model[ENTRIES + 1];
    bool         found;
    char         token[16];
    unsigned     seed;
    ms_cache_t  *cache;

    cache = ms_cache_create(ENTRIES, DATA);
    n = 0;
    seed = 1;

    for (i = 0; i < 40000; i++) {
        seed = seed * 1103515245 + 12345;
        pick = (int) (seed >> 16) % TOKENS;
        snprintf(token, sizeof(token), "t%d", pick);

        for (j = 0; j < n && model[j] != pick; j++) { /* void */ }
        found = j < n;

        if (!found && (seed >> 8) % 2) {
            put(cache, token, token, NOW + 1);
            j = n < ENTRIES ? n++ : n - 1;
            found = true;

        } else {
            ck_assert_int_eq(get(cache, token, NOW) != NULL, found);
        }

        if (found) {
            memmove(model + 1, model, (size_t) j * sizeof(int));
            model[0] = pick;
        }

        ck_assert_uint_eq(ms_cache_stats(cache).used, n);
    }

    ms_cache_free(cache);
}
END_TEST


/* Every byte of a token counts, hashed or not, kept or digested. */
START_TEST(test_every_byte)
{
    char         token[2049];
    size_t       i, j;
    ms_cache_t  *cache;

    static const size_t  sizes[] = { 1, 31, 32, 33, 300, 1024, 1025, 2048 };

    cache = ms_cache_create(4, DATA);

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        memset(token, 'a', sizeof(token));
        token[sizes[i]] = '\0';
        put(cache, token, "s", NOW + 10);
        ck_assert_str_eq(get(cache, token, NOW), "s");

        for (j = 0; j < sizes[i]; j++) {
            token[j] = 'b';
            ck_assert_ptr_null(get(cache, token, NOW));
            token[j] = 'a';
        }
    }

    ms_cache_free(cache);
}
END_TEST


/* Tokens that differ only in what is not hashed share a bucket. */
START_TEST(test_same_tail)
{
    int          i;
    char         token[200], session[8];
    ms_cache_t  *cache;

    cache = ms_cache_create(3, DATA);
    memset(token, 'a', sizeof(token));
    token[sizeof(token) - 1] = '\0';

    for (i = 0; i < 5; i++) {
        token[0] = (char) ('0' + i);
        snprintf(session, sizeof(session), "s%d", i);
        put(cache, token, session, NOW + 10);
    }

    for (i = 0; i < 5; i++) {
        token[0] = (char) ('0' + i);
        snprintf(session, sizeof(session), "s%d", i);

        if (i < 2) {
            ck_assert_ptr_null(get(cache, token, NOW));
        } else {
            ck_assert_str_eq(get(cache, token, NOW), session);
        }
    }

    /* the middle one of the chain expires */
    token[0] = '3';
    ck_assert_ptr_null(get(cache, token, NOW + 10));
    token[0] = '2';
    ck_assert_str_eq(get(cache, token, NOW), "s2");
    token[0] = '4';
    ck_assert_str_eq(get(cache, token, NOW), "s4");
    ms_cache_free(cache);
}
END_TEST


/* Two caches never agree on a key: it cannot be precomputed. */
START_TEST(test_keyed)
{
    ms_cache_t      *one, *two;
    ms_cache_key_t   a, b, c;

    one = ms_cache_create(1, DATA);
    two = ms_cache_create(1, DATA);

    ck_assert_int_eq(ms_cache_key(one, "t", 1, &a), 0);
    ck_assert_int_eq(ms_cache_key(two, "t", 1, &b), 0);
    ck_assert_int_eq(ms_cache_key(one, "t", 1, &c), 0);
    ck_assert_uint_ne(a.hash, b.hash);
    ck_assert_uint_eq(a.hash, c.hash);

    ms_cache_free(one);
    ms_cache_free(two);
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("cache");
    tcase = tcase_create("cache");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_find);
    tcase_add_test(tcase, test_expiry);
    tcase_add_test(tcase, test_lru);
    tcase_add_test(tcase, test_limits);
    tcase_add_test(tcase, test_model);
    tcase_add_test(tcase, test_every_byte);
    tcase_add_test(tcase, test_same_tail);
    tcase_add_test(tcase, test_keyed);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? 0 : 1;
}
