/*
 * The keys of a running authsvc: read from the directory, shared by threads,
 * published as a JWK Set, looked at again on a timer.
 */

#include "authsvc/keys/ring.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sodium.h>

#include "authsvc/core/files.h"
#include "rpc/log.h"
#include "rpc/metrics.h"


#define KEYRING_GRACE  60               /* s; of a key that is retired late */

struct keyring_s {
    pthread_mutex_t     mutex;

    /* under the mutex */
    signkey_t           active;
    int64_t             created;        /* the active one; 0: not known */
    size_t              ready;          /* how many others there are */
    size_t              retired;

    /* of the thread that calls keyring_check() */
    keyring_options_t   options;
    int64_t             ttl;
    keydir_list_t       seen;           /* what is published, without keys */
    bool                failed;
    char                complaint[KEYDIR_ERROR];        /* was logged */
    char                warning[KEYDIR_ERROR];          /* was logged */
};


int
keyring_usage(const keyring_options_t *o, char *error, size_t size)
{
    const char  *text;

    text = o->file == NULL && o->directory == NULL
           ? "--key-file (AUTHSVC_KEY_FILE) or --keys (AUTHSVC_KEYS) is "
             "required"
           : o->file != NULL && o->directory != NULL
           ? "--key-file and --keys exclude each other"
           : o->publish != NULL && o->directory == NULL
           ? "--jwks-file needs --keys: a secret is not published" : NULL;

    if (text != NULL) {
        snprintf(error, size, "%s", text);
    }

    return text == NULL ? 0 : -1;
}


/* No process ever sees a part of a secret: it gets its name when it is whole,
 * and the first of several that start at once wins. */
static int
keyring_create_file(const char *path, char *error, size_t size)
{
    int          rc, saved;
    char         text[SIGNKEY_PEM];
    signkey_t    key;
    struct stat  st;

    if (lstat(path, &st) == 0) {
        return 0;
    }

    errno = ENOMEM;
    rc = signkey_generate(&key, SIGNKEY_HS256) == 0
         && signkey_write(&key, text) == 0
         ? files_create(path, text, strlen(text), 0600) : -1;
    saved = errno;

    sodium_memzero(text, sizeof(text));
    signkey_free(&key);

    if (rc == 0) {
        log_info("created the key file \"%s\"", path);

    } else if (saved != EEXIST) {
        snprintf(error, size, "key file \"%s\": %s", path,
                 files_strerror(saved));
        return -1;
    }

    return 0;
}


/* Several authsvc may start at once.  A key that was made but not activated, because the process was killed or the disk was full, is used:
 * the oldest, which gateways have had for longest. */
static int
keyring_create_key(keydir_t *dir)
{
    int            rc;
    signkey_t      key;
    keydir_list_t  list;

    if (keydir_read(dir, &list) != 0) {
        return -1;
    }

    if (keydir_find(&list, NULL) != NULL) {
        return 0;
    }

    /* retired keys come first */
    if (list.n > 0 && list.list[0].until == KEYDIR_FOREVER) {
        return keydir_activate(dir, &list.list[0].key);
    }

    if (list.n == KEYDIR_MAX) {
        return 0;                       /* the error is that none is active */
    }

    if (signkey_generate(&key, SIGNKEY_EDDSA) != 0) {
        return keydir_error(dir, "", "cannot make a key");
    }

    rc = keydir_add(dir, &key) == 0 && keydir_activate(dir, &key) == 0
         ? 0 : -1;
    signkey_free(&key);

    if (rc == 0) {
        log_info("created the key %s", key.kid);
    }

    return rc;
}


/* For everybody to read: nginx runs as another user. */
static int
keyring_publish(const keyring_t *ring, const keydir_list_t *keys,
    keydir_t *dir)
{
    int          rc;
    char        *text;
    const char  *path;

    path = ring->options.publish;
    if (path == NULL) {
        return 0;
    }

    errno = ENOMEM;
    text = keydir_set(keys);
    rc = text != NULL ? files_replace(path, text, strlen(text), 0644) : -1;

    if (rc != 0) {
        snprintf(dir->error, sizeof(dir->error), "\"%.*s\": %s", KEYDIR_PATH,
                 path, files_strerror(errno));
    }

    free(text);

    return rc;
}


