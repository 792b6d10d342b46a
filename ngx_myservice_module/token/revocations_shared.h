/*
 * The list of revoked tokens, as gateways tell it each other.
 */

#ifndef MS_TOKEN_REVOCATIONS_SHARED_H
#define MS_TOKEN_REVOCATIONS_SHARED_H


#include "core/revoked.h"


/* "revoked" answers for a request */
const ms_revoked_list_t *ms_revocations_shared(
    ngx_uint_t (*revoked)(ngx_http_request_t *r));


#endif /* MS_TOKEN_REVOCATIONS_SHARED_H */
