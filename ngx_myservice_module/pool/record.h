/*
 * The records of the pool, and the layout of its memory:
 *
 *     ms_pool_t | records | heads of the session chains | of the user chains
 *     | heap | blocks
 *
 * The memory holds offsets and record numbers, never pointers.  Everything but
 * the records can be rebuilt from them (pool/rebuild.c): "dirty" is set while
 * a worker changes the indexes.  A worker can be killed between any two
 * stores.  It writes a record in such an order that the rebuild still judges
 * a half-changed one well: "state" and "lease" decide, so the fields that
 * belong to a state or to a lease are written before them.
 *
 * Each file of the pool includes only the headers of files that stand before
 * it in this list:
 *
 *     record     one instance: its fields, its times
 *     key, text  hashes and ring positions; texts of any length
 *     tree, heap ordered sets of records
 *     index      finds records by session, by name, by position
 *     state      the one function that changes a state, and what ends a lease
 *     claim      which instance a session gets; claim_at: the one that a store
 *                gave it
 *     lease, learn, member, signs   the other operations of pool.h
 *     rebuild    after a crash
 *     pool       memory, entering, status
 *     check      all invariants, for the tests
 */

#ifndef MS_POOL_RECORD_H
#define MS_POOL_RECORD_H


#include <stdatomic.h>

#include "pool/pool.h"


#define MS_SESSION_INLINE  64
#define MS_NAME_INLINE     48           /* "[IPv6]:port" is 47 at most */
#define MS_ADDR_INLINE     28           /* struct sockaddr_in6 */


/* Which of the treaps; a record is in one of them at most. */
#define MS_TREE_FREE     0
#define MS_TREE_SUSPECT  1              /* free, but suspect */
#define MS_TREE_DOWN     2              /* down and without owner */
#define MS_TREES         3


/* Who drains an instance, bits. */
#define MS_DRAIN_ORDERED   1            /* an operator */
#define MS_DRAIN_REPORTED  2            /* the instance itself */
#define MS_DRAIN_ANY       3


