/* The table of an HPACK encoder; nghttp2 decodes what it writes. */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nghttp2/nghttp2.h>

#include "harness.h"
#include "wire/header_block.h"
#include "wire/hpack.h"


#define ROOM  100000


static ms_hpack_t            table;
static nghttp2_hd_inflater  *inflater;
static uint8_t               fields[ROOM];
static uint8_t              *fields_end;
static uint8_t               block[ROOM + MS_HPACK_BEGIN_MAX];


static void
start(void)
{
    ms_hpack_init(&table);
    ck_assert_int_eq(nghttp2_hd_inflate_new(&inflater), 0);
    fields_end = fields;
}


static void
stop(void)
{
    nghttp2_hd_inflate_del(inflater);
}


static void
add(const char *name, const char *value)
{
    fields_end = ms_field_write(fields_end, name, strlen(name), value,
                                strlen(value));
}


/* A field "name" with "len" times the same byte. */
static void
add_long(const char *name, int byte, size_t len)
{
    static char  value[ROOM];

    memset(value, byte, len);
    fields_end = ms_field_write(fields_end, name, strlen(name), value, len);
}


static void
setting(uint32_t size)
{
    ms_hpack_setting(&table, size);
    ck_assert_int_eq(nghttp2_hd_inflate_change_table_size(inflater, size), 0);
}


/* Decodes a block into the form of ms_field_write(). */
static size_t
decode(uint8_t *p, size_t len, uint8_t *text)
{
    int         flags;
    ssize_t     n;
    uint8_t    *end;
    nghttp2_nv  nv;

    end = text;

    do {
        flags = 0;
        n = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, p, len, 1);
        ck_assert_msg(n >= 0, "nghttp2: %s", nghttp2_strerror((int) n));
        p += n;
        len -= (size_t) n;

        if (flags & NGHTTP2_HD_INFLATE_EMIT) {
            end = ms_field_write(end, nv.name, nv.namelen, nv.value,
                                 nv.valuelen);
        }

    } while (!(flags & NGHTTP2_HD_INFLATE_FINAL));

    ck_assert_int_eq(nghttp2_hd_inflate_end_headers(inflater), 0);

    return (size_t) (end - text);
}


/* Encodes the fields: nghttp2 finds the same, and has as much in its table.
 * Returns how long the block is. */
static size_t
send_fields(void)
{
    size_t   len, n;
    uint8_t *p;

    static uint8_t  text[ROOM];

    len = (size_t) (fields_end - fields);

    p = ms_hpack_begin(&table, block);
    ck_assert_int_le(p - block, MS_HPACK_BEGIN_MAX);
    n = (size_t) (ms_hpack_fields(&table, p, fields, len) - block);
    ck_assert_uint_le(n, (size_t) (p - block) + len);

    ck_assert_uint_eq(decode(block, n, text), len);
    ck_assert_mem_eq(text, fields, len);
    ck_assert_uint_le(table.used, table.limit);
    ck_assert_uint_eq(table.used,
                      nghttp2_hd_inflate_get_dynamic_table_size(inflater));

    fields_end = fields;

    return n;
}


/* What nghttp2 makes of one field. */
static uint8_t *
literal(uint8_t *p, const char *name, const char *value, size_t len)
{
    ssize_t              n;
    nghttp2_nv           nv;
    nghttp2_hd_deflater  *deflater;

    nv.name = (uint8_t *) name;
    nv.namelen = strlen(name);
    nv.value = (uint8_t *) value;
    nv.valuelen = len;
    nv.flags = 0;

    ck_assert_int_eq(nghttp2_hd_deflate_new(&deflater, 4096), 0);
    n = nghttp2_hd_deflate_hd(deflater, p, ROOM, &nv, 1);
    ck_assert_int_gt(n, 0);
    nghttp2_hd_deflate_del(deflater);

    return p + n;
}


/* Sends a call with a path and the fields; returns how many bytes stand for its
 * method, scheme, path and authority. */
