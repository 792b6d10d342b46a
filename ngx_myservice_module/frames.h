/*
 * A look at the HTTP/2 frames (RFC 9113 section 4) an instance sent, before
 * nginx's grpc module consumes them.
 */

#ifndef MS_FRAMES_H
#define MS_FRAMES_H


#include <stddef.h>
#include <stdint.h>


#define MS_FRAME_HEADER   9
#define MS_FRAMES_TAIL    13         /* a whole RST_STREAM frame */

#define MS_FRAMES_REFUSED  0x01     /* stream "id" was not processed: GOAWAY
                                       with a lower last id (section 6.8), or
                                       RST_STREAM REFUSED_STREAM (8.7) */
#define MS_FRAMES_RESET    0x02     /* stream "id" ended by RST_STREAM */


/* what was seen of the frames of a connection, all zero at the start of one */
typedef struct {
    uint8_t   begin[MS_FRAMES_TAIL];
    size_t    len;                   /* of that, of the frame at hand */
    size_t    skip;                  /* bytes of it that do not matter */
    unsigned  found;
} ms_frames_t;


/*
 * Looks at the bytes that came next, wherever they end within a frame.
 * Returns all that was found so far of stream "id", which does not change.
 */
unsigned ms_frames_scan(ms_frames_t *frames, const uint8_t *pos,
    const uint8_t *last, uint32_t id);

/*
 * Drops RST_STREAM and WINDOW_UPDATE frames of streams before "id" that came
 * late on a kept-alive connection: the grpc module takes them for errors of
 * the new stream.  "pos" is at the start of a frame; moves "*last" back by
 * what was dropped.  Returns the length of an unfinished frame at the end
 * that is old or may turn out to be, less than MS_FRAMES_TAIL, else 0.
 */
size_t ms_frames_drop_old(uint8_t *pos, uint8_t **last, uint32_t id);


#endif /* MS_FRAMES_H */
