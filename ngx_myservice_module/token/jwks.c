
/*
 * JWK Sets of an issuer, fetched through nginx itself: a location with
 * proxy_pass and its directives says from where and how. This file decides
 * when a set is fetched, and uses the answer.
 */

#include "token/jwks.h"

#include "token/internal_request.h"
#include "token/stats.h"


#define MS_JWKS_BACKOFF      1000                    /* milliseconds, doubled */
#define MS_JWKS_BACKOFF_MAX  60000

/* milliseconds between two fetches, if an unknown "kid" asks for the second:
 * a part of the interval, but */
#define MS_JWKS_UNKNOWN      30
#define MS_JWKS_UNKNOWN_MIN  1000
#define MS_JWKS_UNKNOWN_MAX  10000

/* milliseconds until it is looked again whether a request can be closed */
#define MS_JWKS_PAUSE        10


static void ms_jwks_start(ngx_event_t *ev);
static void ms_fetch_timeout(ngx_event_t *ev);
static void ms_jwks_done(ngx_event_t *ev);
static void ms_fetch_take(ms_fetch_t *fetch);
static void ms_jwks_use(ms_fetch_t *fetch);
static void ms_jwks_failed(ms_fetch_t *fetch, const char *error);
static void ms_jwks_schedule(ms_fetch_t *fetch);


ngx_int_t
ms_jwks_init(ngx_cycle_t *cycle, ms_keyring_t *keyring)
{
    ngx_uint_t       i;
    ms_fetch_t       *fetch;
    ms_key_store_t  *store;

    for (i = 0; i < keyring->sources->nelts; i++) {
        store = &keyring->stores[i];

        if (store->source->type != MS_KEY_SOURCE_URI) {
            continue;
        }

        fetch = ngx_pcalloc(cycle->pool, sizeof(ms_fetch_t));
        if (fetch == NULL) {
            return NGX_ERROR;
        }

        fetch->keyring = keyring;
        fetch->store = store;
        fetch->log = cycle->log;
        fetch->connection.fd = (ngx_socket_t) -1;

        fetch->next.handler = ms_jwks_start;
        fetch->next.data = fetch;
        fetch->next.log = cycle->log;
        fetch->next.cancelable = 1;

        fetch->limit.handler = ms_fetch_timeout;
        fetch->limit.data = fetch;
        fetch->limit.log = cycle->log;
        fetch->limit.cancelable = 1;

        fetch->done.handler = ms_jwks_done;
        fetch->done.data = fetch;
        fetch->done.log = cycle->log;
        fetch->done.cancelable = 1;

        fetch->link = ms_fetches;
        ms_fetches = fetch;

        store->fetch = fetch;

        ngx_add_timer(&fetch->next, 1);
    }

    return NGX_OK;
}


void
ms_jwks_exit(void)
{
    ms_fetch_t  *fetch;

    for (fetch = ms_fetches; fetch; fetch = fetch->link) {
        ms_fetch_close(fetch);
    }

    ms_fetches = NULL;
}


ngx_uint_t
ms_jwks_awaited(ms_keyring_t *keyring, ngx_uint_t *missing)
{
    ngx_uint_t       i, awaited;
    ms_key_store_t  *store;

    *missing = 0;
    awaited = 0;

    for (i = 0; i < keyring->sources->nelts; i++) {
        store = &keyring->stores[i];

        if (store->text == NULL) {
            *missing = 1;
            awaited |= store->fetch && (store->fetch->request
                                        || store->fetch->count == 0);
        }
    }

    return awaited;
}


ngx_uint_t
ms_jwks_unknown(ms_keyring_t *keyring, ngx_uint_t start)
{
    ngx_msec_t  pause;
    ngx_uint_t  i, running;
    ms_fetch_t  *fetch;

    running = 0;

    for (i = 0; i < keyring->sources->nelts; i++) {
        fetch = keyring->stores[i].fetch;

        if (fetch == NULL) {
            continue;
        }

        pause = fetch->store->source->interval / MS_JWKS_UNKNOWN;
        pause = ngx_max(pause, MS_JWKS_UNKNOWN_MIN);
        pause = ngx_min(pause, MS_JWKS_UNKNOWN_MAX);

        if (start && fetch->request == NULL && fetch->failures == 0
            && ngx_current_msec - fetch->started >= pause)
        {
            ms_jwks_start(&fetch->next);
        }

        running |= fetch->request != NULL;
    }

    return running;
}


static void
ms_jwks_start(ngx_event_t *ev)
{
    ms_fetch_t  *fetch = ev->data;

    if (fetch->next.timer_set) {
        ngx_del_timer(&fetch->next);
    }

    if (fetch->request) {
        return;
    }

    fetch->started = ngx_current_msec;
    fetch->text = NULL;
    fetch->len = 0;
    fetch->size = 0;
    fetch->rc = NGX_ERROR;
    fetch->status = 0;
    fetch->failed = NULL;
    fetch->ended = 0;
    fetch->taken = 0;

    if (ms_fetch_open(fetch) != NGX_OK) {
        ms_fetch_close(fetch);
        ms_jwks_failed(fetch, "no memory");
        ms_jwks_schedule(fetch);
        return;
    }

    ngx_add_timer(&fetch->limit, fetch->store->source->timeout);

    ngx_http_run_posted_requests(&fetch->connection);
}