static void
keyring_log(keyring_t *ring, const keydir_t *dir, keydir_list_t *list)
{
    size_t           i;
    keydir_entry_t  *entry, *before;

    for (i = 0; i < list->n; i++) {
        entry = &list->list[i];
        before = keydir_find(&ring->seen, entry->key.kid);

        if (before == NULL || before->mode != entry->mode) {
            keydir_warn_key(dir, entry);
        }

        if (before != NULL
            && strcmp(keydir_state(before), keydir_state(entry)) == 0)
        {
            continue;
        }

        log_info("key %s (%s) is %s", entry->key.kid,
                 signkey_algs[entry->key.alg], keydir_state(entry));

        if (ring->options.publish != NULL && entry->active
            && entry->key.alg == SIGNKEY_HS256)
        {
            log_warn("the key that signs is a secret: it is not in the "
                     "published set");
        }
    }

    for (i = 0; i < ring->seen.n; i++) {
        if (keydir_find(list, ring->seen.list[i].key.kid) == NULL) {
            log_info("key %s is gone", ring->seen.list[i].key.kid);
        }
    }
}


/*
 * Until when a key is published that is not active.  It may still sign here, as
 * long as its successor cannot be read or published: its
 * tokens live longer than the command knew that retired it.  What was said once
 * stays, also where it could not be noted.
 */
static int64_t
keyring_until(keyring_t *ring, const keydir_entry_t *entry, bool replaced,
    int64_t now)
{
    int64_t          until;
    keydir_entry_t  *before;

    until = entry->until;

    if (strcmp(entry->key.kid, ring->active.kid) == 0
        && (until != KEYDIR_FOREVER ? until < now + ring->ttl : replaced))
    {
        return now + ring->ttl + KEYRING_GRACE;
    }

    before = keydir_find(&ring->seen, entry->key.kid);

    return before != NULL && before->until != KEYDIR_FOREVER
           && before->until > until ? before->until : until;
}


/* What authsvc itself changes: how long the tokens of the active key live, for
 * the command that retires it, until when keys are published, and which are
 * gone.  The list is right also when nothing of that could be written. */
static int
keyring_change(keyring_t *ring, keydir_t *dir, keydir_list_t *list,
    int64_t now)
{
    int              rc;
    size_t           i;
    int64_t          until;
    keydir_entry_t  *entry, *active;

    rc = 0;
    active = keydir_find(list, NULL);

    if (active != NULL && active->ttl < ring->ttl) {
        active->ttl = ring->ttl;
        rc = keydir_note_ttl(dir, active->key.kid, ring->ttl);
    }

    for (i = 0; i < list->n; i++) {
        entry = &list->list[i];
        until = keyring_until(ring, entry, active != NULL, now);

        if (!entry->active && until != entry->until) {
            entry->until = until;
            rc |= keydir_note_until(dir, entry->key.kid, until);
        }
    }

    return keydir_expire(dir, list, now) == 0 ? rc : -1;
}


/* Whether "text" differs from what was logged last, which it is then. */
static bool
keyring_is_news(char last[KEYDIR_ERROR], const char *text)
{
    if (strcmp(last, text) == 0) {
        return false;
    }

    strcpy(last, text);

    return true;
}


/* A directory that cannot be written is fine; this is logged once. */
static void
keyring_maintain(keyring_t *ring, keydir_t *dir, keydir_list_t *list,
    int64_t now)
{
    if (keyring_change(ring, dir, list, now) == 0) {
        ring->warning[0] = '\0';

    } else if (keyring_is_news(ring->warning, dir->error)) {
        log_warn("cannot change the directory of the keys: %s", dir->error);
    }
}


/* Publishes, and only then signs with what was published. */
static int
keyring_use(keyring_t *ring, keydir_t *dir, keydir_list_t *keys)
{
    signkey_t        old;
    keydir_entry_t  *active;

    active = keydir_find(keys, NULL);

    if (active == NULL) {
        return keydir_error(dir, "", "no key is active; \"authsvc key activate"
                            " KID\" makes one so, \"authsvc key list\" shows "
                            "them");
    }

    if (keyring_publish(ring, keys, dir) != 0) {
        return -1;
    }

    pthread_mutex_lock(&ring->mutex);
    old = ring->active;
    signkey_copy(&ring->active, &active->key);
    pthread_mutex_unlock(&ring->mutex);

    signkey_free(&old);

    return 0;
}


/* For metrics. */
static void
keyring_count(keyring_t *ring, const keydir_list_t *list)
{
    size_t                 i;
    const keydir_entry_t  *entry;

    pthread_mutex_lock(&ring->mutex);
    ring->ready = 0;
    ring->retired = 0;

    for (i = 0; i < list->n; i++) {
        entry = &list->list[i];

        if (entry->active) {
            ring->created = entry->created;

        } else if (entry->until != KEYDIR_FOREVER) {
            ring->retired++;

        } else {
            ring->ready++;
        }
    }

    pthread_mutex_unlock(&ring->mutex);
}


