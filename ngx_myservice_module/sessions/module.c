
/*
 * The session balancer of an upstream: directives and set-up.
 * What happens to a call is in sessions/call.c, the table in
 * zone/zone.c.
 */

#include "answers/errors.h"
#include "core/compat.h"
#include "core/metadata.h"
#include "core/methods.h"
#include "core/values.h"
#include "http2/multiplex.h"
#include "sessions/call.h"
#include "sessions/fallback.h"
#include "sessions/pass.h"
#include "sessions/stored.h"
#include "sessions/terms.h"
#include "sessions/variables.h"
#include "store/store.h"
#include "zone/reload.h"
#include "zone/sync.h"


#define MS_TTL    1800000
#define MS_TRIES  8

/* "grpc_next_upstream" where it is not configured */

#define MS_NEXT_DEFAULT                                                       \
    (NGX_CONF_BITMASK_SET                                                     \
     |NGX_HTTP_UPSTREAM_FT_ERROR                                              \
     |NGX_HTTP_UPSTREAM_FT_TIMEOUT)


typedef struct {
    ngx_array_t  zones;              /* ms_zone_t * */
} ms_sessions_main_conf_t;


static ngx_int_t ms_sessions_init_upstream(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);
static void ms_sessions_ended(void *data, ngx_str_t *name);
static void ms_sessions_servers(ngx_http_upstream_srv_conf_t *us,
    ms_zone_t *zone);
static ngx_int_t ms_sessions_handler(ngx_http_request_t *r);
static ngx_int_t ms_sessions_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);

