/*
 * What happened to instances and sessions: the last thousand changes, in shared
 * memory of all upstreams.  Kept over reloads, in the order of their numbers.
 */

#ifndef MS_ZONE_EVENTS_H
#define MS_ZONE_EVENTS_H


#include "zone/shared.h"


#define MS_EVENTS         1000

/* bytes of an upstream's name and of a reason; longer ones are cut */
#define MS_EVENT_TEXT     64


typedef enum {
    MS_EVENT_LEASE_BEGAN = 0,
    MS_EVENT_LEASE_ENDED,
    MS_EVENT_UP,
    MS_EVENT_DOWN,
    MS_EVENT_DRAINS,
    MS_EVENT_DRAINS_NO_MORE,
    MS_EVENT_ADDED,
    MS_EVENT_REMOVED,
    MS_EVENT_MOVES,
    MS_EVENT_KINDS
} ms_event_kind_e;


typedef struct {
    uint64_t                        id;         /* 0: not in use */
    uint64_t                        time;       /* milliseconds since 1970 */
    ms_event_kind_e                 kind;
    uint16_t                        upstream_len;
    uint16_t                        reason_len;
    uint16_t                        instance_len;
    uint16_t                        session_len;
    u_char                          upstream[MS_EVENT_TEXT];
    u_char                          reason[MS_EVENT_TEXT];
    u_char                          instance[MS_POOL_NAME_MAX];
    u_char                          session[MS_POOL_SESSION_MAX];
} ms_event_t;


/* the zone; NULL after an error was logged */
ngx_shm_zone_t *ms_events_zone(ngx_conf_t *cf, void *tag);

/* From here on this worker notes events there; NULL: nowhere. */
void ms_events_open(ngx_shm_zone_t *zone);

/* "session" and "reason" may be NULL; not under the lock of a zone */
void ms_events_add(ms_zone_t *zone, ms_event_kind_e kind, ngx_str_t *instance,
    ngx_str_t *session, const ngx_str_t *reason);

/* the number of the newest event, 0: none yet; without a lock */
uint64_t ms_events_last(void);

/* Copies up to "n" events after the one with this number, the oldest first;
 * returns how many.  Takes the lock of the events. */
ngx_uint_t ms_events_copy(uint64_t after, ms_event_t *events, ngx_uint_t n);

/* "lease_began" and so on */
const char *ms_event_name(ms_event_kind_e kind);


#endif /* MS_ZONE_EVENTS_H */
