/*
 * Forged tokens: what an attacker who has a good token, but no key, can make
 * from it.
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "itests/forge.h"


#define GARBAGE  4096

#define OTHER_KEY          "an attacker's own key of 32 bytes!!"
#define OTHER_KEY_ED25519  32           /* bytes of it */


typedef struct {
    char  *header;
    char  *claims;
    char  *signature;
} parts_t;


static char *
forge_print(const char *fmt, ...)
{
    int      rc;
    char    *text;
    va_list  args;

    va_start(args, fmt);
    rc = vasprintf(&text, fmt, args);
    va_end(args);

    if (rc == -1) {
        abort();
    }

    return text;
}


/* The three parts as they are in the token; one block of memory. */

static parts_t
forge_split(const char *token)
{
    char     *rest;
    parts_t   parts;

    rest = forge_print("%s", token);

    parts.header = strsep(&rest, ".");
    parts.claims = strsep(&rest, ".");
    parts.signature = rest;

    if (parts.claims == NULL || parts.signature == NULL) {
        parts.claims = parts.header + strlen(parts.header);
        parts.signature = parts.claims;
    }

    return parts;
}


static char *
forge_encode(const void *bytes, size_t len)
{
    char  *p, *text;

    text = malloc(len * 4 / 3 + 8);
    if (text == NULL) {
        abort();
    }

    EVP_EncodeBlock((unsigned char *) text, bytes, (int) len);

    for (p = text; *p != '\0' && *p != '='; p++) {
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
    }

    *p = '\0';

    return text;
}


static json_t *
forge_decode(const char *text)
{
    int             n;
    char           *p, *padded;
    size_t          len;
    json_t         *json;
    unsigned char  *bytes;

    len = strlen(text);
    padded = forge_print("%s%.*s", text, (int) ((4 - len % 4) % 4), "===");

    for (p = padded; *p != '\0'; p++) {
        *p = *p == '-' ? '+' : *p == '_' ? '/' : *p;
    }

    bytes = malloc(strlen(padded) + 1);
    if (bytes == NULL) {
        abort();
    }

    n = EVP_DecodeBlock(bytes, (unsigned char *) padded,
                        (int) strlen(padded));
    n -= (int) ((4 - len % 4) % 4);

    json = n > 0 ? json_loadb((char *) bytes, (size_t) n, 0, NULL) : NULL;

    free(bytes);
    free(padded);

    return json != NULL ? json : json_object();
}


static char *
forge_json(json_t *json)
{
    char  *text, *encoded;

    text = json_dumps(json, JSON_COMPACT);
    if (text == NULL) {
        abort();
    }

    encoded = forge_encode(text, strlen(text));
    free(text);
    json_decref(json);

    return encoded;
}


/* The token with another header and other claims; NULL keeps a part.  Takes
 * the objects. */

static char *
forge_replace(const char *token, json_t *header, json_t *claims,
    const char *signature)
{
    char     *h, *c, *forged;
    parts_t   parts;

    parts = forge_split(token);

    h = header != NULL ? forge_json(header) : NULL;
    c = claims != NULL ? forge_json(claims) : NULL;

    forged = forge_print("%s.%s.%s", h != NULL ? h : parts.header,
                         c != NULL ? c : parts.claims,
                         signature != NULL ? signature : parts.signature);
    free(h);
    free(c);
    free(parts.header);

    return forged;
}


static json_t *
forge_claims(const char *token)
{
    json_t   *claims;
    parts_t   parts;

    parts = forge_split(token);
    claims = forge_decode(parts.claims);
    free(parts.header);

    return claims;
}


/* "alg" without a signature, for the session to break into */

static char *
forge_alg(const char *token, const char *session, const char *alg,
    const char *signature)
{
    json_t  *claims;

    claims = forge_claims(token);
    json_object_set_new(claims, "session_id", json_string(session));

    return forge_replace(token, json_pack("{s:s, s:s}", "alg", alg, "typ",
                                          "JWT"), claims, signature);
}


static char *
forge_none(const char *token, const char *session)
{
    return forge_alg(token, session, "none", "");
}


static char *
forge_none_signed(const char *token, const char *session)
{
    return forge_alg(token, session, "none", NULL);
}


