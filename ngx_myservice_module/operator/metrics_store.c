
/*
 * The families of a store: lines only of upstreams that have one.
 */

#include "operator/metrics_store.h"

#include "store/store.h"


static ngx_int_t ms_metrics_store_each(ms_metrics_t *m,
    const ms_metrics_family_t *family);
static ngx_int_t ms_metrics_store_age(ms_metrics_t *m,
    const ms_metrics_family_t *family);

static uint64_t ms_metrics_store_connected(ms_metrics_t *m,
    ms_metrics_upstream_t *u, ngx_uint_t n);
static uint64_t ms_metrics_store_claims(ms_metrics_t *m,
    ms_metrics_upstream_t *u, ngx_uint_t n);
static uint64_t ms_metrics_store_leases(ms_metrics_t *m,
    ms_metrics_upstream_t *u, ngx_uint_t n);
static uint64_t ms_metrics_store_changes(ms_metrics_t *m,
    ms_metrics_upstream_t *u, ngx_uint_t n);
static uint64_t ms_metrics_store_connects(ms_metrics_t *m,
    ms_metrics_upstream_t *u, ngx_uint_t n);
static uint64_t ms_metrics_store_errors(ms_metrics_t *m,
    ms_metrics_upstream_t *u, ngx_uint_t n);


static const char *const  ms_metrics_claims[] = {
    "own", "given", "denied", "limited", "busy", "unavailable"
};

static const char *const  ms_metrics_leases[] = {
    "renewed", "entered", "ended"
};


const ms_metrics_family_t  ms_metrics_store[] = {

    { "myservice_store_connected", "gauge",
      "1: the last that a worker saw of the store was a connection; or 0",
      ms_metrics_store_each,
      .value = ms_metrics_store_connected },
    { "myservice_store_claims_total", "counter",
      "questions to the store which instance a session has, by result",
      ms_metrics_store_each,
      .label = "result", .end = 5,
      .texts = ms_metrics_claims,
      .value = ms_metrics_store_claims },
    { "myservice_store_claim_seconds", "histogram",
      "how long the store took to answer such a question",
      ms_metrics_times,
      .scale = &ms_times_short,
      .times = offsetof(ms_counts_t, stored) },
    { "myservice_store_leases_total", "counter",
      "leases that were told to the store, or ended by it",
      ms_metrics_store_each,
      .label = "result", .end = 3,
      .texts = ms_metrics_leases,
      .value = ms_metrics_store_leases },
    { "myservice_store_changes_total", "counter",
      "changes by other gateways that were read",
      ms_metrics_store_each,
      .value = ms_metrics_store_changes },
    { "myservice_store_changes_age_seconds", "gauge",
      "time since the store was last asked for changes, and answered",
      ms_metrics_store_age, .label = NULL },
    { "myservice_store_connects_total", "counter",
      "connections to the store that workers have made",
      ms_metrics_store_each,
      .value = ms_metrics_store_connects },
    { "myservice_store_errors_total", "counter",
      "answers of the store that were errors",
      ms_metrics_store_each,
      .value = ms_metrics_store_errors },
    { .name = NULL }
};


/* a line for each text of the label, or one without */

static ngx_int_t
ms_metrics_store_each(ms_metrics_t *m, const ms_metrics_family_t *family)
{
    u_char                 *p;
    ngx_uint_t              i, n;
    ms_metrics_upstream_t  *u;

    for (i = 0; i < m->n; i++) {
        u = &m->upstreams[i];

        if (ms_store_of(u->zone->upstream) == NULL) {
            continue;
        }

        for (n = 0; n < ngx_max(family->end, 1); n++) {
            p = ms_page_room(&m->page, MS_METRICS_LINE + u->label.len);
            if (p == NULL) {
                return NGX_ERROR;
            }

            p = ngx_sprintf(p, "%s{upstream=\"%V\"", family->name, &u->label);

            if (family->label) {
                p = ngx_sprintf(p, ",%s=\"%s\"", family->label,
                                family->texts[n]);
            }

            m->page.buf->last = ngx_sprintf(p, "} %uL\n",
                                            family->value(m, u, n));
        }
    }

    return NGX_OK;
}


static ngx_int_t
ms_metrics_store_age(ms_metrics_t *m, const ms_metrics_family_t *family)
{
    ngx_uint_t              i;
    ngx_msec_t              read;
    ngx_msec_int_t          age;
    ms_store_t             *store;
    ms_metrics_upstream_t  *u;

    for (i = 0; i < m->n; i++) {
        u = &m->upstreams[i];
        store = ms_store_of(u->zone->upstream);
        read = store ? store->sh->read : 0;

        if (read == 0) {
            continue;
        }

        /* the clock of the worker that reads may be ahead */

        age = ngx_current_msec - read;

        if (ms_metrics_time(m, family, u, ngx_max(age, 0)) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static uint64_t
ms_metrics_store_connected(ms_metrics_t *m, ms_metrics_upstream_t *u,
    ngx_uint_t n)
{
    return ms_store_of(u->zone->upstream)->sh->connected == 1;
}


static uint64_t
ms_metrics_store_claims(ms_metrics_t *m, ms_metrics_upstream_t *u,
    ngx_uint_t n)
{
    ms_store_counts_t  *counts;

    counts = &ms_store_of(u->zone->upstream)->sh->counts;

    switch (n) {

    case 0:
        return counts->own;

    case 1:
        return counts->given;

    case 2:
        return counts->denied;

    case 3:
        return counts->limited;

    case 4:
        return counts->busy;

    default:
        return counts->unavailable;
    }
}


static uint64_t
ms_metrics_store_leases(ms_metrics_t *m, ms_metrics_upstream_t *u,
    ngx_uint_t n)
{
    ms_store_counts_t  *counts;

    counts = &ms_store_of(u->zone->upstream)->sh->counts;

    return n == 0 ? counts->renewed : n == 1 ? counts->asserted
                                             : counts->lost;
}


static uint64_t
ms_metrics_store_changes(ms_metrics_t *m, ms_metrics_upstream_t *u,
    ngx_uint_t n)
{
    return ms_store_of(u->zone->upstream)->sh->counts.changes;
}


static uint64_t
ms_metrics_store_connects(ms_metrics_t *m, ms_metrics_upstream_t *u,
    ngx_uint_t n)
{
    return ms_store_of(u->zone->upstream)->sh->counts.connects;
}


static uint64_t
ms_metrics_store_errors(ms_metrics_t *m, ms_metrics_upstream_t *u,
    ngx_uint_t n)
{
    return ms_store_of(u->zone->upstream)->sh->counts.errors;
}
