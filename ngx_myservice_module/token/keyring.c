
/*
 * The keys of some locations, from files and from issuers.  A keyring keeps the
 * text of each source, so that a change of one leaves the keys of the others
 * alone.
 */

#include "token/keyring.h"

#include "token/keyfile.h"


static ms_keyring_t *ms_keyring_make(ngx_conf_t *cf, ngx_array_t *sources,
    uint32_t algorithms, ngx_http_core_srv_conf_t *server);
static ngx_int_t ms_keyring_load(ngx_conf_t *cf, ms_keyring_t *keyring);
static ngx_int_t ms_keyring_join(ms_keyring_t *keyring, ms_key_store_t *store,
    u_char *text, size_t len, ms_keys_t **keys, char *error, size_t size);
static void ms_keyring_set(ms_keyring_t *keyring, ms_key_store_t *store,
    u_char *text, size_t len, ms_keys_t *keys);
static ms_keys_t *ms_keyring_parse(ms_keyring_t *keyring, ms_key_store_t *store,
    u_char *text, size_t len, char *error, size_t size);
static void ms_keyring_free(void *data);


ms_keyring_t *
ms_keyring(ngx_conf_t *cf, ngx_array_t *keyrings, ngx_array_t *sources,
    uint32_t algorithms)
{
    ngx_uint_t                 i;
    ms_keyring_t              *keyring, **k;
    ms_key_source_t           *source;
    ngx_http_core_srv_conf_t  *server;

    server = NULL;
    source = sources->elts;

    for (i = 0; i < sources->nelts; i++) {

        /* a URI is one of a server's locations */

        if (source[i].type == MS_KEY_SOURCE_URI) {
            server = ngx_http_conf_get_module_srv_conf(cf,
                                                       ngx_http_core_module);
        }
    }

    k = keyrings->elts;

    for (i = 0; i < keyrings->nelts; i++) {
        if (k[i]->sources == sources
            && k[i]->options.algorithms == algorithms
            && k[i]->server == server)
        {
            return k[i];
        }
    }

    keyring = ms_keyring_make(cf, sources, algorithms, server);
    if (keyring == NULL) {
        return NULL;
    }

    k = ngx_array_push(keyrings);
    if (k == NULL) {
        return NULL;
    }

    *k = keyring;

    return keyring;
}


static ms_keyring_t *
ms_keyring_make(ngx_conf_t *cf, ngx_array_t *sources, uint32_t algorithms,
    ngx_http_core_srv_conf_t *server)
{
    ngx_uint_t           i;
    ngx_pool_cleanup_t  *cln;
    ms_key_source_t     *source;
    ms_keyring_t        *keyring;

    keyring = ngx_pcalloc(cf->pool, sizeof(ms_keyring_t));
    cln = ngx_pool_cleanup_add(cf->pool, 0);

    if (keyring == NULL || cln == NULL) {
        return NULL;
    }

    keyring->stores = ngx_pcalloc(cf->pool, sources->nelts
                                  * sizeof(ms_key_store_t));
    if (keyring->stores == NULL) {
        return NULL;
    }

    keyring->sources = sources;
    keyring->options.algorithms = algorithms;
    keyring->server = server;

    source = sources->elts;

    cln->handler = ms_keyring_free;
    cln->data = keyring;

    keyring->shm.size = 2 * sources->nelts * sizeof(ngx_atomic_t);
    keyring->shm.log = cf->cycle->log;
    ngx_str_set(&keyring->shm.name, "ms_jwt_keys");

    if (ngx_shm_alloc(&keyring->shm) != NGX_OK) {
        keyring->shm.addr = NULL;
        return NULL;
    }

    for (i = 0; i < sources->nelts; i++) {
        keyring->stores[i].source = &source[i];
        keyring->stores[i].updated = (ngx_atomic_t *) keyring->shm.addr
                                     + 2 * i;
        keyring->stores[i].changed = keyring->stores[i].updated + 1;
    }

    if (ms_keyring_load(cf, keyring) != NGX_OK) {
        return NULL;
    }

    return keyring;
}


