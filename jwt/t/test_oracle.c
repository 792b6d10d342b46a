/*
 * Tokens and verdicts of others: libjwt, the openssl command, and the examples
 * of RFC 7515, RFC 7519 and RFC 8037.
 */

#include <check.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <jwt.h>

#include "jwt/keys.h"
#include "jwt/t/forge.h"
#include "jwt/t/signer.h"
#include "jwt/token.h"


#define NOW     1700000000
#define CLAIMS  "{\"session_id\":\"s1\",\"exp\":1700000100}"


static const ms_token_rules_t  rules = { .session_claim = "session_id" };

static char  folder[] = "/tmp/test_oracle.XXXXXX";


static ms_keys_t *
parse(const char *text)
{
    char        error[256] = "";
    ms_keys_t  *keys;

    keys = ms_keys_parse(text, strlen(text), NULL, error, sizeof(error));
    ck_assert_msg(keys != NULL, "%s: %s", text, error);

    return keys;
}


static ms_keys_t *
keys_of(const char *alg)
{
    char              *pem, error[256];
    ms_keys_t         *keys;
    ms_keys_options_t  options = { MS_ALG_HS };

    if (signer_type(alg) == NULL) {
        keys = ms_keys_from_secret(SIGNER_SECRET, strlen(SIGNER_SECRET),
                                   &options, error, sizeof(error));
        ck_assert_ptr_nonnull(keys);
        ck_assert_uint_eq(ms_keys_count(keys), 3);
        return keys;
    }

    pem = signer_pem(signer_key(signer_type(alg)));
    keys = parse(pem);
    free(pem);

    return keys;
}


static void
assert_verdict(const ms_keys_t *keys, const char *text,
    ms_token_reason_t expected)
{
    ms_token_t         token;
    ms_token_reason_t  reason;

    reason = ms_token_verify(keys, text, strlen(text), &rules, NOW, &token);
    ck_assert_str_eq(ms_token_reasons[reason].name,
                     ms_token_reasons[expected].name);

    if (reason == MS_TOKEN_OK) {
        ck_assert_str_eq(token.session, "s1");
        ms_token_free(&token);
    }
}


/* Changes a character of the signature to another one. */
static void
spoil(char *text)
{
    char  *p;

    p = text + strlen(text) - 5;
    *p = *p == 'A' ? 'B' : 'A';
}


static const char *const  libjwt_algs[] = {
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384",
    "ES512"
};


START_TEST(test_libjwt)
{
    char        *text, *secret, *pem, header[64];
    jwt_t       *jwt;
    ms_keys_t   *keys;
    const char  *alg;

    alg = libjwt_algs[_i];
    keys = keys_of(alg);
    secret = alg[0] == 'H'
             ? strdup(SIGNER_SECRET)
             : signer_private_pem(signer_key(signer_type(alg)));

    /* made by libjwt */
    ck_assert_int_eq(jwt_new(&jwt), 0);
    ck_assert_int_eq(jwt_add_grants_json(jwt, CLAIMS), 0);
    ck_assert_int_eq(jwt_set_alg(jwt, jwt_str_alg(alg),
                                 (unsigned char *) secret,
                                 (int) strlen(secret)), 0);
    text = jwt_encode_str(jwt);
    ck_assert_ptr_nonnull(text);
    assert_verdict(keys, text, MS_TOKEN_OK);
    spoil(text);
    assert_verdict(keys, text, MS_TOKEN_SIGNATURE);
    jwt_free(jwt);
    free(text);

    /* checked by libjwt */
    snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", alg);
    text = signer_token(alg, alg[0] == 'H' ? NULL
                                           : signer_key(signer_type(alg)),
                        header, CLAIMS);
    assert_verdict(keys, text, MS_TOKEN_OK);
    pem = alg[0] == 'H' ? strdup(SIGNER_SECRET)
                        : signer_pem(signer_key(signer_type(alg)));
    ck_assert_int_eq(jwt_decode(&jwt, text, (unsigned char *) pem,
                                (int) strlen(pem)), 0);
    ck_assert_str_eq(jwt_get_grant(jwt, "session_id"), "s1");
    jwt_free(jwt);

    free(text);
    free(pem);
    free(secret);
    ms_keys_free(keys);
}
END_TEST


static void
run(const char *format, ...)
{
    int      n;
    char     command[1024];
    va_list  args;

    n = snprintf(command, sizeof(command), "cd %s && ", folder);
    va_start(args, format);
    vsnprintf(command + n, sizeof(command) - (size_t) n, format, args);
    va_end(args);

    ck_assert_msg(system(command) == 0, "%s", command);
}


static void
put(const char *name, const void *data, size_t len)
{
    char   path[64];
    FILE  *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(data, 1, len, file), len);
    fclose(file);
}


static size_t
get(const char *name, void *data, size_t size)
{
    char    path[64];
    FILE   *file;
    size_t  n;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    n = fread(data, 1, size - 1, file);
    fclose(file);
    ((char *) data)[n] = '\0';

    return n;
}


