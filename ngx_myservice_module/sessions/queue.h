/*
 * "myservice_queue": a new session waits until an instance is free.
 */

#ifndef MS_SESSIONS_QUEUE_H
#define MS_SESSIONS_QUEUE_H


#include "sessions/call_context.h"


/* milliseconds; the queue ends the pause of a call before, when its turn comes
 * or its time is over */
#define MS_QUEUE_PAUSE  60000


/* From peer.get(), before the claim. */
typedef enum {
    MS_QUEUE_NONE = 0,                  /* the call has no place in the line */
    MS_QUEUE_WAITS,
    MS_QUEUE_STORED,                    /* it had one, and the store has
                                           answered */
    MS_QUEUE_ASKS,                      /* its turn has come to ask the store;
                                           ms_queue_leave() when that gives it
                                           an instance */
    MS_QUEUE_AT_ONCE,                   /* as MS_QUEUE_TURN, without a wait */
    MS_QUEUE_TURN                       /* the claim gets what is kept for the
                                           session; ms_queue_leave() then */
} ms_queue_state_t;

ms_queue_state_t ms_queue_state(ngx_http_request_t *r);

/* the call has claimed an instance, or was refused: its place is over */
void ms_queue_leave(ngx_http_request_t *r);

/*
 * From peer.get(), when no instance is free: a session that has lost its own
 * gets a place before all sessions that have lost none, or keeps the one that it
 * has if the store was asked in vain.  "stored": the store says that none is
 * free.  Returns 1 if the call is to wait.
 */
ngx_uint_t ms_queue_lost(ms_call_t *call, ngx_uint_t stored);


extern ngx_module_t  ngx_http_myservice_queue_module;


#endif /* MS_SESSIONS_QUEUE_H */
