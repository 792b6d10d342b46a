/*
 * What the end of a call, or of an attempt, means for the lease that it holds.
 */

#ifndef MS_SESSIONS_LEASE_H
#define MS_SESSIONS_LEASE_H


#include "sessions/call_context.h"


/*
 * The call ends: its lease is confirmed, released, given back or renewed.
 * "rc" as of finalize_request(), NGX_OK where the answer had its status.
 */
void ms_lease_close(ms_call_t *call, ngx_int_t rc);

/* The call has a new lease, which is tentative; notes how long that took. */
void ms_lease_assigned(ms_call_t *call);

/* The lease of the call is confirmed: the session has its instance. */
void ms_lease_confirmed(ms_call_t *call);

/* Notes in a tentative lease that another call has confirmed it. */
void ms_lease_look(ms_call_t *call);

/*
 * The instance failed: it is down, and the session's next claim moves. The
 * call holds no lease afterwards.
 */
void ms_lease_fail(ms_call_t *call);

/*
 * Ends the lease by "ending" and remembers the instance, so that the call does
 * not try it again.
 */
void ms_lease_drop(ms_call_t *call, ms_lease_pt ending);


#endif /* MS_SESSIONS_LEASE_H */
