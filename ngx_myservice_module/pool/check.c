/*
 * Every invariant of the pool, for the tests.
 */

#include <string.h>

#include "pool/heap.h"
#include "pool/index.h"
#include "pool/text.h"
#include "pool/tree.h"


#define MS_CHECK_DEPTH  512


typedef struct {
    uint32_t  found[MS_TREES];          /* records that belong into a treap */
    uint32_t  chained;                  /* by session */
    uint32_t  counted;                  /* for users */
    uint32_t  blocks;                   /* in use */
    uint32_t  members;
} ms_check_t;


static const char *ms_check_records(const ms_pool_t *pool, ms_check_t *check);
static const char *ms_check_record(const ms_pool_t *pool, uint32_t id);
static const char *ms_check_owner(const ms_pool_t *pool, uint32_t id);
static const char *ms_check_session(const ms_pool_t *pool, uint32_t id);
static const char *ms_check_counts(const ms_pool_t *pool,
    const ms_check_t *check);
static const char *ms_check_lists(const ms_pool_t *pool,
    const ms_check_t *check);
static const char *ms_check_users(const ms_pool_t *pool,
    const ms_check_t *check);
static const char *ms_check_tentative(const ms_pool_t *pool);
static const char *ms_check_trees(const ms_pool_t *pool,
    const ms_check_t *check);
static const char *ms_check_tree(const ms_pool_t *pool, int tree,
    uint32_t node, uint32_t depth, uint32_t *last, uint32_t *count);
static const char *ms_check_heap(const ms_pool_t *pool);


const char *
ms_pool_check(const ms_pool_t *pool)
{
    const char  *broken;
    ms_check_t   check;

    if (pool->dirty) {
        return "dirty";
    }

    broken = ms_check_records(pool, &check);

    if (broken == NULL) {
        broken = ms_check_counts(pool, &check);
    }

    if (broken == NULL) {
        broken = ms_check_lists(pool, &check);
    }

    if (broken == NULL) {
        broken = ms_check_users(pool, &check);
    }

    if (broken == NULL) {
        broken = ms_check_tentative(pool);
    }

    if (broken == NULL) {
        broken = ms_check_trees(pool, &check);
    }

    if (broken == NULL) {
        broken = ms_check_heap(pool);
    }

    return broken;
}


static const char *
ms_check_records(const ms_pool_t *pool, ms_check_t *check)
{
    int           tree;
    uint32_t      i;
    const char   *broken;
    ms_record_t  *r;

    *check = (ms_check_t) { .members = 0 };

    for (i = 0; i < pool->capacity; i++) {
        r = ms_record(pool, i);

        if (r->state == MS_INSTANCE_UNUSED) {
            continue;
        }

        if (i >= pool->limit) {
            return "member over the limit";
        }

        broken = ms_check_record(pool, i);

        if (broken == NULL) {
            broken = ms_check_owner(pool, i);
        }

        if (broken != NULL) {
            return broken;
        }

        check->members++;
        check->counted += (uint32_t) ms_record_counts(r);
        check->chained += ms_record_findable(r) || ms_record_spare(r);
        check->blocks += r->name_len > MS_NAME_INLINE ? 1 : 0;
        check->blocks += r->addr_len > MS_ADDR_INLINE ? 1 : 0;
        check->blocks += r->session_len > MS_SESSION_INLINE ? 1 : 0;

        tree = ms_record_tree(r);

        if (tree >= 0) {
            check->found[tree]++;
        }
    }

    return NULL;
}


static const char *
ms_check_record(const ms_pool_t *pool, uint32_t id)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    if (r->state >= MS_INSTANCE_STATES) {
        return "no such state";
    }

    if (ms_pool_find(pool,
                     (char *) ms_text_get(pool, r->name, MS_NAME_INLINE,
                                          r->name_len),
                     r->name_len)
        != id)
    {
        return "name not found";
    }

    if (r->state == MS_INSTANCE_FREE && r->health >= MS_VERDICT_FAILED) {
        return "free although its probe failed";
    }

    if (r->suspect != 0 && r->state != MS_INSTANCE_FREE
        && r->state != MS_INSTANCE_TENTATIVE)
    {
        return "suspect that could not be chosen";
    }

    if (ms_record_due(r) == MS_POOL_NEVER) {
        return NULL;
    }

    if (r->heap_pos == MS_POOL_NONE) {
        return "due but not in the heap";
    }

    return r->due > ms_record_due(r) ? "due later than it is" : NULL;
}


