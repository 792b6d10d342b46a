#include "authsvc/keyring.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "authsvc/files.h"
#include "authsvc/keydir.h"
#include "rpc/log.h"


#define KEYRING_ERROR    (KEYDIR_PATH + 512)
#define KEYRING_TRIES    5              /* when it changes while it is read */

typedef struct {
    keylist_t          list;
    signkey_t         *keys[KEYLIST_MAX];
    keydir_version_t   version;
} keyring_content_t;

struct keyring_s {
    pthread_mutex_t     mutex;
    signkey_t          *active;         /* under the mutex */

    /* of the thread that calls keyring_check() */
    keyring_options_t   options;        /* directory NULL: a fixed key */
    keyring_content_t   content;
    int64_t             next;           /* when a published key is to go */
    bool                later;          /* it is retired later than the
                                           directory says */
    bool                failed;
    char                complaint[KEYRING_ERROR];       /* was logged */
    char                warning[KEYRING_ERROR];         /* was logged */
};


static keyring_t *
keyring_create(void)
{
    keyring_t  *ring;

    ring = calloc(1, sizeof(keyring_t));
    if (ring != NULL) {
        pthread_mutex_init(&ring->mutex, NULL);
    }

    return ring;
}


keyring_t *
keyring_fixed(signkey_t *key)
{
    keyring_t  *ring;

    ring = key != NULL ? keyring_create() : NULL;

    if (ring == NULL) {
        signkey_unref(key);
        return NULL;
    }

    ring->active = key;

    return ring;
}


static void
keyring_drop(keyring_content_t *content)
{
    size_t  i;

    for (i = 0; i < content->list.n; i++) {
        signkey_unref(content->keys[i]);
    }

    memset(content, 0, sizeof(keyring_content_t));
}


/* A key that is there already, or the one of the file. */
static int
keyring_key(const char *directory, const keyring_content_t *old,
    const keylist_entry_t *entry, signkey_t **key, char *error, size_t size)
{
    size_t  i;

    for (i = 0; old != NULL && i < old->list.n; i++) {
        if (strcmp(old->list.list[i].kid, entry->kid) == 0
            && old->list.list[i].alg == entry->alg)
        {
            *key = signkey_ref(old->keys[i]);
            return 0;
        }
    }

    if (keydir_exposed(directory, entry)) {
        log_warn("others than the owner may read or change the file of key "
                 "%s", entry->kid);
    }

    return keydir_key(directory, entry, key, error, size);
}


static int
keyring_read_once(const char *directory, const keyring_content_t *old,
    keyring_content_t *content, char *error, size_t size)
{
    size_t     i;
    keylist_t  list;

    memset(content, 0, sizeof(keyring_content_t));
    keydir_version(directory, &content->version);

    if (keydir_load(directory, &list, error, size) != 0) {
        return -1;
    }

    for (i = 0; i < list.n; i++) {
        if (keyring_key(directory, old, &list.list[i], &content->keys[i],
                        error, size)
            != 0)
        {
            return -1;
        }

        content->list.list[i] = list.list[i];
        content->list.n = i + 1;
    }

    return 0;
}


/* A key's file may go between two looks: then the list has changed, too. */
static int
keyring_read(const char *directory, const keyring_content_t *old,
    keyring_content_t *content, char *error, size_t size)
{
    int               tries;
    keydir_version_t  now;

    for (tries = 0; tries < KEYRING_TRIES; tries++) {

        if (keyring_read_once(directory, old, content, error, size) == 0) {
            return 0;
        }

        keydir_version(directory, &now);
        if (keydir_same(&now, &content->version)) {
            break;
        }

        keyring_drop(content);
    }

    keyring_drop(content);

    return -1;
}


char *
keyring_set(const keylist_t *list, signkey_t *const *keys, int64_t now)
{
    char    *text, *line;
    size_t   i;
    json_t  *set, *array, *jwk;

    array = json_array();

    for (i = 0; i < list->n; i++) {

        if (list->list[i].alg == SIGNKEY_HS256
            || keylist_until(&list->list[i]) <= now)
        {
            continue;
        }

        jwk = signkey_public(keys[i]);
        if (json_array_append_new(array, jwk) != 0) {
            json_decref(array);
            return NULL;
        }
    }

    set = json_pack("{s:o}", "keys", array);
    text = set != NULL ? json_dumps(set, JSON_INDENT(2)) : NULL;
    json_decref(set);

    if (text != NULL && asprintf(&line, "%s\n", text) < 0) {
        line = NULL;
    }

    if (text == NULL) {
        return NULL;
    }

    free(text);

    return line;
}


