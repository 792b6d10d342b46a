/*
 * Instances that calls are multiplexed to, by the key of their connections.
 */

#ifndef MS_HTTP2_MUX_PEER_H
#define MS_HTTP2_MUX_PEER_H


#include "http2/mux.h"


/* finds or makes the peer of a key; NULL if out of memory */
ms_mux_peer_t *ms_mux_peer(const ms_mux_key_t *key, ngx_str_t *name,
    ngx_log_t *log);

/* a connection that takes one more of "streams" calls, made after the one of
 * that number; NULL if there is none */
ms_mux_conn_t *ms_mux_peer_conn(ms_mux_peer_t *peer, ngx_uint_t streams,
    uint64_t after);

void ms_mux_peer_add(ms_mux_peer_t *peer, ms_mux_conn_t *mc);
void ms_mux_peer_remove(ms_mux_conn_t *mc);


#endif /* MS_HTTP2_MUX_PEER_H */
