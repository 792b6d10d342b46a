/*
 * Every algorithm with a key from PEM and from a JWK, and every key against the
 * tokens of all others.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "jwt/base64url.h"
#include "jwt/cache.h"
#include "jwt/t/forge.h"
#include "jwt/t/signer.h"
#include "jwt/token.h"


#define NOW     1700000000
#define CLAIMS  "{\"session_id\":\"s1\",\"exp\":1700000100}"


static const ms_token_rules_t  rules = { .session_claim = "session_id" };


/* All keys are made before the tests fork. */
static void
setup(void)
{
    int          i;
    const char  *type;

    for (i = 0; i < MS_ALGS; i++) {
        type = signer_type(ms_alg_name(i));
        if (type != NULL) {
            (void) signer_key(type);
        }
    }
}


static EVP_PKEY *
key_of(int alg)
{
    const char  *type;

    type = signer_type(ms_alg_name(alg));

    return type != NULL ? signer_key(type) : NULL;
}


/* Takes "text". */
static ms_keys_t *
parse(char *text, uint32_t algorithms)
{
    char               error[256];
    ms_keys_t         *keys;
    ms_keys_options_t  options = { algorithms };

    error[0] = '\0';
    keys = ms_keys_parse(text, strlen(text), &options, error, sizeof(error));
    ck_assert_msg(keys != NULL, "%s: %s", text, error);
    free(text);

    return keys;
}


/* The set of one algorithm's key, from its usual source. */
static ms_keys_t *
keys_of(int alg)
{
    char               error[256];
    EVP_PKEY          *pkey;
    ms_keys_t         *keys;
    ms_keys_options_t  options = { MS_ALG_BIT(alg) };

    pkey = key_of(alg);

    if (pkey != NULL) {
        return parse(signer_pem(pkey), MS_ALG_BIT(alg));
    }

    keys = ms_keys_from_secret(SIGNER_SECRET, strlen(SIGNER_SECRET), &options,
                               error, sizeof(error));
    ck_assert_ptr_nonnull(keys);

    return keys;
}


static char *
token_of(int alg, const char *members)
{
    char  header[256];

    snprintf(header, sizeof(header), "{\"alg\":\"%s\"%s}", ms_alg_name(alg),
             members);

    return signer_token(ms_alg_name(alg), key_of(alg), header, CLAIMS);
}


static ms_token_reason_t
verify_text(const ms_keys_t *keys, const char *text)
{
    ms_token_t         token;
    ms_token_reason_t  reason;

    reason = ms_token_verify(keys, text, strlen(text), &rules, NOW, &token);
    if (reason == MS_TOKEN_OK) {
        ms_token_free(&token);
    }

    /* OpenSSL's queue is that of all of the process */
    ck_assert_uint_eq(ERR_peek_error(), 0);

    return reason;
}


/* Takes "text". */
static ms_token_reason_t
verify(const ms_keys_t *keys, char *text)
{
    ms_token_reason_t  reason;

    reason = verify_text(keys, text);
    free(text);

    return reason;
}


/* header.claims of "token" with another signature */
static char *
resigned(const char *token, const unsigned char *signature, size_t len)
{
    char  *s, *text;

    s = forge_base64url(signature, len);
    ck_assert_int_gt(asprintf(&text, "%.*s%s",
                              (int) (strrchr(token, '.') + 1 - token), token,
                              s), 0);
    free(s);

    return text;
}


static size_t
signature_of(const char *token, unsigned char *signature)
{
    size_t       len;
    const char  *s;

    s = strrchr(token, '.') + 1;
    ck_assert_int_eq(ms_base64url_decode(signature, &len, s, strlen(s)), 0);

    return len;
}


