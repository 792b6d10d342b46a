
/*
 * Key files.  The master reads them with the configuration, as root perhaps;
 * workers look on a timer whether a file has changed and read it again.  A
 * file that is missing, unreadable or broken then changes nothing, and is
 * logged once for each change.  But a worker that takes a dead one's place has
 * only the master's old keys: when others have newer ones and it cannot read
 * the file, it goes on without.
 */

#include "ngx_http_myservice_jwt.h"


/* seconds: a file that changed less than this before it was read may change
 * again within the resolution of its time stamp */
#define NGX_HTTP_MYSERVICE_JWT_FRESH  2


static void ngx_http_myservice_jwt_stamp(
    ngx_http_myservice_jwt_stamp_t *stamp, struct stat *info);
static void ngx_http_myservice_jwt_check(ngx_event_t *ev);
static void ngx_http_myservice_jwt_check_keyring(
    ngx_http_myservice_jwt_keyring_t *keyring, ngx_log_t *log,
    ngx_uint_t start);
static void ngx_http_myservice_jwt_check_file(
    ngx_http_myservice_jwt_keyring_t *keyring,
    ngx_http_myservice_jwt_store_t *store, ngx_log_t *log, ngx_uint_t start);
static ngx_uint_t ngx_http_myservice_jwt_changed(
    ngx_http_myservice_jwt_store_t *store);
static ngx_uint_t ngx_http_myservice_jwt_same_stamp(
    ngx_http_myservice_jwt_stamp_t *a, ngx_http_myservice_jwt_stamp_t *b);
static void ngx_http_myservice_jwt_unusable(
    ngx_http_myservice_jwt_store_t *store, const char *error,
    ngx_log_t *log);
static void ngx_http_myservice_jwt_warn_unreadable(
    ngx_http_myservice_jwt_keyring_t *keyring, ngx_log_t *log);


static ngx_event_t  ngx_http_myservice_jwt_timer;

/* events are expected to belong to a connection */
static ngx_connection_t  ngx_http_myservice_jwt_no_connection;


ngx_int_t
ngx_http_myservice_jwt_read(ngx_http_myservice_jwt_store_t *store,
    u_char **text, size_t *len)
{
    size_t       size;
    u_char      *buf;
    ssize_t      n;
    ngx_fd_t     fd;
    ngx_err_t    err;
    struct stat  info;

    ngx_memzero(&store->stamp, sizeof(ngx_http_myservice_jwt_stamp_t));
    store->fresh = 0;
    buf = NULL;

    /* not to wait for the writer of a FIFO */

    fd = open((char *) store->source->name.data,
              O_RDONLY|O_NONBLOCK|O_NOCTTY|O_CLOEXEC);

    if (fd == NGX_INVALID_FILE) {
        err = ngx_errno;

        if (stat((char *) store->source->name.data, &info) == 0) {
            ngx_http_myservice_jwt_stamp(&store->stamp, &info);
        }

        ngx_set_errno(err);
        return NGX_ERROR;
    }

    if (fstat(fd, &info) != 0) {
        goto failed;
    }

    ngx_http_myservice_jwt_stamp(&store->stamp, &info);

    if (!S_ISREG(info.st_mode)) {
        ngx_set_errno(S_ISDIR(info.st_mode) ? EISDIR : EINVAL);
        goto failed;
    }

    if (info.st_size > MS_KEYS_TEXT_MAX) {
        ngx_set_errno(EFBIG);
        goto failed;
    }

    /* one byte more shows that it grew, and is never none */

    size = info.st_size + 1;

    buf = malloc(size);
    if (buf == NULL) {
        ngx_set_errno(ENOMEM);
        goto failed;
    }

    *len = 0;

    do {
        n = read(fd, buf + *len, size - *len);
        *len += n > 0 ? n : 0;
    } while ((n > 0 && *len < size) || (n == -1 && ngx_errno == EINTR));

    if (n == -1) {
        goto failed;
    }

    (void) close(fd);
    *text = buf;
    store->fresh = ngx_time() - info.st_ctim.tv_sec
                   < NGX_HTTP_MYSERVICE_JWT_FRESH;

    return NGX_OK;

failed:

    err = ngx_errno;
    (void) close(fd);
    free(buf);
    ngx_set_errno(err);

    return NGX_ERROR;
}


