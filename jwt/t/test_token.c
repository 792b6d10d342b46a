/* The verification of tokens, rule by rule. */

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jwt/t/forge.h"
#include "jwt/token.h"


#define SECRET   "0123456789abcdef0123456789abcdef"
#define OTHER    "0123456789abcdef0123456789abcdeF"
#define HS256    "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define NOW      1700000000
#define LEEWAY   10

/* a good token's claims, by which every negative is checked, too */
#define GOOD     "{\"session_id\":\"s1\",\"exp\":1700000100}"


static const ms_token_rules_t  rules = {
    .leeway = LEEWAY, .session_claim = "session_id"
};

static ms_keys_t  *keys;


static void
setup(void)
{
    char  error[128];

    keys = ms_keys_from_secret(SECRET, strlen(SECRET), NULL, error,
                               sizeof(error));
    ck_assert_ptr_nonnull(keys);
}


static void
teardown(void)
{
    ms_keys_free(keys);
}


static ms_token_reason_t
verify(const char *text, size_t len)
{
    ms_token_t         token;
    ms_token_reason_t  reason;

    reason = ms_token_verify(keys, text, len, &rules, NOW, &token);

    if (reason != MS_TOKEN_OK) {
        ck_assert_ptr_null(token.claims);
        ck_assert_ptr_null(token.session);
        return reason;
    }

    ck_assert_ptr_nonnull(token.claims);
    ck_assert_uint_gt(token.session_len, 0);
    ms_token_free(&token);
    ck_assert_ptr_null(token.claims);

    return reason;
}


#define assert_reason(text, reason)                                           \
    ck_assert_str_eq(ms_token_reasons[verify(text, strlen(text))].name,       \
                     ms_token_reasons[reason].name)


/* takes ownership of "token" */
static void
assert_forged(char *token, ms_token_reason_t reason)
{
    ck_assert_ptr_nonnull(token);
    assert_reason(token, reason);
    free(token);
}