static char *
forge_none_capital(const char *token, const char *session)
{
    return forge_alg(token, session, "None", "");
}


static char *
forge_none_upper(const char *token, const char *session)
{
    return forge_alg(token, session, "NONE", "");
}


static char *
forge_none_mixed(const char *token, const char *session)
{
    return forge_alg(token, session, "nOnE", "");
}


static char *
forge_alg_empty(const char *token, const char *session)
{
    return forge_alg(token, session, "", "");
}


static char *
forge_alg_missing(const char *token, const char *session)
{
    json_t  *claims;

    claims = forge_claims(token);
    json_object_set_new(claims, "session_id", json_string(session));

    return forge_replace(token, json_pack("{s:s}", "typ", "JWT"), claims,
                         "");
}


static char *
forge_alg_other(const char *token, const char *session)
{
    return forge_alg(token, session, "HS512", NULL);
}


static char *
forge_signature_empty(const char *token, const char *session)
{
    (void) session;

    return forge_replace(token, NULL, NULL, "");
}


static char *
forge_signature_missing(const char *token, const char *session)
{
    char  *forged;

    (void) session;

    forged = forge_print("%s", token);
    *strrchr(forged, '.') = '\0';

    return forged;
}


static char *
forge_signature_shorter(const char *token, const char *session)
{
    (void) session;

    return forge_print("%.*s", (int) strlen(token) - 1, token);
}


static char *
forge_signature_half(const char *token, const char *session)
{
    char     *forged;
    parts_t   parts;

    (void) session;

    parts = forge_split(token);
    parts.signature[strlen(parts.signature) / 2] = '\0';
    forged = forge_replace(token, NULL, NULL, parts.signature);
    free(parts.header);

    return forged;
}


static char *
forge_signature_longer(const char *token, const char *session)
{
    (void) session;

    return forge_print("%sAAAA", token);
}


static json_t *
forge_header(const char *token)
{
    json_t   *header;
    parts_t   parts;

    parts = forge_split(token);
    header = forge_decode(parts.header);
    free(parts.header);

    return header;
}


/* Signs with a key that the attacker has made: a key pair or a secret. */

static size_t
forge_sign(const char *text, bool pair, unsigned char mac[EVP_MAX_MD_SIZE])
{
    bool         ok;
    size_t       len;
    unsigned     n;
    EVP_PKEY    *key;
    EVP_MD_CTX  *ctx;

    if (!pair) {
        if (HMAC(EVP_sha256(), OTHER_KEY, sizeof(OTHER_KEY) - 1,
                 (const unsigned char *) text, strlen(text), mac, &n) == NULL)
        {
            abort();
        }

        return n;
    }

    len = EVP_MAX_MD_SIZE;
    ctx = EVP_MD_CTX_new();
    key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL,
              (const unsigned char *) OTHER_KEY, OTHER_KEY_ED25519);

    ok = ctx != NULL && key != NULL
         && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1
         && EVP_DigestSign(ctx, mac, &len, (const unsigned char *) text,
                           strlen(text)) == 1;

    EVP_PKEY_free(key);
    EVP_MD_CTX_free(ctx);

    if (!ok) {
        abort();
    }

    return len;
}


/* Replaces the session in the claims and signs again. Takes the header. */

static char *
forge_signed(const char *token, const char *session, json_t *header, bool pair)
{
    char           *text, *signature, *forged;
    json_t         *claims;
    size_t          len;
    unsigned char   mac[EVP_MAX_MD_SIZE];

    claims = forge_claims(token);
    json_object_set_new(claims, "session_id", json_string(session));

    text = forge_replace(token, header, claims, "");
    *strrchr(text, '.') = '\0';

    len = forge_sign(text, pair, mac);
    signature = forge_encode(mac, len);
    forged = forge_print("%s.%s", text, signature);

    free(signature);
    free(text);

    return forged;
}


static char *
forge_other_key(const char *token, const char *session)
{
    bool         pair;
    json_t      *header;
    const char  *alg;

    header = forge_header(token);
    alg = json_string_value(json_object_get(header, "alg"));
    pair = alg != NULL && strcmp(alg, "EdDSA") == 0;

    return forge_signed(token, session, header, pair);
}


/* A verifier that trusts the token's "alg" would use its public key as a
 * secret. */

