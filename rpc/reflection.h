/*
 * Server reflection (grpc.reflection.v1 and v1alpha) on an rpc server, so that
 * grpcurl, grpcui and the like need no proto files.
 * https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
 */

#ifndef RPC_REFLECTION_H
#define RPC_REFLECTION_H


#include <stddef.h>

#include "rpc/server.h"


typedef struct rpc_reflection_s  rpc_reflection_t;


/* All of proto/ and what it imports, as a serialized FileDescriptorSet. */
extern const unsigned char  rpc_protos[];
extern const size_t         rpc_protos_len;


/*
 * Adds both services to "server" (before it starts).  They list the services
 * that are registered there, and describe everything that is in "set": what
 * protoc --include_imports --descriptor_set_out writes.  NULL on error: then
 * the server must not be started.
 */
rpc_reflection_t *rpc_reflection_create(rpc_server_t *server, const void *set,
    size_t len);

/* Ends the calls: rpc_server_stop() would wait for them until the grace is
 * over.  On the server's thread. */
void rpc_reflection_drain(rpc_reflection_t *reflection);

/* After rpc_server_stop().  NULL is fine. */
void rpc_reflection_free(rpc_reflection_t *reflection);


#endif /* RPC_REFLECTION_H */
