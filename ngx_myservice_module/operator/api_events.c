
/*
 * The events of the API: those after a number, at once or as soon as there are
 * some.  A request that waits looks at the newest number ten times a second.
 */

#include "operator/api.h"
#include "operator/status.h"

#include "core/session_text.h"
#include "zone/events.h"


#define MS_API_LOOK        100                  /* ms */
#define MS_API_WAIT_MAX    60000                /* ms */

/* events that are copied while the lock is held once */
#define MS_API_BATCH       64


typedef struct {
    ms_api_t     *api;
    uint64_t      after;
    ngx_msec_t    end;
    ngx_event_t   event;
} ms_api_wait_t;


static ngx_uint_t ms_api_arguments(ms_api_t *api, uint64_t *after,
    ngx_msec_t *wait, ngx_int_t *rc);
static ngx_int_t ms_api_begin_wait(ms_api_t *api, uint64_t after,
    ngx_msec_t wait);
static void ms_api_look(ngx_event_t *ev);
static void ms_api_end_wait(void *data);
static ngx_int_t ms_api_send_events(ms_api_t *api, uint64_t after);
static ngx_int_t ms_api_write_event(ms_page_t *page, ms_event_t *event);
static ngx_int_t ms_api_write_text(ms_page_t *page, const char *key,
    u_char *data, size_t len);


ngx_int_t
ms_api_events(ms_api_t *api, json_t *body)
{
    uint64_t    after;
    ngx_int_t   rc;
    ngx_msec_t  wait;

    if (!ms_api_arguments(api, &after, &wait, &rc)) {
        return rc;
    }

    /* a number of another nginx, before this one was started */

    if (after > ms_events_last()) {
        after = 0;
    }

    if (wait && !ms_events_ready(after)) {
        return ms_api_begin_wait(api, after, wait);
    }

    return ms_api_send_events(api, after);
}


static ngx_uint_t
ms_api_arguments(ms_api_t *api, uint64_t *after, ngx_msec_t *wait,
    ngx_int_t *rc)
{
    off_t      n;
    ngx_int_t  ms;
    ngx_str_t  value;

    *after = 0;
    *wait = 0;

    if (ngx_http_arg(api->request, (u_char *) "after", 5, &value) == NGX_OK) {
        n = ngx_atoof(value.data, value.len);

        if (n == NGX_ERROR) {
            *rc = ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "\"after\" must "
                                 "be the \"last\" of the answer before, not "
                                 "\"%V\"", &value);
            return 0;
        }

        *after = (uint64_t) n;
    }

    if (ngx_http_arg(api->request, (u_char *) "wait", 4, &value) == NGX_OK) {
        ms = ngx_parse_time(&value, 0);

        if (ms == NGX_ERROR || ms > MS_API_WAIT_MAX) {
            *rc = ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "\"wait\" must be "
                                 "a time up to 60s, not \"%V\"", &value);
            return 0;
        }

        *wait = ms;
    }

    return 1;
}


static ngx_int_t
ms_api_begin_wait(ms_api_t *api, uint64_t after, ngx_msec_t wait)
{
    ms_api_wait_t       *w;
    ngx_pool_cleanup_t  *cln;
    ngx_http_request_t  *r;

    r = api->request;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ms_api_wait_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    w = cln->data;
    ngx_memzero(w, sizeof(ms_api_wait_t));
    cln->handler = ms_api_end_wait;

    w->api = api;
    w->after = after;
    w->end = ngx_current_msec + wait;
    w->event.handler = ms_api_look;
    w->event.data = w;
    w->event.log = r->connection->log;

    ngx_add_timer(&w->event, MS_API_LOOK);

    /* the client may go away meanwhile */

    r->read_event_handler = ngx_http_test_reading;
    r->main->count++;

    return NGX_DONE;
}


static void
ms_api_end_wait(void *data)
{
    ms_api_wait_t  *w = data;

    if (w->event.timer_set) {
        ngx_del_timer(&w->event);
    }
}


