/*
 * The pool: which instance serves which session.  One record per instance,
 * one index by session, an ordered index of the free instances.
 *
 * Pure C over the caller's memory: no nginx header, no allocation, no clock.
 * Processes may share the memory if they map it at the same address.  The
 * caller holds the one lock of the pool and calls ms_pool_enter() first after
 * taking it; functions that need no lock say so.
 *
 * Times are milliseconds of one monotonic clock.  Every operation is
 * O(log n) in the number of instances; "all busy" is O(1).  A function that
 * gets an instance which is no member, or a lease that has ended, does
 * nothing.
 */

#ifndef MS_POOL_POOL_H
#define MS_POOL_POOL_H


#include <stddef.h>
#include <stdint.h>


#define MS_POOL_NONE         UINT32_MAX
#define MS_POOL_NEVER        UINT64_MAX
#define MS_POOL_TENTATIVE    30000      /* ms: see ms_pool_claim() */
#define MS_POOL_SUSPECT      10000      /* ms: see ms_pool_suspect() */
#define MS_POOL_CALL_WITHIN  512        /* ms: see ms_pool_call_within() */
#define MS_POOL_VERDICTS     8          /* of probes that are kept */
#define MS_POOL_SESSION_MAX  256        /* bytes of a session id */
#define MS_POOL_NAME_MAX     128        /* bytes of an instance's name */
#define MS_POOL_ADDR_MAX     128        /* bytes of its socket address */
#define MS_POOL_SUBJECT      16         /* bytes of a subject, a hash */
#define MS_POOL_EPOCH_MAX    ((UINT64_C(1) << 53) - 1)
                                        /* a double holds it, too */


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
 * An instance that drains too long (ms_pool_drain_time()) is LEFT, and its
 * owner moves with the next claim; so is one whose owner an operator moves.  LEFT and DOWN go back to FREE (a DOWN
 * instance that still has an owner: to LEASED) when their retry time has come
 * or a probe passes.  An instance whose last probe failed goes to DOWN when it
 * would become FREE.  The owner of an instance is the session that has its
 * lease.
 */
typedef enum {
    MS_INSTANCE_UNUSED = 0,             /* the record holds no member */
    MS_INSTANCE_FREE,
    MS_INSTANCE_TENTATIVE,              /* claimed, no call succeeded yet */
    MS_INSTANCE_LEASED,
    MS_INSTANCE_DRAINING,               /* leased, takes no new session */
    MS_INSTANCE_LEFT,                   /* shut down cleanly, or drained; may
                                           still have an owner, to be moved */
    MS_INSTANCE_DOWN,                   /* failed; may still have an owner */
    MS_INSTANCE_STATES
} ms_instance_state_t;


typedef enum {
    /* granted */
    MS_CLAIM_HIT = 0,                   /* the session's own instance */
    MS_CLAIM_NEW,
    MS_CLAIM_MOVED,                     /* another one: its own failed, or
                                           drained too long; or the own one,
                                           started anew */
    MS_CLAIM_REBUILT,                   /* first hit of a learned lease */
    MS_CLAIM_QUEUED,                    /* not by ms_pool_claim(): a hit of a
                                           lease that the waiting line has kept
                                           for a session that had to wait */

    /* refused */
    MS_CLAIM_BUSY,                      /* every instance that is up has an
                                           owner */
    MS_CLAIM_UNAVAILABLE,               /* members, but none is up */
    MS_CLAIM_EMPTY,                     /* no member */
    MS_CLAIM_FULL,                      /* no memory for a long session id */
    MS_CLAIM_LIMITED,                   /* too many calls of the session, or
                                           first calls of the subject */
    MS_CLAIM_TOO_MANY,                  /* sessions of the user */
    MS_CLAIM_LOST,                      /* the session is told that it has lost
                                           its instance */
    MS_CLAIM_DECISIONS,

    /* not a decision about an instance */
    MS_CLAIM_DENIED = MS_CLAIM_DECISIONS,
                                        /* another subject has the lease */
    MS_CLAIM_OUTCOMES
} ms_claim_t;


