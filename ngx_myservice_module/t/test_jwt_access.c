/*
 * Which tokens pass, in the order and with the texts of the contract; each
 * refusal has a call next to it that passes.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "token.h"


#define CONF(directives)                                                      \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format jwt 'jwt=$myservice_jwt_status '\n"                       \
    "                   'session=$myservice_session '\n"                      \
    "                   'expires=$myservice_jwt_expires';\n"                  \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        large_client_header_buffers 4 16k;\n"                            \
    "        underscores_in_headers on;\n"                                    \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log jwt;\n"                            \
    "        location / {\n"                                                  \
    "            myservice_jwt on;\n"                                         \
    "            myservice_jwt_secret_file %%DIR%%/secret;\n"                 \
    directives                                                                \
    "            grpc_pass grpc://127.0.0.1:8081;\n"                          \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define INVALID  "missing or invalid token"
#define TIMES    "\"iat\":1,\"nbf\":1,\"exp\":32503680000"


static fake_t *
start(const char *conf)
{
    fake_t  *fake;

    fake = fake_start(8081, "one", fake_ok);
    gateway_start(conf);

    return fake;
}


static client_call_t *
call(const char *token, const char *session)
{
    client_call_t  *c;

    c = client_grpc(client_open(harness_port(8080)), ECHO, token, session,
                    "\x0a\x05hello", 7);
    client_wait(c);

    return c;
}


/* "prefix" before a text, in static memory */
static const char *
with(const char *prefix, const char *text)
{
    static char  buffer[16384];

    snprintf(buffer, sizeof(buffer), "%s%s", prefix, text);

    return buffer;
}


START_TEST(jwt_passes)
{
    fake_t      *fake;
    const char  *token;

    fake = start(CONF(""));
    token = token_make("s1", 60);

    client_assert(call(token, "s1"), 0, "");
    client_assert(call(with("Bearer ", token), "s1"), 0, "");
    client_assert(call(with("bearer ", token), "s1"), 0, "");
    client_assert(call(with("BEARER ", token), "s1"), 0, "");
    ck_assert_uint_eq(fake_requests(fake), 4);
    gateway_await_access("jwt=OK session=s1");
}
END_TEST


START_TEST(jwt_expires)
{
    const char  *token;

    (void) start(CONF(""));
    token = token_sign("{\"session_id\":\"s1\"," TIMES "}", "HS256",
                       TOKEN_SECRET);

    client_assert(call(token, "s1"), 0, "");
    gateway_await_access("jwt=OK session=s1 expires=32503680000");

    /* from the cache */
    client_assert(call(token, "s1"), 0, "");
    client_assert_refused(call(token, "s2"), 16, "session-id mismatch");
    gateway_await_access("jwt=SESSION_MISMATCH session=s2 expires=-");
    ck_assert(!harness_contains("access.log", "jwt=OK session=s1 expires=-"));
}
END_TEST


START_TEST(jwt_no_session)
{
    fake_t  *fake;

    fake = start(CONF(""));

    client_assert_refused(call(NULL, NULL), 16, "missing session-id");
    client_assert_refused(call(token_make("s1", 60), NULL), 16,
                          "missing session-id");
    client_assert_refused(call(token_make("s1", 60), ""), 16,
                          "missing session-id");
    client_assert_refused(call("garbage", NULL), 16, "missing session-id");
    ck_assert_uint_eq(fake_requests(fake), 0);
}
END_TEST


START_TEST(jwt_bad_token)
{
    size_t       i;
    char         garbage[9000], cut[1024];
    fake_t      *fake;
    const char  *good;
    const char  *tokens[] = {
        NULL, "", "Bearer ", "Bearer", "x", ".", "..", "a.b.c", "Basic eDp5",
        "eyJhbGciOiJub25lIn0.e30."
    };

    fake = start(CONF(""));
    good = token_make("s1", 60);

    for (i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
        client_assert_refused(call(tokens[i], "s1"), 16, INVALID);
    }

    /* 4 kB, and more than a token may have */
    memset(garbage, 'A', sizeof(garbage));
    garbage[4096] = '\0';
    client_assert_refused(call(garbage, "s1"), 16, INVALID);
    garbage[4096] = 'A';
    garbage[8999] = '\0';
    client_assert_refused(call(garbage, "s1"), 16, INVALID);

    /* two glued together, a cut signature, none, one bit of the claims */
    snprintf(cut, sizeof(cut), "%s%s", good, good);
    client_assert_refused(call(cut, "s1"), 16, INVALID);
    snprintf(cut, sizeof(cut), "%.*s", (int) strlen(good) - 4, good);
    client_assert_refused(call(cut, "s1"), 16, INVALID);
    *(strrchr(cut, '.') + 1) = '\0';
    client_assert_refused(call(cut, "s1"), 16, INVALID);
    snprintf(cut, sizeof(cut), "%s", good);
    *(strchr(cut, '.') + 8) ^= 1;
    client_assert_refused(call(cut, "s1"), 16, INVALID);

    client_assert(call(good, "s1"), 0, "");
    ck_assert_uint_eq(fake_requests(fake), 1);
}
END_TEST


