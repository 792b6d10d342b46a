/*
 * Keys from JSON Web Keys (RFC 7517; RFC 7518 section 6; RFC 8037).  Members of
 * a key decide in this order: private ones refuse it, "kty", "use", "key_ops"
 * and "alg" may pass it over, the others must be right.
 */

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "jwt/base64url.h"
#include "jwt/json.h"
#include "jwt/key.h"


#define MS_JWK_BYTES      4096          /* of a member: a secret, a modulus */
#define MS_JWK_KID_SHOWN  64


typedef struct {
    char           *error;
    size_t          size;
} ms_jwk_error_t;

typedef struct {
    size_t          len;
    unsigned char   data[MS_BASE64URL_DECODED(MS_JWK_BYTES / 3 * 4 + 4)];
} ms_jwk_bytes_t;


/* -1, for callers to return */
static int
ms_jwk_broken(ms_jwk_error_t *e, const char *what, const char *name)
{
    snprintf(e->error, e->size, "%s \"%s\"", what, name);

    return -1;
}


/* A member in base64url. */
static int
ms_jwk_bytes(const json_t *jwk, const char *name, ms_jwk_bytes_t *bytes,
    ms_jwk_error_t *e)
{
    size_t         len;
    const json_t  *value;

    value = json_object_get(jwk, name);
    if (value == NULL) {
        return ms_jwk_broken(e, "no", name);
    }

    len = json_string_length(value);

    if (len == 0 || MS_BASE64URL_DECODED(len) > sizeof(bytes->data)
        || ms_base64url_decode(bytes->data, &bytes->len,
                               json_string_value(value), len)
           != 0)
    {
        return ms_jwk_broken(e, "bad", name);
    }

    return 0;
}


static EVP_PKEY *
ms_jwk_pkey(const char *type, OSSL_PARAM *params)
{
    EVP_PKEY      *pkey;
    EVP_PKEY_CTX  *ctx;

    pkey = NULL;
    ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);

    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1
        || EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
    {
        pkey = NULL;
    }

    EVP_PKEY_CTX_free(ctx);

    return pkey;
}


/* A parameter of OpenSSL has its bytes in the order of the machine. */
static int
ms_jwk_number(ms_jwk_bytes_t *bytes)
{
    int      rc;
    BIGNUM  *number;

    number = BN_bin2bn(bytes->data, (int) bytes->len, NULL);
    rc = number != NULL
         && BN_bn2nativepad(number, bytes->data, (int) bytes->len) >= 0
         ? 0 : -1;
    BN_free(number);

    return rc;
}


static EVP_PKEY *
ms_jwk_rsa(const json_t *jwk, ms_jwk_error_t *e)
{
    EVP_PKEY        *pkey;
    OSSL_PARAM       params[3];
    ms_jwk_bytes_t   n, x;

    if (ms_jwk_bytes(jwk, "n", &n, e) != 0
        || ms_jwk_bytes(jwk, "e", &x, e) != 0)
    {
        return NULL;
    }

    pkey = NULL;

    if (ms_jwk_number(&n) == 0 && ms_jwk_number(&x) == 0) {
        params[0] = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_N, n.data,
                                            n.len);
        params[1] = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_E, x.data,
                                            x.len);
        params[2] = OSSL_PARAM_construct_end();
        pkey = ms_jwk_pkey("RSA", params);
    }

    if (pkey == NULL) {
        snprintf(e->error, e->size, "OpenSSL takes it for no RSA key");
    }

    return pkey;
}


