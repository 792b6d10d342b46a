
/*
 * The access phase: verifies the call's token. The order of refusals: no
 * session id, a bad token, a bad session id, an expired token, a token of
 * another session. A good token may be a revoked one, also when it comes from
 * the worker's cache, which keeps the claims of good tokens only.
 */

#include "token/access.h"

#include "answers/errors.h"
#include "answers/wait.h"
#include "core/context.h"
#include "core/log.h"
#include "core/metadata.h"
#include "token/claims.h"
#include "token/conf.h"
#include "token/context.h"
#include "token/forward.h"
#include "token/jwks.h"
#include "token/keyring.h"
#include "token/reasons.h"
#include "token/revocations.h"
#include "token/stats.h"


static void ms_jwt_try(ngx_http_request_t *r, ms_jwt_ctx_t *ctx,
    ms_jwt_policy_t *policy);
static ngx_uint_t ms_jwt_no_key(ms_jwt_ctx_t *ctx);
static ngx_uint_t ms_jwt_must_wait(ms_jwt_ctx_t *ctx, ms_keyring_t *keyring);
static ngx_uint_t ms_jwt_unknown_kid(ms_jwt_ctx_t *ctx, ms_keyring_t *keyring);
static ngx_uint_t ms_jwt_decide(ngx_http_request_t *r, ms_jwt_ctx_t *ctx,
    ms_jwt_policy_t *policy);
static ngx_uint_t ms_jwt_verify(ngx_http_request_t *r, ms_jwt_ctx_t *ctx,
    ms_jwt_policy_t *policy, ngx_str_t *session);
static ms_cache_t *ms_jwt_cache(ms_jwt_policy_t *policy);
static ngx_uint_t ms_jwt_verify_anew(ngx_http_request_t *r, ms_jwt_ctx_t *ctx,
    ms_jwt_policy_t *policy, const char *text, size_t len, ms_cache_key_t *key,
    ngx_str_t *session);
static ngx_int_t ms_jwt_identify(u_char *packed, ms_jwt_policy_t *policy,
    ms_token_t *token);
static ngx_uint_t ms_jwt_good(ngx_http_request_t *r, ms_jwt_ctx_t *ctx,
    ms_cache_value_t *value, ngx_str_t *session);
static ngx_uint_t ms_jwt_not_revoked(ngx_uint_t *generation,
    const u_char *packed);
static ngx_uint_t ms_jwt_take_session(ngx_http_request_t *r,
    ms_cache_value_t *value);
static ngx_int_t ms_jwt_deny(ngx_http_request_t *r, ngx_uint_t reason);


