/*
 * The header of an answer that continues a stream. The client already has a
 * header, so this one is not sent; errors become trailers.
 */

#ifndef MS_SESSIONS_RESUMED_H
#define MS_SESSIONS_RESUMED_H


#include "answers/errors.h"
#include "answers/outcome.h"


/* "first" is of the header that the client has */
ngx_int_t ms_resumed_header(ngx_http_request_t *r, ms_outcome_form_t *first);


#endif /* MS_SESSIONS_RESUMED_H */
