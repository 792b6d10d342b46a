/*
 * The directory of the keys: "keys.json", the list (authsvc/keylist.h), and a
 * file per key, KID.pem or KID.secret, mode 0600.  Who changes something holds
 * a lock; every change is one rename of the list, so that who only reads needs
 * none.  A new key's file is there before the list names it, that of a key
 * that is gone is removed after it: a crash leaves at most a file that nobody
 * names, which the next change removes.
 */

#ifndef AUTHSVC_KEYDIR_H
#define AUTHSVC_KEYDIR_H


#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "authsvc/keylist.h"


#define KEYDIR_PATH  3800               /* bytes of the directory's path */

typedef struct {
    int  fd;
} keydir_lock_t;


/* Which version of the list is there: differs when it was replaced. */
typedef struct {
    bool             there;
    dev_t            device;
    ino_t            inode;
    struct timespec  changed;
    off_t            size;
} keydir_version_t;


/* Everything below returns -1 with one line in "error". */

/* Makes the directory, mode 0700, if it is missing and "create" is set. */
int keydir_check(const char *directory, bool create, char *error, size_t size)
    __attribute__((warn_unused_result));

/* Waits up to "wait" milliseconds for the lock; 1 with one line in "error" if
 * that was not enough. */
int keydir_lock(const char *directory, keydir_lock_t *lock, int wait,
    char *error, size_t size) __attribute__((warn_unused_result));
void keydir_unlock(keydir_lock_t *lock);

/* No list is an empty list, unless there are keys beside it. */
int keydir_load(const char *directory, keylist_t *keys, char *error,
    size_t size) __attribute__((warn_unused_result));

/* A key with its private part. */
int keydir_key(const char *directory, const keylist_entry_t *entry,
    signkey_t **key, char *error, size_t size)
    __attribute__((warn_unused_result));

/* Whether others than its owner may read or change a key's file. */
bool keydir_exposed(const char *directory, const keylist_entry_t *entry);

/* These two need the lock.  keydir_save() also removes what the list does not
 * name. */
int keydir_add(const char *directory, const signkey_t *key, char *error,
    size_t size) __attribute__((warn_unused_result));
int keydir_save(const char *directory, const keylist_t *keys, char *error,
    size_t size) __attribute__((warn_unused_result));

void keydir_version(const char *directory, keydir_version_t *version);
bool keydir_same(const keydir_version_t *one, const keydir_version_t *two);


#endif /* AUTHSVC_KEYDIR_H */
