/*
 * The token check of an instance: keys from files, which are looked at again
 * when they change, rules from options, a cache of tokens that were good.
 */

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jwt/cache.h"
#include "jwt/keys.h"
#include "jwt/token.h"
#include "myservice/auth.h"
#include "rpc/file.h"
#include "rpc/log.h"


#define AUTH_FILES  2
#define AUTH_CACHE  64                  /* tokens; one session has few */

/* Seconds: a file that changed less than this before it was read may change
 * again within the resolution of its time stamp. */
#define AUTH_FRESH  2


typedef struct {
    const char      *option;
    const char      *path;              /* NULL: not given */
    ms_keys_t     *(*load)(const char *path,
                           const ms_keys_options_t *options, char *error,
                           size_t size);
    file_stamp_t     stamp;
} auth_file_t;

struct auth_s {
    auth_file_t        files[AUTH_FILES];
    ms_keys_options_t  options;
    ms_keys_t         *keys;
    ms_token_rules_t   rules;
    ms_cache_t        *cache;
    int64_t            looked;          /* when, seconds */
    bool               fresh;           /* to be read again */
    char               error[640];      /* why they could not be, or "" */
};


static bool auth_changed(auth_t *auth, int64_t now);
static ms_keys_t *auth_load(const auth_t *auth, char *error, size_t size);
static void auth_look(auth_t *auth, int64_t now);
static void auth_take(auth_t *auth, bool changed);
static const char *auth_verify(auth_t *auth, const char *text, size_t len,
    const ms_cache_key_t *key, const char *session, int64_t now);
static const char *auth_session(const char *session, const char *own,
    size_t len);


auth_t *
auth_create(const auth_options_t *options, int64_t now, char *error,
    size_t size)
{
    auth_t  *auth;

    auth = calloc(1, sizeof(auth_t));
    if (auth == NULL) {
        snprintf(error, size, "out of memory");
        return NULL;
    }

    auth->files[0] = (auth_file_t) {
        .option = "--jwt-secret-file", .path = options->secret_file,
        .load = ms_keys_from_secret_file
    };
    auth->files[1] = (auth_file_t) {
        .option = "--jwt-keys", .path = options->keys_file,
        .load = ms_keys_from_file
    };

    auth->rules.leeway = options->leeway;
    auth->rules.session_claim = options->session_claim != NULL
                                ? options->session_claim : "session_id";
    auth->rules.issuer = options->issuer;
    auth->rules.audience = options->audience;

    if (options->algorithms != NULL
        && auth_algorithms(options->algorithms, &auth->options.algorithms,
                           error, size)
           != 0)
    {
        goto failed;
    }

    auth->cache = ms_cache_create(AUTH_CACHE, 0);
    if (auth->cache == NULL) {
        snprintf(error, size, "no memory for a cache of tokens");
        goto failed;
    }

    (void) auth_changed(auth, now);
    auth->looked = now;

    auth->keys = auth_load(auth, error, size);
    if (auth->keys == NULL) {
        goto failed;
    }

    return auth;

failed:

    auth_free(auth);

    return NULL;
}


int
auth_algorithms(const char *text, uint32_t *algorithms, char *error,
    size_t size)
{
    int     alg;
    size_t  len;

    *algorithms = 0;

    for ( ;; ) {
        len = strcspn(text, ",");
        alg = ms_alg_find(text, len);

        if (alg == -1) {
            snprintf(error, size, "--jwt-algorithms: \"%.*s\" is not one of "
                     "HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, "
                     "PS512, ES256, ES384, ES512, EdDSA", (int) len, text);
            return -1;
        }

        *algorithms |= MS_ALG_BIT(alg);

        if (text[len] == '\0') {
            return 0;
        }

        text += len + 1;
    }
}


/* Takes the stamps before the files are read: a change in between is seen the
 * next time. */
static bool
auth_changed(auth_t *auth, int64_t now)
{
    int            i;
    bool           changed;
    auth_file_t   *file;
    file_stamp_t   stamp;

    changed = false;
    auth->fresh = false;

    for (i = 0; i < AUTH_FILES; i++) {
        file = &auth->files[i];

        if (file->path == NULL) {
            continue;
        }

        file_stamp(&stamp, file->path);

        if (memcmp(&stamp, &file->stamp, sizeof(file_stamp_t)) != 0) {
            file->stamp = stamp;
            changed = true;
        }

        if (now - stamp.changed.tv_sec < AUTH_FRESH) {
            auth->fresh = true;
        }
    }

    return changed;
}


