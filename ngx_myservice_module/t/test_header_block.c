/* Fields added to a header block that is encoded already. */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <nghttp2/nghttp2.h>

#include "wire/frame.h"
#include "wire/header_block.h"


#define HEADERS       1
#define SETTINGS      4
#define CONTINUATION  9
#define END_STREAM    1
#define END_HEADERS   4


static uint8_t  block[100000];
static uint8_t  fields[70000];


static uint8_t *
frame(uint8_t *p, int type, int flags, uint8_t stream, size_t len)
{
    const uint8_t  head[9] = {
        (uint8_t) (len >> 16), (uint8_t) (len >> 8), (uint8_t) len,
        (uint8_t) type, (uint8_t) flags, 0, 0, 0, stream
    };

    memcpy(p, head, sizeof(head));

    return p + sizeof(head);
}


/* SETTINGS, then a block of "len" bytes: a field "a" of as many bytes. */
static size_t
make(size_t len, uint8_t stream)
{
    size_t    n, rest;
    uint8_t  *p, *value, *text, *end;

    text = malloc(len + 16);
    value = malloc(len + 16);
    ck_assert(text != NULL && value != NULL);
    memset(value, 'v', len + 16);

    /* as long as wanted, whatever the length of the length */
    for (n = len; n > 0; n--) {
        end = ms_field_write(text, "a", 1, value, n - 1);

        if ((size_t) (end - text) == len) {
            break;
        }
    }

    ck_assert_uint_gt(n, 0);

    p = frame(block, SETTINGS, 0, 0, 0);
    rest = len;

    for (n = len < 16384 ? len : 16384; rest > 0; ) {
        p = frame(p, rest == len ? HEADERS : CONTINUATION,
                  (rest == len ? END_STREAM : 0)
                  | (rest == n ? END_HEADERS : 0), stream, n);
        memcpy(p, text + len - rest, n);
        p += n;
        rest -= n;
        n = rest < 16384 ? rest : 16384;
    }

    free(text);
    free(value);

    return (size_t) (p - block);
}


/* A field "b" of "len" bytes in all, or none. */
static size_t
add(size_t len, char byte)
{
    size_t    n;
    uint8_t  *end, *value;

    if (len == 0) {
        return 0;
    }

    value = malloc(len + 1);
    ck_assert_ptr_nonnull(value);
    memset(value, byte, len + 1);

    for (n = len; n > 0; n--) {
        end = ms_field_write(fields, "b", 1, value, n - 1);

        if ((size_t) (end - fields) == len) {
            break;
        }
    }

    free(value);
    ck_assert_uint_gt(n, 0);

    return len;
}


/* The frames are well-formed, and the block decodes to "a", then "b" with
 * this byte (0: no field). */
static void
check(size_t size, uint8_t stream, char byte)
{
    int                   flags;
    size_t                n, len, frames, fields_seen;
    ssize_t               rv;
    uint8_t              *p, *last, *body, *text;
    nghttp2_nv            nv;
    nghttp2_hd_inflater  *inflater;

    p = block + 9;
    last = block + size;
    text = malloc(size);
    ck_assert_ptr_nonnull(text);
    len = 0;

    for (frames = 0; p < last; frames++) {
        n = (size_t) p[0] << 16 | (size_t) p[1] << 8 | p[2];
        ck_assert_uint_le(n, MS_FRAME_MAX);
        ck_assert_uint_gt(n, 0);
        ck_assert_int_eq(p[3], frames == 0 ? HEADERS : CONTINUATION);
        ck_assert_int_eq(p[4], (frames == 0 ? END_STREAM : 0)
                               | (p + 9 + n == last ? END_HEADERS : 0));
        ck_assert(p[5] == 0 && p[6] == 0 && p[7] == 0 && p[8] == stream);
        memcpy(text + len, p + 9, n);
        len += n;
        p += 9 + n;
    }

    ck_assert_ptr_eq(p, last);

    ck_assert_int_eq(nghttp2_hd_inflate_new(&inflater), 0);
    fields_seen = 0;
    body = text;

    for ( ;; ) {
        rv = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, body, len, 1);
        ck_assert_int_ge(rv, 0);
        body += rv;
        len -= (size_t) rv;

        if (flags & NGHTTP2_HD_INFLATE_EMIT) {
            ck_assert_uint_eq(nv.namelen, 1);
            ck_assert_int_eq(nv.name[0], fields_seen == 0 ? 'a' : 'b');

            if (fields_seen == 1 && nv.valuelen > 0) {
                ck_assert_int_eq(nv.value[0], byte);
            }

            fields_seen++;
        }

        if (flags & NGHTTP2_HD_INFLATE_FINAL) {
            break;
        }
    }

    nghttp2_hd_inflate_end_headers(inflater);
    nghttp2_hd_inflate_del(inflater);
    free(text);
    ck_assert_uint_eq(fields_seen, byte ? 2 : 1);
}


