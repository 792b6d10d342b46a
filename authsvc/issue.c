#include "authsvc/issue.h"

#include <jwt.h>
#include <sodium.h>


#define ISSUE_JTI  16                   /* random bytes */


char *
issue_token(const issuer_t *issuer, const char *username, const char *role,
    const char *session, int64_t now, int64_t *expires)
{
    char           *token, jti[2 * ISSUE_JTI + 1];
    jwt_t          *jwt;
    unsigned char   random[ISSUE_JTI];

    if (jwt_new(&jwt) != 0) {
        return NULL;
    }

    randombytes_buf(random, sizeof(random));
    sodium_bin2hex(jti, sizeof(jti), random, sizeof(random));

    token = NULL;
    *expires = now + issuer->ttl;

    /* libjwt takes a missing key for "do not sign" */
    if (issuer->secret_len > 0
        && jwt_add_grant(jwt, "sub", username) == 0
        && jwt_add_grant(jwt, "role", role) == 0
        && jwt_add_grant(jwt, "session_id", session) == 0
        && jwt_add_grant(jwt, "iss", issuer->issuer) == 0
        && jwt_add_grant_int(jwt, "iat", now) == 0
        && jwt_add_grant_int(jwt, "nbf", now) == 0
        && jwt_add_grant_int(jwt, "exp", *expires) == 0
        && jwt_add_grant(jwt, "jti", jti) == 0
        && jwt_set_alg(jwt, JWT_ALG_HS256, issuer->secret,
                       (int) issuer->secret_len) == 0)
    {
        token = jwt_encode_str(jwt);
    }

    jwt_free(jwt);

    return token;
}
