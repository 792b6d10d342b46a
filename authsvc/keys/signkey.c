/*
 * One key: generates, reads and writes it, its public half as a JWK, and the
 * tokens that it signs.
 */

#include "authsvc/keys/signkey.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jwt.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <sodium.h>

#include "jwt/keys.h"


#define SIGNKEY_RSA_BITS   2048         /* of new keys, and at least */
#define SIGNKEY_SECRET     32           /* random bytes, written in hex */
#define SIGNKEY_SIGNATURE  1024         /* bytes of the longest: RSA 8192 */
#define SIGNKEY_P256       32           /* bytes of a number */
#define SIGNKEY_HEADER     128          /* bytes of a token's header */

#define SIGNKEY_BASE64     sodium_base64_VARIANT_URLSAFE_NO_PADDING


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


void
signkey_copy(signkey_t *to, const signkey_t *from)
{
    *to = *from;
    EVP_PKEY_up_ref(to->pkey);
}


void
signkey_free(signkey_t *key)
{
    EVP_PKEY_free(key->pkey);           /* wipes it */
    key->pkey = NULL;
}


static json_t *
signkey_bytes(const unsigned char *bytes, size_t len)
{
    char  text[sodium_base64_ENCODED_LEN(SIGNKEY_SIGNATURE, SIGNKEY_BASE64)];

    sodium_bin2base64(text, sizeof(text), bytes, len, SIGNKEY_BASE64);

    return json_string(text);
}


/* A number of the public key, of "len" bytes, or 0: as many as it has.  NULL
 * when OpenSSL or memory fails. */
static json_t *
signkey_number(const EVP_PKEY *pkey, const char *param, int len)
{
    json_t         *text;
    BIGNUM         *bn;
    unsigned char   bytes[SIGNKEY_SIGNATURE];

    bn = NULL;
    text = NULL;

    if (EVP_PKEY_get_bn_param(pkey, param, &bn) == 1) {
        len = len != 0 ? len : BN_num_bytes(bn);

        if (len <= SIGNKEY_SIGNATURE && BN_bn2binpad(bn, bytes, len) == len) {
            text = signkey_bytes(bytes, (size_t) len);
        }
    }

    BN_free(bn);

    return text;
}


static json_t *
signkey_point(const EVP_PKEY *pkey)
{
    size_t         len;
    unsigned char  bytes[SIGNKEY_SIGNATURE];

    len = sizeof(bytes);

    return EVP_PKEY_get_raw_public_key(pkey, bytes, &len) == 1
           ? signkey_bytes(bytes, len) : NULL;
}


/* The members that make the key, nothing else: RFC 7518 section 6, RFC 8037
 * section 2. */
static json_t *
signkey_jwk(const signkey_t *key)
{
    json_t  *jwk;

    switch (key->alg) {

    case SIGNKEY_HS256:
        return NULL;                    /* is not published */

    case SIGNKEY_EDDSA:
        jwk = json_pack("{s:s, s:s, s:o}", "kty", "OKP", "crv", "Ed25519",
                        "x", signkey_point(key->pkey));
        break;

    case SIGNKEY_ES256:
        jwk = json_pack("{s:s, s:s, s:o, s:o}", "kty", "EC", "crv", "P-256",
                        "x", signkey_number(key->pkey,
                                            OSSL_PKEY_PARAM_EC_PUB_X,
                                            SIGNKEY_P256),
                        "y", signkey_number(key->pkey,
                                            OSSL_PKEY_PARAM_EC_PUB_Y,
                                            SIGNKEY_P256));
        break;

    default:
        jwk = json_pack("{s:s, s:o, s:o}", "kty", "RSA",
                        "n", signkey_number(key->pkey, OSSL_PKEY_PARAM_RSA_N,
                                            0),
                        "e", signkey_number(key->pkey, OSSL_PKEY_PARAM_RSA_E,
                                            0));
        break;
    }

    ERR_clear_error();

    return jwk;
}


