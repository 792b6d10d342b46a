
/*
 * A lease that is to move and that the store does not know as such is marked
 * with its epoch.  Marks change under the zone's lock.
 */

#include "store/moves.h"

#include "core/session_text.h"
#include "store/conn.h"
#include "store/leases.h"
#include "zone/events.h"
#include "zone/lock.h"


/* marks that one look under the lock reads */
#define MS_STORE_SLICE  512


typedef struct {
    uint32_t             instance;
    uint64_t             epoch;
    ngx_str_t            name;
    ngx_str_t            session;
    u_char               names[MS_POOL_NAME_MAX];
    u_char               sessions[MS_POOL_SESSION_MAX];
} ms_store_leaves_t;


static void ms_store_leaves_mark(ms_store_t *store, uint32_t instance,
    uint64_t epoch);
static ngx_uint_t ms_store_leaves_next(ms_store_t *store,
    ms_store_leaves_t *leaves);
static void ms_store_leaves_told(void *owner, redisReply *reply, void *data);
static uint32_t ms_store_leaves_find(ms_pool_t *pool, ngx_str_t *session,
    ngx_str_t *instance, uint64_t epoch, ms_instance_info_t *info);


static const ngx_str_t  ms_store_operator = ngx_string("operator");


void
ms_store_move(ms_zone_t *zone, ngx_str_t *session)
{
    ms_store_t        *store;
    ngx_uint_t         rebuilt;
    ms_pool_key_t      key;
    ms_store_lease_t   lease;

    store = ms_store_of(zone->upstream);

    if (store == NULL) {
        return;
    }

    ms_zone_key(zone, session, &key);

    if (ms_store_lease(store, &key, &lease) != NGX_OK || !lease.moves) {
        return;
    }

    (void) ms_zone_lock(zone, &rebuilt);
    ms_store_leaves_mark(store, lease.instance, lease.epoch);
    ms_zone_unlock(zone, rebuilt, ngx_cycle->log);

    store->move_from = 0;

    ms_store_moves_tell(store);
}


/* the caller holds the lock */

static void
ms_store_leaves_mark(ms_store_t *store, uint32_t instance, uint64_t epoch)
{
    if (instance < store->sh->capacity) {
        store->sh->marks[instance].leaves = epoch;
        (void) ngx_atomic_fetch_add(&store->sh->leaving, 1);
    }
}


void
ms_store_leaves(ms_store_t *store, ngx_str_t *session, ngx_str_t *instance,
    uint64_t epoch)
{
    uint32_t             id;
    ms_pool_t           *pool;
    ngx_uint_t           moves, rebuilt;
    ms_session_log_t     log;
    ms_instance_info_t   info;

    moves = 0;
    pool = ms_zone_lock(store->zone, &rebuilt);

    id = ms_store_leaves_find(pool, session, instance, epoch, &info);

    if (id != MS_POOL_NONE && !info.moves) {
        ms_pool_leave(pool, id);
        ms_pool_info(pool, id, &info);
        moves = info.moves;
    }

    ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);

    if (!moves) {
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "operator of another gateway moves a session, "
                  "session=\"%V\" from=\"%V\" upstream=\"%V\"",
                  ms_session_log(session, &log), instance,
                  &store->upstream->host);
    ms_events_add(store->zone, MS_EVENT_MOVES, instance, session,
                  &ms_store_operator);
}


void
ms_store_stays(ms_store_t *store, ngx_str_t *session, ngx_str_t *instance,
    uint64_t epoch)
{
    uint32_t             id;
    ms_pool_t           *pool;
    ngx_uint_t           rebuilt;
    ms_instance_info_t   info;

    pool = ms_zone_lock(store->zone, &rebuilt);

    id = ms_store_leaves_find(pool, session, instance, epoch, &info);

    if (id != MS_POOL_NONE) {
        (void) ms_pool_stay(pool, id);
    }

    ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);
}


/* the instance that has that lease, MS_POOL_NONE if none has */

static uint32_t
ms_store_leaves_find(ms_pool_t *pool, ngx_str_t *session, ngx_str_t *instance,
    uint64_t epoch, ms_instance_info_t *info)
{
    uint32_t  id;

    id = ms_pool_find(pool, (char *) instance->data, instance->len);

    if (id == MS_POOL_NONE) {
        return MS_POOL_NONE;
    }

    ms_pool_info(pool, id, info);

    return info->lease && !info->foreign && info->epoch == epoch
           && info->session_len == session->len
           && ngx_memcmp(info->session, session->data, session->len) == 0
           ? id : MS_POOL_NONE;
}