START_TEST(jwt_wrong_key)
{
    fake_t      *fake;
    const char  *claims = "{\"session_id\":\"s1\"," TIMES "}";

    fake = start(CONF(""));

    client_assert_refused(call(token_sign(claims, "HS256",
                               "another secret that is long enough"), "s1"),
                          16, INVALID);
    client_assert_refused(call(token_sign(claims, "HS384", TOKEN_SECRET),
                               "s1"), 16, INVALID);
    client_assert_refused(call(token_sign(claims, "HS512", TOKEN_SECRET),
                               "s1"), 16, INVALID);
    client_assert_refused(call(token_sign(claims, "none", NULL), "s1"), 16,
                          INVALID);
    ck_assert_uint_eq(fake_requests(fake), 0);

    client_assert(call(token_sign(claims, "HS256", TOKEN_SECRET), "s1"), 0,
                  "");
}
END_TEST


START_TEST(jwt_claims)
{
    size_t                    i;
    fake_t                   *fake;
    static const char *const  bad[] = {
        "{" TIMES "}",
        "{\"session_id\":\"\"," TIMES "}",
        "{\"session_id\":1," TIMES "}",
        "{\"session_id\":null," TIMES "}",
        "{\"session_id\":\"s1\",\"iat\":1}",
        "{\"session_id\":\"s1\",\"exp\":\"32503680000\"}",
        "{\"session_id\":\"s1\",\"nbf\":32503680000,\"exp\":32503680001}",
    };

    fake = start(CONF(""));

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        client_assert_refused(call(token_sign(bad[i], "HS256",
                                              TOKEN_SECRET), "s1"), 16,
                              INVALID);
    }

    ck_assert_uint_eq(fake_requests(fake), 0);
}
END_TEST


START_TEST(jwt_session_claim)
{
    fake_t      *fake;
    const char  *claims = "{\"sid\":\"s1\",\"session_id\":\"s2\"," TIMES "}";

    fake = start(CONF("myservice_jwt_session_claim sid;\n"));

    client_assert(call(token_sign(claims, "HS256", TOKEN_SECRET), "s1"), 0,
                  "");
    client_assert_refused(call(token_sign(claims, "HS256", TOKEN_SECRET),
                               "s2"), 16, "session-id mismatch");
    ck_assert_uint_eq(fake_requests(fake), 1);
}
END_TEST


START_TEST(jwt_invalid_session)
{
    char             session[300];
    size_t           i;
    fake_t          *fake;
    client_call_t   *c;
    const char      *bad[] = {
        "a b", "a\tb", "\x7f", "caf\xc3\xa9", "a\x01"
    };
    client_header_t  twice[] = {
        { "content-type", "application/grpc" }, { "session-id", "s1" },
        { "session-id", "s1" }, { "authorization", NULL }, { NULL, NULL }
    };

    fake = start(CONF(""));

    memset(session, 's', sizeof(session));
    session[256] = '\0';
    client_assert(call(token_make(session, 60), session), 0, "");
    session[256] = 's';
    session[257] = '\0';
    client_assert_refused(call(token_make(session, 60), session), 3,
                          "invalid session-id");

    /* the token is judged before the session id */
    client_assert_refused(call(NULL, session), 16, INVALID);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        client_assert_refused(call(token_make("s1", 60), bad[i]), 3,
                              "invalid session-id");
    }

    twice[3].value = token_make("s1", 60);
    c = client_request(client_open(harness_port(8080)), ECHO, twice, "", 0,
                       false);
    client_wait(c);
    client_assert_refused(c, 3, "invalid session-id");
    ck_assert_uint_eq(fake_requests(fake), 1);
}
END_TEST


/* A call with two headers of a name, or one of another name. */
static client_call_t *
call_twice(const char *token, const char *session, const char *name,
    const char *value)
{
    client_call_t    *c;
    client_header_t   headers[] = {
        { "content-type", "application/grpc" },
        { "authorization", token }, { "session-id", session },
        { name, value }, { NULL, NULL }
    };

    c = client_request(client_open(harness_port(8080)), ECHO, headers, "", 0,
                       false);
    client_wait(c);

    return c;
}


