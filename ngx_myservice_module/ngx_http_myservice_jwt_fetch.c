
/*
 * JWK Sets of an issuer, fetched through nginx itself: a location of the
 * server says with proxy_pass and its directives where from and how.  Here is
 * when a set is fetched, and what becomes of the answer.
 */

#include "ngx_http_myservice_jwt_fetch.h"


#define NGX_HTTP_MYSERVICE_JWT_BACKOFF      1000    /* milliseconds, doubled */
#define NGX_HTTP_MYSERVICE_JWT_BACKOFF_MAX  60000

/* milliseconds between two fetches, if an unknown "kid" asks for the second:
 * a part of the interval, but */
#define NGX_HTTP_MYSERVICE_JWT_UNKNOWN      30
#define NGX_HTTP_MYSERVICE_JWT_UNKNOWN_MIN  1000
#define NGX_HTTP_MYSERVICE_JWT_UNKNOWN_MAX  10000

/* milliseconds until it is looked again whether a request can be closed */
#define NGX_HTTP_MYSERVICE_JWT_PAUSE        10


static void ngx_http_myservice_jwt_fetch_start(ngx_event_t *ev);
static void ngx_http_myservice_jwt_fetch_timeout(ngx_event_t *ev);
static void ngx_http_myservice_jwt_fetch_done(ngx_event_t *ev);
static void ngx_http_myservice_jwt_fetch_take(
    ngx_http_myservice_jwt_fetch_t *fetch);
static void ngx_http_myservice_jwt_fetch_use(
    ngx_http_myservice_jwt_fetch_t *fetch);
static void ngx_http_myservice_jwt_fetch_failed(
    ngx_http_myservice_jwt_fetch_t *fetch, const char *error);
static void ngx_http_myservice_jwt_fetch_schedule(
    ngx_http_myservice_jwt_fetch_t *fetch);


ngx_http_myservice_jwt_fetch_t  *ngx_http_myservice_jwt_fetches;


ngx_int_t
ngx_http_myservice_jwt_fetch_init(ngx_cycle_t *cycle,
    ngx_http_myservice_jwt_keyring_t *keyring)
{
    ngx_uint_t                       i;
    ngx_http_myservice_jwt_fetch_t  *fetch;
    ngx_http_myservice_jwt_store_t  *store;

    for (i = 0; i < keyring->sources->nelts; i++) {
        store = &keyring->stores[i];

        if (store->source->type != NGX_HTTP_MYSERVICE_JWT_URI) {
            continue;
        }

        fetch = ngx_pcalloc(cycle->pool,
                            sizeof(ngx_http_myservice_jwt_fetch_t));
        if (fetch == NULL) {
            return NGX_ERROR;
        }

        fetch->keyring = keyring;
        fetch->store = store;
        fetch->log = cycle->log;
        fetch->connection.fd = (ngx_socket_t) -1;

        fetch->next.handler = ngx_http_myservice_jwt_fetch_start;
        fetch->next.data = fetch;
        fetch->next.log = cycle->log;
        fetch->next.cancelable = 1;

        fetch->limit.handler = ngx_http_myservice_jwt_fetch_timeout;
        fetch->limit.data = fetch;
        fetch->limit.log = cycle->log;
        fetch->limit.cancelable = 1;

        fetch->done.handler = ngx_http_myservice_jwt_fetch_done;
        fetch->done.data = fetch;
        fetch->done.log = cycle->log;
        fetch->done.cancelable = 1;

        fetch->link = ngx_http_myservice_jwt_fetches;
        ngx_http_myservice_jwt_fetches = fetch;

        store->fetch = fetch;

        ngx_add_timer(&fetch->next, 1);
    }

    return NGX_OK;
}


void
ngx_http_myservice_jwt_fetch_exit(void)
{
    ngx_http_myservice_jwt_fetch_t  *fetch;

    for (fetch = ngx_http_myservice_jwt_fetches; fetch; fetch = fetch->link) {
        ngx_http_myservice_jwt_fetch_close(fetch);
    }

    ngx_http_myservice_jwt_fetches = NULL;
}


