/*
 * Packs and unpacks protobuf messages, and checks what protobuf-c does not:
 * UTF-8, NUL in strings, depth.
 */

#include "rpc/message.h"

#include <limits.h>
#include <string.h>

#include <grpc/byte_buffer_reader.h>


/* https://protobuf.dev/programming-guides/encoding/ */
enum {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_LENGTH = 2,
    WIRE_FIXED32 = 5
};


typedef struct {
    const uint8_t  *pos;
    const uint8_t  *end;
} wire_t;


static rpc_message_error_t message_check(
    const ProtobufCMessageDescriptor *descriptor, wire_t wire, int depth);
static rpc_message_error_t message_check_field(
    const ProtobufCMessageDescriptor *descriptor, unsigned number,
    wire_t value, int depth);
static int wire_tag(wire_t *wire, unsigned *number, unsigned *type);
static int wire_varint(wire_t *wire, int max, uint64_t *value);
static int wire_length(wire_t *wire, wire_t *value);
static int wire_skip(wire_t *wire, size_t n);
static ProtobufCMessage *message_unpack(
    const ProtobufCMessageDescriptor *descriptor,
    ProtobufCAllocator *allocator, const uint8_t *p, size_t n,
    rpc_message_error_t *error);
static bool message_utf8_field(const ProtobufCFieldDescriptor *field,
    const void *value);
static int utf8_sequence(const uint8_t *p, const uint8_t *end);


rpc_message_error_t
rpc_message_check(const ProtobufCMessageDescriptor *descriptor,
    const uint8_t *p, size_t n)
{
    wire_t  wire;

    wire.pos = p;
    wire.end = p + n;

    return message_check(descriptor, wire, 0);
}


static rpc_message_error_t
message_check(const ProtobufCMessageDescriptor *descriptor, wire_t wire,
    int depth)
{
    int                  rc;
    wire_t               value;
    unsigned             number, type;
    uint64_t             ignored;
    rpc_message_error_t  error;

    if (depth > RPC_MESSAGE_DEPTH) {
        return RPC_MESSAGE_DEEP;
    }

    while (wire.pos < wire.end) {

        if (wire_tag(&wire, &number, &type) != 0) {
            return RPC_MESSAGE_MALFORMED;
        }

        switch (type) {

        case WIRE_VARINT:
            rc = wire_varint(&wire, 10, &ignored);
            break;

        case WIRE_FIXED64:
            rc = wire_skip(&wire, 8);
            break;

        case WIRE_FIXED32:
            rc = wire_skip(&wire, 4);
            break;

        case WIRE_LENGTH:
            rc = wire_length(&wire, &value);

            if (rc == 0) {
                error = message_check_field(descriptor, number, value, depth);
                if (error != RPC_MESSAGE_OK) {
                    return error;
                }
            }

            break;

        default: /* groups, which protobuf-c does not know, and 6, 7 */
            rc = -1;
        }

        if (rc != 0) {
            return RPC_MESSAGE_MALFORMED;
        }
    }

    return RPC_MESSAGE_OK;
}


static rpc_message_error_t
message_check_field(const ProtobufCMessageDescriptor *descriptor,
    unsigned number, wire_t value, int depth)
{
    size_t                           n;
    const ProtobufCFieldDescriptor  *field;

    field = protobuf_c_message_descriptor_get_field(descriptor, number);

    if (field == NULL) {
        return RPC_MESSAGE_OK;
    }

    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        return message_check(field->descriptor, value, depth + 1);
    }

    if (field->type != PROTOBUF_C_TYPE_STRING) {
        return RPC_MESSAGE_OK;
    }

    n = (size_t) (value.end - value.pos);

    if (!rpc_utf8_valid(value.pos, n)) {
        return RPC_MESSAGE_UTF8;
    }

    if (n > 0 && memchr(value.pos, 0, n) != NULL) {
        return RPC_MESSAGE_NUL;
    }

    return RPC_MESSAGE_OK;
}


static int
wire_tag(wire_t *wire, unsigned *number, unsigned *type)
{
    uint64_t  tag;

    if (wire_varint(wire, 5, &tag) != 0 || tag > UINT32_MAX || tag < 8) {
        return -1;
    }

    *number = (unsigned) (tag >> 3);
    *type = tag & 7;

    return 0;
}


static int
wire_varint(wire_t *wire, int max, uint64_t *value)
{
    int      i;
    uint8_t  byte;

    *value = 0;

    for (i = 0; i < max && wire->pos < wire->end; i++) {
        byte = *wire->pos++;
        *value |= (uint64_t) (byte & 0x7f) << (7 * i);

        if ((byte & 0x80) == 0) {
            return 0;
        }
    }

    return -1;
}


static int
wire_length(wire_t *wire, wire_t *value)
{
    uint64_t  n;

    if (wire_varint(wire, 5, &n) != 0 || n > INT_MAX) {
        return -1;
    }

    value->pos = wire->pos;

    if (wire_skip(wire, (size_t) n) != 0) {
        return -1;
    }

    value->end = wire->pos;

    return 0;
}


static int
wire_skip(wire_t *wire, size_t n)
{
    if (n > (size_t) (wire->end - wire->pos)) {
        return -1;
    }

    wire->pos += n;

    return 0;
}


