/*
 * A verification key as token.c sees it; private to jwt/.  A new algorithm is
 * a constructor that fills one of these.
 */

#ifndef JWT_KEY_H
#define JWT_KEY_H


#include <stddef.h>
#include <openssl/evp.h>

#include "jwt/keys.h"


typedef struct ms_key_s  ms_key_t;

struct ms_key_s {
    const char   *alg;                  /* the only "alg" it verifies; static */
    char         *kid;                  /* owned; NULL: for tokens of any */

    /* 1: the signature is right, 0: it is not, -1: the library failed */
    int         (*verify)(const ms_key_t *key, const unsigned char *input,
                          size_t len, const unsigned char *signature,
                          size_t signature_len);

    EVP_MAC_CTX  *mac;                  /* HMAC, keyed */
};

struct ms_keys_s {
    size_t    n;
    ms_key_t  list[];
};


/* The key for "alg" and "kid" (NULL: the token has none), or NULL. */
const ms_key_t *ms_keys_find(const ms_keys_t *keys, const char *alg,
    const char *kid);


#endif /* JWT_KEY_H */
