/*
 * Which metadata passes between clients and instances. A client cannot send
 * names by which the gateway speaks to instances, and does not get what
 * instances say to the gateway.
 */

#ifndef MS_SESSIONS_PASS_H
#define MS_SESSIONS_PASS_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "sessions/lasting.h"


/*
 * For a location that passes to an upstream with sessions, after the grpc
 * module has merged its configuration. NGX_ERROR after an error was logged.
 * "lasting" is set to the fields that the module no longer sends.
 */
ngx_int_t ms_pass_guard(ngx_conf_t *cf, ms_lasting_conf_t *lasting);


#endif /* MS_SESSIONS_PASS_H */
