/* Makes the token of a Login: the claims, signed with the active key. */

#include "authsvc/keys/issue.h"

#include <string.h>
#include <jansson.h>
#include <sodium.h>


int
issue_token(const issuer_t *issuer, const char *username, const char *role,
    const char *session, int64_t now, issue_t *token)
{
    json_t         *claims;
    signkey_t       key;
    unsigned char   random[ISSUE_JTI / 2];

    memset(token, 0, sizeof(issue_t));
    token->expires = now + issuer->ttl;

    randombytes_buf(random, sizeof(random));
    sodium_bin2hex(token->jti, sizeof(token->jti), random, sizeof(random));

    claims = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:s}",
                       "sub", username, "role", role, "session_id", session,
                       "iss", issuer->issuer, "iat", (json_int_t) now,
                       "nbf", (json_int_t) now,
                       "exp", (json_int_t) token->expires, "jti", token->jti);
    if (claims == NULL) {
        return -1;
    }

    keyring_take(issuer->keys, &key);
    strcpy(token->kid, key.kid);
    token->text = signkey_token(&key, claims);

    signkey_free(&key);
    json_decref(claims);

    return token->text != NULL ? 0 : -1;
}
