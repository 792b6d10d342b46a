/* The look at HTTP/2 frames ahead of nginx's grpc module. */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "ngx_myservice_module/frames.h"


#define DATA           0x0
#define HEADERS        0x1
#define RST_STREAM     0x3
#define SETTINGS       0x4
#define GOAWAY         0x7
#define WINDOW_UPDATE  0x8

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
    ms_frames_t  frames;

    memset(&frames, 0, sizeof(frames));

    return ms_frames_scan(&frames, buffer, last, id);
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


/* in two pieces, cut at every byte, and byte by byte */
static void
scan_pieces(unsigned expected, uint32_t id)
{
    size_t       i, n;
    ms_frames_t  frames;

    n = (size_t) (end - buffer);
    ck_assert_uint_eq(scan(end, id), expected);

    for (i = 0; i <= n; i++) {
        memset(&frames, 0, sizeof(frames));
        (void) ms_frames_scan(&frames, buffer, buffer + i, id);
        ck_assert_uint_eq(ms_frames_scan(&frames, buffer + i, end, id),
                          expected);
    }

    memset(&frames, 0, sizeof(frames));

    for (i = 0; i < n; i++) {
        (void) ms_frames_scan(&frames, buffer + i, buffer + i + 1, id);
        ck_assert_uint_lt(frames.len, MS_FRAMES_TAIL);
    }

    ck_assert_uint_eq(frames.found, expected);
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
    frame(HEADERS, 5, words, 8);
    scan_pieces(0, 5);

    frame1(RST_STREAM, 3, REFUSED_STREAM);
    goaway(5);
    scan_pieces(0, 5);

    frame1(RST_STREAM, 5, CANCEL);
    scan_pieces(MS_FRAMES_RESET, 5);

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


START_TEST(drop_old)
{
    size_t    len;
    uint8_t  *last;

    start();
    frame1(WINDOW_UPDATE, 1, 10);
    frame(SETTINGS, 0, NULL, 0);
    frame1(RST_STREAM, 3, NO_ERROR);
    len = (size_t) (end - buffer);
    frame(HEADERS, 5, NULL, 0);
    frame1(RST_STREAM, 3, NO_ERROR);
    last = end;

    ck_assert_uint_eq(ms_frames_drop_old(buffer, &last, 5), 0);

    /* those of the connection and what follows ours are left */
    ck_assert_uint_eq((size_t) (end - last), len - 9);
    ck_assert_uint_eq(buffer[3], SETTINGS);
    ck_assert_uint_eq(buffer[9 + 3], HEADERS);
    ck_assert_uint_eq(buffer[18 + 3], RST_STREAM);
}
END_TEST


/* byte by byte: the same frames are left, whatever a read brings */
START_TEST(drop_old_pieces)
{
    size_t    i, n, tail, used;
    uint8_t   all[256], work[256], *last;

    start();
    frame1(WINDOW_UPDATE, 1, 10);
    frame(SETTINGS, 0, NULL, 0);
    frame1(RST_STREAM, 3, NO_ERROR);
    frame1(WINDOW_UPDATE, 0, 10);
    n = (size_t) (end - buffer);
    memcpy(all, buffer, n);

    used = 0;

    for (i = 0; i < n; i++) {
        work[used++] = all[i];
        last = work + used;
        tail = ms_frames_drop_old(work, &last, 5);
        ck_assert_uint_lt(tail, MS_FRAMES_TAIL);
        used = (size_t) (last - work);
    }

    ck_assert_uint_eq(used, 9 + 13);
    ck_assert_uint_eq(work[3], SETTINGS);
    ck_assert_uint_eq(work[9 + 3], WINDOW_UPDATE);
}
END_TEST


/* a GOAWAY must not be kept from the grpc module by what follows it */
START_TEST(drop_old_behind_goaway)
{
    uint8_t  *last;

    start();
    goaway(3);
    last = end;
    ck_assert_uint_eq(ms_frames_drop_old(buffer, &last, 5), 0);
    ck_assert_ptr_eq(last, end);

    frame1(RST_STREAM, 3, NO_ERROR);
    last = end - 6;
    ck_assert_uint_eq(ms_frames_drop_old(buffer, &last, 5), 7);
    ck_assert_ptr_eq(last, end - 6);
}
END_TEST


/* a long frame of the connection that is not all there is not ours to hold */
START_TEST(drop_old_long_frame)
{
    uint32_t   words[32];
    uint8_t   *last;

    memset(words, 0, sizeof(words));
    start();
    frame(GOAWAY, 0, words, 32);
    last = end - 60;
    ck_assert_uint_eq(ms_frames_drop_old(buffer, &last, 5), 0);
    ck_assert_ptr_eq(last, end - 60);
}
END_TEST


int
main(void)
{
    int       failed;
    TCase    *tc;
    Suite    *suite;
    SRunner  *runner;

    suite = suite_create("frames");
    tc = tcase_create("frames");
    tcase_add_test(tc, scan_refused);
    tcase_add_test(tc, scan_reset);
    tcase_add_test(tc, scan_goaway);
    tcase_add_test(tc, scan_in_pieces);
    tcase_add_test(tc, scan_malformed);
    tcase_add_test(tc, drop_old);
    tcase_add_test(tc, drop_old_pieces);
    tcase_add_test(tc, drop_old_behind_goaway);
    tcase_add_test(tc, drop_old_long_frame);
    suite_add_tcase(suite, tc);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