char *
keyring_export(const char *directory, int64_t now, char *error, size_t size)
{
    char               *text;
    keyring_content_t   content;

    if (keydir_check(directory, false, error, size) != 0
        || keyring_read(directory, NULL, &content, error, size) != 0)
    {
        return NULL;
    }

    text = keyring_set(&content.list, content.keys, now);
    keyring_drop(&content);

    if (text == NULL) {
        snprintf(error, size, "out of memory");
    }

    return text;
}


/* For everybody to read: nginx runs as another user. */
static int
keyring_publish(const char *path, const keyring_content_t *content,
    int64_t now, char *error, size_t size)
{
    int    rc;
    char  *text;

    if (path == NULL) {
        return 0;
    }

    text = keyring_set(&content->list, content->keys, now);
    if (text == NULL) {
        snprintf(error, size, "out of memory");
        return -1;
    }

    rc = files_replace(path, text, strlen(text), 0644);
    if (rc != 0) {
        snprintf(error, size, "\"%s\": %s", path, strerror(errno));
    }

    free(text);

    return rc;
}


/* Whether something changed.  No key goes by an old time. */
static bool
keyring_update(const keyring_t *ring, keylist_t *keys, int64_t now)
{
    bool  later, longer, gone;

    later = keylist_later(keys, &ring->content.list);
    longer = keylist_ttl(keys, ring->options.ttl);
    gone = keylist_prune(keys, now);

    return later || longer || gone;
}


/*
 * What authsvc itself writes into the list: how long the tokens live that the
 * active key signs, so that whoever retires it knows, when it really signed
 * the last one, and that keys are gone.  A directory that cannot be written is
 * fine; it is said once.
 */
static void
keyring_maintain(keyring_t *ring, int64_t now)
{
    int             rc;
    char           *error;
    size_t          size;
    keylist_t       keys;
    keydir_lock_t   lock;
    char            before[KEYRING_ERROR];

    error = ring->warning;
    size = sizeof(ring->warning);
    keys = ring->content.list;

    if (!keyring_update(ring, &keys, now) && !ring->later) {
        return;
    }

    strcpy(before, error);

    rc = keydir_lock(ring->options.directory, &lock, 0, error, size);

    if (rc == 1) {
        strcpy(error, before);
        return;
    }

    if (rc == 0) {

        if (keydir_load(ring->options.directory, &keys, error, size) == 0) {
            if (!keyring_update(ring, &keys, now)
                || keydir_save(ring->options.directory, &keys, error, size)
                   == 0)
            {
                ring->later = false;
                error[0] = '\0';
            }
        }

        keydir_unlock(&lock);
    }

    if (error[0] != '\0' && strcmp(error, before) != 0) {
        log_warn("cannot change the list of keys: %s", error);
    }
}


static void
keyring_log(const keyring_content_t *old, keyring_content_t *content,
    bool publish)
{
    size_t             i;
    keylist_entry_t   *entry, *before;
    keyring_content_t  copy;

    copy = *old;

    for (i = 0; i < content->list.n; i++) {
        entry = &content->list.list[i];
        before = keylist_find(&copy.list, entry->kid);

        if (before == NULL || before->state != entry->state) {
            log_info("key %s (%s) is %s", entry->kid, signkey_algs[entry->alg],
                     keylist_states[entry->state]);

            if (publish && entry->alg == SIGNKEY_HS256
                && entry->state == KEYLIST_ACTIVE)
            {
                log_warn("the key that signs is a secret: it is not in the "
                         "published set");
            }
        }
    }

    for (i = 0; i < copy.list.n; i++) {
        if (keylist_find(&content->list, copy.list.list[i].kid) == NULL) {
            log_info("key %s is gone", copy.list.list[i].kid);
        }
    }
}


