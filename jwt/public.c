/*
 * Which algorithms a public key is for, and whether it is strong enough: a key
 * that was made weak on purpose must not verify anything.
 */

#include <stdio.h>
#include <string.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <sodium/crypto_core_ed25519.h>

#include "jwt/key.h"


#define MS_RSA_BITS_MIN      2048       /* RFC 7518 section 3.3 */
#define MS_RSA_BITS_MAX      16384      /* OpenSSL's own limit */
#define MS_RSA_EXPONENT_MAX  64         /* bits; the same */

#define MS_ALG_RSA_ALL                                                        \
    (MS_ALG_BIT(MS_ALG_RS256) | MS_ALG_BIT(MS_ALG_RS384)                      \
     | MS_ALG_BIT(MS_ALG_RS512) | MS_ALG_PSS_ALL)

#define MS_ALG_PSS_ALL                                                        \
    (MS_ALG_BIT(MS_ALG_PS256) | MS_ALG_BIT(MS_ALG_PS384)                      \
     | MS_ALG_BIT(MS_ALG_PS512))


/* With the exponent 1 everything is its own signature. */
static int
ms_public_rsa(EVP_PKEY *pkey, char *error, size_t size)
{
    int      rc, bits;
    BIGNUM  *n, *e;

    bits = EVP_PKEY_get_bits(pkey);

    if (bits < MS_RSA_BITS_MIN || bits > MS_RSA_BITS_MAX) {
        snprintf(error, size, "RSA of %d bits, must have %d to %d", bits,
                 MS_RSA_BITS_MIN, MS_RSA_BITS_MAX);
        return -1;
    }

    n = NULL;
    e = NULL;
    rc = -1;

    if (EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_N, &n) != 1
        || EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) != 1)
    {
        snprintf(error, size, "RSA without modulus or exponent");

    } else if (!BN_is_odd(n)) {
        snprintf(error, size, "RSA with an even modulus");

    } else if (!BN_is_odd(e) || BN_is_one(e)
               || BN_num_bits(e) > MS_RSA_EXPONENT_MAX)
    {
        snprintf(error, size, "RSA with an exponent that is even, 1 or has "
                 "more than %d bits", MS_RSA_EXPONENT_MAX);

    } else {
        rc = 0;
    }

    BN_free(n);
    BN_free(e);

    return rc;
}


/* A key may be restricted to one hash, one of MGF1, and a least salt
 * (RFC 4055 section 3.1): OpenSSL prepares it for nothing else. */
static int
ms_public_pss(EVP_PKEY *pkey, uint32_t *algs, char *error, size_t size)
{
    int       i;
    ms_key_t  key;

    *algs = 0;

    for (i = 0; i < MS_ALGS; i++) {
        if (!(MS_ALG_PSS_ALL & MS_ALG_BIT(i))) {
            continue;
        }

        memset(&key, 0, sizeof(ms_key_t));

        if (ms_key_init_public(&key, i, pkey) == 0) {
            *algs |= MS_ALG_BIT(i);
        }

        ms_key_clear(&key);
    }

    if (*algs == 0) {
        snprintf(error, size, "RSA-PSS restricted to what is neither PS256, "
                 "PS384 nor PS512");
        return -1;
    }

    return 0;
}


static int
ms_public_ec(EVP_PKEY *pkey, uint32_t *algs, char *error, size_t size)
{
    int            i, rc, explicit_params;
    char           group[64];
    EVP_PKEY_CTX  *ctx;

    explicit_params = 0;

    (void) EVP_PKEY_get_int_param(pkey,
                               OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
                               &explicit_params);

    if (explicit_params
        || EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME,
                                          group, sizeof(group), NULL)
           != 1)
    {
        snprintf(error, size, "EC with a curve that has no name");
        return -1;
    }

    for (i = 0; i < MS_ALGS; i++) {
        if (ms_algs[i].group != NULL && strcmp(ms_algs[i].group, group) == 0) {
            break;
        }
    }

    if (i == MS_ALGS) {
        snprintf(error, size, "EC on %s, must be P-256, P-384 or P-521",
                 group);
        return -1;
    }

    *algs = MS_ALG_BIT(i);

    /* their cofactor is 1: a point of the curve has the right order */
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    rc = ctx != NULL && EVP_PKEY_public_check_quick(ctx) == 1 ? 0 : -1;
    EVP_PKEY_CTX_free(ctx);

    if (rc != 0) {
        snprintf(error, size, "EC with a point that is not on its curve");
    }

    return rc;
}


/* Under a point of small order one signature fits many messages. */
static int
ms_public_ed25519(EVP_PKEY *pkey, char *error, size_t size)
{
    size_t         len;
    unsigned char  point[crypto_core_ed25519_BYTES];

    len = sizeof(point);

    if (EVP_PKEY_get_raw_public_key(pkey, point, &len) != 1
        || len != sizeof(point)
        || crypto_core_ed25519_is_valid_point(point) != 1)
    {
        snprintf(error, size, "Ed25519 with a point that is not on its "
                 "curve or of small order");
        return -1;
    }

    return 0;
}


int
ms_public_algs(EVP_PKEY *pkey, uint32_t *algs, char *error, size_t size)
{
    const char  *type;

    if (EVP_PKEY_is_a(pkey, "RSA")) {
        *algs = MS_ALG_RSA_ALL;
        return ms_public_rsa(pkey, error, size);
    }

    if (EVP_PKEY_is_a(pkey, "RSA-PSS")) {
        if (ms_public_rsa(pkey, error, size) != 0) {
            return -1;
        }

        return ms_public_pss(pkey, algs, error, size);
    }

    if (EVP_PKEY_is_a(pkey, "EC")) {
        return ms_public_ec(pkey, algs, error, size);
    }

    if (EVP_PKEY_is_a(pkey, "ED25519")) {
        *algs = MS_ALG_BIT(MS_ALG_EDDSA);
        return ms_public_ed25519(pkey, error, size);
    }

    type = EVP_PKEY_get0_type_name(pkey);
    snprintf(error, size, "%s, must be RSA, EC or Ed25519",
             type != NULL ? type : "an unknown type");

    return -1;
}
