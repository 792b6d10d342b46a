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

    set = ms_keys_from_secret_file(path, error, sizeof(error));
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


START_TEST(test_no_file)
{
    char  error[256];

    ck_assert_ptr_null(ms_keys_from_secret_file("/nonexistent/key", error,
                                                sizeof(error)));
    ck_assert_str_eq(error, "key file \"/nonexistent/key\": "
                     "No such file or directory");
    ck_assert_ptr_null(ms_keys_from_secret_file("/tmp", error,
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
    tcase_add_test(tcase, test_no_file);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? 0 : 1;
}