START_TEST(test_sources)
{
    int        i;
    char      *jwk, *set, members[64];
    EVP_PKEY  *pkey;
    ms_keys_t *keys[4];

    snprintf(members, sizeof(members), ",\"alg\":\"%s\"", ms_alg_name(_i));
    pkey = key_of(_i);
    jwk = pkey != NULL ? signer_jwk(pkey, members)
                       : signer_jwk_secret(SIGNER_SECRET,
                                           strlen(SIGNER_SECRET), members);
    ck_assert_int_gt(asprintf(&set, "{\"keys\":[%s]}", jwk), 0);

    keys[0] = keys_of(_i);
    keys[1] = parse(jwk, 0);
    keys[2] = parse(set, 0);
    keys[3] = pkey != NULL
              ? parse(signer_certificate(pkey), MS_ALG_BIT(_i))
              : parse(signer_jwk_secret(SIGNER_SECRET, strlen(SIGNER_SECRET),
                                        ""), MS_ALG_BIT(_i));

    for (i = 0; i < 4; i++) {
        ck_assert_uint_eq(ms_keys_count(keys[i]), 1);
        ck_assert_int_eq(verify(keys[i], token_of(_i, "")), MS_TOKEN_OK);
        ck_assert_int_eq(verify(keys[i], token_of(_i, "")), MS_TOKEN_OK);
        ms_keys_free(keys[i]);
    }
}
END_TEST


/* A key of one algorithm verifies no other, whatever the header says. */
START_TEST(test_pinned)
{
    int                i;
    char               header[64], *text;
    EVP_PKEY          *pkey;
    ms_keys_t         *keys;
    ms_token_reason_t  reason;

    keys = keys_of(_i);

    for (i = 0; i < MS_ALGS; i++) {
        reason = verify(keys, token_of(i, ""));
        ck_assert_int_eq(reason, i == _i ? MS_TOKEN_OK : MS_TOKEN_ALGORITHM);

        /* signed by the other, named as the own */
        pkey = key_of(i);
        snprintf(header, sizeof(header), "{\"alg\":\"%s\"}",
                 ms_alg_name(_i));
        text = signer_token(ms_alg_name(i), pkey, header, CLAIMS);
        ck_assert_int_eq(verify(keys, text), i == _i ? MS_TOKEN_OK
                                                     : MS_TOKEN_SIGNATURE);
    }

    ms_keys_free(keys);
}
END_TEST


START_TEST(test_other_key)
{
    char        header[64], *text;
    EVP_PKEY   *other;
    ms_keys_t  *keys;

    if (key_of(_i) == NULL) {
        return;                         /* test_token has these */
    }

    keys = keys_of(_i);
    other = EVP_PKEY_is_a(key_of(_i), "RSA")
            ? EVP_RSA_gen(2048)
            : EVP_PKEY_is_a(key_of(_i), "EC")
              ? EVP_EC_gen(signer_type(ms_alg_name(_i)))
              : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", ms_alg_name(_i));

    text = signer_token(ms_alg_name(_i), other, header, CLAIMS);
    ck_assert_int_eq(verify(keys, text), MS_TOKEN_SIGNATURE);
    ck_assert_int_eq(verify(keys, token_of(_i, "")), MS_TOKEN_OK);

    EVP_PKEY_free(other);
    ms_keys_free(keys);
}
END_TEST


/* Every length but the right one, and every bit. */
START_TEST(test_signatures)
{
    char           *good;
    size_t          i, len, step;
    ms_keys_t      *keys;
    unsigned char   signature[4096 + 8];

    keys = keys_of(_i);
    good = token_of(_i, "");
    memset(signature, 0, sizeof(signature));
    len = signature_of(good, signature);
    step = len > 132 ? 7 : 1;

    for (i = 0; i < len; i += step) {
        ck_assert_int_eq(verify(keys, resigned(good, signature, i)),
                         MS_TOKEN_SIGNATURE);

        signature[i] ^= (unsigned char) (1U << (i % 8));
        ck_assert_int_eq(verify(keys, resigned(good, signature, len)),
                         MS_TOKEN_SIGNATURE);
        signature[i] ^= (unsigned char) (1U << (i % 8));
    }

    for (i = len + 1; i < len + 8; i++) {
        ck_assert_int_eq(verify(keys, resigned(good, signature, i)),
                         MS_TOKEN_SIGNATURE);
    }

    /* twice, with a zero in front, all zeros, all ones */
    memmove(signature + 1, signature, len);
    signature[0] = 0;
    ck_assert_int_eq(verify(keys, resigned(good, signature, len + 1)),
                     MS_TOKEN_SIGNATURE);
    memset(signature, 0, len);
    ck_assert_int_eq(verify(keys, resigned(good, signature, len)),
                     MS_TOKEN_SIGNATURE);
    memset(signature, 0xff, len);
    ck_assert_int_eq(verify(keys, resigned(good, signature, len)),
                     MS_TOKEN_SIGNATURE);

    ck_assert_int_eq(verify(keys, good), MS_TOKEN_OK);
    ms_keys_free(keys);
}
END_TEST


