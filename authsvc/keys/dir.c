/*
 * The directory of keys: its files and links.  Commands and the daemon read and
 * change it under one lock, each change by one rename.
 */

#include "authsvc/keys/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <sodium.h>

#include "authsvc/core/files.h"
#include "rpc/log.h"


#define KEYDIR_ACTIVE  "active"
#define KEYDIR_LOCK    "keys.lock"
#define KEYDIR_NEW     ".new"           /* what is written; then it is renamed
                                           to what it is */
#define KEYDIR_WAIT    5000             /* ms for the lock */
#define KEYDIR_POLL    20               /* ms */
#define KEYDIR_FORMAT  "%Y-%m-%dT%H:%M:%SZ"


int
keydir_error(keydir_t *dir, const char *name, const char *text)
{
    snprintf(dir->error, sizeof(dir->error), "\"%.*s%s%s\": %.200s",
             KEYDIR_PATH, dir->path, name[0] != '\0' ? "/" : "", name, text);

    return -1;
}


static int
keydir_errno(keydir_t *dir, const char *name)
{
    return keydir_error(dir, name, strerror(errno));
}


/* False for names of other files than keys. */
static bool
keydir_parse(const char *name, signkey_t *key)
{
    int   end, alg;
    char  text[16];

    memset(key, 0, sizeof(signkey_t));
    end = 0;

    if (sscanf(name, "%43[A-Za-z0-9_-].%n", key->kid, &end) != 1
        || end != SIGNKEY_KID + 1)
    {
        return false;
    }

    name += end;
    end = 0;

    if (strcmp(name, "secret") == 0) {
        return true;
    }

    alg = sscanf(name, "%8[A-Za-z0-9].pem%n", text, &end) == 1 && end > 0
          ? signkey_alg_find(text) : -1;
    key->alg = (signkey_alg_t) alg;

    return alg > SIGNKEY_HS256 && name[end] == '\0';
}


void
keydir_name(const signkey_t *key, char out[KEYDIR_NAME])
{
    snprintf(out, KEYDIR_NAME, "%s.%s%s", key->kid,
             key->alg == SIGNKEY_HS256 ? "secret" : signkey_algs[key->alg],
             key->alg == SIGNKEY_HS256 ? "" : ".pem");
}


/* A new file.  What root makes belongs to the owner of the directory, who must
 * read it.  Only the new file itself is given away: the owner can put another
 * file of root's under its name. */
static int
keydir_create(const keydir_t *dir, const char *name)
{
    int          fd, saved;
    struct stat  st;

    fd = openat(dir->fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd >= 0 && geteuid() == 0
        && (fstat(dir->fd, &st) != 0
            || fchown(fd, st.st_uid, st.st_gid) != 0))
    {
        saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }

    return fd;
}


static int
keydir_lock(keydir_t *dir)
{
    int                    wait;
    const struct timespec  pause = { 0, KEYDIR_POLL * 1000000 };

    dir->lock = keydir_create(dir, KEYDIR_LOCK);

    if (dir->lock < 0 && errno == EEXIST) {
        dir->lock = openat(dir->fd, KEYDIR_LOCK, O_RDWR | O_NONBLOCK
                                                 | O_CLOEXEC | O_NOFOLLOW);
    }

    if (dir->lock < 0) {
        dir->locked = errno;
        return errno == EACCES || errno == EROFS
               ? 0 : keydir_errno(dir, KEYDIR_LOCK);
    }

    for (wait = KEYDIR_WAIT; flock(dir->lock, LOCK_EX | LOCK_NB) != 0;
         wait -= KEYDIR_POLL)
    {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return keydir_errno(dir, KEYDIR_LOCK);
        }

        if (wait <= 0) {
            return keydir_error(dir, KEYDIR_LOCK, "is locked by another "
                                "authsvc; try again when it has ended");
        }

        nanosleep(&pause, NULL);
    }

    /* left by a process that was killed */
    (void) unlinkat(dir->fd, KEYDIR_NEW, 0);

    return 0;
}


