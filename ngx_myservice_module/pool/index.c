/*
 * Chained hash tables by session, by user and by name, a treap of the free, one of the
 * suspect and one of the down instances by ring position, and a list of the
 * tentative leases in the order of their claims.
 *
 * Why not nginx's rbtree: after a crash in the middle of a change the indexes
 * are rebuilt from the records alone, by a worker that waits under the lock.
 * The treaps and the heap (pool/heap.c) link by record number inside of the
 * record, need no memory of their own, and have one shape for one set of
 * members, so that a test compares a rebuilt pool with a fresh one.  They also
 * run and are fuzzed without nginx.  ngx_rbtree_t would cost 40 bytes instead
 * of 8 a record (pointers, an ngx_uint_t key), a sentinel a tree, ties broken
 * by a second comparison of its own, and a test program that links nginx.
 */

#include <string.h>

#include "pool/index.h"
#include "pool/text.h"
#include "pool/tree.h"


static void ms_index_session_unlink(ms_pool_t *pool, uint32_t id);
static int ms_index_session_is(const ms_pool_t *pool, const ms_record_t *r,
    const ms_pool_key_t *key);
static void ms_index_user_link(ms_pool_t *pool, uint32_t id);
static void ms_index_user_unlink(ms_pool_t *pool, uint32_t id);
static void ms_index_tentative_link(ms_pool_t *pool, uint32_t id);
static void ms_index_tentative_unlink(ms_pool_t *pool, uint32_t id);


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

    } else if (ms_record_findable(r) || ms_record_spare(r)) {
        head = ms_index_heads(pool)
               + ms_index_bucket(pool, r->link.chain.hash);
        r->link.chain.next = *head;
        *head = id;
    }

    if (ms_record_counts(r)) {
        ms_index_user_link(pool, id);
    }

    if (r->state == MS_INSTANCE_TENTATIVE) {
        ms_index_tentative_link(pool, id);
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

    } else if (ms_record_findable(r) || ms_record_spare(r)) {
        ms_index_session_unlink(pool, id);
    }

    if (ms_record_counts(r)) {
        ms_index_user_unlink(pool, id);
    }

    if (r->state == MS_INSTANCE_TENTATIVE) {
        ms_index_tentative_unlink(pool, id);
    }
}


static void
ms_index_session_unlink(ms_pool_t *pool, uint32_t id)
{
    uint32_t     *p;
    ms_record_t  *r;

    r = ms_record(pool, id);
    p = ms_index_heads(pool) + ms_index_bucket(pool, r->link.chain.hash);

    while (*p != id) {
        p = &ms_record(pool, *p)->link.chain.next;
    }

    *p = r->link.chain.next;
}


uint32_t
ms_index_session(const ms_pool_t *pool, const ms_pool_key_t *key)
{
    uint32_t      id;
    ms_record_t  *r;

    id = ms_index_heads(pool)[ms_index_bucket(pool,
                                              (uint32_t) key->hash)];

    while (id != MS_POOL_NONE) {
        r = ms_record(pool, id);

        if (ms_index_session_is(pool, r, key) && !r->foreign) {
            return id;
        }

        id = r->link.chain.next;
    }

    return MS_POOL_NONE;
}


/* Of the foreign leases of the session the last one. */
uint32_t
ms_index_spare(const ms_pool_t *pool, const ms_pool_key_t *key,
    uint64_t now)
{
    uint32_t      id, found;
    ms_record_t  *r;

    found = MS_POOL_NONE;
    id = ms_index_heads(pool)[ms_index_bucket(pool,
                                              (uint32_t) key->hash)];

    while (id != MS_POOL_NONE) {
        r = ms_record(pool, id);

        if (ms_index_session_is(pool, r, key)
            && r->foreign
            && !r->asked
            && ms_record_lease_end(r) > now
            && (found == MS_POOL_NONE
                || ms_record(pool, found)->lease < r->lease))
        {
            found = id;
        }

        id = r->link.chain.next;
    }

    return found;
}


