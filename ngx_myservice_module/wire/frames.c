/*
 * A filter for the HTTP/2 frames (RFC 9113 section 4) that an instance sends,
 * before nginx's grpc module gets them.
 */

#include "wire/frames.h"

#include <string.h>


#define MS_ERROR_REFUSED_STREAM  0x7


/* How many bytes of a frame must be there to judge it; "p" has its header. */
static size_t
ms_frames_need(const ms_frames_t *frames, const uint8_t *p, uint32_t id)
{
    size_t  len;

    if (frames->answered) {
        return MS_FRAME_HEADER;
    }

    len = ms_frame_length(p);

    if ((p[MS_FRAME_TYPE] == MS_FRAME_RST_STREAM && len == 4)
        || (p[MS_FRAME_TYPE] == MS_FRAME_GOAWAY && len >= 8))
    {
        return MS_FRAME_HEADER + 4;
    }

    if (p[MS_FRAME_TYPE] == MS_FRAME_HEADERS && ms_frame_stream(p) == id) {
        len += MS_FRAME_HEADER;
        return len < MS_FRAMES_HELD ? len : MS_FRAMES_HELD;
    }

    return MS_FRAME_HEADER;
}


/*
 * Returns 1 if a HEADERS frame begins with a ":status" of 1xx, in whichever of
 * the forms of RFC 7541.  No such field is in the static table, and the grpc
 * module allows no dynamic table.
 */
static int
ms_frames_interim(const uint8_t *p, size_t len)
{
    unsigned        index;
    const uint8_t  *last;

    static const uint8_t  name[] = ":status";
    static const uint8_t  huffman[] = { 0xb8, 0x84, 0x8d, 0x36, 0xa3 };

    if (p[MS_FRAME_FLAGS] & MS_FLAG_END_STREAM) {
        return 0;
    }

    last = p + len;
    p += MS_FRAME_HEADER + ((p[MS_FRAME_FLAGS] & MS_FLAG_PADDED) ? 1 : 0)
         + ((p[MS_FRAME_FLAGS] & MS_FLAG_PRIORITY) ? 5 : 0);

    while (p < last && *p == 0x20) {

        /* the instance sets the table's size to zero, section 6.3 */

        p++;
    }

    if (p >= last || (*p & 0x80)) {
        return 0;
    }

    index = *p & ((*p & 0x40) ? 0x3f : 0x0f);
    p++;

    if (index == 0) {

        if (last - p >= 8 && p[0] == 7 && memcmp(p + 1, name, 7) == 0) {
            p += 8;

        } else if (last - p >= 6 && p[0] == 0x85
                   && memcmp(p + 1, huffman, 5) == 0)
        {
            p += 6;

        } else {
            return 0;
        }

    } else if (index < 8 || index > 14) {
        return 0;
    }

    if (last - p < 2) {
        return 0;
    }

    /* the Huffman code of "1" is 00001 */

    return p[0] == 3 ? p[1] == '1'
                     : (p[0] & 0x80) && (p[1] & 0xf8) == 0x08;
}


/* What a frame says of stream "id"; "len" bytes of the frame are there. */
static unsigned
ms_frames_meaning(const uint8_t *p, size_t len, uint32_t id)
{
    const uint8_t  *payload;

    if (len != MS_FRAME_HEADER + 4) {
        return 0;
    }

    payload = p + MS_FRAME_HEADER;

    if (p[MS_FRAME_TYPE] == MS_FRAME_GOAWAY) {
        return ms_frame_u31(payload) < id ? MS_FRAMES_REFUSED : 0;
    }

    if (p[MS_FRAME_TYPE] != MS_FRAME_RST_STREAM || ms_frame_stream(p) != id) {
        return 0;
    }

    if (payload[0] == 0 && payload[1] == 0 && payload[2] == 0
        && payload[3] == MS_ERROR_REFUSED_STREAM)
    {
        return MS_FRAMES_RESET|MS_FRAMES_REFUSED;
    }

    return MS_FRAMES_RESET;
}


static void
ms_frames_begin(ms_frames_t *frames, const uint8_t *p, size_t len, uint32_t id)
{
    uint8_t   type;
    uint32_t  stream;

    type = p[MS_FRAME_TYPE];
    stream = ms_frame_stream(p);

    frames->rest = MS_FRAME_HEADER + ms_frame_length(p);
    frames->drop = stream != 0 && stream < id;

    if (frames->drop) {

        if (type != MS_FRAME_PRIORITY && type != MS_FRAME_RST_STREAM
            && type != MS_FRAME_WINDOW_UPDATE)
        {
            frames->found |= MS_FRAMES_STRAY;
        }

        return;
    }

    if (frames->answered) {
        return;
    }

    frames->found |= ms_frames_meaning(p, len, id);

    if (stream != id) {
        return;
    }

    if (type == MS_FRAME_HEADERS) {
        frames->interim = ms_frames_interim(p, len);
        frames->answered = !frames->interim;
    }

    if (frames->interim
        && (type == MS_FRAME_HEADERS || type == MS_FRAME_CONTINUATION))
    {
        frames->drop = 1;
        frames->interim = !(p[MS_FRAME_FLAGS] & MS_FLAG_END_HEADERS);
    }
}


size_t
ms_frames_take(ms_frames_t *frames, uint8_t *pos, const uint8_t *last,
    uint32_t id)
{
    size_t    n, left;
    uint8_t  *p, *out;

    out = pos;

    for (p = pos; p < last; p += n) {

        left = (size_t) (last - p);

        if (frames->rest == 0) {

            n = left < MS_FRAME_HEADER ? MS_FRAME_HEADER
                                       : ms_frames_need(frames, p, id);

            if (left < n) {
                memcpy(frames->held, p, left);
                frames->len = left;
                break;
            }

            ms_frames_begin(frames, p, n, id);
        }

        n = frames->rest < left ? frames->rest : left;
        frames->rest -= n;

        if (frames->drop) {
            continue;
        }

        if (out != p) {
            memmove(out, p, n);
        }

        out += n;
    }

    return (size_t) (out - pos);
}
