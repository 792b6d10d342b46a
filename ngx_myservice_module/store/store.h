/*
 * The store of an upstream: as configured, as all workers share it, and what
 * this worker has of it.  store/module.c configures it, store/conn.c connects,
 * store/claim.c asks for leases, store/renew.c keeps them.
 */

#ifndef MS_STORE_STORE_H
#define MS_STORE_STORE_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "store/resp.h"
#include "zone/duty.h"
#include "zone/zone.h"


/* milliseconds */
#define MS_STORE_TENTATIVE   MS_POOL_TENTATIVE
#define MS_STORE_HOLD        3000       /* no new leases in a new store */

#define MS_STORE_CANDIDATES  16         /* of one question */
#define MS_STORE_ROUNDS      4          /* questions until all are busy */
#define MS_STORE_MOVES       3          /* see ms_store_torn() */
#define MS_STORE_MOVES_TIME  60000      /* ms */
#define MS_STORE_GROUPS      4096       /* questions that wait, per worker */

#define MS_STORE_KEYS        6          /* of the script */
#define MS_STORE_ADDRS       8
#define MS_STORE_NAME        16         /* bytes of a gateway's name */
#define MS_STORE_SAID        128        /* bytes of what TLS says, */
#define MS_STORE_WHY         256        /* and of a reason */
#define MS_STORE_ID          48         /* of an id in the stream */
#define MS_STORE_NUMBER      24
#define MS_STORE_REMOVED     256        /* instances that operators removed */
#define MS_STORE_COMPLAINTS  8
#define MS_STORE_SUBJECT     (2 * MS_POOL_SUBJECT)
#define MS_STORE_WHO         (MS_STORE_SUBJECT + 1 + 16)


typedef struct ms_store_s       ms_store_t;
typedef struct ms_store_conn_s  ms_store_conn_t;
typedef struct ms_store_batch_s  ms_store_batch_t;


/* what the store knows of a lease of the zone */

typedef enum {
    MS_STORE_CONFIRMED = 0,
    MS_STORE_CLAIMED,                   /* this gateway confirms it when a call
                                           has succeeded */
    MS_STORE_HEARD,                     /* claimed by another gateway; see
                                           ms_pool_heard() */
    MS_STORE_MISSED                     /* the same, and the store has begun
                                           anew since */
} ms_store_known_e;

/* moves of a session against the word of another gateway, by the session's
 * hash */

typedef struct {
    uint64_t                       session;     /* the whole hash */
    ngx_msec_t                     since;       /* when the first one was */
    ngx_uint_t                     n;           /* also those that were one too
                                                   many */
} ms_store_moves_t;

/* a session that was released, by its hash: its leases up to that epoch are over,
 * whoever names them */

typedef struct {
    uint64_t                       session;     /* the whole hash */
    uint64_t                       epoch;       /* 0: not in use */
} ms_store_released_t;

/* where a session was found last, by the session's hash: a bound call looks
 * there first, without the lock */

typedef struct {
    uint64_t                       seal;        /* the whole hash ^ the lease:
                                                   two workers that write at
                                                   the same time leave none */
    uint32_t                       instance;
} ms_store_place_t;

/* an operator's word */

typedef struct {
    uint64_t                       stamp;       /* 0: there is none */
    uint32_t                       told;        /* the round in which the store
                                                   has got it */
    u_char                         word;        /* as in store.lua */
    ngx_msec_t                     until;       /* of a drain: when its session
                                                   has to leave, 0: never */
} ms_store_said_t;

typedef struct {
    ms_store_said_t                said;
    size_t                         len;         /* 0: not in use */
    u_char                         name[MS_POOL_NAME_MAX];
} ms_store_removed_t;

/* a lease of the zone that the store has, by instance */

typedef struct {
    uint64_t                       lease;       /* of the zone; 0: none */
    ngx_msec_t                     asked;       /* when the question was sent
                                                   that the store confirmed */
    ms_store_known_e               known;
    uint32_t                       name;        /* of the instance, a hash, for
                                                   the last words on it: */
    ms_store_said_t                drain;       /* see drains.h, */
    ms_store_said_t                member;      /* members.h */
    uint64_t                       leaves;      /* epoch of a lease that an
                                                   operator moves, until the
                                                   store knows; 0: none */
    ms_store_moves_t               moves;       /* these three by a hash, not of
                                                   this lease: there are as many
                                                   sessions as instances */
    ms_store_place_t               place;
    ms_store_released_t            released;
} ms_store_mark_t;

