
/*
 * The keys of some locations, from files and from issuers.  A keyring keeps the
 * text of each source, so that a change of one leaves the keys of the others
 * alone.
 */

#include "ngx_http_myservice_jwt.h"


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
static void ngx_http_myservice_jwt_free_keyring(void *data);


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

        if (ngx_http_myservice_jwt_read(store, &text, &len) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                               "key file \"%V\" cannot be read",
                               &source->name);
            return NGX_ERROR;
        }

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


void
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


void
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
