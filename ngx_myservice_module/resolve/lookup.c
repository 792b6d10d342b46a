
/*
 * The lookups of an upstream's names: asks the resolver, gives the answer to
 * the zone, and asks again when the answer is no longer valid, or sooner after
 * a failure.
 */

#include "resolve/resolve.h"

#include "zone/names.h"


/* after failures: at first, and at most, in milliseconds */
#define MS_RESOLVE_RETRY  250
#define MS_RESOLVE_MAX    10000

/* seconds: a name is resolved again after a day at the latest */
#define MS_RESOLVE_VALID  86400


static void ms_resolve_work(void *data, ngx_uint_t taken);
static void ms_resolve_stop(void *data);
static void ms_resolve_ask(ngx_event_t *ev);
static void ms_resolve_handler(ngx_resolver_ctx_t *ctx);
static void ms_resolve_answer(ms_resolve_lookup_t *lookup, ngx_array_t *addrs,
    ngx_uint_t partial);
static void ms_resolve_failed(ms_resolve_lookup_t *lookup, ngx_int_t state);
static ngx_msec_t ms_resolve_delay(ms_resolve_lookup_t *lookup);
static ngx_int_t ms_resolve_addrs(ngx_resolver_ctx_t *ctx, in_port_t port,
    ngx_array_t *addrs);
static ngx_int_t ms_resolve_srvs(ngx_resolver_ctx_t *ctx, ngx_array_t *addrs,
    ngx_uint_t *partial);
static ngx_int_t ms_resolve_push(ngx_array_t *addrs, struct sockaddr *sockaddr,
    socklen_t socklen, in_port_t port);


void
ms_resolve_start(ms_resolve_t *resolve, ms_resolve_srv_conf_t *conf,
    ngx_log_t *log)
{
    ms_zone_t    *zone;
    ngx_uint_t    i;
    ngx_event_t  *ev;

    ngx_memzero(resolve, sizeof(ms_resolve_t));

    zone = conf->sessions->zone;

    resolve->conf = conf;

    for (i = 0; i < zone->nnames; i++) {
        resolve->lookups[i].resolve = resolve;
        resolve->lookups[i].n = i;

        ev = &resolve->lookups[i].timer;
        ev->handler = ms_resolve_ask;
        ev->data = &resolve->lookups[i];
        ev->log = log;
        ev->cancelable = 1;
    }

    resolve->duty.zone = zone;
    resolve->duty.owner = &zone->sh->lookup.duty;
    resolve->duty.data = resolve;
    resolve->duty.work = ms_resolve_work;
    resolve->duty.stop = ms_resolve_stop;

    ms_duty_start(&resolve->duty, log);
}


static void
ms_resolve_work(void *data, ngx_uint_t taken)
{
    ms_resolve_t *resolve = data;

    ngx_uint_t  i;

    if (!taken) {
        return;
    }

    for (i = 0; i < resolve->conf->sessions->zone->nnames; i++) {
        resolve->lookups[i].failed = 0;
        ms_resolve_ask(&resolve->lookups[i].timer);
    }
}