static const char *
ms_check_owner(const ms_pool_t *pool, uint32_t id)
{
    ms_record_t  *r;

    r = ms_record(pool, id);

    switch (r->state) {

    case MS_INSTANCE_TENTATIVE:
    case MS_INSTANCE_LEASED:
    case MS_INSTANCE_DRAINING:

        if (r->lease == 0) {
            return "leased without lease";
        }

        break;

    case MS_INSTANCE_FREE:
    case MS_INSTANCE_LEFT:

        if (r->lease != 0 && !r->moves) {
            return "free with lease";
        }

        break;
    }

    if (r->drained != MS_POOL_NEVER && !ms_record_drains(r)) {
        return "drained without a drain";
    }

    if (r->moves
        && (r->state != MS_INSTANCE_LEFT || !ms_record_findable(r)
            || r->retry_at != MS_POOL_NEVER))
    {
        return "owner that should not move";
    }

    if ((r->state == MS_INSTANCE_LEASED && r->drain)
        || (r->state == MS_INSTANCE_DRAINING && !r->drain))
    {
        return "drain flag differs from state";
    }

    if ((r->state == MS_INSTANCE_TENTATIVE) != (r->pending > 0)) {
        return "pending calls differ from state";
    }

    if (r->lease > 0) {
        return ms_check_session(pool, id);
    }

    if (r->removed || r->session_len > 0 || r->foreign || r->spare
        || r->asked || r->learned || r->follows || r->heard
        || r->why != MS_END_NONE || r->untold || r->lost || r->subject[0] != 0
        || r->user != 0
        || (r->drain && (r->state != MS_INSTANCE_LEFT
                         || r->retry_at != MS_POOL_NEVER)))
    {
        return "trace of an owner";
    }

    return NULL;
}


static const char *
ms_check_session(const ms_pool_t *pool, uint32_t id)
{
    ms_record_t    *r;
    ms_pool_key_t   key;

    r = ms_record(pool, id);

    if (r->lease > pool->leases) {
        return "lease of the future";
    }

    if (r->epoch == 0 || r->epoch > pool->epoch) {
        return "lease without epoch, or of the future";
    }

    if (r->no_message && r->state != MS_INSTANCE_TENTATIVE) {
        return "no message, and not tentative";
    }

    if ((r->why != MS_END_NONE || r->untold || r->lost)
        && !ms_record_serves(r))
    {
        return "lost, and nobody is served";
    }

    if (r->untold && (r->lost || r->why == MS_END_NONE)) {
        return "untold, and told, or without a reason";
    }

    if (r->follows && r->state != MS_INSTANCE_TENTATIVE) {
        return "follows, and not tentative";
    }

    if (r->heard && !ms_record_serves(r)) {
        return "heard of, and nobody is served";
    }

    if (r->foreign && (r->learned || r->session_len == 0)) {
        return "foreign to nobody";
    }

    if (!r->foreign && (r->spare || r->asked)) {
        return "spare, or asked, and not foreign";
    }

    if (r->subject[0] != 0 && r->session_len == 0) {
        return "subject of nobody";
    }

    if (!ms_record_findable(r)) {
        return NULL;
    }

    ms_pool_key(pool, ms_text_get(pool, r->session, MS_SESSION_INLINE,
                                  r->session_len),
                r->session_len, &key);

    return ms_index_session(pool, &key) == id ? NULL : "session not found";
}


static const char *
ms_check_counts(const ms_pool_t *pool, const ms_check_t *check)
{
    uint32_t  i, foreign, counts[MS_INSTANCE_STATES];

    for (i = 0; i < MS_INSTANCE_STATES; i++) {
        counts[i] = 0;
    }

    foreign = 0;

    for (i = 0; i < pool->capacity; i++) {
        counts[ms_record(pool, i)->state]++;
        foreign += (uint32_t) ms_record_foreign(ms_record(pool, i));
    }

    for (i = 0; i < MS_INSTANCE_STATES; i++) {
        if (counts[i] != pool->counts[i]) {
            return "count of a state";
        }
    }

    if (foreign != pool->foreign) {
        return "count of foreign ones";
    }

    return check->members + counts[MS_INSTANCE_UNUSED] == pool->capacity
           ? NULL : "count of members";
}


