/*
 * Attacks on the algorithm of a token: none reaches an instance.  jwt/t/ has
 * the other attacks on tokens.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "token.h"
#include "jwt/t/forge.h"
#include "jwt/t/signer.h"


#define CONF(keys)                                                            \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / {\n"                                                  \
    "            myservice_jwt on;\n"                                         \
    keys                                                                      \
    "            grpc_pass grpc://127.0.0.1:8081;\n"                          \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define SECRET_FILE  "myservice_jwt_secret_file %%DIR%%/secret;\n"
#define PUBLIC_FILE  "myservice_jwt_key_file %%DIR%%/public;\n"
#define INVALID      "missing or invalid token"
#define CLAIMS       "{\"session_id\":\"s1\",\"exp\":32503680000}"


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

    c = client_grpc(client_open(harness_port(8080)), ECHO, token, session, "",
                    0);
    client_wait(c);

    return c;
}


START_TEST(attack_none)
{
    size_t   i;
    char     header[64], *token;
    fake_t  *fake;

    static const char *const  spellings[] = {
        "none", "None", "NONE", "nOnE", "", "null", "HS256 ", "hs256"
    };

    fake = start(CONF(SECRET_FILE));

    for (i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
        snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", spellings[i]);
        token = forge(header, CLAIMS, TOKEN_SECRET);
        client_assert_refused(call(token, "s1"), 16, INVALID);

        strrchr(token, '.')[1] = '\0';
        client_assert_refused(call(token, "s1"), 16, INVALID);
        free(token);
    }

    ck_assert_uint_eq(fake_requests(fake), 0);
    token = forge("{\"alg\":\"HS256\"}", CLAIMS, TOKEN_SECRET);
    client_assert(call(token, "s1"), 0, "");
    free(token);
}
END_TEST


START_TEST(attack_public_key_as_secret)
{
    size_t   i;
    char    *pem, *jwk, *token;
    fake_t  *fake;

    static const char *const  headers[] = {
        "{\"alg\":\"HS256\"}", "{\"alg\":\"HS256\",\"kid\":\"public\"}"
    };

    pem = signer_pem(signer_key("RSA"));
    jwk = signer_jwk(signer_key("RSA"), "");
    (void) harness_file("public", pem, strlen(pem));
    fake = start(CONF(PUBLIC_FILE SECRET_FILE));

    for (i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        token = forge(headers[i], CLAIMS, pem);
        client_assert_refused(call(token, "s1"), 16, INVALID);
        free(token);

        token = forge(headers[i], CLAIMS, jwk);
        client_assert_refused(call(token, "s1"), 16, INVALID);
        free(token);
    }

    ck_assert_uint_eq(fake_requests(fake), 0);

    token = signer_token("RS256", signer_key("RSA"), "{\"alg\":\"RS256\"}",
                         CLAIMS);
    client_assert(call(token, "s1"), 0, "");
    free(token);
    token = forge(headers[0], CLAIMS, TOKEN_SECRET);
    client_assert(call(token, "s1"), 0, "");
    free(token);
    free(pem);
    free(jwk);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("jwt attacks");

    harness_add(suite, attack_none);
    harness_add(suite, attack_public_key_as_secret);

    return harness_run(suite, argv[0]);
}
