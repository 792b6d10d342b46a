/*
 * Public keys from text: a JWK or a JWK Set when it begins with "{", else PEM.
 */

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <openssl/err.h>

#include "jwt/key.h"


static size_t
ms_keys_skip_space(const char *text, size_t len)
{
    size_t  i;

    for (i = 0; i < len && memchr(" \t\r\n", text[i], 4) != NULL; i++) {
        /* space */
    }

    return i;
}


/* What OpenSSL says about broken keys must not stay in its queue. */
static ms_keys_t *
ms_keys_parse_text(const void *text, size_t len, bool pem,
    const ms_keys_options_t *options, char *error, size_t size)
{
    int          rc;
    size_t       space;
    const char  *p;
    ms_keys_t   *keys;

    if (len > MS_KEYS_TEXT_MAX) {
        snprintf(error, size, "more than %d bytes", MS_KEYS_TEXT_MAX);
        return NULL;
    }

    keys = ms_keys_create(options, MS_ALG_ALL);
    if (keys == NULL) {
        snprintf(error, size, "out of memory");
        return NULL;
    }

    p = text;
    space = ms_keys_skip_space(p, len);
    p += space;
    len -= space;

    ERR_set_mark();

    if (!pem || (len > 0 && *p == '{')) {
        rc = ms_keys_add_jwks(keys, p, len, error, size);

    } else {
        rc = ms_keys_add_pem(keys, p, len, error, size);
    }

    ERR_pop_to_mark();

    if (rc != 0) {
        ms_keys_free(keys);
        return NULL;
    }

    return keys;
}


ms_keys_t *
ms_keys_parse(const void *text, size_t len, const ms_keys_options_t *options,
    char *error, size_t size)
{
    return ms_keys_parse_text(text, len, true, options, error, size);
}


ms_keys_t *
ms_keys_parse_jwks(const void *text, size_t len,
    const ms_keys_options_t *options, char *error, size_t size)
{
    return ms_keys_parse_text(text, len, false, options, error, size);
}
