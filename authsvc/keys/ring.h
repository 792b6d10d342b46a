/*
 * What signs the tokens of "authsvc serve": one secret file, or the active key
 * of a directory that may change at any time.  A change counts whole or not at
 * all, and the set of public keys is published before a key of it signs.
 */

#ifndef AUTHSVC_KEYS_RING_H
#define AUTHSVC_KEYS_RING_H


#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "authsvc/keys/dir.h"


/* All borrowed. */
typedef struct {
    const char  *file;                  /* one secret; or ... */
    const char  *directory;
    const char  *publish;               /* file for the set, or NULL */
    int          create;                /* make the first key */
} keyring_options_t;

/* Rows of an options table (rpc/options.h). */
#define KEYRING_OPTIONS(o)                                                    \
    { "key-file FILE", "AUTHSVC_KEY_FILE", OPTION_STRING, &(o)->file, NULL,   \
      1, 4095, "file with one secret that signs tokens (HS256)" },            \
    { "keys DIR", "AUTHSVC_KEYS", OPTION_STRING, &(o)->directory, NULL, 1,    \
      KEYDIR_PATH,                                                            \
      "directory of the keys (authsvc key); instead of --key-file" },         \
    { "create-key", "AUTHSVC_CREATE_KEY", OPTION_FLAG, &(o)->create,          \
      NULL, 0, 0, "make the key file, or the first key, if it is missing" },  \
    { "jwks-file FILE", "AUTHSVC_JWKS_FILE", OPTION_STRING, &(o)->publish,    \
      NULL, 1, 3800, "file for the public keys of --keys, a JWK Set" }

typedef struct keyring_s  keyring_t;


/* -1 with one line in "error" when options are missing or clash. */
int keyring_usage(const keyring_options_t *options, char *error, size_t size)
    __attribute__((warn_unused_result));

/* For a key that never changes, which is taken over; NULL when memory is
 * out. */
keyring_t *keyring_fixed(signkey_t *key);

/* Reads and publishes.  "ttl": the life of tokens in seconds.  NULL with one
 * line in "error"; it is an error if no key is active. */
keyring_t *keyring_open(const keyring_options_t *options, int64_t ttl,
    int64_t now, char *error, size_t size);

/* From any thread: a copy of the key that signs now, for signkey_free(). */
void keyring_take(keyring_t *ring, signkey_t *key);

/*
 * Looks for changes and for keys that are to go; for one thread, about once a
 * second.  "force" reads and publishes even if nothing has changed.  Logs what
 * it did; when something is wrong it logs that once, keeps the previous keys,
 * and the next call tries again.
 */
void keyring_check(keyring_t *ring, int64_t now, int force);

/* Writes families of metrics, from any thread; "now" in seconds. */
void keyring_metrics(keyring_t *ring, FILE *out, int64_t now);

void keyring_free(keyring_t *ring);     /* NULL is fine */


#endif /* AUTHSVC_KEYS_RING_H */