static void
ms_resolve_stop(void *data)
{
    ms_resolve_t *resolve = data;

    ngx_uint_t            i;
    ms_resolve_lookup_t  *lookup;

    for (i = 0; i < resolve->conf->sessions->zone->nnames; i++) {
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
ms_resolve_ask(ngx_event_t *ev)
{
    ms_resolve_lookup_t *lookup = ev->data;

    ngx_resolver_ctx_t     *ctx;
    ms_resolve_name_t      *name;
    ms_resolve_srv_conf_t  *conf;

    conf = lookup->resolve->conf;

    if (ngx_exiting) {
        ms_duty_leave(&lookup->resolve->duty);
        return;
    }

    name = conf->names[lookup->n];

    ctx = ngx_resolve_start(name->resolver, NULL);

    if (ctx == NULL || ctx == NGX_NO_RESOLVER) {
        ms_resolve_failed(lookup, NGX_ERROR);
        return;
    }

    ctx->name = name->host;
    ctx->service = name->service;
    ctx->handler = ms_resolve_handler;
    ctx->data = lookup;
    ctx->timeout = conf->timeout;
    ctx->cancelable = 1;

    /* the handler may run before this returns */

    lookup->ctx = ctx;
    lookup->since = ngx_current_msec;

    if (ngx_resolve_name(ctx) != NGX_OK) {
        lookup->ctx = NULL;
        ms_resolve_failed(lookup, NGX_ERROR);
    }
}


static void
ms_resolve_handler(ngx_resolver_ctx_t *ctx)
{
    time_t                valid;
    ngx_int_t             rc, state;
    ngx_uint_t            partial;
    ngx_pool_t           *pool;
    ngx_array_t           addrs;
    ms_resolve_name_t    *name;
    ms_resolve_lookup_t  *lookup;

    lookup = ctx->data;
    lookup->ctx = NULL;
    name = lookup->resolve->conf->names[lookup->n];

    ms_counts_time(&lookup->resolve->conf->sessions->zone->counts->lookup,
                   &ms_times_default, ngx_current_msec - lookup->since);

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
         ? ms_resolve_srvs(ctx, &addrs, &partial)
         : ms_resolve_addrs(ctx, name->port, &addrs);

    if (rc != NGX_OK) {
        state = NGX_ERROR;

    } else if (addrs.nelts == 0) {
        state = partial ? NGX_RESOLVE_SERVFAIL : NGX_RESOLVE_NXDOMAIN;
    }

done:

    ngx_resolve_name_done(ctx);

    if (state) {
        ms_resolve_failed(lookup, state);

    } else {
        ms_resolve_answer(lookup, &addrs, partial);

        /* until then the resolver answers from its cache */

        valid = ngx_max(valid, 0) + 1;
        valid = ngx_min(valid, MS_RESOLVE_VALID);

        ngx_add_timer(&lookup->timer,
                      partial ? ms_resolve_delay(lookup)
                              : (ngx_msec_t) valid * 1000
                                + ngx_random() % (valid * 10 + 1));
    }

    if (pool) {
        ngx_destroy_pool(pool);
    }
}


static void
ms_resolve_answer(ms_resolve_lookup_t *lookup, ngx_array_t *addrs,
    ngx_uint_t partial)
{
    ms_change_t             change;
    ms_resolve_name_t      *name;
    ms_resolve_srv_conf_t  *conf;

    conf = lookup->resolve->conf;
    name = conf->names[lookup->n];

    if (!partial) {
        lookup->failed = 0;

    } else if (lookup->failed == 0) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "name is resolved in part: targets have no address, its "
                      "instances stay, name=\"%V\" upstream=\"%V\"",
                      &name->name.text, &conf->upstream->host);
    }

    if (ms_names_resolved(conf->sessions->zone, lookup->n,
                          addrs->elts, addrs->nelts, partial,
                          &change, ngx_cycle->log)
        != NGX_OK)
    {
        return;
    }

    if (change.joined || change.left || change.again) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "name is resolved: has %ui instances, %ui joined, %ui "
                      "left, name=\"%V\" upstream=\"%V\"", change.members,
                      change.joined, change.left, &name->name.text,
                      &conf->upstream->host);
    }
}


/* only the first failure is a warning */

static void
ms_resolve_failed(ms_resolve_lookup_t *lookup, ngx_int_t state)
{
    ngx_int_t               last;
    ngx_uint_t              level;
    ms_resolve_name_t      *name;
    ms_resolve_srv_conf_t  *conf;

    conf = lookup->resolve->conf;
    name = conf->names[lookup->n];

    last = ms_names_unresolved(conf->sessions->zone, lookup->n, state,
                               ngx_cycle->log);

    level = last == NGX_OK ? NGX_LOG_WARN : NGX_LOG_INFO;

    ngx_log_error(level, ngx_cycle->log, 0,
                  "name is not resolved: %s (%i), its instances stay, "
                  "name=\"%V\" upstream=\"%V\"",
                  ngx_resolver_strerror(state), state, &name->name.text,
                  &conf->upstream->host);

    ngx_add_timer(&lookup->timer, ms_resolve_delay(lookup));
}


/* longer each time */

static ngx_msec_t
ms_resolve_delay(ms_resolve_lookup_t *lookup)
{
    ngx_msec_t  delay;

    delay = MS_RESOLVE_RETRY << ngx_min(lookup->failed, 8);
    delay = ngx_min(delay, MS_RESOLVE_MAX);

    lookup->failed++;

    return delay - ngx_random() % (delay / 4 + 1);
}


static ngx_int_t
ms_resolve_addrs(ngx_resolver_ctx_t *ctx, in_port_t port, ngx_array_t *addrs)
{
    ngx_uint_t  i;

    for (i = 0; i < ctx->naddrs; i++) {

        if (ms_resolve_push(addrs, ctx->addrs[i].sockaddr,
                            ctx->addrs[i].socklen, port)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * RFC 2782: the targets of the lowest priority number are used.  The answer is
 * partial if the address of a target could not be found; a target that does
 * not exist is left out.
 */

static ngx_int_t
ms_resolve_srvs(ngx_resolver_ctx_t *ctx, ngx_array_t *addrs,
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

            if (ms_resolve_push(addrs, srv->addrs[j].sockaddr,
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
ms_resolve_push(ngx_array_t *addrs, struct sockaddr *sockaddr,
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
