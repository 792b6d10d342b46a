/*
 * The pool: which instance serves which session.  One record per instance,
 * one index by session, an ordered index of the free instances.
 *
 * Pure C over the caller's memory: no nginx header, no allocation, no clock.
 * The memory may be shared by processes that map it at the same address; all
 * functions but ms_pool_key() want the caller to hold the one lock of the
 * pool, and ms_pool_enter() to be the first call after taking it.
 *
 * Times are milliseconds of one monotonic clock.  Every operation is
 * O(log n) in the number of instances; "all busy" is O(1).
 */

#ifndef MS_POOL_H
#define MS_POOL_H


#include <stddef.h>
#include <stdint.h>


#define MS_POOL_NONE         UINT32_MAX
#define MS_POOL_NEVER        UINT64_MAX
#define MS_POOL_TENTATIVE    30000      /* ms: see ms_pool_claim() */
#define MS_POOL_SESSION_MAX  256        /* bytes of a session id */
#define MS_POOL_NAME_MAX     128        /* bytes of an instance's name */
#define MS_POOL_ADDR_MAX     128        /* bytes of its socket address */


typedef struct ms_pool_s  ms_pool_t;


/*
 *               claim             confirm
 *      FREE ------------> TENTATIVE ------> LEASED
 *       ^ ^                 |    |          |  | |
 *       | +---- give back --+    |   lease  |  | | drain
 *       |                        |   ends   |  | v
 *       +------------------------|----------+  | DRAINING --> LEFT
 *                                |             |   lease ends
 *      fail (from any member) ---+--> DOWN     +--> LEFT  (release)
 *
 * LEFT and DOWN go back to FREE (a DOWN instance that still has its owner: to
 * LEASED) when their retry time has come or health says so.
 */
typedef enum {
    MS_INSTANCE_UNUSED = 0,             /* the record holds no member */
    MS_INSTANCE_FREE,
    MS_INSTANCE_TENTATIVE,              /* claimed, no call succeeded yet */
    MS_INSTANCE_LEASED,
    MS_INSTANCE_DRAINING,               /* leased, takes no new session */
    MS_INSTANCE_LEFT,                   /* shut down cleanly, or drained */
    MS_INSTANCE_DOWN,                   /* failed; may still have an owner */
    MS_INSTANCE_STATES
} ms_instance_state_t;


typedef enum {
    /* granted */
    MS_CLAIM_HIT = 0,                   /* the session's own instance */
    MS_CLAIM_NEW,
    MS_CLAIM_MOVED,                     /* its instance failed: another one */
    MS_CLAIM_REBUILT,                   /* first hit of a learned lease */

    /* refused */
    MS_CLAIM_BUSY,                      /* all that are up are leased */
    MS_CLAIM_UNAVAILABLE,               /* members, but none is up */
    MS_CLAIM_EMPTY,                     /* no member */
    MS_CLAIM_FULL                       /* no memory for a long session id */
} ms_claim_t;


/* What the health checks last found. */
typedef enum {
    MS_VERDICT_NONE = 0,
    MS_VERDICT_PASSED,
    MS_VERDICT_FAILED
} ms_verdict_t;


/* A session, hashed before the lock is taken. */
typedef struct {
    const uint8_t  *session;            /* borrowed */
    size_t          len;
    uint64_t        hash;               /* keyed: the index by session */
} ms_pool_key_t;

typedef struct {
    uint64_t        ttl;                /* idle time, > 0 */
    uint64_t        lifetime;           /* from the claim on, 0 = no limit */
    uint64_t        ends;               /* absolute, 0 = no limit */
} ms_pool_terms_t;

/* What one request has tried so far; zeroed before its first claim. */
typedef struct {
    uint64_t        first;              /* position of the first down member */
    uint64_t        last;               /* position of the last one tried */
    uint64_t        home;               /* position of the own instance */
    unsigned        started:1;
    unsigned        own:1;              /* own down instance was tried */
} ms_pool_seek_t;

/* A granted claim.  "lease" is unique for ever, so that a late call on behalf
 * of an ended lease has no effect. */
