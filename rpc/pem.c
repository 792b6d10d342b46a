#include "rpc/pem.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>


/* a bundle of all public authorities has 200 KiB */
#define PEM_MAX  (1024 * 1024)


static char *pem_read(const char *path, size_t *len, char *error, size_t size);
static int pem_cert_parse(pem_cert_t *cert, const char *path, char *error,
    size_t size);
static int pem_cert_describe(pem_cert_t *cert, X509 *x509);
static bool pem_end(void);
static BIO *pem_bio(const char *text, size_t len);
static X509 *pem_cert_first(const pem_cert_t *cert);
static EVP_PKEY *pem_key_parse(const pem_key_t *key, int *encrypted);
static int pem_no_passphrase(char *buf, int size, int writing, void *data);
static const char *pem_reason(void);


int
pem_cert_load(pem_cert_t *cert, const char *path, char *error, size_t size)
{
    memset(cert, 0, sizeof(pem_cert_t));

    cert->text = pem_read(path, &cert->len, error, size);

    if (cert->text == NULL) {
        return -1;
    }

    return pem_cert_parse(cert, path, error, size);
}


/* NUL-terminated, as the core wants it. */

static char *
pem_read(const char *path, size_t *len, char *error, size_t size)
{
    char  *text;
    FILE  *file;

    file = fopen(path, "re");

    if (file == NULL) {
        snprintf(error, size, "cannot read \"%s\": %s", path,
                 strerror(errno));
        return NULL;
    }

    text = malloc(PEM_MAX + 1);

    if (text == NULL) {
        snprintf(error, size, "out of memory");
        goto done;
    }

    errno = 0;
    *len = fread(text, 1, PEM_MAX + 1, file);

    if (ferror(file)) {
        snprintf(error, size, "cannot read \"%s\": %s", path,
                 strerror(errno));
        goto failed;
    }

    if (*len > PEM_MAX) {
        snprintf(error, size, "\"%s\" is larger than 1 MiB", path);
        goto failed;
    }

    text[*len] = '\0';
    goto done;

failed:

    OPENSSL_cleanse(text, *len);
    free(text);
    text = NULL;

done:

    fclose(file);

    return text;
}


static int
pem_cert_parse(pem_cert_t *cert, const char *path, char *error, size_t size)
{
    int    n, rc;
    BIO   *bio;
    X509  *x509;

    bio = pem_bio(cert->text, cert->len);

    for (n = 0, rc = 0; rc == 0; n++) {
        ERR_clear_error();
        x509 = PEM_read_bio_X509(bio, NULL, pem_no_passphrase, NULL);

        if (x509 == NULL) {
            break;
        }

        if (n == 0) {
            rc = pem_cert_describe(cert, x509);
        }

        X509_free(x509);
    }

    if (rc != 0 || !pem_end()) {
        snprintf(error, size, "\"%s\": certificate number %d is damaged: %s",
                 path, rc != 0 ? 1 : n + 1, pem_reason());
        rc = -1;

    } else if (n == 0) {
        snprintf(error, size, "\"%s\" has no certificate in PEM format "
                 "(-----BEGIN CERTIFICATE-----)", path);
        rc = -1;
    }

    ERR_clear_error();
    BIO_free(bio);

    return rc;
}


static int
pem_cert_describe(pem_cert_t *cert, X509 *x509)
{
    struct tm  tm;

    if (X509_NAME_oneline(X509_get_subject_name(x509), cert->subject,
                          sizeof(cert->subject))
        == NULL
        || ASN1_TIME_to_tm(X509_get0_notAfter(x509), &tm) != 1)
    {
        return -1;
    }

    cert->expires = (int64_t) timegm(&tm);
    strftime(cert->until, sizeof(cert->until), "%Y-%m-%dT%H:%M:%SZ", &tm);

    return 0;
}


/* Nothing more was found, as opposed to something broken. */

