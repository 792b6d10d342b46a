/*
 * What an instance's answer says to the gateway: the call was not processed,
 * the instance serves another session, the instance shuts down, the session is
 * accepted. These are callbacks of nginx's upstream, around those of the grpc
 * module.
 */

#ifndef MS_SESSIONS_ANSWER_H
#define MS_SESSIONS_ANSWER_H


#include "sessions/call_context.h"


ngx_int_t ms_answer_process_header(ngx_http_request_t *r);
ngx_int_t ms_answer_input_filter_init(void *data);
ngx_int_t ms_answer_input_filter(void *data, ssize_t bytes);


#endif /* MS_SESSIONS_ANSWER_H */
