#ifndef MS_ZONE_RELOAD_H
#define MS_ZONE_RELOAD_H


#include "zone/shared.h"


/* a zone that the new configuration makes: not in place of one with leases */
ngx_int_t ms_zone_check_old(ngx_shm_zone_t *shm_zone);

/*
 * Before the new cycle takes over: warns of zones with leases that it has no
 * more.  "tag" is that of ms_zone_add().
 */
void ms_zone_unused(ngx_cycle_t *cycle, void *tag);


#endif /* MS_ZONE_RELOAD_H */
