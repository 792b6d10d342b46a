
/*
 * Members and sessions by their names, for an operator who looks at them or
 * changes them.
 */

#include "zone/operator.h"

#include "zone/members.h"


/* seconds, nginx's default of "server" */
#define MS_OPERATOR_FAIL_TIMEOUT  10


ngx_int_t
ms_zone_member(ms_zone_t *zone, ngx_str_t *name, ms_member_t *member,
    ngx_log_t *log)
{
    uint32_t     instance;
    ms_pool_t   *pool;
    ngx_uint_t   rebuilt;

    pool = ms_zone_lock(zone, &rebuilt);

    instance = ms_pool_find(pool, (char *) name->data, name->len);

    if (instance != MS_POOL_NONE) {
        ms_zone_copy_locked(zone, pool, instance, member);
    }

    ms_zone_unlock(zone, rebuilt, log);

    return instance == MS_POOL_NONE ? NGX_DECLINED : NGX_OK;
}


ngx_int_t
ms_zone_session_member(ms_zone_t *zone, ngx_str_t *session,
    ms_member_t *member, ngx_log_t *log)
{
    uint32_t        instance;
    ms_pool_t      *pool;
    ngx_uint_t      rebuilt;
    ms_pool_key_t   key;

    ms_zone_key(zone, session, &key);
    pool = ms_zone_lock(zone, &rebuilt);

    instance = ms_pool_session(pool, &key, ngx_current_msec);

    if (instance != MS_POOL_NONE) {
        ms_zone_copy_locked(zone, pool, instance, member);
    }

    ms_zone_unlock(zone, rebuilt, log);

    return instance == MS_POOL_NONE ? NGX_DECLINED : NGX_OK;
}


ngx_int_t
ms_zone_drain(ms_zone_t *zone, ngx_str_t *name, ngx_uint_t drain,
    ngx_msec_t limit, ngx_log_t *log)
{
    uint32_t     instance;
    ms_pool_t   *pool;
    ngx_uint_t   rebuilt;

    pool = ms_zone_lock(zone, &rebuilt);

    instance = ms_pool_find(pool, (char *) name->data, name->len);

    if (instance != MS_POOL_NONE) {
        ms_pool_hold(pool, instance, drain);

        if (drain) {
            ms_pool_drain(pool, instance, ngx_current_msec);

        } else {
            ms_pool_undrain(pool, instance, ngx_current_msec);
        }

        if (drain && limit) {
            ms_pool_drain_until(pool, instance, ngx_current_msec + limit);
        }
    }

    ms_zone_unlock(zone, rebuilt, log);

    return instance == MS_POOL_NONE ? NGX_DECLINED : NGX_OK;
}


ngx_int_t
ms_zone_release(ms_zone_t *zone, ngx_str_t *session, ngx_log_t *log)
{
    uint32_t        instance;
    ms_pool_t      *pool;
    ngx_uint_t      rebuilt;
    ms_pool_key_t   key;

    ms_zone_key(zone, session, &key);
    pool = ms_zone_lock(zone, &rebuilt);

    instance = ms_pool_session(pool, &key, ngx_current_msec);

    if (instance != MS_POOL_NONE) {
        ms_pool_end(pool, instance, ngx_current_msec);
    }

    ms_zone_unlock(zone, rebuilt, log);

    return instance == MS_POOL_NONE ? NGX_DECLINED : NGX_OK;
}


ngx_int_t
ms_zone_move(ms_zone_t *zone, ngx_str_t *session, ngx_str_t *from,
    ms_member_t *member, ngx_log_t *log)
{
    uint32_t        instance;
    ngx_int_t       rc;
    ms_pool_t      *pool;
    ngx_uint_t      rebuilt;
    ms_pool_key_t   key;

    static const ngx_int_t  codes[] = {
        [MS_MOVE_DONE] = NGX_OK,
        [MS_MOVE_ALREADY] = NGX_DONE,
        [MS_MOVE_TENTATIVE] = NGX_AGAIN,
        [MS_MOVE_BUSY] = NGX_BUSY
    };

    ms_zone_key(zone, session, &key);
    rc = NGX_DECLINED;
    pool = ms_zone_lock(zone, &rebuilt);

    instance = ms_pool_session(pool, &key, ngx_current_msec);

    if (instance != MS_POOL_NONE) {
        rc = from && ms_pool_find(pool, (char *) from->data, from->len)
                     != instance
             ? NGX_DONE : codes[ms_pool_move(pool, instance)];
        ms_zone_copy_locked(zone, pool, instance, member);
    }

    ms_zone_unlock(zone, rebuilt, log);

    return rc;
}


ngx_int_t
ms_zone_address(ngx_pool_t *pool, ngx_str_t *text, ngx_addr_t *addr)
{
    u_char  *copy;

    if (text->len == 0 || text->len >= NGX_SOCKADDR_STRLEN) {
        return NGX_DECLINED;
    }

    copy = ngx_pnalloc(pool, text->len);
    addr->name.data = ngx_pnalloc(pool, NGX_SOCKADDR_STRLEN);

    if (copy == NULL || addr->name.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(copy, text->data, text->len);

    if (ngx_parse_addr_port(pool, addr, copy, text->len) != NGX_OK
        || ngx_inet_get_port(addr->sockaddr) == 0)
    {
        return NGX_DECLINED;
    }

    addr->name.len = ngx_sock_ntop(addr->sockaddr, addr->socklen,
                                   addr->name.data, NGX_SOCKADDR_STRLEN, 1);

    return NGX_OK;
}


ngx_int_t
ms_zone_join_locked(ms_zone_t *zone, ms_pool_t *pool, ngx_addr_t *addr)
{
    uint32_t    instance;
    ngx_uint_t  fresh;

    instance = ms_members_join_locked(zone, pool, addr, MS_SOURCE_OPERATOR,
                                      MS_OPERATOR_FAIL_TIMEOUT, &fresh);

    if (instance == MS_POOL_NONE) {
        return NGX_ERROR;
    }

    return fresh ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ms_zone_remove_locked(ms_zone_t *zone, ms_pool_t *pool, ngx_str_t *name,
    ngx_uint_t force)
{
    uint16_t   *source;
    uint32_t    instance;
    ngx_int_t   rc;

    instance = ms_pool_find(pool, (char *) name->data, name->len);

    if (instance == MS_POOL_NONE) {
        return NGX_DECLINED;
    }

    source = &zone->sh->sources[instance];

    if (*source & ~(MS_SOURCE_OPERATOR | MS_SOURCE_SEEN)) {
        rc = *source & MS_SOURCE_OPERATOR ? NGX_OK : NGX_ABORT;
        *source &= ~MS_SOURCE_OPERATOR;
        return rc;
    }

    *source = 0;
    ms_zone_note(MS_EVENT_REMOVED, name, NULL, "operator");
    ms_pool_remove(pool, instance, force, ngx_current_msec);

    return NGX_OK;
}