static const struct {
    const char         *header;
    ms_token_reason_t   reason;
} headers[] = {
    { HS256, MS_TOKEN_OK },
    { "{\"alg\":\"HS256\"}", MS_TOKEN_OK },
    { " {\"alg\" :\t\"HS256\"\n}", MS_TOKEN_OK },
    { "{\"\\u0061lg\":\"HS256\"}", MS_TOKEN_OK },
    { "{\"alg\":\"HS256\",\"typ\":\"jwt\"}", MS_TOKEN_OK },
    { "{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}", MS_TOKEN_OK },
    { "{\"alg\":\"HS256\",\"kid\":\"any\"}", MS_TOKEN_OK },
    { "{\"alg\":\"HS256\",\"x\":[[[[[[[]]]]]]]}", MS_TOKEN_OK },
    { "{\"alg\":\"HS256\",\"x\":\"[[[[[[[[[[[[\\\"[\"}", MS_TOKEN_OK },

    { "{\"alg\":\"none\"}", MS_TOKEN_ALGORITHM },
    { "{\"alg\":\"None\"}", MS_TOKEN_ALGORITHM },
    { "{\"alg\":\"NONE\"}", MS_TOKEN_ALGORITHM },
    { "{\"alg\":\"nOnE\"}", MS_TOKEN_ALGORITHM },
    { "{\"alg\":\"none \"}", MS_TOKEN_ALGORITHM },
    { "{\"alg\":\"n\\u006fne\"}", MS_TOKEN_ALGORITHM },
    { "{\"alg\":\"\"}", MS_TOKEN_ALGORITHM },
    { "{\"alg\":null}", MS_TOKEN_ALGORITHM },
    { "{\"alg\":[\"HS256\"]}", MS_TOKEN_ALGORITHM },
    { "{\"alg\":256}", MS_TOKEN_ALGORITHM },
    { "{\"alg\":\"hs256\"}", MS_TOKEN_ALGORITHM },
    { "{\"alg\":\"HS256 \"}", MS_TOKEN_ALGORITHM },
    { "{\"alg\":\"HS384\"}", MS_TOKEN_ALGORITHM },
    { "{\"alg\":\"RS256\"}", MS_TOKEN_ALGORITHM },
    { "{\"Alg\":\"HS256\"}", MS_TOKEN_ALGORITHM },
    { "{\"typ\":\"JWT\"}", MS_TOKEN_ALGORITHM },
    { "{}", MS_TOKEN_ALGORITHM },

    { "{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", MS_TOKEN_CRITICAL },
    { "{\"alg\":\"HS256\",\"crit\":[]}", MS_TOKEN_CRITICAL },
    { "{\"alg\":\"HS256\",\"crit\":null}", MS_TOKEN_CRITICAL },
    { "{\"alg\":\"none\",\"crit\":[\"b64\"]}", MS_TOKEN_CRITICAL },

    { "{\"alg\":\"HS256\",\"alg\":\"none\"}", MS_TOKEN_MALFORMED },
    { "{\"alg\":\"none\",\"alg\":\"HS256\"}", MS_TOKEN_MALFORMED },
    { "{\"alg\":\"HS256\",\"\\u0061lg\":\"HS256\"}", MS_TOKEN_MALFORMED },
    { "{\"alg\":\"HS256\",\"typ\":\"JWE\"}", MS_TOKEN_MALFORMED },
    { "{\"alg\":\"HS256\",\"typ\":\"dpop+jwt\"}", MS_TOKEN_MALFORMED },
    { "{\"alg\":\"HS256\",\"typ\":\"\"}", MS_TOKEN_MALFORMED },
    { "{\"alg\":\"HS256\",\"typ\":1}", MS_TOKEN_MALFORMED },
    { "{\"alg\":\"HS256\",\"typ\":null}", MS_TOKEN_MALFORMED },
    { "{\"alg\":\"HS256\",\"kid\":1}", MS_TOKEN_MALFORMED },
    { "{\"alg\":\"HS256\\u0000\"}", MS_TOKEN_MALFORMED },
    { "{\"alg\":\"HS256\"}x", MS_TOKEN_MALFORMED },
    { "{\"alg\":\"HS256\"}{}", MS_TOKEN_MALFORMED },
    { "{\"alg\":\"HS256\"", MS_TOKEN_MALFORMED },
    { "{\"alg\":\"HS256\",}", MS_TOKEN_MALFORMED },
    { "{'alg':'HS256'}", MS_TOKEN_MALFORMED },
    { "{\"alg\":\"HS256\",\"x\":[[[[[[[[]]]]]]]]}", MS_TOKEN_MALFORMED },
    { "{\"alg\":\"HS256\",\"x\":\"\xff\"}", MS_TOKEN_MALFORMED },
    { "[\"HS256\"]", MS_TOKEN_MALFORMED },
    { "\"HS256\"", MS_TOKEN_MALFORMED },
    { "null", MS_TOKEN_MALFORMED },
    { "", MS_TOKEN_MALFORMED }
};


START_TEST(test_headers)
{
    assert_forged(forge(HS256, GOOD, SECRET), MS_TOKEN_OK);
    assert_forged(forge(headers[_i].header, GOOD, SECRET),
                  headers[_i].reason);
}
END_TEST


/* "alg" none as such attacks come: with the signature left away. */
START_TEST(test_none)
{
    char      header[64], name[] = "none", *token;
    size_t    i;
    unsigned  bits;

    for (bits = 0; bits < 16; bits++) {
        for (i = 0; i < 4; i++) {
            name[i] = bits & (1U << i) ? "NONE"[i] : "none"[i];
        }

        snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", name);
        token = forge(header, GOOD, SECRET);
        assert_reason(token, MS_TOKEN_ALGORITHM);

        strrchr(token, '.')[1] = '\0';
        assert_forged(token, MS_TOKEN_ALGORITHM);
    }
}
END_TEST


