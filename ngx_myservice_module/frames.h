/*
 * A look at the HTTP/2 frames (RFC 9113 section 4) an instance sent, before
 * nginx's grpc module consumes them.
 */

#ifndef MS_FRAMES_H
#define MS_FRAMES_H


#include <stddef.h>
#include <stdint.h>


#define MS_FRAME_HEADER   9

#define MS_FRAMES_REFUSED  0x01     /* stream "id" was not processed: GOAWAY
                                       with a lower last id (section 6.8), or
                                       RST_STREAM REFUSED_STREAM (8.7) */
#define MS_FRAMES_RESET    0x02     /* stream "id" ended by RST_STREAM */


/* "pos" is at the start of a frame. */
unsigned ms_frames_scan(const uint8_t *pos, const uint8_t *last, uint32_t id);

/*
 * Drops RST_STREAM and WINDOW_UPDATE frames of streams before "id" that came
 * late on a kept-alive connection: the grpc module takes them for errors of
 * the new stream.  Moves "*last" back by what was dropped.  Returns 1 when
 * the frames that follow are not old, 0 when more bytes are needed to tell.
 */
int ms_frames_drop_old(uint8_t *pos, uint8_t **last, uint32_t id);


#endif /* MS_FRAMES_H */
