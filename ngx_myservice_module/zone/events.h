/*
 * What happened to instances and sessions: the last thousand changes, in shared
 * memory of all upstreams.  Kept over reloads, in the order of their numbers.
 * A change under the lock of a zone takes its number there, so that the order
 * of two workers' changes is that of the lock; it is written down later.
 */

#ifndef MS_ZONE_EVENTS_H
#define MS_ZONE_EVENTS_H


#include "zone/shared.h"


#define MS_EVENTS         1000

/* ms: a number whose event is not written down by then is left out, as the
 * worker that took it has died */
#define MS_EVENT_LATE     1000

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
    ngx_msec_t                      taken;      /* when the next number for
                                                   this place was */
    ms_event_kind_e                 kind;
    uint32_t                        count;      /* of changes, 0: one */
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

/* From here on this process notes events in the zone of the cycle, if it has
 * one. */
void ms_events_open(ngx_cycle_t *cycle);

/* not under the lock of a zone; "session" and "reason" may be NULL */
void ms_events_add(ms_zone_t *zone, ms_event_kind_e kind, ngx_str_t *instance,
    ngx_str_t *session, const ngx_str_t *reason);

/* Takes the next number, also under the lock of a zone; 0: there are no
 * events. */
uint64_t ms_events_take(void);

/* Writes the event of that number, not under the lock of a zone.  Each text may
 * be NULL. */
void ms_events_put(uint64_t id, ms_zone_t *zone, ms_event_kind_e kind,
    ngx_uint_t count, const ngx_str_t *instance, const ngx_str_t *session,
    const ngx_str_t *reason);

/* the newest number that was taken, 0: none yet; without a lock */
uint64_t ms_events_last(void);

/* whether ms_events_copy() would get on after this number; without a lock */
ngx_uint_t ms_events_ready(uint64_t after);

/*
 * Copies up to "n" events after the number, the oldest first, and moves it on;
 * returns how many.  Stops at one that is not written down yet.  Takes the lock
 * of the events.
 */
ngx_uint_t ms_events_copy(uint64_t *after, ms_event_t *events, ngx_uint_t n);

/* Copies the newest event of the kind of that instance; NGX_DECLINED if the
 * ring has none.  Takes the lock of the events. */
ngx_int_t ms_events_find(ms_zone_t *zone, ms_event_kind_e kind,
    ngx_str_t *instance, ms_event_t *event);

/* "lease_began" and so on */
const char *ms_event_name(ms_event_kind_e kind);


#endif /* MS_ZONE_EVENTS_H */
