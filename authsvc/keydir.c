#include "authsvc/keydir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>
#include <sodium.h>

#include "authsvc/files.h"


#define KEYDIR_LIST     "keys.json"
#define KEYDIR_LOCK     "keys.lock"
#define KEYDIR_BYTES    (64 * 1024)     /* of the list */
#define KEYDIR_POLL     20              /* ms */


static int
keydir_error(const char *path, char *error, size_t size)
{
    snprintf(error, size, "\"%s\": %s", path, strerror(errno));

    return -1;
}


static const char *
keydir_suffix(signkey_alg_t alg)
{
    return alg == SIGNKEY_HS256 ? ".secret" : ".pem";
}


/* Fits always: keydir_check() has looked at the length. */
static void
keydir_path(char out[PATH_MAX], const char *directory, const char *name,
    const char *suffix)
{
    snprintf(out, PATH_MAX, "%.*s/%s%s", KEYDIR_PATH, directory, name, suffix);
}


int
keydir_check(const char *directory, bool create, char *error, size_t size)
{
    struct stat  st;

    if (strlen(directory) > KEYDIR_PATH) {
        errno = ENAMETOOLONG;
        return keydir_error(directory, error, size);
    }

    if (create && mkdir(directory, 0700) != 0 && errno != EEXIST) {
        return keydir_error(directory, error, size);
    }

    if (stat(directory, &st) != 0) {
        return keydir_error(directory, error, size);
    }

    if (!S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return keydir_error(directory, error, size);
    }

    return 0;
}


int
keydir_lock(const char *directory, keydir_lock_t *lock, int wait, char *error,
    size_t size)
{
    char                   path[PATH_MAX];
    const struct timespec  pause = { 0, KEYDIR_POLL * 1000000 };

    keydir_path(path, directory, KEYDIR_LOCK, "");

    lock->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock->fd < 0) {
        return keydir_error(path, error, size);
    }

    if (files_give(lock->fd, path) != 0) {
        (void) keydir_error(path, error, size);
        keydir_unlock(lock);
        return -1;
    }

    while (flock(lock->fd, LOCK_EX | LOCK_NB) != 0) {

        if (errno != EWOULDBLOCK && errno != EINTR) {
            (void) keydir_error(path, error, size);
            keydir_unlock(lock);
            return -1;
        }

        if (wait <= 0) {
            snprintf(error, size, "\"%s\" is locked by another authsvc", path);
            keydir_unlock(lock);
            return 1;
        }

        nanosleep(&pause, NULL);
        wait -= KEYDIR_POLL;
    }

    return 0;
}


void
keydir_unlock(keydir_lock_t *lock)
{
    close(lock->fd);
    lock->fd = -1;
}


/* "KID.pem" and "KID.secret"; "kid" gets the first part. */
static bool
keydir_is_key(const char *name, char kid[SIGNKEY_KID + 1])
{
    const char  *suffix;

    if (strlen(name) <= SIGNKEY_KID) {
        return false;
    }

    memcpy(kid, name, SIGNKEY_KID);
    kid[SIGNKEY_KID] = '\0';
    suffix = name + SIGNKEY_KID;

    return strchr(kid, '.') == NULL
           && (strcmp(suffix, ".pem") == 0 || strcmp(suffix, ".secret") == 0);
}


/* What a crash left of writing a key or the list.  Others may write here, too,
 * without the lock: the published set. */
static bool
keydir_is_temporary(const char *name)
{
    char  of[FILES_OF + 1], kid[SIGNKEY_KID + 1];

    return files_temporary(name, of)
           && (strcmp(of, KEYDIR_LIST) == 0 || keydir_is_key(of, kid));
}


/*
 * Counts the files of keys that "keys" does not name, and removes them and
 * what a crash left of writing one if "sweep" is set: the lock says that
 * nobody is writing.
 */
static size_t
keydir_strangers(const char *directory, keylist_t *keys, bool sweep)
{
    DIR            *dir;
    char            kid[SIGNKEY_KID + 1];
    bool            key;
    size_t          n;
    struct dirent  *entry;

    dir = opendir(directory);
    if (dir == NULL) {
        return 0;
    }

    n = 0;

    while ((entry = readdir(dir)) != NULL) {
        key = keydir_is_key(entry->d_name, kid)
              && keylist_find(keys, kid) == NULL;
        n += key;

        if (sweep && (key || keydir_is_temporary(entry->d_name))) {
            (void) unlinkat(dirfd(dir), entry->d_name, 0);
        }
    }

    closedir(dir);

    return n;
}


