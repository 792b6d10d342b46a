/*
 * Where gRPC messages end in a body: Length-Prefixed-Message of
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, one byte of
 * flags, four bytes of length in network order, the message.
 */

#ifndef MS_MESSAGES_H
#define MS_MESSAGES_H


#include <stddef.h>
#include <stdint.h>


#define MS_MESSAGE_PREFIX  5


/* zeroed before the first byte */
typedef struct {
    uint64_t  rest;                     /* bytes of the message to come */
    uint8_t   prefix[MS_MESSAGE_PREFIX];
    uint8_t   prefix_len;               /* of an unfinished prefix */
} ms_messages_t;


/* Follows "len" more bytes.  Returns how many of them belong to messages that
 * are complete now: 0 if none of them ends here. */
size_t ms_messages_feed(ms_messages_t *messages, const uint8_t *p,
    size_t len);


#endif /* MS_MESSAGES_H */
