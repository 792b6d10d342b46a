
/*
 * Key files that change. The master reads key files with the configuration,
 * perhaps as root; each worker looks on a timer whether a file has changed and
 * reads it again. If a file is missing, unreadable or broken, the worker keeps
 * the previous keys and logs that once per change. Only a worker that replaces
 * a dead one starts with the master's old keys: if other workers have newer
 * ones and it cannot read the file, it drops the file's keys.
 */

#include "token/key_check.h"

#include "token/conf.h"
#include "token/keyfile.h"
#include "token/stats.h"


static void ms_key_check_handler(ngx_event_t *ev);
static void ms_key_check_keyring(ms_keyring_t *keyring, ngx_log_t *log,
    ngx_uint_t start);
static void ms_key_check_file(ms_keyring_t *keyring, ms_key_store_t *store,
    ngx_log_t *log, ngx_uint_t start);
static ngx_uint_t ms_key_check_changed(ms_key_store_t *store);
static ngx_uint_t ms_key_check_unknown(ms_key_store_t *store,
    ms_key_stamp_t *stamp);
static void ms_key_check_unusable(ms_key_store_t *store, const char *error,
    ngx_log_t *log);
static void ms_key_check_readable(ms_keyring_t *keyring, ngx_log_t *log);


static ngx_event_t  ms_key_check_timer;

/* events are expected to belong to a connection */
static ngx_connection_t  ms_key_check_connection;


void
ms_key_check_start(ngx_cycle_t *cycle)
{
    ngx_uint_t           i;
    ngx_event_t         *ev;
    ms_keyring_t       **keyring;
    ms_jwt_main_conf_t  *jmcf;

    jmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_myservice_jwt_module);

    if (jmcf->key_check == 0) {
        return;
    }

    keyring = jmcf->keyrings.elts;

    for (i = 0; i < jmcf->keyrings.nelts; i++) {

        if (ngx_worker == 0) {
            ms_key_check_readable(keyring[i], cycle->log);
        }

        ms_key_check_keyring(keyring[i], cycle->log, 1);
    }

    ms_key_check_connection.fd = (ngx_socket_t) -1;

    ev = &ms_key_check_timer;
    ngx_memzero(ev, sizeof(ngx_event_t));

    ev->handler = ms_key_check_handler;
    ev->data = &ms_key_check_connection;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, jmcf->key_check);
}


static void
ms_key_check_handler(ngx_event_t *ev)
{
    ngx_uint_t           i;
    ms_keyring_t       **keyring;
    ms_jwt_main_conf_t  *jmcf;

    /* with "master_process off" a reload changes the cycle under the timer */

    jmcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_myservice_jwt_module);

    keyring = jmcf->keyrings.elts;

    for (i = 0; i < jmcf->keyrings.nelts; i++) {
        ms_key_check_keyring(keyring[i], ev->log, 0);
    }

    ngx_add_timer(ev, jmcf->key_check);
}


static void
ms_key_check_keyring(ms_keyring_t *keyring, ngx_log_t *log, ngx_uint_t start)
{
    ngx_uint_t       i;
    ms_key_store_t  *store;

    for (i = 0; i < keyring->sources->nelts; i++) {
        store = &keyring->stores[i];

        if (store->source->type != MS_KEY_SOURCE_URI
            && ms_key_check_changed(store))
        {
            ms_key_check_file(keyring, store, log, start);
        }
    }
}


static ngx_uint_t
ms_key_check_changed(ms_key_store_t *store)
{
    ms_key_stamp_t  stamp;

    ms_keyfile_stamp(store->source, &stamp);

    return store->fresh || store->failed
           || !ms_keyfile_equal(&stamp, &store->stamp);
}


/* An unusable file is read again at each look, as the cause may be a lack
 * of descriptors or memory. It is logged again when its fault changes. */

