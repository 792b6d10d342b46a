/*
 * A stream of a shared connection, which the grpc module of a call takes for
 * a connection of its own.
 */

#ifndef MS_HTTP2_MUX_STREAM_H
#define MS_HTTP2_MUX_STREAM_H


#include "http2/mux.h"


/* for a call of nginx's upstream module; NULL if out of memory */
ms_mux_stream_t *ms_mux_stream_create(ms_mux_conn_t *mc, ngx_log_t *log);

/* resets it at the instance unless both sides have ended it */
void ms_mux_stream_close(ms_mux_stream_t *s);

ms_mux_stream_t *ms_mux_stream_find(ms_mux_conn_t *mc, uint32_t id);

/* the connection is ready for requests */
void ms_mux_stream_ready(ms_mux_stream_t *s);

/*
 * The frames of its "span", which were read: calls the read handler of the
 * call, and keeps what that leaves.  The stream may be gone then.
 */
ngx_int_t ms_mux_stream_deliver(ms_mux_conn_t *mc, ms_mux_stream_t *s);

/* adds to the instance's window */
ngx_int_t ms_mux_stream_credit(ms_mux_stream_t *s, int64_t n);

/* GOAWAY: the instance has not processed it, and says so here */
void ms_mux_stream_refuse(ms_mux_stream_t *s, uint32_t error);

/* the instance violates HTTP/2: the grpc module is to find that, too */
void ms_mux_stream_spoil(ms_mux_stream_t *s);

/* its connection has ended, with "err" or by the peer's will */
void ms_mux_stream_lost(ms_mux_stream_t *s, ngx_uint_t error, ngx_err_t err);

/* why it has failed, or would if it failed now */
ms_mux_failure_e ms_mux_stream_failure(ms_mux_stream_t *s);

#endif /* MS_HTTP2_MUX_STREAM_H */
