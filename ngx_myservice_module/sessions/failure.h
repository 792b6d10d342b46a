/*
 * Why an attempt failed.
 */

#ifndef MS_SESSIONS_FAILURE_H
#define MS_SESSIONS_FAILURE_H


#include "sessions/call_context.h"


typedef enum {
    MS_FAILURE_NOT_SENT = 0,            /* connect failed */
    MS_FAILURE_LOCAL,                   /* connect failed on this machine */
    MS_FAILURE_GONE,                    /* the gateway ended the attempt */
    MS_FAILURE_CONFLICT,                /* the instance serves another
                                           session */
    MS_FAILURE_LEAVING,                 /* the instance drains */
    MS_FAILURE_UNPROCESSED,             /* the request never left the
                                           gateway, or the instance says
                                           GOAWAY or REFUSED_STREAM */
    MS_FAILURE_FAULTY,                  /* the answer is not HTTP/2 or too
                                           long: the call has run */
    MS_FAILURE_RESET,                   /* RST_STREAM or CANCELLED: the call
                                           may have run */
    MS_FAILURE_TIMED_OUT,               /* a timeout of nginx */
    MS_FAILURE_OVERDUE,                 /* myservice_retry_timeout: may run
                                           elsewhere */
    MS_FAILURE_DIED                     /* the connection ended: the call
                                           may have run */
} ms_failure_e;


/* the instance has provably not run the call */
#define ms_failure_unprocessed(failure)                                       \
    ((failure) == MS_FAILURE_NOT_SENT || (failure) == MS_FAILURE_CONFLICT     \
     || (failure) == MS_FAILURE_LEAVING                                       \
     || (failure) == MS_FAILURE_UNPROCESSED)

/* in peer.free(); "err" is the errno of a connection that was not made */
ms_failure_e ms_failure(ms_call_t *call, ngx_peer_connection_t *pc,
    ngx_err_t err);


#endif /* MS_SESSIONS_FAILURE_H */
