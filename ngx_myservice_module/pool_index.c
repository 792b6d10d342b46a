/*
 * The indexes of the pool: chained hash tables by session and by name, a treap
 * of the free and one of the down instances by ring position, a heap by due
 * time, and the blocks for long texts.
 */

#include <string.h>

#include <sodium.h>

#include "pool_internal.h"


/*
 * The ring must look the same to every gateway and after every restart, so
 * its key is published.  That is safe: choosing names or sessions that are
 * neighbours on the ring gains nothing, one lookup is O(log n) anyway.
 */
const uint8_t  ms_pool_ring_key[16];


static int ms_record_before(const ms_pool_t *pool, uint32_t a, uint32_t b);
static int ms_tree_above(const ms_pool_t *pool, uint32_t a, uint32_t b);
static void ms_tree_insert(ms_pool_t *pool, int tree, uint32_t id);
static void ms_tree_erase(ms_pool_t *pool, int tree, uint32_t id);
static void ms_session_unlink(ms_pool_t *pool, uint32_t id);
static void ms_heap_put(ms_pool_t *pool, uint32_t pos, uint32_t id);
static void ms_heap_up(ms_pool_t *pool, uint32_t pos);
static void ms_heap_down(ms_pool_t *pool, uint32_t pos);


uint64_t
ms_pool_hash(const void *data, size_t len, const uint8_t key[16])
{
    int       i;
    uint8_t   out[crypto_shorthash_BYTES];
    uint64_t  hash;

    crypto_shorthash(out, data, len, key);

    hash = 0;
    for (i = 7; i >= 0; i--) {
        hash = hash << 8 | out[i];
    }

    return hash;
}


/* texts */

int
ms_text_fits(const ms_pool_t *pool, size_t len, size_t room)
{
    return len <= room || pool->free_block != MS_POOL_NONE;
}


/* The caller has made sure that it fits. */
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
    p = ms_pool_block(pool, block);
    memcpy(&pool->free_block, p, sizeof(uint32_t));
    memcpy(p, data, len);
    memcpy(area, &block, sizeof(uint32_t));
}


const uint8_t *
ms_text_get(const ms_pool_t *pool, const uint8_t *area, size_t room,
    size_t len)
{
    return len <= room ? area
                       : ms_pool_block(pool, ms_text_block(area, room, len));
}


