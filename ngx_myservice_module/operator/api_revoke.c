
/*
 * The list of revoked tokens in the API.  A revocation holds at once for all
 * workers; it is answered when the file has it, too.
 */

#include "operator/api.h"

#include "core/session_text.h"
#include "core/upgrade.h"
#include "store/renew.h"
#include "token/conf.h"
#include "token/revocations.h"
#include "zone/operator.h"


#define MS_API_SAVE_LOOK   20                   /* ms */
#define MS_API_SAVE_MAX    5000                /* ms */

#define MS_API_REVOCATIONS      100             /* entries of a page */
#define MS_API_REVOCATIONS_MAX  1000
#define MS_API_REVOCATIONS_COPY 16


typedef struct {
    ms_api_t         *api;
    ngx_uint_t        generation;
    ngx_uint_t        release;                  /* answered without a body */
    ms_revocation_t   entry;
    ngx_msec_t        end;
    ngx_event_t       event;
} ms_api_saving_t;


static ngx_uint_t ms_api_revoke_usable(ms_api_t *api, ngx_int_t *rc);
static ngx_int_t ms_api_revoke_off(ms_api_t *api);
static ngx_int_t ms_api_revoke_entry(ms_api_t *api, ms_revocation_t *entry,
    ngx_uint_t release);
static ngx_int_t ms_api_revoke_save(ms_api_t *api, ms_revocation_t *entry,
    ngx_uint_t release);
static ngx_uint_t ms_api_revoke_saved(ms_api_saving_t *s);
static void ms_api_revoke_look(ngx_event_t *ev);
static void ms_api_revoke_stop(void *data);
static ngx_int_t ms_api_revoke_answer(ms_api_t *api, ms_revocation_t *entry,
    ngx_uint_t release);
static ngx_int_t ms_api_revocations_page(ms_api_t *api, uint64_t from,
    ngx_uint_t limit);
static ngx_int_t ms_api_revocation_key(ngx_str_t *text, u_char *key);


ngx_int_t
ms_api_revoke(ms_api_t *api, json_t *body)
{
    u_char                text[MS_API_SHOWN];
    ngx_int_t             rc;
    const char           *error;
    ms_revocation_t       entry;
    ms_jwt_main_conf_t   *jmcf;

    if (!ms_api_revoke_usable(api, &rc)) {
        return rc;
    }

    jmcf = ngx_http_get_module_main_conf(api->request,
                                         ngx_http_myservice_jwt_module);

    entry.before = ngx_time() + ms_revocations_leeway();
    entry.until = entry.before + jmcf->revocations_keep;
    entry.stamp = 0;

    rc = ms_revocation_read(&entry, body, &error);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc != NGX_OK) {
        return ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "%s", error);
    }

    if (entry.until <= ngx_time()
        || entry.until > ngx_time() + MS_REVOCATION_MAX)
    {
        return ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "\"until\" must be "
                              "later than now, by 366 days at most, not %s",
                              ms_api_shown(json_object_get(body, "until"),
                                           text));
    }

    return ms_api_revoke_entry(api, &entry, 0);
}


ngx_int_t
ms_api_revoke_session(ms_api_t *api)
{
    ngx_int_t             rc;
    ms_revocation_t       entry;
    ms_jwt_main_conf_t   *jmcf;

    if (!ms_api_revoke_usable(api, &rc)) {
        return rc;
    }

    jmcf = ngx_http_get_module_main_conf(api->request,
                                         ngx_http_myservice_jwt_module);

    entry.before = ngx_time() + ms_revocations_leeway();
    entry.until = entry.before + jmcf->revocations_keep;

    rc = ms_revocation_init(&entry, MS_REVOKE_SESSION, &api->session, NULL);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc != NGX_OK) {
        return ms_api_problem(api, NGX_HTTP_NOT_FOUND, "no token has a session "
                              "id of %uz bytes", api->session.len);
    }

    return ms_api_revoke_entry(api, &entry, 1);
}


/*
 * If not, "rc" is of the answer.  Two masters, each with a list of its own,
 * write one file while the binary is upgraded.
 */