typedef struct {
    uint64_t  position;                 /* on the ring, the hash of the name */
    uint64_t  lease;                    /* 0: no owner */
    uint64_t  epoch;                    /* of the lease, also of the last one */
    union {
        uint64_t  started;
        uint64_t  released;             /* without owner: the last lease if
                                           its session released it */
    };
    uint64_t  used;                     /* last use, also by the last owner */
    uint64_t  ends;                     /* MS_POOL_NEVER: no hard end */
    uint64_t  retry_at;                 /* of LEFT and DOWN */
    uint64_t  suspect;                  /* of FREE and TENTATIVE: until then,
                                           0: it is not */
    uint64_t  passed;                   /* when a probe last did, 0: never */
    uint64_t  due;                      /* key in the heap, at most
                                           ms_record_due() */
    uint64_t  next_call;                /* microseconds, ms_claim_count() */
    uint64_t  drained;                  /* when it drains too long; never if it
                                           neither drains nor is removed */
    uint64_t  subject[2];               /* of the lease; the first is written
                                           last, 0: not bound */
    uint64_t  user;                     /* whom the lease counts for, 0: nobody;
                                           odd: its subject */

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
    uint32_t  byte;                     /* milliseconds: when one came last */
    uint32_t  older;                    /* list of the tentative ones */
    uint32_t  newer;
    uint32_t  user_before;              /* chain of those that count */
    uint32_t  user_next;
    uint32_t  process;                  /* hash of what the instance says it is,
                                           0: nothing */
    uint32_t  since;                    /* of the state, in units of 100 ms */
    uint32_t  last;                     /* hash of the last session whose claims
                                           led here, 0: none */

    uint16_t  pending;                  /* calls that share the claim */
    uint8_t   failures;
    uint8_t   state;

    uint16_t  session_len:9;
    uint16_t  drain:2;                  /* who says so: MS_DRAIN_... */
    uint16_t  removed:1;
    uint16_t  foreign:1;
    uint16_t  learned:1;                /* no claim has hit the lease yet */
    uint16_t  held:1;
    uint16_t  health:2;
    uint16_t  no_message:1;             /* of a tentative lease */
    uint16_t  spare:1;                  /* of a foreign lease: claims find it
                                           once its session has no other */
    uint16_t  asked:1;                  /* of a foreign lease: the instance is
                                           asked to forget its session */
    uint16_t  follows:1;                /* of a tentative lease: the session
                                           had another instance before */
    uint16_t  moves:1;                  /* of LEFT with an owner: it drained
                                           too long, or the owner is moved */
    uint16_t  why:3;                    /* ms_end_t: of a confirmed lease that
                                           claims find */
    uint16_t  untold:1;                 /* the session has lost the instance,
                                           and was not told yet */
    uint16_t  lost:1;                   /* its next granted claim begins anew */
    uint16_t  word:1;                   /* it was down, but for the word of the
                                           gateway that gave the lease; no probe
                                           has passed since */
    uint16_t  over:1;                   /* leases up to "epoch" are over, also if
                                           the instance reports one */
    uint16_t  heard:1;                  /* of a lease that another gateway has
                                           given: no call has used it here, and
                                           none had succeeded there */
    uint16_t  claimed:1;                /* of a tentative lease: a store has
                                           given it to this gateway */
    uint16_t  call;                     /* when one was in flight last, in
                                           units of 64 milliseconds */
    uint16_t  verdicts;                 /* of the last probes, two bits each,
                                           the newest is the lowest */
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
    uint64_t  epoch;                    /* the highest that is known */
    uint64_t  alerts;
    uint64_t  drain;                    /* ms_pool_drain_time() */
    uint64_t  now;                      /* of the last ms_pool_enter() */
    uint64_t  ended[MS_ENDS];

    uint32_t  counts[MS_INSTANCE_STATES];
    uint32_t  unused;                   /* list of records below the limit */
    uint32_t  free_block;               /* list of blocks */
    uint32_t  foreign;                  /* of those that are up */
    uint32_t  roots[MS_TREES];
    uint32_t  oldest;                   /* of the tentative ones */
    uint32_t  newest;
    uint32_t  heap_len;

    uint64_t  sessions_offset;
    uint64_t  users_offset;
    uint64_t  heap_offset;
    uint64_t  blocks_offset;
};


static inline ms_record_t *
ms_record(const ms_pool_t *pool, uint32_t id)
{
    return (ms_record_t *) ((uintptr_t) pool + sizeof(ms_pool_t)) + id;
}


/*
 * The compiler keeps the order of the stores before and after this.  A killed
 * worker needs no more: the processor shows its own stores to others in full.
 */
static inline void
ms_record_order(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}


/* Every change of an index stands between these two. */
static inline void
ms_record_begin(ms_pool_t *pool)
{
    pool->dirty = 1;
    ms_record_order();
}


static inline void
ms_record_commit(ms_pool_t *pool)
{
    ms_record_order();
    pool->dirty = 0;
}


/* NULL if "id" is no member. */
static inline ms_record_t *
ms_record_member(const ms_pool_t *pool, uint32_t id)
{
    if (id >= pool->limit
        || ms_record(pool, id)->state == MS_INSTANCE_UNUSED)
    {
        return NULL;
    }

    return ms_record(pool, id);
}


/* The treap that the record is in, or -1. */
static inline int
ms_record_tree(const ms_record_t *r)
{
    if (r->state == MS_INSTANCE_FREE) {
        return r->suspect == 0 ? MS_TREE_FREE : MS_TREE_SUSPECT;
    }

    if (r->state == MS_INSTANCE_DOWN && r->lease == 0) {
        return MS_TREE_DOWN;
    }

    return -1;
}


/* The instance is up, and a session of which only it reports occupies it. */
static inline int
ms_record_foreign(const ms_record_t *r)
{
    return r->foreign
           && (r->state == MS_INSTANCE_LEASED
               || r->state == MS_INSTANCE_DRAINING);
}


