
/*
 * Members by DNS: the directives, and calls that wait until the first answers
 * have come.  The lookups are in resolve/lookup.c.
 */

#include "resolve/resolve.h"

#include "answers/wait.h"
#include "core/compat.h"
#include "core/values.h"


#define MS_RESOLVE_TIMEOUT  2000

/* how much longer than the lookups take a call waits for the first answers */
#define MS_RESOLVE_GRACE    500


typedef struct {
    ngx_array_t  upstreams;                     /* ms_resolve_srv_conf_t * */
} ms_resolve_main_conf_t;


static ngx_int_t ms_resolve_wait(ngx_http_request_t *r);

static ngx_int_t ms_resolve_init_process(ngx_cycle_t *cycle);
static void ms_resolve_exit_process(ngx_cycle_t *cycle);
static void *ms_resolve_create_main_conf(ngx_conf_t *cf);
static void *ms_resolve_create_srv_conf(ngx_conf_t *cf);
static char *ms_resolve(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ms_resolve_add(ngx_conf_t *cf, ms_resolve_srv_conf_t *conf,
    ms_resolve_name_t *name);
static ngx_int_t ms_resolve_server(ngx_conf_t *cf, ms_resolve_name_t *name);
static char *ms_resolver(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_int_t ms_resolve_init(ngx_conf_t *cf);
static ngx_int_t ms_resolve_init_upstream(ngx_conf_t *cf,
    ms_resolve_srv_conf_t *conf);
static ngx_resolver_t *ms_resolve_clone(ngx_conf_t *cf,
    ngx_resolver_t *resolver, time_t valid);


static ms_value_t  ms_resolver_timeout =
    { ngx_null_string, ms_value_time, 0, 100, 86400000, NULL, 0 };


static ngx_command_t  ms_resolve_commands[] = {

    { ngx_string("myservice_resolve"),
      NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      ms_resolve,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("myservice_resolver"),
      NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      ms_resolver,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("myservice_resolver_timeout"),
      NGX_HTTP_UPS_CONF|NGX_CONF_TAKE1,
      ms_value_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ms_resolve_srv_conf_t, timeout),
      &ms_resolver_timeout },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_myservice_resolve_module_ctx = {
    NULL,                                  /* preconfiguration */
    ms_resolve_init,                       /* postconfiguration */

    ms_resolve_create_main_conf,
                                           /* create main configuration */
    NULL,                                  /* init main configuration */

    ms_resolve_create_srv_conf,
                                           /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_myservice_resolve_module = {
    NGX_MODULE_V1,
    &ngx_http_myservice_resolve_module_ctx, /* module context */
    ms_resolve_commands,                   /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ms_resolve_init_process,                 /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ms_resolve_exit_process,                 /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/* of this worker */

static ngx_array_t  *ms_resolves;


static ngx_int_t
ms_resolve_wait(ngx_http_request_t *r)
{
    ngx_http_upstream_srv_conf_t  *us;
    ms_resolve_srv_conf_t         *conf;

    us = ms_wait_upstream(r);

    if (us == NULL) {
        return NGX_DECLINED;
    }

    conf = ngx_http_conf_upstream_srv_conf(us,
                                           ngx_http_myservice_resolve_module);

    if (conf->upstream == NULL
        || conf->sessions->zone->sh->lookup.ready
        || ms_wait_age(r)
           > conf->timeout * MS_NAME_TRIES
             + MS_RESOLVE_GRACE)
    {
        return NGX_DECLINED;
    }

    return ms_wait(r, MS_WAIT_NAMES);
}


static ngx_int_t
ms_resolve_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t               i;
    ms_resolve_t            *resolve;
    ms_resolve_main_conf_t  *rmcf;
    ms_resolve_srv_conf_t  **conf;

    ms_resolves = NULL;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    rmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                          ngx_http_myservice_resolve_module);

    if (rmcf == NULL || rmcf->upstreams.nelts == 0) {
        return NGX_OK;
    }

    conf = rmcf->upstreams.elts;

    ms_resolves = ngx_array_create(cycle->pool, rmcf->upstreams.nelts,
                                   sizeof(ms_resolve_t));
    if (ms_resolves == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < rmcf->upstreams.nelts; i++) {

        /* the array has room for all: its elements do not move */

        resolve = ngx_array_push(ms_resolves);
        ms_resolve_start(resolve, conf[i], cycle->log);
    }

    return NGX_OK;
}


static void
ms_resolve_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t     i;
    ms_resolve_t  *resolve;

    if (ms_resolves == NULL) {
        return;
    }

    resolve = ms_resolves->elts;

    for (i = 0; i < ms_resolves->nelts; i++) {
        ms_duty_leave(&resolve[i].duty);
    }
}


static void *
ms_resolve_create_main_conf(ngx_conf_t *cf)
{
    ms_resolve_main_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ms_resolve_main_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&conf->upstreams, cf->pool, 4,
                       sizeof(ms_resolve_srv_conf_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return conf;
}


static void *
ms_resolve_create_srv_conf(ngx_conf_t *cf)
{
    ms_resolve_srv_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ms_resolve_srv_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->names = { NULL };
     *     conf->resolver = NULL;
     *     conf->upstream = NULL;
     *     conf->sessions = NULL;
     */

    conf->timeout = NGX_CONF_UNSET_MSEC;

    return conf;
}


static char *
ms_resolve(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_resolve_srv_conf_t *rscf = conf;

    char               *rv;
    ms_resolve_name_t  *name;

    rscf->sessions = ngx_http_conf_get_module_srv_conf(cf,
                                         ngx_http_myservice_sessions_module);

    if (rscf->sessions->zone == NULL) {
        return "must stand after \"myservice_sessions\"";
    }

    name = ngx_pcalloc(cf->pool, sizeof(ms_resolve_name_t));
    if (name == NULL) {
        return NGX_CONF_ERROR;
    }

    rv = ms_resolve_parse(cf, name);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ms_resolve_add(cf, rscf, name);
}


static char *
ms_resolve_add(ngx_conf_t *cf, ms_resolve_srv_conf_t *conf,
    ms_resolve_name_t *name)
{
    ngx_uint_t               i;
    ms_zone_t               *zone;
    ms_resolve_main_conf_t  *rmcf;
    ms_resolve_srv_conf_t  **upstream;

    zone = conf->sessions->zone;

    for (i = 0; i < zone->nnames; i++) {

        if (zone->names[i]->id == name->name.id) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate name \"%V\"", &name->name.text);
            return NGX_CONF_ERROR;
        }
    }

    if (zone->nnames == MS_NAMES) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "an upstream can have %d names that are resolved",
                           MS_NAMES);
        return NGX_CONF_ERROR;
    }

    if (zone->nnames == 0) {
        rmcf = ngx_http_conf_get_module_main_conf(cf,
                                          ngx_http_myservice_resolve_module);

        upstream = ngx_array_push(&rmcf->upstreams);
        if (upstream == NULL) {
            return NGX_CONF_ERROR;
        }

        *upstream = conf;

        conf->upstream = ngx_http_conf_get_module_srv_conf(cf,
                                                   ngx_http_upstream_module);
    }

    conf->names[zone->nnames] = name;
    zone->names[zone->nnames++] = &name->name;

    if (ms_resolve_server(cf, name) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/*
 * nginx requires that an upstream has servers.  ms_sessions_servers() removes
 * this one again.
 */

static ngx_int_t
ms_resolve_server(ngx_conf_t *cf, ms_resolve_name_t *name)
{
    struct sockaddr_in            *sin;
    ngx_http_upstream_server_t    *server;
    ngx_http_upstream_srv_conf_t  *us;

    us = ngx_http_conf_get_module_srv_conf(cf, ngx_http_upstream_module);

    server = ngx_array_push(us->servers);
    if (server == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(server, sizeof(ngx_http_upstream_server_t));

    server->addrs = ngx_pcalloc(cf->pool, sizeof(ngx_addr_t));
    sin = ngx_pcalloc(cf->pool, sizeof(struct sockaddr_in));

    if (server->addrs == NULL || sin == NULL) {
        return NGX_ERROR;
    }

    sin->sin_family = AF_INET;

    server->name = name->name.text;
    server->addrs->sockaddr = (struct sockaddr *) sin;
    server->addrs->socklen = sizeof(struct sockaddr_in);
    server->addrs->name = name->name.text;
    server->naddrs = 1;
    server->weight = 1;
    server->max_fails = 1;
    server->fail_timeout = 10;
    server->down = 1;

    return NGX_OK;
}


static char *
ms_resolver(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ms_resolve_srv_conf_t *rscf = conf;

    ngx_str_t   *value;
    ngx_url_t    u;
    ngx_uint_t   i;

    if (rscf->resolver) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strlchr(value[i].data, value[i].data + value[i].len, '=')) {
            continue;
        }

        ngx_memzero(&u, sizeof(ngx_url_t));

        u.url = value[i];
        u.default_port = 53;
        u.no_resolve = 1;

        /* nginx would resolve a name now, and block */

        if (ngx_parse_url(cf->pool, &u) != NGX_OK
            || (u.family != AF_INET6
                && ngx_inet_addr(u.host.data, u.host.len) == INADDR_NONE))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid name server \"%V\", expected an "
                               "address", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    rscf->resolver = ngx_resolver_create(cf, &value[1], cf->args->nelts - 1);

    return rscf->resolver ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static ngx_int_t
ms_resolve_init(ngx_conf_t *cf)
{
    ngx_uint_t                  i;
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;
    ms_resolve_main_conf_t     *rmcf;
    ms_resolve_srv_conf_t     **conf;

    rmcf = ngx_http_conf_get_module_main_conf(cf,
                                          ngx_http_myservice_resolve_module);

    if (rmcf->upstreams.nelts == 0) {
        return NGX_OK;
    }

    conf = rmcf->upstreams.elts;

    for (i = 0; i < rmcf->upstreams.nelts; i++) {

        if (ms_resolve_init_upstream(cf, conf[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ms_resolve_wait;

    return NGX_OK;
}


static ngx_int_t
ms_resolve_init_upstream(ngx_conf_t *cf, ms_resolve_srv_conf_t *conf)
{
    ngx_uint_t                 i;
    ngx_http_core_loc_conf_t  *clcf;
    ms_resolve_name_t         *name;

    ngx_conf_init_msec_value(conf->timeout, MS_RESOLVE_TIMEOUT);

    if (conf->resolver == NULL) {
        clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
        conf->resolver = clcf->resolver;
    }

    if (conf->resolver == NULL || ms_resolver_first(conf->resolver) == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "upstream \"%V\" has names to resolve, but no "
                      "\"myservice_resolver\", and \"http\" has no "
                      "\"resolver\"", &conf->upstream->host);
        return NGX_ERROR;
    }

    for (i = 0; i < conf->sessions->zone->nnames; i++) {
        name = conf->names[i];

        name->resolver = name->valid
                         ? ms_resolve_clone(cf,
                                            conf->resolver,
                                            name->valid)
                         : conf->resolver;

        if (name->resolver == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* "valid" is a property of a resolver and its cache: one for each name */

static ngx_resolver_t *
ms_resolve_clone(ngx_conf_t *cf, ngx_resolver_t *resolver, time_t valid)
{
    ngx_str_t                  *name;
    ngx_array_t                 names;
    ngx_resolver_t             *clone;
    ngx_resolver_connection_t  *rec;

    if (ngx_array_init(&names, cf->temp_pool, 4, sizeof(ngx_str_t)) != NGX_OK)
    {
        return NULL;
    }

    for (rec = ms_resolver_first(resolver);
         rec;
         rec = ms_resolver_next(resolver, rec))
    {
        name = ngx_array_push(&names);
        if (name == NULL) {
            return NULL;
        }

        *name = rec->server;
    }

    clone = ngx_resolver_create(cf, names.elts, names.nelts);

    if (clone) {
        clone->valid = valid;
        ms_copy_families(clone, resolver);
    }

    return clone;
}
