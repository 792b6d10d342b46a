/*
 * The operations of a call on the pool in shared memory, and the snapshot for
 * status.  Each takes the lock, unless it says otherwise.
 */

#ifndef MS_ZONE_ZONE_H
#define MS_ZONE_ZONE_H


#include "zone/lock.h"


/* a granted claim with what is needed to connect */

typedef struct {
    ms_lease_t                      lease;
    ngx_msec_t                      age;          /* of the session's lease, at
                                                     the claim */
    ngx_str_t                       name;
    ngx_sockaddr_t                  sockaddr;
    socklen_t                       socklen;
    u_char                          name_buf[MS_POOL_NAME_MAX];
} ms_grant_t;


/* one member as it was at the time of a snapshot */

typedef struct {
    uint32_t                        instance;
    ms_instance_state_t             state;
    uint32_t                        drain;
    uint32_t                        reported;     /* by the instance */
    uint32_t                        removed;
    uint32_t                        foreign;
    uint32_t                        moves;        /* its session does */
    uint32_t                        leased;
    ms_verdict_t                    health;
    ms_verdict_t                    verdicts[MS_POOL_VERDICTS];
                                                  /* of probes, the newest
                                                     first; MS_VERDICT_NONE
                                                     ends them */
    uint64_t                        epoch;        /* of the lease */
    uint64_t                        since;        /* milliseconds: it has its
                                                     state */
    uint32_t                        failures;
    uint32_t                        names;        /* bits: of zone->names */
    uint32_t                        source;       /* bits: MS_SOURCE_... */
    uint64_t                        age;          /* milliseconds: of the */
    uint64_t                        idle;         /* lease; since its use; */
    uint64_t                        remaining;    /* until its end; */
    uint64_t                        retry;        /* until it is tried again */
    uint64_t                        drained;      /* until its drain ends */
    ngx_str_t                       name;
    ngx_str_t                       session;
    u_char                          name_buf[MS_POOL_NAME_MAX];
    u_char                          session_buf[MS_POOL_SESSION_MAX];
} ms_member_t;

typedef struct {
    uint32_t                        capacity;
    uint32_t                        limit;        /* records to snapshot */
    uint32_t                        states[MS_INSTANCE_STATES];
    uint64_t                        decisions[MS_CLAIM_DECISIONS];
    uint64_t                        ended[MS_ENDS];
    ngx_uint_t                      places;       /* of the line, 0: there is
                                                     none */
    ms_line_stats_t                 line;
} ms_zone_stats_t;


/* "grant" is filled when the claim is granted */
ms_claim_t ms_zone_claim(ms_zone_t *zone, ms_pool_key_t *key,
    ms_pool_terms_t *terms, ms_pool_seek_t *seek, ms_grant_t *grant,
    ngx_log_t *log);

/*
 * The same for the instance of that name, which a store has given to the
 * session: see ms_pool_claim_at().  "grant" is filled also with
 * MS_CLAIM_UNAVAILABLE if "grant->lease.lease" is not 0.  With "guest" (NULL:
 * none), the address of that name, an instance that is no member is one while
 * the session has it.  A new session that has "waited" is MS_CLAIM_QUEUED.
 */
ms_claim_t ms_zone_claim_at(ms_zone_t *zone, ms_pool_key_t *key,
    ms_pool_terms_t *terms, ngx_str_t *instance, ngx_addr_t *guest,
    ms_given_t given, uint64_t epoch, ngx_uint_t waited, ms_grant_t *grant,
    ngx_log_t *log);

/*
 * Counts a decision, "n" times.  Claims count themselves if they are granted,
 * but for those of ms_zone_claim_at(): its caller may ask the store again.  Who
 * refuses a call counts that, once.
 */
void ms_zone_decided(ms_zone_t *zone, ms_claim_t claim, int n,
    ngx_log_t *log);

/* the highest epoch that is known; takes the lock, which
 * ms_zone_epoch_seen() does, too */
