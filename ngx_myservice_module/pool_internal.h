/*
 * What the files of the pool share: the layout of the memory and the indexes.
 *
 *     ms_pool_t | records | heads of the session chains | heap | blocks
 *
 * Only offsets and record numbers are stored.  The records are the truth, all
 * else can be rebuilt from them: "dirty" is set while the indexes change, and
 * a record is written in such an order that one left half changed by a dead
 * process is still judged well.  "state" and "lease" decide: fields that
 * belong to a state or to a lease are written before it.
 */

#ifndef MS_POOL_INTERNAL_H
#define MS_POOL_INTERNAL_H


#include <stdatomic.h>

#include "pool.h"


#define MS_SESSION_INLINE   64
#define MS_NAME_INLINE      48          /* "[IPv6]:port" is 47 at most */
#define MS_ADDR_INLINE      28          /* struct sockaddr_in6 */
#define MS_BLOCK_SIZE       256         /* a text that is longer */


/* Which of the two treaps; a record is in one of them at most. */
#define MS_TREE_FREE        0
#define MS_TREE_DOWN        1           /* down and without owner */


typedef struct {
    uint64_t  position;                 /* on the ring, the hash of the name */
    uint64_t  lease;                    /* 0: no owner */
    uint64_t  started;
    uint64_t  used;                     /* without owner: by the last one */
    uint64_t  ends;                     /* MS_POOL_NEVER: no hard end */
    uint64_t  retry_at;                 /* of LEFT and DOWN */
    uint64_t  due;                      /* key in the heap, <= the real one */

    union {
        struct {
            uint32_t  left;
            uint32_t  right;
        } tree;                         /* without owner */
        struct {
            uint32_t  next;
            uint32_t  hash;
        } chain;                        /* with owner: by session */
    } link;

    uint32_t  ttl;
    uint32_t  retry;                    /* UINT32_MAX: never */
    uint32_t  name_next;
    uint32_t  name_head;                /* of the name chain of this number */
    uint32_t  heap_pos;                 /* MS_POOL_NONE: not in the heap */

    uint16_t  pending;                  /* calls that share the claim */
    uint8_t   failures;
    uint8_t   state;

    uint16_t  session_len:9;
    uint16_t  drain:1;
    uint16_t  removed:1;
    uint16_t  foreign:1;
    uint16_t  learned:1;                /* no claim has hit the lease yet */
    uint16_t  held:1;
    uint16_t  health:2;
    uint8_t   name_len;
    uint8_t   addr_len;

    /* longer ones: the number of a block */
    uint8_t   session[MS_SESSION_INLINE];
    uint8_t   name[MS_NAME_INLINE];
    uint8_t   addr[MS_ADDR_INLINE];
} ms_record_t;


struct ms_pool_s {
    uint8_t   key[16];
    uint32_t  dirty;
    uint32_t  capacity;
    uint32_t  limit;
    uint32_t  nblocks;

    uint64_t  leases;                   /* granted so far */
    uint64_t  alerts;

    uint32_t  counts[MS_INSTANCE_STATES];
    uint32_t  unused;                   /* list of records below the limit */
    uint32_t  free_block;               /* list of blocks */
    uint32_t  roots[2];
    uint32_t  heap_len;

    uint64_t  sessions_offset;
    uint64_t  heap_offset;
    uint64_t  blocks_offset;
};


/* A new owner; ms_owner_kept stands for the one that there is. */
typedef struct {
    const uint8_t          *session;
    size_t                  len;        /* 0: unknown */
    uint32_t                hash;
    const ms_pool_terms_t  *terms;
    uint64_t                now;
    unsigned                foreign:1;
    unsigned                learned:1;
} ms_owner_t;

extern const ms_owner_t  ms_owner_kept;


static inline ms_record_t *
ms_record(const ms_pool_t *pool, uint32_t id)
{
    return (ms_record_t *) ((uintptr_t) pool + sizeof(ms_pool_t)) + id;
}


static inline uint32_t *
ms_pool_sessions(const ms_pool_t *pool)
{
    return (uint32_t *) ((uintptr_t) pool + pool->sessions_offset);
}


