
/*
 * An epoch never comes again: a place is used anew without harm when there are
 * more sessions than places, those of the oldest leases first.
 */

#include "store/released.h"

#include "store/conn.h"
#include "zone/epoch.h"
#include "zone/lock.h"


/* places in which a session may be */
#define MS_STORE_NEAR  16


static void ms_store_release_told(void *owner, redisReply *reply,
    void *data);
static void ms_store_released_add(ms_store_t *store, ngx_str_t *session,
    uint64_t epoch);
static ms_store_released_t *ms_store_released_find(ms_store_t *store,
    uint64_t session, ngx_uint_t add);


void
ms_store_release(ms_store_t *store, ngx_str_t *session, ngx_str_t *instance,
    uint64_t epoch, ngx_msec_t rest)
{
    ngx_int_t    rc;
    ms_resp_t   *resp;

    rc = NGX_ERROR;

    if (store->conn.ready) {
        resp = &store->conn.resp;

        ms_store_conn_begin(&store->conn, "release", 5);
        ms_resp_text(resp, session->data, session->len);
        ms_resp_text(resp, instance->data, instance->len);
        ms_resp_number(resp, epoch);
        ms_resp_number(resp, rest);
        ms_resp_word(resp, "c");

        rc = ms_store_conn_ask(&store->conn, ms_store_release_told, NULL);
    }

    ms_store_released_add(store, session, epoch);

    if (rc != NGX_OK) {
        (void) ngx_atomic_fetch_add(&store->sh->untold, 1);
    }
}


static void
ms_store_release_told(void *owner, redisReply *reply, void *data)
{
    ms_store_conn_t *sc = owner;

    if (reply == NULL || (ms_store_conn_error(sc, reply) && !sc->ready)) {
        (void) ngx_atomic_fetch_add(&sc->store->sh->untold, 1);
    }
}


static void
ms_store_released_add(ms_store_t *store, ngx_str_t *session, uint64_t epoch)
{
    ngx_uint_t            rebuilt;
    ms_pool_key_t         key;
    ms_store_released_t  *released;

    ms_zone_key(store->zone, session, &key);

    (void) ms_zone_lock(store->zone, &rebuilt);

    released = ms_store_released_find(store, key.hash, 1);

    if (released->session != key.hash || ms_epoch_later(epoch, released->epoch))
    {
        released->session = key.hash;
        released->epoch = epoch;
    }

    ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);
}


uint64_t
ms_store_released(ms_store_t *store, const ms_pool_key_t *key, uint64_t epoch)
{
    uint64_t     over;
    ms_pool_t   *pool;
    ngx_uint_t   rebuilt;

    pool = ms_zone_lock(store->zone, &rebuilt);
    over = ms_store_released_locked(store, pool, key, epoch);
    ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);

    return over;
}


uint64_t
ms_store_released_locked(ms_store_t *store, ms_pool_t *pool,
    const ms_pool_key_t *key, uint64_t epoch)
{
    ms_store_released_t  *released;

    released = ms_store_released_find(store, key->hash, 0);

    return released && !ms_epoch_later(epoch, released->epoch)
           && ms_pool_session(pool, key, ngx_current_msec) == MS_POOL_NONE
           ? released->epoch : 0;
}


/* "add": one that is not there gets a place */

static ms_store_released_t *
ms_store_released_find(ms_store_t *store, uint64_t session, ngx_uint_t add)
{
    ngx_uint_t            i, n;
    ms_store_shared_t    *sh;
    ms_store_released_t  *place, *oldest;

    sh = store->sh;
    n = ngx_min(MS_STORE_NEAR, sh->capacity);
    oldest = NULL;

    for (i = 0; i < n; i++) {
        place = &sh->marks[(session + i) % sh->capacity].released;

        if (place->epoch && place->session == session) {
            return place;
        }

        if (oldest == NULL || place->epoch < oldest->epoch) {
            oldest = place;
        }
    }

    return add ? oldest : NULL;
}