/* Uses what is in the directory if it has changed, or by force. */
static int
keyring_look(keyring_t *ring, keydir_t *dir, int64_t now, bool force)
{
    int            rc;
    keydir_list_t  list, keys;

    if (keydir_read(dir, &list) != 0) {
        return -1;
    }

    keyring_maintain(ring, dir, &list, now);

    if (!force && memcmp(&list, &ring->seen, sizeof(list)) == 0) {
        return 0;
    }

    keys = list;

    if (keydir_load(dir, &keys) != 0) {
        return -1;
    }

    rc = keyring_use(ring, dir, &keys);
    keydir_drop(&keys);

    if (rc == 0) {
        keyring_log(ring, dir, &list);
        keyring_count(ring, &list);
        ring->seen = list;
    }

    return rc;
}


void
keyring_check(keyring_t *ring, int64_t now, int force)
{
    int       rc;
    keydir_t  dir;

    if (ring->options.directory == NULL) {
        return;
    }

    rc = keydir_open(&dir, ring->options.directory, false);

    if (rc == 0) {
        rc = keyring_look(ring, &dir, now, force || ring->failed);
        keydir_close(&dir);
    }

    ring->failed = rc != 0;

    if (rc == 0 && ring->complaint[0] != '\0') {
        log_info("the keys can be read again");
        ring->complaint[0] = '\0';
    }

    if (rc != 0 && keyring_is_news(ring->complaint, dir.error)) {
        log_error("authsvc keeps the previous keys: %s", dir.error);
    }
}


keyring_t *
keyring_fixed(signkey_t *key)
{
    keyring_t  *ring;

    ring = calloc(1, sizeof(keyring_t));

    if (ring == NULL) {
        signkey_free(key);
        return NULL;
    }

    pthread_mutex_init(&ring->mutex, NULL);
    ring->active = *key;

    return ring;
}


static int
keyring_open_directory(keyring_t *ring, keydir_t *dir, int64_t now)
{
    int  rc;

    if (keydir_open(dir, ring->options.directory, ring->options.create) != 0) {
        return -1;
    }

    keydir_warn(dir->path, dir->mode);

    rc = ring->options.create ? keyring_create_key(dir) : 0;

    if (rc == 0) {
        rc = keyring_look(ring, dir, now, true);
    }

    keydir_close(dir);

    return rc;
}


keyring_t *
keyring_open(const keyring_options_t *options, int64_t ttl, int64_t now,
    char *error, size_t size)
{
    keydir_t     dir;
    signkey_t    key = { .alg = SIGNKEY_HS256 };
    keyring_t   *ring;
    struct stat  st;

    if (options->directory == NULL
        && ((options->create
             && keyring_create_file(options->file, error, size) != 0)
            || signkey_load(&key, options->file, error, size) != 0))
    {
        return NULL;
    }

    memset(&st, 0, sizeof(st));

    if (options->directory == NULL && stat(options->file, &st) == 0) {
        keydir_warn(options->file, st.st_mode & 07777);
    }

    ring = keyring_fixed(&key);
    if (ring == NULL) {
        snprintf(error, size, "out of memory");
        return NULL;
    }

    ring->options = *options;
    ring->ttl = ttl;
    ring->created = options->directory == NULL ? st.st_mtime : 0;

    if (options->directory != NULL
        && keyring_open_directory(ring, &dir, now) != 0)
    {
        snprintf(error, size, "%s", dir.error);
        keyring_free(ring);
        return NULL;
    }

    return ring;
}


void
keyring_take(keyring_t *ring, signkey_t *key)
{
    pthread_mutex_lock(&ring->mutex);
    signkey_copy(key, &ring->active);
    pthread_mutex_unlock(&ring->mutex);
}


/* A kid has only letters, digits, "-" and "_": the name of its file. */
void
keyring_metrics(keyring_t *ring, FILE *out, int64_t now)
{
    pthread_mutex_lock(&ring->mutex);

    rpc_metrics_family(out, "authsvc_keys", "gauge", "keys by state");
    fprintf(out, "authsvc_keys{state=\"active\"} 1\n"
            "authsvc_keys{state=\"ready\"} %zu\n"
            "authsvc_keys{state=\"retired\"} %zu\n",
            ring->ready, ring->retired);

    rpc_metrics_family(out, "authsvc_key_info", "gauge",
                       "1; the labels name the key that signs");
    fprintf(out, "authsvc_key_info{kid=\"%s\",alg=\"%s\"} 1\n",
            ring->active.kid, signkey_algs[ring->active.alg]);

    if (ring->created != 0) {
        rpc_metrics_family(out, "authsvc_key_age_seconds", "gauge",
                           "time since the key that signs was made");
        fprintf(out, "authsvc_key_age_seconds %" PRId64 "\n",
                now > ring->created ? now - ring->created : 0);
    }

    pthread_mutex_unlock(&ring->mutex);
}


void
keyring_free(keyring_t *ring)
{
    if (ring == NULL) {
        return;
    }

    signkey_free(&ring->active);
    pthread_mutex_destroy(&ring->mutex);
    free(ring);
}
