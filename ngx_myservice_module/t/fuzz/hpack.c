/*
 * libFuzzer: the table of an HPACK encoder.  An input is a list of steps: other
 * sizes of the peer's table, and blocks of a few fields.  nghttp2 decodes what
 * comes of them.  Every input is also a block for ms_hpack_plain(): if that
 * takes it, it decodes to the same fields as before and leaves no entry.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nghttp2/nghttp2.h>

#include "wire/header_block.h"
#include "wire/hpack.h"


#define must(condition)                                                       \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "not true: %s\n", #condition);                    \
            abort();                                                          \
        }                                                                     \
    } while (0)

#define MAX  65536


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* Decodes a block into the form of ms_field_write(); the bytes of that, or -1
 * if nghttp2 refuses it. */
static ssize_t
decode(nghttp2_hd_inflater *inflater, uint8_t *p, size_t len, uint8_t *text)
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
            end = ms_field_write(end, nv.name, nv.namelen, nv.value,
                                 nv.valuelen);
            must(end - text < 64 * MAX);
        }

    } while (!(flags & NGHTTP2_HD_INFLATE_FINAL));

    must(nghttp2_hd_inflate_end_headers(inflater) == 0);

    return end - text;
}


static void
steps(const uint8_t *data, size_t size)
{
    size_t                n, name, value, len;
    uint8_t              *p;
    ms_hpack_t            table;
    const uint8_t        *last;
    nghttp2_hd_inflater  *inflater;

    static uint8_t  fields[MAX], sent[MAX + MS_HPACK_BEGIN_MAX];
    static uint8_t  text[64 * MAX], bytes[8192];

    ms_hpack_init(&table);
    must(nghttp2_hd_inflate_new(&inflater) == 0);

    last = data + size;

    while (last - data >= 2) {
        n = *data++;

        if (n & 0x80) {
            n = (n & 0x7f) << 8 | *data++;
            ms_hpack_setting(&table, (uint32_t) n);
            must(nghttp2_hd_inflate_change_table_size(inflater, n) == 0);
            continue;
        }

        p = fields;

        for (n &= 7; n > 0 && last - data >= 3; n--) {
            name = 1u + (data[0] & 0x0f);
            memset(bytes, 'a' + data[1] % 4, name);
            value = (size_t) data[2] << (data[0] >> 4 & 3);
            memset(bytes + name, 'a' + data[1] / 64, value);
            data += 3;
            p = ms_field_write(p, bytes, name, bytes + name, value);
        }

        len = (size_t) (p - fields);
        p = ms_hpack_begin(&table, sent);
        must(p - sent <= MS_HPACK_BEGIN_MAX);
        n = (size_t) (ms_hpack_fields(&table, p, fields, len) - p);
        must(n <= len);

        must(decode(inflater, sent, (size_t) (p - sent) + n, text)
             == (ssize_t) len);
        must(memcmp(text, fields, len) == 0);
        must(table.used <= table.limit
             && table.used == nghttp2_hd_inflate_get_dynamic_table_size(
                                  inflater));
    }

    nghttp2_hd_inflate_del(inflater);
}


/* The block decodes to "text", whatever became an index. */
static void
pseudo(uint8_t *block, size_t size, const uint8_t *text, ssize_t len)
{
    int                   i;
    size_t                taken;
    uint8_t              *p;
    ms_hpack_t            table;
    nghttp2_hd_inflater  *inflater;

    static uint8_t  sent[MAX], is[64 * MAX];

    must(ms_hpack_plain(block, size) == 0);
    must(nghttp2_hd_inflate_new(&inflater) == 0);
    ms_hpack_init(&table);
    table.room = 2 * MS_HPACK_PSEUDO;

    for (i = 0; i < 2; i++) {
        p = sent;
        taken = ms_hpack_pseudo(&table, &p, block, size);
        must(taken <= size && p - sent <= MS_HPACK_PSEUDO_MAX);
        memcpy(p, block + taken, size - taken);
        p += size - taken;

        must(decode(inflater, sent, (size_t) (p - sent), is) == len);
        must(memcmp(is, text, (size_t) len) == 0);
        must(table.used == nghttp2_hd_inflate_get_dynamic_table_size(
                               inflater));
    }

    nghttp2_hd_inflate_del(inflater);
}


static void
plain(const uint8_t *data, size_t size)
{
    ssize_t               len;
    nghttp2_hd_inflater  *before, *after;

    static uint8_t  block[MAX], was[64 * MAX], is[64 * MAX];

    memcpy(block, data, size);

    if (ms_hpack_plain(block, size) != 0) {
        return;
    }

    must(nghttp2_hd_inflate_new(&before) == 0);
    must(nghttp2_hd_inflate_new(&after) == 0);

    len = decode(after, block, size, is);
    must(nghttp2_hd_inflate_get_dynamic_table_size(after) == 0);

    memcpy(block, data, size);
    must(decode(before, block, size, was) == len);
    must(len <= 0 || memcmp(was, is, (size_t) len) == 0);

    nghttp2_hd_inflate_del(before);
    nghttp2_hd_inflate_del(after);

    if (len >= 0) {
        pseudo(block, size, is, len);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 8192) {
        return 0;
    }

    steps(data, size);
    plain(data, size);

    return 0;
}
