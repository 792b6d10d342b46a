/*
 * Keys from PEM: public keys and certificates, and what is none of these.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "jwt/keys.h"
#include "jwt/t/loaded.h"
#include "jwt/t/signer.h"
#include "jwt/token.h"


#define BROKEN  "broken, or a kind of key that is unknown"


static const struct {
    const char  *type;
    int          n;
    const char  *error;
} types[] = {
    { "RSA", 6, NULL },
    { "P-256", 1, NULL },
    { "P-384", 1, NULL },
    { "P-521", 1, NULL },
    { "ED25519", 1, NULL },
    { "RSA-1024", -1, "RSA of 1024 bits, must have 2048 to 16384" },
    { "RSA-2047", -1, "RSA of 2047 bits, must have 2048 to 16384" },
    { "P-224", -1, "EC on secp224r1, must be P-256, P-384 or P-521" },
    { "secp256k1", -1, "EC on secp256k1, must be P-256, P-384 or P-521" },
    { "X25519", -1, "X25519, must be RSA, EC or Ed25519" }
};


START_TEST(test_types)
{
    char      *pem, *private, *certificate, expected[256];
    EVP_PKEY  *pkey;

    pkey = signer_key(types[_i].type);
    pem = signer_pem(pkey);
    private = signer_private_pem(pkey);
    certificate = strcmp(types[_i].type, "X25519") == 0
                  ? strdup(pem) : signer_certificate(pkey);

    if (types[_i].error == NULL) {
        assert_loads(pem, 0, types[_i].n);
        assert_loads(certificate, 0, types[_i].n);

    } else {
        snprintf(expected, sizeof(expected), "PEM block 1: %s",
                 types[_i].error);
        assert_refused(pem, 0, expected);
        assert_refused(certificate, 0, expected);
    }

    assert_refused(private, 0, "PEM block 1: a private key, only public keys "
                   "belong here");
    free(pem);
    free(private);
    free(certificate);
}
END_TEST


/* what must be a set is refused when it is none */
START_TEST(test_not_jwks)
{
    char        *pem, error[512];
    ms_keys_t   *keys;

    pem = signer_pem(signer_key("P-256"));
    ck_assert_ptr_null(ms_keys_parse_jwks(pem, strlen(pem), NULL, error,
                                          sizeof(error)));
    ck_assert_str_eq(error, "not a JSON object, or with duplicate members, "
                     "or deeper than 8");
    ck_assert_ptr_null(ms_keys_parse_jwks("", 0, NULL, error, sizeof(error)));
    free(pem);

    pem = signer_jwk(signer_key("P-256"), "");
    keys = ms_keys_parse_jwks(pem, strlen(pem), NULL, error, sizeof(error));
    ck_assert_ptr_nonnull(keys);
    ms_keys_free(keys);
    free(pem);
}
END_TEST


START_TEST(test_allowed)
{
    char  *pem;

    pem = signer_pem(signer_key("RSA"));
    assert_loads(pem, MS_ALG_BIT(MS_ALG_RS256), 1);
    assert_loads(pem, MS_ALG_BIT(MS_ALG_PS256) | MS_ALG_BIT(MS_ALG_RS512), 2);
    assert_refused(pem, MS_ALG_BIT(MS_ALG_ES256) | MS_ALG_HS,
                   "PEM block 1: RSA, for which no algorithm is allowed");
    free(pem);

    pem = signer_pem(signer_key("P-256"));
    assert_loads(pem, MS_ALG_BIT(MS_ALG_ES256), 1);
    assert_refused(pem, MS_ALG_BIT(MS_ALG_ES384),
                   "PEM block 1: EC, for which no algorithm is allowed");
    free(pem);
}
END_TEST


/* RSA keys for PSS only, restricted or not */
static const struct {
    const char  *md;                    /* NULL: any */
    const char  *mgf1;
    int          salt;                  /* at least */
    const char  *alg;                   /* that it verifies, NULL: none */
} restrictions[] = {
    { NULL, NULL, 0, "PS384" },
    { "SHA256", "SHA256", 32, "PS256" },
    { "SHA384", "SHA384", 20, "PS384" },
    { "SHA512", "SHA512", 64, "PS512" },
    { "SHA1", "SHA1", 20, NULL },
    { "SHA256", "SHA1", 32, NULL },
    { "SHA256", "SHA256", 33, NULL }
};


