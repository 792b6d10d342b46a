
/* Asks the room of the tokens for the rooms beside it. */

#include "core/revoked.h"


/* of this worker */
static ms_revoked_pt  ms_revoked_handler;


void
ms_revoked_open(ms_revoked_pt handler)
{
    ms_revoked_handler = handler;
}


ngx_uint_t
ms_revoked(ngx_http_request_t *r)
{
    return ms_revoked_handler && ms_revoked_handler(r);
}
