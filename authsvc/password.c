#include "authsvc/password.h"

#include <crypt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "authsvc/limits.h"


/* OWASP's recommendation for Argon2id: 19 MiB, two passes. */
#define PASSWORD_OPS     2
#define PASSWORD_MEMORY  (19 * 1024 * 1024)

/* of hashes from elsewhere: 256 MiB in KiB, passes, and bcrypt's 2^14 */
#define PASSWORD_MAX_KIB     (256 * 1024)
#define PASSWORD_MAX_OPS     16
#define PASSWORD_MAX_BCRYPT  14

/* $2y$10$ and 22 + 31 characters of salt and digest */
#define PASSWORD_BCRYPT_LEN  60
#define PASSWORD_BCRYPT_SET                                                   \
    "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

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


static password_kind_t
password_bcrypt_kind(const char *hash)
{
    int  cost;

    if (strlen(hash) != PASSWORD_BCRYPT_LEN || strchr("aby", hash[2]) == NULL
        || hash[3] != '$' || hash[4] < '0' || hash[4] > '9'
        || hash[5] < '0' || hash[5] > '9' || hash[6] != '$'
        || strspn(hash + 7, PASSWORD_BCRYPT_SET) != PASSWORD_BCRYPT_LEN - 7)
    {
        return PASSWORD_UNKNOWN;
    }

    cost = (hash[4] - '0') * 10 + hash[5] - '0';

    return cost < 4 ? PASSWORD_UNKNOWN
           : cost > PASSWORD_MAX_BCRYPT ? PASSWORD_DEAR : PASSWORD_BCRYPT;
}


password_kind_t
password_kind(const char *hash)
{
    unsigned  memory, ops, lanes;

    if (strncmp(hash, "$2", 2) == 0) {
        return password_bcrypt_kind(hash);
    }

    /* -1: libsodium cannot parse it */
    if (strlen(hash) >= PASSWORD_HASH
        || strncmp(hash, "$argon2id$", 10) != 0
        || crypto_pwhash_str_needs_rehash(hash, PASSWORD_OPS, PASSWORD_MEMORY)
           < 0
        || sscanf(hash, "$argon2id$v=19$m=%9u,t=%9u,p=%9u$", &memory, &ops,
                  &lanes) != 3)
    {
        return PASSWORD_UNKNOWN;
    }

    return memory > PASSWORD_MAX_KIB || ops > PASSWORD_MAX_OPS
           ? PASSWORD_DEAR : PASSWORD_ARGON2;
}


static bool
password_verify_bcrypt(const char *hash, const char *password)
{
    bool                same;
    const char         *made;
    struct crypt_data  *data;

    if (password_bcrypt_kind(hash) != PASSWORD_BCRYPT) {
        return false;
    }

    data = calloc(1, sizeof(struct crypt_data));
    if (data == NULL) {
        return false;
    }

    /* crypt_r() of AddressSanitizer would keep the library from being linked */
    made = crypt_rn(password, hash, data, sizeof(struct crypt_data));
    same = made != NULL && strlen(made) == PASSWORD_BCRYPT_LEN
           && sodium_memcmp(made, hash, PASSWORD_BCRYPT_LEN) == 0;

    sodium_memzero(data, sizeof(struct crypt_data));
    free(data);

    return same;
}


bool
password_verify(const char *hash, const char *password)
{
    bool    known;
    char    text[crypto_pwhash_STRBYTES];
    size_t  len;

    known = (hash != NULL && limits_password(password));
    len = strnlen(password, LIMIT_PASSWORD);

    if (known && strncmp(hash, "$2", 2) == 0) {
        return password_verify_bcrypt(hash, password);
    }

    /* the library says that it reads so many bytes */

    memset(text, 0, sizeof(text));
    memcpy(text, known ? hash : PASSWORD_NOBODY,
           strnlen(known ? hash : PASSWORD_NOBODY, sizeof(text) - 1));

    return crypto_pwhash_str_verify(text, password, len) == 0 && known;
}


bool
password_outdated(const char *hash)
{
    return crypto_pwhash_str_needs_rehash(hash, PASSWORD_OPS, PASSWORD_MEMORY)
           != 0;
}
