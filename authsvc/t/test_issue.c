/*
 * The tokens, checked by the verifier of the gateway, and the key file.
 */

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <sodium.h>

#include "authsvc/issue.h"
#include "authsvc/keyfile.h"
#include "authsvc/t/folder.h"
#include "jwt/token.h"
#include "rpc/log.h"


#define SECRET  "0123456789abcdef0123456789abcdef"
#define NOW     1700000000

#define ROUNDS     50
#define PROCESSES  4


static char  error[512];

static issuer_t  issuer = {
    .issuer = "myservice",
    .ttl = 3600
};


static void
setup(void)
{
    ck_assert_int_ge(sodium_init(), 0);
    log_open("test", LOG_LEVEL_ERROR);
    folder_create();
    issuer.keys = keyring_fixed(signkey_secret(SECRET, strlen(SECRET), NULL));
    ck_assert_ptr_nonnull(issuer.keys);
}


static void
teardown(void)
{
    keyring_free(issuer.keys);
    folder_remove();
}


static ms_token_reason_t
verify(const char *text, int64_t now, ms_token_t *token)
{
    ms_keys_t                *keys;
    ms_token_reason_t         reason;
    const ms_token_rules_t    rules = {
        .session_claim = "session_id", .issuer = "myservice"
    };

    keys = ms_keys_from_secret(SECRET, strlen(SECRET), NULL, error,
                               sizeof(error));
    ck_assert_ptr_nonnull(keys);
    reason = ms_token_verify(keys, text, strlen(text), &rules, now, token);
    ms_keys_free(keys);

    return reason;
}


static const char *
text_claim(const ms_token_t *token, const char *name)
{
    const char  *text;

    text = json_string_value(json_object_get(token->claims, name));
    ck_assert_ptr_nonnull(text);

    return text;
}


START_TEST(test_claims)
{
    issue_t      issued;
    ms_token_t   token;
    const char  *text;

    ck_assert_int_eq(issue_token(&issuer, "J\xc3\xb6rg \"x\"", "admin", "s-1",
                                 NOW, &issued), 0);
    ck_assert_int_eq(issued.expires, NOW + 3600);
    ck_assert_str_eq(issued.kid, "");
    text = issued.text;

    ck_assert_int_eq(verify(text, NOW, &token), MS_TOKEN_OK);
    ck_assert_str_eq(token.session, "s-1");
    ck_assert_int_eq(token.expires, issued.expires);
    ck_assert_str_eq(text_claim(&token, "sub"), "J\xc3\xb6rg \"x\"");
    ck_assert_str_eq(text_claim(&token, "role"), "admin");
    ck_assert_str_eq(text_claim(&token, "session_id"), "s-1");
    ck_assert_str_eq(text_claim(&token, "iss"), "myservice");
    ck_assert_int_eq(json_integer_value(json_object_get(token.claims, "iat")),
                     NOW);
    ck_assert_int_eq(json_integer_value(json_object_get(token.claims, "nbf")),
                     NOW);
    ck_assert_str_eq(text_claim(&token, "jti"), issued.jti);
    ck_assert_uint_eq(strspn(text_claim(&token, "jti"), "0123456789abcdef"),
                      32);
    ck_assert_uint_eq(strlen(text_claim(&token, "jti")), 32);
    ck_assert_uint_eq(json_object_size(token.claims), 8);
    ms_token_free(&token);

    ck_assert_int_eq(verify(text, NOW + 3599, &token), MS_TOKEN_OK);
    ms_token_free(&token);
    ck_assert_int_eq(verify(text, NOW + 3600, &token), MS_TOKEN_EXPIRED);
    ck_assert_int_eq(verify(text, NOW - 1, &token), MS_TOKEN_NOT_YET);
    free(issued.text);
}
END_TEST


START_TEST(test_unique)
{
    issue_t  one, two;

    ck_assert_int_eq(issue_token(&issuer, "u", "r", "s", NOW, &one), 0);
    ck_assert_int_eq(issue_token(&issuer, "u", "r", "s", NOW, &two), 0);
    ck_assert_str_ne(one.text, two.text);
    ck_assert_str_ne(one.jti, two.jti);
    free(one.text);
    free(two.text);
}
END_TEST


START_TEST(test_longest)
{
    char         user[129], role[65], session[257];
    issue_t      issued;
    ms_token_t   token;

    memset(user, 'u', 128);
    user[128] = '\0';
    memset(role, 'r', 64);
    role[64] = '\0';
    memset(session, '"', 256);
    session[256] = '\0';

    ck_assert_int_eq(issue_token(&issuer, user, role, session, NOW, &issued),
                     0);
    ck_assert_int_eq(verify(issued.text, NOW, &token), MS_TOKEN_OK);
    ck_assert_str_eq(token.session, session);
    ms_token_free(&token);
    free(issued.text);
}
END_TEST


START_TEST(test_unsigned)
{
    issue_t  issued;

    ck_assert_ptr_null(keyring_fixed(signkey_secret("", 0, NULL)));
    ck_assert_int_eq(issue_token(&issuer, "\xff", "r", "s", NOW, &issued), -1);
    ck_assert_ptr_null(issued.text);
}
END_TEST


