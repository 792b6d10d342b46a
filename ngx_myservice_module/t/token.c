/* Tokens and keys, signed by libjwt. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <check.h>
#include <jwt.h>
#include <openssl/evp.h>

#include "token.h"


#define TOKENS_MAX  8192


/* Tokens stay valid until the test ends. */
static char   *token_list[TOKENS_MAX];
static size_t  token_count;


const char *
token_sign(const char *claims, const char *alg, const char *secret)
{
    return token_sign_kid(claims, alg, secret, NULL);
}


const char *
token_sign_kid(const char *claims, const char *alg, const char *secret,
    const char *kid)
{
    jwt_t      *jwt;
    char       *text;
    jwt_alg_t   id;

    id = jwt_str_alg(alg);
    ck_assert_int_eq(jwt_new(&jwt), 0);
    ck_assert_int_eq(jwt_add_grants_json(jwt, claims), 0);
    ck_assert_int_eq(jwt_set_alg(jwt, id,
                                 secret != NULL ? (const unsigned char *) secret
                                                : NULL,
                                 secret != NULL ? (int) strlen(secret) : 0),
                     0);
    ck_assert(kid == NULL || jwt_add_header(jwt, "kid", kid) == 0);
    text = jwt_encode_str(jwt);
    ck_assert_ptr_nonnull(text);
    jwt_free(jwt);

    ck_assert_uint_lt(token_count, TOKENS_MAX);
    token_list[token_count++] = text;

    return text;
}


const char *
token_make(const char *session, long lifetime)
{
    char    claims[1024];
    time_t  now;

    now = time(NULL);
    snprintf(claims, sizeof(claims),
             "{\"sub\":\"tester\",\"role\":\"admin\",\"iss\":\"myservice\","
             "\"session_id\":\"%s\",\"jti\":\"t\",\"iat\":%lld,"
             "\"nbf\":%lld,\"exp\":%lld}",
             session, (long long) now, (long long) now,
             (long long) now + lifetime);

    return token_sign(claims, "HS256", TOKEN_SECRET);
}


const char *
token_keep(char *text)
{
    ck_assert_uint_lt(token_count, TOKENS_MAX);
    token_list[token_count++] = text;

    return text;
}


const char *
token_jwk(const char *kid, const char *secret)
{
    int    n;
    char   base64[512], *p, *text;

    ck_assert_uint_lt(strlen(secret), 256);
    n = EVP_EncodeBlock((unsigned char *) base64,
                        (const unsigned char *) secret, (int) strlen(secret));

    while (n > 0 && base64[n - 1] == '=') {
        base64[--n] = '\0';
    }

    for (p = base64; *p != '\0'; p++) {
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
    }

    ck_assert_int_gt(asprintf(&text, "{\"kty\":\"oct\",\"kid\":\"%s\","
                              "\"alg\":\"HS256\",\"k\":\"%s\"}",
                              kid, base64), 0);

    return token_keep(text);
}


const char *
token_set(const char *one, const char *two)
{
    char  *text;

    ck_assert_int_gt(asprintf(&text, "{\"keys\":[%s%s%s]}", one,
                              two != NULL ? "," : "",
                              two != NULL ? two : ""), 0);

    return token_keep(text);
}
