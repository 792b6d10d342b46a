/* Huffman-coded values that a client repeats; nghttp2 codes and decodes. */

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <nghttp2/nghttp2.h>

#include "harness.h"
#include "wire/header_block.h"
#include "wire/repeated.h"


#define ROOM   (1 << 20)
#define TOKEN  600                      /* bytes */


static ms_repeated_t         repeated;
static nghttp2_hd_deflater  *deflater;
static bool                  no_memory;
static int                   given;      /* pieces of memory now */
static size_t                memory;     /* of all */
static int                   rare = -1; /* a byte within the token */
static uint8_t               sent[ROOM];
static uint8_t              *sent_end;
static uint8_t               came[2 * ROOM];
static size_t                came_len;


static void *
take(void *data, size_t size)
{
    ck_assert_ptr_eq(data, &memory);

    if (no_memory) {
        return NULL;
    }

    given++;
    memory += size;

    return malloc(size);
}


static void
give(void *p)
{
    given--;
    free(p);
}


static void
start(void)
{
    repeated.alloc = take;
    repeated.free = give;
    repeated.data = &memory;
    repeated.limit = 16384;
    sent_end = sent;
    came_len = 0;
    ck_assert_int_eq(nghttp2_hd_deflate_new(&deflater, 4096), 0);
}


static void
stop(void)
{
    ms_repeated_free(&repeated);
    nghttp2_hd_deflate_del(deflater);
    ck_assert_int_eq(given, 0);
}


static void
frame(uint8_t type, uint8_t flags, const void *payload, size_t len)
{
    sent_end = ms_frame_put_header(sent_end, len, type, flags, 1);
    memcpy(sent_end, payload, len);
    sent_end += len;
}


static void
fill(char *value, size_t len, unsigned seed)
{
    static const char  base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq"
                                  "rstuvwxyz0123456789-_";

    while (len-- > 0) {
        seed = seed * 1103515245 + 12345;
        *value++ = base64[seed >> 16 & 63];
    }
}


/* The block of a call with a token of "len" bytes that "seed" stands for. */
static size_t
block(uint8_t *p, unsigned seed, size_t len)
{
    ssize_t     n;
    nghttp2_nv  nv[4];

    static char  value[ROOM];

    fill(value, len, seed);

    if (rare >= 0) {
        value[len / 2] = (char) rare;
    }

    memset(nv, 0, sizeof(nv));

    nv[0].name = (uint8_t *) ":path";
    nv[0].value = (uint8_t *) "/a.B/C";
    nv[1].name = (uint8_t *) "x-before";
    nv[1].value = (uint8_t *) "of the call";
    nv[2].name = (uint8_t *) "authorization";
    nv[2].value = (uint8_t *) value;
    nv[2].valuelen = len;
    nv[3].name = (uint8_t *) "x-behind";
    nv[3].value = (uint8_t *) "of the connection";
    nv[1].flags = NGHTTP2_NV_FLAG_NO_INDEX;

    for (n = 0; n < 4; n++) {
        nv[n].namelen = strlen((char *) nv[n].name);
        nv[n].valuelen = n == 2 ? len : strlen((char *) nv[n].value);
    }

    n = nghttp2_hd_deflate_hd(deflater, p, ROOM, nv, 4);
    ck_assert_int_gt(n, 0);

    return (size_t) n;
}


static void
call(unsigned seed, size_t len)
{
    static uint8_t  bytes[ROOM];

    frame(MS_FRAME_HEADERS, MS_FLAG_END_HEADERS, bytes,
          block(bytes, seed, len));
}


/* The same with everything that a frame may have. */
static void
call_padded(unsigned seed)
{
    size_t  n;

    static uint8_t  bytes[ROOM];

    bytes[0] = 200;
    memset(bytes + 1, 0, 5);
    n = 6 + block(bytes + 6, seed, TOKEN);
    memset(bytes + n, 0, 200);
    frame(MS_FRAME_HEADERS,
          MS_FLAG_END_HEADERS|MS_FLAG_PADDED|MS_FLAG_PRIORITY, bytes, n + 200);
}


