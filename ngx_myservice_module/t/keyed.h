/*
 * A gateway on 127.0.0.1:8080 that fetches the keys of tokens from the issuer,
 * and calls to it with any token.
 */

#ifndef MODULE_T_KEYED_H
#define MODULE_T_KEYED_H


#include "client.h"
#include "harness.h"


/* "uri" may have the parameters of the directive, and more directives after
 * them; the others are directives of the main context, of "http", and of the
 * location /keys. */
#define KEYED_CONF_WITH(main, uri, http, location)                            \
    "%%GLOBALS%%\n"                                                           \
    main                                                                      \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format jwt 'jwt=$myservice_jwt_status';\n"                       \
    http                                                                      \
    "    upstream one { server 127.0.0.1:8081; keepalive 64; }\n"             \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        keepalive_requests 1000000;\n"                                   \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log jwt;\n"                            \
    "        location / {\n"                                                  \
    "            myservice_jwt on;\n"                                         \
    "            myservice_jwt_keys_uri " uri ";\n"                           \
    "            grpc_pass grpc://one;\n"                                     \
    "        }\n"                                                             \
    "        location = /status { myservice_status; }\n"                      \
    "        location = /keys {\n"                                            \
    "            internal;\n"                                                 \
    location                                                                  \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define KEYED_PROXY      "proxy_pass http://127.0.0.1:8082/jwks.json;\n"
#define KEYED_CONF(uri)  KEYED_CONF_WITH("", uri, "", KEYED_PROXY)

#define INVALID   "missing or invalid token"

#define SECRET_A  "a secret that is as long as it must be"
#define SECRET_B  "b secret that is as long as it must be"

#define SET_A     token_set(token_jwk("a", SECRET_A), NULL)
#define SET_B     token_set(token_jwk("b", SECRET_B), NULL)
#define SET_AB    token_set(token_jwk("a", SECRET_A), token_jwk("b", SECRET_B))


/* Starts an instance and the gateway, and connects. */
void keyed_start(const char *conf);

/* Connects anew, for the calls from now on. */
void keyed_open(void);

/* A token of session "s1"; "kid" may be NULL. */
const char *keyed_token(const char *kid, const char *secret);

/* An Echo of session "s1"; keyed_call() waits for the end.  "token" may be
 * NULL. */
client_call_t *keyed_begin(const char *token);
client_call_t *keyed_call(const char *token);


#endif /* MODULE_T_KEYED_H */
