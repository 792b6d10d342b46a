/*
 * The pool in shared memory: one zone per upstream, one lock, the operations
 * of a call.  The lock is the slab pool's mutex, the one that nginx releases
 * when a worker dies with it.  Nothing is logged or allocated under it.
 */

#ifndef NGX_HTTP_MYSERVICE_ZONE_H
#define NGX_HTTP_MYSERVICE_ZONE_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "pool.h"


/* names of an upstream that are resolved, and room that the zone must have for
 * the instances of each */
#define NGX_HTTP_MYSERVICE_NAMES      8
#define NGX_HTTP_MYSERVICE_NAME_ROOM  32

/* how often a name is tried before calls wait no longer for it */
#define NGX_HTTP_MYSERVICE_NAME_TRIES  2

/* bytes of a name's text: two of 253, and what is between them */
#define NGX_HTTP_MYSERVICE_NAME_MAX   520


typedef struct ngx_http_myservice_shared_s  ngx_http_myservice_shared_t;


/* a name that is resolved, as configured */

typedef struct {
    ngx_str_t                       text;       /* for the log and status */
    uint64_t                        id;         /* the same after a reload */
    time_t                          fail_timeout;
    ngx_flag_t                      drop;       /* leases of those who left */
} ngx_http_myservice_name_t;

typedef struct {
    ngx_shm_zone_t                 *shm_zone;
    ngx_slab_pool_t                *shpool;
    ngx_http_myservice_shared_t    *sh;
    ngx_http_upstream_srv_conf_t   *upstream;   /* NULL until it is used */

    ngx_http_myservice_name_t      *names[NGX_HTTP_MYSERVICE_NAMES];
    ngx_uint_t                      nnames;

    /* members come back by health checks; new ones wait for their first */
    unsigned                        health:1;
    unsigned                        mandatory:1;
} ngx_http_myservice_zone_t;


/* what one worker does for all; guarded by the lock */

typedef struct {
    ngx_pid_t                       pid;        /* 0: none */
    ngx_msec_t                      deadline;
} ngx_http_myservice_duty_t;


/* checking the health of the members */

typedef struct {
    ngx_http_myservice_duty_t       duty;
    ngx_uint_t                      settled;    /* each was checked once */
    ngx_uint_t                      joined;     /* members so far */
} ngx_http_myservice_watch_t;


/* a name that is resolved, as it stands; guarded by the lock */

typedef struct {
    uint64_t                        id;         /* 0: not in use */
    uint64_t                        answers;
    uint64_t                        failures;
    ngx_msec_t                      answered;   /* when last */
    ngx_int_t                       state;      /* of the last try: NGX_OK,
                                                   or why there is no address */
    uint32_t                        members;
    unsigned                        drop:1;
    unsigned                        heard:1;    /* from its name server */
} ngx_http_myservice_slot_t;

typedef struct {
    ngx_http_myservice_duty_t       duty;
    ngx_http_myservice_slot_t       slots[NGX_HTTP_MYSERVICE_NAMES];
    ngx_msec_t                      since;      /* when it was settled */
    ngx_uint_t                      settled;    /* calls need not wait */
    ngx_uint_t                      started;    /* all were tried */
} ngx_http_myservice_lookup_t;


/* a granted claim with what is needed to connect */

typedef struct {
    ms_lease_t                      lease;
    ngx_str_t                       name;
    ngx_sockaddr_t                  sockaddr;
    socklen_t                       socklen;
    u_char                          name_buf[MS_POOL_NAME_MAX];
} ngx_http_myservice_grant_t;


/* one member as it was at the time of a snapshot */

typedef struct {
    ms_instance_state_t             state;
    unsigned                        drain:1;
    unsigned                        removed:1;
    unsigned                        foreign:1;
    unsigned                        leased:1;
    ms_verdict_t                    health;
    uint32_t                        failures;
    uint32_t                        names;        /* bits: of zone->names */
    uint64_t                        age;          /* milliseconds: of the */
    uint64_t                        idle;         /* lease; since its use; */
    uint64_t                        remaining;    /* until its end; */
    uint64_t                        retry;        /* until it is tried again */
    ngx_str_t                       name;
    ngx_str_t                       session;
    u_char                          name_buf[MS_POOL_NAME_MAX];
    u_char                          session_buf[MS_POOL_SESSION_MAX];
} ngx_http_myservice_member_t;