static EVP_PKEY *
restricted_key(int n)
{
    EVP_PKEY      *pkey;
    EVP_PKEY_CTX  *ctx;

    pkey = NULL;
    ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL);
    ck_assert_int_eq(EVP_PKEY_keygen_init(ctx), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048), 1);

    if (restrictions[n].md != NULL) {
        ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_pss_keygen_md_name(ctx,
                                           restrictions[n].md, NULL), 1);
        ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_pss_keygen_mgf1_md_name(ctx,
                                           restrictions[n].mgf1), 1);
        ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_pss_keygen_saltlen(ctx,
                                           restrictions[n].salt), 1);
    }

    ck_assert_int_eq(EVP_PKEY_generate(ctx, &pkey), 1);
    EVP_PKEY_CTX_free(ctx);

    return pkey;
}


START_TEST(test_restricted)
{
    char             *pem, *other, *text, *token, header[32], error[512];
    EVP_PKEY         *pkey;
    ms_keys_t        *keys;
    ms_token_t        verified;
    const char       *alg;
    ms_token_rules_t  rules = { .session_claim = "session_id" };

    pkey = restricted_key(_i);
    alg = restrictions[_i].alg;
    pem = signer_pem(pkey);
    other = signer_pem(signer_key("P-256"));
    ck_assert_int_gt(asprintf(&text, "%s%s", other, pem), 0);

    if (alg == NULL) {
        assert_refused(text, 0, "PEM block 2: RSA-PSS restricted to what is "
                       "neither PS256, PS384 nor PS512");

    } else {
        assert_loads(text, 0, restrictions[_i].md != NULL ? 2 : 4);
        assert_refused(pem, MS_ALG_BIT(MS_ALG_RS256), "PEM block 1: RSA-PSS, "
                       "for which no algorithm is allowed");

        snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", alg);
        token = signer_token(alg, pkey, header, "{\"session_id\":\"s\","
                             "\"exp\":2000}");
        keys = ms_keys_parse(text, strlen(text), NULL, error, sizeof(error));
        ck_assert_ptr_nonnull(keys);
        ck_assert_int_eq(ms_token_verify(keys, token, strlen(token), &rules,
                                         1000, &verified), MS_TOKEN_OK);
        ms_token_free(&verified);
        ms_keys_free(keys);
        free(token);
    }

    EVP_PKEY_free(pkey);
    free(pem);
    free(other);
    free(text);
}
END_TEST


START_TEST(test_several)
{
    char  *a, *b, *c, *text;

    a = signer_pem(signer_key("P-256"));
    b = signer_certificate(signer_key("ED25519"));
    c = signer_private_pem(signer_key("P-384"));

    ck_assert_int_gt(asprintf(&text, "# ours\r\n%s\nand theirs:\n%s\n", a, b),
                     0);
    assert_loads(text, 0, 2);
    free(text);

    ck_assert_int_gt(asprintf(&text, "%s%s%s", a, b, c), 0);
    assert_refused(text, 0, "PEM block 3: a private key, only public keys "
                   "belong here");
    free(text);

    free(a);
    free(b);
    free(c);
}
END_TEST


START_TEST(test_broken)
{
    char    *pem, *p, *text;
    size_t   i;

    static const char *const  texts[][2] = {
        { "-----BEGIN PUBLIC KEY-----\n", "PEM block 1: not PEM" },
        { "-----BEGIN PUBLIC KEY-----\nAAAA\n", "PEM block 1: not PEM" },
        { "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
          "PEM block 1: " BROKEN },
        { "-----BEGIN PUBLIC KEY-----\n*\n-----END PUBLIC KEY-----\n",
          "PEM block 1: not PEM" },
        { "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
          "PEM block 1: " BROKEN },
        { "-----BEGIN EC PARAMETERS-----\nAAAA\n-----END EC PARAMETERS-----\n",
          "PEM block 1: neither \"PUBLIC KEY\" nor \"CERTIFICATE\"" },
        { "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n"
          "-----END ENCRYPTED PRIVATE KEY-----\n",
          "PEM block 1: a private key, only public keys belong here" },
        { "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END CERTIFICATE-----\n",
          "PEM block 1: not PEM" },
        { "BEGIN PUBLIC KEY", "neither PEM nor a JSON object" }
    };

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_refused(texts[i][0], 0, texts[i][1]);
    }

    /* a good one before, and one byte of the key changed */
    pem = signer_pem(signer_key("P-256"));
    ck_assert_int_gt(asprintf(&text, "%s%s", pem, texts[0][0]), 0);
    assert_refused(text, 0, "PEM block 2: not PEM");
    free(text);

    assert_loads(pem, 0, 1);
    p = strchr(pem, '\n') + 70;
    *p = *p == 'A' ? 'B' : 'A';
    assert_refused(pem, 0, "PEM block 1: " BROKEN);
    free(pem);
}
END_TEST


