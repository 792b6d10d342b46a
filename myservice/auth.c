#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jwt/token.h"
#include "myservice/auth.h"


struct auth_s {
    ms_keys_t         *keys;
    ms_token_rules_t   rules;
};


auth_t *
auth_create(const char *key_file, int64_t leeway, char *error, size_t size)
{
    auth_t  *auth;

    auth = calloc(1, sizeof(auth_t));
    if (auth == NULL) {
        snprintf(error, size, "out of memory");
        return NULL;
    }

    auth->keys = ms_keys_from_secret_file(key_file, error, size);
    if (auth->keys == NULL) {
        free(auth);
        return NULL;
    }

    auth->rules.leeway = leeway;
    auth->rules.session_claim = "session_id";

    return auth;
}


const char *
auth_check(const auth_t *auth, const char *value, size_t len,
    const char *session, int64_t now)
{
    const char         *message;
    ms_token_t          token;
    ms_token_reason_t   reason;

    ms_token_strip(&value, &len);

    reason = ms_token_verify(auth->keys, value, len, &auth->rules, now,
                             &token);

    if (reason != MS_TOKEN_OK) {
        return ms_token_reasons[reason].message;
    }

    message = NULL;

    if (session != NULL
        && (strlen(session) != token.session_len
            || memcmp(session, token.session, token.session_len) != 0))
    {
        message = "session-id mismatch";
    }

    ms_token_free(&token);

    return message;
}


const char *
auth_invalid(void)
{
    return ms_token_reasons[MS_TOKEN_MISSING].message;
}


void
auth_free(auth_t *auth)
{
    if (auth == NULL) {
        return;
    }

    ms_keys_free(auth->keys);
    free(auth);
}
