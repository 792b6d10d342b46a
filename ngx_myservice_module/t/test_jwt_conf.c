/*
 * What nginx -t says of wrong keys and rules: the message names the input and
 * the limit.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway.h"
#include "harness.h"
#include "token.h"
#include "jwt/t/signer.h"
#include "verdict.h"


#define CONF(http, location)                                                  \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    http                                                                      \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        location / {\n"                                                  \
    "            myservice_jwt on;\n"                                         \
    location                                                                  \
    "            grpc_pass grpc://127.0.0.1:8081;\n"                          \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define SECRET     "myservice_jwt_secret_file %%DIR%%/secret;\n"
#define RSA        "myservice_jwt_key_file %%DIR%%/rsa;\n"
#define KEY(name)  "myservice_jwt_key_file %%DIR%%/" name ";\n"


static void
put(const char *name, const char *text)
{
    (void) harness_file(name, text, strlen(text));
}


START_TEST(conf_keys)
{
    char  *big;

    put("rsa", token_keep(signer_pem(signer_key("RSA"))));
    put("weak", token_keep(signer_pem(signer_key("RSA-1024"))));
    put("crt", token_keep(signer_certificate(signer_key("P-256"))));
    put("private", token_keep(signer_private_pem(signer_key("P-256"))));
    put("x25519", token_keep(signer_pem(signer_key("X25519"))));
    put("jwk", token_keep(signer_jwk(signer_key("ED25519"), ",\"kid\":\"a\"")));
    put("weak-jwk", token_keep(signer_jwk_secret("short", 5,
                                                 ",\"kid\":\"w\"")));
    put("text", "hello");
    put("empty", "");

    accepted(CONF("", RSA KEY("crt") KEY("jwk") SECRET));
    accepted(CONF("", "myservice_jwt_key_file %%DIR%%/rsa %%DIR%%/crt;\n"));

    refused(CONF("", KEY("weak")), "/weak\"");
    refused(CONF("", KEY("weak")), "2048");
    refused(CONF("", KEY("private")), "private");
    refused(CONF("", KEY("x25519")), "/x25519\"");
    refused(CONF("", KEY("weak-jwk")), "\"w\"");
    refused(CONF("", KEY("text")), "/text\"");
    refused(CONF("", KEY("empty")), "/empty\"");
    refused(CONF("", KEY("absent")), "/absent\" (2: ");
    refused(CONF("", "myservice_jwt_key_file %%DIR%%;\n"), "(21: ");
    refused(CONF("", "myservice_jwt_key_file;\n"), "myservice_jwt_key_file");
    refused(CONF("", RSA RSA), "duplicate source of keys");
    refused(CONF("", SECRET "myservice_jwt_key_file %%DIR%%/secret;\n"),
            "duplicate source of keys");

    big = malloc(1048578);
    memset(big, 'x', 1048577);
    big[1048577] = '\0';
    put("big", big);
    free(big);
    refused(CONF("", KEY("big")), "/big\" (27: ");

    /* a broken file is refused where its keys are not used, too */
    refused(CONF("", SECRET "}\nlocation /x {\n" KEY("weak")), "2048");
}
END_TEST


START_TEST(conf_algorithms)
{
    put("rsa", token_keep(signer_pem(signer_key("RSA"))));

    accepted(CONF("", RSA "myservice_jwt_algorithms PS256 PS384;\n"));
    accepted(CONF("myservice_jwt_algorithms RS256 HS256;\n", RSA SECRET));
    refused(CONF("", RSA "myservice_jwt_algorithms none;\n"),
            "unknown algorithm \"none\", known are HS256");
    refused(CONF("", RSA "myservice_jwt_algorithms rs256;\n"), "\"rs256\"");
    refused(CONF("", RSA "myservice_jwt_algorithms;\n"),
            "myservice_jwt_algorithms");
    refused(CONF("", RSA "myservice_jwt_algorithms RS256;\n"
                 "myservice_jwt_algorithms RS384;\n"), "duplicate");

    /* nothing is left for a key */
    refused(CONF("", RSA "myservice_jwt_algorithms ES256;\n"), "/rsa\"");
    refused(CONF("", SECRET "myservice_jwt_algorithms ES256;\n"),
            "/secret\"");

    /* 38 bytes */
    refused(CONF("", SECRET "myservice_jwt_algorithms HS512;\n"), "64");
}
END_TEST