/* what "openssl genpkey" and "openssl dgst" or "pkeyutl" are told */
static const struct {
    const char  *alg;
    const char  *generate;
    const char  *sign;
    size_t       field;
} openssl_algs[] = {
    { "HS256", NULL, "-sha256", 0 },
    { "HS384", NULL, "-sha384", 0 },
    { "HS512", NULL, "-sha512", 0 },
    { "RS256", "RSA", "-sha256", 0 },
    { "RS384", "RSA", "-sha384", 0 },
    { "RS512", "RSA", "-sha512", 0 },
    { "PS256", "RSA", "-sha256 -sigopt rsa_padding_mode:pss "
      "-sigopt rsa_pss_saltlen:32", 0 },
    { "PS384", "RSA", "-sha384 -sigopt rsa_padding_mode:pss "
      "-sigopt rsa_pss_saltlen:48", 0 },
    { "PS512", "RSA -pkeyopt rsa_keygen_bits:3072", "-sha512 -sigopt "
      "rsa_padding_mode:pss -sigopt rsa_pss_saltlen:64", 0 },
    { "ES256", "EC -pkeyopt ec_paramgen_curve:P-256", "-sha256", 32 },
    { "ES384", "EC -pkeyopt ec_paramgen_curve:P-384", "-sha384", 48 },
    { "ES512", "EC -pkeyopt ec_paramgen_curve:P-521", "-sha512", 66 },
    { "EdDSA", "ED25519", NULL, 0 }
};


static void
openssl_sign(const char *generate, const char *sign)
{
    if (generate == NULL) {
        run("openssl dgst %s -hmac '%s' -binary -out signature text", sign,
            SIGNER_SECRET);
        return;
    }

    run("openssl genpkey -quiet -algorithm %s -out key 2>/dev/null "
        "|| openssl genpkey -algorithm %s -out key 2>/dev/null", generate,
        generate);
    run("openssl pkey -in key -pubout -out public");

    if (sign == NULL) {
        run("openssl pkeyutl -sign -inkey key -rawin -in text "
            "-out signature");
    } else {
        run("openssl dgst %s -sign key -out signature text", sign);
    }
}


/* INTEGERs of a SEQUENCE to halves of "field" bytes, by hand. */
static size_t
raw_signature(unsigned char *data, size_t field)
{
    size_t          i, n;
    unsigned char   raw[2 * 66], *p;

    p = data + (data[1] & 0x80 ? 3 : 2);
    memset(raw, 0, sizeof(raw));

    for (i = 0; i < 2; i++) {
        n = p[1];
        p += 2;

        while (n > field) {
            ck_assert_uint_eq(*p, 0);
            p++;
            n--;
        }

        memcpy(raw + i * field + field - n, p, n);
        p += n;
    }

    memcpy(data, raw, 2 * field);

    return 2 * field;
}


START_TEST(test_openssl)
{
    char            header[64], *h, *c, *s, *text, *token, pem[4096];
    size_t          len;
    ms_keys_t      *keys;
    unsigned char   signature[1024];

    snprintf(header, sizeof(header), "{\"alg\":\"%s\"}",
             openssl_algs[_i].alg);
    h = forge_base64url(header, strlen(header));
    c = forge_base64url(CLAIMS, strlen(CLAIMS));
    ck_assert_int_gt(asprintf(&text, "%s.%s", h, c), 0);
    put("text", text, strlen(text));

    openssl_sign(openssl_algs[_i].generate, openssl_algs[_i].sign);
    len = get("signature", signature, sizeof(signature));

    if (openssl_algs[_i].field > 0) {
        len = raw_signature(signature, openssl_algs[_i].field);
    }

    s = forge_base64url(signature, len);
    ck_assert_int_gt(asprintf(&token, "%s.%s", text, s), 0);

    if (openssl_algs[_i].generate != NULL) {
        (void) get("public", pem, sizeof(pem));
        keys = parse(pem);
    } else {
        keys = keys_of(openssl_algs[_i].alg);
    }

    assert_verdict(keys, token, MS_TOKEN_OK);
    spoil(token);
    assert_verdict(keys, token, MS_TOKEN_SIGNATURE);

    ms_keys_free(keys);
    free(h);
    free(c);
    free(s);
    free(text);
    free(token);
}
END_TEST


