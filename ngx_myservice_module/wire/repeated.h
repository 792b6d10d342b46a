/*
 * A client that takes its token for a secret sends it with every call, Huffman-
 * coded, and never as an index.  To decode it is the dearest part of a call.
 * Here a value that a client repeats on its connection is decoded once, and
 * then stands in the header block as it is: the receiver only copies it.
 *
 * Pure C.  The bytes of a connection go through ms_repeated_read() as they are
 * read.  A value is replaced if all of its bytes are those of one that the same
 * connection has sent before, in a HEADERS frame that has its whole header block
 * and was read whole.  All else stays as it is, what is malformed, too.
 */

#ifndef MS_WIRE_REPEATED_H
#define MS_WIRE_REPEATED_H


#include <stddef.h>
#include <stdint.h>

#include "wire/frame.h"
#include "wire/huffman.h"


/* Bytes of a coded value: less is decoded quickly, more is not remembered. */
#define MS_REPEATED_MIN      24
#define MS_REPEATED_MAX      2560

/* Values that are remembered: the token, the path, and what else is as long. */
#define MS_REPEATED_VALUES   4

/* Replaced in one read. */
#define MS_REPEATED_EDITS    256

/* What may be read where there are "room" bytes, so that what is read can grow
 * to the utmost. */
#define ms_repeated_part(room)  ((room) / 8 * 5)


typedef struct {
    uint8_t   *data;                    /* the string, what replaces it behind
                                           it, each with its length */
    size_t     room;                    /* of "data" */
    size_t     len;                     /* of the string; 0: there is none */
    size_t     plain_len;               /* of what replaces it; 0: it came
                                           once */
    uint64_t   number;                  /* of those that came, when it last
                                           did */
    unsigned   used;                    /* in this read */
} ms_repeated_value_t;


typedef struct {
    ms_repeated_value_t  values[MS_REPEATED_VALUES];
    uint64_t             came;          /* values */
    size_t               limit;         /* longer values are not replaced */
    size_t               replaced;      /* values, in the last read */

    size_t               rest;          /* of a frame's payload */
    size_t               head_len;      /* of "head" */
    uint8_t              head[MS_FRAME_HEADER];

    /* memory of "size" bytes, NULL: there is none; gives it back */
    void              *(*alloc)(void *data, size_t size);
    void               (*free)(void *p);
    void                *data;          /* for "alloc" */
} ms_repeated_t;


/* The next byte is the first of a frame. */
void ms_repeated_begin(ms_repeated_t *repeated);

/*
 * "len" bytes were read to "p", where there are "room".  Returns how many they
 * are now, not less.
 */
size_t ms_repeated_read(ms_repeated_t *repeated, uint8_t *p, size_t len,
    size_t room);

/* Gives back all memory. */
void ms_repeated_free(ms_repeated_t *repeated);


#endif /* MS_WIRE_REPEATED_H */
