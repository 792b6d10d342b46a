/* Sets of keys: how they are joined and found. */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "jwt/keys.h"


static const struct {
    size_t       len;                   /* of the secret, before the tail */
    const char  *tail;
    const char  *error;                 /* NULL: accepted */
} files[] = {
    { 32, "", NULL },
    { 32, "\n", NULL },
    { 4096, "", NULL },
    { 4096, "\n", NULL },
    { 31, "\n\n", NULL },               /* only one newline is not secret */
    { 0, "", "the secret has 0 bytes, must have 32 to 4096" },
    { 31, "", "the secret has 31 bytes, must have 32 to 4096" },
    { 31, "\n", "the secret has 31 bytes, must have 32 to 4096" },
    { 4097, "", "the secret has more than 4096 bytes" },
    { 4096, "\n\n", "the secret has more than 4096 bytes" },
    { 100000, "", "the secret has more than 4096 bytes" }
};


START_TEST(test_files)
{
    int         fd;
    char        path[] = "/tmp/test_token.XXXXXX", error[256], expected[256];
    char       *data;
    size_t      len, tail;
    ms_keys_t  *set;

    len = files[_i].len;
    tail = strlen(files[_i].tail);
    data = malloc(len + tail + 1);
    memset(data, 'k', len);
    memcpy(data + len, files[_i].tail, tail + 1);

    fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, data, len + tail), len + tail);
    close(fd);

    set = ms_keys_from_secret_file(path, NULL, error, sizeof(error));
    unlink(path);
    free(data);

    if (files[_i].error == NULL) {
        ck_assert_ptr_nonnull(set);
        ms_keys_free(set);
        return;
    }

    ck_assert_ptr_null(set);
    snprintf(expected, sizeof(expected), "key file \"%s\": %s", path,
             files[_i].error);
    ck_assert_str_eq(error, expected);
}
END_TEST


/* One key for each algorithm that is allowed; HS256 when nothing is said. */
START_TEST(test_options)
{
    char                error[256], secret[64];
    size_t              i;
    ms_keys_t          *set;
    ms_keys_options_t   options;

    static const struct {
        size_t       len;
        uint32_t     algorithms;
        size_t       n;
        const char  *error;
    } table[] = {
        { 32, 0, 1, NULL },
        { 32, MS_ALG_BIT(MS_ALG_HS256) | MS_ALG_BIT(MS_ALG_RS256), 1, NULL },
        { 48, MS_ALG_BIT(MS_ALG_HS384), 1, NULL },
        { 64, MS_ALG_HS, 3, NULL },
        { 64, MS_ALG_ALL, 3, NULL },
        { 47, MS_ALG_BIT(MS_ALG_HS384), 0,
          "the secret has 47 bytes, must have 48 for HS384" },
        { 63, MS_ALG_HS, 0, "the secret has 63 bytes, must have 64 for "
          "HS512" },
        { 64, MS_ALG_BIT(MS_ALG_RS256), 0, "a secret is for HS256, HS384 or "
          "HS512, none of which is allowed" }
    };

    memset(secret, 'k', sizeof(secret));

    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        options.algorithms = table[i].algorithms;
        set = ms_keys_from_secret(secret, table[i].len, &options, error,
                                  sizeof(error));

        if (table[i].error == NULL) {
            ck_assert_ptr_nonnull(set);
            ck_assert_uint_eq(ms_keys_count(set), table[i].n);
            ms_keys_free(set);

        } else {
            ck_assert_ptr_null(set);
            ck_assert_str_eq(error, table[i].error);
        }
    }

    set = ms_keys_from_secret(secret, 32, NULL, error, sizeof(error));
    ck_assert_uint_eq(ms_keys_count(set), 1);
    ms_keys_free(set);
}
END_TEST


START_TEST(test_no_file)
{
    char  error[256];

    ck_assert_ptr_null(ms_keys_from_secret_file("/nonexistent/key", NULL,
                                                error, sizeof(error)));
    ck_assert_str_eq(error, "key file \"/nonexistent/key\": "
                     "No such file or directory");
    ck_assert_ptr_null(ms_keys_from_secret_file("/tmp", NULL, error,
                                                sizeof(error)));
    ck_assert_str_eq(error, "key file \"/tmp\": Is a directory");
    ms_keys_free(NULL);
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("keys");
    tcase = tcase_create("keys");
    tcase_add_loop_test(tcase, test_files, 0,
                        sizeof(files) / sizeof(files[0]));
    tcase_add_test(tcase, test_options);
    tcase_add_test(tcase, test_no_file);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? 0 : 1;
}
