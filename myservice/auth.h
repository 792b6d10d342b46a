/*
 * The token check of an instance that was given a key: the same rules as the
 * gateway's, so that a call that bypasses the gateway gains nothing.
 */

#ifndef MYSERVICE_AUTH_H
#define MYSERVICE_AUTH_H


#include <stddef.h>
#include <stdint.h>


typedef struct auth_s  auth_t;


/* "leeway" in seconds.  NULL with one line in "error". */
auth_t *auth_create(const char *key_file, int64_t leeway, char *error,
    size_t size);

/*
 * Checks the value of "authorization" at "now" (seconds since 1970) and, when
 * "session" is not NULL, that the token is for that session.  Returns NULL
 * when all is well, else the message of the refusal, a static string.
 */
const char *auth_check(const auth_t *auth, const char *value, size_t len,
    const char *session, int64_t now);

/* The message for a missing or unusable token. */
const char *auth_invalid(void);

void auth_free(auth_t *auth);


#endif /* MYSERVICE_AUTH_H */