/* Why a lease has ended under which a call had succeeded. */
typedef enum {
    MS_END_NONE = 0,
    MS_END_RELEASED,
    MS_END_EXPIRED,
    MS_END_DIED,                        /* calls or probes got no answer */
    MS_END_HEALTH,                      /* it does not serve, or says that it
                                           has no session */
    MS_END_CONFLICT,                    /* it serves another session */
    MS_END_REMOVED,
    MS_END_OPERATOR,
    MS_ENDS
} ms_end_t;


/* What a probe found; MS_VERDICT_FAILED and higher are bad. */
typedef enum {
    MS_VERDICT_NONE = 0,
    MS_VERDICT_PASSED,
    MS_VERDICT_FAILED,                  /* answers that it does not serve */
    MS_VERDICT_DEAD                     /* does not answer */
} ms_verdict_t;


/* What became of an operator's wish that a session moves. */
typedef enum {
    MS_MOVE_DONE = 0,
    MS_MOVE_ALREADY,                    /* its next claim moves it anyway */
    MS_MOVE_TENTATIVE,                  /* its first call is not answered yet */
    MS_MOVE_BUSY                        /* no other instance is free */
} ms_move_t;


/* Where a lease stands, for the calls that are in flight on its instance. */
typedef enum {
    MS_LEASE_HELD = 0,
    MS_LEASE_RELEASED,                  /* by its session; no other session has
                                           the instance yet */
    MS_LEASE_DEAD,                      /* ms_pool_dead() ended it */
    MS_LEASE_ENDED
} ms_lease_state_t;


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
    uint64_t        call_every;         /* microseconds from one call to the
                                           next on average, 0 = no limit */
    const uint8_t  *subject;            /* who owns the session: borrowed,
                                           MS_POOL_SUBJECT bytes; NULL: not
                                           known */
    uint32_t        tentative;          /* how many leases of the subject may
                                           be tentative, 0 = no limit */
    uint64_t        user;               /* ms_pool_user() of whom the session
                                           counts for, 0: not known */
    uint32_t        sessions;           /* how many the user may have, 0 = no
                                           limit */
    uint64_t        grace;              /* part of "ttl" in which the instance
                                           may have forgotten the session */
    uint64_t        clock;              /* microseconds of the real time: of
                                           the epoch of a new lease */
    uint64_t        epoch;              /* of the lease that the instance names;
                                           0: not known */
    unsigned        routes:1;           /* claims of a session find an instance
                                           that reports the session */
    unsigned        fenced:1;           /* but not under an epoch that is over:
                                           see ms_pool_over() */
    unsigned        tells:1;            /* a session that has lost its instance
                                           is told before it gets another */
} ms_pool_terms_t;

/* What one request has tried so far; all zero before its first claim. */
typedef struct {
    uint64_t        first;              /* position of the first down member */
    uint64_t        last;               /* position of the last one tried */
    uint64_t        home;               /* position of the own instance */
    unsigned        started:1;          /* "first" and "last" are set */
    unsigned        own:1;              /* tried the own instance, down */
    unsigned        message:1;          /* set by the caller: the first message
                                           of the call, or its end, came */
    unsigned        counted:1;          /* as one of the session's calls */
    unsigned        moved:1;            /* the session has moved */
    unsigned        settled:1;          /* "held" was not tentative */
    unsigned        queued:1;           /* set by the caller: it had a place in
                                           the waiting line, and */
    unsigned        waited:1;           /* had to wait there */
    unsigned        crowded:1;          /* set by the caller: no other first
                                           call of this client may have an
                                           instance */
    unsigned        stored:1;           /* set by the caller: a store decides on
                                           new sessions */
    uint32_t        waiting;            /* set by the caller: other sessions
                                           of the user without a lease that
                                           wait in the line */
    uint64_t        held;               /* set by the caller: the lease under
                                           which the call may have run */
} ms_pool_seek_t;

/* A granted claim.  "lease" is unique for ever: a call that comes late, for a
 * lease that has ended, has no effect. */