static inline uint32_t *
ms_pool_heap(const ms_pool_t *pool)
{
    return (uint32_t *) ((uintptr_t) pool + pool->heap_offset);
}


static inline uint8_t *
ms_pool_block(const ms_pool_t *pool, uint32_t block)
{
    return (uint8_t *) ((uintptr_t) pool + pool->blocks_offset)
           + (size_t) block * MS_BLOCK_SIZE;
}


/* A kill between two stores keeps their order when the compiler does. */
static inline void
ms_pool_order(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}


static inline void
ms_pool_begin(ms_pool_t *pool)
{
    pool->dirty = 1;
    ms_pool_order();
}


static inline void
ms_pool_commit(ms_pool_t *pool)
{
    ms_pool_order();
    pool->dirty = 0;
}


/* pool.c */

/*
 * The one function that changes a state.  "owner" NULL: without owner from
 * now on.  A transition that is not in the table is counted and refused.
 */
int ms_pool_change(ms_pool_t *pool, uint32_t id, ms_instance_state_t to,
    const ms_owner_t *owner);

/* The lease ends; without owner from now on; left or down no more. */
void ms_pool_lapse(ms_pool_t *pool, uint32_t id, uint64_t now);
void ms_pool_rest(ms_pool_t *pool, uint32_t id, ms_instance_state_t to,
    uint64_t retry_at);
void ms_pool_revive(ms_pool_t *pool, uint32_t id);
void ms_pool_schedule(ms_pool_t *pool, uint32_t id);

void ms_record_clear(ms_record_t *r);
void ms_record_use(ms_record_t *r, uint64_t now);
void ms_record_failed(ms_record_t *r, uint64_t now);
uint64_t ms_record_retry(const ms_record_t *r, uint64_t now);
uint64_t ms_record_lease_end(const ms_record_t *r);
uint64_t ms_record_due(const ms_record_t *r);
uint64_t ms_terms_end(const ms_pool_terms_t *terms, uint64_t started);
uint64_t ms_time_add(uint64_t time, uint64_t add);


/* pool_claim.c */

/* Its place on the ring: the same everywhere and for ever.  Only a session
 * without instance needs it. */
uint64_t ms_key_position(const ms_pool_key_t *key);


/* pool_index.c */

uint64_t ms_pool_hash(const void *data, size_t len, const uint8_t key[16]);
extern const uint8_t  ms_pool_ring_key[16];

int ms_text_fits(const ms_pool_t *pool, size_t len, size_t room);
void ms_text_set(ms_pool_t *pool, uint8_t *area, size_t room,
    const void *data, size_t len);
const uint8_t *ms_text_get(const ms_pool_t *pool, const uint8_t *area,
    size_t room, size_t len);
void ms_text_free(ms_pool_t *pool, const uint8_t *area, size_t room,
    size_t len);
uint32_t ms_text_block(const uint8_t *area, size_t room, size_t len);

int ms_record_tree(const ms_record_t *r);
int ms_record_findable(const ms_record_t *r);
void ms_index_link(ms_pool_t *pool, uint32_t id);
void ms_index_unlink(ms_pool_t *pool, uint32_t id);
uint32_t ms_session_find(const ms_pool_t *pool, const ms_pool_key_t *key);
uint32_t ms_session_bucket(const ms_pool_t *pool, uint32_t hash);

void ms_name_link(ms_pool_t *pool, uint32_t id);
void ms_name_unlink(ms_pool_t *pool, uint32_t id);
uint32_t ms_name_find(const ms_pool_t *pool, const void *name, size_t len,
    uint64_t position);

uint64_t ms_tree_priority(const ms_record_t *r);
uint32_t ms_tree_from(const ms_pool_t *pool, int tree, uint64_t position);

void ms_heap_set(ms_pool_t *pool, uint32_t id, uint64_t due);
void ms_heap_pop(ms_pool_t *pool);
void ms_heap_later(ms_pool_t *pool, uint64_t due);


/* pool_rebuild.c */

void ms_pool_reset(ms_pool_t *pool);
void ms_pool_rebuild(ms_pool_t *pool);


#endif /* MS_POOL_INTERNAL_H */
