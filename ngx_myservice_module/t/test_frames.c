/* The filter for HTTP/2 frames in front of nginx's grpc module. */

#include <check.h>
#include <string.h>

#include "wire/frames.h"
#include "harness.h"


#define DATA           0x0
#define HEADERS        0x1
#define PRIORITY       0x2
#define RST_STREAM     0x3
#define SETTINGS       0x4
#define PUSH_PROMISE   0x5
#define PING           0x6
#define GOAWAY         0x7
#define WINDOW_UPDATE  0x8
#define CONTINUATION   0x9

#define NO_ERROR         0
#define CANCEL           8
#define REFUSED_STREAM   7


static uint8_t   buffer[4096];
static uint8_t  *end;


static void
start(void)
{
    end = buffer;
}


static void
frame(uint8_t type, uint32_t stream, const uint32_t *words, size_t n)
{
    size_t    i;
    uint8_t  *p;

    p = end;
    *p++ = 0;
    *p++ = 0;
    *p++ = (uint8_t) (4 * n);
    *p++ = type;
    *p++ = 0;
    *p++ = (uint8_t) (stream >> 24);
    *p++ = (uint8_t) (stream >> 16);
    *p++ = (uint8_t) (stream >> 8);
    *p++ = (uint8_t) stream;

    for (i = 0; i < n; i++) {
        *p++ = (uint8_t) (words[i] >> 24);
        *p++ = (uint8_t) (words[i] >> 16);
        *p++ = (uint8_t) (words[i] >> 8);
        *p++ = (uint8_t) words[i];
    }

    end = p;
}


static void
frame1(uint8_t type, uint32_t stream, uint32_t word)
{
    frame(type, stream, &word, 1);
}


static void
goaway(uint32_t last)
{
    uint32_t  words[2];

    words[0] = last;
    words[1] = NO_ERROR;
    frame(GOAWAY, 0, words, 2);
}


/* All that is between "buffer" and "last", in one piece. */
static unsigned
scan(const uint8_t *last, uint32_t id)
{
    uint8_t      copy[sizeof(buffer)];
    size_t       n;
    ms_frames_t  frames;

    memset(&frames, 0, sizeof(frames));
    n = (size_t) (last - buffer);
    memcpy(copy, buffer, n);
    (void) ms_frames_take(&frames, copy, copy + n, id);

    return frames.found;
}


/*
 * The bytes between "buffer" and "end" in reads that end where "cuts" says,
 * as the module takes them: what is held comes before the next ones. Returns
 * how many are left in "out".
 */
static size_t
take(ms_frames_t *frames, uint8_t *out, const size_t *cuts, size_t ncuts,
    uint32_t id)
{
    size_t   i, from, n, used;
    uint8_t  work[sizeof(buffer) + MS_FRAMES_HELD];

    used = 0;
    from = 0;

    for (i = 0; i <= ncuts; i++) {
        n = frames->len;
        memcpy(work, frames->held, n);
        frames->len = 0;

        memcpy(work + n, buffer + from,
               (i < ncuts ? cuts[i] : (size_t) (end - buffer)) - from);
        n += (i < ncuts ? cuts[i] : (size_t) (end - buffer)) - from;
        from = i < ncuts ? cuts[i] : from;

        n = ms_frames_take(frames, work, work + n, id);
        ck_assert_uint_lt(frames->len, MS_FRAMES_HELD);
        ck_assert(!frames->answered || frames->len < MS_FRAME_HEADER);
        memcpy(out + used, work, n);
        used += n;
    }

    return used;
}


START_TEST(scan_refused)
{
    start();
    frame(SETTINGS, 0, NULL, 0);
    frame1(WINDOW_UPDATE, 5, 100);
    frame1(RST_STREAM, 5, REFUSED_STREAM);

    ck_assert_uint_eq(scan(end, 5),
                      MS_FRAMES_RESET|MS_FRAMES_REFUSED);
    ck_assert_uint_eq(scan(end, 7), 0);

    /* not all there: nothing is known */
    ck_assert_uint_eq(scan(end - 1, 5), 0);
}
END_TEST


START_TEST(scan_reset)
{
    start();
    frame1(RST_STREAM, 3, CANCEL);
    ck_assert_uint_eq(scan(end, 3), MS_FRAMES_RESET);
}
END_TEST


