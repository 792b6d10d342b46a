/*
 * A filter for the HTTP/2 frames (RFC 9113 section 4) that an instance sends,
 * before nginx's grpc module gets them.  That module fails on every frame of
 * another stream.  The filter removes frames that come late for an earlier
 * call of a kept-alive connection, and interim answers (1xx).
 */

#ifndef MS_WIRE_FRAMES_H
#define MS_WIRE_FRAMES_H


#include <stddef.h>
#include <stdint.h>

#include "wire/frame.h"


#define MS_FRAMES_HELD  32           /* bytes of a frame held back, at most */

#define MS_FRAMES_REFUSED  0x01     /* the instance did not process stream
                                       "id": GOAWAY with a lower last id
                                       (section 6.8), or RST_STREAM
                                       REFUSED_STREAM (8.7) */
#define MS_FRAMES_RESET  0x02       /* RST_STREAM ended stream "id" */
#define MS_FRAMES_STRAY  0x04       /* an earlier stream, which nginx has
                                       closed, goes on: the instance counts
                                       its bytes and fields, nginx does not */


/* The frames of one connection; all zero when it opens. */
typedef struct {
    uint8_t   held[MS_FRAMES_HELD];  /* the first bytes of the next frame */
    size_t    len;                   /* how many, fewer than are needed */
    size_t    rest;                  /* bytes to come of the current frame */
    unsigned  found;                 /* MS_FRAMES_REFUSED and the others */
    unsigned  drop:1;                /* removes the current frame */
    unsigned  interim:1;             /* and the CONTINUATION frames after it */
    unsigned  answered:1;            /* the final header has begun: from now
                                        on only earlier streams matter */
} ms_frames_t;


/*
 * Reads the next bytes, "pos" to "last", and removes in place those that
 * belong to streams before "id", the caller's own stream.  Returns how many
 * bytes are left at "pos".  The first bytes of a frame that can not be judged
 * yet are in "held": the caller puts them before the bytes that come next and
 * sets "len" to 0.  Once "answered", these are fewer than MS_FRAME_HEADER.
 */
size_t ms_frames_take(ms_frames_t *frames, uint8_t *pos, const uint8_t *last,
    uint32_t id);


#endif /* MS_WIRE_FRAMES_H */