/* What the command takes as RSASSA-PSS with another salt is no PS256. */
START_TEST(test_openssl_salt)
{
    char           *h, *c, *s, *text, *token, pem[4096];
    size_t          i, len;
    ms_keys_t      *keys;
    unsigned char   signature[1024];

    static const struct {
        const char         *options;
        ms_token_reason_t   reason;
    } salts[] = {
        { "-sha256 -sigopt rsa_pss_saltlen:32", MS_TOKEN_OK },
        { "-sha256 -sigopt rsa_pss_saltlen:0", MS_TOKEN_SIGNATURE },
        { "-sha256 -sigopt rsa_pss_saltlen:20", MS_TOKEN_SIGNATURE },
        { "-sha256 -sigopt rsa_pss_saltlen:max", MS_TOKEN_SIGNATURE },
        { "-sha256 -sigopt rsa_pss_saltlen:32 -sigopt rsa_mgf1_md:sha1",
          MS_TOKEN_SIGNATURE },
        { "-sha384 -sigopt rsa_pss_saltlen:32", MS_TOKEN_SIGNATURE }
    };

    h = forge_base64url("{\"alg\":\"PS256\"}", 15);
    c = forge_base64url(CLAIMS, strlen(CLAIMS));
    ck_assert_int_gt(asprintf(&text, "%s.%s", h, c), 0);
    put("text", text, strlen(text));
    run("openssl genpkey -algorithm RSA -out key 2>/dev/null");
    run("openssl pkey -in key -pubout -out public");
    (void) get("public", pem, sizeof(pem));
    keys = parse(pem);

    for (i = 0; i < sizeof(salts) / sizeof(salts[0]); i++) {
        run("openssl dgst -sigopt rsa_padding_mode:pss %s -sign key "
            "-out signature text", salts[i].options);
        len = get("signature", signature, sizeof(signature));
        s = forge_base64url(signature, len);
        ck_assert_int_gt(asprintf(&token, "%s.%s", text, s), 0);
        assert_verdict(keys, token, salts[i].reason);
        free(s);
        free(token);
    }

    ms_keys_free(keys);
    free(h);
    free(c);
    free(text);
}
END_TEST


#define JOE                                                                   \
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxl"  \
    "LmNvbS9pc19yb290Ijp0cnVlfQ."

/* RFC 7515 appendix A.1 to A.4, RFC 8037 appendix A.4 */
static const struct {
    const char  *key;
    const char  *token;
} examples[] = {
    { "{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-"
      "1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\",\"alg\":\"HS256\"}",
      "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9" JOE
      "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" },
    { "{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji"
      "9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNM"
      "sD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rex"
      "MdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9"
      "kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDT"
      "W9gb54h4FRWyuXpoQ\",\"e\":\"AQAB\"}",
      "eyJhbGciOiJSUzI1NiJ9" JOE
      "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm"
      "4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--"
      "f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383Lc"
      "OLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUi"
      "pUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw" },
    { "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":"
      "\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":"
      "\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}",
      "eyJhbGciOiJFUzI1NiJ9" JOE
      "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxf"
      "KTUJqPP3-Kg6NU1Q" },
    { "{\"kty\":\"EC\",\"crv\":\"P-521\",\"x\":\"AekpBQ8ST8a8VcfVOTNl353vSrDC"
      "LLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk\",\"y\":"
      "\"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0A"
      "ZMaZmh9ubmf63e3kyMj2\"}",
      "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_Ux"
      "Mi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2Y"
      "BJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn" },
    { "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
      "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
      "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP"
      "0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0"
      "KAg" }
};


/* The payload of some is no JSON, which is told only of authentic tokens. */
START_TEST(test_examples)
{
    bool               json;
    char              *text;
    ms_keys_t         *keys;
    ms_token_t         token;
    ms_token_rules_t   joe = { .session_claim = "iss", .issuer = "joe" };

    keys = parse(examples[_i].key);
    text = strdup(examples[_i].token);
    json = strstr(text, JOE) != NULL;

    ck_assert_int_eq(ms_token_verify(keys, text, strlen(text), &joe,
                                     1300819379, &token),
                     json ? MS_TOKEN_OK : MS_TOKEN_MALFORMED);
    ms_token_free(&token);

    spoil(text);
    ck_assert_int_eq(ms_token_verify(keys, text, strlen(text), &joe,
                                     1300819379, &token),
                     MS_TOKEN_SIGNATURE);
    ms_keys_free(keys);
    free(text);
}
END_TEST


/* RFC 7519 section 6.1: an unsecured JWT */
START_TEST(test_unsecured)
{
    size_t      i;
    ms_keys_t  *keys;

    for (i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        keys = parse(examples[i].key);
        assert_verdict(keys, "eyJhbGciOiJub25lIn0" JOE, MS_TOKEN_ALGORITHM);
        ms_keys_free(keys);
    }
}
END_TEST


#define add_loop(test, table)                                                 \
    tcase_add_loop_test(tcase, test, 0, sizeof(table) / sizeof(table[0]))


int
main(void)
{
    int       failed;
    char      command[64];
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    if (mkdtemp(folder) == NULL) {
        return 1;
    }

    suite = suite_create("oracle");
    tcase = tcase_create("oracle");
    tcase_set_timeout(tcase, 60);
    add_loop(test_libjwt, libjwt_algs);
    add_loop(test_openssl, openssl_algs);
    tcase_add_test(tcase, test_openssl_salt);
    add_loop(test_examples, examples);
    tcase_add_test(tcase, test_unsecured);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    snprintf(command, sizeof(command), "rm -rf %s", folder);

    return system(command) == 0 && failed == 0 ? 0 : 1;
}