START_TEST(test_create)
{
    secret_t      one, two;
    struct stat   st;
    const char   *path;

    umask(0);
    path = folder_path("key");

    ck_assert_int_eq(keyfile_create(path, error, sizeof(error)), 0);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    ck_assert_int_eq(st.st_size, 65);
    ck_assert_int_eq(keyfile_load(path, &one, error, sizeof(error)), 0);
    ck_assert_uint_eq(one.len, 64);

    /* what is there stays */
    ck_assert_int_eq(keyfile_create(path, error, sizeof(error)), 0);
    ck_assert_int_eq(keyfile_load(path, &two, error, sizeof(error)), 0);
    ck_assert_mem_eq(one.bytes, two.bytes, 64);

    path = folder_path("other");
    ck_assert_int_eq(keyfile_create(path, error, sizeof(error)), 0);
    ck_assert_int_eq(keyfile_load(path, &two, error, sizeof(error)), 0);
    ck_assert_mem_ne(one.bytes, two.bytes, 64);

    ck_assert_int_eq(keyfile_create("/nonexistent/key", error, sizeof(error)),
                     -1);
    ck_assert_str_eq(error, "key file \"/nonexistent/key\": "
                     "No such file or directory");
}
END_TEST


static const struct {
    size_t       len;
    const char  *tail;
    const char  *error;                 /* NULL: accepted */
} files[] = {
    { 32, "", NULL },
    { 32, "\n", NULL },
    { 4096, "\n", NULL },
    { 0, "", "the secret must have 32 to 4096 bytes, has 0" },
    { 31, "\n", "the secret must have 32 to 4096 bytes, has 31" },
    { 4097, "", "the secret must have 32 to 4096 bytes, has at least 4097" },
    { 9999, "", "the secret must have 32 to 4096 bytes, has at least 4098" }
};


/* In the folder, hidden ones too. */
static int
count_files(void)
{
    int             n;
    DIR            *dir;
    struct dirent  *entry;

    dir = opendir(folder_path("."));
    ck_assert_ptr_nonnull(dir);

    for (n = -2; (entry = readdir(dir)) != NULL; n++) { /* void */ }

    closedir(dir);

    return n;
}


/* Several authsvc may start at once: each gets the same whole secret. */
START_TEST(test_create_race)
{
    int          i, j, status, gate[2];
    char         name[32], byte;
    pid_t        pid;
    secret_t     secret;
    const char  *path;

    for (i = 0; i < ROUNDS; i++) {
        snprintf(name, sizeof(name), "key%d", i);
        path = folder_path(name);
        ck_assert_int_eq(pipe(gate), 0);

        for (j = 0; j < PROCESSES; j++) {
            pid = fork();
            ck_assert_int_ge(pid, 0);
            if (pid == 0) {
                close(gate[1]);
                (void) !read(gate[0], &byte, 1);
                _exit(keyfile_create(path, error, sizeof(error)) == 0
                      && keyfile_load(path, &secret, error, sizeof(error)) == 0
                      ? 0 : 1);
            }
        }

        /* all at once */
        close(gate[0]);
        close(gate[1]);

        for (j = 0; j < PROCESSES; j++) {
            ck_assert_int_gt(wait(&status), 0);
            ck_assert_int_eq(status, 0);
        }
    }

    ck_assert_int_eq(count_files(), ROUNDS);
}
END_TEST


START_TEST(test_load)
{
    int         rc;
    char        data[10000], expected[512];
    secret_t    secret;
    ms_keys_t  *keys;

    memset(data, 'k', sizeof(data));
    strcpy(data + files[_i].len, files[_i].tail);
    folder_write("key", data, files[_i].len + strlen(files[_i].tail), 0600);

    rc = keyfile_load(folder_path("key"), &secret, error, sizeof(error));

    /* the gateway takes the same files */
    keys = ms_keys_from_secret_file(folder_path("key"), NULL, expected,
                                    sizeof(expected));
    ck_assert_int_eq(keys != NULL, rc == 0);
    ms_keys_free(keys);

    if (files[_i].error == NULL) {
        ck_assert_int_eq(rc, 0);
        ck_assert_uint_eq(secret.len, files[_i].len);
        ck_assert_mem_eq(secret.bytes, data, secret.len);
        return;
    }

    ck_assert_int_eq(rc, -1);
    snprintf(expected, sizeof(expected), "key file \"%s\": %s",
             folder_path("key"), files[_i].error);
    ck_assert_str_eq(error, expected);
}
END_TEST


START_TEST(test_unreadable)
{
    secret_t  secret;

    ck_assert_int_eq(keyfile_load(folder_path("none"), &secret, error,
                                  sizeof(error)), -1);
    ck_assert_ptr_nonnull(strstr(error, "none\": No such file or directory"));
    ck_assert_int_eq(keyfile_load("/tmp", &secret, error, sizeof(error)), -1);
    ck_assert_str_eq(error, "key file \"/tmp\": Is a directory");
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("issue");
    tcase = tcase_create("issue");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_claims);
    tcase_add_test(tcase, test_unique);
    tcase_add_test(tcase, test_longest);
    tcase_add_test(tcase, test_unsigned);
    tcase_add_test(tcase, test_create);
    tcase_add_test(tcase, test_create_race);
    tcase_add_loop_test(tcase, test_load, 0,
                        sizeof(files) / sizeof(files[0]));
    tcase_add_test(tcase, test_unreadable);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? 0 : 1;
}