static void
ngx_http_myservice_jwt_stamp(ngx_http_myservice_jwt_stamp_t *stamp,
    struct stat *info)
{
    stamp->device = info->st_dev;
    stamp->inode = info->st_ino;
    stamp->size = info->st_size;
    stamp->changed = info->st_ctim;
}


void
ngx_http_myservice_jwt_watch_keys(ngx_cycle_t *cycle,
    ngx_http_myservice_jwt_main_conf_t *jmcf)
{
    ngx_uint_t                          i;
    ngx_event_t                        *ev;
    ngx_http_myservice_jwt_keyring_t  **keyrings;

    if (jmcf->key_check == 0) {
        return;
    }

    keyrings = jmcf->keyrings.elts;

    for (i = 0; i < jmcf->keyrings.nelts; i++) {

        if (ngx_worker == 0) {
            ngx_http_myservice_jwt_warn_unreadable(keyrings[i], cycle->log);
        }

        ngx_http_myservice_jwt_check_keyring(keyrings[i], cycle->log, 1);
    }

    ngx_http_myservice_jwt_no_connection.fd = (ngx_socket_t) -1;

    ev = &ngx_http_myservice_jwt_timer;
    ngx_memzero(ev, sizeof(ngx_event_t));

    ev->handler = ngx_http_myservice_jwt_check;
    ev->data = &ngx_http_myservice_jwt_no_connection;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, jmcf->key_check);
}


static void
ngx_http_myservice_jwt_check(ngx_event_t *ev)
{
    ngx_uint_t                            i;
    ngx_http_myservice_jwt_keyring_t    **keyrings;
    ngx_http_myservice_jwt_main_conf_t   *jmcf;

    jmcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_myservice_jwt_module);

    keyrings = jmcf->keyrings.elts;

    for (i = 0; i < jmcf->keyrings.nelts; i++) {
        ngx_http_myservice_jwt_check_keyring(keyrings[i], ev->log, 0);
    }

    ngx_add_timer(ev, jmcf->key_check);
}


static void
ngx_http_myservice_jwt_check_keyring(
    ngx_http_myservice_jwt_keyring_t *keyring, ngx_log_t *log,
    ngx_uint_t start)
{
    ngx_uint_t                       i;
    ngx_http_myservice_jwt_store_t  *store;

    for (i = 0; i < keyring->sources->nelts; i++) {
        store = &keyring->stores[i];

        if (store->source->type != NGX_HTTP_MYSERVICE_JWT_URI
            && ngx_http_myservice_jwt_changed(store))
        {
            ngx_http_myservice_jwt_check_file(keyring, store, log, start);
        }
    }
}


static ngx_uint_t
ngx_http_myservice_jwt_changed(ngx_http_myservice_jwt_store_t *store)
{
    struct stat                     info;
    ngx_http_myservice_jwt_stamp_t  stamp;

    ngx_memzero(&stamp, sizeof(ngx_http_myservice_jwt_stamp_t));

    if (stat((char *) store->source->name.data, &info) == 0) {
        ngx_http_myservice_jwt_stamp(&stamp, &info);
    }

    return store->fresh || store->failed
           || !ngx_http_myservice_jwt_same_stamp(&stamp, &store->stamp);
}


static ngx_uint_t
ngx_http_myservice_jwt_same_stamp(ngx_http_myservice_jwt_stamp_t *a,
    ngx_http_myservice_jwt_stamp_t *b)
{
    return a->device == b->device
           && a->inode == b->inode
           && a->size == b->size
           && a->changed.tv_sec == b->changed.tv_sec
           && a->changed.tv_nsec == b->changed.tv_nsec;
}


