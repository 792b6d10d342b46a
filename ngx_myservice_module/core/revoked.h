/*
 * Whether the token of a request was revoked after the request began.  The room
 * of the tokens answers; rooms beside it ask.
 */

#ifndef MS_CORE_REVOKED_H
#define MS_CORE_REVOKED_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef ngx_uint_t (*ms_revoked_pt)(ngx_http_request_t *r);

/* From here on this worker asks "handler"; NULL: no token is revoked. */
void ms_revoked_open(ms_revoked_pt handler);

/* Costs a comparison as long as nobody revokes a token. */
ngx_uint_t ms_revoked(ngx_http_request_t *r);


#endif /* MS_CORE_REVOKED_H */