/* When the next one of those that are published is to go. */
static int64_t
keyring_next(const keylist_t *list, int64_t now)
{
    size_t   i;
    int64_t  until, next;

    next = INT64_MAX;

    for (i = 0; i < list->n; i++) {
        until = keylist_until(&list->list[i]);
        next = until > now && until < next ? until : next;
    }

    return next;
}


static void
keyring_take_over(keyring_t *ring, keyring_content_t *content,
    signkey_t *active)
{
    signkey_t  *old;

    keyring_log(&ring->content, content, ring->options.publish != NULL);

    pthread_mutex_lock(&ring->mutex);
    old = ring->active;
    ring->active = signkey_ref(active);
    pthread_mutex_unlock(&ring->mutex);

    signkey_unref(old);
    keyring_drop(&ring->content);
    ring->content = *content;
}


/*
 * A key that was retired while the list could not be taken over has signed
 * until now: its tokens are good for longer than whoever retired it knew.
 * One that is not in the list any more is gone.
 */
static void
keyring_retire(keyring_t *ring, keylist_t *keys, int64_t now)
{
    keylist_t         known;
    keylist_entry_t  *active;

    if (ring->active == NULL) {
        return;
    }

    known = ring->content.list;
    active = keylist_find(&known, signkey_kid(ring->active));

    if (active != NULL) {
        active->state = KEYLIST_RETIRED;
        active->retired = now;
    }

    ring->later |= keylist_later(keys, &known);
}


/* Reads, publishes, and only then signs with what was published. */
static int
keyring_load(keyring_t *ring, int64_t now, char *error, size_t size)
{
    keylist_entry_t    *active;
    keyring_content_t   content;

    if (keyring_read(ring->options.directory, &ring->content, &content, error,
                     size)
        != 0)
    {
        return -1;
    }

    active = keylist_active(&content.list);

    if (active == NULL) {
        snprintf(error, size, "\"%s\": no key is active, see authsvc --help",
                 ring->options.directory);
        keyring_drop(&content);
        return -1;
    }

    keyring_retire(ring, &content.list, now);

    if (keyring_publish(ring->options.publish, &content, now, error, size)
        != 0)
    {
        keyring_drop(&content);
        return -1;
    }

    ring->next = keyring_next(&content.list, now);
    keyring_take_over(ring, &content,
                      content.keys[active - content.list.list]);

    return 0;
}


void
keyring_check(keyring_t *ring, int64_t now, int force)
{
    char              error[KEYRING_ERROR];
    keydir_version_t  version;

    if (ring->options.directory == NULL) {
        return;
    }

    keydir_version(ring->options.directory, &version);

    if (force || ring->failed || now >= ring->next
        || !keydir_same(&version, &ring->content.version))
    {
        ring->failed = keyring_load(ring, now, error, sizeof(error)) != 0;

        if (!ring->failed && ring->complaint[0] != '\0') {
            log_info("the keys can be read again");
            ring->complaint[0] = '\0';

        } else if (ring->failed && strcmp(error, ring->complaint) != 0) {
            log_error("the old keys stay: %s", error);
            strcpy(ring->complaint, error);
        }
    }

    if (!ring->failed) {
        keyring_maintain(ring, now);
    }
}


keyring_t *
keyring_open(const keyring_options_t *options, int64_t now, char *error,
    size_t size)
{
    keyring_t  *ring;

    ring = keyring_create();
    if (ring == NULL) {
        snprintf(error, size, "out of memory");
        return NULL;
    }

    ring->options = *options;

    if (keydir_check(options->directory, false, error, size) != 0
        || keyring_load(ring, now, error, size) != 0)
    {
        keyring_free(ring);
        return NULL;
    }

    keyring_maintain(ring, now);

    return ring;
}


signkey_t *
keyring_take(keyring_t *ring)
{
    signkey_t  *key;

    pthread_mutex_lock(&ring->mutex);
    key = signkey_ref(ring->active);
    pthread_mutex_unlock(&ring->mutex);

    return key;
}


void
keyring_free(keyring_t *ring)
{
    if (ring == NULL) {
        return;
    }

    keyring_drop(&ring->content);
    signkey_unref(ring->active);
    pthread_mutex_destroy(&ring->mutex);
    free(ring);
}
