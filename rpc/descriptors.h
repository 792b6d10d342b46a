/*
 * What a FileDescriptorSet (protoc --descriptor_set_out) declares: its files,
 * and which of them has a symbol.  For server reflection.
 */

#ifndef RPC_DESCRIPTORS_H
#define RPC_DESCRIPTORS_H


#include <stddef.h>

#include <protobuf-c/protobuf-c.h>


#define RPC_DESCRIPTORS_NONE  ((size_t) -1)

typedef struct rpc_descriptors_s  rpc_descriptors_t;


/* The set must have the files that its files import (--include_imports).  It
 * is copied.  NULL when it is not such a set, or out of memory. */
rpc_descriptors_t *rpc_descriptors_create(const void *set, size_t len);

/* NULL is fine. */
void rpc_descriptors_free(rpc_descriptors_t *descriptors);

/* The number of the file with that name; with that symbol: message, field,
 * oneof, enum, enum value, service, method.  RPC_DESCRIPTORS_NONE if there is
 * none. */
size_t rpc_descriptors_file(const rpc_descriptors_t *descriptors,
    const char *name);
size_t rpc_descriptors_symbol(const rpc_descriptors_t *descriptors,
    const char *symbol);

/* The file and all files that it needs, serialized.  The array is valid until
 * the next call, its elements live as long as the set. */
ProtobufCBinaryData *rpc_descriptors_closure(rpc_descriptors_t *descriptors,
    size_t file, size_t *n);


#endif /* RPC_DESCRIPTORS_H */