static const struct {
    const char         *claims;
    ms_token_reason_t   reason;
} claims[] = {
    { GOOD, MS_TOKEN_OK },
    { "{\"session_id\":\"s\",\"exp\":1699999991}", MS_TOKEN_OK },
    { "{\"session_id\":\"s\",\"exp\":1699999990}", MS_TOKEN_EXPIRED },
    { "{\"session_id\":\"s\",\"exp\":0}", MS_TOKEN_EXPIRED },
    { "{\"session_id\":\"s\",\"exp\":1700000100.5}", MS_TOKEN_OK },
    { "{\"session_id\":\"s\",\"exp\":1.7000001e9}", MS_TOKEN_OK },
    { "{\"session_id\":\"s\",\"exp\":1699999990.9}", MS_TOKEN_EXPIRED },
    { "{\"session_id\":\"s\",\"exp\":9007199254740991}", MS_TOKEN_OK },
    { "{\"session_id\":\"s\",\"exp\":9007199254740992}", MS_TOKEN_CLAIM },
    { "{\"session_id\":\"s\",\"exp\":9223372036854775807}", MS_TOKEN_CLAIM },
    { "{\"session_id\":\"s\",\"exp\":9223372036854775808}",
      MS_TOKEN_MALFORMED },
    { "{\"session_id\":\"s\",\"exp\":1e300}", MS_TOKEN_CLAIM },
    { "{\"session_id\":\"s\",\"exp\":1e999}", MS_TOKEN_MALFORMED },
    { "{\"session_id\":\"s\",\"exp\":-1}", MS_TOKEN_CLAIM },
    { "{\"session_id\":\"s\",\"exp\":-9223372036854775808}", MS_TOKEN_CLAIM },
    { "{\"session_id\":\"s\",\"exp\":-0.5}", MS_TOKEN_CLAIM },
    { "{\"session_id\":\"s\",\"exp\":\"1700000100\"}", MS_TOKEN_CLAIM },
    { "{\"session_id\":\"s\",\"exp\":null}", MS_TOKEN_CLAIM },
    { "{\"session_id\":\"s\",\"exp\":true}", MS_TOKEN_CLAIM },
    { "{\"session_id\":\"s\",\"exp\":[1700000100]}", MS_TOKEN_CLAIM },
    { "{\"session_id\":\"s\"}", MS_TOKEN_CLAIM },

    { "{\"exp\":1700000100}", MS_TOKEN_CLAIM },
    { "{\"session_id\":\"\",\"exp\":1700000100}", MS_TOKEN_CLAIM },
    { "{\"session_id\":1,\"exp\":1700000100}", MS_TOKEN_CLAIM },
    { "{\"session_id\":null,\"exp\":1700000100}", MS_TOKEN_CLAIM },
    { "{\"session_id\":[\"s\"],\"exp\":1700000100}", MS_TOKEN_CLAIM },
    { "{\"Session_id\":\"s\",\"exp\":1700000100}", MS_TOKEN_CLAIM },

    { "{\"session_id\":\"s\",\"exp\":1700000100,\"nbf\":1700000010}",
      MS_TOKEN_OK },
    { "{\"session_id\":\"s\",\"exp\":1700000100,\"nbf\":1700000011}",
      MS_TOKEN_NOT_YET },
    { "{\"session_id\":\"s\",\"exp\":1700000100,\"nbf\":1700000010.5}",
      MS_TOKEN_NOT_YET },
    { "{\"session_id\":\"s\",\"exp\":1700000100,\"nbf\":\"0\"}",
      MS_TOKEN_CLAIM },
    { "{\"session_id\":\"s\",\"exp\":1700000100,\"nbf\":-1}",
      MS_TOKEN_CLAIM },
    { "{\"session_id\":\"s\",\"exp\":1700000100,\"nbf\":null}",
      MS_TOKEN_CLAIM },
    { "{\"session_id\":\"s\",\"exp\":1700000100,\"iat\":1700000010}",
      MS_TOKEN_OK },
    { "{\"session_id\":\"s\",\"exp\":1700000100,\"iat\":1700000011}",
      MS_TOKEN_NOT_YET },
    { "{\"session_id\":\"s\",\"exp\":1700000100,\"iat\":\"0\"}",
      MS_TOKEN_CLAIM },
    { "{\"session_id\":\"s\",\"exp\":1700000100,\"iat\":1e17}",
      MS_TOKEN_CLAIM },

    /* a wrong type is told before a wrong time, expiry last */
    { "{\"session_id\":\"s\",\"exp\":0,\"iat\":\"0\"}", MS_TOKEN_CLAIM },
    { "{\"session_id\":\"s\",\"exp\":0,\"iat\":1800000000}",
      MS_TOKEN_NOT_YET },
    { "{\"session_id\":\"s\",\"exp\":0,\"iat\":1800000000,\"nbf\":\"0\"}",
      MS_TOKEN_CLAIM },

    { "{\"session_id\":\"s\",\"exp\":1,\"exp\":1700000100}",
      MS_TOKEN_MALFORMED },
    { "{\"session_id\":\"s\",\"session_id\":\"t\",\"exp\":1700000100}",
      MS_TOKEN_MALFORMED },
    { "{\"session_id\":\"s\",\"exp\":1700000100,\"\\u0065xp\":1}",
      MS_TOKEN_MALFORMED },
    { "{\"session_id\":\"s\\u0000t\",\"exp\":1700000100}",
      MS_TOKEN_MALFORMED },
    { "{\"session_id\":\"s\",\"exp\":1700000100,\"a\\u0000\":1}",
      MS_TOKEN_MALFORMED },
    { "{\"session_id\":\"\xc0\xaf\",\"exp\":1700000100}",
      MS_TOKEN_MALFORMED },
    { "{\"session_id\":\"s\",\"exp\":1700000100,\"x\":[[[[[[[]]]]]]]}",
      MS_TOKEN_OK },
    { "{\"session_id\":\"s\",\"exp\":1700000100,\"x\":[[[[[[[[]]]]]]]]}",
      MS_TOKEN_MALFORMED },
    { "[{\"session_id\":\"s\",\"exp\":1700000100}]", MS_TOKEN_MALFORMED },
    { "{\"session_id\":\"s\",\"exp\":1700000100} x", MS_TOKEN_MALFORMED },
    { "", MS_TOKEN_MALFORMED }
};


