/* Tokens for a load. */

#include "bench/token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <jwt.h>


#define TOKEN_SECRET  4096
#define TOKEN_LIFE    3600


char *
token_secret(const char *path)
{
    FILE    *f;
    char    *secret;
    size_t   n;

    f = fopen(path, "r");
    if (f == NULL) {
        return NULL;
    }

    secret = calloc(1, TOKEN_SECRET + 1);
    if (secret != NULL) {
        n = fread(secret, 1, TOKEN_SECRET, f);
        if (n > 0 && secret[n - 1] == '\n') {
            secret[n - 1] = '\0';
        }
    }

    fclose(f);

    return secret;
}


char *
token_make(const char *secret, const char *session)
{
    char    *text, *token;
    long     now;
    jwt_t   *jwt;

    if (jwt_new(&jwt) != 0) {
        return NULL;
    }

    text = NULL;
    token = NULL;
    now = (long) time(NULL);

    if (jwt_add_grant(jwt, "sub", "TestUser") == 0
        && jwt_add_grant(jwt, "role", "admin") == 0
        && jwt_add_grant(jwt, "session_id", session) == 0
        && jwt_add_grant(jwt, "iss", "myservice") == 0
        && jwt_add_grant_int(jwt, "iat", now) == 0
        && jwt_add_grant_int(jwt, "nbf", now) == 0
        && jwt_add_grant_int(jwt, "exp", now + TOKEN_LIFE) == 0
        && jwt_add_grant(jwt, "jti", "00112233445566778899aabbccddeeff") == 0
        && jwt_set_alg(jwt, JWT_ALG_HS256, (const unsigned char *) secret,
                       (int) strlen(secret)) == 0)
    {
        text = jwt_encode_str(jwt);
    }

    jwt_free(jwt);

    if (text != NULL && asprintf(&token, "Bearer %s", text) == -1) {
        token = NULL;
    }

    free(text);

    return token;
}