static size_t
send_call(const char *path, size_t path_len, const char *authority)
{
    size_t    len, taken, n;
    uint8_t  *p, *end, *begin;

    static uint8_t  head[ROOM], text[ROOM], expected[ROOM];

    head[0] = 0x83;
    head[1] = 0x86;
    p = literal(head + 2, ":path", path, path_len);
    p = literal(p, ":authority", authority, strlen(authority));
    n = (size_t) (p - head);
    p = literal(p, "x-other", "of the call", 11);
    len = (size_t) (p - head);
    ck_assert_int_eq(ms_hpack_plain(head, len), 0);

    p = ms_field_write(expected, ":method", 7, "POST", 4);
    p = ms_field_write(p, ":scheme", 7, "http", 4);
    p = ms_field_write(p, ":path", 5, path, path_len);
    p = ms_field_write(p, ":authority", 10, authority, strlen(authority));
    p = ms_field_write(p, "x-other", 7, "of the call", 11);
    memcpy(p, fields, (size_t) (fields_end - fields));
    p += fields_end - fields;

    begin = end = ms_hpack_begin(&table, block);
    taken = ms_hpack_pseudo(&table, &end, head, len);
    ck_assert_uint_le((size_t) (end - begin), taken);
    ck_assert_uint_le((size_t) (end - begin), MS_HPACK_PSEUDO_MAX);
    ck_assert_uint_le(taken, n);
    n = (size_t) (end - begin) + n - taken;
    memcpy(end, head + taken, len - taken);
    end = ms_hpack_fields(&table, end + len - taken, fields,
                          (size_t) (fields_end - fields));

    len = decode(block, (size_t) (end - block), text);
    ck_assert_uint_eq(len, (size_t) (p - expected));
    ck_assert_mem_eq(text, expected, len);
    ck_assert_uint_le(table.used, table.limit);
    ck_assert_uint_eq(table.used,
                      nghttp2_hd_inflate_get_dynamic_table_size(inflater));

    fields_end = fields;

    return n;
}


static void
add_session(const char *session)
{
    add("authorization", session);
    add("session-id", session);
    add("te", "trailers");
}


START_TEST(second_time_is_an_index)
{
    add_session("one");
    ck_assert_uint_gt(send_fields(), 30);

    add_session("one");
    ck_assert_uint_eq(send_fields(), 3);
    ck_assert_mem_eq(block, "\xc0\xbf\xbe", 3);

    /* what differs is new, the rest is not */
    add_session("two");
    ck_assert_uint_eq(send_fields(), 2 + 13 + 4 + 2 + 10 + 4 + 1);

    add_session("one");
    ck_assert_uint_eq(send_fields(), 3);
    add_session("two");
    ck_assert_uint_eq(send_fields(), 3);
}
END_TEST


/* a name that begins another, an empty value, the same bytes cut elsewhere */
START_TEST(fields_alike)
{
    add("a", "bc");
    add("ab", "c");
    add("a", "b");
    add("a", "");
    add("a", "");
    (void) send_fields();
    ck_assert_uint_eq(table.n, 4);

    add("a", "");
    add("ab", "c");
    ck_assert_uint_eq(send_fields(), 2);
}
END_TEST


START_TEST(half_of_the_table)
{
    /* "a" and "c" fit together, "b" does not fit behind "a" */
    add_long("a", 'a', MS_HPACK_SHARE / 2);
    add_long("b", 'b', MS_HPACK_SHARE);
    add_long("c", 'c', 100);
    (void) send_fields();
    ck_assert_uint_eq(table.n, 2);

    add_long("a", 'a', MS_HPACK_SHARE / 2);
    add_long("b", 'b', MS_HPACK_SHARE);
    add_long("c", 'c', 100);
    ck_assert_uint_eq(send_fields(), 1 + 1 + (1 + 2 + 3 + MS_HPACK_SHARE));

    /* to the byte: all of the half, and one more */
    add_long("d", 'd', MS_HPACK_SHARE - MS_HPACK_ENTRY - 1);
    (void) send_fields();
    ck_assert_uint_eq(table.n, 3);
    add_long("e", 'e', MS_HPACK_SHARE - MS_HPACK_ENTRY);
    (void) send_fields();
    ck_assert_uint_eq(table.n, 3);
}
END_TEST


START_TEST(two_sessions_stay)
{
    int  i;

    for (i = 0; i < 10; i++) {
        add_long("token", 'a' + i % 2, 1500);
        add("session", i % 2 ? "a" : "b");
        ck_assert_uint_eq(send_fields() == 2, i >= 2);
    }
}
END_TEST


START_TEST(old_entries_go)
{
    int   i;
    char  value[16];

    for (i = 0; i < 2000; i++) {
        snprintf(value, sizeof(value), "%d", i);
        add("new", value);
        add("same", "for all");
        (void) send_fields();
    }

    ck_assert_uint_gt(table.used, MS_HPACK_SIZE - 2 * 64);

    /* as many as there can be */
    for (i = 0; i < 1000; i++) {
        snprintf(value, sizeof(value), "%c", 'A' + i % 50);
        add("", value);
        add(value, "");
        (void) send_fields();
    }
}
END_TEST


