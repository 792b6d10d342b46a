/*
 * A token is split, its signature verified, its claims judged, in this order.
 */

#include "jwt/token.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "jwt/base64url.h"
#include "jwt/json.h"
#include "jwt/key.h"


#define MS_SESSION_MAX   256

/* 2^53 - 1: what every JSON number can hold exactly */
#define MS_TIME_MAX      INT64_C(9007199254740991)

#define MS_REFUSED       "missing or invalid token"


typedef struct {
    const char  *text;
    size_t       len;
} ms_part_t;

typedef struct {
    ms_part_t    header;
    ms_part_t    payload;
    ms_part_t    signature;
    size_t       signed_len;            /* header, dot and payload */
} ms_parts_t;


const ms_token_reason_info_t  ms_token_reasons[MS_TOKEN_REASONS] = {
    [MS_TOKEN_OK] = { "OK", "" },
    [MS_TOKEN_MISSING] = { "MISSING", MS_REFUSED },
    [MS_TOKEN_TOO_LONG] = { "TOO_LONG", MS_REFUSED },
    [MS_TOKEN_MALFORMED] = { "MALFORMED", MS_REFUSED },
    [MS_TOKEN_ALGORITHM] = { "ALGORITHM", MS_REFUSED },
    [MS_TOKEN_CRITICAL] = { "CRITICAL", MS_REFUSED },
    [MS_TOKEN_SIGNATURE] = { "SIGNATURE", MS_REFUSED },
    [MS_TOKEN_CLAIM] = { "CLAIM", MS_REFUSED },
    [MS_TOKEN_NOT_YET] = { "NOT_YET", MS_REFUSED },
    [MS_TOKEN_EXPIRED] = { "EXPIRED", "token expired" },
    [MS_TOKEN_INTERNAL] = { "INTERNAL", "internal error" },
    [MS_TOKEN_KEY] = { "KEY", MS_REFUSED },
    [MS_TOKEN_ISSUER] = { "ISSUER", MS_REFUSED },
    [MS_TOKEN_AUDIENCE] = { "AUDIENCE", MS_REFUSED }
};


/* Three parts, two dots; the signature may be empty here. */
static ms_token_reason_t
ms_token_split(const char *text, size_t len, ms_parts_t *parts)
{
    const char  *first, *second, *end;

    end = text + len;

    first = memchr(text, '.', len);
    if (first == NULL) {
        return MS_TOKEN_MALFORMED;
    }

    second = memchr(first + 1, '.', (size_t) (end - first - 1));
    if (second == NULL
        || memchr(second + 1, '.', (size_t) (end - second - 1)) != NULL)
    {
        return MS_TOKEN_MALFORMED;
    }

    parts->header.text = text;
    parts->header.len = (size_t) (first - text);
    parts->payload.text = first + 1;
    parts->payload.len = (size_t) (second - first - 1);
    parts->signature.text = second + 1;
    parts->signature.len = (size_t) (end - second - 1);
    parts->signed_len = (size_t) (second - text);

    return MS_TOKEN_OK;
}


static json_t *
ms_token_object(const ms_part_t *part)
{
    size_t         len;
    unsigned char  buf[MS_BASE64URL_DECODED(MS_TOKEN_MAX)];

    if (ms_base64url_decode(buf, &len, part->text, part->len) != 0) {
        return NULL;
    }

    return ms_json_object(buf, len);
}


/* RFC 8725 section 3.11: only tokens that say they are a JWT for access. */
static bool
ms_token_type_ok(const json_t *header)
{
    const char    *text;
    const json_t  *typ;

    typ = json_object_get(header, "typ");
    if (typ == NULL) {
        return true;
    }

    text = json_string_value(typ);

    return text != NULL
           && (strcasecmp(text, "JWT") == 0 || strcasecmp(text, "at+jwt") == 0);
}


static ms_token_reason_t
ms_token_keys(const ms_keys_t *keys, const json_t *header,
    const ms_key_t **list, size_t *n)
{
    int            alg;
    const char    *kid_text;
    const json_t  *name, *kid;

    name = json_object_get(header, "alg");
    kid = json_object_get(header, "kid");

    if (!json_is_string(name)) {
        return MS_TOKEN_ALGORITHM;
    }

    if (json_object_get(header, "crit") != NULL) {
        return MS_TOKEN_CRITICAL;
    }

    if (!ms_token_type_ok(header) || (kid != NULL && !json_is_string(kid))) {
        return MS_TOKEN_MALFORMED;
    }

    alg = ms_alg_find(json_string_value(name), json_string_length(name));
    if (alg < 0 || !(keys->allowed & MS_ALG_BIT(alg))) {
        return MS_TOKEN_ALGORITHM;
    }

    kid_text = json_string_value(kid);

    *n = ms_keys_select(keys, alg, kid_text, list);
    if (*n > 0) {
        return MS_TOKEN_OK;
    }

    return kid != NULL && !ms_keys_has_kid(keys, kid_text,
                                           json_string_length(kid))
           ? MS_TOKEN_KEY : MS_TOKEN_ALGORITHM;
}