typedef struct {
    uint32_t                        capacity;
    uint32_t                        limit;        /* records to snapshot */
    uint32_t                        states[MS_INSTANCE_STATES];
    uint64_t                        decisions[MS_CLAIM_FULL + 1];
} ngx_http_myservice_zone_stats_t;


/* at configuration; NULL after an error was logged */
ngx_http_myservice_zone_t *ngx_http_myservice_zone_add(ngx_conf_t *cf,
    ngx_str_t *name, ssize_t size, void *tag);

/* "grant" is filled when the claim is granted */
ms_claim_t ngx_http_myservice_zone_claim(ngx_http_myservice_zone_t *zone,
    ms_pool_key_t *key, ms_pool_terms_t *terms, ms_pool_seek_t *seek,
    ngx_http_myservice_grant_t *grant, ngx_log_t *log);

void ngx_http_myservice_zone_key(ngx_http_myservice_zone_t *zone,
    ngx_str_t *session, ms_pool_key_t *key);

/*
 * The pool for one change: nothing is logged or allocated in between.
 * "rebuilt" is passed on to unlock().
 */
ms_pool_t *ngx_http_myservice_zone_lock(ngx_http_myservice_zone_t *zone,
    ngx_uint_t *rebuilt);
void ngx_http_myservice_zone_unlock(ngx_http_myservice_zone_t *zone,
    ngx_uint_t rebuilt, ngx_log_t *log);

ngx_http_myservice_watch_t *ngx_http_myservice_zone_watch(
    ngx_http_myservice_zone_t *zone);
ngx_http_myservice_lookup_t *ngx_http_myservice_zone_lookup(
    ngx_http_myservice_zone_t *zone);

/*
 * Takes a duty that nobody has, or renews it; to be called several times a
 * second.  0 if another worker has it: it is taken from one that died or that
 * did not renew it for three seconds.
 */
ngx_uint_t ngx_http_myservice_zone_duty(ngx_http_myservice_zone_t *zone,
    ngx_http_myservice_duty_t *duty);

/* lets another worker take over at once, if this one has it */
void ngx_http_myservice_zone_leave(ngx_http_myservice_zone_t *zone,
    ngx_http_myservice_duty_t *duty);

/* logs that there is no room, once a minute for each kind */
#define NGX_HTTP_MYSERVICE_FULL_SESSIONS  0
#define NGX_HTTP_MYSERVICE_FULL_MEMBERS   1
#define NGX_HTTP_MYSERVICE_FULLS          2

void ngx_http_myservice_zone_full(ngx_http_myservice_zone_t *zone,
    ngx_uint_t kind, ngx_log_t *log);

/* NGX_DECLINED if the lease has ended */
ngx_int_t ngx_http_myservice_zone_touch(ngx_http_myservice_zone_t *zone,
    ms_lease_t *lease, ngx_log_t *log);

/* ms_pool_confirm(), _give_back(), _release() or _fail() */
typedef void (*ngx_http_myservice_lease_pt)(ms_pool_t *pool,
    const ms_lease_t *lease, uint64_t now);

void ngx_http_myservice_zone_settle(ngx_http_myservice_zone_t *zone,
    ms_lease_t *lease, ngx_http_myservice_lease_pt settle, ngx_log_t *log);
void ngx_http_myservice_zone_conflict(ngx_http_myservice_zone_t *zone,
    ms_lease_t *lease, ngx_str_t *owner, ms_pool_terms_t *terms,
    ngx_log_t *log);

void ngx_http_myservice_zone_stats(ngx_http_myservice_zone_t *zone,
    ngx_http_myservice_zone_stats_t *stats, ngx_log_t *log);

/*
 * Copies the members of up to "n" records from "*from" on, and moves "*from"
 * behind them.  Returns how many there are.  The lock is held for one call:
 * a large pool takes several.
 */
ngx_uint_t ngx_http_myservice_zone_snapshot(ngx_http_myservice_zone_t *zone,
    uint32_t *from, ngx_http_myservice_member_t *members, ngx_uint_t n,
    ngx_log_t *log);


#endif /* NGX_HTTP_MYSERVICE_ZONE_H */
