/*
 * A set of keys: adding, joining, and selecting those a token may be signed
 * with.
 */

#include "jwt/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jwt/key.h"


ms_keys_t *
ms_keys_create(const ms_keys_options_t *options, uint32_t otherwise)
{
    ms_keys_t  *keys;

    keys = calloc(1, sizeof(ms_keys_t));
    if (keys == NULL) {
        return NULL;
    }

    keys->allowed = otherwise;

    if (options != NULL && options->algorithms != 0) {
        keys->allowed = options->algorithms;
    }

    return keys;
}


void
ms_keys_free(ms_keys_t *keys)
{
    size_t  i;

    if (keys == NULL) {
        return;
    }

    for (i = 0; i < keys->n; i++) {
        ms_key_clear(&keys->list[i]);
    }

    free(keys->list);
    free(keys);
}


static int
ms_keys_reserve(ms_keys_t *keys, size_t more, char *error, size_t size)
{
    size_t     room;
    ms_key_t  *list;

    if (keys->n + more > MS_KEYS_MAX) {
        snprintf(error, size, "more than %d keys; one for several algorithms "
                 "counts once for each", MS_KEYS_MAX);
        return -1;
    }

    if (keys->n + more <= keys->room) {
        return 0;
    }

    room = keys->n + more + 8;

    list = realloc(keys->list, room * sizeof(ms_key_t));
    if (list == NULL) {
        snprintf(error, size, "out of memory");
        return -1;
    }

    keys->list = list;
    keys->room = room;

    return 0;
}


/* One key for each of "algs", of the secret or else of "pkey". */
static int
ms_keys_add(ms_keys_t *keys, uint32_t algs, const char *kid,
    const void *secret, size_t len, EVP_PKEY *pkey, char *error, size_t size)
{
    int        i, rc;
    ms_key_t  *key;

    for (i = 0; i < MS_ALGS; i++) {
        if (!(algs & MS_ALG_BIT(i))) {
            continue;
        }

        if (ms_keys_reserve(keys, 1, error, size) != 0) {
            return -1;
        }

        key = &keys->list[keys->n];
        memset(key, 0, sizeof(ms_key_t));

        rc = pkey == NULL ? ms_key_init_secret(key, i, secret, len)
                          : ms_key_init_public(key, i, pkey);

        if (rc == 0 && kid != NULL) {
            key->kid = strdup(kid);
            rc = key->kid != NULL ? 0 : -1;
        }

        if (rc != 0) {
            snprintf(error, size, "OpenSSL cannot prepare it for %s",
                     ms_alg_name(i));
            ms_key_clear(key);
            return -1;
        }

        keys->n++;
    }

    return 0;
}


int
ms_keys_add_secret(ms_keys_t *keys, uint32_t algs, const char *kid,
    const void *secret, size_t len, char *error, size_t size)
{
    return ms_keys_add(keys, algs, kid, secret, len, NULL, error, size);
}


int
ms_keys_add_public(ms_keys_t *keys, uint32_t algs, const char *kid,
    EVP_PKEY *pkey, char *error, size_t size)
{
    return ms_keys_add(keys, algs, kid, NULL, 0, pkey, error, size);
}


int
ms_keys_join(ms_keys_t **keys, ms_keys_t *more, char *error, size_t size)
{
    ms_keys_t  *all;

    if (*keys == NULL) {
        *keys = more;
        return 0;
    }

    all = *keys;

    if (ms_keys_reserve(all, more->n, error, size) != 0) {
        ms_keys_free(more);
        return -1;
    }

    memcpy(all->list + all->n, more->list, more->n * sizeof(ms_key_t));
    all->n += more->n;
    all->allowed |= more->allowed;

    more->n = 0;
    ms_keys_free(more);

    return 0;
}


size_t
ms_keys_count(const ms_keys_t *keys)
{
    return keys->n;
}


int
ms_keys_has_kid(const ms_keys_t *keys, const char *kid, size_t len)
{
    size_t       i;
    const char  *own;

    for (i = 0; i < keys->n; i++) {
        own = keys->list[i].kid;

        if (own != NULL && strlen(own) == len && memcmp(own, kid, len) == 0) {
            return 1;
        }
    }

    return 0;
}


size_t
ms_keys_select(const ms_keys_t *keys, ms_alg_t alg, const char *kid,
    const ms_key_t **list)
{
    int              named;
    size_t           i, n;
    const ms_key_t  *key;

    named = kid != NULL && ms_keys_has_kid(keys, kid, strlen(kid));
    n = 0;

    for (i = 0; i < keys->n && n < MS_KEYS_TRIED; i++) {
        key = &keys->list[i];

        if (key->alg != alg) {
            continue;
        }

        if (named ? key->kid == NULL || strcmp(key->kid, kid) != 0
                  : kid != NULL && key->kid != NULL)
        {
            continue;
        }

        list[n++] = key;
    }

    return n;
}