/* A public key, and a byte behind it in the same block. */
START_TEST(test_trailing)
{
    char           *text;
    size_t          i;
    unsigned char   der[128], base64[200];

    static const unsigned char  head[] = {
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21,
        0x00
    };

    memcpy(der, head, sizeof(head));
    i = 32;
    ck_assert_int_eq(EVP_PKEY_get_raw_public_key(signer_key("ED25519"),
                                                 der + sizeof(head), &i), 1);
    der[sizeof(head) + 32] = 0;

    for (i = 0; i < 2; i++) {
        EVP_EncodeBlock(base64, der, (int) (sizeof(head) + 32 + i));
        ck_assert_int_gt(asprintf(&text, "-----BEGIN PUBLIC KEY-----\n%s\n"
                                  "-----END PUBLIC KEY-----\n", base64), 0);
        if (i == 0) {
            assert_loads(text, 0, 1);
        } else {
            assert_refused(text, 0, "PEM block 1: " BROKEN);
        }
        free(text);
    }
}
END_TEST


/* Curves by their numbers can be made so that a signature is easy to find. */
START_TEST(test_explicit_curve)
{
    char       *pem;
    EVP_PKEY   *pkey;

    pkey = EVP_PKEY_dup(signer_key("P-256"));
    ck_assert_int_eq(EVP_PKEY_set_utf8_string_param(pkey, "encoding",
                                                    "explicit"), 1);
    pem = signer_pem(pkey);
    assert_refused(pem, 0, "PEM block 1: EC with a curve that has no name");
    free(pem);
    EVP_PKEY_free(pkey);
}
END_TEST


static void
write_file(char *path, const void *data, size_t len)
{
    int  fd;

    strcpy(path, "/tmp/test_pem.XXXXXX");
    fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, data, len), len);
    close(fd);
}


START_TEST(test_files)
{
    char       *pem, path[64], error[512], expected[512], *big;
    ms_keys_t  *keys;

    pem = signer_pem(signer_key("P-256"));
    write_file(path, pem, strlen(pem));
    keys = ms_keys_from_file(path, NULL, error, sizeof(error));
    unlink(path);
    ck_assert_ptr_nonnull(keys);
    ms_keys_free(keys);

    write_file(path, pem, strlen(pem) - 5);
    ck_assert_ptr_null(ms_keys_from_file(path, NULL, error, sizeof(error)));
    unlink(path);
    snprintf(expected, sizeof(expected), "key file \"%s\": PEM block 1: not "
             "PEM", path);
    ck_assert_str_eq(error, expected);

    ck_assert_ptr_null(ms_keys_from_file(path, NULL, error, sizeof(error)));
    snprintf(expected, sizeof(expected), "key file \"%s\": No such file or "
             "directory", path);
    ck_assert_str_eq(error, expected);

    /* as large as it may be, and a byte more */
    big = malloc(MS_KEYS_TEXT_MAX + 1);
    memset(big, '\n', MS_KEYS_TEXT_MAX + 1);
    memcpy(big, pem, strlen(pem));
    write_file(path, big, MS_KEYS_TEXT_MAX);
    keys = ms_keys_from_file(path, NULL, error, sizeof(error));
    unlink(path);
    ck_assert_ptr_nonnull(keys);
    ms_keys_free(keys);

    write_file(path, big, MS_KEYS_TEXT_MAX + 1);
    ck_assert_ptr_null(ms_keys_from_file(path, NULL, error, sizeof(error)));
    unlink(path);
    snprintf(expected, sizeof(expected), "key file \"%s\": more than 1048576 "
             "bytes", path);
    ck_assert_str_eq(error, expected);

    free(big);
    free(pem);
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

    suite = suite_create("pem");
    tcase = tcase_create("pem");
    tcase_set_timeout(tcase, 60);
    add_loop(test_types, types);
    tcase_add_test(tcase, test_not_jwks);
    tcase_add_test(tcase, test_allowed);
    add_loop(test_restricted, restrictions);
    tcase_add_test(tcase, test_several);
    tcase_add_test(tcase, test_broken);
    tcase_add_test(tcase, test_trailing);
    tcase_add_test(tcase, test_explicit_curve);
    tcase_add_test(tcase, test_files);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? 0 : 1;
}
