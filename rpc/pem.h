/*
 * Certificates and keys in PEM files, read and checked before TLS gets them:
 * what is wrong is said in one line that names the file, instead of by a
 * handshake that fails.
 */

#ifndef RPC_PEM_H
#define RPC_PEM_H


#include <stddef.h>
#include <stdint.h>


/* The whole of a certificate file, and what its first certificate says. */
typedef struct {
    char     *text;
    size_t    len;
    char      subject[256];
    char      until[64];            /* end of its validity, for people */
    int64_t   expires;              /* the same, seconds since 1970 */
} pem_cert_t;

typedef struct {
    char     *text;
    size_t    len;
} pem_key_t;


/* 0, or -1 with one line in "error"; free what was filled either way. */

/* One or more certificates. */
int pem_cert_load(pem_cert_t *cert, const char *path, char *error,
    size_t size) __attribute__((warn_unused_result));

/* A private key without a passphrase. */
int pem_key_load(pem_key_t *key, const char *path, char *error, size_t size)
    __attribute__((warn_unused_result));

/* That TLS will take the pair: the key is that of the first certificate, and
 * both are strong enough for OpenSSL's security level. */
int pem_pair_check(const pem_cert_t *cert, const pem_key_t *key, char *error,
    size_t size) __attribute__((warn_unused_result));

void pem_cert_free(pem_cert_t *cert);

/* Wipes it, too. */
void pem_key_free(pem_key_t *key);


#endif /* RPC_PEM_H */
