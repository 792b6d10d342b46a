/*
 * The directory of the keys, as the commands and the daemon read and change it:
 *
 *     KID.ALG.pem         a key pair, PKCS #8
 *     KID.secret          a secret (HS256)
 *     active -> KID.ALG.pem
 *                         the key that signs
 *     KID.ttl -> 3600     a note: the longest life of the key's tokens, seconds
 *     KID.until -> 2026-11-29T15:47:32Z
 *                         a note: the key is retired, and published until then
 *     keys.lock           locked while something is changed
 *
 * A key that is neither active nor retired is ready: published, does not sign.
 * Everything is read and changed under the lock.  The file of a key never
 * changes, and a link is replaced in one step.  The order of changes is such
 * that a crash shows a key for too long but never for too short.  A crash may
 * leave a note of a key that is gone, which nobody reads.
 */

#ifndef AUTHSVC_KEYS_DIR_H
#define AUTHSVC_KEYS_DIR_H


#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "authsvc/keys/signkey.h"


#define KEYDIR_MAX      32              /* keys */
#define KEYDIR_PATH     3800            /* bytes of the directory's path */
#define KEYDIR_ERROR    (KEYDIR_PATH + 512)
#define KEYDIR_NAME     (SIGNKEY_KID + 32)
#define KEYDIR_TIME     32              /* bytes of a time as text */
#define KEYDIR_FOREVER  INT64_MAX
#define KEYDIR_TTL_MAX  (INT64_C(366) * 86400)

/* Times are seconds since 1970. */
typedef struct {
    signkey_t  key;
    bool       active;
    int64_t    created;                 /* the file says so: for people */
    unsigned   mode;                    /* of the file: 0600 is right */
    int64_t    ttl;                     /* 0: was not noted */
    int64_t    until;                   /* KEYDIR_FOREVER: is not retired */
} keydir_entry_t;

/* Retired keys first, then the active one, then those that are ready.  The
 * places behind the last key are zero. */
typedef struct {
    size_t          n;
    keydir_entry_t  list[KEYDIR_MAX];
} keydir_list_t;

typedef struct {
    const char  *path;                  /* borrowed */
    int          fd;
    int          lock;                  /* -1: may only be read */
    int          locked;                /* errno: why */
    unsigned     mode;                  /* of the directory: 0700 is right */
    char         error[KEYDIR_ERROR];   /* why something returned -1 */
} keydir_t;


/* Everything below that returns int returns -1 with one line in "error": what
 * is wrong with a file of the directory, or with the directory if "name" is
 * empty. */
int keydir_error(keydir_t *dir, const char *name, const char *text);

/*
 * Waits up to 5 s for the lock, which ends with keydir_close().  Who may not
 * write the directory reads without a lock.  Makes the directory, mode 0700, if
 * it is missing and "create" is set.  A directory of authsvc 0.1 is migrated.
 * Both are logged.
 */
int keydir_open(keydir_t *dir, const char *path, bool create)
    __attribute__((warn_unused_result));
void keydir_close(keydir_t *dir);

/* The list, and the keys of the list themselves, for keydir_drop(). */
int keydir_read(keydir_t *dir, keydir_list_t *list)
    __attribute__((warn_unused_result));
int keydir_load(keydir_t *dir, keydir_list_t *list)
    __attribute__((warn_unused_result));
void keydir_drop(keydir_list_t *list);

/* Logs a warning if others than the owner may read or change what has the
 * path. */
void keydir_warn(const char *path, unsigned mode);
void keydir_warn_key(const keydir_t *dir, const keydir_entry_t *entry);

/* The public keys as a JWK Set, without secrets.  JSON with a newline, to be
 * freed with free(); NULL when memory is out. */
char *keydir_set(const keydir_list_t *list);

/* "kid" NULL: the active key. */
keydir_entry_t *keydir_find(keydir_list_t *list, const char *kid);

/* "ready", "active" or "retired". */
const char *keydir_state(const keydir_entry_t *entry);

/* "2026-11-29T15:47:32Z", or "-". */
const char *keydir_time(int64_t seconds, char out[KEYDIR_TIME]);

/* The name of the key's file in the directory. */
void keydir_name(const signkey_t *key, char out[KEYDIR_NAME]);

/* Changes. */
int keydir_add(keydir_t *dir, const signkey_t *key)
    __attribute__((warn_unused_result));
int keydir_activate(keydir_t *dir, const signkey_t *key)
    __attribute__((warn_unused_result));
int keydir_note_ttl(keydir_t *dir, const char *kid, int64_t ttl)
    __attribute__((warn_unused_result));
int keydir_note_until(keydir_t *dir, const char *kid, int64_t until)
    __attribute__((warn_unused_result));
int keydir_remove(keydir_t *dir, const signkey_t *key)
    __attribute__((warn_unused_result));

/* Takes the keys whose time is over from the list, in any case, and removes
 * them from the directory. */
int keydir_expire(keydir_t *dir, keydir_list_t *list, int64_t now)
    __attribute__((warn_unused_result));

/* authsvc/keys/migrate.c: the list of states that authsvc 0.1 had. */
#define KEYDIR_OLD_LIST  "keys.json"

int keydir_migrate(keydir_t *dir) __attribute__((warn_unused_result));


#endif /* AUTHSVC_KEYS_DIR_H */