static void
ms_fetch_timeout(ngx_event_t *ev)
{
    ms_fetch_t  *fetch = ev->data;

    if (!fetch->taken && !fetch->failed) {
        fetch->failed = "timed out";

    } else if (!fetch->failed && ms_fetch_busy(fetch)) {
        ngx_log_error(NGX_LOG_WARN, fetch->log, 0,
                      "keys came from a cache: its update timed out, "
                      "uri=\"%V\"", &fetch->store->source->name);
    }

    ms_jwks_done(&fetch->done);
}


/* the outcome is known, but nginx may still work on the request; nginx has
 * no event for the end of that work, so a timer looks */

static void
ms_jwks_done(ngx_event_t *ev)
{
    ms_fetch_t  *fetch = ev->data;

    if (!fetch->taken) {
        fetch->taken = 1;
        ms_fetch_take(fetch);
    }

    if (ms_fetch_blocked(fetch)
        || (fetch->limit.timer_set && !fetch->failed
            && ms_fetch_busy(fetch)))
    {
        ngx_add_timer(&fetch->done, MS_JWKS_PAUSE);
        return;
    }

    ms_fetch_close(fetch);
    ms_jwks_schedule(fetch);
}


static void
ms_fetch_take(ms_fetch_t *fetch)
{
    u_char  error[NGX_INT64_LEN + 32];

    fetch->count++;

    if (fetch->failed) {
        ms_jwks_failed(fetch, fetch->failed);

    } else if (fetch->rc >= NGX_HTTP_SPECIAL_RESPONSE
               || (fetch->rc == NGX_OK && fetch->status != NGX_HTTP_OK))
    {
        *ngx_sprintf(error, "HTTP status %ui", fetch->rc == NGX_OK
                     ? fetch->status : (ngx_uint_t) fetch->rc) = '\0';
        ms_jwks_failed(fetch, (char *) error);

    } else if (fetch->rc != NGX_OK) {
        ms_jwks_failed(fetch, "the answer was cut short");

    } else {
        ms_jwks_use(fetch);
    }

    if (fetch->text) {
        free(fetch->text);
        fetch->text = NULL;
    }
}


static void
ms_jwks_use(ms_fetch_t *fetch)
{
    char             error[NGX_MAX_ERROR_STR];
    u_char          *text;
    ngx_uint_t       first;
    ms_key_store_t  *store;

    store = fetch->store;

    if (store->text && store->len == fetch->len
        && ngx_memcmp(store->text, fetch->text, fetch->len) == 0)
    {
        if (fetch->failures) {
            ngx_log_error(NGX_LOG_NOTICE, fetch->log, 0,
                          "keys can be fetched again, uri=\"%V\"",
                          &store->source->name);
        }

        fetch->failures = 0;
        return;
    }

    text = fetch->text;
    fetch->text = NULL;
    first = store->text == NULL;

    if (ms_keyring_put(fetch->keyring, store, text,
                       fetch->len, error, sizeof(error))
        != NGX_OK)
    {
        ms_jwks_failed(fetch, error);
        return;
    }

    fetch->failures = 0;

    /* the first keys of this worker need not be new */

    if (!first || *store->changed == 0) {
        *store->changed = ngx_time();
    }

    ms_jwt_count(MS_JWT_UPDATES, 1);
    ngx_log_error(NGX_LOG_NOTICE, fetch->log, 0,
                  "keys were fetched: there are %uz keys now, uri=\"%V\"",
                  ms_keys_count(fetch->keyring->keys),
                  &store->source->name);
}


/* one line per outage; nginx itself logs each failure */

static void
ms_jwks_failed(ms_fetch_t *fetch, const char *error)
{
    ngx_uint_t  level;

    ms_jwt_count(MS_JWT_FAILURES, 1);

    level = fetch->failures ? NGX_LOG_INFO : NGX_LOG_ERR;

    ngx_log_error(level, fetch->log, 0,
                  "keys could not be fetched: %s, %s, uri=\"%V\"", error,
                  fetch->store->text ? "the previous keys stay"
                                     : "no keys have been loaded yet",
                  &fetch->store->source->name);

    fetch->failures++;
}


/* workers spread over the last eighth of the interval */

static void
ms_jwks_schedule(ms_fetch_t *fetch)
{
    ngx_msec_t  delay;
    ngx_uint_t  i;

    delay = fetch->store->source->interval;

    if (fetch->failures) {
        delay = MS_JWKS_BACKOFF;

        for (i = 1; i < fetch->failures && delay < MS_JWKS_BACKOFF_MAX; i++) {
            delay *= 2;
        }

        delay = ngx_min(delay, MS_JWKS_BACKOFF_MAX);
        delay = ngx_min(delay, fetch->store->source->interval);
    }

    delay -= ngx_random() % (delay / 8);

    ngx_add_timer(&fetch->next, delay);
}
