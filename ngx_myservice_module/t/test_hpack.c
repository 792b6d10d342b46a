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

            (void) send_fields();
        }
    }
}
END_TEST


/* the caller's fault: nothing of it gets lost, or into the table */
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
    tcase_add_test(tc, malformed_fields);
    tcase_add_test(tc, plain);
    tcase_add_test(tc, plain_refuses);
    suite_add_tcase(suite, tc);

    return harness_run_units(suite);
}
