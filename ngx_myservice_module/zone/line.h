/*
 * The waiting line of an upstream, in a shared zone of its own.  A reload keeps
 * it, also with another length: workers of both configurations use one line.
 */

#ifndef MS_ZONE_LINE_H
#define MS_ZONE_LINE_H


#include "zone/lock.h"


/* at configuration: the zone has a line, in which so many sessions may be */
ngx_int_t ms_zone_line_add(ngx_conf_t *cf, ms_zone_t *zone, ngx_uint_t length);

/*
 * A call enters the line, with "lost" because its session has lost its
 * instance, and what "ticket" says of a store; each of these takes the lock.
 * NGX_AGAIN: it has a place, and has to look.  NGX_OK: it needs none, as its
 * session has an instance, no instance could become free, or its user may have
 * no more sessions.  NGX_DECLINED: the line is full.
 */
ngx_int_t ms_zone_line_enter(ms_zone_t *zone, ms_pool_key_t *key,
    ms_pool_terms_t *terms, ngx_uint_t lost, ms_ticket_t *ticket,
    ngx_log_t *log);
ms_turn_t ms_zone_line_look(ms_zone_t *zone, ms_ticket_t *ticket,
    ngx_log_t *log);
void ms_zone_line_back(ms_zone_t *zone, const ms_ticket_t *ticket,
    ngx_log_t *log);
void ms_zone_line_leave(ms_zone_t *zone, ms_ticket_t *ticket, ngx_log_t *log);


#endif /* MS_ZONE_LINE_H */
