/*
 * A call in a pause of call->pause milliseconds.
 */

#ifndef MS_SESSIONS_PAUSED_H
#define MS_SESSIONS_PAUSED_H


#include "sessions/call_context.h"


/* From peer.get(), which returns what this returns.  nginx calls peer.free() and
 * peer.get() again when the pause is over. */
ngx_int_t ms_paused_begin(ms_call_t *call, ngx_peer_connection_t *pc);

/* What the call waits for has happened: peer.get() is called at once, which may
 * end the call.  From an event of the caller's own; without a pause it does
 * nothing. */
void ms_paused_end(ms_call_t *call);


#endif /* MS_SESSIONS_PAUSED_H */