typedef struct {
    uint64_t        lease;
    uint64_t        epoch;
    uint64_t        ends;               /* hard end, MS_POOL_NEVER: none */
    uint32_t        instance;
    uint16_t        tentative;          /* 1: owed a confirm or a give back */
    uint16_t        moved;              /* 1: tentative, and the session had
                                           another instance before */
    uint16_t        claimed;            /* 1: MS_GIVEN_NEW or _MOVED */
    uint64_t        granted;            /* when the claim was granted */
} ms_lease_t;


typedef struct {
    ms_instance_state_t  state;
    unsigned        held:1;             /* drained by an operator */
    ms_verdict_t    health;
    unsigned        suspect:1;
    unsigned        drain:1;            /* takes no new session */
    unsigned        reported:1;         /* by its own word */
    unsigned        removed:1;          /* goes when its lease has ended */
    unsigned        foreign:1;          /* reports its owner, and no claim of
                                           that session finds it */
    unsigned        moves:1;            /* its owner moves with its next claim
                                           */
    unsigned        word:1;             /* the lease: see ms_pool_claim_at() */
    unsigned        over:1;             /* the lease: see ms_pool_over() */
    unsigned        heard:1;            /* the lease: MS_GIVEN_HEARD, and no call
                                           has used it here */
    const char     *name;               /* borrowed, valid under the lock */
    size_t          name_len;
    const uint8_t  *addr;
    size_t          addr_len;
    const uint8_t  *session;            /* owner; len 0: none or unknown */
    size_t          session_len;
    uint64_t        lease;              /* 0: none */
    uint64_t        epoch;              /* of the lease */
    unsigned        bound:1;            /* to a subject */
    const uint8_t  *subject;            /* of the owner, NULL: not known;
                                           borrowed */
    uint64_t        user;               /* ms_pool_user() of whom the lease
                                           counts for, 0: not known */
    uint64_t        started;            /* of the lease */
    uint64_t        used;               /* last use of the lease */
    uint64_t        expires;            /* of the lease, 0: none */
    uint64_t        drained;            /* when it drains too long, 0: never */
    uint64_t        retry;              /* when left or down is tried again */
    uint64_t        since;              /* of the state, to 100 ms */
    uint16_t        verdicts;           /* ms_pool_verdict() */
    uint32_t        failures;           /* since the last success */
} ms_instance_info_t;


/*
 * How many bytes "instances" members need, and how many members fit into
 * "size" bytes: 364 bytes each.  Each 16 instances have room for one
 * long text (8 such texts at least): a session id over 64 bytes, a name over
 * 48, an address over 28.  A gateway with more long texts needs a larger pool.
 */
size_t ms_pool_size(uint32_t instances);
uint32_t ms_pool_capacity(size_t size);

/*
 * Lays a pool out in "mem", which is 8-byte aligned and stays the caller's.
 * "key" keys the index by session and must be random.  Returns NULL if not
 * even one instance fits.
 */
ms_pool_t *ms_pool_create(void *mem, size_t size, const uint8_t key[16]);

/*
 * The first call after taking the lock.  Rebuilds the indexes from the records
 * if a process died in the middle of a change.  Then ends leases and retry
 * times that are over at "now", at most 64 in one call.  Returns 1 if it had to
 * rebuild.
 */
int ms_pool_enter(ms_pool_t *pool, uint64_t now);

/* Hashes a session id of 1..MS_POOL_SESSION_MAX bytes, which "key" borrows.
 * Needs no lock. */
void ms_pool_key(const ms_pool_t *pool, const void *session, size_t len,
    ms_pool_key_t *key);

/* The hash of a user, the same at all gateways; even, never 0.  Needs no
 * lock. */
uint64_t ms_pool_user(const void *user, size_t len);