static int
ms_index_session_is(const ms_pool_t *pool, const ms_record_t *r,
    const ms_pool_key_t *key)
{
    return r->link.chain.hash == (uint32_t) key->hash
           && r->session_len == key->len
           && memcmp(ms_text_get(pool, r->session, MS_SESSION_INLINE,
                                 key->len),
                     key->session, key->len)
              == 0;
}


/* Linked both ways: without a limit one user may have all leases. */
static void
ms_index_user_link(ms_pool_t *pool, uint32_t id)
{
    uint32_t     *head;
    ms_record_t  *r;

    r = ms_record(pool, id);
    head = ms_index_user_head(pool, r->user);

    r->user_before = MS_POOL_NONE;
    r->user_next = *head;

    if (*head != MS_POOL_NONE) {
        ms_record(pool, *head)->user_before = id;
    }

    *head = id;
}


static void
ms_index_user_unlink(ms_pool_t *pool, uint32_t id)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (r->user_before != MS_POOL_NONE) {
        ms_record(pool, r->user_before)->user_next = r->user_next;

    } else {
        *ms_index_user_head(pool, r->user) = r->user_next;
    }

    if (r->user_next != MS_POOL_NONE) {
        ms_record(pool, r->user_next)->user_before = r->user_before;
    }
}


void
ms_index_user(ms_pool_t *pool, uint32_t id, uint64_t user)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (ms_record_counts(r)) {
        ms_index_user_unlink(pool, id);
    }

    r->user = ms_record_user(r->user, user);

    if (ms_record_counts(r)) {
        ms_index_user_link(pool, id);
    }
}


uint32_t
ms_index_user_count(const ms_pool_t *pool, uint64_t user, uint32_t max,
    uint64_t now)
{
    uint32_t      id, n;
    ms_record_t  *r;

    n = 0;

    for (id = *ms_index_user_head(pool, user);
         id != MS_POOL_NONE && n < max;
         id = r->user_next)
    {
        r = ms_record(pool, id);
        n += r->user == user && ms_record_lease_end(r) > now;
    }

    return n;
}


static void
ms_index_tentative_link(ms_pool_t *pool, uint32_t id)
{
    ms_record_t  *r;

    r = ms_record(pool, id);
    r->older = pool->newest;
    r->newer = MS_POOL_NONE;

    if (pool->newest != MS_POOL_NONE) {
        ms_record(pool, pool->newest)->newer = id;

    } else {
        pool->oldest = id;
    }

    pool->newest = id;
}


static void
ms_index_tentative_unlink(ms_pool_t *pool, uint32_t id)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (r->older != MS_POOL_NONE) {
        ms_record(pool, r->older)->newer = r->newer;

    } else {
        pool->oldest = r->newer;
    }

    if (r->newer != MS_POOL_NONE) {
        ms_record(pool, r->newer)->older = r->older;

    } else {
        pool->newest = r->older;
    }
}


void
ms_index_name_link(ms_pool_t *pool, uint32_t id)
{
    ms_record_t  *r, *head;

    r = ms_record(pool, id);
    head = ms_record(pool, ms_index_bucket(pool, (uint32_t) r->position));
    r->name_next = head->name_head;
    head->name_head = id;
}


void
ms_index_name_unlink(ms_pool_t *pool, uint32_t id)
{
    uint32_t     *p;
    ms_record_t  *r;

    r = ms_record(pool, id);
    p = &ms_record(pool, ms_index_bucket(pool, (uint32_t) r->position))
             ->name_head;

    while (*p != id) {
        p = &ms_record(pool, *p)->name_next;
    }

    *p = r->name_next;
}


uint32_t
ms_index_name(const ms_pool_t *pool, const void *name, size_t len,
    uint64_t position)
{
    uint32_t      id;
    ms_record_t  *r;

    id = ms_record(pool, ms_index_bucket(pool, (uint32_t) position))
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
