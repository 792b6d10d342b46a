/*
 * What an operator looks up and changes in a zone.  Each function takes the
 * lock.
 */

#ifndef MS_ZONE_OPERATOR_H
#define MS_ZONE_OPERATOR_H


#include "zone/zone.h"


/*
 * Copies the member with this name, an address as text, or the one that the
 * session has a lease on.  NGX_DECLINED if there is none.
 */
ngx_int_t ms_zone_member(ms_zone_t *zone, ngx_str_t *name,
    ms_member_t *member, ngx_log_t *log);
ngx_int_t ms_zone_session_member(ms_zone_t *zone, ngx_str_t *session,
    ms_member_t *member, ngx_log_t *log);

/*
 * The member takes no new session, or takes them again.  A drained one stays
 * so over reloads.  "limit", in milliseconds, is how long its session may stay,
 * 0: as long as the upstream lets it.  NGX_DECLINED if it is no member.
 */
ngx_int_t ms_zone_drain(ms_zone_t *zone, ngx_str_t *name, ngx_uint_t drain,
    ngx_msec_t limit, ngx_log_t *log);

/* Ends the session's lease.  NGX_DECLINED if it has none. */
ngx_int_t ms_zone_release(ms_zone_t *zone, ngx_str_t *session,
    ngx_log_t *log);

/*
 * The session leaves its instance, which "member" is, if "from" is its name or
 * NULL: its next call goes to another one.  NGX_OK; NGX_DONE if it leaves
 * anyway, or has another one; NGX_DECLINED if it has none, NGX_AGAIN before its
 * first success, NGX_BUSY if no instance is free.
 */
ngx_int_t ms_zone_move(ms_zone_t *zone, ngx_str_t *session, ngx_str_t *from,
    ms_member_t *member, ngx_log_t *log);

/*
 * "addr" gets the address of "text" from "pool", and its name as nginx writes
 * that of a "server": it is the member's.  NGX_DECLINED if it is no address with
 * a port.
 */
ngx_int_t ms_zone_address(ngx_pool_t *pool, ngx_str_t *text,
    ngx_addr_t *addr);

/*
 * Adds a member that stays over reloads.  NGX_DECLINED if the operator has
 * added it before, NGX_ERROR if the zone is full.  The caller holds the lock.
 */
ngx_int_t ms_zone_join_locked(ms_zone_t *zone, ms_pool_t *pool,
    ngx_addr_t *addr);

/*
 * Removes a member that the operator has added: when its lease has ended, or at
 * once with "force".  It stays one if the configuration or a name has it, too.
 * NGX_DECLINED if it is no member, NGX_ABORT if it is one by those alone.  The
 * caller holds the lock.
 */
ngx_int_t ms_zone_remove_locked(ms_zone_t *zone, ms_pool_t *pool,
    ngx_str_t *name, ngx_uint_t force);


#endif /* MS_ZONE_OPERATOR_H */
