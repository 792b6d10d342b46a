/*
 * What an instance's answer to an attempt tells beside what the client gets:
 * that the call was not processed, that the instance serves another session or
 * leaves, that the session is accepted.  These are callbacks of nginx's
 * upstream, around those of the grpc module.
 */

#ifndef NGX_HTTP_MYSERVICE_ANSWER_H
#define NGX_HTTP_MYSERVICE_ANSWER_H


#include "ngx_http_myservice_call.h"


ngx_int_t ngx_http_myservice_answer_process_header(ngx_http_request_t *r);
ngx_int_t ngx_http_myservice_answer_input_filter_init(void *data);
ngx_int_t ngx_http_myservice_answer_input_filter(void *data, ssize_t bytes);


#endif /* NGX_HTTP_MYSERVICE_ANSWER_H */
