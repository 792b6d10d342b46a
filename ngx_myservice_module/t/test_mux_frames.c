/* Frames of calls that share one HTTP/2 connection, both ways. */

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "wire/mux_frames.h"
#include "harness.h"


#define PRIORITY  0x2


static uint8_t   buffer[65536];
static uint8_t  *end;


static void
start(void)
{
    end = buffer;
}


static void
preface(void)
{
    memcpy(end, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", MS_MUX_PREFACE);
    end += MS_MUX_PREFACE;
}


static void
frame(uint8_t type, uint8_t flags, uint32_t stream, size_t len)
{
    end = ms_frame_put_header(end, len, type, flags, stream);
    memset(end, 'a' + type, len);
    end += len;
}


/* What is to be sent of the buffer, read in pieces of "step" bytes. */
static const char *
sent(size_t step)
{
    size_t          n;
    ms_mux_out_t    out;
    ms_mux_out_e    rc;
    const uint8_t  *pos, *last;

    static char     text[4096];
    char           *p;

    memset(&out, 0, sizeof(out));
    p = text;
    *p = '\0';

    for (pos = buffer; pos < end; /* void */) {
        last = (size_t) (end - pos) < step ? end : pos + step;

        while ((rc = ms_mux_out_next(&out, &pos, last)) != MS_MUX_OUT_MORE) {

            if (rc == MS_MUX_OUT_BAD) {
                strcpy(p, "bad");
                return text;
            }

            if (rc == MS_MUX_OUT_HEAD) {
                p += sprintf(p, "%s%d/%d:%zu", p == text ? "" : " ", out.type,
                             out.flags, out.rest);
                continue;
            }

            n = (size_t) (last - pos);
            n = n < out.rest ? n : out.rest;
            ck_assert_uint_gt(n, 0);
            ck_assert_int_eq(*pos, 'a' + out.type);
            pos += n;
            ms_mux_out_took(&out, n);
        }

        ck_assert_ptr_eq(pos, last);
    }

    return text;
}


static void
sent_is(const char *expected)
{
    size_t  step;

    for (step = 1; step < 50; step++) {
        ck_assert_str_eq(sent(step), expected);
    }

    ck_assert_str_eq(sent(sizeof(buffer)), expected);
}


START_TEST(out_request)
{
    start();
    preface();
    frame(MS_FRAME_SETTINGS, 0, 0, 18);
    frame(MS_FRAME_WINDOW_UPDATE, 0, 0, 4);
    frame(MS_FRAME_HEADERS, MS_FLAG_END_HEADERS, 1, 40);
    frame(MS_FRAME_DATA, 0, 1, 10);
    frame(MS_FRAME_SETTINGS, MS_FLAG_ACK, 0, 0);
    frame(MS_FRAME_PING, MS_FLAG_ACK, 0, 8);
    frame(MS_FRAME_DATA, MS_FLAG_END_STREAM, 1, 0);
    frame(MS_FRAME_RST_STREAM, 0, 1, 4);

    sent_is("1/4:40 0/0:10 0/1:0 3/0:4");
}
END_TEST


/* The block that HEADERS begin, without headers of frames; "" if it is not all
 * there. */
static const char *
block(void)
{
    size_t          len, first;
    ms_mux_out_t    out;
    const uint8_t  *pos, *from;

    static char  text[4096];

    memset(&out, 0, sizeof(out));
    text[0] = '\0';
    pos = buffer;

    ck_assert_int_eq(ms_mux_out_next(&out, &pos, end), MS_MUX_OUT_HEAD);
    ck_assert_int_eq(out.type, MS_FRAME_HEADERS);
    from = pos;
    first = out.rest;

    if (ms_mux_out_block(&out, &pos, end, &len) == 0) {
        ms_mux_out_join((uint8_t *) text, from, first, len);
        text[len] = '\0';

        /* the parser goes on behind it */
        ck_assert_int_eq(ms_mux_out_next(&out, &pos, end),
                         MS_MUX_OUT_HEAD);
        ck_assert_int_eq(out.type, MS_FRAME_DATA);
        ck_assert_uint_eq(out.rest, 5);
    }

    return text;
}


START_TEST(out_block)
{
    start();
    preface();
    frame(MS_FRAME_HEADERS, MS_FLAG_END_HEADERS, 1, 3);
    frame(MS_FRAME_DATA, 0, 1, 5);
    ck_assert_str_eq(block(), "bbb");

    start();
    preface();
    frame(MS_FRAME_HEADERS, MS_FLAG_END_STREAM, 1, 3);
    frame(MS_FRAME_CONTINUATION, 0, 1, 2);
    frame(MS_FRAME_CONTINUATION, MS_FLAG_END_HEADERS, 1, 0);
    frame(MS_FRAME_DATA, 0, 1, 5);
    ck_assert_str_eq(block(), "bbbjj");

    start();
    preface();
    frame(MS_FRAME_HEADERS, 0, 1, 0);
    frame(MS_FRAME_CONTINUATION, MS_FLAG_END_HEADERS, 1, 2);
    frame(MS_FRAME_DATA, 0, 1, 5);
    ck_assert_str_eq(block(), "jj");
}
END_TEST


START_TEST(out_block_in_parts)
{
    start();
    preface();
    frame(MS_FRAME_HEADERS, 0, 1, 3);
    ck_assert_str_eq(block(), "");

    start();
    preface();
    frame(MS_FRAME_HEADERS, 0, 1, 3);
    frame(MS_FRAME_DATA, 0, 1, 5);
    ck_assert_str_eq(block(), "");

    start();
    preface();
    frame(MS_FRAME_HEADERS, 0, 1, 3);
    frame(MS_FRAME_CONTINUATION, MS_FLAG_END_HEADERS, 1, 3);
    end--;
    ck_assert_str_eq(block(), "");
}
END_TEST


/* that is no grpc module, or another than is known */
START_TEST(out_bad)
{
    start();
    frame(MS_FRAME_HEADERS, MS_FLAG_END_HEADERS, 1, 20);
    sent_is("bad");

    start();
    preface();
    frame(MS_FRAME_GOAWAY, 0, 0, 8);
    sent_is("bad");

    start();
    preface();
    frame(MS_FRAME_CONTINUATION, MS_FLAG_END_HEADERS, 1, 1);
    sent_is("bad");

    start();
    preface();
    frame(MS_FRAME_HEADERS, MS_FLAG_PADDED, 1, 8);
    sent_is("bad");

    start();
    preface();
    frame(MS_FRAME_DATA, 0, 1, MS_FRAME_MAX + 1);
    sent_is("bad");
}
END_TEST


/* What the buffer says, read in pieces of "step" bytes with what is left from
 * before in front of them, as a connection does. */
static const char *
came(size_t step)
{
    size_t          from, to, left, n;
    uint8_t        *pos, *last;
    ms_mux_in_t     in;
    ms_mux_in_e     rc;
    ms_mux_piece_t  piece;
    uint32_t        stream;
    uint8_t         type;

    static uint8_t  read[sizeof(buffer)];
    static char     text[4096];
    char           *p;

    memset(&in, 0, sizeof(in));
    p = text;
    *p = '\0';
    left = 0;
    n = 0;
    stream = 0;
    type = 0;

    for (from = 0; buffer + from < end; from = to) {
        to = from + step;

        if (to > (size_t) (end - buffer)) {
            to = (size_t) (end - buffer);
        }

        memcpy(read + left, buffer + from, to - from);
        pos = read;
        last = read + left + (to - from);

        while ((rc = ms_mux_in_next(&in, &pos, last, &piece))
               != MS_MUX_IN_MORE)
        {
            if (rc == MS_MUX_IN_BAD) {
                strcpy(p, "bad");
                return text;
            }

            if (rc == MS_MUX_IN_CONTROL) {
                p += sprintf(p, "control %d:%zu ", piece.type,
                             (size_t) (piece.last - piece.pos));
                continue;
            }

            ck_assert(n == 0 || piece.stream == stream);
            stream = piece.stream;
            ck_assert(n == 0 || piece.type == type);
            type = piece.type;
            n += (size_t) (piece.last - piece.pos);

            if (piece.data) {
                p += sprintf(p, "data %zu ", piece.data);
            }

            if (in.rest == 0) {
                p += sprintf(p, "%u:%zu%s ", piece.stream, n,
                             piece.end ? " end" : "");
                n = 0;
            }
        }

        left = (size_t) (last - pos);
        ck_assert_uint_le(left, MS_FRAME_HEADER + MS_FRAME_MAX);
        memmove(read, pos, left);
    }

    return text;
}


static void
came_is(const char *expected)
{
    size_t  step;

    for (step = 1; step < 50; step++) {
        ck_assert_str_eq(came(step), expected);
    }

    ck_assert_str_eq(came(sizeof(buffer)), expected);
}


START_TEST(in_calls)
{
    start();
    frame(MS_FRAME_SETTINGS, 0, 0, 12);
    frame(MS_FRAME_HEADERS, MS_FLAG_END_HEADERS, 5, 10);
    frame(MS_FRAME_HEADERS, MS_FLAG_END_HEADERS, 7, 0);
    frame(MS_FRAME_DATA, 0, 7, 100);
    frame(PRIORITY, 0, 7, 5);
    frame(MS_FRAME_DATA, MS_FLAG_END_STREAM, 5, 0);
    frame(MS_FRAME_PING, 0, 0, 8);
    frame(0xfa, 0xff, 9, 3);
    frame(MS_FRAME_RST_STREAM, 0, 7, 4);
    frame(MS_FRAME_WINDOW_UPDATE, 0, 9, 4);
    frame(MS_FRAME_GOAWAY, 0, 0, 20);

    came_is("control 4:12 5:19 7:9 data 100 7:109 control 2:5 5:9 end "
            "control 6:8 control 250:3 7:13 end control 8:4 control 7:20 ");
}
END_TEST


START_TEST(in_end)
{
    start();
    frame(MS_FRAME_HEADERS, MS_FLAG_END_HEADERS|MS_FLAG_END_STREAM, 1, 30);
    came_is("1:39 end ");

    /* the end is that of the block */

    start();
    frame(MS_FRAME_HEADERS, MS_FLAG_END_STREAM, 1, 30);
    frame(MS_FRAME_CONTINUATION, 0, 1, 3);
    frame(MS_FRAME_CONTINUATION, MS_FLAG_END_HEADERS, 1, 4);
    frame(MS_FRAME_HEADERS, 0, 3, 1);
    frame(MS_FRAME_CONTINUATION, MS_FLAG_END_HEADERS, 3, 1);
    came_is("1:39 1:12 1:13 end 3:10 3:10 ");
}
END_TEST


/* every call believes in stream 1 */
START_TEST(in_id)
{
    uint8_t         *pos;
    ms_mux_in_t      in;
    ms_mux_piece_t   piece;

    memset(&in, 0, sizeof(in));
    start();
    frame(MS_FRAME_DATA, 0, 0x80000fff, 4);
    pos = buffer;

    ck_assert_int_eq(ms_mux_in_next(&in, &pos, end, &piece),
                     MS_MUX_IN_STREAM);
    ck_assert_uint_eq(piece.stream, 0xfff);
    ck_assert_uint_eq(ms_frame_stream(piece.pos), 1);
    ck_assert_ptr_eq(piece.last, end);
    ck_assert_int_eq(ms_mux_in_next(&in, &pos, end, &piece), MS_MUX_IN_MORE);
}
END_TEST


START_TEST(in_bad)
{
    size_t  i;

    static const struct {
        uint8_t   type;
        uint8_t   flags;
        uint32_t  stream;
        size_t    len;
    } bad[] = {
        { MS_FRAME_DATA, 0, 0, 1 },
        { MS_FRAME_HEADERS, MS_FLAG_END_HEADERS, 0, 1 },
        { MS_FRAME_SETTINGS, 0, 1, 6 },
        { MS_FRAME_SETTINGS, 0, 0, 5 },
        { MS_FRAME_SETTINGS, MS_FLAG_ACK, 0, 6 },
        { MS_FRAME_PING, 0, 1, 8 },
        { MS_FRAME_PING, 0, 0, 7 },
        { MS_FRAME_GOAWAY, 0, 1, 8 },
        { MS_FRAME_GOAWAY, 0, 0, 7 },
        { MS_FRAME_WINDOW_UPDATE, 0, 1, 5 },
        { MS_FRAME_CONTINUATION, MS_FLAG_END_HEADERS, 1, 1 },
        { 0x50, 0, 0, MS_FRAME_MAX + 1 }
    };

    static const struct {
        uint8_t   type;
        uint32_t  stream;
    } between[] = {
        { MS_FRAME_CONTINUATION, 3 },
        { MS_FRAME_HEADERS, 1 },
        { MS_FRAME_DATA, 1 },
        { MS_FRAME_SETTINGS, 0 },
        { MS_FRAME_RST_STREAM, 1 }
    };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        start();
        frame(bad[i].type, bad[i].flags, bad[i].stream, bad[i].len);
        came_is("bad");
    }

    /* the frames of a header block stay together */

    for (i = 0; i < sizeof(between) / sizeof(between[0]); i++) {
        start();
        frame(MS_FRAME_HEADERS, MS_FLAG_END_STREAM, 1, 0);
        frame(between[i].type, MS_FLAG_END_HEADERS, between[i].stream, 0);
        ck_assert_str_eq(came(sizeof(buffer)), "1:9 bad");
    }

    /* the grpc module of the call judges what is in its frames */

    start();
    frame(MS_FRAME_PUSH_PROMISE, 0, 1, 3);
    frame(MS_FRAME_RST_STREAM, 0, 3, 1);
    frame(MS_FRAME_DATA, 0, 3, MS_FRAME_MAX + 1);
    ck_assert_str_eq(came(sizeof(buffer)),
                     "1:12 3:10 end data 16385 3:16394 ");
}
END_TEST


