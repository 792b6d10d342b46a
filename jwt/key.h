/*
 * A verification key of one algorithm, and the set as token.c sees it; private
 * to jwt/.
 */

#ifndef JWT_KEY_H
#define JWT_KEY_H


#include <stddef.h>
#include <openssl/evp.h>

#include "jwt/keys.h"


#define MS_ALG_FIELD_MAX  66            /* bytes of a coordinate of P-521 */


/* What an algorithm is made of. */
typedef enum {
    MS_FAMILY_HMAC,
    MS_FAMILY_RSA,                      /* RSASSA-PKCS1-v1_5 */
    MS_FAMILY_PSS,
    MS_FAMILY_EC,
    MS_FAMILY_ED25519
} ms_family_t;

typedef struct {
    const char   *name;
    ms_family_t   family;
    const char   *digest;               /* OpenSSL's name; NULL: Ed25519 */
    size_t        digest_size;
    const char   *curve;                /* EC: the JWK's "crv" ... */
    const char   *group;                /* ... and OpenSSL's name of it */
    size_t        field;                /* EC: bytes of r, s and coordinates */
} ms_alg_info_t;

extern const ms_alg_info_t  ms_algs[MS_ALGS];


typedef struct {
    ms_alg_t       alg;                 /* the only one it verifies */
    char          *kid;                 /* owned; NULL: for tokens of any */
    EVP_MAC_CTX   *mac;                 /* HMAC, keyed */
    EVP_MD        *md;                  /* RSA and EC */
    EVP_PKEY_CTX  *verify;              /* the same, ready to verify */
    EVP_MD_CTX    *ready;               /* Ed25519, ready to verify */
    EVP_MD_CTX    *work;                /* a context to work in */
} ms_key_t;

struct ms_keys_s {
    uint32_t   allowed;                 /* algorithms that keys may have */
    size_t     n;
    size_t     room;
    ms_key_t  *list;
};


/* Both prepare "key", which is zeroed, for "alg"; 0, or -1 when OpenSSL fails;
 * ms_key_clear() in any case.  Whether the key is good for "alg" was checked
 * before.  The second one takes a reference of "pkey". */
int ms_key_init_secret(ms_key_t *key, ms_alg_t alg, const void *secret,
    size_t len) __attribute__((warn_unused_result));
int ms_key_init_public(ms_key_t *key, ms_alg_t alg, EVP_PKEY *pkey)
    __attribute__((warn_unused_result));

void ms_key_clear(ms_key_t *key);

/* 1: the signature is right, 0: it is not, -1: the library failed.  OpenSSL's
 * error queue is as before. */
int ms_key_verify(const ms_key_t *key, const unsigned char *input, size_t len,
    const unsigned char *signature, size_t signature_len);


/* An empty set for the algorithms of "options", 0: "otherwise". */
ms_keys_t *ms_keys_create(const ms_keys_options_t *options,
    uint32_t otherwise);

/* Adds one key for each of "algs" with a copy of "kid", which may be NULL. */
int ms_keys_add_secret(ms_keys_t *keys, uint32_t algs, const char *kid,
    const void *secret, size_t len, char *error, size_t size)
    __attribute__((warn_unused_result));
int ms_keys_add_public(ms_keys_t *keys, uint32_t algs, const char *kid,
    EVP_PKEY *pkey, char *error, size_t size)
    __attribute__((warn_unused_result));

/* The algorithms that the type of "pkey" allows.  -1 when that is none, or when
 * the key is weak: "error" then continues "key 1: ". */
int ms_public_algs(EVP_PKEY *pkey, uint32_t *algs, char *error, size_t size)
    __attribute__((warn_unused_result));

/* Add what is in the text, or fail with a line in "error". */
int ms_keys_add_pem(ms_keys_t *keys, const void *text, size_t len,
    char *error, size_t size) __attribute__((warn_unused_result));
int ms_keys_add_jwks(ms_keys_t *keys, const void *text, size_t len,
    char *error, size_t size) __attribute__((warn_unused_result));

/*
 * The keys that may have signed a token of "alg" and "kid" (NULL: it has
 * none): the keys of its "kid"; if the set has no such "kid", the keys without
 * one.  For a token without a "kid" all keys of its algorithm.  Up to
 * MS_KEYS_TRIED.
 */
size_t ms_keys_select(const ms_keys_t *keys, ms_alg_t alg, const char *kid,
    const ms_key_t **list);


#endif /* JWT_KEY_H */
