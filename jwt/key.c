/*
 * One key: prepared once for its algorithm, then it verifies signatures.
 */

#include "jwt/key.h"

#include <stdlib.h>
#include <string.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>


/* two INTEGERs with a sign byte each, in a SEQUENCE of two bytes of length */
#define MS_ECDSA_DER_MAX  (3 + 2 * (2 + 1 + MS_ALG_FIELD_MAX))


static int ms_key_verify_hmac(const ms_key_t *key, const unsigned char *input,
    size_t len, const unsigned char *signature, size_t signature_len);
static int ms_key_verify_digest(const ms_key_t *key,
    const unsigned char *input, size_t len, const unsigned char *signature,
    size_t signature_len);
static int ms_key_verify_ed25519(const ms_key_t *key,
    const unsigned char *input, size_t len, const unsigned char *signature,
    size_t signature_len);
static int ms_key_ecdsa_der(unsigned char *der, const unsigned char *raw,
    size_t field);


int
ms_key_init_secret(ms_key_t *key, ms_alg_t alg, const void *secret,
    size_t len)
{
    EVP_MAC     *mac;
    OSSL_PARAM   params[2];

    key->alg = alg;

    mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (mac == NULL) {
        return -1;
    }

    key->mac = EVP_MAC_CTX_new(mac);
    EVP_MAC_free(mac);                  /* the context holds a reference */

    if (key->mac == NULL) {
        return -1;
    }

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
                                                 (char *) ms_algs[alg].digest,
                                                 0);
    params[1] = OSSL_PARAM_construct_end();

    return EVP_MAC_init(key->mac, secret, len, params) == 1 ? 0 : -1;
}


static int
ms_key_init_digest(ms_key_t *key, const ms_alg_info_t *info, EVP_PKEY *pkey)
{
    int  padding;

    key->md = EVP_MD_fetch(NULL, info->digest, NULL);
    key->verify = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);

    if (key->md == NULL || key->verify == NULL
        || EVP_PKEY_verify_init(key->verify) != 1)
    {
        return -1;
    }

    if (info->family != MS_FAMILY_EC) {
        padding = info->family == MS_FAMILY_PSS ? RSA_PKCS1_PSS_PADDING
                                                : RSA_PKCS1_PADDING;

        if (EVP_PKEY_CTX_set_rsa_padding(key->verify, padding) != 1) {
            return -1;
        }
    }

    if (EVP_PKEY_CTX_set_signature_md(key->verify, key->md) != 1) {
        return -1;
    }

    /* RFC 7518 section 3.5: MGF1 with the same hash, a salt of its length */
    if (info->family == MS_FAMILY_PSS
        && (EVP_PKEY_CTX_set_rsa_mgf1_md(key->verify, key->md) != 1
            || EVP_PKEY_CTX_set_rsa_pss_saltlen(key->verify,
                                                RSA_PSS_SALTLEN_DIGEST)
               != 1))
    {
        return -1;
    }

    return 0;
}


int
ms_key_init_public(ms_key_t *key, ms_alg_t alg, EVP_PKEY *pkey)
{
    const ms_alg_info_t  *info;

    info = &ms_algs[alg];
    key->alg = alg;

    key->work = EVP_MD_CTX_new();
    if (key->work == NULL) {
        return -1;
    }

    if (info->family != MS_FAMILY_ED25519) {
        return ms_key_init_digest(key, info, pkey);
    }

    key->ready = EVP_MD_CTX_new();

    if (key->ready == NULL
        || EVP_DigestVerifyInit(key->ready, NULL, NULL, NULL, pkey) != 1)
    {
        return -1;
    }

    return 0;
}


void
ms_key_clear(ms_key_t *key)
{
    EVP_MAC_CTX_free(key->mac);         /* wipes the secret */
    EVP_PKEY_CTX_free(key->verify);
    EVP_MD_CTX_free(key->ready);
    EVP_MD_CTX_free(key->work);
    EVP_MD_free(key->md);
    free(key->kid);
    memset(key, 0, sizeof(ms_key_t));
}


