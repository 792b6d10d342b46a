/*
 * What an instance sends on a shared connection, to whom it belongs.
 */

#ifndef MS_HTTP2_MUX_DEMUX_H
#define MS_HTTP2_MUX_DEMUX_H


#include "http2/mux.h"


/* bytes before "p" that the next call may need: the beginning of a frame */
#define MS_MUX_CARRY  (MS_FRAME_HEADER + MS_FRAME_MAX)


/*
 * Gives the calls what was read for them, and answers the rest.  NGX_ERROR or
 * NGX_DECLINED: the connection is to be closed, for lack of memory or because
 * the instance violates HTTP/2.
 */
ngx_int_t ms_mux_demux(ms_mux_conn_t *mc, u_char *p, u_char *last);


#endif /* MS_HTTP2_MUX_DEMUX_H */
