/*
 * Keys and what they sign.  Judges: libjwt, the openssl command line, the
 * vectors of RFC 7638 and RFC 8037.
 */

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <jwt.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <sodium.h>

#include "authsvc/keys/signkey.h"
#include "authsvc/t/folder.h"
#include "authsvc/t/suite.h"


#define CLAIMS   "{\"sub\":\"J\xc3\xb6rg\",\"exp\":1700000000}"
#define BASE64   sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define THREADS  4


static char         error[512];
static const char  *directory;


static void
setup(void)
{
    ck_assert_int_ge(sodium_init(), 0);
    directory = folder_create();
}


static void
teardown(void)
{
    folder_remove();
}


static void
generate(signkey_t *key, int alg)
{
    ck_assert_int_eq(signkey_generate(key, (signkey_alg_t) alg), 0);
}


static char *
sign(const signkey_t *key)
{
    char    *token;
    json_t  *claims;

    claims = json_loads(CLAIMS, 0, NULL);
    token = signkey_token(key, claims);
    ck_assert_ptr_nonnull(token);
    json_decref(claims);

    return token;
}


/* A part of a token; the length. */
static size_t
part(const char *token, int n, unsigned char *out, size_t size)
{
    size_t  len;

    for (/* void */; n > 0; n--) {
        token = strchr(token, '.') + 1;
    }

    ck_assert_int_eq(sodium_base642bin(out, size, token, strcspn(token, "."),
                                       NULL, &len, NULL, BASE64), 0);
    out[len] = '\0';

    return len;
}


static const char *
private_key(const signkey_t *key)
{
    static char  pem[SIGNKEY_PEM];

    ck_assert_int_eq(signkey_write(key, pem), 0);

    return pem;
}


START_TEST(test_header)
{
    char           *token, expected[256];
    signkey_t       key;
    unsigned char   text[2048];

    generate(&key, _i);
    ck_assert_uint_eq(strlen(key.kid), SIGNKEY_KID);
    ck_assert_int_eq(key.alg, _i);

    token = sign(&key);
    part(token, 0, text, sizeof(text));
    snprintf(expected, sizeof(expected),
             "{\"alg\":\"%s\",\"kid\":\"%s\",\"typ\":\"JWT\"}",
             signkey_algs[_i], key.kid);
    ck_assert_str_eq((char *) text, expected);

    part(token, 1, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr((char *) text, "\"sub\":\"J\xc3\xb6rg\""));
    ck_assert_ptr_nonnull(strstr((char *) text, "\"exp\":1700000000"));

    free(token);
    signkey_free(&key);
}
END_TEST


/* DER again, for those who know nothing else. */
static size_t
der(unsigned char *signature)
{
    int             len;
    ECDSA_SIG      *sig;
    unsigned char  *p;

    sig = ECDSA_SIG_new();
    ECDSA_SIG_set0(sig, BN_bin2bn(signature, 32, NULL),
                   BN_bin2bn(signature + 32, 32, NULL));
    p = signature;
    len = i2d_ECDSA_SIG(sig, &p);
    ECDSA_SIG_free(sig);

    return (size_t) len;
}


static int
run(const char *command)
{
    char  line[2048];

    snprintf(line, sizeof(line), "cd '%s' && { %s; } >>log 2>&1",
             directory, command);

    return system(line);
}


static const char *const  commands[SIGNKEY_ALGS] = {
    [SIGNKEY_RS256] = "openssl dgst -sha256 -verify pub -signature sig in",
    [SIGNKEY_PS256] = "openssl dgst -sha256 -sigopt rsa_padding_mode:pss "
                      "-sigopt rsa_pss_saltlen:digest -verify pub "
                      "-signature sig in",
    [SIGNKEY_ES256] = "openssl dgst -sha256 -verify pub -signature sig in",
    [SIGNKEY_EDDSA] = "openssl pkeyutl -verify -rawin -pubin -inkey pub "
                      "-sigfile sig -in in"
};