/* Neither the first token nor the last one wins. nginx itself refuses two
 * tokens, and logs that at this level. */
START_TEST(jwt_two_tokens)
{
    size_t       i;
    char         good[1024];
    fake_t      *fake;
    const char  *other;

    fake = start(CONF(""));
    gateway_allow("client sent duplicate header line");
    snprintf(good, sizeof(good), "%s", token_make("s1", 60));
    other = token_make("s2", 60);

    const char  *const pairs[][2] = {
        { good, good }, { good, other }, { other, good }, { "", good },
        { good, "" }, { "x", good }, { good, "x" }, { "", "" }
    };

    for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        client_assert_refused(call_twice(pairs[i][0], "s1", "authorization",
                                         pairs[i][1]), 13, "bad request");
    }

    ck_assert_uint_eq(fake_requests(fake), 0);
    client_assert(call_twice(good, "s1", "x-authorization", other), 0, "");
    client_assert(call_twice(good, "s1", "proxy-authorization", other), 0,
                  "");
    ck_assert_uint_eq(fake_requests(fake), 2);
}
END_TEST


START_TEST(jwt_two_sessions)
{
    size_t       i;
    fake_t      *fake;
    const char  *token;

    static const char *const  pairs[][2] = {
        { "s1", "s1" }, { "s1", "s2" }, { "s2", "s1" }, { "", "s1" },
        { "s1", "" }, { "", "" }
    };
    static const char *const  others[] = {
        "s1,s1", "s%31", "S1", "s1%00", "s1;", "\"s1\""
    };

    fake = start(CONF(""));
    token = token_make("s1", 60);

    for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        client_assert_refused(call_twice(token, pairs[i][0], "session-id",
                                         pairs[i][1]), 3,
                              "invalid session-id");
    }

    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        client_assert_refused(call(token, others[i]), 16,
                              "session-id mismatch");
    }

    ck_assert_uint_eq(fake_requests(fake), 0);

    /* other headers are just that */
    client_assert(call_twice(token, "s1", "session_id", "s2"), 0, "");
    client_assert(call_twice(token, "s1", "session-id-", "s2"), 0, "");
    ck_assert_uint_eq(fake_requests(fake), 2);
}
END_TEST


START_TEST(jwt_spelled_otherwise)
{
    size_t       i;
    char         good[1024], text[4096];
    fake_t      *fake;

    static const char *const  bad[] = {
        "%s %s", "%s,%s", "%s, Bearer %s", "%s\001", "\001%s", "%s\177",
        "%s=", "%s%%3d", "%%20%s", "Bearer:%s", "Bearer%s", "Basic %s",
        "\"%s\"", "Bearer Bearer %s", "%s\t%s"
    };
    static const char *const  same[] = {
        "%s", " %s ", "Bearer  %s", "bEARER %s", "Bearer\t%s", "\t%s"
    };

    fake = start(CONF(""));
    snprintf(good, sizeof(good), "%s", token_make("s1", 60));

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(text, sizeof(text), bad[i], good, good);
        ck_assert_msg(call(text, "s1")->grpc > 0, "case %zu", i);
    }

    ck_assert_uint_eq(fake_requests(fake), 0);

    for (i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        snprintf(text, sizeof(text), same[i], good);
        ck_assert_msg(call(text, "s1")->grpc == 0, "%s", same[i]);
    }
#pragma GCC diagnostic pop
}
END_TEST


/* up to the limit a token is as good as any */
START_TEST(jwt_long_tokens)
{
    int          pad;
    char         claims[8192];
    size_t       len;
    fake_t      *fake;
    const char  *token;

    fake = start(CONF(""));

    for (pad = 5950; pad < 6080; pad++) {
        snprintf(claims, sizeof(claims),
                 "{\"session_id\":\"s1\"," TIMES ",\"pad\":\"%0*d\"}", pad,
                 0);
        token = token_sign(claims, "HS256", TOKEN_SECRET);
        len = strlen(token);

        if (len > 8188 && len <= 8192) {
            client_assert(call(token, "s1"), 0, "");

        } else if (len > 8192) {
            client_assert_refused(call(token, "s1"), 16, INVALID);
            break;
        }
    }

    ck_assert_int_lt(pad, 6080);
    ck_assert_uint_gt(fake_requests(fake), 0);
    gateway_await_access("jwt=TOO_LONG");
}
END_TEST


START_TEST(jwt_expired)
{
    fake_t      *fake;
    const char  *old;

    fake = start(CONF(""));
    old = token_make("s1", -10);

    client_assert_refused(call(old, "s1"), 16, "token expired");

    /* before the mismatch, after the signature */
    client_assert_refused(call(old, "s2"), 16, "token expired");
    client_assert_refused(call(with(old, "A"), "s1"), 16, INVALID);
    ck_assert_uint_eq(fake_requests(fake), 0);
    gateway_await_access("jwt=EXPIRED");
}
END_TEST


