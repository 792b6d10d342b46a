/*
 * The token check of an instance: key files that change, rules, its cache.
 * Tokens are by libjwt.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <jwt.h>

#include "jwt/keys.h"
#include "myservice/auth.h"


#define REFUSED  "missing or invalid token"

#define A    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define K_A  "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE"
#define K_B  "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI"

#define JWK(k)  "{\"keys\":[{\"kty\":\"oct\",\"k\":\"" k "\"}]}"


static char     folder[] = "/tmp/test_auth.XXXXXX";
static int64_t  now;


static void
put(const char *name, const char *text)
{
    FILE  *file;

    file = fopen("new", "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    fclose(file);
    ck_assert_int_eq(rename("new", name), 0);
}


static char *
make_token(const char *secret, const char *claims)
{
    char   *token, json[512];
    jwt_t  *jwt;

    snprintf(json, sizeof(json), "{\"session_id\":\"s1\",\"exp\":%lld%s}",
             (long long) now + 100, claims);

    ck_assert_int_eq(jwt_new(&jwt), 0);
    ck_assert_int_eq(jwt_add_grants_json(jwt, json), 0);
    ck_assert_int_eq(jwt_set_alg(jwt, JWT_ALG_HS256,
                                 (const unsigned char *) secret,
                                 (int) strlen(secret)), 0);
    token = jwt_encode_str(jwt);
    jwt_free(jwt);

    return token;
}


static auth_t *
create(const auth_options_t *options)
{
    char     error[640] = "";
    auth_t  *auth;

    auth = auth_create(options, now, error, sizeof(error));
    ck_assert_msg(auth != NULL, "%s", error);

    return auth;
}


#define assert_check(auth, token, session, message)                           \
    ck_assert_pstr_eq(auth_check(auth, token, strlen(token), session, now),   \
                      message)


static void
setup(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chdir(folder), 0);
    now = (int64_t) time(NULL);
}


static void
teardown(void)
{
    char  command[64];

    snprintf(command, sizeof(command), "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}


START_TEST(test_rotation)
{
    char            *a, *b;
    auth_t          *auth;
    auth_options_t   options = { .keys_file = "keys" };

    put("keys", JWK(K_A));
    auth = create(&options);
    a = make_token(A, "");
    b = make_token(B, "");

    assert_check(auth, a, "s1", NULL);
    assert_check(auth, b, "s1", REFUSED);

    /* looked at with the next second, and not again in that */
    put("keys", JWK(K_B));
    assert_check(auth, a, "s1", NULL);
    now++;
    assert_check(auth, a, "s1", REFUSED);
    assert_check(auth, b, "s1", NULL);
    put("keys", JWK(K_A));
    assert_check(auth, b, "s1", NULL);
    now += 10;
    assert_check(auth, b, "s1", REFUSED);
    assert_check(auth, a, "s1", NULL);

    /* broken, gone, back */
    put("keys", "{\"keys\":[");
    now++;
    assert_check(auth, a, "s1", NULL);
    ck_assert_int_eq(unlink("keys"), 0);
    now++;
    assert_check(auth, a, "s1", NULL);
    now++;
    assert_check(auth, a, "s1", NULL);
    put("keys", JWK(K_B));
    now++;
    assert_check(auth, a, "s1", REFUSED);
    assert_check(auth, b, "s1", NULL);

    auth_free(auth);
    free(a);
    free(b);
}
END_TEST


/* A change is not lost when it cannot be read at the time. */
START_TEST(test_no_descriptors)
{
    char            *a, *b;
    auth_t          *auth;
    struct rlimit    none, before;
    auth_options_t   options = { .keys_file = "keys" };

    put("keys", JWK(K_A));
    now += 10;                          /* the file is no longer fresh */
    auth = create(&options);
    a = make_token(A, "");
    b = make_token(B, "");
    assert_check(auth, a, "s1", NULL);

    put("keys", JWK(K_B));
    now += 10;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_check(auth, a, "s1", NULL);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);

    assert_check(auth, a, "s1", NULL);
    now++;
    assert_check(auth, a, "s1", REFUSED);
    assert_check(auth, b, "s1", NULL);

    auth_free(auth);
    free(a);
    free(b);
}
END_TEST


