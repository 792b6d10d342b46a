
/*
 * The order of the answers: no session id, a bad token, a bad session id, an
 * expired token, a token of another session.  What a good token said is kept
 * in the worker's cache, what a bad one said is not.
 */

#include "ngx_http_myservice_jwt.h"
#include "ngx_http_myservice_module.h"
#include "ngx_http_myservice_wait.h"


static void ngx_http_myservice_jwt_mark(void *data);
static void ngx_http_myservice_jwt_try(ngx_http_request_t *r,
    ngx_http_myservice_jwt_ctx_t *ctx,
    ngx_http_myservice_jwt_policy_t *policy);
static ngx_uint_t ngx_http_myservice_jwt_no_key(
    ngx_http_myservice_jwt_ctx_t *ctx);
static ngx_uint_t ngx_http_myservice_jwt_must_wait(
    ngx_http_myservice_jwt_ctx_t *ctx,
    ngx_http_myservice_jwt_keyring_t *keyring);
static ngx_uint_t ngx_http_myservice_jwt_unknown_kid(
    ngx_http_myservice_jwt_ctx_t *ctx,
    ngx_http_myservice_jwt_keyring_t *keyring);
static ngx_uint_t ngx_http_myservice_jwt_decide(ngx_http_request_t *r,
    ngx_http_myservice_jwt_ctx_t *ctx,
    ngx_http_myservice_jwt_policy_t *policy);
static ngx_uint_t ngx_http_myservice_jwt_verify(ngx_http_request_t *r,
    ngx_http_myservice_jwt_ctx_t *ctx,
    ngx_http_myservice_jwt_policy_t *policy, ngx_str_t *session);
static ms_cache_t *ngx_http_myservice_jwt_cache(
    ngx_http_myservice_jwt_policy_t *policy);
static ngx_uint_t ngx_http_myservice_jwt_verify_anew(ngx_http_request_t *r,
    ngx_http_myservice_jwt_ctx_t *ctx,
    ngx_http_myservice_jwt_policy_t *policy, const char *text, size_t len,
    ms_cache_key_t *key, ngx_str_t *session);
static ngx_uint_t ngx_http_myservice_jwt_good(ngx_http_request_t *r,
    ngx_http_myservice_jwt_ctx_t *ctx, ms_cache_value_t *value,
    ngx_str_t *session);
static ngx_int_t ngx_http_myservice_jwt_deny(ngx_http_request_t *r,
    ngx_uint_t reason);


/* outcomes after those of the token */

static ngx_http_myservice_jwt_answer_t  ngx_http_myservice_jwt_answers[] = {

    { NGX_HTTP_MYSERVICE_UNAUTHENTICATED, "SESSION_MISSING",
      "missing session-id" },
    { NGX_HTTP_MYSERVICE_INVALID_ARGUMENT, "SESSION_INVALID",
      "invalid session-id" },
    { NGX_HTTP_MYSERVICE_UNAUTHENTICATED, "SESSION_MISMATCH",
      "session-id mismatch" },
    { NGX_HTTP_MYSERVICE_UNAUTHENTICATED, "TOKENS",
      "missing or invalid token" },
    { NGX_HTTP_MYSERVICE_UNAVAILABLE, "NO_KEYS",
      "service unavailable" }
};


ngx_http_myservice_jwt_answer_t
ngx_http_myservice_jwt_answer(ngx_uint_t reason)
{
    ngx_http_myservice_jwt_answer_t  answer;

    if (reason >= MS_TOKEN_REASONS) {
        return ngx_http_myservice_jwt_answers[reason - MS_TOKEN_REASONS];
    }

    answer.code = reason == MS_TOKEN_OK ? NGX_HTTP_MYSERVICE_OK
                  : reason == MS_TOKEN_INTERNAL
                    ? NGX_HTTP_MYSERVICE_INTERNAL
                    : NGX_HTTP_MYSERVICE_UNAUTHENTICATED;
    answer.name = ms_token_reasons[reason].name;
    answer.message = ms_token_reasons[reason].message;

    return answer;
}


static void
ngx_http_myservice_jwt_mark(void *data)
{
    /* see ngx_http_myservice_find_ctx() */
}


ngx_http_myservice_jwt_ctx_t *
ngx_http_myservice_jwt_get_ctx(ngx_http_request_t *r)
{
    /* there is no access phase for subrequests */

    return ngx_http_myservice_find_ctx(r->main,
                                       &ngx_http_myservice_jwt_module,
                                       ngx_http_myservice_jwt_mark);
}