/*
 * Claims an instance for the session and fills "lease" if it is granted.
 *
 * The session gets its own instance; without one, an instance that reports it
 * (see ms_pool_conflict()); else the first free one clockwise from the
 * session's position on the ring; else the instance that is suspect for the
 * shortest time to come.  When no member is up, it tries those that are down
 * and have no owner, each at most once per request ("seek").  Foreign
 * instances do not count as up for that.
 *
 * If the session's own instance is down, the session moves to a free one.  If
 * none is free, the request tries the own one again, once; then the session
 * moves to an instance that reports it.  An own instance that drains too long
 * is not tried again.  Before its first success a session
 * also moves away from an instance that is suspect, or whose probes failed.
 *
 * A hit starts the idle time anew.  It may put the hard end off, never bring
 * it forward; the first hit of a learned lease sets the hard end.
 *
 * The caller owes each grant with "lease->tentative" one ms_pool_confirm(),
 * ms_pool_give_back(), ms_pool_suspect() or ms_pool_fail().  If its process
 * dies, the lease ends after MS_POOL_TENTATIVE.  A call that waits for the
 * session's first success must touch the lease.
 *
 * When no instance is free, a new session that has sent a message
 * ("seek->message") takes the oldest tentative lease without one, which ends.
 *
 * The first claim with a subject binds the lease to it, also when it moves.  A
 * claim with another subject is MS_CLAIM_DENIED and changes nothing; a claim
 * without a subject is granted.
 *
 * A session may make one call per "terms->call_every" on average, and those of
 * one second at once.  A request counts once.  A call beyond that is
 * MS_CLAIM_LIMITED and changes nothing.
 *
 * With "seek->crowded" a new session is MS_CLAIM_LIMITED, also one for which the
 * waiting line has kept an instance ("seek->queued").
 *
 * A user may have "terms->sessions" sessions, those in "seek->waiting" among
 * them; a claim of one more is MS_CLAIM_TOO_MANY and changes nothing.  A lease
 * counts for "terms->user" of the first claim that has one, before that for its
 * subject if that is known.  Foreign leases do not count.
 *
 * With "terms->tells" a session that loses its instance is told: the first
 * claim after that gets MS_CLAIM_LOST, and so does every request that may have
 * run there.  The lease stays until then, or until it expires.  The claim after
 * that begins anew, at another instance or the same, and is MS_CLAIM_MOVED.  A
 * lease without a success, one that was released or ended, and one whose
 * instance serves another session leave no such mark.
 */
ms_claim_t ms_pool_claim(ms_pool_t *pool, const ms_pool_key_t *key,
    const ms_pool_terms_t *terms, ms_pool_seek_t *seek, uint64_t now,
    ms_lease_t *lease);


/* Why a session gets no instance: MS_CLAIM_BUSY, MS_CLAIM_UNAVAILABLE (those
 * that there are are down) or MS_CLAIM_EMPTY.  With a free one it is busy: a
 * store knows better. */
ms_claim_t ms_pool_refusal(const ms_pool_t *pool);


/*
 * Instances for the session, in the order in which a store is asked for them:
 * its own unless that is down, free ones clockwise from its position on the
 * ring, then those that this gateway believes taken.  Without those that were
 * "named" before; up to "max" of them.  Returns how many.
 */
uint32_t ms_pool_candidates(ms_pool_t *pool, const ms_pool_key_t *key,
    const uint32_t *named, uint32_t n_named, uint32_t *list, uint32_t max,
    uint64_t now);

/* What a store says of the lease that it has given to a session. */
typedef enum {
    MS_GIVEN_BEFORE = 0,                /* the session has used it already */
    MS_GIVEN_HEARD,                     /* at another gateway, where no call
                                           has succeeded yet: no call asks */
    MS_GIVEN_SHARED,                    /* the same, and one asks */
    MS_GIVEN_FOLLOWS,                   /* the same, and the session had another
                                           instance before */
    MS_GIVEN_NEW,                       /* now */
    MS_GIVEN_MOVED                      /* now, and the session had another
                                           instance */
} ms_given_t;