/* RFC 7638 section 3: sorted names, no white space. */
int
signkey_thumbprint(const json_t *jwk, char out[SIGNKEY_KID + 1])
{
    char           *text;
    unsigned char   digest[crypto_hash_sha256_BYTES];

    text = json_dumps(jwk, JSON_COMPACT | JSON_SORT_KEYS);
    if (text == NULL) {
        return -1;
    }

    crypto_hash_sha256(digest, (const unsigned char *) text, strlen(text));
    sodium_bin2base64(out, SIGNKEY_KID + 1, digest, sizeof(digest),
                      SIGNKEY_BASE64);
    free(text);

    return 0;
}


json_t *
signkey_public(const signkey_t *key)
{
    json_t  *jwk;

    jwk = signkey_jwk(key);

    if (jwk != NULL
        && json_object_update_new(jwk, json_pack("{s:s, s:s, s:s}",
                                                 "use", "sig",
                                                 "alg", signkey_algs[key->alg],
                                                 "kid", key->kid)) != 0)
    {
        json_decref(jwk);
        return NULL;
    }

    return jwk;
}


static EVP_PKEY *
signkey_generate_secret(void)
{
    char            secret[2 * SIGNKEY_SECRET + 1];
    EVP_PKEY       *pkey;
    unsigned char   random[SIGNKEY_SECRET];

    randombytes_buf(random, sizeof(random));
    sodium_bin2hex(secret, sizeof(secret), random, sizeof(random));
    pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_HMAC, NULL,
                                        (unsigned char *) secret,
                                        sizeof(secret) - 1);
    sodium_memzero(secret, sizeof(secret));
    sodium_memzero(random, sizeof(random));

    return pkey;
}


static int
signkey_generate_kid(signkey_t *key)
{
    int            rc;
    json_t        *jwk;
    unsigned char  random[SIGNKEY_SECRET];

    if (key->alg == SIGNKEY_HS256) {
        randombytes_buf(random, sizeof(random));
        sodium_bin2base64(key->kid, sizeof(key->kid), random, sizeof(random),
                          SIGNKEY_BASE64);
        return 0;
    }

    jwk = signkey_jwk(key);
    rc = jwk != NULL ? signkey_thumbprint(jwk, key->kid) : -1;
    json_decref(jwk);

    return rc;
}


/* A name that begins with '-' would be an option on a command line. */
int
signkey_generate(signkey_t *key, signkey_alg_t alg)
{
    memset(key, 0, sizeof(signkey_t));
    key->alg = alg;

    do {
        signkey_free(key);
        key->pkey = alg == SIGNKEY_HS256 ? signkey_generate_secret()
                    : alg == SIGNKEY_ES256 ? EVP_EC_gen("P-256")
                    : alg == SIGNKEY_EDDSA
                    ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
                    : EVP_RSA_gen(SIGNKEY_RSA_BITS);

        if (key->pkey == NULL || signkey_generate_kid(key) != 0) {
            signkey_free(key);
            ERR_clear_error();
            return -1;
        }

    } while (key->kid[0] == '-');

    return 0;
}


/* NULL, or what the algorithm needs instead. */
static const char *
signkey_unfit(signkey_alg_t alg, const EVP_PKEY *pkey)
{
    int   id;
    char  curve[32];

    id = EVP_PKEY_get_base_id(pkey);

    switch (alg) {

    case SIGNKEY_EDDSA:
        return id == EVP_PKEY_ED25519 ? NULL : "an Ed25519 key";

    case SIGNKEY_ES256:
        return id == EVP_PKEY_EC
               && EVP_PKEY_get_group_name(pkey, curve, sizeof(curve), NULL)
                  == 1
               && strcmp(curve, "prime256v1") == 0
               ? NULL : "a key of the curve P-256";

    default:
        return id == EVP_PKEY_RSA
               && EVP_PKEY_get_bits(pkey) >= SIGNKEY_RSA_BITS
               && EVP_PKEY_get_size(pkey) <= SIGNKEY_SIGNATURE
               ? NULL : "an RSA key of 2048 to 8192 bits";
    }
}


