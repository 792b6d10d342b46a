#include "authsvc/serve_keys.h"

#include <stdio.h>
#include <time.h>
#include <sodium.h>

#include "authsvc/keydir.h"
#include "authsvc/keyfile.h"
#include "rpc/log.h"


#define SERVE_KEYS_ERROR  (KEYDIR_PATH + 512)
#define SERVE_KEYS_WAIT   10000         /* ms for the lock */


int
serve_keys_usage(const serve_keys_t *keys, char *error, size_t size)
{
    if (keys->file == NULL && keys->directory == NULL) {
        snprintf(error, size, "--key-file (AUTHSVC_KEY_FILE) or --keys "
                 "(AUTHSVC_KEYS) is required");
        return -1;
    }

    if (keys->file != NULL && keys->directory != NULL) {
        snprintf(error, size, "--key-file and --keys exclude each other");
        return -1;
    }

    if (keys->publish != NULL && keys->directory == NULL) {
        snprintf(error, size, "--jwks-file needs --keys: a secret is not "
                 "published");
        return -1;
    }

    return 0;
}


static keyring_t *
serve_keys_file(const serve_keys_t *keys, char *error, size_t size)
{
    secret_t    secret;
    keyring_t  *ring;

    if ((keys->create && keyfile_create(keys->file, error, size) != 0)
        || keyfile_load(keys->file, &secret, error, size) != 0)
    {
        return NULL;
    }

    ring = keyring_fixed(signkey_secret(secret.bytes, secret.len, NULL));
    sodium_memzero(&secret, sizeof(secret));

    if (ring == NULL) {
        snprintf(error, size, "out of memory");
    }

    return ring;
}


/* Under the lock: several authsvc may start at once. */
static int
serve_keys_first(const char *directory, int64_t now, char *error, size_t size)
{
    int         rc;
    keylist_t   list;
    signkey_t  *key;

    if (keydir_load(directory, &list, error, size) != 0) {
        return -1;
    }

    if (list.n > 0) {
        return 0;
    }

    key = signkey_generate(SIGNKEY_EDDSA);
    if (key == NULL || keylist_add(&list, key, now) != KEYLIST_OK
        || keylist_activate(&list, signkey_kid(key), now, 0, 0) != KEYLIST_OK)
    {
        snprintf(error, size, "cannot make a key");
        signkey_unref(key);
        return -1;
    }

    rc = keydir_add(directory, key, error, size) == 0
         && keydir_save(directory, &list, error, size) == 0
         ? 0 : -1;

    if (rc == 0) {
        log_info("created the key %s", signkey_kid(key));
    }

    signkey_unref(key);

    return rc;
}


static int
serve_keys_create(const char *directory, int64_t now, char *error, size_t size)
{
    int            rc;
    keydir_lock_t  lock;

    if (keydir_check(directory, true, error, size) != 0
        || keydir_lock(directory, &lock, SERVE_KEYS_WAIT, error, size) != 0)
    {
        return -1;
    }

    rc = serve_keys_first(directory, now, error, size);
    keydir_unlock(&lock);

    return rc;
}


static keyring_t *
serve_keys_directory(const serve_keys_t *keys, int64_t ttl, char *error,
    size_t size)
{
    int64_t            now;
    keyring_options_t  options;

    now = time(NULL);

    if (keys->create
        && serve_keys_create(keys->directory, now, error, size) != 0)
    {
        return NULL;
    }

    options.directory = keys->directory;
    options.publish = keys->publish;
    options.ttl = ttl;

    return keyring_open(&options, now, error, size);
}


keyring_t *
serve_keys_open(const serve_keys_t *keys, int64_t ttl)
{
    char        error[SERVE_KEYS_ERROR];
    keyring_t  *ring;

    ring = keys->directory != NULL
           ? serve_keys_directory(keys, ttl, error, sizeof(error))
           : serve_keys_file(keys, error, sizeof(error));

    if (ring == NULL) {
        log_error("%s", error);
    }

    return ring;
}
