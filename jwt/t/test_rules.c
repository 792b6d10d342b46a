/*
 * Which key a token is checked with, and which claims it must have.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jwt/t/forge.h"
#include "jwt/t/signer.h"
#include "jwt/token.h"


#define NOW     1700000000
#define HS256   "{\"alg\":\"HS256\"}"
#define CLAIMS  "{\"session_id\":\"s1\",\"exp\":1700000100}"
#define A       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B       "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C       "cccccccccccccccccccccccccccccccc"


static const ms_token_rules_t  rules = { .session_claim = "session_id" };


static ms_keys_t *
parse(const char *text, uint32_t algorithms)
{
    char               error[256] = "";
    ms_keys_t         *keys;
    ms_keys_options_t  options = { algorithms };

    keys = ms_keys_parse(text, strlen(text), &options, error, sizeof(error));
    ck_assert_msg(keys != NULL, "%s: %s", text, error);

    return keys;
}


static void
join_secret(ms_keys_t **keys, const char *secret, const char *members)
{
    char  *jwk, error[256];

    jwk = signer_jwk_secret(secret, strlen(secret), members);
    ck_assert_int_eq(ms_keys_join(keys, parse(jwk, 0), error, sizeof(error)),
                     0);
    free(jwk);
}


/* Takes "text". */
static void
assert_verdict(const ms_keys_t *keys, const ms_token_rules_t *r, char *text,
    ms_token_reason_t expected)
{
    ms_token_t         token;
    ms_token_reason_t  reason;

    reason = ms_token_verify(keys, text, strlen(text), r, NOW, &token);
    ck_assert_msg(reason == expected, "%s: %s instead of %s", text,
                  ms_token_reasons[reason].name,
                  ms_token_reasons[expected].name);

    if (reason == MS_TOKEN_OK) {
        ms_token_free(&token);
    }

    ck_assert_ptr_null(token.header);
    ck_assert_ptr_null(token.claims);
    ck_assert_ptr_null(token.kid);
    ck_assert_ptr_null(token.role);
    free(text);
}


static const struct {
    const char         *header;
    const char         *secret;
    ms_token_reason_t   reason;
} kids[] = {
    { "{\"alg\":\"HS256\",\"kid\":\"a\"}", A, MS_TOKEN_OK },
    { "{\"alg\":\"HS256\",\"kid\":\"b\"}", B, MS_TOKEN_OK },

    /* a key that is named is the only one */
    { "{\"alg\":\"HS256\",\"kid\":\"a\"}", B, MS_TOKEN_SIGNATURE },
    { "{\"alg\":\"HS256\",\"kid\":\"a\"}", C, MS_TOKEN_SIGNATURE },

    /* one that is not known may be that of a key without a name */
    { "{\"alg\":\"HS256\",\"kid\":\"c\"}", C, MS_TOKEN_OK },
    { "{\"alg\":\"HS256\",\"kid\":\"c\"}", A, MS_TOKEN_SIGNATURE },
    { "{\"alg\":\"HS256\",\"kid\":\"\"}", A, MS_TOKEN_SIGNATURE },
    { "{\"alg\":\"HS256\",\"kid\":\"A\"}", A, MS_TOKEN_SIGNATURE },
    { "{\"alg\":\"HS256\",\"kid\":\"a \"}", A, MS_TOKEN_SIGNATURE },
    { "{\"alg\":\"HS256\",\"kid\":\"ab\"}", A, MS_TOKEN_SIGNATURE },
    { "{\"alg\":\"HS256\",\"kid\":\"../../a\"}", A, MS_TOKEN_SIGNATURE },
    { "{\"alg\":\"HS256\",\"kid\":\"/dev/null\"}", A, MS_TOKEN_SIGNATURE },
    { "{\"alg\":\"HS256\",\"kid\":\"a' OR '1'='1\"}", A, MS_TOKEN_SIGNATURE },
    { "{\"alg\":\"HS256\",\"kid\":\"a\\u0000\"}", A, MS_TOKEN_MALFORMED },
    { "{\"alg\":\"HS256\",\"kid\":[\"a\"]}", A, MS_TOKEN_MALFORMED },
    { "{\"alg\":\"HS256\",\"kid\":null}", A, MS_TOKEN_MALFORMED },

    /* without a name all are asked */
    { "{\"alg\":\"HS256\"}", A, MS_TOKEN_OK },
    { "{\"alg\":\"HS256\"}", B, MS_TOKEN_OK },
    { "{\"alg\":\"HS256\"}", C, MS_TOKEN_OK },
    { "{\"alg\":\"HS256\"}", "dddddddddddddddddddddddddddddddd",
      MS_TOKEN_SIGNATURE },

    /* the name of a key of another algorithm; no key of an algorithm */
    { "{\"alg\":\"ES256\",\"kid\":\"a\"}", A, MS_TOKEN_ALGORITHM },
    { "{\"alg\":\"HS256\",\"kid\":\"e\"}", A, MS_TOKEN_ALGORITHM },
    { "{\"alg\":\"RS256\",\"kid\":\"a\"}", A, MS_TOKEN_ALGORITHM },
    { "{\"alg\":\"RS256\"}", A, MS_TOKEN_ALGORITHM },

    /* what may be a key of the issuer that was not there yet */
    { "{\"alg\":\"RS256\",\"kid\":\"f\"}", A, MS_TOKEN_KEY },
    { "{\"alg\":\"ES256\",\"kid\":\"f\"}", A, MS_TOKEN_KEY },
    { "{\"alg\":\"none\",\"kid\":\"f\"}", A, MS_TOKEN_ALGORITHM }
};


