/*
 * Counters of the token check, of all workers.
 */

#ifndef MS_TOKEN_STATS_H
#define MS_TOKEN_STATS_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "token/reasons.h"


typedef enum {
    MS_JWT_HITS = MS_JWT_REASONS,
    MS_JWT_MISSES,
    MS_JWT_EVICTIONS,
    MS_JWT_UPDATES,
    MS_JWT_FAILURES,
    MS_JWT_COUNTERS
} ms_jwt_counter_e;

/* "n" is an outcome or a counter; counted for this worker. */
void ms_jwt_count(ngx_uint_t n, ngx_uint_t times);

/* the zone of the counters; NULL after an error was logged */
ngx_shm_zone_t *ms_jwt_add_zone(ngx_conf_t *cf);

/* before this worker counts */
void ms_jwt_open_stats(ngx_shm_zone_t *zone);

/* an outcome or a counter, of all workers */
uint64_t ms_jwt_sum(ngx_shm_zone_t *zone, ngx_uint_t n);

/* The counters of all workers as a JSON object, without a name; at most
 * MS_JWT_JSON bytes. */
#define MS_JWT_JSON                                                           \
    (256 + MS_JWT_COUNTERS * (24 + NGX_INT64_LEN))

u_char *ms_jwt_json(u_char *p, ngx_shm_zone_t *zone);


#endif /* MS_TOKEN_STATS_H */
