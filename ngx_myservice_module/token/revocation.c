
/*
 * An entry is found by its key: the first bytes of SHA-256 over its kind and
 * its texts, each with a NUL behind it.
 */

#include "token/revocation.h"

#include "core/session_text.h"
#include "token/claims.h"
#include "wire/percent.h"

#include <openssl/evp.h>


/* 2^53 - 1, as for the times of a token */
#define MS_REVOCATION_TIME  INT64_C(9007199254740991)


static ngx_int_t ms_revocation_key(u_char *key, ms_revoke_kind_e kind,
    const ngx_str_t *first, const ngx_str_t *second);
static ngx_int_t ms_revocation_claim(const json_t *claims, const char *name,
    u_char *buf, ngx_str_t *text);
static ngx_int_t ms_revocation_names(const json_t *json,
    ms_revoke_kind_e *kind, ngx_uint_t own);
static ngx_int_t ms_revocation_word(ms_revocation_t *entry,
    const json_t *json);
static ngx_int_t ms_revocation_time(const json_t *value, int64_t *time);
static u_char *ms_revocation_text(const ms_revocation_t *entry, ngx_uint_t n,
    ngx_str_t *text);


/* the members of an entry's object beside "until" */

static const char *const  ms_revocation_members[MS_REVOKE_KINDS][3] = {
    [MS_REVOKE_JTI] = { "jti", NULL, NULL },
    [MS_REVOKE_USER] = { "iss", "sub", "before" },
    [MS_REVOKE_SESSION] = { "session", NULL, "before" }
};


ngx_int_t
ms_revocation_init(ms_revocation_t *entry, ms_revoke_kind_e kind,
    const ngx_str_t *first, const ngx_str_t *second)
{
    ngx_str_t  none;

    ngx_str_null(&none);

    if (second == NULL) {
        second = &none;
    }

    if (first->len > MS_REVOCATION_TEXT || second->len > MS_REVOCATION_TEXT) {
        return NGX_DECLINED;
    }

    entry->kind = kind;
    entry->ended = 0;
    entry->len[0] = (uint16_t) first->len;
    entry->len[1] = (uint16_t) second->len;
    ngx_memcpy(entry->text, first->data, first->len);
    ngx_memcpy(entry->text + first->len, second->data, second->len);

    return ms_revocation_key(entry->key, kind, first, second);
}


static ngx_int_t
ms_revocation_key(u_char *key, ms_revoke_kind_e kind, const ngx_str_t *first,
    const ngx_str_t *second)
{
    u_char       md[EVP_MAX_MD_SIZE], tag;
    ngx_int_t    rc;
    EVP_MD_CTX  *ctx;

    tag = (u_char) kind;
    ctx = EVP_MD_CTX_new();

    rc = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1
         && EVP_DigestUpdate(ctx, &tag, 1) == 1
         && EVP_DigestUpdate(ctx, first->data, first->len) == 1
         && EVP_DigestUpdate(ctx, "", 1) == 1
         && EVP_DigestUpdate(ctx, second->data, second->len) == 1
         && EVP_DigestFinal_ex(ctx, md, NULL) == 1
         ? NGX_OK : NGX_ERROR;

    EVP_MD_CTX_free(ctx);

    if (rc == NGX_OK) {
        ngx_memcpy(key, md, MS_REVOCATION_KEY);
    }

    return rc;
}


ngx_int_t
ms_revocation_read(ms_revocation_t *entry, const json_t *json,
    const char **error)
{
    ngx_int_t         rc;
    ngx_str_t         text[2];
    ngx_uint_t        i;
    const char       *name;
    json_t           *value;
    ms_revoke_kind_e  kind;

    if (ms_revocation_names(json, &kind, entry->stamp != 0) != NGX_OK) {
        *error = "an entry has \"until\" and either \"jti\", or \"iss\", "
                 "\"sub\" and \"before\", or \"session\" and \"before\"";
        return NGX_DECLINED;
    }

    ngx_memzero(text, sizeof(text));

    for (i = 0; i < 2; i++) {
        name = ms_revocation_members[kind][i];

        if (name == NULL) {
            continue;
        }

        value = json_object_get(json, name);

        if (!json_is_string(value)
            || json_string_length(value) > MS_REVOCATION_TEXT
            || (json_string_length(value) == 0
                && !(kind == MS_REVOKE_USER && i == 0)))
        {
            *error = "\"jti\", \"iss\", \"sub\" and \"session\" must be texts "
                     "of up to 256 bytes, not empty (but \"iss\" may be, for "
                     "tokens without it)";
            return NGX_DECLINED;
        }

        text[i].data = (u_char *) json_string_value(value);
        text[i].len = json_string_length(value);
    }

    if (kind == MS_REVOKE_JTI) {
        entry->before = 0;
    }

    if (ms_revocation_time(json_object_get(json, "until"), &entry->until)
        != NGX_OK
        || ms_revocation_time(json_object_get(json, "before"), &entry->before)
           != NGX_OK
        || entry->before > entry->until)
    {
        *error = "\"until\" and \"before\" must be whole seconds since 1970, "
                 "\"before\" not after \"until\"";
        return NGX_DECLINED;
    }

    rc = ms_revocation_init(entry, kind, &text[0], &text[1]);
    *error = "internal error";

    if (rc == NGX_OK && entry->stamp) {
        rc = ms_revocation_word(entry, json);
        *error = "\"stamp\" must be microseconds since 1970, \"ended\" true";
    }

    return rc;
}


