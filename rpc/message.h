/*
 * Protobuf messages to and from the core's byte buffers.
 *
 * protobuf-c checks no UTF-8, cuts a string at its first NUL, and has no limit
 * of recursion.  So the bytes are checked along the descriptor before they are
 * unpacked.
 */

#ifndef RPC_MESSAGE_H
#define RPC_MESSAGE_H


#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>


#define RPC_MESSAGE_DEPTH  64

typedef enum {
    RPC_MESSAGE_OK = 0,
    RPC_MESSAGE_MALFORMED,
    RPC_MESSAGE_UTF8,               /* a string that is not UTF-8 */
    RPC_MESSAGE_NUL,                /* legal, but no C string can hold it */
    RPC_MESSAGE_DEEP,               /* nested deeper than RPC_MESSAGE_DEPTH */
    RPC_MESSAGE_COMPRESSED,
    RPC_MESSAGE_MEMORY              /* the allocator refused */
} rpc_message_error_t;


/* Checks the wire bytes of a message and of all messages in it. */
rpc_message_error_t rpc_message_check(
    const ProtobufCMessageDescriptor *descriptor, const uint8_t *p, size_t n);

/* NULL with the reason in "error".  "allocator" may be NULL for malloc().
 * "buffer" stays the caller's; the message does not refer to it. */
ProtobufCMessage *rpc_message_unpack(grpc_byte_buffer *buffer,
    const ProtobufCMessageDescriptor *descriptor,
    ProtobufCAllocator *allocator, rpc_message_error_t *error);

grpc_byte_buffer *rpc_message_pack(const ProtobufCMessage *message);

/* Whether all strings of an unpacked message are UTF-8. */
bool rpc_message_utf8(const ProtobufCMessage *message);

/* Unicode 15, table 3-7: no surrogates, no overlong forms. */
bool rpc_utf8_valid(const uint8_t *p, size_t n);


#endif /* RPC_MESSAGE_H */
