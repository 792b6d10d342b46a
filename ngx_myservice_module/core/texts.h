/*
 * What clients read in "grpc-message", where several places say the same.
 */

#ifndef MS_CORE_TEXTS_H
#define MS_CORE_TEXTS_H


#include <ngx_config.h>
#include <ngx_core.h>


extern ngx_str_t  ms_text_missing_session;
extern ngx_str_t  ms_text_invalid_session;
extern ngx_str_t  ms_text_too_many_calls;
extern ngx_str_t  ms_text_deadline_exceeded;
extern ngx_str_t  ms_text_unavailable;


#endif /* MS_CORE_TEXTS_H */