START_TEST(test_openssl)
{
    char           *token;
    size_t          len;
    signkey_t       key;
    const char     *pem;
    unsigned char   sig[2048];

    generate(&key, _i);
    token = sign(&key);
    len = part(token, 2, sig, sizeof(sig));

    if (_i == SIGNKEY_ES256) {
        ck_assert_uint_eq(len, 64);
        len = der(sig);
    }

    pem = private_key(&key);
    folder_write("pem", pem, strlen(pem), 0600);
    folder_write("sig", sig, len, 0600);
    folder_write("in", token, (size_t) (strrchr(token, '.') - token), 0600);

    ck_assert_int_eq(run("openssl pkey -in pem -pubout -out pub"), 0);
    ck_assert_int_eq(run(commands[_i]), 0);

    /* and it can say no */
    token[10] ^= 1;
    folder_write("in", token, (size_t) (strrchr(token, '.') - token), 0600);
    ck_assert_int_ne(run(commands[_i]), 0);

    free(token);
    signkey_free(&key);
}
END_TEST


/* The public key, made by openssl; the secret itself. */
static int
public_key(const signkey_t *key, char *out)
{
    FILE    *file;
    size_t   n;

    strcpy(out, private_key(key));

    if (key->alg == SIGNKEY_HS256) {
        return (int) strlen(out) - 1;
    }

    folder_write("pem", out, strlen(out), 0600);
    ck_assert_int_eq(run("openssl pkey -in pem -pubout -out pub"), 0);
    file = fopen(folder_path("pub"), "r");
    ck_assert_ptr_nonnull(file);
    n = fread(out, 1, SIGNKEY_PEM - 1, file);
    fclose(file);
    out[n] = '\0';

    return (int) n;
}


/* Those that libjwt knows. */
static void
assert_libjwt(const signkey_t *key, jwt_alg_t alg)
{
    int     len;
    char   *token, text[SIGNKEY_PEM];
    jwt_t  *jwt;

    token = sign(key);
    len = public_key(key, text);

    ck_assert_int_eq(jwt_decode(&jwt, token, (const unsigned char *) text,
                                len), 0);
    ck_assert_int_eq(jwt_get_alg(jwt), alg);
    ck_assert_str_eq(jwt_get_grant(jwt, "sub"), "J\xc3\xb6rg");
    ck_assert_str_eq(jwt_get_header(jwt, "kid"), key->kid);
    jwt_free(jwt);

    /* and it can say no */
    token[strlen(token) - 10] ^= 1;
    ck_assert_int_ne(jwt_decode(&jwt, token, (const unsigned char *) text,
                                len), 0);
    free(token);
}


static const struct {
    signkey_alg_t  alg;
    jwt_alg_t      libjwt;
} known[] = {
    { SIGNKEY_HS256, JWT_ALG_HS256 },
    { SIGNKEY_RS256, JWT_ALG_RS256 },
    { SIGNKEY_ES256, JWT_ALG_ES256 }
};


START_TEST(test_libjwt)
{
    signkey_t  key;

    generate(&key, known[_i].alg);
    assert_libjwt(&key, known[_i].libjwt);
    signkey_free(&key);
}
END_TEST


/* One in 256 numbers is shorter than 32 bytes. */
START_TEST(test_short_numbers)
{
    int         i;
    char       *token;
    json_t     *jwk;
    signkey_t   key;

    generate(&key, SIGNKEY_ES256);

    for (i = 0; i < 1000; i++) {
        token = sign(&key);
        ck_assert_uint_eq(strlen(strrchr(token, '.') + 1), 86);
        free(token);
    }

    signkey_free(&key);

    for (i = 0; i < 600; i++) {
        generate(&key, SIGNKEY_ES256);
        jwk = signkey_public(&key);
        ck_assert_uint_eq(json_string_length(json_object_get(jwk, "x")), 43);
        ck_assert_uint_eq(json_string_length(json_object_get(jwk, "y")), 43);
        ck_assert_int_ne(key.kid[0], '-');
        json_decref(jwk);
        signkey_free(&key);
    }
}
END_TEST


START_TEST(test_files)
{
    char        text[SIGNKEY_PEM];
    json_t     *one, *two;
    signkey_t   key, copy;

    generate(&key, _i);
    strcpy(text, private_key(&key));
    folder_write("key", text, strlen(text), 0600);

    copy = key;
    ck_assert_int_eq(signkey_load(&copy, folder_path("key"), error,
                                  sizeof(error)), 0);
    ck_assert_str_eq(private_key(&copy), text);
    ck_assert_str_eq(copy.kid, key.kid);

    one = signkey_public(&key);
    two = signkey_public(&copy);
    ck_assert_int_eq(one == NULL, _i == SIGNKEY_HS256);
    ck_assert(_i == SIGNKEY_HS256 || json_equal(one, two));

    json_decref(one);
    json_decref(two);
    signkey_free(&copy);
    signkey_free(&key);
}
END_TEST


