/*
 * libFuzzer: tokens.  An input is a token; or, when it begins with '{', header
 * and claims with a newline in between, which are signed here, so that what is
 * behind the signature is reached, too.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "jwt/base64url.h"
#include "jwt/token.h"


#define NOW     1700000000
#define SECRET  "0123456789abcdef0123456789abcdef"

#define must(condition)                                                       \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "not true: %s\n", #condition);                    \
            abort();                                                          \
        }                                                                     \
    } while (0)


/* one of each kind; the private ones are nowhere */
static const char  sets[] =
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
    "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\",\"kid\":\"e\"},"
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
    "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\",\"kid\":\"o\"},"
    "{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji"
    "9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNM"
    "sD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rex"
    "MdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9"
    "kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDT"
    "W9gb54h4FRWyuXpoQ\",\"e\":\"AQAB\",\"kid\":\"r\"}]}";

static ms_keys_t  *keys;

static const ms_token_claim_t  required[] = {
    { "scope", NULL }, { "role", "admin" }
};

static const ms_token_rules_t  rules[] = {
    { .session_claim = "session_id", .leeway = 10 },
    { .session_claim = "sub", .issuer = "i", .audience = "a",
      .require = required, .nrequire = 2 }
};


int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char        error[256];
    ms_keys_t  *more;

    (void) argc;
    (void) argv;

    json_object_seed(1);
    keys = ms_keys_from_secret(SECRET, strlen(SECRET), NULL, error,
                               sizeof(error));
    more = ms_keys_parse(sets, strlen(sets), NULL, error, sizeof(error));
    must(keys != NULL && more != NULL);
    must(ms_keys_join(&keys, more, error, sizeof(error)) == 0);

    return 0;
}


static size_t
encode(char *out, const unsigned char *data, size_t len)
{
    size_t  i, n;

    n = (size_t) EVP_EncodeBlock((unsigned char *) out, data, (int) len);

    while (n > 0 && out[n - 1] == '=') {
        n--;
    }

    for (i = 0; i < n; i++) {
        out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
    }

    return n;
}


/* header \n claims -> a token; its length */
static size_t
sign(char *token, const uint8_t *data, size_t size)
{
    size_t          n, head;
    unsigned        len;
    const uint8_t  *newline;
    unsigned char   mac[EVP_MAX_MD_SIZE];

    newline = memchr(data, '\n', size);
    head = newline != NULL ? (size_t) (newline - data) : size;

    n = encode(token, data, head);
    token[n++] = '.';

    if (newline != NULL) {
        n += encode(token + n, newline + 1, size - head - 1);
    }

    must(HMAC(EVP_sha256(), SECRET, (int) strlen(SECRET),
              (unsigned char *) token, n, mac, &len) != NULL);
    token[n++] = '.';

    return n + encode(token + n, mac, len);
}


static void
check(const char *text, size_t len, const ms_token_rules_t *r)
{
    ms_token_t         token, again;
    ms_token_reason_t  reason;

    reason = ms_token_verify(keys, text, len, r, NOW, &token);
    must(reason < MS_TOKEN_REASONS && reason != MS_TOKEN_INTERNAL);
    must(ERR_peek_error() == 0);

    if (reason != MS_TOKEN_OK) {
        must(token.header == NULL && token.claims == NULL
             && token.session == NULL && token.kid == NULL);
        return;
    }

    must(token.session_len > 0 && strlen(token.session) == token.session_len);
    must(token.expires > NOW - r->leeway);
    must(json_object_get(token.header, "crit") == NULL);

    /* the same twice; not a byte less; not before its time is over */
    must(ms_token_verify(keys, text, len, r, NOW, &again) == MS_TOKEN_OK);
    ms_token_free(&again);
    must(ms_token_verify(keys, text, len - 1, r, NOW, &again)
         != MS_TOKEN_OK);
    must(ms_token_verify(keys, text, len, r, token.expires + r->leeway,
                         &again)
         == MS_TOKEN_EXPIRED);
    ms_token_free(&token);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char        *token, kid[64];
    size_t       len, i;
    const char  *text;

    token = malloc(size * 2 + 128);
    must(token != NULL);

    if (size > 0 && data[0] == '{') {
        len = sign(token, data, size);
    } else {
        memcpy(token, data, size);
        len = size;
    }

    for (i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        check(token, len, &rules[i]);
    }

    if (ms_token_unverified_kid(token, len, kid, sizeof(kid)) == 0) {
        must(strlen(kid) < sizeof(kid));
    }

    text = token;
    i = len;
    ms_token_strip(&text, &i);
    must(i <= len && text >= token && text + i <= token + len);
    (void) ms_session_valid(text, i);

    free(token);

    return 0;
}