static ngx_int_t
ms_revocation_word(ms_revocation_t *entry, const json_t *json)
{
    int64_t   stamp;
    json_t   *ended;

    ended = json_object_get(json, "ended");
    stamp = entry->stamp;

    if (ms_revocation_time(json_object_get(json, "stamp"), &stamp) != NGX_OK
        || stamp == 0 || (ended && !json_is_true(ended)))
    {
        return NGX_DECLINED;
    }

    entry->stamp = stamp;
    entry->ended = ended != NULL;

    return NGX_OK;
}


/* what kind it is by its names, of which none may be unknown */

static ngx_int_t
ms_revocation_names(const json_t *json, ms_revoke_kind_e *kind,
    ngx_uint_t own)
{
    json_t           *value;
    ngx_uint_t        i;
    const char       *name;
    ms_revoke_kind_e  k;

    k = json_object_get(json, "jti") ? MS_REVOKE_JTI
        : json_object_get(json, "session") ? MS_REVOKE_SESSION
                                           : MS_REVOKE_USER;

    /* this API of jansson takes no const */

    json_object_foreach((json_t *) json, name, value) {

        for (i = 0; i < 3; i++) {
            if (ms_revocation_members[k][i]
                && ngx_strcmp(name, ms_revocation_members[k][i]) == 0)
            {
                break;
            }
        }

        if (i == 3 && ngx_strcmp(name, "until") != 0
            && ngx_strcmp(name, "id") != 0
            && !(own && (ngx_strcmp(name, "stamp") == 0
                         || ngx_strcmp(name, "ended") == 0)))
        {
            return NGX_DECLINED;
        }
    }

    *kind = k;

    return NGX_OK;
}


static ngx_int_t
ms_revocation_time(const json_t *value, int64_t *time)
{
    if (value == NULL) {
        return *time >= 0 ? NGX_OK : NGX_DECLINED;
    }

    *time = json_integer_value(value);

    return json_is_integer(value) && *time >= 0 && *time <= MS_REVOCATION_TIME
           ? NGX_OK : NGX_DECLINED;
}


static u_char *
ms_revocation_text(const ms_revocation_t *entry, ngx_uint_t n,
    ngx_str_t *text)
{
    text->data = (u_char *) entry->text + (n ? entry->len[0] : 0);
    text->len = entry->len[n];

    return text->data;
}


u_char *
ms_revocation_write(u_char *p, const ms_revocation_t *entry, ngx_uint_t shown)
{
    u_char       out[MS_SESSION_HASH];
    ngx_str_t    text, hash;
    ngx_uint_t   i;
    const char  *name;

    p = ngx_cpymem(p, "{\"id\":\"", 7);
    p = ngx_hex_dump(p, (u_char *) entry->key, MS_REVOCATION_KEY);
    *p++ = '"';

    for (i = 0; i < 2; i++) {
        name = ms_revocation_members[entry->kind][i];

        if (name) {
            (void) ms_revocation_text(entry, i, &text);

            if (shown && entry->kind == MS_REVOKE_SESSION) {
                text = *ms_session_shown(&text, &hash, out);
            }

            p = ngx_sprintf(p, ",\"%s\":\"", name);
            p = (u_char *) ngx_escape_json(p, text.data, text.len);
            *p++ = '"';
        }
    }

    if (ms_revocation_members[entry->kind][2]) {
        p = ngx_sprintf(p, ",\"before\":%L", entry->before);
    }

    p = ngx_sprintf(p, ",\"until\":%L", entry->until);

    if (!shown) {
        p = ngx_sprintf(p, ",\"stamp\":%uL%s", entry->stamp,
                        entry->ended ? ",\"ended\":true" : "");
    }

    *p++ = '}';

    return p;
}


