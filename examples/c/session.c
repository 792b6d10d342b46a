/*
 * What the contract asks of an instance, over the pure state of one session
 * (myservice/session.h).
 */

#include "session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "jwt/token.h"
#include "myservice/session.h"
#include "rpc/health.h"


#define SUBJECT_MAX  64


/* A call of the session; lives in the call's memory, linked while it runs. */

typedef struct entry_s  entry_t;

struct entry_s {
    sessions_t    *sessions;
    rpc_call_t    *call;
    bool           stream;
    rpc_event_pt   done;
    void          *data;
    entry_t       *prev;
    entry_t       *next;
};

struct sessions_s {
    sessions_options_t   options;
    rpc_run_t           *run;
    rpc_server_t        *server;
    rpc_health_t        *health;
    session_t            session;
    char                 subject[SUBJECT_MAX + 1];
    char                 instance[17];
    entry_t              calls;         /* head of the ring */
    rpc_timer_t          expiry;
    bool                 released;      /* the session, by one of its calls */
    bool                 draining;
    bool                 leaving;
};


static void sessions_refuse_session(const sessions_t *sessions,
    rpc_call_t *call);
static void sessions_refuse(rpc_call_t *call, grpc_status_code code,
    const char *key, const char *value);
static char *sessions_text(rpc_call_t *call, const char *key, size_t max);
static uint64_t sessions_epoch(rpc_call_t *call);
static int64_t sessions_ms(rpc_call_t *call, const char *key);
static void sessions_done(rpc_call_t *call, void *data);
static void sessions_end_streams(sessions_t *sessions, const rpc_call_t *but);
static void sessions_expire(void *data);
static void sessions_over(sessions_t *sessions);
static void sessions_check(rpc_call_t *call, void *data);
static void sessions_leave(void *data);
static void sessions_drain(void *data);


sessions_t *
sessions_create(rpc_run_t *run, rpc_server_t *server,
    const sessions_options_t *options)
{
    uint64_t     id;
    sessions_t  *sessions;

    sessions = calloc(1, sizeof(sessions_t));

    if (sessions == NULL || getrandom(&id, sizeof(id), 0) != sizeof(id)) {
        free(sessions);
        return NULL;
    }

    snprintf(sessions->instance, sizeof(sessions->instance), "%016" PRIx64,
             id);

    sessions->options = *options;
    sessions->run = run;
    sessions->server = server;
    sessions->calls.prev = &sessions->calls;
    sessions->calls.next = &sessions->calls;
    sessions->expiry.fire = sessions_expire;
    sessions->expiry.data = sessions;
    session_init(&sessions->session, options->ttl);

    sessions->health = rpc_health_create(server, options->service,
                                         sessions_check, sessions);
    if (sessions->health == NULL) {
        free(sessions);
        return NULL;
    }

    return sessions;
}


int
sessions_run(sessions_t *sessions)
{
    rpc_run_options_t  options;

    memset(&options, 0, sizeof(options));

    options.listen = sessions->options.listen;
    options.health = sessions->health;
    options.leave = sessions_leave;
    options.patience = sessions->options.grace;
    options.drain = sessions_drain;
    options.grace = 5000;
    options.data = sessions;

    return rpc_run(sessions->run, sessions->server, &options);
}


void
sessions_free(sessions_t *sessions)
{
    if (sessions != NULL) {
        rpc_health_free(sessions->health);
        free(sessions);
    }
}


