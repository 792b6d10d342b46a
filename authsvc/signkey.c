#include "authsvc/signkey.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jwt.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <sodium.h>

#include "authsvc/jwk.h"
#include "jwt/keys.h"


#define SIGNKEY_RSA_BITS   2048         /* of new keys, and at least */
#define SIGNKEY_SECRET     32           /* random bytes, written in hex */
#define SIGNKEY_SIGNATURE  1024         /* bytes of the longest: RSA 8192 */
#define SIGNKEY_P256       32           /* bytes of r and of s */


struct signkey_s {
    atomic_uint     refs;
    signkey_alg_t   alg;
    char           *kid;                /* NULL: none */
    char           *header;             /* encoded; NULL for HS256 */
    EVP_PKEY       *pkey;               /* NULL for HS256 */
    size_t          len;
    unsigned char   secret[];
};


const char *const  signkey_algs[SIGNKEY_ALGS] = {
    [SIGNKEY_HS256] = "HS256",
    [SIGNKEY_RS256] = "RS256",
    [SIGNKEY_PS256] = "PS256",
    [SIGNKEY_ES256] = "ES256",
    [SIGNKEY_EDDSA] = "EdDSA"
};


int
signkey_alg_find(const char *name)
{
    int  i;

    for (i = 0; i < SIGNKEY_ALGS; i++) {
        if (strcmp(signkey_algs[i], name) == 0) {
            return i;
        }
    }

    return -1;
}


static signkey_t *
signkey_create(signkey_alg_t alg, const char *kid, size_t secret)
{
    signkey_t  *key;

    key = calloc(1, sizeof(signkey_t) + secret);
    if (key == NULL) {
        return NULL;
    }

    atomic_init(&key->refs, 1);
    key->alg = alg;

    if (kid != NULL) {
        key->kid = strdup(kid);
        if (key->kid == NULL) {
            free(key);
            return NULL;
        }
    }

    return key;
}


signkey_t *
signkey_ref(signkey_t *key)
{
    atomic_fetch_add_explicit(&key->refs, 1, memory_order_relaxed);

    return key;
}


void
signkey_unref(signkey_t *key)
{
    if (key == NULL
        || atomic_fetch_sub_explicit(&key->refs, 1, memory_order_acq_rel) != 1)
    {
        return;
    }

    EVP_PKEY_free(key->pkey);           /* wipes it */
    sodium_memzero(key->secret, key->len);
    free(key->header);
    free(key->kid);
    free(key);
}


signkey_t *
signkey_secret(const void *secret, size_t len, const char *kid)
{
    signkey_t  *key;

    /* libjwt takes a missing key for "do not sign" */
    if (len == 0) {
        return NULL;
    }

    key = signkey_create(SIGNKEY_HS256, kid, len);
    if (key != NULL) {
        memcpy(key->secret, secret, len);
        key->len = len;
    }

    return key;
}


/* The same for every token of the key. */
static char *
signkey_header(signkey_alg_t alg, const char *kid)
{
    char    *text, *encoded;
    json_t  *header;

    header = json_pack("{s:s, s:s, s:s}", "alg", signkey_algs[alg], "kid", kid,
                       "typ", "JWT");
    text = header != NULL ? json_dumps(header, JSON_COMPACT) : NULL;
    encoded = text != NULL ? jwk_base64url(text, strlen(text)) : NULL;

    free(text);
    json_decref(header);

    return encoded;
}


/* Takes "pkey" over, on failure, too. */
static signkey_t *
signkey_pair(signkey_alg_t alg, const char *kid, EVP_PKEY *pkey)
{
    signkey_t  *key;

    key = signkey_create(alg, kid, 0);
    if (key == NULL) {
        EVP_PKEY_free(pkey);
        return NULL;
    }

    key->pkey = pkey;
    key->header = signkey_header(alg, kid);

    if (key->header == NULL) {
        signkey_unref(key);
        return NULL;
    }

    return key;
}


static signkey_t *
signkey_generate_secret(void)
{
    char            secret[2 * SIGNKEY_SECRET + 1], kid[SIGNKEY_KID + 1];
    signkey_t      *key;
    unsigned char   random[SIGNKEY_SECRET];

    randombytes_buf(random, sizeof(random));
    sodium_bin2hex(secret, sizeof(secret), random, sizeof(random));

    randombytes_buf(random, sizeof(random));
    sodium_bin2base64(kid, sizeof(kid), random, sizeof(random),
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);

    key = signkey_secret(secret, sizeof(secret) - 1, kid);
    sodium_memzero(secret, sizeof(secret));
    sodium_memzero(random, sizeof(random));

    return key;
}