/* A lost list must not look like a new directory: the keys would be swept. */
static int
keydir_load_none(const char *directory, keylist_t *keys, const char *path,
    char *error, size_t size)
{
    if (keydir_strangers(directory, keys, false) == 0) {
        return 0;
    }

    snprintf(error, size, "\"%s\" is missing, but there are keys beside it",
             path);

    return -1;
}


int
keydir_load(const char *directory, keylist_t *keys, char *error, size_t size)
{
    int       rc;
    char     *text, path[PATH_MAX], reason[256];
    ssize_t   n;

    memset(keys, 0, sizeof(keylist_t));
    keydir_path(path, directory, KEYDIR_LIST, "");

    text = malloc(KEYDIR_BYTES);
    if (text == NULL) {
        return keydir_error(path, error, size);
    }

    n = files_read(path, text, KEYDIR_BYTES);
    rc = 0;

    if (n < 0) {
        rc = errno == ENOENT
             ? keydir_load_none(directory, keys, path, error, size)
             : keydir_error(path, error, size);

    } else if (keylist_read(keys, text, (size_t) n, reason, sizeof(reason))
               != 0)
    {
        snprintf(error, size, "\"%s\": %s", path, reason);
        rc = -1;
    }

    free(text);

    return rc;
}


int
keydir_key(const char *directory, const keylist_entry_t *entry,
    signkey_t **key, char *error, size_t size)
{
    char     text[SIGNKEY_PEM], path[PATH_MAX], reason[128];
    ssize_t  n;

    *key = NULL;
    keydir_path(path, directory, entry->kid, keydir_suffix(entry->alg));

    n = files_read(path, text, sizeof(text));
    if (n < 0) {
        return keydir_error(path, error, size);
    }

    *key = signkey_read(entry->alg, entry->kid, text, (size_t) n, reason,
                        sizeof(reason));
    sodium_memzero(text, sizeof(text));

    if (*key == NULL) {
        snprintf(error, size, "\"%s\": %s", path, reason);
        return -1;
    }

    return 0;
}


bool
keydir_exposed(const char *directory, const keylist_entry_t *entry)
{
    char         path[PATH_MAX];
    struct stat  st;

    keydir_path(path, directory, entry->kid, keydir_suffix(entry->alg));

    return stat(path, &st) == 0 && S_ISREG(st.st_mode)
           && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0;
}


int
keydir_save(const char *directory, const keylist_t *keys, char *error,
    size_t size)
{
    int         rc;
    char       *text, path[PATH_MAX];
    keylist_t   copy;

    keydir_path(path, directory, KEYDIR_LIST, "");

    text = keylist_write(keys);
    if (text == NULL) {
        errno = ENOMEM;
        return keydir_error(path, error, size);
    }

    rc = files_replace(path, text, strlen(text), 0600);
    if (rc != 0) {
        (void) keydir_error(path, error, size);

    } else {
        copy = *keys;
        (void) keydir_strangers(directory, &copy, true);
    }

    free(text);

    return rc;
}


int
keydir_add(const char *directory, const signkey_t *key, char *error,
    size_t size)
{
    int        rc;
    char       text[SIGNKEY_PEM], path[PATH_MAX];
    keylist_t  none;

    /* a key without a list would be taken for a lost list */
    keydir_path(path, directory, KEYDIR_LIST, "");
    memset(&none, 0, sizeof(none));

    if (access(path, F_OK) != 0
        && keydir_save(directory, &none, error, size) != 0)
    {
        return -1;
    }

    keydir_path(path, directory, signkey_kid(key),
                keydir_suffix(signkey_alg(key)));

    if (signkey_write(key, text) != 0) {
        snprintf(error, size, "\"%s\": the key cannot be written as text",
                 path);
        return -1;
    }

    rc = files_replace(path, text, strlen(text), 0600);
    sodium_memzero(text, sizeof(text));

    return rc == 0 ? 0 : keydir_error(path, error, size);
}


void
keydir_version(const char *directory, keydir_version_t *version)
{
    char         path[PATH_MAX];
    struct stat  st;

    memset(version, 0, sizeof(keydir_version_t));
    keydir_path(path, directory, KEYDIR_LIST, "");

    if (stat(path, &st) == 0) {
        version->there = true;
        version->device = st.st_dev;
        version->inode = st.st_ino;
        version->changed = st.st_ctim;
        version->size = st.st_size;
    }
}


bool
keydir_same(const keydir_version_t *one, const keydir_version_t *two)
{
    return one->there == two->there && one->device == two->device
           && one->inode == two->inode && one->size == two->size
           && one->changed.tv_sec == two->changed.tv_sec
           && one->changed.tv_nsec == two->changed.tv_nsec;
}
