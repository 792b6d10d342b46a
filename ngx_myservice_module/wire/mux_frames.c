/*
 * Frames of calls that share one HTTP/2 connection to an instance, both ways.
 */

#include "wire/mux_frames.h"

#include <string.h>


#define MS_SETTING_HEADER_TABLE_SIZE  1
#define MS_SETTING_ENABLE_PUSH        2
#define MS_SETTING_MAX_STREAMS        3
#define MS_SETTING_WINDOW             4

#define MS_SETTING_SIZE               6


static const uint8_t  ms_mux_magic[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";


/* What follows the header of a frame from the grpc module. */
static ms_mux_out_e
ms_mux_out_begin(ms_mux_out_t *out)
{
    out->rest = ms_frame_length(out->head);
    out->type = out->head[MS_FRAME_TYPE];
    out->flags = out->head[MS_FRAME_FLAGS];
    out->skip = 0;

    switch (out->type) {

    case MS_FRAME_HEADERS:

        if (out->flags & (MS_FLAG_PADDED|MS_FLAG_PRIORITY)) {
            return MS_MUX_OUT_BAD;
        }

        break;

    case MS_FRAME_DATA:
    case MS_FRAME_RST_STREAM:
        break;

    case MS_FRAME_SETTINGS:
    case MS_FRAME_PING:
    case MS_FRAME_WINDOW_UPDATE:

        /* the shared connection has its own */

        out->skip = 1;
        break;

    default:
        return MS_MUX_OUT_BAD;
    }

    return out->rest > MS_FRAME_MAX ? MS_MUX_OUT_BAD : MS_MUX_OUT_HEAD;
}


ms_mux_out_e
ms_mux_out_next(ms_mux_out_t *out, const uint8_t **pos, const uint8_t *last)
{
    size_t        n;
    ms_mux_out_e  rc;

    while (*pos < last) {

        n = (size_t) (last - *pos);

        if (out->preface < MS_MUX_PREFACE) {

            if (n > (size_t) (MS_MUX_PREFACE - out->preface)) {
                n = (size_t) (MS_MUX_PREFACE - out->preface);
            }

            if (memcmp(*pos, ms_mux_magic + out->preface, n) != 0) {
                return MS_MUX_OUT_BAD;
            }

            out->preface = (uint8_t) (out->preface + n);
            *pos += n;
            continue;
        }

        if (out->head_len == MS_FRAME_HEADER) {

            if (!out->skip) {
                return MS_MUX_OUT_PAYLOAD;
            }

            n = n < out->rest ? n : out->rest;
            *pos += n;
            ms_mux_out_took(out, n);
            continue;
        }

        if (n > (size_t) (MS_FRAME_HEADER - out->head_len)) {
            n = (size_t) (MS_FRAME_HEADER - out->head_len);
        }

        memcpy(out->head + out->head_len, *pos, n);
        out->head_len = (uint8_t) (out->head_len + n);
        *pos += n;

        if (out->head_len < MS_FRAME_HEADER) {
            break;
        }

        rc = ms_mux_out_begin(out);

        ms_mux_out_took(out, 0);

        if (rc != MS_MUX_OUT_HEAD || !out->skip) {
            return rc;
        }
    }

    return MS_MUX_OUT_MORE;
}


void
ms_mux_out_took(ms_mux_out_t *out, size_t n)
{
    out->rest -= n;

    if (out->rest == 0) {
        out->head_len = 0;
    }
}


int
ms_mux_out_block(ms_mux_out_t *out, const uint8_t **pos, const uint8_t *last,
    size_t *len)
{
    size_t          n;
    uint8_t         flags;
    const uint8_t  *p;

    p = *pos;
    n = out->rest;
    flags = out->flags;
    *len = 0;

    for ( ;; ) {

        if (n > (size_t) (last - p)) {
            return -1;
        }

        p += n;
        *len += n;

        if (flags & MS_FLAG_END_HEADERS) {
            break;
        }

        if (last - p < MS_FRAME_HEADER
            || p[MS_FRAME_TYPE] != MS_FRAME_CONTINUATION)
        {
            return -1;
        }

        n = ms_frame_length(p);
        flags = p[MS_FRAME_FLAGS];
        p += MS_FRAME_HEADER;
    }

    *pos = p;
    ms_mux_out_took(out, out->rest);

    return 0;
}


void
ms_mux_out_join(uint8_t *to, const uint8_t *pos, size_t first, size_t len)
{
    size_t  n;

    for (n = first; /* void */; n = ms_frame_length(pos - MS_FRAME_HEADER)) {
        memcpy(to, pos, n);
        to += n;
        len -= n;

        if (len == 0) {
            return;
        }

        pos += n + MS_FRAME_HEADER;
    }
}


/* A frame of a stream: the grpc module of the call judges what is in it. */
static void
ms_mux_in_begin(ms_mux_in_t *in, uint8_t *p, ms_mux_piece_t *piece)
{
    uint8_t  type, flags;

    type = p[MS_FRAME_TYPE];
    flags = p[MS_FRAME_FLAGS];

    in->rest = ms_frame_length(p);
    in->stream = ms_frame_stream(p);
    in->type = type;
    in->flags = flags;
    in->end = 0;

    switch (type) {

    case MS_FRAME_DATA:
        piece->data = in->rest;
        in->end = (flags & MS_FLAG_END_STREAM) != 0;
        break;

    case MS_FRAME_RST_STREAM:
        in->end = 1;
        break;

    case MS_FRAME_HEADERS:
        in->block = in->stream;
        in->closing = (flags & MS_FLAG_END_STREAM) != 0;

        /* fall through */

    case MS_FRAME_CONTINUATION:

        if (flags & MS_FLAG_END_HEADERS) {
            in->end = in->closing;
            in->closing = 0;
            in->block = 0;
        }

        break;
    }

    (void) ms_frame_put_u32(p + MS_FRAME_STREAM, 1);
}


/* Whether the frame belongs to the connection, or to its flow control. */
static int
ms_mux_in_control(const uint8_t *p)
{
    switch (p[MS_FRAME_TYPE]) {

    case MS_FRAME_DATA:
    case MS_FRAME_HEADERS:
    case MS_FRAME_RST_STREAM:
    case MS_FRAME_PUSH_PROMISE:
    case MS_FRAME_CONTINUATION:
        return 0;

    default:
        return 1;
    }
}


/* Nothing comes between the frames of a header block, section 4.3. */
static int
ms_mux_in_block(const ms_mux_in_t *in, const ms_mux_piece_t *piece)
{
    if (piece->type == MS_FRAME_CONTINUATION) {
        return in->block != 0 && in->block == piece->stream;
    }

    return in->block == 0;
}


static ms_mux_in_e
ms_mux_in_judge(const ms_mux_piece_t *piece)
{
    size_t  len;

    len = (size_t) (piece->last - piece->pos);

    switch (piece->type) {

    case MS_FRAME_SETTINGS:

        if (piece->stream || len % MS_SETTING_SIZE
            || ((piece->flags & MS_FLAG_ACK) && len))
        {
            return MS_MUX_IN_BAD;
        }

        break;

    case MS_FRAME_PING:

        if (piece->stream || len != 8) {
            return MS_MUX_IN_BAD;
        }

        break;

    case MS_FRAME_GOAWAY:

        if (piece->stream || len < 8) {
            return MS_MUX_IN_BAD;
        }

        break;

    case MS_FRAME_WINDOW_UPDATE:

        if (len != 4) {
            return MS_MUX_IN_BAD;
        }

        break;
    }

    return MS_MUX_IN_CONTROL;
}


ms_mux_in_e
ms_mux_in_next(ms_mux_in_t *in, uint8_t **pos, uint8_t *last,
    ms_mux_piece_t *piece)
{
    size_t    n, left;
    uint8_t  *p;

    p = *pos;
    left = (size_t) (last - p);

    piece->pos = p;
    piece->data = 0;

    if (in->rest == 0) {

        if (left < MS_FRAME_HEADER) {
            return MS_MUX_IN_MORE;
        }

        piece->type = p[MS_FRAME_TYPE];
        piece->flags = p[MS_FRAME_FLAGS];
        piece->stream = ms_frame_stream(p);

        n = ms_frame_length(p);

        if (!ms_mux_in_block(in, piece)) {
            return MS_MUX_IN_BAD;
        }

        if (ms_mux_in_control(p)) {

            if (n > MS_FRAME_MAX) {
                return MS_MUX_IN_BAD;
            }

            if (left - MS_FRAME_HEADER < n) {
                return MS_MUX_IN_MORE;
            }

            piece->pos = p + MS_FRAME_HEADER;
            piece->last = piece->pos + n;
            piece->end = 0;
            *pos = piece->last;

            return ms_mux_in_judge(piece);
        }

        if (piece->stream == 0) {
            return MS_MUX_IN_BAD;
        }

        ms_mux_in_begin(in, p, piece);

        p += MS_FRAME_HEADER;
        left -= MS_FRAME_HEADER;

    } else if (left == 0) {
        return MS_MUX_IN_MORE;
    }

    n = in->rest < left ? in->rest : left;
    in->rest -= n;

    piece->type = in->type;
    piece->flags = in->flags;
    piece->stream = in->stream;
    piece->last = p + n;
    piece->end = in->end && in->rest == 0;
    *pos = piece->last;

    return MS_MUX_IN_STREAM;
}


static uint8_t *
ms_mux_setting(uint8_t *p, uint8_t id, uint32_t value)
{
    p[0] = 0;
    p[1] = id;

    return ms_frame_put_u32(p + 2, value);
}


uint8_t *
ms_mux_preface(uint8_t *p, uint32_t window)
{
    memcpy(p, ms_mux_magic, MS_MUX_PREFACE);
    p += MS_MUX_PREFACE;

    p = ms_frame_put_header(p, 3 * MS_SETTING_SIZE, MS_FRAME_SETTINGS, 0, 0);
    p = ms_mux_setting(p, MS_SETTING_HEADER_TABLE_SIZE, 0);
    p = ms_mux_setting(p, MS_SETTING_ENABLE_PUSH, 0);
    p = ms_mux_setting(p, MS_SETTING_WINDOW, window);

    p = ms_frame_put_header(p, 4, MS_FRAME_WINDOW_UPDATE, 0, 0);

    return ms_frame_put_u32(p, MS_MUX_WINDOW_MAX - MS_MUX_WINDOW_INIT);
}


int
ms_mux_settings(const uint8_t *p, size_t len, ms_mux_settings_t *settings)
{
    uint32_t        value;
    const uint8_t  *last;

    for (last = p + len; p < last; p += MS_SETTING_SIZE) {

        value = (uint32_t) p[2] << 24 | (uint32_t) p[3] << 16
                | (uint32_t) p[4] << 8 | p[5];

        switch (p[0] << 8 | p[1]) {

        case MS_SETTING_HEADER_TABLE_SIZE:
            settings->table = value;
            break;

        case MS_SETTING_MAX_STREAMS:
            settings->limit = value;
            break;

        case MS_SETTING_WINDOW:

            if (value > MS_MUX_WINDOW_MAX) {
                return -1;
            }

            settings->window = value;
            break;
        }
    }

    return 0;
}


uint32_t
ms_mux_id(uint32_t *next)
{
    uint32_t  id;

    id = *next;

    if (id > MS_MUX_WINDOW_MAX) {
        return 0;
    }

    *next += 2;

    return id;
}


int
ms_mux_window_add(int64_t *window, int64_t n)
{
    *window += n;

    return *window > MS_MUX_WINDOW_MAX ? -1 : 0;
}
