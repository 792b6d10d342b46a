
/*
 * The word that an instance was added is in its mark.  One that was removed may
 * have no mark: those words have a list of their own, which keeps the latest.
 * All change under the zone's lock.
 */

#include "store/members.h"

#include "store/drains.h"
#include "zone/lock.h"
#include "zone/operator.h"


#define MS_STORE_REFUSED  60000         /* ms from one line to the next */


static uint64_t ms_store_member_last(ms_store_t *store, ms_pool_t *pool,
    ngx_str_t *instance, ms_store_mark_t **mark);
static void ms_store_member_said(ms_store_t *store, ms_pool_t *pool,
    ngx_str_t *instance, ngx_uint_t added, uint64_t stamp, ngx_uint_t round);
static ms_store_removed_t *ms_store_removed(ms_store_t *store,
    ngx_str_t *instance);
static void ms_store_removed_add(ms_store_t *store, ngx_str_t *instance,
    uint64_t stamp, ngx_uint_t round);
static ngx_int_t ms_store_member_change(ms_store_t *store,
    ngx_str_t *instance, ngx_addr_t *addr, uint64_t stamp);
static void ms_store_member_refused(ms_store_t *store, ngx_str_t *instance,
    const char *why);


ngx_int_t
ms_store_member_add(ms_store_t *store, ngx_addr_t *addr)
{
    uint32_t             id;
    uint64_t             last;
    ngx_int_t            rc;
    ms_pool_t           *pool;
    ngx_uint_t           rebuilt;
    ms_store_mark_t     *mark;
    ms_instance_info_t   info;

    pool = ms_zone_lock(store->zone, &rebuilt);

    last = ms_store_member_last(store, pool, &addr->name, &mark);
    rc = ms_zone_join_locked(store->zone, pool, addr);

    if (rc != NGX_ERROR) {
        ms_store_member_said(store, pool, &addr->name, 1,
                             ms_store_stamp(last), 0);
    }

    if (rc == NGX_OK) {

        /* also whether it drains: it may have drained before it was removed */

        id = ms_pool_find(pool, (char *) addr->name.data, addr->name.len);
        ms_pool_info(pool, id, &info);
        mark = ms_store_word_mark(store, id, &info);
        mark->drain.stamp = ms_store_stamp(mark->drain.stamp);
        mark->drain.word = info.held ? 'd' : '-';
        mark->drain.told = 0;
    }

    ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);

    return rc;
}


ngx_int_t
ms_store_member_remove(ms_store_t *store, ngx_str_t *instance,
    ngx_uint_t force)
{
    uint64_t          last;
    ngx_int_t         rc;
    ms_pool_t        *pool;
    ngx_uint_t        rebuilt;
    ms_store_mark_t  *mark;

    pool = ms_zone_lock(store->zone, &rebuilt);

    last = ms_store_member_last(store, pool, instance, &mark);
    rc = ms_zone_remove_locked(store->zone, pool, instance, force);

    if (rc == NGX_OK) {
        ms_store_member_said(store, pool, instance, 0, ms_store_stamp(last),
                             0);
    }

    ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);

    return rc;
}


void
ms_store_member_heard(ms_store_t *store, ngx_str_t *instance,
    ngx_uint_t added, uint64_t stamp)
{
    ngx_int_t    rc;
    ngx_addr_t   addr;
    ngx_pool_t  *temp;

    if (instance->len == 0 || instance->len > MS_POOL_NAME_MAX) {
        return;
    }

    temp = NULL;

    if (added) {
        temp = ngx_create_pool(1024, ngx_cycle->log);
        if (temp == NULL) {
            return;
        }

        if (ms_zone_address(temp, instance, &addr) != NGX_OK
            || addr.name.len != instance->len
            || ngx_memcmp(addr.name.data, instance->data, instance->len) != 0)
        {
            ms_store_member_refused(store, instance, "its name is no address");
            ngx_destroy_pool(temp);
            return;
        }
    }

    rc = ms_store_member_change(store, instance, added ? &addr : NULL, stamp);

    if (temp) {
        ngx_destroy_pool(temp);
    }

    if (rc == NGX_ERROR) {
        store->sh->lacks = ngx_max(ngx_current_msec, 1);
        ms_store_member_refused(store, instance, "the zone is full");
        return;
    }

    if (rc != NGX_OK) {
        return;
    }

    if (added) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "operator of another gateway adds an instance, "
                      "instance=\"%V\" upstream=\"%V\"", instance,
                      &store->upstream->host);

    } else {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "operator of another gateway removes an instance, "
                      "instance=\"%V\" upstream=\"%V\"", instance,
                      &store->upstream->host);
    }
}


