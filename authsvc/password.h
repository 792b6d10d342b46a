/*
 * Argon2id by libsodium; bcrypt by crypt(3) is checked for users who come from
 * elsewhere, until their first login.  sodium_init() comes first.
 */

#ifndef AUTHSVC_PASSWORD_H
#define AUTHSVC_PASSWORD_H


#include <stdbool.h>

#include <sodium.h>


#define PASSWORD_HASH  crypto_pwhash_STRBYTES

typedef enum {
    PASSWORD_ARGON2 = 0,
    PASSWORD_BCRYPT,
    PASSWORD_DEAR,                      /* a login would take seconds */
    PASSWORD_UNKNOWN
} password_kind_t;

typedef enum {
    PASSWORD_RIGHT = 0,
    PASSWORD_WRONG,
    PASSWORD_UNCHECKED                  /* there was not enough memory */
} password_check_t;


/* -1 when there is not enough memory. */
int password_hash(const char *password, char hash[PASSWORD_HASH])
    __attribute__((warn_unused_result));

/*
 * "hash" NULL is for a user that does not exist: takes as long as for one that
 * does, and is wrong.  So is a password that could not have been stored.
 */
password_check_t password_check(const char *hash, const char *password)
    __attribute__((warn_unused_result));

/* What "hash" is; it fits into PASSWORD_HASH bytes if it is one of the first
 * two. */
password_kind_t password_kind(const char *hash);

/* Whether "hash" was made with other costs than those of today. */
bool password_outdated(const char *hash);


#endif /* AUTHSVC_PASSWORD_H */
