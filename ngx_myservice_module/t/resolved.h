/*
 * Instances that the gateway on 127.0.0.1:8080 finds by a name: "app.test" of
 * the name server on 127.0.0.1:8119.
 */

#ifndef MODULE_T_RESOLVED_H
#define MODULE_T_RESOLVED_H


#include "client.h"
#include "dns.h"


#define DNS      "myservice_resolver 127.0.0.1:8119 ipv6=off;\n"
#define APP      "myservice_resolve app.test:%%PORT_8081%% "
#define SRV      "myservice_resolve app.test service=grpc "
#define SRVNAME  "_grpc._tcp.app.test"
#define BUSY     "all instances are busy"


/* The name server, with these addresses of "app.test", and "n" instances at
 * 127.0.0.2 and on, all with port 8081, named "two" and on. */
dns_t *resolved_start(int n, const char *addresses);

/* An Echo on a connection of its own, waits for the end; the second is answered
 * by the instance "pod". */
client_call_t *resolved_echo(const char *session);
void resolved_echo_at(const char *session, const char *pod);


#endif /* MODULE_T_RESOLVED_H */