static ngx_int_t
ms_keyring_load(ngx_conf_t *cf, ms_keyring_t *keyring)
{
    char              error[NGX_MAX_ERROR_STR];
    size_t            len;
    u_char           *text;
    ngx_uint_t        i;
    ms_key_store_t   *store;
    ms_key_source_t  *source;

    for (i = 0; i < keyring->sources->nelts; i++) {
        store = &keyring->stores[i];
        source = store->source;

        if (source->type == MS_KEY_SOURCE_URI) {
            continue;
        }

        if (ms_keyfile_read(store, &text, &len) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                               "key file cannot be read, file=\"%V\"",
                               &source->name);
            return NGX_ERROR;
        }

        if (ms_keyring_put(keyring, store, text, len, error,
                           sizeof(error))
            != NGX_OK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "key file cannot be used: %s, file=\"%V\"",
                               error, &source->name);
            return NGX_ERROR;
        }

        *store->changed = store->stamp.changed.tv_sec;
    }

    return NGX_OK;
}


ngx_int_t
ms_keyring_put(ms_keyring_t *keyring, ms_key_store_t *store, u_char *text,
    size_t len, char *error, size_t size)
{
    ms_keys_t  *keys;

    /* an issuer's empty answer must not drop its keys */

    if (text == NULL) {
        (void) ngx_snprintf((u_char *) error, size, "no key%Z");
        return NGX_ERROR;
    }

    if (ms_keyring_join(keyring, store, text, len, &keys, error,
                        size)
        != NGX_OK)
    {
        ms_keyring_free_text(text, len);
        return NGX_ERROR;
    }

    ms_keyring_set(keyring, store, text, len, keys);

    return NGX_OK;
}


void
ms_keyring_drop(ms_keyring_t *keyring, ms_key_store_t *store)
{
    char        error[NGX_MAX_ERROR_STR];
    ms_keys_t  *keys;

    /* if memory is short, no keys are left */

    (void) ms_keyring_join(keyring, store, NULL, 0, &keys, error,
                           sizeof(error));

    ms_keyring_set(keyring, store, NULL, 0, keys);
}


/* the keys of all stores, with another text (NULL: without any) of "store" */

static ngx_int_t
ms_keyring_join(ms_keyring_t *keyring, ms_key_store_t *store, u_char *text,
    size_t len, ms_keys_t **keys, char *error, size_t size)
{
    ms_keys_t       *more;
    ngx_uint_t       i;
    ms_key_store_t  *s;

    *keys = NULL;

    for (i = 0; i < keyring->sources->nelts; i++) {
        s = &keyring->stores[i];

        if (s == store && text) {
            more = ms_keyring_parse(keyring, s, text, len, error, size);

        } else if (s != store && s->text) {
            more = ms_keyring_parse(keyring, s, s->text, s->len, error, size);

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
ms_keyring_set(ms_keyring_t *keyring, ms_key_store_t *store, u_char *text,
    size_t len, ms_keys_t *keys)
{
    ms_keyring_free_text(store->text, store->len);
    store->text = text;
    store->len = len;

    ms_keys_free(keyring->keys);
    keyring->keys = keys;
    keyring->version++;
}


static ms_keys_t *
ms_keyring_parse(ms_keyring_t *keyring, ms_key_store_t *store, u_char *text,
    size_t len, char *error, size_t size)
{
    if (store->source->type == MS_KEY_SOURCE_URI) {
        return ms_keys_parse_jwks(text, len, &keyring->options, error, size);
    }

    if (store->source->type == MS_KEY_SOURCE_FILE) {
        return ms_keys_parse(text, len, &keyring->options, error, size);
    }

    if (len && text[len - 1] == '\n') {
        len--;
    }

    return ms_keys_from_secret(text, len, &keyring->options, error, size);
}


void
ms_keyring_free_text(u_char *text, size_t len)
{
    if (text) {
        ngx_explicit_memzero(text, len);
        ngx_free(text);
    }
}


static void
ms_keyring_free(void *data)
{
    ms_keyring_t  *keyring = data;

    ngx_uint_t  i;

    for (i = 0; i < keyring->sources->nelts; i++) {
        ms_keyring_free_text(keyring->stores[i].text, keyring->stores[i].len);
    }

    ms_keys_free(keyring->keys);

    if (keyring->shm.addr) {
        ngx_shm_free(&keyring->shm);
    }
}