ngx_int_t
ms_jwt_handler(ngx_http_request_t *r)
{
    ms_jwt_ctx_t       *ctx;
    ms_jwt_loc_conf_t  *jlcf;

    jlcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_jwt_module);

    if (!jlcf->enable) {
        return NGX_DECLINED;
    }

    ctx = ms_context_make(r, &ngx_http_myservice_jwt_module,
                          sizeof(ms_jwt_ctx_t), NULL);
    if (ctx == NULL || ms_jwt_clean_headers(r, ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* the same decision holds after an internal redirect */

    if (ctx->policy != jlcf->policy) {
        ms_jwt_try(r, ctx, jlcf->policy);

        if (ms_jwt_must_wait(ctx, jlcf->policy->keyring)) {
            return ms_wait(r, MS_WAIT_KEYS);
        }

        ctx->policy = jlcf->policy;

        ms_jwt_count(ctx->reason, 1);
    }

    if (ctx->reason != MS_TOKEN_OK) {
        return ms_jwt_deny(r, ctx->reason);
    }

    ms_metadata_set_subject(r, ctx->policy->subject ? ctx->subject : NULL);

    if (ms_jwt_forward(r, ctx, jlcf->forward) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_OK;
}


/* a waiting call is not verified again before the keys change */

static void
ms_jwt_try(ngx_http_request_t *r, ms_jwt_ctx_t *ctx, ms_jwt_policy_t *policy)
{
    if (ctx->tried == policy && ctx->version == policy->keyring->version) {
        return;
    }

    ctx->tried = policy;
    ctx->version = policy->keyring->version;
    ctx->claims = NULL;
    ctx->reason = ms_jwt_decide(r, ctx, policy);
    ctx->unknown = policy->keyring->server
                   && ms_jwt_no_key(ctx)
                   && ms_jwt_unknown_kid(ctx, policy->keyring);
}


static ngx_uint_t
ms_jwt_no_key(ms_jwt_ctx_t *ctx)
{
    return ctx->reason == MS_JWT_NO_KEYS
           || ctx->reason == MS_TOKEN_KEY
           || ctx->reason == MS_TOKEN_ALGORITHM
           || ctx->reason == MS_TOKEN_SIGNATURE;
}


/*
 * A token that fits no key may belong to keys that are being fetched. If the
 * issuer's keys were never fetched, or this worker had to drop the keys of a
 * file, the fault is the gateway's: UNAVAILABLE.
 */

static ngx_uint_t
ms_jwt_must_wait(ms_jwt_ctx_t *ctx, ms_keyring_t *keyring)
{
    ngx_uint_t  missing;

    if (!ms_jwt_no_key(ctx)) {
        return 0;
    }

    if (ms_jwks_awaited(keyring, &missing)) {
        return 1;
    }

    if (missing) {
        ctx->reason = MS_JWT_NO_KEYS;
        return 0;
    }

    if (!ctx->unknown || !ms_jwks_unknown(keyring, !ctx->waited)) {
        return 0;
    }

    /* the issuer may have new keys; one fetch is enough */

    ctx->waited = 1;

    return 1;
}


/* keys without a name may have been tried, too */

static ngx_uint_t
ms_jwt_unknown_kid(ms_jwt_ctx_t *ctx, ms_keyring_t *keyring)
{
    char         kid[MS_KID_MAX + 1];
    size_t       len;
    const char  *text;

    text = (char *) ctx->token.data;
    len = ctx->token.len;

    ms_token_strip(&text, &len);

    return keyring->keys
           && ms_token_unverified_kid(text, len, kid, sizeof(kid)) == 0
           && !ms_keys_has_kid(keyring->keys, kid, ngx_strlen(kid));
}


static ngx_uint_t
ms_jwt_decide(ngx_http_request_t *r, ms_jwt_ctx_t *ctx,
    ms_jwt_policy_t *policy)
{
    ngx_int_t   rc;
    ngx_str_t   session;
    ngx_uint_t  reason;

    if (policy->from->claim) {
        return ms_jwt_verify(r, ctx, policy, NULL);
    }

    rc = ms_metadata_session(r, &session);

    if (rc == NGX_ERROR) {
        return MS_TOKEN_INTERNAL;
    }

    if (rc == NGX_DECLINED) {
        return MS_JWT_SESSION_MISSING;
    }

    reason = ms_jwt_verify(r, ctx, policy, &session);

    if (rc == NGX_ABORT
        && (reason == MS_TOKEN_OK || reason == MS_TOKEN_EXPIRED
            || reason == MS_JWT_SESSION_MISMATCH))
    {
        return MS_JWT_SESSION_INVALID;
    }

    return reason;
}


static ngx_uint_t
ms_jwt_verify(ngx_http_request_t *r, ms_jwt_ctx_t *ctx,
    ms_jwt_policy_t *policy, ngx_str_t *session)
{
    size_t             len;
    const char        *text;
    ms_cache_t        *cache;
    ms_cache_key_t     key;
    ms_cache_value_t   value;

    if (ctx->tokens > 1) {
        return MS_JWT_TOKENS;
    }

    text = (char *) ctx->token.data;
    len = ctx->token.len;

    if (len) {
        ms_token_strip(&text, &len);
    }

    if (len == 0) {
        return MS_TOKEN_MISSING;
    }

    if (len > MS_TOKEN_MAX) {
        return MS_TOKEN_TOO_LONG;
    }

    cache = ms_jwt_cache(policy);

    if (cache == NULL) {
        return ms_jwt_verify_anew(r, ctx, policy, text, len, NULL, session);
    }

    if (ms_cache_key(cache, text, len, &key) != 0) {
        return MS_TOKEN_INTERNAL;
    }

    if (ms_cache_find(cache, &key, ngx_time(), &value)) {
        ms_jwt_count(MS_JWT_HITS, 1);

        return ms_jwt_good(r, ctx, &value, session);
    }

    ms_jwt_count(MS_JWT_MISSES, 1);

    return ms_jwt_verify_anew(r, ctx, policy, text, len, &key, session);
}


/* the cache forgets tokens that were verified with removed keys */

static ms_cache_t *
ms_jwt_cache(ms_jwt_policy_t *policy)
{
    if (policy->version != policy->keyring->version) {
        policy->version = policy->keyring->version;

        if (policy->cache) {
            ms_cache_flush(policy->cache);
        }
    }

    return policy->cache;
}


/* subject and ids; NGX_DECLINED if they have no text */

static ngx_int_t
ms_jwt_identify(u_char *packed, ms_jwt_policy_t *policy, ms_token_t *token)
{
    ngx_int_t       rc;
    ngx_str_t       session;
    ms_token_ids_t  ids;

    ngx_memzero(packed, MS_JWT_PACKED);

    if (policy->subject) {
        rc = ms_jwt_subject(packed, token->claims, policy->subject);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (!ms_revocations_on()) {
        return NGX_OK;
    }

    session.data = (u_char *) token->session;
    session.len = token->session_len;

    rc = ms_revocation_ids(&ids, token->claims, &session);
    ngx_memcpy(packed + MS_JWT_IDS, &ids, sizeof(ms_token_ids_t));

    return rc;
}


/* "key" is that of the cache, if there is one */

static ngx_uint_t
ms_jwt_verify_anew(ngx_http_request_t *r, ms_jwt_ctx_t *ctx,
    ms_jwt_policy_t *policy, const char *text, size_t len, ms_cache_key_t *key,
    ngx_str_t *session)
{
    u_char               packed[MS_JWT_PACKED
                                + ms_jwt_claims_size(MS_JWT_CLAIMS)];
    ngx_int_t            rc;
    uint64_t             evictions;
    ngx_uint_t           reason;
    ms_token_t           token;
    struct timespec      since, until;
    ms_cache_value_t     value;
    ms_jwt_main_conf_t  *jmcf;

    if (policy->keyring->keys == NULL) {
        return MS_JWT_NO_KEYS;
    }

    (void) clock_gettime(CLOCK_MONOTONIC, &since);

    reason = ms_token_verify(policy->keyring->keys, text, len, &policy->rules,
                             ngx_time(), &token);

    (void) clock_gettime(CLOCK_MONOTONIC, &until);

    ms_counts_time(&ms_gateway_counts->verification, &ms_times_short,
                   (until.tv_sec - since.tv_sec) * 1000000
                   + (until.tv_nsec - since.tv_nsec) / 1000);

    if (reason != MS_TOKEN_OK) {
        return reason;
    }

    rc = ms_jwt_identify(packed, policy, &token);

    if (rc != NGX_OK) {
        ms_token_free(&token);
        return rc == NGX_DECLINED ? MS_TOKEN_CLAIM : MS_TOKEN_INTERNAL;
    }

    jmcf = ngx_http_get_module_main_conf(r, ngx_http_myservice_jwt_module);

    value.session = token.session;
    value.session_len = token.session_len;
    value.data = packed;
    value.data_len = MS_JWT_PACKED
                     + ms_jwt_pack_claims(packed + MS_JWT_PACKED,
                                          &jmcf->claims, token.claims);
    value.expires = token.expires;
    value.mark = NULL;

    if (key) {
        ms_cache_put(policy->cache, key, ngx_time(), &value);

        evictions = ms_cache_stats(policy->cache).evictions;

        if (evictions != policy->evictions) {
            ms_jwt_count(MS_JWT_EVICTIONS, evictions - policy->evictions);
            policy->evictions = evictions;
        }
    }

    reason = ms_jwt_good(r, ctx, &value, session);

    ms_token_free(&token);

    return reason;
}


/*
 * "session" is that of the metadata, NULL: the token tells it.  "value" is
 * copied: its place in the cache may be taken by another token before the
 * request ends
 */

static ngx_uint_t
ms_jwt_good(ngx_http_request_t *r, ms_jwt_ctx_t *ctx, ms_cache_value_t *value,
    ngx_str_t *session)
{
    u_char      *packed;
    ngx_uint_t   reason, generation;

    generation = value->mark ? *value->mark : 0;

    if (!ms_jwt_not_revoked(&generation, value->data)) {
        return MS_JWT_REVOKED;
    }

    if (value->mark) {
        *value->mark = generation;
    }

    if (session == NULL) {
        reason = ms_jwt_take_session(r, value);

        if (reason != MS_TOKEN_OK) {
            return reason;
        }

    } else if (value->session_len != session->len
               || ngx_memcmp(value->session, session->data, session->len) != 0)
    {
        return MS_JWT_SESSION_MISMATCH;
    }

    packed = ngx_pnalloc(r->pool, value->data_len);
    if (packed == NULL) {
        return MS_TOKEN_INTERNAL;
    }

    ngx_memcpy(packed, value->data, value->data_len);

    ctx->subject = packed;
    ctx->claims = packed + MS_JWT_PACKED;
    ctx->generation = generation;
    ctx->expires = value->expires;

    return MS_TOKEN_OK;
}


/* asks the list if it has changed since "generation" */

static ngx_uint_t
ms_jwt_not_revoked(ngx_uint_t *generation, const u_char *packed)
{
    ngx_uint_t      now;
    ms_token_ids_t  ids;

    now = ms_revocations_generation();

    if (*generation == now) {
        return 1;
    }

    ngx_memcpy(&ids, packed + MS_JWT_IDS, sizeof(ms_token_ids_t));

    if (ms_revocations_have(&ids)) {
        return 0;
    }

    *generation = now;

    return 1;
}


ngx_uint_t
ms_jwt_revoked(ngx_http_request_t *r)
{
    ms_jwt_ctx_t  *ctx;

    ctx = ms_jwt_get_ctx(r);

    return ctx && ctx->subject
           && !ms_jwt_not_revoked(&ctx->generation, ctx->subject);
}


static ngx_uint_t
ms_jwt_take_session(ngx_http_request_t *r, ms_cache_value_t *value)
{
    ngx_str_t  session;

    session.len = value->session_len;
    session.data = ngx_pnalloc(r->pool, session.len + 1);

    if (session.data == NULL) {
        return MS_TOKEN_INTERNAL;
    }

    ngx_memcpy(session.data, value->session, session.len);

    if (ms_metadata_set_session(r, &session) != NGX_OK) {
        return MS_TOKEN_INTERNAL;
    }

    return ms_metadata_session(r, &session) == NGX_OK
           ? MS_TOKEN_OK : MS_JWT_SESSION_INVALID;
}


static ngx_int_t
ms_jwt_deny(ngx_http_request_t *r, ngx_uint_t reason)
{
    ngx_str_t        text;
    ms_reason_t  answer;

    static ms_log_reason_t reasons[MS_JWT_REASONS];

    answer = ms_reason(reason);

    if (reason == MS_TOKEN_INTERNAL) {
        ms_log_error(NGX_LOG_CRIT, r->connection->log, 0,
                     "token could not be verified: no memory, or "
                     "a failure of the library");
    }

    ms_log_reason(&reasons[reason], answer.name, NGX_LOG_INFO,
                  r->connection->log, 0, "access denied: %s", answer.name);

    text.data = (u_char *) answer.message;
    text.len = ngx_strlen(answer.message);

    return ms_errors_refuse(r, answer.code, &text);
}