/* And in two frames. */
static void
call_continued(unsigned seed)
{
    size_t  n;

    static uint8_t  bytes[ROOM];

    n = block(bytes, seed, TOKEN);
    frame(MS_FRAME_HEADERS, 0, bytes, n - 1);
    frame(MS_FRAME_CONTINUATION, MS_FLAG_END_HEADERS, bytes + n - 1, 1);
}


/* Reads the next "len" bytes of what was sent. */
static void
come(const uint8_t *p, size_t len)
{
    memcpy(came + came_len, p, len);
    came_len += ms_repeated_read(&repeated, came + came_len, len,
                                 len * 8 / 5 + 8);
    ck_assert_uint_le(came_len, sizeof(came));
}


static void
begin(void)
{
    ms_repeated_free(&repeated);
    ms_repeated_begin(&repeated);
    came_len = 0;
}


/* In pieces of "piece" bytes. */
static void
come_in_pieces(size_t piece)
{
    size_t  i, len;

    begin();
    len = (size_t) (sent_end - sent);

    for (i = 0; i < len; i += piece) {
        come(sent + i, piece < len - i ? piece : len - i);
    }
}


static const uint8_t *
decode(nghttp2_hd_inflater *inflater, const uint8_t *p, uint8_t *text,
    size_t *len)
{
    int            flags;
    size_t         n, front;
    ssize_t        rc;
    uint8_t       *end;
    nghttp2_nv     nv;
    const uint8_t *last;

    end = text;
    last = p + MS_FRAME_HEADER + ms_frame_length(p);
    front = (p[MS_FRAME_FLAGS] & MS_FLAG_PADDED ? 1 : 0)
            + (p[MS_FRAME_FLAGS] & MS_FLAG_PRIORITY ? 5 : 0);
    n = ms_frame_length(p) - front;
    n -= p[MS_FRAME_FLAGS] & MS_FLAG_PADDED ? p[MS_FRAME_HEADER] : 0;
    p += MS_FRAME_HEADER + front;

    do {
        flags = 0;
        rc = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, p, n, 1);
        ck_assert_int_ge(rc, 0);
        p += rc;
        n -= (size_t) rc;

        if (flags & NGHTTP2_HD_INFLATE_EMIT) {
            end = ms_field_write(end, nv.name, nv.namelen, nv.value,
                                 nv.valuelen);
        }

    } while (!(flags & NGHTTP2_HD_INFLATE_FINAL));

    ck_assert_int_eq(nghttp2_hd_inflate_end_headers(inflater), 0);
    *len = (size_t) (end - text);

    return last;
}


/* What came says the same as what was sent; returns how many bytes it has
 * more. */
static size_t
same(void)
{
    size_t                n, was_len, is_len;
    const uint8_t        *was, *is, *is_end;
    nghttp2_hd_inflater  *before, *after;

    static uint8_t  was_text[ROOM], is_text[ROOM];

    ck_assert_int_eq(nghttp2_hd_inflate_new(&before), 0);
    ck_assert_int_eq(nghttp2_hd_inflate_new(&after), 0);

    is = came;
    is_end = came + came_len;

    for (was = sent; was < sent_end; /* void */) {
        ck_assert(is < is_end);
        ck_assert_mem_eq(was + MS_FRAME_TYPE, is + MS_FRAME_TYPE,
                         MS_FRAME_HEADER - MS_FRAME_TYPE);

        if (was[MS_FRAME_TYPE] == MS_FRAME_HEADERS
            && was[MS_FRAME_FLAGS] & MS_FLAG_END_HEADERS)
        {
            ck_assert_uint_le(ms_frame_length(is), MS_FRAME_MAX);
            was = decode(before, was, was_text, &was_len);
            is = decode(after, is, is_text, &is_len);
            ck_assert_uint_eq(was_len, is_len);
            ck_assert_mem_eq(was_text, is_text, is_len);
            ck_assert_uint_eq(
                nghttp2_hd_inflate_get_dynamic_table_size(before),
                nghttp2_hd_inflate_get_dynamic_table_size(after));
            continue;
        }

        n = MS_FRAME_HEADER + ms_frame_length(was);
        ck_assert_mem_eq(was, is, n);
        was += n;
        is += n;
    }

    ck_assert_ptr_eq(is, is_end);
    nghttp2_hd_inflate_del(before);
    nghttp2_hd_inflate_del(after);

    return came_len - (size_t) (sent_end - sent);
}


