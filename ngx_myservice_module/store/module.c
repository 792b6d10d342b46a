
/*
 * Several gateways, one truth: the directive myservice_store, and the memory
 * that all workers share of a store.
 */

#include "core/values.h"
#include "store/claim.h"
#include "store/conn.h"
#include "store/login.h"
#include "store/names.h"
#include "store/renew.h"
#include "store/report.h"
#include "store/words.h"
#include "zone/lock.h"

#include <openssl/rand.h>


#define MS_STORE_LAYOUT    16
#define MS_STORE_TIMEOUT   100
#define MS_STORE_SILENCE   1000         /* ms */


typedef struct {
    ngx_array_t  stores;                         /* ms_store_t * */
} ms_store_main_conf_t;


static ngx_int_t ms_store_init_module(ngx_cycle_t *cycle);
static ngx_int_t ms_store_init_process(ngx_cycle_t *cycle);
static void ms_store_up(ms_store_conn_t *sc);
static void ms_store_exit_process(ngx_cycle_t *cycle);
static void *ms_store_create_main_conf(ngx_conf_t *cf);
static void *ms_store_create_srv_conf(ngx_conf_t *cf);
static char *ms_store(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ms_store_text(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf);
static char *ms_store_prefix(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf);
static char *ms_store_keys(ngx_conf_t *cf, ms_store_t *store);
static char *ms_store_memory(ngx_conf_t *cf, ms_store_t *store);
static ngx_int_t ms_store_init_zone(ngx_shm_zone_t *shm_zone, void *data);
static ngx_int_t ms_store_init(ngx_conf_t *cf);


static ngx_command_t  ms_store_commands[] = {

    { ngx_string("myservice_store"),
      NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      ms_store,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static const char  *ms_store_failures[] = { "refuse", "local", NULL };

static const ms_value_t  ms_store_parameters[] = {

    { ngx_string("prefix="), ms_store_prefix,
      offsetof(ms_store_t, prefix), 0, 0, NULL, 0 },

    { ngx_string("user="), ms_store_text,
      offsetof(ms_store_t, user), 0, 0, NULL, 0 },

    { ngx_string("password_file="), ms_store_password, 0, 0, 0, NULL, 0 },

    { ngx_string("ca="), ms_store_text,
      offsetof(ms_store_t, ca), 0, 0, NULL, 0 },

    { ngx_string("cert="), ms_store_text,
      offsetof(ms_store_t, cert), 0, 0, NULL, 0 },

    { ngx_string("key="), ms_store_text,
      offsetof(ms_store_t, key), 0, 0, NULL, 0 },

    { ngx_string("name="), ms_store_text,
      offsetof(ms_store_t, host), 0, 0, NULL, 0 },

    { ngx_string("timeout="), ms_value_time,
      offsetof(ms_store_t, timeout), 10, 10000, NULL, 0 },

    { ngx_string("failure="), ms_value_word,
      offsetof(ms_store_t, local), 0, 0, ms_store_failures, 0 },

      ms_null_value
};


static ngx_http_module_t  ngx_http_myservice_store_module_ctx = {
    NULL,                                  /* preconfiguration */
    ms_store_init,                         /* postconfiguration */

    ms_store_create_main_conf,             /* create main configuration */
    NULL,                                  /* init main configuration */

    ms_store_create_srv_conf,              /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_store_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_store_module_ctx,  /* module context */
    ms_store_commands,                     /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ms_store_init_module,                  /* init module */
    ms_store_init_process,                 /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ms_store_exit_process,                 /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ms_store_t *
ms_store_of(ngx_http_upstream_srv_conf_t *us)
{
    ms_store_t  *store;

    store = ngx_http_conf_upstream_srv_conf(us,
                                            ngx_http_myservice_store_module);

    return store->upstream ? store : NULL;
}


void
ms_store_attach(ngx_http_upstream_srv_conf_t *us, ms_zone_t *zone,
    ngx_msec_t ttl)
{
    ms_store_t  *store;

    store = ms_store_of(us);

    if (store) {
        store->zone = zone;
        store->ttl = ttl;
    }
}


static ngx_int_t
ms_store_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t             i;
    ms_store_t           **store;
    ms_store_main_conf_t  *conf;

    conf = ngx_http_cycle_get_module_main_conf(cycle,
                                            ngx_http_myservice_store_module);
    if (conf == NULL) {
        return NGX_OK;
    }

    store = conf->stores.elts;

    for (i = 0; i < conf->stores.nelts; i++) {
        ms_store_report_begin(store[i]);
    }

    return NGX_OK;
}


static ngx_int_t
ms_store_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t             i;
    ms_store_t           **store;
    ms_store_main_conf_t  *conf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    conf = ngx_http_cycle_get_module_main_conf(cycle,
                                            ngx_http_myservice_store_module);
    if (conf == NULL) {
        return NGX_OK;
    }

    store = conf->stores.elts;

    for (i = 0; i < conf->stores.nelts; i++) {
        ms_store_claim_init(store[i]);
        ms_store_renew_init(store[i]);

        store[i]->conn.store = store[i];
        store[i]->conn.up = ms_store_up;
        store[i]->conn.pings = 1;
        store[i]->conn.silence = MS_STORE_SILENCE;

        ms_store_conn_start(&store[i]->conn);
        ms_store_names_start(store[i]);
        ms_duty_start(&store[i]->duty, cycle->log);
    }

    return NGX_OK;
}


static void
ms_store_up(ms_store_conn_t *sc)
{
    ms_store_t  *store;

    store = sc->store;

    ms_store_claim_up(store);

    /* the server that was told may be another one, and not be the master */

    if (store->duty.held) {
        ms_store_words_again(store);
    }
}


static void
ms_store_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t             i;
    ms_store_t           **store;
    ms_store_main_conf_t  *conf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return;
    }

    conf = ngx_http_cycle_get_module_main_conf(cycle,
                                            ngx_http_myservice_store_module);
    if (conf == NULL) {
        return;
    }

    store = conf->stores.elts;

    for (i = 0; i < conf->stores.nelts; i++) {
        ms_duty_leave(&store[i]->duty);
        ms_store_names_stop(store[i]);
        ms_store_conn_stop(&store[i]->conn);
    }
}


