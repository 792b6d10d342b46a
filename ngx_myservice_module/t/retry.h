/*
 * Failures of instances: a gateway and what its instances do wrong.
 */

#ifndef MODULE_T_RETRY_H
#define MODULE_T_RETRY_H


#define CONF(servers, directives)                                             \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format retry 'decision=$myservice_decision '\n"                  \
    "        'instance=$myservice_instance grpc=$myservice_grpc_status '\n"   \
    "        'upstream=\"$upstream_addr\"';\n"                                \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_release MyServiceShutdown;\n"                          \
    servers                                                                   \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log retry;\n"                          \
    "        location / {\n"                                                  \
    directives                                                                \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define ONE          "server 127.0.0.1:8081;\n"
#define TWO          ONE "server 127.0.0.1:8082;\n"
#define RETRY_ECHO   "myservice_retry MyServiceEcho;\n"

#define UNAVAILABLE  "backend service unavailable"
#define CANCEL       8
#define REFUSED      7                  /* RFC 9113 section 7 */


/* What an instance does with a request. */
typedef enum {
    WELL = 0,
    GO_AWAY,
    GO_AWAY_AND_CLOSE,
    REFUSE_STREAM,
    CLOSE,
    CLOSE_AFTER_HEADERS,
    RESET
} fault_t;


#endif /* MODULE_T_RETRY_H */