void
ms_text_free(ms_pool_t *pool, const uint8_t *area, size_t room, size_t len)
{
    uint32_t  block;

    block = ms_text_block(area, room, len);

    if (block != MS_POOL_NONE) {
        memcpy(ms_pool_block(pool, block), &pool->free_block,
               sizeof(uint32_t));
        pool->free_block = block;
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


/* by session, or by ring position */

/* The treap that has the record, or -1. */
int
ms_record_tree(const ms_record_t *r)
{
    if (r->state == MS_INSTANCE_FREE) {
        return MS_TREE_FREE;
    }

    if (r->state == MS_INSTANCE_DOWN && r->lease == 0) {
        return MS_TREE_DOWN;
    }

    return -1;
}


int
ms_record_findable(const ms_record_t *r)
{
    return r->lease != 0 && r->session_len != 0 && !r->foreign;
}


void
ms_index_link(ms_pool_t *pool, uint32_t id)
{
    int           tree;
    uint32_t     *head;
    ms_record_t  *r;

    r = ms_record(pool, id);
    tree = ms_record_tree(r);

    if (tree >= 0) {
        ms_tree_insert(pool, tree, id);

    } else if (ms_record_findable(r)) {
        head = ms_pool_sessions(pool)
               + ms_session_bucket(pool, r->link.chain.hash);
        r->link.chain.next = *head;
        *head = id;
    }
}


void
ms_index_unlink(ms_pool_t *pool, uint32_t id)
{
    int           tree;
    ms_record_t  *r;

    r = ms_record(pool, id);
    tree = ms_record_tree(r);

    if (tree >= 0) {
        ms_tree_erase(pool, tree, id);

    } else if (ms_record_findable(r)) {
        ms_session_unlink(pool, id);
    }
}


static void
ms_session_unlink(ms_pool_t *pool, uint32_t id)
{
    uint32_t     *p;
    ms_record_t  *r;

    r = ms_record(pool, id);
    p = ms_pool_sessions(pool) + ms_session_bucket(pool, r->link.chain.hash);

    while (*p != id) {
        p = &ms_record(pool, *p)->link.chain.next;
    }

    *p = r->link.chain.next;
}


uint32_t
ms_session_find(const ms_pool_t *pool, const ms_pool_key_t *key)
{
    uint32_t      id, hash;
    ms_record_t  *r;

    hash = (uint32_t) key->hash;
    id = ms_pool_sessions(pool)[ms_session_bucket(pool, hash)];

    while (id != MS_POOL_NONE) {
        r = ms_record(pool, id);

        if (r->link.chain.hash == hash
            && r->session_len == key->len
            && memcmp(ms_text_get(pool, r->session, MS_SESSION_INLINE,
                                  key->len),
                      key->session, key->len)
               == 0)
        {
            return id;
        }

        id = r->link.chain.next;
    }

    return MS_POOL_NONE;
}


uint32_t
ms_session_bucket(const ms_pool_t *pool, uint32_t hash)
{
    return (uint32_t) ((uint64_t) hash * pool->capacity >> 32);
}


/* by name: the ring position is its hash */

void
ms_name_link(ms_pool_t *pool, uint32_t id)
{
    ms_record_t  *r, *head;

    r = ms_record(pool, id);
    head = ms_record(pool, ms_session_bucket(pool, (uint32_t) r->position));
    r->name_next = head->name_head;
    head->name_head = id;
}


void
ms_name_unlink(ms_pool_t *pool, uint32_t id)
{
    uint32_t     *p;
    ms_record_t  *r;

    r = ms_record(pool, id);
    p = &ms_record(pool, ms_session_bucket(pool, (uint32_t) r->position))
             ->name_head;

    while (*p != id) {
        p = &ms_record(pool, *p)->name_next;
    }

    *p = r->name_next;
}


uint32_t
ms_name_find(const ms_pool_t *pool, const void *name, size_t len,
    uint64_t position)
{
    uint32_t      id;
    ms_record_t  *r;

    id = ms_record(pool, ms_session_bucket(pool, (uint32_t) position))
             ->name_head;

    while (id != MS_POOL_NONE) {
        r = ms_record(pool, id);

        if (r->position == position
            && r->name_len == len
            && memcmp(ms_text_get(pool, r->name, MS_NAME_INLINE, len), name,
                      len)
               == 0)
        {
            return id;
        }

        id = r->name_next;
    }

    return MS_POOL_NONE;
}


/*
 * Treaps by (position, number).  The priority depends on the position alone,
 * so the shape depends on the set of members only, not on its history.
 */

uint64_t
ms_tree_priority(const ms_record_t *r)
{
    uint64_t  x;

    x = r->position + UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);

    return x ^ (x >> 31);
}


static int
ms_record_before(const ms_pool_t *pool, uint32_t a, uint32_t b)
{
    uint64_t  x, y;

    x = ms_record(pool, a)->position;
    y = ms_record(pool, b)->position;

    return x < y || (x == y && a < b);
}


static int
ms_tree_above(const ms_pool_t *pool, uint32_t a, uint32_t b)
{
    uint64_t  x, y;

    x = ms_tree_priority(ms_record(pool, a));
    y = ms_tree_priority(ms_record(pool, b));

    return x > y || (x == y && a < b);
}


static void
ms_tree_insert(ms_pool_t *pool, int tree, uint32_t id)
{
    uint32_t     *p, *left, *right, node;
    ms_record_t  *r;

    p = &pool->roots[tree];

    while (*p != MS_POOL_NONE && ms_tree_above(pool, *p, id)) {
        r = ms_record(pool, *p);
        p = ms_record_before(pool, id, *p) ? &r->link.tree.left
                                           : &r->link.tree.right;
    }

    /* split what hangs here into what is before and after the new node */

    node = *p;
    *p = id;
    r = ms_record(pool, id);
    left = &r->link.tree.left;
    right = &r->link.tree.right;

    while (node != MS_POOL_NONE) {
        r = ms_record(pool, node);

        if (ms_record_before(pool, node, id)) {
            *left = node;
            left = &r->link.tree.right;
            node = *left;

        } else {
            *right = node;
            right = &r->link.tree.left;
            node = *right;
        }
    }

    *left = MS_POOL_NONE;
    *right = MS_POOL_NONE;
}


static void
ms_tree_erase(ms_pool_t *pool, int tree, uint32_t id)
{
    uint32_t     *p, left, right;
    ms_record_t  *r;

    p = &pool->roots[tree];

    while (*p != id) {
        r = ms_record(pool, *p);
        p = ms_record_before(pool, id, *p) ? &r->link.tree.left
                                           : &r->link.tree.right;
    }

    r = ms_record(pool, id);
    left = r->link.tree.left;
    right = r->link.tree.right;

    while (left != MS_POOL_NONE && right != MS_POOL_NONE) {

        if (ms_tree_above(pool, left, right)) {
            *p = left;
            p = &ms_record(pool, left)->link.tree.right;
            left = *p;

        } else {
            *p = right;
            p = &ms_record(pool, right)->link.tree.left;
            right = *p;
        }
    }

    *p = left != MS_POOL_NONE ? left : right;
}


/* The first one at the position or after it, clockwise. */
uint32_t
ms_tree_from(const ms_pool_t *pool, int tree, uint64_t position)
{
    uint32_t      node, found;
    ms_record_t  *r;

    found = MS_POOL_NONE;
    node = pool->roots[tree];

    while (node != MS_POOL_NONE) {
        r = ms_record(pool, node);

        if (r->position >= position) {
            found = node;
            node = r->link.tree.left;

        } else {
            node = r->link.tree.right;
        }
    }

    if (found == MS_POOL_NONE && position != 0) {
        return ms_tree_from(pool, tree, 0);
    }

    return found;
}


/*
 * The heap.  A key is a lower bound: what is due later than its key says gets
 * a new key when it comes up, so that the use of a lease costs one store.
 */

static void
ms_heap_put(ms_pool_t *pool, uint32_t pos, uint32_t id)
{
    ms_pool_heap(pool)[pos] = id;
    ms_record(pool, id)->heap_pos = pos;
}


static void
ms_heap_up(ms_pool_t *pool, uint32_t pos)
{
    uint32_t  *heap, id, up;
    uint64_t   due;

    heap = ms_pool_heap(pool);
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

    heap = ms_pool_heap(pool);
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


/* Makes sure that the record comes up at "due" at the latest. */
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

    heap = ms_pool_heap(pool);

    ms_record(pool, heap[0])->heap_pos = MS_POOL_NONE;
    pool->heap_len--;

    if (pool->heap_len > 0) {
        ms_heap_put(pool, 0, heap[pool->heap_len]);
        ms_heap_down(pool, 0);
    }
}


/* Gives the first one a later key. */
void
ms_heap_later(ms_pool_t *pool, uint64_t due)
{
    ms_record(pool, ms_pool_heap(pool)[0])->due = due;
    ms_heap_down(pool, 0);
}
