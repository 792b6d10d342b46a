/*
 * The header of an HTTP/2 frame (RFC 9113 section 4.1): three bytes of length,
 * one of type, one of flags, four of the stream's id.
 */

#ifndef MS_WIRE_FRAME_H
#define MS_WIRE_FRAME_H


#include <stddef.h>
#include <stdint.h>


#define MS_FRAME_HEADER   9             /* bytes */
#define MS_FRAME_TYPE     3             /* offsets */
#define MS_FRAME_FLAGS    4
#define MS_FRAME_STREAM   5

/* the longest payload before the peer has allowed more */
#define MS_FRAME_MAX      16384

#define MS_FRAME_DATA           0x0
#define MS_FRAME_HEADERS        0x1
#define MS_FRAME_PRIORITY       0x2
#define MS_FRAME_RST_STREAM     0x3
#define MS_FRAME_SETTINGS       0x4
#define MS_FRAME_PUSH_PROMISE   0x5
#define MS_FRAME_PING           0x6
#define MS_FRAME_GOAWAY         0x7
#define MS_FRAME_WINDOW_UPDATE  0x8
#define MS_FRAME_CONTINUATION   0x9

#define MS_FLAG_END_STREAM   0x01
#define MS_FLAG_ACK          0x01
#define MS_FLAG_END_HEADERS  0x04
#define MS_FLAG_PADDED       0x08
#define MS_FLAG_PRIORITY     0x20


/* Of the payload. */
static inline size_t
ms_frame_length(const uint8_t *frame)
{
    return (size_t) frame[0] << 16 | (size_t) frame[1] << 8 | frame[2];
}


static inline void
ms_frame_set_length(uint8_t *frame, size_t len)
{
    frame[0] = (uint8_t) (len >> 16);
    frame[1] = (uint8_t) (len >> 8);
    frame[2] = (uint8_t) len;
}


/* 31 bits, without the reserved one. */
static inline uint32_t
ms_frame_u31(const uint8_t *p)
{
    return ((uint32_t) p[0] << 24 | (uint32_t) p[1] << 16
            | (uint32_t) p[2] << 8 | p[3])
           & 0x7fffffff;
}


static inline uint32_t
ms_frame_stream(const uint8_t *frame)
{
    return ms_frame_u31(frame + MS_FRAME_STREAM);
}


/* Writes 32 bits; returns the end of them. */
static inline uint8_t *
ms_frame_put_u32(uint8_t *p, uint32_t n)
{
    p[0] = (uint8_t) (n >> 24);
    p[1] = (uint8_t) (n >> 16);
    p[2] = (uint8_t) (n >> 8);
    p[3] = (uint8_t) n;

    return p + 4;
}


/* Writes the header of a frame; returns the end of it. */
static inline uint8_t *
ms_frame_put_header(uint8_t *frame, size_t len, uint8_t type, uint8_t flags,
    uint32_t stream)
{
    ms_frame_set_length(frame, len);
    frame[MS_FRAME_TYPE] = type;
    frame[MS_FRAME_FLAGS] = flags;

    return ms_frame_put_u32(frame + MS_FRAME_STREAM, stream);
}


#endif /* MS_WIRE_FRAME_H */