/* The first key that says yes; a fault of one is no reason to ask another. */
static ms_token_reason_t
ms_token_signature(const ms_key_t **list, size_t n, const char *text,
    const ms_parts_t *parts)
{
    int            rc;
    size_t         i, len;
    unsigned char  signature[MS_BASE64URL_DECODED(MS_TOKEN_MAX)];

    if (ms_base64url_decode(signature, &len, parts->signature.text,
                            parts->signature.len)
        != 0)
    {
        return MS_TOKEN_MALFORMED;
    }

    for (i = 0; i < n; i++) {
        rc = ms_key_verify(list[i], (const unsigned char *) text,
                           parts->signed_len, signature, len);
        if (rc != 0) {
            return rc == 1 ? MS_TOKEN_OK : MS_TOKEN_INTERNAL;
        }
    }

    return MS_TOKEN_SIGNATURE;
}


static ms_token_reason_t
ms_token_authentic(const ms_keys_t *keys, const char *text,
    const ms_parts_t *parts, ms_token_t *token)
{
    size_t              n;
    const ms_key_t     *list[MS_KEYS_TRIED];
    ms_token_reason_t   reason;

    token->header = ms_token_object(&parts->header);
    if (token->header == NULL) {
        return MS_TOKEN_MALFORMED;
    }

    token->kid = json_string_value(json_object_get(token->header, "kid"));

    reason = ms_token_keys(keys, token->header, list, &n);
    if (reason != MS_TOKEN_OK) {
        return reason;
    }

    return ms_token_signature(list, n, text, parts);
}


/*
 * A NumericDate (RFC 7519 section 2), rounded to the second that is stricter:
 * "up" for the beginning of validity.
 */
static bool
ms_token_time(const json_t *value, bool up, int64_t *seconds)
{
    double   real;
    int64_t  number;

    if (json_is_integer(value)) {
        number = json_integer_value(value);

    } else if (json_is_real(value)) {
        real = json_real_value(value);
        if (!(real >= 0 && real <= (double) MS_TIME_MAX)) {
            return false;
        }

        number = (int64_t) real;
        number += up && (double) number < real;

    } else {
        return false;
    }

    *seconds = number;

    return number >= 0 && number <= MS_TIME_MAX;
}


/* "nbf" or "iat": may be absent, must not be in the future. */
static ms_token_reason_t
ms_token_begun(const json_t *value, int64_t leeway, int64_t now)
{
    int64_t  begin;

    if (value == NULL) {
        return MS_TOKEN_OK;
    }

    if (!ms_token_time(value, true, &begin)) {
        return MS_TOKEN_CLAIM;
    }

    return begin - leeway > now ? MS_TOKEN_NOT_YET : MS_TOKEN_OK;
}


/* "claim" is the string, or an array of strings of which one is it. */
static bool
ms_token_among(const json_t *claim, const char *value)
{
    bool         found;
    size_t       i, n;
    const char  *text;

    if (!json_is_array(claim)) {
        text = json_string_value(claim);
        return text != NULL && strcmp(text, value) == 0;
    }

    found = false;
    n = json_array_size(claim);

    for (i = 0; i < n; i++) {
        text = json_string_value(json_array_get(claim, i));
        if (text == NULL) {
            return false;
        }

        found |= strcmp(text, value) == 0;
    }

    return found;
}


static ms_token_reason_t
ms_token_required(const json_t *claims, const ms_token_rules_t *rules)
{
    size_t         i;
    const char    *issuer;
    const json_t  *claim;

    issuer = json_string_value(json_object_get(claims, "iss"));

    if (rules->issuer != NULL
        && (issuer == NULL || strcmp(issuer, rules->issuer) != 0))
    {
        return MS_TOKEN_ISSUER;
    }

    if (rules->audience != NULL
        && !ms_token_among(json_object_get(claims, "aud"), rules->audience))
    {
        return MS_TOKEN_AUDIENCE;
    }

    for (i = 0; i < rules->nrequire; i++) {
        claim = json_object_get(claims, rules->require[i].name);

        if (claim == NULL
            || (rules->require[i].value != NULL
                && !ms_token_among(claim, rules->require[i].value)))
        {
            return MS_TOKEN_CLAIM;
        }
    }

    return MS_TOKEN_OK;
}


