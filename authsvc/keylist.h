/*
 * The list of the keys that sign tokens and what becomes of each: ready
 * (published, does not sign yet), active (signs; at most one), retired
 * (published until the last token it signed has expired), gone.  Pure: the
 * caller says what time it is and keeps it in a file (authsvc/keydir.h).
 */

#ifndef AUTHSVC_KEYLIST_H
#define AUTHSVC_KEYLIST_H


#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "authsvc/signkey.h"


#define KEYLIST_MAX  32

typedef enum {
    KEYLIST_READY = 0,
    KEYLIST_ACTIVE,
    KEYLIST_RETIRED,
    KEYLIST_STATES
} keylist_state_t;

extern const char *const  keylist_states[KEYLIST_STATES];

/* Times are seconds since 1970, 0: never. */
typedef struct {
    char             kid[SIGNKEY_KID + 1];
    signkey_alg_t    alg;
    keylist_state_t  state;
    int64_t          created;
    int64_t          activated;
    int64_t          retired;
    int64_t          ttl;               /* of its tokens, 0: nobody said */
    int64_t          grace;             /* for clocks and slow readers */
} keylist_entry_t;

typedef struct {
    size_t           n;
    keylist_entry_t  list[KEYLIST_MAX];
} keylist_t;

typedef enum {
    KEYLIST_OK = 0,
    KEYLIST_MISSING,                    /* no such key */
    KEYLIST_FULL,
    KEYLIST_EXISTS,
    KEYLIST_IN_USE,                     /* the active key cannot be retired */
    KEYLIST_DONE                        /* is in that state already */
} keylist_status_t;


/* A key that signs, or NULL. */
keylist_entry_t *keylist_active(keylist_t *keys);
keylist_entry_t *keylist_find(keylist_t *keys, const char *kid);

keylist_status_t keylist_add(keylist_t *keys, const signkey_t *key,
    int64_t now) __attribute__((warn_unused_result));

/* The one that was active is retired.  "ttl" is for keys of which nobody has
 * said how long their tokens live. */
keylist_status_t keylist_activate(keylist_t *keys, const char *kid,
    int64_t now, int64_t ttl, int64_t grace)
    __attribute__((warn_unused_result));

/* Activating another key retires the active one; this is for the others.  One
 * that is ready is gone; a retired one is with "at_once", and its tokens are
 * refused from then on. */
keylist_status_t keylist_retire(keylist_t *keys, const char *kid,
    bool at_once) __attribute__((warn_unused_result));

/* When a retired key is to go; INT64_MAX for the others. */
int64_t keylist_until(const keylist_entry_t *entry);

/* Takes out what is to go; true if there was something. */
bool keylist_prune(keylist_t *keys, int64_t now);

/* Keys that are retired in both take the later time; true if one did. */
bool keylist_later(keylist_t *keys, const keylist_t *other);

/* The active key signs tokens of this life from now on; true if that is longer
 * than what it was. */
bool keylist_ttl(keylist_t *keys, int64_t ttl);

/* JSON, to be freed with free(); NULL when memory is out. */
char *keylist_write(const keylist_t *keys);

/* -1 with one line in "error" if it is not such a list. */
int keylist_read(keylist_t *keys, const char *text, size_t len, char *error,
    size_t size) __attribute__((warn_unused_result));


#endif /* AUTHSVC_KEYLIST_H */
