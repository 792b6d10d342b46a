
#include "ngx_http_myservice_resolve.h"

#include "ngx_http_myservice_names.h"


#define NGX_HTTP_MYSERVICE_RESOLVE_TICK   250

/* after failures: at first, and at most, in milliseconds */
#define NGX_HTTP_MYSERVICE_RESOLVE_RETRY  250
#define NGX_HTTP_MYSERVICE_RESOLVE_MAX    10000

/* a name is asked for again after a day at the latest, in seconds */
#define NGX_HTTP_MYSERVICE_RESOLVE_VALID  86400


static void ngx_http_myservice_resolve_tick(ngx_event_t *ev);
static void ngx_http_myservice_resolve_ask(ngx_event_t *ev);
static void ngx_http_myservice_resolve_handler(ngx_resolver_ctx_t *ctx);
static void ngx_http_myservice_resolve_answer(
    ngx_http_myservice_resolve_lookup_t *lookup, ngx_array_t *addrs,
    ngx_uint_t partial);
static void ngx_http_myservice_resolve_failed(
    ngx_http_myservice_resolve_lookup_t *lookup, ngx_int_t state);
static ngx_msec_t ngx_http_myservice_resolve_delay(
    ngx_http_myservice_resolve_lookup_t *lookup);
static ngx_int_t ngx_http_myservice_resolve_addrs(ngx_resolver_ctx_t *ctx,
    in_port_t port, ngx_array_t *addrs);
static ngx_int_t ngx_http_myservice_resolve_srvs(ngx_resolver_ctx_t *ctx,
    ngx_array_t *addrs, ngx_uint_t *partial);
static ngx_int_t ngx_http_myservice_resolve_push(ngx_array_t *addrs,
    struct sockaddr *sockaddr, socklen_t socklen, in_port_t port);


void
ngx_http_myservice_resolve_start(ngx_http_myservice_resolve_t *resolve,
    ngx_http_myservice_resolve_srv_conf_t *conf, ngx_log_t *log)
{
    ngx_uint_t    i;
    ngx_event_t  *ev;

    ngx_memzero(resolve, sizeof(ngx_http_myservice_resolve_t));

    resolve->conf = conf;

    resolve->tick.handler = ngx_http_myservice_resolve_tick;
    resolve->tick.data = resolve;
    resolve->tick.log = log;
    resolve->tick.cancelable = 1;

    for (i = 0; i < conf->sessions->zone->nnames; i++) {
        resolve->lookups[i].resolve = resolve;
        resolve->lookups[i].n = i;

        ev = &resolve->lookups[i].timer;
        ev->handler = ngx_http_myservice_resolve_ask;
        ev->data = &resolve->lookups[i];
        ev->log = log;
        ev->cancelable = 1;
    }

    ngx_add_timer(&resolve->tick, 1);
}


static void
ngx_http_myservice_resolve_tick(ngx_event_t *ev)
{
    ngx_http_myservice_resolve_t *resolve = ev->data;

    ngx_uint_t                  i;
    ngx_http_myservice_zone_t  *zone;

    zone = resolve->conf->sessions->zone;

    if (ngx_exiting) {
        ngx_http_myservice_resolve_give_up(resolve);
        return;
    }

    ngx_add_timer(ev, NGX_HTTP_MYSERVICE_RESOLVE_TICK);

    if (!ngx_http_myservice_zone_duty(zone,
                              &ngx_http_myservice_zone_lookup(zone)->duty))
    {
        /* if it was ours, it was taken from a worker that hung */

        ngx_http_myservice_resolve_give_up(resolve);
        return;
    }

    if (resolve->active) {
        return;
    }

    resolve->active = 1;

    for (i = 0; i < zone->nnames; i++) {
        resolve->lookups[i].failed = 0;
        ngx_http_myservice_resolve_ask(&resolve->lookups[i].timer);
    }
}


void
ngx_http_myservice_resolve_give_up(ngx_http_myservice_resolve_t *resolve)
{
    ngx_uint_t                            i;
    ngx_http_myservice_zone_t            *zone;
    ngx_http_myservice_resolve_lookup_t  *lookup;

    zone = resolve->conf->sessions->zone;

    ngx_http_myservice_zone_leave(zone,
                              &ngx_http_myservice_zone_lookup(zone)->duty);

    resolve->active = 0;

    for (i = 0; i < zone->nnames; i++) {
        lookup = &resolve->lookups[i];

        if (lookup->timer.timer_set) {
            ngx_del_timer(&lookup->timer);
        }

        if (lookup->ctx) {
            ngx_resolve_name_done(lookup->ctx);
            lookup->ctx = NULL;
        }
    }
}


