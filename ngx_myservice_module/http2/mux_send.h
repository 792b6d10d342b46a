/*
 * What the grpc module of a call sends on a shared connection.
 */

#ifndef MS_HTTP2_MUX_SEND_H
#define MS_HTTP2_MUX_SEND_H


#include "http2/mux.h"


/* in the place of the send_chain() of a connection */
ngx_chain_t *ms_mux_send_chain(ngx_connection_t *c, ngx_chain_t *in,
    off_t limit);

/* lets those go on that wait for the connection's window, or its output */
void ms_mux_send_unblock(ms_mux_conn_t *mc);


#endif /* MS_HTTP2_MUX_SEND_H */
