
/*
 * The families of a store: lines only of upstreams that have one.
 */

#include "operator/metrics_store.h"

#include "store/store.h"


static ngx_uint_t ms_metrics_stored(ms_metrics_upstream_t *u);
static ngx_uint_t ms_metrics_store_read(ms_metrics_upstream_t *u);

static uint64_t ms_metrics_store_age(ms_metrics_t *m,
    ms_metrics_upstream_t *u, ngx_uint_t n);
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
      ms_metrics_each,
      .with = ms_metrics_stored,
      .value = ms_metrics_store_connected },
    { "myservice_store_claims_total", "counter",
      "questions to the store which instance a session has, by result",
      ms_metrics_each,
      .with = ms_metrics_stored,
      .label = "result", .end = 5,
      .texts = ms_metrics_claims,
      .value = ms_metrics_store_claims },
    { "myservice_store_claim_seconds", "histogram",
      "how long the store took to answer such a question",
      ms_metrics_times,
      .scale = &ms_times_short,
      .counts = offsetof(ms_counts_t, stored) },
    { "myservice_store_leases_total", "counter",
      "leases that were told to the store, or ended by it",
      ms_metrics_each,
      .with = ms_metrics_stored,
      .label = "result", .end = 3,
      .texts = ms_metrics_leases,
      .value = ms_metrics_store_leases },
    { "myservice_store_changes_total", "counter",
      "changes by other gateways that were read",
      ms_metrics_each,
      .with = ms_metrics_stored,
      .value = ms_metrics_store_changes },
    { "myservice_store_changes_age_seconds", "gauge",
      "time since the store was last asked for changes, and answered",
      ms_metrics_each,
      .with = ms_metrics_store_read,
      .value = ms_metrics_store_age, .seconds = 1 },
    { "myservice_store_connects_total", "counter",
      "connections to the store that workers have made",
      ms_metrics_each,
      .with = ms_metrics_stored,
      .value = ms_metrics_store_connects },
    { "myservice_store_errors_total", "counter",
      "answers of the store that were errors",
      ms_metrics_each,
      .with = ms_metrics_stored,
      .value = ms_metrics_store_errors },
    { .name = NULL }
};


static ngx_uint_t
ms_metrics_stored(ms_metrics_upstream_t *u)
{
    return ms_store_of(u->zone->upstream) != NULL;
}


static ngx_uint_t
ms_metrics_store_read(ms_metrics_upstream_t *u)
{
    return ms_metrics_stored(u) && ms_store_of(u->zone->upstream)->sh->read;
}


static uint64_t
ms_metrics_store_age(ms_metrics_t *m, ms_metrics_upstream_t *u, ngx_uint_t n)
{
    ngx_msec_int_t  age;

    /* the clock of the worker that reads may be ahead */
    age = ngx_current_msec - ms_store_of(u->zone->upstream)->sh->read;

    return ngx_max(age, 0);
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