static EVP_PKEY *
signkey_read_secret(const char *text, size_t len, char *error, size_t size)
{
    len -= len > 0 && text[len - 1] == '\n';

    if (len < MS_SECRET_MIN || len > MS_SECRET_MAX) {
        snprintf(error, size, "the secret must have %d to %d bytes, has %zu",
                 MS_SECRET_MIN, MS_SECRET_MAX, len);
        return NULL;
    }

    snprintf(error, size, "out of memory");

    return EVP_PKEY_new_raw_private_key(EVP_PKEY_HMAC, NULL,
                                        (const unsigned char *) text, len);
}


static EVP_PKEY *
signkey_read_pair(signkey_alg_t alg, const char *text, size_t len,
    char *error, size_t size)
{
    BIO         *bio;
    EVP_PKEY    *pkey;
    const char  *needs;

    /* the passphrase keeps OpenSSL from asking for one */
    bio = BIO_new_mem_buf(text, (int) len);
    pkey = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *) "")
                       : NULL;
    BIO_free(bio);

    if (pkey == NULL) {
        snprintf(error, size, "not a private key in PEM without a passphrase");
        return NULL;
    }

    needs = signkey_unfit(alg, pkey);

    if (needs != NULL) {
        snprintf(error, size, "%s needs %s", signkey_algs[alg], needs);
        EVP_PKEY_free(pkey);
        return NULL;
    }

    return pkey;
}


int
signkey_read(signkey_t *key, const char *text, size_t len, char *error,
    size_t size)
{
    key->pkey = key->alg == SIGNKEY_HS256
                ? signkey_read_secret(text, len, error, size)
                : signkey_read_pair(key->alg, text, len, error, size);
    ERR_clear_error();

    return key->pkey != NULL ? 0 : -1;
}


int
signkey_load(signkey_t *key, const char *path, char *error, size_t size)
{
    char     text[SIGNKEY_PEM + 1], reason[128];
    ssize_t  n;

    key->pkey = NULL;

    n = ms_keys_read_file(path, text, sizeof(text), error, size);
    if (n < 0) {
        return -1;
    }

    if (n > SIGNKEY_PEM) {
        snprintf(error, size, "key file \"%s\": has more than %d bytes, which "
                 "no key has", path, SIGNKEY_PEM);

    } else if (signkey_read(key, text, (size_t) n, reason, sizeof(reason))
               != 0)
    {
        snprintf(error, size, "key file \"%s\": %s", path, reason);
    }

    sodium_memzero(text, sizeof(text));

    return key->pkey != NULL ? 0 : -1;
}


