/*
 * The forgeries are what they claim to be: each differs from the good token,
 * none verifies with its key, and what is rebuilt would verify with a key the
 * attacker knew (so it is refused for its signature, not for bad encoding).
 */

#include <check.h>
#include <jwt.h>
#include <stdlib.h>
#include <string.h>

#include "itests/forge.h"
#include "jwt/token.h"


#define SECRET     "0123456789abcdef0123456789abcdef"
#define OTHER_KEY  "an attacker's own key of 32 bytes!!"
#define NOW        1800000000


static const ms_token_rules_t  rules = {
    .session_claim = "session_id"
};


static char *
good_token(void)
{
    char   *token;
    jwt_t  *jwt;

    ck_assert_int_eq(jwt_new(&jwt), 0);
    ck_assert_int_eq(jwt_set_alg(jwt, JWT_ALG_HS256,
                                 (const unsigned char *) SECRET,
                                 sizeof(SECRET) - 1), 0);
    jwt_add_grant(jwt, "sub", "TestUser");
    jwt_add_grant(jwt, "role", "admin");
    jwt_add_grant(jwt, "session_id", "own");
    jwt_add_grant_int(jwt, "exp", NOW + 60);

    token = jwt_encode_str(jwt);
    ck_assert_ptr_nonnull(token);
    jwt_free(jwt);

    return token;
}


static ms_token_reason_t
verify(const char *secret, const char *token, char *session, size_t size)
{
    char                error[128];
    size_t              len;
    ms_keys_t          *keys;
    ms_token_t          parsed;
    ms_token_reason_t   reason;

    keys = ms_keys_from_secret(secret, strlen(secret), NULL, error,
                               sizeof(error));
    ck_assert_ptr_nonnull(keys);

    len = strlen(token);
    ms_token_strip(&token, &len);
    reason = ms_token_verify(keys, token, len, &rules, NOW, &parsed);

    if (reason == MS_TOKEN_OK) {
        snprintf(session, size, "%s", parsed.session);
        ms_token_free(&parsed);
    }

    ms_keys_free(keys);

    return reason;
}


START_TEST(test_good)
{
    char   session[32], *token;

    token = good_token();
    ck_assert_int_eq(verify(SECRET, token, session, sizeof(session)),
                     MS_TOKEN_OK);
    ck_assert_str_eq(session, "own");
    free(token);
}
END_TEST


START_TEST(test_refused)
{
    char              session[32], *token, *forged;
    const forgery_t  *forgery;

    token = good_token();

    for (forgery = forgeries; forgery->name != NULL; forgery++) {
        forged = forgery->make(token, "victim");

        ck_assert_msg(strcmp(forged, token) != 0, "%s: is the token itself",
                      forgery->name);
        ck_assert_msg(verify(SECRET, forged, session, sizeof(session))
                      != MS_TOKEN_OK, "%s: verifies", forgery->name);
        free(forged);
    }

    free(token);
}
END_TEST


START_TEST(test_other_key)
{
    char              session[32], *token, *forged;
    const forgery_t  *forgery;

    token = good_token();

    for (forgery = forgeries;
         strcmp(forgery->name, "signed with another key") != 0;
         forgery++)
    {
        ck_assert_ptr_nonnull(forgery[1].name);
    }

    forged = forgery->make(token, "victim");

    ck_assert_int_eq(verify(SECRET, forged, session, sizeof(session)),
                     MS_TOKEN_SIGNATURE);
    ck_assert_int_eq(verify(OTHER_KEY, forged, session, sizeof(session)),
                     MS_TOKEN_OK);
    ck_assert_str_eq(session, "victim");

    free(forged);
    free(token);
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("forge");
    tcase = tcase_create("forgeries");
    tcase_add_test(tcase, test_good);
    tcase_add_test(tcase, test_refused);
    tcase_add_test(tcase, test_other_key);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