static ms_keys_t *
auth_load(const auth_t *auth, char *error, size_t size)
{
    int                 i;
    char                reason[512];
    ms_keys_t          *keys, *more;
    const auth_file_t  *file;

    keys = NULL;

    for (i = 0; i < AUTH_FILES; i++) {
        file = &auth->files[i];

        if (file->path == NULL) {
            continue;
        }

        more = file->load(file->path, &auth->options, reason, sizeof(reason));

        if (more == NULL
            || ms_keys_join(&keys, more, reason, sizeof(reason)) != 0)
        {
            snprintf(error, size, "%s: %s", file->option, reason);
            ms_keys_free(keys);
            return NULL;
        }
    }

    if (keys == NULL) {
        snprintf(error, size, "there is no key");
    }

    return keys;
}


/* At most once a second.  A file that is missing or broken changes nothing.  It
 * is logged once for each change and fault, and read again: the reason may have
 * been a lack of descriptors or memory. */
static void
auth_look(auth_t *auth, int64_t now)
{
    bool  fresh, changed;

    if (now == auth->looked) {
        return;
    }

    auth->looked = now;
    fresh = auth->fresh;
    changed = auth_changed(auth, now);

    if (changed || fresh || auth->error[0] != '\0') {
        auth_take(auth, changed);
    }
}


void
auth_reload(auth_t *auth, int64_t now)
{
    auth->looked = now;
    (void) auth_changed(auth, now);
    auth_take(auth, true);
}


static void
auth_take(auth_t *auth, bool changed)
{
    bool        failed;
    char        error[sizeof(auth->error)];
    ms_keys_t  *keys;

    failed = auth->error[0] != '\0';
    keys = auth_load(auth, error, sizeof(error));

    if (keys == NULL) {
        if (changed || strcmp(error, auth->error) != 0) {
            log_error("%s; the previous keys stay in use", error);
        }

        snprintf(auth->error, sizeof(auth->error), "%s", error);
        return;
    }

    auth->error[0] = '\0';

    ms_keys_free(auth->keys);
    auth->keys = keys;
    ms_cache_flush(auth->cache);

    if (changed || failed) {
        log_info("keys of tokens read again: %zu", ms_keys_count(keys));
    }
}


const char *
auth_check(auth_t *auth, const char *value, size_t len, const char *session,
    int64_t now)
{
    ms_cache_key_t     key;
    ms_cache_value_t   known;

    auth_look(auth, now);
    ms_token_strip(&value, &len);

    if (len > MS_TOKEN_MAX) {
        return ms_token_reasons[MS_TOKEN_TOO_LONG].message;
    }

    if (ms_cache_key(auth->cache, value, len, &key) != 0) {
        return ms_token_reasons[MS_TOKEN_INTERNAL].message;
    }

    if (ms_cache_find(auth->cache, &key, now, &known)) {
        return auth_session(session, known.session, known.session_len);
    }

    return auth_verify(auth, value, len, &key, session, now);
}


static const char *
auth_verify(auth_t *auth, const char *text, size_t len,
    const ms_cache_key_t *key, const char *session, int64_t now)
{
    const char         *message;
    ms_token_t          token;
    ms_cache_value_t    value;
    ms_token_reason_t   reason;

    reason = ms_token_verify(auth->keys, text, len, &auth->rules, now,
                             &token);

    if (reason != MS_TOKEN_OK) {
        return ms_token_reasons[reason].message;
    }

    memset(&value, 0, sizeof(ms_cache_value_t));
    value.session = token.session;
    value.session_len = token.session_len;
    value.expires = token.expires;

    ms_cache_put(auth->cache, key, now, &value);

    message = auth_session(session, token.session, token.session_len);
    ms_token_free(&token);

    return message;
}


static const char *
auth_session(const char *session, const char *own, size_t len)
{
    if (session != NULL
        && (strlen(session) != len || memcmp(session, own, len) != 0))
    {
        return "session-id mismatch";
    }

    return NULL;
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

    ms_cache_free(auth->cache);
    ms_keys_free(auth->keys);
    free(auth);
}
