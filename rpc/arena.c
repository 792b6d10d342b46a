/*
 * Memory of one call: allocated by moving a pointer, freed all at once.
 */

#include "rpc/arena.h"

#include <stdint.h>
#include <stdlib.h>


#define ARENA_CHUNK  8192


struct rpc_arena_chunk_s {
    rpc_arena_chunk_t  *next;
    _Alignas(16) unsigned char  data[];
};


static int arena_grow(rpc_arena_t *arena, size_t size);
static void *arena_alloc(void *data, size_t size);
static void arena_free(void *data, void *p);


void
rpc_arena_init(rpc_arena_t *arena, size_t limit)
{
    arena->pos = arena->first;
    arena->end = arena->first + sizeof(arena->first);
    arena->chunks = NULL;
    arena->total = 0;
    arena->limit = limit;
    arena->full = 0;
}


void *
rpc_arena_alloc(rpc_arena_t *arena, size_t size)
{
    void  *p;

    if (size > SIZE_MAX / 2) {
        arena->full = 1;
        return NULL;
    }

    size = (size + 15) & ~(size_t) 15;

    if (size > (size_t) (arena->end - arena->pos)
        && arena_grow(arena, size) != 0)
    {
        arena->full = 1;
        return NULL;
    }

    p = arena->pos;
    arena->pos += size;

    return p;
}


static int
arena_grow(rpc_arena_t *arena, size_t size)
{
    size_t              n;
    rpc_arena_chunk_t  *chunk;

    /* doubling keeps the number of chunks logarithmic */

    n = arena->total > ARENA_CHUNK ? arena->total : ARENA_CHUNK;

    if (n < size) {
        n = size;
    }

    if (n > arena->limit - arena->total) {
        n = arena->limit - arena->total;
    }

    if (n < size) {
        return -1;
    }

    chunk = malloc(sizeof(*chunk) + n);
    if (chunk == NULL) {
        return -1;
    }

    chunk->next = arena->chunks;
    arena->chunks = chunk;
    arena->total += n;
    arena->pos = chunk->data;
    arena->end = chunk->data + n;

    return 0;
}


void
rpc_arena_reset(rpc_arena_t *arena)
{
    rpc_arena_chunk_t  *chunk, *next;

    for (chunk = arena->chunks; chunk != NULL; chunk = next) {
        next = chunk->next;
        free(chunk);
    }

    rpc_arena_init(arena, arena->limit);
}


ProtobufCAllocator
rpc_arena_allocator(rpc_arena_t *arena)
{
    ProtobufCAllocator  allocator;

    allocator.alloc = arena_alloc;
    allocator.free = arena_free;
    allocator.allocator_data = arena;

    return allocator;
}


static void *
arena_alloc(void *data, size_t size)
{
    return rpc_arena_alloc(data, size);
}


static void
arena_free(void *data, void *p)
{
    (void) data;
    (void) p;
}