static void *
ms_store_create_main_conf(ngx_conf_t *cf)
{
    ms_store_main_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ms_store_main_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&conf->stores, cf->pool, 4, sizeof(ms_store_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return conf;
}


static void *
ms_store_create_srv_conf(ngx_conf_t *cf)
{
    ms_store_t  *store;

    /* set by ngx_pcalloc(): store->upstream = NULL, and all of the worker */

    store = ngx_pcalloc(cf->pool, sizeof(ms_store_t));
    if (store == NULL) {
        return NULL;
    }

    store->timeout = MS_STORE_TIMEOUT;

    return store;
}


static char *
ms_store(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_store_t *store = conf;

    char                  *rv;
    ngx_str_t             *value;
    ngx_uint_t             i;
    ms_store_t           **stored;
    ms_store_main_conf_t  *smcf;

    if (store->upstream) {
        return "is duplicate";
    }

    value = cf->args->elts;
    rv = NGX_CONF_OK;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strlchr(value[i].data, value[i].data + value[i].len, '$')) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"myservice_store\": \"%V\" has a \"$\", "
                               "and the directive takes no variables",
                               &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    for (i = 1; i < cf->args->nelts && rv == NGX_CONF_OK; i++) {

        if (i > 1 && ngx_strstr(value[i].data, "://") == NULL) {
            break;
        }

        rv = ms_store_names_add(cf, store, &value[i]);
    }

    if (rv == NGX_CONF_OK) {
        rv = ms_values_parse(cf, ms_store_parameters, i, store);
    }

    if (rv == NGX_CONF_OK) {
        rv = ms_store_login(cf, store);
    }

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    store->upstream = ngx_http_conf_get_module_srv_conf(cf,
                                                   ngx_http_upstream_module);

    smcf = ngx_http_conf_get_module_main_conf(cf,
                                            ngx_http_myservice_store_module);

    stored = ngx_array_push(&smcf->stores);
    if (stored == NULL) {
        return NGX_CONF_ERROR;
    }

    *stored = store;

    return NGX_CONF_OK;
}


static char *
ms_store_text(ngx_conf_t *cf, const ms_value_t *parameter, ngx_str_t *value,
    void *conf)
{
    if (value->len == 0) {
        return ms_value_invalid(cf, parameter, value, "a value");
    }

    *(ngx_str_t *) ((u_char *) conf + parameter->offset) = *value;

    return NGX_CONF_OK;
}


static char *
ms_store_prefix(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf)
{
    ngx_uint_t  i;

    for (i = 0; i < value->len; i++) {
        if (value->data[i] == '{' || value->data[i] == '}') {
            return ms_value_invalid(cf, parameter, value,
                                    "a text without braces");
        }
    }

    return ms_store_text(cf, parameter, value, conf);
}


