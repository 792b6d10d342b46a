/*
 * Two gateways with one store, a real redis-server: two upstreams of one nginx,
 * "u" at 127.0.0.1:8080 with the API, and "v" at 127.0.0.1:8081.
 */

#ifndef MODULE_T_STORE_PAIR_H
#define MODULE_T_STORE_PAIR_H


#include <hiredis/hiredis.h>
#include <sys/types.h>


#define PAIR_STORE  8090

/* "zone" is its size, "servers" are lines */
#define PAIR_UPSTREAM(port, name, zone, servers)                              \
    "    upstream " name " {\n"                                               \
    "        myservice_sessions $myservice_session zone=" name ":" zone ";\n" \
    "        myservice_store redis://127.0.0.1:8090 prefix=u timeout=5s;\n"   \
    "        " servers "\n"                                                   \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:" port " http2;\n"                              \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://" name "; }\n"                     \
    "        location /api/ { myservice_api write=on; }\n"                    \
    "    }\n"

#define PAIR_CONF(upstreams)                                                  \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    upstreams                                                                 \
    "}\n"


extern pid_t          pair_server;
extern redisContext  *pair_store;       /* a connection of the test's */


/* Starts a store, the instances 8082 and 8083, and nginx. */
void pair_begin(const char *conf);

/* The store begins anew, empty; it was killed. */
void pair_again(void);

/* The path of an instance in the API, static. */
const char *pair_path(const char *upstream, int number);

/* The record that the store has of an instance, static; "" if it has none. */
const char *pair_record(int number);

void pair_await_record(int number, const char *text);

/* Calls at a port until the session has an instance. */
void pair_call(int port, const char *session);


#endif /* MODULE_T_STORE_PAIR_H */
