/*
 * The calls in flight of a worker. The worker renews their leases, and takes a
 * call off an instance that no longer belongs to its session.
 */

#ifndef MS_SESSIONS_INFLIGHT_H
#define MS_SESSIONS_INFLIGHT_H


#include "sessions/call_context.h"


void ms_inflight_add(ms_call_t *call);
void ms_inflight_remove(ms_call_t *call);

/*
 * Whether other calls of the session are in flight on the call's instance.  Of
 * those in other workers this is known for half a second, and of a call that
 * has waited for longer than 200 ms only if they are still there.
 */
ngx_uint_t ms_inflight_others(ms_call_t *call);


#endif /* MS_SESSIONS_INFLIGHT_H */
