#include "authsvc/password.h"

#include <string.h>

#include "authsvc/limits.h"


/* OWASP's recommendation for Argon2id: 19 MiB, two passes. */
#define PASSWORD_OPS     2
#define PASSWORD_MEMORY  (19 * 1024 * 1024)

/* no password has this hash: salt and digest are zero */
#define PASSWORD_NOBODY                                                       \
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA"                   \
    "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


int
password_hash(const char *password, char hash[PASSWORD_HASH])
{
    return crypto_pwhash_str_alg(hash, password, strlen(password),
                                 PASSWORD_OPS, PASSWORD_MEMORY,
                                 crypto_pwhash_ALG_ARGON2ID13);
}


bool
password_verify(const char *hash, const char *password)
{
    bool    known;
    size_t  len;

    known = (hash != NULL && limits_password(password));
    len = strnlen(password, LIMIT_PASSWORD);

    return crypto_pwhash_str_verify(known ? hash : PASSWORD_NOBODY, password,
                                    len) == 0
           && known;
}


bool
password_outdated(const char *hash)
{
    return crypto_pwhash_str_needs_rehash(hash, PASSWORD_OPS, PASSWORD_MEMORY)
           != 0;
}
