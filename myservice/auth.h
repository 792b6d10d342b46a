/*
 * The token check of an instance that was given keys: the same rules as the
 * gateway's, so that a call that bypasses the gateway gains nothing.  Key files
 * are looked at again while it runs, so that keys can change without a restart.
 * Not thread-safe.
 */

#ifndef MYSERVICE_AUTH_H
#define MYSERVICE_AUTH_H


#include <stddef.h>
#include <stdint.h>


typedef struct auth_s  auth_t;

/* All is borrowed; NULL: not given. */
typedef struct {
    const char  *keys_file;             /* public keys: PEM, JWK or JWK Set */
    const char  *secret_file;
    const char  *algorithms;            /* "ES256,EdDSA" */
    const char  *issuer;
    const char  *audience;
    const char  *session_claim;         /* NULL: "session_id" */
    int64_t      leeway;                /* seconds */
} auth_options_t;


/* NULL with one line in "error", which names the option. */
auth_t *auth_create(const auth_options_t *options, int64_t now, char *error,
    size_t size);

/* 0 if "text" is a list of algorithms, -1 and one line if it is not. */
int auth_algorithms(const char *text, uint32_t *algorithms, char *error,
    size_t size) __attribute__((warn_unused_result));

/*
 * Checks the value of "authorization" at "now" (seconds since 1970) and, when
 * "session" is not NULL, that the token is for that session.  Returns NULL
 * when all is well, or the message of the refusal, a static string.
 */
const char *auth_check(auth_t *auth, const char *value, size_t len,
    const char *session, int64_t now);

/* The message for a missing or unusable token. */
const char *auth_invalid(void);

/* Reads the keys now, whether the files have changed or not.  On the thread
 * of auth_check(). */
void auth_reload(auth_t *auth, int64_t now);

void auth_free(auth_t *auth);


#endif /* MYSERVICE_AUTH_H */
