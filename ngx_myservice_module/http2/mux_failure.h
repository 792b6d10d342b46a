/*
 * Why a multiplexed call has lost its connection to the instance.
 */

#ifndef MS_HTTP2_MUX_FAILURE_H
#define MS_HTTP2_MUX_FAILURE_H


typedef enum {
    MS_MUX_NONE = 0,                    /* it has not */
    MS_MUX_NOT_CONNECTED,               /* there never was one */
    MS_MUX_LOCAL,                       /* the gateway could not make one */
    MS_MUX_NOT_SENT,                    /* it ended before a byte of the call
                                           was written */
    MS_MUX_REFUSED,                     /* the instance says GOAWAY, with a
                                           lower last stream */
    MS_MUX_STALE,                       /* it had no calls for a while, and not
                                           a byte has come since: the call may
                                           have run */
    MS_MUX_DIED                         /* the call may have run */
} ms_mux_failure_e;


#endif /* MS_HTTP2_MUX_FAILURE_H */