static ngx_uint_t
ms_api_revoke_usable(ms_api_t *api, ngx_int_t *rc)
{
    if (!ms_revocations_on()) {
        *rc = ms_api_revoke_off(api);
        return 0;
    }

    if (ms_upgrading()) {
        *rc = ms_api_problem(api, NGX_HTTP_SERVICE_UNAVAILABLE, "another "
                             "nginx takes over from this one: repeat this "
                             "when it has");
        return 0;
    }

    return 1;
}


static ngx_int_t
ms_api_revoke_off(ms_api_t *api)
{
    return ms_api_problem(api, NGX_HTTP_CONFLICT, "this gateway has no list "
                          "of revoked tokens: \"myservice_jwt_revocations\" "
                          "makes one");
}


static ngx_int_t
ms_api_revoke_entry(ms_api_t *api, ms_revocation_t *entry, ngx_uint_t release)
{
    u_char             text[MS_REVOCATION_JSON];
    ngx_int_t          rc;
    ngx_log_t         *log;
    ngx_str_t          what;
    ms_session_log_t   session;

    log = api->request->connection->log;
    rc = ms_revocations_add(entry);

    if (rc == NGX_ERROR) {
        return ms_api_problem(api, NGX_HTTP_INSUFFICIENT_STORAGE, "the list "
                              "of revoked tokens is full: make its zone "
                              "larger, or wait until entries end");
    }

    if (rc == NGX_OK) {
        what.data = text;
        what.len = ms_revocation_log(text, entry) - text;

        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "operator revokes tokens, %V by=\"%V\"", &what,
                      ms_api_caller(api));
    }

    if (release) {
        ms_store_release_session(api->zone, &api->session);
    }

    if (release && ms_zone_release(api->zone, &api->session, log) == NGX_OK) {
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "operator ends a lease, session=\"%V\" upstream=\"%V\" "
                      "by=\"%V\"", ms_session_log(&api->session, &session),
                      &api->parts[1], ms_api_caller(api));
    }

    return ms_api_revoke_save(api, entry, release);
}


/* answers as soon as the file has the entry */

static ngx_int_t
ms_api_revoke_save(ms_api_t *api, ms_revocation_t *entry, ngx_uint_t release)
{
    ms_api_saving_t     *s;
    ngx_pool_cleanup_t  *cln;
    ngx_http_request_t  *r;

    r = api->request;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ms_api_saving_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    s = cln->data;
    ngx_memzero(s, sizeof(ms_api_saving_t));

    s->api = api;
    s->entry = *entry;
    s->generation = ms_revocations_generation();
    s->release = release;

    if (ms_api_revoke_saved(s)) {
        return ms_api_revoke_answer(api, entry, release);
    }

    cln->handler = ms_api_revoke_stop;

    s->end = ngx_current_msec + MS_API_SAVE_MAX;
    s->event.handler = ms_api_revoke_look;
    s->event.data = s;
    s->event.log = r->connection->log;

    ngx_add_timer(&s->event, MS_API_SAVE_LOOK);

    /* the client may go away meanwhile */

    r->read_event_handler = ngx_http_test_reading;
    r->main->count++;

    return NGX_DONE;
}


static ngx_uint_t
ms_api_revoke_saved(ms_api_saving_t *s)
{
    ms_jwt_main_conf_t  *jmcf;

    jmcf = ngx_http_get_module_main_conf(s->api->request,
                                         ngx_http_myservice_jwt_module);

    return jmcf->revocations_file.len == 0
           || ms_revocations_saved() >= s->generation;
}


static void
ms_api_revoke_stop(void *data)
{
    ms_api_saving_t  *s = data;

    if (s->event.timer_set) {
        ngx_del_timer(&s->event);
    }
}