typedef struct {
    ngx_atomic_t                   questions;
    ngx_atomic_t                   answers;
    ngx_atomic_t                   own;         /* what they said: the session
                                                   had an instance, */
    ngx_atomic_t                   given;       /* has got one, */
    ngx_atomic_t                   denied;      /* is another user's, */
    ngx_atomic_t                   limited;     /* is one too many of its
                                                   user or client, */
    ngx_atomic_t                   busy;        /* no instance is free */
    ngx_atomic_t                   unavailable; /* no answer in time, or no
                                                   connection */
    ngx_atomic_t                   renewed;     /* leases */
    ngx_atomic_t                   asserted;    /* entered again */
    ngx_atomic_t                   lost;        /* ended by another gateway */
    ngx_atomic_t                   changes;     /* read from the stream */
    ngx_atomic_t                   latency;     /* microseconds, of the
                                                   answers */
    ngx_atomic_t                   words;       /* of instances, passed on */
    ngx_atomic_t                   errors;      /* answers that were one */
    ngx_atomic_t                   connects;    /* of all workers, those for
                                                   changes included */
} ms_store_counts_t;

/* an error that was logged */

typedef struct {
    ngx_atomic_t                   error;       /* a hash; 0: none */
    ngx_atomic_t                   at;
} ms_store_complaint_t;

typedef struct {
    ngx_uint_t                     layout;
    ngx_atomic_t                   connected;   /* 0: not yet, 1: yes,
                                                   2: not any more */
    ngx_atomic_t                   since;       /* when that began, ms */
    u_char                         address[NGX_SOCKADDR_STRLEN + 1];
                                                /* of the server */
    ngx_atomic_t                   site;        /* of the addresses that all
                                                   this is about */
    ngx_atomic_t                   reason;      /* why it is gone, as it was
                                                   logged last, a hash, and
                                                   when */
    ngx_atomic_t                   reasoned;
    ngx_atomic_t                   unresolved;  /* a name was not found: that
                                                   was logged */
    ngx_atomic_t                   read;        /* when an answer with changes,
                                                   or with none, came; ms,
                                                   0: never */
    ms_store_complaint_t           complaints[MS_STORE_COMPLAINTS];
    ngx_atomic_t                   evicts;      /* it may: that was logged */
    ngx_atomic_t                   round;       /* operators' words of an older
                                                   one are told again */
    ngx_atomic_t                   revoked;     /* generation of the list of
                                                   revoked tokens that the
                                                   store has, */
    ngx_atomic_t                   revoked_round;
                                                /* and the round in which it
                                                   was told */
    ngx_atomic_t                   words;       /* number of the last one, */
    ngx_atomic_t                   told;        /* up to which the store has
                                                   them */
    ngx_atomic_t                   untold;      /* how many releases the store
                                                   may not have got */
    ngx_atomic_t                   leaving;     /* more than 0 as long as a lease
                                                   "leaves" */
    ms_duty_owner_t                duty;
    u_char                         gateway[MS_STORE_NAME];
    u_char                         generation[MS_STORE_NUMBER];
    ms_store_counts_t              counts;
    ngx_atomic_t                   refused;     /* when it was logged that one
                                                   is no member here, ms */
    ngx_atomic_t                   lacks;       /* when one had no room; ms,
                                                   0: never */
    ms_store_removed_t             removed[MS_STORE_REMOVED];
    uint32_t                       capacity;
    ms_store_mark_t                marks[1];    /* capacity */
} ms_store_shared_t;


/* why an address failed */

typedef struct {
    ngx_uint_t                     tells;       /* the more, the better; 0: of
                                                   none yet */
    ngx_uint_t                     tls;         /* it is TLS that says so */
    ngx_uint_t                     mute;        /* the server said nothing */
    char                           why[MS_STORE_WHY];
    u_char                         name[NGX_SOCKADDR_STRLEN + 1];
} ms_store_reason_t;


/* an address of the configuration, or a name with those that it has now */

typedef struct {
    ms_store_t                    *store;
    ngx_str_t                      host;        /* as written; ends with a
                                                   zero */
    in_port_t                      port;
    ngx_uint_t                     fixed;       /* it is an address */
    ngx_uint_t                     naddrs;
    ngx_addr_t                     addrs[MS_STORE_ADDRS];
    ngx_sockaddr_t                 sockaddrs[MS_STORE_ADDRS];
    u_char                         texts[MS_STORE_ADDRS][NGX_SOCKADDR_STRLEN];

    /* of this worker */
    ngx_event_t                    timer;       /* the next lookup */
    ngx_resolver_ctx_t            *ctx;         /* while one runs */
} ms_store_name_t;


struct ms_store_conn_s {
    ms_store_t                    *store;
    ngx_sockaddr_t                 peer;        /* of the connection, or of the
                                                   last one */
    socklen_t                      peer_len;
    u_char                         name[NGX_SOCKADDR_STRLEN + 1];
                                                /* as text; ends with a zero */
    ms_resp_t                      resp;
    ngx_connection_t              *c;           /* NULL: none */
    ngx_event_t                    flush;
    ngx_event_t                    timer;       /* of the hand-shake, or the
                                                   next try */
    ngx_event_t                    tick;
    ngx_msec_t                     silence;     /* after which it is closed */
    ngx_msec_t                     heard;       /* the last byte */
    ngx_msec_t                     since;       /* when it was ready */
    ngx_uint_t                     addr;
    ngx_uint_t                     tries;       /* since it was ready */
    ngx_uint_t                     vain;        /* so many were ready, and were
                                                   of no use */
    ngx_uint_t                     steps;       /* of the hand-shake */
    u_char                         sha[41];
    ngx_log_t                      log;
    char                           said[MS_STORE_SAID];     /* by TLS: why it
                                                   failed; "": nothing */
    ms_store_reason_t              reason;      /* of this round of addresses */

