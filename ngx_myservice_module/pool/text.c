/* Texts of a record: short ones inside it, long ones in a block. */

#include <string.h>

#include "pool/text.h"


int
ms_text_fits(const ms_pool_t *pool, size_t len, size_t room)
{
    return len <= room || pool->free_block != MS_POOL_NONE;
}


int
ms_text_blocks_left(const ms_pool_t *pool, int n)
{
    uint32_t  block;

    for (block = pool->free_block; n > 0 && block != MS_POOL_NONE; n--) {
        memcpy(&block, ms_text_at(pool, block), sizeof(uint32_t));
    }

    return n == 0;
}


void
ms_text_set(ms_pool_t *pool, uint8_t *area, size_t room, const void *data,
    size_t len)
{
    uint32_t   block;
    uint8_t   *p;

    if (len == 0) {
        return;
    }

    if (len <= room) {
        memcpy(area, data, len);
        return;
    }

    block = pool->free_block;
    p = ms_text_at(pool, block);
    memcpy(&pool->free_block, p, sizeof(uint32_t));
    memcpy(p, data, len);
    memcpy(area, &block, sizeof(uint32_t));
}


const uint8_t *
ms_text_get(const ms_pool_t *pool, const uint8_t *area, size_t room,
    size_t len)
{
    return len <= room ? area
                       : ms_text_at(pool, ms_text_block(area, room, len));
}


void
ms_text_free(ms_pool_t *pool, const uint8_t *area, size_t room, size_t len)
{
    uint32_t  block;

    block = ms_text_block(area, room, len);

    if (block != MS_POOL_NONE) {
        ms_text_block_free(pool, block);
    }
}


uint32_t
ms_text_block(const uint8_t *area, size_t room, size_t len)
{
    uint32_t  block;

    if (len <= room) {
        return MS_POOL_NONE;
    }

    memcpy(&block, area, sizeof(uint32_t));

    return block;
}


void
ms_text_block_free(ms_pool_t *pool, uint32_t block)
{
    memcpy(ms_text_at(pool, block), &pool->free_block, sizeof(uint32_t));
    pool->free_block = block;
}