int
signkey_write(const signkey_t *key, char out[SIGNKEY_PEM])
{
    int      n;
    BIO     *bio;
    size_t   len;

    if (key->alg == SIGNKEY_HS256) {
        len = SIGNKEY_PEM - 2;
        if (EVP_PKEY_get_raw_private_key(key->pkey, (unsigned char *) out,
                                         &len) != 1)
        {
            ERR_clear_error();
            return -1;
        }
        memcpy(out + len, "\n", 2);
        return 0;
    }

    bio = BIO_new(BIO_s_secmem());
    n = bio != NULL
        && PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL,
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


/* RFC 7518 section 3.4: r and s side by side instead of DER. */
static int
signkey_raw(unsigned char *signature, size_t *len)
{
    int                   rc;
    ECDSA_SIG            *sig;
    const unsigned char  *p;

    p = signature;
    sig = d2i_ECDSA_SIG(NULL, &p, (long) *len);

    rc = sig != NULL
         && BN_bn2binpad(ECDSA_SIG_get0_r(sig), signature, SIGNKEY_P256)
            == SIGNKEY_P256
         && BN_bn2binpad(ECDSA_SIG_get0_s(sig), signature + SIGNKEY_P256,
                         SIGNKEY_P256)
            == SIGNKEY_P256
         ? 0 : -1;

    ECDSA_SIG_free(sig);
    *len = 2 * SIGNKEY_P256;

    return rc;
}


static int
signkey_sign(const signkey_t *key, const char *input, size_t n,
    unsigned char *signature, size_t *len)
{
    int            rc;
    EVP_MD_CTX    *ctx;
    EVP_PKEY_CTX  *params;

    ctx = EVP_MD_CTX_new();

    rc = ctx != NULL
         && EVP_DigestSignInit(ctx, &params,
                               key->alg == SIGNKEY_EDDSA ? NULL : EVP_sha256(),
                               NULL, key->pkey) == 1
         && (key->alg != SIGNKEY_PS256
             || (EVP_PKEY_CTX_set_rsa_padding(params, RSA_PKCS1_PSS_PADDING)
                 == 1
                 && EVP_PKEY_CTX_set_rsa_pss_saltlen(params,
                                                     RSA_PSS_SALTLEN_DIGEST)
                    == 1))
         && EVP_DigestSign(ctx, signature, len, (const unsigned char *) input,
                           n) == 1
         && (key->alg != SIGNKEY_ES256 || signkey_raw(signature, len) == 0)
         ? 0 : -1;

    EVP_MD_CTX_free(ctx);

    if (rc != 0) {
        ERR_clear_error();
    }

    return rc;
}


static char *
signkey_base64(char *out, const char *end, const void *data, size_t len)
{
    sodium_bin2base64(out, (size_t) (end - out), data, len, SIGNKEY_BASE64);

    return out + strlen(out);
}


/* an owned token with a pair's signature: libjwt has neither PS256 nor EdDSA,
 * and would parse the PEM for every token */
static char *
signkey_token_pair(const signkey_t *key, const char *claims)
{
    char           *token, *p, *end, header[SIGNKEY_HEADER];
    size_t          len, size;
    unsigned char   signature[SIGNKEY_SIGNATURE];

    /* a name needs no escapes: it is base64url */
    snprintf(header, sizeof(header), "{\"alg\":\"%s\"%s%s%s,\"typ\":\"JWT\"}",
             signkey_algs[key->alg], key->kid[0] != '\0' ? ",\"kid\":\"" : "",
             key->kid, key->kid[0] != '\0' ? "\"" : "");

    size = sodium_base64_encoded_len(sizeof(header), SIGNKEY_BASE64)
           + sodium_base64_encoded_len(strlen(claims), SIGNKEY_BASE64)
           + sodium_base64_encoded_len(sizeof(signature), SIGNKEY_BASE64);
    token = malloc(size);

    if (token == NULL) {
        return NULL;
    }

    len = sizeof(signature);
    end = token + size;
    p = signkey_base64(token, end, header, strlen(header));
    *p++ = '.';
    p = signkey_base64(p, end, claims, strlen(claims));

    if (signkey_sign(key, token, (size_t) (p - token), signature, &len) != 0) {
        free(token);
        return NULL;
    }

    *p++ = '.';
    (void) signkey_base64(p, end, signature, len);

    return token;
}


static char *
signkey_token_secret(const signkey_t *key, const char *claims)
{
    char           *token;
    jwt_t          *jwt;
    size_t          len;
    unsigned char   secret[MS_SECRET_MAX];

    token = NULL;
    len = sizeof(secret);

    if (EVP_PKEY_get_raw_private_key(key->pkey, secret, &len) != 1
        || jwt_new(&jwt) != 0)
    {
        goto done;
    }

    if (jwt_add_grants_json(jwt, claims) == 0
        && (key->kid[0] == '\0' || jwt_add_header(jwt, "kid", key->kid) == 0)
        && jwt_set_alg(jwt, JWT_ALG_HS256, secret, (int) len) == 0)
    {
        token = jwt_encode_str(jwt);
    }

    jwt_free(jwt);

done:

    OPENSSL_cleanse(secret, sizeof(secret));

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

    token = key->alg == SIGNKEY_HS256 ? signkey_token_secret(key, text)
                                      : signkey_token_pair(key, text);
    free(text);

    return token;
}