START_TEST(conf_rules)
{
    accepted(CONF("", SECRET "myservice_jwt_issuer me;\n"
                  "myservice_jwt_audience us;\n"
                  "myservice_jwt_require role=admin x y=;\n"
                  "myservice_jwt_require z=a=b;\n"
                  "myservice_jwt_forward off;\n"));

    refused(CONF("", SECRET "myservice_jwt_require;\n"),
            "myservice_jwt_require");
    refused(CONF("", SECRET "myservice_jwt_require '';\n"), "\"claim\" or");
    refused(CONF("", SECRET "myservice_jwt_require =x;\n"), "\"=x\"");
    refused(CONF("", SECRET "myservice_jwt_issuer a;\n"
                 "myservice_jwt_issuer b;\n"), "duplicate");
    refused(CONF("", SECRET "myservice_jwt_forward maybe;\n"), "maybe");
}
END_TEST


START_TEST(conf_key_check)
{
    accepted(CONF("myservice_jwt_key_check 100ms;\n", SECRET));
    accepted(CONF("myservice_jwt_key_check off;\n", SECRET));
    refused(CONF("myservice_jwt_key_check 99ms;\n", SECRET), "100ms to 1d");
    refused(CONF("myservice_jwt_key_check 2d;\n", SECRET), "100ms to 1d");
    refused(CONF("myservice_jwt_key_check x;\n", SECRET), "\"x\"");
    refused(CONF("myservice_jwt_key_check 1s;\n"
                 "myservice_jwt_key_check 1s;\n", SECRET), "duplicate");
    refused(CONF("", SECRET "myservice_jwt_key_check 1s;\n"), "not allowed");
}
END_TEST


START_TEST(conf_keys_uri)
{
    accepted(CONF("", "myservice_jwt_keys_uri /keys;\n"));
    accepted(CONF("myservice_jwt_keys_uri /keys interval=1s timeout=1s;\n",
                  ""));
    accepted(CONF("", "myservice_jwt_keys_uri /a;\n"
                  "myservice_jwt_keys_uri /b;\n" SECRET));

    refused(CONF("", "myservice_jwt_keys_uri;\n"), "myservice_jwt_keys_uri");
    refused(CONF("", "myservice_jwt_keys_uri https://issuer/keys;\n"),
            "\"/...\"");
    refused(CONF("", "myservice_jwt_keys_uri '';\n"), "\"/...\"");
    refused(CONF("", "myservice_jwt_keys_uri /a interval=10;\n"
                 "myservice_jwt_keys_uri /a;\n"), "duplicate source of keys");
    refused(CONF("", "myservice_jwt_keys_uri /a interval=10ms;\n"),
            "\"interval=10ms\"");
    refused(CONF("", "myservice_jwt_keys_uri /a timeout=;\n"), "\"timeout=\"");
    refused(CONF("", "myservice_jwt_keys_uri /a other=1s;\n"), "\"other=1s\"");
}
END_TEST


START_TEST(conf_claims)
{
    int   i;
    char  conf[8192], *p;

    p = conf + sprintf(conf, "%s",
                       "%%GLOBALS%%\nevents {}\nhttp {\n"
                       "%%GLOBALS_HTTP%%\nlog_format claims '");

    /* role is always one of them */
    for (i = 1; i < 32; i++) {
        p += sprintf(p, "$myservice_jwt_claim_c%d ", i);
    }

    strcpy(p, "$myservice_jwt_claim_role';\n}\n");
    accepted(conf);
    strcpy(p, "$myservice_jwt_claim_c32 $myservice_jwt_claim_c33';\n}\n");
    refused(conf, "more than 32 claims");
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("jwt configuration");

    harness_add(suite, conf_keys);
    harness_add(suite, conf_algorithms);
    harness_add(suite, conf_rules);
    harness_add(suite, conf_key_check);
    harness_add(suite, conf_keys_uri);
    harness_add(suite, conf_claims);

    return harness_run(suite, argv[0]);
}
