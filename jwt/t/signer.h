/*
 * Keys and tokens of every algorithm for tests, made with OpenSSL's signing
 * side.  A failure aborts; texts are from malloc().
 */

#ifndef JWT_T_SIGNER_H
#define JWT_T_SIGNER_H


#include <stddef.h>
#include <openssl/evp.h>


#define SIGNER_SECRET                                                         \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"


/* "RSA" (2048 bits), "RSA-1024", "P-256", ..., "ED25519", "X25519"; made once,
 * the same each time. */
EVP_PKEY *signer_key(const char *type);

/* The type of key that "alg" needs; NULL: SIGNER_SECRET. */
const char *signer_type(const char *alg);

char *signer_pem(EVP_PKEY *pkey);
char *signer_private_pem(EVP_PKEY *pkey);
char *signer_certificate(EVP_PKEY *pkey);

/* "{...}" with "members" (',"kid":"a"' or '') behind those of the key. */
char *signer_jwk(EVP_PKEY *pkey, const char *members);
char *signer_jwk_secret(const void *secret, size_t len, const char *members);

/* Header and claims signed by "alg"; "pkey" NULL: with SIGNER_SECRET. */
char *signer_token(const char *alg, EVP_PKEY *pkey, const char *header,
    const char *claims);

/* The bytes of a signature of "alg" as tokens have them. */
unsigned char *signer_sign(const char *alg, EVP_PKEY *pkey, const char *text,
    size_t *len);


#endif /* JWT_T_SIGNER_H */