START_TEST(smaller_table)
{
    add_session("one");
    (void) send_fields();

    setting(300);
    add_session("one");
    ck_assert_uint_eq(send_fields(), 3 + 3);

    /* the half has room for the first field alone, which was the oldest */
    setting(100);
    add_session("one");
    (void) send_fields();
    ck_assert_uint_eq(table.n, 2);
    add_session("one");
    ck_assert_uint_eq(send_fields(), 1 + 16 + 13);
}
END_TEST


START_TEST(no_table)
{
    size_t  len;

    setting(0);
    add_session("one");
    len = (size_t) (fields_end - fields);
    ck_assert_uint_eq(send_fields(), 1 + len);
    ck_assert_int_eq(block[0], 0x20);

    /* once is enough */
    add_session("one");
    ck_assert_uint_eq(send_fields(), len);
}
END_TEST


/* section 4.2: the smallest one is said, too */
START_TEST(smaller_and_larger)
{
    add_session("one");
    (void) send_fields();

    setting(0);
    setting(1000);
    setting(2000);
    add_session("one");
    (void) send_fields();
    ck_assert_mem_eq(block, "\x20\x3f\xb1\x0f", 4);
    ck_assert_uint_eq(table.n, 3);

    /* larger alone; more than 4096 is not used */
    setting(100000);
    add_session("one");
    ck_assert_uint_eq(send_fields(), 3 + 3);
    ck_assert_mem_eq(block, "\x3f\xe1\x1f", 3);

    setting(4096);
    add_session("one");
    ck_assert_uint_eq(send_fields(), 3);
}
END_TEST


START_TEST(random_blocks)
{
    int       i, k, n;
    char      name[16], value[3000];
    size_t    len;
    unsigned  seed;

    static const uint32_t  sizes[] = {
        0, 31, 32, 100, 1000, 4095, 4096, 65536
    };

    for (seed = 1; seed <= 50; seed++) {
        srand(seed);
        stop();
        start();

        for (i = 0; i < 100; i++) {

            while (rand() % 20 == 0) {
                setting(rand() % 2 ? sizes[rand() % 8]
                                   : (uint32_t) (rand() % 5000));
            }

            for (k = 0, n = rand() % 10; k < n; k++) {
                snprintf(name, sizeof(name), "name-%d", rand() % 8);
                len = (size_t) rand() % (rand() % 10 ? 20 : sizeof(value) - 1);
                memset(value, 'a' + rand() % 3, len);
                value[len] = '\0';
                add(name, value);
            }

            if (rand() % 2) {
                (void) send_fields();
                continue;
            }

            for (len = (size_t) rand() % 200, k = 0; k < (int) len; k++) {
                value[k] = (char) (rand() % 4 ? 'a' : rand());
            }

            snprintf(name, sizeof(name), "host-%d", rand() % 3);
            (void) send_call(value, len, name);
        }
    }
}
END_TEST


/* the caller's fault: nothing of it gets lost, or into the table */
START_TEST(path_is_an_index)
{
    int     i;
    size_t  len;

    add_session("one");
    ck_assert_uint_gt(send_call("/a.B/One", 8, "host"), 10);
    add_session("one");
    ck_assert_uint_gt(send_call("/a.B/One", 8, "host"), 10);

    for (i = 0; i < 3; i++) {
        add_session("one");
        ck_assert_uint_eq(send_call("/a.B/One", 8, "host"), 4);
        add_session("one");
        len = send_call("/a.B/Two", 8, "host");
        ck_assert(i == 0 ? len > 4 : len == 4);
    }
}
END_TEST


/* the fields of the session come first, and a smaller table has no room */
START_TEST(path_without_room)
{
    int      i;
    size_t   len;
    uint8_t  p[] = "\x83\x04\x02" "/a", *end;

    for (i = 0; i < 5; i++) {
        add_long("authorization", 'a', 2048 - 13 - 32 - 2 * MS_HPACK_PSEUDO + 1);
        len = send_call("/a.B/One", 8, "host");
        ck_assert_uint_gt(len, 10);
    }

    for (i = 0; i < 2; i++) {
        add_long("authorization", 'a', 2048 - 13 - 32 - 2 * MS_HPACK_PSEUDO);
        ck_assert_uint_eq(send_call("/a.B/One", 8, "host"), len);
    }

    add_long("authorization", 'a', 2048 - 13 - 32 - 2 * MS_HPACK_PSEUDO);
    ck_assert_uint_eq(send_call("/a.B/One", 8, "host"), 4);

    setting(100);
    add_session("one");
    ck_assert_uint_eq(send_call("/a.B/One", 8, "host"), len);

    end = block;
    ck_assert_uint_eq(ms_hpack_pseudo(&table, &end, p, sizeof(p) - 1), 0);
    ck_assert_ptr_eq(end, block);
}
END_TEST