START_TEST(test_claims)
{
    assert_forged(forge(HS256, GOOD, SECRET), MS_TOKEN_OK);
    assert_forged(forge(HS256, claims[_i].claims, SECRET),
                  claims[_i].reason);

    /* whatever they say, a wrong signature is told first */
    assert_forged(forge(HS256, claims[_i].claims, OTHER), MS_TOKEN_SIGNATURE);
}
END_TEST


START_TEST(test_raw_nul)
{
    static const char  payload[] =
        "{\"session_id\":\"s\0t\",\"exp\":1700000100}";
    static const char  tail[] =
        "{\"session_id\":\"s\",\"exp\":1700000100}\0";
    static const char  header[] = "{\"alg\":\"HS256\"}\0";

    assert_forged(forge_bytes(HS256, strlen(HS256), tail, sizeof(tail) - 2,
                              SECRET), MS_TOKEN_OK);
    assert_forged(forge_bytes(HS256, strlen(HS256), tail, sizeof(tail) - 1,
                              SECRET), MS_TOKEN_MALFORMED);
    assert_forged(forge_bytes(HS256, strlen(HS256), payload,
                              sizeof(payload) - 1, SECRET),
                  MS_TOKEN_MALFORMED);
    assert_forged(forge_bytes(header, sizeof(header) - 2, GOOD, strlen(GOOD),
                              SECRET), MS_TOKEN_OK);
    assert_forged(forge_bytes(header, sizeof(header) - 1, GOOD, strlen(GOOD),
                              SECRET), MS_TOKEN_MALFORMED);
}
END_TEST


START_TEST(test_libjwt)
{
    int          i;
    char        *text, payload[256];
    ms_token_t   token;

    for (i = 0; i < 50; i++) {
        snprintf(payload, sizeof(payload), "{\"session_id\":\"session-%.*s\","
                 "\"sub\":\"u\",\"role\":\"admin\",\"exp\":%d}", i,
                 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                 NOW + 1 + i);
        text = forge_libjwt(payload, SECRET);
        ck_assert_ptr_nonnull(text);

        ck_assert_int_eq(ms_token_verify(keys, text, strlen(text), &rules,
                                         NOW, &token), MS_TOKEN_OK);
        ck_assert_uint_eq(token.session_len, 8 + i);
        ck_assert_int_eq(token.expires, NOW + 1 + i);
        ck_assert_str_eq(json_string_value(json_object_get(token.claims,
                                                           "role")), "admin");
        ms_token_free(&token);
        free(text);

        assert_forged(forge_libjwt(payload, OTHER), MS_TOKEN_SIGNATURE);
    }
}
END_TEST


