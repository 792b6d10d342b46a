/*
 * A key that signs tokens: an EVP_PKEY of OpenSSL, which is read-only, counted
 * and shared by threads, with its algorithm and its name.
 */

#ifndef AUTHSVC_KEYS_SIGNKEY_H
#define AUTHSVC_KEYS_SIGNKEY_H


#include <stddef.h>
#include <jansson.h>
#include <openssl/evp.h>


#define SIGNKEY_KID  43                 /* characters of a key's name */
#define SIGNKEY_PEM  8192               /* bytes of a private key's file */

typedef enum {
    SIGNKEY_HS256 = 0,
    SIGNKEY_RS256,
    SIGNKEY_PS256,
    SIGNKEY_ES256,
    SIGNKEY_EDDSA,
    SIGNKEY_ALGS
} signkey_alg_t;

extern const char *const  signkey_algs[SIGNKEY_ALGS];

typedef struct {
    signkey_alg_t   alg;
    char            kid[SIGNKEY_KID + 1];   /* empty: tokens name no key */
    EVP_PKEY       *pkey;                   /* NULL: not read */
} signkey_t;


/* Everything below that returns int: 0, or -1 with no key in "key". */

/* -1: not one of them. */
int signkey_alg_find(const char *name);

/*
 * A new key.  Its name is the thumbprint of RFC 7638; that of a secret is
 * random, because a thumbprint would put a hash of the secret into every
 * token.
 */
int signkey_generate(signkey_t *key, signkey_alg_t alg)
    __attribute__((warn_unused_result));

/* Adds the key itself to its algorithm and name, from what signkey_write() has
 * written: PKCS #8 as PEM, or for HS256 the secret without one trailing
 * newline.  -1 with one line in "error". */
int signkey_read(signkey_t *key, const char *text, size_t len, char *error,
    size_t size) __attribute__((warn_unused_result));

/* The same from a file. */
int signkey_load(signkey_t *key, const char *path, char *error, size_t size)
    __attribute__((warn_unused_result));

/* The private key as text, NUL-terminated, or -1; the caller wipes it. */
int signkey_write(const signkey_t *key, char out[SIGNKEY_PEM])
    __attribute__((warn_unused_result));

void signkey_copy(signkey_t *to, const signkey_t *from);
void signkey_free(signkey_t *key);      /* one without a key is fine */

/* The public key as JWK (RFC 7517), a new reference; NULL for a secret and
 * when memory is out. */
json_t *signkey_public(const signkey_t *key);

/* RFC 7638, of the members that make a public key and nothing else. */
int signkey_thumbprint(const json_t *jwk, char out[SIGNKEY_KID + 1])
    __attribute__((warn_unused_result));

/* A JWS in compact form of the claims, to be freed with free(); NULL on
 * failure. */
char *signkey_token(const signkey_t *key, const json_t *claims);


#endif /* AUTHSVC_KEYS_SIGNKEY_H */