uint64_t ms_zone_epoch(ms_zone_t *zone, ngx_log_t *log);
void ms_zone_epoch_seen(ms_zone_t *zone, uint64_t epoch, ngx_log_t *log);

/* 1 if the session has an instance */
ngx_uint_t ms_zone_leased(ms_zone_t *zone, ms_pool_key_t *key, ngx_log_t *log);

/* Why a session gets no instance for which a store has none: see
 * ms_pool_refusal(); MS_CLAIM_TOO_MANY if it may not wait, either. */
ms_claim_t ms_zone_refusal(ms_zone_t *zone, ms_pool_key_t *key,
    ms_pool_terms_t *terms, ngx_log_t *log);

/* see ms_line_user(); 0 without a line, then it does not take the lock */
uint32_t ms_zone_line_user(ms_zone_t *zone, ms_pool_key_t *key,
    ms_pool_terms_t *terms, ngx_log_t *log);

void ms_zone_key(ms_zone_t *zone, ngx_str_t *session, ms_pool_key_t *key);

/*
 * 1 while the gateway has just started, and instances know more of their
 * sessions than the gateway: until the first round of probes is completed, or
 * for "ttl" without probes.
 */
ngx_uint_t ms_zone_learns(ms_zone_t *zone, ngx_msec_t ttl);

/* NGX_DECLINED if the lease has ended */
ngx_int_t ms_zone_touch(ms_zone_t *zone, ms_lease_t *lease, ngx_log_t *log);

/* the lock is only taken for a lease that seems to have ended */
ms_lease_state_t ms_zone_lease_state(ms_zone_t *zone, ms_lease_t *lease,
    ngx_log_t *log);

/* whether another call has confirmed the lease, without the lock */
ngx_uint_t ms_zone_confirmed(ms_zone_t *zone, ms_lease_t *lease);

/* signs of life of the instance, without the lock: pool/pool.h */
void ms_zone_byte_seen(ms_zone_t *zone, ms_lease_t *lease);
ngx_uint_t ms_zone_byte_since(ms_zone_t *zone, ms_lease_t *lease,
    ngx_msec_t since);
void ms_zone_call_seen(ms_zone_t *zone, ms_lease_t *lease, ngx_uint_t lost);
ngx_uint_t ms_zone_call_within(ms_zone_t *zone, ms_lease_t *lease,
    ngx_msec_t within);

/* an instance, by its name, shall be probed at once: more than a few at a time
 * wait for their turn */
void ms_zone_ask(ms_zone_t *zone, ngx_str_t *name, ngx_log_t *log);

/* ms_pool_confirm(), _give_back(), _suspect(), _release(), _fail() ... */
typedef void (*ms_lease_pt)(ms_pool_t *pool, const ms_lease_t *lease,
    uint64_t now);

void ms_zone_update(ms_zone_t *zone, ms_lease_t *lease, ms_lease_pt change,
    ngx_log_t *log);
void ms_zone_conflict(ms_zone_t *zone, ms_lease_t *lease, ngx_str_t *owner,
    ms_pool_terms_t *terms, ngx_log_t *log);


/* ms_pool_stale() */
ngx_uint_t ms_zone_stale(ms_zone_t *zone, ms_lease_t *lease, ngx_uint_t serves,
    ms_pool_terms_t *terms, ngx_log_t *log);

void ms_zone_stats(ms_zone_t *zone, ms_zone_stats_t *stats, ngx_log_t *log);

/*
 * Copies the members of up to "n" records from "*from" on, and moves "*from"
 * behind them.  Returns how many there are.  The lock is held for one call:
 * a large pool takes several.
 */
ngx_uint_t ms_zone_snapshot(ms_zone_t *zone, uint32_t *from,
    ms_member_t *members, ngx_uint_t n, ngx_log_t *log);

/* the caller holds the lock; the instance is a member */
void ms_zone_copy_locked(ms_zone_t *zone, ms_pool_t *pool, uint32_t instance,
    ms_member_t *member);


#endif /* MS_ZONE_ZONE_H */
