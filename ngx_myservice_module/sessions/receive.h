/*
 * Bytes from an instance on their way to nginx's grpc module, without frames
 * of earlier calls on a kept connection and without interim answers (1xx).
 */

#ifndef MS_SESSIONS_RECEIVE_H
#define MS_SESSIONS_RECEIVE_H


#include "sessions/call_context.h"


/* process_header() and input_filter() of the grpc module, around them */
ngx_int_t ms_receive_header(ms_call_t *call);
ngx_int_t ms_receive_body(ms_call_t *call, ssize_t bytes);

/*
 * An attempt ends: its connection is not kept with a frame of which the grpc
 * module has not seen the begin, nor when an ended stream has gone on there.
 */
void ms_receive_end(ms_call_t *call);


#endif /* MS_SESSIONS_RECEIVE_H */