    void                         (*up)(ms_store_conn_t *sc);

    /* set when it connects: its handlers after TLS, and the end of the
     * hand-shake, with NULL or why it has failed */
    ngx_event_handler_pt           read;
    ngx_event_handler_pt           write;
    void                         (*shaken)(ms_store_conn_t *sc,
                                           const char *why);

    unsigned                       pings:1;
    unsigned                       connecting:1;
    unsigned                       ready:1;
    unsigned                       suspect:1;   /* a question got no answer */
    unsigned                       useful:1;    /* and one got a good one */
    unsigned                       lost:1;      /* then the server ended it */
    unsigned                       stopped:1;
};


struct ms_store_s {
    /* of the configuration */
    ms_store_name_t               *names;       /* MS_STORE_ADDRS */
    ngx_uint_t                     nnames;
    ngx_resolver_t                *resolver;    /* NULL: none */
    ngx_msec_t                     resolver_timeout;
    ngx_str_t                      url;         /* as written: for the log */
    uint32_t                       site;        /* a hash of all urls */
    ngx_str_t                      prefix;
    ngx_str_t                      user;
    ngx_str_t                      password;
    ngx_str_t                      host;        /* in the certificate; len 0:
                                                   that of the address */
    ngx_str_t                      ca;
    ngx_str_t                      cert;        /* the gateway's; len 0: none */
    ngx_str_t                      key;
    ngx_uint_t                     db;
    ngx_uint_t                     tls;
    ngx_uint_t                     local;       /* failure=local */
    ngx_uint_t                     limits;      /* a user has a limit */
    ngx_msec_t                     timeout;
    ngx_str_t                      keys[MS_STORE_KEYS];
#if (NGX_HTTP_SSL)
    ngx_ssl_t                     *ssl;
#endif
    ngx_http_upstream_srv_conf_t  *upstream;    /* NULL: no store */
    ngx_shm_zone_t                *shm_zone;

    /* of "myservice_sessions" */
    ms_zone_t                     *zone;
    ngx_msec_t                     ttl;         /* with "grace" */

    ms_store_shared_t             *sh;

    /* of this worker */
    ngx_addr_t                    *addrs[MS_STORE_ADDRS];   /* of all names, in
                                                   their order */
    ms_store_name_t               *named[MS_STORE_ADDRS];   /* whose it is */
    ngx_uint_t                     naddrs;      /* 0: none was found yet */
    ms_store_conn_t                conn;
    ms_duty_t                      duty;        /* renewals, and the stream */
    ms_store_conn_t                stream;
    u_char                         position[MS_STORE_ID];   /* in the stream */
    uint64_t                       number;      /* of the last change */
    ngx_msec_t                     looked;      /* at the store's generation */
    ngx_uint_t                     untold;      /* releases, when it began to
                                                   read all that there is */
    ms_store_batch_t              *batch;       /* that is renewed */
    ngx_msec_t                     renewed;     /* when that began */
    ngx_rbtree_t                   groups;
    ngx_rbtree_node_t              sentinel;
    ngx_queue_t                    pending;     /* groups, by deadline */
    ngx_uint_t                     npending;
    ngx_event_t                    reaper;
    uint32_t                       renew_from;
    uint32_t                       move_from;   /* marks; and "leaving" when the
                                                   look at them began */
    ngx_atomic_uint_t              move_until;
    uint32_t                       tell_from;   /* operators' words: those on
                                                   removed instances first */
    ngx_uint_t                     tell_until;
    uint64_t                       revoke_from; /* a place in the list */
    ngx_uint_t                     revoke_until;
    ngx_uint_t                     revoke_round;
    unsigned                       renewing:1;  /* a batch is in flight */
    unsigned                       telling:1;
    unsigned                       moving:1;
    unsigned                       revoking:1;
};


/* a text of an answer, borrowed */
static ngx_inline ngx_str_t
ms_store_str(const redisReply *reply)
{
    ngx_str_t  text;

    text.data = (u_char *) reply->str;
    text.len = reply->len;

    return text;
}


/* the store of an upstream, NULL if it has none */
ms_store_t *ms_store_of(ngx_http_upstream_srv_conf_t *us);

/* at configuration, from the upstream's balancer */
void ms_store_attach(ngx_http_upstream_srv_conf_t *us, ms_zone_t *zone,
    ngx_msec_t ttl);


extern ngx_module_t  ngx_http_myservice_store_module;


#endif /* MS_STORE_STORE_H */
