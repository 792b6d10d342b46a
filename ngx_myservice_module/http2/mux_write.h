/*
 * What a shared connection is about to write: frames are gathered and leave at
 * the end of the turn of the event loop, in one writev().
 */

#ifndef MS_HTTP2_MUX_WRITE_H
#define MS_HTTP2_MUX_WRITE_H


#include "http2/mux.h"


/* unwritten bytes of a connection: no DATA is taken beyond this */
#define MS_MUX_OUT_DATA  (256 * 1024)

/* no new calls beyond this */
#define MS_MUX_OUT_FULL  (1024 * 1024)

/* unwritten frames beside those of calls, and for each call: the peer does not
 * read what it asks for */
#define MS_MUX_CONTROLS_MAX   1000
#define MS_MUX_CONTROLS_CALL  3


/*
 * Makes room for "len" bytes; then ms_mux_put() of as many, in any number of
 * steps, can not fail.
 */
ngx_int_t ms_mux_reserve(ms_mux_conn_t *mc, size_t len);

void ms_mux_put(ms_mux_conn_t *mc, const u_char *p, size_t len);

/* without memory for it, or if too much of it waits, the connection is to be
 * closed */
void ms_mux_control(ms_mux_conn_t *mc, ngx_uint_t type, ngx_uint_t flags,
    uint32_t stream, const u_char *payload, size_t len);

/* the same with a number for a payload */
void ms_mux_control_u32(ms_mux_conn_t *mc, ngx_uint_t type, uint32_t stream,
    uint32_t value);

/* the connection's write handler runs in this turn */
void ms_mux_flush_soon(ms_mux_conn_t *mc);

/* writes what the socket takes */
ngx_int_t ms_mux_flush(ms_mux_conn_t *mc);

/* forgets all */
void ms_mux_write_free(ms_mux_conn_t *mc);

/* bytes that the socket has taken since it opened */
#define ms_mux_written(mc)  ((mc)->put - (mc)->out_size)

/* whether DATA may be put now */
#define ms_mux_room(mc)                                                       \
    ((mc)->window > 0 && (mc)->out_size < MS_MUX_OUT_DATA)


#endif /* MS_HTTP2_MUX_WRITE_H */
