/*
 * A TCP proxy on this machine that can fall silent: the connections stay open,
 * and not a byte goes over them.
 */

#ifndef ITESTS_PROXY_H
#define ITESTS_PROXY_H


#include <stdbool.h>


typedef struct proxy_s  proxy_t;


/* Listens on 127.0.0.1:"port" and connects each client to "target", as
 * "127.0.0.1:6390".  NULL when the port is taken. */
proxy_t *proxy_start(int port, const char *target);

/* From any thread. */
void proxy_silence(proxy_t *proxy, bool silent);

/* How many connections it has had. */
int proxy_accepted(proxy_t *proxy);

void proxy_stop(proxy_t *proxy);


#endif /* ITESTS_PROXY_H */
