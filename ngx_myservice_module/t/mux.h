/*
 * Many calls at once beneath grpc_pass: a gateway with myservice_multiplex, and
 * fakes that hold calls until the test lets them go.
 */

#ifndef MODULE_T_MUX_H
#define MODULE_T_MUX_H


#include <stdatomic.h>

#include "client.h"
#include "fake.h"
#include "harness.h"
#include "status.h"


/* "upstreams" are whole blocks, "server" has directives of the server. */
#define CONF_WITH(workers, upstreams, server)                                 \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes " workers ";\n"                                         \
    "events { worker_connections 4096; }\n"                                   \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format mux 'decision=$myservice_decision '\n"                    \
    "        'instance=$myservice_instance grpc=$myservice_grpc_status '\n"   \
    "        'upstream=\"$upstream_addr\"';\n"                                \
    "    large_client_header_buffers 4 64k;\n"                                \
    "    client_max_body_size 0;\n"                                           \
    "    keepalive_requests 1000000;\n"                                       \
    "    http2_max_concurrent_streams 1024;\n"                                \
    upstreams                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log mux;\n"                            \
    server                                                                    \
    "    }\n"                                                                 \
    STATUS_SERVER                                                             \
    "}\n"

#define UPSTREAM(name, servers, multiplex)                                    \
    "    upstream " name " {\n"                                               \
    "        myservice_sessions $myservice_session zone=" name ":1m;\n"       \
    "        myservice_release MyServiceShutdown;\n"                          \
    servers                                                                   \
    multiplex                                                                 \
    "    }\n"

#define PASS(directives)                                                      \
    "        location / {\n"                                                  \
    directives                                                                \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"

#define CONF(servers, multiplex, directives)                                  \
    CONF_WITH("1", UPSTREAM("u", servers, multiplex), PASS(directives))

#define ON                "myservice_multiplex on;\n"
#define ON_WITH(options)  "myservice_multiplex on " options ";\n"

#define ONE          "server 127.0.0.1:8081 fail_timeout=1s;\n"
#define TWO          ONE "server 127.0.0.1:8082 fail_timeout=1s;\n"
#define THREE        TWO "server 127.0.0.1:8083 fail_timeout=1s;\n"

#define RETRY_ECHO   "myservice_retry MyServiceEcho;\n"
#define UNAVAILABLE  "backend service unavailable"

#define CALLS_MAX    1024


/* A test's calls */
typedef struct {
    size_t          n;
    client_call_t  *calls[CALLS_MAX];
} mux_calls_t;


/* Starts "n" more Echo calls of the session. */
void mux_start(mux_calls_t *calls, client_t *client, const char *session,
    size_t n);

/* The same in one segment. */
void mux_start_at_once(mux_calls_t *calls, client_t *client,
    const char *session, size_t n);

/* Waits for all of them; they are well, with one message, and forgotten. */
void mux_all_ok(mux_calls_t *calls);

/* The same for a status and its message. */
void mux_all(mux_calls_t *calls, int status, const char *message);

/* "n" calls of the session "s1" at once, which the fake holds, then answers; all
 * are well. */
void mux_together(mux_calls_t *calls, client_t *client, fake_t *fake,
    unsigned n);

/* Serves the clients until the fake holds that many calls. */
void mux_await_held(fake_t *fake, unsigned n);

/* Serves the clients until the number is at least, or at most, "n". */
void mux_await(atomic_uint *number, unsigned n);
void mux_await_open(fake_t *fake, int n);


#endif /* MODULE_T_MUX_H */
