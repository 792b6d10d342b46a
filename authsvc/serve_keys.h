/*
 * The options of "authsvc serve" that say what signs tokens.
 */

#ifndef AUTHSVC_SERVE_KEYS_H
#define AUTHSVC_SERVE_KEYS_H


#include <stddef.h>
#include <stdint.h>

#include "authsvc/keyring.h"


typedef struct {
    const char  *file;                  /* one secret */
    const char  *directory;
    const char  *publish;
    int          create;
} serve_keys_t;

/* Rows of an options table (rpc/options.h). */
#define SERVE_KEYS_OPTIONS(keys)                                              \
    { "key-file", "AUTHSVC_KEY_FILE", OPTION_STRING, &(keys)->file, NULL, 1,  \
      4095, "file with one secret that signs tokens (HS256)" },               \
    { "keys", "AUTHSVC_KEYS", OPTION_STRING, &(keys)->directory, NULL, 1,     \
      3800, "directory of the keys (authsvc key); instead of --key-file" },   \
    { "create-key", "AUTHSVC_CREATE_KEY", OPTION_FLAG, &(keys)->create,       \
      NULL, 0, 0, "make the key file, or the first key, if it is missing" },  \
    { "jwks-file", "AUTHSVC_JWKS_FILE", OPTION_STRING, &(keys)->publish,      \
      NULL, 1, 3800, "file for the public keys of --keys, a JWK Set" }


/* -1 with one line in "error" when options are missing or clash. */
int serve_keys_usage(const serve_keys_t *keys, char *error, size_t size)
    __attribute__((warn_unused_result));

/* "ttl" is the life of tokens in seconds.  NULL with one line in the log. */
keyring_t *serve_keys_open(const serve_keys_t *keys, int64_t ttl);


#endif /* AUTHSVC_SERVE_KEYS_H */
