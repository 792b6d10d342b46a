
/*
 * Where a store is.  Each worker looks the names up for itself: the resolver
 * caches the answers as long as they are valid.
 */

#include "store/names.h"

#include "core/compat.h"
#include "store/conn.h"


#define MS_STORE_PORT     6379
#define MS_STORE_DB_MAX   1023
#define MS_STORE_HOST     253
#define MS_STORE_LABEL    63

#define MS_STORE_LOOKUP   5000          /* ms, of a lookup */
#define MS_STORE_AGAIN    1000          /* ms, after one that failed */
#define MS_STORE_VALID    86400         /* seconds, at most */


static char *ms_store_url(ngx_conf_t *cf, ms_store_t *store, ngx_str_t *url,
    ngx_str_t *rest);
static ngx_uint_t ms_store_names_valid(const ngx_str_t *host);
static char *ms_store_names_resolve(ngx_conf_t *cf, ms_store_name_t *name,
    ngx_url_t *u);
static void ms_store_names_set(ms_store_name_t *name, ngx_uint_t i,
    struct sockaddr *sockaddr, socklen_t socklen);
static int ms_store_names_cmp(const void *one, const void *two);
static void ms_store_names_join(ms_store_t *store);
static void ms_store_names_ask(ngx_event_t *ev);
static void ms_store_names_answer(ngx_resolver_ctx_t *ctx);
static ngx_uint_t ms_store_names_same(ms_store_name_t *name,
    ngx_resolver_ctx_t *ctx);
static void ms_store_names_failed(ms_store_name_t *name, ngx_int_t state);


char *
ms_store_names_add(ngx_conf_t *cf, ms_store_t *store, ngx_str_t *url)
{
    char             *rv;
    ngx_url_t         u;
    ngx_str_t         rest;
    ms_store_name_t  *name;

    rv = ms_store_url(cf, store, url, &rest);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = rest;
    u.default_port = MS_STORE_PORT;
    u.no_resolve = 1;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK
        || (u.naddrs == 0 && !ms_store_names_valid(&u.host)))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"myservice_store\": invalid store \"%V\"%s%s, "
                           "expected an address or a name, and a port, as "
                           "redis://10.0.0.1:6379", url,
                           u.err ? ": " : "", u.err ? u.err : "");
        return NGX_CONF_ERROR;
    }

    if (store->names == NULL) {
        store->url = *url;
        store->names = ngx_pcalloc(cf->pool,
                                   MS_STORE_ADDRS * sizeof(ms_store_name_t));
        if (store->names == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (store->nnames == MS_STORE_ADDRS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"myservice_store\": a store can have %d "
                           "addresses", MS_STORE_ADDRS);
        return NGX_CONF_ERROR;
    }

    ngx_crc32_update(&store->site, url->data, url->len);

    name = &store->names[store->nnames++];

    name->store = store;
    name->port = u.port;
    name->host.len = u.host.len;
    name->host.data = ngx_pcalloc(cf->pool, u.host.len + 1);

    if (name->host.data == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memcpy(name->host.data, u.host.data, u.host.len);

    return ms_store_names_resolve(cf, name, &u);
}


/* "rest" is what stands between the scheme and the number of the database */

static char *
ms_store_url(ngx_conf_t *cf, ms_store_t *store, ngx_str_t *url,
    ngx_str_t *rest)
{
    u_char      *p, *last;
    ngx_int_t    db;
    ngx_uint_t   tls;

    last = url->data + url->len;

    if (ngx_strncmp(url->data, "redis://", 8) == 0) {
        p = url->data + 8;
        tls = 0;

    } else if (ngx_strncmp(url->data, "rediss://", 9) == 0) {
        p = url->data + 9;
        tls = 1;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"myservice_store\": invalid store \"%V\", "
                           "expected \"redis://\" or \"rediss://\", an "
                           "address and a port", url);
        return NGX_CONF_ERROR;
    }

    rest->data = p;
    p = ngx_strlchr(p, last, '/');
    rest->len = (p ? p : last) - rest->data;
    db = 0;

    if (p && p + 1 < last) {
        db = ngx_atoi(p + 1, last - p - 1);
    }

    if (db == NGX_ERROR || db > MS_STORE_DB_MAX
        || ngx_strlchr(rest->data, rest->data + rest->len, '@'))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"myservice_store\": invalid store \"%V\", "
                           "expected an address, a port, and a database "
                           "0-%d: \"user=\" and \"password_file=\" say who "
                           "the gateway is", url, MS_STORE_DB_MAX);
        return NGX_CONF_ERROR;
    }

    if (store->nnames && (store->tls != tls
                          || store->db != (ngx_uint_t) db))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"myservice_store\": all addresses and names of "
                           "a store have the same scheme and database, "
                           "\"%V\" has others", url);
        return NGX_CONF_ERROR;
    }

    store->tls = tls;
    store->db = db;

    return NGX_CONF_OK;
}