static void
ngx_http_myservice_resolve_ask(ngx_event_t *ev)
{
    ngx_http_myservice_resolve_lookup_t *lookup = ev->data;

    ngx_resolver_ctx_t                     *ctx;
    ngx_http_myservice_resolve_name_t      *name;
    ngx_http_myservice_resolve_srv_conf_t  *conf;

    conf = lookup->resolve->conf;

    if (ngx_exiting) {
        ngx_http_myservice_resolve_give_up(lookup->resolve);
        return;
    }

    name = conf->names[lookup->n];

    ctx = ngx_resolve_start(name->resolver, NULL);

    if (ctx == NULL || ctx == NGX_NO_RESOLVER) {
        ngx_http_myservice_resolve_failed(lookup, NGX_ERROR);
        return;
    }

    ctx->name = name->host;
    ctx->service = name->service;
    ctx->handler = ngx_http_myservice_resolve_handler;
    ctx->data = lookup;
    ctx->timeout = conf->timeout;
    ctx->cancelable = 1;

    /* the handler may run before this returns */

    lookup->ctx = ctx;

    if (ngx_resolve_name(ctx) != NGX_OK) {
        lookup->ctx = NULL;
        ngx_http_myservice_resolve_failed(lookup, NGX_ERROR);
    }
}


static void
ngx_http_myservice_resolve_handler(ngx_resolver_ctx_t *ctx)
{
    time_t                                valid;
    ngx_int_t                             rc, state;
    ngx_uint_t                            partial;
    ngx_pool_t                           *pool;
    ngx_array_t                           addrs;
    ngx_http_myservice_resolve_name_t    *name;
    ngx_http_myservice_resolve_lookup_t  *lookup;

    lookup = ctx->data;
    lookup->ctx = NULL;
    name = lookup->resolve->conf->names[lookup->n];

    state = ctx->state;
    valid = ctx->valid - ngx_time();
    partial = 0;
    pool = NULL;

    if (state) {
        goto done;
    }

    pool = ngx_create_pool(4096, ngx_cycle->log);

    if (pool == NULL
        || ngx_array_init(&addrs, pool, 16, sizeof(ngx_addr_t)) != NGX_OK)
    {
        state = NGX_ERROR;
        goto done;
    }

    rc = name->service.len
         ? ngx_http_myservice_resolve_srvs(ctx, &addrs, &partial)
         : ngx_http_myservice_resolve_addrs(ctx, name->port, &addrs);

    if (rc != NGX_OK) {
        state = NGX_ERROR;

    } else if (addrs.nelts == 0) {
        state = partial ? NGX_RESOLVE_SERVFAIL : NGX_RESOLVE_NXDOMAIN;
    }

done:

    ngx_resolve_name_done(ctx);

    if (state) {
        ngx_http_myservice_resolve_failed(lookup, state);

    } else {
        ngx_http_myservice_resolve_answer(lookup, &addrs, partial);

        /* until then the resolver gives the same answer */

        valid = ngx_max(valid, 0) + 1;
        valid = ngx_min(valid, NGX_HTTP_MYSERVICE_RESOLVE_VALID);

        ngx_add_timer(&lookup->timer,
                      partial ? ngx_http_myservice_resolve_delay(lookup)
                              : (ngx_msec_t) valid * 1000
                                + ngx_random() % (valid * 10 + 1));
    }

    if (pool) {
        ngx_destroy_pool(pool);
    }
}


static void
ngx_http_myservice_resolve_answer(ngx_http_myservice_resolve_lookup_t *lookup,
    ngx_array_t *addrs, ngx_uint_t partial)
{
    ngx_http_myservice_change_t             change;
    ngx_http_myservice_resolve_name_t      *name;
    ngx_http_myservice_resolve_srv_conf_t  *conf;

    conf = lookup->resolve->conf;
    name = conf->names[lookup->n];

    if (!partial) {
        lookup->failed = 0;

    } else if (lookup->failed == 0) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "resolve: not all targets of \"%V\" of upstream \"%V\" "
                      "could be resolved, its instances stay",
                      &name->name.text, &conf->upstream->host);
    }

    if (ngx_http_myservice_names_resolved(conf->sessions->zone, lookup->n,
                                          addrs->elts, addrs->nelts, partial,
                                          &change, ngx_cycle->log)
        != NGX_OK)
    {
        return;
    }

    if (change.joined || change.left || change.again) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "resolve: \"%V\" of upstream \"%V\" has %ui instances, "
                      "%ui joined, %ui left", &name->name.text,
                      &conf->upstream->host, change.members, change.joined,
                      change.left);
    }
}


