#include "authsvc/jwk.h"

#include <stdlib.h>
#include <string.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <sodium.h>


#define JWK_BASE64  sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define JWK_RSA     1024                /* bytes of a number */
#define JWK_P256    32
#define JWK_ED25519 32


char *
jwk_base64url(const void *data, size_t len)
{
    char    *text;
    size_t   size;

    size = sodium_base64_encoded_len(len, JWK_BASE64);
    text = malloc(size);

    if (text != NULL) {
        sodium_bin2base64(text, size, data, len, JWK_BASE64);
    }

    return text;
}


static int
jwk_set(json_t *jwk, const char *name, const void *data, size_t len)
{
    int    rc;
    char  *text;

    text = jwk_base64url(data, len);
    rc = text != NULL ? json_object_set_new(jwk, name, json_string(text)) : -1;
    free(text);

    return rc;
}


/* A number of the key; "width" 0: without leading zeros. */
static int
jwk_number(json_t *jwk, const char *name, const EVP_PKEY *pkey,
    const char *param, int width)
{
    int             n, rc;
    BIGNUM         *bn;
    unsigned char   bytes[JWK_RSA];

    bn = NULL;
    rc = -1;

    if (EVP_PKEY_get_bn_param(pkey, param, &bn) == 1) {
        width = width != 0 ? width : BN_num_bytes(bn);
        n = width <= JWK_RSA ? BN_bn2binpad(bn, bytes, width) : -1;
        rc = n == width ? jwk_set(jwk, name, bytes, (size_t) n) : -1;
    }

    BN_free(bn);

    return rc;
}


static int
jwk_rsa(json_t *jwk, const EVP_PKEY *pkey)
{
    return json_object_set_new(jwk, "kty", json_string("RSA")) == 0
           && jwk_number(jwk, "n", pkey, OSSL_PKEY_PARAM_RSA_N, 0) == 0
           && jwk_number(jwk, "e", pkey, OSSL_PKEY_PARAM_RSA_E, 0) == 0
           ? 0 : -1;
}


static int
jwk_ec(json_t *jwk, const EVP_PKEY *pkey)
{
    char  curve[32];

    if (EVP_PKEY_get_group_name(pkey, curve, sizeof(curve), NULL) != 1
        || strcmp(curve, "prime256v1") != 0)
    {
        return -1;
    }

    return json_object_set_new(jwk, "kty", json_string("EC")) == 0
           && json_object_set_new(jwk, "crv", json_string("P-256")) == 0
           && jwk_number(jwk, "x", pkey, OSSL_PKEY_PARAM_EC_PUB_X, JWK_P256)
              == 0
           && jwk_number(jwk, "y", pkey, OSSL_PKEY_PARAM_EC_PUB_Y, JWK_P256)
              == 0
           ? 0 : -1;
}


static int
jwk_okp(json_t *jwk, const EVP_PKEY *pkey)
{
    size_t         len;
    unsigned char  bytes[JWK_ED25519];

    len = sizeof(bytes);

    return EVP_PKEY_get_raw_public_key(pkey, bytes, &len) == 1
           && len == sizeof(bytes)
           && json_object_set_new(jwk, "kty", json_string("OKP")) == 0
           && json_object_set_new(jwk, "crv", json_string("Ed25519")) == 0
           && jwk_set(jwk, "x", bytes, len) == 0
           ? 0 : -1;
}


json_t *
jwk_create(const EVP_PKEY *pkey)
{
    int      rc;
    json_t  *jwk;

    jwk = json_object();
    if (jwk == NULL) {
        return NULL;
    }

    switch (EVP_PKEY_get_base_id(pkey)) {

    case EVP_PKEY_RSA:
        rc = jwk_rsa(jwk, pkey);
        break;

    case EVP_PKEY_EC:
        rc = jwk_ec(jwk, pkey);
        break;

    case EVP_PKEY_ED25519:
        rc = jwk_okp(jwk, pkey);
        break;

    default:
        rc = -1;
        break;
    }

    if (rc != 0) {
        json_decref(jwk);
        return NULL;
    }

    return jwk;
}


/* RFC 7638 section 3: sorted names, no white space. */
int
jwk_thumbprint(const json_t *jwk, char out[JWK_THUMBPRINT + 1])
{
    char           *text;
    unsigned char   digest[crypto_hash_sha256_BYTES];

    text = json_dumps(jwk, JSON_COMPACT | JSON_SORT_KEYS);
    if (text == NULL) {
        return -1;
    }

    crypto_hash_sha256(digest, (const unsigned char *) text, strlen(text));
    sodium_bin2base64(out, JWK_THUMBPRINT + 1, digest, sizeof(digest),
                      JWK_BASE64);
    free(text);

    return 0;
}