static void
ms_key_check_file(ms_keyring_t *keyring, ms_key_store_t *store, ngx_log_t *log,
    ngx_uint_t start)
{
    char            error[NGX_MAX_ERROR_STR];
    size_t          len;
    u_char         *text;
    ngx_err_t       err;
    ngx_uint_t      failed, fresh;
    ms_key_stamp_t  stamp;

    stamp = store->stamp;
    fresh = store->fresh;
    failed = store->failed;
    err = store->err;

    store->err = 0;
    store->failed = 0;
    error[0] = '\0';

    if (ms_keyfile_read(store, &text, &len) != NGX_OK) {
        store->err = ngx_errno;
        store->failed = 1;

    } else {
        if (store->text && store->len == len
            && ngx_memcmp(store->text, text, len) == 0)
        {
            ms_keyring_free_text(text, len);
            return;
        }

        if (ms_keyring_put(keyring, store, text, len, error,
                           sizeof(error))
            != NGX_OK)
        {
            store->failed = 1;
        }
    }

    if (!store->failed) {
        *store->updated = 1;
        *store->changed = store->stamp.changed.tv_sec;

        ms_jwt_count(MS_JWT_UPDATES, 1);
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "key file has changed: there are %uz keys now, "
                      "file=\"%V\"", ms_keys_count(keyring->keys),
                      &store->source->name);
        return;
    }

    if (start && *store->updated) {
        ms_keyring_drop(keyring, store);

    } else if (!failed && ms_key_check_unknown(store, &stamp)) {

        /* the master's keys are those of the file */

        store->stamp = stamp;
        store->fresh = fresh;
        store->failed = 0;
        store->err = 0;
        return;

    } else if (store->err == err
               && ms_keyfile_equal(&stamp, &store->stamp))
    {
        return;
    }

    ms_key_check_unusable(store, error, log);
}


/*
 * whether the file could not be read although nothing says that it has changed
 */

static ngx_uint_t
ms_key_check_unknown(ms_key_store_t *store, ms_key_stamp_t *stamp)
{
    if (store->err == 0) {
        return 0;
    }

    return (store->err == NGX_EACCES && store->stamp.inode == 0)
           || ms_keyfile_equal(stamp, &store->stamp);
}


/* "error" is of a file that could be read */

static void
ms_key_check_unusable(ms_key_store_t *store, const char *error, ngx_log_t *log)
{
    ngx_uint_t   level;
    const char  *outcome, *advice;

    level = store->text ? NGX_LOG_ERR : NGX_LOG_CRIT;
    outcome = store->text ? "the previous keys stay"
                          : "this new worker has no keys of it";

    ms_jwt_count(MS_JWT_FAILURES, 1);

    if (store->err == 0) {
        ngx_log_error(level, log, 0,
                      "key file has changed and is not used: %s, %s, "
                      "file=\"%V\"", error, outcome, &store->source->name);
        return;
    }

    switch (store->err) {

    case NGX_EACCES:
        advice = " (let the group of the worker processes read it, or reload)";
        break;

    case EFBIG:
        advice = " (it has more than a megabyte)";
        break;

    default:
        advice = "";
    }

    ngx_log_error(level, log, store->err,
                  "key file has changed and cannot be read: %s, file=\"%V\"%s",
                  outcome, &store->source->name, advice);
}


static void
ms_key_check_readable(ms_keyring_t *keyring, ngx_log_t *log)
{
    ngx_uint_t        i;
    ms_key_source_t  *source;

    source = keyring->sources->elts;

    for (i = 0; i < keyring->sources->nelts; i++) {

        if (source[i].type != MS_KEY_SOURCE_URI
            && access((char *) source[i].name.data, R_OK) != 0
            && ngx_errno == NGX_EACCES)
        {
            ngx_log_error(NGX_LOG_WARN, log, NGX_EACCES,
                          "key file is not readable for the worker processes: "
                          "a change of it needs a reload, file=\"%V\" (let "
                          "their group read it)", &source[i].name);
        }
    }
}