/* It takes no new session: it drains, or was removed. */
static inline int
ms_record_drains(const ms_record_t *r)
{
    return r->drain || r->removed;
}


/* An instance is free. */
static inline int
ms_record_any(const ms_pool_t *pool)
{
    return pool->roots[MS_TREE_FREE] != MS_POOL_NONE
           || pool->roots[MS_TREE_SUSPECT] != MS_POOL_NONE;
}


/* When the owner of an instance that drains has to leave.  A foreign one that no
 * claim finds has left: it stays, so that the instance is asked to forget it. */
static inline uint64_t
ms_record_drain_end(const ms_record_t *r)
{
    return r->lease != 0 && !r->moves
           && (!r->foreign || r->spare || r->removed)
           ? r->drained : MS_POOL_NEVER;
}


/* Claims of the session find the record. */
static inline int
ms_record_findable(const ms_record_t *r)
{
    return r->lease != 0 && r->session_len != 0 && !r->foreign;
}


/* The lease counts as one of the user's sessions. */
static inline int
ms_record_counts(const ms_record_t *r)
{
    return r->user != 0 && ms_record_findable(r);
}


/* Whom a lease counts for that counts for "has" and is claimed by "gets": who a
 * claim says is known better than the subject of an instance's report. */
static inline uint64_t
ms_record_user(uint64_t has, uint64_t gets)
{
    return has == 0 || ((has & 1) && gets != 0 && !(gets & 1)) ? gets : has;
}


/* A session has state on the instance, as far as the gateway knows. */
static inline int
ms_record_serves(const ms_record_t *r)
{
    return ms_record_findable(r) && r->state != MS_INSTANCE_TENTATIVE;
}


/* Claims of the session find it once the session has no other lease. */
static inline int
ms_record_spare(const ms_record_t *r)
{
    return r->spare && ms_record_foreign(r);
}


/* Saturates at MS_POOL_NEVER. */
static inline uint64_t
ms_time_add(uint64_t time, uint64_t add)
{
    return add < MS_POOL_NEVER - time ? time + add : MS_POOL_NEVER;
}


/* Removes all traces of an owner but the text of its session id. */
void ms_record_clear(ms_record_t *r);

/* Why the session loses the instance, or is about to. */
void ms_record_why(ms_record_t *r, ms_end_t why);

/* Binds the lease to the subject (MS_POOL_SUBJECT bytes) unless it is bound
 * already; NULL: does nothing. */
void ms_record_bind(ms_record_t *r, const uint8_t *subject);

/* A subject as records have it: the first word is never 0. */
void ms_record_subject(const uint8_t *subject, uint64_t words[2]);

/* The subject may use the lease; NULL (not known) may. */
int ms_record_admits(const ms_record_t *r, const uint8_t *subject);

/* The record of a granted lease, NULL if that has ended. */
ms_record_t *ms_record_leased(const ms_pool_t *pool, const ms_lease_t *lease,
    uint64_t now);

/* Notes a use of the lease. */
void ms_record_use(ms_record_t *r, uint64_t now);

/* Notes a failure, and when the instance is tried again. */
void ms_record_failed(ms_record_t *r, uint64_t now);

/* When an instance that failed or left at "now" is tried again. */
uint64_t ms_record_retry(const ms_record_t *r, uint64_t now);

/* When the lease ends if nobody uses it; when anything happens next. */
uint64_t ms_record_lease_end(const ms_record_t *r);
uint64_t ms_record_due(const ms_record_t *r);

/* The next epoch, which is the highest from now on. */
uint64_t ms_record_epoch(ms_pool_t *pool, uint64_t clock);

/* The lease has the epoch unless it has a higher one. */
void ms_record_raise(ms_pool_t *pool, ms_record_t *r, uint64_t epoch);

/* The end that no use puts off. */
uint64_t ms_record_hard_end(const ms_pool_terms_t *terms, uint64_t started);


#endif /* MS_POOL_RECORD_H */