static void
ms_api_look(ngx_event_t *ev)
{
    ms_api_wait_t       *w;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    w = ev->data;
    r = w->api->request;
    c = r->connection;

    if (!ms_events_ready(w->after) && ngx_current_msec < w->end
        && !ngx_exiting)
    {
        ngx_add_timer(ev, MS_API_LOOK);
        return;
    }

    ngx_http_finalize_request(r, ms_api_send_events(w->api, w->after));
    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ms_api_send_events(ms_api_t *api, uint64_t after)
{
    u_char      *p;
    ngx_uint_t   i, n, first;
    ms_event_t  *events;

    events = ngx_palloc(api->request->pool,
                        MS_API_BATCH * sizeof(ms_event_t));

    if (events == NULL || ms_page_puts(&api->page, "{\"events\":[") != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    first = 1;

    do {
        n = ms_events_copy(&after, events, MS_API_BATCH);

        for (i = 0; i < n; i++) {
            if ((!first && ms_page_puts(&api->page, ",") != NGX_OK)
                || ms_api_write_event(&api->page, &events[i]) != NGX_OK)
            {
                return NGX_HTTP_INTERNAL_SERVER_ERROR;
            }

            first = 0;
        }

    } while (n == MS_API_BATCH);

    p = ms_page_room(&api->page, 64);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    api->page.buf->last = ngx_sprintf(p, "],\"last\":%uL}", after);

    return ms_api_send(api, NGX_HTTP_OK, NGX_OK);
}


static ngx_int_t
ms_api_write_event(ms_page_t *page, ms_event_t *event)
{
    u_char     *p, out[MS_SESSION_HASH];
    ngx_str_t   session, hash, *shown;

    p = ms_page_room(page, 160);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(p, "{\"id\":%uL,\"time\":\"", event->id);
    p = ms_api_time(p, event->time);
    p = ngx_sprintf(p, "\",\"kind\":\"%s\"", ms_event_name(event->kind));

    if (event->count) {
        p = ngx_sprintf(p, ",\"count\":%uD", event->count);
    }

    page->buf->last = p;

    session.data = event->session;
    session.len = event->session_len;
    shown = ms_session_shown(&session, &hash, out);

    return ms_api_write_text(page, "upstream", event->upstream,
                             event->upstream_len) == NGX_OK
           && ms_api_write_text(page, "instance", event->instance,
                                event->instance_len) == NGX_OK
           && ms_api_write_text(page, "session", shown->data, shown->len)
              == NGX_OK
           && ms_api_write_text(page, "reason", event->reason,
                                event->reason_len) == NGX_OK
           ? ms_page_puts(page, "}") : NGX_ERROR;
}


u_char *
ms_api_time(u_char *p, uint64_t time)
{
    ngx_tm_t  tm;

    ngx_gmtime((time_t) (time / 1000), &tm);

    return ngx_sprintf(p, "%4d-%02d-%02dT%02d:%02d:%02d.%03uLZ",
                       tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                       tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec,
                       time % 1000);
}


/* What failed before is no state of the member: the ring knows, for a while. */

ngx_int_t
ms_api_send_instance(ms_api_t *api, ms_member_t *member)
{
    u_char      *p;
    ngx_int_t    rc;
    ms_page_t   *page;
    ms_event_t   event;

    page = &api->page;
    rc = ms_status_instance(page, api->zone, member);

    if (rc == NGX_OK
        && ms_events_find(api->zone, MS_EVENT_DOWN, &member->name, &event)
           == NGX_OK)
    {
        /* before the brace */

        page->buf->last--;

        p = ms_page_room(page, sizeof(",\"last_error_at\":\"\"") + MS_API_TIME);

        if (p == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        p = ngx_sprintf(p, ",\"last_error_at\":\"");
        p = ms_api_time(p, event.time);
        *p++ = '"';
        page->buf->last = p;

        rc = ms_api_write_text(page, "last_error", event.reason,
                               event.reason_len) == NGX_OK
             ? ms_page_puts(page, "}") : NGX_ERROR;
    }

    return ms_api_send(api, NGX_HTTP_OK, rc);
}


/* an empty text is left out */

static ngx_int_t
ms_api_write_text(ms_page_t *page, const char *key, u_char *data, size_t len)
{
    ngx_str_t  text;

    if (len == 0) {
        return NGX_OK;
    }

    text.data = data;
    text.len = len;

    return ms_page_puts(page, ",\"") == NGX_OK
           && ms_page_puts(page, key) == NGX_OK
           && ms_page_puts(page, "\":") == NGX_OK
           ? ms_status_string(page, &text) : NGX_ERROR;
}