/* Byte for byte. */
static void
unchanged(void)
{
    come_in_pieces(ROOM);
    ck_assert_uint_eq(came_len, (size_t) (sent_end - sent));
    ck_assert_mem_eq(came, sent, came_len);
}


/* One call with a token that came before, alone in its read. */
static size_t
growth(unsigned seed, size_t len)
{
    uint8_t  *from;
    size_t    n, before;

    from = sent_end;
    call(seed, len);
    n = (size_t) (sent_end - from);
    before = came_len;
    come(from, n);
    (void) same();

    return came_len - before - n;
}


START_TEST(second_time_is_plain)
{
    begin();
    ck_assert_uint_eq(growth(1, TOKEN), 0);
    ck_assert_uint_gt(growth(1, TOKEN), TOKEN / 10);
    ck_assert_uint_gt(growth(1, TOKEN), TOKEN / 10);
    ck_assert_uint_eq(growth(2, TOKEN), 0);
    ck_assert_uint_gt(growth(2, TOKEN), TOKEN / 10);
}
END_TEST


/* Tokens take turns; one more takes the place of that which came earliest. */
START_TEST(several_tokens)
{
    unsigned  i;

    begin();

    for (i = 1; i <= MS_REPEATED_VALUES; i++) {
        ck_assert_uint_eq(growth(i, TOKEN), 0);
    }

    for (i = 0; i < 5 * MS_REPEATED_VALUES; i++) {
        ck_assert_uint_gt(growth(i % MS_REPEATED_VALUES + 1, TOKEN), 0);
    }

    ck_assert_uint_eq(growth(i, TOKEN), 0);
    ck_assert_uint_gt(growth(2, TOKEN), 0);
    ck_assert_uint_gt(growth(i, TOKEN), 0);
    ck_assert_uint_eq(growth(1, TOKEN), 0);
}
END_TEST


/* A new token comes to stay, whatever came before it and comes beside it. */
START_TEST(token_changes)
{
    unsigned  i, token;

    begin();

    for (token = 1; token < 20; token++) {

        for (i = 0; i < 5; i++) {
            ck_assert_int_eq(growth(token, TOKEN) > 0, i > 0);
            (void) growth(100 * token + i, TOKEN + 1);
        }
    }
}
END_TEST


/* What never comes again does not drive out what does. */
START_TEST(others_are_new)
{
    unsigned  i;

    begin();
    (void) growth(1, TOKEN);

    for (i = 10; i < 40; i++) {
        ck_assert_uint_gt(growth(1, TOKEN), 0);
        (void) growth(i, TOKEN);
        (void) growth(i + 100, TOKEN + 1);
    }
}
END_TEST


/* In the same read a value stays as long as it is needed. */
START_TEST(many_at_once)
{
    unsigned  i;

    for (i = 0; i < 400; i++) {
        call(i % 3, TOKEN);

        if (i % 5 == 0) {
            call_padded(i % 2);
            call_continued(1);
        }
    }

    come_in_pieces(ROOM);
    ck_assert_uint_gt(same(), (size_t) MS_REPEATED_EDITS * TOKEN / 10);
}
END_TEST