START_TEST(test_kids)
{
    char       *jwk, error[256];
    ms_keys_t  *keys;

    keys = NULL;
    join_secret(&keys, A, ",\"kid\":\"a\"");
    join_secret(&keys, B, ",\"kid\":\"b\"");
    join_secret(&keys, C, "");
    jwk = signer_jwk(signer_key("P-256"), ",\"kid\":\"e\"");
    ck_assert_int_eq(ms_keys_join(&keys, parse(jwk, 0), error,
                                  sizeof(error)), 0);
    free(jwk);

    assert_verdict(keys, &rules, forge(kids[_i].header, CLAIMS,
                                       kids[_i].secret), kids[_i].reason);
    ms_keys_free(keys);
}
END_TEST


/* "kid" of an algorithm that is not allowed is no reason to ask the issuer. */
START_TEST(test_unknown_kid)
{
    char       *jwk;
    ms_keys_t  *keys;

    jwk = signer_jwk(signer_key("P-256"), ",\"kid\":\"e\"");
    keys = parse(jwk, MS_ALG_BIT(MS_ALG_ES256));

    assert_verdict(keys, &rules, forge("{\"alg\":\"ES256\",\"kid\":\"x\"}",
                                       CLAIMS, A), MS_TOKEN_KEY);
    assert_verdict(keys, &rules, forge("{\"alg\":\"ES384\",\"kid\":\"x\"}",
                                       CLAIMS, A), MS_TOKEN_ALGORITHM);
    assert_verdict(keys, &rules,
                   signer_token("ES256", signer_key("P-256"),
                                "{\"alg\":\"ES256\",\"kid\":\"e\"}", CLAIMS),
                   MS_TOKEN_OK);

    ms_keys_free(keys);
    free(jwk);
}
END_TEST


/* Several keys may share a name, as when an issuer has one per algorithm. */
START_TEST(test_shared_kid)
{
    ms_keys_t  *keys;

    keys = NULL;
    join_secret(&keys, A, ",\"kid\":\"a\"");
    join_secret(&keys, B, ",\"kid\":\"a\"");

    assert_verdict(keys, &rules, forge("{\"alg\":\"HS256\",\"kid\":\"a\"}",
                                       CLAIMS, B), MS_TOKEN_OK);
    assert_verdict(keys, &rules, forge("{\"alg\":\"HS256\",\"kid\":\"a\"}",
                                       CLAIMS, C), MS_TOKEN_SIGNATURE);
    ms_keys_free(keys);
}
END_TEST


/* A token without a name costs MS_KEYS_TRIED checks and no more. */
START_TEST(test_tried)
{
    int         i;
    char        secret[33], members[32], header[64];
    ms_keys_t  *keys;

    keys = NULL;

    for (i = 0; i < MS_KEYS_TRIED + 2; i++) {
        snprintf(secret, sizeof(secret), "%032d", i);
        snprintf(members, sizeof(members), ",\"kid\":\"%d\"", i);
        join_secret(&keys, secret, members);
    }

    for (i = 0; i < MS_KEYS_TRIED + 2; i++) {
        snprintf(secret, sizeof(secret), "%032d", i);
        snprintf(header, sizeof(header), "{\"alg\":\"HS256\",\"kid\":\"%d\"}",
                 i);
        assert_verdict(keys, &rules, forge(header, CLAIMS, secret),
                       MS_TOKEN_OK);
        assert_verdict(keys, &rules, forge(HS256, CLAIMS, secret),
                       i < MS_KEYS_TRIED ? MS_TOKEN_OK : MS_TOKEN_SIGNATURE);
    }

    ms_keys_free(keys);
}
END_TEST


