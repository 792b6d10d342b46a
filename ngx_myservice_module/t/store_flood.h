/*
 * First calls that hang, or are cancelled at once, with a store: a gateway with
 * a bound on them, and one beside it.  The store is a real redis-server.
 */

#ifndef MODULE_T_STORE_FLOOD_H
#define MODULE_T_STORE_FLOOD_H


#include <stdatomic.h>
#include <sys/types.h>

#include "client.h"
#include "status.h"
#include "store_server.h"


#define STORE      8095
#define STORE_URL  "redis://127.0.0.1:8095 prefix=u"

#define UPSTREAM(name, store, more, ttl)                                      \
    "    upstream " name " {\n"                                               \
    "        myservice_sessions $myservice_session zone=" name ":1m" ttl ";\n" \
    "        myservice_health interval=100ms;\n"                              \
    "        myservice_store " STORE_URL store ";\n"                          \
    more                                                                      \
    "        server 127.0.0.1:8082;\n"                                        \
    "        server 127.0.0.1:8083;\n"                                        \
    "        server 127.0.0.1:8084;\n"                                        \
    "        keepalive 16;\n"                                                 \
    "    }\n"

#define SERVER(port, name, location)                                          \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:" port " http2;\n"                              \
    "        http2_max_concurrent_streams 1000;\n"                            \
    "        keepalive_requests 10000;\n"                                     \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log flood;\n"                          \
    "        location / {\n"                                                  \
    location                                                                  \
    "            grpc_pass grpc://" name ";\n"                                \
    "        }\n"                                                             \
    "    }\n"

/* one upstream is bounded: gateway 8080; the other is a gateway beside it */
#define CONF(store, more, location)  CONF_TTL(store, more, location, "")
#define CONF_TTL(store, more, location, ttl)                                  \
    CONF_LISTEN("8080", store, more, location, ttl)
#define CONF_LISTEN(listen, store, more, location, ttl)                       \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format flood 'decision=$myservice_decision '\n"                  \
    "        'grpc=$myservice_grpc_status session=$myservice_session';\n"     \
    STATUS_SERVER                                                             \
    UPSTREAM("u", store, more, ttl)                                           \
    UPSTREAM("v", SLOW, "", ttl)                                              \
    SERVER(listen, "u", location)                                             \
    SERVER("8081", "v", "")                                                   \
    "}\n"

#define SLOW        " timeout=5s"
#define CONNECTION  "myservice_calls tentative_connection=1;\n"
#define SUBJECT     "myservice_calls tentative=1;\n"
#define TOKENS      "myservice_jwt on;\n"                                     \
                    "myservice_jwt_secret_file %%DIR%%/secret;\n"

#define MANY  "too many calls"
#define NONE  "failed here"


extern pid_t          flood_server;     /* the store's */
extern redisContext  *flood_store;
extern atomic_uint    flood_hung;       /* calls */


/*
 * Starts a store, three instances and the gateway, waits until the store takes
 * sessions, and connects.  Sessions whose names begin with "h" hang, "e" get an
 * error: such a first call gives its instance back.
 */
client_t *flood_start(const char *conf);

client_t *flood_client(void);

client_call_t *flood_token_get(client_t *c, const char *user,
    const char *session);

/* The call is repeated until it gets this status; "user" NULL: no token. */
void flood_await(client_t *c, const char *user, const char *session,
    int status);

/* The call is repeated until an instance has it. */
void flood_hang(client_t *c, const char *user, const char *session);

/* Until "n" calls or more have hung. */
void flood_await_hung(unsigned n);


#endif /* MODULE_T_STORE_FLOOD_H */