START_TEST(test_public)
{
    char        thumbprint[SIGNKEY_KID + 1];
    json_t     *jwk;
    signkey_t   key;

    generate(&key, _i);
    jwk = signkey_public(&key);
    ck_assert_ptr_nonnull(jwk);

    ck_assert_str_eq(json_string_value(json_object_get(jwk, "kid")),
                     key.kid);
    ck_assert_str_eq(json_string_value(json_object_get(jwk, "alg")),
                     signkey_algs[_i]);
    ck_assert_str_eq(json_string_value(json_object_get(jwk, "use")), "sig");

    /* nothing private: these and kty, crv/n, x/e, y */
    json_object_del(jwk, "kid");
    json_object_del(jwk, "alg");
    json_object_del(jwk, "use");
    ck_assert_uint_eq(json_object_size(jwk), _i == SIGNKEY_ES256 ? 4 : 3);
    ck_assert_ptr_null(json_object_get(jwk, "d"));

    ck_assert_int_eq(signkey_thumbprint(jwk, thumbprint), 0);
    ck_assert_str_eq(thumbprint, key.kid);

    json_decref(jwk);
    signkey_free(&key);
}
END_TEST


/* RFC 7638 section 3.1 and RFC 8037 section A.3 */
static const char *const  thumbprints[][2] = {
    { "{\"kty\":\"RSA\",\"n\":\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM"
      "78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"
      "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY3"
      "68QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt"
      "-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-k"
      "EgU8awapJzKnqDKgw\",\"e\":\"AQAB\"}",
      "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" },
    { "{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
      "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
      "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" }
};


START_TEST(test_thumbprints)
{
    char     text[SIGNKEY_KID + 1];
    json_t  *jwk;

    jwk = json_loads(thumbprints[_i][0], 0, NULL);
    ck_assert_ptr_nonnull(jwk);
    ck_assert_int_eq(signkey_thumbprint(jwk, text), 0);
    ck_assert_str_eq(text, thumbprints[_i][1]);
    json_decref(jwk);
}
END_TEST


/* RFC 8037 sections A.1 and A.2 */
START_TEST(test_ed25519)
{
    json_t         *jwk;
    signkey_t       key = { .alg = SIGNKEY_EDDSA };
    unsigned char   d[32];

    ck_assert_int_eq(sodium_base642bin(d, sizeof(d), "nWGxne_9WmC6hEr0kuwsxERJ"
                                       "xWl7MmkZcDusAxyuf2A", 43, NULL, NULL,
                                       NULL, BASE64), 0);
    key.pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, d, 32);
    jwk = signkey_public(&key);
    ck_assert_str_eq(json_string_value(json_object_get(jwk, "x")),
                     "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    json_decref(jwk);
    signkey_free(&key);
}
END_TEST


static const struct {
    signkey_alg_t  alg;
    const char    *command;             /* makes the file "pem" */
    const char    *error;
} unfit[] = {
    { SIGNKEY_RS256, "openssl genrsa -out pem 1024",
      "RS256 needs an RSA key of 2048 to 8192 bits" },
    { SIGNKEY_PS256, "openssl genpkey -algorithm ed25519 -out pem",
      "PS256 needs an RSA key of 2048 to 8192 bits" },
    { SIGNKEY_ES256, "openssl ecparam -name secp384r1 -genkey -noout -out pem",
      "ES256 needs a key of the curve P-256" },
    { SIGNKEY_ES256, "openssl ecparam -name secp256k1 -genkey -noout -out pem",
      "ES256 needs a key of the curve P-256" },
    { SIGNKEY_ES256, "openssl genrsa -out pem 2048",
      "ES256 needs a key of the curve P-256" },
    { SIGNKEY_EDDSA, "openssl genpkey -algorithm x25519 -out pem",
      "EdDSA needs an Ed25519 key" },
    { SIGNKEY_EDDSA, "openssl genpkey -algorithm ed25519 | "
      "openssl pkey -pubout -out pem",
      "not a private key in PEM without a passphrase" },
    { SIGNKEY_RS256, "openssl genrsa -aes128 -passout pass:x -out pem 2048",
      "not a private key in PEM without a passphrase" },
    { SIGNKEY_RS256, "echo hello >pem",
      "not a private key in PEM without a passphrase" },
    { SIGNKEY_RS256, ": >pem",
      "not a private key in PEM without a passphrase" },
    { SIGNKEY_HS256, "echo short >pem",
      "the secret must have 32 to 4096 bytes, has 5" }
};


