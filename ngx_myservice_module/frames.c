
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


unsigned
ms_frames_scan(const uint8_t *pos, const uint8_t *last, uint32_t id)
{
    size_t          len;
    const uint8_t  *payload;

    while (last - pos >= MS_FRAME_HEADER) {

        len = ms_frames_length(pos);
        payload = pos + MS_FRAME_HEADER;

        if (pos[3] == MS_FRAME_RST_STREAM && ms_frames_u31(pos + 5) == id
            && len == 4 && last - payload >= 4)
        {
            if (payload[0] == 0 && payload[1] == 0 && payload[2] == 0
                && payload[3] == MS_ERROR_REFUSED_STREAM)
            {
                return MS_FRAMES_RESET|MS_FRAMES_REFUSED;
            }

            return MS_FRAMES_RESET;
        }

        if (pos[3] == MS_FRAME_GOAWAY && len >= 8 && last - payload >= 4
            && ms_frames_u31(payload) < id)
        {
            return MS_FRAMES_REFUSED;
        }

        if ((size_t) (last - payload) < len) {
            break;
        }

        pos = payload + len;
    }

    return 0;
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