/* Without the lock nothing may be changed. */
static int
keydir_locked(keydir_t *dir)
{
    errno = dir->locked;

    return dir->lock >= 0 ? 0 : keydir_errno(dir, KEYDIR_LOCK);
}


void
keydir_close(keydir_t *dir)
{
    if (dir->lock >= 0) {
        close(dir->lock);
    }

    if (dir->fd >= 0) {
        close(dir->fd);
    }
}


/* 0: the directory is there. */
static int
keydir_make(keydir_t *dir)
{
    if (mkdir(dir->path, 0700) == 0) {
        log_info("created the directory \"%s\" with mode 0700", dir->path);
        return 0;
    }

    return errno == EEXIST ? 0
           : errno == ENOENT
           ? keydir_error(dir, "", "cannot be created: the directory that it "
                          "would be in does not exist")
           : keydir_errno(dir, "");
}


static int
keydir_prepare(keydir_t *dir, bool create)
{
    struct stat  st;

    if (create && keydir_make(dir) != 0) {
        return -1;
    }

    dir->fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (dir->fd < 0 || fstat(dir->fd, &st) != 0) {
        return keydir_errno(dir, "");
    }

    dir->mode = st.st_mode & 07777;

    if (keydir_lock(dir) != 0) {
        return -1;
    }

    return faccessat(dir->fd, KEYDIR_OLD_LIST, F_OK, 0) == 0
           ? keydir_migrate(dir) : 0;
}


int
keydir_open(keydir_t *dir, const char *path, bool create)
{
    memset(dir, 0, sizeof(keydir_t));
    dir->path = path;
    dir->fd = -1;
    dir->lock = -1;

    if (keydir_prepare(dir, create) != 0) {
        keydir_close(dir);
        return -1;
    }

    return 0;
}


keydir_entry_t *
keydir_find(keydir_list_t *list, const char *kid)
{
    size_t  i;

    for (i = 0; i < list->n; i++) {
        if (kid != NULL ? strcmp(list->list[i].key.kid, kid) == 0
                        : list->list[i].active)
        {
            return &list->list[i];
        }
    }

    return NULL;
}


const char *
keydir_state(const keydir_entry_t *entry)
{
    return entry->active ? "active"
           : entry->until != KEYDIR_FOREVER ? "retired" : "ready";
}


const char *
keydir_time(int64_t seconds, char out[KEYDIR_TIME])
{
    time_t     t;
    struct tm  tm;

    t = (time_t) seconds;

    if (seconds == KEYDIR_FOREVER || gmtime_r(&t, &tm) == NULL) {
        return "-";
    }

    strftime(out, KEYDIR_TIME, KEYDIR_FORMAT, &tm);

    return out;
}


static int
keydir_compare(const void *one, const void *two)
{
    const keydir_entry_t  *a = one, *b = two;

    return a->until != b->until ? (a->until < b->until ? -1 : 1)
           : a->active != b->active ? (a->active ? -1 : 1)
           : a->created != b->created ? (a->created < b->created ? -1 : 1)
           : strcmp(a->key.kid, b->key.kid);
}


/* What a link says; empty, and false, if there is none. */
static bool
keydir_read_link(const keydir_t *dir, const char *name, char out[KEYDIR_NAME])
{
    ssize_t  n;

    n = readlinkat(dir->fd, name, out, KEYDIR_NAME - 1);
    out[n < 0 ? 0 : n] = '\0';

    return n >= 0 || errno != ENOENT;
}


static int
keydir_read_notes(keydir_t *dir, keydir_entry_t *entry)
{
    char         name[KEYDIR_NAME], text[KEYDIR_NAME];
    struct tm    tm;
    const char  *end;

    snprintf(name, sizeof(name), "%s.ttl", entry->key.kid);
    (void) keydir_read_link(dir, name, text);

    if (sscanf(text, "%12" SCNd64, &entry->ttl) != 1 || entry->ttl < 0
        || entry->ttl > KEYDIR_TTL_MAX)
    {
        entry->ttl = 0;
    }

    entry->until = KEYDIR_FOREVER;
    snprintf(name, sizeof(name), "%s.until", entry->key.kid);

    if (entry->active || !keydir_read_link(dir, name, text)) {
        return 0;
    }

    memset(&tm, 0, sizeof(tm));
    end = strptime(text, KEYDIR_FORMAT, &tm);

    if (end == NULL || *end != '\0') {
        return keydir_error(dir, name, "must be a link to a time such as "
                            "2026-11-29T15:47:32Z, until when the key is "
                            "published; replace it, or remove it if the key "
                            "is not retired");
    }

    entry->until = timegm(&tm);

    return 0;
}


