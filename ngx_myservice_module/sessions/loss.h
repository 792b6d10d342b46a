/*
 * "myservice_moved fail": a session that has lost its instance is told, before
 * it gets another one.
 */

#ifndef MS_SESSIONS_LOSS_H
#define MS_SESSIONS_LOSS_H


#include "sessions/call_context.h"


/* The call may have run under the lease that it holds: if that is lost, the
 * call is told, and the session's next call, too. */
void ms_loss_ran(ms_call_t *call);

/*
 * A call that may have run, and that may not run twice, has lost its
 * connection.  Whether the session has lost its instance shows with a new
 * connection, on which nothing is sent.  Returns 1 if the call is to try that.
 */
ngx_uint_t ms_loss_asks(ms_call_t *call);

/* Ends a call in flight whose lease has ended.  Returns 0 if it may go
 * elsewhere: the lease was tentative, or a move is allowed. */
ngx_uint_t ms_loss_abort(ms_call_t *call);

/* Sets the status that tells it. */
void ms_loss_tell(ms_call_t *call);


#endif /* MS_SESSIONS_LOSS_H */
