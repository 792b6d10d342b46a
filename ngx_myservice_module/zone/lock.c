
/*
 * The lock of a zone, and what is logged after it: a worker died with the lock
 * and the pool was rebuilt, illegal changes of state, leases that have ended,
 * or a full zone.
 */

#include "zone/lock.h"

#include "core/log.h"
#include "zone/events.h"


#define MS_FULL_INTERVAL  60000

/* under one lock: ms_pool_enter() ends 64 leases at most */
#define MS_ENDS_AT_ONCE   72


typedef struct {
    ms_end_t                        why;
    ngx_msec_t                      lasted;     /* the lease */
    ngx_str_t                       session;
    ngx_str_t                       name;
    u_char                          session_buf[MS_POOL_SESSION_MAX];
    u_char                          name_buf[MS_POOL_NAME_MAX];
} ms_zone_end_t;


static void ms_zone_log_ends(ms_zone_t *zone);


static const char *const  ms_zone_end_texts[MS_ENDS] = {
    [MS_END_RELEASED] = "released",
    [MS_END_EXPIRED] = "expired",
    [MS_END_DIED] = "the instance died",
    [MS_END_HEALTH] = "the instance does not serve it",
    [MS_END_CONFLICT] = "the instance serves another one",
    [MS_END_REMOVED] = "the instance was removed",
    [MS_END_OPERATOR] = "by the operator"
};


/* of this worker, under the lock that it has */

static ms_zone_end_t  ms_zone_ends[MS_ENDS_AT_ONCE];
static ngx_uint_t     ms_zone_nends;


ms_pool_t *
ms_zone_lock(ms_zone_t *zone, ngx_uint_t *rebuilt)
{
    ngx_shmtx_lock(&zone->shpool->mutex);

    *rebuilt = ms_pool_enter(zone->sh->pool, ngx_current_msec);

    return zone->sh->pool;
}


void
ms_zone_unlock(ms_zone_t *zone, ngx_uint_t rebuilt, ngx_log_t *log)
{
    uint64_t  alerts;

    alerts = ms_pool_alerts(zone->sh->pool) - zone->sh->alerts;
    zone->sh->alerts += alerts;

    ngx_shmtx_unlock(&zone->shpool->mutex);

    if (ms_zone_nends) {
        ms_zone_log_ends(zone);
    }

    if (rebuilt) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "zone was rebuilt: a worker died during a change, "
                      "zone=\"%V\"", &zone->shm_zone->shm.name);
    }

    if (alerts) {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "illegal state changes: %uL were refused, zone=\"%V\"",
                      alerts, &zone->shm_zone->shm.name);
    }
}


void
ms_zone_ended(const ms_ended_t *ended)
{
    size_t          i;
    ms_zone_end_t  *end;

    if (ms_zone_nends == MS_ENDS_AT_ONCE) {
        return;
    }

    end = &ms_zone_ends[ms_zone_nends++];

    end->why = ended->why;
    end->lasted = ngx_current_msec - (ngx_msec_t) ended->started;
    end->session.data = end->session_buf;
    end->session.len = ended->session_len;
    end->name.data = end->name_buf;
    end->name.len = ended->name_len;

    ngx_memcpy(end->name_buf, ended->name, ended->name_len);

    /* an instance may have named any bytes */

    for (i = 0; i < ended->session_len; i++) {
        end->session_buf[i] = ended->session[i] > 0x20
                              && ended->session[i] < 0x7f
                              ? ended->session[i] : '?';
    }
}


/* not with the log of a call: it may not have to do with the session */

static void
ms_zone_log_ends(ms_zone_t *zone)
{
    ngx_str_t       why, *host;
    ngx_uint_t      i, level;
    const char     *text;
    ms_zone_end_t  *end;

    static ms_log_reason_t  reasons[MS_ENDS];

    host = &zone->upstream->host;

    for (i = 0; i < ms_zone_nends; i++) {
        end = &ms_zone_ends[i];
        level = end->why == MS_END_RELEASED || end->why == MS_END_EXPIRED
                ? NGX_LOG_INFO : NGX_LOG_NOTICE;
        text = ms_zone_end_texts[end->why];

        ms_counts_time(&zone->counts->session, &ms_times_long, end->lasted);

        why.data = (u_char *) ms_pool_end_name(end->why);
        why.len = ngx_strlen(why.data);
        ms_events_add(zone, MS_EVENT_LEASE_ENDED, &end->name, &end->session,
                      &why);

        /* the master has no timers */

        if (ngx_cycle->log->log_level < level
            || (ngx_process != NGX_PROCESS_MASTER
                && !ms_log_allowed(&reasons[end->why], text, level)))
        {
            continue;
        }

        if (level == NGX_LOG_INFO) {
            ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                          "session ended: %s, session=\"%V\" "
                          "instance=\"%V\" upstream=\"%V\"",
                          text, &end->session, &end->name, host);

        } else {
            ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                          "session lost its instance: %s, session=\"%V\" "
                          "instance=\"%V\" upstream=\"%V\"",
                          text, &end->session, &end->name, host);
        }
    }

    ms_zone_nends = 0;
}


void
ms_zone_full(ms_zone_t *zone, ngx_uint_t kind, ngx_log_t *log)
{
    ngx_uint_t   due;
    ngx_msec_t  *full;

    static const char  *what[] = {
        "another long session id, new sessions are refused",
        "another instance, some that were resolved are not used"
    };

    full = &zone->sh->full[kind];

    ngx_shmtx_lock(&zone->shpool->mutex);

    due = *full == 0 || ngx_current_msec - *full >= MS_FULL_INTERVAL;

    if (due) {
        *full = ngx_current_msec;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    if (due) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "zone is full: no room for %s, zone=\"%V\" (make it "
                      "larger)", what[kind], &zone->shm_zone->shm.name);
    }
}
