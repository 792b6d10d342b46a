/*
 * The header block of a call on a shared connection.
 */

#ifndef MS_HTTP2_MUX_HEAD_H
#define MS_HTTP2_MUX_HEAD_H


#include "http2/mux.h"


/* Begins the stream with the block that begins at b->pos, behind the header of
 * HEADERS; "pos" moves behind it. */
ngx_int_t ms_mux_head(ms_mux_stream_t *s, ngx_buf_t *b);


#endif /* MS_HTTP2_MUX_HEAD_H */