/* Coordinates have the full length of the field (RFC 7518 section 6.2.1.2). */
static EVP_PKEY *
ms_jwk_ec(const json_t *jwk, const ms_alg_info_t *alg, ms_jwk_error_t *e)
{
    EVP_PKEY        *pkey;
    OSSL_PARAM       params[3];
    unsigned char    point[1 + 2 * MS_ALG_FIELD_MAX];
    ms_jwk_bytes_t   x, y;

    if (ms_jwk_bytes(jwk, "x", &x, e) != 0
        || ms_jwk_bytes(jwk, "y", &y, e) != 0)
    {
        return NULL;
    }

    if (x.len != alg->field || y.len != alg->field) {
        snprintf(e->error, e->size, "\"x\" and \"y\" must have %zu bytes",
                 alg->field);
        return NULL;
    }

    point[0] = 0x04;                    /* uncompressed */
    memcpy(point + 1, x.data, x.len);
    memcpy(point + 1 + x.len, y.data, y.len);

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
                                                 (char *) alg->group, 0);
    params[1] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY,
                                                  point, 1 + 2 * alg->field);
    params[2] = OSSL_PARAM_construct_end();

    pkey = ms_jwk_pkey("EC", params);

    if (pkey == NULL) {
        snprintf(e->error, e->size, "EC with a point that is not on its "
                 "curve");
    }

    return pkey;
}


static EVP_PKEY *
ms_jwk_ed25519(const json_t *jwk, const ms_alg_info_t *alg, ms_jwk_error_t *e)
{
    EVP_PKEY        *pkey;
    ms_jwk_bytes_t   x;

    if (ms_jwk_bytes(jwk, "x", &x, e) != 0) {
        return NULL;
    }

    pkey = NULL;

    if (x.len == alg->field) {
        pkey = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, x.data,
                                              x.len);
    }

    if (pkey == NULL) {
        snprintf(e->error, e->size, "\"x\" must have %zu bytes", alg->field);
    }

    return pkey;
}


/* 1: "kty" and "crv" are those of an algorithm; 0: of none that we know; -1:
 * broken. */
static int
ms_jwk_type(const json_t *jwk, const ms_alg_info_t **alg, ms_jwk_error_t *e)
{
    size_t        i;
    const char   *kty, *crv;
    ms_family_t   family;

    kty = json_string_value(json_object_get(jwk, "kty"));
    crv = json_string_value(json_object_get(jwk, "crv"));

    if (kty == NULL) {
        return ms_jwk_broken(e, "no or bad", "kty");
    }

    if (strcmp(kty, "oct") == 0) {
        *alg = &ms_algs[MS_ALG_HS256];
        return 1;
    }

    if (strcmp(kty, "RSA") == 0) {
        *alg = &ms_algs[MS_ALG_RS256];
        return 1;
    }

    if (strcmp(kty, "EC") == 0) {
        family = MS_FAMILY_EC;

    } else if (strcmp(kty, "OKP") == 0) {
        family = MS_FAMILY_ED25519;

    } else {
        return 0;
    }

    if (crv == NULL) {
        return ms_jwk_broken(e, "no or bad", "crv");
    }

    for (i = 0; i < MS_ALGS; i++) {
        if (ms_algs[i].family == family && strcmp(ms_algs[i].curve, crv) == 0)
        {
            *alg = &ms_algs[i];
            return 1;
        }
    }

    return 0;
}


/* 1: the key is for verifying ("use", "key_ops"); 0: it is not; -1: broken. */
static int
ms_jwk_purpose(const json_t *jwk, ms_jwk_error_t *e)
{
    bool           verify;
    size_t         i, n;
    const char    *text;
    const json_t  *use, *operations;

    use = json_object_get(jwk, "use");
    operations = json_object_get(jwk, "key_ops");

    if (use != NULL && !json_is_string(use)) {
        return ms_jwk_broken(e, "bad", "use");
    }

    if (use != NULL && strcmp(json_string_value(use), "sig") != 0) {
        return 0;
    }

    if (operations == NULL) {
        return 1;
    }

    if (!json_is_array(operations)) {
        return ms_jwk_broken(e, "bad", "key_ops");
    }

    verify = false;
    n = json_array_size(operations);

    for (i = 0; i < n; i++) {
        text = json_string_value(json_array_get(operations, i));
        if (text == NULL) {
            return ms_jwk_broken(e, "bad", "key_ops");
        }

        verify |= strcmp(text, "verify") == 0;
    }

    return verify;
}


