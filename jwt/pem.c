/*
 * Keys from PEM (RFC 7468): public keys and certificates.  A certificate is
 * only the wrapping of its key; neither its dates nor its issuer are looked at.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "jwt/key.h"


/* The key in "data", of which nothing may be left over. */
static EVP_PKEY *
ms_pem_key(const char *name, const unsigned char *data, long len)
{
    X509                 *x509;
    EVP_PKEY             *pkey;
    const unsigned char  *p;

    p = data;

    if (strcmp(name, PEM_STRING_PUBLIC) == 0) {
        pkey = d2i_PUBKEY(NULL, &p, len);

    } else {
        x509 = d2i_X509(NULL, &p, len);
        pkey = x509 != NULL ? X509_get_pubkey(x509) : NULL;
        X509_free(x509);
    }

    if (pkey != NULL && p != data + len) {
        EVP_PKEY_free(pkey);
        return NULL;
    }

    return pkey;
}


static int
ms_pem_add(ms_keys_t *keys, const char *name, const unsigned char *data,
    long len, char *error, size_t size)
{
    int        rc;
    uint32_t   algs;
    EVP_PKEY  *pkey;

    if (strstr(name, "PRIVATE KEY") != NULL) {
        snprintf(error, size, "a private key, only public keys belong here");
        return -1;
    }

    if (strcmp(name, PEM_STRING_PUBLIC) != 0
        && strcmp(name, PEM_STRING_X509) != 0)
    {
        snprintf(error, size, "neither \"" PEM_STRING_PUBLIC "\" nor \""
                 PEM_STRING_X509 "\"");
        return -1;
    }

    pkey = ms_pem_key(name, data, len);
    if (pkey == NULL) {
        snprintf(error, size, "broken, or a kind of key that is unknown");
        return -1;
    }

    rc = ms_public_algs(pkey, &algs, error, size);

    if (rc == 0 && !(algs & keys->allowed)) {
        snprintf(error, size, "%s, for which no algorithm is allowed",
                 EVP_PKEY_get0_type_name(pkey));
        rc = -1;
    }

    if (rc == 0) {
        rc = ms_keys_add_public(keys, algs & keys->allowed, NULL, pkey, error,
                                size);
    }

    EVP_PKEY_free(pkey);

    return rc;
}


/* 1: one was added, 0: there is none, -1: it is bad. */
static int
ms_pem_next(ms_keys_t *keys, BIO *bio, char *error, size_t size)
{
    int             rc;
    char           *name, *header;
    long            len;
    unsigned char  *data;

    name = NULL;
    header = NULL;
    data = NULL;

    if (PEM_read_bio(bio, &name, &header, &data, &len) != 1) {
        if (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE) {
            return 0;
        }

        snprintf(error, size, "not PEM");
        return -1;
    }

    rc = ms_pem_add(keys, name, data, len, error, size);

    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_clear_free(data, (size_t) len);

    return rc == 0 ? 1 : -1;
}


int
ms_keys_add_pem(ms_keys_t *keys, const void *text, size_t len, char *error,
    size_t size)
{
    int      rc;
    BIO     *bio;
    char     reason[256];
    size_t   i;

    if (len == 0) {
        snprintf(error, size, "no key");
        return -1;
    }

    bio = BIO_new_mem_buf(text, (int) len);
    if (bio == NULL) {
        snprintf(error, size, "out of memory");
        return -1;
    }

    i = 0;

    do {
        rc = ms_pem_next(keys, bio, reason, sizeof(reason));
        i++;
    } while (rc == 1);

    BIO_free(bio);

    if (rc == -1) {
        snprintf(error, size, "PEM block %zu: %s", i, reason);
        return -1;
    }

    if (i == 1) {
        snprintf(error, size, "neither PEM nor a JSON object");
        return -1;
    }

    return 0;
}
