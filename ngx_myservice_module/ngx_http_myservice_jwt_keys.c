
/*
 * Key files.  The master reads them with the configuration, as root perhaps;
 * workers look on a timer whether a file has changed and read it again.  A
 * file that is missing, unreadable or broken then changes nothing, and is
 * logged once for each change.  But a worker that takes a dead one's place has
 * only the master's old keys: when others have newer ones and it cannot read
 * the file, it goes on without.
 *
 * A keyring keeps the text of each source, so that a change of one leaves the
 * keys of the others alone.
 */

#include "ngx_http_myservice_jwt.h"


/* seconds: a file that changed less than this before it was read may change
 * again within the resolution of its time stamp */
#define NGX_HTTP_MYSERVICE_JWT_FRESH  2


static ngx_http_myservice_jwt_keyring_t *ngx_http_myservice_jwt_make_keyring(
    ngx_conf_t *cf, ngx_array_t *sources, uint32_t algorithms,
    ngx_http_core_srv_conf_t *server);
static ngx_int_t ngx_http_myservice_jwt_load(ngx_conf_t *cf,
    ngx_http_myservice_jwt_keyring_t *keyring);
static ngx_int_t ngx_http_myservice_jwt_join(
    ngx_http_myservice_jwt_keyring_t *keyring,
    ngx_http_myservice_jwt_store_t *store, u_char *text, size_t len,
    ms_keys_t **keys, char *error, size_t size);
static void ngx_http_myservice_jwt_set_keys(
    ngx_http_myservice_jwt_keyring_t *keyring,
    ngx_http_myservice_jwt_store_t *store, u_char *text, size_t len,
    ms_keys_t *keys);
static ms_keys_t *ngx_http_myservice_jwt_parse(
    ngx_http_myservice_jwt_keyring_t *keyring,
    ngx_http_myservice_jwt_store_t *store, u_char *text, size_t len,
    char *error, size_t size);
static void ngx_http_myservice_jwt_free_text(u_char *text, size_t len);
static void ngx_http_myservice_jwt_free_keyring(void *data);
static ngx_int_t ngx_http_myservice_jwt_read(
    ngx_http_myservice_jwt_source_t *source,
    ngx_http_myservice_jwt_stamp_t *stamp, u_char **text, size_t *len);
static void ngx_http_myservice_jwt_stamp(
    ngx_http_myservice_jwt_stamp_t *stamp, struct stat *info);
static ngx_uint_t ngx_http_myservice_jwt_fresh(
    ngx_http_myservice_jwt_store_t *store);
static void ngx_http_myservice_jwt_check(ngx_event_t *ev);
static void ngx_http_myservice_jwt_check_keyring(
    ngx_http_myservice_jwt_keyring_t *keyring, ngx_log_t *log,
    ngx_uint_t start);
static void ngx_http_myservice_jwt_check_file(
    ngx_http_myservice_jwt_keyring_t *keyring,
    ngx_http_myservice_jwt_store_t *store, ngx_log_t *log, ngx_uint_t start);
static void ngx_http_myservice_jwt_drop_keys(
    ngx_http_myservice_jwt_keyring_t *keyring,
    ngx_http_myservice_jwt_store_t *store);
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


ngx_http_myservice_jwt_keyring_t *
ngx_http_myservice_jwt_keyring(ngx_conf_t *cf, ngx_array_t *sources,
    uint32_t algorithms)
{
    ngx_uint_t                            i;
    ngx_http_core_srv_conf_t             *server;
    ngx_http_myservice_jwt_source_t      *source;
    ngx_http_myservice_jwt_keyring_t     *keyring, **keyrings;
    ngx_http_myservice_jwt_main_conf_t   *jmcf;

    jmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_myservice_jwt_module);

    server = NULL;
    source = sources->elts;

    for (i = 0; i < sources->nelts; i++) {

        /* a URI is one of a server's locations */

        if (source[i].type == NGX_HTTP_MYSERVICE_JWT_URI) {
            server = ngx_http_conf_get_module_srv_conf(cf,
                                                       ngx_http_core_module);
            jmcf->fetched = 1;
        }
    }

    keyrings = jmcf->keyrings.elts;

    for (i = 0; i < jmcf->keyrings.nelts; i++) {
        if (keyrings[i]->sources == sources
            && keyrings[i]->options.algorithms == algorithms
            && keyrings[i]->server == server)
        {
            return keyrings[i];
        }
    }

    keyring = ngx_http_myservice_jwt_make_keyring(cf, sources, algorithms,
                                                  server);
    if (keyring == NULL) {
        return NULL;
    }

    keyrings = ngx_array_push(&jmcf->keyrings);
    if (keyrings == NULL) {
        return NULL;
    }

    *keyrings = keyring;

    return keyring;
}


