/*
 * The dynamic table of an HPACK encoder (RFC 7541): fields that a connection
 * carries again and again are sent as an index.
 *
 * Pure C.  The encoder alone puts entries into the table of its connection; a
 * block that passes through has none of its own (ms_hpack_plain()).  What the
 * functions write must be sent, in this order: the table has changed.
 */

#ifndef MS_WIRE_HPACK_H
#define MS_WIRE_HPACK_H


#include <stddef.h>
#include <stdint.h>


/* Bytes of the table, as HPACK counts them: what it is before the peer says
 * otherwise; more is not used. */
#define MS_HPACK_SIZE     4096

/* What one block may put into it, so that the fields of two sessions stay. */
#define MS_HPACK_SHARE    (MS_HPACK_SIZE / 2)

/* What a representation of a field begins with (section 6), and a string that is
 * Huffman-coded (section 5.2). */
#define MS_HPACK_INDEXED   0x80
#define MS_HPACK_INDEXING  0x40
#define MS_HPACK_RESIZE    0x20
#define MS_HPACK_HUFFMAN   0x80

/* Of an entry, beside its name and value (section 4.1). */
#define MS_HPACK_ENTRY    32

#define MS_HPACK_ENTRIES  (MS_HPACK_SIZE / MS_HPACK_ENTRY)

/* Of a field that ms_hpack_pseudo() puts into the table, as the table counts it;
 * there are two in a block. */
#define MS_HPACK_PSEUDO   192

/* fields that a block begins with, ":method" and ":scheme" among them; bytes
 * that ms_hpack_pseudo() writes at most */
#define MS_HPACK_PSEUDO_N    4
#define MS_HPACK_PSEUDO_MAX  (MS_HPACK_PSEUDO_N * MS_HPACK_PSEUDO)

/* bytes that ms_hpack_begin() writes at most */
#define MS_HPACK_BEGIN_MAX  6

/* The size of a field in a table. */
#define ms_hpack_size(name_len, value_len)                                    \
    (MS_HPACK_ENTRY + (name_len) + (value_len))


typedef struct {
    uint16_t  pos;                      /* in "data" */
    uint16_t  len;                      /* of the encoded field */
    uint16_t  size;
} ms_hpack_entry_t;


typedef struct {
    uint32_t          limit;            /* the size that the peer has heard of
                                           last */
    uint32_t          wanted;           /* by its last setting */
    uint32_t          lowest;           /* of its settings since then */
    uint32_t          used;
    uint32_t          added;            /* entries so far; the newest is the
                                           last */
    uint32_t          n;                /* entries now */
    uint32_t          hint;             /* what the next field may be */
    uint32_t          pseudo;           /* and the first pseudo-header */
    uint32_t          room;             /* that the last block's fields left of
                                           their share */
    uint32_t          end;              /* of what is used of "data" */
    uint32_t          run;              /* the last block's fields, if these
                                           are entries one behind the other:
                                           the first, how many, their bytes */
    uint32_t          run_n;
    size_t            run_len;
    ms_hpack_entry_t  entries[MS_HPACK_ENTRIES];
    uint8_t           data[MS_HPACK_SIZE + MS_HPACK_SHARE];
} ms_hpack_t;


/* A table of a new connection. */
void ms_hpack_init(ms_hpack_t *table);

/* The peer's SETTINGS_HEADER_TABLE_SIZE; counts from the next block on. */
void ms_hpack_setting(ms_hpack_t *table, uint32_t size);

/* Writes what a block begins with, changes of the table's size (section 4.2);
 * returns the end of it. */
uint8_t *ms_hpack_begin(ms_hpack_t *table, uint8_t *p);

/*
 * Writes fields at "p", where there are "len" bytes of room; returns the end of
 * them.  The fields are literals as ms_field_write() writes them.  Those that
 * fit into half of the table together become an index or get one, the others
 * stay as they are.  Malformed ones are a fault of the caller: they and those
 * behind them are copied.
 */
uint8_t *ms_hpack_fields(ms_hpack_t *table, uint8_t *p, const uint8_t *fields,
    size_t len);

/*
 * ":authority" and ":path" at the beginning of a block that ms_hpack_plain()
 * has taken become an index, or get one, if there is room beside the fields of
 * the last block.  Writes what the block begins with instead to "p", moves it
 * behind that, and returns how many bytes of the block it stands for.
 */
size_t ms_hpack_pseudo(ms_hpack_t *table, uint8_t **p, const uint8_t *block,
    size_t len);

/*
 * Makes literals with indexing literals without (sections 6.2.1 and 6.2.2), in
 * place: the block then changes no table.  Returns 0; -1 if the block is
 * malformed, refers to a dynamic table, changes its size, or has an index that
 * would not fit into the same byte.
 */
int ms_hpack_plain(uint8_t *block, size_t len)
    __attribute__((warn_unused_result));

/*
 * For those that read and write blocks themselves.  An integer (section 5.1):
 * returns its end; NULL if it is cut, or longer than five bytes.
 */
static inline const uint8_t *ms_hpack_read(const uint8_t *p,
    const uint8_t *last, uint8_t prefix, size_t *n);

/* the same for one that its first byte has not room for */
const uint8_t *ms_hpack_read_long(const uint8_t *p, const uint8_t *last,
    size_t *n);

/* Returns its end, five bytes further at most; "type" is what the first byte has
 * beside it. */
uint8_t *ms_hpack_write(uint8_t *p, uint8_t type, uint8_t prefix, uint32_t n);

/* A string, "len" bytes long: returns its end; NULL if it is cut. */
const uint8_t *ms_hpack_string(const uint8_t *p, const uint8_t *last,
    size_t *len);


static inline const uint8_t *
ms_hpack_read(const uint8_t *p, const uint8_t *last, uint8_t prefix, size_t *n)
{
    if (p == last) {
        return NULL;
    }

    *n = *p++ & prefix;

    return *n < prefix ? p : ms_hpack_read_long(p, last, n);
}


#endif /* MS_WIRE_HPACK_H */
