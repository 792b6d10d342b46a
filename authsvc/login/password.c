/*
 * Makes and checks hashes: Argon2id by libsodium, bcrypt by crypt(3).
 */

#include "authsvc/login/password.h"

#include <crypt.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "authsvc/core/limits.h"


/* OWASP's recommendation for Argon2id: 19 MiB, two passes. */
#define PASSWORD_OPS     2
#define PASSWORD_MEMORY  (19 * 1024 * 1024)

/* of imported hashes: 256 MiB in KiB, passes, and bcrypt's 2^14 */
#define PASSWORD_MAX_KIB     (256 * 1024)
#define PASSWORD_MAX_OPS     16
#define PASSWORD_MAX_BCRYPT  14

/* $2y$10$ and 22 + 31 characters of salt and digest */
#define PASSWORD_BCRYPT_LEN  60

/* bytes of a password, without its NUL, that bcrypt looks at */
#define PASSWORD_BCRYPT_SEEN  72
#define PASSWORD_BCRYPT_SET                                                   \
    "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

/* bytes in a hash of crypto_pwhash_str() */
#define PASSWORD_SALT    crypto_pwhash_SALTBYTES
#define PASSWORD_DIGEST  32

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


typedef struct {
    unsigned       memory;              /* KiB */
    unsigned       ops;
    unsigned char  salt[PASSWORD_SALT];
    unsigned char  digest[PASSWORD_DIGEST];
} password_argon2_t;


static const char *
password_base64(const char *text, unsigned char *out, size_t size)
{
    size_t       len;
    const char  *end;

    if (text == NULL
        || sodium_base642bin(out, size, text, strlen(text), NULL, &len, &end,
                             sodium_base64_VARIANT_ORIGINAL_NO_PADDING)
           != 0
        || len != size)
    {
        return NULL;
    }

    return end;
}


/* -1 for a hash that password_hash() would not have made. */
static int
password_argon2_parse(const char *hash, password_argon2_t *parsed)
{
    int          n;
    const char  *end;

    n = 0;

    if (sscanf(hash, "$argon2id$v=19$m=%9u,t=%9u,p=1$%n", &parsed->memory,
               &parsed->ops, &n)
        != 2
        || n == 0)
    {
        return -1;
    }

    end = password_base64(hash + n, parsed->salt, PASSWORD_SALT);
    if (end == NULL || *end != '$') {
        return -1;
    }

    end = password_base64(end + 1, parsed->digest, PASSWORD_DIGEST);

    return end != NULL && *end == '\0' ? 0 : -1;
}


/* crypto_pwhash_str_verify() would not tell a wrong password from a lack of
 * memory. */
static password_check_t
password_check_argon2(const password_argon2_t *parsed, const char *password,
    size_t len)
{
    bool           same;
    unsigned char  digest[PASSWORD_DIGEST];

    errno = 0;

    if (crypto_pwhash(digest, sizeof(digest), password, len, parsed->salt,
                      parsed->ops, (size_t) parsed->memory * 1024,
                      crypto_pwhash_ALG_ARGON2ID13)
        != 0)
    {
        return errno == EINVAL || errno == EFBIG ? PASSWORD_WRONG
                                                 : PASSWORD_UNCHECKED;
    }

    same = sodium_memcmp(digest, parsed->digest, sizeof(digest)) == 0;
    sodium_memzero(digest, sizeof(digest));

    return same ? PASSWORD_RIGHT : PASSWORD_WRONG;
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


static password_check_t
password_check_bcrypt(const char *hash, const char *password)
{
    char                seen[PASSWORD_BCRYPT_SEEN + 1];
    const char         *made;
    password_check_t    check;
    struct crypt_data  *data;

    if (password_bcrypt_kind(hash) != PASSWORD_BCRYPT) {
        return PASSWORD_WRONG;
    }

    data = calloc(1, sizeof(struct crypt_data));
    if (data == NULL) {
        return PASSWORD_UNCHECKED;
    }

    /* crypt() refuses more than 511 bytes */
    snprintf(seen, sizeof(seen), "%.*s", PASSWORD_BCRYPT_SEEN, password);

    /* crypt_r() of AddressSanitizer would keep the library from being linked */
    errno = 0;
    made = crypt_rn(seen, hash, data, sizeof(struct crypt_data));

    if (made == NULL) {
        check = errno == ENOMEM ? PASSWORD_UNCHECKED : PASSWORD_WRONG;

    } else {
        check = strlen(made) == PASSWORD_BCRYPT_LEN
                && sodium_memcmp(made, hash, PASSWORD_BCRYPT_LEN) == 0
                ? PASSWORD_RIGHT : PASSWORD_WRONG;
    }

    sodium_memzero(seen, sizeof(seen));
    sodium_memzero(data, sizeof(struct crypt_data));
    free(data);

    return check;
}


/* An imported hash may have other lengths or lanes, until the user's first
 * login. */
static password_check_t
password_check_other(const char *hash, const char *password, size_t len)
{
    char  text[crypto_pwhash_STRBYTES];

    /* the library may read the whole array */

    memset(text, 0, sizeof(text));
    memcpy(text, hash, strnlen(hash, sizeof(text) - 1));

    return crypto_pwhash_str_verify(text, password, len) == 0
           ? PASSWORD_RIGHT : PASSWORD_WRONG;
}


password_check_t
password_check(const char *hash, const char *password)
{
    bool               known;
    size_t             len;
    password_check_t   check;
    password_argon2_t  parsed;

    known = (hash != NULL && limits_password(password));
    len = strnlen(password, LIMIT_PASSWORD);

    if (known && strncmp(hash, "$2", 2) == 0) {
        return password_check_bcrypt(hash, password);
    }

    if (password_argon2_parse(known ? hash : PASSWORD_NOBODY, &parsed) != 0) {
        return password_check_other(hash, password, len);
    }

    check = password_check_argon2(&parsed, password, len);

    return check == PASSWORD_RIGHT && !known ? PASSWORD_WRONG : check;
}


bool
password_outdated(const char *hash)
{
    return crypto_pwhash_str_needs_rehash(hash, PASSWORD_OPS, PASSWORD_MEMORY)
           != 0;
}


/* bcrypt sees the NUL of a shorter password. */
bool
password_proved(const char *hash, const char *password)
{
    return strncmp(hash, "$2", 2) != 0
           || strnlen(password, PASSWORD_BCRYPT_SEEN) < PASSWORD_BCRYPT_SEEN;
}