START_TEST(scan_goaway)
{
    start();
    goaway(3);
    ck_assert_uint_eq(scan(end, 5), MS_FRAMES_REFUSED);
    ck_assert_uint_eq(scan(end, 3), 0);
    ck_assert_uint_eq(scan(end, 1), 0);

    start();
    goaway(0x80000000u | 0x7fffffff);
    ck_assert_uint_eq(scan(end, 5), 0);
}
END_TEST


/* in two reads, cut at every byte, and byte by byte: the same is found, and
 * what is left is "left" */
static void
pieces(unsigned expected, uint32_t id, const uint8_t *left, size_t len)
{
    size_t       i, n, used, cuts[sizeof(buffer)];
    uint8_t      out[sizeof(buffer)];
    ms_frames_t  frames;

    n = (size_t) (end - buffer);

    for (i = 0; i <= n; i++) {
        memset(&frames, 0, sizeof(frames));
        used = take(&frames, out, &i, 1, id);
        ck_assert_uint_eq(frames.found, expected);
        ck_assert_uint_eq(used, len);
        ck_assert_int_eq(memcmp(out, left, len), 0);
        cuts[i] = i;
    }

    memset(&frames, 0, sizeof(frames));
    used = take(&frames, out, cuts, n, id);
    ck_assert_uint_eq(frames.found, expected);
    ck_assert_uint_eq(used, len);
    ck_assert_int_eq(memcmp(out, left, len), 0);
}


static void
scan_pieces(unsigned expected, uint32_t id)
{
    ck_assert_uint_eq(scan(end, id), expected);
    pieces(expected, id, buffer, (size_t) (end - buffer));
}


START_TEST(scan_in_pieces)
{
    /* payloads that look like what is looked for */
    static const uint32_t  words[] = {
        0x00000403, 0x00000000, 0x05000000, 0x07000000, 0x00000807, 0, 0, 0
    };

    start();
    frame(SETTINGS, 0, words, 6);
    frame1(WINDOW_UPDATE, 5, 100);
    goaway(5);
    scan_pieces(0, 5);

    frame1(RST_STREAM, 5, CANCEL);
    scan_pieces(MS_FRAMES_RESET, 5);

    /* the grpc module knows what follows the header */
    start();
    frame(HEADERS, 5, words, 8);
    frame1(RST_STREAM, 5, CANCEL);
    scan_pieces(0, 5);

    start();
    frame(SETTINGS, 0, words, 6);
    frame1(RST_STREAM, 5, REFUSED_STREAM);
    frame(DATA, 5, words, 8);
    scan_pieces(MS_FRAMES_RESET|MS_FRAMES_REFUSED, 5);

    /* with debug data */
    start();
    frame(GOAWAY, 0, words + 1, 5);
    frame1(WINDOW_UPDATE, 0, 100);
    scan_pieces(MS_FRAMES_REFUSED, 5);
}
END_TEST


/* what has another size than it must have is the grpc module's to refuse */
START_TEST(scan_malformed)
{
    static const uint32_t  words[2] = { REFUSED_STREAM, REFUSED_STREAM };

    start();
    frame(RST_STREAM, 5, words, 2);
    frame(RST_STREAM, 5, words, 0);
    frame(GOAWAY, 0, words, 1);
    frame(GOAWAY, 0, words, 0);
    scan_pieces(0, 5);
}
END_TEST


/* any frame of an earlier stream goes, wherever it is and a read ends */
START_TEST(drop_old)
{
    size_t                  i, k, len;
    uint8_t                 left[256];
    static const uint32_t   words[4];
    static const uint8_t    types[] = {
        PRIORITY, RST_STREAM, WINDOW_UPDATE, DATA, HEADERS, PUSH_PROMISE,
        CONTINUATION, 0x20
    };

    for (i = 0; i < sizeof(types); i++) {
        for (k = 0; k < 5; k++) {
            start();
            frame(SETTINGS, 0, words, 3);
            frame(HEADERS, 5, words, k);
            frame(DATA, 5, words, 4);
            frame(DATA, 0, NULL, 0);
            len = (size_t) (end - buffer);
            memcpy(left, buffer, len);

            start();
            frame(types[i], 1, words, k);
            frame(SETTINGS, 0, words, 3);
            frame(types[i], 3, words, k);
            frame(types[i], 3, words, 1);
            frame(HEADERS, 5, words, k);
            frame(types[i], 3, NULL, 0);
            frame(DATA, 5, words, 4);
            frame(types[i], 4, words, k);
            frame(DATA, 0, NULL, 0);
            pieces(i < 3 ? 0 : MS_FRAMES_STRAY, 5, left, len);
        }
    }
}
END_TEST


