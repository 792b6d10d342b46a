/*
 * One attempt of a call: which instance gets it, and what a failure means.
 * These are callbacks of nginx's upstream. sessions/call.c has the life of the
 * whole call.
 */

#ifndef MS_SESSIONS_ATTEMPT_H
#define MS_SESSIONS_ATTEMPT_H


#include "sessions/call_context.h"


ngx_int_t ms_attempt_get_peer(ngx_peer_connection_t *pc, void *data);
void ms_attempt_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);


#endif /* MS_SESSIONS_ATTEMPT_H */
