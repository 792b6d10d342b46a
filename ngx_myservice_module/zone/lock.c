
/*
 * The lock of a zone, and what is logged after it: a worker died with the lock
 * and the pool was rebuilt, illegal changes of state, leases that have ended,
 * or a full zone.
 */

#include "zone/lock.h"

#include "core/log.h"
#include "core/session_text.h"
#include "zone/wake.h"


#define MS_FULL_INTERVAL  60000

/* under one lock: ms_pool_enter() ends 64 leases at most, a name or a reload
 * may change more */
#define MS_NOTES          72


typedef struct {
    uint64_t                        id;         /* of the event */
    ms_event_kind_e                 kind;
    ms_end_t                        why;        /* of a lease that ended, and */
    ngx_msec_t                      lasted;     /* how long it lasted */
    const char                     *reason;
    ngx_str_t                       session;
    ngx_str_t                       name;
    u_char                          session_buf[MS_POOL_SESSION_MAX];
    u_char                          name_buf[MS_POOL_NAME_MAX];
} ms_zone_note_t;


static ms_zone_note_t *ms_zone_note_next(ms_event_kind_e kind,
    const char *reason, const void *name, size_t name_len, const void *session,
    size_t session_len);
static void ms_zone_write_notes(ms_zone_t *zone);
static void ms_zone_log_end(ms_zone_t *zone, ms_zone_note_t *note);
static void ms_zone_write_rest(ms_zone_t *zone);


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

static ms_zone_note_t  ms_zone_notes[MS_NOTES];
static ngx_uint_t      ms_zone_nnotes;
static ngx_uint_t      ms_zone_left_out[MS_EVENT_KINDS];


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
    uint64_t  alerts, workers;

    workers = zone->line ? ms_line_serve(zone->line, zone->sh->pool,
                                         ngx_current_msec)
                         : 0;

    alerts = ms_pool_alerts(zone->sh->pool) - zone->sh->alerts;
    zone->sh->alerts += alerts;

    ngx_shmtx_unlock(&zone->shpool->mutex);

    if (workers) {
        ms_wake(workers);
    }

    if (ms_zone_nnotes) {
        ms_zone_write_notes(zone);
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
    ms_zone_note_t  *note;

    note = ms_zone_note_next(MS_EVENT_LEASE_ENDED,
                             ms_pool_end_name(ended->why), ended->name,
                             ended->name_len, ended->session,
                             ended->session_len);
    if (note) {
        note->why = ended->why;
        note->lasted = ngx_current_msec - (ngx_msec_t) ended->started;
    }
}


void
ms_zone_note(ms_event_kind_e kind, const ngx_str_t *name,
    const ms_pool_key_t *key, const char *reason)
{
    (void) ms_zone_note_next(kind, reason, name->data, name->len,
                             key ? key->session : NULL, key ? key->len : 0);
}


/* NULL: there is no room, and it is only counted */

static ms_zone_note_t *
ms_zone_note_next(ms_event_kind_e kind, const char *reason, const void *name,
    size_t name_len, const void *session, size_t session_len)
{
    size_t           i;
    u_char          *id;
    ms_zone_note_t  *note;

    if (ms_zone_nnotes == MS_NOTES) {
        ms_zone_left_out[kind]++;
        return NULL;
    }

    note = &ms_zone_notes[ms_zone_nnotes++];

    note->id = ms_events_take();
    note->kind = kind;
    note->why = MS_END_NONE;
    note->reason = reason;
    note->session.data = note->session_buf;
    note->session.len = session_len;
    note->name.data = note->name_buf;
    note->name.len = name_len;

    ngx_memcpy(note->name_buf, name, name_len);

    /* an instance may have named any bytes */

    id = (u_char *) session;

    for (i = 0; i < session_len; i++) {
        note->session_buf[i] = id[i] > 0x20 && id[i] < 0x7f ? id[i] : '?';
    }

    return note;
}


static void
ms_zone_write_notes(ms_zone_t *zone)
{
    ngx_str_t        reason;
    ngx_uint_t       i;
    ms_zone_note_t  *note;

    for (i = 0; i < ms_zone_nnotes; i++) {
        note = &ms_zone_notes[i];

        reason.data = (u_char *) note->reason;
        reason.len = ngx_strlen(note->reason);
        ms_events_put(note->id, zone, note->kind, 0, &note->name,
                      &note->session, &reason);

        if (note->kind == MS_EVENT_LEASE_ENDED) {
            ms_counts_time(&zone->counts->session, &ms_times_long,
                           note->lasted);
            ms_zone_log_end(zone, note);
        }
    }

    if (ms_zone_nnotes == MS_NOTES) {
        ms_zone_write_rest(zone);
    }

    ms_zone_nnotes = 0;
}


/* not with the log of a call: it may not have to do with the session */

static void
ms_zone_log_end(ms_zone_t *zone, ms_zone_note_t *note)
{
    ngx_str_t         *host, *session;
    ngx_uint_t         level;
    const char        *text;
    ms_session_log_t   log;

    static ms_log_reason_t  reasons[MS_ENDS];

    host = &zone->upstream->host;
    level = note->why == MS_END_RELEASED || note->why == MS_END_EXPIRED
            ? NGX_LOG_INFO : NGX_LOG_NOTICE;
    text = ms_zone_end_texts[note->why];

    /* the master has no timers */

    if (ngx_cycle->log->log_level < level
        || (ngx_process != NGX_PROCESS_MASTER
            && !ms_log_allowed(&reasons[note->why], text, level)))
    {
        return;
    }

    session = ms_session_log(&note->session, &log);

    if (level == NGX_LOG_INFO) {
        ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                      "session ended: %s, session=\"%V\" "
                      "instance=\"%V\" upstream=\"%V\"",
                      text, session, &note->name, host);

    } else {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "session lost its instance: %s, session=\"%V\" "
                      "instance=\"%V\" upstream=\"%V\"",
                      text, session, &note->name, host);
    }
}


/* changes for which there was no room: how many of each kind */

static void
ms_zone_write_rest(ms_zone_t *zone)
{
    ngx_uint_t  i;

    for (i = 0; i < MS_EVENT_KINDS; i++) {

        if (ms_zone_left_out[i] == 0) {
            continue;
        }

        ms_events_put(ms_events_take(), zone, i, ms_zone_left_out[i], NULL,
                      NULL, NULL);

        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "more changes at once than are noted one by one: %ui "
                      "more of \"%s\", upstream=\"%V\"",
                      ms_zone_left_out[i], ms_event_name(i),
                      &zone->upstream->host);

        ms_zone_left_out[i] = 0;
    }
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
