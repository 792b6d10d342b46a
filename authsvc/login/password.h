/*
 * Password hashes: new ones are Argon2id.  Imported bcrypt hashes are checked,
 * too, until the user's first login, or for ever if a hash cannot prove which
 * password it was made of.  The program calls sodium_init() first.
 */

#ifndef AUTHSVC_LOGIN_PASSWORD_H
#define AUTHSVC_LOGIN_PASSWORD_H


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
 * "hash" NULL is for a user that does not exist: the check takes as long as for
 * one that does, and the password is wrong.  A password that cannot be stored
 * is wrong, too.
 */
password_check_t password_check(const char *hash, const char *password)
    __attribute__((warn_unused_result));

/* A hash of the first two kinds fits into PASSWORD_HASH bytes. */
password_kind_t password_kind(const char *hash);

/* Whether "hash" has other costs than new hashes. */
bool password_outdated(const char *hash);

/* Whether "hash", for which "password" is right, proves the whole password:
 * bcrypt looks at the first 72 bytes only. */
bool password_proved(const char *hash, const char *password);


#endif /* AUTHSVC_LOGIN_PASSWORD_H */