/* Something in the place of the file that cannot be read to its end. */
START_TEST(test_fifo)
{
    char            *a;
    auth_t          *auth;
    auth_options_t   options = { .keys_file = "keys" };

    put("keys", JWK(K_A));
    auth = create(&options);
    a = make_token(A, "");

    ck_assert_int_eq(unlink("keys"), 0);
    ck_assert_int_eq(mkfifo("keys", 0600), 0);
    now++;
    assert_check(auth, a, "s1", NULL);

    auth_free(auth);
    free(a);
}
END_TEST


/* Written in place, right after it was read. */
START_TEST(test_in_place)
{
    char            *b;
    FILE            *file;
    auth_t          *auth;
    auth_options_t   options = { .keys_file = "keys" };

    put("keys", JWK(K_A));
    auth = create(&options);
    b = make_token(B, "");
    assert_check(auth, b, "s1", REFUSED);

    file = fopen("keys", "r+");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(JWK(K_B), file), 0);
    fclose(file);
    now++;
    assert_check(auth, b, "s1", NULL);

    auth_free(auth);
    free(b);
}
END_TEST


START_TEST(test_both)
{
    char            *a, *b;
    auth_t          *auth;
    auth_options_t   options = {
        .keys_file = "keys", .secret_file = "secret"
    };

    put("keys", JWK(K_A));
    put("secret", B "\n");
    auth = create(&options);
    a = make_token(A, "");
    b = make_token(B, "");

    assert_check(auth, a, "s1", NULL);
    assert_check(auth, b, "s1", NULL);

    /* one that breaks leaves both */
    put("keys", "");
    now++;
    assert_check(auth, a, "s1", NULL);
    put("keys", JWK(K_B));
    now++;
    assert_check(auth, a, "s1", REFUSED);
    assert_check(auth, b, "s1", NULL);

    auth_free(auth);
    free(a);
    free(b);
}
END_TEST


START_TEST(test_cached)
{
    char            *a, bearer[1024];
    auth_t          *auth;
    auth_options_t   options = { .secret_file = "secret" };

    put("secret", A);
    auth = create(&options);
    a = make_token(A, "");
    snprintf(bearer, sizeof(bearer), "Bearer %s ", a);
    now += 10;                          /* the file is no longer fresh */

    assert_check(auth, a, "s2", "session-id mismatch");
    assert_check(auth, a, "s2", "session-id mismatch");
    assert_check(auth, a, "s1", NULL);
    assert_check(auth, bearer, "s1", NULL);
    assert_check(auth, a, "s", "session-id mismatch");
    assert_check(auth, a, "s11", "session-id mismatch");
    assert_check(auth, a, NULL, NULL);

    now += 89;
    assert_check(auth, a, "s1", NULL);
    now++;
    assert_check(auth, a, "s1", "token expired");
    assert_check(auth, "", "s1", REFUSED);
    assert_check(auth, "Bearer ", "s1", REFUSED);

    auth_free(auth);
    free(a);
}
END_TEST


START_TEST(test_rules)
{
    size_t           i;
    char            *token;
    auth_t          *auth;
    auth_options_t   options = {
        .secret_file = "secret", .issuer = "i", .audience = "a"
    };

    static const struct {
        const char  *claims;
        const char  *message;
    } cases[] = {
        { ",\"iss\":\"i\",\"aud\":\"a\"", NULL },
        { ",\"iss\":\"i\",\"aud\":[\"b\",\"a\"]", NULL },
        { ",\"iss\":\"j\",\"aud\":\"a\"", REFUSED },
        { ",\"aud\":\"a\"", REFUSED },
        { ",\"iss\":\"i\",\"aud\":\"b\"", REFUSED },
        { ",\"iss\":\"i\"", REFUSED }
    };

    put("secret", A);
    auth = create(&options);

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        token = make_token(A, cases[i].claims);
        assert_check(auth, token, "s1", cases[i].message);
        free(token);
    }

    auth_free(auth);
}
END_TEST