/* one line when it begins to fail */

static void
ngx_http_myservice_resolve_failed(ngx_http_myservice_resolve_lookup_t *lookup,
    ngx_int_t state)
{
    ngx_int_t                               last;
    ngx_uint_t                              level;
    ngx_http_myservice_resolve_name_t      *name;
    ngx_http_myservice_resolve_srv_conf_t  *conf;

    conf = lookup->resolve->conf;
    name = conf->names[lookup->n];

    last = ngx_http_myservice_names_unresolved(conf->sessions->zone,
                                               lookup->n, state,
                                               ngx_cycle->log);

    level = last == NGX_OK ? NGX_LOG_WARN : NGX_LOG_INFO;

    ngx_log_error(level, ngx_cycle->log, 0,
                  "resolve: \"%V\" of upstream \"%V\" could not be resolved "
                  "(%i: %s), its instances stay",
                  &name->name.text, &conf->upstream->host, state,
                  ngx_resolver_strerror(state));

    ngx_add_timer(&lookup->timer, ngx_http_myservice_resolve_delay(lookup));
}


/* longer each time */

static ngx_msec_t
ngx_http_myservice_resolve_delay(ngx_http_myservice_resolve_lookup_t *lookup)
{
    ngx_msec_t  delay;

    delay = NGX_HTTP_MYSERVICE_RESOLVE_RETRY << ngx_min(lookup->failed, 8);
    delay = ngx_min(delay, NGX_HTTP_MYSERVICE_RESOLVE_MAX);

    lookup->failed++;

    return delay - ngx_random() % (delay / 4 + 1);
}


static ngx_int_t
ngx_http_myservice_resolve_addrs(ngx_resolver_ctx_t *ctx, in_port_t port,
    ngx_array_t *addrs)
{
    ngx_uint_t  i;

    for (i = 0; i < ctx->naddrs; i++) {

        if (ngx_http_myservice_resolve_push(addrs, ctx->addrs[i].sockaddr,
                                            ctx->addrs[i].socklen, port)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * RFC 2782: targets of the lowest priority number are to be used.  A target
 * whose address could not be found makes the answer partial, but one that
 * does not exist.
 */

static ngx_int_t
ngx_http_myservice_resolve_srvs(ngx_resolver_ctx_t *ctx, ngx_array_t *addrs,
    ngx_uint_t *partial)
{
    ngx_uint_t                i, j, priority;
    ngx_resolver_srv_name_t  *srv;

    priority = 65536;

    for (i = 0; i < ctx->nsrvs; i++) {
        priority = ngx_min(priority, ctx->srvs[i].priority);
    }

    for (i = 0; i < ctx->nsrvs; i++) {
        srv = &ctx->srvs[i];

        if (srv->priority != priority) {
            continue;
        }

        if (srv->state && srv->state != NGX_RESOLVE_NXDOMAIN) {
            *partial = 1;
        }

        for (j = 0; j < srv->naddrs; j++) {

            if (ngx_http_myservice_resolve_push(addrs, srv->addrs[j].sockaddr,
                                                srv->addrs[j].socklen,
                                                srv->port)
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_myservice_resolve_push(ngx_array_t *addrs, struct sockaddr *sockaddr,
    socklen_t socklen, in_port_t port)
{
    ngx_addr_t  *addr;

    addr = ngx_array_push(addrs);
    if (addr == NULL) {
        return NGX_ERROR;
    }

    addr->sockaddr = ngx_pcalloc(addrs->pool, sizeof(ngx_sockaddr_t));
    addr->name.data = ngx_pnalloc(addrs->pool, NGX_SOCKADDR_STRLEN);

    if (addr->sockaddr == NULL || addr->name.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(addr->sockaddr, sockaddr, socklen);
    ngx_inet_set_port(addr->sockaddr, port);

    addr->socklen = socklen;
    addr->name.len = ngx_sock_ntop(addr->sockaddr, socklen, addr->name.data,
                                   NGX_SOCKADDR_STRLEN, 1);

    return NGX_OK;
}