/* Everything that may be on a connection, cut wherever a read may end. */
static void
mixed(void)
{
    size_t   len;
    uint8_t  bytes[300], inner[3000];

    memset(bytes, 0x01, sizeof(bytes));

    /* what looks like frames within a frame */

    call(1, TOKEN);
    call(1, TOKEN);
    call(1, TOKEN);
    len = (size_t) (sent_end - sent);
    memcpy(inner, sent, len);
    stop();
    start();

    frame(MS_FRAME_SETTINGS, 0, bytes, 12);
    call(1, TOKEN);
    frame(MS_FRAME_DATA, 1, bytes, 300);
    call(1, TOKEN);
    call(2, TOKEN);
    frame(MS_FRAME_DATA, 1, bytes, 0);
    call_padded(1);
    call_continued(2);
    frame(MS_FRAME_WINDOW_UPDATE, 0, bytes, 4);
    call(2, TOKEN);
    call(1, 100);
    call(1, 20);
    call_padded(2);
    call(1, 100);
    frame(MS_FRAME_DATA, 0, inner, len);
    frame(0x77, 0xff, bytes, 17);
    call(1, TOKEN);
}


START_TEST(any_cut)
{
    size_t  i, len, most;

    mixed();
    come_in_pieces(ROOM);
    most = same();
    ck_assert_uint_gt(most, TOKEN / 2);
    len = (size_t) (sent_end - sent);

    for (i = 1; i < len; i++) {
        begin();
        come(sent, i);
        come(sent + i, len - i);
        ck_assert_uint_le(same(), most);
    }

    for (i = 1; i < len; i++) {
        come_in_pieces(i);
        ck_assert_uint_le(same(), most);
    }
}
END_TEST


/* One byte of the token is another one, wherever it is. */
START_TEST(one_byte_differs)
{
    size_t    i, len;
    uint8_t  *last;

    static uint8_t  first[ROOM];

    call(1, TOKEN);
    last = sent_end;
    call(1, TOKEN);
    len = (size_t) (sent_end - last);
    memcpy(first, last, len);

    for (i = MS_FRAME_HEADER; i < len; i++) {
        memcpy(last, first, len);
        last[i] ^= 0x10;
        come_in_pieces(ROOM);

        /* the bytes before and behind the token are not compared */

        if (came_len > (size_t) (sent_end - sent)) {
            ck_assert(i < 40 || len - i < 25);

        } else {
            ck_assert_mem_eq(came, sent, came_len);
        }
    }
}
END_TEST


START_TEST(malformed)
{
    size_t   i, len;
    uint8_t  bytes[2048], *p;

    const uint8_t  wrong[][4] = {
        { 0x00, 0x7f, 0xff, 0x7f },     /* a name that is cut */
        { 0x10, 0x01, 0x61, 0x7f },     /* a value that is cut */
        { 0x82, 0x82, 0x82, 0xff },     /* an index that is cut */
        { 0x82, 0x82, 0x3f, 0xff }      /* a size that is cut */
    };

    stop();

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        start();
        call(1, TOKEN);
        len = block(bytes, 1, TOKEN);
        memcpy(bytes + len, wrong[i], 4);
        frame(MS_FRAME_HEADERS, MS_FLAG_END_HEADERS, bytes, len + 4);
        unchanged();
        stop();
    }

    start();
    call(1, TOKEN);
    len = block(bytes, 1, TOKEN);
    frame(MS_FRAME_HEADERS, MS_FLAG_END_HEADERS|MS_FLAG_PADDED, bytes, len);
    frame(MS_FRAME_HEADERS, MS_FLAG_END_HEADERS|MS_FLAG_PADDED, bytes, 0);
    frame(MS_FRAME_HEADERS, MS_FLAG_END_HEADERS|MS_FLAG_PRIORITY, bytes, 4);
    frame(MS_FRAME_HEADERS, MS_FLAG_END_HEADERS, bytes, 0);
    unchanged();
    stop();

    /* a code of ones is "EOS" */

    start();
    p = bytes;
    *p++ = 0x10;
    *p++ = 1;
    *p++ = 'n';
    *p++ = 0x80 | 100;
    memset(p, 0xff, 100);
    frame(MS_FRAME_HEADERS, MS_FLAG_END_HEADERS, bytes, 104);
    frame(MS_FRAME_HEADERS, MS_FLAG_END_HEADERS, bytes, 104);
    unchanged();
    stop();

    /* a length that has a byte too many, which nginx refuses: the string is not
     * the one that came before */

    start();
    call(1, TOKEN);
    p = sent_end;
    call(1, TOKEN);
    memcpy(bytes, p, (size_t) (sent_end - p));

    for (i = MS_FRAME_HEADER; bytes[i] != 0xff; i++) { /* void */ }

    len = (size_t) (sent_end - p);
    ck_assert(!(bytes[i + 2] & 0x80));
    sent_end = p;
    memmove(bytes + i + 4, bytes + i + 3, len - i - 3);
    bytes[i + 2] |= 0x80;
    bytes[i + 3] = 0;
    frame(MS_FRAME_HEADERS, MS_FLAG_END_HEADERS, bytes + MS_FRAME_HEADER,
          len + 1 - MS_FRAME_HEADER);
    unchanged();
}
END_TEST