ngx_uint_t
ngx_http_myservice_jwt_fetch_awaited(
    ngx_http_myservice_jwt_keyring_t *keyring, ngx_uint_t *missing)
{
    ngx_uint_t                       i, awaited;
    ngx_http_myservice_jwt_store_t  *store;

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
ngx_http_myservice_jwt_fetch_unknown(
    ngx_http_myservice_jwt_keyring_t *keyring, ngx_uint_t start)
{
    ngx_msec_t                       pause;
    ngx_uint_t                       i, running;
    ngx_http_myservice_jwt_fetch_t  *fetch;

    running = 0;

    for (i = 0; i < keyring->sources->nelts; i++) {
        fetch = keyring->stores[i].fetch;

        if (fetch == NULL) {
            continue;
        }

        pause = fetch->store->source->interval
                / NGX_HTTP_MYSERVICE_JWT_UNKNOWN;
        pause = ngx_max(pause, NGX_HTTP_MYSERVICE_JWT_UNKNOWN_MIN);
        pause = ngx_min(pause, NGX_HTTP_MYSERVICE_JWT_UNKNOWN_MAX);

        if (start && fetch->request == NULL && fetch->failures == 0
            && ngx_current_msec - fetch->started >= pause)
        {
            ngx_http_myservice_jwt_fetch_start(&fetch->next);
        }

        running |= fetch->request != NULL;
    }

    return running;
}


static void
ngx_http_myservice_jwt_fetch_start(ngx_event_t *ev)
{
    ngx_http_myservice_jwt_fetch_t  *fetch = ev->data;

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

    if (ngx_http_myservice_jwt_fetch_open(fetch) != NGX_OK) {
        ngx_http_myservice_jwt_fetch_close(fetch);
        ngx_http_myservice_jwt_fetch_failed(fetch, "no memory");
        ngx_http_myservice_jwt_fetch_schedule(fetch);
        return;
    }

    ngx_add_timer(&fetch->limit, fetch->store->source->timeout);

    ngx_http_run_posted_requests(&fetch->connection);
}


static void
ngx_http_myservice_jwt_fetch_timeout(ngx_event_t *ev)
{
    ngx_http_myservice_jwt_fetch_t  *fetch = ev->data;

    if (!fetch->taken && !fetch->failed) {
        fetch->failed = "timed out";

    } else if (!fetch->failed && ngx_http_myservice_jwt_fetch_busy(fetch)) {
        ngx_log_error(NGX_LOG_WARN, fetch->log, 0,
                      "keys of \"%V\" came from a cache, the update of which "
                      "timed out", &fetch->store->source->name);
    }

    ngx_http_myservice_jwt_fetch_done(&fetch->done);
}


/* the outcome is known; the request may have something to do until it can be
 * closed, of which nginx tells nobody */

static void
ngx_http_myservice_jwt_fetch_done(ngx_event_t *ev)
{
    ngx_http_myservice_jwt_fetch_t  *fetch = ev->data;

    if (!fetch->taken) {
        fetch->taken = 1;
        ngx_http_myservice_jwt_fetch_take(fetch);
    }

    if (ngx_http_myservice_jwt_fetch_blocked(fetch)
        || (fetch->limit.timer_set && !fetch->failed
            && ngx_http_myservice_jwt_fetch_busy(fetch)))
    {
        ngx_add_timer(&fetch->done, NGX_HTTP_MYSERVICE_JWT_PAUSE);
        return;
    }

    ngx_http_myservice_jwt_fetch_close(fetch);
    ngx_http_myservice_jwt_fetch_schedule(fetch);
}


static void
ngx_http_myservice_jwt_fetch_take(ngx_http_myservice_jwt_fetch_t *fetch)
{
    u_char  error[NGX_INT64_LEN + 32];

    fetch->count++;

    if (fetch->failed) {
        ngx_http_myservice_jwt_fetch_failed(fetch, fetch->failed);

    } else if (fetch->rc >= NGX_HTTP_SPECIAL_RESPONSE
               || (fetch->rc == NGX_OK && fetch->status != NGX_HTTP_OK))
    {
        *ngx_sprintf(error, "HTTP status %ui", fetch->rc == NGX_OK
                     ? fetch->status : (ngx_uint_t) fetch->rc) = '\0';
        ngx_http_myservice_jwt_fetch_failed(fetch, (char *) error);

    } else if (fetch->rc != NGX_OK) {
        ngx_http_myservice_jwt_fetch_failed(fetch,
                                            "the answer was cut short");

    } else {
        ngx_http_myservice_jwt_fetch_use(fetch);
    }

    if (fetch->text) {
        free(fetch->text);
        fetch->text = NULL;
    }
}


static void
ngx_http_myservice_jwt_fetch_use(ngx_http_myservice_jwt_fetch_t *fetch)
{
    char                             error[NGX_MAX_ERROR_STR];
    u_char                          *text;
    ngx_http_myservice_jwt_store_t  *store;

    store = fetch->store;

    if (store->text && store->len == fetch->len
        && ngx_memcmp(store->text, fetch->text, fetch->len) == 0)
    {
        if (fetch->failures) {
            ngx_log_error(NGX_LOG_NOTICE, fetch->log, 0,
                          "keys of \"%V\" can be fetched again",
                          &store->source->name);
        }

        fetch->failures = 0;
        return;
    }

    text = fetch->text;
    fetch->text = NULL;

    if (ngx_http_myservice_jwt_put_keys(fetch->keyring, store, text,
                                        fetch->len, error, sizeof(error))
        != NGX_OK)
    {
        ngx_http_myservice_jwt_fetch_failed(fetch, error);
        return;
    }

    fetch->failures = 0;

    ngx_http_myservice_jwt_count(NGX_HTTP_MYSERVICE_JWT_UPDATES, 1);
    ngx_log_error(NGX_LOG_NOTICE, fetch->log, 0,
                  "keys of \"%V\" were fetched, there are %uz keys now",
                  &store->source->name,
                  ms_keys_count(fetch->keyring->keys));
}


/* one line for an outage; nginx has logged more */

static void
ngx_http_myservice_jwt_fetch_failed(ngx_http_myservice_jwt_fetch_t *fetch,
    const char *error)
{
    ngx_uint_t  level;

    ngx_http_myservice_jwt_count(NGX_HTTP_MYSERVICE_JWT_FAILURES, 1);

    level = fetch->failures ? NGX_LOG_INFO : NGX_LOG_ERR;

    ngx_log_error(level, fetch->log, 0,
                  "keys of \"%V\" could not be fetched, %s: %s",
                  &fetch->store->source->name,
                  fetch->store->text ? "the keys of before stay"
                                     : "there are none of it yet",
                  error);

    fetch->failures++;
}


/* workers spread over the last eighth of the interval */

static void
ngx_http_myservice_jwt_fetch_schedule(ngx_http_myservice_jwt_fetch_t *fetch)
{
    ngx_msec_t  delay;
    ngx_uint_t  i;

    delay = fetch->store->source->interval;

    if (fetch->failures) {
        delay = NGX_HTTP_MYSERVICE_JWT_BACKOFF;

        for (i = 1; i < fetch->failures
                    && delay < NGX_HTTP_MYSERVICE_JWT_BACKOFF_MAX; i++)
        {
            delay *= 2;
        }

        delay = ngx_min(delay, NGX_HTTP_MYSERVICE_JWT_BACKOFF_MAX);
        delay = ngx_min(delay, fetch->store->source->interval);
    }

    delay -= ngx_random() % (delay / 8);

    ngx_add_timer(&fetch->next, delay);
}
