/*
 * Fields of a protobuf message, one after the other:
 * https://protobuf.dev/programming-guides/encoding/
 */

#ifndef MS_WIRE_PROTOBUF_H
#define MS_WIRE_PROTOBUF_H


#include <stdint.h>


#define MS_PROTOBUF_VARINT     0
#define MS_PROTOBUF_I64        1
#define MS_PROTOBUF_LEN        2
#define MS_PROTOBUF_GROUP      3
#define MS_PROTOBUF_GROUP_END  4
#define MS_PROTOBUF_I32        5

#define MS_PROTOBUF_VARINT_MAX  10      /* bytes */


/* What is left of a message; "pos" and "last" are borrowed. */
typedef struct {
    const uint8_t  *pos;
    const uint8_t  *last;
} ms_protobuf_t;


/*
 * Reads the next field; 0, or -1 if the message is malformed or ends in the
 * middle of it.  "value" is the number of a MS_PROTOBUF_VARINT, and the length
 * of a MS_PROTOBUF_LEN, whose bytes begin at "pos": the caller adds the length
 * to "pos".  The function skips groups (up to 100, one in the other) and fixed
 * numbers.
 */
int ms_protobuf_field(ms_protobuf_t *message, uint64_t *number,
    unsigned *type, uint64_t *value)
    __attribute__((warn_unused_result));

/* Writes at most MS_PROTOBUF_VARINT_MAX bytes; returns the end of them. */
uint8_t *ms_protobuf_write(uint8_t *p, uint64_t value);


#endif /* MS_WIRE_PROTOBUF_H */