/* RFC 1123, and the "_" that names of containers have; what ends with digits
 * alone is an address that has a mistake */

static ngx_uint_t
ms_store_names_valid(const ngx_str_t *host)
{
    u_char      *p, *dot, *last;
    ngx_uint_t   digits;

    last = host->data + host->len;

    /* "store.test." is a name, too */

    if (host->len && last[-1] == '.') {
        last--;
    }

    if (last - host->data > MS_STORE_HOST) {
        return 0;
    }

    for (p = host->data; /* void */ ; p = dot + 1) {
        dot = ngx_strlchr(p, last, '.');
        dot = dot ? dot : last;
        digits = 1;

        if (dot == p || dot - p > MS_STORE_LABEL || *p == '-'
            || dot[-1] == '-')
        {
            return 0;
        }

        for ( /* void */ ; p < dot; p++) {

            if (!isalnum(*p) && *p != '-' && *p != '_') {
                return 0;
            }

            digits = digits && isdigit(*p);
        }

        if (dot == last) {
            return !digits;
        }
    }
}


/* as that of a "server": by the system, which may take its time; -t does not
 * ask */

static char *
ms_store_names_resolve(ngx_conf_t *cf, ms_store_name_t *name, ngx_url_t *u)
{
    ngx_uint_t   i;
    ms_store_t  *store;

    name->fixed = u->naddrs != 0;

    if (!name->fixed && !ngx_test_config
        && ngx_inet_resolve_host(cf->pool, u) != NGX_OK)
    {
        u->naddrs = 0;
    }

    store = name->store;

    if (store->naddrs + u->naddrs > MS_STORE_ADDRS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"myservice_store\": a store can have %d "
                           "addresses", MS_STORE_ADDRS);
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < u->naddrs; i++) {
        ms_store_names_set(name, i, u->addrs[i].sockaddr,
                           u->addrs[i].socklen);
    }

    name->naddrs = u->naddrs;
    ngx_qsort(name->addrs, name->naddrs, sizeof(ngx_addr_t),
              ms_store_names_cmp);

    ms_store_names_join(store);

    return NGX_CONF_OK;
}


char *
ms_store_names_init(ngx_conf_t *cf, ms_store_t *store)
{
    ngx_uint_t                 i;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->resolver && ms_resolver_first(clcf->resolver)) {
        store->resolver = clcf->resolver;
        store->resolver_timeout = clcf->resolver_timeout;
        ngx_conf_init_msec_value(store->resolver_timeout, MS_STORE_LOOKUP);

        return NGX_CONF_OK;
    }

    for (i = 0; i < store->nnames && !ngx_test_config; i++) {

        if (store->names[i].naddrs == 0) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"myservice_store\" in upstream \"%V\": host "
                          "\"%V\" was not found (\"resolver\" in \"http\" "
                          "lets nginx start and look again)",
                          &store->upstream->host, &store->names[i].host);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static void
ms_store_names_set(ms_store_name_t *name, ngx_uint_t i,
    struct sockaddr *sockaddr, socklen_t socklen)
{
    ngx_addr_t  *addr;

    addr = &name->addrs[i];

    ngx_memcpy(&name->sockaddrs[i], sockaddr, socklen);

    addr->sockaddr = &name->sockaddrs[i].sockaddr;
    addr->socklen = socklen;
    ngx_inet_set_port(addr->sockaddr, name->port);

    addr->name.data = name->texts[i];
    addr->name.len = ngx_sock_ntop(addr->sockaddr, socklen, name->texts[i],
                                   NGX_SOCKADDR_STRLEN, 1);
}


/* a name server gives the addresses in any order, and all workers of all
 * gateways are to have the same */

static int ngx_libc_cdecl
ms_store_names_cmp(const void *one, const void *two)
{
    const ngx_addr_t  *first, *second;

    first = one;
    second = two;

    if (first->socklen != second->socklen) {
        return first->socklen < second->socklen ? -1 : 1;
    }

    return ngx_memcmp(first->sockaddr, second->sockaddr, first->socklen);
}


static void
ms_store_names_join(ms_store_t *store)
{
    ngx_uint_t        i, k;
    ms_store_name_t  *name;

    store->naddrs = 0;

    for (i = 0; i < store->nnames; i++) {
        name = &store->names[i];

        for (k = 0; k < name->naddrs && store->naddrs < MS_STORE_ADDRS; k++) {
            store->addrs[store->naddrs] = &name->addrs[k];
            store->named[store->naddrs++] = name;
        }
    }
}