/*
 * r || (n - s) is as good a signature as r || s: the token has another text,
 * but says the same.  What is cached is found by the whole text.
 */
START_TEST(test_malleable)
{
    char             *good, *twin;
    size_t            len;
    BIGNUM           *n, *s;
    ms_keys_t        *keys;
    ms_cache_t       *cache;
    unsigned char     signature[256];
    ms_cache_key_t    key;
    ms_cache_value_t  value = {
        .session = "s1", .session_len = 2, .expires = NOW + 1
    };

    keys = keys_of(MS_ALG_ES256);
    good = token_of(MS_ALG_ES256, "");
    len = signature_of(good, signature);
    ck_assert_uint_eq(len, 64);

    n = NULL;
    BN_hex2bn(&n, "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2"
              "FC632551");
    s = BN_bin2bn(signature + 32, 32, NULL);
    ck_assert_int_eq(BN_sub(s, n, s), 1);
    ck_assert_int_eq(BN_bn2binpad(s, signature + 32, 32), 32);

    twin = resigned(good, signature, 64);
    ck_assert_int_eq(verify_text(keys, twin), MS_TOKEN_OK);

    cache = ms_cache_create(2, 0);
    ck_assert_int_eq(ms_cache_key(cache, good, strlen(good), &key), 0);
    ms_cache_put(cache, &key, NOW, &value);
    ck_assert_int_eq(ms_cache_find(cache, &key, NOW, &value), 1);
    ck_assert_int_eq(ms_cache_key(cache, twin, strlen(twin), &key), 0);
    ck_assert_int_eq(ms_cache_find(cache, &key, NOW, &value), 0);
    ms_cache_free(cache);
    free(twin);

    /* but not s + n, which is the same number modulo n */
    ck_assert_int_eq(BN_set_word(s, 1), 1);
    ck_assert_int_eq(BN_add(s, s, n), 1);
    ck_assert_int_eq(BN_bn2binpad(s, signature + 32, 32), 32);
    ck_assert_int_eq(verify(keys, resigned(good, signature, 64)),
                     MS_TOKEN_SIGNATURE);

    ck_assert_int_eq(verify(keys, good), MS_TOKEN_OK);
    BN_free(n);
    BN_free(s);
    ms_keys_free(keys);
}
END_TEST


START_TEST(test_ecdsa_halves)
{
    char           *good;
    ms_keys_t      *keys;
    unsigned char   signature[256], copy[64];

    keys = keys_of(MS_ALG_ES256);
    good = token_of(MS_ALG_ES256, "");
    (void) signature_of(good, signature);

    memcpy(copy, signature, 64);
    memset(copy, 0, 32);
    ck_assert_int_eq(verify(keys, resigned(good, copy, 64)),
                     MS_TOKEN_SIGNATURE);
    memcpy(copy, signature, 64);
    memset(copy + 32, 0, 32);
    ck_assert_int_eq(verify(keys, resigned(good, copy, 64)),
                     MS_TOKEN_SIGNATURE);
    memcpy(copy, signature + 32, 32);
    memcpy(copy + 32, signature, 32);
    ck_assert_int_eq(verify(keys, resigned(good, copy, 64)),
                     MS_TOKEN_SIGNATURE);

    ck_assert_int_eq(verify(keys, good), MS_TOKEN_OK);
    ms_keys_free(keys);
}
END_TEST


/* Numbers with leading zero bytes, which DER has not: many signatures. */
START_TEST(test_ecdsa_many)
{
    int         i, zeros;
    char       *text, claims[128];
    size_t      len;
    ms_keys_t  *keys;

    keys = keys_of(MS_ALG_ES256);
    zeros = 0;

    for (i = 0; i < 2000 && zeros < 4; i++) {
        unsigned char  signature[256];

        snprintf(claims, sizeof(claims), "{\"session_id\":\"s%d\","
                 "\"exp\":1700000100}", i);
        text = signer_token("ES256", signer_key("P-256"),
                            "{\"alg\":\"ES256\"}", claims);
        len = signature_of(text, signature);
        ck_assert_uint_eq(len, 64);

        if (signature[0] == 0 || signature[32] == 0) {
            zeros++;
        }

        ck_assert_int_eq(verify(keys, text), MS_TOKEN_OK);
    }

    ck_assert_int_gt(zeros, 0);
    ms_keys_free(keys);
}
END_TEST


