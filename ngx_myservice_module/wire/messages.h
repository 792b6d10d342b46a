/*
 * Where gRPC messages end in a body: Length-Prefixed-Message of
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, one byte of
 * flags, four bytes of length in network order, the message.
 */

#ifndef MS_WIRE_MESSAGES_H
#define MS_WIRE_MESSAGES_H


#include <stddef.h>
#include <stdint.h>


#define MS_MESSAGE_PREFIX  5


/* The length of the message that a prefix announces. */
static inline uint32_t
ms_message_length(const uint8_t *prefix)
{
    return (uint32_t) prefix[1] << 24 | (uint32_t) prefix[2] << 16
           | (uint32_t) prefix[3] << 8 | prefix[4];
}


/* Writes the prefix of a message that is not compressed. */
static inline void
ms_message_prefix(uint8_t *prefix, uint32_t len)
{
    prefix[0] = 0;
    prefix[1] = (uint8_t) (len >> 24);
    prefix[2] = (uint8_t) (len >> 16);
    prefix[3] = (uint8_t) (len >> 8);
    prefix[4] = (uint8_t) len;
}


/* Where a body stands; all zero before its first byte. */
typedef struct {
    uint32_t  rest;                     /* bytes of the message to come */
    uint8_t   prefix[MS_MESSAGE_PREFIX];
    uint8_t   prefix_len;               /* of an unfinished prefix */
} ms_messages_t;


/*
 * Reads the next "len" bytes of the body.  Returns how many of them belong to
 * messages that are complete with them: 0 if no message ends in them.
 */
size_t ms_messages_feed(ms_messages_t *messages, const uint8_t *p,
    size_t len);


#endif /* MS_WIRE_MESSAGES_H */
