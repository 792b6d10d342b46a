/*
 * Calls of an upstream with a store: what the store says of a session comes
 * before what this gateway knows of it.
 */

#ifndef MS_SESSIONS_STORED_H
#define MS_SESSIONS_STORED_H


#include "sessions/call_context.h"


/*
 * A phase handler: a call whose session this gateway does not know waits for the
 * store's answer.
 */
ngx_int_t ms_stored_handler(ngx_http_request_t *r);

/*
 * Of such a call, later in its phases.  NGX_BUSY: the store has said that all
 * instances have owners; NGX_ERROR: it is unavailable, and the zone decides;
 * NGX_AGAIN: it has not yet answered; else NGX_OK.
 */
ngx_int_t ms_stored_answer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);

/* The same question after NGX_BUSY or NGX_ERROR.  NGX_AGAIN: the phases are run
 * again when it is answered; else it is. */
ngx_int_t ms_stored_again_phase(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);

/* the session's key, hashed once for the call; NULL: not yet */
ms_pool_key_t *ms_stored_key(ngx_http_request_t *r, ngx_str_t *session);

/*
 * An attempt needs an instance.  NGX_DECLINED: it claims one of the zone, as
 * without a store.  NGX_OK: it has "call->grant", by "call->decision".
 * NGX_AGAIN: it waits for the store, as long as "call->pause" at most.
 * NGX_BUSY: it is refused by "call->decision".  NGX_ERROR: it is refused, its
 * status is set.
 */
ngx_int_t ms_stored_claim(ms_call_t *call, ngx_log_t *log);

/* after a claim of the zone: 1 if the store has to decide instead; the lease
 * was given back then */
ngx_uint_t ms_stored_again(ms_call_t *call, ngx_log_t *log);

/* the call's lease has perhaps ended: the store is told if so */
void ms_stored_ended(ms_call_t *call, ms_lease_pt ending, ngx_log_t *log);


#endif /* MS_SESSIONS_STORED_H */