ngx_int_t
ngx_http_myservice_jwt_handler(ngx_http_request_t *r)
{
    ngx_http_myservice_jwt_ctx_t       *ctx;
    ngx_http_myservice_jwt_loc_conf_t  *jlcf;

    jlcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_jwt_module);

    if (!jlcf->enable) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_myservice_make_ctx(r, &ngx_http_myservice_jwt_module,
                                      ngx_http_myservice_jwt_mark,
                                      sizeof(ngx_http_myservice_jwt_ctx_t));
    if (ctx == NULL
        || ngx_http_myservice_jwt_clean_headers(r, ctx) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* the same decision holds after an internal redirect */

    if (ctx->policy != jlcf->policy) {
        ngx_http_myservice_jwt_try(r, ctx, jlcf->policy);

        if (ngx_http_myservice_jwt_must_wait(ctx, jlcf->policy->keyring)) {
            return ngx_http_myservice_wait(r);
        }

        ctx->policy = jlcf->policy;

        ngx_http_myservice_jwt_count(ctx->reason, 1);
    }

    if (ctx->reason != MS_TOKEN_OK) {
        return ngx_http_myservice_jwt_deny(r, ctx->reason);
    }

    if (ngx_http_myservice_jwt_forward(r, ctx, jlcf->forward) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_OK;
}


/* a call that waits is not decided again before there are other keys */

static void
ngx_http_myservice_jwt_try(ngx_http_request_t *r,
    ngx_http_myservice_jwt_ctx_t *ctx,
    ngx_http_myservice_jwt_policy_t *policy)
{
    if (ctx->tried == policy && ctx->version == policy->keyring->version) {
        return;
    }

    ctx->tried = policy;
    ctx->version = policy->keyring->version;
    ctx->claims = NULL;
    ctx->reason = ngx_http_myservice_jwt_decide(r, ctx, policy);
    ctx->unknown = policy->keyring->server
                   && ngx_http_myservice_jwt_no_key(ctx)
                   && ngx_http_myservice_jwt_unknown_kid(ctx, policy->keyring);
}


static ngx_uint_t
ngx_http_myservice_jwt_no_key(ngx_http_myservice_jwt_ctx_t *ctx)
{
    return ctx->reason == NGX_HTTP_MYSERVICE_JWT_NO_KEYS
           || ctx->reason == MS_TOKEN_KEY
           || ctx->reason == MS_TOKEN_ALGORITHM
           || ctx->reason == MS_TOKEN_SIGNATURE;
}


/*
 * A token that no key fits may be of keys that are under way.  When the issuer
 * cannot be reached and its keys never came, or a worker had to drop those of a
 * file, that is a fault of ours.
 */

static ngx_uint_t
ngx_http_myservice_jwt_must_wait(ngx_http_myservice_jwt_ctx_t *ctx,
    ngx_http_myservice_jwt_keyring_t *keyring)
{
    ngx_uint_t  missing;

    if (!ngx_http_myservice_jwt_no_key(ctx)) {
        return 0;
    }

    if (ngx_http_myservice_jwt_fetch_awaited(keyring, &missing)) {
        return 1;
    }

    if (missing) {
        ctx->reason = NGX_HTTP_MYSERVICE_JWT_NO_KEYS;
        return 0;
    }

    if (!ctx->unknown
        || !ngx_http_myservice_jwt_fetch_unknown(keyring, !ctx->waited))
    {
        return 0;
    }

    /* the issuer may have new ones; once is enough */

    ctx->waited = 1;

    return 1;
}


/* it may have been tried with keys that have no name, too */

static ngx_uint_t
ngx_http_myservice_jwt_unknown_kid(ngx_http_myservice_jwt_ctx_t *ctx,
    ngx_http_myservice_jwt_keyring_t *keyring)
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
ngx_http_myservice_jwt_decide(ngx_http_request_t *r,
    ngx_http_myservice_jwt_ctx_t *ctx,
    ngx_http_myservice_jwt_policy_t *policy)
{
    ngx_int_t   rc;
    ngx_str_t   session;
    ngx_uint_t  reason;

    rc = ngx_http_myservice_session_id(r, &session);

    if (rc == NGX_ERROR) {
        return MS_TOKEN_INTERNAL;
    }

    if (rc == NGX_DECLINED) {
        return NGX_HTTP_MYSERVICE_JWT_SESSION_MISSING;
    }

    reason = ngx_http_myservice_jwt_verify(r, ctx, policy, &session);

    if (rc == NGX_ABORT
        && (reason == MS_TOKEN_OK || reason == MS_TOKEN_EXPIRED
            || reason == NGX_HTTP_MYSERVICE_JWT_SESSION_MISMATCH))
    {
        return NGX_HTTP_MYSERVICE_JWT_SESSION_INVALID;
    }

    return reason;
}


static ngx_uint_t
ngx_http_myservice_jwt_verify(ngx_http_request_t *r,
    ngx_http_myservice_jwt_ctx_t *ctx,
    ngx_http_myservice_jwt_policy_t *policy, ngx_str_t *session)
{
    size_t             len;
    const char        *text;
    ms_cache_t        *cache;
    ms_cache_key_t     key;
    ms_cache_value_t   value;

    if (ctx->tokens > 1) {
        return NGX_HTTP_MYSERVICE_JWT_TOKENS;
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

    cache = ngx_http_myservice_jwt_cache(policy);

    if (cache == NULL) {
        return ngx_http_myservice_jwt_verify_anew(r, ctx, policy, text, len,
                                                  NULL, session);
    }

    if (ms_cache_key(cache, text, len, &key) != 0) {
        return MS_TOKEN_INTERNAL;
    }

    if (ms_cache_find(cache, &key, ngx_time(), &value)) {
        ngx_http_myservice_jwt_count(NGX_HTTP_MYSERVICE_JWT_HITS, 1);

        return ngx_http_myservice_jwt_good(r, ctx, &value, session);
    }

    ngx_http_myservice_jwt_count(NGX_HTTP_MYSERVICE_JWT_MISSES, 1);

    return ngx_http_myservice_jwt_verify_anew(r, ctx, policy, text, len, &key,
                                              session);
}


/* what was verified with keys that are no longer all there is forgotten */

static ms_cache_t *
ngx_http_myservice_jwt_cache(ngx_http_myservice_jwt_policy_t *policy)
{
    if (policy->version != policy->keyring->version) {
        policy->version = policy->keyring->version;

        if (policy->cache) {
            ms_cache_flush(policy->cache);
        }
    }

    return policy->cache;
}


/* "key" is that of the cache, if there is one */

static ngx_uint_t
ngx_http_myservice_jwt_verify_anew(ngx_http_request_t *r,
    ngx_http_myservice_jwt_ctx_t *ctx,
    ngx_http_myservice_jwt_policy_t *policy, const char *text, size_t len,
    ms_cache_key_t *key, ngx_str_t *session)
{
    u_char      packed[ngx_http_myservice_jwt_claims_size(
                                               NGX_HTTP_MYSERVICE_JWT_CLAIMS)];
    uint64_t                             evictions;
    ngx_uint_t                           reason;
    ms_token_t                           token;
    ms_cache_value_t                     value;
    ngx_http_myservice_jwt_main_conf_t  *jmcf;

    if (policy->keyring->keys == NULL) {
        return NGX_HTTP_MYSERVICE_JWT_NO_KEYS;
    }

    reason = ms_token_verify(policy->keyring->keys, text, len, &policy->rules,
                             ngx_time(), &token);

    if (reason != MS_TOKEN_OK) {
        return reason;
    }

    jmcf = ngx_http_get_module_main_conf(r, ngx_http_myservice_jwt_module);

    value.session = token.session;
    value.session_len = token.session_len;
    value.data = packed;
    value.data_len = ngx_http_myservice_jwt_pack_claims(packed, &jmcf->claims,
                                                        token.claims);
    value.expires = token.expires;

    if (key) {
        ms_cache_put(policy->cache, key, ngx_time(), &value);

        evictions = ms_cache_stats(policy->cache).evictions;

        if (evictions != policy->evictions) {
            ngx_http_myservice_jwt_count(NGX_HTTP_MYSERVICE_JWT_EVICTIONS,
                                         evictions - policy->evictions);
            policy->evictions = evictions;
        }
    }

    reason = ngx_http_myservice_jwt_good(r, ctx, &value, session);

    ms_token_free(&token);

    return reason;
}


/* "value" is copied: its place in the cache may be taken by another token
 * before the request ends */

static ngx_uint_t
ngx_http_myservice_jwt_good(ngx_http_request_t *r,
    ngx_http_myservice_jwt_ctx_t *ctx, ms_cache_value_t *value,
    ngx_str_t *session)
{
    if (value->session_len != session->len
        || ngx_memcmp(value->session, session->data, session->len) != 0)
    {
        return NGX_HTTP_MYSERVICE_JWT_SESSION_MISMATCH;
    }

    ctx->claims = ngx_pnalloc(r->pool, value->data_len);
    if (ctx->claims == NULL) {
        return MS_TOKEN_INTERNAL;
    }

    ngx_memcpy(ctx->claims, value->data, value->data_len);
    ctx->expires = value->expires;

    return MS_TOKEN_OK;
}


static ngx_int_t
ngx_http_myservice_jwt_deny(ngx_http_request_t *r, ngx_uint_t reason)
{
    ngx_str_t                        text;
    ngx_http_myservice_jwt_answer_t  answer;

    answer = ngx_http_myservice_jwt_answer(reason);

    if (reason == MS_TOKEN_INTERNAL) {
        ngx_log_error(NGX_LOG_CRIT, r->connection->log, 0,
                      "token verification failed for lack of resources");
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "access denied: %s", answer.name);

    text.data = (u_char *) answer.message;
    text.len = ngx_strlen(answer.message);

    return ngx_http_myservice_refuse(r, answer.code, &text);
}