typedef struct {
    uint64_t        lease;
    uint64_t        ends;               /* hard end, MS_POOL_NEVER: none */
    uint32_t        instance;
    uint32_t        tentative;          /* 1: owed a confirm or a give back */
} ms_lease_t;


typedef struct {
    ms_instance_state_t  state;
    unsigned        held:1;             /* drained by an operator */
    ms_verdict_t    health;
    unsigned        drain:1;            /* takes no new session */
    unsigned        removed:1;          /* goes when its lease has ended */
    unsigned        foreign:1;          /* owner learned, bound elsewhere */
    const char     *name;               /* borrowed, valid under the lock */
    size_t          name_len;
    const uint8_t  *addr;
    size_t          addr_len;
    const uint8_t  *session;            /* owner; len 0: none or unknown */
    size_t          session_len;
    uint64_t        lease;              /* 0: none */
    uint64_t        started;            /* of the lease */
    uint64_t        used;               /* last use of the lease */
    uint64_t        expires;            /* of the lease, 0: none */
    uint64_t        retry;              /* when left or down is tried again */
    uint32_t        failures;           /* since the last success */
} ms_instance_info_t;


/*
 * Memory for "instances" members, and how many fit into "size" bytes: 256
 * bytes each.  That has room for one text in 16 instances (8 at least) that is
 * longer than usual: a session id over 64 bytes, a name over 48, an address
 * over 28.  Who expects more of them makes a larger pool.
 */
size_t ms_pool_size(uint32_t instances);
uint32_t ms_pool_capacity(size_t size);

/*
 * Lays a pool out in "mem" (8-byte aligned).  "key" keys the index by session
 * and must be random.  NULL if not even one instance fits.
 */
ms_pool_t *ms_pool_create(void *mem, size_t size, const uint8_t key[16]);

/*
 * After taking the lock: rebuilds the indexes from the records if a process
 * died in the middle of a change, then ends what is over at "now" (leases,
 * retry times), at most 64 of them a call.  Returns 1 if it had to rebuild.
 */
int ms_pool_enter(ms_pool_t *pool, uint64_t now);

/* No lock needed.  "len" must be in 1..MS_POOL_SESSION_MAX. */
void ms_pool_key(const ms_pool_t *pool, const void *session, size_t len,
    ms_pool_key_t *key);


/*
 * An instance for the session: its own, else the first free one clockwise
 * from its position.  If its own is down, the session moves to a free one;
 * without one, its own is tried again once per request.  Members that are
 * down and without owner are tried, each at most once per request ("seek"),
 * only when no member is up.  A hit sets the idle time, and may move the hard
 * end later, never earlier; the first hit of a learned lease sets it.  Fills
 * "lease" when granted.  Every grant of a tentative lease is owed one
 * ms_pool_confirm(), ms_pool_give_back() or ms_pool_fail(); one that never
 * comes, as its process died, costs MS_POOL_TENTATIVE at most.  Who still
 * waits for the first success of a session touches its lease in time.
 */
ms_claim_t ms_pool_claim(ms_pool_t *pool, const ms_pool_key_t *key,
    const ms_pool_terms_t *terms, ms_pool_seek_t *seek, uint64_t now,
    ms_lease_t *lease);

/* The session's first success. */
void ms_pool_confirm(ms_pool_t *pool, const ms_lease_t *lease, uint64_t now);

/* A first call failed: frees the instance when it was the last call that
 * shares the claim, unless another one was confirmed. */
void ms_pool_give_back(ms_pool_t *pool, const ms_lease_t *lease,
    uint64_t now);

/* Keeps the lease alive, and tells its hard end anew.  -1 if it has ended. */
int ms_pool_touch(ms_pool_t *pool, ms_lease_t *lease, uint64_t now);

/* The session ended and its instance is going away: LEFT. */
void ms_pool_release(ms_pool_t *pool, const ms_lease_t *lease, uint64_t now);

/*
 * The instance failed: DOWN.  A confirmed lease keeps its owner until the
 * owner's next claim moves it; a tentative one is dropped.
 */