static const size_t  sizes[] = {
    4, 100, 126, 127, 128, 300, 16000, 16383, 16384, 16385, 16400, 32767,
    32768, 32769, 50000
};

static const size_t  added[] = {
    0, 4, 100, 127, 128, 132, 300, 384, 385, 16384, 16385, 32768, 40000
};

#define N(array)  (sizeof(array) / sizeof(array[0]))


START_TEST(append)
{
    size_t      i, n, len, size;
    ms_block_t  b;

    len = make(sizes[_i], 5);
    ck_assert_int_eq(ms_block_find(&b, block, len), 0);
    ck_assert_uint_eq(b.end, len);

    for (i = 0; i < N(added); i++) {
        n = add(added[i], 'x');
        size = ms_block_append(&b, block, fields, n);
        ck_assert_uint_eq(size, ms_block_size(&b, n));
        check(size, 5, n ? 'x' : 0);
    }

    /* the last ones are gone without a trace */
    size = ms_block_append(&b, block, fields, 0);
    ck_assert_uint_eq(size, len);
    check(size, 5, 0);
}
END_TEST


/* the grpc module writes stream ids into all frames in between */
START_TEST(append_other_stream)
{
    size_t      len;
    uint8_t    *p;
    ms_block_t  b;

    len = make(16380, 1);
    ck_assert_int_eq(ms_block_find(&b, block, len), 0);
    len = ms_block_append(&b, block, fields, add(200, 'x'));
    check(len, 1, 'x');

    for (p = block + 9; p < block + len;
         p += 9 + ((size_t) p[0] << 16 | (size_t) p[1] << 8 | p[2]))
    {
        p[8] = 7;
    }

    len = ms_block_append(&b, block, fields, add(300, 'y'));
    check(len, 7, 'y');
}
END_TEST


START_TEST(find_malformed)
{
    size_t      i, len;
    ms_block_t  b;

    len = make(100, 1);
    ck_assert_int_eq(ms_block_find(&b, block, len), 0);

    for (i = 0; i < len; i++) {
        ck_assert_int_eq(ms_block_find(&b, block, i), -1);
    }

    /* another frame follows */
    (void) frame(block + len, 0, 0, 1, 0);
    ck_assert_int_eq(ms_block_find(&b, block, len + 9), -1);
}
END_TEST


/* of one block, and of each */
START_TEST(fields_kept)
{
    uint8_t      text[64];
    ms_fields_t  f = { .data = text, .size = sizeof(text) };

    ck_assert_int_eq(ms_fields_add(&f, "a", 1, "1", 1), 0);
    ms_fields_keep(&f);
    ck_assert_int_eq(ms_fields_add(&f, "bc", 2, "new", 3), 0);
    ck_assert_uint_eq(f.len, 13);
    ck_assert_mem_eq(text, "\0\1a\0011\0\2bc\3new", 13);
    ms_fields_drop(&f);
    ck_assert_int_eq(ms_fields_add(&f, "d", 1, "", 0), 0);
    ck_assert_uint_eq(f.len, 9);
    ck_assert_mem_eq(text, "\0\1a\0011\0\1d\0", 9);
    ms_fields_drop(&f);
    ck_assert_uint_eq(f.len, 5);
}
END_TEST


START_TEST(fields_full)
{
    uint8_t      text[64];
    ms_fields_t  f = { .data = text, .size = sizeof(text) };

    static const char  value[55];

    ck_assert_int_eq(ms_fields_add(&f, "a", 1, value, 55), -1);
    ck_assert_int_eq(ms_fields_add(&f, "a", 1, value, 54), 0);
    ck_assert_int_eq(ms_fields_add(&f, "", 0, "", 0), -1);
    ck_assert_uint_eq(f.len, 58);
}
END_TEST


int
main(void)
{
    int       failed;
    TCase    *tc;
    Suite    *suite;
    SRunner  *runner;

    suite = suite_create("header_block");
    tc = tcase_create("header_block");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, append, 0, (int) N(sizes));
    tcase_add_test(tc, append_other_stream);
    tcase_add_test(tc, find_malformed);
    tcase_add_test(tc, fields_kept);
    tcase_add_test(tc, fields_full);
    suite_add_tcase(suite, tc);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