static ngx_int_t ms_sessions_preconfiguration(ngx_conf_t *cf);
static void *ms_sessions_create_main_conf(ngx_conf_t *cf);
static void *ms_sessions_create_srv_conf(ngx_conf_t *cf);
static void *ms_sessions_create_loc_conf(ngx_conf_t *cf);
static char *ms_sessions_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ms_sessions(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static const char *ms_sessions_useless(ms_sessions_srv_conf_t *conf);
static ngx_int_t ms_sessions_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_myservice_sessions_init_module(ngx_cycle_t *cycle);


static const char  *ms_sessions_moved_words[] = { "allow", "fail", NULL };


static ms_value_t  ms_sessions_moved =
    { ngx_null_string, ms_value_word, 0, 0, 0, ms_sessions_moved_words, 0 };


/* also of "myservice_retry_timeout" */

static ms_value_t  ms_sessions_time =
    { ngx_null_string, ms_value_time, 0, 0, 86400000, NULL, 0 };


static ms_value_t  ms_sessions_buffer =
    { ngx_null_string, ms_value_size, 0, 0, 1073741824, NULL, 0 };


static ngx_command_t  ms_sessions_commands[] = {

    { ngx_string("myservice_sessions"),
      NGX_HTTP_UPS_CONF|NGX_CONF_2MORE,
      ms_sessions,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("myservice_release"),
      NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      ms_methods_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ms_sessions_srv_conf_t, release),
      NULL },

    { ngx_string("myservice_moved"),
      NGX_HTTP_UPS_CONF|NGX_CONF_TAKE1,
      ms_value_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ms_sessions_srv_conf_t, tells),
      &ms_sessions_moved },

    { ngx_string("myservice_pushback"),
      NGX_HTTP_UPS_CONF|NGX_CONF_TAKE1,
      ms_value_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ms_sessions_srv_conf_t, pushback),
      &ms_sessions_time },

    { ngx_string("myservice_retry"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ms_methods_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ms_sessions_loc_conf_t, retry),
      NULL },

    { ngx_string("myservice_retry_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ms_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ms_sessions_loc_conf_t, retry_timeout),
      &ms_sessions_time },

    { ngx_string("myservice_replay_buffer"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ms_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ms_sessions_loc_conf_t, replay_buffer),
      &ms_sessions_buffer },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_myservice_sessions_module_ctx = {
    ms_sessions_preconfiguration,
                                           /* preconfiguration */
    ms_sessions_init,                      /* postconfiguration */

    ms_sessions_create_main_conf,
                                           /* create main configuration */
    NULL,                                  /* init main configuration */

    ms_sessions_create_srv_conf,
                                           /* create server configuration */
    NULL,                                  /* merge server configuration */

    ms_sessions_create_loc_conf,
                                           /* create location configuration */
    ms_sessions_merge_loc_conf
                                           /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_sessions_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_sessions_module_ctx, /* module context */
    ms_sessions_commands,                  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_myservice_sessions_init_module, /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/* by ms_claim_t */

static ngx_str_t  ms_sessions_decisions[] = {
    ngx_string("HIT"),
    ngx_string("NEW"),
    ngx_string("MOVED"),
    ngx_string("REBUILT"),
    ngx_string("QUEUED"),
    ngx_string("BUSY"),
    ngx_string("UNAVAILABLE"),
    ngx_string("EMPTY"),
    ngx_string("FULL"),
    ngx_string("LIMITED"),
    ngx_string("TOO_MANY"),
    ngx_string("LOST")
};



/* the first member of the private ngx_http_grpc_loc_conf_t */

extern ngx_module_t  ngx_http_grpc_module;


static ngx_http_request_body_filter_pt  ngx_http_next_request_body_filter;


ngx_array_t *
ms_sessions_zones(ngx_http_request_t *r)
{
    ms_sessions_main_conf_t  *smcf;

    smcf = ngx_http_get_module_main_conf(r,
                                         ngx_http_myservice_sessions_module);

    return &smcf->zones;
}


ngx_str_t *
ms_sessions_decision(ngx_uint_t claim)
{
    return &ms_sessions_decisions[claim];
}


/*
 * nginx has not checked those that stand before the directive, and says of
 * "resolve" only that the method does not support it.
 */
static ngx_int_t
ms_sessions_check_servers(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us)
{
    ngx_uint_t                   i;
    ngx_http_upstream_server_t  *server;

    server = us->servers->elts;

    for (i = 0; i < us->servers->nelts; i++) {

        if (server[i].weight != 1 || server[i].backup || server[i].max_conns
            || server[i].max_fails != 1)
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "server \"%V\" in upstream \"%V\": "
                          "\"myservice_sessions\" supports only the "
                          "parameters \"fail_timeout\" and \"down\"",
                          &server[i].name, &us->host);
            return NGX_ERROR;
        }

        if (ms_server_resolve(&server[i])) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "server \"%V\" in upstream \"%V\": instead of "
                          "\"resolve\" write \"myservice_resolve\" where "
                          "there is \"myservice_sessions\"",
                          &server[i].name, &us->host);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ms_sessions_init_upstream(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us)
{
    ms_zone_t              **zone;
    ms_sessions_srv_conf_t  *conf;
    ms_sessions_main_conf_t *smcf;

    conf = ngx_http_conf_upstream_srv_conf(us,
                                           ngx_http_myservice_sessions_module);
    smcf = ngx_http_conf_get_module_main_conf(cf,
                                         ngx_http_myservice_sessions_module);

    if (ms_sessions_check_servers(cf, us) != NGX_OK) {
        return NGX_ERROR;
    }

    /*
     * peer.data stays round robin's, which the "zone" directive expects; the
     * pool has a table of its own, by address
     */

    if (ngx_http_upstream_init_round_robin(cf, us) != NGX_OK) {
        return NGX_ERROR;
    }

    us->peer.init = ms_call_init;

    ms_sessions_servers(us, conf->zone);

    conf->zone->upstream = us;

    ms_store_attach(us, conf->zone, conf->ttl + conf->grace);

    ms_multiplex_at_end(us, ms_sessions_ended, conf->zone);

    if (conf->release == NGX_CONF_UNSET_PTR) {
        conf->release = NULL;
    }

    ngx_conf_init_uint_value(conf->tells, 0);
    ngx_conf_init_msec_value(conf->pushback, 1000);

    zone = ngx_array_push(&smcf->zones);
    if (zone == NULL) {
        return NGX_ERROR;
    }

    *zone = conf->zone;

    return NGX_OK;
}


/* an idle connection: that is no verdict, but a reason to look */

static void
ms_sessions_ended(void *data, ngx_str_t *name)
{
    ms_zone_t *zone = data;

    if (zone->health) {
        ms_zone_ask(zone, name, ngx_cycle->log);
    }
}


/* without the placeholders for names, which only nginx needed */

static void
ms_sessions_servers(ngx_http_upstream_srv_conf_t *us, ms_zone_t *zone)
{
    ngx_uint_t                   i, j, n;
    ngx_http_upstream_server_t  *server;

    server = us->servers->elts;
    n = 0;

    for (i = 0; i < us->servers->nelts; i++) {

        for (j = 0; j < zone->nnames; j++) {
            if (server[i].name.data == zone->names[j]->text.data) {
                break;
            }
        }

        if (j == zone->nnames) {
            server[n++] = server[i];
        }
    }

    us->servers->nelts = n;
}


/* runs right before the grpc module encodes the metadata */

static ngx_int_t
ms_sessions_handler(ngx_http_request_t *r)
{
    ms_sessions_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_myservice_sessions_module);

    if (slcf->balancer && ms_metadata_clean(r, NULL) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_DECLINED;
}


static ngx_int_t
ms_sessions_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    if (ms_call_body(r, in) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_next_request_body_filter(r, in);
}


static ngx_int_t
ms_sessions_preconfiguration(ngx_conf_t *cf)
{
    return ms_sessions_variables(cf);
}


static void *
ms_sessions_create_main_conf(ngx_conf_t *cf)
{
    ms_sessions_main_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ms_sessions_main_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&conf->zones, cf->pool, 4,
                       sizeof(ms_zone_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return conf;
}


static void *
ms_sessions_create_srv_conf(ngx_conf_t *cf)
{
    ms_sessions_srv_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ms_sessions_srv_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->key = NULL;
     *     conf->expires = NULL;
     *     conf->zone = NULL;
     *     conf->lifetime = 0;
     *     conf->drain = 0;
     *     conf->learn_always = 0;
     */

    conf->ttl = MS_TTL;
    conf->grace = NGX_CONF_UNSET_MSEC;
    conf->tries = MS_TRIES;
    conf->release = NGX_CONF_UNSET_PTR;
    conf->tells = NGX_CONF_UNSET_UINT;
    conf->pushback = NGX_CONF_UNSET_MSEC;

    return conf;
}


static void *
ms_sessions_create_loc_conf(ngx_conf_t *cf)
{
    ms_sessions_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ms_sessions_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->retry = NGX_CONF_UNSET_PTR;
    conf->retry_timeout = NGX_CONF_UNSET_MSEC;
    conf->replay_buffer = NGX_CONF_UNSET_SIZE;

    return conf;
}


/* the grpc module was merged before this one */

static char *
ms_sessions_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ms_sessions_loc_conf_t  *prev = parent;
    ms_sessions_loc_conf_t  *conf = child;

    ngx_http_core_loc_conf_t  *clcf;
    ngx_http_upstream_conf_t  *ucf;
    ms_metadata_loc_conf_t      *mlcf;
    ms_sessions_srv_conf_t    *scf;

    ngx_conf_merge_ptr_value(conf->retry, prev->retry, NULL);
    ngx_conf_merge_msec_value(conf->retry_timeout, prev->retry_timeout, 0);
    ngx_conf_merge_size_value(conf->replay_buffer, prev->replay_buffer,
                              65536);

    if (ms_sessions_other_pass(cf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    ucf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_grpc_module);

    if (ucf == NULL || ucf->upstream == NULL
        || ucf->upstream->srv_conf == NULL)
    {
        return NGX_CONF_OK;
    }

    scf = ngx_http_conf_upstream_srv_conf(ucf->upstream,
                                          ngx_http_myservice_sessions_module);

    if (scf->zone == NULL) {
        return NGX_CONF_OK;
    }

    conf->balancer = scf;

    mlcf = ngx_http_conf_get_module_loc_conf(cf,
                                          ngx_http_myservice_metadata_module);
    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (scf->key && mlcf->tokens) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "location \"%V\" has \"myservice_jwt\" and passes "
                           "to upstream \"%V\", whose key is not the session "
                           "that was verified: write \"myservice_sessions "
                           "$myservice_session\", and use "
                           "\"myservice_session_from\"",
                           &clcf->name, &ucf->upstream->host);
        return NGX_CONF_ERROR;
    }

    if (scf->key == NULL && mlcf->from->claim && !mlcf->tokens) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"myservice_session_from claim=%V\" in location "
                           "\"%V\" needs \"myservice_jwt\"",
                           &mlcf->from->name, &clcf->name);
        return NGX_CONF_ERROR;
    }

    if (ms_pass_guard(cf, &conf->lasting) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    /*
     * What may be repeated is decided in peer.free(), not by
     * "grpc_next_upstream": nginx must neither refuse a retry before, nor
     * repeat a request for a reason of its own.
     */

    if (ucf->next_upstream != MS_NEXT_DEFAULT && !clcf->noname) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"grpc_next_upstream\" in location \"%V\" is ignored: "
                      "with \"myservice_sessions\" in upstream \"%V\" it is "
                      "\"myservice_retry\" that says what is sent again",
                      &clcf->name, &ucf->upstream->host);
    }

    ucf->next_upstream = NGX_CONF_BITMASK_SET
                         |NGX_HTTP_UPSTREAM_FT_ERROR
                         |NGX_HTTP_UPSTREAM_FT_TIMEOUT
                         |NGX_HTTP_UPSTREAM_FT_INVALID_HEADER;

    return NGX_CONF_OK;
}