/* The counted lists: each has to end after as many steps as it should. */
static const char *
ms_check_lists(const ms_pool_t *pool, const ms_check_t *check)
{
    uint32_t      i, n, id, block;
    ms_record_t  *r;

    n = pool->limit - check->members;

    for (id = pool->unused; id != MS_POOL_NONE; n--) {
        if (n == 0 || id >= pool->limit
            || ms_record(pool, id)->state != MS_INSTANCE_UNUSED)
        {
            return "list of unused records";
        }

        id = ms_record(pool, id)->name_next;
    }

    if (n != 0) {
        return "unused record lost";
    }

    n = pool->nblocks - check->blocks;

    for (block = pool->free_block; block != MS_POOL_NONE; n--) {
        if (n == 0 || block >= pool->nblocks) {
            return "list of blocks";
        }

        memcpy(&block, ms_text_at(pool, block), sizeof(uint32_t));
    }

    if (n != 0) {
        return "block lost";
    }

    n = check->chained;

    for (i = 0; i < pool->capacity; i++) {
        for (id = ms_index_heads(pool)[i]; id != MS_POOL_NONE; n--) {
            r = ms_record(pool, id);

            if (n == 0
                || (!ms_record_findable(r) && !ms_record_spare(r))
                || ms_index_bucket(pool, r->link.chain.hash) != i)
            {
                return "session that should not be found";
            }

            id = r->link.chain.next;
        }
    }

    return n == 0 ? NULL : "session lost";
}


static const char *
ms_check_users(const ms_pool_t *pool, const ms_check_t *check)
{
    uint32_t      i, n, id, before;
    ms_record_t  *r;

    n = check->counted;

    for (i = 0; i < pool->capacity; i++) {
        before = MS_POOL_NONE;

        for (id = ms_index_users(pool)[i]; id != MS_POOL_NONE; n--) {
            r = ms_record(pool, id);

            if (n == 0 || !ms_record_counts(r) || r->user_before != before
                || ms_index_user_head(pool, r->user)
                   != &ms_index_users(pool)[i])
            {
                return "lease that should not count";
            }

            before = id;
            id = r->user_next;
        }
    }

    return n == 0 ? NULL : "lease that does not count";
}


static const char *
ms_check_tentative(const ms_pool_t *pool)
{
    uint32_t  id, n, older;

    n = pool->counts[MS_INSTANCE_TENTATIVE];
    older = MS_POOL_NONE;

    for (id = pool->oldest; id != MS_POOL_NONE; n--) {
        if (n == 0 || ms_record(pool, id)->state != MS_INSTANCE_TENTATIVE
            || ms_record(pool, id)->older != older)
        {
            return "list of tentative leases";
        }

        older = id;
        id = ms_record(pool, id)->newer;
    }

    return n == 0 && pool->newest == older ? NULL : "tentative lease lost";
}


static const char *
ms_check_trees(const ms_pool_t *pool, const ms_check_t *check)
{
    int          tree;
    uint32_t     last, count;
    const char  *broken;

    for (tree = 0; tree < MS_TREES; tree++) {
        last = MS_POOL_NONE;
        count = 0;
        broken = ms_check_tree(pool, tree, pool->roots[tree], 0, &last,
                               &count);

        if (broken != NULL) {
            return broken;
        }

        if (count != check->found[tree]) {
            return "treap lost a record";
        }
    }

    return NULL;
}


static const char *
ms_check_tree(const ms_pool_t *pool, int tree, uint32_t node, uint32_t depth,
    uint32_t *last, uint32_t *count)
{
    int           i;
    uint32_t      child[2];
    const char   *broken;
    ms_record_t  *r;

    if (node == MS_POOL_NONE) {
        return NULL;
    }

    if (node >= pool->limit || depth > MS_CHECK_DEPTH
        || ms_record_tree(ms_record(pool, node)) != tree)
    {
        return "treap has what it should not have";
    }

    r = ms_record(pool, node);
    child[0] = r->link.tree.left;
    child[1] = r->link.tree.right;

    for (i = 0; i < 2; i++) {
        if (child[i] != MS_POOL_NONE
            && (child[i] >= pool->limit
                || ms_tree_priority(ms_record(pool, child[i]))
                   > ms_tree_priority(r)))
        {
            return "treap priority";
        }
    }

    broken = ms_check_tree(pool, tree, child[0], depth + 1, last, count);

    if (broken != NULL) {
        return broken;
    }

    if (*last != MS_POOL_NONE
        && !ms_tree_before(pool, *last, node))
    {
        return "treap order";
    }

    *last = node;
    (*count)++;

    return ms_check_tree(pool, tree, child[1], depth + 1, last, count);
}


static const char *
ms_check_heap(const ms_pool_t *pool)
{
    uint32_t      i, in;
    ms_record_t  *r;

    in = 0;

    for (i = 0; i < pool->capacity; i++) {
        in += ms_record(pool, i)->heap_pos != MS_POOL_NONE ? 1 : 0;
    }

    if (in != pool->heap_len) {
        return "heap length";
    }

    for (i = 0; i < pool->heap_len; i++) {
        r = ms_record(pool, ms_heap(pool)[i]);

        if (r->heap_pos != i) {
            return "heap position";
        }

        if (i > 0
            && ms_record(pool, ms_heap(pool)[(i - 1) / 2])->due > r->due)
        {
            return "heap order";
        }
    }

    return NULL;
}
