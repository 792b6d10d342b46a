/*
 * Adds fields to a header block that is encoded already: HEADERS and
 * CONTINUATION frames of HTTP/2 (RFC 9113 sections 6.2 and 6.10).
 */

#include "wire/header_block.h"

#include <string.h>

#include "wire/frame.h"
#include "wire/protobuf.h"


static size_t ms_block_frames(size_t last, size_t fields);
static uint8_t *ms_field_int(uint8_t *p, size_t n);


int
ms_block_find(ms_block_t *block, const uint8_t *p, size_t len)
{
    size_t  pos, n;

    block->end = 0;

    for (pos = 0; pos < len; pos += MS_FRAME_HEADER + n) {

        if (len - pos < MS_FRAME_HEADER) {
            return -1;
        }

        n = ms_frame_length(p + pos);

        if (n > len - pos - MS_FRAME_HEADER) {
            return -1;
        }

        switch (p[pos + MS_FRAME_TYPE]) {

        case MS_FRAME_HEADERS:
            block->stream = pos + MS_FRAME_STREAM;

            /* fall through */

        case MS_FRAME_CONTINUATION:
            block->frame = pos;
            block->end = pos + MS_FRAME_HEADER + n;
        }
    }

    return block->end == len && len != 0 ? 0 : -1;
}


size_t
ms_block_size(const ms_block_t *block, size_t fields)
{
    return block->end + fields
           + MS_FRAME_HEADER
             * ms_block_frames(block->end - block->frame - MS_FRAME_HEADER,
                               fields);
}


/* How many frames follow one that has "last" bytes of payload already. */
static size_t
ms_block_frames(size_t last, size_t fields)
{
    size_t  room;

    room = last < MS_FRAME_MAX ? MS_FRAME_MAX - last : 0;

    return fields <= room
           ? 0
           : (fields - room + MS_FRAME_MAX - 1) / MS_FRAME_MAX;
}


size_t
ms_block_append(const ms_block_t *block, uint8_t *p, const uint8_t *fields,
    size_t len)
{
    size_t    n, used;
    uint8_t  *frame, *end;

    frame = p + block->frame;
    end = p + block->end;
    used = block->end - block->frame - MS_FRAME_HEADER;

    for ( ;; ) {
        n = used < MS_FRAME_MAX ? MS_FRAME_MAX - used : 0;
        n = len < n ? len : n;

        memcpy(end, fields, n);
        end += n;
        fields += n;
        len -= n;

        ms_frame_set_length(frame, used + n);

        if (len == 0) {
            frame[MS_FRAME_FLAGS] |= MS_FLAG_END_HEADERS;
            return (size_t) (end - p);
        }

        frame[MS_FRAME_FLAGS] &= (uint8_t) ~MS_FLAG_END_HEADERS;

        frame = end;
        frame[MS_FRAME_TYPE] = MS_FRAME_CONTINUATION;
        frame[MS_FRAME_FLAGS] = 0;
        memcpy(frame + MS_FRAME_STREAM, p + block->stream, 4);

        end = frame + MS_FRAME_HEADER;
        used = 0;
    }
}


int
ms_fields_add(ms_fields_t *fields, const void *name, size_t name_len,
    const void *value, size_t value_len)
{
    if (ms_field_max(name_len, value_len) > fields->size - fields->len) {
        return -1;
    }

    fields->len = (size_t) (ms_field_write(fields->data + fields->len, name,
                                           name_len, value, value_len)
                            - fields->data);

    return 0;
}


uint8_t *
ms_field_write(uint8_t *p, const void *name, size_t name_len,
    const void *value, size_t value_len)
{
    *p++ = 0;

    p = ms_field_int(p, name_len);
    memcpy(p, name, name_len);
    p += name_len;

    p = ms_field_int(p, value_len);
    memcpy(p, value, value_len);

    return p + value_len;
}


/* RFC 7541 section 5.1, with a prefix of 7 bits; not Huffman-coded.  What does
 * not fit into the prefix follows in the same form as in protobuf. */
static uint8_t *
ms_field_int(uint8_t *p, size_t n)
{
    if (n < 0x7f) {
        *p++ = (uint8_t) n;
        return p;
    }

    *p++ = 0x7f;

    return ms_protobuf_write(p, n - 0x7f);
}