static void
ms_api_revoke_look(ngx_event_t *ev)
{
    ngx_int_t            rc;
    ms_api_saving_t     *s;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    s = ev->data;
    r = s->api->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    if (ms_api_revoke_saved(s)) {
        rc = ms_api_revoke_answer(s->api, &s->entry, s->release);

    } else if (ngx_current_msec < s->end && !ngx_exiting) {
        ngx_add_timer(ev, MS_API_SAVE_LOOK);
        return;

    } else {
        rc = ms_api_problem(s->api, NGX_HTTP_SERVICE_UNAVAILABLE, "the tokens "
                            "are refused, but the file of the list could not "
                            "be written: see the error log, and repeat this");
    }

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ms_api_revoke_answer(ms_api_t *api, ms_revocation_t *entry, ngx_uint_t release)
{
    u_char  *p;

    if (release) {
        return ms_api_done(api);
    }

    p = ms_page_room(&api->page, MS_REVOCATION_JSON);

    if (p) {
        api->page.buf->last = ms_revocation_write(p, entry, 1);
    }

    return ms_api_send(api, NGX_HTTP_OK, p ? NGX_OK : NGX_ERROR);
}


ngx_int_t
ms_api_revocations(ms_api_t *api, json_t *body)
{
    off_t      after;
    ngx_int_t  limit;
    ngx_str_t  value;

    if (!ms_revocations_on()) {
        return ms_api_revoke_off(api);
    }

    after = 0;
    limit = MS_API_REVOCATIONS;

    if (ngx_http_arg(api->request, (u_char *) "after", 5, &value) == NGX_OK) {
        after = ngx_atoof(value.data, value.len);
    }

    if (ngx_http_arg(api->request, (u_char *) "limit", 5, &value) == NGX_OK) {
        limit = ngx_atoi(value.data, value.len);
    }

    if (after == NGX_ERROR) {
        return ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "\"after\" must be "
                              "the \"next\" of the page before, not \"%V\"",
                              ms_api_sent(api, "after", &value));
    }

    if (limit < 1 || limit > MS_API_REVOCATIONS_MAX) {
        return ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "\"limit\" must be 1 "
                              "to %d, not \"%V\"", MS_API_REVOCATIONS_MAX,
                              ms_api_sent(api, "limit", &value));
    }

    return ms_api_send(api, NGX_HTTP_OK,
                       ms_api_revocations_page(api, after, limit));
}


static ngx_int_t
ms_api_revocations_page(ms_api_t *api, uint64_t from, ngx_uint_t limit)
{
    u_char           *p;
    ngx_uint_t        i, n, found;
    ms_revocation_t  *entries;

    entries = ngx_palloc(api->request->pool, MS_API_REVOCATIONS_COPY
                                             * sizeof(ms_revocation_t));
    p = ms_page_room(&api->page, 64);

    if (entries == NULL || p == NULL) {
        return NGX_ERROR;
    }

    api->page.buf->last = ngx_sprintf(p, "{\"total\":%ui,\"revocations\":[",
                                      ms_revocations_count());
    found = 0;

    do {
        n = ms_revocations_copy(&from, entries,
                                ngx_min(MS_API_REVOCATIONS_COPY,
                                        limit - found));

        for (i = 0; i < n; i++) {
            p = ms_page_room(&api->page, MS_REVOCATION_JSON + 1);
            if (p == NULL) {
                return NGX_ERROR;
            }

            if (found++) {
                *p++ = ',';
            }

            api->page.buf->last = ms_revocation_write(p, &entries[i], 1);
        }

    } while (n && found < limit);

    p = ms_page_room(&api->page, 64);
    if (p == NULL) {
        return NGX_ERROR;
    }

    api->page.buf->last = n ? ngx_sprintf(p, "],\"next\":%uL}", from)
                            : ngx_sprintf(p, "],\"next\":null}");

    return NGX_OK;
}


ngx_int_t
ms_api_revocation_end(ms_api_t *api, json_t *body)
{
    u_char  key[MS_REVOCATION_KEY];

    if (ms_api_revocation_key(&api->parts[1], key) != NGX_OK
        || !ms_revocations_on() || ms_revocations_end(key) != NGX_OK)
    {
        return ms_api_problem(api, NGX_HTTP_NOT_FOUND, "no revocation has "
                              "this \"id\"");
    }

    ngx_log_error(NGX_LOG_NOTICE, api->request->connection->log, 0,
                  "operator ends a revocation, id=\"%V\" by=\"%V\"",
                  &api->parts[1], ms_api_caller(api));

    return ms_api_done(api);
}


static ngx_int_t
ms_api_revocation_key(ngx_str_t *text, u_char *key)
{
    ngx_int_t   n;
    ngx_uint_t  i;

    if (text->len != 2 * MS_REVOCATION_KEY) {
        return NGX_DECLINED;
    }

    for (i = 0; i < MS_REVOCATION_KEY; i++) {
        n = ngx_hextoi(text->data + 2 * i, 2);

        if (n == NGX_ERROR) {
            return NGX_DECLINED;
        }

        key[i] = (u_char) n;
    }

    return NGX_OK;
}
