#include "jwt/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "jwt/key.h"


#define MS_HS256_SIZE  32


static int
ms_key_verify_hs256(const ms_key_t *key, const unsigned char *input,
    size_t len, const unsigned char *signature, size_t signature_len)
{
    size_t         n;
    unsigned char  expected[MS_HS256_SIZE];

    /* without a key the context starts again with the one it has */
    if (EVP_MAC_init(key->mac, NULL, 0, NULL) != 1
        || EVP_MAC_update(key->mac, input, len) != 1
        || EVP_MAC_final(key->mac, expected, &n, sizeof(expected)) != 1
        || n != MS_HS256_SIZE)
    {
        return -1;
    }

    return signature_len == MS_HS256_SIZE
           && CRYPTO_memcmp(expected, signature, MS_HS256_SIZE) == 0;
}


static EVP_MAC_CTX *
ms_key_hmac(const void *secret, size_t len, const char *digest)
{
    EVP_MAC      *mac;
    OSSL_PARAM    params[2];
    EVP_MAC_CTX  *ctx;

    mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (mac == NULL) {
        return NULL;
    }

    ctx = EVP_MAC_CTX_new(mac);
    EVP_MAC_free(mac);                  /* the context holds a reference */

    if (ctx == NULL) {
        return NULL;
    }

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
                                                 (char *) digest, 0);
    params[1] = OSSL_PARAM_construct_end();

    if (EVP_MAC_init(ctx, secret, len, params) != 1) {
        EVP_MAC_CTX_free(ctx);
        return NULL;
    }

    return ctx;
}


static ms_keys_t *
ms_keys_create(const void *secret, size_t len)
{
    ms_key_t   *key;
    ms_keys_t  *keys;

    keys = calloc(1, sizeof(ms_keys_t) + sizeof(ms_key_t));
    if (keys == NULL) {
        return NULL;
    }

    keys->n = 1;
    key = &keys->list[0];
    key->alg = "HS256";
    key->verify = ms_key_verify_hs256;
    key->mac = ms_key_hmac(secret, len, "SHA256");

    if (key->mac == NULL) {
        free(keys);
        return NULL;
    }

    return keys;
}


ms_keys_t *
ms_keys_from_secret(const void *secret, size_t len, char *error, size_t size)
{
    ms_keys_t  *keys;

    if (len < MS_SECRET_MIN || len > MS_SECRET_MAX) {
        snprintf(error, size, "the secret has %zu bytes, must have %d to %d",
                 len, MS_SECRET_MIN, MS_SECRET_MAX);
        return NULL;
    }

    keys = ms_keys_create(secret, len);
    if (keys == NULL) {
        snprintf(error, size, "cannot prepare HMAC-SHA256");
    }

    return keys;
}


/* Reads until the end or until "size" bytes are there. */
static ssize_t
ms_secret_read(const char *path, char *buf, size_t size)
{
    int      fd, saved;
    size_t   len;
    ssize_t  n;

    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return -1;
    }

    len = 0;

    do {
        n = read(fd, buf + len, size - len);
        len += n > 0 ? (size_t) n : 0;
    } while ((n > 0 && len < size) || (n < 0 && errno == EINTR));

    saved = errno;
    close(fd);
    errno = saved;

    return n < 0 ? -1 : (ssize_t) len;
}


ms_keys_t *
ms_keys_from_secret_file(const char *path, char *error, size_t size)
{
    char        secret[MS_SECRET_MAX + 2], reason[128];
    ssize_t     n;
    ms_keys_t  *keys;

    keys = NULL;

    n = ms_secret_read(path, secret, sizeof(secret));
    if (n < 0) {
        snprintf(error, size, "key file \"%s\": %s", path, strerror(errno));
        goto done;
    }

    if (n > 0 && secret[n - 1] == '\n') {
        n--;
    }

    if (n > MS_SECRET_MAX) {
        snprintf(error, size, "key file \"%s\": the secret has more than %d "
                 "bytes", path, MS_SECRET_MAX);
        goto done;
    }

    keys = ms_keys_from_secret(secret, (size_t) n, reason, sizeof(reason));
    if (keys == NULL) {
        snprintf(error, size, "key file \"%s\": %s", path, reason);
    }

done:

    OPENSSL_cleanse(secret, sizeof(secret));

    return keys;
}


const ms_key_t *
ms_keys_find(const ms_keys_t *keys, const char *alg, const char *kid)
{
    size_t           i;
    const ms_key_t  *key;

    for (i = 0; i < keys->n; i++) {
        key = &keys->list[i];

        if (strcmp(key->alg, alg) == 0
            && (key->kid == NULL
                || (kid != NULL && strcmp(key->kid, kid) == 0)))
        {
            return key;
        }
    }

    return NULL;
}


void
ms_keys_free(ms_keys_t *keys)
{
    size_t  i;

    if (keys == NULL) {
        return;
    }

    for (i = 0; i < keys->n; i++) {
        EVP_MAC_CTX_free(keys->list[i].mac);    /* wipes the secret */
        free(keys->list[i].kid);
    }

    free(keys);
}
