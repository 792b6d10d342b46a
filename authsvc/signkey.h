/*
 * A key that signs tokens.  Parsed once, read-only afterwards, shared by
 * threads and counted.  HS256 is libjwt's; everything with a key pair is
 * OpenSSL's, because libjwt 1.10.2 parses the PEM again for every token
 * (RS256 670 us against 200, ES256 330 against 16) and knows neither PS256 nor
 * EdDSA.
 */

#ifndef AUTHSVC_SIGNKEY_H
#define AUTHSVC_SIGNKEY_H


#include <stddef.h>
#include <jansson.h>


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

typedef struct signkey_s  signkey_t;


/* -1: not one of them. */
int signkey_alg_find(const char *name);

/*
 * A new key.  Its name is the thumbprint of RFC 7638; that of a secret is
 * random, because a thumbprint would be a hash of the secret in every token.
 * NULL when OpenSSL or memory fails.
 */
signkey_t *signkey_generate(signkey_alg_t alg);

/* HS256.  "kid" may be NULL: tokens then name no key.  The bytes are copied.
 * NULL when memory is out or there are none. */
signkey_t *signkey_secret(const void *secret, size_t len, const char *kid);

/* From what signkey_write() has written: PKCS #8 as PEM, or for HS256 the
 * secret without one trailing newline.  NULL with one line in "error". */
signkey_t *signkey_read(signkey_alg_t alg, const char *kid, const void *text,
    size_t len, char *error, size_t size);

/* The private key as text, NUL-terminated; the caller wipes it.  -1 when it
 * does not fit or OpenSSL fails. */
int signkey_write(const signkey_t *key, char out[SIGNKEY_PEM])
    __attribute__((warn_unused_result));

signkey_t *signkey_ref(signkey_t *key);
void signkey_unref(signkey_t *key);     /* NULL is fine */

signkey_alg_t signkey_alg(const signkey_t *key);
const char *signkey_kid(const signkey_t *key);      /* NULL: none */

/* The public key as JWK (RFC 7517), a new reference; NULL for a secret and
 * when memory is out. */
json_t *signkey_public(const signkey_t *key);

/* A JWS in compact form of the claims, to be freed with free(); NULL on
 * failure.  "claims" is not changed. */
char *signkey_token(const signkey_t *key, const json_t *claims);


#endif /* AUTHSVC_SIGNKEY_H */