/* A token of a key that is gone is refused as soon as the set is without it. */
START_TEST(test_retired)
{
    char       *text;
    ms_keys_t  *old, *new;

    old = NULL;
    join_secret(&old, A, ",\"kid\":\"a\"");
    join_secret(&old, B, ",\"kid\":\"b\"");
    new = NULL;
    join_secret(&new, B, ",\"kid\":\"b\"");

    text = forge("{\"alg\":\"HS256\",\"kid\":\"a\"}", CLAIMS, A);
    assert_verdict(old, &rules, strdup(text), MS_TOKEN_OK);
    assert_verdict(new, &rules, text, MS_TOKEN_KEY);
    assert_verdict(new, &rules, forge(HS256, CLAIMS, A), MS_TOKEN_SIGNATURE);
    assert_verdict(new, &rules, forge("{\"alg\":\"HS256\",\"kid\":\"b\"}",
                                      CLAIMS, B), MS_TOKEN_OK);
    ms_keys_free(old);
    ms_keys_free(new);
}
END_TEST


START_TEST(test_token)
{
    char        *text;
    ms_keys_t   *keys;
    ms_token_t   token;

    keys = NULL;
    join_secret(&keys, A, "");

    text = forge("{\"alg\":\"HS256\",\"kid\":\"k\"}", "{\"session_id\":\"s\","
                 "\"exp\":1700000100,\"role\":\"admin\"}", A);
    ck_assert_int_eq(ms_token_verify(keys, text, strlen(text), &rules, NOW,
                                     &token), MS_TOKEN_OK);
    ck_assert_str_eq(token.role, "admin");
    ck_assert_str_eq(token.kid, "k");
    ms_token_free(&token);
    free(text);

    text = forge(HS256, "{\"session_id\":\"s\",\"exp\":1700000100,"
                 "\"role\":[\"admin\"]}", A);
    ck_assert_int_eq(ms_token_verify(keys, text, strlen(text), &rules, NOW,
                                     &token), MS_TOKEN_OK);
    ck_assert_ptr_null(token.role);
    ck_assert_ptr_null(token.kid);
    ms_token_free(&token);
    free(text);

    ms_keys_free(keys);
}
END_TEST


static const struct {
    const char  *header;
    const char  *kid;                   /* NULL: none */
} unverified[] = {
    { "{\"alg\":\"HS256\",\"kid\":\"k\"}", "k" },
    { "{\"kid\":\"1234567\"}", "1234567" },
    { "{\"kid\":\"12345678\"}", NULL },
    { "{\"kid\":\"\"}", "" },
    { "{\"kid\":\"a\\nb\"}", "a\nb" },
    { "{\"kid\":\"a\\u0000\"}", NULL },
    { "{\"kid\":1}", NULL },
    { "{}", NULL },
    { "[]", NULL },
    { "", NULL }
};


START_TEST(test_unverified_kid)
{
    char  *text, kid[8];

    text = forge(unverified[_i].header, CLAIMS, A);

    if (unverified[_i].kid != NULL) {
        ck_assert_int_eq(ms_token_unverified_kid(text, strlen(text), kid,
                                                 sizeof(kid)), 0);
        ck_assert_str_eq(kid, unverified[_i].kid);

    } else {
        ck_assert_int_eq(ms_token_unverified_kid(text, strlen(text), kid,
                                                 sizeof(kid)), -1);
    }

    ck_assert_int_eq(ms_token_unverified_kid(text, 3, kid, sizeof(kid)), -1);
    ck_assert_int_eq(ms_token_unverified_kid(text, 0, kid, sizeof(kid)), -1);
    ck_assert_int_eq(ms_token_unverified_kid(text, MS_TOKEN_MAX + 1, kid,
                                             sizeof(kid)), -1);
    free(text);
}
END_TEST