ngx_uint_t
ms_store_stay(ms_store_t *store, ms_pool_key_t *key, ngx_uint_t again)
{
    uint32_t             own;
    ms_pool_t           *pool;
    ngx_uint_t           stays, rebuilt;
    ms_instance_info_t   info;

    stays = 0;
    pool = ms_zone_lock(store->zone, &rebuilt);

    own = ms_pool_session(pool, key, ngx_current_msec);

    if (own != MS_POOL_NONE && ms_pool_stay(pool, own)) {
        stays = 1;

        if (again) {
            ms_pool_info(pool, own, &info);
            ms_store_leaves_mark(store, own, info.epoch);
        }
    }

    ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);

    return stays;
}


void
ms_store_moves_tell(ms_store_t *store)
{
    ms_resp_t          *resp;
    ms_store_leaves_t  *leaves;

    if (store->sh->leaving == 0 || store->moving || !store->conn.ready) {
        return;
    }

    leaves = ngx_alloc(sizeof(ms_store_leaves_t), ngx_cycle->log);
    if (leaves == NULL) {
        return;
    }

    if (store->move_from == 0) {
        store->move_until = store->sh->leaving;
    }

    if (!ms_store_leaves_next(store, leaves)) {
        (void) ngx_atomic_cmp_set(&store->sh->leaving, store->move_until, 0);
        ngx_free(leaves);
        return;
    }

    /* it may stay marked: there is one more look */

    (void) ngx_atomic_fetch_add(&store->sh->leaving, 1);

    resp = &store->conn.resp;

    ms_store_conn_begin(&store->conn, "move", 3);
    ms_resp_text(resp, leaves->session.data, leaves->session.len);
    ms_resp_text(resp, leaves->name.data, leaves->name.len);
    ms_resp_number(resp, leaves->epoch);

    if (ms_store_conn_ask(&store->conn, ms_store_leaves_told, leaves)
        != NGX_OK)
    {
        ngx_free(leaves);
        return;
    }

    store->moving = 1;
}


/* The next lease that is marked, from "move_from" on, which is 0 again at the
 * end; a mark of one that has ended goes.  0: there is none. */

static ngx_uint_t
ms_store_leaves_next(ms_store_t *store, ms_store_leaves_t *leaves)
{
    uint32_t             i, last, limit;
    ms_pool_t           *pool;
    ngx_uint_t           found, rebuilt;
    ms_store_mark_t     *mark;
    ms_instance_info_t   info;

    found = 0;
    i = store->move_from;

    do {
        pool = ms_zone_lock(store->zone, &rebuilt);

        limit = ngx_min(ms_pool_limit(pool), store->sh->capacity);
        last = ngx_min(limit, i + MS_STORE_SLICE);

        for ( /* void */ ; i < last && !found; i++) {
            mark = &store->sh->marks[i];

            if (mark->leaves == 0) {
                continue;
            }

            ms_pool_info(pool, i, &info);

            if (info.lease == 0 || info.foreign || info.epoch != mark->leaves
                || info.session_len == 0)
            {
                mark->leaves = 0;
                continue;
            }

            leaves->instance = i;
            leaves->epoch = info.epoch;
            leaves->name.data = leaves->names;
            leaves->name.len = info.name_len;
            ngx_memcpy(leaves->names, info.name, info.name_len);
            leaves->session.data = leaves->sessions;
            leaves->session.len = info.session_len;
            ngx_memcpy(leaves->sessions, info.session, info.session_len);
            found = 1;
        }

        ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);

    } while (!found && i < limit);

    store->move_from = found ? i : 0;

    return found;
}


static void
ms_store_leaves_told(void *owner, redisReply *reply, void *data)
{
    ms_store_conn_t *sc = owner;
    ms_store_leaves_t *leaves = data;

    ms_pool_t           *pool;
    ms_store_t          *store;
    ngx_uint_t           told, again, rebuilt;
    ms_store_mark_t     *mark;
    const redisReply    *what;
    ms_instance_info_t   info;

    again = 0;
    store = sc->store;
    store->moving = 0;

    if (reply == NULL || ms_store_conn_error(sc, reply)) {

        /* the worker that has the duty tells it again */

        goto done;
    }

    what = ms_resp_element(reply, 0);

    if (what == NULL) {
        ms_store_conn_close(sc, "an answer was not understood");
        goto done;
    }

    again = 1;
    told = ngx_strcmp(what->str, "ok") == 0;

    pool = ms_zone_lock(store->zone, &rebuilt);

    mark = &store->sh->marks[leaves->instance];
    ms_pool_info(pool, leaves->instance, &info);

    if (mark->leaves == leaves->epoch) {

        if (told && info.lease && !info.foreign
            && info.epoch == leaves->epoch)
        {
            /* it may have stayed while the store was away */

            ms_pool_leave(pool, leaves->instance);
        }

        /* a lease that the store has lost is entered again first */

        if (told || info.moves
            || (mark->lease == info.lease && mark->known != MS_STORE_MISSED))
        {
            mark->leaves = 0;
        }
    }

    ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);

done:

    ngx_free(leaves);

    if (again) {
        ms_store_moves_tell(store);
    }
}
