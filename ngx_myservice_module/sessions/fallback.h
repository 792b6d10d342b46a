/*
 * A call that no instance has processed may be answered by the "grpc_pass" of
 * a named location ("error_page"). nginx gives that location only the part of
 * the body that was read, so the rest is read first.
 */

#ifndef MS_SESSIONS_FALLBACK_H
#define MS_SESSIONS_FALLBACK_H


#include "sessions/call_context.h"


/* from finalize_request(), before the header was sent: whether it may */
ngx_uint_t ms_fallback_possible(ms_call_t *call);

ngx_int_t ms_fallback_init(ngx_conf_t *cf);


#endif /* MS_SESSIONS_FALLBACK_H */