/*
 * Claims the instance that a store has given to the session, with the epoch of
 * the lease there ("given" is a ms_given_t).  What stands against it here ends:
 * the session's lease on another instance, another session's lease on this one.
 * A lease that the session has on this instance stays, and gets the epoch if
 * that is higher.
 *
 * Granted: MS_CLAIM_HIT (the session had it here), MS_CLAIM_NEW, MS_CLAIM_MOVED
 * (from another instance, as far as the store or this gateway knows), or
 * MS_CLAIM_REBUILT (given at another gateway, and this one did not know of it).
 * A lease that is shared, or given now, is tentative, see ms_pool_claim(); also
 * if this gateway has heard of it, or of one before, that no call has used here.
 *
 * With an epoch above that of the last lease that this gateway has seen on the
 * instance, what was given at another one is its word that the instance lives:
 * if it is down here it is up again, and the lease stands by that word until a
 * probe passes.
 *
 * MS_CLAIM_UNAVAILABLE: the session has the instance from now on, but it is
 * down here, or its drain is over: "lease" is set, and the caller asks the
 * store to move the session.  Refused: MS_CLAIM_EMPTY (no member, or removed:
 * ms_pool_add() comes first), MS_CLAIM_DENIED, MS_CLAIM_FULL, and MS_CLAIM_LOST
 * as for a claim with "terms->tells".  Calls are not counted.
 */
ms_claim_t ms_pool_claim_at(ms_pool_t *pool, const ms_pool_key_t *key,
    const ms_pool_terms_t *terms, uint32_t instance, ms_given_t given,
    uint64_t epoch, uint64_t now, ms_lease_t *lease);

/*
 * Epochs.  Each lease has one, which goes to the instance with each call.  A
 * new lease gets the highest one that is known, or "terms->clock" if that is
 * later, plus one: of two leases of an instance the later one has the higher
 * epoch, also if gateways gave them whose clocks differ by less than what is
 * between the leases.  Epochs end at MS_POOL_EPOCH_MAX; a higher one is taken
 * for that.
 *
 * ms_pool_epoch() is the highest one that is known, ms_pool_epoch_seen() notes
 * one that an instance or a store knows.  Claims, reports and conflicts note
 * those that come with them.
 */
uint64_t ms_pool_epoch(const ms_pool_t *pool);
void ms_pool_epoch_seen(ms_pool_t *pool, uint64_t epoch);

/*
 * The instance has refused a call of the lease because it knows a higher epoch,
 * "terms->epoch".  If it names the session as its own ("serves"), the lease has
 * that epoch from now on, which another gateway has given to it.  If it has no
 * session, a tentative lease gets an epoch above; any other lease is over, as
 * if ms_pool_learn() said so.  Nothing of this happens if the lease has changed
 * since the call was sent.
 *
 * Returns 1 if the session still has the lease: "lease" has the epoch that it
 * has now.  0: the session has to claim again.
 */
int ms_pool_stale(ms_pool_t *pool, ms_lease_t *lease, int serves,
    const ms_pool_terms_t *terms, uint64_t now);

/*
 * The leases of the instance up to that epoch are over, as a store says; so are
 * those that ms_pool_end() and ms_pool_release() end.  The instance may still
 * report one: with "terms->fenced" that is foreign, and no claim finds it.
 */
void ms_pool_over(ms_pool_t *pool, uint32_t instance, uint64_t epoch);


/* The first message of the session's first call, or the end of that call,
 * came: no other session takes the instance any more. */
void ms_pool_message(ms_pool_t *pool, const ms_lease_t *lease, uint64_t now);

/* The session's first call succeeded: the lease is tentative no more. */
void ms_pool_confirm(ms_pool_t *pool, const ms_lease_t *lease, uint64_t now);

/* A first call failed.  The last one of the calls that share the claim frees
 * the instance, unless one of them was confirmed. */
void ms_pool_give_back(ms_pool_t *pool, const ms_lease_t *lease,
    uint64_t now);

/*
 * The same for a first call whose time was over before a byte came from the
 * instance.  The instance is suspect unless a probe has passed since the claim:
 * new sessions get other free instances first, until a probe passes, a call
 * succeeds, or MS_POOL_SUSPECT is over.
 */
void ms_pool_suspect(ms_pool_t *pool, const ms_lease_t *lease, uint64_t now);

/* Starts the idle time anew and updates "lease->ends".  Returns -1 if the
 * lease has ended. */
