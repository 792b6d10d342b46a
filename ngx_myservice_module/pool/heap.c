/* A binary heap of records by the time when something is due. */

#include "pool/heap.h"


static void ms_heap_put(ms_pool_t *pool, uint32_t pos, uint32_t id);
static void ms_heap_up(ms_pool_t *pool, uint32_t pos);
static void ms_heap_down(ms_pool_t *pool, uint32_t pos);


void
ms_heap_set(ms_pool_t *pool, uint32_t id, uint64_t due)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (r->heap_pos == MS_POOL_NONE) {
        r->due = due;
        ms_heap_put(pool, pool->heap_len, id);
        ms_heap_up(pool, pool->heap_len++);
        return;
    }

    if (due < r->due) {
        r->due = due;
        ms_heap_up(pool, r->heap_pos);
    }
}


void
ms_heap_pop(ms_pool_t *pool)
{
    uint32_t  *heap;

    heap = ms_heap(pool);

    ms_record(pool, heap[0])->heap_pos = MS_POOL_NONE;
    pool->heap_len--;

    if (pool->heap_len > 0) {
        ms_heap_put(pool, 0, heap[pool->heap_len]);
        ms_heap_down(pool, 0);
    }
}


void
ms_heap_later(ms_pool_t *pool, uint64_t due)
{
    ms_record(pool, ms_heap(pool)[0])->due = due;
    ms_heap_down(pool, 0);
}


static void
ms_heap_put(ms_pool_t *pool, uint32_t pos, uint32_t id)
{
    ms_heap(pool)[pos] = id;
    ms_record(pool, id)->heap_pos = pos;
}


static void
ms_heap_up(ms_pool_t *pool, uint32_t pos)
{
    uint32_t  *heap, id, up;
    uint64_t   due;

    heap = ms_heap(pool);
    id = heap[pos];
    due = ms_record(pool, id)->due;

    while (pos > 0) {
        up = (pos - 1) / 2;

        if (ms_record(pool, heap[up])->due <= due) {
            break;
        }

        ms_heap_put(pool, pos, heap[up]);
        pos = up;
    }

    ms_heap_put(pool, pos, id);
}


static void
ms_heap_down(ms_pool_t *pool, uint32_t pos)
{
    uint32_t  *heap, id, child;
    uint64_t   due;

    heap = ms_heap(pool);
    id = heap[pos];
    due = ms_record(pool, id)->due;

    /* no overflow: "capacity" times the size of a record fits into memory */

    while ((child = pos * 2 + 1) < pool->heap_len) {

        if (child + 1 < pool->heap_len
            && ms_record(pool, heap[child + 1])->due
               < ms_record(pool, heap[child])->due)
        {
            child++;
        }

        if (due <= ms_record(pool, heap[child])->due) {
            break;
        }

        ms_heap_put(pool, pos, heap[child]);
        pos = child;
    }

    ms_heap_put(pool, pos, id);
}