void
ms_store_names_start(ms_store_t *store)
{
    ngx_uint_t        i;
    ms_store_name_t  *name;

    for (i = 0; store->resolver && i < store->nnames; i++) {
        name = &store->names[i];

        if (name->fixed) {
            continue;
        }

        name->timer.handler = ms_store_names_ask;
        name->timer.data = name;
        name->timer.log = ngx_cycle->log;
        name->timer.cancelable = 1;

        ms_store_names_ask(&name->timer);
    }
}


void
ms_store_names_stop(ms_store_t *store)
{
    ngx_uint_t        i;
    ms_store_name_t  *name;

    for (i = 0; i < store->nnames; i++) {
        name = &store->names[i];

        if (name->timer.timer_set) {
            ngx_del_timer(&name->timer);
        }

        if (name->ctx) {
            ngx_resolve_name_done(name->ctx);
            name->ctx = NULL;
        }
    }
}


static void
ms_store_names_ask(ngx_event_t *ev)
{
    ms_store_name_t *name = ev->data;

    ngx_resolver_ctx_t  *ctx;

    if (ngx_exiting) {
        return;
    }

    ctx = ngx_resolve_start(name->store->resolver, NULL);

    if (ctx == NULL || ctx == NGX_NO_RESOLVER) {
        ms_store_names_failed(name, NGX_ERROR);
        return;
    }

    ctx->name = name->host;
    ctx->handler = ms_store_names_answer;
    ctx->data = name;
    ctx->timeout = name->store->resolver_timeout;
    ctx->cancelable = 1;

    /* the handler may run before this returns */

    name->ctx = ctx;

    if (ngx_resolve_name(ctx) != NGX_OK) {
        name->ctx = NULL;
        ms_store_names_failed(name, NGX_ERROR);
    }
}


static void
ms_store_names_answer(ngx_resolver_ctx_t *ctx)
{
    time_t            valid;
    ngx_uint_t        i, n, same;
    ms_store_t       *store;
    ms_store_name_t  *name;

    name = ctx->data;
    store = name->store;
    name->ctx = NULL;

    if (ctx->state || ctx->naddrs == 0) {
        ms_store_names_failed(name, ctx->state ? ctx->state
                                               : NGX_RESOLVE_NXDOMAIN);
        ngx_resolve_name_done(ctx);
        return;
    }

    store->sh->unresolved = 0;

    same = ms_store_names_same(name, ctx);

    if (!same) {
        n = ngx_min(ctx->naddrs, MS_STORE_ADDRS);

        for (i = 0; i < n; i++) {
            ms_store_names_set(name, i, ctx->addrs[i].sockaddr,
                               ctx->addrs[i].socklen);
        }

        name->naddrs = n;
        ngx_qsort(name->addrs, n, sizeof(ngx_addr_t), ms_store_names_cmp);
    }

    /* until then the resolver answers from its cache */

    valid = ngx_max(ctx->valid - ngx_time(), 0) + 1;
    valid = ngx_min(valid, MS_STORE_VALID);
    ngx_add_timer(&name->timer, (ngx_msec_t) valid * 1000);

    ngx_resolve_name_done(ctx);

    if (!same) {
        ms_store_names_join(store);
        ms_store_conn_moved(&store->conn);
        ms_store_conn_moved(&store->stream);
    }
}


static ngx_uint_t
ms_store_names_same(ms_store_name_t *name, ngx_resolver_ctx_t *ctx)
{
    ngx_uint_t  i, k;

    if (ngx_min(ctx->naddrs, MS_STORE_ADDRS) != name->naddrs) {
        return 0;
    }

    for (i = 0; i < name->naddrs; i++) {

        for (k = 0; k < ctx->naddrs; k++) {
            if (ngx_cmp_sockaddr(name->addrs[i].sockaddr,
                                 name->addrs[i].socklen,
                                 ctx->addrs[k].sockaddr,
                                 ctx->addrs[k].socklen, 0)
                == NGX_OK)
            {
                break;
            }
        }

        if (k == ctx->naddrs) {
            return 0;
        }
    }

    return 1;
}


/* one line, whichever worker fails first */

static void
ms_store_names_failed(ms_store_name_t *name, ngx_int_t state)
{
    ms_store_t  *store;

    store = name->store;

    if (ngx_atomic_cmp_set(&store->sh->unresolved, 0, 1)) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "store is not found: %s (%i), its name keeps its "
                      "addresses, name=\"%V\" store=\"%V\" upstream=\"%V\"",
                      ngx_resolver_strerror(state), state, &name->host,
                      &store->url, &store->upstream->host);
    }

    ngx_add_timer(&name->timer, MS_STORE_AGAIN);

    if (store->naddrs == 0) {
        ms_store_conn_nowhere(&store->conn);
    }
}
