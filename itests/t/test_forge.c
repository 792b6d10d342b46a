/*
 * Each forgery is what it claims to be. It differs from the good token and does
 * not verify with the key. A rebuilt token verifies with a key that the
 * attacker knows, so that the signature is the reason of the refusal, not the
 * encoding.
 */

#include <check.h>
#include <jwt.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/evp.h>

#include "itests/forge.h"
#include "jwt/token.h"


#define SECRET     "0123456789abcdef0123456789abcdef"
#define OTHER_KEY  "an attacker's own key of 32 bytes!!"
#define OTHER_JWK  "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"}"
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


/* Takes the keys. */
static ms_token_reason_t
verify_with(ms_keys_t *keys, const char *token, char *session, size_t size)
{
    size_t              len;
    ms_token_t          parsed;
    ms_token_reason_t   reason;

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


static ms_token_reason_t
verify(const char *secret, const char *token, char *session, size_t size)
{
    char  error[128];

    return verify_with(ms_keys_from_secret(secret, strlen(secret), NULL,
                                           error, sizeof(error)),
                       token, session, size);
}


/* The public key of the pair; the first 32 bytes are the seed. */
static ms_keys_t *
pair_of(const char *seed)
{
    char            text[256], error[128], encoded[64];
    size_t          i, len;
    EVP_PKEY       *key;
    unsigned char   raw[32];

    len = sizeof(raw);
    key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL,
                                       (const unsigned char *) seed, 32);
    ck_assert_int_eq(EVP_PKEY_get_raw_public_key(key, raw, &len), 1);
    EVP_PKEY_free(key);

    EVP_EncodeBlock((unsigned char *) encoded, raw, (int) len);

    for (i = 0; encoded[i] != '\0' && encoded[i] != '='; i++) {
        encoded[i] = encoded[i] == '+' ? '-' : encoded[i] == '/' ? '_'
                     : encoded[i];
    }

    encoded[i] = '\0';
    snprintf(text, sizeof(text), OTHER_JWK, encoded);

    return ms_keys_parse(text, strlen(text), NULL, error, sizeof(error));
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


static char *
forge(const char *name, const char *token)
{
    const forgery_t  *forgery;

    for (forgery = forgeries; strcmp(forgery->name, name) != 0; forgery++) {
        ck_assert_ptr_nonnull(forgery[1].name);
    }

    return forgery->make(token, "victim");
}


/* For a token signed with a secret, and for one signed with a key pair. */
START_TEST(test_other_key)
{
    char  session[32], *token, *forged, *pair;

    token = good_token();

    forged = forge("signed with another key", token);
    ck_assert_int_eq(verify(SECRET, forged, session, sizeof(session)),
                     MS_TOKEN_SIGNATURE);
    ck_assert_int_eq(verify(OTHER_KEY, forged, session, sizeof(session)),
                     MS_TOKEN_OK);
    ck_assert_str_eq(session, "victim");
    free(forged);

    pair = forge("alg \"EdDSA\", signed with another key", token);
    forged = forge("signed with another key", pair);
    ck_assert_int_eq(verify_with(pair_of(SECRET), forged, session,
                                 sizeof(session)), MS_TOKEN_SIGNATURE);
    ck_assert_int_eq(verify_with(pair_of(OTHER_KEY), forged, session,
                                 sizeof(session)), MS_TOKEN_OK);
    ck_assert_str_eq(session, "victim");
    free(forged);

    forged = forge("alg \"HS256\", signed with a secret", pair);
    ck_assert_int_eq(verify_with(pair_of(OTHER_KEY), forged, session,
                                 sizeof(session)), MS_TOKEN_ALGORITHM);
    ck_assert_int_eq(verify(OTHER_KEY, forged, session, sizeof(session)),
                     MS_TOKEN_OK);
    free(forged);

    free(pair);
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
