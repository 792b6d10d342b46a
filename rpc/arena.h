/*
 * Bump allocator of one call: everything is freed at once when the call is
 * done.  It has a limit, because a small message may need a lot of memory
 * once it is unpacked.
 */

#ifndef RPC_ARENA_H
#define RPC_ARENA_H


#include <stddef.h>

#include <protobuf-c/protobuf-c.h>


#define RPC_ARENA_INLINE  2048

typedef struct rpc_arena_chunk_s  rpc_arena_chunk_t;

typedef struct {
    unsigned char      *pos;
    unsigned char      *end;
    rpc_arena_chunk_t  *chunks;
    size_t              total;          /* bytes of all chunks */
    size_t              limit;
    int                 full;           /* an allocation was refused */
    _Alignas(16) unsigned char  first[RPC_ARENA_INLINE];
} rpc_arena_t;


void rpc_arena_init(rpc_arena_t *arena, size_t limit);

/* NULL when out of memory or over the limit. */
void *rpc_arena_alloc(rpc_arena_t *arena, size_t size);

/* Frees all memory; the arena may be used again. */
void rpc_arena_reset(rpc_arena_t *arena);

/* To unpack messages into the arena. */
ProtobufCAllocator rpc_arena_allocator(rpc_arena_t *arena);


#endif /* RPC_ARENA_H */