START_TEST(test_unfit)
{
    char       expected[512];
    signkey_t  key = { .alg = unfit[_i].alg };

    ck_assert_int_eq(run(unfit[_i].command), 0);
    ck_assert_int_eq(signkey_load(&key, folder_path("pem"), error,
                                  sizeof(error)), -1);
    snprintf(expected, sizeof(expected), "key file \"%s\": %s",
             folder_path("pem"), unfit[_i].error);
    ck_assert_str_eq(error, expected);
}
END_TEST


START_TEST(test_no_name)
{
    char           *token;
    signkey_t       key = { .alg = SIGNKEY_HS256 };
    unsigned char   text[256];

    ck_assert_int_eq(signkey_read(&key, "0123456789abcdef0123456789abcdef", 32,
                                  error, sizeof(error)), 0);
    token = sign(&key);
    part(token, 0, text, sizeof(text));
    ck_assert_str_eq((char *) text, "{\"alg\":\"HS256\",\"typ\":\"JWT\"}");
    ck_assert_ptr_null(signkey_public(&key));
    free(token);
    signkey_free(&key);
    signkey_free(&key);
}
END_TEST


static void *
thread(void *data)
{
    int     i;
    json_t *claims;

    claims = json_loads(CLAIMS, 0, NULL);

    for (i = 0; i < 50; i++) {
        free(signkey_token(data, claims));
    }

    json_decref(claims);
    signkey_free(data);

    return NULL;
}


/* The first copy may be gone while others sign. */
START_TEST(test_threads)
{
    int        i;
    pthread_t  threads[THREADS];
    signkey_t  key, copies[THREADS];

    generate(&key, _i);

    for (i = 0; i < THREADS; i++) {
        signkey_copy(&copies[i], &key);
        ck_assert_int_eq(pthread_create(&threads[i], NULL, thread,
                                        &copies[i]), 0);
    }

    signkey_free(&key);

    for (i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
}
END_TEST


/* SIGNKEY_COST=1 prints what a token of each algorithm costs. */
START_TEST(test_cost)
{
    int              i, n;
    char            *token;
    signkey_t        key;
    struct timespec  a, b;

    if (getenv("SIGNKEY_COST") == NULL) {
        return;
    }

    n = 2000;
    generate(&key, _i);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);

    for (i = 0; i < n; i++) {
        token = sign(&key);
        free(token);
    }

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    printf("%s: %.1f us per token\n", signkey_algs[_i],
           ((double) (b.tv_sec - a.tv_sec) * 1e9
            + (double) (b.tv_nsec - a.tv_nsec)) / 1e3 / n);
    signkey_free(&key);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("signkey");
    tcase = tcase_create("signkey");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, test_header, 0, SIGNKEY_ALGS);
    tcase_add_loop_test(tcase, test_openssl, SIGNKEY_RS256, SIGNKEY_ALGS);
    tcase_add_loop_test(tcase, test_libjwt, 0,
                        sizeof(known) / sizeof(known[0]));
    tcase_add_test(tcase, test_short_numbers);
    tcase_add_loop_test(tcase, test_files, 0, SIGNKEY_ALGS);
    tcase_add_loop_test(tcase, test_public, SIGNKEY_RS256, SIGNKEY_ALGS);
    tcase_add_loop_test(tcase, test_thumbprints, 0,
                        sizeof(thumbprints) / sizeof(thumbprints[0]));
    tcase_add_test(tcase, test_ed25519);
    tcase_add_loop_test(tcase, test_unfit, 0,
                        sizeof(unfit) / sizeof(unfit[0]));
    tcase_add_test(tcase, test_no_name);
    tcase_add_loop_test(tcase, test_threads, 0, SIGNKEY_ALGS);
    tcase_add_loop_test(tcase, test_cost, 0, SIGNKEY_ALGS);
    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