/* Everything about one key but the key itself. */
static int
keydir_read_key(keydir_t *dir, const char *name, const char *active,
    keydir_list_t *list)
{
    signkey_t        key;
    struct stat      st;
    keydir_entry_t  *entry;

    if (!keydir_parse(name, &key)) {
        return 0;
    }

    if (keydir_find(list, key.kid) != NULL) {
        return keydir_error(dir, name, "there is another file of that key: "
                            "remove one of them");
    }

    if (list->n == KEYDIR_MAX) {
        return keydir_error(dir, "", "more than 32 keys: remove some");
    }

    entry = &list->list[list->n++];
    entry->key = key;
    entry->active = strcmp(name, active) == 0;

    if (fstatat(dir->fd, name, &st, 0) == 0) {
        entry->created = st.st_mtime;
        entry->mode = st.st_mode & 07777;
    }

    return keydir_read_notes(dir, entry);
}


int
keydir_read(keydir_t *dir, keydir_list_t *list)
{
    int             fd, rc;
    DIR            *stream;
    char            active[KEYDIR_NAME];
    struct dirent  *entry;

    rc = 0;
    memset(list, 0, sizeof(keydir_list_t));
    fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    stream = fd >= 0 ? fdopendir(fd) : NULL;

    if (stream == NULL) {
        return keydir_errno(dir, "");
    }

    (void) keydir_read_link(dir, KEYDIR_ACTIVE, active);

    while (rc == 0 && (entry = readdir(stream)) != NULL) {
        rc = keydir_read_key(dir, entry->d_name, active, list);
    }

    closedir(stream);
    qsort(list->list, list->n, sizeof(keydir_entry_t), keydir_compare);

    return rc;
}


void
keydir_drop(keydir_list_t *list)
{
    while (list->n > 0) {
        signkey_free(&list->list[--list->n].key);
    }
}


static void
keydir_path(const keydir_t *dir, const signkey_t *key, char out[PATH_MAX])
{
    char  name[KEYDIR_NAME];

    keydir_name(key, name);
    snprintf(out, PATH_MAX, "%.*s/%s", KEYDIR_PATH, dir->path, name);
}


void
keydir_warn(const char *path, unsigned mode)
{
    if ((mode & 077) != 0) {
        log_warn("others than the owner may read or change keys: mode %04o, "
                 "path=\"%s\" (chmod go= ends that)", mode, path);
    }
}


void
keydir_warn_key(const keydir_t *dir, const keydir_entry_t *entry)
{
    char  path[PATH_MAX];

    keydir_path(dir, &entry->key, path);
    keydir_warn(path, entry->mode);
}


int
keydir_load(keydir_t *dir, keydir_list_t *list)
{
    char    path[PATH_MAX];
    size_t  i;

    for (i = 0; i < list->n; i++) {
        keydir_path(dir, &list->list[i].key, path);

        if (signkey_load(&list->list[i].key, path, dir->error,
                         sizeof(dir->error)) != 0)
        {
            keydir_drop(list);
            return -1;
        }
    }

    return 0;
}


char *
keydir_set(const keydir_list_t *list)
{
    char    *text, *line;
    size_t   i;
    json_t  *set, *array;

    array = json_array();

    for (i = 0; i < list->n; i++) {
        if (list->list[i].key.alg != SIGNKEY_HS256
            && json_array_append_new(array, signkey_public(&list->list[i].key))
               != 0)
        {
            json_decref(array);
            return NULL;
        }
    }

    set = json_pack("{s:o}", "keys", array);
    text = set != NULL ? json_dumps(set, JSON_INDENT(2)) : NULL;
    json_decref(set);

    if (text == NULL || asprintf(&line, "%s\n", text) < 0) {
        line = NULL;
    }

    free(text);

    return line;
}


