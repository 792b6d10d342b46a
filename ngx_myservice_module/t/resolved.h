/*
 * Instances that the gateway on 127.0.0.1:8080 finds by a name: "app.test" of
 * the name server on 127.0.0.1:8119.
 */

#ifndef MODULE_T_RESOLVED_H
#define MODULE_T_RESOLVED_H


#include "client.h"
#include "dns.h"
#include "status.h"


#define DNS      "myservice_resolver 127.0.0.1:8119 ipv6=off;\n"
#define APP      "myservice_resolve app.test:%%PORT_8081%% "
#define SRV      "myservice_resolve app.test service=grpc "
#define SRVNAME  "_grpc._tcp.app.test"
#define BUSY     "all instances are busy"

#define RESOLVED_CONF(workers, zone, upstream)                                \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes " workers ";\n"                                         \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format life 'decision=$myservice_decision '\n"                   \
    "        'session=$myservice_session';\n"                                 \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=" zone ";\n"          \
    "        myservice_resolver_timeout 1s;\n"                                \
    upstream                                                                  \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log life;\n"                           \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "    }\n"                                                                 \
    STATUS_SERVER                                                             \
    "}\n"


/* The name server, with these addresses of "app.test", and "n" instances at
 * 127.0.0.2 and on, all with port 8081, named "two" and on. */
dns_t *resolved_start(int n, const char *addresses);

/* An Echo on a connection of its own, which the instance "pod" must answer. */
void resolved_echo_at(const char *session, const char *pod);

/* Questions for the name within so much time at least. */
unsigned resolved_questions(dns_t *dns, const char *name, long long ms);

/* One worker asks for the name, every two seconds, not each of them. */
void resolved_by_one(dns_t *dns, const char *name);

/* How often the error log has the text. */
unsigned resolved_logged(const char *text);

/* Warnings of this module about names: nginx has some of its own. */
unsigned resolved_warnings(void);


#endif /* MODULE_T_RESOLVED_H */
