/*
 * Revoked tokens in tests: a gateway with two workers, its API, and tokens of
 * which a test chooses the claims.
 */

#ifndef MODULE_T_REVOKED_H
#define MODULE_T_REVOKED_H


#include "api.h"
#include "client.h"


/* "more" stands after the size of the zone */
#define REVOKED_CONF(zone)                                                    \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    zone                                                                      \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=z:1m\n"               \
    "            expires=$myservice_jwt_expires;\n"                           \
    "        server 127.0.0.1:8081;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / {\n"                                                  \
    "            myservice_jwt on;\n"                                         \
    "            myservice_jwt_secret_file %%DIR%%/secret;\n"                 \
    "            add_header x-worker $pid;\n"                                 \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "        location /api/ { myservice_api write=on; }\n"                    \
    "        location = /metrics { myservice_metrics; }\n"                    \
    "    }\n"                                                                 \
    "}\n"

#define REVOKED_ZONE(size)  "myservice_jwt_revocations zone=r:" size ";\n"
#define REVOKED_FILE                                                          \
    "myservice_jwt_revocations zone=r:64k file=%%DIR%%/revoked.json;\n"

#define REVOKED      "token revoked"
#define REVOCATIONS  "/revocations"


/* A token of session "s1" by "me" for "ann"; "jti" and "iat" may be NULL,
 * "iat" is added to now. */
const char *revoked_token(const char *jti, const int *iat);

/* a call with the token to session "s1" */
client_call_t *revoked_call(client_t *client, const char *token);

/* The same on a connection of its own. */
client_call_t *revoked_once(const char *token);

/* A connection to each of the two workers. */
void revoked_workers(client_t *clients[2], const char *token);

/* POST of a body made with printf(); the answer is the caller's to free */
json_t *revoked_post(int status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* How many entries the gateway has. */
long revoked_total(void);


#endif /* MODULE_T_REVOKED_H */