/* RFC 7515 appendix A.1; its "iss" is joe, its "exp" 1300819380. */
START_TEST(test_rfc7515)
{
    char               error[128];
    ms_keys_t         *rfc;
    ms_token_t         token;
    ms_token_rules_t   r;

    static const unsigned char  secret[] = {
        3, 35, 53, 75, 43, 15, 165, 188, 131, 126, 6, 101, 119, 123, 166,
        143, 90, 179, 40, 230, 240, 84, 201, 40, 169, 15, 132, 178, 210, 80,
        46, 191, 211, 251, 90, 146, 210, 6, 71, 239, 150, 138, 180, 195, 119,
        98, 61, 34, 61, 46, 33, 114, 5, 46, 79, 8, 192, 205, 154, 245, 103,
        208, 128, 163
    };
    static const char  text[] =
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
        ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
        "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    rfc = ms_keys_from_secret(secret, sizeof(secret), NULL, error,
                              sizeof(error));
    ck_assert_ptr_nonnull(rfc);

    r = (ms_token_rules_t) { .session_claim = "iss", .issuer = "joe" };

    ck_assert_int_eq(ms_token_verify(rfc, text, strlen(text), &r, 1300819379,
                                     &token), MS_TOKEN_OK);
    ck_assert_str_eq(token.session, "joe");
    ms_token_free(&token);

    ck_assert_int_eq(ms_token_verify(rfc, text, strlen(text), &r, 1300819380,
                                     &token), MS_TOKEN_EXPIRED);
    ck_assert_int_eq(ms_token_verify(keys, text, strlen(text), &r, 1300819379,
                                     &token), MS_TOKEN_SIGNATURE);

    r.issuer = "jo";
    ck_assert_int_eq(ms_token_verify(rfc, text, strlen(text), &r, 1300819379,
                                     &token), MS_TOKEN_ISSUER);
    ms_keys_free(rfc);
}
END_TEST


/* Each edit keeps all but one thing of a token that is good. */
START_TEST(test_forged)
{
    char   *good, *evil, *s, text[2048];
    size_t  len, i;

    good = forge_libjwt(GOOD, SECRET);
    assert_reason(good, MS_TOKEN_OK);
    len = strlen(good);
    s = strrchr(good, '.') + 1;
    ck_assert_uint_eq(strlen(s), 43);

    /* signature empty, cut, longer, padded; no third part */
    for (i = 0; i < 43; i++) {
        ck_assert_int_ne(verify(good, len - 43 + i), MS_TOKEN_OK);
    }
    ck_assert_int_eq(verify(good, len - 43), MS_TOKEN_SIGNATURE);
    ck_assert_int_eq(verify(good, len - 44), MS_TOKEN_MALFORMED);
    ck_assert_int_eq(verify(good, len), MS_TOKEN_OK);

    snprintf(text, sizeof(text), "%sA", good);
    assert_reason(text, MS_TOKEN_SIGNATURE);
    snprintf(text, sizeof(text), "%sAA", good);
    assert_reason(text, MS_TOKEN_MALFORMED);
    snprintf(text, sizeof(text), "%sAAAA", good);
    ck_assert_int_ne(verify(text, strlen(text)), MS_TOKEN_OK);
    snprintf(text, sizeof(text), "%.*sAAAA", (int) (len - 1), good);
    ck_assert_int_ne(verify(text, strlen(text)), MS_TOKEN_OK);
    snprintf(text, sizeof(text), "%s=", good);
    assert_reason(text, MS_TOKEN_MALFORMED);
    snprintf(text, sizeof(text), "%s\n", good);
    assert_reason(text, MS_TOKEN_MALFORMED);
    snprintf(text, sizeof(text), " %s", good);
    assert_reason(text, MS_TOKEN_MALFORMED);

    /* another spelling of the same last two bits is not the same token */
    snprintf(text, sizeof(text), "%s", good);
    text[len - 1]++;
    assert_reason(text, MS_TOKEN_MALFORMED);

    /* two tokens glued */
    snprintf(text, sizeof(text), "%s%s", good, good);
    assert_reason(text, MS_TOKEN_MALFORMED);
    snprintf(text, sizeof(text), "%s.%s", good, good);
    assert_reason(text, MS_TOKEN_MALFORMED);
    snprintf(text, sizeof(text), "%s %s", good, good);
    assert_reason(text, MS_TOKEN_MALFORMED);
    snprintf(text, sizeof(text), "%s.", good);
    assert_reason(text, MS_TOKEN_MALFORMED);

    /* claims of another token with this signature */
    evil = forge_libjwt("{\"session_id\":\"s2\",\"exp\":1700000100}", OTHER);
    strcpy(strrchr(evil, '.') + 1, s);
    assert_reason(evil, MS_TOKEN_SIGNATURE);
    free(evil);
    free(good);
}
END_TEST


