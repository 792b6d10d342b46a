/*
 * What the page of myservice_metrics is made of: families, and their lines.
 */

#ifndef MS_OPERATOR_METRICS_TEXT_H
#define MS_OPERATOR_METRICS_TEXT_H


#include "core/counts.h"
#include "operator/page.h"
#include "zone/zone.h"


/* bytes of a line without the texts in its labels */
#define MS_METRICS_LINE  256


/* an upstream, as it is while the page is written */

typedef struct {
    ms_zone_t               *zone;
    ms_zone_stats_t          stats;
    ms_counts_t              counts;
    ngx_str_t                label;             /* its name, escaped */
} ms_metrics_upstream_t;

typedef struct {
    ms_page_t                page;
    ms_metrics_upstream_t   *upstreams;
    ngx_uint_t               n;
    ms_gateway_counts_t      counts;
    ngx_shm_zone_t          *tokens;
    ngx_array_t             *keyrings;
} ms_metrics_t;

typedef struct ms_metrics_family_s  ms_metrics_family_t;

typedef ngx_int_t (*ms_metrics_write_pt)(ms_metrics_t *m,
    const ms_metrics_family_t *family);

/* whether the upstream has the family */
typedef ngx_uint_t (*ms_metrics_with_pt)(ms_metrics_upstream_t *u);

/* "u" is NULL if the value is not of an upstream; a time is in milliseconds */
typedef uint64_t (*ms_metrics_value_pt)(ms_metrics_t *m,
    ms_metrics_upstream_t *u, ngx_uint_t n);

struct ms_metrics_family_s {
    const char              *name;
    const char              *type;
    const char              *help;
    ms_metrics_write_pt      write;
    ngx_uint_t               gateway;           /* not of an upstream */

    /* where numbers or times are among the counts */
    size_t                   counts;

    /* of ms_metrics_each() */
    ms_metrics_with_pt       with;              /* NULL: all have it */
    const char              *label;             /* NULL: one line without it */
    ngx_uint_t               first;
    ngx_uint_t               end;
    const char            *(*text)(ngx_uint_t n);
    const char *const       *texts;             /* if "text" is NULL */
    ms_metrics_value_pt      value;             /* NULL: of the counts */
    ngx_uint_t               seconds;           /* a time */

    /* of ms_metrics_times() */
    const ms_times_scale_t  *scale;
};


/* a line for each text of the label, of each upstream or of the gateway */
ngx_int_t ms_metrics_each(ms_metrics_t *m, const ms_metrics_family_t *family);

/* a histogram, of each upstream or of the gateway */
ngx_int_t ms_metrics_times(ms_metrics_t *m, const ms_metrics_family_t *family);

/*
 * A line up to its labels, with room for what follows and "room" bytes more;
 * "u" NULL: it is not of an upstream.  NULL if out of memory.
 */
u_char *ms_metrics_open(ms_metrics_t *m, const char *name,
    ms_metrics_upstream_t *u, size_t room);

/* the value of a label: backslash, quote and line feed are escaped */
ngx_int_t ms_metrics_escape(ngx_pool_t *pool, ngx_str_t *text,
    ngx_str_t *label);


#endif /* MS_OPERATOR_METRICS_TEXT_H */