void ms_pool_fail(ms_pool_t *pool, const ms_lease_t *lease, uint64_t now);

/*
 * The instance says that it serves "owner" (len 0 or too long: unknown): it
 * is leased to that session from now on.  If the owner is bound elsewhere the
 * lease is "foreign": it occupies the instance, and no claim finds it.
 */
void ms_pool_conflict(ms_pool_t *pool, const ms_lease_t *lease,
    const void *owner, size_t len, const ms_pool_terms_t *terms,
    uint64_t now);

/* The instance of the session, MS_POOL_NONE if it has no lease. */
uint32_t ms_pool_session(ms_pool_t *pool, const ms_pool_key_t *key,
    uint64_t now);

/* Ends the lease of an instance, whoever has it: FREE. */
void ms_pool_end(ms_pool_t *pool, uint32_t instance, uint64_t now);


/*
 * Membership.  An instance is its name; adding one that is a member already
 * takes back its removal and updates its address, nothing else.  Returns the
 * instance or MS_POOL_NONE when the pool is full or a length is over its
 * limit.  "retry" is how long it is left alone after it left or failed;
 * MS_POOL_NEVER: until health says that it is back.
 */
uint32_t ms_pool_add(ms_pool_t *pool, const char *name, size_t name_len,
    const void *addr, size_t addr_len, uint64_t retry, uint64_t now);
uint32_t ms_pool_find(const ms_pool_t *pool, const char *name, size_t len);

/* At once when not leased (or "force"), else when its lease has ended. */
void ms_pool_remove(ms_pool_t *pool, uint32_t instance, int force,
    uint64_t now);

void ms_pool_drain(ms_pool_t *pool, uint32_t instance, uint64_t now);
void ms_pool_undrain(ms_pool_t *pool, uint32_t instance, uint64_t now);

/* For the caller, the pool only remembers them; 0 when a member is new. */
void ms_pool_hold(ms_pool_t *pool, uint32_t instance, int held);
void ms_pool_health(ms_pool_t *pool, uint32_t instance, ms_verdict_t health);

/* A new member that is not used before health says that it serves: LEFT. */
void ms_pool_await(ms_pool_t *pool, uint32_t instance, uint64_t now);

/* What a health check found: serving, or not. */
void ms_pool_up(ms_pool_t *pool, uint32_t instance, uint64_t now);
void ms_pool_down(ms_pool_t *pool, uint32_t instance, uint64_t now);

/*
 * ms_pool_up() for an instance that also told its owner (len 0: it has none)
 * when it was asked at "sent".  Its word counts: it is leased to that session
 * ("foreign" if the owner is bound elsewhere) or free from now on.  Nothing
 * changes if it is tentative, or if it was used or released since then.
 * "left" is how long the instance keeps the session if nobody uses it, 0 if
 * it did not say: a lease that only the instance knows of then ends with it,
 * one of ours not before it.
 */
void ms_pool_learn(ms_pool_t *pool, uint32_t instance, const void *owner,
    size_t len, uint64_t left, const ms_pool_terms_t *terms, uint64_t sent,
    uint64_t now);


/* For status: records are 0..ms_pool_limit()-1, UNUSED ones among them. */
uint32_t ms_pool_limit(const ms_pool_t *pool);
void ms_pool_info(const ms_pool_t *pool, uint32_t instance,
    ms_instance_info_t *info);
/* the same, but only name and address are set; it must be a member */
void ms_pool_address(const ms_pool_t *pool, uint32_t instance,
    ms_instance_info_t *info);

uint32_t ms_pool_count(const ms_pool_t *pool, ms_instance_state_t state);
const char *ms_instance_state_name(ms_instance_state_t state);

/* Illegal transitions asked for since the pool was made: a bug, to be logged
 * as an alert.  The transition was refused. */
uint64_t ms_pool_alerts(const ms_pool_t *pool);

/* Every invariant, O(n log n): NULL, or what is broken.  For tests. */
const char *ms_pool_check(const ms_pool_t *pool);


#endif /* MS_POOL_H */
