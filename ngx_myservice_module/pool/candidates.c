/*
 * Candidates: the instances that a store is asked for, in their order.
 */

#include "pool/index.h"
#include "pool/key.h"
#include "pool/tree.h"


typedef struct {
    const ms_pool_t  *pool;
    uint32_t         *list;
    uint32_t          n;
    uint32_t          max;
    const uint32_t   *named;
    uint32_t          n_named;
    uint32_t          own;
} ms_candidates_t;


static void ms_candidates_free(ms_candidates_t *c, int tree,
    uint64_t position);
static void ms_candidates_leased(ms_candidates_t *c, uint32_t from);
static void ms_candidates_add(ms_candidates_t *c, uint32_t id);


uint32_t
ms_pool_candidates(ms_pool_t *pool, const ms_pool_key_t *key,
    const uint32_t *named, uint32_t n_named, uint32_t *list, uint32_t max,
    uint64_t now)
{
    uint64_t         position;
    ms_candidates_t  c;

    c = (ms_candidates_t) {
        .pool = pool,
        .list = list,
        .max = max,
        .named = named,
        .n_named = n_named,
        .own = MS_POOL_NONE
    };

    position = ms_key_position(key->session, key->len);

    c.own = ms_pool_session(pool, key, now);

    if (c.own != MS_POOL_NONE && !ms_record(pool, c.own)->removed
        && ms_record(pool, c.own)->state != MS_INSTANCE_DOWN)
    {
        ms_candidates_add(&c, c.own);
    }

    ms_candidates_free(&c, MS_TREE_FREE, position);
    ms_candidates_free(&c, MS_TREE_SUSPECT, 0);
    ms_candidates_leased(&c, (uint32_t) key->hash);

    return c.n;
}


static void
ms_candidates_free(ms_candidates_t *c, int tree, uint64_t position)
{
    uint32_t  first, id;

    first = ms_tree_from(c->pool, tree, position);

    for (id = first; id != MS_POOL_NONE && c->n < c->max; /* void */) {
        ms_candidates_add(c, id);

        id = ms_tree_from(c->pool, tree,
                          ms_tree_key(ms_record(c->pool, id)) + 1);

        if (id == first) {
            break;
        }
    }
}


/* another gateway may know that it is free */
static void
ms_candidates_leased(ms_candidates_t *c, uint32_t from)
{
    uint32_t            i, id;
    const ms_record_t  *r;

    for (i = 0; i < c->pool->limit && c->n < c->max; i++) {
        id = (from + i) % c->pool->limit;
        r = ms_record(c->pool, id);

        if (id != c->own && !r->drain && !r->removed
            && (r->state == MS_INSTANCE_LEASED
                || r->state == MS_INSTANCE_TENTATIVE))
        {
            ms_candidates_add(c, id);
        }
    }
}


static void
ms_candidates_add(ms_candidates_t *c, uint32_t id)
{
    uint32_t  i;

    for (i = 0; i < c->n_named; i++) {
        if (c->named[i] == id) {
            return;
        }
    }

    if (c->n < c->max) {
        c->list[c->n++] = id;
    }
}
