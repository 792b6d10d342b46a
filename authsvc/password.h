/*
 * Argon2id by libsodium.  sodium_init() comes first.
 */

#ifndef AUTHSVC_PASSWORD_H
#define AUTHSVC_PASSWORD_H


#include <stdbool.h>

#include <sodium.h>


#define PASSWORD_HASH  crypto_pwhash_STRBYTES


/* -1 when there is not enough memory. */
int password_hash(const char *password, char hash[PASSWORD_HASH])
    __attribute__((warn_unused_result));

/*
 * "hash" NULL is for a user that does not exist: takes as long as for one that
 * does, and is false.  So is a password that could not have been stored.
 */
bool password_verify(const char *hash, const char *password);

/* Whether "hash" was made with other costs than those of today. */
bool password_outdated(const char *hash);


#endif /* AUTHSVC_PASSWORD_H */