int
sessions_enter(sessions_t *sessions, rpc_call_t *call, bool stream,
    rpc_event_pt done, void *data)
{
    char       *id, *subject;
    bool        begins;
    int64_t     ms;
    entry_t    *entry;
    session_t  *session;

    session = &sessions->session;
    id = sessions_text(call, "session-id", SESSION_ID_MAX);
    subject = sessions_text(call, "session-subject", SUBJECT_MAX);
    entry = rpc_call_alloc(call, sizeof(entry_t));

    if (id == NULL || !ms_session_valid(id, strlen(id))) {
        rpc_call_fail(call, GRPC_STATUS_INVALID_ARGUMENT,
                      "one session-id of 1 to 256 bytes is required");
        return -1;
    }

    if (entry == NULL) {
        rpc_call_fail(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return -1;
    }

    sessions_expire(sessions);
    begins = session->state == SESSION_UNSET;

    if (sessions->leaving || sessions->released
        || (sessions->draining && begins))
    {
        sessions_refuse(call, GRPC_STATUS_UNAVAILABLE, "session-leaving",
                        "1");
        return -1;
    }

    if (session_enter(session, id, sessions_epoch(call), rpc_now())
        != SESSION_OK)
    {
        sessions_refuse_session(sessions, call);
        return -1;
    }

    if (begins) {
        snprintf(sessions->subject, sizeof(sessions->subject), "%s",
                 subject != NULL ? subject : "");
    }

    ms = sessions_ms(call, "session-ttl");
    if (ms > 0) {
        session_ttl(session, ms);
    }

    ms = sessions_ms(call, "session-ends");
    if (ms > 0) {
        session_ends(session, rpc_now() + ms);
    }

    rpc_timer_clear(sessions->server, &sessions->expiry);

    entry->sessions = sessions;
    entry->call = call;
    entry->stream = stream;
    entry->done = done;
    entry->data = data;
    entry->prev = sessions->calls.prev;
    entry->next = &sessions->calls;
    entry->prev->next = entry;
    entry->next->prev = entry;

    rpc_call_on_done(call, sessions_done, entry);

    return 0;
}


const char *
sessions_id(const sessions_t *sessions)
{
    return sessions->session.id;
}


const char *
sessions_subject(const sessions_t *sessions)
{
    return sessions->subject;
}


int64_t
sessions_left(const sessions_t *sessions)
{
    return session_left(&sessions->session, rpc_now());
}


void
sessions_release(sessions_t *sessions, rpc_call_t *call)
{
    sessions->released = true;
    sessions_end_streams(sessions, call);
}


/* It serves another session, or the call is of an older lease. */

static void
sessions_refuse_session(const sessions_t *sessions, rpc_call_t *call)
{
    char  epoch[24];

    if (sessions->session.epoch != 0) {
        snprintf(epoch, sizeof(epoch), "%" PRIu64, sessions->session.epoch);
        (void) rpc_call_add_trailing(call, "session-epoch", epoch);
    }

    if (sessions->session.id[0] != '\0') {
        (void) rpc_call_add_trailing(call, "session-owner",
                                     sessions->session.id);
    }

    rpc_call_fail(call, GRPC_STATUS_FAILED_PRECONDITION, NULL);
}


/* A status without a message, and a trailer that says why. */

static void
sessions_refuse(rpc_call_t *call, grpc_status_code code, const char *key,
    const char *value)
{
    (void) rpc_call_add_trailing(call, key, value);
    rpc_call_fail(call, code, NULL);
}


/* The only value of a key as a string, or NULL. */

static char *
sessions_text(rpc_call_t *call, const char *key, size_t max)
{
    char        *text;
    size_t       len;
    const char  *value;

    value = rpc_call_metadata(call, key, &len);

    if (value == NULL || len > max || rpc_call_metadata_count(call, key) > 1) {
        return NULL;
    }

    text = rpc_call_alloc(call, len + 1);

    if (text != NULL) {
        memcpy(text, value, len);
        text[len] = '\0';
    }

    return text;
}


/* Of the lease under which the gateway sends the call; 0: none. */

static uint64_t
sessions_epoch(rpc_call_t *call)
{
    char  *text;

    text = sessions_text(call, "session-epoch", 16);

    return text != NULL && text[strspn(text, "0123456789")] == '\0'
           ? strtoull(text, NULL, 10) : 0;
}


/* Milliseconds, a year at most; 0 if there are none. */

static int64_t
sessions_ms(rpc_call_t *call, const char *key)
{
    char     *text;
    int64_t   ms;

    text = sessions_text(call, key, 15);

    if (text == NULL || text[strspn(text, "0123456789")] != '\0') {
        return 0;
    }

    ms = strtoll(text, NULL, 10);

    return ms < SESSION_TTL_MAX ? ms : SESSION_TTL_MAX;
}


static void
sessions_done(rpc_call_t *call, void *data)
{
    entry_t     *entry = data;
    sessions_t  *sessions = entry->sessions;

    entry->prev->next = entry->next;
    entry->next->prev = entry->prev;

    if (entry->done != NULL) {
        entry->done(call, entry->data);
    }

    session_leave(&sessions->session, rpc_now());
    sessions_expire(sessions);
}


/* The session is released, or the instance goes.  A stream may have done
 * something.  Trailers alone would say that it did not, and be repeated; after
 * a header they are the end of a stream. */

static void
sessions_end_streams(sessions_t *sessions, const rpc_call_t *but)
{
    entry_t  *entry, *next;

    for (entry = sessions->calls.next;
         entry != &sessions->calls;
         entry = next)
    {
        next = entry->next;

        if (!entry->stream || entry->call == but) {
            continue;
        }

        if (sessions->leaving) {
            (void) rpc_call_add_initial(entry->call, "session-calls", "1");
            sessions_refuse(entry->call, GRPC_STATUS_UNAVAILABLE,
                            "session-leaving", "1");

        } else {
            rpc_call_fail(entry->call, GRPC_STATUS_ABORTED,
                          "session released");
        }
    }
}


/* Ends the session if its time is over, else sets the timer for it. */

static void
sessions_expire(void *data)
{
    bool         over;
    int64_t      now;
    session_t   *session;
    sessions_t  *sessions = data;

    now = rpc_now();
    session = &sessions->session;

    if (session->state != SESSION_IDLE) {
        return;
    }

    over = sessions->released || sessions->leaving
           ? session_forget(session, session->id, now)
           : session_expire(session, now);

    if (over) {
        sessions_over(sessions);

    } else {
        rpc_timer_set(sessions->server, &sessions->expiry,
                      session_left(session, now));
    }
}


static void
sessions_over(sessions_t *sessions)
{
    rpc_timer_clear(sessions->server, &sessions->expiry);
    sessions->released = false;
    sessions->options.end(sessions->options.data);

    if (sessions->draining) {
        rpc_run_quit(sessions->run);
    }
}


/* A check of the gateway: its answer tells the session. */

static void
sessions_check(rpc_call_t *call, void *data)
{
    char         left[24], calls[16], epoch[24], *elsewhere;
    int64_t      now;
    session_t   *session;
    sessions_t  *sessions = data;

    now = rpc_now();
    session = &sessions->session;
    sessions_expire(sessions);

    elsewhere = sessions_text(call, "session-elsewhere", SESSION_ID_MAX);

    if (elsewhere != NULL && session_forget(session, elsewhere, now)) {
        sessions_over(sessions);
    }

    snprintf(calls, sizeof(calls), "%u", session->calls);
    (void) rpc_call_add_initial(call, "session-calls", calls);
    (void) rpc_call_add_initial(call, "instance-id", sessions->instance);

    if (session->epoch != 0) {
        snprintf(epoch, sizeof(epoch), "%" PRIu64, session->epoch);
        (void) rpc_call_add_initial(call, "session-epoch", epoch);
    }

    if (sessions->draining && !sessions->leaving) {
        (void) rpc_call_add_initial(call, "session-drain", "1");
    }

    if (session->id[0] == '\0') {
        return;
    }

    snprintf(left, sizeof(left), "%" PRId64, session_left(session, now));
    (void) rpc_call_add_initial(call, "session-id", session->id);
    (void) rpc_call_add_initial(call, "session-left", left);

    if (sessions->subject[0] != '\0') {
        (void) rpc_call_add_initial(call, "session-subject",
                                    sessions->subject);
    }
}


/* SIGTERM: serves on until the session ends or the grace is over. */

static void
sessions_leave(void *data)
{
    sessions_t  *sessions = data;

    sessions->draining = true;
    sessions_expire(sessions);

    if (sessions->session.state == SESSION_UNSET) {
        rpc_run_quit(sessions->run);
    }
}


/* Then it goes. */

static void
sessions_drain(void *data)
{
    sessions_t  *sessions = data;

    sessions->leaving = true;
    sessions_end_streams(sessions, NULL);
    sessions_expire(sessions);
}