/* the frames of our stream, of later streams and of the connection are left */
START_TEST(drop_nothing_else)
{
    static const uint32_t  words[4];

    start();
    frame(SETTINGS, 0, words, 3);
    frame(PING, 0, words, 2);
    frame(HEADERS, 5, words, 4);
    frame(DATA, 7, words, 1);
    frame(HEADERS, 0x7fffffff, words, 1);
    frame(WINDOW_UPDATE, 0, words, 1);
    frame(RST_STREAM, 5, words, 1);
    pieces(0, 5, buffer, (size_t) (end - buffer));
}
END_TEST


static void
block(uint8_t flags, uint32_t stream, const char *bytes, size_t len)
{
    frame(HEADERS, stream, NULL, 0);
    end[-9 + 2] = (uint8_t) len;
    end[-9 + 4] = flags;
    memcpy(end, bytes, len);
    end += len;
}


#define BLOCK(flags, stream, bytes)                                           \
    block(flags, stream, bytes, sizeof(bytes) - 1)


/* interim answers in all ways to write them, with a second frame each */
START_TEST(drop_interim)
{
    size_t        i, len;
    uint8_t       left[128];
    static const struct {
        uint8_t      flags;
        const char  *bytes;
        size_t       len;
    } ways[] = {
#define WAY(flags, bytes)  { flags, bytes, sizeof(bytes) - 1 }
        WAY(0, "\x08\x03" "103"),
        WAY(0, "\x20\x48\x03" "100" "\x00\x01x\x01y"),
        WAY(0, "\x1e\x03" "199"),
        WAY(0, "\x08\x82\x08\x01"),
        WAY(0, "\x00\x07:status\x03" "102"),
        WAY(0, "\x40\x85\xb8\x84\x8d\x36\xa3\x82\x08\x19"),
        WAY(8, "\x02\x08\x03" "103" "\0\0"),
        WAY(0x28, "\x02\0\0\0\0\x10\x08\x03" "103" "\0\0"),
    };

    start();
    BLOCK(4, 5, "\x88");
    frame(DATA, 5, NULL, 0);
    len = (size_t) (end - buffer);
    memcpy(left, buffer, len);

    for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        start();
        block(ways[i].flags | 4, 5, ways[i].bytes, ways[i].len);
        block(ways[i].flags, 5, ways[i].bytes, ways[i].len);
        frame1(CONTINUATION, 5, 0);
        frame1(CONTINUATION, 5, 0);
        end[-13 + 4] = 4;
        BLOCK(4, 5, "\x88");
        frame(DATA, 5, NULL, 0);
        pieces(0, 5, left, len);
    }
}
END_TEST


START_TEST(drop_no_other_status)
{
    size_t  i;
    static const struct {
        uint8_t      flags;
        const char  *bytes;
        size_t       len;
    } ways[] = {
        WAY(4, ""), WAY(4, "\x88"), WAY(4, "\x08"), WAY(4, "\x08\x03"),
        WAY(4, "\x08\x03" "200"), WAY(4, "\x08\x82\x10\x01"),
        WAY(5, "\x08\x03" "103"), WAY(4, "\x00\x07:statux\x03" "103"),
        WAY(4, "\x0f\x03" "103"), WAY(8, "\xff"), WAY(0x28, "\0\0\0"),
    };

    for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        start();
        block(ways[i].flags, 5, ways[i].bytes, ways[i].len);
        frame(DATA, 5, NULL, 0);
        pieces(0, 5, buffer, (size_t) (end - buffer));
    }
}
END_TEST


int
main(void)
{
    TCase  *tc;
    Suite  *suite;

    suite = suite_create("frames");
    tc = tcase_create("frames");
    tcase_add_test(tc, scan_refused);
    tcase_add_test(tc, scan_reset);
    tcase_add_test(tc, scan_goaway);
    tcase_add_test(tc, scan_in_pieces);
    tcase_add_test(tc, scan_malformed);
    tcase_add_test(tc, drop_old);
    tcase_add_test(tc, drop_nothing_else);
    tcase_add_test(tc, drop_interim);
    tcase_add_test(tc, drop_no_other_status);
    suite_add_tcase(suite, tc);

    return harness_run_units(suite);
}
