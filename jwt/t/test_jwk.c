/*
 * JWK and JWK Sets: what is used, what is passed over, what is an error and
 * what that says.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/ec.h>
#include <openssl/err.h>

#include "jwt/keys.h"
#include "jwt/t/forge.h"
#include "jwt/t/loaded.h"
#include "jwt/t/signer.h"


#define PASSED                                                                \
    "no key of a type and algorithm that is known and allowed"
#define PRIVATE(name)                                                         \
    "a private key, only public keys belong here; it has \"" name "\""

/* RFC 8037 appendix A.2, and a secret of 32 bytes */
#define X25  "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
#define K32  "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"

/* RFC 7515 appendix A.3 */
#define ECX  "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define ECY  "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"

#define OKP  "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" X25 "\""
#define EC   "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" ECX "\","           \
             "\"y\":\"" ECY "\""
#define OCT  "{\"kty\":\"oct\",\"k\":\"" K32 "\""


static const struct {
    const char  *jwk;
    int          n;                     /* keys, 0: passed over */
} good[] = {
    { OKP "}", 1 },
    { EC "}", 1 },
    { OCT "}", 1 },
    { OCT ",\"alg\":\"HS256\"}", 1 },
    { EC ",\"alg\":\"ES256\",\"use\":\"sig\"}", 1 },
    { OKP ",\"alg\":\"EdDSA\",\"key_ops\":[\"verify\"]}", 1 },
    { OKP ",\"key_ops\":[\"sign\",\"verify\"],\"use\":\"sig\"}", 1 },
    { EC ",\"kid\":\"a\",\"x5t\":\"x\",\"x5c\":[\"A\"],\"nbf\":1}", 1 },
    { EC ",\"kid\":\"\"}", 1 },
    { EC ",\"z\":{\"d\":1}}", 1 },

    { EC ",\"use\":\"enc\"}", 0 },
    { EC ",\"use\":\"\"}", 0 },
    { EC ",\"key_ops\":[]}", 0 },
    { EC ",\"key_ops\":[\"encrypt\",\"sign\"]}", 0 },
    { EC ",\"alg\":\"ECDH-ES\"}", 0 },
    { EC ",\"alg\":\"none\"}", 0 },
    { EC ",\"alg\":\"\"}", 0 },
    { OKP ",\"alg\":\"Ed25519\"}", 0 },
    { "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"" X25 "\"}", 0 },
    { "{\"kty\":\"OKP\",\"crv\":\"P-256\",\"x\":\"" X25 "\"}", 0 },
    { "{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"A\",\"y\":\"A\"}", 0 },
    { "{\"kty\":\"EC\",\"crv\":\"Ed25519\",\"x\":\"A\",\"y\":\"A\"}", 0 },
    { "{\"kty\":\"AKP\",\"alg\":\"ML-DSA-44\",\"pub\":\"AAAA\"}", 0 },
    { "{\"kty\":\"\"}", 0 },
    { "{\"kty\":\"rsa\",\"n\":1}", 0 }
};


START_TEST(test_good)
{
    char  *set;

    ck_assert_int_gt(asprintf(&set, "{\"keys\":[%s,%s]}", good[_i].jwk, OKP
                              "}"), 0);
    assert_loads(set, 0, good[_i].n + 1);
    free(set);

    if (good[_i].n > 0) {
        assert_loads(good[_i].jwk, 0, good[_i].n);
    } else {
        assert_refused(good[_i].jwk, 0, PASSED);
    }
}
END_TEST