int ms_pool_touch(ms_pool_t *pool, ms_lease_t *lease, uint64_t now);

/* Returns 1 if another call has confirmed the lease, and the instance is up.
 * Needs no lock. */
int ms_pool_confirmed(const ms_pool_t *pool, const ms_lease_t *lease);

/*
 * Where the lease stands.  Needs no lock: some loads, so that a worker can ask
 * for all its calls several times a second.  A claim changes the record before
 * it is granted, so no other session is served on the instance while this
 * returns MS_LEASE_HELD.  Another result may come from a half-done change, or
 * from a drain that no process has ended yet: the caller takes the lock and
 * asks again.
 */
ms_lease_state_t ms_pool_lease_state(const ms_pool_t *pool,
    const ms_lease_t *lease, uint64_t now);

/* The session released the lease, and its instance shuts down: LEFT. */
void ms_pool_release(ms_pool_t *pool, const ms_lease_t *lease, uint64_t now);

/*
 * The instance failed: DOWN.  A confirmed lease stays with its session, whose
 * next claim moves it; a tentative lease ends.
 */
void ms_pool_fail(ms_pool_t *pool, const ms_lease_t *lease, uint64_t now);

/*
 * The instance refused a call because it serves "owner" ("len" 0 or over
 * MS_POOL_SESSION_MAX: an unknown session).  That session has the lease from
 * now on, with the epoch "terms->epoch" if that is known.
 *
 * The lease is foreign, which means that it occupies the instance and that no
 * claim finds it, if the session has a lease elsewhere, or if "terms->routes"
 * is not set and another session had this instance last.  In the first case
 * alone it becomes the session's own with the session's next claim after the
 * other lease is over.
 */
void ms_pool_conflict(ms_pool_t *pool, const ms_lease_t *lease,
    const void *owner, size_t len, const ms_pool_terms_t *terms,
    uint64_t now);

/* The instance of the session, MS_POOL_NONE if the session has no lease. */
uint32_t ms_pool_session(ms_pool_t *pool, const ms_pool_key_t *key,
    uint64_t now);

/*
 * The lease of the instance, 0 if it has none, its time is over, or the
 * instance is down or left.  Without the lock it may be one of a moment ago.
 */
uint64_t ms_pool_lease_up(const ms_pool_t *pool, uint32_t instance,
    uint64_t now);

/* A new session is one too many for its user, of whom "waiting" others wait;
 * see ms_pool_claim(). */
int ms_pool_many(const ms_pool_t *pool, const ms_pool_terms_t *terms,
    uint32_t waiting, uint64_t now);

/* No call has used the lease of the instance here, and none had succeeded where
 * it was given.  Needs no lock: it may be so, or no more. */
int ms_pool_heard(const ms_pool_t *pool, uint32_t instance);

/* How many sessions the user of these terms has, counted up to "max": O(max). */
uint32_t ms_pool_user_sessions(const ms_pool_t *pool,
    const ms_pool_terms_t *terms, uint32_t max, uint64_t now);

/*
 * Signs of life that workers see; none of these functions needs the lock.
 *
 * A worker calls ms_pool_byte_seen() for each byte (or read) from an instance;
 * ms_pool_byte_since() returns 1 if one came at "since" or later, exact to
 * 10 ms.
 *
 * A worker calls ms_pool_call_seen() every 200 ms for an instance on which it
 * has a call in flight.  "lost" says that the call has lost its instance: it
 * takes back what all workers have noted so far.  ms_pool_call_within()
 * returns 1 if a call was in flight in the last "within" milliseconds, which
 * count up to MS_POOL_CALL_WITHIN.
 */
void ms_pool_byte_seen(ms_pool_t *pool, uint32_t instance, uint64_t now);
int ms_pool_byte_since(const ms_pool_t *pool, uint32_t instance,
    uint64_t since, uint64_t now);
void ms_pool_call_seen(ms_pool_t *pool, uint32_t instance, int lost,
    uint64_t now);
