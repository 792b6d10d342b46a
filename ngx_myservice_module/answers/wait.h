/*
 * Calls that wait in a phase until something is known.
 */

#ifndef MS_ANSWERS_WAIT_H
#define MS_ANSWERS_WAIT_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "core/counts.h"


/* of the location's grpc_pass; NULL if none, or if it is no upstream block */
ngx_http_upstream_srv_conf_t *ms_wait_upstream(ngx_http_request_t *r);

/* milliseconds since the request began */
ngx_msec_t ms_wait_age(ngx_http_request_t *r);

/*
 * From a phase handler, which returns what this returns: the handler runs
 * again in a moment, unless the client goes away before.  A call whose
 * deadline is over is answered.
 */
ngx_int_t ms_wait(ngx_http_request_t *r, ms_wait_e what);


#endif /* MS_ANSWERS_WAIT_H */
