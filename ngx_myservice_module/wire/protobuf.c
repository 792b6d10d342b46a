/*
 * Fields of a protobuf message, one after the other:
 * https://protobuf.dev/programming-guides/encoding/.
 */

#include "wire/protobuf.h"

#include <stddef.h>


#define MS_PROTOBUF_DEPTH       100     /* of groups, as in protobuf itself */
#define MS_PROTOBUF_NUMBER_MAX  0x1fffffff


static int ms_protobuf_tag(ms_protobuf_t *message, uint64_t *number,
    unsigned *type);
static int ms_protobuf_value(ms_protobuf_t *message, unsigned type,
    uint64_t *value);
static int ms_protobuf_group(ms_protobuf_t *message, uint64_t number);
static int ms_protobuf_varint(ms_protobuf_t *message, uint64_t *value);
static int ms_protobuf_skip(ms_protobuf_t *message, uint64_t len);


static int
ms_protobuf_varint(ms_protobuf_t *message, uint64_t *value)
{
    unsigned  shift;

    *value = 0;

    for (shift = 0; shift < 64 && message->pos < message->last; shift += 7) {
        *value |= (uint64_t) (*message->pos & 0x7f) << shift;

        if ((*message->pos++ & 0x80) == 0) {
            return 0;
        }
    }

    return -1;
}


static int
ms_protobuf_skip(ms_protobuf_t *message, uint64_t len)
{
    if (len > (uint64_t) (message->last - message->pos)) {
        return -1;
    }

    message->pos += len;

    return 0;
}


static int
ms_protobuf_tag(ms_protobuf_t *message, uint64_t *number, unsigned *type)
{
    uint64_t  tag;

    if (ms_protobuf_varint(message, &tag) != 0) {
        return -1;
    }

    *number = tag >> 3;
    *type = tag & 7;

    return *number == 0 || *number > MS_PROTOBUF_NUMBER_MAX ? -1 : 0;
}


/* A field of bytes: "value" is its length, and "pos" is at its first byte. */
static int
ms_protobuf_value(ms_protobuf_t *message, unsigned type, uint64_t *value)
{
    *value = 0;

    switch (type) {

    case MS_PROTOBUF_VARINT:
        return ms_protobuf_varint(message, value);

    case MS_PROTOBUF_I64:
        return ms_protobuf_skip(message, 8);

    case MS_PROTOBUF_I32:
        return ms_protobuf_skip(message, 4);

    case MS_PROTOBUF_LEN:
        if (ms_protobuf_varint(message, value) != 0) {
            return -1;
        }

        return *value > (uint64_t) (message->last - message->pos) ? -1 : 0;

    default:
        return -1;
    }
}


/* Reads to the end of group "number". */
static int
ms_protobuf_group(ms_protobuf_t *message, uint64_t number)
{
    size_t    depth;
    uint64_t  value, open[MS_PROTOBUF_DEPTH];
    unsigned  type;

    depth = 0;
    open[depth++] = number;

    while (depth > 0) {

        if (ms_protobuf_tag(message, &number, &type) != 0) {
            return -1;
        }

        if (type == MS_PROTOBUF_GROUP) {

            if (depth == MS_PROTOBUF_DEPTH) {
                return -1;
            }

            open[depth++] = number;
            continue;
        }

        if (type == MS_PROTOBUF_GROUP_END) {

            if (number != open[--depth]) {
                return -1;
            }

            continue;
        }

        if (ms_protobuf_value(message, type, &value) != 0
            || (type == MS_PROTOBUF_LEN
                && ms_protobuf_skip(message, value) != 0))
        {
            return -1;
        }
    }

    return 0;
}


int
ms_protobuf_field(ms_protobuf_t *message, uint64_t *number, unsigned *type,
    uint64_t *value)
{
    if (ms_protobuf_tag(message, number, type) != 0) {
        return -1;
    }

    if (*type == MS_PROTOBUF_GROUP) {
        return ms_protobuf_group(message, *number);
    }

    return ms_protobuf_value(message, *type, value);
}


uint8_t *
ms_protobuf_write(uint8_t *p, uint64_t value)
{
    while (value >= 0x80) {
        *p++ = (uint8_t) (0x80 | value);
        value >>= 7;
    }

    *p++ = (uint8_t) value;

    return p;
}
