/*
 * Treaps of records, MS_TREE_FREE and the others: ordered sets, linked by
 * "link.tree".  Why treaps: pool/index.c.
 */

#ifndef MS_POOL_TREE_H
#define MS_POOL_TREE_H


#include "pool/record.h"


/* The caller knows that the record is not, or is, in the treap. */
void ms_tree_insert(ms_pool_t *pool, int tree, uint32_t id);
void ms_tree_erase(ms_pool_t *pool, int tree, uint32_t id);

/* The first record at "key" or clockwise from it; MS_POOL_NONE: it is empty. */
uint32_t ms_tree_from(const ms_pool_t *pool, int tree, uint64_t key);

/* For the check of the invariants: the heap order, the key, the order. */
uint64_t ms_tree_priority(const ms_record_t *r);
uint64_t ms_tree_key(const ms_record_t *r);
int ms_tree_before(const ms_pool_t *pool, uint32_t a, uint32_t b);


#endif /* MS_POOL_TREE_H */
