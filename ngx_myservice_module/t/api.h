/*
 * Requests to myservice_api at /api/ of 127.0.0.1:8080: each answer is held
 * against docs/openapi.json.
 */

#ifndef MODULE_T_API_H
#define MODULE_T_API_H


#include <jansson.h>

#include "client.h"


#define CONF(api, more)                                                       \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=z1:1m;\n"             \
    "        server 127.0.0.1:8081;\n"                                        \
    "        server 127.0.0.1:8082;\n"                                        \
    "        " more "\n"                                                      \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "        location /api/ { " api " }\n"                                    \
    "    }\n"                                                                 \
    "}\n"

#define WRITE  CONF("myservice_api write=on host=Gateway.Example;", "")

#define JSON  { "content-type", "application/json" }
#define NONE  { NULL, NULL }

/* paths in docs/openapi.json */
#define INSTANCES  "/upstreams/{upstream}/instances"
#define INSTANCE   INSTANCES "/{address}"
#define SESSIONS   "/upstreams/{upstream}/sessions"
#define SESSION    SESSIONS "/{session}"
#define MOVE       SESSION "/move"


/* the headers of a change */
extern const client_header_t  api_change[];


/*
 * Sends a request and checks status and answer; "template" is its path in
 * docs/openapi.json, NULL for one that is not there.  The answer, NULL if it
 * is empty, is the caller's to free.
 */
json_t *api_ask(const char *method, const char *path,
    const char *template, const client_header_t *more, const char *body,
    int status);

/* The path of the instance 127.0.0.1:number; valid until the next call. */
const char *api_at(int number);


#endif /* MODULE_T_API_H */
