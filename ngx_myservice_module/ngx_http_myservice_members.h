/*
 * Who is a member of a zone: the servers of the configuration, and what comes
 * and goes at run time.  A member is its address as text, "10.0.0.1:5101",
 * as myservice_status shows it.  One that several sources have (a server, an
 * operator, names that are resolved) goes when the last of them lets it go.
 *
 * All functions take the zone's lock themselves, log after it, and may be
 * called by any worker; leases of members that stay are never touched.  What
 * was added at run time stays through reloads, until its source removes it.
 */

#ifndef NGX_HTTP_MYSERVICE_MEMBERS_H
#define NGX_HTTP_MYSERVICE_MEMBERS_H


#include "ngx_http_myservice_zone.h"


/* how a member that has a lease is removed */

typedef enum {
    NGX_HTTP_MYSERVICE_DRAIN = 0,       /* when its lease has ended */
    NGX_HTTP_MYSERVICE_DROP             /* at once, the lease ends */
} ngx_http_myservice_removal_e;


/*
 * Makes the servers of the configuration the members of the pool.  Those that
 * are not configured any more, and that nobody else has added, leave when
 * their lease has ended.  NGX_ERROR if not all fit, which is logged.
 */
ngx_int_t ngx_http_myservice_members_sync(ngx_http_myservice_zone_t *zone,
    ngx_log_t *log);

/*
 * By an operator.  "fail_timeout" in seconds, as of "server".  NGX_OK;
 * NGX_DECLINED if it is a member already, which takes back its removal and
 * changes nothing else; NGX_ERROR if the zone is full, which is logged.
 */
ngx_int_t ngx_http_myservice_members_add(ngx_http_myservice_zone_t *zone,
    ngx_addr_t *addr, time_t fail_timeout, ngx_log_t *log);

/*
 * By an operator, whose word counts for all sources: a configured server comes
 * back with the next reload, a resolved one with the next answer.  NGX_OK;
 * NGX_AGAIN if it goes when its lease has ended; NGX_DECLINED if there is no
 * such member.
 */
ngx_int_t ngx_http_myservice_members_remove(ngx_http_myservice_zone_t *zone,
    ngx_str_t *name, ngx_http_myservice_removal_e how, ngx_log_t *log);

/*
 * An operator's drain: no new session, also after a reload, until it is taken
 * back; a session that is there goes on.  NGX_DECLINED: no such member.
 */
ngx_int_t ngx_http_myservice_members_drain(ngx_http_myservice_zone_t *zone,
    ngx_str_t *name, ngx_log_t *log);
ngx_int_t ngx_http_myservice_members_undrain(ngx_http_myservice_zone_t *zone,
    ngx_str_t *name, ngx_log_t *log);

/*
 * Ends the lease of a session (1 to MS_POOL_SESSION_MAX bytes); its instance
 * is free.  NGX_DECLINED if it has none.  The instance is not told: one that
 * still serves the session says so and is leased to it again.
 */
ngx_int_t ngx_http_myservice_members_release(ngx_http_myservice_zone_t *zone,
    ngx_str_t *session, ngx_log_t *log);


#endif /* NGX_HTTP_MYSERVICE_MEMBERS_H */