static ngx_http_myservice_jwt_keyring_t *
ngx_http_myservice_jwt_make_keyring(ngx_conf_t *cf, ngx_array_t *sources,
    uint32_t algorithms, ngx_http_core_srv_conf_t *server)
{
    ngx_uint_t                         i;
    ngx_pool_cleanup_t                *cln;
    ngx_http_myservice_jwt_source_t   *source;
    ngx_http_myservice_jwt_keyring_t  *keyring;

    keyring = ngx_pcalloc(cf->pool, sizeof(ngx_http_myservice_jwt_keyring_t));
    cln = ngx_pool_cleanup_add(cf->pool, 0);

    if (keyring == NULL || cln == NULL) {
        return NULL;
    }

    keyring->stores = ngx_pcalloc(cf->pool, sources->nelts
                                  * sizeof(ngx_http_myservice_jwt_store_t));
    if (keyring->stores == NULL) {
        return NULL;
    }

    keyring->sources = sources;
    keyring->options.algorithms = algorithms;
    keyring->server = server;

    source = sources->elts;

    cln->handler = ngx_http_myservice_jwt_free_keyring;
    cln->data = keyring;

    keyring->shm.size = sources->nelts * sizeof(ngx_atomic_t);
    keyring->shm.log = cf->cycle->log;
    ngx_str_set(&keyring->shm.name, "ngx_http_myservice_jwt_keys");

    if (ngx_shm_alloc(&keyring->shm) != NGX_OK) {
        keyring->shm.addr = NULL;
        return NULL;
    }

    for (i = 0; i < sources->nelts; i++) {
        keyring->stores[i].source = &source[i];
        keyring->stores[i].updated = (ngx_atomic_t *) keyring->shm.addr + i;
    }

    if (ngx_http_myservice_jwt_load(cf, keyring) != NGX_OK) {
        return NULL;
    }

    return keyring;
}