/* 1: "algs" has the bit of its "alg", or all when it has none; 0: an algorithm
 * that we do not know; -1: broken. */
static int
ms_jwk_alg(const json_t *jwk, uint32_t *algs, ms_jwk_error_t *e)
{
    int            alg;
    const json_t  *value;

    *algs = MS_ALG_ALL;

    value = json_object_get(jwk, "alg");
    if (value == NULL) {
        return 1;
    }

    if (!json_is_string(value)) {
        return ms_jwk_broken(e, "bad", "alg");
    }

    alg = ms_alg_find(json_string_value(value), json_string_length(value));
    if (alg < 0) {
        return 0;
    }

    *algs = MS_ALG_BIT(alg);

    return 1;
}


static int
ms_jwk_private(const json_t *jwk, ms_jwk_error_t *e)
{
    size_t       i;
    const char  *kty;

    static const char *const  names[] = {
        "d", "p", "q", "dp", "dq", "qi", "oth", "priv"
    };

    kty = json_string_value(json_object_get(jwk, "kty"));

    if (kty != NULL && strcmp(kty, "oct") == 0) {
        return 0;
    }

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (json_object_get(jwk, names[i]) != NULL) {
            return ms_jwk_broken(e, "a private key, only public keys belong "
                                 "here; it has", names[i]);
        }
    }

    return 0;
}


static int
ms_jwk_mismatch(uint32_t algs, ms_jwk_error_t *e)
{
    int  i;

    for (i = 0; i < MS_ALGS && !(algs & MS_ALG_BIT(i)); i++) {
        /* the only one */
    }

    return ms_jwk_broken(e, "its type is not that of its \"alg\",",
                         ms_algs[i].name);
}


static int
ms_jwk_add_secret(ms_keys_t *keys, const json_t *jwk, uint32_t algs,
    const char *kid, ms_jwk_error_t *e)
{
    int             i, rc;
    uint32_t        fit;
    ms_jwk_bytes_t  k;

    if (!(algs & MS_ALG_HS)) {
        return ms_jwk_mismatch(algs, e);
    }

    if (ms_jwk_bytes(jwk, "k", &k, e) != 0) {
        return -1;
    }

    fit = 0;

    for (i = MS_ALG_HS256; i <= MS_ALG_HS512; i++) {
        if (k.len >= ms_algs[i].digest_size && k.len <= MS_SECRET_MAX) {
            fit |= MS_ALG_BIT(i);
        }
    }

    algs &= MS_ALG_HS & keys->allowed;
    rc = -1;

    if (algs != 0 && !(algs & fit)) {
        snprintf(e->error, e->size, "the secret has %zu bytes, must have as "
                 "many as the hash, up to %d", k.len, MS_SECRET_MAX);

    } else {
        rc = ms_keys_add_secret(keys, algs & fit, kid, k.data, k.len,
                                e->error, e->size);
    }

    OPENSSL_cleanse(k.data, k.len);

    return rc;
}


static int
ms_jwk_add_public(ms_keys_t *keys, const json_t *jwk,
    const ms_alg_info_t *type, uint32_t algs, const char *kid,
    ms_jwk_error_t *e)
{
    int        rc;
    uint32_t   able;
    EVP_PKEY  *pkey;

    switch (type->family) {
    case MS_FAMILY_EC:
        pkey = ms_jwk_ec(jwk, type, e);
        break;
    case MS_FAMILY_ED25519:
        pkey = ms_jwk_ed25519(jwk, type, e);
        break;
    default:
        pkey = ms_jwk_rsa(jwk, e);
        break;
    }

    if (pkey == NULL) {
        return -1;
    }

    rc = ms_public_algs(pkey, &able, e->error, e->size);

    if (rc == 0 && !(algs & able)) {
        rc = ms_jwk_mismatch(algs, e);
    }

    if (rc == 0) {
        rc = ms_keys_add_public(keys, algs & able & keys->allowed, kid, pkey,
                                e->error, e->size);
    }

    EVP_PKEY_free(pkey);

    return rc;
}


