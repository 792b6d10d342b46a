/*
 * Public keys as JSON: RFC 7517, 7518 section 6, 8037, and their names after
 * RFC 7638.
 */

#ifndef AUTHSVC_JWK_H
#define AUTHSVC_JWK_H


#include <stddef.h>
#include <jansson.h>
#include <openssl/evp.h>


#define JWK_THUMBPRINT  43              /* characters */


/* Base64url without padding (RFC 7515 section 2), NUL-terminated; to be freed
 * with free().  NULL when memory is out. */
char *jwk_base64url(const void *data, size_t len);

/* The members that make the key, nothing else: RSA, P-256 or Ed25519.  NULL
 * for other keys and when something fails. */
json_t *jwk_create(const EVP_PKEY *pkey);

/* Of what jwk_create() returned.  -1 when memory is out. */
int jwk_thumbprint(const json_t *jwk, char out[JWK_THUMBPRINT + 1])
    __attribute__((warn_unused_result));


#endif /* AUTHSVC_JWK_H */
