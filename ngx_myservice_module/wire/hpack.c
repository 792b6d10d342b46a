/*
 * The dynamic table of an HPACK encoder (RFC 7541).
 */

#include "wire/hpack.h"

#include <string.h>

#include "wire/huffman.h"


#define MS_HPACK_STATIC   61            /* entries, appendix A */
#define MS_HPACK_AUTHORITY  1
#define MS_HPACK_PATH       4

/* longer integers are taken for malformed */
#define MS_HPACK_INT_MAX  4             /* bytes behind the prefix */


static void ms_hpack_evict(ms_hpack_t *table, uint32_t limit);
static size_t ms_hpack_again(ms_hpack_t *table, uint8_t *p,
    const uint8_t *fields, size_t len);
static uint32_t ms_hpack_find(ms_hpack_t *table, const uint8_t *field,
    size_t len);
static uint32_t ms_hpack_hinted(ms_hpack_t *table, const uint8_t *field,
    size_t left, size_t *n);
static void ms_hpack_add(ms_hpack_t *table, const uint8_t *field, size_t len,
    size_t size);
static const uint8_t *ms_hpack_name(const uint8_t *p, const uint8_t *last);
static size_t ms_hpack_name_size(const uint8_t *p, const uint8_t *last);
static const uint8_t *ms_hpack_field(const uint8_t *p, const uint8_t *last,
    size_t *size);


void
ms_hpack_init(ms_hpack_t *table)
{
    memset(table, 0, offsetof(ms_hpack_t, entries));

    table->limit = MS_HPACK_SIZE;
    table->wanted = MS_HPACK_SIZE;
    table->lowest = MS_HPACK_SIZE;
}


void
ms_hpack_setting(ms_hpack_t *table, uint32_t size)
{
    table->wanted = size < MS_HPACK_SIZE ? size : MS_HPACK_SIZE;

    if (table->wanted < table->lowest) {
        table->lowest = table->wanted;
    }
}


/* The peer emptied its table down to the lowest of its settings. */
uint8_t *
ms_hpack_begin(ms_hpack_t *table, uint8_t *p)
{
    if (table->lowest < table->limit) {
        table->room = 0;
        table->limit = table->lowest;
        ms_hpack_evict(table, table->limit);
        p = ms_hpack_write(p, MS_HPACK_RESIZE, 0x1f, table->limit);
    }

    if (table->wanted != table->limit) {
        table->room = 0;
        table->limit = table->wanted;
        p = ms_hpack_write(p, MS_HPACK_RESIZE, 0x1f, table->limit);
    }

    table->lowest = table->limit;

    return p;
}


uint8_t *
ms_hpack_fields(ms_hpack_t *table, uint8_t *p, const uint8_t *fields,
    size_t len)
{
    size_t          n, size, room;
    uint32_t        index, run, run_n;
    const uint8_t  *first, *last, *next;

    n = ms_hpack_again(table, p, fields, len);

    if (n) {
        return p + n;
    }

    first = fields;
    last = fields + len;
    room = table->limit / 2;
    run = 0;
    run_n = 0;

    for ( /* void */ ; fields < last; fields = next) {

        next = ms_hpack_field(fields, last, &size);

        if (next == NULL) {
            next = last;
            size = MS_HPACK_SIZE;
        }

        n = (size_t) (next - fields);

        if (size > room) {
            memcpy(p, fields, n);
            p += n;
            first = last;
            continue;
        }

        room -= size;
        index = ms_hpack_find(table, fields, n);

        if (index) {
            p = ms_hpack_write(p, MS_HPACK_INDEXED, 0x7f, index);

        } else {
            ms_hpack_add(table, fields, n, size);

            memcpy(p, fields, n);
            *p = MS_HPACK_INDEXING;
            p += n;
        }

        /* both set the hint behind the entry */

        if (run_n++ == 0) {
            run = table->hint - 1;

        } else if (table->hint != run + run_n) {
            first = last;
        }
    }

    table->run = run;
    table->run_n = run_n;
    table->run_len = (size_t) (last - first);
    table->room = (uint32_t) room;

    return p;
}


/* Returns how many bytes were written; 0: these are other fields than those of
 * the last block, or their entries have gone. */
static size_t
ms_hpack_again(ms_hpack_t *table, uint8_t *p, const uint8_t *fields,
    size_t len)
{
    uint32_t                 i;
    const uint8_t           *begin;
    const ms_hpack_entry_t  *entry;

    begin = p;
    entry = &table->entries[table->run % MS_HPACK_ENTRIES];

    if (len == 0 || len != table->run_len
        || table->added - table->run > table->n
        || memcmp(table->data + entry->pos, fields, len) != 0)
    {
        return 0;
    }

    for (i = 0; i < table->run_n; i++) {
        p = ms_hpack_write(p, MS_HPACK_INDEXED, 0x7f,
                           MS_HPACK_STATIC + table->added - table->run - i);
    }

    return (size_t) (p - begin);
}