/* No single changed character may pass. */
START_TEST(test_flips)
{
    char    *good, old;
    size_t   i;

    good = forge_libjwt(GOOD, SECRET);

    for (i = 0; good[i] != '\0'; i++) {
        old = good[i];

        good[i] = old == 'A' ? 'B' : 'A';
        ck_assert_int_ne(verify(good, strlen(good)), MS_TOKEN_OK);
        good[i] = (char) (old ^ 0x80);
        ck_assert_int_ne(verify(good, strlen(good)), MS_TOKEN_OK);
        good[i] = '.';
        if (old != '.') {
            ck_assert_int_eq(verify(good, strlen(good)), MS_TOKEN_MALFORMED);
        }

        good[i] = old;
    }

    assert_reason(good, MS_TOKEN_OK);
    free(good);
}
END_TEST


static const struct {
    const char         *text;
    ms_token_reason_t   reason;
} texts[] = {
    { "", MS_TOKEN_MISSING },
    { "a", MS_TOKEN_MALFORMED },
    { ".", MS_TOKEN_MALFORMED },
    { "..", MS_TOKEN_MALFORMED },
    { "...", MS_TOKEN_MALFORMED },
    { "a.b.c", MS_TOKEN_MALFORMED },
    { "e30.e30.", MS_TOKEN_ALGORITHM },             /* {}.{}. */
    { "e30=.e30.", MS_TOKEN_MALFORMED },
    { "e31.e30.", MS_TOKEN_MALFORMED },             /* unused bits */
    { "Bearer e30.e30.", MS_TOKEN_MALFORMED },
    { "not a token", MS_TOKEN_MALFORMED }
};


START_TEST(test_texts)
{
    assert_reason(texts[_i].text, texts[_i].reason);
}
END_TEST


START_TEST(test_size)
{
    char    *good, *text;
    size_t   i, n;

    static const size_t  sizes[] = { 4096, 9216, 65536 };

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        n = sizes[i];
        text = malloc(n);
        memset(text, 'A', n);
        ck_assert_int_eq(verify(text, n), n > MS_TOKEN_MAX
                                          ? MS_TOKEN_TOO_LONG
                                          : MS_TOKEN_MALFORMED);
        memset(text, '.', n);
        ck_assert_int_ne(verify(text, n), MS_TOKEN_OK);
        memset(text, 0xff, n);
        ck_assert_int_ne(verify(text, n), MS_TOKEN_OK);
        text[n / 3] = '.';
        text[n / 2] = '.';
        ck_assert_int_ne(verify(text, n), MS_TOKEN_OK);
        free(text);
    }

    /* the longest good one: 20 characters header, 2 dots, 43 signature */
    n = (MS_TOKEN_MAX - 65) / 4 * 3;
    text = malloc(n + 1);
    memset(text, ' ', n);
    text[n] = '\0';
    memcpy(text, GOOD, strlen(GOOD));
    good = forge("{\"alg\":\"HS256\"}", text, SECRET);
    ck_assert_uint_gt(strlen(good), MS_TOKEN_MAX - 8);
    ck_assert_uint_le(strlen(good), MS_TOKEN_MAX);
    assert_reason(good, MS_TOKEN_OK);
    free(good);
    free(text);

    text = malloc(6200);
    memset(text, ' ', 6199);
    text[6199] = '\0';
    memcpy(text, GOOD, strlen(GOOD));
    assert_forged(forge(HS256, text, SECRET), MS_TOKEN_TOO_LONG);

    /* 6000 open brackets would cost the parser 2048 frames */
    memset(text, '[', 6000);
    text[6000] = '\0';
    assert_forged(forge(HS256, text, SECRET), MS_TOKEN_MALFORMED);
    assert_forged(forge(text, GOOD, SECRET), MS_TOKEN_MALFORMED);
    free(text);
}
END_TEST


