/*
 * Treaps by (position, number), that of the suspects by (time until which they
 * are suspect, position, number).  The priority depends on the position alone,
 * so the shape depends on the set of members only, not on its history.
 */

#include "pool/tree.h"


static int ms_tree_above(const ms_pool_t *pool, uint32_t a, uint32_t b);


uint64_t
ms_tree_priority(const ms_record_t *r)
{
    uint64_t  x;

    x = r->position + UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);

    return x ^ (x >> 31);
}


uint64_t
ms_tree_key(const ms_record_t *r)
{
    return ms_record_tree(r) == MS_TREE_SUSPECT ? r->suspect : r->position;
}


int
ms_tree_before(const ms_pool_t *pool, uint32_t a, uint32_t b)
{
    uint64_t  x, y;

    x = ms_tree_key(ms_record(pool, a));
    y = ms_tree_key(ms_record(pool, b));

    if (x != y) {
        return x < y;
    }

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


void
ms_tree_insert(ms_pool_t *pool, int tree, uint32_t id)
{
    uint32_t     *p, *left, *right, node;
    ms_record_t  *r;

    p = &pool->roots[tree];

    while (*p != MS_POOL_NONE && ms_tree_above(pool, *p, id)) {
        r = ms_record(pool, *p);
        p = ms_tree_before(pool, id, *p) ? &r->link.tree.left
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

        if (ms_tree_before(pool, node, id)) {
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


void
ms_tree_erase(ms_pool_t *pool, int tree, uint32_t id)
{
    uint32_t     *p, left, right;
    ms_record_t  *r;

    p = &pool->roots[tree];

    while (*p != id) {
        r = ms_record(pool, *p);
        p = ms_tree_before(pool, id, *p) ? &r->link.tree.left
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


uint32_t
ms_tree_from(const ms_pool_t *pool, int tree, uint64_t key)
{
    uint32_t      node, found;
    ms_record_t  *r;

    found = MS_POOL_NONE;
    node = pool->roots[tree];

    while (node != MS_POOL_NONE) {
        r = ms_record(pool, node);

        if (ms_tree_key(r) >= key) {
            found = node;
            node = r->link.tree.left;

        } else {
            node = r->link.tree.right;
        }
    }

    if (found == MS_POOL_NONE && key != 0) {
        return ms_tree_from(pool, tree, 0);
    }

    return found;
}
