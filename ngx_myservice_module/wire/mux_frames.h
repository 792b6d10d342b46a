/*
 * Frames of calls that share one HTTP/2 connection to an instance (RFC 9113).
 * Each call belongs to a grpc module that believes in a connection of its own
 * and always uses stream 1.
 *
 *   ms_mux_out_*  what such a grpc module sends: which frames go on the shared
 *                 connection, and which the gateway keeps
 *   ms_mux_in_*   what the instance sends: whose frame it is; ids become 1 in
 *                 place
 */

#ifndef MS_WIRE_MUX_FRAMES_H
#define MS_WIRE_MUX_FRAMES_H


#include <stddef.h>
#include <stdint.h>

#include "wire/frame.h"


#define MS_MUX_WINDOW_MAX   0x7fffffff
#define MS_MUX_WINDOW_INIT  65535       /* before the peer says another */

/* "PRI * HTTP/2.0", RFC 9113 section 3.4 */
#define MS_MUX_PREFACE      24

/* error codes, section 7 */
#define MS_MUX_PROTOCOL_ERROR       0x1
#define MS_MUX_CANCEL               0x8
#define MS_MUX_ENHANCE_YOUR_CALM    0xb

/* bytes that ms_mux_preface() writes */
#define MS_MUX_PREFACE_MAX                                                    \
    (MS_MUX_PREFACE + MS_FRAME_HEADER + 18 + MS_FRAME_HEADER + 4)

/* calls of a connection: there are 2^30 ids */
#define MS_MUX_REQUESTS_MAX  1000000000


typedef enum {
    MS_MUX_OUT_MORE = 0,                /* nothing left to read */
    MS_MUX_OUT_HEAD,                    /* a frame to send begins: "type",
                                           "flags" and "rest" are known */
    MS_MUX_OUT_PAYLOAD,                 /* "pos" is inside it */
    MS_MUX_OUT_BAD                      /* this is no grpc module */
} ms_mux_out_e;


/* What a grpc module has sent; all zero at first. */
typedef struct {
    size_t    rest;                     /* bytes to come of the payload */
    uint8_t   head[MS_FRAME_HEADER];
    uint8_t   head_len;
    uint8_t   preface;                  /* how many bytes of it came */
    uint8_t   type;
    uint8_t   flags;
    unsigned  skip:1;                   /* the gateway keeps this frame */
} ms_mux_out_t;


/*
 * Reads from "pos" to "last" and stops behind the header of a frame to send,
 * and in its payload.  Of the payload the caller says how much it has sent, by
 * ms_mux_out_took(), and moves "pos" itself.
 */
ms_mux_out_e ms_mux_out_next(ms_mux_out_t *out, const uint8_t **pos,
    const uint8_t *last);

void ms_mux_out_took(ms_mux_out_t *out, size_t n);

/*
 * Behind the header of HEADERS: looks for the end of its block, which may go on
 * in CONTINUATION frames, and moves there.  "len" is set to the bytes of the
 * block without headers of frames.  -1: not all of it is before "last".
 */
int ms_mux_out_block(ms_mux_out_t *out, const uint8_t **pos,
    const uint8_t *last, size_t *len)
    __attribute__((warn_unused_result));

/* Copies the block of "len" bytes that begins at "pos" without headers of
 * frames; "first" is the length of its first frame. */
void ms_mux_out_join(uint8_t *to, const uint8_t *pos, size_t first,
    size_t len);


typedef enum {
    MS_MUX_IN_MORE = 0,                 /* "pos" to "last" is the beginning of
                                           what comes next */
    MS_MUX_IN_STREAM,                   /* a frame of a stream, or a part */
    MS_MUX_IN_CONTROL,                  /* a frame that the gateway answers */
    MS_MUX_IN_BAD                       /* the instance violates HTTP/2 */
} ms_mux_in_e;


/* The frames of an instance; all zero when the connection opens. */
typedef struct {
    size_t    rest;                     /* bytes to come of the payload */
    uint32_t  stream;                   /* of the frame at hand */
    uint32_t  block;                    /* whose header block goes on, 0: none
                                           does */
    uint8_t   type;
    uint8_t   flags;
    unsigned  end:1;                    /* which ends its stream */
    unsigned  closing:1;                /* a header block began with
                                           END_STREAM and goes on */
} ms_mux_in_t;


typedef struct {
    uint8_t  *pos;                      /* of a stream: header and payload, as
                                           far as it came; else the payload */
    uint8_t  *last;
    uint32_t  stream;
    size_t    data;                     /* the flow-controlled length of a DATA
                                           frame that begins here */
    uint8_t   type;
    uint8_t   flags;
    unsigned  end:1;                    /* nothing follows on this stream */
} ms_mux_piece_t;


/*
 * Reads what comes next between "pos" and "last" and moves "pos" behind it.
 * The caller puts what is left before the bytes that come next: no more than
 * MS_FRAME_HEADER + MS_FRAME_MAX bytes.
 */
ms_mux_in_e ms_mux_in_next(ms_mux_in_t *in, uint8_t **pos, uint8_t *last,
    ms_mux_piece_t *piece);


/* Writes the preface, SETTINGS without a table for HPACK and without pushes,
 * and the largest window for the connection; returns the end of it. */
uint8_t *ms_mux_preface(uint8_t *p, uint32_t window);

/* What a peer says in SETTINGS, as far as it matters here. */
typedef struct {
    uint32_t  limit;                    /* streams at once */
    uint32_t  window;                   /* of a new stream */
    uint32_t  table;                    /* of HPACK, bytes */
} ms_mux_settings_t;

/* Those that are not among them stay as they are; -1 if there are malformed
 * ones. */
int ms_mux_settings(const uint8_t *p, size_t len, ms_mux_settings_t *settings)
    __attribute__((warn_unused_result));

/* The id of the next stream; 0 if the connection has no more. */
uint32_t ms_mux_id(uint32_t *next);

/* Adds to a window; -1 if it gets too large. */
int ms_mux_window_add(int64_t *window, int64_t n)
    __attribute__((warn_unused_result));


#endif /* MS_WIRE_MUX_FRAMES_H */