START_TEST(limits)
{
    size_t  n, most;

    most = MS_REPEATED_MAX * 8 / 7;

    begin();
    (void) growth(1, 25);
    ck_assert_uint_eq(growth(1, 25), 0);
    (void) growth(1, most);
    ck_assert_uint_gt(growth(1, most), most / 10);
    (void) growth(1, most * 3 / 2);
    ck_assert_uint_eq(growth(1, most * 3 / 2), 0);
    ck_assert_uint_le(memory, 4 * MS_REPEATED_MAX);

    /* the receiver takes no longer one */

    repeated.limit = TOKEN;
    (void) growth(2, TOKEN);
    ck_assert_uint_gt(growth(2, TOKEN), 0);
    (void) growth(3, TOKEN + 1);
    ck_assert_uint_eq(growth(3, TOKEN + 1), 0);
    repeated.limit = 16384;

    /* no room in the buffer */

    begin();
    sent_end = sent;
    call(1, TOKEN);
    call(1, TOKEN);
    n = (size_t) (sent_end - sent);
    memcpy(came, sent, n);
    came_len = ms_repeated_read(&repeated, came, n, n + TOKEN / 10);
    ck_assert_uint_eq(came_len, n);
    ck_assert_mem_eq(came, sent, n);
    ck_assert_uint_gt(ms_repeated_read(&repeated, came, n, 2 * n), n);

    no_memory = true;
    unchanged();
}
END_TEST


/* A frame does not grow over its limit. */
START_TEST(frame_limit)
{
    int     i;
    size_t  n;

    static uint8_t  bytes[MS_FRAME_MAX];

    for (i = 0; i < 2; i++) {
        stop();
        start();
        call(1, TOKEN);

        n = block(bytes, 1, TOKEN);
        memset(bytes + n, 0x82, sizeof(bytes) - n);
        frame(MS_FRAME_HEADERS, MS_FLAG_END_HEADERS, bytes,
              i ? MS_FRAME_MAX - TOKEN / 10 : MS_FRAME_MAX - TOKEN);

        come_in_pieces(ROOM);
        ck_assert_int_eq(same() == 0, i);
    }
}
END_TEST


/* Each byte is decoded as nghttp2 has coded it, and each end of a code. */
START_TEST(all_bytes)
{
    size_t  len;

    for (rare = 0; rare < 256; rare++) {
        stop();
        start();
        begin();
        len = TOKEN + (size_t) rare % 8;
        (void) growth((unsigned) rare, len);
        ck_assert_uint_gt(growth((unsigned) rare, len), TOKEN / 10);
    }
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tc;

    suite = suite_create("repeated");
    tc = tcase_create("repeated");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, start, stop);
    tcase_add_test(tc, second_time_is_plain);
    tcase_add_test(tc, several_tokens);
    tcase_add_test(tc, token_changes);
    tcase_add_test(tc, others_are_new);
    tcase_add_test(tc, many_at_once);
    tcase_add_test(tc, any_cut);
    tcase_add_test(tc, one_byte_differs);
    tcase_add_test(tc, malformed);
    tcase_add_test(tc, limits);
    tcase_add_test(tc, frame_limit);
    tcase_add_test(tc, all_bytes);
    suite_add_tcase(suite, tc);

    return harness_run_units(suite);
}
