/*
 * Streams of an upstream that break in the middle of an answer.
 */

#ifndef MS_ANSWERS_BROKEN_STREAM_H
#define MS_ANSWERS_BROKEN_STREAM_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * Before an answer is passed on: lets a stream that the upstream resets end
 * like one whose connection was closed, so that filters see it.
 */
ngx_int_t ms_stream_guard(ngx_http_request_t *r);

/*
 * Whether a chain is what nginx sends down the body filters when an upstream
 * failed after its header was sent.
 */
ngx_uint_t ms_stream_broken(ngx_http_request_t *r, ngx_chain_t *in);


#endif /* MS_ANSWERS_BROKEN_STREAM_H */
