
/*
 * What clients read in "grpc-message", where several places say the same.
 */

#include "core/texts.h"


ngx_str_t  ms_text_missing_session = ngx_string("missing session-id");
ngx_str_t  ms_text_invalid_session = ngx_string("invalid session-id");
ngx_str_t  ms_text_too_many_calls = ngx_string("too many calls");
ngx_str_t  ms_text_deadline_exceeded = ngx_string("deadline exceeded");
ngx_str_t  ms_text_unavailable = ngx_string("backend service unavailable");