static char *
forge_alg_secret(const char *token, const char *session)
{
    json_t  *header;

    header = forge_header(token);
    json_object_set_new(header, "alg", json_string("HS256"));

    return forge_signed(token, session, header, false);
}


static char *
forge_alg_pair(const char *token, const char *session)
{
    json_t  *header;

    header = forge_header(token);
    json_object_set_new(header, "alg", json_string("EdDSA"));

    return forge_signed(token, session, header, true);
}


static char *
forge_claim_session(const char *token, const char *session)
{
    json_t  *claims;

    claims = forge_claims(token);
    json_object_set_new(claims, "session_id", json_string(session));

    return forge_replace(token, NULL, claims, NULL);
}


static char *
forge_claim_role(const char *token, const char *session)
{
    json_t  *claims;

    (void) session;

    claims = forge_claims(token);
    json_object_set_new(claims, "role", json_string("root"));

    return forge_replace(token, NULL, claims, NULL);
}


static char *
forge_claim_exp(const char *token, const char *session)
{
    json_t  *claims;

    (void) session;

    claims = forge_claims(token);
    json_object_set_new(claims, "exp",
                        json_integer((json_int_t) time(NULL) + 864000));

    return forge_replace(token, NULL, claims, NULL);
}


static char *
forge_glued(const char *token, const char *session)
{
    (void) session;

    return forge_print("%s%s", token, token);
}


static char *
forge_glued_dot(const char *token, const char *session)
{
    (void) session;

    return forge_print("%s.%s", token, token);
}


static char *
forge_glued_comma(const char *token, const char *session)
{
    (void) session;

    return forge_print("%s, %s", token, token);
}


static char *
forge_glued_bearer(const char *token, const char *session)
{
    (void) session;

    return forge_print("Bearer %s Bearer %s", token, token);
}


/* Looks random, but is the same in every run. */

static char *
forge_noise(bool dots)
{
    int           i;
    char         *text;
    unsigned      state;
    const char    letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop"
                              "qrstuvwxyz0123456789-_";

    text = malloc(GARBAGE + 1);
    if (text == NULL) {
        abort();
    }

    state = 1;

    for (i = 0; i < GARBAGE; i++) {
        state = state * 1103515245 + 12345;
        text[i] = letters[(state >> 16) % 64];
    }

    if (dots) {
        text[GARBAGE / 3] = '.';
        text[GARBAGE / 3 * 2] = '.';
    }

    text[GARBAGE] = '\0';

    return text;
}


static char *
forge_garbage(const char *token, const char *session)
{
    (void) token;
    (void) session;

    return forge_noise(false);
}


static char *
forge_garbage_parts(const char *token, const char *session)
{
    (void) token;
    (void) session;

    return forge_noise(true);
}


const forgery_t  forgeries[] = {
    { "alg \"none\", no signature", forge_none, true },
    { "alg \"none\", old signature", forge_none_signed, true },
    { "alg \"None\"", forge_none_capital, true },
    { "alg \"NONE\"", forge_none_upper, true },
    { "alg \"nOnE\"", forge_none_mixed, true },
    { "alg \"\"", forge_alg_empty, true },
    { "no alg", forge_alg_missing, true },
    { "alg \"HS512\", old signature", forge_alg_other, true },
    { "empty signature", forge_signature_empty, false },
    { "no signature part", forge_signature_missing, false },
    { "signature one character shorter", forge_signature_shorter, false },
    { "half the signature", forge_signature_half, false },
    { "signature longer", forge_signature_longer, false },
    { "signed with another key", forge_other_key, true },
    { "alg \"HS256\", signed with a secret", forge_alg_secret, true },
    { "alg \"EdDSA\", signed with another key", forge_alg_pair, true },
    { "session_id edited", forge_claim_session, true },
    { "role edited", forge_claim_role, false },
    { "exp edited", forge_claim_exp, false },
    { "two tokens glued", forge_glued, false },
    { "two tokens glued with a dot", forge_glued_dot, false },
    { "two tokens glued with a comma", forge_glued_comma, false },
    { "two tokens, each after Bearer", forge_glued_bearer, false },
    { "4 kB of garbage", forge_garbage, false },
    { "4 kB of garbage in three parts", forge_garbage_parts, false },
    { NULL, NULL, false }
};
