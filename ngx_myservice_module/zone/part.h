/*
 * Memory that only some zones need, in a shared zone of its own, named after
 * the zone: that of another size or name after a reload is new.
 */

#ifndef MS_ZONE_PART_H
#define MS_ZONE_PART_H


#include "zone/shared.h"


/* at configuration: "of" is what stands behind the zone's name; NULL: an error
 * that was logged.  The caller sets "init". */
ngx_shm_zone_t *ms_zone_part_add(ngx_conf_t *cf, ms_zone_t *zone,
    ngx_str_t *of, size_t size, void *tag);

/* New memory, which "shpool->data" points to; NULL: an error that was
 * logged. */
void *ms_zone_part_create(ngx_shm_zone_t *shm_zone, size_t size);


#endif /* MS_ZONE_PART_H */