static int
ms_jwk_add(ms_keys_t *keys, const json_t *jwk, ms_jwk_error_t *e)
{
    int                   rc;
    uint32_t              algs;
    const json_t         *kid;
    const ms_alg_info_t  *type;

    type = NULL;

    if (!json_is_object(jwk)) {
        snprintf(e->error, e->size, "not an object");
        return -1;
    }

    if (ms_jwk_private(jwk, e) != 0) {
        return -1;
    }

    if ((rc = ms_jwk_type(jwk, &type, e)) != 1
        || (rc = ms_jwk_purpose(jwk, e)) != 1
        || (rc = ms_jwk_alg(jwk, &algs, e)) != 1)
    {
        return rc;
    }

    kid = json_object_get(jwk, "kid");

    if (kid != NULL
        && (!json_is_string(kid) || json_string_length(kid) > MS_KID_MAX))
    {
        return ms_jwk_broken(e, "bad", "kid");
    }

    return type->family == MS_FAMILY_HMAC
           ? ms_jwk_add_secret(keys, jwk, algs, json_string_value(kid), e)
           : ms_jwk_add_public(keys, jwk, type, algs, json_string_value(kid),
                               e);
}


/* The text comes from anywhere and goes to a log. */
static void
ms_jwk_kid_shown(const json_t *jwk, char *shown)
{
    size_t       i;
    const char  *kid;

    kid = json_string_value(json_object_get(jwk, "kid"));

    for (i = 0; kid != NULL && kid[i] != '\0' && i < MS_JWK_KID_SHOWN; i++) {
        shown[i] = kid[i] >= 0x20 && kid[i] < 0x7f && kid[i] != '"' ? kid[i]
                                                                    : '?';
    }

    shown[i] = '\0';
}


static int
ms_jwk_add_all(ms_keys_t *keys, const json_t *list, char *error, size_t size)
{
    char             reason[192], kid[MS_JWK_KID_SHOWN + 1];
    size_t           i, n;
    const json_t    *jwk;
    ms_jwk_error_t   e = { reason, sizeof(reason) };

    n = json_array_size(list);

    for (i = 0; i < n; i++) {
        jwk = json_array_get(list, i);

        if (ms_jwk_add(keys, jwk, &e) == -1) {
            ms_jwk_kid_shown(jwk, kid);
            snprintf(error, size, "key %zu%s%s%s: %s", i + 1,
                     kid[0] != '\0' ? " (kid \"" : "", kid,
                     kid[0] != '\0' ? "\")" : "", reason);
            return -1;
        }
    }

    return 0;
}


int
ms_keys_add_jwks(ms_keys_t *keys, const void *text, size_t len, char *error,
    size_t size)
{
    int      rc;
    json_t  *json, *list;

    rc = -1;
    list = NULL;

    json = ms_json_object(text, len);
    if (json == NULL) {
        snprintf(error, size, "not a JSON object, or with duplicate members, "
                 "or deeper than %d", MS_JSON_DEPTH);
        goto done;
    }

    if (json_object_get(json, "kty") != NULL) {
        list = json_pack("[O]", json);  /* a single key */
    } else {
        list = json_incref(json_object_get(json, "keys"));
    }

    if (!json_is_array(list)) {
        snprintf(error, size, "neither a JWK nor a JWK Set");
        goto done;
    }

    rc = ms_jwk_add_all(keys, list, error, size);

    if (rc == 0 && keys->n == 0) {
        snprintf(error, size, "no key of a type and algorithm that is known "
                 "and allowed");
        rc = -1;
    }

done:

    json_decref(list);
    json_decref(json);

    return rc;
}