START_TEST(jwt_leeway)
{
    (void) start(CONF("myservice_jwt_leeway 60s;\n"));
    client_assert(call(token_make("s1", -30), "s1"), 0, "");
    client_assert_refused(call(token_make("s1", -90), "s1"), 16,
                          "token expired");
}
END_TEST


/* a token that was found good once is not good for ever */
static void
expires(const char *conf)
{
    long long       since;
    const char     *token;
    client_call_t  *c;

    (void) start(conf);
    token = token_make("s1", 5);
    c = call(token, "s1");
    client_assert(c, 0, "");

    since = harness_now();

    while (c->grpc == 0) {
        harness_pause(since, "the token expires");
        c = client_grpc(c->client, ECHO, token, "s1", "", 0);
        client_wait(c);
    }

    client_assert_refused(c, 16, "token expired");
}


START_TEST(jwt_expires_cached)
{
    expires(CONF(""));
}
END_TEST


START_TEST(jwt_expires_uncached)
{
    expires(CONF("myservice_jwt_cache off;\n"));
}
END_TEST


START_TEST(jwt_mismatch)
{
    fake_t      *fake;
    const char  *token;

    fake = start(CONF(""));
    token = token_make("s1", 60);

    /* also when the token is known from a call that passed */
    client_assert_refused(call(token, "s2"), 16, "session-id mismatch");
    client_assert(call(token, "s1"), 0, "");
    client_assert_refused(call(token, "s2"), 16, "session-id mismatch");
    client_assert_refused(call(token, "s11"), 16, "session-id mismatch");
    client_assert_refused(call(token, "s"), 16, "session-id mismatch");
    ck_assert_uint_eq(fake_requests(fake), 1);
}
END_TEST


/* a refusal does not wait for the end of the request */
START_TEST(jwt_refused_while_sending)
{
    client_call_t   *c;
    client_header_t  headers[] = {
        { "content-type", "application/grpc" }, { NULL, NULL }
    };

    (void) start(CONF(""));
    c = client_request(client_open(harness_port(8080)), ECHO, headers, "abc",
                       3, true);
    client_wait(c);
    client_assert_refused(c, 16, "missing session-id");
}
END_TEST


START_TEST(jwt_not_grpc)
{
    client_call_t   *c;
    client_header_t  headers[] = { { ":method", "GET" }, { NULL, NULL } };

    (void) start(CONF(""));
    c = client_request(client_open(harness_port(8080)), ECHO, headers, NULL,
                       0, false);
    client_wait(c);
    ck_assert_int_eq(c->http, 401);
    ck_assert_int_eq(c->grpc, -1);
}
END_TEST


/* nested and inherited: the check is as far as its directive reaches */
START_TEST(jwt_inherited)
{
    fake_t         *fake;
    client_call_t  *open, *nested;

    fake = start(CONF(
        "location /open { myservice_jwt off;\n"
        "    grpc_pass grpc://127.0.0.1:8081; }\n"
        "location /nested { grpc_pass grpc://127.0.0.1:8081; }\n"));

    open = client_grpc(client_open(harness_port(8080)), "/open", NULL, NULL,
                       "", 0);
    nested = client_grpc(client_open(harness_port(8080)), "/nested", NULL,
                         "s1", "", 0);
    client_wait_all();
    client_assert(open, 0, "");
    client_assert_refused(nested, 16, INVALID);
    ck_assert_uint_eq(fake_requests(fake), 1);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("jwt access");

    harness_add(suite, jwt_passes);
    harness_add(suite, jwt_expires);
    harness_add(suite, jwt_no_session);
    harness_add(suite, jwt_bad_token);
    harness_add(suite, jwt_wrong_key);
    harness_add(suite, jwt_claims);
    harness_add(suite, jwt_session_claim);
    harness_add(suite, jwt_invalid_session);
    harness_add(suite, jwt_two_tokens);
    harness_add(suite, jwt_two_sessions);
    harness_add(suite, jwt_spelled_otherwise);
    harness_add(suite, jwt_long_tokens);
    harness_add(suite, jwt_expired);
    harness_add(suite, jwt_leeway);
    harness_add(suite, jwt_expires_cached);
    harness_add(suite, jwt_expires_uncached);
    harness_add(suite, jwt_mismatch);
    harness_add(suite, jwt_refused_while_sending);
    harness_add(suite, jwt_not_grpc);
    harness_add(suite, jwt_inherited);

    return harness_run(suite, argv[0]);
}