size_t
ms_hpack_pseudo(ms_hpack_t *table, uint8_t **p, const uint8_t *block,
    size_t len)
{
    size_t          n, size;
    uint32_t        i, index, hint, first;
    const uint8_t  *pos, *last, *next;

    pos = block;
    last = block + len;
    first = 0;

    if (table->room < 2 * MS_HPACK_PSEUDO) {
        return 0;
    }

    hint = table->hint;
    table->hint = table->pseudo;

    for (i = 0; i < MS_HPACK_PSEUDO_N && pos < last; i++) {

        if (*pos & MS_HPACK_INDEXED) {
            *(*p)++ = *pos++;
            continue;
        }

        index = ms_hpack_hinted(table, pos, (size_t) (last - pos), &n);
        next = pos + n;

        if (index == 0) {
            next = ms_hpack_name(pos, last);

            if (next == NULL) {
                break;
            }

            n = (size_t) (next - pos);
            index = ms_hpack_find(table, pos, n);
        }

        if (index) {
            *p = ms_hpack_write(*p, MS_HPACK_INDEXED, 0x7f, index);

        } else {
            size = ms_hpack_name_size(pos, next);

            if (size == 0) {
                break;
            }

            ms_hpack_add(table, pos, n, size);

            memcpy(*p, pos, n);
            **p |= MS_HPACK_INDEXING;
            *p += n;
        }

        if (first++ == 0) {
            table->pseudo = table->hint - 1;
        }

        pos = next;
    }

    table->hint = hint;

    return (size_t) (pos - block);
}


static void
ms_hpack_evict(ms_hpack_t *table, uint32_t limit)
{
    while (table->used > limit) {
        table->used -= table->entries[(table->added - table->n)
                                      % MS_HPACK_ENTRIES].size;
        table->n--;
    }
}


/* The index of a field, 0: it is not in the table.  Fields that came one after
 * the other come so again. */
static uint32_t
ms_hpack_find(ms_hpack_t *table, const uint8_t *field, size_t len)
{
    uint32_t                 i, k;
    const ms_hpack_entry_t  *entry;

    k = table->hint;

    for (i = 0; i < table->n; i++, k++) {

        /* behind the newest, or gone: goes on with the oldest */

        if (table->added - k - 1 >= table->n) {
            k = table->added - table->n;
        }

        entry = &table->entries[k % MS_HPACK_ENTRIES];

        if (entry->len == len
            && memcmp(table->data + entry->pos, field, len) == 0)
        {
            table->hint = k + 1;
            return MS_HPACK_STATIC + table->added - k;
        }
    }

    return 0;
}


/* The same for the hint alone, before it is known where the field ends: one that
 * begins as an entry is that entry.  "n" is set to its length, or 0. */
static uint32_t
ms_hpack_hinted(ms_hpack_t *table, const uint8_t *field, size_t left,
    size_t *n)
{
    uint32_t                 k;
    const ms_hpack_entry_t  *entry;

    k = table->hint;
    entry = &table->entries[k % MS_HPACK_ENTRIES];

    if (table->added - k - 1 >= table->n || entry->len > left
        || memcmp(table->data + entry->pos, field, entry->len) != 0)
    {
        *n = 0;
        return 0;
    }

    *n = entry->len;
    table->hint = k + 1;

    return MS_HPACK_STATIC + table->added - k;
}


/* "size" is within the table's limit. */
static void
ms_hpack_add(ms_hpack_t *table, const uint8_t *field, size_t len, size_t size)
{
    uint32_t           i, from;
    ms_hpack_entry_t  *entry;

    ms_hpack_evict(table, table->limit - (uint32_t) size);

    if (len > sizeof(table->data) - table->end) {

        /* entries stand in their order: the oldest moves to the beginning */

        from = table->end;

        if (table->n) {
            from = table->entries[(table->added - table->n)
                                  % MS_HPACK_ENTRIES].pos;
        }

        for (i = table->added - table->n; i != table->added; i++) {
            entry = &table->entries[i % MS_HPACK_ENTRIES];
            entry->pos = (uint16_t) (entry->pos - from);
        }

        memmove(table->data, table->data + from, table->end - from);
        table->end -= from;
    }

    entry = &table->entries[table->added % MS_HPACK_ENTRIES];

    entry->pos = (uint16_t) table->end;
    entry->len = (uint16_t) len;
    entry->size = (uint16_t) size;

    memcpy(table->data + table->end, field, len);

    table->end += (uint32_t) len;
    table->used += (uint32_t) size;
    table->added++;
    table->n++;
    table->hint = table->added;
}


