/*
 * A connection to an instance that the calls of a worker share.
 */

#ifndef MS_HTTP2_MUX_CONN_H
#define MS_HTTP2_MUX_CONN_H


#include "http2/mux.h"


/* makes one for a call; as ngx_event_connect_peer(), NGX_DECLINED with errno */
ngx_int_t ms_mux_conn_create(ms_mux_conn_t **mcp, ms_mux_peer_t *peer,
    ms_mux_conf_t *conf, ngx_peer_connection_t *pc);

/* a call is about to use it */
void ms_mux_conn_use(ms_mux_conn_t *mc);

/* a call ends without an answer: did the instance send anything at all? For
 * the next one a connection that is not ready after a second is not there. */
void ms_mux_conn_suspect(ms_mux_conn_t *mc, ngx_msec_t since);


#endif /* MS_HTTP2_MUX_CONN_H */
