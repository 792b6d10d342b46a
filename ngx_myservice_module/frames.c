
#include "frames.h"

#include <string.h>


#define MS_FRAME_RST_STREAM      0x3
#define MS_FRAME_GOAWAY          0x7
#define MS_FRAME_WINDOW_UPDATE   0x8

#define MS_ERROR_REFUSED_STREAM  0x7


static uint32_t
ms_frames_u31(const uint8_t *p)
{
    return (uint32_t) (p[0] & 0x7f) << 24 | (uint32_t) p[1] << 16
           | (uint32_t) p[2] << 8 | p[3];
}


static size_t
ms_frames_length(const uint8_t *p)
{
    return (size_t) p[0] << 16 | (size_t) p[1] << 8 | p[2];
}


/* whether what follows the header of a frame is to be looked at */

static int
ms_frames_matters(const uint8_t *p, uint32_t id)
{
    if (p[3] == MS_FRAME_RST_STREAM) {
        return ms_frames_u31(p + 5) == id && ms_frames_length(p) == 4;
    }

    return p[3] == MS_FRAME_GOAWAY && ms_frames_length(p) >= 8;
}


/* "p" has the header and the first four bytes after it */

static unsigned
ms_frames_meaning(const uint8_t *p, uint32_t id)
{
    const uint8_t  *payload;

    payload = p + MS_FRAME_HEADER;

    if (p[3] == MS_FRAME_GOAWAY) {
        return ms_frames_u31(payload) < id ? MS_FRAMES_REFUSED : 0;
    }

    if (payload[0] == 0 && payload[1] == 0 && payload[2] == 0
        && payload[3] == MS_ERROR_REFUSED_STREAM)
    {
        return MS_FRAMES_RESET|MS_FRAMES_REFUSED;
    }

    return MS_FRAMES_RESET;
}


unsigned
ms_frames_scan(ms_frames_t *frames, const uint8_t *pos, const uint8_t *last,
    uint32_t id)
{
    size_t  n;

    while (pos < last && frames->found == 0) {

        if (frames->skip) {
            n = (size_t) (last - pos);
            n = frames->skip < n ? frames->skip : n;
            frames->skip -= n;
            pos += n;
            continue;
        }

        if (frames->len == 0 && last - pos >= MS_FRAME_HEADER
            && !ms_frames_matters(pos, id))
        {
            frames->skip = ms_frames_length(pos);
            pos += MS_FRAME_HEADER;
            continue;
        }

        frames->begin[frames->len++] = *pos++;

        if (frames->len == MS_FRAME_HEADER
            && !ms_frames_matters(frames->begin, id))
        {
            frames->skip = ms_frames_length(frames->begin);
            frames->len = 0;

        } else if (frames->len == MS_FRAMES_TAIL) {
            frames->found = ms_frames_meaning(frames->begin, id);
            frames->skip = ms_frames_length(frames->begin)
                           - (MS_FRAMES_TAIL - MS_FRAME_HEADER);
            frames->len = 0;
        }
    }

    return frames->found;
}


size_t
ms_frames_drop_old(uint8_t *pos, uint8_t **last, uint32_t id)
{
    int       old;
    size_t    len;
    uint32_t  stream;

    while (*last - pos >= MS_FRAME_HEADER) {

        len = MS_FRAME_HEADER + ms_frames_length(pos);
        stream = ms_frames_u31(pos + 5);

        if (stream == id) {
            return 0;
        }

        old = stream != 0 && stream < id && len == MS_FRAMES_TAIL
              && (pos[3] == MS_FRAME_RST_STREAM
                  || pos[3] == MS_FRAME_WINDOW_UPDATE);

        if ((size_t) (*last - pos) < len) {
            return old ? (size_t) (*last - pos) : 0;
        }

        if (old) {
            memmove(pos, pos + len, (size_t) (*last - pos) - len);
            *last -= len;
            continue;
        }

        pos += len;
    }

    return (size_t) (*last - pos);
}
