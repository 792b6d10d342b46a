/*
 * libFuzzer: what clients send, with values that they repeat.  An input is a
 * list of steps: bytes of a block, strings that are long, ends of frames, ends
 * of reads.  nghttp2 decodes the same fields before and after, or refuses both;
 * frames without a whole block stay as they are.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nghttp2/nghttp2.h>

#include "wire/header_block.h"
#include "wire/repeated.h"


#define must(condition)                                                       \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "not true: %s\n", #condition);                    \
            abort();                                                          \
        }                                                                     \
    } while (0)

#define MAX  (1 << 20)


static uint8_t  sent[MAX], came[2 * MAX];
static size_t   cuts[8192];


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void *
take(void *data, size_t size)
{
    (void) data;

    return malloc(size);
}


/* A value without indexing: a's, and with odd numbers something else in it. */
static uint8_t *
string(uint8_t *p, unsigned number)
{
    size_t  i, len;

    static const uint8_t  as[] = { 0x18, 0xc6, 0x31, 0x8c, 0x63 };

    len = 60 + 20 * (number & 3);
    *p++ = 0x10;
    *p++ = 1;
    *p++ = 'n';

    if (len < 127) {
        *p++ = 0x80 | (uint8_t) len;

    } else {
        *p++ = 0xff;
        *p++ = (uint8_t) (len - 127);
    }

    for (i = 0; i < len; i++) {
        *p++ = as[i % sizeof(as)];
    }

    if (number & 4) {
        p[-20] = (uint8_t) (number * 37);
    }

    return p;
}


/* Returns how many bytes of "sent" there are, "n" how many cuts. */
static size_t
steps(const uint8_t *data, size_t size, size_t *n)
{
    size_t          len;
    uint8_t        *p, *frame;
    const uint8_t  *last;

    last = data + size;
    frame = sent;
    p = frame + MS_FRAME_HEADER;
    *n = 0;

    while (data < last && p - sent < MAX - 1024) {
        len = *data >> 2;

        switch (*data++ & 3) {

        case 0:
            len = len & 15;
            len = len < (size_t) (last - data) ? len : (size_t) (last - data);
            memcpy(p, data, len);
            p += len;
            data += len;
            break;

        case 1:
            p = string(p, (unsigned) len);
            break;

        case 2:
            len = (size_t) (p - frame) - MS_FRAME_HEADER;

            if (last - data >= 2) {
                (void) ms_frame_put_header(frame, len, data[0] & 1, data[1], 1);
                data += 2;

            } else {
                (void) ms_frame_put_header(frame, len, 1, 4, 1);
            }

            frame = p;
            p += MS_FRAME_HEADER;
            break;

        default:
            cuts[(*n)++] = (size_t) (p - sent) + len;
        }
    }

    return (size_t) (frame - sent);
}


/* Returns -1 if nghttp2 refuses the block. */
static ssize_t
decode(nghttp2_hd_inflater *inflater, const uint8_t *p, size_t len,
    uint8_t *text)
{
    int         flags;
    ssize_t     n;
    uint8_t    *end;
    nghttp2_nv  nv;

    end = text;

    do {
        flags = 0;
        n = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, p, len, 1);

        if (n < 0) {
            return -1;
        }

        p += n;
        len -= (size_t) n;

        if (flags & NGHTTP2_HD_INFLATE_EMIT) {

            if (end - text > 60 * MAX) {
                return -1;
            }

            end = ms_field_write(end, nv.name, nv.namelen, nv.value,
                                 nv.valuelen);
        }

    } while (!(flags & NGHTTP2_HD_INFLATE_FINAL));

    must(nghttp2_hd_inflate_end_headers(inflater) == 0);

    return end - text;
}


/* Where the block of a HEADERS frame is; NULL: it has no whole one. */
static const uint8_t *
block(const uint8_t *frame, size_t *len)
{
    size_t   front, padding;
    uint8_t  flags;

    flags = frame[MS_FRAME_FLAGS];
    *len = ms_frame_length(frame);
    front = (flags & MS_FLAG_PADDED ? 1 : 0)
            + (flags & MS_FLAG_PRIORITY ? 5 : 0);
    padding = flags & MS_FLAG_PADDED ? frame[MS_FRAME_HEADER] : 0;

    if (frame[MS_FRAME_TYPE] != MS_FRAME_HEADERS
        || !(flags & MS_FLAG_END_HEADERS) || front + padding > *len)
    {
        return NULL;
    }

    *len -= front + padding;

    return frame + MS_FRAME_HEADER + front;
}


static void
compare(size_t sent_len, size_t came_len)
{
    size_t                n, was_len, is_len;
    ssize_t               len;
    const uint8_t        *was, *is, *was_block, *is_block;
    nghttp2_hd_inflater  *before, *after;

    static uint8_t  was_text[64 * MAX], is_text[64 * MAX];

    must(nghttp2_hd_inflate_new(&before) == 0);
    must(nghttp2_hd_inflate_new(&after) == 0);
    is = came;

    for (was = sent; was < sent + sent_len; was += n) {
        n = MS_FRAME_HEADER + ms_frame_length(was);
        must(is + n <= came + came_len);
        must(memcmp(was + MS_FRAME_TYPE, is + MS_FRAME_TYPE,
                    MS_FRAME_HEADER - MS_FRAME_TYPE) == 0);

        was_block = block(was, &was_len);

        if (was_block == NULL || ms_frame_length(is) + MS_FRAME_HEADER == n) {
            must(memcmp(was, is, n) == 0);
        }

        if (was_block) {
            is_block = block(is, &is_len);
            must(is_block != NULL);
            len = decode(before, was_block, was_len, was_text);
            must(decode(after, is_block, is_len, is_text) == len);

            if (len < 0) {
                break;
            }

            must(memcmp(was_text, is_text, (size_t) len) == 0);
            must(nghttp2_hd_inflate_get_dynamic_table_size(before)
                 == nghttp2_hd_inflate_get_dynamic_table_size(after));
        }

        is += MS_FRAME_HEADER + ms_frame_length(is);
    }

    must(was < sent + sent_len || is == came + came_len);

    nghttp2_hd_inflate_del(before);
    nghttp2_hd_inflate_del(after);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t         len, n, i, pos, part, room, came_len;
    ms_repeated_t  repeated;

    if (size > 8192) {
        return 0;
    }

    memset(&repeated, 0, sizeof(repeated));
    repeated.alloc = take;
    repeated.free = free;
    repeated.limit = 150;

    len = steps(data, size, &n);
    came_len = 0;

    for (i = 0, pos = 0; pos < len; i++) {
        part = len - pos;

        if (i < n) {
            part = cuts[i] > pos && cuts[i] < len ? cuts[i] - pos : 0;
        }

        memcpy(came + came_len, sent + pos, part);
        pos += part;
        room = part + part / 2;
        part = ms_repeated_read(&repeated, came + came_len, part, room);
        must(part <= room);
        came_len += part;
    }

    ms_repeated_free(&repeated);
    compare(len, came_len);

    return 0;
}
