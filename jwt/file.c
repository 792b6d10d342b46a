/*
 * Key sets from a secret, and from files.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <openssl/crypto.h>

#include "jwt/key.h"


ms_keys_t *
ms_keys_from_secret(const void *secret, size_t len,
    const ms_keys_options_t *options, char *error, size_t size)
{
    int         i;
    char        reason[128];
    uint32_t    algs;
    ms_keys_t  *keys;

    if (len < MS_SECRET_MIN || len > MS_SECRET_MAX) {
        snprintf(error, size, "the secret has %zu bytes, must have %d to %d",
                 len, MS_SECRET_MIN, MS_SECRET_MAX);
        return NULL;
    }

    keys = ms_keys_create(options, MS_ALG_BIT(MS_ALG_HS256));
    if (keys == NULL) {
        snprintf(error, size, "out of memory");
        return NULL;
    }

    algs = keys->allowed & MS_ALG_HS;

    if (algs == 0) {
        snprintf(error, size, "a secret is for HS256, HS384 or HS512, none "
                 "of which is allowed");
        goto failed;
    }

    for (i = 0; i < MS_ALGS; i++) {
        if ((algs & MS_ALG_BIT(i)) && len < ms_algs[i].digest_size) {
            snprintf(error, size, "the secret has %zu bytes, must have %zu "
                     "for %s", len, ms_algs[i].digest_size, ms_algs[i].name);
            goto failed;
        }
    }

    if (ms_keys_add_secret(keys, algs, NULL, secret, len, reason,
                           sizeof(reason))
        != 0)
    {
        snprintf(error, size, "the secret: %s", reason);
        goto failed;
    }

    return keys;

failed:

    ms_keys_free(keys);

    return NULL;
}


/* Reads until the end or until "size" bytes are there. */
static ssize_t
ms_file_read(int fd, char *buf, size_t size)
{
    size_t   len;
    ssize_t  n;

    len = 0;

    do {
        n = read(fd, buf + len, size - len);
        len += n > 0 ? (size_t) n : 0;
    } while ((n > 0 && len < size) || (n < 0 && errno == EINTR));

    return n < 0 ? -1 : (ssize_t) len;
}


/* Without O_NONBLOCK the open of a FIFO would wait for its writer; that of a
 * socket fails with ENXIO. */
ssize_t
ms_keys_read_file(const char *path, char *buf, size_t len, char *error,
    size_t size)
{
    int          fd;
    ssize_t      n;
    const char  *reason;
    struct stat  info;

    n = -1;
    reason = "not a regular file";
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

    if (fd < 0 || fstat(fd, &info) != 0) {
        reason = errno == ENXIO ? reason : strerror(errno);

    } else if (S_ISDIR(info.st_mode)) {
        reason = strerror(EISDIR);

    } else if (S_ISREG(info.st_mode)) {
        n = ms_file_read(fd, buf, len);
        reason = strerror(errno);
    }

    if (n < 0) {
        snprintf(error, size, "key file \"%s\": %s", path, reason);
    }

    if (fd >= 0) {
        close(fd);
    }

    return n;
}


ms_keys_t *
ms_keys_from_secret_file(const char *path, const ms_keys_options_t *options,
    char *error, size_t size)
{
    char        secret[MS_SECRET_MAX + 2], reason[256];
    ssize_t     n;
    ms_keys_t  *keys;

    keys = NULL;

    n = ms_keys_read_file(path, secret, sizeof(secret), error, size);
    if (n < 0) {
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

    keys = ms_keys_from_secret(secret, (size_t) n, options, reason,
                               sizeof(reason));
    if (keys == NULL) {
        snprintf(error, size, "key file \"%s\": %s", path, reason);
    }

done:

    OPENSSL_cleanse(secret, sizeof(secret));

    return keys;
}


ms_keys_t *
ms_keys_from_file(const char *path, const ms_keys_options_t *options,
    char *error, size_t size)
{
    char       *text, reason[512];
    ssize_t     n;
    ms_keys_t  *keys;

    keys = NULL;

    text = malloc(MS_KEYS_TEXT_MAX + 1);
    if (text == NULL) {
        snprintf(error, size, "key file \"%s\": out of memory", path);
        return NULL;
    }

    n = ms_keys_read_file(path, text, MS_KEYS_TEXT_MAX + 1, error, size);

    if (n >= 0) {
        keys = ms_keys_parse(text, (size_t) n, options, reason,
                             sizeof(reason));
        if (keys == NULL) {
            snprintf(error, size, "key file \"%s\": %s", path, reason);
        }

        OPENSSL_cleanse(text, (size_t) n);
    }

    free(text);

    return keys;
}
