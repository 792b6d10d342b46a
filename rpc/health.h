/*
 * grpc.health.v1.Health (Check and Watch) on an rpc server.
 * https://github.com/grpc/grpc/blob/master/doc/health-checking.md
 */

#ifndef RPC_HEALTH_H
#define RPC_HEALTH_H


#include <stdbool.h>

#include "rpc/server.h"


typedef struct rpc_health_s  rpc_health_t;


/* Adds the service to "server" (before it starts).  Knows the names "" and
 * "service" (borrowed); starts as NOT_SERVING.  "annotate", if not NULL, runs
 * before each Check answer and may add metadata to it.  NULL on error: then
 * the server must not be started. */
rpc_health_t *rpc_health_create(rpc_server_t *server, const char *service,
    void (*annotate)(rpc_call_t *call, void *data), void *data);

/* On the server's thread, or before the server starts.  Calls of Watch get the
 * change. */
void rpc_health_set(rpc_health_t *health, bool serving);

/* NOT_SERVING for good; then ends the calls of Watch: rpc_server_stop() would
 * wait for them until the grace is over.  On the server's thread. */
void rpc_health_drain(rpc_health_t *health);

/* After rpc_server_stop(). */
void rpc_health_free(rpc_health_t *health);


#endif /* RPC_HEALTH_H */
