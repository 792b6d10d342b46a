/*
 * The key that signs now.  From one secret file, or from a directory that may
 * change at any time: a change is taken over whole or not at all, and the set
 * of public keys is published before a key of it signs.
 */

#ifndef AUTHSVC_KEYRING_H
#define AUTHSVC_KEYRING_H


#include <stddef.h>
#include <stdint.h>

#include "authsvc/keylist.h"
#include "authsvc/signkey.h"


typedef struct keyring_s  keyring_t;

typedef struct {
    const char  *directory;             /* borrowed */
    const char  *publish;               /* file for the set, or NULL */
    int64_t      ttl;                   /* seconds: of the tokens */
} keyring_options_t;


/* Takes over "key", which is never changed. */
keyring_t *keyring_fixed(signkey_t *key);

/* Reads and publishes.  NULL with one line in "error"; no active key is an
 * error. */
keyring_t *keyring_open(const keyring_options_t *options, int64_t now,
    char *error, size_t size);

/* From any thread; to be given back with signkey_unref(). */
signkey_t *keyring_take(keyring_t *ring);

/*
 * Looks for changes and for keys that are to go; for one thread, about once a
 * second.  "force" reads and publishes even if nothing has changed.  Logs what
 * it did; when something is wrong it logs that once, the old keys stay and the
 * next call tries again.
 */
void keyring_check(keyring_t *ring, int64_t now, int force);

void keyring_free(keyring_t *ring);     /* NULL is fine */

/* What verifies, as a JWK Set: keys that are to go are not in it, nor are
 * secrets.  JSON with a newline, to be freed with free(); NULL when memory is
 * out.  "keys" has an entry for each of "list". */
char *keyring_set(const keylist_t *list, signkey_t *const *keys, int64_t now);

/* The same, read from a directory. */
char *keyring_export(const char *directory, int64_t now, char *error,
    size_t size);


#endif /* AUTHSVC_KEYRING_H */
