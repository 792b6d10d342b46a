
/*
 * Counters in shared memory, so that any worker can tell those of all.  Each
 * worker has a slot of its own; after a reload an old and a new worker share
 * one for a while.
 */

#include "ngx_http_myservice_jwt.h"


#define NGX_HTTP_MYSERVICE_JWT_SLOTS  64


typedef struct {
    ngx_atomic_t                n[NGX_HTTP_MYSERVICE_JWT_COUNTERS];
    u_char                      padding[64];    /* a cache line apart */
} ngx_http_myservice_jwt_slot_t;


static ngx_int_t ngx_http_myservice_jwt_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static u_char *ngx_http_myservice_jwt_json_counter(u_char *p,
    ngx_http_myservice_jwt_slot_t *slots, const char *name, ngx_uint_t n);
static uint64_t ngx_http_myservice_jwt_sum(
    ngx_http_myservice_jwt_slot_t *slots, ngx_uint_t n);


static ngx_str_t  ngx_http_myservice_jwt_zone_name =
    ngx_string("ngx_http_myservice_jwt");

/* of this worker */
static ngx_http_myservice_jwt_slot_t  *ngx_http_myservice_jwt_slot;


ngx_int_t
ngx_http_myservice_jwt_add_zone(ngx_conf_t *cf,
    ngx_http_myservice_jwt_main_conf_t *jmcf)
{
    size_t  size;

    /* the slots, and what the allocator itself needs */

    size = NGX_HTTP_MYSERVICE_JWT_SLOTS * sizeof(ngx_http_myservice_jwt_slot_t)
           + 16 * ngx_pagesize;

    jmcf->zone = ngx_shared_memory_add(cf, &ngx_http_myservice_jwt_zone_name,
                                       ngx_align(size, ngx_pagesize),
                                       &ngx_http_myservice_jwt_module);
    if (jmcf->zone == NULL) {
        return NGX_ERROR;
    }

    jmcf->zone->init = ngx_http_myservice_jwt_init_zone;

    return NGX_OK;
}


static ngx_int_t
ngx_http_myservice_jwt_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_slab_pool_t  *shpool;

    if (data) {
        shm_zone->data = data;
        return NGX_OK;
    }

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (shm_zone->shm.exists) {
        shm_zone->data = shpool->data;
        return NGX_OK;
    }

    shpool->data = ngx_slab_calloc(shpool, NGX_HTTP_MYSERVICE_JWT_SLOTS
                                   * sizeof(ngx_http_myservice_jwt_slot_t));
    if (shpool->data == NULL) {
        return NGX_ERROR;
    }

    shm_zone->data = shpool->data;

    return NGX_OK;
}


void
ngx_http_myservice_jwt_open_stats(ngx_http_myservice_jwt_main_conf_t *jmcf)
{
    ngx_http_myservice_jwt_slot_t  *slots;

    slots = jmcf->zone->data;

    ngx_http_myservice_jwt_slot =
                             &slots[ngx_worker % NGX_HTTP_MYSERVICE_JWT_SLOTS];
}


void
ngx_http_myservice_jwt_count(ngx_uint_t n, ngx_uint_t times)
{
    (void) ngx_atomic_fetch_add(&ngx_http_myservice_jwt_slot->n[n], times);
}


u_char *
ngx_http_myservice_jwt_json(u_char *p, ngx_http_request_t *r)
{
    ngx_uint_t                           i;
    ngx_http_myservice_jwt_slot_t       *slots;
    ngx_http_myservice_jwt_main_conf_t  *jmcf;

    jmcf = ngx_http_get_module_main_conf(r, ngx_http_myservice_jwt_module);
    slots = jmcf->zone->data;

    p = ngx_cpymem(p, "{\"answers\":{", 12);

    for (i = 0; i < NGX_HTTP_MYSERVICE_JWT_REASONS; i++) {
        p = ngx_http_myservice_jwt_json_counter(p, slots,
                               ngx_http_myservice_jwt_answer(i).name, i);
    }

    p[-1] = '}';
    p = ngx_cpymem(p, ",\"cache\":{", 10);

    p = ngx_http_myservice_jwt_json_counter(p, slots, "hits",
                                            NGX_HTTP_MYSERVICE_JWT_HITS);
    p = ngx_http_myservice_jwt_json_counter(p, slots, "misses",
                                            NGX_HTTP_MYSERVICE_JWT_MISSES);
    p = ngx_http_myservice_jwt_json_counter(p, slots, "evictions",
                                            NGX_HTTP_MYSERVICE_JWT_EVICTIONS);
    p[-1] = '}';
    p = ngx_cpymem(p, ",\"keys\":{", 9);

    p = ngx_http_myservice_jwt_json_counter(p, slots, "updates",
                                            NGX_HTTP_MYSERVICE_JWT_UPDATES);
    p = ngx_http_myservice_jwt_json_counter(p, slots, "failures",
                                            NGX_HTTP_MYSERVICE_JWT_FAILURES);
    p[-1] = '}';
    *p++ = '}';

    return p;
}


static u_char *
ngx_http_myservice_jwt_json_counter(u_char *p,
    ngx_http_myservice_jwt_slot_t *slots, const char *name, ngx_uint_t n)
{
    return ngx_sprintf(p, "\"%s\":%uL,", name,
                       ngx_http_myservice_jwt_sum(slots, n));
}


static uint64_t
ngx_http_myservice_jwt_sum(ngx_http_myservice_jwt_slot_t *slots, ngx_uint_t n)
{
    uint64_t    sum;
    ngx_uint_t  i;

    sum = 0;

    for (i = 0; i < NGX_HTTP_MYSERVICE_JWT_SLOTS; i++) {
        sum += slots[i].n[n];
    }

    return sum;
}
