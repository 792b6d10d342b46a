/*
 * Verification of JSON Web Tokens (RFC 7519) in JWS compact form (RFC 7515
 * section 3.1), shared by the gateway and myservice.  Keys are parsed once,
 * the algorithm is pinned to the key, and a fault never means "allow".
 */

#ifndef JWT_TOKEN_H
#define JWT_TOKEN_H


#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "jwt/keys.h"


#define MS_TOKEN_MAX  8192              /* bytes of a token */


/* Why a token was not accepted.  ms_token_reasons[] has one row for each. */
typedef enum {
    MS_TOKEN_OK = 0,
    MS_TOKEN_MISSING,                   /* empty */
    MS_TOKEN_TOO_LONG,                  /* over MS_TOKEN_MAX */
    MS_TOKEN_MALFORMED,                 /* not three base64url parts of JSON,
                                           or not of a JWT's "typ" */
    MS_TOKEN_ALGORITHM,                 /* no key for its "alg"; "none" */
    MS_TOKEN_CRITICAL,                  /* has "crit" */
    MS_TOKEN_SIGNATURE,
    MS_TOKEN_CLAIM,                     /* one is missing, of wrong type or
                                           not as required */
    MS_TOKEN_NOT_YET,                   /* "nbf", or "iat" in the future */
    MS_TOKEN_EXPIRED,
    MS_TOKEN_INTERNAL,                  /* out of memory, library failure */
    MS_TOKEN_KEY,                       /* no key of its "kid" */
    MS_TOKEN_ISSUER,
    MS_TOKEN_AUDIENCE,
    MS_TOKEN_REASONS
} ms_token_reason_t;

typedef struct {
    const char  *name;                  /* "EXPIRED": log, variable, counter */
    const char  *message;               /* DESIGN 3: "token expired", ... */
} ms_token_reason_info_t;

extern const ms_token_reason_info_t  ms_token_reasons[MS_TOKEN_REASONS];


/* A claim that must be there; with a value, it is that string or an array of
 * strings of which one is that. */
typedef struct {
    const char  *name;
    const char  *value;                 /* NULL: any, null too */
} ms_token_claim_t;

/* All is borrowed. */
typedef struct {
    int64_t                  leeway;    /* seconds for exp, nbf and iat */
    const char              *session_claim;
                                        /* "session_id"; must be a non-empty
                                           string in the token */
    const char              *issuer;    /* required "iss", or NULL */
    const char              *audience;  /* required "aud" or one of it, or
                                           NULL */
    const ms_token_claim_t  *require;
    size_t                   nrequire;
} ms_token_rules_t;

typedef struct {
    json_t      *header;                /* owned */
    json_t      *claims;                /* owned */
    const char  *session;               /* borrowed from claims */
    size_t       session_len;
    const char  *role;                  /* the same; NULL if not a string */
    const char  *kid;                   /* borrowed from header, or NULL */
    int64_t      expires;               /* "exp", seconds since 1970 */
} ms_token_t;


/*
 * Verifies "text" (the token alone, without "Bearer ") at "now" seconds since
 * 1970.  On MS_TOKEN_OK fills "token", to be released with ms_token_free();
 * else "token" is zeroed.  Expiry is judged last: an expired token with a bad
 * signature is MS_TOKEN_SIGNATURE.
 */
ms_token_reason_t ms_token_verify(const ms_keys_t *keys, const char *text,
    size_t len, const ms_token_rules_t *rules, int64_t now,
    ms_token_t *token) __attribute__((warn_unused_result));

void ms_token_free(ms_token_t *token);

/* The "kid" that the token's header claims, unverified, NUL-terminated in
 * "buf"; -1 if there is none that fits.  It may hold any characters but NUL. */
int ms_token_unverified_kid(const char *text, size_t len, char *buf,
    size_t size) __attribute__((warn_unused_result));

/* Strips "Bearer " (any case, RFC 6750 2.1) and spaces around the token. */
void ms_token_strip(const char **text, size_t *len);

/* 1..256 bytes, all visible ASCII 0x21-0x7e: what the gateway takes. */
int ms_session_valid(const char *text, size_t len);


#endif /* JWT_TOKEN_H */
