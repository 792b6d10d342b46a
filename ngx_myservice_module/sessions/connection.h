/*
 * The connection of an attempt: new, kept and possibly stale, or failed.
 */

#ifndef MS_SESSIONS_CONNECTION_H
#define MS_SESSIONS_CONNECTION_H


#include "sessions/call_context.h"


/* as peer.get() */
ngx_int_t ms_connection_new(ngx_peer_connection_t *pc);

/* writes the request; "data" is the call */
ngx_int_t ms_connection_output_filter(void *data, ngx_chain_t *in);

/*
 * The gateway itself could not connect (no port, no socket, no route): sets
 * the status and logs.
 */
void ms_connection_failed(ms_call_t *call, ngx_err_t err);


#endif /* MS_SESSIONS_CONNECTION_H */