/* A refused signature must not leave errors in OpenSSL's queue: the next caller
 * in this thread would take them for its own. */
int
ms_key_verify(const ms_key_t *key, const unsigned char *input, size_t len,
    const unsigned char *signature, size_t signature_len)
{
    int  rc;

    ERR_set_mark();

    switch (ms_algs[key->alg].family) {
    case MS_FAMILY_HMAC:
        rc = ms_key_verify_hmac(key, input, len, signature, signature_len);
        break;
    case MS_FAMILY_ED25519:
        rc = ms_key_verify_ed25519(key, input, len, signature, signature_len);
        break;
    default:
        rc = ms_key_verify_digest(key, input, len, signature, signature_len);
        break;
    }

    ERR_pop_to_mark();

    return rc;
}


static int
ms_key_verify_hmac(const ms_key_t *key, const unsigned char *input,
    size_t len, const unsigned char *signature, size_t signature_len)
{
    size_t         n;
    unsigned char  expected[EVP_MAX_MD_SIZE];

    /* without a key the context starts again with the one it has */
    if (EVP_MAC_init(key->mac, NULL, 0, NULL) != 1
        || EVP_MAC_update(key->mac, input, len) != 1
        || EVP_MAC_final(key->mac, expected, &n, sizeof(expected)) != 1
        || n != ms_algs[key->alg].digest_size)
    {
        return -1;
    }

    return signature_len == n && CRYPTO_memcmp(expected, signature, n) == 0;
}


/*
 * OpenSSL does not say whether a signature is wrong or could not be checked:
 * both are refused as wrong.
 */
static int
ms_key_verify_digest(const ms_key_t *key, const unsigned char *input,
    size_t len, const unsigned char *signature, size_t signature_len)
{
    int                   der_len;
    unsigned              n;
    unsigned char         hash[EVP_MAX_MD_SIZE], der[MS_ECDSA_DER_MAX];
    const ms_alg_info_t  *info;

    info = &ms_algs[key->alg];

    if (info->family == MS_FAMILY_EC) {
        if (signature_len != 2 * info->field) {
            return 0;
        }

        der_len = ms_key_ecdsa_der(der, signature, info->field);
        if (der_len < 0) {
            return -1;
        }

        signature = der;
        signature_len = (size_t) der_len;
    }

    if (EVP_DigestInit_ex2(key->work, key->md, NULL) != 1
        || EVP_DigestUpdate(key->work, input, len) != 1
        || EVP_DigestFinal_ex(key->work, hash, &n) != 1)
    {
        return -1;
    }

    return EVP_PKEY_verify(key->verify, signature, signature_len, hash, n)
           == 1;
}


/* A context that was used once is spent since OpenSSL 3.4, a copy is not. */
static int
ms_key_verify_ed25519(const ms_key_t *key, const unsigned char *input,
    size_t len, const unsigned char *signature, size_t signature_len)
{
    if (EVP_MD_CTX_copy_ex(key->work, key->ready) != 1) {
        return -1;
    }

    return EVP_DigestVerify(key->work, signature, signature_len, input, len)
           == 1;
}


/* r || s (RFC 7518 section 3.4) as OpenSSL wants it: ECDSA-Sig-Value.  Returns
 * its length, or -1 when memory is out. */
static int
ms_key_ecdsa_der(unsigned char *der, const unsigned char *raw, size_t field)
{
    int         n;
    BIGNUM     *r, *s;
    ECDSA_SIG  *signature;

    n = -1;
    signature = ECDSA_SIG_new();
    r = BN_bin2bn(raw, (int) field, NULL);
    s = BN_bin2bn(raw + field, (int) field, NULL);

    if (signature != NULL && r != NULL && s != NULL
        && ECDSA_SIG_set0(signature, r, s) == 1)
    {
        n = i2d_ECDSA_SIG(signature, &der);

    } else {
        BN_free(r);
        BN_free(s);
    }

    ECDSA_SIG_free(signature);

    return n;
}
