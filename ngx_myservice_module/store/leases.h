/*
 * What the store's part of the gateway reads and changes in the zone.  Each
 * function takes the zone's lock, if nothing else is said.
 */

#ifndef MS_STORE_LEASES_H
#define MS_STORE_LEASES_H


#include "store/store.h"


/* the lease of a session, as this gateway knows it */

typedef struct {
    uint32_t             instance;
    uint64_t             lease;
    uint64_t             epoch;
    ngx_str_t            name;                  /* of the instance */
    u_char               buf[MS_POOL_NAME_MAX];
    unsigned             away:1;                /* the session cannot stay, */
    unsigned             moves:1;               /* for an operator moves it */
    unsigned             word:1;                /* see ms_pool_claim_at() */
    unsigned             heard:1;               /* no call has used it here */
} ms_store_lease_t;

/* a lease that the store is to know */

typedef struct {
    uint32_t             instance;
    uint64_t             lease;
    uint64_t             epoch;
    ms_store_known_e     known;         /* what the store knows then */
    size_t               session_len;
    size_t               name_len;
    size_t               who_len;
    u_char               who[MS_STORE_WHO];     /* see ms_store_who() */
    u_char               session[MS_POOL_SESSION_MAX];
    u_char               name[MS_POOL_NAME_MAX];
} ms_store_due_t;


/*
 * Whether the session has an instance that is up, and the store knows of it.
 * Takes no lock for a session whose lease was found so before.
 */
ngx_uint_t ms_store_held(ms_store_t *store, ms_pool_key_t *key,
    uint32_t *instance);

/* NGX_DECLINED: the session has none */
ngx_int_t ms_store_lease(ms_store_t *store, ms_pool_key_t *key,
    ms_store_lease_t *lease);

/*
 * Up to MS_STORE_CANDIDATES instances for the session, in the order in which it
 * should try them: its own, free ones clockwise on the ring, then those that
 * have an owner here.  "named" has the "*n" instances of the questions before,
 * and gets these.  "names" point into "buf", MS_POOL_NAME_MAX bytes each.
 * "epoch" is the highest that is known.  Returns how many.
 */
ngx_uint_t ms_store_candidates(ms_store_t *store, ms_pool_key_t *key,
    uint32_t *named, ngx_uint_t *n, ngx_str_t *names, u_char *buf,
    uint64_t *epoch);

/* leases to renew, from "*from" on, which is moved; 0 with "*from" 0: the
 * table is at its end */
ngx_uint_t ms_store_due(ms_store_t *store, uint32_t *from,
    ms_store_due_t *due, ngx_uint_t max);

/* another gateway has given the instance to the session; "who" is of
 * ms_store_who() */
void ms_store_given(ms_store_t *store, ngx_str_t *session,
    ngx_str_t *instance, uint64_t epoch, const ngx_str_t *who,
    ngx_msec_t asked, ms_store_known_e known);

/* the same of a lease that this gateway has given back, and that others have */
void ms_store_kept(ms_store_t *store, ngx_str_t *session,
    ngx_str_t *instance, uint64_t epoch, const ngx_str_t *who,
    ms_store_known_e known);

/* the session's lease on that instance, up to that epoch, has ended; by the
 * session if it was "released" */
void ms_store_ended(ms_store_t *store, ngx_str_t *session,
    ngx_str_t *instance, uint64_t epoch, ngx_uint_t released);

/* The store's record of the instance names that session (len 0: none) by that
 * epoch: a lease of another one that is not newer has ended. */
void ms_store_named(ms_store_t *store, ngx_str_t *session,
    ngx_str_t *instance, uint64_t epoch);

/*
 * The store has the lease: an answer to a question that was sent at "asked".
 * Neither takes the lock.
 */
void ms_store_mark(ms_store_t *store, uint32_t instance, uint64_t lease,
    ngx_msec_t asked, ms_store_known_e known);

/*
 * A call uses the lease: 1 if the store has it, and there is no need to ask, 0
 * of one that another gateway has claimed, and may give back, if the store may
 * answer.  A change by another gateway comes with the stream, and a lease that
 * is used is renewed, within seconds if the last time is long ago: no call waits
 * for that, least of all while the store is silent.
 */
ngx_uint_t ms_store_marked(ms_store_t *store, uint32_t instance,
    uint64_t lease);

/* this gateway has moved the session away from an instance that is down here,
 * against the word of the gateway that gave the lease */
void ms_store_moved(ms_store_t *store, ms_pool_key_t *key);

/* 0: the session may move in that way.  Else it has done so MS_STORE_MOVES
 * times in a minute: how often that was asked. */
ngx_uint_t ms_store_torn(ms_store_t *store, ms_pool_key_t *key);

/* of an answer: in another life of the store all leases are entered again */
void ms_store_generation(ms_store_t *store, const void *data, size_t len);

/* whether it is the one that this gateway knows */
ngx_uint_t ms_store_generation_known(ms_store_t *store, const void *data,
    size_t len);


#endif /* MS_STORE_LEASES_H */