int ms_pool_call_within(const ms_pool_t *pool, uint32_t instance,
    uint64_t within, uint64_t now);

/* Ends the lease of an instance, for an operator: FREE. */
void ms_pool_end(ms_pool_t *pool, uint32_t instance, uint64_t now);

/*
 * The session that has the lease of an instance leaves it, for an operator.  A
 * confirmed lease that claims find stays with its session, under another
 * number, so that the calls in flight lose it; the instance is LEFT.  The
 * session's next claim moves it to another free instance.  If none is free any
 * more then, and the last probe did not fail, the session stays.
 */
ms_move_t ms_pool_move(ms_pool_t *pool, uint32_t instance);

/* The same for the operator of another gateway, who knows what is free. */
void ms_pool_leave(ms_pool_t *pool, uint32_t instance);

/* A session that an operator moves stays after all.  Returns 1 if it does. */
int ms_pool_stay(ms_pool_t *pool, uint32_t instance);


/*
 * Adds a member.  Its name identifies it: if it is a member already, this
 * takes back its removal and updates address and "retry", nothing else.
 * Returns the instance, or MS_POOL_NONE if the pool is full or a length is over
 * its limit.  "retry" is how long new sessions avoid it after it left or
 * failed; MS_POOL_NEVER: until a probe passes.
 */
uint32_t ms_pool_add(ms_pool_t *pool, const char *name, size_t name_len,
    const void *addr, size_t addr_len, uint64_t retry, uint64_t now);
uint32_t ms_pool_find(const ms_pool_t *pool, const char *name, size_t len);

/* Removes the member: at once if it has no owner or with "force", else when its
 * lease ends. */
void ms_pool_remove(ms_pool_t *pool, uint32_t instance, int force,
    uint64_t now);

/* The member has been added only for the owner that it has: it goes with the
 * lease, at once if it has none. */
void ms_pool_guest(ms_pool_t *pool, uint32_t instance);

/*
 * How long an instance drains: one that was removed, or drained by one of the
 * next functions, and has an owner.  MS_POOL_NEVER, as in a new pool: until the
 * lease ends.  After that time the instance is LEFT.  A confirmed lease that
 * claims find stays with its session, under another number, so that the calls
 * in flight lose it; the session's next claim moves it.  Any other lease ends.
 * An instance that is back before that claim keeps the session.
 *
 * Another time than before is for those that drain already, too.
 */
void ms_pool_drain_time(ms_pool_t *pool, uint64_t time, uint64_t now);

/* Another end of one drain.  Another ms_pool_drain_time() than before takes
 * its place, and so does ms_pool_undrain(): one that drains on begins anew. */
void ms_pool_drain_until(ms_pool_t *pool, uint32_t instance, uint64_t until);

/* For an operator. */
void ms_pool_drain(ms_pool_t *pool, uint32_t instance, uint64_t now);
void ms_pool_undrain(ms_pool_t *pool, uint32_t instance, uint64_t now);

/* The instance reports whether it wants a new session.  It drains as long as
 * it, or an operator, says so. */
void ms_pool_report_drain(ms_pool_t *pool, uint32_t instance, int drain,
    uint64_t now);

/* A mark of the caller that the pool keeps; 0 for a new member. */
void ms_pool_hold(ms_pool_t *pool, uint32_t instance, int held);

/* No session gets the new member before a probe passes: LEFT. */
void ms_pool_await(ms_pool_t *pool, uint32_t instance, uint64_t now);

/*
 * A probe passed, or failed.  A tentative lease on an instance that fails stays
 * until the session's next claim.
 */
void ms_pool_up(ms_pool_t *pool, uint32_t instance, uint64_t now);
void ms_pool_down(ms_pool_t *pool, uint32_t instance, uint64_t now);

/*
 * Probes get no answer: DOWN, and the verdict is MS_VERDICT_DEAD.  Without
 * "keep" the calls in flight lose their lease: a tentative one ends, and the
 * session keeps the instance under a new lease until its next claim.
 */
void ms_pool_dead(ms_pool_t *pool, uint32_t instance, int keep, uint64_t now);