static const struct {
    const char  *iss;                   /* the claim's JSON or NULL */
    const char  *required;
    bool         ok;
} issuers[] = {
    { NULL, NULL, true },
    { "1", NULL, true },
    { "\"a\"", "a", true },
    { "\"a\"", "b", false },
    { "\"a\"", "A", false },
    { "\"\"", "a", false },
    { NULL, "a", false },
    { "[\"a\"]", "a", false },
    { "null", "a", false }
};


START_TEST(test_issuers)
{
    char               payload[128], *text;
    ms_token_t         token;
    ms_token_rules_t   r;

    snprintf(payload, sizeof(payload), "{%s%s%s\"session_id\":\"s\","
             "\"exp\":1700000100}", issuers[_i].iss ? "\"iss\":" : "",
             issuers[_i].iss ? issuers[_i].iss : "",
             issuers[_i].iss ? "," : "");
    text = forge(HS256, payload, SECRET);

    r = rules;
    r.issuer = issuers[_i].required;
    ck_assert_int_eq(ms_token_verify(keys, text, strlen(text), &r, NOW,
                                     &token),
                     issuers[_i].ok ? MS_TOKEN_OK : MS_TOKEN_ISSUER);
    ms_token_free(&token);
    free(text);
}
END_TEST


static const struct {
    const char  *in;
    const char  *out;
} strips[] = {
    { "abc", "abc" }, { " abc ", "abc" }, { "Bearer abc", "abc" },
    { "bearer abc", "abc" }, { "BEARER   abc  ", "abc" },
    { "\tBearer abc\t", "abc" }, { "Bearer", "" }, { "Bearer ", "" },
    { "", "" }, { "   ", "" }, { "Bearerabc", "Bearerabc" },
    { "Basic abc", "Basic abc" }, { "Bearer Bearer abc", "Bearer abc" }
};


START_TEST(test_strip)
{
    size_t       len;
    const char  *text;

    text = strips[_i].in;
    len = strlen(text);
    ms_token_strip(&text, &len);
    ck_assert_uint_eq(len, strlen(strips[_i].out));
    ck_assert_mem_eq(text, strips[_i].out, len);
}
END_TEST


START_TEST(test_session)
{
    int   c;
    char  text[300];

    memset(text, 'x', sizeof(text));
    ck_assert_int_eq(ms_session_valid(text, 0), 0);
    ck_assert_int_eq(ms_session_valid(text, 1), 1);
    ck_assert_int_eq(ms_session_valid(text, 256), 1);
    ck_assert_int_eq(ms_session_valid(text, 257), 0);

    for (c = 0; c < 256; c++) {
        text[3] = (char) c;
        ck_assert_int_eq(ms_session_valid(text, 5), c > 0x20 && c < 0x7f);
    }
}
END_TEST


START_TEST(test_reasons)
{
    int  i;

    for (i = 0; i < MS_TOKEN_REASONS; i++) {
        ck_assert_ptr_nonnull(ms_token_reasons[i].name);
        ck_assert_ptr_nonnull(ms_token_reasons[i].message);
    }

    ck_assert_str_eq(ms_token_reasons[MS_TOKEN_EXPIRED].message,
                     "token expired");
    ck_assert_str_eq(ms_token_reasons[MS_TOKEN_CLAIM].message,
                     "missing or invalid token");
}
END_TEST


#define add_loop(test, table)                                                 \
    tcase_add_loop_test(tcase, test, 0, sizeof(table) / sizeof(table[0]))


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("token");
    tcase = tcase_create("token");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    add_loop(test_headers, headers);
    tcase_add_test(tcase, test_none);
    add_loop(test_claims, claims);
    tcase_add_test(tcase, test_raw_nul);
    tcase_add_test(tcase, test_libjwt);
    tcase_add_test(tcase, test_rfc7515);
    tcase_add_test(tcase, test_forged);
    tcase_add_test(tcase, test_flips);
    add_loop(test_texts, texts);
    tcase_add_test(tcase, test_size);
    add_loop(test_issuers, issuers);
    add_loop(test_strip, strips);
    tcase_add_test(tcase, test_session);
    tcase_add_test(tcase, test_reasons);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? 0 : 1;
}