static const struct {
    const char  *jwk;
    const char  *error;
} bad[] = {
    { "{\"kty\":1}", "no or bad \"kty\"" },
    { "{\"kty\":null}", "no or bad \"kty\"" },
    { "{\"kty\":\"EC\",\"x\":\"A\",\"y\":\"A\"}", "no or bad \"crv\"" },
    { "{\"kty\":\"OKP\",\"crv\":1}", "no or bad \"crv\"" },
    { "{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}", "no \"x\"" },
    { "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" ECX "\"}", "no \"y\"" },
    { "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":1,\"y\":\"" ECY "\"}",
      "bad \"x\"" },
    { "{\"kty\":\"RSA\",\"e\":\"AQAB\"}", "no \"n\"" },
    { "{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"AQAB\"}", "bad \"n\"" },
    { "{\"kty\":\"RSA\",\"n\":\"" K32 "\"}", "no \"e\"" },
    { "{\"kty\":\"RSA\",\"n\":\"" K32 "\",\"e\":\"AQAB\"}",
      "RSA of 254 bits, must have 2048 to 16384" },
    { "{\"kty\":\"oct\"}", "no \"k\"" },
    { "{\"kty\":\"oct\",\"k\":\"" K32 "=\"}", "bad \"k\"" },
    { "{\"kty\":\"oct\",\"k\":\"MDE+\"}", "bad \"k\"" },
    { "{\"kty\":\"oct\",\"k\":\"MDF\"}", "bad \"k\"" },
    { "{\"kty\":\"oct\",\"k\":\"MDE\"}", "the secret has 2 bytes, must have "
      "as many as the hash, up to 4096" },
    { OCT ",\"alg\":\"HS384\"}", "the secret has 32 bytes, must have as many "
      "as the hash, up to 4096" },
    { OCT ",\"alg\":\"HS512\"}", "the secret has 32 bytes, must have as many "
      "as the hash, up to 4096" },

    { EC ",\"alg\":\"ES384\"}", "its type is not that of its \"alg\", "
      "\"ES384\"" },
    { EC ",\"alg\":\"HS256\"}", "its type is not that of its \"alg\", "
      "\"HS256\"" },
    { EC ",\"alg\":\"EdDSA\"}", "its type is not that of its \"alg\", "
      "\"EdDSA\"" },
    { OKP ",\"alg\":\"ES256\"}", "its type is not that of its \"alg\", "
      "\"ES256\"" },
    { OCT ",\"alg\":\"RS256\"}", "its type is not that of its \"alg\", "
      "\"RS256\"" },
    { EC ",\"alg\":1}", "bad \"alg\"" },
    { EC ",\"use\":null}", "bad \"use\"" },
    { EC ",\"key_ops\":\"verify\"}", "bad \"key_ops\"" },
    { EC ",\"key_ops\":[\"verify\",1]}", "bad \"key_ops\"" },
    { EC ",\"kid\":1}", "bad \"kid\"" },

    { "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"" ECY "\"}",
      "\"x\" and \"y\" must have 32 bytes" },
    { "{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" ECX "\",\"y\":\"" ECY
      "\"}", "\"x\" and \"y\" must have 48 bytes" },
    { "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" ECY "\",\"y\":\"" ECX
      "\"}", "EC with a point that is not on its curve" },
    { "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}",
      "\"x\" must have 32 bytes" },

    /* points of order 1, 2 and 4, and one that is none */
    { "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
      "\"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
      "Ed25519 with a point that is not on its curve or of small order" },
    { "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
      "\"7P_______________________________________38\"}",
      "Ed25519 with a point that is not on its curve or of small order" },
    { "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
      "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
      "Ed25519 with a point that is not on its curve or of small order" },
    { "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
      "\"AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
      "Ed25519 with a point that is not on its curve or of small order" },

    { EC ",\"d\":\"AA\"}", PRIVATE("d") },
    { EC ",\"d\":null}", PRIVATE("d") },
    { OKP ",\"d\":\"AA\",\"use\":\"enc\"}", PRIVATE("d") },
    { "{\"kty\":\"RSA\",\"n\":\"AA\",\"e\":\"AQAB\",\"qi\":\"AA\"}",
      PRIVATE("qi") },
    { "{\"kty\":\"AKP\",\"priv\":\"AA\"}", PRIVATE("priv") }
};