/* Gives what KEYDIR_NEW is its name. */
static int
keydir_rename_new(keydir_t *dir, const char *name)
{
    if (renameat(dir->fd, KEYDIR_NEW, dir->fd, name) != 0) {
        return keydir_errno(dir, name);
    }

    /* not all file systems can: then it is as safe as they are */
    (void) fsync(dir->fd);

    return 0;
}


/* "kid" and "suffix" make the name. */
static int
keydir_link(keydir_t *dir, const char *kid, const char *suffix,
    const char *target)
{
    char  name[KEYDIR_NAME];

    snprintf(name, sizeof(name), "%s%s", kid, suffix);

    if (keydir_locked(dir) != 0) {
        return -1;
    }

    return symlinkat(target, dir->fd, KEYDIR_NEW) == 0
           ? keydir_rename_new(dir, name) : keydir_errno(dir, name);
}


static int
keydir_unlink(keydir_t *dir, const char *kid, const char *suffix)
{
    char  name[KEYDIR_NAME];

    snprintf(name, sizeof(name), "%s%s", kid, suffix);

    if (keydir_locked(dir) != 0) {
        return -1;
    }

    return unlinkat(dir->fd, name, 0) == 0 || errno == ENOENT
           ? 0 : keydir_errno(dir, name);
}


int
keydir_add(keydir_t *dir, const signkey_t *key)
{
    int     fd, rc;
    char    text[SIGNKEY_PEM], name[KEYDIR_NAME];
    size_t  len;

    keydir_name(key, name);

    if (keydir_locked(dir) != 0) {
        return -1;
    }

    if (signkey_write(key, text) != 0) {
        return keydir_error(dir, name, "the key cannot be written as text");
    }

    len = strlen(text);
    fd = keydir_create(dir, KEYDIR_NEW);

    errno = fd >= 0 ? ENOSPC : errno;   /* of a short write */
    rc = fd >= 0 && write(fd, text, len) == (ssize_t) len && fsync(fd) == 0
         ? 0 : keydir_errno(dir, name);

    if (fd >= 0) {
        close(fd);
    }

    sodium_memzero(text, sizeof(text));

    return rc == 0 ? keydir_rename_new(dir, name) : -1;
}


int
keydir_note_ttl(keydir_t *dir, const char *kid, int64_t ttl)
{
    char  text[32];

    snprintf(text, sizeof(text), "%" PRId64, ttl);

    return keydir_link(dir, kid, ".ttl", text);
}


int
keydir_note_until(keydir_t *dir, const char *kid, int64_t until)
{
    char  text[KEYDIR_TIME];

    return keydir_link(dir, kid, ".until", keydir_time(until, text));
}


/* The key is ready before it is active: a note that it is retired would count
 * again when another key signs. */
int
keydir_activate(keydir_t *dir, const signkey_t *key)
{
    char  name[KEYDIR_NAME];

    keydir_name(key, name);

    return keydir_unlink(dir, key->kid, ".until") == 0
           ? keydir_link(dir, KEYDIR_ACTIVE, "", name) : -1;
}


/* A key goes before its notes: without them it would be ready. */
int
keydir_remove(keydir_t *dir, const signkey_t *key)
{
    char  name[KEYDIR_NAME];

    keydir_name(key, name);

    if (keydir_unlink(dir, name, "") != 0) {
        return -1;
    }

    (void) fsync(dir->fd);

    return keydir_unlink(dir, key->kid, ".ttl") == 0
           ? keydir_unlink(dir, key->kid, ".until") : -1;
}


int
keydir_expire(keydir_t *dir, keydir_list_t *list, int64_t now)
{
    int     rc;
    size_t  i, n;

    rc = 0;

    for (i = 0, n = 0; i < list->n; i++) {

        if (list->list[i].until > now) {
            list->list[n++] = list->list[i];

        } else if (keydir_remove(dir, &list->list[i].key) != 0) {
            rc = -1;
        }
    }

    memset(list->list + n, 0, (list->n - n) * sizeof(keydir_entry_t));
    list->n = n;

    return rc;
}