START_TEST(settings)
{
    ms_mux_settings_t  s = { .limit = 1, .window = 2, .table = 3 };

    static const uint8_t  some[] = {
        0, 1, 0, 0, 0x10, 0,
        0, 3, 0, 0, 1, 0,
        0, 4, 0x7f, 0xff, 0xff, 0xff,
        0, 99, 1, 2, 3, 4
    };
    static const uint8_t  large[] = { 0, 4, 0x80, 0, 0, 0 };

    ck_assert_int_eq(ms_mux_settings(some, 0, &s), 0);
    ck_assert_uint_eq(s.limit, 1);
    ck_assert_uint_eq(s.window, 2);
    ck_assert_uint_eq(s.table, 3);

    ck_assert_int_eq(ms_mux_settings(some, sizeof(some), &s), 0);
    ck_assert_uint_eq(s.limit, 256);
    ck_assert_uint_eq(s.window, MS_MUX_WINDOW_MAX);
    ck_assert_uint_eq(s.table, 4096);

    ck_assert_int_eq(ms_mux_settings(large, sizeof(large), &s), -1);
}
END_TEST


/* what is written first is what is read */
START_TEST(first)
{
    uint8_t            *pos;
    ms_mux_in_t         in;
    ms_mux_piece_t      piece;
    ms_mux_settings_t   s = { .limit = 5, .table = 4096 };

    memset(&in, 0, sizeof(in));
    end = ms_mux_preface(buffer, 70000);
    ck_assert_uint_eq((size_t) (end - buffer), MS_MUX_PREFACE_MAX);
    ck_assert_mem_eq(buffer, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    pos = buffer + MS_MUX_PREFACE;

    ck_assert_int_eq(ms_mux_in_next(&in, &pos, end, &piece),
                     MS_MUX_IN_CONTROL);
    ck_assert_int_eq(piece.type, MS_FRAME_SETTINGS);
    ck_assert_int_eq(ms_mux_settings(piece.pos,
                                     (size_t) (piece.last - piece.pos), &s),
                     0);
    ck_assert_uint_eq(s.limit, 5);
    ck_assert_uint_eq(s.window, 70000);
    ck_assert_uint_eq(s.table, 0);

    ck_assert_int_eq(ms_mux_in_next(&in, &pos, end, &piece),
                     MS_MUX_IN_CONTROL);
    ck_assert_int_eq(piece.type, MS_FRAME_WINDOW_UPDATE);
    ck_assert_uint_eq(ms_frame_u31(piece.pos) + MS_MUX_WINDOW_INIT,
                      MS_MUX_WINDOW_MAX);
    ck_assert_int_eq(ms_mux_in_next(&in, &pos, end, &piece), MS_MUX_IN_MORE);
}
END_TEST


START_TEST(ids)
{
    uint32_t  next;

    next = 1;
    ck_assert_uint_eq(ms_mux_id(&next), 1);
    ck_assert_uint_eq(ms_mux_id(&next), 3);

    next = 0x7ffffffd;
    ck_assert_uint_eq(ms_mux_id(&next), 0x7ffffffd);
    ck_assert_uint_eq(ms_mux_id(&next), 0x7fffffff);
    ck_assert_uint_eq(ms_mux_id(&next), 0);
    ck_assert_uint_eq(ms_mux_id(&next), 0);
}
END_TEST


START_TEST(windows)
{
    int64_t  window;

    window = MS_MUX_WINDOW_INIT;
    ck_assert_int_eq(ms_mux_window_add(&window,
                                       MS_MUX_WINDOW_MAX
                                       - MS_MUX_WINDOW_INIT), 0);
    ck_assert_int_eq(window, MS_MUX_WINDOW_MAX);
    ck_assert_int_eq(ms_mux_window_add(&window, 1), -1);

    /* a smaller SETTINGS_INITIAL_WINDOW_SIZE */

    window = 10;
    ck_assert_int_eq(ms_mux_window_add(&window, -65535), 0);
    ck_assert_int_eq(window, -65525);
}
END_TEST


int
main(void)
{
    TCase  *tc;
    Suite  *suite;

    suite = suite_create("mux_frames");
    tc = tcase_create("frames");
    tcase_add_test(tc, out_request);
    tcase_add_test(tc, out_block);
    tcase_add_test(tc, out_block_in_parts);
    tcase_add_test(tc, out_bad);
    tcase_add_test(tc, in_calls);
    tcase_add_test(tc, in_end);
    tcase_add_test(tc, in_id);
    tcase_add_test(tc, in_bad);
    tcase_add_test(tc, settings);
    tcase_add_test(tc, first);
    tcase_add_test(tc, ids);
    tcase_add_test(tc, windows);
    suite_add_tcase(suite, tc);

    return harness_run_units(suite);
}
