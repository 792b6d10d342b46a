#ifndef MS_ZONE_SYNC_H
#define MS_ZONE_SYNC_H


#include "zone/shared.h"


/*
 * Makes the servers and names of the configuration the members of the zone.
 * Those that are not configured any more leave when their lease has ended.
 * NGX_ERROR if not all fit, which is logged.
 */
ngx_int_t ms_zone_sync(ms_zone_t *zone, ngx_log_t *log);


#endif /* MS_ZONE_SYNC_H */