/* the length of what Huffman coded, and long ones */
START_TEST(paths_of_all_bytes)
{
    int      i;
    char     path[300];
    size_t   len;

    for (i = 0; i < 256; i++) {
        for (len = 1; len < sizeof(path); len += 1 + len / 8) {
            memset(path, 'a', len);
            path[len - 1] = (char) i;
            path[len / 2] = (char) i;
            add_session("one");
            (void) send_call(path, len, "host");
        }
    }
}
END_TEST


START_TEST(malformed_fields)
{
    uint8_t  text[64];

    static const char  *bad[] = {
        "\x40\x01" "a\x01" "b", "\x10\x01" "a\x01" "b", "\x0f", ("\x05" "a")
    };
    size_t   i;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        add("a", "b");
        memcpy(fields_end, bad[i], strlen(bad[i]));
        fields_end += strlen(bad[i]);
        ms_hpack_init(&table);

        ck_assert_ptr_eq(ms_hpack_fields(&table, text, fields,
                                         (size_t) (fields_end - fields)),
                         text + (fields_end - fields));
        ck_assert_uint_eq(table.n, 1);
        ck_assert_mem_eq(text + 5, bad[i], strlen(bad[i]));
        fields_end = fields;
    }

    /* a length beyond the end */
    add("a", "b");
    fields[3] = 2;
    ms_hpack_init(&table);
    (void) ms_hpack_fields(&table, text, fields, 5);
    ck_assert_uint_eq(table.n, 0);
    fields_end = fields;
}
END_TEST


/* as nginx encodes :method, :scheme, :path and :authority */
START_TEST(plain)
{
    size_t   len;
    uint8_t  text[256];
    uint8_t  p[] = "\x42\x03" "FOO" "\x86" "\x44\x02" "/a" "\x41\x01" "h"
                   "\x40\x01" "n\x01" "v" "\x00\x01" "a\x01" "b"
                   "\x10\x01" "a\x01" "c" "\x0f\x01\x01" "d";

    len = sizeof(p) - 1;
    ck_assert_int_eq(ms_hpack_plain(p, len), 0);
    ck_assert_mem_eq(p, "\x02\x03" "FOO" "\x86" "\x04\x02" "/a" "\x01\x01" "h"
                        "\x00\x01" "n\x01" "v" "\x00\x01" "a\x01" "b"
                        "\x10\x01" "a\x01" "c" "\x0f\x01\x01" "d", len);

    (void) decode(p, len, text);
    ck_assert_uint_eq(nghttp2_hd_inflate_get_dynamic_table_size(inflater), 0);

    /* a second time it is the same */
    ck_assert_int_eq(ms_hpack_plain(p, len), 0);
    ck_assert_int_eq(ms_hpack_plain(p, 0), 0);
}
END_TEST


START_TEST(plain_refuses)
{
    size_t   i, len;
    uint8_t  p[64];

    static const char  *bad[] = {
        "\xbe",                         /* of a dynamic table */
        "\x20",                         /* its size */
        "\x4f\x01" "a",                 /* 15 is too large */
        "\x7f\x01\x01" "a",
        "\x42",                         /* cut */
        "\x42\x03" "FO",
        "\x40\x01" "n",
        "\x40\x01" "n\x05" "v",
        "\x10\x7f",
        "\x10\x01" "n\x7f\x80\x80\x80\x80\x01",
        "\xff",
        "\x3f"
    };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        len = strlen(bad[i]);
        memcpy(p, bad[i], len);
        ck_assert_msg(ms_hpack_plain(p, len) == -1, "%zu", i);
    }

    p[0] = 0x80;
    ck_assert_int_eq(ms_hpack_plain(p, 1), -1);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tc;

    suite = suite_create("hpack");
    tc = tcase_create("hpack");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, start, stop);
    tcase_add_test(tc, second_time_is_an_index);
    tcase_add_test(tc, fields_alike);
    tcase_add_test(tc, half_of_the_table);
    tcase_add_test(tc, two_sessions_stay);
    tcase_add_test(tc, old_entries_go);
    tcase_add_test(tc, smaller_table);
    tcase_add_test(tc, no_table);
    tcase_add_test(tc, smaller_and_larger);
    tcase_add_test(tc, random_blocks);
    tcase_add_test(tc, path_is_an_index);
    tcase_add_test(tc, path_without_room);
    tcase_add_test(tc, paths_of_all_bytes);
    tcase_add_test(tc, malformed_fields);
    tcase_add_test(tc, plain);
    tcase_add_test(tc, plain_refuses);
    suite_add_tcase(suite, tc);

    return harness_run_units(suite);
}
