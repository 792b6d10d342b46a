/*
 * The one lock of a zone: the mutex of its slab pool, which nginx releases
 * when a worker dies with it.  Nothing is logged or allocated under it.
 */

#ifndef MS_ZONE_LOCK_H
#define MS_ZONE_LOCK_H


#include "zone/events.h"


/* "rebuilt" is passed on to ms_zone_unlock(), which logs */
ms_pool_t *ms_zone_lock(ms_zone_t *zone, ngx_uint_t *rebuilt);
void ms_zone_unlock(ms_zone_t *zone, ngx_uint_t rebuilt, ngx_log_t *log);

/* the pool's handler of leases that end: ms_zone_unlock() logs them */
void ms_zone_ended(const ms_ended_t *ended);

/*
 * Under the lock: notes an event, which ms_zone_unlock() writes down.  "name"
 * and "reason" are those of the instance and may have at most MS_POOL_NAME_MAX
 * bytes; "key" is the session's, or NULL; "reason" is static.
 */
void ms_zone_note(ms_event_kind_e kind, const ngx_str_t *name,
    const ms_pool_key_t *key, const char *reason);

/* logs that there is no room, once a minute for each kind; takes the lock */
void ms_zone_full(ms_zone_t *zone, ngx_uint_t kind, ngx_log_t *log);


#endif /* MS_ZONE_LOCK_H */