/* With and without a name, alone and in a set, where the others are good. */
START_TEST(test_bad)
{
    char  *set, expected[512];

    snprintf(expected, sizeof(expected), "key 1: %s", bad[_i].error);
    assert_refused(bad[_i].jwk, 0, expected);

    ck_assert_int_gt(asprintf(&set, "{\"keys\":[%s,%s}", EC "}",
                              bad[_i].jwk), 0);

    if (strstr(bad[_i].jwk, "kid") == NULL) {
        free(set);
        ck_assert_int_gt(asprintf(&set, "{\"keys\":[%s,%.*s,"
                                  "\"kid\":\"a\\nb\\\"\"}]}", EC "}",
                                  (int) strlen(bad[_i].jwk) - 1,
                                  bad[_i].jwk), 0);
        snprintf(expected, sizeof(expected), "key 2 (kid \"a?b?\"): %s",
                 bad[_i].error);
        assert_refused(set, 0, expected);
    }

    free(set);
}
END_TEST


static const struct {
    const char  *text;
    const char  *error;
} texts[] = {
    { "", "no key" },
    { " \n", "no key" },
    { "x", "neither PEM nor a JSON object" },
    { "[]", "neither PEM nor a JSON object" },
    { "{}", "neither a JWK nor a JWK Set" },
    { "{\"keys\":1}", "neither a JWK nor a JWK Set" },
    { "{\"keys\":{}}", "neither a JWK nor a JWK Set" },
    { "{\"keys\":[]}", PASSED },
    { "{\"keys\":[1]}", "key 1: not an object" },
    { "{\"keys\":[" EC "},[]]}", "key 2: not an object" },
    { "{", "not a JSON object, or with duplicate members, or deeper than 8" },
    { "{\"keys\":[]}x", "not a JSON object, or with duplicate members, or "
      "deeper than 8" },
    { EC ",\"crv\":\"P-256\"}", "not a JSON object, or with duplicate "
      "members, or deeper than 8" },
    { "{\"keys\":[],\"keys\":[" EC "}]}", "not a JSON object, or with "
      "duplicate members, or deeper than 8" },
    { EC ",\"z\":[[[[[[[[]]]]]]]]}", "not a JSON object, or with duplicate "
      "members, or deeper than 8" },
    { EC ",\"kid\":\"\\u0000\"}", "not a JSON object, or with duplicate "
      "members, or deeper than 8" }
};


START_TEST(test_texts)
{
    assert_refused(texts[_i].text, 0, texts[_i].error);
    assert_loads(" \r\n\t{\"keys\":[" EC "}],\"more\":1}\n", 0, 1);
}
END_TEST


START_TEST(test_rsa)
{
    char    *jwk, *n, *end, *text;
    size_t   i;

    static const struct {
        const char  *e;
        int          n;
    } exponents[] = {
        { "Aw", 6 }, { "AQAB", 6 }, { "AAEAAQ", 6 }, { "__________8", 6 },
        { "AQ", -1 }, { "AA", -1 }, { "Ag", -1 }, { "AQAA", -1 },
        { "AQAAAAAAAAAB", -1 }
    };

    jwk = signer_jwk(signer_key("RSA"), "");
    assert_loads(jwk, 0, 6);
    assert_loads(jwk, MS_ALG_BIT(MS_ALG_PS384) | MS_ALG_HS, 1);
    assert_refused(jwk, MS_ALG_HS, PASSED);

    /* other exponents for that modulus */
    n = strstr(jwk, "\"n\":\"") + 5;
    end = strchr(n, '"');

    for (i = 0; i < sizeof(exponents) / sizeof(exponents[0]); i++) {
        ck_assert_int_gt(asprintf(&text, "{\"kty\":\"RSA\",\"n\":\"%.*s\","
                                  "\"e\":\"%s\"}", (int) (end - n), n,
                                  exponents[i].e), 0);
        if (exponents[i].n > 0) {
            assert_loads(text, 0, exponents[i].n);
        } else {
            assert_refused(text, 0, "key 1: RSA with an exponent that is "
                           "even, 1 or has more than 64 bits");
        }
        free(text);
    }

    /* an even modulus: its last two bits are in the last character but one */
    end[-2] = 'A';
    end[-1] = 'A';
    assert_refused(jwk, 0, "key 1: RSA with an even modulus");
    free(jwk);
}
END_TEST