static signkey_t *
signkey_generate_pair(signkey_alg_t alg)
{
    int        rc;
    char       kid[JWK_THUMBPRINT + 1];
    json_t    *jwk;
    EVP_PKEY  *pkey;

    pkey = alg == SIGNKEY_ES256 ? EVP_EC_gen("P-256")
           : alg == SIGNKEY_EDDSA ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
           : EVP_RSA_gen(SIGNKEY_RSA_BITS);
    if (pkey == NULL) {
        ERR_clear_error();
        return NULL;
    }

    jwk = jwk_create(pkey);
    rc = jwk != NULL ? jwk_thumbprint(jwk, kid) : -1;
    json_decref(jwk);

    if (rc != 0) {
        EVP_PKEY_free(pkey);
        return NULL;
    }

    return signkey_pair(alg, kid, pkey);
}


/* A name that begins with '-' would be an option on a command line. */
signkey_t *
signkey_generate(signkey_alg_t alg)
{
    signkey_t  *key;

    for ( ;; ) {
        key = alg == SIGNKEY_HS256 ? signkey_generate_secret()
                                   : signkey_generate_pair(alg);

        if (key == NULL || key->kid[0] != '-') {
            return key;
        }

        signkey_unref(key);
    }
}


/* What is wrong with a key for an algorithm, or NULL. */
static const char *
signkey_unfit(signkey_alg_t alg, const EVP_PKEY *pkey)
{
    char  curve[32];
    int   id;

    id = EVP_PKEY_get_base_id(pkey);

    if (alg == SIGNKEY_EDDSA) {
        return id == EVP_PKEY_ED25519 ? NULL : "not an Ed25519 key";
    }

    if (alg == SIGNKEY_ES256) {
        return id == EVP_PKEY_EC
               && EVP_PKEY_get_group_name(pkey, curve, sizeof(curve), NULL)
                  == 1
               && strcmp(curve, "prime256v1") == 0
               ? NULL : "not a key of the curve P-256";
    }

    if (id != EVP_PKEY_RSA) {
        return "not an RSA key";
    }

    return EVP_PKEY_get_bits(pkey) < SIGNKEY_RSA_BITS
           ? "an RSA key must have 2048 bits or more"
           : EVP_PKEY_get_size(pkey) > SIGNKEY_SIGNATURE
           ? "an RSA key must have 8192 bits or less" : NULL;
}


/* Asks nobody for a passphrase. */
static EVP_PKEY *
signkey_parse(const void *text, size_t len)
{
    BIO       *bio;
    EVP_PKEY  *pkey;

    bio = BIO_new_mem_buf(text, (int) len);
    if (bio == NULL) {
        return NULL;
    }

    pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *) "");
    BIO_free(bio);
    ERR_clear_error();

    return pkey;
}


static signkey_t *
signkey_read_secret(const char *kid, const char *text, size_t len,
    char *error, size_t size)
{
    signkey_t  *key;

    if (len > 0 && text[len - 1] == '\n') {
        len--;
    }

    if (len < MS_SECRET_MIN || len > MS_SECRET_MAX) {
        snprintf(error, size, "the secret must have %d to %d bytes, has %zu",
                 MS_SECRET_MIN, MS_SECRET_MAX, len);
        return NULL;
    }

    key = signkey_secret(text, len, kid);
    if (key == NULL) {
        snprintf(error, size, "out of memory");
    }

    return key;
}


signkey_t *
signkey_read(signkey_alg_t alg, const char *kid, const void *text, size_t len,
    char *error, size_t size)
{
    EVP_PKEY    *pkey;
    signkey_t   *key;
    const char  *unfit;

    if (alg == SIGNKEY_HS256) {
        return signkey_read_secret(kid, text, len, error, size);
    }

    pkey = signkey_parse(text, len);
    if (pkey == NULL) {
        snprintf(error, size, "not a private key in PEM");
        return NULL;
    }

    unfit = signkey_unfit(alg, pkey);
    if (unfit != NULL) {
        snprintf(error, size, "%s: %s", signkey_algs[alg], unfit);
        EVP_PKEY_free(pkey);
        return NULL;
    }

    key = signkey_pair(alg, kid, pkey);
    if (key == NULL) {
        snprintf(error, size, "out of memory");
    }

    return key;
}


int
signkey_write(const signkey_t *key, char out[SIGNKEY_PEM])
{
    int    n;
    BIO   *bio;

    if (key->pkey == NULL) {
        if (key->len + 2 > SIGNKEY_PEM) {
            return -1;
        }
        memcpy(out, key->secret, key->len);
        strcpy(out + key->len, "\n");
        return 0;
    }

    bio = BIO_new(BIO_s_secmem());
    if (bio == NULL) {
        return -1;
    }

    n = PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL,
                                      NULL) == 1
        ? BIO_read(bio, out, SIGNKEY_PEM) : -1;
    BIO_free(bio);
    ERR_clear_error();

    if (n <= 0 || n == SIGNKEY_PEM) {
        return -1;
    }

    out[n] = '\0';

    return 0;
}


