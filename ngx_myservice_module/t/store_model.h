/*
 * Gateways and instances that share a store, simulated around the real script
 * in a real server.  The store's clock is a key of the model's; it may be
 * emptied, lose its last writes, or be unreachable for one gateway or all.
 */

#ifndef MODULE_T_STORE_MODEL_H
#define MODULE_T_STORE_MODEL_H


#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>


#define STORE_INSTANCES  6
#define STORE_SESSIONS   8
#define STORE_GATEWAYS   3
#define STORE_HISTORY    4
#define STORE_FIXED      4              /* members by the configuration; the
                                           others by operators' words */

#define STORE_TTL        60000          /* ms */
#define STORE_TENTATIVE  10000
#define STORE_STEP       1500


/* parts of the design that are switched back to what a naive reading gives */
typedef enum {
    STORE_AS_DESIGNED = 0,
    STORE_COUNTER,                      /* the epoch is a plain counter */
    STORE_NO_TOMBSTONES,                /* a release leaves nothing behind */
    STORE_RAISE,                        /* an instance raises its highest
                                           epoch also when it refuses */
    STORE_NO_HEALTH,                    /* gateways never ask instances */
    STORE_KNOWN,                        /* only instances that the gateway
                                           believes free are candidates */
    STORE_NO_STAMPS,                    /* the store takes any word for the
                                           last one, */
    STORE_NO_ORDER,                     /* or the gateways do */
    STORE_ONCE,                         /* a word is told once, and lost with
                                           the store */
    STORE_FORGETS,                      /* gateways forget what was removed */
    STORE_HINTS                         /* the entries of a user decide, also
                                           those whose lease has expired */
} store_variant_t;


/* what is counted; those from STORE_BROKEN on must never happen */
typedef enum {
    STORE_SERVED = 0,
    STORE_REFUSED,                      /* busy, unavailable, too many tries */
    STORE_TWO_EXCUSED,                  /* on two instances: a partition, or a
                                           change that was not read yet */
    STORE_EMPTIED,
    STORE_FAILED_OVER,
    STORE_ASSERTED,                     /* leases that were entered again */
    STORE_ZOMBIE,                       /* ... that its instance has ended */
    STORE_WORDS,                        /* operators drain, or do no more */
    STORE_ADDED,                        /* they add an instance, */
    STORE_REMOVED,                      /* and remove one */
    STORE_WORDS_LOST,                   /* their gateway died before it told
                                           anybody, or the store before others
                                           had heard of it */
    STORE_LIMITED,                      /* its user had as many as it may */
    STORE_MOVED,                        /* an operator moved the session */
    STORE_LATE,                         /* a release that the store had not got
                                           was told again */
    STORE_QUIET,                        /* rounds in which all was healed */
    STORE_BROKEN,
    STORE_LOST_SESSION = STORE_BROKEN,  /* a session without its instance */
    STORE_LOST_INSTANCE,                /* an instance without its session */
    STORE_OLD_EPOCH,                    /* not above an older one of the
                                           instance */
    STORE_BOUND_REFUSED,                /* a call of the owner, by a gateway
                                           that knew it */
    STORE_BUSY_FREE,                    /* busy, and an instance was free */
    STORE_TWO,                          /* on two instances, no excuse */
    STORE_QUIET_UNKNOWN,                /* healed, and the store does not know
                                           an owner */
    STORE_QUIET_TWO,
    STORE_QUIET_ZOMBIE,                 /* a lease that its instance has not */
    STORE_QUIET_CLOSED,                 /* a free instance that would refuse
                                           the next session */
    STORE_DRAINED_GIVEN,                /* a new lease on an instance that the
                                           store has as drained */
    STORE_QUIET_WORD,                   /* an operator's last word on an
                                           instance does not hold everywhere */
    STORE_LIMIT_WRONG,                  /* a session was refused for the others
                                           of its user, or was not */
    STORE_LOST_USER,                    /* an entry of a user without its
                                           record, or the other way round */
    STORE_COUNTS
} store_count_t;


typedef struct {
    bool      alive;
    int       owner;                    /* -1: none */
    uint64_t  epoch;
    uint64_t  floor;                    /* the highest accepted */
    uint64_t  used;
} store_instance_t;

typedef struct {
    bool      held;
    bool      used;                     /* since the last renewal */
    bool      heard;                    /* claimed by another gateway, and not
                                           used here */
    bool      moves;                    /* an operator moves the session */
    int       instance;
    uint64_t  epoch;
    uint64_t  at;
} store_lease_t;

/* an operator's last words on an instance */

typedef enum {
    STORE_MEMBER = 0,
    STORE_DRAIN,
    STORE_KINDS
} store_kind_t;

typedef struct {
    uint64_t  stamp;                    /* 0: none */
    bool      on;                       /* it was added; it drains */
    bool      told;                     /* the store has it */
} store_word_t;

typedef store_word_t  store_words_t[STORE_KINDS];

typedef struct {
    bool           reachable;
    store_words_t  words[STORE_INSTANCES];
    store_lease_t  leases[STORE_SESSIONS];
    uint64_t       known[STORE_INSTANCES];
    uint64_t       released[STORE_SESSIONS];        /* up to which epoch */
    uint64_t       seen;
    char           position[48];
    char           generation[32];
} store_gateway_t;

typedef struct {
    int       n;
    int       instances[STORE_HISTORY];
} store_history_t;

typedef struct {
    redisContext      *c;
    store_variant_t    variant;
    bool               skew;            /* the store's clock is set, too */
    bool               limited;         /* users have so many sessions */
    char               sha[41];
    char              *script;
    uint64_t           random;
    uint64_t           now;
    int64_t            moved;           /* the store's clock, from "now" */
    bool               down;
    uint64_t           steps;
    uint64_t           copied;          /* when, 0: no copy */
    redisReply        *copy[4];
    store_instance_t   instances[STORE_INSTANCES];
    store_gateway_t    gateways[STORE_GATEWAYS];
    store_words_t      words[STORE_INSTANCES];
    store_history_t    history[STORE_SESSIONS];
    uint64_t           given[STORE_INSTANCES];
    uint64_t           counts[STORE_COUNTS];
} store_model_t;


void store_model_create(store_model_t *m, redisContext *c, uint64_t seed,
    store_variant_t variant, bool skew, bool limited);
void store_model_free(store_model_t *m);

/* One random operation, then what must always hold. */
void store_model_step(store_model_t *m);

/* Heals everything, lets the gateways talk to it, then what must hold. */
void store_model_quiet(store_model_t *m);

const char *store_model_name(store_count_t count);


#endif /* MODULE_T_STORE_MODEL_H */
