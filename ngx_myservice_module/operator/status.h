/*
 * Upstreams and instances as JSON, for myservice_status and myservice_api.
 */

#ifndef MS_OPERATOR_STATUS_H
#define MS_OPERATOR_STATUS_H


#include "operator/page.h"
#include "zone/zone.h"


/* records that are copied while the lock of a zone is held once */
#define MS_STATUS_BATCH   32

/*
 * Appends the members of an object for the upstream, without braces: "zone",
 * times, totals and names.
 */
ngx_int_t ms_status_upstream(ms_page_t *page, ms_zone_t *zone,
    ms_zone_stats_t *stats);

/* appends the object of an instance */
ngx_int_t ms_status_instance(ms_page_t *page, ms_zone_t *zone,
    ms_member_t *member);

/* appends a JSON string */
ngx_int_t ms_status_string(ms_page_t *page, ngx_str_t *text);

/* "waited", how long calls waited in the line */
ngx_int_t ms_status_waited(ms_page_t *page, ms_zone_t *zone);


#endif /* MS_OPERATOR_STATUS_H */