static char *
ms_sessions(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_sessions_srv_conf_t  *scf = conf;

    char                          *rv;
    ngx_http_upstream_srv_conf_t  *us;

    if (scf->zone) {
        return "is duplicate";
    }

    us = ngx_http_conf_get_module_srv_conf(cf, ngx_http_upstream_module);

    if (us->peer.init_upstream) {
        ms_sessions_refuse_method(cf, us);
        return NGX_CONF_ERROR;
    }

    rv = ms_sessions_parse(cf, scf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    us->peer.init_upstream = ms_sessions_init_upstream;

    us->flags = NGX_HTTP_UPSTREAM_CREATE
                |NGX_HTTP_UPSTREAM_FAIL_TIMEOUT
                |NGX_HTTP_UPSTREAM_DOWN;

    return NGX_CONF_OK;
}


/* a directive that needs "myservice_sessions"; NULL if none was given */

static const char *
ms_sessions_useless(ms_sessions_srv_conf_t *conf)
{
    if (conf->release != NGX_CONF_UNSET_PTR) {
        return "myservice_release";
    }

    if (conf->tells != NGX_CONF_UNSET_UINT) {
        return "myservice_moved";
    }

    return conf->pushback == NGX_CONF_UNSET_MSEC ? NULL : "myservice_pushback";
}


static ngx_int_t
ms_sessions_init(ngx_conf_t *cf)
{
    const char                     *useless;
    ngx_uint_t                      i;
    ngx_http_handler_pt            *h;
    ngx_http_core_main_conf_t      *cmcf;
    ngx_http_upstream_srv_conf_t  **us;
    ngx_http_upstream_main_conf_t  *umcf;
    ms_sessions_srv_conf_t         *conf;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    us = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (us[i]->srv_conf == NULL) {
            continue;
        }

        conf = ngx_http_conf_upstream_srv_conf(us[i],
                                         ngx_http_myservice_sessions_module);

        useless = conf->zone ? NULL : ms_sessions_useless(conf);

        if (useless) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"%s\" in upstream \"%V\" has no "
                          "effect without \"myservice_sessions\"",
                          useless, &us[i]->host);
            return NGX_ERROR;
        }

        if (conf->zone && ms_sessions_method_replaced(cf, us[i])) {
            ms_sessions_refuse_method(cf, us[i]);
            return NGX_ERROR;
        }
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ms_sessions_handler;

    /* handlers run in the reverse order: the store is asked before */

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ms_stored_handler;

    ngx_http_next_request_body_filter = ngx_http_top_request_body_filter;
    ngx_http_top_request_body_filter = ms_sessions_body_filter;

    return ms_fallback_init(cf);
}


/*
 * The configuration is accepted and the sockets are open: only now the
 * members change, also for the workers of the previous cycle.
 */

static ngx_int_t
ngx_http_myservice_sessions_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t                i;
    ms_zone_t               **zones;
    ms_sessions_main_conf_t  *smcf;

    ms_events_open(cycle);
    ms_zone_unused(cycle, &ngx_http_myservice_sessions_module);

    smcf = ngx_http_cycle_get_module_main_conf(cycle,
                                         ngx_http_myservice_sessions_module);
    if (smcf == NULL) {
        return NGX_OK;
    }

    zones = smcf->zones.elts;

    for (i = 0; i < smcf->zones.nelts; i++) {

        /* members that do not fit are logged, the others work */

        (void) ms_zone_sync(zones[i], cycle->log);
    }

    return NGX_OK;
}
