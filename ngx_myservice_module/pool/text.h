/*
 * Texts of a record: inside it when they fit into its "room", else in one of
 * the blocks, whose number stands in the record.
 */

#ifndef MS_POOL_TEXT_H
#define MS_POOL_TEXT_H


#include "pool/record.h"


#define MS_BLOCK_SIZE  256


static inline uint8_t *
ms_text_at(const ms_pool_t *pool, uint32_t block)
{
    return (uint8_t *) ((uintptr_t) pool + pool->blocks_offset)
           + (size_t) block * MS_BLOCK_SIZE;
}


/* "len" bytes fit: into "room", or into a block that is not in use. */
int ms_text_fits(const ms_pool_t *pool, size_t len, size_t room);

/* "n" blocks are not in use. */
int ms_text_blocks_left(const ms_pool_t *pool, int n);

/* Stores a text that fits. */
void ms_text_set(ms_pool_t *pool, uint8_t *area, size_t room,
    const void *data, size_t len);

/* Borrowed: valid until the record changes. */
const uint8_t *ms_text_get(const ms_pool_t *pool, const uint8_t *area,
    size_t room, size_t len);

void ms_text_free(ms_pool_t *pool, const uint8_t *area, size_t room,
    size_t len);

/* The block that has the text, MS_POOL_NONE: it is in the record. */
uint32_t ms_text_block(const uint8_t *area, size_t room, size_t len);

/* The block is not in use any more. */
void ms_text_block_free(ms_pool_t *pool, uint32_t block);


#endif /* MS_POOL_TEXT_H */
