/*
 * What is counted of answered calls, for myservice_metrics: in shared memory,
 * without a lock.
 */

#ifndef MS_OPERATOR_COUNTS_H
#define MS_OPERATOR_COUNTS_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* statuses of gRPC, 0 to 16, and one for all that are not of gRPC */
#define MS_COUNTS_CODES    18
#define MS_COUNTS_OTHER    (MS_COUNTS_CODES - 1)

/* upper bounds in milliseconds; one more bucket for what is above */
#define MS_COUNTS_BOUNDS   11

typedef struct {
    uint64_t  buckets[MS_COUNTS_BOUNDS + 1];    /* not cumulated */
    uint64_t  sum;                              /* milliseconds */
} ms_counts_times_t;

typedef struct {
    uint64_t           calls[MS_COUNTS_CODES];
    ms_counts_times_t  first_byte;
} ms_counts_t;


extern const ngx_msec_t  ms_counts_bounds[MS_COUNTS_BOUNDS];


/* The zone of an upstream's counts; NULL after an error was logged.  Keeps
 * the counts over reloads. */
ngx_shm_zone_t *ms_counts_zone(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);

/* Counts a call for this worker; "first_byte" -1: no answer began. */
void ms_counts_call(ngx_shm_zone_t *zone, ngx_uint_t code,
    ngx_msec_t first_byte);

/* the sums over all workers */
void ms_counts_sum(ngx_shm_zone_t *zone, ms_counts_t *sum);


#endif /* MS_OPERATOR_COUNTS_H */
