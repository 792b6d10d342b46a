
/*
 * The session balancer of an upstream: directives, variables and set-up.
 * What happens to a call is in ngx_http_myservice_call.c, the table in
 * ngx_http_myservice_zone.c.
 */

#include "ngx_http_myservice_call.h"
#include "ngx_http_myservice_fallback.h"
#include "ngx_http_myservice_grpc.h"
#include "ngx_http_myservice_lease.h"
#include "ngx_http_myservice_members.h"
#include "ngx_http_myservice_module.h"


#define NGX_HTTP_MYSERVICE_TTL       1800000
#define NGX_HTTP_MYSERVICE_TRIES     8


typedef struct {
    ngx_array_t  zones;              /* ngx_http_myservice_zone_t * */
} ngx_http_myservice_sessions_main_conf_t;


static ngx_int_t ngx_http_myservice_sessions_init_upstream(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);
static void ngx_http_myservice_sessions_servers(
    ngx_http_upstream_srv_conf_t *us, ngx_http_myservice_zone_t *zone);
static ngx_int_t ngx_http_myservice_sessions_body_filter(
    ngx_http_request_t *r, ngx_chain_t *in);

static ngx_int_t ngx_http_myservice_sessions_instance_variable(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_myservice_sessions_decision_variable(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);

static ngx_int_t ngx_http_myservice_sessions_preconfiguration(
    ngx_conf_t *cf);
static void *ngx_http_myservice_sessions_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_myservice_sessions_create_srv_conf(ngx_conf_t *cf);
static void *ngx_http_myservice_sessions_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_myservice_sessions_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static ngx_int_t ngx_http_myservice_sessions_other_pass(ngx_conf_t *cf);
static char *ngx_http_myservice_sessions(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_myservice_sessions_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_myservice_sessions_init_module(ngx_cycle_t *cycle);


static ngx_command_t  ngx_http_myservice_sessions_commands[] = {

    { ngx_string("myservice_sessions"),
      NGX_HTTP_UPS_CONF|NGX_CONF_2MORE,
      ngx_http_myservice_sessions,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("myservice_release"),
      NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      ngx_http_myservice_methods_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_myservice_sessions_srv_conf_t, release),
      NULL },

    { ngx_string("myservice_retry"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_myservice_methods_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_myservice_sessions_loc_conf_t, retry),
      NULL },

    { ngx_string("myservice_retry_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_myservice_sessions_loc_conf_t, retry_timeout),
      NULL },

    { ngx_string("myservice_replay_buffer"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_myservice_sessions_loc_conf_t, replay_buffer),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_myservice_sessions_module_ctx = {
    ngx_http_myservice_sessions_preconfiguration,
                                           /* preconfiguration */
    ngx_http_myservice_sessions_init,      /* postconfiguration */

    ngx_http_myservice_sessions_create_main_conf,
                                           /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_http_myservice_sessions_create_srv_conf,
                                           /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_myservice_sessions_create_loc_conf,
                                           /* create location configuration */
    ngx_http_myservice_sessions_merge_loc_conf
                                           /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_sessions_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_sessions_module_ctx, /* module context */
    ngx_http_myservice_sessions_commands,  /* module directives */
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


static ngx_http_variable_t  ngx_http_myservice_sessions_variables[] = {

    { ngx_string("myservice_instance"), NULL,
      ngx_http_myservice_sessions_instance_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("myservice_decision"), NULL,
      ngx_http_myservice_sessions_decision_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("myservice_session_ttl"), NULL,
      ngx_http_myservice_lease_ttl_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("myservice_session_ends"), NULL,
      ngx_http_myservice_lease_ends_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


/* by ms_claim_t */

static ngx_str_t  ngx_http_myservice_sessions_decisions[] = {
    ngx_string("HIT"),
    ngx_string("NEW"),
    ngx_string("MOVED"),
    ngx_string("REBUILT"),
    ngx_string("BUSY"),
    ngx_string("UNAVAILABLE"),
    ngx_string("EMPTY"),
    ngx_string("FULL")
};

static ngx_str_t  ngx_http_myservice_sessions_denied = ngx_string("DENIED");


/*
 * Modules that pass to an upstream, too, and may not be there; the first
 * member of their private configurations is an ngx_http_upstream_conf_t.
 */

static const char  *ngx_http_myservice_sessions_others[] = {
    "ngx_http_proxy_module",
    "ngx_http_fastcgi_module",
    "ngx_http_scgi_module",
    "ngx_http_uwsgi_module",
    "ngx_http_memcached_module",
    NULL
};


/* the first member of the private ngx_http_grpc_loc_conf_t */

extern ngx_module_t  ngx_http_grpc_module;


static ngx_http_request_body_filter_pt  ngx_http_next_request_body_filter;


ngx_array_t *
ngx_http_myservice_sessions_zones(ngx_http_request_t *r)
{
    ngx_http_myservice_sessions_main_conf_t  *smcf;

    smcf = ngx_http_get_module_main_conf(r,
                                         ngx_http_myservice_sessions_module);

    return &smcf->zones;
}


ngx_str_t *
ngx_http_myservice_sessions_decision(ngx_uint_t claim)
{
    return &ngx_http_myservice_sessions_decisions[claim];
}


static ngx_int_t
ngx_http_myservice_sessions_init_upstream(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_uint_t                               i;
    ngx_http_upstream_server_t              *server;
    ngx_http_myservice_zone_t              **zone;
    ngx_http_myservice_sessions_srv_conf_t  *conf;
    ngx_http_myservice_sessions_main_conf_t *smcf;

    conf = ngx_http_conf_upstream_srv_conf(us,
                                         ngx_http_myservice_sessions_module);
    smcf = ngx_http_conf_get_module_main_conf(cf,
                                         ngx_http_myservice_sessions_module);

    /*
     * peer.data stays round robin's, which the "zone" directive expects; the
     * pool has a table of its own, by address
     */

    if (ngx_http_upstream_init_round_robin(cf, us) != NGX_OK) {
        return NGX_ERROR;
    }

    us->peer.init = ngx_http_myservice_call_init;

    ngx_http_myservice_sessions_servers(us, conf->zone);

    /* servers that stand before the directive were not checked by nginx */

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
    }

    conf->zone->upstream = us;

    if (conf->release == NGX_CONF_UNSET_PTR) {
        conf->release = NULL;
    }

    zone = ngx_array_push(&smcf->zones);
    if (zone == NULL) {
        return NGX_ERROR;
    }

    *zone = conf->zone;

    return NGX_OK;
}


/* without those that stand for names, which nginx wanted to see */

static void
ngx_http_myservice_sessions_servers(ngx_http_upstream_srv_conf_t *us,
    ngx_http_myservice_zone_t *zone)
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


static ngx_int_t
ngx_http_myservice_sessions_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in)
{
    if (ngx_http_myservice_call_body(r, in) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_next_request_body_filter(r, in);
}


static ngx_int_t
ngx_http_myservice_sessions_instance_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_myservice_call_t  *call;

    /* no subrequest has an instance */

    call = ngx_http_myservice_call_get(r->main);

    return ngx_http_myservice_variable(v, call && call->grant.name.len
                                          ? &call->grant.name : NULL);
}


static ngx_int_t
ngx_http_myservice_sessions_decision_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                  *decision;
    ngx_http_myservice_call_t  *call;

    call = ngx_http_myservice_call_get(r->main);
    decision = NULL;

    if (call && call->key.len) {
        decision = ngx_http_myservice_sessions_decision(call->decision);

    } else if (ngx_http_myservice_refused(r->main)) {
        decision = &ngx_http_myservice_sessions_denied;
    }

    return ngx_http_myservice_variable(v, decision);
}


static ngx_int_t
ngx_http_myservice_sessions_preconfiguration(ngx_conf_t *cf)
{
    return ngx_http_myservice_add_variables(cf,
                                       ngx_http_myservice_sessions_variables);
}


static void *
ngx_http_myservice_sessions_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_myservice_sessions_main_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool,
                       sizeof(ngx_http_myservice_sessions_main_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&conf->zones, cf->pool, 4,
                       sizeof(ngx_http_myservice_zone_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return conf;
}


static void *
ngx_http_myservice_sessions_create_srv_conf(ngx_conf_t *cf)
{
    ngx_http_myservice_sessions_srv_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool,
                       sizeof(ngx_http_myservice_sessions_srv_conf_t));
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
     */

    conf->ttl = NGX_HTTP_MYSERVICE_TTL;
    conf->tries = NGX_HTTP_MYSERVICE_TRIES;
    conf->release = NGX_CONF_UNSET_PTR;

    return conf;
}


static void *
ngx_http_myservice_sessions_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_myservice_sessions_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool,
                       sizeof(ngx_http_myservice_sessions_loc_conf_t));
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
ngx_http_myservice_sessions_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_myservice_sessions_loc_conf_t  *prev = parent;
    ngx_http_myservice_sessions_loc_conf_t  *conf = child;

    ngx_http_upstream_conf_t                *ucf;
    ngx_http_myservice_sessions_srv_conf_t  *scf;

    ngx_conf_merge_ptr_value(conf->retry, prev->retry, NULL);
    ngx_conf_merge_msec_value(conf->retry_timeout, prev->retry_timeout, 0);
    ngx_conf_merge_size_value(conf->replay_buffer, prev->replay_buffer,
                              65536);

    if (ngx_http_myservice_sessions_other_pass(cf) != NGX_OK) {
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

    /*
     * What may be repeated is decided in peer.free(), not by
     * "grpc_next_upstream": nginx must neither refuse a retry before, nor
     * repeat a request for a reason of its own.
     */

    ucf->next_upstream = NGX_CONF_BITMASK_SET
                         |NGX_HTTP_UPSTREAM_FT_ERROR
                         |NGX_HTTP_UPSTREAM_FT_TIMEOUT
                         |NGX_HTTP_UPSTREAM_FT_INVALID_HEADER;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_myservice_sessions_other_pass(ngx_conf_t *cf)
{
    ngx_uint_t                               i, n;
    ngx_module_t                            *module;
    ngx_http_core_loc_conf_t                *clcf;
    ngx_http_upstream_conf_t                *ucf;
    ngx_http_myservice_sessions_srv_conf_t  *scf;

    for (i = 0; cf->cycle->modules[i]; i++) {

        module = cf->cycle->modules[i];

        for (n = 0; ngx_http_myservice_sessions_others[n]; n++) {
            if (ngx_strcmp(module->name, ngx_http_myservice_sessions_others[n])
                == 0)
            {
                break;
            }
        }

        if (ngx_http_myservice_sessions_others[n] == NULL) {
            continue;
        }

        ucf = ngx_http_conf_get_module_loc_conf(cf, (*module));

        if (ucf == NULL || ucf->upstream == NULL
            || ucf->upstream->srv_conf == NULL)
        {
            continue;
        }

        scf = ngx_http_conf_upstream_srv_conf(ucf->upstream,
                                         ngx_http_myservice_sessions_module);

        if (scf->zone) {
            clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "location \"%V\" passes to upstream \"%V\" by "
                               "%s: with \"myservice_sessions\" it must be "
                               "\"grpc_pass\"", &clcf->name,
                               &ucf->upstream->host, module->name);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static char *
ngx_http_myservice_sessions(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_myservice_sessions_srv_conf_t  *scf = conf;

    char                          *rv;
    ngx_http_upstream_srv_conf_t  *us;

    if (scf->zone) {
        return "is duplicate";
    }

    us = ngx_http_conf_get_module_srv_conf(cf, ngx_http_upstream_module);

    if (us->peer.init_upstream) {
        return "must stand before \"keepalive\", and there can be no other "
               "load balancing method";
    }

    rv = ngx_http_myservice_sessions_parse(cf, scf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    us->peer.init_upstream = ngx_http_myservice_sessions_init_upstream;

    us->flags = NGX_HTTP_UPSTREAM_CREATE
                |NGX_HTTP_UPSTREAM_FAIL_TIMEOUT
                |NGX_HTTP_UPSTREAM_DOWN;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_myservice_sessions_init(ngx_conf_t *cf)
{
    ngx_uint_t                               i;
    ngx_http_upstream_srv_conf_t           **us;
    ngx_http_upstream_main_conf_t           *umcf;
    ngx_http_myservice_sessions_srv_conf_t  *conf;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    us = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (us[i]->srv_conf == NULL) {
            continue;
        }

        conf = ngx_http_conf_upstream_srv_conf(us[i],
                                         ngx_http_myservice_sessions_module);

        if (conf->zone == NULL && conf->release != NGX_CONF_UNSET_PTR) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"myservice_release\" in upstream \"%V\" has no "
                          "effect without \"myservice_sessions\"",
                          &us[i]->host);
            return NGX_ERROR;
        }
    }

    ngx_http_next_request_body_filter = ngx_http_top_request_body_filter;
    ngx_http_top_request_body_filter = ngx_http_myservice_sessions_body_filter;

    return ngx_http_myservice_fallback_init(cf);
}


/*
 * The configuration is accepted and the sockets are open: only now the
 * members change, also for the workers of the previous cycle.
 */

static ngx_int_t
ngx_http_myservice_sessions_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t                                i;
    ngx_http_myservice_zone_t               **zones;
    ngx_http_myservice_sessions_main_conf_t  *smcf;

    smcf = ngx_http_cycle_get_module_main_conf(cycle,
                                         ngx_http_myservice_sessions_module);
    if (smcf == NULL) {
        return NGX_OK;
    }

    zones = smcf->zones.elts;

    for (i = 0; i < smcf->zones.nelts; i++) {

        /* what does not fit is logged; the others work */

        (void) ngx_http_myservice_members_sync(zones[i], cycle->log);
    }

    return NGX_OK;
}
