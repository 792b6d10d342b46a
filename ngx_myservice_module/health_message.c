
#include "health_message.h"

#include "messages.h"


/* https://protobuf.dev/programming-guides/encoding/ */

#define MS_WIRE_VARINT   0
#define MS_WIRE_I64      1
#define MS_WIRE_LEN      2
#define MS_WIRE_I32      5

#define MS_FIELD_NUMBER_MAX  0x1fffffff

#define MS_REQUEST_SERVICE   1
#define MS_RESPONSE_STATUS   1


/* what is left of a message */

typedef struct {
    const uint8_t  *pos;
    const uint8_t  *last;
} ms_wire_t;


/* all return 0, or -1 at the end of the message */

static int
ms_wire_varint(ms_wire_t *wire, uint64_t *value)
{
    unsigned  shift;

    *value = 0;

    for (shift = 0; shift < 64 && wire->pos < wire->last; shift += 7) {
        *value |= (uint64_t) (*wire->pos & 0x7f) << shift;

        if ((*wire->pos++ & 0x80) == 0) {
            return 0;
        }
    }

    return -1;
}


static int
ms_wire_skip(ms_wire_t *wire, uint64_t len)
{
    if (len > (uint64_t) (wire->last - wire->pos)) {
        return -1;
    }

    wire->pos += len;

    return 0;
}


/* "value" is the length of a field of bytes, which begin at wire->pos then */

static int
ms_wire_field(ms_wire_t *wire, uint64_t *number, unsigned *type,
    uint64_t *value)
{
    uint64_t  tag;

    if (ms_wire_varint(wire, &tag) != 0) {
        return -1;
    }

    *number = tag >> 3;
    *type = tag & 7;
    *value = 0;

    if (*number == 0 || *number > MS_FIELD_NUMBER_MAX) {
        return -1;
    }

    switch (*type) {

    case MS_WIRE_VARINT:
        return ms_wire_varint(wire, value);

    case MS_WIRE_I64:
        return ms_wire_skip(wire, 8);

    case MS_WIRE_I32:
        return ms_wire_skip(wire, 4);

    case MS_WIRE_LEN:
        if (ms_wire_varint(wire, value) != 0) {
            return -1;
        }

        return *value > (uint64_t) (wire->last - wire->pos) ? -1 : 0;

    default:
        return -1;
    }
}


ms_health_request_t
ms_health_request_parse(const uint8_t *p, size_t len,
    const uint8_t **service, size_t *service_len)
{
    size_t      size;
    uint64_t    number, value;
    unsigned    type;
    ms_wire_t   wire;

    if (len == 0) {
        return MS_HEALTH_REQUEST_MISSING;
    }

    if (len < MS_MESSAGE_PREFIX) {
        return MS_HEALTH_REQUEST_MALFORMED;
    }

    if (p[0] != 0) {
        return p[0] == 1 ? MS_HEALTH_REQUEST_COMPRESSED
                         : MS_HEALTH_REQUEST_MALFORMED;
    }

    size = (size_t) p[1] << 24 | (size_t) p[2] << 16 | (size_t) p[3] << 8
           | p[4];

    if (size != len - MS_MESSAGE_PREFIX) {
        return MS_HEALTH_REQUEST_MALFORMED;
    }

    wire.pos = p + MS_MESSAGE_PREFIX;
    wire.last = p + len;

    *service = wire.pos;
    *service_len = 0;

    while (wire.pos < wire.last) {

        if (ms_wire_field(&wire, &number, &type, &value) != 0) {
            return MS_HEALTH_REQUEST_MALFORMED;
        }

        if (type != MS_WIRE_LEN) {
            continue;
        }

        if (number == MS_REQUEST_SERVICE) {
            *service = wire.pos;
            *service_len = (size_t) value;
        }

        wire.pos += value;
    }

    return MS_HEALTH_REQUEST_OK;
}


size_t
ms_health_response_write(uint8_t *dst, ms_health_status_t status)
{
    uint8_t  *p;

    p = dst + MS_MESSAGE_PREFIX;

    if (status != MS_HEALTH_UNKNOWN) {
        *p++ = MS_RESPONSE_STATUS << 3 | MS_WIRE_VARINT;
        *p++ = (uint8_t) status;
    }

    dst[0] = 0;
    dst[1] = 0;
    dst[2] = 0;
    dst[3] = 0;
    dst[4] = (uint8_t) (p - dst - MS_MESSAGE_PREFIX);

    return (size_t) (p - dst);
}
