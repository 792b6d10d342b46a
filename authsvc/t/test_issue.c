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

#include "authsvc/keys/issue.h"
#include "authsvc/t/folder.h"
#include "authsvc/t/suite.h"
#include "jwt/token.h"
#include "rpc/log.h"


#define SECRET  "0123456789abcdef0123456789abcdef"
#define NOW     1700000000

#define ROUNDS     50
#define PROCESSES  4


static char  error[KEYDIR_ERROR];

static issuer_t  issuer = {
    .issuer = "myservice",
    .ttl = 3600
};


static void
setup(void)
{
    signkey_t  key = { .alg = SIGNKEY_HS256 };

    ck_assert_int_ge(sodium_init(), 0);
    log_open("test", LOG_LEVEL_ERROR);
    folder_create();
    ck_assert_int_eq(signkey_read(&key, SECRET, strlen(SECRET), error,
                                  sizeof(error)), 0);
    issuer.keys = keyring_fixed(&key);
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

    ck_assert_int_eq(issue_token(&issuer, "\xff", "r", "s", NOW, &issued), -1);
    ck_assert_ptr_null(issued.text);
}
END_TEST


/* The secret of a ring with this file, 0 if there is none. */
static size_t
secret(const char *path, int create, unsigned char out[SIGNKEY_PEM])
{
    size_t                   len;
    keyring_t               *ring;
    signkey_t                key;
    const keyring_options_t  options = { .file = path, .create = create };

    ring = keyring_open(&options, 60, NOW, error, sizeof(error));
    if (ring == NULL) {
        return 0;
    }

    keyring_take(ring, &key);
    len = SIGNKEY_PEM;
    ck_assert_int_eq(EVP_PKEY_get_raw_private_key(key.pkey, out, &len), 1);
    ck_assert_str_eq(key.kid, "");
    signkey_free(&key);
    keyring_free(ring);

    return len;
}


START_TEST(test_create)
{
    struct stat     st;
    const char     *path;
    unsigned char   one[SIGNKEY_PEM], two[SIGNKEY_PEM];

    umask(0);
    path = folder_path("key");

    ck_assert_uint_eq(secret(path, 0, one), 0);
    ck_assert_uint_eq(secret(path, 1, one), 64);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    ck_assert_int_eq(st.st_size, 65);

    /* what is there stays */
    ck_assert_uint_eq(secret(path, 1, two), 64);
    ck_assert_mem_eq(one, two, 64);

    ck_assert_uint_eq(secret(folder_path("other"), 1, two), 64);
    ck_assert_mem_ne(one, two, 64);

    ck_assert_uint_eq(secret("/nonexistent/key", 1, two), 0);
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
    { 4097, "", "the secret must have 32 to 4096 bytes, has 4097" },
    { 9999, "", "has more than 8192 bytes, which no key has" }
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
    int             i, j, status, gate[2];
    char            name[32], byte;
    pid_t           pid;
    const char     *path;
    unsigned char   one[SIGNKEY_PEM];

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
                _exit(secret(path, 1, one) == 64 ? 0 : 1);
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
    char            data[10000], expected[512];
    size_t          len;
    ms_keys_t      *keys;
    unsigned char   one[SIGNKEY_PEM];

    memset(data, 'k', sizeof(data));
    strcpy(data + files[_i].len, files[_i].tail);
    folder_write("key", data, files[_i].len + strlen(files[_i].tail), 0600);

    len = secret(folder_path("key"), 0, one);

    /* the gateway takes the same files */
    keys = ms_keys_from_secret_file(folder_path("key"), NULL, expected,
                                    sizeof(expected));
    ck_assert_int_eq(keys != NULL, len != 0);
    ms_keys_free(keys);

    if (files[_i].error == NULL) {
        ck_assert_uint_eq(len, files[_i].len);
        ck_assert_mem_eq(one, data, len);
        return;
    }

    ck_assert_uint_eq(len, 0);
    snprintf(expected, sizeof(expected), "key file \"%s\": %s",
             folder_path("key"), files[_i].error);
    ck_assert_str_eq(error, expected);
}
END_TEST


START_TEST(test_unreadable)
{
    unsigned char  one[SIGNKEY_PEM];

    ck_assert_uint_eq(secret(folder_path("none"), 0, one), 0);
    ck_assert_ptr_nonnull(strstr(error, "none\": No such file or directory"));
    ck_assert_uint_eq(secret("/tmp", 0, one), 0);
    ck_assert_str_eq(error, "key file \"/tmp\": Is a directory");
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

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

    return suite_run(suite);
}
