/*
 * A binary heap of records by "due".  A key is a lower bound: a record that is
 * due later than its key says gets a new key when it comes up, so that a use
 * of a lease costs one store.
 */

#ifndef MS_POOL_HEAP_H
#define MS_POOL_HEAP_H


#include "pool/record.h"


/* Record numbers, pool->heap_len of them. */
static inline uint32_t *
ms_heap(const ms_pool_t *pool)
{
    return (uint32_t *) ((uintptr_t) pool + pool->heap_offset);
}


/* Makes sure that the record comes up at "due" at the latest. */
void ms_heap_set(ms_pool_t *pool, uint32_t id, uint64_t due);

/* Takes the first record out. */
void ms_heap_pop(ms_pool_t *pool);

/* Gives the first record a later key. */
void ms_heap_later(ms_pool_t *pool, uint64_t due);


#endif /* MS_POOL_HEAP_H */
