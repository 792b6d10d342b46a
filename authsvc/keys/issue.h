/*
 * Makes tokens: the claims, signed with the key of the moment.
 */

#ifndef AUTHSVC_KEYS_ISSUE_H
#define AUTHSVC_KEYS_ISSUE_H


#include <stddef.h>
#include <stdint.h>

#include "authsvc/keys/ring.h"


#define ISSUE_JTI  32                   /* characters */

/* Shared by threads. */
typedef struct {
    keyring_t   *keys;
    const char  *issuer;                /* "iss" */
    int64_t      ttl;                   /* seconds */
} issuer_t;

typedef struct {
    char     *text;                     /* to be freed with free() */
    int64_t   expires;
    char      jti[ISSUE_JTI + 1];
    char      kid[SIGNKEY_KID + 1];     /* empty: the key has no name */
} issue_t;


/* A token valid from "now" for the issuer's ttl.  -1 on failure. */
int issue_token(const issuer_t *issuer, const char *username,
    const char *role, const char *session, int64_t now, issue_t *token)
    __attribute__((warn_unused_result));


#endif /* AUTHSVC_KEYS_ISSUE_H */