static const struct {
    size_t       bytes;
    const char  *error;
} moduli[] = {
    { 255, "key 1: RSA of 2040 bits, must have 2048 to 16384" },
    { 256, NULL },
    { 2048, NULL },
    { 2049, "key 1: RSA of 16392 bits, must have 2048 to 16384" },
    { 4096, "key 1: RSA of 32768 bits, must have 2048 to 16384" },
    { 5000, "key 1: bad \"n\"" },
    { 700000, "key 1: bad \"n\"" }
};


START_TEST(test_moduli)
{
    char           *n, *jwk;
    unsigned char  *bytes;

    bytes = malloc(moduli[_i].bytes);
    memset(bytes, 0xff, moduli[_i].bytes);
    n = forge_base64url(bytes, moduli[_i].bytes);
    ck_assert_int_gt(asprintf(&jwk, "{\"kty\":\"RSA\",\"n\":\"%s\","
                              "\"e\":\"AQAB\"}", n), 0);

    if (moduli[_i].error == NULL) {
        assert_loads(jwk, 0, 6);
    } else {
        assert_refused(jwk, 0, moduli[_i].error);
    }

    free(bytes);
    free(n);
    free(jwk);
}
END_TEST


/* A secret is for the hashes that are not longer, or for that of its "alg". */
START_TEST(test_secrets)
{
    char    *jwk, bytes[4097];
    size_t   i;

    static const struct {
        size_t       len;
        const char  *members;
        uint32_t     algorithms;
        int          n;
    } secrets[] = {
        { 31, "", 0, -1 }, { 32, "", 0, 1 }, { 47, "", 0, 1 },
        { 48, "", 0, 2 }, { 63, "", 0, 2 }, { 64, "", 0, 3 },
        { 4096, "", 0, 3 }, { 4097, "", 0, -1 },
        { 64, ",\"alg\":\"HS384\"", 0, 1 },
        { 64, "", MS_ALG_BIT(MS_ALG_HS512), 1 },
        { 63, "", MS_ALG_BIT(MS_ALG_HS512), -1 },
        { 63, "", MS_ALG_BIT(MS_ALG_HS512) | MS_ALG_BIT(MS_ALG_HS384), 1 },
        { 64, ",\"alg\":\"HS256\"", MS_ALG_BIT(MS_ALG_HS512), -1 },
        { 64, "", MS_ALG_BIT(MS_ALG_ES256), -1 }
    };

    memset(bytes, 'k', sizeof(bytes));

    for (i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        char  error[512];

        jwk = signer_jwk_secret(bytes, secrets[i].len, secrets[i].members);
        ck_assert_int_eq(loaded(jwk, secrets[i].algorithms, error,
                              sizeof(error)), secrets[i].n);
        free(jwk);
    }
}
END_TEST


/* n keys with their number as "kid" */
static char *
many(int n)
{
    int     i, len;
    char   *text;
    size_t  size;

    size = 64 + (size_t) n * 128;
    text = malloc(size);
    len = snprintf(text, size, "{\"keys\":[");

    for (i = 0; i < n; i++) {
        len += snprintf(text + len, size - (size_t) len, "%s" OKP
                        ",\"kid\":\"%d\"}", i > 0 ? "," : "", i);
    }

    snprintf(text + len, size - (size_t) len, "]}");

    return text;
}


