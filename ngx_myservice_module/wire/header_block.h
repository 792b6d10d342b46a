/*
 * Adds fields to a header block that is encoded already: HEADERS and
 * CONTINUATION frames of HTTP/2 (RFC 9113 sections 6.2 and 6.10).  The fields
 * are literals without indexing (RFC 7541 section 6.2.2), which change no
 * table.
 *
 * Pure C over the caller's memory.  The caller can add fields to one block
 * again and again: each time they replace those added before.
 */

#ifndef MS_WIRE_HEADER_BLOCK_H
#define MS_WIRE_HEADER_BLOCK_H


#include <stddef.h>
#include <stdint.h>


/* A block without added fields: offsets in the caller's memory. */
typedef struct {
    size_t  stream;                     /* the 4 bytes of the stream's id */
    size_t  frame;                      /* the last frame */
    size_t  end;
} ms_block_t;


/* Finds the block at the end of the memory; other frames may stand before it.
 * Returns 0, or -1 if the memory does not end with a block. */
int ms_block_find(ms_block_t *block, const uint8_t *p, size_t len)
    __attribute__((warn_unused_result));

/* How many bytes the caller's memory needs for all up to the end of the block
 * with "fields" bytes of fields. */
size_t ms_block_size(const ms_block_t *block, size_t fields);

/* Writes the fields behind the block; returns the offset where it ends then.
 * The memory at "p" has ms_block_size() bytes. */
size_t ms_block_append(const ms_block_t *block, uint8_t *p,
    const uint8_t *fields, size_t len);


/* Encoded fields in the caller's memory of "size" bytes.  Those of "kept" bytes
 * are in each block, those behind them in the next one only. */
typedef struct {
    uint8_t  *data;
    size_t    size;
    size_t    len;
    size_t    kept;
} ms_fields_t;

/* Adds a field; the name is in lower case.  Returns -1 if there is no room. */
int ms_fields_add(ms_fields_t *fields, const void *name, size_t name_len,
    const void *value, size_t value_len)
    __attribute__((warn_unused_result));

/* Keeps what was added so far. */
static inline void
ms_fields_keep(ms_fields_t *fields)
{
    fields->kept = fields->len;
}


/* Drops what was added since then. */
static inline void
ms_fields_drop(ms_fields_t *fields)
{
    fields->len = fields->kept;
}


/* How many bytes ms_field_write() writes at most. */
#define ms_field_max(name_len, value_len)                                     \
    (1 + 2 * MS_FIELD_INT_MAX + (name_len) + (value_len))

#define MS_FIELD_INT_MAX  4             /* lengths below 2^21 */

/* Writes a field; the name is in lower case.  Returns the end of it. */
uint8_t *ms_field_write(uint8_t *p, const void *name, size_t name_len,
    const void *value, size_t value_len);


#endif /* MS_WIRE_HEADER_BLOCK_H */