/* Without an address the instance is removed.  NGX_DECLINED: that is no change,
 * NGX_ERROR: there is no room. */

static ngx_int_t
ms_store_member_change(ms_store_t *store, ngx_str_t *instance,
    ngx_addr_t *addr, uint64_t stamp)
{
    ngx_int_t         rc;
    ms_pool_t        *pool;
    ngx_uint_t        rebuilt;
    ms_store_mark_t  *mark;

    rc = NGX_DECLINED;
    pool = ms_zone_lock(store->zone, &rebuilt);

    if (stamp >= ms_store_member_last(store, pool, instance, &mark)) {

        if (addr) {
            rc = ms_zone_join_locked(store->zone, pool, addr);

        } else if (mark && mark->member.stamp) {
            rc = ms_zone_remove_locked(store->zone, pool, instance, 0);
        }

        if (rc != NGX_ERROR) {
            ms_store_member_said(store, pool, instance, addr != NULL, stamp,
                                 store->sh->round);
        }
    }

    ms_zone_unlock(store->zone, rebuilt, ngx_cycle->log);

    return rc;
}


/* the stamp of the last word that is known, 0: none; and the mark, NULL if it is
 * no member */

static uint64_t
ms_store_member_last(ms_store_t *store, ms_pool_t *pool, ngx_str_t *instance,
    ms_store_mark_t **mark)
{
    uint32_t             id;
    ms_instance_info_t   info;
    ms_store_removed_t  *removed;

    *mark = NULL;
    id = ms_pool_find(pool, (char *) instance->data, instance->len);

    if (id != MS_POOL_NONE) {
        ms_pool_info(pool, id, &info);
        *mark = ms_store_word_mark(store, id, &info);

        if ((*mark)->member.stamp) {
            return (*mark)->member.stamp;
        }
    }

    removed = ms_store_removed(store, instance);

    return removed ? removed->said.stamp : 0;
}


static void
ms_store_member_said(ms_store_t *store, ms_pool_t *pool, ngx_str_t *instance,
    ngx_uint_t added, uint64_t stamp, ngx_uint_t round)
{
    ms_store_mark_t     *mark;
    ms_store_removed_t  *removed;

    if (!added) {
        ms_store_removed_add(store, instance, stamp, round);
        return;
    }

    removed = ms_store_removed(store, instance);

    if (removed) {
        removed->len = 0;
    }

    (void) ms_store_member_last(store, pool, instance, &mark);

    /* no mark: it has left meanwhile */

    if (mark) {
        mark->member.stamp = stamp;
        mark->member.word = 'a';
        mark->member.told = round;
    }
}


static ms_store_removed_t *
ms_store_removed(ms_store_t *store, ngx_str_t *instance)
{
    ngx_uint_t           i;
    ms_store_removed_t  *removed;

    for (i = 0; i < MS_STORE_REMOVED; i++) {
        removed = &store->sh->removed[i];

        if (removed->len == instance->len
            && ngx_memcmp(removed->name, instance->data, instance->len) == 0)
        {
            return removed;
        }
    }

    return NULL;
}


/* instead of the oldest word, if there is no room */

static void
ms_store_removed_add(ms_store_t *store, ngx_str_t *instance, uint64_t stamp,
    ngx_uint_t round)
{
    ngx_uint_t           i;
    ms_store_removed_t  *removed, *oldest;

    removed = ms_store_removed(store, instance);

    if (removed == NULL) {
        oldest = store->sh->removed;

        for (i = 0; i < MS_STORE_REMOVED && oldest->len; i++) {
            removed = &store->sh->removed[i];

            if (removed->len == 0
                || removed->said.stamp < oldest->said.stamp)
            {
                oldest = removed;
            }
        }

        if (oldest->len && oldest->said.stamp > stamp) {
            return;
        }

        removed = oldest;
        removed->len = 0;
        ngx_memcpy(removed->name, instance->data, instance->len);
        removed->len = instance->len;
    }

    removed->said.stamp = stamp;
    removed->said.word = 'r';
    removed->said.told = round;
}


/* as lists are read again and again: once a minute */

static void
ms_store_member_refused(ms_store_t *store, ngx_str_t *instance,
    const char *why)
{
    ngx_msec_t  last;

    last = store->sh->refused;

    if (last && ngx_current_msec - last < MS_STORE_REFUSED) {
        return;
    }

    store->sh->refused = ngx_current_msec;

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "instance that an operator of another gateway added is no "
                  "member here: %s, instance=\"%V\" upstream=\"%V\" (remove "
                  "it there, or make the zone of \"myservice_sessions\" "
                  "larger)", why, instance, &store->upstream->host);
}