/* Notes what one probe found, also where it changes nothing. */
void ms_pool_probed(ms_pool_t *pool, uint32_t instance, ms_verdict_t verdict);

/*
 * ms_pool_up() for an instance that reports which session it serves ("len" 0:
 * none) in a probe that was sent at "sent".  The report decides: the instance
 * is leased to that session, perhaps as foreign, see ms_pool_conflict(), or
 * free.  Nothing changes if it is tentative, or if its lease was used or
 * released since "sent".  "terms->subject" binds a lease that is not bound yet.
 * "left" is how long the instance keeps the session if no call comes, 0 if it
 * did not say.  A lease that only the instance knows of ends then; a lease that
 * this gateway granted does not end before that.  "terms->epoch" is the highest
 * epoch that the instance has accepted: the lease has it if it is higher.
 */
void ms_pool_learn(ms_pool_t *pool, uint32_t instance, const void *owner,
    size_t len, uint64_t left, const ms_pool_terms_t *terms, uint64_t sent,
    uint64_t now);


/*
 * The instance says in a probe that was sent at "sent" which process it is, an
 * opaque text ("len" 0: it does not say), and reports its owner or does not
 * ("serves").  Another one than before knows nothing of the session: the calls
 * in flight lose their lease, and the session's next claim begins anew, on the
 * same instance if it can; with "terms->tells" the session is told first.
 * Returns 1 then.  A tentative lease stays, and so does one that has begun
 * since the last probe passed, on a process that serves it: that was never on
 * another one.
 */
int ms_pool_process(ms_pool_t *pool, uint32_t instance, const void *id,
    size_t len, int serves, const ms_pool_terms_t *terms, uint64_t sent,
    uint64_t now);

/*
 * Returns 1 if an instance that is up reports a session that another instance
 * serves and has served with success: the caller may ask it to forget the
 * session.  Its lease then lasts until "until", and no claim gets it before the
 * next ms_pool_learn(), whatever happens to the session meanwhile.
 */
int ms_pool_elsewhere(ms_pool_t *pool, uint32_t instance, uint64_t until,
    uint64_t now);


/* For status: instances are 0..ms_pool_limit()-1, MS_INSTANCE_UNUSED ones
 * among them.  "info" points into the pool. */
uint32_t ms_pool_limit(const ms_pool_t *pool);
void ms_pool_info(const ms_pool_t *pool, uint32_t instance,
    ms_instance_info_t *info);

/* Number "n" of the last MS_POOL_VERDICTS that were noted, the newest is 0;
 * MS_VERDICT_NONE if there were not so many. */
ms_verdict_t ms_pool_verdict(const ms_instance_info_t *info, unsigned n);

/* Sets only name, address and "started"; the instance must be a member. */
void ms_pool_address(const ms_pool_t *pool, uint32_t instance,
    ms_instance_info_t *info);

uint32_t ms_pool_count(const ms_pool_t *pool, ms_instance_state_t state);
const char *ms_instance_state_name(ms_instance_state_t state);

/* How many confirmed leases have ended for that reason since the pool was
 * made. */
uint64_t ms_pool_ended(const ms_pool_t *pool, ms_end_t why);
const char *ms_pool_end_name(ms_end_t why);

/* A confirmed lease that has ended; all borrowed until the handler returns. */
typedef struct {
    ms_end_t        why;
    const uint8_t  *session;
    size_t          session_len;
    const char     *name;               /* of the instance */
    size_t          name_len;
    uint64_t        started;            /* when the lease began */
} ms_ended_t;

/* The handler of this process, which runs under the lock: once for each end
 * that ms_pool_ended() counts. */
void ms_pool_on_end(void (*handler)(const ms_ended_t *ended));

/* How many illegal transitions the pool has refused since it was made: each is
 * a bug, and the caller logs an alert. */
uint64_t ms_pool_alerts(const ms_pool_t *pool);

/* For tests: every invariant, O(n log n).  Returns NULL, or what is broken, a
 * static text. */
const char *ms_pool_check(const ms_pool_t *pool);


#endif /* MS_POOL_POOL_H */