static ngx_int_t
ngx_http_myservice_jwt_load(ngx_conf_t *cf,
    ngx_http_myservice_jwt_keyring_t *keyring)
{
    char                              error[NGX_MAX_ERROR_STR];
    size_t                            len;
    u_char                           *text;
    ngx_uint_t                        i;
    ngx_http_myservice_jwt_store_t   *store;
    ngx_http_myservice_jwt_source_t  *source;

    for (i = 0; i < keyring->sources->nelts; i++) {
        store = &keyring->stores[i];
        source = store->source;

        if (source->type == NGX_HTTP_MYSERVICE_JWT_URI) {
            continue;
        }

        if (ngx_http_myservice_jwt_read(source, &store->stamp, &text, &len)
            != NGX_OK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                               "key file \"%V\" cannot be read",
                               &source->name);
            return NGX_ERROR;
        }

        store->fresh = ngx_http_myservice_jwt_fresh(store);

        if (ngx_http_myservice_jwt_put_keys(keyring, store, text, len, error,
                                            sizeof(error))
            != NGX_OK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "key file \"%V\": %s",
                               &source->name, error);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_myservice_jwt_put_keys(ngx_http_myservice_jwt_keyring_t *keyring,
    ngx_http_myservice_jwt_store_t *store, u_char *text, size_t len,
    char *error, size_t size)
{
    ms_keys_t  *keys;

    /* an empty answer of an issuer; to join it would mean to drop its keys */

    if (text == NULL) {
        (void) ngx_snprintf((u_char *) error, size, "no key%Z");
        return NGX_ERROR;
    }

    if (ngx_http_myservice_jwt_join(keyring, store, text, len, &keys, error,
                                    size)
        != NGX_OK)
    {
        ngx_http_myservice_jwt_free_text(text, len);
        return NGX_ERROR;
    }

    ngx_http_myservice_jwt_set_keys(keyring, store, text, len, keys);

    return NGX_OK;
}


/* the keys of all stores, with another text (NULL: without any) of "store" */

static ngx_int_t
ngx_http_myservice_jwt_join(ngx_http_myservice_jwt_keyring_t *keyring,
    ngx_http_myservice_jwt_store_t *store, u_char *text, size_t len,
    ms_keys_t **keys, char *error, size_t size)
{
    ms_keys_t                       *more;
    ngx_uint_t                       i;
    ngx_http_myservice_jwt_store_t  *s;

    *keys = NULL;

    for (i = 0; i < keyring->sources->nelts; i++) {
        s = &keyring->stores[i];

        if (s == store && text) {
            more = ngx_http_myservice_jwt_parse(keyring, s, text, len, error,
                                                size);

        } else if (s != store && s->text) {
            more = ngx_http_myservice_jwt_parse(keyring, s, s->text, s->len,
                                                error, size);

        } else {
            continue;
        }

        if (more == NULL || ms_keys_join(keys, more, error, size) != 0) {
            ms_keys_free(*keys);
            *keys = NULL;
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_http_myservice_jwt_set_keys(ngx_http_myservice_jwt_keyring_t *keyring,
    ngx_http_myservice_jwt_store_t *store, u_char *text, size_t len,
    ms_keys_t *keys)
{
    ngx_http_myservice_jwt_free_text(store->text, store->len);
    store->text = text;
    store->len = len;

    ms_keys_free(keyring->keys);
    keyring->keys = keys;
    keyring->version++;
}


static ms_keys_t *
ngx_http_myservice_jwt_parse(ngx_http_myservice_jwt_keyring_t *keyring,
    ngx_http_myservice_jwt_store_t *store, u_char *text, size_t len,
    char *error, size_t size)
{
    if (store->source->type == NGX_HTTP_MYSERVICE_JWT_URI) {
        return ms_keys_parse_jwks(text, len, &keyring->options, error, size);
    }

    if (store->source->type == NGX_HTTP_MYSERVICE_JWT_FILE) {
        return ms_keys_parse(text, len, &keyring->options, error, size);
    }

    if (len && text[len - 1] == '\n') {
        len--;
    }

    return ms_keys_from_secret(text, len, &keyring->options, error, size);
}


/* it may be a secret */

static void
ngx_http_myservice_jwt_free_text(u_char *text, size_t len)
{
    if (text) {
        ngx_explicit_memzero(text, len);
        ngx_free(text);
    }
}


static void
ngx_http_myservice_jwt_free_keyring(void *data)
{
    ngx_http_myservice_jwt_keyring_t  *keyring = data;

    ngx_uint_t  i;

    for (i = 0; i < keyring->sources->nelts; i++) {
        ngx_http_myservice_jwt_free_text(keyring->stores[i].text,
                                         keyring->stores[i].len);
    }

    ms_keys_free(keyring->keys);

    if (keyring->shm.addr) {
        ngx_shm_free(&keyring->shm);
    }
}


/*
 * Reads a file of at most MS_KEYS_TEXT_MAX bytes; NGX_ERROR with ngx_errno.
 * The stamp is set in any case.
 */

static ngx_int_t
ngx_http_myservice_jwt_read(ngx_http_myservice_jwt_source_t *source,
    ngx_http_myservice_jwt_stamp_t *stamp, u_char **text, size_t *len)
{
    size_t       size;
    u_char      *buf;
    ssize_t      n;
    ngx_fd_t     fd;
    ngx_err_t    err;
    struct stat  info;

    ngx_memzero(stamp, sizeof(ngx_http_myservice_jwt_stamp_t));
    buf = NULL;

    /* not to wait for the writer of a FIFO */

    fd = open((char *) source->name.data,
              O_RDONLY|O_NONBLOCK|O_NOCTTY|O_CLOEXEC);

    if (fd == NGX_INVALID_FILE) {
        err = ngx_errno;

        if (stat((char *) source->name.data, &info) == 0) {
            ngx_http_myservice_jwt_stamp(stamp, &info);
        }

        ngx_set_errno(err);
        return NGX_ERROR;
    }

    if (fstat(fd, &info) != 0) {
        goto failed;
    }

    ngx_http_myservice_jwt_stamp(stamp, &info);

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


static ngx_uint_t
ngx_http_myservice_jwt_fresh(ngx_http_myservice_jwt_store_t *store)
{
    return ngx_time() - store->stamp.changed.tv_sec
           < NGX_HTTP_MYSERVICE_JWT_FRESH;
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
    store->fresh = 0;
    store->failed = 0;
    error[0] = '\0';

    if (ngx_http_myservice_jwt_read(store->source, &store->stamp, &text, &len)
        != NGX_OK)
    {
        store->err = ngx_errno;
        store->failed = 1;

    } else {
        store->fresh = ngx_http_myservice_jwt_fresh(store);

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


static void
ngx_http_myservice_jwt_drop_keys(ngx_http_myservice_jwt_keyring_t *keyring,
    ngx_http_myservice_jwt_store_t *store)
{
    char        error[NGX_MAX_ERROR_STR];
    ms_keys_t  *keys;

    /* without memory there are none at all */

    (void) ngx_http_myservice_jwt_join(keyring, store, NULL, 0, &keys, error,
                                       sizeof(error));

    ngx_http_myservice_jwt_set_keys(keyring, store, NULL, 0, keys);
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