signkey_alg_t
signkey_alg(const signkey_t *key)
{
    return key->alg;
}


const char *
signkey_kid(const signkey_t *key)
{
    return key->kid;
}


json_t *
signkey_public(const signkey_t *key)
{
    json_t  *jwk;

    jwk = key->pkey != NULL ? jwk_create(key->pkey) : NULL;

    if (jwk != NULL
        && (json_object_set_new(jwk, "use", json_string("sig")) != 0
            || json_object_set_new(jwk, "alg",
                                   json_string(signkey_algs[key->alg])) != 0
            || json_object_set_new(jwk, "kid", json_string(key->kid)) != 0))
    {
        json_decref(jwk);
        return NULL;
    }

    return jwk;
}


/* RFC 7518 section 3.4: r and s side by side instead of DER. */
static int
signkey_raw(unsigned char *signature, size_t *len)
{
    int                   rc;
    ECDSA_SIG            *sig;
    unsigned char         raw[2 * SIGNKEY_P256];
    const unsigned char  *p;

    p = signature;
    sig = d2i_ECDSA_SIG(NULL, &p, (long) *len);

    rc = sig != NULL
         && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, SIGNKEY_P256)
            == SIGNKEY_P256
         && BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + SIGNKEY_P256,
                         SIGNKEY_P256)
            == SIGNKEY_P256
         ? 0 : -1;

    ECDSA_SIG_free(sig);
    memcpy(signature, raw, sizeof(raw));
    *len = sizeof(raw);

    return rc;
}


static int
signkey_pss(EVP_PKEY_CTX *ctx)
{
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1
           && EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST)
              == 1
           ? 0 : -1;
}


static int
signkey_sign(const signkey_t *key, const char *input, size_t n,
    unsigned char *signature, size_t *len)
{
    int            rc;
    EVP_MD_CTX    *ctx;
    EVP_PKEY_CTX  *params;

    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        return -1;
    }

    rc = EVP_DigestSignInit(ctx, &params,
                            key->alg == SIGNKEY_EDDSA ? NULL : EVP_sha256(),
                            NULL, key->pkey)
         == 1
         && (key->alg != SIGNKEY_PS256 || signkey_pss(params) == 0)
         && EVP_DigestSign(ctx, signature, len, (const unsigned char *) input,
                           n)
            == 1
         ? 0 : -1;

    EVP_MD_CTX_free(ctx);

    if (rc == 0 && key->alg == SIGNKEY_ES256) {
        rc = signkey_raw(signature, len);
    }

    if (rc != 0) {
        ERR_clear_error();
    }

    return rc;
}


static char *
signkey_token_pair(const signkey_t *key, const char *claims)
{
    int             n;
    char           *payload, *encoded, *input, *token;
    size_t          len;
    unsigned char   signature[SIGNKEY_SIGNATURE];

    encoded = NULL;
    input = NULL;
    token = NULL;
    len = sizeof(signature);

    payload = jwk_base64url(claims, strlen(claims));
    if (payload == NULL) {
        return NULL;
    }

    n = asprintf(&input, "%s.%s", key->header, payload);
    free(payload);

    if (n < 0) {
        return NULL;
    }

    if (signkey_sign(key, input, (size_t) n, signature, &len) == 0) {
        encoded = jwk_base64url(signature, len);
    }

    if (encoded != NULL && asprintf(&token, "%s.%s", input, encoded) < 0) {
        token = NULL;
    }

    free(encoded);
    free(input);

    return token;
}


static char *
signkey_token_secret(const signkey_t *key, const char *claims)
{
    char   *token;
    jwt_t  *jwt;

    if (jwt_new(&jwt) != 0) {
        return NULL;
    }

    token = NULL;

    if (jwt_add_grants_json(jwt, claims) == 0
        && (key->kid == NULL || jwt_add_header(jwt, "kid", key->kid) == 0)
        && jwt_set_alg(jwt, JWT_ALG_HS256, key->secret, (int) key->len) == 0)
    {
        token = jwt_encode_str(jwt);
    }

    jwt_free(jwt);

    return token;
}


char *
signkey_token(const signkey_t *key, const json_t *claims)
{
    char  *text, *token;

    text = json_dumps(claims, JSON_COMPACT);
    if (text == NULL) {
        return NULL;
    }

    token = key->pkey != NULL ? signkey_token_pair(key, text)
                              : signkey_token_secret(key, text);
    free(text);

    return token;
}
