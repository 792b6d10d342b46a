/*
 * What is counted for myservice_metrics: in shared memory, without a lock.
 * Each process has a slot of its own, which it finds once.  Without
 * myservice_metrics the counts go where nobody reads them.
 */

#ifndef MS_CORE_COUNTS_H
#define MS_CORE_COUNTS_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* statuses of gRPC, 0 to 16, and one for all that are not of gRPC */
#define MS_COUNTS_CODES    18
#define MS_COUNTS_OTHER    (MS_COUNTS_CODES - 1)

#define MS_TIMES_BOUNDS    11


/* upper bounds of a histogram's buckets; one more is for what is above */

typedef struct {
    ngx_uint_t    second;                       /* in the unit of the bounds */
    ngx_uint_t    n;
    uint32_t      bounds[MS_TIMES_BOUNDS];
} ms_times_scale_t;

typedef struct {
    ngx_atomic_t  buckets[MS_TIMES_BOUNDS + 1]; /* not cumulated */
    ngx_atomic_t  sum;                          /* in the unit of the bounds */
} ms_times_t;


/* probes by result */
typedef enum {
    MS_CHECK_PASSED = 0,
    MS_CHECK_FAILED,                            /* not serving */
    MS_CHECK_UNANSWERED,
    MS_CHECK_ERROR,                             /* the gateway's own */
    MS_CHECKS
} ms_check_e;

/* attempts by what they are sent on */
typedef enum {
    MS_CONNECTION_OPENED = 0,
    MS_CONNECTION_KEPT,                         /* "keepalive" */
    MS_CONNECTION_SHARED,                       /* "myservice_multiplex" */
    MS_CONNECTIONS
} ms_connection_e;

/* calls that wait, by what for */
typedef enum {
    MS_WAIT_KEYS = 0,
    MS_WAIT_NAMES,
    MS_WAIT_PROBES,
    MS_WAIT_MESSAGE,                            /* of the client, the first */
    MS_WAITS
} ms_wait_e;


/* of an upstream */

typedef struct {
    ngx_atomic_t  calls[MS_COUNTS_CODES];
    ngx_atomic_t  connections[MS_CONNECTIONS];
    ngx_atomic_t  checks[MS_CHECKS];
    ms_times_t    first_byte;
    ms_times_t    assignment;
    ms_times_t    queued;
    ms_times_t    session;
    ms_times_t    probe;
    ms_times_t    lookup;
    ms_times_t    stored;                       /* questions to a store,
                                                   microseconds */
} ms_counts_t;

/* of the gateway as a whole */

typedef struct {
    ngx_atomic_t  waits[MS_WAITS];
    ngx_atomic_t  coalesced;                    /* writes that were saved */
    ngx_atomic_t  decoded_once;                 /* values not decoded again */
    ms_times_t    verification;
} ms_gateway_counts_t;


/* milliseconds: those that Prometheus' clients use by default */
extern const ms_times_scale_t  ms_times_default;

/* milliseconds, from a second to a day */
extern const ms_times_scale_t  ms_times_long;

/* microseconds, to ten milliseconds */
extern const ms_times_scale_t  ms_times_short;

/* of this process; never NULL */
extern ms_gateway_counts_t    *ms_gateway_counts;

/* counted without myservice_metrics */
extern ms_gateway_counts_t     ms_gateway_counts_unread;
extern ms_counts_t             ms_counts_unread;


#define ms_counts_add(count, n)  (void) ngx_atomic_fetch_add(count, n)

static ngx_inline void ms_counts_time(ms_times_t *times,
    const ms_times_scale_t *scale, ngx_uint_t time);


/* A zone of slots of "size" bytes, which keeps them over reloads; NULL after
 * an error was logged. */
ngx_shm_zone_t *ms_counts_zone(ngx_conf_t *cf, ngx_str_t *name, size_t size);

/* the slot of this process */
void *ms_counts_slot(ngx_shm_zone_t *zone, size_t size);

/* the sums over all processes, as a struct like that of a slot */
void ms_counts_sum(ngx_shm_zone_t *zone, void *sum, size_t size);


static ngx_inline void
ms_counts_time(ms_times_t *times, const ms_times_scale_t *scale,
    ngx_uint_t time)
{
    ngx_uint_t  i;

    for (i = 0; i < scale->n; i++) {
        if (time <= scale->bounds[i]) {
            break;
        }
    }

    ms_counts_add(&times->buckets[i], 1);

    if (time) {
        ms_counts_add(&times->sum, time);
    }
}


#endif /* MS_CORE_COUNTS_H */