/* A literal with a new name, neither name nor value Huffman-coded: its end, and
 * its size in a table; NULL if it is none. */
static const uint8_t *
ms_hpack_field(const uint8_t *p, const uint8_t *last, size_t *size)
{
    size_t  name, value;

    if (p == last || *p != 0) {
        return NULL;
    }

    p++;

    if (p == last || *p & 0x80) {
        return NULL;
    }

    p = ms_hpack_string(p, last, &name);

    if (p == NULL || p == last || *p & 0x80) {
        return NULL;
    }

    p = ms_hpack_string(p, last, &value);

    if (p) {
        *size = ms_hpack_size(name, value);
    }

    return p;
}


/* A short ":authority" or ":path" without indexing: its end; NULL if it is
 * none. */
static const uint8_t *
ms_hpack_name(const uint8_t *p, const uint8_t *last)
{
    size_t  len;

    if (*p != MS_HPACK_AUTHORITY && *p != MS_HPACK_PATH) {
        return NULL;
    }

    p = ms_hpack_string(p + 1, last, &len);

    return p && len <= MS_HPACK_PSEUDO - MS_HPACK_ENTRY ? p : NULL;
}


/* The size of such a field in a table, 0: it is not to be there. */
static size_t
ms_hpack_name_size(const uint8_t *p, const uint8_t *last)
{
    size_t          size, len;
    const uint8_t  *value;

    size = *p == MS_HPACK_PATH ? sizeof(":path") - 1 : sizeof(":authority") - 1;
    value = ms_hpack_read(p + 1, last, 0x7f, &len);

    if (value == NULL
        || (p[1] & MS_HPACK_HUFFMAN
            && ms_huffman_decode(NULL, &len, value, len) != 0))
    {
        return 0;
    }

    size = ms_hpack_size(size, len);

    /* "data" has room for entries that are not longer than in the table */

    return size <= MS_HPACK_PSEUDO && (size_t) (last - p) <= size ? size : 0;
}


int
ms_hpack_plain(uint8_t *block, size_t len)
{
    size_t          n;
    uint8_t        *p;
    const uint8_t  *pos, *last;

    pos = block;
    last = block + len;

    while (pos < last) {

        p = block + (pos - block);

        if (*p & MS_HPACK_INDEXED) {
            pos = ms_hpack_read(pos, last, 0x7f, &n);

            if (pos == NULL || n == 0 || n > MS_HPACK_STATIC) {
                return -1;
            }

            continue;
        }

        if (*p & MS_HPACK_INDEXING) {

            /* four bits are left for the index, all of them say that more
             * bytes follow */

            if ((*p & 0x3f) >= 0x0f) {
                return -1;
            }

            *p &= 0x0f;

        } else if (*p & MS_HPACK_RESIZE) {
            return -1;
        }

        pos = ms_hpack_read(pos, last, 0x0f, &n);

        if (pos == NULL || n > MS_HPACK_STATIC) {
            return -1;
        }

        if (n == 0) {
            pos = ms_hpack_string(pos, last, &n);
        }

        if (pos) {
            pos = ms_hpack_string(pos, last, &n);
        }

        if (pos == NULL) {
            return -1;
        }
    }

    return 0;
}


const uint8_t *
ms_hpack_string(const uint8_t *p, const uint8_t *last, size_t *len)
{
    p = ms_hpack_read(p, last, 0x7f, len);

    if (p == NULL || *len > (size_t) (last - p)) {
        return NULL;
    }

    return p + *len;
}


const uint8_t *
ms_hpack_read_long(const uint8_t *p, const uint8_t *last, size_t *n)
{
    unsigned  i;

    for (i = 0; i < MS_HPACK_INT_MAX && p < last; i++) {
        *n += (size_t) (*p & 0x7f) << 7 * i;

        if (!(*p++ & 0x80)) {
            return p;
        }
    }

    return NULL;
}


uint8_t *
ms_hpack_write(uint8_t *p, uint8_t type, uint8_t prefix, uint32_t n)
{
    if (n < prefix) {
        *p++ = (uint8_t) (type | n);
        return p;
    }

    *p++ = type | prefix;

    for (n -= prefix; n > 0x7f; n >>= 7) {
        *p++ = (uint8_t) (0x80 | n);
    }

    *p++ = (uint8_t) n;

    return p;
}
