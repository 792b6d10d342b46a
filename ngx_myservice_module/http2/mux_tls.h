/*
 * TLS of a shared connection.  Calls do not see it.
 */

#ifndef MS_HTTP2_MUX_TLS_H
#define MS_HTTP2_MUX_TLS_H


#include "http2/mux.h"


/* in ms_mux_key_t.options */
#define MS_MUX_SERVER_NAME  0x1         /* SNI */
#define MS_MUX_REUSE        0x2         /* of TLS sessions */
#define MS_MUX_KEEPALIVE    0x4         /* SO_KEEPALIVE */
#define MS_MUX_TRANSPARENT  0x8


/*
 * NGX_OK: there is none, or the handshake is complete; NGX_AGAIN: the handler
 * runs when the handshake ends, and calls ms_mux_tls_finish().
 */
ngx_int_t ms_mux_tls_start(ms_mux_conn_t *mc,
    void (*handler)(ngx_connection_t *c));

/* the instance is the one that the configuration means, and speaks HTTP/2 */
ngx_int_t ms_mux_tls_finish(ms_mux_conn_t *mc);

void ms_mux_tls_close(ms_mux_conn_t *mc);

/* upstream is to believe that the handshake of a call's connection is done */
void ms_mux_tls_pretend(ngx_connection_t *c);


#endif /* MS_HTTP2_MUX_TLS_H */