START_TEST(test_session_claim)
{
    char            *token;
    auth_t          *auth;
    auth_options_t   options = {
        .secret_file = "secret", .session_claim = "sid"
    };

    put("secret", A);
    auth = create(&options);

    token = make_token(A, ",\"sid\":\"s2\"");
    assert_check(auth, token, "s2", NULL);
    assert_check(auth, token, "s1", "session-id mismatch");
    free(token);
    token = make_token(A, "");
    assert_check(auth, token, "s1", REFUSED);
    free(token);

    auth_free(auth);
}
END_TEST


START_TEST(test_errors)
{
    size_t  i;
    char    error[640];

    static const struct {
        const char  *secret;
        const char  *keys;
        const char  *algorithms;
        const char  *error;
    } cases[] = {
        { "/nonexistent/a", NULL, NULL, "--jwt-secret-file: key file "
          "\"/nonexistent/a\": No such file or directory" },
        { NULL, "/nonexistent/b", NULL, "--jwt-keys: key file "
          "\"/nonexistent/b\": No such file or directory" },
        { NULL, "empty", NULL, "--jwt-keys: key file \"empty\": "
          "no key" },
        { "empty", NULL, "ES256", "--jwt-secret-file: key file \"empty\": "
          "the secret has 0 bytes, must have 32 to 4096" },
        { NULL, "/dev/null", NULL, "--jwt-keys: key file \"/dev/null\": "
          "not a regular file" },
        { "fifo", NULL, NULL, "--jwt-secret-file: key file \"fifo\": "
          "not a regular file" },
        { NULL, "fifo", NULL, "--jwt-keys: key file \"fifo\": "
          "not a regular file" }
    };

    put("empty", "");
    ck_assert_int_eq(mkfifo("fifo", 0600), 0);

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        auth_options_t  options = {
            .secret_file = cases[i].secret, .keys_file = cases[i].keys,
            .algorithms = cases[i].algorithms
        };

        ck_assert_ptr_null(auth_create(&options, now, error, sizeof(error)));
        ck_assert_str_eq(error, cases[i].error);
    }

    auth_free(NULL);
}
END_TEST


START_TEST(test_algorithms)
{
    size_t    i;
    char      error[256];
    uint32_t  algorithms;

    static const char *const  bad[] = {
        "", ",", "none", "HS256,", ",HS256", "HS256 ,ES256", "hs256",
        "HS256;ES256"
    };

    ck_assert_int_eq(auth_algorithms("ES256", &algorithms, error,
                                     sizeof(error)), 0);
    ck_assert_uint_eq(algorithms, MS_ALG_BIT(MS_ALG_ES256));
    ck_assert_int_eq(auth_algorithms("EdDSA,HS256,EdDSA", &algorithms, error,
                                     sizeof(error)), 0);
    ck_assert_uint_eq(algorithms, MS_ALG_BIT(MS_ALG_EDDSA)
                                  | MS_ALG_BIT(MS_ALG_HS256));

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(auth_algorithms(bad[i], &algorithms, error,
                                         sizeof(error)), -1);
        ck_assert_int_eq(strncmp(error, "--jwt-algorithms: ", 18), 0);
    }
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("auth");
    tcase = tcase_create("auth");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_rotation);
    tcase_add_test(tcase, test_no_descriptors);
    tcase_add_test(tcase, test_fifo);
    tcase_add_test(tcase, test_in_place);
    tcase_add_test(tcase, test_both);
    tcase_add_test(tcase, test_cached);
    tcase_add_test(tcase, test_rules);
    tcase_add_test(tcase, test_session_claim);
    tcase_add_test(tcase, test_errors);
    tcase_add_test(tcase, test_algorithms);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