static ms_token_reason_t
ms_token_claims(const json_t *claims, const ms_token_rules_t *rules,
    int64_t now, ms_token_t *token)
{
    const json_t       *session;
    ms_token_reason_t   reason, iat, nbf;

    session = json_object_get(claims, rules->session_claim);
    token->session = json_string_value(session);
    token->session_len = json_string_length(session);
    token->role = json_string_value(json_object_get(claims, "role"));

    if (token->session_len == 0
        || !ms_token_time(json_object_get(claims, "exp"), false,
                          &token->expires))
    {
        return MS_TOKEN_CLAIM;
    }

    reason = ms_token_required(claims, rules);
    if (reason != MS_TOKEN_OK) {
        return reason;
    }

    iat = ms_token_begun(json_object_get(claims, "iat"), rules->leeway, now);
    nbf = ms_token_begun(json_object_get(claims, "nbf"), rules->leeway, now);

    if (iat == MS_TOKEN_CLAIM || nbf == MS_TOKEN_CLAIM) {
        return MS_TOKEN_CLAIM;
    }

    if (iat != MS_TOKEN_OK || nbf != MS_TOKEN_OK) {
        return MS_TOKEN_NOT_YET;
    }

    return now - rules->leeway >= token->expires ? MS_TOKEN_EXPIRED
                                                 : MS_TOKEN_OK;
}


/* The payload is not looked at before the signature is known to be right. */
ms_token_reason_t
ms_token_verify(const ms_keys_t *keys, const char *text, size_t len,
    const ms_token_rules_t *rules, int64_t now, ms_token_t *token)
{
    ms_parts_t         parts;
    ms_token_reason_t  reason;

    memset(token, 0, sizeof(ms_token_t));

    if (len == 0) {
        return MS_TOKEN_MISSING;
    }

    if (len > MS_TOKEN_MAX) {
        return MS_TOKEN_TOO_LONG;
    }

    reason = ms_token_split(text, len, &parts);
    if (reason != MS_TOKEN_OK) {
        return reason;
    }

    reason = ms_token_authentic(keys, text, &parts, token);
    if (reason != MS_TOKEN_OK) {
        goto done;
    }

    token->claims = ms_token_object(&parts.payload);
    if (token->claims == NULL) {
        reason = MS_TOKEN_MALFORMED;
        goto done;
    }

    reason = ms_token_claims(token->claims, rules, now, token);

done:

    if (reason != MS_TOKEN_OK) {
        ms_token_free(token);
    }

    return reason;
}


void
ms_token_free(ms_token_t *token)
{
    json_decref(token->header);
    json_decref(token->claims);
    memset(token, 0, sizeof(ms_token_t));
}


int
ms_token_unverified_kid(const char *text, size_t len, char *buf, size_t size)
{
    int            rc;
    json_t        *header;
    ms_parts_t     parts;
    const json_t  *kid;

    if (len > MS_TOKEN_MAX
        || ms_token_split(text, len, &parts) != MS_TOKEN_OK)
    {
        return -1;
    }

    header = ms_token_object(&parts.header);
    kid = json_object_get(header, "kid");
    rc = -1;

    if (json_is_string(kid) && json_string_length(kid) < size) {
        memcpy(buf, json_string_value(kid), json_string_length(kid) + 1);
        rc = 0;
    }

    json_decref(header);

    return rc;
}


static bool
ms_token_space(char c)
{
    return c == ' ' || c == '\t';
}


void
ms_token_strip(const char **text, size_t *len)
{
    size_t       n;
    const char  *p;

    p = *text;
    n = *len;

    while (n > 0 && ms_token_space(p[n - 1])) {
        n--;
    }

    while (n > 0 && ms_token_space(*p)) {
        p++;
        n--;
    }

    if (n >= 6 && strncasecmp(p, "Bearer", 6) == 0
        && (n == 6 || ms_token_space(p[6])))
    {
        p += 6;
        n -= 6;
    }

    while (n > 0 && ms_token_space(*p)) {
        p++;
        n--;
    }

    *text = p;
    *len = n;
}


int
ms_session_valid(const char *text, size_t len)
{
    size_t  i;

    if (len == 0 || len > MS_SESSION_MAX) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if (text[i] < 0x21 || text[i] > 0x7e) {
            return 0;
        }
    }

    return 1;
}