u_char *
ms_revocation_log(u_char *p, const ms_revocation_t *entry)
{
    u_char       out[MS_SESSION_HASH];
    ngx_str_t    text, hash;
    ngx_uint_t   i;
    const char  *name;

    for (i = 0; i < 2; i++) {
        name = ms_revocation_members[entry->kind][i];

        if (name) {
            (void) ms_revocation_text(entry, i, &text);

            if (entry->kind == MS_REVOKE_SESSION) {
                text = *ms_session_shown(&text, &hash, out);
            }

            p = ngx_sprintf(p, i ? " %s=\"" : "%s=\"", name);
            p += ms_percent_encode(p, text.data, text.len);
            *p++ = '"';
        }
    }

    if (ms_revocation_members[entry->kind][2]) {
        p = ngx_sprintf(p, " before=%L", entry->before);
    }

    return ngx_sprintf(p, " until=%L", entry->until);
}


ngx_int_t
ms_revocation_ids(ms_token_ids_t *ids, const json_t *claims,
    const ngx_str_t *session)
{
    u_char      numbers[3][MS_JWT_CLAIM_MAX];
    json_t     *iat;
    ngx_int_t   rc;
    ngx_str_t   jti, iss, sub, none;

    ngx_memzero(ids, sizeof(ms_token_ids_t));
    ngx_str_null(&none);

    if (ms_revocation_claim(claims, "jti", numbers[0], &jti) != NGX_OK
        || ms_revocation_claim(claims, "iss", numbers[1], &iss) != NGX_OK
        || ms_revocation_claim(claims, "sub", numbers[2], &sub) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    rc = ms_revocation_key(ids->key[MS_REVOKE_SESSION], MS_REVOKE_SESSION,
                           session, &none);

    if (rc == NGX_OK && jti.len) {
        rc = ms_revocation_key(ids->key[MS_REVOKE_JTI], MS_REVOKE_JTI, &jti,
                               &none);
    }

    if (rc == NGX_OK && sub.len) {
        rc = ms_revocation_key(ids->key[MS_REVOKE_USER], MS_REVOKE_USER, &iss,
                               &sub);
    }

    /* the token was verified: "iat" is no time in the future */

    iat = json_object_get(claims, "iat");
    ids->issued = json_is_number(iat) ? (int64_t) json_number_value(iat)
                                      : INT64_MIN;

    return rc;
}


/* an empty text if there is none */

static ngx_int_t
ms_revocation_claim(const json_t *claims, const char *name, u_char *buf,
    ngx_str_t *text)
{
    json_t  *value;

    value = json_object_get(claims, name);

    if (value == NULL) {
        ngx_str_null(text);
        return NGX_OK;
    }

    return ms_jwt_text(value, buf, text);
}


uint64_t
ms_revocation_stamp(uint64_t last)
{
    uint64_t        now;
    struct timeval  tv;

    ngx_gettimeofday(&tv);
    now = (uint64_t) tv.tv_sec * 1000000 + tv.tv_usec;

    return ngx_max(now, last + 1);
}


/* each of the writes alone refuses what was refused before, too */

ngx_uint_t
ms_revocation_extend(ms_revocation_t *old, ms_revocation_t *entry)
{
    ngx_uint_t  changed;

    changed = old->ended || entry->until > old->until
              || entry->before > old->before;

    if (!old->ended) {
        entry->until = ngx_max(entry->until, old->until);
        entry->before = ngx_max(entry->before, old->before);
    }

    old->until = entry->until;
    old->before = entry->before;
    old->stamp = entry->stamp;
    old->ended = 0;

    return changed;
}


ngx_uint_t
ms_revocation_merge(ms_revocation_t *old, ms_revocation_t *entry)
{
    ngx_uint_t  more, changed;

    if (entry->ended || old->ended) {

        /* of two such words as late as each other the one that refuses */

        if (entry->stamp < old->stamp
            || (entry->stamp == old->stamp && entry->ended))
        {
            return 0;
        }

        old->until = entry->until;
        old->before = entry->before;
        old->stamp = entry->stamp;
        old->ended = entry->ended;

        return 1;
    }

    more = old->until > entry->until || old->before > entry->before;

    if (entry->stamp < old->stamp) {
        more = entry->until > old->until || entry->before > old->before;
        entry->stamp = old->stamp;
    }

    changed = ms_revocation_extend(old, entry);

    if (more) {

        /* neither of the two gateways has told this */

        old->stamp++;
    }

    return changed || more;
}
