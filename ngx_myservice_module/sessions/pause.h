/*
 * A call that waits. Either it connects to its instance once more later, as
 * one refused connect must not move a session with other calls in flight
 * there. Or it waits for an instance while the first calls of other sessions
 * still have to show where those belong.
 */

#ifndef MS_SESSIONS_PAUSE_H
#define MS_SESSIONS_PAUSE_H


#include "sessions/call_context.h"


/*
 * From peer.free(), after the connect has failed: whether the call is to wait;
 * peer.get() then calls ms_paused_begin(), and returns what that returns.
 */
ngx_uint_t ms_pause_due(ms_call_t *call, ngx_peer_connection_t *pc);

/*
 * From peer.get(), when no instance is left for the call: whether it is to
 * wait, with ms_paused_begin().
 */
ngx_uint_t ms_pause_conflict(ms_call_t *call);


/*
 * Whether the connect that failed timed out although the instance is not down:
 * it went on with other calls, so its queue of connections is full, or the
 * connection is there and the worker was too busy to see it.
 */
ngx_uint_t ms_pause_crowded(ms_call_t *call, ngx_peer_connection_t *pc);


#endif /* MS_SESSIONS_PAUSE_H */
