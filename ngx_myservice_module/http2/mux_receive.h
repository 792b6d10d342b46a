/*
 * What the grpc module of a call receives of a shared connection.
 */

#ifndef MS_HTTP2_MUX_RECEIVE_H
#define MS_HTTP2_MUX_RECEIVE_H


#include "http2/mux.h"


/* in the place of the recv() of a connection */
ssize_t ms_mux_receive(ngx_connection_t *c, u_char *buf, size_t size);

/* only what a call leaves while its client is slow; NGX_DECLINED: more than
 * the instance may have sent */
ngx_int_t ms_mux_receive_keep(ms_mux_stream_t *s, const u_char *p,
    size_t len);

/* forgets what is kept, and gives a large window back */
void ms_mux_receive_free(ms_mux_stream_t *s);


#endif /* MS_HTTP2_MUX_RECEIVE_H */