static bool
pem_end(void)
{
    unsigned long  e;

    e = ERR_peek_last_error();

    return ERR_GET_LIB(e) == ERR_LIB_PEM
           && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
}


static BIO *
pem_bio(const char *text, size_t len)
{
    BIO  *bio;

    bio = BIO_new_mem_buf(text, (int) len);

    if (bio == NULL) {
        abort();        /* out of memory, as the core does */
    }

    return bio;
}


int
pem_key_load(pem_key_t *key, const char *path, char *error, size_t size)
{
    int        encrypted;
    EVP_PKEY  *pkey;

    memset(key, 0, sizeof(pem_key_t));

    key->text = pem_read(path, &key->len, error, size);

    if (key->text == NULL) {
        return -1;
    }

    pkey = pem_key_parse(key, &encrypted);

    if (pkey != NULL) {
        EVP_PKEY_free(pkey);
        return 0;
    }

    if (encrypted) {
        snprintf(error, size, "the key in \"%s\" has a passphrase: give it "
                 "without (openssl pkey -in FILE -out NEW)", path);

    } else {
        snprintf(error, size, "\"%s\" has no private key in PEM format "
                 "(-----BEGIN PRIVATE KEY-----)", path);
    }

    return -1;
}


static EVP_PKEY *
pem_key_parse(const pem_key_t *key, int *encrypted)
{
    BIO       *bio;
    EVP_PKEY  *pkey;

    *encrypted = 0;

    bio = pem_bio(key->text, key->len);
    pkey = PEM_read_bio_PrivateKey(bio, NULL, pem_no_passphrase, encrypted);
    BIO_free(bio);
    ERR_clear_error();

    return pkey;
}


/* OpenSSL would ask for it on the terminal. */

static int
pem_no_passphrase(char *buf, int size, int writing, void *data)
{
    int  *asked = data;

    (void) buf;
    (void) size;
    (void) writing;

    if (asked != NULL) {
        *asked = 1;
    }

    return -1;
}


int
pem_pair_check(const pem_cert_t *cert, const pem_key_t *key, char *error,
    size_t size)
{
    int        rc, encrypted;
    X509      *x509;
    SSL_CTX   *ctx;
    EVP_PKEY  *pkey;

    rc = -1;

    x509 = pem_cert_first(cert);
    pkey = pem_key_parse(key, &encrypted);
    ctx = SSL_CTX_new(TLS_method());

    ERR_clear_error();

    if (x509 == NULL || pkey == NULL || ctx == NULL) {
        snprintf(error, size, "out of memory");

    } else if (X509_check_private_key(x509, pkey) != 1) {
        snprintf(error, size, "the key is not that of the certificate: give "
                 "the pair that was made together");

    } else if (SSL_CTX_use_certificate(ctx, x509) != 1
               || SSL_CTX_use_PrivateKey(ctx, pkey) != 1)
    {
        snprintf(error, size, "OpenSSL does not take the pair: %s",
                 pem_reason());

    } else {
        rc = 0;
    }

    ERR_clear_error();
    SSL_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    X509_free(x509);

    return rc;
}


static X509 *
pem_cert_first(const pem_cert_t *cert)
{
    BIO   *bio;
    X509  *x509;

    bio = pem_bio(cert->text, cert->len);
    x509 = PEM_read_bio_X509(bio, NULL, pem_no_passphrase, NULL);
    BIO_free(bio);

    return x509;
}


static const char *
pem_reason(void)
{
    const char  *reason;

    reason = ERR_reason_error_string(ERR_peek_last_error());

    return reason != NULL ? reason : "unknown error";
}


void
pem_cert_free(pem_cert_t *cert)
{
    free(cert->text);
    memset(cert, 0, sizeof(pem_cert_t));
}


void
pem_key_free(pem_key_t *key)
{
    if (key->text != NULL) {
        OPENSSL_cleanse(key->text, key->len);
    }

    free(key->text);
    memset(key, 0, sizeof(pem_key_t));
}
