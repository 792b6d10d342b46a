
/* Asks the room of the tokens for the rooms beside it. */

#include "core/revoked.h"


/* of this worker */
static const ms_revoked_list_t  *ms_revoked_opened;


void
ms_revoked_open(const ms_revoked_list_t *list)
{
    ms_revoked_opened = list;
}


const ms_revoked_list_t *
ms_revoked_list(void)
{
    return ms_revoked_opened;
}


ngx_uint_t
ms_revoked(ngx_http_request_t *r)
{
    return ms_revoked_opened && ms_revoked_opened->revoked(r);
}
