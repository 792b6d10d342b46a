/*
 * Signs tokens: HS256 by libjwt.
 */

#ifndef AUTHSVC_ISSUE_H
#define AUTHSVC_ISSUE_H


#include <stddef.h>
#include <stdint.h>


/* Read-only after start; shared by threads. */
typedef struct {
    const unsigned char  *secret;
    size_t                secret_len;
    const char           *issuer;       /* "iss" */
    int64_t               ttl;          /* seconds */
} issuer_t;


/*
 * A token valid from "now" for the issuer's ttl, to be freed with free(), and
 * its end.  NULL on failure.
 */
char *issue_token(const issuer_t *issuer, const char *username,
    const char *role, const char *session, int64_t now, int64_t *expires);


#endif /* AUTHSVC_ISSUE_H */
