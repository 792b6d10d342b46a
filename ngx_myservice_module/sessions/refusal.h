/*
 * What a session is told that gets no instance.
 */

#ifndef MS_SESSIONS_REFUSAL_H
#define MS_SESSIONS_REFUSAL_H


#include "sessions/call_context.h"


/* sets the status for the refused claim in "decision"; returns NGX_ERROR */
ngx_int_t ms_refusal_answer(ms_call_t *call);

/* sets the status of a call whose last instance serves another session */
void ms_refusal_busy(ms_call_t *call);

/* sets the status of a new session that the store does not answer for */
void ms_refusal_store(ms_call_t *call);


#endif /* MS_SESSIONS_REFUSAL_H */