START_TEST(test_number)
{
    char        error[256], *text;
    ms_keys_t  *keys, *more;

    text = many(MS_KEYS_MAX);
    keys = ms_keys_parse(text, strlen(text), NULL, error, sizeof(error));
    ck_assert_ptr_nonnull(keys);
    ck_assert_uint_eq(ms_keys_count(keys), MS_KEYS_MAX);
    ck_assert_int_eq(ms_keys_has_kid(keys, "0", 1), 1);
    ck_assert_int_eq(ms_keys_has_kid(keys, "255", 3), 1);
    ck_assert_int_eq(ms_keys_has_kid(keys, "256", 3), 0);
    ck_assert_int_eq(ms_keys_has_kid(keys, "2555", 3), 1);
    ck_assert_int_eq(ms_keys_has_kid(keys, "0", 0), 0);
    free(text);

    more = ms_keys_parse(OKP "}", strlen(OKP "}"), NULL, error,
                         sizeof(error));
    ck_assert_ptr_nonnull(more);
    ck_assert_int_eq(ms_keys_join(&keys, more, error, sizeof(error)), -1);
    ck_assert_str_eq(error, "more than 256 keys; one for several algorithms "
                     "counts once for each");
    ck_assert_uint_eq(ms_keys_count(keys), MS_KEYS_MAX);
    ms_keys_free(keys);

    text = many(MS_KEYS_MAX + 1);
    assert_refused(text, 0, "key 257 (kid \"256\"): more than 256 keys; one "
                   "for several algorithms counts once for each");
    free(text);
}
END_TEST


START_TEST(test_join)
{
    char        error[256], *pem;
    ms_keys_t  *keys, *more;

    keys = NULL;
    pem = signer_pem(signer_key("RSA"));
    more = ms_keys_parse(pem, strlen(pem), NULL, error, sizeof(error));
    ck_assert_int_eq(ms_keys_join(&keys, more, error, sizeof(error)), 0);
    ck_assert_ptr_eq(keys, more);
    ck_assert_uint_eq(ms_keys_count(keys), 6);

    more = ms_keys_parse(EC ",\"kid\":\"a\"}", strlen(EC ",\"kid\":\"a\"}"),
                         NULL, error, sizeof(error));
    ck_assert_int_eq(ms_keys_join(&keys, more, error, sizeof(error)), 0);
    ck_assert_uint_eq(ms_keys_count(keys), 7);
    ck_assert_int_eq(ms_keys_has_kid(keys, "a", 1), 1);

    ms_keys_free(keys);
    free(pem);
}
END_TEST


START_TEST(test_long_kid)
{
    char  *jwk, kid[MS_KID_MAX + 2], expected[512];

    memset(kid, 'k', sizeof(kid));
    kid[MS_KID_MAX] = '\0';
    ck_assert_int_gt(asprintf(&jwk, EC ",\"kid\":\"%s\"}", kid), 0);
    assert_loads(jwk, 0, 1);
    free(jwk);

    kid[MS_KID_MAX] = 'k';
    kid[MS_KID_MAX + 1] = '\0';
    ck_assert_int_gt(asprintf(&jwk, EC ",\"kid\":\"%s\"}", kid), 0);
    kid[64] = '\0';
    snprintf(expected, sizeof(expected), "key 1 (kid \"%s\"): bad \"kid\"",
             kid);
    assert_refused(jwk, 0, expected);
    free(jwk);
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

    suite = suite_create("jwk");
    tcase = tcase_create("jwk");
    tcase_set_timeout(tcase, 60);
    add_loop(test_good, good);
    add_loop(test_bad, bad);
    add_loop(test_texts, texts);
    tcase_add_test(tcase, test_rsa);
    add_loop(test_moduli, moduli);
    tcase_add_test(tcase, test_secrets);
    tcase_add_test(tcase, test_number);
    tcase_add_test(tcase, test_join);
    tcase_add_test(tcase, test_long_kid);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? 0 : 1;
}
