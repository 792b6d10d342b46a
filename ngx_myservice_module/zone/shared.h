/*
 * What a zone is: the configuration of one upstream, and the memory that all
 * workers share.  The lowest file of this room: zone/lock.h guards the memory,
 * the others change it.
 */

#ifndef MS_ZONE_SHARED_H
#define MS_ZONE_SHARED_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "core/counts.h"
#include "pool/firsts.h"
#include "pool/line.h"
#include "pool/pool.h"


/* another layout of the shared memory needs another number */
#define MS_LAYOUT           19

/* names of an upstream that are resolved, and room that the zone must have for
 * the instances of each */
#define MS_NAMES            8
#define MS_NAME_ROOM        32

/* how often a name is tried before calls wait no longer for it */
#define MS_NAME_TRIES       2

/* bytes of a name's text: two of 253, and what is between them */
#define MS_NAME_MAX         520

/* instances whose epochs are not believed, at a time */
#define MS_EPOCHS           64

/* why an instance is a member: bits of its sources; without one it leaves */
#define MS_SOURCE_SERVER    0x0001
#define MS_SOURCE_OPERATOR  0x0002
#define MS_SOURCE_NAME      0x0010                  /* of the first slot */
#define MS_SOURCE_SEEN      0x8000                  /* a mark: members.h */

/* instances that are probed at once */
#define MS_ROUNDS_ASKED     16

/* what a zone may have no room for */
#define MS_FULL_SESSIONS    0
#define MS_FULL_MEMBERS     1
#define MS_FULLS            2


typedef struct ms_shared_s  ms_shared_t;


/* a name that is resolved, as configured */

typedef struct {
    ngx_str_t                       text;       /* for the log and status */
    uint64_t                        id;         /* the same after a reload */
    time_t                          fail_timeout;
    ngx_flag_t                      drop;       /* leases of those gone */
} ms_name_t;


typedef struct {
    ngx_shm_zone_t                *shm_zone;
    ngx_slab_pool_t               *shpool;
    ms_shared_t                   *sh;
    ms_line_t                     *line;        /* NULL: nobody waits */
    ngx_uint_t                     places;      /* in the line, by the
                                                   configuration */
    ms_firsts_t                   *firsts;      /* NULL: no store gives the
                                                   leases */
    ngx_http_upstream_srv_conf_t  *upstream;    /* NULL until it is used */

    ms_counts_t                   *counts;      /* of this process, never
                                                   NULL */

    ngx_msec_t                     drain;       /* how long one lasts, 0: as
                                                   the lease */

    ms_name_t                     *names[MS_NAMES];
    ngx_uint_t                     nnames;

    /* members come back by probes; new ones wait for their first */
    unsigned                       health:1;
    unsigned                       mandatory:1;

    /* calls in flight on an instance that is found dead go on */
    unsigned                       keep:1;
} ms_zone_t;


/* the worker that has a duty, zone/duty.h */

typedef struct {
    ngx_pid_t                       pid;        /* 0: none */
    ngx_msec_t                      deadline;
} ms_duty_owner_t;


/* the rounds of probes */

typedef struct {
    ms_duty_owner_t                 duty;
    ngx_uint_t                      completed;  /* each was probed once */
    ngx_uint_t                      joined;     /* members so far */
    ngx_msec_t                      probed;     /* the last result, 0: none */
    ngx_uint_t                      nasked;
    uint32_t                        asked[MS_ROUNDS_ASKED];
                                                /* to be probed at once */
} ms_rounds_t;


/* a name that is resolved, as it stands */

typedef struct {
    uint64_t                        id;         /* 0: not in use */
    uint64_t                        answers;
    uint64_t                        failures;
    ngx_msec_t                      answered;   /* when last */
    ngx_int_t                       state;      /* of the last try: NGX_OK,
                                                   or why there is no address */
    uint32_t                        members;
    unsigned                        drop:1;
    unsigned                        known:1;    /* its name server answered */
} ms_slot_t;


typedef struct {
    ms_duty_owner_t                 duty;
    ms_slot_t                       slots[MS_NAMES];
    ngx_msec_t                      ready_since;
    ngx_uint_t                      ready;      /* calls need not wait */
    ngx_uint_t                      tried;      /* each name was, or is known */
} ms_lookup_t;


/* an epoch that is not believed, see zone/epoch.h */

typedef struct {
    uint64_t                        epoch;
    uint64_t                        lease;      /* whose calls carry it; 0: all
                                                   of the instance */
    uint64_t                        seal;       /* hash of the instance's name,
                                                   XOR epoch and lease */
} ms_epoch_t;


struct ms_shared_s {
    ngx_uint_t                      layout;
    ms_pool_t                      *pool;
    uint16_t                       *sources;    /* by instance */
    uint32_t                        capacity;   /* instances */
    ngx_msec_t                      created;
    uint64_t                        alerts;     /* as logged */
    ngx_msec_t                      full[MS_FULLS];
                                                /* when logged, 0: never */
    uint64_t                        decisions[MS_CLAIM_DECISIONS];
    ms_rounds_t                     rounds;
    ms_lookup_t                     lookup;
    ms_epoch_t                      epochs[MS_EPOCHS];
    ngx_uint_t                      epochs_named;
                                                /* there was one */
};


#define ms_slot_source(zone, slot)                                            \
    (uint16_t) (MS_SOURCE_NAME << ((slot) - (zone)->sh->lookup.slots))


/* the slot of a name, or with 0 a free one; NULL if there is none */

static ngx_inline ms_slot_t *
ms_slot_find(ms_zone_t *zone, uint64_t id)
{
    ngx_uint_t  i;

    for (i = 0; i < MS_NAMES; i++) {
        if (zone->sh->lookup.slots[i].id == id) {
            return &zone->sh->lookup.slots[i];
        }
    }

    return NULL;
}


/* bits of zone->names that the instance came from */

static ngx_inline uint32_t
ms_slot_names(ms_zone_t *zone, uint32_t instance)
{
    uint32_t    bits;
    ngx_uint_t  i;
    ms_slot_t  *slot;

    bits = 0;

    for (i = 0; i < zone->nnames; i++) {
        slot = ms_slot_find(zone, zone->names[i]->id);

        if (slot && (zone->sh->sources[instance] & ms_slot_source(zone, slot)))
        {
            bits |= 1 << i;
        }
    }

    return bits;
}


#endif /* MS_ZONE_SHARED_H */