static ngx_int_t
ms_store_init(ngx_conf_t *cf)
{
    ngx_uint_t             i;
    ms_store_t           **store;
    ms_store_main_conf_t  *conf;

    conf = ngx_http_conf_get_module_main_conf(cf,
                                            ngx_http_myservice_store_module);
    store = conf->stores.elts;

    for (i = 0; i < conf->stores.nelts; i++) {

        if (store[i]->zone == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"myservice_store\" in upstream \"%V\" has no "
                          "effect without \"myservice_sessions\"",
                          &store[i]->upstream->host);
            return NGX_ERROR;
        }

        if (ms_store_names_init(cf, store[i]) != NGX_CONF_OK
            || ms_store_keys(cf, store[i]) != NGX_CONF_OK
            || ms_store_memory(cf, store[i]) != NGX_CONF_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* one hash tag: a cluster keeps all keys of an upstream on one node */

static char *
ms_store_keys(ngx_conf_t *cf, ms_store_t *store)
{
    u_char      *p;
    size_t       len;
    ngx_uint_t   i;
    ngx_str_t   *host;

    static const char  *names[MS_STORE_KEYS] = { "s", "i", "c", "log", "u",
                                                 "r" };

    host = &store->upstream->host;

    if (store->prefix.len == 0) {
        store->prefix.data = ngx_pnalloc(cf->pool, sizeof("myservice:") - 1
                                                   + host->len);
        if (store->prefix.data == NULL) {
            return NGX_CONF_ERROR;
        }

        store->prefix.len = ngx_sprintf(store->prefix.data, "myservice:%V",
                                        host)
                            - store->prefix.data;
    }

    len = store->prefix.len + sizeof("{}:log") - 1;

    for (i = 0; i < MS_STORE_KEYS; i++) {
        p = ngx_pnalloc(cf->pool, len);
        if (p == NULL) {
            return NGX_CONF_ERROR;
        }

        store->keys[i].data = p;
        store->keys[i].len = ngx_sprintf(p, "{%V}:%s", &store->prefix,
                                         names[i]) - p;
    }

    return NGX_CONF_OK;
}


static char *
ms_store_memory(ngx_conf_t *cf, ms_store_t *store)
{
    size_t      size;
    uint32_t    capacity;
    ngx_str_t   name, *zone;

    zone = &store->zone->shm_zone->shm.name;

    name.len = sizeof("ms_store_") - 1 + zone->len;
    name.data = ngx_pnalloc(cf->pool, name.len);

    if (name.data == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_sprintf(name.data, "ms_store_%V", zone);

    /* at least as many as the zone has, and the slab pool's own pages */

    capacity = ms_pool_capacity(store->zone->shm_zone->shm.size);
    size = sizeof(ms_store_shared_t) + capacity * sizeof(ms_store_mark_t);
    size = ngx_align(size, ngx_pagesize);
    size += 8 * ngx_pagesize + size / 128;

    store->shm_zone = ngx_shared_memory_add(cf, &name, size,
                                           &ngx_http_myservice_store_module);
    if (store->shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    store->shm_zone->init = ms_store_init_zone;
    store->shm_zone->data = store;

    return NGX_CONF_OK;
}


static ngx_int_t
ms_store_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ms_store_t *old = data;

    size_t              size;
    u_char              random[MS_STORE_NAME / 2];
    uint32_t            capacity;
    ms_store_t         *store;
    ngx_slab_pool_t    *shpool;
    ms_store_shared_t  *sh;

    store = shm_zone->data;
    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (old || shm_zone->shm.exists) {
        store->sh = old ? old->sh : shpool->data;

        if (store->sh->layout != MS_STORE_LAYOUT) {
            ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                          "zone was made by another version of the module, "
                          "zone=\"%V\" (restart nginx instead of reloading "
                          "it)", &shm_zone->shm.name);
            return NGX_ERROR;
        }

        return NGX_OK;
    }

    capacity = ms_pool_capacity(store->zone->shm_zone->shm.size);
    size = sizeof(ms_store_shared_t) + capacity * sizeof(ms_store_mark_t);

    sh = ngx_slab_calloc(shpool, size);

    if (sh == NULL || RAND_bytes(random, sizeof(random)) != 1) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "zone could not be set up, zone=\"%V\"",
                      &shm_zone->shm.name);
        return NGX_ERROR;
    }

    (void) ngx_hex_dump(sh->gateway, random, sizeof(random));
    sh->capacity = capacity;
    sh->layout = MS_STORE_LAYOUT;
    sh->since = ngx_current_msec;
    sh->round = 1;

    shpool->data = sh;
    store->sh = sh;

    return NGX_OK;
}
