/*
 * A gateway on 127.0.0.1:8080 that checks tokens: it fetches the keys from the
 * issuer, or reads them from files.  Calls to it with any token.
 */

#ifndef MODULE_T_KEYED_H
#define MODULE_T_KEYED_H


#include "client.h"
#include "token.h"


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

#define KEYED_FILES(main, http, directives)                                   \
    "%%GLOBALS%%\n"                                                           \
    main                                                                      \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    http                                                                      \
    "    log_format jwt 'jwt=$myservice_jwt_status';\n"                       \
    "    upstream one { server 127.0.0.1:8081; keepalive 64; }\n"             \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        large_client_header_buffers 4 16k;\n"                            \
    "        keepalive_requests 1000000;\n"                                   \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log jwt;\n"                            \
    "        location / {\n"                                                  \
    "            myservice_jwt on;\n"                                         \
    directives                                                                \
    "            grpc_pass grpc://one;\n"                                     \
    "        }\n"                                                             \
    "        location = /status { myservice_status; }\n"                      \
    "    }\n"                                                                 \
    "}\n"

/* the file and how often the gateway reads it */
#define KEYED_SET      "myservice_jwt_key_file %%DIR%%/jwks;\n"
#define KEYED_CHECK    100              /* milliseconds */
#define KEYED_CHECKED  "myservice_jwt_key_check 100ms;\n"

/* with a second file, "witness", whose keys do not depend on the first */
#define KEYED_WITNESSED                                                       \
    KEYED_FILES("", KEYED_CHECKED,                                            \
                KEYED_SET                                                     \
                "myservice_jwt_secret_file %%DIR%%/witness;\n")

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

/* Writes a file of the test, which appears as a whole: "new", renamed. */
void keyed_put(const char *name, const char *text);
void keyed_rename(const char *name);

/* Calls until a call with the token has this gRPC status. */
void keyed_await(const char *token, int status);

/* How many lines of the error log have the text, and name the file of the test
 * (NULL: any); waits until there is one. */
unsigned keyed_logged(const char *text, const char *file);
void keyed_await_logged(const char *text, const char *file);


#endif /* MODULE_T_KEYED_H */