/* A token of RS256 with such bytes for the padded hash (RFC 8017, 9.2). */
static char *
padded_token(const unsigned char *padded)
{
    char           *good, *text;
    size_t          len;
    EVP_PKEY_CTX   *ctx;
    unsigned char   signature[256];

    good = token_of(MS_ALG_RS256, "");
    len = sizeof(signature);
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, signer_key("RSA"), NULL);
    ck_assert_int_eq(EVP_PKEY_sign_init(ctx), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING), 1);
    ck_assert_int_eq(EVP_PKEY_sign(ctx, signature, &len, padded, 256), 1);
    EVP_PKEY_CTX_free(ctx);
    text = resigned(good, signature, len);
    free(good);

    return text;
}


/* Padding that is not looked at closely is how RS256 was forged elsewhere. */
START_TEST(test_padding)
{
    char           *good;
    ms_keys_t      *keys;
    unsigned char   padded[256], bad[256], *hash;

    static const unsigned char  info[] = {
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65,
        0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20
    };
    static const unsigned char  no_null[] = {
        0x30, 0x2f, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65,
        0x03, 0x04, 0x02, 0x01, 0x04, 0x20
    };

    keys = keys_of(MS_ALG_RS256);
    good = token_of(MS_ALG_RS256, "");

    memset(padded, 0xff, sizeof(padded));
    padded[0] = 0x00;
    padded[1] = 0x01;
    hash = padded + sizeof(padded) - 32;
    memcpy(hash - sizeof(info), info, sizeof(info));
    hash[-(int) sizeof(info) - 1] = 0x00;
    ck_assert_int_eq(EVP_Digest(good, (size_t) (strrchr(good, '.') - good),
                                hash, NULL, EVP_sha256(), NULL), 1);
    ck_assert_int_eq(verify(keys, padded_token(padded)), MS_TOKEN_OK);

    /* the hash further left, and anything behind it */
    memcpy(bad, padded, sizeof(bad));
    bad[10] = 0x00;
    memcpy(bad + 11, hash - sizeof(info), sizeof(info) + 32);
    ck_assert_int_eq(verify(keys, padded_token(bad)), MS_TOKEN_SIGNATURE);

    /* other padding bytes, another type, no end of it, no NULL */
    memcpy(bad, padded, sizeof(bad));
    bad[100] = 0xfe;
    ck_assert_int_eq(verify(keys, padded_token(bad)), MS_TOKEN_SIGNATURE);
    memcpy(bad, padded, sizeof(bad));
    bad[1] = 0x02;
    ck_assert_int_eq(verify(keys, padded_token(bad)), MS_TOKEN_SIGNATURE);
    memcpy(bad, padded, sizeof(bad));
    bad[256 - 32 - sizeof(info) - 1] = 0xff;
    ck_assert_int_eq(verify(keys, padded_token(bad)), MS_TOKEN_SIGNATURE);
    memset(bad + 2, 0xff, sizeof(bad) - 2);
    memcpy(bad + 256 - 32, hash, 32);
    memcpy(bad + 256 - 32 - sizeof(no_null), no_null, sizeof(no_null));
    bad[256 - 32 - sizeof(no_null) - 1] = 0x00;
    ck_assert_int_eq(verify(keys, padded_token(bad)), MS_TOKEN_SIGNATURE);

    free(good);
    ms_keys_free(keys);
}
END_TEST