ProtobufCMessage *
rpc_message_unpack(grpc_byte_buffer *buffer,
    const ProtobufCMessageDescriptor *descriptor,
    ProtobufCAllocator *allocator, rpc_message_error_t *error)
{
    grpc_slice                all, *one;
    ProtobufCMessage         *message;
    grpc_byte_buffer_reader   reader;

    if (buffer->type != GRPC_BB_RAW
        || buffer->data.raw.compression != GRPC_COMPRESS_NONE)
    {
        *error = RPC_MESSAGE_COMPRESSED;
        return NULL;
    }

    if (!grpc_byte_buffer_reader_init(&reader, buffer)) {
        *error = RPC_MESSAGE_MALFORMED;
        return NULL;
    }

    /* a message in one piece, the usual case, is not copied */

    if (grpc_byte_buffer_reader_peek(&reader, &one)
        && GRPC_SLICE_LENGTH(*one) == grpc_byte_buffer_length(buffer))
    {
        message = message_unpack(descriptor, allocator,
                                 GRPC_SLICE_START_PTR(*one),
                                 GRPC_SLICE_LENGTH(*one), error);
        grpc_byte_buffer_reader_destroy(&reader);
        return message;
    }

    grpc_byte_buffer_reader_destroy(&reader);

    if (!grpc_byte_buffer_reader_init(&reader, buffer)) {
        *error = RPC_MESSAGE_MALFORMED;
        return NULL;
    }

    all = grpc_byte_buffer_reader_readall(&reader);
    message = message_unpack(descriptor, allocator, GRPC_SLICE_START_PTR(all),
                             GRPC_SLICE_LENGTH(all), error);
    grpc_slice_unref(all);
    grpc_byte_buffer_reader_destroy(&reader);

    return message;
}


static ProtobufCMessage *
message_unpack(const ProtobufCMessageDescriptor *descriptor,
    ProtobufCAllocator *allocator, const uint8_t *p, size_t n,
    rpc_message_error_t *error)
{
    ProtobufCMessage  *message;

    *error = rpc_message_check(descriptor, p, n);

    if (*error != RPC_MESSAGE_OK) {
        return NULL;
    }

    message = protobuf_c_message_unpack(descriptor, allocator, n, p);

    if (message == NULL) {
        *error = RPC_MESSAGE_MALFORMED;
    }

    return message;
}


grpc_byte_buffer *
rpc_message_pack(const ProtobufCMessage *message)
{
    grpc_slice         slice;
    grpc_byte_buffer  *buffer;

    slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));

    buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);

    return buffer;
}


bool
rpc_message_utf8(const ProtobufCMessage *message)
{
    size_t                           n, size;
    unsigned                         i;
    const char                      *base, *value;
    const ProtobufCFieldDescriptor  *field;

    base = (const char *) message;

    for (i = 0; i < message->descriptor->n_fields; i++) {
        field = &message->descriptor->fields[i];

        if (field->type == PROTOBUF_C_TYPE_STRING) {
            size = sizeof(char *);

        } else if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
            size = sizeof(ProtobufCMessage *);

        } else {
            continue;
        }

        value = base + field->offset;
        n = 1;

        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            value = *(const char *const *) value;
            n = *(const size_t *) (base + field->quantifier_offset);

        } else if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
                   && *(const uint32_t *) (base + field->quantifier_offset)
                      != field->id)
        {
            continue;
        }

        for ( /* void */ ; n > 0; n--, value += size) {
            if (!message_utf8_field(field, value)) {
                return false;
            }
        }
    }

    return true;
}


static bool
message_utf8_field(const ProtobufCFieldDescriptor *field, const void *value)
{
    const char              *string;
    const ProtobufCMessage  *message;

    if (field->type == PROTOBUF_C_TYPE_STRING) {
        string = *(const char *const *) value;
        return string == NULL
               || rpc_utf8_valid((const uint8_t *) string, strlen(string));
    }

    message = *(const ProtobufCMessage *const *) value;

    return message == NULL || rpc_message_utf8(message);
}


bool
rpc_utf8_valid(const uint8_t *p, size_t n)
{
    int             len;
    uint64_t        word;
    const uint8_t  *end;

    end = p + n;

    while (p < end) {

        if (end - p >= 8) {
            memcpy(&word, p, 8);

            if ((word & 0x8080808080808080) == 0) {
                p += 8;
                continue;
            }
        }

        if (*p < 0x80) {
            p++;
            continue;
        }

        len = utf8_sequence(p, end);

        if (len == 0) {
            return false;
        }

        p += len;
    }

    return true;
}


/* Length of the multi-byte sequence at "p", 0 if it is not well-formed. */

static int
utf8_sequence(const uint8_t *p, const uint8_t *end)
{
    int      i, len;
    uint8_t  low, high;

    /* only the second byte's range depends on the first byte */

    low = 0x80;
    high = 0xbf;

    if (*p >= 0xc2 && *p <= 0xdf) {
        len = 2;

    } else if (*p >= 0xe0 && *p <= 0xef) {
        len = 3;
        low = (*p == 0xe0) ? 0xa0 : 0x80;
        high = (*p == 0xed) ? 0x9f : 0xbf;

    } else if (*p >= 0xf0 && *p <= 0xf4) {
        len = 4;
        low = (*p == 0xf0) ? 0x90 : 0x80;
        high = (*p == 0xf4) ? 0x8f : 0xbf;

    } else {
        return 0;
    }

    if (end - p < len || p[1] < low || p[1] > high) {
        return 0;
    }

    for (i = 2; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }

    return len;
}