static const struct {
    const char         *aud;            /* the claim's JSON or NULL */
    const char         *required;
    ms_token_reason_t   reason;
} audiences[] = {
    { NULL, NULL, MS_TOKEN_OK },
    { "\"x\"", NULL, MS_TOKEN_OK },
    { "1", NULL, MS_TOKEN_OK },
    { "\"a\"", "a", MS_TOKEN_OK },
    { "[\"a\"]", "a", MS_TOKEN_OK },
    { "[\"b\",\"a\"]", "a", MS_TOKEN_OK },
    { "[\"a\",\"a\"]", "a", MS_TOKEN_OK },
    { NULL, "a", MS_TOKEN_AUDIENCE },
    { "null", "a", MS_TOKEN_AUDIENCE },
    { "\"\"", "a", MS_TOKEN_AUDIENCE },
    { "\"b\"", "a", MS_TOKEN_AUDIENCE },
    { "\"A\"", "a", MS_TOKEN_AUDIENCE },
    { "\"a \"", "a", MS_TOKEN_AUDIENCE },
    { "\"aa\"", "a", MS_TOKEN_AUDIENCE },
    { "\"b a\"", "a", MS_TOKEN_AUDIENCE },
    { "[]", "a", MS_TOKEN_AUDIENCE },
    { "[\"b\"]", "a", MS_TOKEN_AUDIENCE },
    { "[[\"a\"]]", "a", MS_TOKEN_AUDIENCE },
    { "[\"a\",1]", "a", MS_TOKEN_AUDIENCE },
    { "{\"a\":\"a\"}", "a", MS_TOKEN_AUDIENCE },
    { "true", "a", MS_TOKEN_AUDIENCE }
};


START_TEST(test_audiences)
{
    char               claims[256];
    ms_keys_t         *keys;
    ms_token_rules_t   r;

    keys = NULL;
    join_secret(&keys, A, "");
    r = rules;
    r.audience = audiences[_i].required;
    snprintf(claims, sizeof(claims), "{%s%s%s\"session_id\":\"s\","
             "\"exp\":1700000100}",
             audiences[_i].aud != NULL ? "\"aud\":" : "",
             audiences[_i].aud != NULL ? audiences[_i].aud : "",
             audiences[_i].aud != NULL ? "," : "");

    assert_verdict(keys, &r, forge(HS256, claims, A), audiences[_i].reason);
    ms_keys_free(keys);
}
END_TEST


static const struct {
    const char         *members;
    ms_token_reason_t   reason;
} required[] = {
    { "\"scope\":\"x\",\"role\":\"admin\"", MS_TOKEN_OK },
    { "\"scope\":null,\"role\":[\"user\",\"admin\"]", MS_TOKEN_OK },
    { "\"scope\":[],\"role\":[\"admin\"]", MS_TOKEN_OK },
    { "\"role\":\"admin\"", MS_TOKEN_CLAIM },
    { "\"scope\":\"x\"", MS_TOKEN_CLAIM },
    { "\"scope\":\"x\",\"role\":\"user\"", MS_TOKEN_CLAIM },
    { "\"scope\":\"x\",\"role\":\"administrator\"", MS_TOKEN_CLAIM },
    { "\"scope\":\"x\",\"role\":\"\"", MS_TOKEN_CLAIM },
    { "\"scope\":\"x\",\"role\":[]", MS_TOKEN_CLAIM },
    { "\"scope\":\"x\",\"role\":[\"user\"]", MS_TOKEN_CLAIM },
    { "\"scope\":\"x\",\"role\":{\"admin\":true}", MS_TOKEN_CLAIM },
    { "\"scope\":\"x\",\"role\":true", MS_TOKEN_CLAIM },
    { "\"scope\":\"x\",\"Role\":\"admin\"", MS_TOKEN_CLAIM },

    /* what is required is told before what is over */
    { "\"role\":\"admin\",\"nbf\":1800000000", MS_TOKEN_CLAIM },
    { "\"scope\":1,\"role\":\"admin\",\"nbf\":1800000000", MS_TOKEN_NOT_YET }
};


START_TEST(test_required)
{
    char                    claims[256];
    ms_keys_t              *keys;
    ms_token_rules_t        r;
    const ms_token_claim_t  list[] = {
        { "scope", NULL }, { "role", "admin" }
    };

    keys = NULL;
    join_secret(&keys, A, "");
    r = rules;
    r.require = list;
    r.nrequire = 2;
    snprintf(claims, sizeof(claims), "{\"session_id\":\"s\","
             "\"exp\":1700000100,%s}", required[_i].members);

    assert_verdict(keys, &r, forge(HS256, claims, A), required[_i].reason);
    ms_keys_free(keys);
}
END_TEST


#define add_loop(test, table)                                                 \
    tcase_add_loop_test(tcase, test, 0, sizeof(table) / sizeof(table[0]))


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("rules");
    tcase = tcase_create("rules");
    tcase_set_timeout(tcase, 60);
    add_loop(test_kids, kids);
    tcase_add_test(tcase, test_unknown_kid);
    tcase_add_test(tcase, test_shared_kid);
    tcase_add_test(tcase, test_tried);
    tcase_add_test(tcase, test_retired);
    tcase_add_test(tcase, test_token);
    add_loop(test_unverified_kid, unverified);
    add_loop(test_audiences, audiences);
    add_loop(test_required, required);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? 0 : 1;
}