/* The RSA public key is no secret: it must never be one for HMAC. */
START_TEST(test_confusion)
{
    char        error[256], *pem, *jwk, *text, header[64];
    size_t      i;
    ms_keys_t  *keys, *both;

    static const char *const  names[] = { "HS256", "HS384", "HS512" };

    pem = signer_pem(signer_key("RSA"));
    keys = parse(strdup(pem), 0);

    both = parse(strdup(pem), 0);
    ck_assert_int_eq(ms_keys_join(&both, keys_of(MS_ALG_HS256), error,
                                  sizeof(error)), 0);

    for (i = 0; i < 3; i++) {
        snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", names[i]);
        text = forge(header, CLAIMS, pem);
        ck_assert_int_eq(verify(keys, text), MS_TOKEN_ALGORITHM);

        jwk = signer_jwk(signer_key("RSA"), "");
        text = forge(header, CLAIMS, jwk);
        ck_assert_int_eq(verify(keys, text), MS_TOKEN_ALGORITHM);
        free(jwk);
    }

    text = forge("{\"alg\":\"HS256\"}", CLAIMS, pem);
    ck_assert_int_eq(verify(both, text), MS_TOKEN_SIGNATURE);
    ck_assert_int_eq(verify(both, token_of(MS_ALG_HS256, "")), MS_TOKEN_OK);
    ck_assert_int_eq(verify(both, token_of(MS_ALG_PS512, "")), MS_TOKEN_OK);
    ck_assert_int_eq(verify(keys, token_of(MS_ALG_RS256, "")), MS_TOKEN_OK);

    free(pem);
    ms_keys_free(keys);
    ms_keys_free(both);
}
END_TEST


/* The token's own key, certificate or address of one is never used. */
START_TEST(test_embedded)
{
    char       *jwk, *header, *text;
    size_t      i;
    EVP_PKEY   *evil;
    ms_keys_t  *keys;

    static const char *const  formats[] = {
        "{\"alg\":\"ES256\",\"jwk\":%s}",
        "{\"alg\":\"ES256\",\"kid\":\"evil\",\"jwk\":%s}",
        "{\"alg\":\"ES256\",\"jku\":\"https://evil.example/jwks\",\"x\":%s}",
        "{\"alg\":\"ES256\",\"x5u\":\"file:///dev/stdin\",\"x\":%s}",
        "{\"alg\":\"ES256\",\"x5c\":[\"MIIB\"],\"x\":%s}"
    };

    keys = keys_of(MS_ALG_ES256);
    evil = EVP_EC_gen("P-256");
    jwk = signer_jwk(evil, ",\"kid\":\"evil\"");

    for (i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        ck_assert_int_gt(asprintf(&header, formats[i], jwk), 0);
        text = signer_token("ES256", evil, header, CLAIMS);
        ck_assert_int_eq(verify(keys, text), MS_TOKEN_SIGNATURE);

        /* they are not refused for being there */
        text = signer_token("ES256", signer_key("P-256"), header, CLAIMS);
        ck_assert_int_eq(verify(keys, text), MS_TOKEN_OK);
        free(header);
    }

    free(jwk);
    EVP_PKEY_free(evil);
    ms_keys_free(keys);
}
END_TEST


START_TEST(test_names)
{
    int          i;
    size_t       j;
    const char  *name;

    static const char *const  unknown[] = {
        "", "none", "None", "HS", "HS2560", "hs256", "HS256 ", "ES256K",
        "RS1", "A256KW", "Ed25519", "EdDSa"
    };

    for (i = 0; i < MS_ALGS; i++) {
        name = ms_alg_name(i);
        ck_assert_int_eq(ms_alg_find(name, strlen(name)), i);
        ck_assert_int_eq(ms_alg_find(name, strlen(name) - 1), -1);
    }

    for (j = 0; j < sizeof(unknown) / sizeof(unknown[0]); j++) {
        ck_assert_int_eq(ms_alg_find(unknown[j], strlen(unknown[j])), -1);
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

    suite = suite_create("algorithms");
    tcase = tcase_create("algorithms");
    tcase_set_timeout(tcase, 60);
    tcase_add_unchecked_fixture(tcase, setup, NULL);
    tcase_add_loop_test(tcase, test_sources, 0, MS_ALGS);
    tcase_add_loop_test(tcase, test_pinned, 0, MS_ALGS);
    tcase_add_loop_test(tcase, test_other_key, 0, MS_ALGS);
    tcase_add_loop_test(tcase, test_signatures, 0, MS_ALGS);
    tcase_add_test(tcase, test_malleable);
    tcase_add_test(tcase, test_ecdsa_halves);
    tcase_add_test(tcase, test_ecdsa_many);
    tcase_add_test(tcase, test_padding);
    tcase_add_test(tcase, test_confusion);
    tcase_add_test(tcase, test_embedded);
    tcase_add_test(tcase, test_names);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? 0 : 1;
}