/* What cannot be used is read again at each look, as it may be for lack of
 * descriptors or memory, and is logged again when its fault is another one. */

static void
ngx_http_myservice_jwt_check_file(ngx_http_myservice_jwt_keyring_t *keyring,
    ngx_http_myservice_jwt_store_t *store, ngx_log_t *log, ngx_uint_t start)
{
    char                             error[NGX_MAX_ERROR_STR];
    size_t                           len;
    u_char                          *text;
    ngx_err_t                        err;
    ngx_http_myservice_jwt_stamp_t   stamp;

    stamp = store->stamp;
    err = store->err;

    store->err = 0;
    store->failed = 0;
    error[0] = '\0';

    if (ngx_http_myservice_jwt_read(store, &text, &len) != NGX_OK) {
        store->err = ngx_errno;
        store->failed = 1;

    } else {
        if (store->text && store->len == len
            && ngx_memcmp(store->text, text, len) == 0)
        {
            ngx_http_myservice_jwt_free_text(text, len);
            return;
        }

        if (ngx_http_myservice_jwt_put_keys(keyring, store, text, len, error,
                                            sizeof(error))
            != NGX_OK)
        {
            store->failed = 1;
        }
    }

    if (!store->failed) {
        *store->updated = 1;

        ngx_http_myservice_jwt_count(NGX_HTTP_MYSERVICE_JWT_UPDATES, 1);
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "key file \"%V\" has changed, there are %uz keys now",
                      &store->source->name, ms_keys_count(keyring->keys));
        return;
    }

    if (start && *store->updated) {
        ngx_http_myservice_jwt_drop_keys(keyring, store);

    } else if (store->err == err
               && ngx_http_myservice_jwt_same_stamp(&stamp, &store->stamp))
    {
        return;
    }

    ngx_http_myservice_jwt_unusable(store, error, log);
}


/* "error" is of a file that could be read */

static void
ngx_http_myservice_jwt_unusable(ngx_http_myservice_jwt_store_t *store,
    const char *error, ngx_log_t *log)
{
    ngx_uint_t   level;
    const char  *outcome, *advice;

    level = store->text ? NGX_LOG_ERR : NGX_LOG_CRIT;
    outcome = store->text ? "the keys of before stay"
                          : "this new worker has none of it";

    ngx_http_myservice_jwt_count(NGX_HTTP_MYSERVICE_JWT_FAILURES, 1);

    if (store->err == 0) {
        ngx_log_error(level, log, 0,
                      "key file \"%V\" has changed and is not used, %s: %s",
                      &store->source->name, outcome, error);
        return;
    }

    switch (store->err) {

    case NGX_EACCES:
        advice = "; let the group of the worker processes read it, or reload";
        break;

    case EFBIG:
        advice = "; it has more than a megabyte";
        break;

    default:
        advice = "";
    }

    ngx_log_error(level, log, store->err,
                  "key file \"%V\" has changed and cannot be read, %s%s",
                  &store->source->name, outcome, advice);
}


static void
ngx_http_myservice_jwt_warn_unreadable(
    ngx_http_myservice_jwt_keyring_t *keyring, ngx_log_t *log)
{
    ngx_uint_t                        i;
    ngx_http_myservice_jwt_source_t  *source;

    source = keyring->sources->elts;

    for (i = 0; i < keyring->sources->nelts; i++) {

        if (source[i].type != NGX_HTTP_MYSERVICE_JWT_URI
            && access((char *) source[i].name.data, R_OK) != 0
            && ngx_errno == NGX_EACCES)
        {
            ngx_log_error(NGX_LOG_WARN, log, NGX_EACCES,
                          "key file \"%V\" is not readable for the worker "
                          "processes, a change of it will need a reload",
                          &source[i].name);
        }
    }
}
